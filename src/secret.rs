//! The words everybody uses: a secret's name, version, value and properties. Knows no other module but the memory that
//! values stand in.
//!
//! Names follow the models of Microsoft's Python SDK. Every property but the name is optional, because the
//! service leaves out what is not set, and absent is not the same as empty.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcDateTime};
use zeroize::Zeroize;

use crate::memory::Locked;

/// The longest secret name, in characters (Key Vault's "about keys, secrets and certificates").
pub const MAX_NAME: usize = 127;
/// The largest value, in bytes (Key Vault's "about secrets": 25 KB).
pub const MAX_VALUE: usize = 25_600;

/// A secret's name: 1 to 127 of `0-9A-Za-z-`, kept as spelled and compared without case, as the service does.
#[derive(Clone)]
pub struct SecretName(Arc<str>);

/// Why a text is no secret's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Longer than [`MAX_NAME`].
    #[error("a secret's name has at most {MAX_NAME} characters")]
    TooLong,
    /// Empty, or with a character other than `0-9A-Za-z-`.
    #[error("a secret's name has only letters, digits and dashes")]
    Illegal,
}

impl SecretName {
    /// Checks `text`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(NameError::Illegal);
        }
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        Ok(Self(text.into()))
    }

    /// The name as it was spelled.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `other` is this name to the letter.
    pub fn same_spelling(&self, other: &SecretName) -> bool {
        self.0 == other.0
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|byte| byte.to_ascii_uppercase())
    }
}

impl PartialEq for SecretName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for SecretName {}

impl Hash for SecretName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|byte| state.write_u8(byte));
        state.write_u8(0xff);
    }
}

impl Ord for SecretName {
    /// By upper-cased name, which is the order of the service's listings.
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl PartialOrd for SecretName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for SecretName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", &*self.0)
    }
}

/// A version: 32 lower-case hexadecimal digits, made by the service, random.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(Arc<str>);

impl Version {
    /// Checks `text`; `None` if it is not 32 hexadecimal digits. Upper case becomes lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A secret's value. It prints as `REDACTED`, cannot be displayed or serialised, stands in [`Locked`] memory, and is wiped
/// when the last clone is dropped.
///
/// ```
/// # use akvfs::secret::SecretValue;
/// let value = SecretValue::new("hunter2".to_owned());
/// assert_eq!(format!("{value:?}"), "REDACTED");
/// serde_json::to_string("what may be").unwrap();
/// ```
/// ```compile_fail,E0277
/// # use akvfs::secret::SecretValue;
/// let value = SecretValue::new("hunter2".to_owned());
/// format!("{value}");
/// ```
/// ```compile_fail,E0277
/// # use akvfs::secret::SecretValue;
/// let value = SecretValue::new("hunter2".to_owned());
/// serde_json::to_string(&value);
/// ```
/// ```compile_fail,E0277
/// # use akvfs::secret::SecretValue;
/// let value = SecretValue::new("hunter2".to_owned());
/// let text: &str = AsRef::<str>::as_ref(&value);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Arc<Locked>);

impl SecretValue {
    /// Takes over `text`, which is wiped.
    pub fn new(mut text: String) -> Self {
        let value = Self(Arc::new(Locked::copy_of(text.as_bytes())));
        text.zeroize();
        value
    }

    /// The value. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        // SAFETY: `new` copied them from a `String`, and they never change.
        unsafe { std::str::from_utf8_unchecked(self.0.expose()) }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.expose().len()
    }

    /// Whether it is the empty value.
    pub fn is_empty(&self) -> bool {
        self.0.expose().is_empty()
    }

    /// The memory that it takes, in bytes: at most a quarter more than its length.
    pub fn room(&self) -> usize {
        self.0.room()
    }

    /// To know when it is gone.
    pub fn watch(&self) -> ValueWatch {
        ValueWatch(Arc::downgrade(&self.0))
    }
}

/// Knows whether anybody has a value, and has it not.
pub struct ValueWatch(Weak<Locked>);

impl ValueWatch {
    /// Whether the last clone was dropped.
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("REDACTED")
    }
}

/// What a backup returns: opaque bytes that only the service can open. Kept like a value.
///
/// ```compile_fail,E0277
/// # use akvfs::secret::BackupBlob;
/// serde_json::to_string(&BackupBlob::new(vec![1]));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct BackupBlob(Arc<Locked>);

impl BackupBlob {
    /// Takes over `bytes`, which are wiped.
    pub fn new(mut bytes: Vec<u8>) -> Self {
        let blob = Self(Arc::new(Locked::copy_of(&bytes)));
        bytes.zeroize();
        blob
    }

    /// The bytes, as they go into a file.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl fmt::Debug for BackupBlob {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "BackupBlob({} bytes)", self.expose().len())
    }
}

/// Whole seconds since 1970 UTC, the service's only grain. May be negative, and may lie beyond the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Reads an RFC 3339 date with any offset (fractions of a second are cut off), or `@SECONDS` as
    /// [`Display`](fmt::Display) writes it where RFC 3339 has no such year.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(seconds) = text.strip_prefix('@') {
            return seconds.parse().ok().map(Self);
        }
        OffsetDateTime::parse(text, &Rfc3339).ok().map(|date| Self(date.unix_timestamp()))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC (`2026-11-24T05:00:00Z`), or `@SECONDS` for a year that RFC 3339 cannot write.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = UtcDateTime::from_unix_timestamp(self.0).ok();
        match date.and_then(|date| date.format(&Rfc3339).ok()) {
            Some(text) => out.write_str(&text),
            None => write!(out, "@{}", self.0),
        }
    }
}

/// Tags, in a stable order. `None` where this stands as an option means that none were ever set; an empty map
/// means that they were set to nothing. The service keeps the two apart.
pub type Tags = BTreeMap<String, String>;

/// Everything about a secret but its value. A field is `None` where the service left it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretProperties {
    /// The identifier as the service sent it: `{vault}/secrets/{name}[/{version}]`.
    pub id: String,
    /// The vault's URL without a trailing slash, taken from `id`.
    pub vault_url: String,
    /// The name, in the service's spelling.
    pub name: SecretName,
    /// The version; listings of secrets do not tell it.
    pub version: Option<Version>,
    /// `false` refuses every get.
    pub enabled: Option<bool>,
    /// Informational: a get works before it.
    pub not_before: Option<Timestamp>,
    /// Informational: a get works after it.
    pub expires_on: Option<Timestamp>,
    /// When this version was made.
    pub created_on: Option<Timestamp>,
    /// When this version or its properties last changed.
    pub updated_on: Option<Timestamp>,
    /// A hint at what the value is, such as `application/x-pkcs12`.
    pub content_type: Option<String>,
    /// Free text by key.
    pub tags: Option<Tags>,
    /// What deletion means in this vault, such as `Recoverable+Purgeable`; an open set.
    pub recovery_level: Option<String>,
    /// Days between deletion and the service's own purge.
    pub recoverable_days: Option<i64>,
    /// The key of the certificate that this secret backs.
    pub key_id: Option<String>,
    /// Whether a certificate owns this secret.
    pub managed: Option<bool>,
    /// The version before, told only for some secrets of certificates.
    pub previous_version: Option<String>,
}

impl SecretProperties {
    /// Properties of `name` in `vault_url` with nothing else known.
    pub fn bare(vault_url: &str, name: &SecretName) -> Self {
        Self {
            id: format!("{vault_url}/secrets/{name}"),
            vault_url: vault_url.to_owned(),
            name: name.clone(),
            version: None,
            enabled: None,
            not_before: None,
            expires_on: None,
            created_on: None,
            updated_on: None,
            content_type: None,
            tags: None,
            recovery_level: None,
            recoverable_days: None,
            key_id: None,
            managed: None,
            previous_version: None,
        }
    }

    /// Whether the service refuses to give the value of this version.
    pub fn is_disabled(&self) -> bool {
        self.enabled == Some(false)
    }

    /// Whether a certificate owns this secret, so that set and delete are refused.
    pub fn is_managed(&self) -> bool {
        self.managed == Some(true)
    }
}

/// A secret with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVaultSecret {
    /// Everything but the value.
    pub properties: SecretProperties,
    /// The value.
    pub value: SecretValue,
}

/// A soft-deleted secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedSecret {
    /// Its properties as they were.
    pub properties: SecretProperties,
    /// When it was deleted.
    pub deleted_date: Option<Timestamp>,
    /// When the service will purge it by itself.
    pub scheduled_purge_date: Option<Timestamp>,
    /// `{vault}/deletedsecrets/{name}`; absent where deletion was final.
    pub recovery_id: Option<String>,
}

/// What a caller may say of a secret when setting or updating it. What is `None` is not sent: on a set it is then
/// unset in the new version, on an update it stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretAttributes {
    /// See [`SecretProperties::enabled`].
    pub enabled: Option<bool>,
    /// See [`SecretProperties::not_before`].
    pub not_before: Option<Timestamp>,
    /// See [`SecretProperties::expires_on`].
    pub expires_on: Option<Timestamp>,
    /// See [`SecretProperties::content_type`].
    pub content_type: Option<String>,
    /// Replaces all tags.
    pub tags: Option<Tags>,
}

impl SecretAttributes {
    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SecretName {
        SecretName::parse(text).expect("legal")
    }

    #[test]
    fn names_are_letters_digits_and_dashes_up_to_127() {
        for legal in ["a", "0", "-", "restore", "versions", &"x".repeat(127)] {
            assert_eq!(name(legal).as_str(), legal);
        }
        for illegal in ["", ".", "..", "a_b", "a.b", "a/b", "a b", "ä", "a\n", "a\0"] {
            assert_eq!(SecretName::parse(illegal), Err(NameError::Illegal), "{illegal:?}");
        }
        assert_eq!(SecretName::parse(&"x".repeat(128)), Err(NameError::TooLong));
    }

    #[test]
    fn names_compare_without_case_and_keep_their_spelling() {
        let (upper, lower) = (name("Web-TLS"), name("web-tls"));
        assert_eq!(upper, lower);
        assert!(!upper.same_spelling(&lower));
        assert_eq!(std::collections::HashSet::from([upper.clone(), lower]).len(), 1);
        assert_eq!(upper.to_string(), "Web-TLS");
        assert!(name("a-b") < name("A0"), "order is by upper-cased bytes");
    }

    #[test]
    fn versions_are_32_hexadecimal_digits() {
        assert!(Version::parse("1f03fbba793f4906bad7605c37a1be4e").is_some());
        assert_eq!(Version::parse(&"A".repeat(32)).expect("legal").as_str(), "a".repeat(32));
        for wrong in ["", "1f03", &"g".repeat(32), &"a".repeat(33), "../../../../../../../../etc/passwd"] {
            assert_eq!(Version::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn dates_are_rfc_3339_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_565_043_671, "2019-08-05T22:21:11Z"),
            (32_503_680_000, "3000-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (1 << 40, "@1099511627776"),
        ] {
            assert_eq!(Timestamp(seconds).to_string(), text);
            assert_eq!(Timestamp::parse(text), Some(Timestamp(seconds)));
        }
        assert_eq!(Timestamp::parse("2019-08-06T00:21:11.9+02:00"), Some(Timestamp(1_565_043_671)));
        for wrong in ["", "tomorrow", "2019-08-05", "@x", "2019-13-05T00:00:00Z"] {
            assert_eq!(Timestamp::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_value_never_prints() {
        let secret = KeyVaultSecret {
            properties: SecretProperties::bare("https://v", &name("n")),
            value: SecretValue::new("hunter2".into()),
        };
        let blob = BackupBlob::new(b"hunter2".to_vec());
        assert!(!format!("{secret:?} {blob:?}").contains("hunter2"));
    }
}
