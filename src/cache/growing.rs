//! A listing on its way: the vault gives it page by page, one after another, and a vault of ten thousand secrets has
//! four hundred pages. Whoever wants more of it than there is fetches the next page; what is there is for everybody.
//!
//! A place in it is the name it stands behind, so it stays good when the listing is complete or begins anew.

use std::sync::PoisonError;
use std::time::Duration;

use crate::clock::Moment;
use crate::pages::{Followed, Weighed};
use crate::secret::SecretName;
use crate::store::{Continuation, Operation, Page, StoreError};
use crate::sync::{Mutex, MutexGuard};

/// What is listed under a name.
pub trait Named: Clone + Weighed {
    /// The name.
    fn name(&self) -> &SecretName;
}

/// When a page was asked for, in which of the cache's epochs, and when it came.
#[derive(Clone, Copy, Default)]
pub struct Asked {
    pub at: Moment,
    pub epoch: u64,
    pub came: Moment,
}

/// A listing on its way, or none.
pub struct Growing<T>(Mutex<Progress<T>>);

/// How far it is.
#[derive(Clone)]
pub struct Progress<T> {
    /// Another one for each listing.
    pub serial: u64,
    /// What the vault gave, by name.
    pub items: Vec<T>,
    /// On how many pages.
    pub pages: usize,
    /// Where it goes on; `None` before the first page.
    pub next: Option<Continuation>,
    /// So that it ends.
    followed: Followed,
    /// When the last page was asked for, less the pauses before: a listing is as old as its first page, but for the time
    /// that the vault took ("`ttl` plus the time one refresh takes").
    pub asked: Moment,
    /// When the last page came.
    came: Moment,
    /// For how long altogether nobody asked for the next page.
    idle: Duration,
    /// The cache's epoch when the first page was asked for.
    pub epoch: u64,
}

impl<T> Default for Growing<T> {
    fn default() -> Self {
        Self(Mutex::new(Progress {
            serial: 0,
            items: Vec::new(),
            pages: 0,
            next: None,
            followed: Followed::default(),
            asked: Moment::default(),
            came: Moment::default(),
            idle: Duration::ZERO,
            epoch: 0,
        }))
    }
}

impl<T: Named> Growing<T> {
    fn lock(&self) -> MutexGuard<'_, Progress<T>> {
        // A page is added whole or not at all.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which page comes next: of which listing, after how many others, and where.
    pub fn position(&self) -> (u64, usize, Option<Continuation>) {
        let progress = self.lock();
        (progress.serial, progress.pages, progress.next.clone())
    }

    /// How many pages there are.
    pub fn pages(&self) -> usize {
        self.lock().pages
    }

    /// The items behind `after`, with the moment and the epoch of the listing; `None` if there are none yet.
    pub fn beyond(&self, after: Option<&SecretName>) -> Option<(Vec<T>, Moment, u64)> {
        let progress = self.lock();
        let start = after.map_or(0, |after| progress.items.partition_point(|item| item.name() <= after));
        let items = progress.items[start..].to_vec();
        (!items.is_empty()).then_some((items, progress.asked, progress.epoch))
    }

    /// What is listed under `name` so far, with the moment and the epoch of the listing.
    pub fn item(&self, name: &SecretName) -> Option<(T, Moment, u64)> {
        let progress = self.lock();
        let at = progress.items.binary_search_by(|item| item.name().cmp(name)).ok()?;
        Some((progress.items[at].clone(), progress.asked, progress.epoch))
    }

    /// For how long nobody has asked for more, altogether; `None` if there is no page.
    pub fn idle(&self, now: Moment) -> Option<Duration> {
        let progress = self.lock();
        progress.next.is_some().then(|| progress.idle.saturating_add(now.since(progress.came)))
    }

    /// Adds the page that was asked for at `position`, and came `now`. Gives the whole listing back if it was the last one.
    ///
    /// # Errors
    /// If the listing has no end; then it begins anew.
    pub fn add(
        &self,
        operation: Operation,
        position: (u64, usize),
        page: Page<T>,
        Asked { at, epoch, came }: Asked,
    ) -> Result<Option<Progress<T>>, StoreError> {
        let mut progress = self.lock();
        if (progress.serial, progress.pages) != position {
            // It began anew meanwhile, or somebody else added it.
            return Ok(None);
        }
        if progress.next.is_none() {
            progress.epoch = epoch;
        } else {
            progress.idle = progress.idle.saturating_add(at.since(progress.came));
        }
        progress.asked = at.before(progress.idle);
        progress.came = came;
        let added = progress.add(operation, page);
        let is_whole = progress.next.is_none();
        match added {
            Err(error) => {
                restart(&mut progress);
                Err(error)
            }
            Ok(()) if is_whole => Ok(Some(restart(&mut progress))),
            Ok(()) => Ok(None),
        }
    }

    /// What there is of it is not to be relied on.
    pub fn restart(&self) {
        restart(&mut self.lock());
    }
}

impl<T: Named> Progress<T> {
    /// The service gives names in their order. A place in the listing is a name, so whoever does not is put right.
    fn add(&mut self, operation: Operation, page: Page<T>) -> Result<(), StoreError> {
        self.followed.keep(operation, &page.items)?;
        let last = self.items.len().saturating_sub(1);
        self.items.extend(page.items);
        if !self.items[last..].is_sorted_by(|a, b| a.name() < b.name()) {
            self.items.sort_by(|a, b| a.name().cmp(b.name()));
            self.items.dedup_by(|a, b| a.name() == b.name());
        }
        self.pages += 1;
        self.next = page.next;
        self.next.as_ref().map_or(Ok(()), |next| self.followed.follow(operation, next))
    }
}

/// Begins anew. Gives back what there was.
fn restart<T>(progress: &mut Progress<T>) -> Progress<T> {
    let fresh = Progress {
        serial: progress.serial + 1,
        items: Vec::new(),
        pages: 0,
        next: None,
        followed: Followed::default(),
        asked: progress.asked,
        came: progress.came,
        idle: Duration::ZERO,
        epoch: progress.epoch,
    };
    std::mem::replace(progress, fresh)
}

/// The place behind a name.
pub fn place(name: &SecretName) -> Continuation {
    Continuation(name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretProperties;

    impl Growing<SecretProperties> {
        fn page(&self, names: &[&str], more: bool) -> bool {
            let (serial, pages, _) = self.position();
            let item = |text: &&str| SecretProperties::bare("https://v", &SecretName::parse(text).expect("legal"));
            let next = more.then(|| Continuation(format!("behind {}", names.join(" "))));
            let page = Page { items: names.iter().map(item).collect(), next };
            self.add(Operation::List, (serial, pages), page, Asked::default()).expect("an end").is_some()
        }

        fn names(&self, after: Option<&str>) -> Vec<String> {
            let after = after.map(|text| SecretName::parse(text).expect("legal"));
            let items = self.beyond(after.as_ref()).map_or_else(Vec::new, |(items, ..)| items);
            items.iter().map(|item| item.name.to_string()).collect()
        }
    }

    #[test]
    fn it_grows_page_by_page_and_empties_when_it_is_whole() {
        let growing = Growing::default();
        assert!(growing.names(None).is_empty());
        assert!(!growing.page(&["a", "b"], true));
        assert_eq!(growing.names(None), ["a", "b"]);
        assert_eq!(growing.names(Some("A")), ["b"]);
        assert!(growing.names(Some("b")).is_empty());
        assert!(!growing.page(&[], true), "an empty page is no end");
        assert!(growing.page(&["c"], false));
        assert!(growing.names(None).is_empty());
    }

    #[test]
    fn a_page_of_a_listing_that_began_anew_is_dropped() {
        let growing: Growing<SecretProperties> = Growing::default();
        growing.page(&["a"], true);
        let (serial, pages, _) = growing.position();
        growing.restart();
        let page = Page { items: Vec::new(), next: None };
        let added = growing.add(Operation::List, (serial, pages), page, Asked::default());
        assert!(added.expect("an end").is_none());
        assert_eq!(growing.idle(Moment::default()), None);
    }

    #[test]
    fn a_page_that_was_added_is_not_added_again() {
        let growing: Growing<SecretProperties> = Growing::default();
        let (serial, pages, _) = growing.position();
        growing.page(&[], true);
        let page = Page { items: Vec::new(), next: Some(Continuation("more".into())) };
        let added = growing.add(Operation::List, (serial, pages), page, Asked::default());
        assert!(added.expect("not taken for a circle").is_none(), "the second of two who asked for it at once");
        assert_eq!(growing.pages(), 1);
    }

    #[test]
    fn names_in_no_order_are_put_in_theirs() {
        let growing = Growing::default();
        assert!(!growing.page(&["b", "z", "a", "B"], true));
        assert_eq!(growing.names(None), ["a", "b", "z"]);
        assert_eq!(growing.names(Some("a")), ["b", "z"]);
    }
}
