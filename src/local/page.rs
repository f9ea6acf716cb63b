//! Pages of listings: what stands on one, and the opaque token that leads to the next. Pure.
//!
//! The token names the last item shown, so a listing goes on correctly whatever was added or removed meanwhile.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::secret::{SecretName, Version};

use super::errors::Refusal;
use super::model::{Now, Phase, Secret, Snapshot, Vault};

/// The default and the largest size of a page.
pub const MAX_RESULTS: usize = 25;
/// In front of every token's text, so that another vault's token is told from ours.
const MARK: &str = "akvfs1!";
/// The same, on the link of an empty page: the next one has items.
const MARK_AFTER_EMPTY: &str = "akvfs1+";

/// Where pages end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// When they are full.
    Full,
    /// The same, with an empty page before each.
    EmptyFirst,
    /// After so many items, with a link even if nothing is left.
    After(usize),
}

/// Where a page starts and how long it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The last item shown; `None` if none was.
    after: Option<String>,
    /// At most so many items.
    limit: usize,
    /// Whether there is a next page even if nothing is left.
    goes_on: bool,
    /// The mark of the next page's token.
    mark: &'static str,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// Its items.
    pub items: Vec<Snapshot>,
    /// The token of the next page, if there is one.
    pub next: Option<String>,
}

impl Window {
    /// Reads the `$skiptoken` and `maxresults` of a request.
    pub fn parse(token: Option<&str>, max_results: Option<&str>, cut: Cut) -> Result<Self, Refusal> {
        let (mark, after) = match token {
            None => (MARK, String::new()),
            Some(token) => open_token(token).ok_or(Refusal::InvalidParameter("$skiptoken"))?,
        };
        let limit = match max_results {
            None => MAX_RESULTS,
            Some(text) => parse_limit(text).ok_or(Refusal::InvalidParameter("maxresults"))?,
        };
        let after = Some(after).filter(|after| !after.is_empty());
        Ok(match cut {
            Cut::EmptyFirst if mark == MARK => Self { after, limit: 0, goes_on: true, mark: MARK_AFTER_EMPTY },
            Cut::After(items) => Self { after, limit: limit.min(items), goes_on: true, mark: MARK },
            Cut::Full | Cut::EmptyFirst => Self { after, limit, goes_on: false, mark: MARK },
        })
    }

    fn cut(&self, items: impl Iterator<Item = Snapshot>, key: impl Fn(&Snapshot) -> String) -> Page {
        let mut items: Vec<Snapshot> = items.take(self.limit + 1).collect();
        let goes_on = self.goes_on || items.len() > self.limit;
        items.truncate(self.limit);
        let last = items.last().map(key).or(self.after.clone());
        let next = goes_on.then(|| make_token(self.mark, &last.unwrap_or_default()));
        Page { items, next }
    }
}

fn parse_limit(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|limit| digits && (1..=MAX_RESULTS).contains(limit))
}

fn open_token(token: &str) -> Option<(&'static str, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    [MARK, MARK_AFTER_EMPTY].into_iter().find_map(|mark| Some((mark, text.strip_prefix(mark)?.to_owned())))
}

fn make_token(mark: &str, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{mark}{}", last.to_ascii_uppercase()))
}

/// The current versions of the secrets in `phase`.
pub fn secrets(vault: &Vault, phase: Phase, window: &Window, now: Now) -> Result<Page, Refusal> {
    let wrong = Refusal::InvalidParameter("$skiptoken");
    let after = window.after.as_deref().map(SecretName::parse).transpose().map_err(|_| wrong)?;
    let items = vault.secrets(phase, after.as_ref(), now).filter_map(Secret::snapshot);
    Ok(window.cut(items, |item| item.head.name.as_str().to_owned()))
}

/// The versions of a secret; none if it is not there, which is what the service says too.
pub fn versions(vault: &Vault, name: &SecretName, window: &Window, now: Now) -> Result<Page, Refusal> {
    let wrong = Refusal::InvalidParameter("$skiptoken");
    let after = window.after.as_deref().map(|text| Version::parse(text).ok_or(wrong)).transpose()?;
    let secret = vault.find(name, Phase::Live, now);
    let all = secret.into_iter().flat_map(|secret| secret.revisions.keys().map(move |version| (secret, version)));
    let rest = all.filter(|(_, version)| after.as_ref().is_none_or(|after| *version > after));
    Ok(window.cut(rest.filter_map(|(secret, version)| secret.snapshot_of(version)), |item| item.version.to_string()))
}
