//! The seam. Above it are files, below it is a vault; [`SecretStore`] is all that the two know of each other.
//!
//! # Contract
//!
//! Four things implement the trait: the client of a vault, the cache in front of it, and in tests a model in
//! memory and a store that fails on purpose. `tests/contract.rs` holds all of them to what is written here.
//!
//! - Every operation takes a [`Wait`]. With [`Wait::No`] it answers from memory or with
//!   [`ErrorKind::NotInMemory`], at once and without any effect. With [`Wait::Until`] it ends by that moment. With
//!   [`Wait::Anew`] too, and what it reads is then what the vault itself said after the call began.
//! - A read may be called any number of times. A change is carried out at most once a call: when its outcome
//!   is in doubt, the implementation looks before it tries again, and says [`ErrorKind::Superseded`] if it finds
//!   what neither it nor the state before had put there.
//! - [`ErrorKind::NotFound`] means that the vault itself said so. Doubt is never "not found".
//! - Names compare without case; answers carry the vault's own spelling.
//! - Listings are in the order of upper-cased names (of versions: ascending) and are not snapshots.
//! - No error, and nothing else that prints, holds a value.

use std::fmt;
use std::time::Duration;

use crate::clock::{Clock, Moment};
use crate::secret::{
    BackupBlob, DeletedSecret, KeyVaultSecret, SecretAttributes, SecretName, SecretProperties, SecretValue, Timestamp,
    Version,
};

/// How long an operation may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: only what is in memory.
    No,
    /// Until this moment.
    Until(Moment),
    /// Until this moment, and nothing that is remembered will do.
    Anew(Moment),
}

impl Wait {
    /// Until `limit` from now.
    pub fn at_most(clock: &dyn Clock, limit: Duration) -> Self {
        Self::Until(clock.moment() + limit)
    }

    /// What is left: zero when nothing is, or for [`Wait::No`].
    pub fn remaining(self, clock: &dyn Clock) -> Duration {
        match self {
            Self::No => Duration::ZERO,
            Self::Until(end) | Self::Anew(end) => end.since(clock.moment()),
        }
    }

    /// The same, for what must come from the vault itself.
    pub fn anew(self) -> Self {
        match self {
            Self::No => Self::No,
            Self::Until(end) | Self::Anew(end) => Self::Anew(end),
        }
    }

    /// The same, but at most `limit` from now.
    pub fn no_longer_than(self, clock: &dyn Clock, limit: Duration) -> Self {
        let end = clock.moment() + limit;
        match self {
            Self::No => Self::No,
            Self::Until(its) => Self::Until(its.min(end)),
            Self::Anew(its) => Self::Anew(its.min(end)),
        }
    }
}

/// What became of a secret, as its vault has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is there, and was not.
    Appeared,
    /// Another version is current.
    Rotated,
    /// Its properties are others; the version is the same.
    Altered,
    /// It may no longer be read: deleted, disabled, or the right to it is gone.
    Revoked,
}

/// A secret, and what became of it through another party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub name: SecretName,
    /// What.
    pub news: News,
}

/// What a store knows of a name without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// As in a listing: those of the current version, often without saying which that is.
    pub properties: SecretProperties,
    /// The current version, where it is known.
    pub current: Option<Version>,
    /// How long this may be relied on.
    pub valid_for: Duration,
}

/// A place in a listing: opaque, to be given back as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Continuation(pub String);

impl fmt::Debug for Continuation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Continuation(…)")
    }
}

/// One page of a listing. A page may be short or empty and still have a `next`; the end is `next: None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on the page.
    pub items: Vec<T>,
    /// Where the next page starts.
    pub next: Option<Continuation>,
}

/// The operations of Key Vault's secrets, by the names of Microsoft's Python client where it has one.
pub trait SecretStore: Send + Sync {
    /// A version's value and properties; `None` is the current version, enabled or not.
    fn get(&self, name: &SecretName, version: Option<&Version>, wait: Wait) -> Result<KeyVaultSecret, StoreError>;

    /// What is known of a name without asking for more than that: whether it is there, how it is spelled.
    /// A disabled secret is found.
    fn find(&self, name: &SecretName, wait: Wait) -> Result<Found, StoreError>;

    /// A new version, current from now on. Nothing is inherited from the version before.
    fn set(
        &self,
        name: &SecretName,
        value: &SecretValue,
        attributes: &SecretAttributes,
        wait: Wait,
    ) -> Result<SecretProperties, StoreError>;

    /// Changes what `changes` gives and nothing else; `None` is the current version. No new version.
    fn update(
        &self,
        name: &SecretName,
        version: Option<&Version>,
        changes: &SecretAttributes,
        wait: Wait,
    ) -> Result<SecretProperties, StoreError>;

    /// Soft-deletes all versions. Returns when the vault has accepted it, which is before it is done.
    fn delete(&self, name: &SecretName, wait: Wait) -> Result<DeletedSecret, StoreError>;

    /// A soft-deleted secret.
    fn get_deleted(&self, name: &SecretName, wait: Wait) -> Result<DeletedSecret, StoreError>;

    /// Brings a soft-deleted secret back. Returns when the vault has accepted it, which is before it is done.
    fn recover(&self, name: &SecretName, wait: Wait) -> Result<SecretProperties, StoreError>;

    /// Destroys a soft-deleted secret for good.
    fn purge(&self, name: &SecretName, wait: Wait) -> Result<(), StoreError>;

    /// All versions of a secret in a form that only the service can open.
    fn backup(&self, name: &SecretName, wait: Wait) -> Result<BackupBlob, StoreError>;

    /// Brings back what [`backup`](Self::backup) gave, under its old name.
    fn restore(&self, blob: &BackupBlob, wait: Wait) -> Result<SecretProperties, StoreError>;

    /// The vault's secrets, a page at a time.
    fn list(&self, from: Option<&Continuation>, wait: Wait) -> Result<Page<SecretProperties>, StoreError>;

    /// The versions of a secret, a page at a time; none if there is no such secret.
    fn list_versions(
        &self,
        name: &SecretName,
        from: Option<&Continuation>,
        wait: Wait,
    ) -> Result<Page<SecretProperties>, StoreError>;

    /// The soft-deleted secrets, a page at a time.
    fn list_deleted(&self, from: Option<&Continuation>, wait: Wait) -> Result<Page<DeletedSecret>, StoreError>;

    /// What memory holds of `name`, or with `None` of everything, is no longer to be relied on: the next read
    /// asks. Nothing to do for a store that remembers nothing.
    fn expire(&self, name: Option<&SecretName>);

    /// What time it was at the vault at `moment`, by its own clock, give or take a second; `None` before its first
    /// answer. Asks nobody.
    fn time_at(&self, moment: Moment) -> Option<Timestamp>;
}

/// The operations, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the method of the same name")]
pub enum Operation {
    Get,
    Find,
    Set,
    Update,
    Delete,
    GetDeleted,
    Recover,
    Purge,
    Backup,
    Restore,
    List,
    ListVersions,
    ListDeleted,
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Get => "get",
            Self::Find => "look up",
            Self::Set => "set",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::GetDeleted => "get deleted",
            Self::Recover => "recover",
            Self::Purge => "purge",
            Self::Backup => "back up",
            Self::Restore => "restore",
            Self::List => "list secrets",
            Self::ListVersions => "list versions",
            Self::ListDeleted => "list deleted",
        })
    }
}

/// Why an operation failed: what was being done, to which name, what kind of failure it is, and what the service
/// said, each apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// What was being done.
    pub operation: Operation,
    /// To which secret; `None` for a listing or a restore.
    pub name: Option<SecretName>,
    /// What to branch on.
    pub kind: ErrorKind,
    /// The service's own words, or what went wrong before it could say any.
    pub answer: Answer,
}

/// The service's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status; `None` where there was no answer.
    pub status: Option<u16>,
    /// The error's code, and the inner code where there is one: `Forbidden/SecretDisabled`.
    pub code: Option<String>,
    /// The message of the service, or of the layer that failed.
    pub message: String,
    /// `x-ms-request-id`, for a support case.
    pub request_id: Option<String>,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// [`Wait::No`], and memory does not have it. Never an answer to a user.
    NotInMemory,
    /// The vault says that there is no such secret, version or deleted secret.
    NotFound,
    /// The secret is disabled.
    Disabled,
    /// The identity lacks the right.
    Forbidden,
    /// The vault's firewall does not let this machine in. Says nothing about the secret.
    Firewall,
    /// A certificate owns the secret.
    Managed,
    /// The vault forbids purging to everyone.
    PurgeProtected,
    /// The name is held by a soft-deleted secret.
    Deleted,
    /// A deletion is under way.
    BeingDeleted,
    /// A recovery is under way.
    BeingRecovered,
    /// The name is in use: a restore over it, or a recovery of what is not deleted.
    Exists,
    /// Too many requests; the vault, or our own limit, asks to wait this long, if it said so.
    Throttled {
        /// From the answer's arrival.
        retry_after: Option<Duration>,
    },
    /// The vault does not accept a parameter.
    Invalid,
    /// The backup is foreign, altered or cut.
    BadBackup,
    /// No credential, or the vault does not accept the token even when fresh.
    Authentication,
    /// A challenge, a redirect or a link that leads to another host. Nothing was sent there.
    Foreign,
    /// The server's certificate is not accepted.
    Tls,
    /// No such host, or no connection.
    Unreachable,
    /// The time was up.
    TimedOut,
    /// An answer that makes no sense: 5xx, cut, too large, not what the protocol says.
    Broken,
    /// A change whose outcome was in doubt, and the vault now holds what somebody else wrote.
    Superseded,
}

impl StoreError {
    /// A failure that happened before the service could say anything.
    pub fn local(operation: Operation, name: Option<&SecretName>, kind: ErrorKind, message: impl Into<String>) -> Self {
        let answer = Answer { message: message.into(), ..Answer::default() };
        Self { operation, name: name.cloned(), kind, answer }
    }

    /// [`ErrorKind::NotInMemory`].
    pub fn not_in_memory(operation: Operation) -> Self {
        Self::local(operation, None, ErrorKind::NotInMemory, "not in memory")
    }

    /// Whether this says nothing about the secret, so that the last known state may still hold.
    pub fn is_no_answer(&self) -> bool {
        match self.kind {
            ErrorKind::Firewall
            | ErrorKind::Throttled { .. }
            | ErrorKind::Authentication
            | ErrorKind::Foreign
            | ErrorKind::Tls
            | ErrorKind::Unreachable
            | ErrorKind::TimedOut
            | ErrorKind::Broken => true,
            ErrorKind::NotInMemory
            | ErrorKind::NotFound
            | ErrorKind::Disabled
            | ErrorKind::Forbidden
            | ErrorKind::Managed
            | ErrorKind::PurgeProtected
            | ErrorKind::Deleted
            | ErrorKind::BeingDeleted
            | ErrorKind::BeingRecovered
            | ErrorKind::Exists
            | ErrorKind::Invalid
            | ErrorKind::BadBackup
            | ErrorKind::Superseded => false,
        }
    }
}

impl fmt::Display for StoreError {
    /// `cannot set db-password: 403 Forbidden/ForbiddenByPolicy: … (request 0f…)`, on one line.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot {}", self.operation)?;
        if let Some(name) = &self.name {
            write!(out, " {name}")?;
        }
        out.write_str(":")?;
        if let Some(status) = self.answer.status {
            write!(out, " {status}")?;
        }
        if let Some(code) = &self.answer.code {
            write!(out, " {code}:")?;
        }
        for word in self.answer.message.split_whitespace() {
            write!(out, " {word}")?;
        }
        match &self.answer.request_id {
            Some(id) => write!(out, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StoreError {}
