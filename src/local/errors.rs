//! Every refusal: its status, code, inner code and text, in one place.
//!
//! Texts are the newest recorded ones, byte for byte. What no recording shows is marked "choice", and listed in
//! `docs/local-vault.md`. Knows no request and no state.

use crate::secret::{SecretName, Version};

use super::api_version::LATEST;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No bearer token came.
    NoToken,
    /// A token came, and it is not the one this vault takes.
    WrongToken,
    /// The `Host` is none this vault may be called by.
    ForeignHost,
    /// A browser asks for a page of another place.
    ForeignPage,
    /// The caller lacks this permission.
    Denied(&'static str),
    /// Too many requests came within a second.
    Throttled,
    /// The request cannot be read, or is larger than this vault reads.
    TooLarge,
    /// The `api-version` is missing (empty here) or of no known form.
    ApiVersion(String),
    /// Path and verb name no operation.
    Verb(String),
    /// A path segment that can be no secret's name, decoded.
    InvalidName(String),
    /// So many properties of the body are wrong.
    InvalidProperties(usize),
    /// A query parameter is out of range.
    InvalidParameter(&'static str),
    /// `outContentType` asked of what is no PKCS#12.
    Transformation,
    /// PEM asked of PKCS#12, which this vault does not convert.
    Conversion,
    /// The blob is another format's.
    BlobVersion,
    /// The blob is cut or altered.
    BlobCorrupt,
    /// The blob was made with another vault's key.
    BlobForeign,
    /// More versions than a backup holds.
    TooManyVersions(SecretName),
    /// `name` or `name/version` is not there.
    NotFound(String),
    /// The name is not among the deleted ones.
    DeletedNotFound(SecretName),
    /// The version is disabled.
    Disabled,
    /// A certificate owns the secret: `set` or `update` refused.
    Managed(&'static str),
    /// A certificate owns the secret: delete refused.
    ManagedDelete,
    /// Purge protection is on.
    PurgeProtected,
    /// Set on a deleted name.
    SetOnDeleted(SecretName),
    /// Set while the deletion is under way.
    SetOnDeleting(SecretName),
    /// Set while the recovery is under way.
    SetOnRecovering(SecretName),
    /// Recover while the deletion is under way.
    RecoverOnDeleting(SecretName),
    /// Recover of a secret that is not deleted.
    RecoverOnLive(SecretName),
    /// Purge while the deletion is under way.
    PurgeOnDeleting,
    /// Restore of a name that is in use or held.
    RestoreConflict(SecretName, Version),
    /// The store could not be written; nothing was changed.
    Storage,
}

/// A refusal as the wire shows it.
#[derive(Debug)]
pub struct Parts {
    /// HTTP status.
    pub status: u16,
    /// `error.code`.
    pub code: &'static str,
    /// `error.innererror.code`.
    pub inner: Option<&'static str>,
    /// `error.message`.
    pub message: String,
}

const BAD: &str = "BadParameter";
const BLOB: &str = "Malformed backup blob";
const FORBIDDEN: &str = "Forbidden";
const BEING_DELETED: Option<&str> = Some("ObjectIsBeingDeleted");
const MANAGED: Option<&str> = Some("SecretManagedByKeyVault");

impl Refusal {
    /// What the wire shows; `vault` is the vault's URL as the caller wrote it, without a trailing slash.
    pub fn parts(&self, vault: &str) -> Parts {
        let (status, code, inner) = self.kind();
        Parts { status, code, inner, message: self.message(vault) }
    }

    fn kind(&self) -> (u16, &'static str, Option<&'static str>) {
        match self {
            Self::NoToken | Self::WrongToken => (401, "Unauthorized", None),
            Self::ForeignHost => (421, "MisdirectedRequest", None), // choice: the service never sees such a request
            Self::ForeignPage => (403, FORBIDDEN, None),            // choice: likewise
            Self::TooLarge => (413, "RequestEntityTooLarge", None), // choice
            Self::ApiVersion(_) | Self::InvalidName(_) | Self::InvalidProperties(_) => (400, BAD, None),
            Self::InvalidParameter(_) | Self::TooManyVersions(_) | Self::Conversion => (400, BAD, None), // choice
            Self::Transformation => (400, BAD, None),
            Self::BlobVersion | Self::BlobCorrupt => (400, BLOB, None),
            Self::BlobForeign => (400, BLOB, None), // choice: its code was never recorded
            Self::Verb(_) => (405, "MethodNotAllowed", None),
            Self::NotFound(_) | Self::DeletedNotFound(_) => (404, "SecretNotFound", None),
            Self::Disabled => (403, FORBIDDEN, Some("SecretDisabled")),
            Self::Managed(_) | Self::ManagedDelete => (403, FORBIDDEN, MANAGED),
            Self::PurgeProtected => (403, FORBIDDEN, None),
            Self::Denied(_) => (403, FORBIDDEN, Some("ForbiddenByPolicy")),
            Self::Throttled => (429, "Throttled", None),
            Self::SetOnDeleted(_) => (409, "Conflict", Some("ObjectIsDeletedButRecoverable")),
            Self::SetOnDeleting(_) | Self::RecoverOnDeleting(_) | Self::PurgeOnDeleting => {
                (409, "Conflict", BEING_DELETED)
            }
            Self::SetOnRecovering(_) => (409, "Conflict", Some("ObjectIsBeingRecovered")),
            Self::RecoverOnLive(_) => (400, "MethodNotAllowed", Some("RequestNotAllowedOnNonDeletedObject")),
            Self::RestoreConflict(..) => (409, "Conflict", None),
            Self::Storage => (500, "InternalServerError", None), // choice
        }
    }

    fn message(&self, vault: &str) -> String {
        match self {
            Self::NoToken => "AKV10000: Request is missing a Bearer, PoP, or MTLS_POP token.".into(),
            Self::WrongToken => "AKV10046: Unable to resolve the key used for signature validation.".into(),
            Self::ForeignHost => {
                "This local vault listens on loopback and answers only to localhost, *.localhost and loopback \
                 addresses."
                    .into()
            }
            Self::ForeignPage => "This local vault answers no page of another place.".into(),
            Self::TooLarge => "The request body is too large.".into(),
            Self::ApiVersion(given) => format!(
                "The specified version ({given}) is not recognized. Consider using the latest supported version \
                 ({LATEST})."
            ),
            Self::Verb(verb) => format!("HTTP {verb} not allowed"),
            Self::InvalidName(name) => format!("The request URI contains an invalid name: {name}"),
            Self::InvalidProperties(count) => "Property  has invalid value\r\n".repeat(*count),
            Self::InvalidParameter(name) => format!("The query parameter {name} has an invalid value."),
            Self::Transformation => {
                "The 'Unsupported' to 'PEM' transformation is not supported. Only PFX to PEM transformation is supported."
                    .into()
            }
            Self::Conversion => "The local vault does not convert PFX to PEM.".into(),
            Self::BlobVersion => "Backup blob contains invalid or corrupt version.".into(),
            Self::BlobCorrupt => "Backup blob is corrupt.".into(),
            Self::BlobForeign => "Cannot decrypt backup blob".into(),
            Self::TooManyVersions(name) => format!("Secret {name} has more versions than a backup holds."),
            Self::NotFound(what) => not_found(what),
            Self::DeletedNotFound(name) => format!("Deleted Secret not found: {name}"),
            Self::Disabled => "Operation get is not allowed on a disabled secret.".into(),
            Self::Managed(verb) => {
                format!("Operation \"{verb}\" is not allowed as this object's lifetime is managed by Key Vault.")
            }
            Self::ManagedDelete => MANAGED_DELETE.into(),
            Self::PurgeProtected => purge_protected(vault),
            Self::Denied(permission) => denied(permission, vault),
            Self::Throttled => THROTTLED.into(),
            Self::SetOnDeleted(name) => format!(
                "Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in \
                 this state, the secret can only be recovered or purged."
            ),
            Self::SetOnDeleting(name) => {
                format!("Secret {name} is currently being deleted and cannot be re-created; retry later.")
            }
            Self::SetOnRecovering(name) => {
                format!("Secret {name} is currently being recovered and cannot be re-created; retry later.")
            }
            Self::RecoverOnDeleting(name) => format!("Secret {name} is currently being deleted."),
            Self::RecoverOnLive(name) => format!("Secret exists already: {name}"),
            Self::PurgeOnDeleting => "Secret is currently being deleted.".into(),
            Self::RestoreConflict(name, version) => restore_conflict(&format!("{vault}/secrets/{name}/{version}")),
            Self::Storage => "The local vault could not write its store; nothing was changed.".into(),
        }
    }
}

/// What is said to whom sends too much, together with the code `Throttled` and without a Retry-After.
pub const THROTTLED: &str =
    "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached";

const MANAGED_DELETE: &str = "Operation \"delete\" is not allowed on this secret, since it is associated with a \
    certificate. Perform the operation on the corresponding certificate. For more information refer to \
    https://docs.microsoft.com/en-us/azure/key-vault/certificates/about-certificates#composition-of-a-certificate";

fn not_found(what: &str) -> String {
    format!(
        "A secret with (name/id) {what} was not found in this key vault. If you recently deleted this secret you may \
         be able to recover it using the correct recovery command. For help resolving this issue, please see \
         https://go.microsoft.com/fwlink/?linkid=2125182"
    )
}

fn purge_protected(vault: &str) -> String {
    format!(
        "Operation \"purge\" is not allowed because purge protection is enabled for this vault. Key Vault service \
         will automatically purge it after the retention period has passed.\r\nVault: {}",
        place(vault)
    )
}

/// The caller is made up: who sent a token that nobody verified has no identity.
fn denied(permission: &str, vault: &str) -> String {
    const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
    format!(
        "Operation is not allowed.\r\nOperation: \"{permission}\"\r\nCaller: \
         appid={NOBODY};oid={NOBODY};numgroups=0;iss=https://sts.windows.net/{}/\r\nVault: {}",
        super::challenge::TENANT,
        place(vault)
    )
}

fn place(vault: &str) -> String {
    let host = vault.split_once("://").map_or(vault, |(_, host)| host);
    let label = host.split(['.', ':']).next().unwrap_or(host);
    format!("{label};location={}", super::wire::REGION)
}

fn restore_conflict(id: &str) -> String {
    format!(
        "There was a conflict restoring the secret '{id}'. This can happen if either: a second secret with the same \
         name was created after the first secret was deleted; thus trying to restore a secret whose name is already \
         in use. To fix this, rename the second secret to something else so that the restore works. The second \
         probable cause of this exception is when multiple operations are performed in parallel against the secret. \
         To avoid this error, perform operations against a secret in a sequential manner."
    )
}
