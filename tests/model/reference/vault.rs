//! What another client does to the vault.

use std::collections::BTreeMap;

use crate::op::Others;

use super::content::pem;
use super::{Attributes, Outcome, Reference, Version};

impl Reference {
    /// What is not possible in the vault's state is refused there, and nothing happens.
    pub(super) fn others(&mut self, n: usize, what: Others) -> Outcome {
        let attributes = Attributes { enabled: Some(true), ..Attributes::default() };
        match what {
            Others::Set(text) => self.they_set(n, text.as_bytes(), attributes),
            Others::SetBase64 => {
                let tags = Some(tag("file-encoding", "base64"));
                self.they_set(n, b"/wBo\naQ==\n", Attributes { tags, ..attributes });
            }
            Others::SetCertificate => {
                let content_type = Some("application/x-pem-file".to_owned());
                self.they_set(n, pem().value.as_bytes(), Attributes { content_type, ..attributes });
            }
            Others::Delete if self.live(n).is_some() => {
                self.secrets.get_mut(&n).expect("there").deleted = Some(self.now)
            }
            Others::Recover if self.is_deleted(n) => self.secrets.get_mut(&n).expect("there").deleted = None,
            Others::Purge if self.is_deleted(n) => drop(self.secrets.remove(&n)),
            Others::Enable(enabled) => self.they_update(n, |attributes| attributes.enabled = Some(enabled)),
            Others::Tag(key, text) => self.they_update(n, |attributes| attributes.tags = Some(tag(key, text))),
            Others::Delete | Others::Recover | Others::Purge => {}
        }
        if self.live(n).is_some() {
            self.newborn.remove(&n);
        }
        Ok(())
    }

    fn they_set(&mut self, n: usize, value: &[u8], attributes: Attributes) {
        if !self.is_deleted(n) {
            self.secrets.entry(n).or_default().versions.push(Version { value: value.to_vec(), attributes });
        }
    }

    fn they_update(&mut self, n: usize, change: impl FnOnce(&mut Attributes)) {
        if let Some(secret) = self.secrets.get_mut(&n).filter(|secret| secret.deleted.is_none()) {
            change(&mut secret.versions.last_mut().expect("one at least").attributes);
        }
    }
}

fn tag(key: &str, text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), text.to_owned())])
}
