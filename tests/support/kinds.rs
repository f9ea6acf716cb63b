//! Every kind of failure, for tests that go through all of them.

use akvfs::store::ErrorKind;

/// All of them.
pub const KINDS: [ErrorKind; 21] = [
    ErrorKind::NotFound,
    ErrorKind::Disabled,
    ErrorKind::Forbidden,
    ErrorKind::Firewall,
    ErrorKind::Authentication,
    ErrorKind::Managed,
    ErrorKind::PurgeProtected,
    ErrorKind::Deleted,
    ErrorKind::Exists,
    ErrorKind::BeingDeleted,
    ErrorKind::BeingRecovered,
    ErrorKind::Throttled { retry_after: None },
    ErrorKind::Superseded,
    ErrorKind::Invalid,
    ErrorKind::BadBackup,
    ErrorKind::Foreign,
    ErrorKind::Unreachable,
    ErrorKind::TimedOut,
    ErrorKind::Broken,
    ErrorKind::Tls,
    ErrorKind::NotInMemory,
];
