//! A listing on its way: the vault gives it page by page, one after another, and a vault of ten thousand secrets has
//! four hundred pages. Whoever wants more of it than there is fetches the next page; what is there is for everybody.
//!
//! A place in it is the name it stands behind, so it stays good when the listing is complete or begins anew.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Moment;
use crate::secret::SecretName;
use crate::store::{Continuation, Page};

/// What is listed under a name.
pub trait Named: Clone {
    /// The name.
    fn name(&self) -> &SecretName;
}

/// A listing on its way, or none.
pub struct Growing<T>(Mutex<Progress<T>>);

/// How far it is.
#[derive(Clone)]
pub struct Progress<T> {
    /// Another one for each listing.
    pub serial: u64,
    /// What the vault gave, as it gave it.
    pub items: Vec<T>,
    /// On how many pages.
    pub pages: usize,
    /// Where it goes on; `None` before the first page.
    pub next: Option<Continuation>,
    /// When the last page was asked for: a listing is as old as its youngest page ("`ttl` plus the time one refresh
    /// takes").
    pub asked: Moment,
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
            asked: Moment::default(),
            epoch: 0,
        }))
    }
}

impl<T: Named> Growing<T> {
    fn lock(&self) -> MutexGuard<'_, Progress<T>> {
        // A page is added whole or not at all.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which page comes next: of which listing, after how many items, and where.
    pub fn position(&self) -> (u64, usize, Option<Continuation>) {
        let progress = self.lock();
        (progress.serial, progress.items.len(), progress.next.clone())
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

    /// When the last page was asked for; `None` if there is no page.
    pub fn asked(&self) -> Option<Moment> {
        let progress = self.lock();
        progress.next.is_some().then_some(progress.asked)
    }

    /// Adds the page that was asked for at `position`. Gives the whole listing back if it was the last one.
    pub fn add(&self, (serial, length): (u64, usize), page: Page<T>, asked: Moment, epoch: u64) -> Option<Progress<T>> {
        let mut progress = self.lock();
        if (progress.serial, progress.items.len()) != (serial, length) {
            // It began anew meanwhile.
            return None;
        }
        if progress.next.is_none() {
            progress.epoch = epoch;
        }
        progress.asked = asked;
        progress.items.extend(page.items);
        progress.pages += 1;
        progress.next = page.next;
        match progress.next {
            Some(_) => None,
            None => {
                let whole = progress.clone();
                restart(&mut progress);
                Some(whole)
            }
        }
    }

    /// What there is of it is not to be relied on.
    pub fn restart(&self) {
        restart(&mut self.lock());
    }
}

fn restart<T>(progress: &mut Progress<T>) {
    progress.serial += 1;
    progress.items.clear();
    progress.pages = 0;
    progress.next = None;
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
            let (serial, length, _) = self.position();
            let item = |text: &&str| SecretProperties::bare("https://v", &SecretName::parse(text).expect("legal"));
            let next = more.then(|| Continuation("more".into()));
            let page = Page { items: names.iter().map(item).collect(), next };
            self.add((serial, length), page, Moment::default(), 7).is_some()
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
        let (serial, length, _) = growing.position();
        growing.restart();
        let page = Page { items: Vec::new(), next: None };
        assert!(growing.add((serial, length), page, Moment::default(), 0).is_none());
        assert_eq!(growing.asked(), None);
    }
}
