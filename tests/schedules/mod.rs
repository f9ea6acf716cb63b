//! What threads share, in many orders of their steps: by chance, and by PCT, which finds what needs three switches at
//! certain places. `AKVFS_SCHEDULES` is how many of each kind, 1,000 unless it says otherwise; scripts/soak has 20,000.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cache;
mod files;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use akvfs::around::Around;
use akvfs::cache::{CacheOptions, CachedStore};
use akvfs::secret::{SecretAttributes, SecretName};
use akvfs::store::{Operation, SecretStore, StoreError, Wait};
use shuttle::thread::{JoinHandle, yield_now};

use support::{ManualClock, ModelStore, name, value};

const DEPTH: usize = 3;

/// Runs `test` under all of them.
pub(crate) fn under_all(test: fn()) {
    let told = std::env::var("AKVFS_SCHEDULES").ok().map(|count| count.parse().expect("AKVFS_SCHEDULES is a number"));
    let schedules = told.unwrap_or(1_000);
    shuttle::check_random(test, schedules);
    shuttle::check_pct(test, schedules, DEPTH);
}

/// A vault that takes its time: others go on while it is asked, and while its answer is on its way.
struct Slow(Arc<ModelStore>);

impl Around for Slow {
    fn below(&self) -> &dyn SecretStore {
        &*self.0
    }

    fn around<T>(
        &self,
        _operation: Operation,
        _name: Option<&SecretName>,
        _wait: Wait,
        ask: impl FnOnce(&dyn SecretStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        yield_now();
        let answer = ask(self.below());
        yield_now();
        answer
    }
}

/// A vault that holds `n`, 0 at first, and the cache in front of it.
struct Stage {
    vault: Arc<ModelStore>,
    store: Arc<CachedStore>,
    clock: Arc<ManualClock>,
}

impl Stage {
    fn new() -> Arc<Self> {
        let clock = ManualClock::shared();
        let vault = ModelStore::new(clock.clone());
        let store = CachedStore::new(Arc::new(Slow(vault.clone())), CacheOptions::default(), clock.clone());
        let stage = Self { vault, store: Arc::new(store), clock };
        save(&*stage.vault, 0, stage.wait());
        Arc::new(stage)
    }

    fn wait(&self) -> Wait {
        Wait::at_most(&*self.clock, Duration::from_secs(3600))
    }

    /// As another program reads it, through the cache.
    fn read(&self) -> usize {
        held(&*self.store, self.wait())
    }

    /// What the vault holds.
    fn held(&self) -> usize {
        held(&*self.vault, self.wait())
    }
}

fn held(store: &dyn SecretStore, wait: Wait) -> usize {
    store.get(&name("n"), None, wait).unwrap().value.expose().parse().unwrap()
}

/// Stores a number as a value.
fn save(store: &dyn SecretStore, number: usize, wait: Wait) {
    store.set(&name("n"), &value(&number.to_string()), &SecretAttributes::default(), wait).unwrap();
}

/// Waits for all of them.
fn join(threads: Vec<JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}
