//! An answer of ours against the recorded one: what differs, member by member.
//!
//! Versions, hosts and tokens are other ones by nature; they are held to be the same if each recorded one always
//! meets the same one of ours. Everything else is compared as it is, times within [`TOLERANCE`].

use std::collections::BTreeMap;

use serde_json::Value;

use crate::plan::link_parameter;
use crate::recording::{Exchange, Id};
use crate::wire::{Answer, HOST};

/// Seconds. The service's own `created` and `Date` differ by one in either direction, and so may two of its machines.
const TOLERANCE: i64 = 2;
/// Members that an item may have or not, or whose values are its own.
const OPTIONAL: [&str; 6] =
    ["contentType", "tags", "managed", "attributes.enabled", "attributes.nbf", "attributes.exp"];
/// The headers that the service sends.
const HEADERS: [&str; 15] = [
    "cache-control",
    "content-length",
    "content-type",
    "date",
    "expires",
    "pragma",
    "strict-transport-security",
    "x-content-type-options",
    "x-ms-keyvault-region",
    "x-ms-keyvault-network-info",
    "x-ms-keyvault-service-version",
    "x-ms-request-id",
    "x-ms-client-request-id",
    "x-ms-keyvault-rbac-assignment-id",
    "www-authenticate",
];

/// How two answers differ in one place.
#[derive(Debug)]
pub struct Difference {
    /// `status`, `header NAME`, or the path of a member, without positions.
    pub at: String,
    pub how: How,
    pub recorded: String,
    #[allow(dead_code, reason = "printed with what nobody explained")]
    pub ours: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// The service has it and we do not.
    Missing,
    /// We have it and the service does not.
    Extra,
    Order,
    Type,
    Value,
    /// Other than that many items.
    Count,
}

/// Which version of ours stands for which recorded one.
#[derive(Default)]
pub struct Versions {
    ours: BTreeMap<String, String>,
    recorded: BTreeMap<String, String>,
}

impl Versions {
    pub fn ours(&self, recorded: &str) -> Option<&str> {
        self.ours.get(recorded).map(String::as_str)
    }

    /// Whether the two stand for each other, from now on if neither was seen before.
    pub fn unify(&mut self, recorded: &str, ours: &str) -> bool {
        if !self.ours.contains_key(recorded) && !self.recorded.contains_key(ours) {
            self.ours.insert(recorded.to_owned(), ours.to_owned());
            self.recorded.insert(ours.to_owned(), recorded.to_owned());
        }
        self.ours(recorded) == Some(ours)
    }

    /// Makes the two stand for each other, whatever did before.
    pub fn assign(&mut self, recorded: &str, ours: &str) {
        let before = self.ours.insert(recorded.to_owned(), ours.to_owned());
        before.into_iter().for_each(|before| drop(self.recorded.remove(&before)));
        self.recorded.insert(ours.to_owned(), recorded.to_owned());
    }

    /// `text` with our versions replaced by the recorded ones.
    fn translate(&self, text: &str) -> String {
        self.recorded.iter().fold(text.to_owned(), |text, (ours, recorded)| text.replace(ours.as_str(), recorded))
    }
}

pub struct Comparison<'a> {
    pub exchange: &'a Exchange,
    pub versions: &'a mut Versions,
    /// Whether the page shows other items than the recorded one, so that only their form can be compared: one of
    /// several pages of versions, whose order is random on both sides, or of names that the recorder rewrote.
    pub form_only: bool,
    differences: Vec<Difference>,
}

impl<'a> Comparison<'a> {
    pub fn new(exchange: &'a Exchange, versions: &'a mut Versions, form_only: bool) -> Self {
        Self { exchange, versions, form_only, differences: Vec::new() }
    }

    pub fn run(mut self, ours: &Answer) -> Vec<Difference> {
        let recorded = self.exchange.status;
        if recorded != ours.status {
            self.differs("status", How::Value, recorded, ours.status);
            return self.differences;
        }
        self.headers(ours);
        let body = serde_json::from_slice(&ours.body).unwrap_or(Value::Null);
        let empty = matches!(&self.exchange.answer, Value::Array(items) if items.is_empty());
        let answer = if empty { &Value::Null } else { &self.exchange.answer };
        self.value("body", answer, &body);
        self.differences
    }

    fn differs(&mut self, at: &str, how: How, recorded: impl ToString, ours: impl ToString) {
        let (recorded, ours) = (recorded.to_string(), ours.to_string());
        self.differences.push(Difference { at: at.to_owned(), how, recorded, ours });
    }

    fn headers(&mut self, ours: &Answer) {
        for name in HEADERS {
            let recorded = self.exchange.headers.get(name);
            let sent = ours.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value);
            let at = format!("header {name}");
            match (recorded, sent) {
                (Some(recorded), None) => self.differs(&at, How::Missing, recorded, ""),
                (None, Some(ours)) => self.differs(&at, How::Extra, "", ours),
                (Some(recorded), Some(ours)) if form(name, recorded) != form(name, ours) => {
                    self.differs(&at, How::Value, recorded, ours);
                }
                _ => {}
            }
        }
    }

    fn value(&mut self, at: &str, recorded: &Value, ours: &Value) {
        match (recorded, ours) {
            (Value::Object(_), Value::Object(_)) => self.object(at, recorded, ours),
            (Value::Array(recorded), Value::Array(ours)) => self.array(at, recorded, ours),
            (Value::String(recorded), Value::String(ours)) => self.text(at, recorded, ours),
            (Value::Number(_), Value::Number(_)) if is_time(at) => self.time(at, recorded, ours),
            (Value::Null, Value::Null) => {}
            _ if std::mem::discriminant(recorded) != std::mem::discriminant(ours) => {
                self.differs(at, How::Type, recorded, ours);
            }
            _ if recorded != ours && !self.hides(at) => self.differs(at, How::Value, recorded, ours),
            _ => {}
        }
    }

    fn object(&mut self, at: &str, recorded: &Value, ours: &Value) {
        let members = |value: &Value| value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        let (theirs, own): (Vec<String>, Vec<String>) = (members(recorded), members(ours));
        for name in &theirs {
            let place = format!("{at}.{name}");
            match ours.get(name) {
                Some(value) => self.value(&place, &recorded[name], value),
                None if self.hides(&place) => {}
                None => self.differs(&place, How::Missing, &recorded[name], ""),
            }
        }
        for name in own.iter().filter(|name| !theirs.contains(name)) {
            let place = format!("{at}.{name}");
            if !self.hides(&place) {
                self.differs(&place, How::Extra, "", &ours[name]);
            }
        }
        let common = |names: &[String], others: &[String]| -> Vec<String> {
            names.iter().filter(|name| others.contains(name)).cloned().collect()
        };
        let (theirs, own) = (common(&theirs, &own), common(&own, &theirs));
        if theirs != own && !at.ends_with(".tags") {
            self.differs(at, How::Order, theirs.join(","), own.join(","));
        }
        self.retention(at, recorded, ours);
    }

    /// Between deletion and purge lie whole days, the same on both sides.
    fn retention(&mut self, at: &str, recorded: &Value, ours: &Value) {
        let between = |value: &Value| Some(value["scheduledPurgeDate"].as_i64()? - value["deletedDate"].as_i64()?);
        if let (Some(recorded), Some(ours)) = (between(recorded), between(ours))
            && recorded != ours
        {
            self.differs(&format!("{at}.retention"), How::Value, recorded, ours);
        }
    }

    fn array(&mut self, at: &str, recorded: &[Value], ours: &[Value]) {
        if recorded.len() != ours.len() {
            let of_others = if self.form_only { " of others" } else { "" };
            self.differs(&format!("{at}{of_others}"), How::Count, names(recorded), names(ours));
            return;
        }
        let at = format!("{at}[]");
        for (position, recorded) in recorded.iter().enumerate() {
            let found = self.counterpart(recorded, ours).unwrap_or(&ours[position]);
            self.value(&at, recorded, found);
        }
    }

    /// In a listing of versions, whose order is random: the item of the same version.
    fn counterpart<'v>(&self, recorded: &Value, ours: &'v [Value]) -> Option<&'v Value> {
        let version = self.versions.ours(Id::of(recorded)?.version?)?;
        ours.iter().find(|item| Id::of(item).is_some_and(|id| id.version == Some(version)))
    }

    fn text(&mut self, at: &str, recorded: &str, ours: &str) {
        let same = match at.rsplit('.').next().unwrap_or_default() {
            "id" | "kid" | "recoveryId" => self.same_id(recorded, ours),
            "nextLink" => link_form(recorded, ":443/") == link_form(ours, ":80/"),
            "value" if self.exchange.op == "backup" => is_blob(recorded) && is_blob(ours),
            "message" => message(recorded) == message(&self.versions.translate(ours)),
            _ => recorded == ours || self.hides(at),
        };
        if !same {
            self.differs(at, How::Value, recorded, ours);
        }
    }

    /// Whether what stands there cannot be compared: blacked out by the recorder, or another item's.
    fn hides(&self, at: &str) -> bool {
        let optional = OPTIONAL.iter().any(|member| at.contains(&format!("body.value[].{member}")));
        at == "body.value" && self.exchange.redacted || self.form_only && optional
    }

    fn same_id(&mut self, recorded: &str, ours: &str) -> bool {
        let (Some(theirs), Some(own)) = (Id::parse(recorded), Id::parse(ours)) else { return recorded == ours };
        let kind = |id: &str| id.split('/').nth(3).map(str::to_owned);
        let version = match (theirs.version, own.version) {
            _ if self.form_only => true,
            (Some(theirs), Some(own)) => self.versions.unify(theirs, own),
            (theirs, own) => theirs == own,
        };
        let same = self.form_only || theirs.name == own.name && version;
        ours.starts_with(&format!("http://{HOST}/")) && kind(recorded) == kind(ours) && same
    }

    fn time(&mut self, at: &str, recorded: &Value, ours: &Value) {
        let close = match (recorded.as_i64(), ours.as_i64()) {
            (Some(recorded), Some(ours)) => (recorded - ours).abs() <= TOLERANCE || self.form_only,
            _ => false,
        };
        if !close {
            self.differs(at, How::Value, recorded, ours);
        }
    }
}

fn is_time(at: &str) -> bool {
    ["created", "updated", "deletedDate", "scheduledPurgeDate"].iter().any(|name| at.ends_with(&format!(".{name}")))
}

fn names(items: &[Value]) -> String {
    let names = items.iter().map(|item| Id::of(item).map_or("?", |id| id.name));
    format!("{}: {}", items.len(), names.collect::<Vec<_>>().join(" "))
}

/// What of a header's value is compared: the shape of a challenge; of the rest, the name is enough.
fn form(name: &str, value: &str) -> String {
    let parts = value.split('"').enumerate().filter(|(position, _)| position % 2 == 0).map(|(_, part)| part);
    if name == "www-authenticate" { parts.collect() } else { String::new() }
}

/// Base64 of the URL alphabet, without padding.
fn is_blob(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// A nextLink: port, path and parameters in order, with the token's and the host's text left out.
fn link_form(link: &str, port: &str) -> String {
    let after_host = link.split_once("://").and_then(|(_, rest)| rest.find(['/', ':']).map(|at| &rest[at..]));
    let token = link_parameter(Some(link), "$skiptoken").unwrap_or_default();
    after_host.unwrap_or(link).replace(port, ":PORT/").replace(&token, "*")
}

/// A message with every vault's URL made the same.
fn message(text: &str) -> String {
    let url = |word: &str| {
        word.split_once("://").map_or(word.to_owned(), |(before, rest)| {
            let before = before.trim_end_matches("https").trim_end_matches("http");
            format!("{before}vault{}", rest.find('/').map_or("", |at| &rest[at..]))
        })
    };
    text.split(' ').map(url).collect::<Vec<_>>().join(" ")
}
