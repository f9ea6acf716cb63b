//! `.meta.json`: a secret's properties as a document that people read and edit.
//!
//! Names are those of Python's `SecretProperties`. Dates are RFC 3339 in UTC. What is not set is not there.

use serde_json::{Map, Value};

use crate::secret::{DeletedSecret, SecretAttributes, SecretName, SecretProperties, Tags, Timestamp, Version};
use crate::store::{Operation, StoreError, Wait};

use super::errno::{FsError, FsResult};
use super::lookup::Home;
use super::{Call, SecretFs};

impl SecretFs {
    /// The `.meta.json` of a secret or of one version, and its date in seconds since 1970.
    pub(super) fn document(
        &self,
        call: &Call,
        secret: &SecretName,
        version: Option<&Version>,
    ) -> FsResult<(String, Option<i64>)> {
        match self.home(call, secret)? {
            Home::Live(_) => {
                let properties = self.properties(secret, version, call.wait)?;
                Ok((render(&live(&properties)), properties.updated_on.map(|date| date.0)))
            }
            Home::Newborn => {
                let attributes =
                    self.state().newborn.get(secret).and_then(|newborn| newborn.attributes.clone()).unwrap_or_default();
                Ok((render(&given(&attributes)), None))
            }
            Home::Deleted | Home::Ghost => self.deleted_document(secret, call.wait),
        }
    }

    fn deleted_document(&self, secret: &SecretName, wait: Wait) -> FsResult<(String, Option<i64>)> {
        let deleted = self.deleted_secret(secret, wait)?;
        // From the listing alone, and there is more to be had.
        if deleted.properties.version.is_none() && wait == Wait::No {
            return Err(StoreError::not_in_memory(Operation::GetDeleted).into());
        }
        Ok((render(&gone(&deleted)), deleted.deleted_date.map(|date| date.0)))
    }
}

fn put<T: Into<Value>>(object: &mut Map<String, Value>, key: &str, value: Option<T>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), value.into());
    }
}

fn date(timestamp: Option<Timestamp>) -> Option<String> {
    timestamp.map(|timestamp| timestamp.to_string())
}

fn tags(tags: Option<&Tags>) -> Option<Value> {
    tags.map(|tags| tags.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect())
}

pub(super) fn live(properties: &SecretProperties) -> Map<String, Value> {
    let mut object = Map::new();
    put(&mut object, "id", Some(properties.id.as_str()));
    put(&mut object, "name", Some(properties.name.as_str()));
    put(&mut object, "version", properties.version.as_ref().map(|version| version.as_str()));
    put(&mut object, "vault_url", Some(properties.vault_url.as_str()));
    put(&mut object, "enabled", properties.enabled);
    put(&mut object, "not_before", date(properties.not_before));
    put(&mut object, "expires_on", date(properties.expires_on));
    put(&mut object, "created_on", date(properties.created_on));
    put(&mut object, "updated_on", date(properties.updated_on));
    put(&mut object, "content_type", properties.content_type.as_deref());
    put(&mut object, "tags", tags(properties.tags.as_ref()));
    put(&mut object, "recovery_level", properties.recovery_level.as_deref());
    put(&mut object, "recoverable_days", properties.recoverable_days);
    put(&mut object, "key_id", properties.key_id.as_deref());
    put(&mut object, "managed", properties.managed);
    put(&mut object, "previous_version", properties.previous_version.as_deref());
    object
}

fn gone(deleted: &DeletedSecret) -> Map<String, Value> {
    let mut object = live(&deleted.properties);
    put(&mut object, "deleted_date", date(deleted.deleted_date));
    put(&mut object, "scheduled_purge_date", date(deleted.scheduled_purge_date));
    put(&mut object, "recovery_id", deleted.recovery_id.as_deref());
    object
}

fn given(attributes: &SecretAttributes) -> Map<String, Value> {
    let mut object = Map::new();
    put(&mut object, "enabled", attributes.enabled);
    put(&mut object, "not_before", date(attributes.not_before));
    put(&mut object, "expires_on", date(attributes.expires_on));
    put(&mut object, "content_type", attributes.content_type.as_deref());
    put(&mut object, "tags", tags(attributes.tags.as_ref()));
    object
}

pub(super) fn render(object: &Map<String, Value>) -> String {
    // A map of strings, numbers and booleans always serialises.
    let mut text = serde_json::to_string_pretty(object).unwrap_or_default();
    text.push('\n');
    text
}

fn invalid(why: &'static str) -> FsError {
    FsError::refused(libc::EINVAL, why)
}

/// What an edited `.meta.json` changes. `before` is what stands in the vault; `None` for a secret that is not there yet.
/// Nothing is changed by what is left out, or by what is as before.
pub fn parse(bytes: &[u8], before: Option<&SecretProperties>) -> FsResult<SecretAttributes> {
    let document: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|_| invalid("a .meta.json is a JSON object"))?;
    let shown = before.map(live).unwrap_or_default();
    let mut changes = SecretAttributes::default();
    for (key, value) in &document {
        if shown.get(key) != Some(value) && !before.is_some_and(|before| names_version(before, key, value)) {
            change(&mut changes, key, value)?;
        }
    }
    Ok(changes)
}

/// Whether a member only says which version it was: a listing does not tell the current one, so what was read a moment
/// ago, before the secret was disabled, may say more than can be found now.
fn names_version(before: &SecretProperties, key: &str, value: &Value) -> bool {
    let version = match (key, value.as_str()) {
        ("version", Some(text)) => Some(text),
        ("id", Some(text)) => text.strip_prefix(&before.id).and_then(|rest| rest.strip_prefix('/')),
        _ => None,
    };
    before.version.is_none() && version.and_then(Version::parse).is_some()
}

fn change(changes: &mut SecretAttributes, key: &str, value: &Value) -> FsResult<()> {
    match key {
        "enabled" => {
            changes.enabled = Some(value.as_bool().ok_or_else(|| invalid("enabled is true or false"))?);
        }
        "not_before" => changes.not_before = Some(parse_date(value)?),
        "expires_on" => changes.expires_on = Some(parse_date(value)?),
        "content_type" => changes.content_type = Some(parse_text(value)?),
        "tags" => changes.tags = Some(parse_tags(value)?),
        "id" | "name" | "version" | "vault_url" | "created_on" | "updated_on" | "recovery_level"
        | "recoverable_days" | "key_id" | "managed" | "previous_version" => {
            return Err(invalid("only enabled, not_before, expires_on, content_type and tags can be changed"));
        }
        _ => return Err(invalid("a .meta.json has no such member")),
    }
    Ok(())
}

fn parse_date(value: &Value) -> FsResult<Timestamp> {
    match value {
        Value::Null => Err(cannot_clear()),
        Value::String(text) => Timestamp::parse(text).ok_or_else(|| invalid("a date looks like 2027-01-31T00:00:00Z")),
        _ => Err(invalid("a date looks like 2027-01-31T00:00:00Z")),
    }
}

fn parse_text(value: &Value) -> FsResult<String> {
    match value {
        Value::Null => Err(cannot_clear()),
        Value::String(text) => Ok(text.clone()),
        _ => Err(invalid("content_type is a text")),
    }
}

fn parse_tags(value: &Value) -> FsResult<Tags> {
    let object = value.as_object().ok_or_else(|| invalid("tags are an object; {} clears them"))?;
    object
        .iter()
        .map(|(key, value)| {
            let text = value.as_str().ok_or_else(|| invalid("a tag's value is a text"))?;
            Ok((key.clone(), text.to_owned()))
        })
        .collect()
}

fn cannot_clear() -> FsError {
    FsError::refused(
        libc::EOPNOTSUPP,
        "the service cannot clear a date or the content type: save a new version without it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before() -> SecretProperties {
        SecretProperties {
            enabled: Some(true),
            content_type: Some("text/plain".into()),
            tags: Some(Tags::from([("a".into(), "1".into())])),
            expires_on: Some(Timestamp(32_503_680_000)),
            created_on: Some(Timestamp(0)),
            ..SecretProperties::bare("https://v.vault.azure.net", &SecretName::parse("n").expect("legal"))
        }
    }

    fn parse_text(text: &str) -> FsResult<SecretAttributes> {
        parse(text.as_bytes(), Some(&before()))
    }

    #[test]
    fn what_is_read_can_be_written_back_and_changes_nothing() {
        let text = render(&live(&before()));
        assert!(parse_text(&text).expect("accepted").is_empty());
        assert!(text.contains("\"expires_on\": \"3000-01-01T00:00:00Z\"") && text.ends_with("}\n"));
        assert!(!text.contains("null") && !text.contains("not_before"), "absent is absent");
    }

    #[test]
    fn a_version_that_the_listing_does_not_tell_is_no_change() {
        let version = "0123456789abcdef0123456789abcdef";
        let known = SecretProperties { version: Version::parse(version), ..before() };
        let text = format!(r#"{{"version": "{version}", "id": "{}/{version}", "enabled": false}}"#, before().id);
        let changes = parse_text(&text).expect("accepted");
        assert_eq!(changes, SecretAttributes { enabled: Some(false), ..SecretAttributes::default() });
        let other = text.replace("0123", "3210");
        assert_eq!(parse(other.as_bytes(), Some(&known)).expect_err("another version").errno(), libc::EINVAL);
        assert_eq!(parse_text(r#"{"id": "https://w/secrets/n"}"#).expect_err("another").errno(), libc::EINVAL);
    }

    #[test]
    fn only_what_changes_is_sent() {
        let changes = parse_text(r#"{"enabled": false, "content_type": "text/plain"}"#).expect("accepted");
        assert_eq!(changes, SecretAttributes { enabled: Some(false), ..SecretAttributes::default() });
        let cleared = parse_text(r#"{"tags": {}}"#).expect("accepted");
        assert_eq!(cleared.tags, Some(Tags::new()));
        let dated = parse_text(r#"{"not_before": "2027-01-31T01:00:00+01:00"}"#).expect("accepted");
        assert_eq!(dated.not_before, Timestamp::parse("2027-01-31T00:00:00Z"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_errno() {
        for (text, errno) in [
            ("", libc::EINVAL),
            ("{", libc::EINVAL),
            ("[]", libc::EINVAL),
            (r#"{"nmae": "n"}"#, libc::EINVAL),
            (r#"{"version": "0123"}"#, libc::EINVAL),
            (r#"{"created_on": "2027-01-31T00:00:00Z"}"#, libc::EINVAL),
            (r#"{"enabled": "yes"}"#, libc::EINVAL),
            (r#"{"expires_on": 17}"#, libc::EINVAL),
            (r#"{"expires_on": "soon"}"#, libc::EINVAL),
            (r#"{"tags": {"a": 1}}"#, libc::EINVAL),
            (r#"{"tags": null}"#, libc::EINVAL),
            (r#"{"expires_on": null}"#, libc::EOPNOTSUPP),
            (r#"{"content_type": null}"#, libc::EOPNOTSUPP),
        ] {
            assert_eq!(parse_text(text).expect_err(text).errno(), errno, "{text}");
        }
    }
}
