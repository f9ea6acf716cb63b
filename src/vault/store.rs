//! The operations, each one call with its path, its body and its answer: [`SecretStore`] for [`SecretClient`].

use std::time::Duration;

use super::SecretClient;
use super::address::{LinkError, Target};
use super::calls::Look;
use super::doubt::Before;
use super::http::{Payload, Verb};
use super::link::Call;
use super::wire::{self, WireError, WirePage};
use crate::clock::Moment;
use crate::secret::{
    BackupBlob, DeletedSecret, KeyVaultSecret, SecretAttributes, SecretName, SecretProperties, SecretValue, Timestamp,
    Version,
};
use crate::store::{Continuation, ErrorKind, Found, Operation, Page, SecretStore, StoreError, Wait};

/// The most that is read of an answer about one secret. The largest value, escaped to six bytes a byte, and 15 tags
/// of 512 characters each way fit.
const ONE: usize = 256 * 1024;
/// Of a page: 25 items with 15 tags of 2 x 512 characters of up to four bytes each, and their dates.
const PAGE: usize = 2 * 1024 * 1024;
/// Of a backup: up to 500 versions of 25,600 bytes in base64.
const BACKUP: usize = 24 * 1024 * 1024;

impl SecretStore for SecretClient {
    fn get(&self, name: &SecretName, version: Option<&Version>, wait: Wait) -> Result<KeyVaultSecret, StoreError> {
        self.get_as(Operation::Get, name, version, wait)
    }

    fn find(&self, name: &SecretName, wait: Wait) -> Result<Found, StoreError> {
        let properties = match self.get_as(Operation::Find, name, None, wait) {
            Ok(secret) => secret.properties,
            Err(error) if error.kind == ErrorKind::Disabled => self.disabled(name, wait)?,
            Err(error) => return Err(error),
        };
        let current = properties.version.clone();
        Ok(Found { properties, current, valid_for: Duration::ZERO })
    }

    fn set(
        &self,
        name: &SecretName,
        value: &SecretValue,
        attributes: &SecretAttributes,
        wait: Wait,
    ) -> Result<SecretProperties, StoreError> {
        let body = wire::set_body(value, attributes);
        let call = self.call(Operation::Set, Some(name), Verb::Put, Target::Secret(name)).changing().with(body);
        let before = self.before(name);
        let look = || self.look_at_set(name, value, attributes, &before, wait);
        let made = self.link.change(&call, wait, wire::properties, look)?;
        self.seen.note(name, made.version.as_ref());
        Ok(made)
    }

    fn update(
        &self,
        name: &SecretName,
        version: Option<&Version>,
        changes: &SecretAttributes,
        wait: Wait,
    ) -> Result<SecretProperties, StoreError> {
        let target = Target::Version(name, version);
        let body = wire::update_body(changes);
        let call = self.call(Operation::Update, Some(name), Verb::Patch, target).changing().with(body);
        let before = self.before(name);
        let look = || self.look_at_update(name, version, changes, &before, wait);
        let changed = self.link.change(&call, wait, wire::properties, look)?;
        if version.is_none() {
            self.seen.note(name, changed.version.as_ref());
        }
        Ok(changed)
    }

    fn delete(&self, name: &SecretName, wait: Wait) -> Result<DeletedSecret, StoreError> {
        let call = self.call(Operation::Delete, Some(name), Verb::Delete, Target::Secret(name)).changing();
        self.link.change(&call, wait, wire::deleted, || self.look_at_delete(name, wait))
    }

    fn get_deleted(&self, name: &SecretName, wait: Wait) -> Result<DeletedSecret, StoreError> {
        let call = self.call(Operation::GetDeleted, Some(name), Verb::Get, Target::Deleted(name));
        self.link.read(&call, wait, wire::deleted)
    }

    fn recover(&self, name: &SecretName, wait: Wait) -> Result<SecretProperties, StoreError> {
        let call = self.call(Operation::Recover, Some(name), Verb::Post, Target::Recover(name)).changing();
        self.link.change(&call, wait, wire::properties, || self.look_at_recover(name, wait))
    }

    fn purge(&self, name: &SecretName, wait: Wait) -> Result<(), StoreError> {
        let call = self.call(Operation::Purge, Some(name), Verb::Delete, Target::Deleted(name)).changing();
        self.link.change(&call, wait, wire::nothing, || self.look_at_purge(name, wait))
    }

    fn backup(&self, name: &SecretName, wait: Wait) -> Result<BackupBlob, StoreError> {
        let call = self.call(Operation::Backup, Some(name), Verb::Post, Target::Backup(name)).up_to(BACKUP);
        self.link.read(&call, wait, wire::backup)
    }

    /// Sent once more after a doubt without a look, since the blob does not tell us its name. It cannot happen
    /// twice: the vault refuses a name in use, and then says so.
    fn restore(&self, blob: &BackupBlob, wait: Wait) -> Result<SecretProperties, StoreError> {
        let body = wire::restore_body(blob);
        let call = self.call(Operation::Restore, None, Verb::Post, Target::Restore).changing().with(body);
        self.link.change(&call, wait, wire::properties, || Ok(Look::NotDone))
    }

    fn list(&self, from: Option<&Continuation>, wait: Wait) -> Result<Page<SecretProperties>, StoreError> {
        self.page(Operation::List, None, Target::Secrets, from, wait, wire::page)
    }

    fn list_versions(
        &self,
        name: &SecretName,
        from: Option<&Continuation>,
        wait: Wait,
    ) -> Result<Page<SecretProperties>, StoreError> {
        let mut page =
            self.page(Operation::ListVersions, Some(name), Target::Versions(name), from, wait, wire::page)?;
        page.items.retain(|item| item.version.is_some() && item.name == *name);
        Ok(page)
    }

    fn list_deleted(&self, from: Option<&Continuation>, wait: Wait) -> Result<Page<DeletedSecret>, StoreError> {
        self.page(Operation::ListDeleted, None, Target::AllDeleted, from, wait, wire::deleted_page)
    }

    /// A client remembers nothing that a read relies on.
    fn expire(&self, _name: Option<&SecretName>) {}

    fn time_at(&self, moment: Moment) -> Option<Timestamp> {
        self.link.server_time().at(moment).map(Timestamp)
    }
}

impl SecretClient {
    /// What a listing tells of a disabled secret, its spelling too. Without the right to list, only that it is there.
    fn disabled(&self, name: &SecretName, wait: Wait) -> Result<SecretProperties, StoreError> {
        let bare = |name| SecretProperties::bare(self.vault_url(), name);
        match self.newest(name, wait) {
            Ok(Some(newest)) if newest.is_disabled() => {
                Ok(SecretProperties { id: bare(&newest.name).id, version: None, ..newest })
            }
            Err(error) if error.kind != ErrorKind::Forbidden => Err(StoreError { operation: Operation::Find, ..error }),
            Ok(_) | Err(_) => Ok(SecretProperties { enabled: Some(false), ..bare(name) }),
        }
    }

    fn get_as(
        &self,
        operation: Operation,
        name: &SecretName,
        version: Option<&Version>,
        wait: Wait,
    ) -> Result<KeyVaultSecret, StoreError> {
        let call = self.call(operation, Some(name), Verb::Get, Target::Version(name, version));
        let secret = self.link.read(&call, wait, wire::secret)?;
        let told = secret.properties.version.as_ref();
        match version {
            None => self.seen.note(name, told),
            Some(asked) if told.is_none_or(|told| told == asked) => {}
            Some(_) => {
                let message = "the answer makes no sense: it is of another version";
                return Err(StoreError::local(operation, Some(name), ErrorKind::Broken, message));
            }
        }
        Ok(secret)
    }

    fn page<T>(
        &self,
        operation: Operation,
        name: Option<&SecretName>,
        target: Target<'_>,
        from: Option<&Continuation>,
        wait: Wait,
        read: fn(&[u8]) -> Result<WirePage<T>, WireError>,
    ) -> Result<Page<T>, StoreError> {
        if wait == Wait::No {
            return Err(StoreError::not_in_memory(operation));
        }
        let follow = |link: &str| self.link.vault.follow(link, target, self.api_version());
        let refuse = |error: LinkError| {
            let kind = if error == LinkError::NoUrl { ErrorKind::Broken } else { ErrorKind::Foreign };
            StoreError::local(operation, name, kind, error.to_string())
        };
        let mut call = self.call(operation, name, Verb::Get, target).up_to(PAGE);
        if let Some(from) = from {
            call.url = follow(&from.0).map_err(refuse)?;
        }
        let WirePage { items, dropped, next_link } = self.link.read(&call, wait, read)?;
        if dropped > 0 {
            tracing::warn!(%operation, dropped, "items of a listing that name no secret were left out");
        }
        let Some(next) = next_link else { return Ok(Page { items, next: None }) };
        let url = follow(&next).map_err(refuse)?; // refused here, before anybody keeps it
        if from.is_some() && url == call.url {
            return Err(StoreError::local(operation, name, ErrorKind::Broken, "a listing that does not go on"));
        }
        Ok(Page { items, next: Some(Continuation(next)) })
    }

    /// A call that reads; see [`Call::changing`].
    pub(super) fn call<'a>(
        &self,
        operation: Operation,
        name: Option<&'a SecretName>,
        verb: Verb,
        target: Target<'_>,
    ) -> Call<'a> {
        let url = self.link.vault.at(target, self.api_version());
        Call { operation, name, verb, url, payload: None, limit: ONE, change: false }
    }

    fn before(&self, name: &SecretName) -> Before {
        Before { version: self.seen.version(name), began: self.link.clock.moment() }
    }

    fn api_version(&self) -> &str {
        &self.link.options.api_version
    }
}

impl Call<'_> {
    fn changing(self) -> Self {
        Self { change: true, ..self }
    }

    fn with(self, body: zeroize::Zeroizing<Vec<u8>>) -> Self {
        Self { payload: Some(Payload::new(body)), ..self }
    }

    fn up_to(self, limit: usize) -> Self {
        Self { limit, ..self }
    }
}
