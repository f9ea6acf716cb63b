//! Every answer that was recorded from live vaults goes through the client's reader: successes lose no known member,
//! failures become the right kind. What is expected is worked out here from the raw JSON, apart from the client's code.
//!
//! Needs the folder of recordings in `AKVFS_SHARED`; passes without it and says so.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::time::SystemTime;

use akvfs::secret::{BackupBlob, DeletedSecret, SecretProperties, Timestamp};
use akvfs::store::{ErrorKind, Operation};
use akvfs::vault::answer::Question;
use akvfs::vault::challenge::{self, Asked, Challenge};
use akvfs::vault::{Reply, Vault, wire};
use serde_json::{Map, Value, json};

/// What was counted, for the last line of the output.
type Counts = BTreeMap<String, usize>;

#[test]
fn every_recorded_answer_is_understood() {
    let Some(shared) = std::env::var_os("AKVFS_SHARED") else {
        println!("skipped: AKVFS_SHARED does not name the folder with the recordings");
        return;
    };
    let file = std::path::Path::new(&shared).join("recordings/exchanges.jsonl.xz");
    let file = std::fs::File::open(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut counts = Counts::new();
    for (number, line) in BufReader::new(xz2::read::XzDecoder::new(file)).lines().enumerate() {
        let record: Value = serde_json::from_str(&line.expect("readable")).expect("a record is JSON");
        let verdict = Exchange::of(&record).check();
        let redacted = record.get("redacted").map(|_| "(of them with a value that was blacked out)".to_owned());
        redacted.into_iter().for_each(|note| *counts.entry(note).or_default() += 1);
        *counts.entry(verdict.unwrap_or_else(|why| panic!("line {}: {why}", number + 1))).or_default() += 1;
    }
    println!("{counts:#?}");
    let answers = counts.iter().filter(|(what, _)| !what.starts_with('(')).map(|(_, count)| count).sum::<usize>();
    assert_eq!(answers, 43_400, "all of them");
}

struct Exchange<'a> {
    op: &'a str,
    body: &'a Value,
    reply: Reply,
}

impl<'a> Exchange<'a> {
    fn of(record: &'a Value) -> Self {
        let body = &record["response_body"];
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let headers = record["response_headers"].as_object().into_iter().flatten();
        let headers = headers.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        let status = u16::try_from(record["status"].as_u64().expect("a status")).expect("a status");
        let reply = Reply { status, headers: headers.collect(), body: text.into_bytes().into() };
        Self { op: record["op"].as_str().expect("an operation"), body, reply }
    }

    /// What to count it as; or what is wrong.
    fn check(&self) -> Result<String, String> {
        if self.reply.is_success() { self.check_success() } else { self.check_failure() }
    }

    fn operation(&self) -> Operation {
        match self.op {
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

    fn question(&self) -> Question<'static> {
        Question { operation: self.operation(), name: None, now: SystemTime::UNIX_EPOCH }
    }

    fn read<T>(&self, read: fn(&[u8]) -> Result<T, wire::WireError>) -> Result<T, String> {
        self.question().read(&self.reply, read).map_err(|error| format!("{error}: {}", self.body))
    }

    fn check_success(&self) -> Result<String, String> {
        if self.body["contentType"] == "application/vnd.ms-sastoken-storage" && self.has_no_path() {
            let error = self.question().read(&self.reply, wire::secret).expect_err("no name to be read from it");
            assert_eq!(error.kind, ErrorKind::Broken);
            return Ok("an identifier without a path, of a retired storage secret: Broken".to_owned());
        }
        match self.operation() {
            Operation::Get | Operation::Find => {
                let secret = self.read(wire::secret)?;
                let mut found = shown(&secret.properties);
                found.insert("value".into(), json!(secret.value.expose()));
                self.compare(self.body, &found)?;
            }
            Operation::Set | Operation::Update | Operation::Recover | Operation::Restore => {
                let mut found = shown(&self.read(wire::properties)?);
                found.extend(self.body.get("value").map(|value| ("value".to_owned(), value.clone())));
                self.compare(self.body, &found)?;
            }
            Operation::Delete | Operation::GetDeleted => {
                self.compare(self.body, &shown_deleted(&self.read(wire::deleted)?))?;
            }
            Operation::List | Operation::ListVersions => {
                let page = self.read(wire::page)?;
                self.compare_page(page.items.iter().map(shown), page.next_link, page.dropped)?;
            }
            Operation::ListDeleted => {
                let page = self.read(wire::deleted_page)?;
                self.compare_page(page.items.iter().map(shown_deleted), page.next_link, page.dropped)?;
            }
            Operation::Backup => {
                let blob: BackupBlob = self.read(wire::backup)?;
                let again: Value = serde_json::from_slice(&wire::restore_body(&blob)).expect("JSON");
                self.compare(self.body, again.as_object().expect("an object"))?;
            }
            Operation::Purge => self.read(wire::nothing)?,
        }
        Ok(format!("{} {}", self.op, self.reply.status))
    }

    fn has_no_path(&self) -> bool {
        let host_and_path = self.body["id"].as_str().and_then(|id| id.strip_prefix("https://"));
        host_and_path.is_some_and(|rest| rest.matches('/').count() == 1)
    }

    fn compare_page(
        &self,
        items: impl Iterator<Item = Map<String, Value>>,
        next: Option<String>,
        dropped: usize,
    ) -> Result<(), String> {
        let raw = self.body["value"].as_array().cloned().unwrap_or_default();
        let items: Vec<_> = items.collect();
        if dropped != 0 || raw.len() != items.len() {
            return Err(format!("{dropped} of {} items were left out: {}", raw.len(), self.body));
        }
        for (raw, item) in raw.iter().zip(&items) {
            self.compare(raw, item)?;
        }
        let link = self.body["nextLink"].as_str();
        if link == next.as_deref() { Ok(()) } else { Err(format!("the link: {link:?} {next:?}")) }
    }

    /// Every member of `raw` that we know, and none that it lacks, must be in `found`.
    fn compare(&self, raw: &Value, found: &Map<String, Value>) -> Result<(), String> {
        let expected = known(raw);
        if expected == *found {
            return Ok(());
        }
        Err(format!("{}: {} became {}", self.op, Value::from(expected), Value::from(found.clone())))
    }

    /// Where the header was kept, it asks for what all public vaults ask for, in the tenant that it names.
    fn check_challenge(&self) -> Result<(), String> {
        let Some(header) = self.reply.header("www-authenticate") else { return Ok(()) };
        let tenant = header.split('"').nth(1).and_then(|authority| authority.rsplit('/').next()).map(str::to_owned);
        let expected = Challenge { scope: "https://vault.azure.net/.default".to_owned(), tenant };
        let asked = challenge::read(&self.reply, &Vault::parse("contoso").expect("a vault"), true);
        if asked == Asked::Token(expected) { Ok(()) } else { Err(format!("{header} became {asked:?}")) }
    }

    fn check_failure(&self) -> Result<String, String> {
        if self.reply.status == 401 {
            self.check_challenge()?;
        }
        let error = self.question().read(&self.reply, wire::nothing).expect_err("a failure");
        let said = |pointer: &str| self.body.pointer(pointer).and_then(Value::as_str);
        let (code, inner) = (said("/error/code"), said("/error/innererror/code"));
        let expected = expected_kind(self.op, self.reply.status, code, inner)
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
