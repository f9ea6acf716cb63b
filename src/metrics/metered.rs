//! A store that counts what the one below it is asked. It decides nothing.

use std::sync::Arc;

use crate::clock::{Clock, Moment, unix_seconds};
use crate::secret::{
    BackupBlob, DeletedSecret, KeyVaultSecret, SecretAttributes, SecretName, SecretProperties, SecretValue, Timestamp,
    Version,
};
use crate::store::{Continuation, ErrorKind, Found, Operation, Page, SecretStore, StoreError, Wait};

use super::Metrics;

/// See the module.
pub struct Metered {
    below: Arc<dyn SecretStore>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

impl Metered {
    /// Counts in `metrics` what `below` is asked.
    pub fn new(below: Arc<dyn SecretStore>, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        Self { below, metrics, clock }
    }

    fn count<T>(
        &self,
        operation: Operation,
        ask: impl FnOnce(&dyn SecretStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let asked = self.clock.moment();
        let answer = ask(&*self.below);
        let failure = answer.as_ref().err().map(|error| error.kind);
        // What only memory was asked for was never on its way to the vault.
        if failure != Some(ErrorKind::NotInMemory) {
            let took = self.clock.moment().since(asked);
            self.metrics.vault.of(operation).note(failure, took, unix_seconds(&*self.clock));
        }
        answer
    }
}

impl SecretStore for Metered {
    fn get(&self, name: &SecretName, version: Option<&Version>, wait: Wait) -> Result<KeyVaultSecret, StoreError> {
        self.count(Operation::Get, |below| below.get(name, version, wait))
    }

    fn find(&self, name: &SecretName, wait: Wait) -> Result<Found, StoreError> {
        self.count(Operation::Find, |below| below.find(name, wait))
    }

    fn set(
        &self,
        name: &SecretName,
        value: &SecretValue,
        attributes: &SecretAttributes,
        wait: Wait,
    ) -> Result<SecretProperties, StoreError> {
        self.count(Operation::Set, |below| below.set(name, value, attributes, wait))
    }

    fn update(
        &self,
        name: &SecretName,
        version: Option<&Version>,
        changes: &SecretAttributes,
        wait: Wait,
    ) -> Result<SecretProperties, StoreError> {
        self.count(Operation::Update, |below| below.update(name, version, changes, wait))
    }

    fn delete(&self, name: &SecretName, wait: Wait) -> Result<DeletedSecret, StoreError> {
        self.count(Operation::Delete, |below| below.delete(name, wait))
    }

    fn get_deleted(&self, name: &SecretName, wait: Wait) -> Result<DeletedSecret, StoreError> {
        self.count(Operation::GetDeleted, |below| below.get_deleted(name, wait))
    }

    fn recover(&self, name: &SecretName, wait: Wait) -> Result<SecretProperties, StoreError> {
        self.count(Operation::Recover, |below| below.recover(name, wait))
    }

    fn purge(&self, name: &SecretName, wait: Wait) -> Result<(), StoreError> {
        self.count(Operation::Purge, |below| below.purge(name, wait))
    }

    fn backup(&self, name: &SecretName, wait: Wait) -> Result<BackupBlob, StoreError> {
        self.count(Operation::Backup, |below| below.backup(name, wait))
    }

    fn restore(&self, blob: &BackupBlob, wait: Wait) -> Result<SecretProperties, StoreError> {
        self.count(Operation::Restore, |below| below.restore(blob, wait))
    }

    fn list(&self, from: Option<&Continuation>, wait: Wait) -> Result<Page<SecretProperties>, StoreError> {
        self.count(Operation::List, |below| below.list(from, wait))
    }

    fn list_versions(
        &self,
        name: &SecretName,
        from: Option<&Continuation>,
        wait: Wait,
    ) -> Result<Page<SecretProperties>, StoreError> {
        self.count(Operation::ListVersions, |below| below.list_versions(name, from, wait))
    }

    fn list_deleted(&self, from: Option<&Continuation>, wait: Wait) -> Result<Page<DeletedSecret>, StoreError> {
        self.count(Operation::ListDeleted, |below| below.list_deleted(from, wait))
    }

    fn expire(&self, name: Option<&SecretName>) {
        self.below.expire(name);
    }

    fn time_at(&self, moment: Moment) -> Option<Timestamp> {
        self.below.time_at(moment)
    }
}
