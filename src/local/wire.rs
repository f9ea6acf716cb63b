//! JSON of the wire, read and written: compact, members in the service's order, absent where unset.
//!
//! The local vault's own; the client has its own too.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::secret::SecretValue;

use super::api_version::ApiVersion;
use super::errors::{Parts, Refusal};
use super::model::{Attributes, Snapshot, State, Tags};
use super::options::Policy;

/// What this vault gives as its Azure region.
pub const REGION: &str = "local";

/// What of a snapshot is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Everything: answers of set and get.
    Value,
    /// All but the value.
    Properties,
    /// As an item of a list: no version, no key.
    Item,
    /// As an item of a list of versions: no key.
    Version,
}

/// What all bundles of one answer share.
pub struct Frame {
    /// The vault's URL as the caller wrote it.
    pub vault: String,
    /// `recoveryLevel`, where the api-version has it.
    level: Option<&'static str>,
    /// `recoverableDays`, where the api-version has it.
    days: Option<u32>,
}

impl Frame {
    /// For an answer to a caller that used `vault` and `version`.
    pub fn new(vault: String, version: ApiVersion, policy: Policy) -> Self {
        let level = (version >= ApiVersion::Level).then_some(policy.level.as_str());
        Self { vault, level, days: (version >= ApiVersion::Days).then_some(policy.days) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bundle<'a> {
    #[serde(flatten)]
    deletion: Option<Deletion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    managed: Option<bool>,
    attributes: BundleAttributes,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_tags")]
    tags: Option<&'a Tags>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Deletion {
    recovery_id: String,
    deleted_date: i64,
    scheduled_purge_date: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BundleAttributes {
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    created: i64,
    updated: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recoverable_days: Option<u32>,
}

fn write_tags<S: Serializer>(tags: &Option<&Tags>, out: S) -> Result<S::Ok, S::Error> {
    let tags = tags.map(Vec::as_slice).unwrap_or_default();
    let mut map = out.serialize_map(Some(tags.len()))?;
    tags.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
    map.end()
}

impl<'a> Bundle<'a> {
    fn new(snapshot: &'a Snapshot, show: Show, frame: &Frame) -> Self {
        let Snapshot { head, version, revision } = snapshot;
        let (vault, name) = (&frame.vault, &head.name);
        let id = match show {
            Show::Item => format!("{vault}/secrets/{name}"),
            _ => format!("{vault}/secrets/{name}/{version}"),
        };
        let has_key = head.managed && matches!(show, Show::Value | Show::Properties);
        Self {
            deletion: Deletion::of(snapshot, vault),
            value: (show == Show::Value).then(|| revision.value.expose()),
            content_type: revision.attributes.content_type.as_deref(),
            id,
            managed: head.managed.then_some(true),
            attributes: BundleAttributes::new(snapshot, frame),
            tags: revision.attributes.tags.as_ref(),
            kid: has_key.then(|| format!("{vault}/keys/{name}/{version}")),
        }
    }
}

impl Deletion {
    fn of(snapshot: &Snapshot, vault: &str) -> Option<Self> {
        match snapshot.head.state {
            State::Live { .. } => None,
            State::Deleted { on, purge_on, .. } => Some(Self {
                recovery_id: format!("{vault}/deletedsecrets/{}", snapshot.head.name),
                deleted_date: on,
                scheduled_purge_date: purge_on,
            }),
        }
    }
}

impl BundleAttributes {
    fn new(snapshot: &Snapshot, frame: &Frame) -> Self {
        let revision = &snapshot.revision;
        Self {
            enabled: !revision.is_disabled(),
            nbf: revision.attributes.not_before,
            exp: revision.attributes.expires_on,
            created: revision.created,
            updated: revision.updated,
            recovery_level: frame.level,
            recoverable_days: frame.days,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PageBody<'a> {
    value: Vec<Bundle<'a>>,
    next_link: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct BlobBody {
    value: String,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorMembers<'a>,
}

#[derive(Serialize)]
struct ErrorMembers<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    innererror: Option<InnerError<'a>>,
}

#[derive(Serialize)]
struct InnerError<'a> {
    code: &'a str,
}

/// The body of an answer with one bundle.
pub fn bundle(snapshot: &Snapshot, show: Show, frame: &Frame) -> Vec<u8> {
    write(&Bundle::new(snapshot, show, frame))
}

/// The body of a page.
pub fn page(items: &[Snapshot], show: Show, next_link: Option<String>, frame: &Frame) -> Vec<u8> {
    let value = items.iter().map(|item| Bundle::new(item, show, frame)).collect();
    write(&PageBody { value, next_link })
}

/// The body of a backup's answer.
pub fn blob(value: String) -> Vec<u8> {
    write(&BlobBody { value })
}

/// The body of a refusal.
pub fn error(parts: &Parts) -> Vec<u8> {
    let innererror = parts.inner.map(|code| InnerError { code });
    write(&ErrorBody { error: ErrorMembers { code: parts.code, message: &parts.message, innererror } })
}

/// Nothing written here can fail: every key is a string, and every number finite.
fn write(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

/// The body of a set or an update; unknown members are ignored, `null` counts as absent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretBody {
    value: Option<serde_json::Value>,
    content_type: Option<String>,
    attributes: Option<GivenAttributes>,
    tags: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Default, Deserialize)]
struct GivenAttributes {
    enabled: Option<bool>,
    nbf: Option<i64>,
    exp: Option<i64>,
}

/// Reads the body of a set.
pub fn parse_set(body: &[u8]) -> Result<(Option<SecretValue>, Attributes), Refusal> {
    let mut body = parse_object::<SecretBody>(body)?;
    let value = match body.value.take() {
        None => None,
        Some(serde_json::Value::String(text)) => Some(SecretValue::new(text)),
        Some(_) => return Err(Refusal::InvalidProperties(1)),
    };
    Ok((value, body.attributes()?))
}

/// Reads the body of an update, whose `value`, if there is one, is ignored.
pub fn parse_update(body: &[u8]) -> Result<Attributes, Refusal> {
    parse_object::<SecretBody>(body)?.attributes()
}

/// Reads the body of a restore.
pub fn parse_blob(body: &[u8]) -> Result<String, Refusal> {
    Ok(parse_object::<BlobBody>(body)?.value)
}

/// Reads an object; serde alone would take an array for a struct too.
fn parse_object<'a, Body: Deserialize<'a>>(body: &'a [u8]) -> Result<Body, Refusal> {
    let wrong = Refusal::InvalidProperties(1);
    match body.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice(body).map_err(|_| wrong),
        _ => Err(wrong),
    }
}

impl SecretBody {
    fn attributes(self) -> Result<Attributes, Refusal> {
        let given = self.attributes.unwrap_or_default();
        Ok(Attributes {
            enabled: given.enabled,
            not_before: given.nbf,
            expires_on: given.exp,
            content_type: self.content_type,
            tags: self.tags.map(parse_tags).transpose()?,
        })
    }
}

fn parse_tags(tags: serde_json::Map<String, serde_json::Value>) -> Result<Tags, Refusal> {
    let pairs = tags.into_iter().map(|(key, value)| match value {
        serde_json::Value::String(text) => Ok((key, text)),
        _ => Err(Refusal::InvalidProperties(1)),
    });
    pairs.collect()
}
