//! One session sent to a fresh local vault, exchange by exchange.

use std::collections::BTreeMap;

use akvfs::local::{Fault, FaultKind, Operation};
use serde_json::{Value, json};

use crate::bench::{Bench, set_body, update_body};
use crate::compare::{Comparison, Difference};
use crate::plan::{self, Plan, link_parameter};
use crate::recording::{Exchange, Id, key};
use crate::seed::{Seeds, subject};
use crate::wire::{Answer, Request};

/// What became of one exchange.
pub enum Outcome {
    /// Sent and answered; no differences if everything agrees.
    Compared { differences: Vec<Difference>, notes: Vec<&'static str> },
    /// Not sent, and why.
    NotSent(&'static str),
}

pub struct Player<'a> {
    session: &'a [Exchange],
    plan: Plan,
    bench: Bench,
    seeds: Seeds,
    /// Our nextLink, by the first page of the recorded listing.
    links: BTreeMap<usize, Option<String>>,
    /// Our blob, by the recorded one.
    blobs: BTreeMap<String, String>,
}

/// Plays a session; one outcome for each exchange.
pub fn play(session: &[Exchange]) -> Vec<Outcome> {
    let (plan, bench) = (Plan::new(session), Bench::new(plan::options(session)));
    let (seeds, links, blobs) = Default::default();
    let mut player = Player { session, plan, bench, seeds, links, blobs };
    player.make_foreign_blobs();
    (0..session.len()).map(|at| player.exchange(at)).collect()
}

impl Player<'_> {
    fn exchange(&mut self, at: usize) -> Outcome {
        let exchange = &self.session[at];
        if let Some(reason) = self.reason_not_to_send(at) {
            return Outcome::NotSent(reason);
        }
        self.seeds.prepare(&mut self.bench, &self.plan, self.session, at);
        self.bench.clock.set(self.plan.time(at));
        self.set_delay(at);
        self.cut_page(at);
        let answer = self.send(at);
        let differences = self.compare(at, &answer);
        self.learn(at, &answer);
        if (200..300).contains(&exchange.status) && changes(&exchange.op) {
            subject(exchange).into_iter().for_each(|name| self.seeds.touch(name));
        }
        Outcome::Compared { differences, notes: self.notes(at) }
    }

    /// What about this exchange was not sent or compared as recorded.
    fn notes(&self, at: usize) -> Vec<&'static str> {
        let exchange = &self.session[at];
        let sends_body = matches!(exchange.op.as_str(), "set" | "update" | "restore") && exchange.status != 401;
        let notes = [
            (exchange.query.is_none(), "no query was recorded: sent with an api-version that shows the same members"),
            (sends_body && exchange.body.is_null(), "no body was recorded: sent with one made from the answer"),
            (
                self.is_form_only(at) && !exchange.items().is_empty(),
                "a page that shows other items than the recorded one: compared in form and number",
            ),
            (exchange.next_link().is_some(), "a page cut short by the service: ours was told to cut it there too"),
            (
                self.continues_unrecorded(at),
                "continues a listing that began before the recording: sent without its token",
            ),
        ];
        notes.into_iter().filter(|(applies, _)| *applies).map(|(_, note)| note).collect()
    }

    fn continues_unrecorded(&self, at: usize) -> bool {
        let has_token = self.session[at].query.iter().flatten().any(|(name, _)| name == "$skiptoken");
        has_token && self.plan.listing.get(&at) == Some(&at)
    }

    fn is_form_only(&self, at: usize) -> bool {
        let Some(first) = self.plan.listing.get(&at) else { return false };
        let pages = self.plan.listing.values().filter(|other| *other == first).count();
        self.session[at].op == "list-versions" && pages > 1 || self.plan.unsorted.contains(first)
    }

    fn reason_not_to_send(&self, at: usize) -> Option<&'static str> {
        let exchange = &self.session[at];
        if exchange.answer["contentType"] == "application/vnd.ms-sastoken-storage" {
            return Some("a token of a managed storage account, which the service has retired");
        }
        if exchange.status != 401 && exchange.op == "restore" && self.restored_blob(at).is_none() {
            return Some("restores a blob that was not recorded");
        }
        if exchange.op == "purge"
            && exchange.status == 204
            && exchange.name().is_some_and(|name| self.is_live(at, name))
        {
            return Some("purges what the recording shows alive and never deleted");
        }
        None
    }

    /// Whether the last change that the session made to `name` left it alive.
    fn is_live(&self, at: usize, name: &str) -> bool {
        let about = |it: &&Exchange| subject(it).is_some_and(|other| key(other) == key(name));
        let done = |it: &&Exchange| (200..300).contains(&it.status) && changes(&it.op);
        let last = self.session[..at].iter().rev().filter(done).find(about);
        last.is_some_and(|last| matches!(last.op.as_str(), "recover" | "set" | "restore" | "update"))
    }

    /// The change that this exchange makes takes as long as it was recorded to take.
    fn set_delay(&mut self, at: usize) {
        let exchange = &self.session[at];
        if let ("delete" | "recover" | "purge", 200..300, Some(name)) =
            (&*exchange.op, exchange.status, exchange.name())
        {
            let delay = self.plan.delay(self.session, at, &key(name));
            self.bench.server.set_soft_delete_delay(delay);
        }
    }

    /// The service cuts listings where it likes: ours is told to cut them at the same places.
    fn cut_page(&self, at: usize) {
        let exchange = &self.session[at];
        if exchange.status == 200 && exchange.next_link().is_some() {
            let operation: Operation = exchange.op.parse().expect("a listing");
            let kind = FaultKind::ShortPage(exchange.items().len());
            self.bench.server.inject(Fault { operation: Some(operation), count: 1, kind });
        }
    }

    fn send(&mut self, at: usize) -> Answer {
        let exchange = &self.session[at];
        let body = self.body(at).map(|body| body.to_string());
        let target = format!("{}?{}", self.path(exchange), self.query(at));
        let recorded_id = exchange.request_headers.get("x-ms-client-request-id");
        let echoed = exchange.headers.get("x-ms-client-request-id");
        let client_request_id = recorded_id.or(echoed).map(String::as_str);
        let authorized = exchange.status != 401;
        self.bench.send(Request { method: &exchange.method, target: &target, authorized, client_request_id, body })
    }

    /// The recorded path, with our version in place of the recorded one.
    fn path(&self, exchange: &Exchange) -> String {
        let ours = exchange.version().and_then(|version| Some((version, self.bench.versions.ours(version)?)));
        ours.map_or(exchange.path.clone(), |(recorded, ours)| exchange.path.replace(recorded, ours))
    }

    fn query(&self, at: usize) -> String {
        let exchange = &self.session[at];
        let link = self.link(at);
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        match &exchange.query {
            Some(pairs) => pairs.iter().for_each(|(name, value)| {
                let value = if name == "$skiptoken" { link_parameter(link, name) } else { Some(value.clone()) };
                value.into_iter().for_each(|value| _ = query.append_pair(name, &value));
            }),
            None => _ = query.append_pair("api-version", &self.plan.api_version),
        }
        if exchange.query.is_none() {
            let own = |name| link_parameter(link, name);
            own("$skiptoken").into_iter().for_each(|token| _ = query.append_pair("$skiptoken", &token));
            let most = link_parameter(exchange.next_link(), "maxresults").or(own("maxresults"));
            most.into_iter().for_each(|most| _ = query.append_pair("maxresults", &most));
        }
        query.finish()
    }

    /// Our link to this page; none for the first page of a listing.
    fn link(&self, at: usize) -> Option<&str> {
        self.links.get(self.plan.listing.get(&at)?)?.as_deref()
    }

    /// The request's body: the recorded one, or, where the recorder kept none, the one that the answer tells of.
    fn body(&self, at: usize) -> Option<Value> {
        let exchange = &self.session[at];
        match (exchange.op.as_str(), exchange.status) {
            (_, 401) => Some(exchange.body.clone()).filter(|body| !body.is_null()),
            ("restore", _) => Some(json!({"value": self.restored_blob(at)})),
            ("set", 200) if exchange.body.is_null() => Some(set_body(&exchange.answer)),
            ("set", _) if exchange.body.is_null() => Some(json!({"value": "not recorded"})),
            ("update", _) if exchange.body.is_null() => Some(update_body(&exchange.answer)),
            _ => Some(exchange.body.clone()).filter(|body| !body.is_null()),
        }
    }

    /// Our blob for the one that exchange `at` restores.
    fn restored_blob(&self, at: usize) -> Option<String> {
        let exchange = &self.session[at];
        let Some(blob) = exchange.body.get("value").and_then(Value::as_str) else {
            let before = self.session[..at].iter().rev().find(|it| it.op == "backup" && it.status == 200);
            let last = before.and_then(|it| self.blobs.get(it.answer["value"].as_str()?).cloned());
            return last.filter(|_| exchange.status == 200);
        };
        Some(self.blobs.get(blob).cloned().unwrap_or_else(|| blob.to_owned()))
    }

    /// Blobs that the session restores without having made them: secrets that are made, backed up and removed.
    fn make_foreign_blobs(&mut self) {
        let backed_up = |blob: &str| self.session.iter().any(|it| it.op == "backup" && it.answer["value"] == blob);
        let foreign = |it: &&Exchange| {
            it.op == "restore"
                && matches!(it.status, 200 | 409)
                && it.body["value"].as_str().is_some_and(|blob| !backed_up(blob))
        };
        for exchange in self.session.iter().filter(foreign) {
            let (Some(name), Some(blob)) = (subject(exchange), exchange.body["value"].as_str()) else { continue };
            if self.blobs.contains_key(blob) {
                continue;
            }
            let same = |it: &&Exchange| it.op == "restore" && it.status == 200 && it.body["value"] == blob;
            let bundle = self.session.iter().find(same).map_or(&exchange.answer, |it| &it.answer);
            self.bench.set(name, Id::of(bundle).and_then(|id| id.version), bundle);
            let ours = self.bench.call("POST", &format!("/secrets/{name}/backup"), None);
            self.bench.remove(name);
            let ours = ours.and_then(|body| Some(body["value"].as_str()?.to_owned()));
            ours.into_iter().for_each(|ours| drop(self.blobs.insert(blob.to_owned(), ours)));
        }
    }

    fn compare(&mut self, at: usize, answer: &Answer) -> Vec<Difference> {
        let exchange = &self.session[at];
        let form_only = self.is_form_only(at);
        Comparison::new(exchange, &mut self.bench.versions, form_only).run(answer)
    }

    fn learn(&mut self, at: usize, answer: &Answer) {
        let exchange = &self.session[at];
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        if let Some(first) = self.plan.listing.get(&at) {
            self.links.insert(*first, body["nextLink"].as_str().map(str::to_owned));
        }
        if exchange.op == "backup"
            && let (Some(theirs), Some(ours)) = (exchange.answer["value"].as_str(), body["value"].as_str())
        {
            self.blobs.insert(theirs.to_owned(), ours.to_owned());
        }
    }
}

fn changes(op: &str) -> bool {
    matches!(op, "set" | "update" | "delete" | "recover" | "purge" | "restore")
}
