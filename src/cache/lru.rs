//! Values by version, least recently used out first, bounded in bytes and entries.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::clock::Moment;
use crate::metrics::Metrics;
use crate::secret::{KeyVaultSecret, SecretName, Version};

use super::fresh::Fresh;

/// What an entry costs beside its value, in bytes: keys, properties, and the map's own.
const ENTRY_OVERHEAD: usize = 512;

/// A version as a get told it.
pub struct Kept {
    /// Its value, which stays, and its properties, which age.
    pub secret: KeyVaultSecret,
    /// When that get left.
    pub asked: Fresh<()>,
    /// The name's epoch then.
    pub epoch: u64,
}

/// See the module.
pub struct Values {
    entries: LruCache<(SecretName, Version), Kept>,
    bytes: usize,
    limit: usize,
    metrics: Arc<Metrics>,
}

fn cost(kept: &Kept) -> usize {
    kept.secret.value.len() + ENTRY_OVERHEAD
}

impl Values {
    /// Room for `bytes` and `entries`; at least one entry.
    pub fn new(bytes: usize, entries: usize, metrics: Arc<Metrics>) -> Self {
        let entries = NonZeroUsize::new(entries).unwrap_or(NonZeroUsize::MIN);
        Self { entries: LruCache::new(entries), bytes: 0, limit: bytes, metrics }
    }

    /// A version's value and properties, now the most recently used.
    pub fn get(&mut self, name: &SecretName, version: &Version) -> Option<&KeyVaultSecret> {
        self.entry(name, version).map(|kept| &kept.secret)
    }

    /// As [`get`](Self::get), with the age of the properties.
    pub fn entry(&mut self, name: &SecretName, version: &Version) -> Option<&Kept> {
        self.entries.get(&(name.clone(), version.clone()))
    }

    /// Puts a version in, and out what then has no room. A value larger than all the room is not kept.
    pub fn put(&mut self, version: &Version, secret: KeyVaultSecret, asked: Moment, epoch: u64) {
        let key = (secret.properties.name.clone(), version.clone());
        let kept = Kept { secret, asked: Fresh::new((), asked), epoch };
        self.bytes += cost(&kept);
        if let Some((other, out)) = self.entries.push(key.clone(), kept) {
            self.bytes -= cost(&out);
            self.metrics.evictions.add_many(u64::from(other != key));
        }
        while self.bytes > self.limit {
            let Some((_, out)) = self.entries.pop_lru() else { break };
            self.bytes -= cost(&out);
            self.metrics.evictions.add();
        }
        self.tell_size();
    }

    fn tell_size(&self) {
        self.metrics.values.set(self.entries.len());
        self.metrics.bytes.set(self.bytes);
    }

    /// Forgets all versions of a name.
    pub fn forget(&mut self, name: &SecretName) {
        let gone: Vec<_> = self.entries.iter().map(|(key, _)| key).filter(|key| key.0 == *name).cloned().collect();
        for key in gone {
            if let Some(out) = self.entries.pop(&key) {
                self.bytes -= cost(&out);
            }
        }
        self.tell_size();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{SecretProperties, SecretValue};

    fn secret(name: &str, size: usize) -> (Version, KeyVaultSecret) {
        let version = Version::parse(&"a".repeat(32)).expect("legal");
        let properties = SecretProperties::bare("https://v", &SecretName::parse(name).expect("legal"));
        (version, KeyVaultSecret { properties, value: SecretValue::new("x".repeat(size)) })
    }

    fn held(values: &mut Values, name: &str) -> bool {
        let (version, secret) = secret(name, 0);
        values.get(&secret.properties.name, &version).is_some()
    }

    #[test]
    fn the_least_recently_used_goes_first_when_bytes_run_out() {
        let mut values = Values::new(3 * (1000 + ENTRY_OVERHEAD), 100, Arc::default());
        for name in ["a", "b", "c"] {
            let (version, secret) = secret(name, 1000);
            values.put(&version, secret, Moment::default(), 0);
        }
        assert!(held(&mut values, "a"));
        let (version, fourth) = secret("d", 1000);
        values.put(&version, fourth, Moment::default(), 0);
        assert!(held(&mut values, "a") && !held(&mut values, "b") && held(&mut values, "d"));
        values.forget(&SecretName::parse("A").expect("legal"));
        assert!(!held(&mut values, "a"));
        assert_eq!(values.bytes, 2 * (1000 + ENTRY_OVERHEAD));
        let metrics = &values.metrics;
        assert_eq!((metrics.evictions.get(), metrics.values.get()), (1, 2));
        assert_eq!(metrics.bytes.get(), 2 * (1000 + ENTRY_OVERHEAD) as u64);
    }

    #[test]
    fn replacing_counts_once_and_a_giant_is_not_kept() {
        let mut values = Values::new(2000, 2, Arc::default());
        for _ in 0..3 {
            let (version, secret) = secret("a", 100);
            values.put(&version, secret, Moment::default(), 0);
        }
        assert_eq!((values.bytes, values.metrics.evictions.get()), (100 + ENTRY_OVERHEAD, 0));
        for name in ["b", "c"] {
            let (version, secret) = secret(name, 100);
            values.put(&version, secret, Moment::default(), 0);
        }
        assert!(!held(&mut values, "a") && held(&mut values, "c"), "two entries are all there is room for");
        let (version, giant) = secret("g", 5000);
        values.put(&version, giant, Moment::default(), 0);
        assert!(!held(&mut values, "g"));
        assert_eq!(values.bytes, 0);
    }
}
