//! From failures to errno: the only table. An errno is one word, so the sentence behind it goes with it.

use std::borrow::Cow;
use std::fmt;

use crate::store::{ErrorKind, StoreError};

/// Why a file operation failed.
#[derive(Clone, Debug)]
pub enum FsError {
    /// The filesystem's own refusal.
    Refused {
        /// From `errno.h`.
        errno: i32,
        /// Why, and what to do instead; empty where the errno says it all.
        why: Cow<'static, str>,
    },
    /// The store's.
    Store(StoreError),
}

/// The answer of a file operation.
pub type FsResult<T> = Result<T, FsError>;

impl FsError {
    /// A refusal that needs a sentence.
    pub fn refused(errno: i32, why: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused { errno, why: why.into() }
    }

    /// A refusal whose errno says it all.
    pub fn plain(errno: i32) -> Self {
        Self::Refused { errno, why: Cow::Borrowed("") }
    }

    /// Whether the operation only has to be asked again with time to wait.
    pub fn is_not_in_memory(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind == ErrorKind::NotInMemory)
    }

    /// Whether there is more to say than the errno does.
    pub fn has_sentence(&self) -> bool {
        match self {
            Self::Refused { why, .. } => !why.is_empty(),
            Self::Store(_) => true,
        }
    }

    /// Whether the vault said that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind == ErrorKind::NotFound)
    }

    /// The errno for a call by path.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Refused { errno, .. } => *errno,
            Self::Store(error) => errno_of(error.kind),
        }
    }

    /// The errno for `close` and `fsync`: there, somebody else's write is ESTALE. A path call must not say ESTALE,
    /// because the kernel repeats the call then (measured for rename).
    pub fn errno_at_close(&self) -> i32 {
        match self {
            Self::Store(error) if error.kind == ErrorKind::Superseded => libc::ESTALE,
            _ => self.errno(),
        }
    }
}

impl From<StoreError> for FsError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { why, .. } => out.write_str(why),
            Self::Store(error) => match remedy(error.kind) {
                "" => write!(out, "{error}"),
                remedy => write!(out, "{error}; {remedy}"),
            },
        }
    }
}

/// The table of the README.
pub fn errno_of(kind: ErrorKind) -> i32 {
    match kind {
        ErrorKind::NotFound => libc::ENOENT,
        ErrorKind::Disabled | ErrorKind::Forbidden | ErrorKind::Firewall | ErrorKind::Authentication => libc::EACCES,
        // No identity could do it, unlike EACCES.
        ErrorKind::Managed | ErrorKind::PurgeProtected => libc::EPERM,
        ErrorKind::Deleted | ErrorKind::Exists => libc::EEXIST,
        // Never EAGAIN: runtimes take it for non-blocking I/O and spin.
        ErrorKind::BeingDeleted | ErrorKind::BeingRecovered | ErrorKind::Throttled { .. } => libc::EBUSY,
        ErrorKind::Superseded => libc::EBUSY,
        ErrorKind::Invalid | ErrorKind::BadBackup => libc::EINVAL,
        ErrorKind::Foreign => libc::EPROTO,
        ErrorKind::Unreachable => libc::EHOSTUNREACH,
        ErrorKind::TimedOut => libc::ETIMEDOUT,
        // Doubt is never "not found".
        ErrorKind::Broken | ErrorKind::Tls | ErrorKind::NotInMemory => libc::EIO,
    }
}

/// The errno's name, for people.
pub fn errno_name(errno: i32) -> &'static str {
    let known = NAMES.iter().find(|(number, _)| *number == errno);
    known.map_or("unknown", |(_, name)| name)
}

/// Every errno that this filesystem answers with.
const NAMES: [(i32, &str); 24] = [
    (libc::EACCES, "EACCES"),
    (libc::EBADF, "EBADF"),
    (libc::EBUSY, "EBUSY"),
    (libc::EEXIST, "EEXIST"),
    (libc::EFBIG, "EFBIG"),
    (libc::EHOSTUNREACH, "EHOSTUNREACH"),
    (libc::EILSEQ, "EILSEQ"),
    (libc::EINTR, "EINTR"),
    (libc::EINVAL, "EINVAL"),
    (libc::EIO, "EIO"),
    (libc::EISDIR, "EISDIR"),
    (libc::ELOOP, "ELOOP"),
    (libc::ENAMETOOLONG, "ENAMETOOLONG"),
    (libc::ENODATA, "ENODATA"),
    (libc::ENOENT, "ENOENT"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::ENOTDIR, "ENOTDIR"),
    (libc::ENOTTY, "ENOTTY"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::EPERM, "EPERM"),
    (libc::EPROTO, "EPROTO"),
    (libc::EROFS, "EROFS"),
    (libc::ESTALE, "ESTALE"),
    (libc::ETIMEDOUT, "ETIMEDOUT"),
];

/// What to do about it, for the log; empty where nothing general can be said.
pub fn remedy(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Disabled => "enable it: setfattr -n user.akvfs.enabled -v true on its value",
        ErrorKind::Forbidden => "give the identity this right on the vault",
        ErrorKind::Firewall => "let this machine through the vault's firewall or private endpoint",
        ErrorKind::Managed => "change the certificate that owns it",
        ErrorKind::PurgeProtected => "wait until the vault purges it by itself",
        ErrorKind::Deleted => "recover it first: mv deleted/NAME secrets/",
        ErrorKind::BeingDeleted | ErrorKind::BeingRecovered => "try again in a minute",
        ErrorKind::Throttled { .. } => "ask less often, or raise the vault's limit",
        ErrorKind::Authentication => "check how the mount signs in (-o auth)",
        ErrorKind::Foreign => "check the vault's address, and whether a proxy answers for it",
        ErrorKind::Tls => "name the authority with -o ca_file",
        ErrorKind::Unreachable => "check the vault's name and the network",
        ErrorKind::TimedOut => "check the network, or raise -o timeout and write_timeout",
        ErrorKind::Superseded => "somebody else wrote it meanwhile: read it again",
        ErrorKind::NotFound
        | ErrorKind::Exists
        | ErrorKind::Invalid
        | ErrorKind::BadBackup
        | ErrorKind::Broken
        | ErrorKind::NotInMemory => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_errno_table() {
        for (kind, errno) in [
            (ErrorKind::NotFound, libc::ENOENT),
            (ErrorKind::Disabled, libc::EACCES),
            (ErrorKind::Forbidden, libc::EACCES),
            (ErrorKind::Firewall, libc::EACCES),
            (ErrorKind::Authentication, libc::EACCES),
            (ErrorKind::Managed, libc::EPERM),
            (ErrorKind::PurgeProtected, libc::EPERM),
            (ErrorKind::Deleted, libc::EEXIST),
            (ErrorKind::Exists, libc::EEXIST),
            (ErrorKind::BeingDeleted, libc::EBUSY),
            (ErrorKind::BeingRecovered, libc::EBUSY),
            (ErrorKind::Throttled { retry_after: None }, libc::EBUSY),
            (ErrorKind::Superseded, libc::EBUSY),
            (ErrorKind::Invalid, libc::EINVAL),
            (ErrorKind::BadBackup, libc::EINVAL),
            (ErrorKind::Foreign, libc::EPROTO),
            (ErrorKind::Unreachable, libc::EHOSTUNREACH),
            (ErrorKind::TimedOut, libc::ETIMEDOUT),
            (ErrorKind::Broken, libc::EIO),
            (ErrorKind::Tls, libc::EIO),
        ] {
            assert_eq!(errno_of(kind), errno, "{kind:?}");
            assert!(errno_name(errno).starts_with('E'), "{kind:?}");
        }
    }

    #[test]
    fn somebody_elses_write_is_estale_only_at_close() {
        let error = FsError::Store(StoreError::local(
            crate::store::Operation::Set,
            None,
            ErrorKind::Superseded,
            "another value stands there",
        ));
        assert_eq!((error.errno(), error.errno_at_close()), (libc::EBUSY, libc::ESTALE));
    }
}
