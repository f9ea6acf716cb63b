//! The cache: a [`SecretStore`] in front of another one.
//!
//! A version's value never changes, so values need no expiry, only room: an LRU bounded in bytes and entries. What
//! ages is the map from a name to its current version, and the listings: each is believed for `ttl` after the
//! request that told it was sent. A [`Refresher`] asks again before that ends for what is in use, and what it hears
//! goes the way of every answer. Where the vault does not answer, the last that is known stands in ([`stale`]), and a
//! vault that hangs is not asked again and again ([`breaker`]). Who walks through the listing finds the next values fetched
//! ([`ahead`]).
//!
//! No lock is held while the store below is asked. A request notes the name's epoch before it leaves, and its answer
//! is kept only if meanwhile no change of ours went out and nothing was expired; nor does a reader wait for a request
//! of an earlier epoch. There is one lock ([`CachedStore::state`]); it is never
//! taken twice.

mod ahead;
mod breaker;
mod flight;
mod fresh;
mod growing;
mod learn;
mod listing;
mod lru;
mod refresh;
mod refresher;
mod stale;
mod state;

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Moment};
use crate::metrics::Metrics;
use crate::pages::all_pages;
use crate::secret::{
    BackupBlob, DeletedSecret, KeyVaultSecret, SecretAttributes, SecretName, SecretProperties, SecretValue, Timestamp,
    Version,
};
use crate::store::{Change, Continuation, ErrorKind, Found, Operation, Page, SecretStore, StoreError, Wait};
use crate::sync::{Mutex, MutexGuard};

pub use refresh::{Costs, Plan, interval, plan};
pub use refresher::{RefreshOptions, Refresher, Watch};

use ahead::Ahead;
use breaker::Breaker;
use flight::Flight;
use growing::Growing;
use state::{Place, State};

/// How long a wait for a deletion or a recovery sleeps between two looks (the pollers of Microsoft's clients: 2 s;
/// shorter here, because the first look often succeeds).
const SETTLE_POLL: Duration = Duration::from_millis(500);
/// How long a reader waits for a vault if the last that is known could stand in: one try of the client.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the cache may keep.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// How long what the vault said is believed.
    pub ttl: Duration,
    /// How long "no such secret" is believed without a listing.
    pub negative_ttl: Duration,
    /// How long after its `ttl` the last that is known stands in for a vault that does not answer; zero: never.
    pub max_stale: Duration,
    /// Room for values, in bytes.
    pub bytes: usize,
    /// Room for values, in entries.
    pub entries: usize,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30),
            negative_ttl: Duration::from_secs(1),
            max_stale: Duration::from_secs(3600),
            bytes: 64 << 20,
            entries: 65_536,
        }
    }
}

/// See the module.
pub struct CachedStore {
    below: Breaker,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    // Each by what is asked, and in which epoch.
    gets: Flight<(SecretName, Option<Version>, u64), KeyVaultSecret>,
    listing: Growing<SecretProperties>,
    deleted: Growing<DeletedSecret>,
    // By which page of which listing.
    listings: Flight<(u64, usize), Option<Vec<SecretProperties>>>,
    deleted_listings: Flight<(u64, usize), Option<Vec<DeletedSecret>>>,
    version_listings: Flight<(SecretName, u64), Vec<SecretProperties>>,
    ahead: OnceLock<Ahead>,
}

impl CachedStore {
    /// A cache in front of `below`, empty.
    pub fn new(below: Arc<dyn SecretStore>, options: CacheOptions, clock: Arc<dyn Clock>) -> Self {
        Self::counting(below, options, clock, Arc::default())
    }

    /// The same, that counts in `metrics`.
    pub fn counting(
        below: Arc<dyn SecretStore>,
        options: CacheOptions,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            below: Breaker::new(below, clock.clone(), metrics.clone()),
            clock,
            metrics: metrics.clone(),
            state: Mutex::new(State::new(options, metrics)),
            gets: Flight::default(),
            listing: Growing::default(),
            deleted: Growing::default(),
            listings: Flight::default(),
            deleted_listings: Flight::default(),
            version_listings: Flight::default(),
            ahead: OnceLock::new(),
        }
    }

    /// What other parties change, as it becomes known, from now on. For one listener.
    pub fn changes(&self) -> Receiver<Change> {
        let (tell, told) = mpsc::channel();
        self.state().listener = Some(tell);
        told
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change to the state is complete before the lock is let go, so a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets `name` from below, one request for all who ask at once, and keeps the answer.
    fn fetch(&self, name: &SecretName, version: Option<&Version>, wait: Wait) -> Result<KeyVaultSecret, StoreError> {
        self.fetch_unless(name, version, wait, || None)
    }

    /// The same for who has just not found it in memory. It may have arrived since: with the request that he would have
    /// waited for.
    fn fetch_missing(
        &self,
        name: &SecretName,
        version: Option<&Version>,
        wait: Wait,
    ) -> Result<KeyVaultSecret, StoreError> {
        self.fetch_unless(name, version, wait, || self.state().get(name, version, self.clock.moment()))
    }

    fn fetch_unless(
        &self,
        name: &SecretName,
        version: Option<&Version>,
        wait: Wait,
        arrived: impl Fn() -> Option<Result<KeyVaultSecret, StoreError>>,
    ) -> Result<KeyVaultSecret, StoreError> {
        let epoch = self.state().epoch(name);
        let key = (name.clone(), version.cloned(), epoch);
        self.gets.run(key, (Operation::Get, Some(name)), wait, &*self.clock, || {
            if let Some(answer) = arrived() {
                return answer;
            }
            let asked = self.clock.moment();
            let answer = self.until_settled(name, Place::Live, wait, || self.below.get(name, version, wait));
            self.state().learn_get(name, version, &answer, asked, epoch);
            answer
        })
    }

    /// Sends a change of `name`, and learns from its answer. Which of several that were under way at once was the last, only
    /// the vault knows: it is asked again.
    fn change<T>(
        &self,
        name: &SecretName,
        place: Place,
        wait: Wait,
        send: impl Fn() -> Result<T, StoreError>,
        learn: impl FnOnce(&mut State, &Result<T, StoreError>),
    ) -> Result<T, StoreError> {
        let begun = self.state().begin_change(name);
        let answer = self.until_settled(name, place, wait, send);
        let mut state = self.state();
        let is_alone = state.is_last_change(name, begun);
        learn(&mut state, &answer);
        if !is_alone {
            state.doubt(name);
        }
        drop(state);
        answer
    }

    /// Waits while a deletion or a recovery is not visible yet (up to minutes).
    fn until_settled<T>(
        &self,
        name: &SecretName,
        place: Place,
        wait: Wait,
        attempt: impl Fn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        loop {
            let (error, settling) = match attempt() {
                Err(error) if matches!(error.kind, ErrorKind::BeingDeleted | ErrorKind::BeingRecovered) => {
                    let kind = error.kind;
                    (error, kind)
                }
                Err(error) if error.kind == ErrorKind::NotFound => {
                    let settling = self.state().settling(name, place, self.clock.moment());
                    match settling {
                        Some(settling) => (error, settling),
                        None => return Err(error),
                    }
                }
                answer => return answer,
            };
            // A look without the time to be answered would turn what is known (busy) into "time is up".
            if wait.remaining(&*self.clock) <= 2 * SETTLE_POLL {
                return Err(StoreError { kind: settling, ..error });
            }
            self.clock.sleep(SETTLE_POLL);
        }
    }

    /// Who lists looks at each name that he is given, long before the listing is whole.
    fn find_on_its_way(&self, name: &SecretName) -> Option<Found> {
        let (item, asked, epoch) = self.listing.item(name)?;
        self.state().found_listed(item, asked, epoch, self.clock.moment())
    }

    /// A find that memory cannot answer: by a get, so that the value comes along.
    fn look_up(&self, name: &SecretName, wait: Wait) -> Result<Found, StoreError> {
        if let Some(found) = self.look_up_recovering(name, wait) {
            return Ok(found);
        }
        let epoch = self.state().epoch(name);
        match self.get(name, None, wait) {
            Ok(secret) => Ok(self.state().found(secret.properties, self.clock.moment())),
            Err(error) if error.kind == ErrorKind::Disabled => {
                // Without the right to list, that it is there is all that can be known.
                let versions = self.list_versions(name, None, wait).map_or_else(|_| Vec::new(), |page| page.items);
                let versions = self.current_of_a_tie(name, &versions, wait).map_or(versions, |current| vec![current]);
                let properties = self.state().learn_disabled(name, &versions, epoch);
                Ok(Found { properties, current: None, valid_for: Duration::ZERO })
            }
            Err(error) if error.kind == ErrorKind::Forbidden => self.look_up_listed(name, error, wait),
            Err(error) => Err(StoreError { operation: Operation::Find, ..error }),
        }
    }

    /// As we recovered it, as long as the vault does not show it. Nobody waits for that: it is there.
    fn look_up_recovering(&self, name: &SecretName, wait: Wait) -> Option<Found> {
        let asked = self.clock.moment();
        let (found, _) = self.state().recovering(name, asked)?;
        let epoch = self.state().epoch(name);
        let answer = self.below.get(name, None, wait.no_longer_than(&*self.clock, PATIENCE));
        let is_shown = |error: &StoreError| {
            !matches!(error.kind, ErrorKind::NotFound | ErrorKind::BeingRecovered) && !stale::is_silence(error)
        };
        if answer.as_ref().err().is_none_or(is_shown) {
            self.state().learn_get(name, None, &answer, asked, epoch);
            return None;
        }
        Some(found)
    }

    /// Of disabled versions that were made in one second, the listing of secrets alone tells which is current.
    fn current_of_a_tie(
        &self,
        name: &SecretName,
        versions: &[SecretProperties],
        wait: Wait,
    ) -> Option<SecretProperties> {
        let disabled = || versions.iter().filter(|version| version.is_disabled());
        let newest = disabled().map(|version| version.created_on).max()?;
        if disabled().filter(|version| version.created_on == newest).count() < 2 {
            return None;
        }
        let listed = self.fetch_listing(wait).ok()?;
        listed.into_iter().find(|item| item.name == *name && item.is_disabled())
    }

    /// Who may not get may still list.
    fn look_up_listed(&self, name: &SecretName, refused: StoreError, wait: Wait) -> Result<Found, StoreError> {
        match self.fetch_listing(wait) {
            Ok(listed) => {
                let item = listed.into_iter().find(|item| item.name == *name);
                let properties = item.ok_or_else(|| state::not_found(Operation::Find, name, "secret"))?;
                Ok(Found { properties, current: None, valid_for: Duration::ZERO })
            }
            Err(error) if error.kind == ErrorKind::Forbidden => {
                Err(StoreError { operation: Operation::Find, ..refused })
            }
            Err(error) => Err(StoreError { operation: Operation::Find, name: Some(name.clone()), ..error }),
        }
    }

    fn fetch_versions(&self, name: &SecretName, wait: Wait) -> Result<Vec<SecretProperties>, StoreError> {
        let epoch = self.state().epoch(name);
        let key = (name.clone(), epoch);
        self.version_listings.run(key, (Operation::ListVersions, Some(name)), wait, &*self.clock, || {
            let asked = self.clock.moment();
            let items = match self.until_settled(name, Place::Live, wait, || self.some_versions(name, wait)) {
                Err(error) if error.kind == ErrorKind::NotFound => Vec::new(),
                answer => answer?,
            };
            self.state().learn_versions(name, items.clone(), asked, epoch);
            Ok(items)
        })
    }

    /// A listing says by having none that there is no such secret.
    fn some_versions(&self, name: &SecretName, wait: Wait) -> Result<Vec<SecretProperties>, StoreError> {
        let items = all_pages(Operation::ListVersions, |from| self.below.list_versions(name, from, wait))?;
        if items.is_empty() { Err(state::not_found(Operation::ListVersions, name, "secret")) } else { Ok(items) }
    }

    /// A listing leaves out a deleted secret's version. Whoever may only list has what is listed.
    fn complete(&self, listed: DeletedSecret, wait: Wait) -> Result<DeletedSecret, StoreError> {
        match self.below.get_deleted(&listed.properties.name, wait) {
            Ok(whole) => {
                self.state().learn_details(&whole);
                Ok(whole)
            }
            Err(error) if matches!(error.kind, ErrorKind::Forbidden | ErrorKind::Disabled) => Ok(listed),
            Err(error) => Err(error),
        }
    }

    /// What memory knows, else what `fetch` brings; where the vault does not answer, the `last` that is known.
    fn remembered<T>(
        &self,
        operation: Operation,
        wait: Wait,
        known: Option<Result<T, StoreError>>,
        last: impl Fn(&mut State, Moment) -> Option<T>,
        fetch: impl FnOnce(Wait) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match (known, wait) {
            (Some(answer), Wait::No | Wait::Until(_)) => {
                self.metrics.hits.of(operation).add();
                answer
            }
            // Whoever cannot wait comes back with time to.
            (None, Wait::No) => Err(StoreError::not_in_memory(operation)),
            (None, Wait::Until(_)) | (_, Wait::Anew(_)) => {
                self.metrics.misses.of(operation).add();
                self.bridged(operation, wait, last, fetch)
            }
        }
    }

    fn bridged<T>(
        &self,
        operation: Operation,
        wait: Wait,
        last: impl Fn(&mut State, Moment) -> Option<T>,
        fetch: impl FnOnce(Wait) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if matches!(wait, Wait::Anew(_)) {
            return fetch(wait);
        }
        let has_last = last(&mut self.state(), self.clock.moment()).is_some();
        let wait = if has_last { wait.no_longer_than(&*self.clock, PATIENCE) } else { wait };
        match fetch(wait) {
            Err(error) if stale::is_silence(&error) => {
                let last = last(&mut self.state(), self.clock.moment()).ok_or(error)?;
                self.metrics.stale.of(operation).add();
                Ok(last)
            }
            answer => answer,
        }
    }

    /// Somebody asks for `name`.
    fn note_use(&self, name: &SecretName) {
        let now = self.clock.moment();
        self.state().used.insert(name.clone(), now);
    }
}

/// A change that may not wait is not begun.
fn may_change(operation: Operation, wait: Wait) -> Result<(), StoreError> {
    if wait == Wait::No { Err(StoreError::not_in_memory(operation)) } else { Ok(()) }
}

fn whole<T>(items: Vec<T>) -> Page<T> {
    Page { items, next: None }
}

impl CachedStore {
    /// From now on the values that a reader of the listing comes to next are fetched ahead, `at_once` requests at a time
    /// with his own, each within `limit`. Fewer than two leave none for that.
    pub fn fetch_ahead(self: &Arc<Self>, at_once: usize, limit: Duration) {
        if at_once > 1 {
            // Asked for twice, the first holds.
            let _ = self.ahead.set(Ahead::new(Arc::downgrade(self), at_once, limit));
        }
    }

    fn is_in_memory(&self, name: &SecretName) -> bool {
        self.state().get(name, None, self.clock.moment()).is_some()
    }

    /// Fetches one value ahead; `false` if none is wanted.
    fn fetch_next(&self) -> bool {
        self.ahead.get().is_some_and(|ahead| ahead.fetch_next(self))
    }

    fn get_known(
        &self,
        name: &SecretName,
        version: Option<&Version>,
        wait: Wait,
    ) -> Result<KeyVaultSecret, StoreError> {
        self.note_use(name);
        if matches!(wait, Wait::Anew(_)) {
            // Nor will an answer under way do.
            self.state().expire(Some(name));
        }
        let known = self.state().get(name, version, self.clock.moment());
        let last = |state: &mut State, now| state.last_secret(name, version, now);
        self.remembered(Operation::Get, wait, known, last, |wait| self.fetch_missing(name, version, wait))
    }
}

impl SecretStore for CachedStore {
    fn get(&self, name: &SecretName, version: Option<&Version>, wait: Wait) -> Result<KeyVaultSecret, StoreError> {
        let Some(ahead) = self.ahead.get() else { return self.get_known(name, version, wait) };
        let is_joined = version.is_none() && matches!(wait, Wait::Until(_)) && ahead.is_missed(name);
        match self.get_known(name, version, wait) {
            // It was asked for before he came. His own question is another one.
            Err(error) if is_joined && error.is_no_answer() && !wait.remaining(&*self.clock).is_zero() => {
                self.get_known(name, version, wait)
            }
            Ok(secret) => {
                if wait == Wait::No {
                    ahead.is_hit(name);
                }
                Ok(secret)
            }
            Err(error) => Err(error),
        }
    }

    fn find(&self, name: &SecretName, wait: Wait) -> Result<Found, StoreError> {
        self.note_use(name);
        let known = self.state().find(name, self.clock.moment());
        let known = known.or_else(|| self.find_on_its_way(name).map(Ok));
        let last = |state: &mut State, now| state.last_found(name, now);
        self.remembered(Operation::Find, wait, known, last, |wait| self.look_up(name, wait))
    }

    fn set(
        &self,
        name: &SecretName,
        value: &SecretValue,
        attributes: &SecretAttributes,
        wait: Wait,
    ) -> Result<SecretProperties, StoreError> {
        may_change(Operation::Set, wait)?;
        let asked = self.clock.moment();
        let send = || self.below.set(name, value, attributes, wait);
        self.change(name, Place::Live, wait, send, |state, answer| state.learn_set(name, value, answer, asked))
    }

    fn update(
        &self,
        name: &SecretName,
        version: Option<&Version>,
        changes: &SecretAttributes,
        wait: Wait,
    ) -> Result<SecretProperties, StoreError> {
        may_change(Operation::Update, wait)?;
        let asked = self.clock.moment();
        let send = || self.below.update(name, version, changes, wait);
        self.change(name, Place::Live, wait, send, |state, answer| state.learn_update(name, version, answer, asked))
    }

    fn delete(&self, name: &SecretName, wait: Wait) -> Result<DeletedSecret, StoreError> {
        may_change(Operation::Delete, wait)?;
        let learn = |state: &mut State, answer: &_| state.learn_delete(name, answer, self.clock.moment());
        self.change(name, Place::Live, wait, || self.below.delete(name, wait), learn)
    }

    fn get_deleted(&self, name: &SecretName, wait: Wait) -> Result<DeletedSecret, StoreError> {
        let known = self.state().get_deleted(name, self.clock.moment());
        let is_it = |secret: &DeletedSecret| secret.properties.name == *name;
        let last = |state: &mut State, now| state.last_deleted(now)?.into_iter().find(is_it);
        let answer = self.remembered(Operation::GetDeleted, wait, known, last, |wait| {
            let deleted = self.fetch_deleted(wait)?.into_iter().find(is_it);
            deleted.ok_or_else(|| state::not_found(Operation::GetDeleted, name, "deleted secret"))
        });
        match answer {
            // Without the right to list, the secret itself may still be asked for.
            Err(error) if error.kind == ErrorKind::Forbidden => match wait {
                Wait::No => Err(StoreError::not_in_memory(Operation::GetDeleted)),
                Wait::Until(_) | Wait::Anew(_) => self.below.get_deleted(name, wait),
            },
            Ok(listed) if listed.properties.version.is_none() && wait != Wait::No => self.complete(listed, wait),
            answer => answer,
        }
    }

    fn recover(&self, name: &SecretName, wait: Wait) -> Result<SecretProperties, StoreError> {
        may_change(Operation::Recover, wait)?;
        let learn = |state: &mut State, answer: &_| state.learn_recover(name, answer, self.clock.moment());
        self.change(name, Place::Deleted, wait, || self.below.recover(name, wait), learn)
    }

    fn purge(&self, name: &SecretName, wait: Wait) -> Result<(), StoreError> {
        may_change(Operation::Purge, wait)?;
        let learn = |state: &mut State, answer: &_| state.learn_purge(name, answer);
        self.change(name, Place::Deleted, wait, || self.below.purge(name, wait), learn)
    }

    fn backup(&self, name: &SecretName, wait: Wait) -> Result<BackupBlob, StoreError> {
        match wait {
            Wait::No => Err(StoreError::not_in_memory(Operation::Backup)),
            Wait::Until(_) | Wait::Anew(_) => {
                self.until_settled(name, Place::Live, wait, || self.below.backup(name, wait))
            }
        }
    }

    fn restore(&self, blob: &BackupBlob, wait: Wait) -> Result<SecretProperties, StoreError> {
        may_change(Operation::Restore, wait)?;
        let asked = self.clock.moment();
        let answer = self.below.restore(blob, wait);
        self.state().learn_restore(&answer, asked);
        answer
    }

    fn list(&self, from: Option<&Continuation>, wait: Wait) -> Result<Page<SecretProperties>, StoreError> {
        self.page_of_secrets(from, wait)
    }

    fn list_versions(
        &self,
        name: &SecretName,
        from: Option<&Continuation>,
        wait: Wait,
    ) -> Result<Page<SecretProperties>, StoreError> {
        if from.is_some() {
            return self.below.list_versions(name, from, wait);
        }
        self.note_use(name);
        if matches!(wait, Wait::Anew(_)) {
            self.state().expire(Some(name));
        }
        let known = self.state().versions(name, self.clock.moment()).map(Ok);
        let last = |state: &mut State, now| state.last_versions(name, now);
        let fetch = |wait| self.fetch_versions(name, wait);
        self.remembered(Operation::ListVersions, wait, known, last, fetch).map(whole)
    }

    fn list_deleted(&self, from: Option<&Continuation>, wait: Wait) -> Result<Page<DeletedSecret>, StoreError> {
        self.page_of_deleted(from, wait)
    }

    fn expire(&self, name: Option<&SecretName>) {
        if name.is_none() {
            self.metrics.listing.forget();
        }
        self.state().expire(name);
        if name.is_none() {
            self.listing.restart();
            self.deleted.restart();
        }
        self.below.expire(name);
    }

    fn time_at(&self, moment: Moment) -> Option<Timestamp> {
        self.below.time_at(moment)
    }
}
