//! How a local vault is set up: its options, their checks, and why it could not start.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use zeroize::Zeroizing;

use super::request::Operation;
use super::throttle::Rate;

/// How many days the service keeps what was deleted, unless told otherwise at the vault's creation.
const DEFAULT_RETENTION: u32 = 90;
/// The shortest and the longest retention, in days (Key Vault's soft-delete overview).
const RETENTION: std::ops::RangeInclusive<u32> = 7..=DEFAULT_RETENTION;

/// What deletion means in a vault, in the service's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryLevel {
    /// No soft delete: deletion is final.
    Purgeable,
    /// 90 days, purge allowed.
    RecoverablePurgeable,
    /// 90 days, purge protection.
    Recoverable,
    /// 90 days, purge protection, and the subscription cannot be cancelled.
    RecoverableProtectedSubscription,
    /// 7 to 89 days, purge allowed.
    CustomizedRecoverablePurgeable,
    /// 7 to 89 days, purge protection.
    CustomizedRecoverable,
    /// 7 to 89 days, purge protection, and the subscription cannot be cancelled.
    CustomizedRecoverableProtectedSubscription,
}

use RecoveryLevel as Level;

const LEVELS: [(Level, &str); 7] = [
    (Level::Purgeable, "Purgeable"),
    (Level::RecoverablePurgeable, "Recoverable+Purgeable"),
    (Level::Recoverable, "Recoverable"),
    (Level::RecoverableProtectedSubscription, "Recoverable+ProtectedSubscription"),
    (Level::CustomizedRecoverablePurgeable, "CustomizedRecoverable+Purgeable"),
    (Level::CustomizedRecoverable, "CustomizedRecoverable"),
    (Level::CustomizedRecoverableProtectedSubscription, "CustomizedRecoverable+ProtectedSubscription"),
];

impl RecoveryLevel {
    /// The service's word.
    pub fn as_str(self) -> &'static str {
        LEVELS.iter().find(|(level, _)| *level == self).map_or("", |(_, word)| word)
    }

    fn is_customized(self) -> bool {
        self.as_str().starts_with("Customized")
    }

    fn allows_purge(self) -> bool {
        self.as_str().ends_with("Purgeable")
    }

    fn of(days: u32, protected: bool) -> Self {
        match (days == DEFAULT_RETENTION, protected) {
            (true, false) => Self::RecoverablePurgeable,
            (true, true) => Self::Recoverable,
            (false, false) => Self::CustomizedRecoverablePurgeable,
            (false, true) => Self::CustomizedRecoverable,
        }
    }
}

impl FromStr for RecoveryLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = LEVELS.iter().find(|(_, word)| word.eq_ignore_ascii_case(text)).map(|(level, _)| *level);
        found.ok_or_else(|| format!("no such recovery level; one of {}", LEVELS.map(|(_, word)| word).join(", ")))
    }
}

impl fmt::Display for RecoveryLevel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// What deletion means, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What the attributes say.
    pub level: RecoveryLevel,
    /// Days between deletion and the purge by itself; 0 without soft delete.
    pub days: u32,
    /// How long each step of a deletion or recovery takes, in milliseconds.
    pub delay_ms: i64,
}

impl Policy {
    /// Whether deleted secrets are kept.
    pub fn soft_delete(self) -> bool {
        self.level != RecoveryLevel::Purgeable
    }

    /// Whether purging by hand is refused.
    pub fn purge_protected(self) -> bool {
        !self.level.allows_purge()
    }
}

/// How a local vault is set up.
#[derive(Clone)]
pub struct ServeOptions {
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The file that keeps the vault; in memory without it.
    pub store: Option<PathBuf>,
    /// The directory of its own certificate authority; plain HTTP without it.
    pub tls: Option<PathBuf>,
    /// The only bearer token that is taken. Without it, and only on loopback, any is.
    pub token: Option<Zeroizing<String>>,
    /// How long a deletion, a recovery and the release of a purged name take; zero: at once, unlike the service.
    pub soft_delete_delay: Duration,
    /// How long every request waits before it is looked at.
    pub latency: Duration,
    /// What deletion means; follows from the other two options if not given.
    pub recovery_level: Option<RecoveryLevel>,
    /// Days between deletion and the vault's own purge, 7 to 90.
    pub retention_days: Option<u32>,
    /// Whether purging is refused.
    pub purge_protection: bool,
    /// Permissions that no caller has: get, list, set, delete, recover, purge, backup, restore.
    pub deny: Vec<Operation>,
    /// Whether an empty page with a `nextLink` comes before every page, as from the service.
    pub empty_pages: bool,
    /// How many requests are answered; more get 429.
    pub throttle: Option<Rate>,
}

impl fmt::Debug for ServeOptions {
    /// All but the token.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("ServeOptions");
        out.field("listen", &self.listen).field("store", &self.store).field("tls", &self.tls);
        out.field("token", &self.token.as_ref().map(|_| "REDACTED"));
        out.field("soft_delete_delay", &self.soft_delete_delay).field("latency", &self.latency);
        out.field("recovery_level", &self.recovery_level).field("retention_days", &self.retention_days);
        out.field("purge_protection", &self.purge_protection).field("deny", &self.deny);
        out.field("empty_pages", &self.empty_pages).field("throttle", &self.throttle).finish()
    }
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            store: None,
            tls: None,
            token: None,
            soft_delete_delay: Duration::ZERO,
            latency: Duration::ZERO,
            recovery_level: None,
            retention_days: None,
            purge_protection: false,
            deny: Vec::new(),
            empty_pages: false,
            throttle: None,
        }
    }
}

impl ServeOptions {
    /// The checked meaning of deletion.
    pub(super) fn policy(&self) -> Result<Policy, ServeError> {
        let wrong = |what: &str| Err(ServeError::Options(what.to_owned()));
        let fallback = if self.recovery_level.is_some_and(Level::is_customized) { 7 } else { DEFAULT_RETENTION };
        let days = self.retention_days.unwrap_or(fallback);
        if !RETENTION.contains(&days) {
            return wrong("--retention-days is 7 to 90");
        }
        let level = self.recovery_level.unwrap_or(Level::of(days, self.purge_protection));
        if level != Level::Purgeable && level.is_customized() == (days == DEFAULT_RETENTION) {
            return wrong("a Customized recovery level keeps for 7 to 89 days, every other one for 90");
        }
        if level.allows_purge() && self.purge_protection {
            return wrong("--purge-protection contradicts a recovery level that allows purging");
        }
        let days = if level == Level::Purgeable { 0 } else { days };
        Ok(Policy { level, days, delay_ms: delay_ms(self.soft_delete_delay) })
    }

    /// Refuses what would open the vault to strangers, and permissions that are none.
    pub(super) fn check(&self) -> Result<(), ServeError> {
        if let Some(part) = self.deny.iter().find(|operation| operation.permission() != **operation) {
            let whole = part.permission();
            return Err(ServeError::Options(format!("{part} is no permission of its own; deny {whole}")));
        }
        match &self.token {
            Some(token) if token.is_empty() => Err(ServeError::Options("the token is empty".into())),
            None if !self.listen.ip().is_loopback() => Err(ServeError::Exposed(self.listen)),
            _ => Ok(()),
        }
    }
}

/// Far from overflow in sums with the calendar time.
pub(super) fn delay_ms(delay: Duration) -> i64 {
    i64::try_from(delay.as_millis()).map_or(i64::MAX / 4, |delay| delay.min(i64::MAX / 4))
}

/// Why a local vault could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Options that make no sense.
    #[error("{0}")]
    Options(String),
    /// Not loopback, and no token.
    #[error("refusing to listen on {0} without a token: anyone who reaches it could read the vault; give --token FILE")]
    Exposed(SocketAddr),
    /// The socket.
    #[error("listening on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The store.
    #[error("opening the store {path}: {error}")]
    Store {
        /// The file.
        path: String,
        /// What is wrong with it.
        #[source]
        error: super::store::StoreError,
    },
    /// The certificates.
    #[error("preparing TLS in {0}: {1}")]
    Tls(String, String),
    /// The threads or the random numbers of the system.
    #[error("starting the local vault: {0}")]
    System(#[source] std::io::Error),
    /// A request made by a method of [`Server`](super::Server) was refused.
    #[error("{0}")]
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(level: Option<Level>, days: Option<u32>, protected: bool) -> Option<(Level, u32)> {
        let options = ServeOptions {
            recovery_level: level,
            retention_days: days,
            purge_protection: protected,
            ..ServeOptions::default()
        };
        options.policy().ok().map(|policy| (policy.level, policy.days))
    }

    #[test]
    fn level_retention_and_protection_agree() {
        assert_eq!(policy(None, None, false), Some((Level::RecoverablePurgeable, 90)));
        assert_eq!(policy(None, None, true), Some((Level::Recoverable, 90)));
        assert_eq!(policy(None, Some(7), false), Some((Level::CustomizedRecoverablePurgeable, 7)));
        assert_eq!(policy(None, Some(30), true), Some((Level::CustomizedRecoverable, 30)));
        assert_eq!(policy(Some(Level::Purgeable), None, false), Some((Level::Purgeable, 0)));
        assert_eq!(policy(Some(Level::CustomizedRecoverable), None, false), Some((Level::CustomizedRecoverable, 7)));
        assert_eq!(policy(None, Some(6), false), None);
        assert_eq!(policy(None, Some(91), false), None);
        assert_eq!(policy(Some(Level::Recoverable), Some(30), false), None);
        assert_eq!(policy(Some(Level::CustomizedRecoverable), Some(90), false), None);
        assert_eq!(policy(Some(Level::RecoverablePurgeable), None, true), None);
    }

    #[test]
    fn levels_are_read_back_as_they_are_written() {
        for (level, word) in LEVELS {
            assert_eq!(word.parse(), Ok(level));
            assert_eq!(level.to_string(), word);
        }
        assert!("Forever".parse::<Level>().is_err());
    }

    #[test]
    fn the_token_never_prints() {
        let token = Some(Zeroizing::new("hunter2".to_owned()));
        let printed = format!("{:?}", ServeOptions { token, ..ServeOptions::default() });
        assert!(printed.contains("REDACTED") && !printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn other_addresses_need_a_token() {
        let open = ServeOptions { listen: (Ipv4Addr::UNSPECIFIED, 0).into(), ..ServeOptions::default() };
        assert!(matches!(open.check(), Err(ServeError::Exposed(_))));
        let token = Some(Zeroizing::new("t".to_owned()));
        assert!(ServeOptions { token, ..open.clone() }.check().is_ok());
        let token = Some(Zeroizing::new(String::new()));
        assert!(ServeOptions { token, ..open }.check().is_err());
    }
}
