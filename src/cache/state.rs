//! What the cache remembers, and what each answer of the vault teaches it. Asks nobody and takes no lock.
//!
//! Invariants: a name in `settling` was deleted or recovered by us and may not be visible in its new place yet; a
//! name in `doubted` is not judged by the listing; `epochs` only grow.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::metrics::Metrics;
use crate::secret::{DeletedSecret, KeyVaultSecret, SecretName, SecretProperties, SecretValue, Version};
use crate::store::{ErrorKind, Found, Operation, StoreError};

use super::CacheOptions;
use super::fresh::Fresh;
use super::lru::Values;

/// How long our own deletion or recovery outweighs what the vault shows (recorded: up to 149 s, PROTOCOL 7).
const SETTLE_LIMIT: Duration = Duration::from_secs(300);
/// How long a listing that still shows what we deleted is taken for late (recorded: a get is 404 at once).
const LATE_LISTING: Duration = Duration::from_secs(60);

/// Where a name belongs after a change of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Among the secrets.
    Live,
    /// Among the deleted ones.
    Deleted,
}

enum Settling {
    Live(SecretProperties),
    Deleted(DeletedSecret),
}

type Listing<T> = Option<Fresh<Result<BTreeMap<SecretName, T>, StoreError>>>;

/// See the module.
pub struct State {
    options: CacheOptions,
    values: Values,
    current: HashMap<SecretName, Fresh<SecretProperties>>,
    refused: HashMap<SecretName, Fresh<StoreError>>,
    listing: Listing<SecretProperties>,
    deleted: Listing<DeletedSecret>,
    versions: HashMap<SecretName, Fresh<Vec<SecretProperties>>>,
    settling: HashMap<SecretName, (Settling, Moment)>,
    doubted: HashSet<SecretName>,
    epochs: HashMap<SecretName, u64>,
    epoch: u64,
    vault_url: String,
}

pub fn not_found(operation: Operation, name: &SecretName, what: &str) -> StoreError {
    StoreError::local(operation, Some(name), ErrorKind::NotFound, format!("the vault's listing has no such {what}"))
}

fn items<T>(listing: &mut Listing<T>) -> Option<&mut BTreeMap<SecretName, T>> {
    listing.as_mut().and_then(|listing| listing.said.as_mut().ok())
}

fn valid_items<T>(listing: &Listing<T>, ttl: Duration, now: Moment) -> Option<&BTreeMap<SecretName, T>> {
    let listing = listing.as_ref().filter(|listing| listing.is_valid(ttl, now))?;
    listing.said.as_ref().ok()
}

fn all<T: Clone>(listing: &Listing<T>, ttl: Duration, now: Moment) -> Option<Result<Vec<T>, StoreError>> {
    let listing = listing.as_ref().filter(|listing| listing.is_valid(ttl, now))?;
    Some(listing.said.as_ref().map(|items| items.values().cloned().collect()).map_err(Clone::clone))
}

fn remember<T: Clone>(
    listing: &mut Listing<T>,
    answer: Result<BTreeMap<SecretName, T>, StoreError>,
    asked: Moment,
) -> Result<Vec<T>, StoreError> {
    match answer {
        Err(error) if error.kind != ErrorKind::Forbidden => Err(error),
        answer => {
            let list = answer.as_ref().map(|items| items.values().cloned().collect()).map_err(Clone::clone);
            *listing = Some(Fresh::new(answer, asked));
            list
        }
    }
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
            doubted: HashSet::new(),
            epochs: HashMap::new(),
            epoch: 0,
            vault_url: String::new(),
        }
    }

    // What is known.

    pub fn get(
        &mut self,
        name: &SecretName,
        version: Option<&Version>,
        now: Moment,
    ) -> Option<Result<KeyVaultSecret, StoreError>> {
        if let Some(version) = version {
            return self.values.get(name, version).cloned().map(Ok);
        }
        if let Some(refused) = self.valid_refusal(name, now) {
            return Some(Err(StoreError { operation: Operation::Get, ..refused.clone() }));
        }
        if let Some(properties) = self.valid_current(name, now).map(|current| current.said.clone()) {
            let value = self.values.get(name, properties.version.as_ref()?)?.value.clone();
            return Some(Ok(KeyVaultSecret { properties, value }));
        }
        match self.listed(name, now)? {
            None => Some(Err(not_found(Operation::Get, name, "secret"))),
            Some(item) if item.is_disabled() => {
                Some(Err(StoreError::local(Operation::Get, Some(name), ErrorKind::Disabled, "the secret is disabled")))
            }
            Some(_) => None,
        }
    }

    pub fn find(&self, name: &SecretName, now: Moment) -> Option<Result<Found, StoreError>> {
        if let Some(current) = self.valid_current(name, now) {
            return Some(Ok(self.found(current.said.clone(), now)));
        }
        match self.listed(name, now) {
            Some(Some(item)) => {
                let valid_for =
                    self.listing.as_ref().map_or(Duration::ZERO, |fresh| fresh.valid_for(self.options.ttl, now));
                Some(Ok(Found { properties: item.clone(), current: None, valid_for }))
            }
            Some(None) => Some(Err(not_found(Operation::Find, name, "secret"))),
            None => match self.valid_refusal(name, now)? {
                refused if refused.kind == ErrorKind::Disabled => Some(Ok(self.found_disabled(name))),
                refused => Some(Err(StoreError { operation: Operation::Find, ..refused.clone() })),
            },
        }
    }

    /// What a get of the current version says to a find.
    pub fn found(&self, properties: SecretProperties, now: Moment) -> Found {
        let valid_for =
            self.current.get(&properties.name).map_or(Duration::ZERO, |c| c.valid_for(self.options.ttl, now));
        Found { current: properties.version.clone(), properties, valid_for }
    }

    /// What the refusal of a get because the secret is disabled says to a find.
    pub fn found_disabled(&self, name: &SecretName) -> Found {
        let listed = self.listing.as_ref().and_then(|listing| listing.said.as_ref().ok()?.get(name));
        let mut properties = listed.cloned().unwrap_or_else(|| SecretProperties::bare(&self.vault_url, name));
        properties.enabled = Some(false);
        Found { properties, current: None, valid_for: Duration::ZERO }
    }

    pub fn list(&self, now: Moment) -> Option<Result<Vec<SecretProperties>, StoreError>> {
        all(&self.listing, self.options.ttl, now)
    }

    pub fn list_deleted(&self, now: Moment) -> Option<Result<Vec<DeletedSecret>, StoreError>> {
        all(&self.deleted, self.options.ttl, now)
    }

    pub fn get_deleted(&self, name: &SecretName, now: Moment) -> Option<Result<DeletedSecret, StoreError>> {
        if let Some((Settling::Deleted(secret), since)) = self.settling.get(name)
            && now.since(*since) < SETTLE_LIMIT
        {
            return Some(Ok(secret.clone()));
        }
        let deleted = self.deleted.as_ref().filter(|fresh| fresh.is_valid(self.options.ttl, now))?;
        Some(deleted.said.as_ref().map_err(Clone::clone).and_then(|items| {
            items.get(name).cloned().ok_or_else(|| not_found(Operation::GetDeleted, name, "deleted secret"))
        }))
    }

    pub fn versions(&self, name: &SecretName, now: Moment) -> Option<Vec<SecretProperties>> {
        let versions = self.versions.get(name).filter(|fresh| fresh.is_valid(self.options.ttl, now))?;
        Some(versions.said.clone())
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

    fn valid_current(&self, name: &SecretName, now: Moment) -> Option<&Fresh<SecretProperties>> {
        self.current.get(name).filter(|current| current.is_valid(self.options.ttl, now))
    }

    fn valid_refusal(&self, name: &SecretName, now: Moment) -> Option<&StoreError> {
        let refused = self.refused.get(name)?;
        let ttl = match refused.said.kind {
            ErrorKind::NotFound => self.options.negative_ttl,
            _ => self.options.ttl,
        };
        refused.is_valid(ttl, now).then_some(&refused.said)
    }

    /// What a valid listing says of a name: outer `None` is "no valid listing", inner `None` "not in it".
    fn listed(&self, name: &SecretName, now: Moment) -> Option<Option<&SecretProperties>> {
        if self.doubted.contains(name) {
            return None;
        }
        valid_items(&self.listing, self.options.ttl, now).map(|items| items.get(name))
    }

    // Epochs: an answer counts only if nothing of ours changed the name since its question left.

    pub fn epoch(&self, name: &SecretName) -> u64 {
        self.epochs.get(name).copied().unwrap_or(0)
    }

    pub fn all_epoch(&self) -> u64 {
        self.epoch
    }

    /// A change of `name` is about to be sent: answers under way no longer count.
    pub fn begin_change(&mut self, name: &SecretName) {
        self.epoch += 1;
        self.epochs.insert(name.clone(), self.epoch);
    }

    // What answers teach.

    pub fn learn_get(
        &mut self,
        name: &SecretName,
        version: Option<&Version>,
        answer: &Result<KeyVaultSecret, StoreError>,
        asked: Moment,
        epoch: u64,
    ) {
        if let Ok(secret) = answer
            && let Some(version) = &secret.properties.version
        {
            self.values.put(version, secret.clone());
        }
        if version.is_some() || self.epoch(name) != epoch {
            return;
        }
        match answer {
            Ok(secret) => self.believe_live(&secret.properties, asked),
            Err(error) => self.believe_refused(name, error, asked),
        }
    }

    fn believe_live(&mut self, properties: &SecretProperties, asked: Moment) {
        let name = &properties.name;
        self.vault_url.clone_from(&properties.vault_url);
        self.refused.remove(name);
        self.doubted.remove(name);
        self.settling.remove(name);
        self.current.insert(name.clone(), Fresh::new(properties.clone(), asked));
        if let Some(items) = items(&mut self.listing) {
            items.remove(name);
            items.insert(name.clone(), properties.clone());
        }
        if let Some(items) = items(&mut self.deleted) {
            items.remove(name);
        }
    }

    fn believe_refused(&mut self, name: &SecretName, error: &StoreError, asked: Moment) {
        match error.kind {
            ErrorKind::NotFound => {
                self.forget_live(name);
                self.doubted.remove(name);
            }
            ErrorKind::Disabled => {
                self.current.remove(name);
                if let Some(item) = items(&mut self.listing).and_then(|items| items.get_mut(name)) {
                    item.enabled = Some(false);
                }
            }
            ErrorKind::Forbidden => {
                self.current.remove(name);
            }
            // It says nothing about the secret.
            _ => return,
        }
        self.refused.insert(name.clone(), Fresh::new(error.clone(), asked));
    }

    fn forget_live(&mut self, name: &SecretName) {
        self.current.remove(name);
        self.versions.remove(name);
        self.values.forget(name);
        if let Some(items) = items(&mut self.listing) {
            items.remove(name);
        }
    }

    /// Gives back the listing as it is to be believed. A refused right is remembered as well.
    pub fn learn_listing(
        &mut self,
        answer: Result<Vec<SecretProperties>, StoreError>,
        asked: Moment,
        epoch: u64,
    ) -> Result<Vec<SecretProperties>, StoreError> {
        let answer = answer.map(|list| {
            let mut new: BTreeMap<_, _> = list.into_iter().map(|item| (item.name.clone(), item)).collect();
            self.overlay_live(&mut new, asked);
            self.keep_changed(&mut new, epoch);
            new
        });
        self.doubted.clear();
        remember(&mut self.listing, answer, asked)
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
        for (name, _) in self.epochs.iter().filter(|(_, at)| **at > epoch) {
            if let Some(current) = self.current.get(name) {
                new.insert(name.clone(), current.said.clone());
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
            self.overlay_deleted(&mut new, asked);
            let changed = self.epochs.iter().filter(|(_, at)| **at > epoch);
            for (name, _) in
                changed.filter(|(name, _)| !matches!(self.settling.get(*name), Some((Settling::Deleted(_), _))))
            {
                new.remove(name);
            }
            new
        });
        remember(&mut self.deleted, answer, asked)
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
        if let Some(version) = &properties.version {
            let secret = KeyVaultSecret { properties: properties.clone(), value: value.clone() };
            self.values.put(version, secret);
        }
        self.believe_live(properties, asked);
        if properties.is_disabled() {
            self.current.remove(name);
        }
    }

    pub fn learn_update(&mut self, name: &SecretName, answer: &Result<SecretProperties, StoreError>) {
        self.begin_change(name);
        self.expire(Some(name));
        if let Ok(properties) = answer
            && let Some(version) = &properties.version
            && let Some(secret) = self.values.get(name, version).cloned()
        {
            self.values.put(version, KeyVaultSecret { properties: properties.clone(), ..secret });
        }
    }

    pub fn learn_delete(&mut self, name: &SecretName, answer: &Result<DeletedSecret, StoreError>, now: Moment) {
        self.begin_change(name);
        let Ok(secret) = answer else { return self.expire(Some(name)) };
        self.forget_live(name);
        self.refused.remove(name);
        if let Some(items) = items(&mut self.deleted) {
            items.insert(name.clone(), secret.clone());
        }
        self.settling.insert(name.clone(), (Settling::Deleted(secret.clone()), now));
    }

    pub fn learn_recover(&mut self, name: &SecretName, answer: &Result<SecretProperties, StoreError>, now: Moment) {
        self.begin_change(name);
        let Ok(properties) = answer else { return self.expire_all_of(name) };
        self.refused.remove(name);
        if let Some(items) = items(&mut self.deleted) {
            items.remove(name);
        }
        if let Some(items) = items(&mut self.listing) {
            items.insert(properties.name.clone(), properties.clone());
        }
        self.settling.insert(name.clone(), (Settling::Live(properties.clone()), now));
    }

    pub fn learn_purge(&mut self, name: &SecretName, answer: &Result<(), StoreError>) {
        self.begin_change(name);
        if answer.is_err() {
            return self.expire_all_of(name);
        }
        self.settling.remove(name);
        if let Some(items) = items(&mut self.deleted) {
            items.remove(name);
        }
    }

    pub fn learn_restore(&mut self, properties: &SecretProperties) {
        self.begin_change(&properties.name);
        self.expire(Some(&properties.name));
        if let Some(items) = items(&mut self.listing) {
            items.insert(properties.name.clone(), properties.clone());
        }
    }

    /// After a change between the two places that failed: neither listing can be relied on for it.
    fn expire_all_of(&mut self, name: &SecretName) {
        self.expire(Some(name));
        if let Some(deleted) = &mut self.deleted {
            deleted.expire();
        }
    }

    pub fn expire(&mut self, name: Option<&SecretName>) {
        let Some(name) = name else {
            self.current.values_mut().for_each(Fresh::expire);
            self.versions.clear();
            self.refused.clear();
            self.listing = None;
            self.deleted = None;
            return;
        };
        if let Some(current) = self.current.get_mut(name) {
            current.expire();
        }
        self.refused.remove(name);
        self.versions.remove(name);
        self.doubted.insert(name.clone());
    }
}
