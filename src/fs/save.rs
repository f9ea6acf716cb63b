//! Saving: a draft's bytes become a new version, or changed properties.

use std::sync::PoisonError;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::secret::{KeyVaultSecret, SecretAttributes, SecretName, SecretProperties, SecretValue, Timestamp, Version};
use crate::store::{ErrorKind, StoreError, Wait};

use super::draft::Target;
use super::errno::{FsError, FsResult};
use super::lookup::VALUE;
use super::tree::{DraftId, Node};
use super::{Notice, SecretFs};

/// How long a save waits for the kernel to drop the old version's name. It needs microseconds, unless a slow request
/// holds that directory; then the name's own time to live ends the old one.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

impl SecretFs {
    /// Saves what a draft holds, if it holds anything new.
    pub(super) fn save(&self, id: DraftId, wait: Wait) -> FsResult<()> {
        let saving = self.with_draft(id, |draft| Ok(draft.saving.clone()))?;
        let _one_at_a_time = saving.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((target, bytes, writes)) = self.unsaved(id) else { return Ok(()) };
        match &target {
            Target::Value(secret) => self.save_value(secret, bytes, wait)?,
            Target::Meta(secret, version) => self.save_meta(secret, version.as_ref(), &bytes, wait)?,
            Target::Scratch(..) | Target::Nameless => return self.saved(id, writes),
        }
        self.kernel.settle(wait.remaining(&*self.clock).min(SETTLE_LIMIT));
        self.saved(id, writes)
    }

    fn saved(&self, id: DraftId, writes: u64) -> FsResult<()> {
        self.with_draft(id, |draft| {
            draft.dirty = draft.writes != writes;
            Ok(())
        })
    }

    fn unsaved(&self, id: DraftId) -> Option<(Target, Zeroizing<Vec<u8>>, u64)> {
        let state = self.state();
        let draft = state.drafts.get(&id).filter(|draft| draft.dirty)?;
        Some((draft.target.clone(), Zeroizing::new(draft.bytes().to_vec()), draft.writes))
    }

    /// Makes `bytes` the secret's value: one new version, or none if they are its value already.
    pub(super) fn save_value(&self, secret: &SecretName, mut bytes: Zeroizing<Vec<u8>>, wait: Wait) -> FsResult<()> {
        let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
            // The bytes come back to be wiped.
            drop(Zeroizing::new(error.into_bytes()));
            FsError::refused(libc::EILSEQ, "a value is text: these bytes are not UTF-8")
        })?;
        let value = SecretValue::new(text);
        let mut attributes = match self.before_saving(secret, wait)? {
            Before::Same(kept) if kept.value == value && !self.options.always_set => return Ok(()),
            Before::Same(kept) => carried_over(&kept.properties),
            Before::Unreadable(properties) => carried_over(&properties),
            Before::New(attributes) => attributes,
        };
        attributes.expires_on = attributes.expires_on.or_else(|| self.expiry());
        self.store.set(secret, &value, &attributes, wait)?;
        self.publish(secret);
        Ok(())
    }

    /// When what is saved now expires.
    fn expiry(&self) -> Option<Timestamp> {
        let lifetime = self.options.expires_in?;
        Some(Timestamp(self.seconds().saturating_add_unsigned(lifetime.as_secs())))
    }

    /// What the vault holds before a save. Asked anew: neither "these bytes are there already" nor the tags to carry over
    /// may come from what another party has replaced meanwhile.
    fn before_saving(&self, secret: &SecretName, wait: Wait) -> FsResult<Before> {
        if let Some(newborn) = self.state().newborn.get(secret) {
            return Ok(Before::New(newborn.attributes.clone().unwrap_or_default()));
        }
        self.store.expire(Some(secret));
        match self.store.get(secret, None, wait) {
            Ok(kept) => Ok(Before::Same(Box::new(kept))),
            Err(error) => match error.kind {
                ErrorKind::NotFound => Ok(Before::New(SecretAttributes::default())),
                // An identity may be allowed to set and not to get; the listing then tells the tags.
                ErrorKind::Forbidden => Ok(self.listed_before(secret, wait)),
                _ => Err(error.into()),
            },
        }
    }

    fn listed_before(&self, secret: &SecretName, wait: Wait) -> Before {
        match self.store.find(secret, wait) {
            Ok(found) => Before::Unreadable(Box::new(found.properties)),
            Err(_) => Before::New(SecretAttributes::default()),
        }
    }

    /// A new version is current: everybody looks the name up again.
    fn publish(&self, secret: &SecretName) {
        let dir = {
            let mut state = self.state();
            state.newborn.remove(secret);
            state.removals.remove(secret);
            state.set_aside.remove(secret);
            state.ghosts.remove(secret);
            state.tree.intern(&Node::Dir(secret.clone()))
        };
        self.kernel.tell(Notice::Entry(dir, VALUE.to_owned()));
    }

    pub(super) fn save_meta(
        &self,
        secret: &SecretName,
        version: Option<&Version>,
        bytes: &[u8],
        wait: Wait,
    ) -> FsResult<()> {
        if self.state().newborn.contains_key(secret) {
            let attributes = super::document::parse(bytes, None)?;
            if let Some(newborn) = self.state().newborn.get_mut(secret) {
                newborn.attributes = Some(attributes);
            }
            return Ok(());
        }
        self.store.expire(Some(secret));
        let before = self.properties(secret, version, wait)?;
        let changes = super::document::parse(bytes, Some(&before))?;
        self.change(secret, version, &changes, wait)
    }

    /// Updates a version's properties, unless there is nothing to change.
    pub(super) fn change(
        &self,
        secret: &SecretName,
        version: Option<&Version>,
        changes: &SecretAttributes,
        wait: Wait,
    ) -> FsResult<()> {
        if changes.is_empty() {
            return Ok(());
        }
        self.store.update(secret, version, changes, wait)?;
        self.publish(secret);
        Ok(())
    }

    /// A version's properties: from a get, or, where the value may not be got, from the listings.
    pub(super) fn properties(
        &self,
        secret: &SecretName,
        version: Option<&Version>,
        wait: Wait,
    ) -> FsResult<SecretProperties> {
        match (self.store.get(secret, version, wait), version) {
            (Ok(kept), _) => Ok(kept.properties),
            (Err(error), None) if is_refused(&error) => Ok(self.store.find(secret, wait)?.properties),
            (Err(error), Some(version)) if is_refused(&error) => self.version_properties(secret, version, wait),
            (Err(error), _) => Err(error.into()),
        }
    }
}

fn is_refused(error: &StoreError) -> bool {
    matches!(error.kind, ErrorKind::Disabled | ErrorKind::Forbidden)
}

/// What stood there before a save.
enum Before {
    /// This.
    Same(Box<KeyVaultSecret>),
    /// Something that may not be read, with these properties.
    Unreadable(Box<SecretProperties>),
    /// Nothing; a `.meta.json` may have given attributes.
    New(SecretAttributes),
}

/// A new version inherits nothing from the service, so what users expect to stay is sent again. Dates are not: they belong
/// to the value that was replaced.
fn carried_over(properties: &SecretProperties) -> SecretAttributes {
    SecretAttributes {
        enabled: properties.enabled,
        content_type: properties.content_type.clone(),
        tags: properties.tags.clone(),
        not_before: None,
        expires_on: None,
    }
}
