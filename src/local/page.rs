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

/// Where a page starts and how long it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The last item of the page before; `None` for the first page.
    pub after: Option<String>,
    /// At most so many items.
    pub limit: usize,
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
    pub fn parse(token: Option<&str>, max_results: Option<&str>) -> Result<Self, Refusal> {
        let after = match token {
            None => None,
            Some(token) => Some(open_token(token).ok_or(Refusal::InvalidParameter("$skiptoken"))?),
        };
        let limit = match max_results {
            None => MAX_RESULTS,
            Some(text) => parse_limit(text).ok_or(Refusal::InvalidParameter("maxresults"))?,
        };
        Ok(Self { after, limit })
    }
}

fn parse_limit(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|limit| digits && (1..=MAX_RESULTS).contains(limit))
}

fn open_token(token: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    text.strip_prefix(MARK).map(str::to_owned)
}

fn make_token(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{MARK}{}", last.to_ascii_uppercase()))
}

/// The current versions of the secrets in `phase`.
pub fn secrets(vault: &Vault, phase: Phase, window: &Window, now: Now) -> Result<Page, Refusal> {
    let wrong = Refusal::InvalidParameter("$skiptoken");
    let after = window.after.as_deref().map(SecretName::parse).transpose().map_err(|_| wrong)?;
    let items = vault.secrets(phase, after.as_ref(), now).filter_map(Secret::snapshot);
    Ok(cut(items, window.limit, |item| item.head.name.as_str().to_owned()))
}

/// The versions of a secret; none if it is not there, which is what the service says too.
pub fn versions(vault: &Vault, name: &SecretName, window: &Window, now: Now) -> Result<Page, Refusal> {
    let wrong = Refusal::InvalidParameter("$skiptoken");
    let after = window.after.as_deref().map(|text| Version::parse(text).ok_or(wrong)).transpose()?;
    let secret = vault.find(name, Phase::Live, now);
    let all = secret.into_iter().flat_map(|secret| secret.revisions.keys().map(move |version| (secret, version)));
    let rest = all.filter(|(_, version)| after.as_ref().is_none_or(|after| *version > after));
    Ok(cut(rest.filter_map(|(secret, version)| secret.snapshot_of(version)), window.limit, |item| {
        item.version.to_string()
    }))
}

fn cut(items: impl Iterator<Item = Snapshot>, limit: usize, key: impl Fn(&Snapshot) -> String) -> Page {
    let mut items: Vec<Snapshot> = items.take(limit + 1).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| make_token(&key(last)));
    Page { items, next }
}
