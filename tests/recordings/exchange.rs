//! One recorded exchange, and whether what the client made of it is right.

use std::time::SystemTime;

use akvfs::secret::{BackupBlob, DeletedSecret, KeyVaultSecret, SecretProperties, Timestamp};
use akvfs::store::{ErrorKind, Operation, StoreError};
use akvfs::vault::answer::{OfSecret, Question};
use akvfs::vault::challenge::{self, Asked, Challenge};
use akvfs::vault::wire::{self, WireError};
use akvfs::vault::{Reply, Vault};
use serde_json::{Map, Value, json};

/// A request and the vault's answer.
pub struct Exchange {
    pub source: String,
    pub op: String,
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub request: Value,
    pub body: Value,
    pub reply: Reply,
}

/// What the client made of an answer.
pub enum Got {
    Secret(KeyVaultSecret),
    Properties(SecretProperties),
    Deleted(DeletedSecret),
    Page(Vec<SecretProperties>, Option<String>),
    DeletedPage(Vec<DeletedSecret>, Option<String>),
    Blob(BackupBlob),
    Nothing,
}

impl Exchange {
    pub fn of(record: &Value) -> Self {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let pairs = |name: &str| {
            let pairs = record[name].as_object().into_iter().flatten();
            pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
        };
        let status = u16::try_from(record["status"].as_u64().expect("a status")).expect("a status");
        let mut exchange = Self {
            source: format!("{} {}", text("source"), record["session"]),
            op: text("op"),
            method: text("method"),
            path: text("path"),
            query: pairs("query"),
            request: record["request_body"].clone(),
            body: Value::Null,
            reply: Reply { status, headers: pairs("response_headers"), body: Vec::new().into() },
        };
        exchange.answer_with(record["response_body"].clone());
        exchange
    }

    /// Puts another body into the answer.
    pub fn answer_with(&mut self, body: Value) {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.reply.body = text.into_bytes().into();
        self.body = body;
    }

    pub fn operation(&self) -> Operation {
        match self.op.as_str() {
            "get" | "get-version" => Operation::Get,
            "set" | "set-bad-path" => Operation::Set,
            "update" => Operation::Update,
            "delete" => Operation::Delete,
            "get-deleted" => Operation::GetDeleted,
            "recover" => Operation::Recover,
            "purge" => Operation::Purge,
            "backup" => Operation::Backup,
            "restore" => Operation::Restore,
            "list" => Operation::List,
            "list-versions" => Operation::ListVersions,
            "list-deleted" => Operation::ListDeleted,
            other => panic!("an operation called {other}"),
        }
    }

    /// What the client's reader makes of the answer.
    pub fn read(&self) -> Result<Got, StoreError> {
        let question = Question { operation: self.operation(), name: None, now: SystemTime::UNIX_EPOCH };
        fn of<T: OfSecret>(
            question: Question<'_>,
            reply: &Reply,
            read: fn(&[u8]) -> Result<T, WireError>,
            got: fn(T) -> Got,
        ) -> Result<Got, StoreError> {
            question.read(reply, read).map(got)
        }
        match self.operation() {
            Operation::Get | Operation::Find => of(question, &self.reply, wire::secret, Got::Secret),
            Operation::Set | Operation::Update | Operation::Recover | Operation::Restore => {
                of(question, &self.reply, wire::properties, Got::Properties)
            }
            Operation::Delete | Operation::GetDeleted => of(question, &self.reply, wire::deleted, Got::Deleted),
            Operation::List | Operation::ListVersions => {
                of(question, &self.reply, wire::page, |page| Got::Page(page.items, page.next_link))
            }
            Operation::ListDeleted => {
                of(question, &self.reply, wire::deleted_page, |page| Got::DeletedPage(page.items, page.next_link))
            }
            Operation::Backup => of(question, &self.reply, wire::backup, Got::Blob),
            Operation::Purge => of(question, &self.reply, wire::nothing, |()| Got::Nothing),
        }
    }

    /// What to count `got` as; or what is wrong with it.
    pub fn judge(&self, got: Result<Got, StoreError>) -> Result<String, String> {
        match got {
            Err(error) if !self.reply.is_success() => self.judge_failure(&error),
            Err(error) if self.names_nothing() && error.kind == ErrorKind::Broken => {
                Ok("an identifier without a path, of a retired storage secret: Broken".to_owned())
            }
            Err(error) if self.names_another(&error) && error.kind == ErrorKind::Broken => {
                Ok("an identifier of another secret, by who edited the recording: Broken".to_owned())
            }
            Err(error) => Err(format!("{error}: {}", self.body)),
            Ok(_) if !self.reply.is_success() => Err(format!("a success from {} {}", self.reply.status, self.body)),
            Ok(got) => self.judge_success(&got).map(|()| format!("{} {}", self.op, self.reply.status)),
        }
    }

    fn judge_success(&self, got: &Got) -> Result<(), String> {
        match got {
            Got::Secret(secret) => {
                let mut found = shown(&secret.properties);
                found.insert("value".into(), json!(secret.value.expose()));
                self.compare(&self.body, &found)
            }
            Got::Properties(properties) => {
                let mut found = shown(properties);
                found.extend(self.body.get("value").map(|value| ("value".to_owned(), value.clone())));
                self.compare(&self.body, &found)
            }
            Got::Deleted(deleted) => self.compare(&self.body, &shown_deleted(deleted)),
            Got::Page(items, next) => self.compare_page(items.iter().map(shown), next.as_deref()),
            Got::DeletedPage(items, next) => self.compare_page(items.iter().map(shown_deleted), next.as_deref()),
            Got::Blob(blob) => {
                let again: Value = serde_json::from_slice(&wire::restore_body(blob)).expect("JSON");
                self.compare(&self.body, again.as_object().expect("an object"))
            }
            Got::Nothing => Ok(()),
        }
    }

    fn names_nothing(&self) -> bool {
        let host_and_path = self.body["id"].as_str().and_then(|id| id.strip_prefix("https://"));
        let has_no_path = host_and_path.is_some_and(|rest| rest.matches('/').count() == 1);
        has_no_path && self.body["contentType"] == "application/vnd.ms-sastoken-storage"
    }

    fn names_another(&self, error: &StoreError) -> bool {
        let named = self.body["id"].as_str().and_then(|id| wire::parse_id(id).ok()).map(|(_, name, _)| name);
        named.is_some() && error.name.is_some() && named != error.name
    }

    fn compare_page(&self, items: impl Iterator<Item = Map<String, Value>>, next: Option<&str>) -> Result<(), String> {
        let raw = self.body["value"].as_array().cloned().unwrap_or_default();
        let items: Vec<_> = items.collect();
        if raw.len() != items.len() {
            return Err(format!("of {} items {} came: {}", raw.len(), items.len(), self.body));
        }
        for (raw, item) in raw.iter().zip(&items) {
            self.compare(raw, item)?;
        }
        let link = self.body["nextLink"].as_str();
        if link == next { Ok(()) } else { Err(format!("the link: {link:?} {next:?}")) }
    }

    /// Every member of `raw` that we know, and none that it lacks, must be in `found`.
    fn compare(&self, raw: &Value, found: &Map<String, Value>) -> Result<(), String> {
        let expected = known(raw);
        if expected == sorted(found.clone()) {
            return Ok(());
        }
        Err(format!("{}: {} became {}", self.op, Value::from(expected), Value::from(found.clone())))
    }

    /// The header asks for what all public vaults ask for, in the tenant that it names.
    fn check_challenge(&self) -> Result<(), String> {
        let Some(header) = self.reply.header("www-authenticate") else { return Ok(()) };
        let tenant = header.split('"').nth(1).and_then(|authority| authority.rsplit('/').next()).map(str::to_owned);
        let expected = Challenge { scope: "https://vault.azure.net/.default".to_owned(), tenant };
        let asked = challenge::read(&self.reply, &Vault::parse("contoso").expect("a vault"), true);
        if asked == Asked::Token(expected) { Ok(()) } else { Err(format!("{header} became {asked:?}")) }
    }

    fn judge_failure(&self, error: &StoreError) -> Result<String, String> {
        if self.reply.status == 401 {
            self.check_challenge()?;
        }
        let said = |pointer: &str| self.body.pointer(pointer).and_then(Value::as_str);
        let (code, inner) = (said("/error/code"), said("/error/innererror/code"));
        let expected = expected_kind(&self.op, self.reply.status, code, inner)
            .ok_or_else(|| format!("nobody decided {} {} {code:?} {inner:?}", self.op, self.reply.status))?;
        let codes = match (code, inner) {
            (Some(code), Some(inner)) => Some(format!("{code}/{inner}")),
            (code, _) => code.map(str::to_owned),
        };
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let same_words = said("/error/message").is_none_or(|message| words(message) == words(&error.answer.message));
        let same_id = error.answer.request_id.as_deref() == self.reply.header("x-ms-request-id");
        let same_status = error.answer.status == Some(self.reply.status);
        if error.kind == expected && error.answer.code == codes && same_words && same_id && same_status {
            Ok(format!("{} {} {expected:?}", self.op, self.reply.status))
        } else {
            Err(format!("{error:?}, but expected {expected:?}: {}", self.body))
        }
    }
}

/// The kinds of all recorded failures, by hand.
fn expected_kind(op: &str, status: u16, code: Option<&str>, inner: Option<&str>) -> Option<ErrorKind> {
    Some(match (op, status, code, inner) {
        (_, 401, None | Some("Unauthorized"), None) => ErrorKind::Authentication,
        ("get" | "get-version" | "get-deleted", 403, Some("Forbidden"), Some("SecretDisabled")) => ErrorKind::Disabled,
        ("get-deleted", 403, Some("Forbidden"), Some("AccessDenied")) => ErrorKind::Forbidden,
        ("delete", 403, Some("Forbidden"), Some("SecretManagedByKeyVault")) => ErrorKind::Managed,
        (_, 404, Some("SecretNotFound"), None) => ErrorKind::NotFound,
        ("backup" | "set-bad-path", 405, Some("MethodNotAllowed"), None) => ErrorKind::Invalid,
        ("set", 409, Some("Conflict"), Some("ObjectIsDeletedButRecoverable")) => ErrorKind::Deleted,
        ("set" | "recover" | "purge", 409, Some("Conflict"), Some("ObjectIsBeingDeleted")) => ErrorKind::BeingDeleted,
        ("recover", 400, Some("MethodNotAllowed"), Some("RequestNotAllowedOnNonDeletedObject")) => ErrorKind::Exists,
        ("restore", 409, Some("Conflict"), None) => ErrorKind::Exists,
        ("restore", 400, Some("Malformed backup blob"), None) => ErrorKind::BadBackup,
        _ => return None,
    })
}

/// The members of a bundle that a client is to know, flat; a null counts as absent.
fn known(raw: &Value) -> Map<String, Value> {
    const OUTER: [&str; 10] = [
        "value",
        "id",
        "contentType",
        "tags",
        "kid",
        "managed",
        "previousVersion",
        "recoveryId",
        "deletedDate",
        "scheduledPurgeDate",
    ];
    const INNER: [&str; 7] = ["enabled", "nbf", "exp", "created", "updated", "recoveryLevel", "recoverableDays"];
    let mut members = Map::new();
    let mut take = |from: &Value, member: &str, name: &str| {
        if let Some(value) = from.get(member).filter(|value| !value.is_null()) {
            members.insert(name.to_owned(), value.clone());
        }
    };
    OUTER.iter().for_each(|member| take(raw, member, member));
    INNER.iter().for_each(|member| take(&raw["attributes"], member, member));
    take(&raw["attributes"], "recoverylevel", "recoveryLevel");
    sorted(members)
}

/// The same of what the client holds.
fn shown(found: &SecretProperties) -> Map<String, Value> {
    let seconds = |date: Option<Timestamp>| date.map(|date| date.0);
    let whole = json!({
        "id": found.id, "contentType": found.content_type, "tags": found.tags, "kid": found.key_id,
        "managed": found.managed, "previousVersion": found.previous_version, "enabled": found.enabled,
        "nbf": seconds(found.not_before), "exp": seconds(found.expires_on), "created": seconds(found.created_on),
        "updated": seconds(found.updated_on), "recoveryLevel": found.recovery_level,
        "recoverableDays": found.recoverable_days,
    });
    check_id(found);
    present(whole)
}

fn shown_deleted(found: &DeletedSecret) -> Map<String, Value> {
    let mut members = shown(&found.properties);
    members.extend(present(json!({
        "recoveryId": found.recovery_id, "deletedDate": found.deleted_date.map(|date| date.0),
        "scheduledPurgeDate": found.scheduled_purge_date.map(|date| date.0),
    })));
    sorted(members)
}

/// Vault, name and version put together are the identifier again.
fn check_id(found: &SecretProperties) {
    let version = found.version.as_ref().map(|version| format!("/{version}")).unwrap_or_default();
    let again = format!("{}/secrets/{}{version}", found.vault_url, found.name);
    assert_eq!(again.to_ascii_lowercase(), found.id.trim_end_matches('/').replace(":443", "").to_ascii_lowercase());
}

fn present(whole: Value) -> Map<String, Value> {
    let Value::Object(members) = whole else { panic!("an object") };
    sorted(members.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

/// In one order, since comparing must not depend on any.
fn sorted(mut members: Map<String, Value>) -> Map<String, Value> {
    members.sort_keys();
    members
}
