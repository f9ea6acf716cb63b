//! The running vault: its state, its store and its clock behind two locks.
//!
//! A change is decided on the state, written to the store, and only then applied, so nobody ever sees what is not
//! on the disk, and readers do not wait for the disk. Lock order: `writer`, then `state`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use crate::clock::{Clock, Moment};
use crate::secret::{SecretAttributes, SecretName, SecretValue, Version};

use super::blob::BackupKey;
use super::errors::Refusal;
use super::model::{Attributes, Change, Now, Snapshot, Vault};
use super::operations::{self, Decision};
use super::options::Policy;
use super::store::{Contents, Store};

/// A vault that requests are answered from.
pub struct LocalVault {
    writer: Mutex<Store>,
    state: RwLock<Vault>,
    key: BackupKey,
    clock: Arc<dyn Clock>,
}

/// A secret that a certificate owns, as no request can make one.
#[derive(Clone, Debug)]
pub struct ManagedSecret {
    /// Its name.
    pub name: SecretName,
    /// `application/x-pkcs12` or `application/x-pem-file`.
    pub content_type: String,
    /// Base64 of a PKCS#12 file, or PEM.
    pub value: SecretValue,
    /// The certificate's first second, since 1970.
    pub not_before: i64,
    /// The certificate's last second, since 1970.
    pub expires_on: i64,
}

impl LocalVault {
    /// A vault of what was in `store`.
    pub fn new(store: Store, contents: Contents, policy: Policy, clock: Arc<dyn Clock>) -> Self {
        let state = RwLock::new(Vault::new(policy, contents.secrets));
        Self { writer: Mutex::new(store), state, key: contents.key, clock }
    }

    /// The key of this vault's backups.
    pub fn key(&self) -> &BackupKey {
        &self.key
    }

    /// What time it is for this vault.
    pub fn now(&self) -> Now {
        let since = self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// The monotonic time.
    pub fn moment(&self) -> Moment {
        self.clock.moment()
    }

    /// From now on, every step of a deletion or recovery takes so many milliseconds.
    pub fn set_delay(&self, delay_ms: i64) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).set_delay(delay_ms);
    }

    /// Looks at the state.
    pub fn read<Answer>(&self, look: impl FnOnce(&Vault, Now) -> Answer) -> Answer {
        look(&self.state(), self.now())
    }

    /// Decides on the state as it is, makes that durable, applies it, and answers.
    pub fn change(&self, decide: impl FnOnce(&Vault, Now) -> Decision) -> Result<Snapshot, Refusal> {
        let store = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        self.purge_expired_locked(&store, now)?;
        let (answer, changes) = decide(&self.state(), now)?;
        self.carry_out_locked(&store, changes)?;
        Ok(answer)
    }

    fn purge_expired_locked(&self, store: &MutexGuard<'_, Store>, now: Now) -> Result<(), Refusal> {
        let expired: Vec<Change> = self.state().expired(now).into_iter().map(Change::Remove).collect();
        if expired.is_empty() { Ok(()) } else { self.carry_out_locked(store, expired) }
    }

    fn carry_out_locked(&self, store: &MutexGuard<'_, Store>, changes: Vec<Change>) -> Result<(), Refusal> {
        store.commit(&changes).map_err(|error| {
            tracing::error!(%error, "the local vault could not write its store");
            Refusal::Storage
        })?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        changes.into_iter().for_each(|change| state.apply(change));
        Ok(())
    }

    fn state(&self) -> RwLockReadGuard<'_, Vault> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a version that a certificate owns.
    pub fn add_managed(&self, secret: ManagedSecret) -> Result<Version, Refusal> {
        let version = new_version()?;
        let attributes = Attributes {
            not_before: Some(secret.not_before),
            expires_on: Some(secret.expires_on),
            content_type: Some(secret.content_type),
            ..Attributes::default()
        };
        self.change(|vault, now| {
            operations::set_managed(vault, &secret.name, version.clone(), secret.value, attributes, now)
        })?;
        Ok(version)
    }

    /// Changes the current version of what a certificate owns.
    pub fn update_managed(&self, name: &SecretName, change: SecretAttributes) -> Result<(), Refusal> {
        let change = attributes_of(change);
        self.change(|vault, now| operations::update_managed(vault, name, change, now)).map(drop)
    }

    /// Removes what a certificate owns.
    pub fn remove_managed(&self, name: &SecretName) -> Result<(), Refusal> {
        self.change(|vault, now| operations::remove_managed(vault, name, now)).map(drop)
    }
}

/// The words of the API in those of the model.
fn attributes_of(given: SecretAttributes) -> Attributes {
    Attributes {
        enabled: given.enabled,
        not_before: given.not_before.map(|time| time.0),
        expires_on: given.expires_on.map(|time| time.0),
        content_type: given.content_type,
        tags: given.tags.map(|tags| tags.into_iter().collect()),
    }
}

/// A version as the service makes them: 128 random bits.
pub fn new_version() -> Result<Version, Refusal> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Refusal::Storage)?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Version::parse(&digits).ok_or(Refusal::Storage)
}
