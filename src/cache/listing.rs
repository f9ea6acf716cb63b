//! The two listings of the vault: given page by page while they are on their way, and whole once they are complete.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::{Moment, unix_seconds};
use crate::secret::{DeletedSecret, SecretName, SecretProperties};
use crate::store::{Continuation, ErrorKind, Operation, Page, SecretStore as _, StoreError, Wait};

use super::growing::{self, Asked, Growing, Named};
use super::state::State;
use super::{CachedStore, whole};

/// How long a listing may stand still under a `ttl` that is shorter: it must come to an end on a busy machine too.
const PAUSE: Duration = Duration::from_secs(5);

impl Named for SecretProperties {
    fn name(&self) -> &SecretName {
        &self.name
    }
}

impl Named for DeletedSecret {
    fn name(&self) -> &SecretName {
        &self.properties.name
    }
}

impl CachedStore {
    /// A page of the secrets.
    pub(super) fn page_of_secrets(
        &self,
        from: Option<&Continuation>,
        wait: Wait,
    ) -> Result<Page<SecretProperties>, StoreError> {
        let after = parse_place(Operation::List, from)?;
        let after = after.as_ref();
        if after.is_none() {
            self.begin_anew(&self.listing, wait);
            if matches!(wait, Wait::Anew(_)) {
                self.expire(None);
            }
        }
        loop {
            let known = self.state().list(self.clock.moment());
            if let Some(known) = known {
                self.metrics.hits.of(Operation::List).add();
                return Ok(whole_behind(known?, after));
            }
            if let Some((items, asked, epoch)) = self.listing.beyond(after) {
                return Ok(partial(items, after, |items| self.state().adjust_listing(items, asked, epoch)));
            }
            if wait == Wait::No {
                return Err(StoreError::not_in_memory(Operation::List));
            }
            self.metrics.misses.of(Operation::List).add();
            let last = |state: &mut State, now| state.last_listing(now).map(Some);
            if let Some(items) = self.bridged(Operation::List, wait, last, |wait| self.grow_listing(wait))? {
                return Ok(whole_behind(items, after));
            }
        }
    }

    /// A page of the deleted secrets.
    pub(super) fn page_of_deleted(
        &self,
        from: Option<&Continuation>,
        wait: Wait,
    ) -> Result<Page<DeletedSecret>, StoreError> {
        let after = parse_place(Operation::ListDeleted, from)?;
        let after = after.as_ref();
        if after.is_none() {
            self.begin_anew(&self.deleted, wait);
            if matches!(wait, Wait::Anew(_)) {
                self.expire(None);
            }
        }
        loop {
            let known = self.state().list_deleted(self.clock.moment());
            if let Some(known) = known {
                self.metrics.hits.of(Operation::ListDeleted).add();
                return Ok(whole_behind(known?, after));
            }
            if let Some((items, asked, epoch)) = self.deleted.beyond(after) {
                return Ok(partial(items, after, |items| self.state().adjust_deleted(items, asked, epoch)));
            }
            if wait == Wait::No {
                return Err(StoreError::not_in_memory(Operation::ListDeleted));
            }
            self.metrics.misses.of(Operation::ListDeleted).add();
            let last = |state: &mut State, now| state.last_deleted(now).map(Some);
            if let Some(items) = self.bridged(Operation::ListDeleted, wait, last, |wait| self.grow_deleted(wait))? {
                return Ok(whole_behind(items, after));
            }
        }
    }

    /// Asks for the listing of secrets, as long as it has no more than so many pages; `false` if it has.
    pub(super) fn refresh_listing(&self, most: usize, wait: impl Fn() -> Wait) -> Result<bool, StoreError> {
        self.drop_late(&self.listing);
        while self.listing.pages() < most {
            if self.grow_listing(wait())?.is_some() {
                return Ok(true);
            }
        }
        self.state().pages = Some(most + 1);
        Ok(false)
    }

    /// The listing of secrets, whole.
    pub(super) fn fetch_listing(&self, wait: Wait) -> Result<Vec<SecretProperties>, StoreError> {
        self.begin_anew(&self.listing, wait);
        loop {
            if let Some(whole) = self.grow_listing(wait)? {
                return Ok(whole);
            }
        }
    }

    /// The listing of deleted secrets, whole.
    pub(super) fn fetch_deleted(&self, wait: Wait) -> Result<Vec<DeletedSecret>, StoreError> {
        self.begin_anew(&self.deleted, wait);
        loop {
            if let Some(whole) = self.grow_deleted(wait)? {
                return Ok(whole);
            }
        }
    }

    /// One more page; the whole listing if it was the last one.
    fn grow_listing(&self, wait: Wait) -> Result<Option<Vec<SecretProperties>>, StoreError> {
        self.drop_late(&self.listing);
        let (serial, pages, next) = self.listing.position();
        self.listings.run((serial, pages), (Operation::List, None), wait, &*self.clock, || {
            let (asked, epoch) = (self.clock.moment(), self.state().all_epoch());
            let dated = unix_seconds(&*self.clock);
            let page = self.below.list(next.as_ref(), wait);
            if page.as_ref().is_ok_and(|page| page.next.is_none()) {
                self.metrics.listing.set(dated);
                self.state().pages = Some(self.listing.pages() + 1);
            }
            let page_asked = Asked { at: asked, epoch, came: self.clock.moment() };
            grown(Operation::List, &self.listing, (serial, pages), page, page_asked, |answer, asked, epoch| {
                let back = self.state().back_again(answer.as_deref().unwrap_or_default());
                for name in back {
                    // A get is not late, as a listing may be. Where it fails, our deletion is still believed.
                    let _ = self.fetch(&name, None, wait);
                }
                let date = self.below.time_at(asked);
                self.state().learn_listing(answer, asked, epoch, date)
            })
        })
    }

    /// As [`grow_listing`](Self::grow_listing), for the deleted ones.
    fn grow_deleted(&self, wait: Wait) -> Result<Option<Vec<DeletedSecret>>, StoreError> {
        self.drop_late(&self.deleted);
        let (serial, pages, next) = self.deleted.position();
        self.deleted_listings.run((serial, pages), (Operation::ListDeleted, None), wait, &*self.clock, || {
            let (asked, epoch) = (self.clock.moment(), self.state().all_epoch());
            let page = self.below.list_deleted(next.as_ref(), wait);
            let page_asked = Asked { at: asked, epoch, came: self.clock.moment() };
            grown(Operation::ListDeleted, &self.deleted, (serial, pages), page, page_asked, |answer, asked, epoch| {
                self.state().learn_deleted(answer, asked, epoch)
            })
        })
    }

    /// Lets a listing that stopped half-way begin anew once it is too old to go on from. Places are names, so whoever is in
    /// the middle of it goes on from there.
    fn drop_late<T: Named>(&self, growing: &Growing<T>) {
        let most = self.state().ttl().max(PAUSE);
        if growing.idle(self.clock.moment()).is_some_and(|idle| idle >= most) {
            growing.restart();
        }
    }

    /// The same, and for who asks anew whatever there is of it.
    fn begin_anew<T: Named>(&self, growing: &Growing<T>, wait: Wait) {
        match wait {
            Wait::Anew(_) => growing.restart(),
            Wait::No | Wait::Until(_) => self.drop_late(growing),
        }
    }
}

/// Adds a page to a listing on its way, and teaches the cache the whole one.
fn grown<T: Named>(
    operation: Operation,
    growing: &Growing<T>,
    position: (u64, usize),
    page: Result<Page<T>, StoreError>,
    asked: Asked,
    learn: impl FnOnce(Result<Vec<T>, StoreError>, Moment, u64) -> Result<Vec<T>, StoreError>,
) -> Result<Option<Vec<T>>, StoreError> {
    match page {
        Ok(page) => match growing.add(operation, position, page, asked)? {
            Some(whole) => learn(Ok(whole.items), whole.asked, whole.epoch).map(Some),
            None => Ok(None),
        },
        // It can go on from here.
        Err(error) if error.is_no_answer() => Err(error),
        Err(error) => {
            growing.restart();
            learn(Err(error), asked.at, asked.epoch).map(Some)
        }
    }
}

/// The page of a listing on its way: `items` behind `after`, as `adjust`ed to what we know better.
fn partial<T: Named>(
    items: Vec<T>,
    after: Option<&SecretName>,
    adjust: impl FnOnce(&mut BTreeMap<SecretName, T>),
) -> Page<T> {
    let last = items.last().map(|item| item.name().clone());
    let mut items: BTreeMap<_, _> = items.into_iter().map(|item| (item.name().clone(), item)).collect();
    adjust(&mut items);
    // What lies beyond comes with a later page.
    items.retain(|name, _| after.is_none_or(|after| name > after) && last.as_ref().is_none_or(|last| name <= last));
    Page { items: items.into_values().collect(), next: last.as_ref().map(growing::place) }
}

fn whole_behind<T: Named>(items: Vec<T>, after: Option<&SecretName>) -> Page<T> {
    let is_behind = |item: &T| after.is_none_or(|after| item.name() > after);
    whole(items.into_iter().filter(is_behind).collect())
}

/// Reads a place in a listing.
fn parse_place(operation: Operation, from: Option<&Continuation>) -> Result<Option<SecretName>, StoreError> {
    let parse = |place: &Continuation| {
        let invalid = |_| StoreError::local(operation, None, ErrorKind::Invalid, "this is no place in a listing");
        SecretName::parse(&place.0).map_err(invalid)
    };
    from.map(parse).transpose()
}
