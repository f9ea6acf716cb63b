//! The recorded exchanges: read, grouped by session, in order.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

/// One request with what Azure answered.
pub struct Exchange {
    pub line: usize,
    pub op: String,
    pub method: String,
    pub path: String,
    /// `None` if the recorder kept no query.
    pub query: Option<Vec<(String, String)>>,
    pub request_headers: BTreeMap<String, String>,
    /// `null` without one.
    pub body: Value,
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    /// `null` without one.
    pub answer: Value,
    /// Which recorder wrote it.
    pub format: String,
    /// Whether the value was blacked out.
    pub redacted: bool,
}

impl Exchange {
    fn parse(line: usize, mut record: Value) -> (u64, Self) {
        let session = record["session"].as_u64().expect("a session");
        let kept = |flag: &Value| flag.as_bool() != Some(false);
        let query = kept(&record["query_recorded"]).then(|| pairs(&record["query"]).collect());
        let exchange = Self {
            line,
            op: text(&record["op"]),
            method: text(&record["method"]),
            path: text(&record["path"]),
            query,
            request_headers: pairs(&record["request_headers"]).collect(),
            body: record["request_body"].take(),
            status: record["status"].as_u64().and_then(|status| status.try_into().ok()).expect("a status"),
            headers: pairs(&record["response_headers"]).collect(),
            answer: record["response_body"].take(),
            format: text(&record["format"]),
            redacted: record.get("redacted").is_some(),
        };
        (session, exchange)
    }

    /// The name in the path, as spelled there.
    pub fn name(&self) -> Option<&str> {
        let mut segments = self.path.split('/').filter(|segment| !segment.is_empty()).skip(1);
        segments.next().filter(|_| self.op != "restore" && self.op != "set-bad-path")
    }

    /// The version in the path of a get or an update.
    pub fn version(&self) -> Option<&str> {
        let third = self.path.split('/').filter(|segment| !segment.is_empty()).nth(2);
        third.filter(|_| matches!(self.op.as_str(), "get-version" | "update"))
    }

    /// The text of an error's inner code.
    pub fn inner_code(&self) -> &str {
        self.answer.pointer("/error/innererror/code").and_then(Value::as_str).unwrap_or_default()
    }

    /// The text of an error.
    pub fn message(&self) -> &str {
        self.answer.pointer("/error/message").and_then(Value::as_str).unwrap_or_default()
    }

    /// The items of a page; empty for what is none.
    pub fn items(&self) -> &[Value] {
        let value = self.answer.get("value").filter(|_| self.is_list());
        value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn is_list(&self) -> bool {
        self.op.starts_with("list")
    }

    pub fn next_link(&self) -> Option<&str> {
        self.answer.get("nextLink").and_then(Value::as_str)
    }

    /// Every bundle and item of the answer.
    pub fn bundles(&self) -> Vec<&Value> {
        let one = Some(&self.answer).filter(|answer| answer.get("attributes").is_some());
        one.into_iter().chain(self.items()).collect()
    }

    /// Seconds since 1970, from the `Date` header.
    pub fn date(&self) -> Option<i64> {
        let date = httpdate::parse_http_date(self.headers.get("date")?).ok()?;
        date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs().try_into().ok()
    }

    /// The service's build, such as `[1, 9, 576, 1]`.
    pub fn build(&self) -> Vec<u32> {
        let text = self.headers.get("x-ms-keyvault-service-version").map(String::as_str).unwrap_or_default();
        text.split('.').filter_map(|part| part.parse().ok()).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn pairs(object: &Value) -> impl Iterator<Item = (String, String)> + '_ {
    let members = object.as_object().into_iter().flatten();
    members.map(|(key, value)| (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
}

/// All sessions of the file.
pub fn read(file: &Path) -> Vec<Vec<Exchange>> {
    let file = File::open(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut sessions: BTreeMap<u64, Vec<Exchange>> = BTreeMap::new();
    for (number, line) in BufReader::new(xz2::read::XzDecoder::new(file)).lines().enumerate() {
        let record = serde_json::from_str(&line.expect("readable")).expect("a record is JSON");
        let (session, exchange) = Exchange::parse(number + 1, record);
        sessions.entry(session).or_default().push(exchange);
    }
    sessions.into_values().flat_map(split).collect()
}

/// A session during which the vault got another recovery level, as several: each with a vault of its own.
fn split(session: Vec<Exchange>) -> Vec<Vec<Exchange>> {
    let mut parts: Vec<Vec<Exchange>> = vec![Vec::new()];
    let mut last: Option<String> = None;
    for exchange in session {
        let level = exchange.bundles().iter().find_map(|bundle| level(bundle).map(str::to_owned));
        if level.is_some() && last.is_some() && level != last {
            parts.push(Vec::new());
        }
        last = level.or(last);
        parts.last_mut().expect("one at least").push(exchange);
    }
    parts
}

/// The recovery level that a bundle shows; the first builds spelt it in small letters.
pub fn level(bundle: &Value) -> Option<&str> {
    let attributes = &bundle["attributes"];
    attributes.get("recoveryLevel").or(attributes.get("recoverylevel"))?.as_str()
}

/// An identifier less its host: what it names.
pub struct Id<'a> {
    pub name: &'a str,
    pub version: Option<&'a str>,
}

impl<'a> Id<'a> {
    pub fn parse(id: &'a str) -> Option<Self> {
        let mut segments = id.split_once("://")?.1.split('/').skip(2);
        let name = segments.next()?;
        Some(Self { name, version: segments.next().filter(|version| !version.is_empty()) })
    }

    pub fn of(bundle: &'a Value) -> Option<Self> {
        Self::parse(bundle.get("id")?.as_str()?)
    }
}

/// How names are compared.
pub fn key(name: &str) -> String {
    name.to_ascii_uppercase()
}
