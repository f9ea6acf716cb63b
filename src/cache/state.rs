//! What the cache remembers, and what it answers from that. Asks nobody and takes no lock; `learn` fills it.
//!
//! Invariants: a name in `settling` was deleted or recovered by us and may not be visible in its new place yet; a
//! name in `doubted` is not judged by the listing (in `doubted_deleted`: by that of the deleted ones); epochs only grow.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::clock::Moment;
use crate::metrics::Metrics;
use crate::secret::{DeletedSecret, KeyVaultSecret, SecretName, SecretProperties, Version};
use crate::store::{Change, ErrorKind, Found, News, Operation, StoreError};

use super::CacheOptions;
use super::fresh::Fresh;
use super::lru::Values;

/// How long our own deletion or recovery outweighs what the vault shows (up to 149 s, as recorded).
pub(super) const SETTLE_LIMIT: Duration = Duration::from_secs(300);

/// Where a name belongs after a change of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Among the secrets.
    Live,
    /// Among the deleted ones.
    Deleted,
}

pub(super) enum Settling {
    Live(SecretProperties),
    Deleted(DeletedSecret),
}

/// A get that the vault refused.
pub(super) struct Refusal {
    pub error: StoreError,
    /// What a listing told of a disabled secret.
    pub properties: Option<SecretProperties>,
}

pub(super) type Listing<T> = Option<Fresh<Result<BTreeMap<SecretName, T>, StoreError>>>;

/// See the module.
pub struct State {
    pub(super) options: CacheOptions,
    pub(super) values: Values,
    pub(super) current: HashMap<SecretName, Fresh<Arc<SecretProperties>>>,
    pub(super) refused: HashMap<SecretName, Fresh<Refusal>>,
    pub(super) listing: Listing<SecretProperties>,
    pub(super) deleted: Listing<DeletedSecret>,
    pub(super) versions: HashMap<SecretName, Fresh<Vec<SecretProperties>>>,
    pub(super) settling: HashMap<SecretName, (Settling, Moment)>,
    /// Since which epoch.
    pub(super) doubted: HashMap<SecretName, u64>,
    pub(super) doubted_deleted: HashMap<SecretName, u64>,
    /// When we last changed a name.
    pub(super) changes: HashMap<SecretName, u64>,
    /// When a name was last changed or expired.
    epochs: HashMap<SecretName, u64>,
    /// When everything was last expired.
    expired_all: u64,
    epoch: u64,
    pub(super) vault_url: String,
    /// When somebody last asked for a name.
    pub(super) used: HashMap<SecretName, Moment>,
    /// How many pages the listing has, or more.
    pub(super) pages: Option<usize>,
    /// Whether somebody keeps what is in use fresh.
    pub(super) watched: bool,
    /// Who hears what another party changed.
    pub(super) listener: Option<Sender<Change>>,
}

pub fn not_found(operation: Operation, name: &SecretName, what: &str) -> StoreError {
    StoreError::local(operation, Some(name), ErrorKind::NotFound, format!("the vault's listing has no such {what}"))
}

fn disabled(name: &SecretName) -> StoreError {
    StoreError::local(Operation::Get, Some(name), ErrorKind::Disabled, "the secret is disabled")
}

fn valid<T>(listing: &Listing<T>, ttl: Duration, now: Moment) -> Option<&Result<BTreeMap<SecretName, T>, StoreError>> {
    listing.as_ref().filter(|listing| listing.is_valid(ttl, now)).map(|listing| &listing.said)
}

fn all<T: Clone>(listing: &Listing<T>, ttl: Duration, now: Moment) -> Option<Result<Vec<T>, StoreError>> {
    let said = valid(listing, ttl, now)?;
    Some(said.as_ref().map(|items| items.values().cloned().collect()).map_err(Clone::clone))
}

impl State {
    pub fn new(options: CacheOptions, metrics: Arc<Metrics>) -> Self {
        Self {
            options,
            values: Values::new(options.bytes, options.entries, metrics),
            current: HashMap::new(),
            refused: HashMap::new(),
            listing: None,
            deleted: None,
            versions: HashMap::new(),
            settling: HashMap::new(),
            doubted: HashMap::new(),
            doubted_deleted: HashMap::new(),
            changes: HashMap::new(),
            epochs: HashMap::new(),
            expired_all: 0,
            epoch: 0,
            vault_url: String::new(),
            used: HashMap::new(),
            pages: None,
            watched: false,
            listener: None,
        }
    }

    /// How long what the vault said is believed.
    pub fn ttl(&self) -> Duration {
        self.options.ttl
    }

    /// Tells of a change. Never waits.
    pub(super) fn tell(&self, name: &SecretName, news: News) {
        if let Some(listener) = &self.listener {
            // Who listens no longer does not matter.
            let _ = listener.send(Change { name: name.clone(), news });
        }
    }

    pub fn get(
        &mut self,
        name: &SecretName,
        version: Option<&Version>,
        now: Moment,
    ) -> Option<Result<KeyVaultSecret, StoreError>> {
        if let Some(version) = version {
            return self.get_version(name, version, now);
        }
        if let Some(refused) = self.valid_refusal(name, now) {
            return Some(Err(StoreError { operation: Operation::Get, ..refused.error.clone() }));
        }
        if let Some(properties) = self.valid_current(name, now).map(|current| current.said.clone()) {
            let value = self.values.get(name, properties.version.as_ref()?)?.value.clone();
            return Some(Ok(KeyVaultSecret { properties: (*properties).clone(), value }));
        }
        match self.listed(name, now)? {
            None => Some(Err(not_found(Operation::Get, name, "secret"))),
            Some(item) if item.is_disabled() => Some(Err(disabled(name))),
            Some(_) => None,
        }
    }

    /// A version's value is for ever; what stands beside it is not, and whether it may be read is part of that.
    fn get_version(
        &mut self,
        name: &SecretName,
        version: &Version,
        now: Moment,
    ) -> Option<Result<KeyVaultSecret, StoreError>> {
        let told = self.told_of(name, version, now).cloned();
        if told.as_ref().is_some_and(SecretProperties::is_disabled) {
            return Some(Err(disabled(name)));
        }
        let (ttl, epoch) = (self.options.ttl, self.epoch(name));
        let kept = self.values.get(name, version)?;
        let properties = match told {
            Some(told) => with_what_listings_lack(told, &kept.properties),
            None if kept.epoch == epoch && kept.asked.is_valid(ttl, now) => (*kept.properties).clone(),
            None => return None,
        };
        if properties.is_disabled() {
            return Some(Err(disabled(name)));
        }
        Some(Ok(KeyVaultSecret { properties, value: kept.value.clone() }))
    }

    /// The properties of a version, where an answer that may still be relied on told them.
    fn told_of(&self, name: &SecretName, version: &Version, now: Moment) -> Option<&SecretProperties> {
        let is_it = |item: &&SecretProperties| item.version.as_ref() == Some(version);
        let current = self.valid_current(name, now).map(|current| &*current.said).filter(is_it);
        current.or_else(|| self.valid_versions(name, now)?.iter().find(is_it))
    }

    pub fn find(&self, name: &SecretName, now: Moment) -> Option<Result<Found, StoreError>> {
        if let Some(current) = self.valid_current(name, now) {
            return Some(Ok(self.found((*current.said).clone(), now)));
        }
        if let Some((found, since)) = self.recovering(name, now)
            && now.since(since) < self.options.ttl
            && !self.is_doubted(name)
        {
            return Some(Ok(found));
        }
        match self.listed(name, now) {
            Some(Some(item)) => {
                let valid_for =
                    self.listing.as_ref().map_or(Duration::ZERO, |fresh| fresh.valid_for(self.options.ttl, now));
                Some(Ok(Found { properties: item.clone(), current: None, valid_for }))
            }
            Some(None) => Some(Err(not_found(Operation::Find, name, "secret"))),
            None => self.find_refused(name, now),
        }
    }

    /// What a listing on its way says of a name, if nothing is known that is younger.
    pub fn found_listed(&self, item: SecretProperties, asked: Moment, epoch: u64, now: Moment) -> Option<Found> {
        let is_late = self.epoch(&item.name) > epoch || self.settling.contains_key(&item.name);
        let valid_for = self.options.ttl.saturating_sub(now.since(asked));
        (!is_late && !valid_for.is_zero()).then_some(Found { properties: item, current: None, valid_for })
    }

    /// What we recovered lately and the vault may not show yet, and since when.
    pub fn recovering(&self, name: &SecretName, now: Moment) -> Option<(Found, Moment)> {
        match self.settling.get(name) {
            Some((Settling::Live(properties), since)) if now.since(*since) < SETTLE_LIMIT => {
                let (properties, current) = (properties.clone(), properties.version.clone());
                Some((Found { properties, current, valid_for: Duration::ZERO }, *since))
            }
            _ => None,
        }
    }

    /// Whether it was expired after we changed it.
    fn is_doubted(&self, name: &SecretName) -> bool {
        self.doubted.contains_key(name) || self.changes.get(name).is_none_or(|changed| *changed < self.expired_all)
    }

    fn find_refused(&self, name: &SecretName, now: Moment) -> Option<Result<Found, StoreError>> {
        let refused = self.valid_refusal(name, now)?;
        match refused.error.kind {
            ErrorKind::Disabled => {
                let properties = refused.properties.clone()?;
                Some(Ok(Found { properties, current: None, valid_for: Duration::ZERO }))
            }
            // Who may not get may still list.
            ErrorKind::Forbidden if !self.may_not_list(now) => None,
            _ => Some(Err(StoreError { operation: Operation::Find, ..refused.error.clone() })),
        }
    }

    fn may_not_list(&self, now: Moment) -> bool {
        matches!(valid(&self.listing, self.options.ttl, now), Some(Err(_)))
    }

    /// What a get of the current version says to a find.
    pub fn found(&self, properties: SecretProperties, now: Moment) -> Found {
        let valid_for = self.current.get(&properties.name).map_or(Duration::ZERO, |current| self.lasts(current, now));
        Found { current: properties.version.clone(), properties, valid_for }
    }

    /// How long others may rely on it. What is kept fresh is valid until they hear otherwise, or, where the vault does
    /// not answer, as long as the last that is known may stand in.
    fn lasts<T>(&self, current: &Fresh<T>, now: Moment) -> Duration {
        match current.valid_for(self.options.ttl, now) {
            left if self.watched && !left.is_zero() => left.saturating_add(self.options.max_stale),
            left => left,
        }
    }

    pub fn list(&self, now: Moment) -> Option<Result<Vec<SecretProperties>, StoreError>> {
        if !self.doubted.is_empty() {
            return None;
        }
        all(&self.listing, self.options.ttl, now)
    }

    pub fn list_deleted(&self, now: Moment) -> Option<Result<Vec<DeletedSecret>, StoreError>> {
        if !self.doubted_deleted.is_empty() {
            return None;
        }
        all(&self.deleted, self.options.ttl, now)
    }

    pub fn get_deleted(&self, name: &SecretName, now: Moment) -> Option<Result<DeletedSecret, StoreError>> {
        if let Some((Settling::Deleted(secret), since)) = self.settling.get(name)
            && now.since(*since) < SETTLE_LIMIT
        {
            return Some(Ok(secret.clone()));
        }
        let said = valid(&self.deleted, self.options.ttl, now).filter(|_| !self.doubted_deleted.contains_key(name))?;
        Some(match said {
            Ok(items) => {
                items.get(name).cloned().ok_or_else(|| not_found(Operation::GetDeleted, name, "deleted secret"))
            }
            Err(error) => Err(error.clone()),
        })
    }

    pub fn versions(&self, name: &SecretName, now: Moment) -> Option<Vec<SecretProperties>> {
        self.valid_versions(name, now).cloned()
    }

    /// Whether a "not found" for `name` in `place` may only mean "not yet", and what to call it if it stays so.
    pub fn settling(&self, name: &SecretName, place: Place, now: Moment) -> Option<ErrorKind> {
        let (settling, since) = self.settling.get(name)?;
        if now.since(*since) >= SETTLE_LIMIT {
            return None;
        }
        match (settling, place) {
            (Settling::Live(_), Place::Live) => Some(ErrorKind::BeingRecovered),
            (Settling::Deleted(_), Place::Deleted) => Some(ErrorKind::BeingDeleted),
            _ => None,
        }
    }

    fn valid_current(&self, name: &SecretName, now: Moment) -> Option<&Fresh<Arc<SecretProperties>>> {
        self.current.get(name).filter(|current| current.is_valid(self.options.ttl, now))
    }

    fn valid_versions(&self, name: &SecretName, now: Moment) -> Option<&Vec<SecretProperties>> {
        let versions = self.versions.get(name).filter(|fresh| fresh.is_valid(self.options.ttl, now))?;
        Some(&versions.said)
    }

    fn valid_refusal(&self, name: &SecretName, now: Moment) -> Option<&Refusal> {
        let refused = self.refused.get(name)?;
        refused.is_valid(self.refusal_ttl(&refused.said), now).then_some(&refused.said)
    }

    pub(super) fn refusal_ttl(&self, refusal: &Refusal) -> Duration {
        match refusal.error.kind {
            ErrorKind::NotFound => self.options.negative_ttl.min(self.options.ttl),
            _ => self.options.ttl,
        }
    }

    /// What a valid listing says of a name: outer `None` is "it does not judge it", inner `None` "not in it".
    fn listed(&self, name: &SecretName, now: Moment) -> Option<Option<&SecretProperties>> {
        if self.doubted.contains_key(name) {
            return None;
        }
        let item = valid(&self.listing, self.options.ttl, now)?.as_ref().ok()?.get(name);
        // A listing may be late with what is new; what was there before is asked for once more.
        if item.is_none() && self.current.contains_key(name) { None } else { Some(item) }
    }

    // Epochs: an answer counts only if nothing was changed or expired since its question left.

    pub fn epoch(&self, name: &SecretName) -> u64 {
        self.epochs.get(name).copied().unwrap_or(0).max(self.expired_all)
    }

    pub fn all_epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether a listing asked for in `epoch` may be kept.
    pub(super) fn is_current(&self, epoch: u64) -> bool {
        epoch >= self.expired_all
    }

    fn begin_epoch(&mut self, name: &SecretName) -> u64 {
        self.epoch += 1;
        self.epochs.insert(name.clone(), self.epoch);
        self.epoch
    }

    /// A change of `name` is about to be sent, or has been answered: answers under way no longer count. Gives back its mark.
    pub fn begin_change(&mut self, name: &SecretName) -> u64 {
        let epoch = self.begin_epoch(name);
        self.changes.insert(name.clone(), epoch);
        epoch
    }

    /// Whether no other change of `name` has begun or been answered since this one began.
    pub fn is_last_change(&self, name: &SecretName, begun: u64) -> bool {
        self.changes.get(name) == Some(&begun)
    }

    /// What is known of `name` may be wrong.
    pub fn doubt(&mut self, name: &SecretName) {
        self.settling.remove(name);
        self.expire(Some(name));
    }

    pub fn expire(&mut self, name: Option<&SecretName>) {
        let Some(name) = name else { return self.expire_all() };
        let epoch = self.begin_epoch(name);
        if let Some(current) = self.current.get_mut(name) {
            current.expire();
        }
        self.refused.remove(name);
        if let Some(versions) = self.versions.get_mut(name) {
            versions.expire();
        }
        self.doubted.insert(name.clone(), epoch);
        self.doubted_deleted.insert(name.clone(), epoch);
    }

    fn expire_all(&mut self) {
        self.epoch += 1;
        self.expired_all = self.epoch;
        self.current.values_mut().for_each(Fresh::expire);
        self.versions.values_mut().for_each(Fresh::expire);
        self.refused.clear();
        self.listing.iter_mut().for_each(Fresh::expire);
        self.deleted.iter_mut().for_each(Fresh::expire);
    }
}

/// What a listing tells of a version, with what only a get tells.
fn with_what_listings_lack(told: SecretProperties, got: &SecretProperties) -> SecretProperties {
    SecretProperties {
        key_id: told.key_id.or_else(|| got.key_id.clone()),
        managed: told.managed.or(got.managed),
        previous_version: told.previous_version.or_else(|| got.previous_version.clone()),
        ..told
    }
}
