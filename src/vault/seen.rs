//! Which version of a secret this client last saw as the current one: the state before, when the answer to a change
//! is lost. Holds no value, and as many names as it has room for.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::secret::{SecretName, Version};

/// Names; at most some 200 bytes each.
const ROOM: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// Current versions by name.
pub(super) struct Seen(Mutex<LruCache<SecretName, Version>>);

impl Default for Seen {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(ROOM)))
    }
}

impl Seen {
    /// `version` is the current one of `name`.
    pub(super) fn note(&self, name: &SecretName, version: Option<&Version>) {
        if let Some(version) = version {
            self.lock().put(name.clone(), version.clone());
        }
    }

    /// The last one noted.
    pub(super) fn version(&self, name: &SecretName) -> Option<Version> {
        self.lock().get(name).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<SecretName, Version>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // a panic elsewhere leaves no entry half written
    }
}
