//! A store over a vault in memory: stricter than the service, never kinder. It remembers nothing for
//! [`Wait::No`], starts nothing when the time is up, and counts, breaks and holds up calls when a test says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use akvfs::clock::{Clock, Moment, unix_seconds};
use akvfs::secret::{
    BackupBlob, DeletedSecret, KeyVaultSecret, SecretAttributes, SecretName, SecretProperties, SecretValue, Timestamp,
    Version,
};
use akvfs::store::{Answer, Continuation, ErrorKind, Found, Operation, Page, SecretStore, StoreError, Wait};

use super::switches::{Fault, Switches};
use super::vault::{Now, Settings, Vault};

/// The store. Hold two `Arc`s of it to be another party that changes secrets behind somebody's back.
pub struct ModelStore {
    clock: Arc<dyn Clock>,
    vault: Mutex<Vault>,
    switches: Switches,
}

impl ModelStore {
    /// An empty vault whose deletions are done at once.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::with(clock, Settings::default())
    }

    /// An empty vault.
    pub fn with(clock: Arc<dyn Clock>, settings: Settings) -> Arc<Self> {
        Arc::new(Self { clock, vault: Mutex::new(Vault::new(settings)), switches: Switches::default() })
    }

    /// Puts a version there that a certificate owns.
    pub fn plant_managed(&self, name: &SecretName, value: &SecretValue, attributes: &SecretAttributes) {
        self.lock().plant_managed(name, value, attributes);
    }

    /// The next call of `operation` fails, without effect. Several queue up.
    pub fn fail_next(&self, operation: Operation, kind: ErrorKind) {
        self.switches.add_fault(operation, Fault::Refuse(kind));
    }

    /// The next call of `operation` takes effect, but its caller hears that it failed.
    pub fn lose_next_reply(&self, operation: Operation, kind: ErrorKind) {
        self.switches.add_fault(operation, Fault::LoseReply(kind));
    }

    /// The next call of `operation` sleeps until its time is up, and has no effect.
    pub fn hang_next(&self, operation: Operation) {
        self.switches.add_fault(operation, Fault::Hang);
    }

    /// From now on every call is answered so, without effect, until `None`.
    pub fn break_down(&self, fault: Option<Fault>) {
        self.switches.break_down(fault);
    }

    /// What did not fail yet does not fail any more.
    pub fn forget_faults(&self) {
        self.switches.forget_faults();
    }

    /// From now on calls of `operation` wait (in real time) until [`open_gate`](Self::open_gate).
    pub fn shut_gate(&self, operation: Operation) {
        self.switches.shut(operation);
    }

    /// Lets everybody through.
    pub fn open_gate(&self, operation: Operation) {
        self.switches.open(operation);
    }

    /// Returns when `count` calls stand before the gate; panics after ten seconds.
    pub fn wait_at_gate(&self, operation: Operation, count: usize) {
        self.switches.wait_for(operation, count);
    }

    /// Calls of `operation` so far, those with [`Wait::No`] left out: what a vault would have been asked.
    pub fn calls(&self, operation: Operation) -> usize {
        self.switches.calls(operation)
    }

    /// Calls of all operations so far.
    pub fn all_calls(&self) -> usize {
        self.switches.all_calls()
    }

    /// Counts from zero again.
    pub fn forget_calls(&self) {
        self.switches.forget_calls();
    }

    fn call<T>(
        &self,
        operation: Operation,
        name: Option<&SecretName>,
        wait: Wait,
        act: impl FnOnce(&mut Vault) -> Result<T, ErrorKind>,
    ) -> Result<T, StoreError> {
        if wait == Wait::No {
            return Err(StoreError::not_in_memory(operation));
        }
        let fault = self.switches.arrive(operation);
        if fault == Some(Fault::Hang) {
            self.clock.sleep(wait.remaining(&*self.clock));
        }
        let refused = |kind| Err(refusal(operation, name, kind));
        if wait.remaining(&*self.clock).is_zero() {
            return refused(ErrorKind::TimedOut);
        }
        match fault {
            Some(Fault::Refuse(kind)) => refused(kind),
            Some(Fault::LoseReply(kind)) => act(&mut self.lock()).and(Err(kind)).or_else(refused),
            Some(Fault::Hang) | None => act(&mut self.lock()).or_else(refused),
        }
    }

    /// The vault at this moment.
    fn lock(&self) -> MutexGuard<'_, Vault> {
        let mut vault = self.vault.lock().unwrap_or_else(PoisonError::into_inner);
        vault.arrive(Now { date: unix_seconds(&*self.clock), moment: self.clock.moment() });
        vault
    }
}

impl SecretStore for ModelStore {
    fn get(&self, name: &SecretName, version: Option<&Version>, wait: Wait) -> Result<KeyVaultSecret, StoreError> {
        self.call(Operation::Get, Some(name), wait, |vault| vault.get(name, version))
    }

    fn find(&self, name: &SecretName, wait: Wait) -> Result<Found, StoreError> {
        self.call(Operation::Find, Some(name), wait, |vault| vault.find(name))
    }

    fn set(
        &self,
        name: &SecretName,
        value: &SecretValue,
        attributes: &SecretAttributes,
        wait: Wait,
    ) -> Result<SecretProperties, StoreError> {
        self.call(Operation::Set, Some(name), wait, |vault| vault.set(name, value, attributes))
    }

    fn update(
        &self,
        name: &SecretName,
        version: Option<&Version>,
        changes: &SecretAttributes,
        wait: Wait,
    ) -> Result<SecretProperties, StoreError> {
        self.call(Operation::Update, Some(name), wait, |vault| vault.update(name, version, changes))
    }

    fn delete(&self, name: &SecretName, wait: Wait) -> Result<DeletedSecret, StoreError> {
        self.call(Operation::Delete, Some(name), wait, |vault| vault.delete(name))
    }

    fn get_deleted(&self, name: &SecretName, wait: Wait) -> Result<DeletedSecret, StoreError> {
        self.call(Operation::GetDeleted, Some(name), wait, |vault| vault.get_deleted(name))
    }

    fn recover(&self, name: &SecretName, wait: Wait) -> Result<SecretProperties, StoreError> {
        self.call(Operation::Recover, Some(name), wait, |vault| vault.recover(name))
    }

    fn purge(&self, name: &SecretName, wait: Wait) -> Result<(), StoreError> {
        self.call(Operation::Purge, Some(name), wait, |vault| vault.purge(name))
    }

    fn backup(&self, name: &SecretName, wait: Wait) -> Result<BackupBlob, StoreError> {
        self.call(Operation::Backup, Some(name), wait, |vault| vault.backup(name))
    }

    fn restore(&self, blob: &BackupBlob, wait: Wait) -> Result<SecretProperties, StoreError> {
        self.call(Operation::Restore, None, wait, |vault| vault.restore(blob))
    }

    fn list(&self, from: Option<&Continuation>, wait: Wait) -> Result<Page<SecretProperties>, StoreError> {
        self.call(Operation::List, None, wait, |vault| vault.list(from))
    }

    fn list_versions(
        &self,
        name: &SecretName,
        from: Option<&Continuation>,
        wait: Wait,
    ) -> Result<Page<SecretProperties>, StoreError> {
        self.call(Operation::ListVersions, Some(name), wait, |vault| vault.list_versions(name, from))
    }

    fn list_deleted(&self, from: Option<&Continuation>, wait: Wait) -> Result<Page<DeletedSecret>, StoreError> {
        self.call(Operation::ListDeleted, None, wait, |vault| vault.list_deleted(from))
    }

    fn expire(&self, _name: Option<&SecretName>) {}

    fn time_at(&self, moment: Moment) -> Option<Timestamp> {
        let ago = self.clock.moment().since(moment).as_secs();
        Some(Timestamp(unix_seconds(&*self.clock).saturating_sub_unsigned(ago)))
    }
}

/// An error as the service would give it, with its status and code.
fn refusal(operation: Operation, name: Option<&SecretName>, kind: ErrorKind) -> StoreError {
    let message = format!("the model answers {kind:?}");
    let mut error = StoreError::local(operation, name, kind, message);
    if let Some((status, code)) = service_code(kind) {
        error.answer = Answer { status: Some(status), code: Some(code.to_owned()), ..error.answer };
    }
    error
}

fn service_code(kind: ErrorKind) -> Option<(u16, &'static str)> {
    Some(match kind {
        ErrorKind::NotFound => (404, "SecretNotFound"),
        ErrorKind::Disabled => (403, "Forbidden/SecretDisabled"),
        ErrorKind::Forbidden => (403, "Forbidden/ForbiddenByPolicy"),
        ErrorKind::Firewall => (403, "Forbidden/ForbiddenByFirewall"),
        ErrorKind::Managed => (403, "Forbidden/SecretManagedByKeyVault"),
        ErrorKind::PurgeProtected => (403, "Forbidden"),
        ErrorKind::Deleted => (409, "Conflict/ObjectIsDeletedButRecoverable"),
        ErrorKind::BeingDeleted => (409, "Conflict/ObjectIsBeingDeleted"),
        ErrorKind::BeingRecovered => (409, "Conflict/ObjectIsBeingRecovered"),
        ErrorKind::Exists => (409, "Conflict"),
        ErrorKind::Throttled { .. } => (429, "Throttled"),
        ErrorKind::Invalid => (400, "BadParameter"),
        ErrorKind::BadBackup => (400, "Malformed backup blob"),
        ErrorKind::Authentication => (401, "Unauthorized"),
        ErrorKind::NotInMemory
        | ErrorKind::Foreign
        | ErrorKind::Tls
        | ErrorKind::Unreachable
        | ErrorKind::TimedOut
        | ErrorKind::Broken
        | ErrorKind::Superseded => return None,
    })
}
