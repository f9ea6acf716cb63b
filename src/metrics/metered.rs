//! A store that counts what the one below it is asked. It decides nothing.

use std::sync::Arc;

use crate::around::Around;
use crate::clock::{Clock, unix_seconds};
use crate::secret::SecretName;
use crate::store::{ErrorKind, Operation, SecretStore, StoreError, Wait};

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
}

impl Around for Metered {
    fn below(&self) -> &dyn SecretStore {
        &*self.below
    }

    fn around<T>(
        &self,
        operation: Operation,
        _name: Option<&SecretName>,
        _wait: Wait,
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
