//! JSON to types and back. The only file of the client that knows JSON; it knows nothing of HTTP.
//!
//! The reader is tolerant: members may come in any order, may be missing or unknown, and dates may be any 64-bit
//! number. It is strict where doubt could do harm: an answer without the one thing it is asked for (a value, a page's
//! items, an identifier) is no answer. Nothing that was read ever gets into an error: the parser's own messages quote
//! what they choke on, so only its position is passed on.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::bounded;
use crate::secret::{
    BackupBlob, DeletedSecret, KeyVaultSecret, SecretAttributes, SecretName, SecretProperties, SecretValue, Tags,
    Timestamp, Version,
};

/// Deeper than any answer of the service (3) and far from any stack's end.
const MAX_DEPTH: usize = 16;

/// Items of a page; the service sends at most 25.
const MAX_ITEMS: usize = 1_000;

/// Tags of a secret; the service takes at most 15.
const MAX_TAGS: usize = 100;

/// The alphabet of backups: base64url; the service writes no padding.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a body makes no sense. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// Not the JSON that was expected, from this line and column on.
    Json(usize, usize),
    /// Nested deeper than anything the service sends.
    TooDeep,
    /// More items or tags than the service sends.
    TooMany,
    /// About another secret than was asked for.
    OtherSecret,
    /// This is missing, or is not what it should be.
    Member(&'static str),
}

impl fmt::Display for WireError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(line, column) => write!(out, "not the expected JSON at line {line} column {column}"),
            Self::TooDeep => out.write_str("JSON nested too deep"),
            Self::TooMany => out.write_str("more items or tags than a Key Vault sends"),
            Self::OtherSecret => out.write_str("it is of another secret"),
            Self::Member(name) => write!(out, "no usable {name}"),
        }
    }
}

impl std::error::Error for WireError {}

/// Who a token is for, in the words of Entra ID's access tokens. Only what names somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "the claims' own names")]
pub struct Claims {
    /// The object id: what rights are given to.
    pub oid: Option<String>,
    /// The application, in tokens of version 1.
    pub appid: Option<String>,
    /// The application, in tokens of version 2.
    pub azp: Option<String>,
    /// The tenant.
    pub tid: Option<String>,
    /// A person.
    pub upn: Option<String>,
    /// A person without one.
    pub unique_name: Option<String>,
    /// The Azure resource whose managed identity it is.
    pub xms_mirid: Option<String>,
}

/// The claims in the middle part of a JWT; `None` if it is none, or names nobody.
pub fn claims(payload: &str) -> Option<Claims> {
    let bytes = Zeroizing::new(BASE64URL.decode(payload).ok()?);
    let claims: Claims = serde_json::from_slice(&bytes).ok()?;
    (claims != Claims::default()).then_some(claims)
}

/// A page of a listing as the service sent it.
#[derive(Debug)]
pub struct WirePage<T> {
    /// The items that make sense.
    pub items: Vec<T>,
    /// How many did not.
    pub dropped: usize,
    /// Where the service says the next page is.
    pub next_link: Option<String>,
}

/// What the service says of a failure.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ServiceError {
    /// What kind of failure.
    pub code: Option<String>,
    /// Why.
    pub inner: Option<String>,
    /// In words.
    pub message: String,
}

/// A secret with its value.
pub fn secret(body: &[u8]) -> Result<KeyVaultSecret, WireError> {
    let mut bundle: Bundle = parse(body)?;
    let value = bundle.value.take().ok_or(WireError::Member("value"))?;
    Ok(KeyVaultSecret { properties: bundle.properties()?, value: value.into_value() })
}

/// A secret's properties; a value beside them is passed over.
pub fn properties(body: &[u8]) -> Result<SecretProperties, WireError> {
    parse::<Bundle>(body)?.properties()
}

/// A soft-deleted secret.
pub fn deleted(body: &[u8]) -> Result<DeletedSecret, WireError> {
    parse::<Bundle>(body)?.deleted()
}

/// A page of secrets or of versions.
pub fn page(body: &[u8]) -> Result<WirePage<SecretProperties>, WireError> {
    page_of(body, Bundle::properties)
}

/// A page of soft-deleted secrets.
pub fn deleted_page(body: &[u8]) -> Result<WirePage<DeletedSecret>, WireError> {
    page_of(body, Bundle::deleted)
}

/// A backup.
pub fn backup(body: &[u8]) -> Result<BackupBlob, WireError> {
    let text = parse::<Bundle>(body)?.value.ok_or(WireError::Member("value"))?;
    let bytes = BASE64URL.decode(text.0.as_bytes()).map_err(|_| WireError::Member("backup"))?;
    Ok(BackupBlob::new(bytes))
}

/// An answer that says only that it was done.
pub fn nothing(_body: &[u8]) -> Result<(), WireError> {
    Ok(())
}

/// What the service says of a failure; `None` if this is not the service speaking.
pub fn error(body: &[u8]) -> Option<ServiceError> {
    let error = parse::<Failure>(body).ok()?.error?;
    error.code.as_ref()?;
    let inner = error.innererror.and_then(|inner| inner.code);
    Some(ServiceError { code: error.code, inner, message: error.message.unwrap_or_default() })
}

/// The body of a set: the value, and of the attributes what is given.
pub fn set_body(value: &SecretValue, attributes: &SecretAttributes) -> Zeroizing<Vec<u8>> {
    written(&Change { value: Some(value.expose()), ..Change::of(attributes) })
}

/// The body of an update: what is given.
pub fn update_body(changes: &SecretAttributes) -> Zeroizing<Vec<u8>> {
    written(&Change::of(changes))
}

/// The body of a restore.
pub fn restore_body(blob: &BackupBlob) -> Zeroizing<Vec<u8>> {
    let text = Zeroizing::new(BASE64URL.encode(blob.expose()));
    written(&Change { value: Some(&text), ..Change::default() })
}

/// Splits `{vault}/secrets/{name}[/{version}]` into vault, name and version. Takes the first three segments of the
/// path, `secrets` in any case, and passes over a query.
pub fn parse_id(id: &str) -> Result<(String, SecretName, Option<Version>), WireError> {
    const WRONG: WireError = WireError::Member("id");
    // The parser would drop or quote these.
    if id.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        return Err(WRONG);
    }
    let url = Url::parse(id).ok().filter(Url::has_host).ok_or(WRONG)?;
    let mut segments = url.path_segments().ok_or(WRONG)?;
    let (collection, name, version) = (segments.next(), segments.next(), segments.next());
    if !collection.is_some_and(|word| word.eq_ignore_ascii_case("secrets")) {
        return Err(WRONG);
    }
    let name = name.and_then(|name| SecretName::parse(name).ok()).ok_or(WRONG)?;
    let version = match version {
        None | Some("") => None,
        Some(version) => Some(Version::parse(version).ok_or(WRONG)?),
    };
    Ok((url[..url::Position::BeforePath].to_owned(), name, version))
}

fn page_of<T>(body: &[u8], read: fn(Bundle) -> Result<T, WireError>) -> Result<WirePage<T>, WireError> {
    let Listing { value, next_link } = parse(body)?;
    let bundles = value.unwrap_or_default(); // early builds wrote null for an empty page
    let count = bundles.len();
    let items: Vec<T> = bundles.into_iter().filter_map(|bundle| read(bundle).ok()).collect();
    let dropped = count - items.len();
    Ok(WirePage { items, dropped, next_link: next_link.filter(|link| !link.is_empty()) })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    if depth(body) > MAX_DEPTH {
        return Err(WireError::TooDeep);
    }
    serde_json::from_slice(body).map_err(|error| match error.to_string() {
        why if why.starts_with(bounded::TOO_MANY) => WireError::TooMany,
        _ => WireError::Json(error.line(), error.column()),
    })
}

/// How deep brackets are nested, quoted ones not counted.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for &byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Serialises into a buffer that never grows, so that no copy is left behind.
fn written(body: &Change<'_>) -> Zeroizing<Vec<u8>> {
    let mut count = Counter(0);
    let mut bytes = Zeroizing::new(Vec::new());
    // Neither a map with text for keys nor a buffer in memory can fail.
    let _ = serde_json::to_writer(&mut count, body);
    bytes.reserve_exact(count.0);
    let _ = serde_json::to_writer(&mut *bytes, body);
    bytes
}

struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Text that is wiped whatever becomes of the answer around it.
struct Plain(Zeroizing<String>);

impl Plain {
    fn into_value(mut self) -> SecretValue {
        SecretValue::new(std::mem::take(&mut self.0))
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Zeroizing::new(text)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    value: Option<Plain>,
    id: Option<String>,
    content_type: Option<String>,
    attributes: Option<Attributes>,
    #[serde(default, deserialize_with = "bounded::texts::<MAX_TAGS, _>")]
    tags: Option<Tags>,
    kid: Option<String>,
    managed: Option<bool>,
    previous_version: Option<String>,
    recovery_id: Option<String>,
    deleted_date: Option<i64>,
    scheduled_purge_date: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    enabled: Option<bool>,
    nbf: Option<i64>,
    exp: Option<i64>,
    created: Option<i64>,
    updated: Option<i64>,
    #[serde(alias = "recoverylevel")] // as builds of 2016 spelled it
    recovery_level: Option<String>,
    recoverable_days: Option<i64>,
}

impl Bundle {
    fn properties(self) -> Result<SecretProperties, WireError> {
        let id = self.id.ok_or(WireError::Member("id"))?;
        let (vault_url, name, version) = parse_id(&id)?;
        let attributes = self.attributes.unwrap_or_default();
        Ok(SecretProperties {
            id,
            vault_url,
            name,
            version,
            enabled: attributes.enabled,
            not_before: attributes.nbf.map(Timestamp),
            expires_on: attributes.exp.map(Timestamp),
            created_on: attributes.created.map(Timestamp),
            updated_on: attributes.updated.map(Timestamp),
            content_type: self.content_type,
            tags: self.tags,
            recovery_level: attributes.recovery_level,
            recoverable_days: attributes.recoverable_days,
            key_id: self.kid,
            managed: self.managed,
            previous_version: self.previous_version,
        })
    }

    fn deleted(mut self) -> Result<DeletedSecret, WireError> {
        Ok(DeletedSecret {
            deleted_date: self.deleted_date.map(Timestamp),
            scheduled_purge_date: self.scheduled_purge_date.map(Timestamp),
            recovery_id: self.recovery_id.take(),
            properties: self.properties()?,
        })
    }
}

#[derive(Deserialize)]
struct Listing {
    /// May be null, but must be there: `{}` is not an empty vault.
    #[serde(deserialize_with = "bounded::items::<MAX_ITEMS, _, _>")]
    value: Option<Vec<Bundle>>,
    #[serde(rename = "nextLink")]
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    error: Option<FailureDetail>,
}

#[derive(Deserialize)]
struct FailureDetail {
    code: Option<String>,
    message: Option<String>,
    innererror: Option<FailureReason>,
}

#[derive(Deserialize)]
struct FailureReason {
    code: Option<String>,
}

/// What a request says. What is `None` is left out: the service would take a null for a value of its own.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Change<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<ChangedAttributes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a Tags>,
}

#[derive(Serialize)]
struct ChangedAttributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

impl<'a> Change<'a> {
    fn of(attributes: &'a SecretAttributes) -> Self {
        let SecretAttributes { enabled, not_before, expires_on, content_type, tags } = attributes;
        let any = enabled.is_some() || not_before.is_some() || expires_on.is_some();
        let changed = ChangedAttributes {
            enabled: *enabled,
            nbf: not_before.map(|date| date.0),
            exp: expires_on.map(|date| date.0),
        };
        Self {
            value: None,
            content_type: content_type.as_deref(),
            attributes: any.then_some(changed),
            tags: tags.as_ref(),
        }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
