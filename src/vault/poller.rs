//! Pollers of the two operations that the vault answers before it has done them. Every two seconds, as Microsoft's
//! clients; the result is what the first answer said.

use std::time::Duration;

use super::SecretClient;
use crate::secret::{DeletedSecret, SecretName, SecretProperties};
use crate::store::{ErrorKind, Operation, SecretStore as _, StoreError, Wait};

const INTERVAL: Duration = Duration::from_secs(2);
/// How long `result` waits: longer than the longest recorded deletion (149 s).
const PATIENCE: Duration = Duration::from_secs(180);

/// A deletion under way.
pub struct DeletePoller(Poller<DeletedSecret>);

/// A recovery under way.
pub struct RecoverPoller(Poller<SecretProperties>);

struct Poller<T> {
    client: SecretClient,
    name: SecretName,
    operation: Operation,
    answer: T,
    done: bool,
    /// One request that succeeds, or is refused by policy, when it is done.
    probe: fn(&SecretClient, &SecretName) -> Result<(), StoreError>,
}

impl DeletePoller {
    pub(super) fn new(client: SecretClient, name: SecretName, answer: DeletedSecret) -> Self {
        // Without soft delete there is nothing to wait for: the deletion was final.
        let done = answer.recovery_id.is_none();
        let probe = |client: &SecretClient, name: &SecretName| client.get_deleted_secret(name).map(drop);
        Self(Poller { client, name, operation: Operation::Delete, answer, done, probe })
    }

    /// The deleted secret, once it is deleted; waits up to three minutes.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`], or what the vault said.
    pub fn result(&mut self) -> Result<DeletedSecret, StoreError> {
        self.0.wait(PATIENCE).map(|()| self.0.answer.clone())
    }

    /// Whether it is deleted; asks the vault.
    ///
    /// # Errors
    /// What the vault said.
    pub fn done(&mut self) -> Result<bool, StoreError> {
        self.0.poll()
    }

    /// Waits until it is deleted.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`], or what the vault said.
    pub fn wait(&mut self, timeout: Duration) -> Result<(), StoreError> {
        self.0.wait(timeout)
    }
}

impl RecoverPoller {
    pub(super) fn new(client: SecretClient, name: SecretName, answer: SecretProperties) -> Self {
        let probe = |client: &SecretClient, name: &SecretName| client.find(name, client.default_wait()).map(drop);
        Self(Poller { client, name, operation: Operation::Recover, answer, done: false, probe })
    }

    /// The secret, once it is back; waits up to three minutes.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`], or what the vault said.
    pub fn result(&mut self) -> Result<SecretProperties, StoreError> {
        self.0.wait(PATIENCE).map(|()| self.0.answer.clone())
    }

    /// Whether it is back; asks the vault.
    ///
    /// # Errors
    /// What the vault said.
    pub fn done(&mut self) -> Result<bool, StoreError> {
        self.0.poll()
    }

    /// Waits until it is back.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`], or what the vault said.
    pub fn wait(&mut self, timeout: Duration) -> Result<(), StoreError> {
        self.0.wait(timeout)
    }
}

impl<T> Poller<T> {
    fn poll(&mut self) -> Result<bool, StoreError> {
        if !self.done {
            self.done = match (self.probe)(&self.client, &self.name) {
                Ok(()) => true,
                // Refused because disabled, or for want of a right: it is there all the same.
                Err(error) if matches!(error.kind, ErrorKind::Disabled | ErrorKind::Forbidden) => true,
                Err(error) if error.kind == ErrorKind::NotFound => false,
                Err(error) => return Err(error),
            };
        }
        Ok(self.done)
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), StoreError> {
        let clock = self.client.link.clock.clone();
        let wait = Wait::at_most(&*clock, timeout);
        while !self.poll()? {
            let remaining = wait.remaining(&*clock);
            if remaining.is_zero() {
                let message = "the vault has accepted it, but it is not done yet";
                return Err(StoreError::local(self.operation, Some(&self.name), ErrorKind::TimedOut, message));
            }
            clock.sleep(INTERVAL.min(remaining));
        }
        Ok(())
    }
}
