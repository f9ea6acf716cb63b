//! A fresh local vault with its clock, and what can be done to it that no recording shows.

use std::sync::Arc;
use std::time::Duration;

use akvfs::clock::Clock;
use akvfs::local::{ManagedSecret, ServeOptions, Server};
use akvfs::secret::{SecretAttributes, SecretName, SecretValue};
use serde_json::{Map, Value, json};

use crate::clock::RecordedClock;
use crate::compare::Versions;
use crate::recording::Id;
use crate::wire::{Answer, Connection, Request};

pub struct Bench {
    pub server: Server,
    pub clock: Arc<RecordedClock>,
    pub versions: Versions,
    connection: Connection,
}

impl Bench {
    pub fn new(options: ServeOptions) -> Self {
        let clock = Arc::new(RecordedClock::default());
        let server = Server::start(options, Arc::clone(&clock) as Arc<dyn Clock>).expect("a vault");
        let connection = Connection::open(server.addr());
        Self { server, clock, versions: Versions::default(), connection }
    }

    pub fn send(&mut self, request: Request<'_>) -> Answer {
        self.connection.send(request)
    }

    /// A request of our own; gives the body if it succeeded.
    pub fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let (target, body) = (format!("{path}?api-version=7.6"), body.map(Value::to_string));
        let answer = self.send(Request { method, target: &target, authorized: true, client_request_id: None, body });
        let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        Some(body).filter(|_| answer.status < 300)
    }

    /// Makes a version like `bundle`, at the times it shows.
    pub fn set(&mut self, name: &str, version: Option<&str>, bundle: &Value) {
        let attributes = &bundle["attributes"];
        let (created, updated) = (attributes["created"].as_i64(), attributes["updated"].as_i64());
        created.into_iter().for_each(|created| self.clock.set(created * 1000));
        let managed = is_managed(bundle);
        let ours = if managed { self.add_managed(name, bundle) } else { self.set_plain(name, bundle) };
        updated.or(created).into_iter().for_each(|updated| self.clock.set(updated * 1000));
        if managed {
            self.update_managed(name, bundle);
        } else if updated != created {
            self.call("PATCH", &format!("/secrets/{name}"), Some(&json!({})));
        }
        if let (Some(version), Some(ours)) = (version, ours) {
            self.versions.assign(version, &ours);
        }
    }

    fn set_plain(&mut self, name: &str, bundle: &Value) -> Option<String> {
        let answer = self.call("PUT", &format!("/secrets/{name}"), Some(&set_body(bundle)))?;
        Some(Id::of(&answer)?.version?.to_owned())
    }

    fn add_managed(&mut self, name: &str, bundle: &Value) -> Option<String> {
        let text = |member: &str| bundle[member].as_str().unwrap_or_default().to_owned();
        let seconds = |member: &str| bundle["attributes"][member].as_i64();
        let made = self.server.add_managed(ManagedSecret {
            name: SecretName::parse(name).ok()?,
            content_type: text("contentType"),
            value: SecretValue::new(text("value")),
            not_before: seconds("nbf").unwrap_or_default(),
            expires_on: seconds("exp").unwrap_or_default(),
        });
        made.ok().map(|version| version.to_string())
    }

    fn update_managed(&mut self, name: &str, bundle: &Value) {
        let enabled = bundle["attributes"]["enabled"].as_bool();
        let tags = serde_json::from_value(bundle["tags"].clone()).ok();
        let change = SecretAttributes { enabled, tags, ..Default::default() };
        self.server.update_managed(&SecretName::parse(name).expect("a name"), change).expect("updated");
    }

    /// Deletes `name` at once, at the time that `bundle` shows.
    pub fn delete(&mut self, name: &str, bundle: Option<&Value>) {
        let date = bundle.and_then(|bundle| bundle.get("deletedDate")?.as_i64());
        date.into_iter().for_each(|date| self.clock.set(date * 1000));
        self.server.set_soft_delete_delay(Duration::ZERO);
        self.call("DELETE", &format!("/secrets/{name}"), None);
    }

    /// Removes `name`, whoever owns it, and whether it is live or deleted.
    pub fn remove(&mut self, name: &str) {
        self.delete(name, None);
        self.call("DELETE", &format!("/deletedsecrets/{name}"), None);
        // Refused if it is gone by now, which is what is wanted.
        let _ = self.server.remove_managed(&SecretName::parse(name).expect("a name"));
    }
}

/// Whether a certificate owns it.
pub fn is_managed(bundle: &Value) -> bool {
    bundle.get("managed") == Some(&Value::Bool(true)) || bundle.get("kid").is_some()
}

/// The request that makes what an answer shows.
pub fn set_body(bundle: &Value) -> Value {
    let mut body = update_body(bundle);
    body["value"] = bundle.get("value").cloned().unwrap_or_else(|| json!("not shown"));
    body
}

/// The same without a value.
pub fn update_body(bundle: &Value) -> Value {
    let pick = |from: &Value, members: &[&str]| -> Map<String, Value> {
        let found = members.iter().filter_map(|member| Some(((*member).to_owned(), from.get(member)?.clone())));
        found.collect()
    };
    let mut body = Value::Object(pick(bundle, &["contentType", "tags"]));
    body["attributes"] = Value::Object(pick(&bundle["attributes"], &["enabled", "nbf", "exp"]));
    body
}
