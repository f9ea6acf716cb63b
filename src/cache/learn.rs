//! What each answer of the vault teaches the cache. Asks nobody and takes no lock.
//!
//! An answer is kept as of the moment its question left, and only if nothing was changed or expired since.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::secret::{DeletedSecret, KeyVaultSecret, SecretName, SecretProperties, SecretValue, Timestamp, Version};
use crate::store::{ErrorKind, News, Operation, StoreError};

use super::fresh::Fresh;
use super::lru::Kept;
use super::stale::is_silence;
use super::state::{Listing, Refusal, SETTLE_LIMIT, Settling, State};

/// How long a listing that still shows what we deleted is taken for late (recorded: a get is 404 at once).
const LATE_LISTING: Duration = Duration::from_secs(60);
/// How long after its date a change may have a twin of the same date, in seconds (two were seen).
const GRAIN: i64 = 2;
/// How many refusals are remembered. Whoever may get but not list can ask for any name there could be.
const MAX_REFUSED: usize = 4096;

fn items<T>(listing: &mut Listing<T>) -> Option<&mut BTreeMap<SecretName, T>> {
    listing.as_mut().and_then(|listing| listing.said.as_mut().ok())
}

fn put<T>(listing: &mut Listing<T>, name: &SecretName, item: T) {
    if let Some(items) = items(listing) {
        // Out first: the key's spelling is the listing's.
        items.remove(name);
        items.insert(name.clone(), item);
    }
}

fn take<T>(listing: &mut Listing<T>, name: &SecretName) {
    if let Some(items) = items(listing) {
        items.remove(name);
    }
}

fn expire<T>(listing: &mut Listing<T>) {
    if let Some(listing) = listing {
        listing.expire();
    }
}

impl State {
    pub fn learn_get(
        &mut self,
        name: &SecretName,
        version: Option<&Version>,
        answer: &Result<KeyVaultSecret, StoreError>,
        asked: Moment,
        epoch: u64,
    ) {
        let told = answer.as_ref().map(|secret| (Arc::new(secret.properties.clone()), &secret.value));
        if let Ok((properties, value)) = &told
            && let Some(version) = &properties.version
        {
            self.values.put(&properties.name, version, Kept::new(properties, value, asked, epoch));
        }
        if self.epoch(name) != epoch {
            return;
        }
        match told {
            Ok((properties, _)) if version.is_none() => {
                self.tell_of_live(&properties);
                self.believe_live(&properties, asked);
            }
            Ok(_) => {
                self.settling.remove(name);
            }
            Err(error) => match version {
                None => self.believe_refused(name, error, asked),
                Some(version) => self.refute_version(name, version, error),
            },
        }
    }

    /// A version that may not be read: it does not stand in for an answer later.
    fn refute_version(&mut self, name: &SecretName, version: &Version, error: &StoreError) {
        let is_refusal = match error.kind {
            ErrorKind::NotFound | ErrorKind::Disabled | ErrorKind::Forbidden => true,
            ErrorKind::Authentication => !is_silence(error),
            _ => false,
        };
        if !is_refusal {
            return;
        }
        self.values.forget_version(name, version);
        if let Some(current) =
            self.current.get_mut(name).filter(|current| current.said.version.as_ref() == Some(version))
        {
            current.refute();
        }
    }

    fn tell_of_live(&self, properties: &SecretProperties) {
        let name = &properties.name;
        match self.current.get(name).map(|current| &current.said) {
            Some(before) if before.version != properties.version => self.tell(name, News::Rotated),
            Some(before) if is_altered(before, properties) => self.tell(name, News::Altered),
            Some(_) => {}
            // It was refused before.
            None if self.refused.contains_key(name) => self.tell(name, News::Appeared),
            None => {}
        }
    }

    fn believe_live(&mut self, properties: &Arc<SecretProperties>, asked: Moment) {
        let name = &properties.name;
        self.vault_url.clone_from(&properties.vault_url);
        self.refused.remove(name);
        self.doubted.remove(name);
        self.doubted_deleted.remove(name);
        self.settling.remove(name);
        self.doubt_versions_without(properties);
        self.current.insert(name.clone(), Fresh::new(properties.clone(), asked));
        put(&mut self.listing, name, (**properties).clone());
        take(&mut self.deleted, name);
    }

    /// A listing of versions that lacks the current one is older than that.
    fn doubt_versions_without(&mut self, current: &SecretProperties) {
        let versions = self.versions.get_mut(&current.name);
        if let Some(old) = versions.filter(|old| old.said.iter().all(|listed| listed.version != current.version)) {
            old.expire();
        }
    }

    fn believe_refused(&mut self, name: &SecretName, error: &StoreError, asked: Moment) {
        let was_there = self.current.contains_key(name);
        match error.kind {
            ErrorKind::NotFound => {
                self.forget_live(name);
                self.doubted.remove(name);
            }
            ErrorKind::Disabled => {
                // As a value it says that the secret is there, whatever was done to it before.
                self.settling.remove(name);
                self.current.remove(name);
                if let Some(item) = items(&mut self.listing).and_then(|items| items.get_mut(name)) {
                    item.enabled = Some(false);
                }
            }
            ErrorKind::Forbidden => {
                self.current.remove(name);
            }
            // A refused token says no to us, and nothing about the secret: what is known may not stand in any more.
            ErrorKind::Authentication if !is_silence(error) => {
                self.current.get_mut(name).into_iter().for_each(Fresh::refute);
                return;
            }
            // It says nothing about the secret.
            _ => return,
        }
        // Nothing of it may stand in for an answer later.
        self.values.forget(name);
        if was_there {
            self.tell(name, News::Revoked);
        }
        self.refuse(name, Refusal { error: error.clone(), properties: None }, asked);
    }

    fn refuse(&mut self, name: &SecretName, refusal: Refusal, asked: Moment) {
        if self.refused.len() >= MAX_REFUSED {
            let mut refused = std::mem::take(&mut self.refused);
            refused.retain(|_, kept| kept.is_valid(self.refusal_ttl(&kept.said), asked));
            self.refused = if refused.len() < MAX_REFUSED { refused } else { Default::default() };
        }
        self.refused.insert(name.clone(), Fresh::new(refusal, asked));
    }

    /// What the versions' listing tells of a secret whose get was refused because it is disabled. Gives it back.
    pub fn learn_disabled(&mut self, name: &SecretName, versions: &[SecretProperties], epoch: u64) -> SecretProperties {
        let disabled = versions.iter().filter(|version| version.is_disabled());
        let bare = |url: &str, name| SecretProperties::bare(url, name);
        let properties = match disabled.max_by_key(|version| version.created_on) {
            // Its own word for the vault: a cache that has just begun has heard none yet.
            Some(newest) => {
                SecretProperties { id: bare(&newest.vault_url, &newest.name).id, version: None, ..newest.clone() }
            }
            None => SecretProperties { enabled: Some(false), ..bare(&self.vault_url, name) },
        };
        if self.epoch(name) == epoch
            && let Some(refused) = self.refused.get_mut(name)
        {
            refused.said.properties = Some(properties.clone());
        }
        properties
    }

    fn forget_live(&mut self, name: &SecretName) {
        self.current.remove(name);
        self.versions.remove(name);
        self.values.forget(name);
        take(&mut self.listing, name);
    }

    /// What we deleted lately and a listing shows: it is late, or somebody else brought it back.
    pub fn back_again(&self, listed: &[SecretProperties]) -> Vec<SecretName> {
        let is_back = |name: &&SecretName| matches!(self.settling.get(*name), Some((Settling::Deleted(_), _)));
        listed.iter().map(|item| &item.name).filter(is_back).cloned().collect()
    }

    /// Gives back the listing as it is to be believed. A refused right is remembered as well. `date` is the vault's own
    /// time when it was asked for.
    pub fn learn_listing(
        &mut self,
        answer: Result<Vec<SecretProperties>, StoreError>,
        asked: Moment,
        epoch: u64,
        date: Option<Timestamp>,
    ) -> Result<Vec<SecretProperties>, StoreError> {
        let answer = answer.map(|list| {
            let mut new: BTreeMap<_, _> = list.into_iter().map(|item| (item.name.clone(), item)).collect();
            self.compare(&new, asked, epoch, date);
            self.adjust_listing(&mut new, asked, epoch);
            self.tell_of_listing(&new);
            new
        });
        if answer.is_ok() {
            self.doubted.retain(|_, since| *since > epoch);
        }
        let kept = self.is_current(epoch);
        remember(&mut self.listing, answer, asked, kept)
    }

    /// What a newer listing contradicts is not relied on; what it says too is as young as it.
    fn compare(
        &mut self,
        new: &BTreeMap<SecretName, SecretProperties>,
        asked: Moment,
        epoch: u64,
        date: Option<Timestamp>,
    ) {
        let unchanged: Vec<_> = self.current.keys().filter(|name| self.epoch(name) <= epoch).cloned().collect();
        for name in unchanged {
            let Some(current) = self.current.get_mut(&name).filter(|current| current.is_older(asked)) else { continue };
            match new.get(&name) {
                None => current.refute(),
                Some(item) if item.is_disabled() => current.refute(),
                Some(item) if item.updated_on != current.said.updated_on => current.expire(),
                Some(_) if is_settled(current, asked, date) => current.confirm(asked),
                Some(_) => {}
            }
        }
        self.refused.retain(|name, refused| {
            let is_readable = new.get(name).is_some_and(|item| !item.is_disabled());
            let contradicted = is_readable && refused.said.error.kind != ErrorKind::Forbidden;
            !(contradicted && refused.is_older(asked))
        });
    }

    /// What was in a listing before and is not in this one, and the other way round. Of what was got, a get tells.
    fn tell_of_listing(&self, new: &BTreeMap<SecretName, SecretProperties>) {
        let Some(Ok(old)) = self.listing.as_ref().map(|listing| &listing.said) else { return };
        let appeared = new.keys().filter(|name| !old.contains_key(*name));
        appeared.for_each(|name| self.tell(name, News::Appeared));
        let gone = old.keys().filter(|name| !new.contains_key(*name) && !self.current.contains_key(*name));
        gone.for_each(|name| self.tell(name, News::Revoked));
    }

    /// Makes of what the vault listed what we know.
    pub fn adjust_listing(&self, new: &mut BTreeMap<SecretName, SecretProperties>, asked: Moment, epoch: u64) {
        self.overlay_live(new, asked);
        self.keep_changed(new, epoch);
    }

    fn overlay_live(&self, new: &mut BTreeMap<SecretName, SecretProperties>, asked: Moment) {
        for (name, (settling, since)) in &self.settling {
            match settling {
                Settling::Live(properties) if asked.since(*since) < SETTLE_LIMIT => {
                    new.entry(name.clone()).or_insert_with(|| properties.clone());
                }
                Settling::Deleted(_) if asked.since(*since) < LATE_LISTING => {
                    new.remove(name);
                }
                Settling::Live(_) | Settling::Deleted(_) => {}
            }
        }
    }

    /// Names that we changed while the listing was under way are as we know them.
    fn keep_changed(&self, new: &mut BTreeMap<SecretName, SecretProperties>, epoch: u64) {
        for (name, _) in self.changes.iter().filter(|(_, at)| **at > epoch) {
            let disabled = self.refused.get(name).and_then(|refused| refused.said.properties.as_ref());
            if let Some(known) = self.current.get(name).map(|current| &*current.said).or(disabled) {
                new.insert(name.clone(), known.clone());
            } else if !matches!(self.settling.get(name), Some((Settling::Live(_), _))) {
                new.remove(name);
            }
        }
    }

    /// As [`learn_listing`](Self::learn_listing), for the deleted ones.
    pub fn learn_deleted(
        &mut self,
        answer: Result<Vec<DeletedSecret>, StoreError>,
        asked: Moment,
        epoch: u64,
    ) -> Result<Vec<DeletedSecret>, StoreError> {
        let answer = answer.map(|list| {
            let mut new: BTreeMap<_, _> = list.into_iter().map(|item| (item.properties.name.clone(), item)).collect();
            self.adjust_deleted(&mut new, asked, epoch);
            new
        });
        if answer.is_ok() {
            self.doubted_deleted.retain(|_, since| *since > epoch);
        }
        let kept = self.is_current(epoch);
        remember(&mut self.deleted, answer, asked, kept)
    }

    /// As [`adjust_listing`](Self::adjust_listing), for the deleted ones.
    pub fn adjust_deleted(&mut self, new: &mut BTreeMap<SecretName, DeletedSecret>, asked: Moment, epoch: u64) {
        self.keep_details(new);
        self.overlay_deleted(new, asked);
        for (name, _) in self.changes.iter().filter(|(_, at)| **at > epoch) {
            if !matches!(self.settling.get(name), Some((Settling::Deleted(_), _))) {
                new.remove(name);
            }
        }
    }

    /// A listing leaves out the version. Nothing about a deleted secret changes, so what a delete told stays.
    fn keep_details(&self, new: &mut BTreeMap<SecretName, DeletedSecret>) {
        let old = self.deleted.as_ref().and_then(|listing| listing.said.as_ref().ok());
        for (name, item) in new {
            let known = match self.settling.get(name) {
                Some((Settling::Deleted(secret), _)) => Some(secret),
                _ => old.and_then(|items| items.get(name)),
            };
            if let Some(known) = known.filter(|known| known.deleted_date == item.deleted_date) {
                item.clone_from(known);
            }
        }
    }

    /// What a get of a deleted secret tells beyond the listing that it stands in.
    pub fn learn_details(&mut self, whole: &DeletedSecret) {
        let listed = items(&mut self.deleted).and_then(|items| items.get_mut(&whole.properties.name));
        if let Some(item) = listed.filter(|item| item.deleted_date == whole.deleted_date) {
            item.clone_from(whole);
        }
    }

    /// Ends the settling of what the vault now shows as deleted, and shows what it does not show yet.
    fn overlay_deleted(&mut self, new: &mut BTreeMap<SecretName, DeletedSecret>, asked: Moment) {
        self.settling.retain(|name, (settling, since)| match settling {
            _ if asked.since(*since) >= SETTLE_LIMIT => false,
            Settling::Live(_) => {
                new.remove(name);
                true
            }
            Settling::Deleted(_) if new.contains_key(name) => false,
            Settling::Deleted(secret) => {
                new.insert(name.clone(), secret.clone());
                true
            }
        });
    }

    pub fn learn_versions(&mut self, name: &SecretName, items: Vec<SecretProperties>, asked: Moment, epoch: u64) {
        if self.epoch(name) == epoch {
            self.versions.insert(name.clone(), Fresh::new(items, asked));
        }
    }

    pub fn learn_set(
        &mut self,
        name: &SecretName,
        value: &SecretValue,
        answer: &Result<SecretProperties, StoreError>,
        asked: Moment,
    ) {
        self.begin_change(name);
        self.versions.remove(name);
        let Ok(properties) = answer else { return self.expire(Some(name)) };
        let properties = &Arc::new(properties.clone());
        if let Some(version) = &properties.version {
            let kept = Kept::new(properties, value, asked, self.epoch(name));
            self.values.put(&properties.name, version, kept);
        }
        self.believe_live(properties, asked);
        if properties.is_disabled() {
            self.believe_disabled(properties, asked);
        }
    }

    /// We have disabled the secret ourselves: nothing of it may stand in for an answer later.
    fn believe_disabled(&mut self, properties: &SecretProperties, asked: Moment) {
        let name = &properties.name;
        self.current.remove(name);
        self.values.forget(name);
        let error = StoreError::local(Operation::Get, Some(name), ErrorKind::Disabled, "it was saved as disabled");
        self.refuse(name, Refusal { error, properties: Some(properties.clone()) }, asked);
    }

    /// What an answer that has no value tells of the current version; a get will say more.
    fn believe_told(&mut self, properties: &SecretProperties, asked: Moment) {
        self.doubted.remove(&properties.name);
        self.doubted_deleted.remove(&properties.name);
        put(&mut self.listing, &properties.name, properties.clone());
        if properties.is_disabled() {
            return self.believe_disabled(properties, asked);
        }
        let mut told = Fresh::new(Arc::new(properties.clone()), asked);
        told.expire();
        self.current.insert(properties.name.clone(), told);
    }

    /// `version` is the one that was named; without one it is the current version that changed.
    pub fn learn_update(
        &mut self,
        name: &SecretName,
        version: Option<&Version>,
        answer: &Result<SecretProperties, StoreError>,
        asked: Moment,
    ) {
        self.begin_change(name);
        self.expire(Some(name));
        match (answer, version) {
            (Ok(properties), None) => self.believe_told(properties, asked),
            (Ok(properties), Some(version)) if properties.is_disabled() => self.values.forget_version(name, version),
            _ => {}
        }
    }

    pub fn learn_delete(&mut self, name: &SecretName, answer: &Result<DeletedSecret, StoreError>, now: Moment) {
        self.begin_change(name);
        let Ok(secret) = answer else { return self.expire(Some(name)) };
        self.forget_live(name);
        self.refused.remove(name);
        self.doubted.remove(name);
        self.doubted_deleted.remove(name);
        put(&mut self.deleted, name, secret.clone());
        self.settling.insert(name.clone(), (Settling::Deleted(secret.clone()), now));
    }

    pub fn learn_recover(&mut self, name: &SecretName, answer: &Result<SecretProperties, StoreError>, now: Moment) {
        self.begin_change(name);
        self.expire(Some(name));
        let Ok(properties) = answer else { return };
        self.doubted.remove(name);
        self.doubted_deleted.remove(name);
        take(&mut self.deleted, name);
        put(&mut self.listing, &properties.name, properties.clone());
        self.settling.insert(name.clone(), (Settling::Live(properties.clone()), now));
    }

    pub fn learn_purge(&mut self, name: &SecretName, answer: &Result<(), StoreError>) {
        self.begin_change(name);
        if answer.is_err() {
            // Somebody else may have moved the name before us.
            return self.expire(Some(name));
        }
        self.settling.remove(name);
        take(&mut self.deleted, name);
    }

    /// `None` for a restore whose outcome is not known: which name it is about, only the vault can tell.
    pub fn learn_restore(&mut self, answer: &Result<SecretProperties, StoreError>, asked: Moment) {
        let Ok(properties) = answer else {
            expire(&mut self.listing);
            return;
        };
        let name = &properties.name;
        self.begin_change(name);
        self.expire(Some(name));
        self.settling.remove(name);
        take(&mut self.deleted, name);
        self.believe_told(properties, asked);
    }
}

/// Whether a version that stayed is shown otherwise.
fn is_altered(before: &SecretProperties, after: &SecretProperties) -> bool {
    let shown = |of: &SecretProperties| (of.updated_on, of.enabled, of.content_type.clone(), of.tags.clone());
    shown(before) != shown(after)
}

/// Whether a change after `current` was asked for would have another date: the vault's have a grain of a second. `date`
/// is its time at `asked`.
fn is_settled(current: &Fresh<Arc<SecretProperties>>, asked: Moment, date: Option<Timestamp>) -> bool {
    let (Some(Timestamp(date)), Some(Timestamp(updated))) = (date, current.said.updated_on) else { return true };
    let ago = i64::try_from(current.age(asked).as_secs()).unwrap_or(i64::MAX);
    date.saturating_sub(ago) >= updated.saturating_add(GRAIN)
}

fn remember<T: Clone>(
    listing: &mut Listing<T>,
    answer: Result<BTreeMap<SecretName, T>, StoreError>,
    asked: Moment,
    keep: bool,
) -> Result<Vec<T>, StoreError> {
    match answer {
        Err(error) if error.kind != ErrorKind::Forbidden => Err(error),
        answer => {
            let list = answer.as_ref().map(|items| items.values().cloned().collect()).map_err(Clone::clone);
            if keep {
                *listing = Some(Fresh::new(answer, asked));
            }
            list
        }
    }
}
