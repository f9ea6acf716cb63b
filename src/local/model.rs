//! What a vault holds: secrets, their versions, and where each stands between being set and being gone.
//!
//! Pure: no lock, no disk, no clock. Time comes in as [`Now`]; what a time brings about by itself (a deletion that
//! completes, a retention that ends) is worked out when looked at, so nothing has to wake up for it. Changes come
//! only as [`Change`], which is also what the store writes.

use std::collections::BTreeMap;

use crate::secret::{SecretName, SecretValue, Version};

use super::options::Policy;

/// Calendar time in milliseconds since 1970 UTC. Not monotonic on purpose: the states it ends outlive the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub i64);

impl Now {
    /// Before every other time.
    pub const ALWAYS: Self = Self(i64::MIN);

    /// Whole seconds, the wire's grain.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// Tags in the order they were sent; `None` where this stands as an option: none were sent.
pub type Tags = Vec<(String, String)>;

/// What a set or an update may say. On a set, what is `None` is unset; on an update, it stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Whether the value may be got.
    pub enabled: Option<bool>,
    /// Seconds since 1970; only kept.
    pub not_before: Option<i64>,
    /// Seconds since 1970; only kept.
    pub expires_on: Option<i64>,
    /// Only kept.
    pub content_type: Option<String>,
    /// All tags.
    pub tags: Option<Tags>,
}

/// One version of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The value.
    pub value: SecretValue,
    /// `enabled` is always set here.
    pub attributes: Attributes,
    /// Seconds since 1970.
    pub created: i64,
    /// Seconds since 1970.
    pub updated: i64,
}

impl Revision {
    /// Whether the value may not be got.
    pub fn is_disabled(&self) -> bool {
        self.attributes.enabled == Some(false)
    }
}

/// Where a secret stands. Each state completes by itself at `ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There; before `ready`, still being recovered.
    Live {
        /// When it is usable.
        ready: Now,
    },
    /// Soft-deleted; before `ready`, still being deleted.
    Deleted {
        /// When DELETE was answered, seconds since 1970.
        on: i64,
        /// When the vault purges it by itself, seconds since 1970.
        purge_on: i64,
        /// When the deletion is complete.
        ready: Now,
    },
}

/// What callers see of a [`State`] at one time; the columns of the service's table of states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Never there, or purged.
    Absent,
    /// Usable.
    Live,
    /// DELETE answered, not yet visible.
    Deleting,
    /// Soft-deleted.
    Deleted,
    /// Recover answered, not yet visible.
    Recovering,
}

/// What all versions of a secret share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The name as first set; it stays until the secret is purged.
    pub name: SecretName,
    /// The newest version, enabled or not.
    pub current: Version,
    /// Where it stands.
    pub state: State,
    /// Whether a certificate owns it.
    pub managed: bool,
}

impl Head {
    fn phase(&self, now: Now) -> Phase {
        match self.state {
            State::Live { ready } if now < ready => Phase::Recovering,
            State::Live { .. } => Phase::Live,
            State::Deleted { purge_on, .. } if now.seconds() >= purge_on => Phase::Absent,
            State::Deleted { ready, .. } if now < ready => Phase::Deleting,
            State::Deleted { .. } => Phase::Deleted,
        }
    }
}

/// A secret with all its versions; `head.current` is one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// What they share.
    pub head: Head,
    /// By version string, which is the order of the service's listing.
    pub revisions: BTreeMap<Version, Revision>,
}

/// One secret's version as an answer shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The secret it is a version of.
    pub head: Head,
    /// Which version.
    pub version: Version,
    /// What it holds.
    pub revision: Revision,
}

impl Secret {
    /// Its current version.
    pub fn snapshot(&self) -> Option<Snapshot> {
        self.snapshot_of(&self.head.current)
    }

    /// The version `version`; `None` if there is no such one.
    pub fn snapshot_of(&self, version: &Version) -> Option<Snapshot> {
        let revision = self.revisions.get(version)?.clone();
        Some(Snapshot { head: self.head.clone(), version: version.clone(), revision })
    }
}

/// One step of a change, as decided, as written to disk and as applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes what the versions share.
    Head(Head),
    /// Writes one version.
    Revision(SecretName, Version, Revision),
    /// Removes a secret with all versions.
    Remove(SecretName),
    /// Keeps the name from being restored until then, as the service does after a purge. Memory only.
    Hold(SecretName, Now),
}

/// All secrets of a vault.
#[derive(Debug)]
pub struct Vault {
    policy: Policy,
    secrets: BTreeMap<SecretName, Secret>,
    held: BTreeMap<SecretName, Now>,
}

impl Vault {
    /// A vault that holds `secrets`.
    pub fn new(policy: Policy, secrets: Vec<Secret>) -> Self {
        let secrets = secrets.into_iter().map(|secret| (secret.head.name.clone(), secret)).collect();
        Self { policy, secrets, held: BTreeMap::new() }
    }

    /// What deletion means here.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Changes how long each step of a deletion or recovery takes from now on.
    pub fn set_delay(&mut self, delay_ms: i64) {
        self.policy.delay_ms = delay_ms;
    }

    /// The secret `name` and what it is at `now`.
    pub fn look(&self, name: &SecretName, now: Now) -> (Phase, Option<&Secret>) {
        match self.secrets.get(name) {
            Some(secret) => (secret.head.phase(now), Some(secret)),
            None => (Phase::Absent, None),
        }
    }

    /// The secret `name` if it is in `phase` at `now`.
    pub fn find(&self, name: &SecretName, phase: Phase, now: Now) -> Option<&Secret> {
        self.secrets.get(name).filter(|secret| secret.head.phase(now) == phase)
    }

    /// Whether `name` was purged too recently to be restored.
    pub fn is_held(&self, name: &SecretName, now: Now) -> bool {
        self.held.get(name).is_some_and(|until| now < *until)
    }

    /// The secrets in `phase` behind `after`, by upper-cased name.
    pub fn secrets<'a>(
        &'a self,
        phase: Phase,
        after: Option<&SecretName>,
        now: Now,
    ) -> impl Iterator<Item = &'a Secret> {
        use std::ops::Bound::{Excluded, Unbounded};
        let range = (after.map_or(Unbounded, |name| Excluded(name.clone())), Unbounded);
        self.secrets.range(range).map(|(_, secret)| secret).filter(move |secret| secret.head.phase(now) == phase)
    }

    /// The names whose retention has ended.
    pub fn expired(&self, now: Now) -> Vec<SecretName> {
        let gone = self.secrets.values().filter(|secret| secret.head.phase(now) == Phase::Absent);
        gone.map(|secret| secret.head.name.clone()).collect()
    }

    /// Carries out what was decided (and is on disk by now).
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Head(head) => self.apply_head(head),
            Change::Revision(name, version, revision) => self.apply_revision(name, version, revision),
            Change::Remove(name) => drop(self.secrets.remove(&name)),
            Change::Hold(name, until) => drop(self.held.insert(name, until)),
        }
    }

    fn apply_head(&mut self, head: Head) {
        match self.secrets.get_mut(&head.name) {
            Some(secret) => secret.head = head,
            None => {
                let name = head.name.clone();
                self.secrets.insert(name, Secret { head, revisions: BTreeMap::new() });
            }
        }
    }

    fn apply_revision(&mut self, name: SecretName, version: Version, revision: Revision) {
        if let Some(secret) = self.secrets.get_mut(&name) {
            secret.revisions.insert(version, revision);
        }
    }
}
