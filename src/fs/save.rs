//! Saving: a draft's bytes become a new version, or changed properties.

use std::sync::{Arc, PoisonError};

use zeroize::Zeroizing;

use crate::secret::{
    KeyVaultSecret, MAX_VALUE, SecretAttributes, SecretName, SecretProperties, SecretValue, Timestamp, Version,
};
use crate::store::{ErrorKind, StoreError, Wait};
use crate::sync::Mutex;

use super::certificate::CertificateFile;
use super::content::Content;
use super::draft::Target;
use super::encoding::{self, Encoding};
use super::errno::{FsError, FsResult};
use super::lookup::VALUE;
use super::tree::{DraftId, Face, Node};
use super::{Notice, SecretFs};

impl SecretFs {
    /// Saves what a draft holds, if it holds anything new.
    pub(super) fn save(&self, id: DraftId, wait: Wait) -> FsResult<()> {
        let saving = self.saving(id)?;
        let _one_at_a_time = saving.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Unsaved { target, bytes, writes }) = self.unsaved(id)? else { return Ok(()) };
        match &target {
            Target::Value(secret, face) => self.save_value(secret, *face, &bytes, wait)?,
            Target::Meta(secret, version) => self.save_meta(secret, version.as_ref(), &bytes, wait)?,
            Target::Control(file) => self.told(*file, &bytes, wait)?,
            Target::Restore(_) => self.restore(&bytes, wait)?,
            Target::Scratch(..) | Target::Nameless => {}
        }
        self.settle_change(wait);
        self.saved(id, writes)
    }

    /// What is locked while a draft is saved, by whatever way: one save at a time, and an end of the mount waits for it.
    pub(super) fn saving(&self, id: DraftId) -> FsResult<Arc<Mutex<()>>> {
        self.with_draft(id, |draft| Ok(draft.saving.clone()))
    }

    fn saved(&self, id: DraftId, writes: u64) -> FsResult<()> {
        self.with_draft(id, |draft| {
            draft.dirty = draft.writes != writes;
            Ok(())
        })
    }

    fn unsaved(&self, id: DraftId) -> FsResult<Option<Unsaved>> {
        let is_kept = |target: &Target| matches!(target, Target::Scratch(..) | Target::Nameless);
        self.with_draft(id, |draft| match draft.dirty && !is_kept(&draft.target) {
            true => Ok(Some(Unsaved { target: draft.target.clone(), bytes: draft.whole()?, writes: draft.writes })),
            false => Ok(None),
        })
    }

    /// Makes `bytes` the secret's value: one new version, or none if the file holds them already.
    pub(super) fn save_value(&self, secret: &SecretName, face: Face, bytes: &[u8], wait: Wait) -> FsResult<()> {
        if face == Face::Value {
            // What cannot be stored is refused before anybody is asked.
            as_text(bytes)?;
        }
        self.metrics.saves.add();
        self.await_deletion(secret, wait)?;
        let before = self.before_saving(secret, wait)?;
        let bytes = match &before {
            Before::Same(kept) if self.options.final_newline_as_before => without_added_newline(kept, face, bytes),
            _ => bytes,
        };
        let mut attributes = match before {
            Before::Same(kept) if !self.options.always_set && holds(&kept, face, bytes) => {
                self.state().is_saved(secret);
                return Ok(());
            }
            Before::Same(kept) => carried_over(&kept.properties),
            Before::Unreadable(properties) => carried_over(&properties),
            Before::New(attributes) => attributes,
        };
        let value = encode(face, bytes, &mut attributes)?;
        if let Some(lifetime) = self.options.expires_in {
            let ends = self.seconds().saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
            attributes.expires_on = attributes.expires_on.or(Some(Timestamp(ends)));
        }
        self.store.set(secret, &value, &attributes, wait)?;
        self.metrics.versions.add();
        self.publish(secret);
        Ok(())
    }

    /// What the vault holds before a save. Asked anew: neither "these bytes are there already" nor the tags to carry over
    /// may come from what another party has replaced meanwhile.
    fn before_saving(&self, secret: &SecretName, wait: Wait) -> FsResult<Before> {
        match self.store.get(secret, None, wait.anew()) {
            Ok(kept) => Ok(Before::Same(Box::new(kept))),
            Err(error) => match error.kind {
                ErrorKind::NotFound => Ok(self.new_secret(secret)),
                // An identity may be allowed to set and not to get; the listing then tells the tags.
                ErrorKind::Forbidden => self.listed_before(secret, wait),
                _ => Err(error.into()),
            },
        }
    }

    fn listed_before(&self, secret: &SecretName, wait: Wait) -> FsResult<Before> {
        match self.store.find(secret, wait) {
            Ok(found) => Ok(Before::Unreadable(Box::new(found.properties))),
            // Who may neither get nor list can only set.
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Forbidden) => {
                Ok(self.new_secret(secret))
            }
            // Tags that cannot be carried over must not be lost.
            Err(error) => Err(error.into()),
        }
    }

    fn new_secret(&self, secret: &SecretName) -> Before {
        let attributes = self.state().newborn.get(secret).and_then(|newborn| newborn.attributes.clone());
        Before::New(attributes.unwrap_or_default())
    }

    /// A new version is current: everybody looks the name up again.
    fn publish(&self, secret: &SecretName) {
        {
            let mut state = self.state();
            state.newborn.remove(secret);
            state.removals.remove(secret);
            state.is_saved(secret);
            state.ghosts.remove(secret);
        }
        self.announce(secret);
    }

    /// Everybody looks at this secret's files again.
    fn announce(&self, secret: &SecretName) {
        let (dir, parts) = {
            let mut state = self.state();
            let dir = state.tree.intern(&Node::Dir(secret.clone()));
            (dir, state.tree.intern(&Node::Certificate(secret.clone())))
        };
        for part in CertificateFile::ALL {
            self.kernel.tell(Notice::Entry(parts, part.name().to_owned()));
        }
        self.kernel.tell(Notice::Entry(dir, VALUE.to_owned()));
        self.drop_files(secret);
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
        let before = self.properties(secret, version, wait.anew())?;
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
        self.announce(secret);
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

/// A certificate's own secret cannot be saved to.
pub(super) fn owned() -> FsError {
    FsError::refused(libc::EPERM, "a certificate owns this secret: change the certificate")
}

/// Refuses at once what the vault would refuse at close.
pub(super) fn check_may_save(found: &SecretProperties) -> FsResult<()> {
    if found.is_managed() {
        return Err(owned());
    }
    if found.is_disabled() {
        return Err(FsError::refused(libc::EACCES, "the secret is disabled: enable it in its .meta.json"));
    }
    Ok(())
}

/// Whether a value may not be had, though the secret is there.
pub(super) fn is_refused(error: &StoreError) -> bool {
    matches!(error.kind, ErrorKind::Disabled | ErrorKind::Forbidden)
}

fn as_text(bytes: &[u8]) -> FsResult<&str> {
    std::str::from_utf8(bytes).map_err(|_| {
        FsError::refused(libc::EILSEQ, "a value is text: these bytes are not UTF-8 (files/NAME takes any)")
    })
}

/// Whether this file of the secret holds these bytes.
fn holds(kept: &KeyVaultSecret, face: Face, bytes: &[u8]) -> bool {
    Content::of(kept, face).is_ok_and(|content| content.bytes() == bytes)
}

/// `bytes` without the newline at their end that the file did not have before.
fn without_added_newline<'a>(kept: &KeyVaultSecret, face: Face, bytes: &'a [u8]) -> &'a [u8] {
    let had_none = Content::of(kept, face).is_ok_and(|content| !content.bytes().ends_with(b"\n"));
    bytes.strip_suffix(b"\n").filter(|_| had_none).unwrap_or(bytes)
}

/// The string to store for these bytes, and the tag that says how it was made.
fn encode(face: Face, bytes: &[u8], attributes: &mut SecretAttributes) -> FsResult<SecretValue> {
    if face == Face::Value {
        if let Some(tags) = &mut attributes.tags {
            tags.remove(encoding::TAG);
        }
        return Ok(SecretValue::new(as_text(bytes)?.to_owned()));
    }
    let before = Encoding::told(attributes.tags.as_ref(), attributes.content_type.as_deref());
    let (after, mut text) = encoding::encode(before, bytes);
    if text.len() > MAX_VALUE {
        return Err(FsError::refused(libc::EFBIG, "made text of, these bytes are more than the 25600 of a value"));
    }
    attributes.tags = encoding::retag(attributes.tags.take(), after, &text);
    Ok(SecretValue::new(std::mem::take(&mut *text)))
}

/// What is to be saved, and up to which write.
struct Unsaved {
    target: Target,
    bytes: Zeroizing<Vec<u8>>,
    writes: u64,
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
