//! What happened since the mount began, in numbers: the one registry of counters. A shared word, as the clock is: any
//! floor may count here. Knows operations and kinds of failure, and nothing of files, caches or HTTP; asks nobody the
//! time.
//!
//! Counting never waits: counters are atomics, and the one lock is held for a step in a small map.

mod metered;
mod text;

pub use metered::Metered;
pub use text::{Label, Page};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::secret::SecretName;
use crate::store::{ErrorKind, Operation};

/// Every operation.
pub const OPERATIONS: [Operation; 13] = [
    Operation::Get,
    Operation::Find,
    Operation::Set,
    Operation::Update,
    Operation::Delete,
    Operation::GetDeleted,
    Operation::Recover,
    Operation::Purge,
    Operation::Backup,
    Operation::Restore,
    Operation::List,
    Operation::ListVersions,
    Operation::ListDeleted,
];

/// The word for an operation in labels and documents. One more stands in [`OPERATIONS`] too.
pub fn operation_word(operation: Operation) -> &'static str {
    match operation {
        Operation::Get => "get",
        Operation::Find => "find",
        Operation::Set => "set",
        Operation::Update => "update",
        Operation::Delete => "delete",
        Operation::GetDeleted => "get_deleted",
        Operation::Recover => "recover",
        Operation::Purge => "purge",
        Operation::Backup => "backup",
        Operation::Restore => "restore",
        Operation::List => "list",
        Operation::ListVersions => "list_versions",
        Operation::ListDeleted => "list_deleted",
    }
}

/// The word for a kind of failure in labels and documents.
pub fn kind_word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotInMemory => "not_in_memory",
        ErrorKind::NotFound => "not_found",
        ErrorKind::Disabled => "disabled",
        ErrorKind::Forbidden => "forbidden",
        ErrorKind::Firewall => "firewall",
        ErrorKind::Managed => "managed",
        ErrorKind::PurgeProtected => "purge_protected",
        ErrorKind::Deleted => "deleted",
        ErrorKind::BeingDeleted => "being_deleted",
        ErrorKind::BeingRecovered => "being_recovered",
        ErrorKind::Exists => "exists",
        ErrorKind::Throttled { .. } => "throttled",
        ErrorKind::Invalid => "invalid",
        ErrorKind::BadBackup => "bad_backup",
        ErrorKind::Authentication => "authentication",
        ErrorKind::Foreign => "foreign",
        ErrorKind::Tls => "tls",
        ErrorKind::Unreachable => "unreachable",
        ErrorKind::TimedOut => "timed_out",
        ErrorKind::Broken => "broken",
        ErrorKind::Superseded => "superseded",
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.add_many(1);
    }

    /// `count` more.
    pub fn add_many(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is what it was last set to.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, number: usize) {
        self.0.store(number as u64, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// When something last happened, in calendar seconds since 1970 UTC.
#[derive(Debug)]
pub struct Last(AtomicI64);

/// No moment: a time that no clock shows.
const NEVER: i64 = i64::MIN;

impl Default for Last {
    fn default() -> Self {
        Self(AtomicI64::new(NEVER))
    }
}

impl Last {
    /// It happened at `seconds`.
    pub fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    /// As if it had never happened.
    pub fn forget(&self) {
        self.set(NEVER);
    }

    /// When; `None` if it never did.
    pub fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|seconds| *seconds != NEVER)
    }
}

/// Counts by word. The words are ours and few.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    /// One more of `word`.
    pub fn add(&self, word: &'static str) {
        *self.lock().entry(word).or_default() += 1;
    }

    /// How many, of all words together.
    pub fn total(&self) -> u64 {
        self.lock().values().sum()
    }

    /// Every word that was counted, in order.
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        // A count is one step, so a panic elsewhere leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names counted by [`Reads`]. A vault with more is not read by name.
const MOST_NAMES: usize = 4096;

/// How often each secret was opened for reading. Names are not secret; still they stay in the mount's own file.
#[derive(Debug, Default)]
pub struct Reads(Mutex<BTreeMap<SecretName, u64>>);

impl Reads {
    /// One more of `name`, where there is room for it.
    pub fn add(&self, name: &SecretName) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(name) {
            *count += 1;
        } else if counts.len() < MOST_NAMES {
            counts.insert(name.clone(), 1);
        }
    }

    /// The `count` that were read most, the most first.
    pub fn most(&self, count: usize) -> Vec<(SecretName, u64)> {
        let mut all: Vec<_> = {
            let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            counts.iter().map(|(name, count)| (name.clone(), *count)).collect()
        };
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all.truncate(count);
        all
    }
}

/// One number for each operation.
#[derive(Debug, Default)]
pub struct ByOperation<T>([T; OPERATIONS.len()]);

impl<T> ByOperation<T> {
    /// That of `operation`.
    pub fn of(&self, operation: Operation) -> &T {
        // `OPERATIONS` has all of them in their order: a test compares.
        &self.0[operation as usize]
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (Operation, &T)> {
        OPERATIONS.into_iter().zip(&self.0)
    }
}

/// What an operation on the vault came to.
#[derive(Debug, Default)]
pub struct Requests {
    /// How often it was asked for, retries not counted.
    pub asked: Counter,
    /// How often it failed, by [`kind_word`]. "No such secret" is one of them.
    pub failures: Tally,
    /// When it last succeeded.
    pub last_success: Last,
    /// The time all of them took, in microseconds.
    pub microseconds: Counter,
}

impl Requests {
    /// One was answered, `took` after it was asked.
    pub fn note(&self, failure: Option<ErrorKind>, took: Duration, now: i64) {
        self.asked.add();
        self.microseconds.add_many(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        match failure {
            None => self.last_success.set(now),
            Some(kind) => self.failures.add(kind_word(kind)),
        }
    }

    /// The time all of them took, in seconds.
    pub fn seconds(&self) -> f64 {
        Duration::from_micros(self.microseconds.get()).as_secs_f64()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Metrics {
    /// What the vault was asked.
    pub vault: ByOperation<Requests>,
    /// What the cache answered from memory.
    pub hits: ByOperation<Counter>,
    /// What it had to ask for.
    pub misses: ByOperation<Counter>,
    /// What it answered with the last that it knew, since the vault did not.
    pub stale: ByOperation<Counter>,
    /// Since when the vault has not answered; never, while it does.
    pub silent_since: Last,
    /// How often all that is in use was asked anew.
    pub refreshes: Counter,
    /// Values put out of the cache for lack of room.
    pub evictions: Counter,
    /// Values in the cache.
    pub values: Gauge,
    /// Their bytes, what an entry costs included.
    pub bytes: Gauge,
    /// When the listing that the cache goes by was asked for; never, where it has none.
    pub listing: Last,
    /// Values that were opened for reading.
    pub opens: Counter,
    /// Which of them.
    pub reads: Reads,
    /// Looks at everything that a signal asked for, and that are over.
    pub hangups: Counter,
    /// Those of them that the vault did not answer.
    pub hangups_failed: Counter,
    /// Opens of values that were told to the audit.
    pub audited: Counter,
    /// Those of them whose line was lost.
    pub audit_lost: Counter,
    /// Values that programs wrote.
    pub saves: Counter,
    /// Versions that these made: fewer, where a save changed nothing.
    pub versions: Counter,
    /// Failures of file operations, by errno; routine ones are left out.
    pub errors: Tally,
    /// Requests of the kernel, by the call that they ask for.
    pub requests: Tally,
    /// Requests that failed inside.
    pub panics: Counter,
}

impl Metrics {
    /// In Prometheus' text format, without what the mount is.
    pub fn write(&self, page: &mut Page) {
        self.write_vault(page);
        self.write_cache(page);
        page.number("akvfs_value_opens_total", "counter", "Values opened for reading.", self.opens.get());
        page.number("akvfs_audited_total", "counter", "Opens of values told to the audit.", self.audited.get());
        page.number("akvfs_audit_lost_total", "counter", "Lines of the audit that were lost.", self.audit_lost.get());
        page.number("akvfs_saves_total", "counter", "Values that programs wrote.", self.saves.get());
        page.number("akvfs_versions_made_total", "counter", "Versions that saves made.", self.versions.get());
        page.family("akvfs_errors_total", "counter", "File operations that failed, by errno; routine ones left out.");
        for (errno, count) in self.errors.all() {
            page.sample("akvfs_errors_total", &[("errno", errno)], count);
        }
        page.family("akvfs_kernel_requests_total", "counter", "Requests of the kernel, by call.");
        for (call, count) in self.requests.all() {
            page.sample("akvfs_kernel_requests_total", &[("call", call)], count);
        }
        page.number("akvfs_panics_total", "counter", "Requests that failed inside akvfs.", self.panics.get());
    }

    fn write_vault(&self, page: &mut Page) {
        let name = "akvfs_vault_operations_total";
        page.family(name, "counter", "Operations asked of the vault, retries not counted.");
        for (operation, requests) in self.vault.all() {
            page.sample(name, &[("operation", operation_word(operation))], requests.asked.get());
        }
        let name = "akvfs_vault_failures_total";
        page.family(name, "counter", "Operations that failed, by kind of failure.");
        for (operation, requests) in self.vault.all() {
            for (kind, count) in requests.failures.all() {
                page.sample(name, &[("operation", operation_word(operation)), ("kind", kind)], count);
            }
        }
        let name = "akvfs_vault_seconds_total";
        page.family(name, "counter", "Time that operations took, retries and waits included.");
        for (operation, requests) in self.vault.all() {
            page.sample(name, &[("operation", operation_word(operation))], requests.seconds());
        }
        let name = "akvfs_vault_last_success_timestamp_seconds";
        page.family(name, "gauge", "When the operation last succeeded.");
        for (operation, requests) in self.vault.all() {
            if let Some(at) = requests.last_success.get() {
                page.sample(name, &[("operation", operation_word(operation))], at);
            }
        }
    }

    fn write_cache(&self, page: &mut Page) {
        for (name, help, counters) in [
            ("akvfs_cache_hits_total", "Questions that the cache answered from memory.", &self.hits),
            ("akvfs_cache_misses_total", "Questions that it had to ask the vault.", &self.misses),
            (
                "akvfs_cache_stale_total",
                "Questions answered with the last known, since the vault did not.",
                &self.stale,
            ),
        ] {
            page.family(name, "counter", help);
            for (operation, counter) in counters.all().filter(|(_, counter)| counter.get() > 0) {
                page.sample(name, &[("operation", operation_word(operation))], counter.get());
            }
        }
        page.number("akvfs_cache_values", "gauge", "Values in the cache.", self.values.get());
        page.number("akvfs_cache_bytes", "gauge", "What they take, in bytes.", self.bytes.get());
        let help = "Values put out of the cache for lack of room.";
        page.number("akvfs_cache_evictions_total", "counter", help, self.evictions.get());
        let name = "akvfs_listing_timestamp_seconds";
        page.family(name, "gauge", "When the listing that the cache goes by was asked for.");
        if let Some(at) = self.listing.get() {
            page.sample(name, &[], at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_place_and_its_word() {
        for (place, operation) in OPERATIONS.into_iter().enumerate() {
            assert_eq!(operation as usize, place, "{operation}");
        }
        let words: std::collections::HashSet<_> = OPERATIONS.into_iter().map(operation_word).collect();
        assert_eq!(words.len(), OPERATIONS.len());
    }

    #[test]
    fn requests_are_counted_by_outcome() {
        let metrics = Metrics::default();
        let get = metrics.vault.of(Operation::Get);
        assert_eq!(get.last_success.get(), None);
        get.note(None, Duration::from_millis(20), 100);
        get.note(Some(ErrorKind::Throttled { retry_after: None }), Duration::from_millis(5), 101);
        get.note(Some(ErrorKind::Throttled { retry_after: Some(Duration::ZERO) }), Duration::ZERO, 102);
        assert_eq!((get.asked.get(), get.last_success.get()), (3, Some(100)));
        assert_eq!(get.failures.all(), BTreeMap::from([("throttled", 2)]));
        assert!((get.seconds() - 0.025).abs() < 1e-9);
        assert_eq!(metrics.vault.of(Operation::Find).asked.get(), 0);
    }

    #[test]
    fn the_page_has_what_was_counted() {
        let metrics = Metrics::default();
        metrics.vault.of(Operation::List).note(Some(ErrorKind::Forbidden), Duration::from_millis(1500), 7);
        metrics.vault.of(Operation::Get).note(None, Duration::ZERO, -1);
        metrics.hits.of(Operation::Find).add();
        metrics.bytes.set(4096);
        metrics.errors.add("EACCES");
        metrics.listing.set(9);
        metrics.listing.forget();
        let mut page = Page::default();
        metrics.write(&mut page);
        let text = page.into_text();
        for line in [
            "akvfs_vault_operations_total{operation=\"list\"} 1",
            "akvfs_vault_failures_total{operation=\"list\",kind=\"forbidden\"} 1",
            "akvfs_vault_seconds_total{operation=\"list\"} 1.5",
            "akvfs_vault_last_success_timestamp_seconds{operation=\"get\"} -1",
            "akvfs_cache_hits_total{operation=\"find\"} 1",
            "akvfs_cache_bytes 4096",
            "akvfs_errors_total{errno=\"EACCES\"} 1",
            "# TYPE akvfs_panics_total counter",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        assert!(!text.contains("akvfs_listing_timestamp_seconds 9"));
    }
}
