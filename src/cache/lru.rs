//! Values by version, least recently used out first, bounded in bytes and entries.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::clock::Moment;
use crate::metrics::Metrics;
use crate::secret::{SecretName, SecretProperties, SecretValue, Version};

use super::fresh::Fresh;

/// What an entry costs beside its value and the words of its properties, in bytes: keys, properties, and the map's own.
const ENTRY_OVERHEAD: usize = 512;

/// A version as a get told it.
pub struct Kept {
    /// Its properties, which age.
    pub properties: Arc<SecretProperties>,
    /// Its value, which stays.
    pub value: SecretValue,
    /// When that get left.
    pub asked: Fresh<()>,
    /// The name's epoch then.
    pub epoch: u64,
}

impl Kept {
    /// As told by a get that left at `asked`, in `epoch`.
    pub fn new(properties: &Arc<SecretProperties>, value: &SecretValue, asked: Moment, epoch: u64) -> Self {
        Self { properties: properties.clone(), value: value.clone(), asked: Fresh::new((), asked), epoch }
    }
}

/// See the module.
pub struct Values {
    entries: LruCache<(SecretName, Version), Kept>,
    bytes: usize,
    limit: usize,
    metrics: Arc<Metrics>,
}

fn cost(kept: &Kept) -> usize {
    kept.value.room() + kept.properties.words() + ENTRY_OVERHEAD
}

impl Values {
    /// Room for `bytes` and `entries`; at least one entry.
    pub fn new(bytes: usize, entries: usize, metrics: Arc<Metrics>) -> Self {
        let entries = NonZeroUsize::new(entries).unwrap_or(NonZeroUsize::MIN);
        Self { entries: LruCache::new(entries), bytes: 0, limit: bytes, metrics }
    }

    /// A version, now the most recently used.
    pub fn get(&mut self, name: &SecretName, version: &Version) -> Option<&Kept> {
        self.entries.get(&(name.clone(), version.clone()))
    }

    /// Puts a version in, and out what then has no room. A value larger than all the room is not kept.
    pub fn put(&mut self, name: &SecretName, version: &Version, kept: Kept) {
        let key = (name.clone(), version.clone());
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

    /// Forgets a version.
    pub fn forget_version(&mut self, name: &SecretName, version: &Version) {
        if let Some(out) = self.entries.pop(&(name.clone(), version.clone())) {
            self.bytes -= cost(&out);
        }
        self.tell_size();
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

    fn key(name: &str) -> (SecretName, Version) {
        (SecretName::parse(name).expect("legal"), Version::parse(&"a".repeat(32)).expect("legal"))
    }

    fn put(values: &mut Values, name: &str, size: usize) {
        let (name, version) = key(name);
        let properties = Arc::new(SecretProperties::bare("https://v", &name));
        let value = SecretValue::new("x".repeat(size));
        values.put(&name, &version, Kept::new(&properties, &value, Moment::default(), 0));
    }

    fn held(values: &mut Values, name: &str) -> bool {
        let (name, version) = key(name);
        values.get(&name, &version).is_some()
    }

    #[test]
    fn the_least_recently_used_goes_first_when_bytes_run_out() {
        // 24 bytes are lost behind a value of 1,000.
        let mut values = Values::new(3 * (1024 + ENTRY_OVERHEAD), 100, Arc::default());
        for name in ["a", "b", "c"] {
            put(&mut values, name, 1000);
        }
        assert!(held(&mut values, "a"));
        put(&mut values, "d", 1000);
        assert!(held(&mut values, "a") && !held(&mut values, "b") && held(&mut values, "d"));
        values.forget(&SecretName::parse("A").expect("legal"));
        assert!(!held(&mut values, "a"));
        assert_eq!(values.bytes, 2 * (1024 + ENTRY_OVERHEAD));
        let metrics = &values.metrics;
        assert_eq!((metrics.evictions.get(), metrics.values.get()), (1, 2));
        assert_eq!(metrics.bytes.get(), 2 * (1024 + ENTRY_OVERHEAD) as u64);
    }

    #[test]
    fn replacing_counts_once_and_a_giant_is_not_kept() {
        let mut values = Values::new(2000, 2, Arc::default());
        for _ in 0..3 {
            put(&mut values, "a", 100);
        }
        assert_eq!((values.bytes, values.metrics.evictions.get()), (128 + ENTRY_OVERHEAD, 0));
        for name in ["b", "c"] {
            put(&mut values, name, 100);
        }
        assert!(!held(&mut values, "a") && held(&mut values, "c"), "two entries are all there is room for");
        put(&mut values, "g", 5000);
        assert!(!held(&mut values, "g"));
        assert_eq!(values.bytes, 0);
    }
}
