//! The vault's client: the counterpart of `SecretClient` in Microsoft's Python SDK, blocking.
//!
//! Knows Key Vault's secrets over HTTPS; knows nothing of files, caches or mounts. One request falls through
//!
//! ```text
//! SecretClient (operations) -> calls (retry, doubt) -> link (limits, challenge, token) -> http (one send)
//! ```
//!
//! and its answer comes back as a plain [`Reply`] that [`answer`] and [`wire`] read.
//!
//! What it promises: a token goes to nobody but the vault, and is asked for only when the vault's challenge names a
//! domain that the vault belongs to; a change is carried out once, also when its answer is lost (`doubt`); every
//! call ends in its time; no value, token or body gets into an error or a log.

mod address;
pub mod answer;
mod auth;
mod bounded;
mod calls;
pub mod challenge;
mod doubt;
mod errors;
mod http;
mod limits;
mod link;
mod options;
mod pager;
mod poller;
mod probe;
mod reply;
mod retry;
mod retry_after;
mod seen;
mod server_time;
mod store;
#[cfg(test)]
mod test_clock;
pub mod wire;

use std::sync::Arc;

pub use address::{UrlError, Vault, vault_url};
pub use auth::{
    AuthError, AuthKind, AuthOptions, Reach, Runner, StaticToken, Token, TokenSource, azure_tokens, local_token,
};
pub use http::SetupError;
use link::Link;
pub use options::{ClientOptions, Proxy};
pub use pager::{Pager, Pages};
pub use poller::{DeletePoller, RecoverPoller};
pub use reply::Reply;
use seen::Seen;

use crate::clock::Clock;
use crate::secret::{
    BackupBlob, DeletedSecret, KeyVaultSecret, SecretAttributes, SecretName, SecretProperties, SecretValue, Version,
};
use crate::store::{Operation, SecretStore as _, StoreError, Wait};

/// What the fuzzer reaches that callers need not.
#[cfg(fuzzing)]
pub mod fuzzing {
    use super::Vault;
    use super::address::Target;

    /// Where `link`, found in a listing of the secrets of `vault`, would lead a request.
    pub fn follow(vault: &Vault, link: &str) -> Option<url::Url> {
        vault.follow(link, Target::Secrets, "7.6").ok()
    }

    /// Whether `text` is a file of credentials, and the message if it is not.
    ///
    /// # Errors
    /// The message.
    pub fn credentials(text: &str) -> Result<(), String> {
        super::auth::check_credentials(text)
    }

    /// What the middle part of a token says of whom it is for.
    pub fn claims(payload: &str) -> Option<String> {
        super::wire::claims(payload).map(|claims| claims.to_string())
    }
}

/// A client of one vault. Cheap to clone; clones share connections, token and limits.
///
/// The methods here are those of Python's `SecretClient`; each ends within
/// [`time_limit`](ClientOptions::time_limit). Those of [`SecretStore`](crate::store::SecretStore) take a limit of
/// their own.
#[derive(Clone)]
pub struct SecretClient {
    link: Arc<Link>,
    seen: Arc<Seen>,
}

/// Why there is no client.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// The vault's URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// HTTPS.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// `verify_challenge_resource: false` for a vault that is not on this machine.
    #[error("the challenge's resource must be verified: {0} is not on this machine")]
    Unverified(String),
}

impl SecretClient {
    /// A client of the vault at `vault_url`, which may be anything that [`vault_url`] understands.
    ///
    /// # Errors
    /// If that is no vault, the CA file cannot be used, or the options ask for what is not safe.
    pub fn new(
        vault_url: &str,
        tokens: Arc<dyn TokenSource>,
        options: ClientOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ClientError> {
        let vault = Vault::parse(vault_url)?;
        if !options.verify_challenge_resource && !vault.is_loopback() {
            return Err(ClientError::Unverified(vault.url().to_owned()));
        }
        let link = Arc::new(Link::new(vault, tokens, options, clock)?);
        Ok(Self { link, seen: Arc::default() })
    }

    /// The vault's URL without a trailing slash.
    pub fn vault_url(&self) -> &str {
        self.link.vault.url()
    }

    /// The current version, or `version`.
    pub fn get_secret(&self, name: &SecretName, version: Option<&Version>) -> Result<KeyVaultSecret, StoreError> {
        self.get(name, version, self.default_wait())
    }

    /// Makes a new version. What `attributes` leaves out is unset in it.
    pub fn set_secret(
        &self,
        name: &SecretName,
        value: &SecretValue,
        attributes: &SecretAttributes,
    ) -> Result<KeyVaultSecret, StoreError> {
        let properties = self.set(name, value, attributes, self.default_wait())?;
        Ok(KeyVaultSecret { properties, value: value.clone() })
    }

    /// Changes what `changes` gives, of the current version or of `version`; nothing else, and no value.
    pub fn update_secret_properties(
        &self,
        name: &SecretName,
        version: Option<&Version>,
        changes: &SecretAttributes,
    ) -> Result<SecretProperties, StoreError> {
        self.update(name, version, changes, self.default_wait())
    }

    /// Deletes a secret with all its versions. The vault takes a while; the poller tells when it is done.
    pub fn begin_delete_secret(&self, name: &SecretName) -> Result<DeletePoller, StoreError> {
        let deleted = self.delete(name, self.default_wait())?;
        Ok(DeletePoller::new(self.clone(), name.clone(), deleted))
    }

    /// Brings a deleted secret back. The vault takes a while; the poller tells when it is done.
    pub fn begin_recover_deleted_secret(&self, name: &SecretName) -> Result<RecoverPoller, StoreError> {
        let properties = self.recover(name, self.default_wait())?;
        Ok(RecoverPoller::new(self.clone(), name.clone(), properties))
    }

    /// A deleted secret.
    pub fn get_deleted_secret(&self, name: &SecretName) -> Result<DeletedSecret, StoreError> {
        self.get_deleted(name, self.default_wait())
    }

    /// All secrets, without values or versions.
    pub fn list_properties_of_secrets(&self) -> Pager<SecretProperties> {
        let client = self.clone();
        Pager::new(Operation::List, move |from| client.list(from, client.default_wait()))
    }

    /// All versions of a secret, without values; none if there is no such secret.
    pub fn list_properties_of_secret_versions(&self, name: &SecretName) -> Pager<SecretProperties> {
        let (client, name) = (self.clone(), name.clone());
        Pager::new(Operation::ListVersions, move |from| client.list_versions(&name, from, client.default_wait()))
    }

    /// All deleted secrets.
    pub fn list_deleted_secrets(&self) -> Pager<DeletedSecret> {
        let client = self.clone();
        Pager::new(Operation::ListDeleted, move |from| client.list_deleted(from, client.default_wait()))
    }

    /// Destroys a deleted secret for good.
    pub fn purge_deleted_secret(&self, name: &SecretName) -> Result<(), StoreError> {
        self.purge(name, self.default_wait())
    }

    /// All versions in a form that only the service can open.
    pub fn backup_secret(&self, name: &SecretName) -> Result<BackupBlob, StoreError> {
        self.backup(name, self.default_wait())
    }

    /// Brings back what a backup holds, under its old name.
    pub fn restore_secret_backup(&self, blob: &BackupBlob) -> Result<SecretProperties, StoreError> {
        self.restore(blob, self.default_wait())
    }

    /// The versions of `name` one by one, all within one limit.
    fn versions_within(&self, name: &SecretName, wait: Wait) -> Pager<SecretProperties> {
        let (client, name) = (self.clone(), name.clone());
        Pager::new(Operation::ListVersions, move |from| client.list_versions(&name, from, wait))
    }

    fn default_wait(&self) -> Wait {
        Wait::at_most(&*self.link.clock, self.link.options.time_limit)
    }
}
