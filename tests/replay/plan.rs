//! What a session tells when it is read from its end: how the vault was set up, when each change became visible,
//! which pages belong to one listing, which versions were there before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use akvfs::local::{RecoveryLevel, ServeOptions};
use serde_json::Value;

use crate::recording::{Exchange, Id, key, level};

/// A change that no later exchange shows completed takes so long: longer than any session, shorter than any retention.
const NEVER: Duration = Duration::from_secs(86_400);

pub struct Plan {
    /// When each exchange is sent, in milliseconds since 1970: its `Date`, moved on so that no two are at one time.
    times: Vec<i64>,
    /// By page: the first one of the same listing.
    pub listing: BTreeMap<usize, usize>,
    /// By the first page: all items of the listing, and whether it was read to its end.
    pub listed: BTreeMap<usize, (Vec<Value>, bool)>,
    /// By the first page: listings that are not in order by name, because the recorder rewrote names.
    pub unsorted: BTreeSet<usize>,
    /// By name: versions that the session did not make, with what is known of them.
    pub older: BTreeMap<String, Vec<(String, Value)>>,
    pub api_version: String,
}

impl Plan {
    pub fn new(session: &[Exchange]) -> Self {
        let mut plan = Self {
            times: times(session),
            listing: BTreeMap::new(),
            listed: BTreeMap::new(),
            unsorted: BTreeSet::new(),
            older: older_versions(session),
            api_version: api_version(session),
        };
        plan.find_listings(session);
        plan
    }

    pub fn time(&self, at: usize) -> i64 {
        self.times[at]
    }

    /// How long the change that exchange `at` brought about took to be seen.
    pub fn delay(&self, session: &[Exchange], at: usize, name: &str) -> Duration {
        self.delay_of(session, at, &session[at].op, name)
    }

    /// The same, had exchange `at` done `action`.
    pub fn delay_of(&self, session: &[Exchange], at: usize, action: &str, name: &str) -> Duration {
        let seen = (at + 1..session.len()).find(|later| shows(&session[*later], action, name));
        let ms = seen.map(|later| self.times[later] - self.times[at] - 1);
        ms.map_or(NEVER, |ms| Duration::from_millis(ms.try_into().expect("later")))
    }

    fn find_listings(&mut self, session: &[Exchange]) {
        let mut open: Vec<(usize, usize)> = Vec::new(); // the first and the last page of each listing that goes on
        for (at, page) in session.iter().enumerate().filter(|(_, page)| page.is_list() && page.status == 200) {
            let token = page.query.as_ref().map(|query| parameter(query, "$skiptoken"));
            let fits = |last: &Exchange| match token {
                Some(token) => token.is_some() && link_parameter(last.next_link(), "$skiptoken").as_deref() == token,
                None => last.path == page.path,
            };
            let before = open.iter().rposition(|(_, last)| fits(&session[*last]));
            let first = before.map_or(at, |before| open.swap_remove(before).0);
            self.listing.insert(at, first);
            let (items, ended) = self.listed.entry(first).or_default();
            items.extend_from_slice(page.items());
            *ended = page.next_link().is_none();
            if !*ended {
                open.push((first, at));
            }
        }
        let unsorted = self
            .listed
            .iter()
            .filter(|(first, (items, _))| session[**first].op != "list-versions" && !is_sorted(items));
        self.unsorted = unsorted.map(|(first, _)| *first).collect();
    }
}

fn is_sorted(items: &[Value]) -> bool {
    items.iter().filter_map(Id::of).map(|id| key(id.name)).is_sorted()
}

fn parameter<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A parameter of a nextLink, decoded.
pub fn link_parameter(link: Option<&str>, name: &str) -> Option<String> {
    let url = url::Url::parse(link?).ok()?;
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn times(session: &[Exchange]) -> Vec<i64> {
    let mut last = 0;
    let next = |exchange: &Exchange| {
        last = (last + 2).max(exchange.date().unwrap_or_default() * 1000);
        last
    };
    session.iter().map(next).collect()
}

/// Whether an exchange shows that `action` on `name` is complete.
fn shows(exchange: &Exchange, action: &str, name: &str) -> bool {
    let here = exchange.name().is_some_and(|other| key(other) == name);
    let listed = || exchange.items().iter().filter_map(Id::of).any(|id| key(id.name) == name);
    match (action, exchange.op.as_str(), exchange.status) {
        ("delete", "get-deleted", 200 | 403) | ("delete", "recover", 200) | ("delete", "purge", 204) => here,
        ("delete", "set", 409) => here && exchange.inner_code() == "ObjectIsDeletedButRecoverable",
        ("delete", "list-deleted", 200) => listed(),
        ("recover", "get" | "get-version", 200 | 403) => here,
        ("recover", "update" | "delete" | "backup" | "set", 200) => here,
        ("recover", "list" | "list-versions", 200) => listed(),
        ("purge", "restore", 200) => Id::of(&exchange.answer).is_some_and(|id| key(id.name) == name),
        _ => false,
    }
}

/// Versions that are shown but were not made in the session, oldest first, with the first bundle that shows each.
fn older_versions(session: &[Exchange]) -> BTreeMap<String, Vec<(String, Value)>> {
    let mut made: BTreeSet<&str> = BTreeSet::new();
    let mut older: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    for exchange in session {
        let ids = exchange.bundles().into_iter().filter_map(|bundle| Some((Id::of(bundle)?, bundle)));
        for (id, bundle) in ids {
            let Some(version) = id.version else { continue };
            if exchange.op == "set" || exchange.op == "restore" {
                made.insert(version);
            }
            if !made.contains(version) {
                remember(older.entry(key(id.name)).or_default(), version, bundle);
            }
        }
    }
    for versions in older.values_mut() {
        versions.sort_by_key(|(_, bundle)| bundle["attributes"]["created"].as_i64());
    }
    older
}

fn remember(versions: &mut Vec<(String, Value)>, version: &str, bundle: &Value) {
    match versions.iter_mut().find(|(known, _)| known == version) {
        None => versions.push((version.to_owned(), bundle.clone())),
        Some((_, known)) if known.get("value").is_none() && bundle.get("value").is_some() => {
            known["value"] = bundle["value"].clone();
        }
        Some(_) => {}
    }
}

/// The one that the session used, or, where no query was kept, one that shows the same members.
fn api_version(session: &[Exchange]) -> String {
    let asked = session.iter().filter_map(|exchange| parameter(exchange.query.as_ref()?, "api-version"));
    let linked = session.iter().filter_map(|exchange| link_parameter(exchange.next_link(), "api-version"));
    let known = asked.map(str::to_owned).chain(linked).next();
    let shown = |member| session.iter().flat_map(Exchange::bundles).any(|it| it["attributes"].get(member).is_some());
    let guess = if shown("recoverableDays") { "7.1" } else { "7.0" };
    known.unwrap_or_else(|| guess.to_owned())
}

/// How the vault was set up, as far as its answers tell.
pub fn options(session: &[Exchange]) -> ServeOptions {
    let bundles = || session.iter().flat_map(Exchange::bundles);
    let shown = bundles().find_map(level);
    let deleted = |bundle: &Value| {
        Some((bundle.get("scheduledPurgeDate")?.as_i64()? - bundle.get("deletedDate")?.as_i64()?) / 86_400)
    };
    let days = bundles().find_map(deleted);
    let final_deletion = session.iter().any(|it| it.op == "delete" && it.status == 200 && days_of(it).is_none());
    let level = if final_deletion { Some(RecoveryLevel::Purgeable) } else { shown.and_then(|it| it.parse().ok()) };
    let retention_days = days.and_then(|days| days.try_into().ok()).filter(|days| (7..=90).contains(days));
    let level = level.filter(|level| retention_days.is_none() || *level != RecoveryLevel::Purgeable || final_deletion);
    ServeOptions { recovery_level: level, retention_days, ..ServeOptions::default() }
}

fn days_of(deletion: &Exchange) -> Option<&Value> {
    deletion.answer.get("recoveryId")
}
