//! A store in front of another one that does the same around each operation.
//!
//! [`SecretStore`] has no default methods, so that none is forgotten; here they are written once for all stores that only
//! count, hold back, or look at what comes.

use crate::clock::Moment;
use crate::secret::{
    BackupBlob, DeletedSecret, KeyVaultSecret, SecretAttributes, SecretName, SecretProperties, SecretValue, Timestamp,
    Version,
};
use crate::store::{Continuation, Found, Operation, Page, SecretStore, StoreError, Wait};

/// What is done around each operation. Whoever implements it is a [`SecretStore`].
pub trait Around: Send + Sync {
    /// The store that is asked.
    fn below(&self) -> &dyn SecretStore;

    /// Asks it by `ask`, or answers in its place.
    ///
    /// # Errors
    /// What it said, or why it was not asked.
    fn around<T>(
        &self,
        operation: Operation,
        name: Option<&SecretName>,
        wait: Wait,
        ask: impl FnOnce(&dyn SecretStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError>;
}

impl<A: Around> SecretStore for A {
    fn get(&self, name: &SecretName, version: Option<&Version>, wait: Wait) -> Result<KeyVaultSecret, StoreError> {
        self.around(Operation::Get, Some(name), wait, |below| below.get(name, version, wait))
    }

    fn find(&self, name: &SecretName, wait: Wait) -> Result<Found, StoreError> {
        self.around(Operation::Find, Some(name), wait, |below| below.find(name, wait))
    }

    fn set(
        &self,
        name: &SecretName,
        value: &SecretValue,
        attributes: &SecretAttributes,
        wait: Wait,
    ) -> Result<SecretProperties, StoreError> {
        self.around(Operation::Set, Some(name), wait, |below| below.set(name, value, attributes, wait))
    }

    fn update(
        &self,
        name: &SecretName,
        version: Option<&Version>,
        changes: &SecretAttributes,
        wait: Wait,
    ) -> Result<SecretProperties, StoreError> {
        self.around(Operation::Update, Some(name), wait, |below| below.update(name, version, changes, wait))
    }

    fn delete(&self, name: &SecretName, wait: Wait) -> Result<DeletedSecret, StoreError> {
        self.around(Operation::Delete, Some(name), wait, |below| below.delete(name, wait))
    }

    fn get_deleted(&self, name: &SecretName, wait: Wait) -> Result<DeletedSecret, StoreError> {
        self.around(Operation::GetDeleted, Some(name), wait, |below| below.get_deleted(name, wait))
    }

    fn recover(&self, name: &SecretName, wait: Wait) -> Result<SecretProperties, StoreError> {
        self.around(Operation::Recover, Some(name), wait, |below| below.recover(name, wait))
    }

    fn purge(&self, name: &SecretName, wait: Wait) -> Result<(), StoreError> {
        self.around(Operation::Purge, Some(name), wait, |below| below.purge(name, wait))
    }

    fn backup(&self, name: &SecretName, wait: Wait) -> Result<BackupBlob, StoreError> {
        self.around(Operation::Backup, Some(name), wait, |below| below.backup(name, wait))
    }

    fn restore(&self, blob: &BackupBlob, wait: Wait) -> Result<SecretProperties, StoreError> {
        self.around(Operation::Restore, None, wait, |below| below.restore(blob, wait))
    }

    fn list(&self, from: Option<&Continuation>, wait: Wait) -> Result<Page<SecretProperties>, StoreError> {
        self.around(Operation::List, None, wait, |below| below.list(from, wait))
    }

    fn list_versions(
        &self,
        name: &SecretName,
        from: Option<&Continuation>,
        wait: Wait,
    ) -> Result<Page<SecretProperties>, StoreError> {
        self.around(Operation::ListVersions, Some(name), wait, |below| below.list_versions(name, from, wait))
    }

    fn list_deleted(&self, from: Option<&Continuation>, wait: Wait) -> Result<Page<DeletedSecret>, StoreError> {
        self.around(Operation::ListDeleted, None, wait, |below| below.list_deleted(from, wait))
    }

    fn expire(&self, name: Option<&SecretName>) {
        self.below().expire(name);
    }

    fn time_at(&self, moment: Moment) -> Option<Timestamp> {
        self.below().time_at(moment)
    }
}
