//! Parts of certificates that were found: each took up to a second, and is a private key or stands beside one. None lives
//! longer than the value it was found in, but for a moment ([`Parts::drop_orphans`]).

use std::num::NonZeroUsize;

use lru::LruCache;

use crate::secret::{SecretName, SecretValue, ValueWatch, Version};

use super::SecretFs;
use super::content::Content;
use super::encoding::Encoding;
use super::tree::Face;

/// How many are kept.
const MAX_PARTS: NonZeroUsize = NonZeroUsize::new(128).expect("not zero");

/// Which part of which certificate: a version's content type can change, and with it how the value is read.
pub type Part = (SecretName, Version, Face, Encoding);

/// See the module.
pub struct Parts(LruCache<Part, (ValueWatch, Content)>);

impl Default for Parts {
    fn default() -> Self {
        Self(LruCache::new(MAX_PARTS))
    }
}

impl Parts {
    /// A part that was found before.
    pub fn get(&mut self, key: &Part) -> Option<Content> {
        self.0.get(key).map(|(_, part)| part.clone())
    }

    /// Keeps a part of `value`.
    pub fn put(&mut self, key: Part, value: &SecretValue, part: Content) {
        self.0.put(key, (value.watch(), part));
    }

    /// Forgets the parts of values that are in memory no more.
    pub fn drop_orphans(&mut self) {
        let orphans: Vec<_> =
            self.0.iter().filter(|(_, (value, _))| value.is_gone()).map(|(key, _)| key.clone()).collect();
        orphans.iter().for_each(|key| drop(self.0.pop(key)));
    }
}

impl SecretFs {
    /// Forgets what was found in values that are in memory no more.
    pub fn forget_orphans(&self) {
        self.state().parts.drop_orphans();
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::CertificateFile;
    use super::*;

    #[test]
    fn a_part_lives_as_long_as_its_value() {
        let name = |text: &str| SecretName::parse(text).expect("a name");
        let version = Version::parse(&"0".repeat(32)).expect("a version");
        let key =
            |text: &str| (name(text), version.clone(), Face::Certificate(CertificateFile::PrivateKey), Encoding::Text);
        let (kept, lost) = (SecretValue::new("kept".to_owned()), SecretValue::new("lost".to_owned()));
        let mut parts = Parts::default();
        for (which, value) in [("kept", &kept), ("lost", &lost)] {
            parts.put(key(which), value, Content::Value(SecretValue::new(which.to_owned())));
        }
        let clone = lost.clone();
        drop(lost);
        parts.drop_orphans();
        assert!(parts.get(&key("lost")).is_some(), "somebody still has it");
        drop(clone);
        parts.drop_orphans();
        assert!(parts.get(&key("lost")).is_none());
        assert_eq!(parts.get(&key("kept")).expect("it is there").bytes(), b"kept");
    }
}
