//! What was in the vault before a session, or came from others during it.
//!
//! A name that the session itself has not changed yet is put into the state that the next answer shows. From the
//! first change on the name is left alone, so that every later answer about it is the local vault's own doing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::plan::Plan;
use crate::recording::{Exchange, Id, key};

/// What an answer says of a name.
enum Seen<'a> {
    Live(Option<&'a Value>),
    Disabled,
    Managed,
    Deleted(Option<&'a Value>),
    DeletedDisabled,
    Deleting,
    NotLive,
    NotDeleted,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Live,
    Deleted,
}

struct Seeded {
    name: String,
    phase: Phase,
    /// What was shown, to notice that others changed it.
    shown: String,
}

#[derive(Default)]
pub struct Seeds {
    touched: BTreeSet<String>,
    known: BTreeMap<String, Seeded>,
}

impl Seeds {
    /// Brings what the session has not changed into the state that exchange `at` shows.
    pub fn prepare(&mut self, bench: &mut Bench, plan: &Plan, session: &[Exchange], at: usize) {
        let exchange = &session[at];
        if exchange.is_list() && exchange.status == 200 && exchange.op != "list-versions" {
            self.prepare_listing(bench, plan, exchange, at);
            return;
        }
        let Some(name) = subject(exchange) else { return };
        let Some(mut seen) = seen(exchange) else { return };
        if self.touched.contains(&key(name)) {
            return;
        }
        if exchange.op == "set" && exchange.status == 200 && plan.older.contains_key(&key(name)) {
            seen = Seen::Live(None);
        }
        self.bring(bench, plan, name, &seen);
        if matches!(seen, Seen::Deleting) {
            self.begin_deletion(bench, plan, session, at, name);
        }
    }

    /// The session has changed `name`.
    pub fn touch(&mut self, name: &str) {
        self.touched.insert(key(name));
    }

    fn prepare_listing(&mut self, bench: &mut Bench, plan: &Plan, exchange: &Exchange, at: usize) {
        let Some((items, ended)) = plan.listed.get(&at) else { return };
        let phase = if exchange.op == "list" { Phase::Live } else { Phase::Deleted };
        let names: BTreeSet<String> = items.iter().filter_map(Id::of).map(|id| key(id.name)).collect();
        let last = names.last().cloned().unwrap_or_default();
        let known = self.known.iter().filter(|(name, seeded)| seeded.phase == phase && !self.touched.contains(*name));
        let gone = known.filter(|(name, _)| !names.contains(*name) && (*ended || **name < last));
        let gone: Vec<String> = gone.map(|(_, seeded)| seeded.name.clone()).collect();
        gone.iter().for_each(|name| self.remove(bench, name));
        for item in items {
            let Some(id) = Id::of(item).filter(|id| !self.touched.contains(&key(id.name))) else { continue };
            let seen = if phase == Phase::Live { Seen::Live(Some(item)) } else { Seen::Deleted(Some(item)) };
            self.bring(bench, plan, id.name, &seen);
        }
    }

    fn bring(&mut self, bench: &mut Bench, plan: &Plan, name: &str, seen: &Seen<'_>) {
        let disabled = json!({"attributes": {"enabled": false}});
        let managed = json!({"managed": true, "contentType": "application/x-pkcs12"});
        match seen {
            Seen::Live(bundle) => self.make(bench, plan, name, *bundle, Phase::Live),
            Seen::Disabled | Seen::DeletedDisabled if self.shows(name, "\"enabled\":false") => {}
            Seen::Managed if self.phase(name) == Some(Phase::Live) => {}
            Seen::Disabled => self.make(bench, plan, name, Some(&disabled), Phase::Live),
            Seen::Managed => self.make(bench, plan, name, Some(&managed), Phase::Live),
            Seen::Deleted(bundle) => self.make(bench, plan, name, *bundle, Phase::Deleted),
            Seen::DeletedDisabled => self.make(bench, plan, name, Some(&disabled), Phase::Deleted),
            Seen::Deleting => self.make(bench, plan, name, None, Phase::Live),
            Seen::NotLive if self.phase(name) == Some(Phase::Live) => self.remove(bench, name),
            Seen::NotDeleted if self.phase(name) == Some(Phase::Deleted) => self.remove(bench, name),
            Seen::NotLive | Seen::NotDeleted => {}
        }
    }

    fn phase(&self, name: &str) -> Option<Phase> {
        self.known.get(&key(name)).map(|seeded| seeded.phase)
    }

    fn shows(&self, name: &str, text: &str) -> bool {
        self.known.get(&key(name)).is_some_and(|seeded| seeded.shown.contains(text))
    }

    fn remove(&mut self, bench: &mut Bench, name: &str) {
        bench.remove(name);
        self.known.remove(&key(name));
    }

    fn make(&mut self, bench: &mut Bench, plan: &Plan, name: &str, bundle: Option<&Value>, phase: Phase) {
        let shown = bundle.map(|bundle| shown(bundle, phase)).unwrap_or_default();
        let known = self.known.get(&key(name));
        if known.is_some_and(|known| known.phase == phase && (known.shown == shown || shown.is_empty())) {
            return;
        }
        if known.is_some() {
            self.remove(bench, name);
        }
        let name = bundle.and_then(Id::of).map_or(name, |id| id.name);
        make_versions(bench, plan, name, bundle);
        if phase == Phase::Deleted {
            bench.delete(name, bundle);
        }
        self.known.insert(key(name), Seeded { name: name.to_owned(), phase, shown });
    }

    /// Starts a deletion that began before the session, so that it ends when the session sees it end.
    fn begin_deletion(&mut self, bench: &mut Bench, plan: &Plan, session: &[Exchange], at: usize, name: &str) {
        bench.clock.set(plan.time(at));
        bench.server.set_soft_delete_delay(plan.delay_of(session, at, "delete", &key(name)));
        bench.call("DELETE", &format!("/secrets/{name}"), None);
        self.touch(name);
    }
}

/// Makes the versions that were there before, the current one last and as `bundle` shows it.
fn make_versions(bench: &mut Bench, plan: &Plan, name: &str, bundle: Option<&Value>) {
    let older = plan.older.get(&key(name)).map(Vec::as_slice).unwrap_or_default();
    let current =
        bundle.and_then(|bundle| Id::of(bundle)?.version).or(older.last().map(|(version, _)| version.as_str()));
    for (version, bundle) in older.iter().filter(|(version, _)| Some(version.as_str()) != current) {
        bench.set(name, Some(version), bundle);
    }
    let full = older.iter().find(|(version, _)| Some(version.as_str()) == current).map(|(_, bundle)| bundle);
    let mut shown = bundle.or(full).cloned().unwrap_or_else(|| json!({}));
    if let Some(value) = full.and_then(|full| full.get("value")) {
        shown["value"] = value.clone();
    }
    bench.set(name, current, &shown);
}

/// What others could change, as text.
fn shown(bundle: &Value, phase: Phase) -> String {
    let deletion = if phase == Phase::Deleted { &bundle["deletedDate"] } else { &Value::Null };
    ["contentType", "tags", "attributes", "managed"].map(|member| bundle[member].to_string()).join(" ")
        + &deletion.to_string()
}

/// The secret that an exchange is about.
pub fn subject(exchange: &Exchange) -> Option<&str> {
    let of_answer = || Id::of(&exchange.answer).map(|id| id.name);
    let of_message = || exchange.message().split('\'').nth(1).or(exchange.message().split(' ').nth(4));
    exchange.name().or_else(of_answer).or_else(|| Id::parse(of_message()?).map(|id| id.name))
}

fn seen(exchange: &Exchange) -> Option<Seen<'_>> {
    let bundle = Some(&exchange.answer).filter(|answer| answer.get("attributes").is_some());
    let items = exchange.items();
    Some(match (exchange.op.as_str(), exchange.status, exchange.inner_code()) {
        ("get" | "update", 200, _) => Seen::Live(bundle),
        ("delete", 200, _) => Seen::Live(bundle),
        ("get-version" | "backup", 200, _) => Seen::Live(None),
        ("get" | "get-version", 403, _) => Seen::Disabled,
        ("delete" | "set" | "update", 403, _) => Seen::Managed,
        ("get" | "get-version" | "update" | "delete" | "backup", 404, _) => Seen::NotLive,
        ("list-versions", 200, _) if items.is_empty() => Seen::NotLive,
        ("list-versions", 200, _) => Seen::Live(None),
        ("get-deleted" | "recover", 200, _) => Seen::Deleted(bundle),
        ("get-deleted", 403, _) => Seen::DeletedDisabled,
        ("purge", 204, _) => Seen::Deleted(None),
        ("get-deleted" | "recover" | "purge", 404, _) => Seen::NotDeleted,
        ("set", 200, _) => Seen::NotDeleted,
        ("recover", 400, _) => Seen::Live(None),
        ("set", 409, "ObjectIsDeletedButRecoverable") => Seen::Deleted(None),
        ("set" | "recover" | "purge", 409, _) => Seen::Deleting,
        ("restore", 409, _) => Seen::Live(None),
        _ => return None,
    })
}
