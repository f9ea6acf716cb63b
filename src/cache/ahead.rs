//! Values fetched before they are asked for: whoever reads the secrets in the order of their listing (`cat`, `grep -r`,
//! `ls -l`, `tar`) is going to read the next ones too. Who reads one or two causes no request but his own.
//!
//! [`Walks`] decides, and asks nobody. [`Ahead`] has the threads that fetch, through the cache as any reader does: what is
//! being fetched is waited for, not asked for twice. What they hear of failures is theirs alone.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use crate::clock::Moment;
use crate::secret::SecretName;
use crate::store::{SecretStore, Wait};
use crate::sync::{Mutex, MutexGuard};

use super::CachedStore;

/// So many steps in the listing's order make a walk: of three neighbours read one after another, the next ones are fetched.
const STEPS: u32 = 2;
/// A step is at most so long. Shells sort names in another way than vaults do, and some names are passed over.
const REACH: usize = 8;
/// So many readers are followed at a time.
const MAX_READERS: usize = 8;
/// The order of names is looked up again after this, if somebody walks.
const ORDER_AGE: Duration = Duration::from_secs(10);

/// A reader on his way through the listing, up or down: before bash reads `secrets/*/value` it looks at each, last one first.
#[derive(Debug)]
struct Reader {
    lowest: usize,
    highest: usize,
    steps_down: u32,
    steps_up: u32,
    /// What lies between these was fetched ahead, or is behind him.
    fetched: Range<usize>,
}

impl Reader {
    fn new(at: usize) -> Self {
        Self { lowest: at, highest: at, steps_down: 0, steps_up: 0, fetched: at..at + 1 }
    }

    fn is_near(&self, at: usize) -> bool {
        at.abs_diff(self.lowest) <= REACH || at.abs_diff(self.highest) <= REACH
    }

    fn step(&mut self, at: usize, window: usize) -> Range<usize> {
        let before = self.fetched.clone();
        if at > self.highest {
            self.highest = at;
            self.steps_up += 1;
            if self.steps_up >= STEPS {
                let from = before.end.max(at + 1);
                self.fetched.end = from.max(at + 1 + window);
                return from..self.fetched.end;
            }
        } else if at < self.lowest {
            self.lowest = at;
            self.steps_down += 1;
            if self.steps_down >= STEPS {
                let to = before.start.min(at);
                self.fetched.start = to.min(at.saturating_sub(window));
                return self.fetched.start..to;
            }
        }
        0..0
    }

    fn is_walking(&self) -> bool {
        self.steps_up.max(self.steps_down) >= STEPS
    }
}

/// Readers on their way through a listing; see the module.
#[derive(Debug, Default)]
pub struct Walks(VecDeque<Reader>);

impl Walks {
    /// The name at `at` is read. Gives the places of the names to fetch now, so that `window` lie ahead.
    pub fn step(&mut self, at: usize, window: usize) -> Range<usize> {
        let Some(place) = self.0.iter().position(|reader| reader.is_near(at)) else {
            if self.0.len() == MAX_READERS {
                self.0.pop_back();
            }
            self.0.push_front(Reader::new(at));
            return 0..0;
        };
        // Who was heard of last is forgotten last.
        let Some(mut reader) = self.0.remove(place) else { return 0..0 };
        let wanted = reader.step(at, window);
        self.0.push_front(reader);
        wanted
    }

    /// Nobody is on his way any more.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// Whether somebody is followed.
    pub fn is_walking(&self) -> bool {
        self.0.iter().any(Reader::is_walking)
    }
}

#[derive(Default)]
struct State {
    walks: Walks,
    order: Arc<[SecretName]>,
    ordered: Option<Moment>,
    queue: VecDeque<SecretName>,
    under_way: HashSet<SecretName>,
    threads: usize,
}

/// See the module.
pub(super) struct Ahead {
    store: Weak<CachedStore>,
    /// So many requests at a time, the reader's own among them.
    at_once: usize,
    limit: Duration,
    walking: AtomicBool,
    state: Mutex<State>,
}

impl Ahead {
    /// Fetches for the readers of `store`, each value within `limit`.
    pub fn new(store: Weak<CachedStore>, at_once: usize, limit: Duration) -> Self {
        Self { store, at_once, limit, walking: AtomicBool::new(false), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves a queue of names.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody is about to wait for this value. Tells whether it is being fetched already.
    pub fn is_missed(&self, name: &SecretName) -> bool {
        let is_under_way = {
            let state = self.state();
            state.under_way.contains(name) || state.queue.contains(name)
        };
        self.update_order();
        self.is_read(name);
        is_under_way
    }

    /// Somebody was given this value from memory.
    pub fn is_hit(&self, name: &SecretName) {
        if self.walking.load(Ordering::Relaxed) {
            self.is_read(name);
        }
    }

    fn is_read(&self, name: &SecretName) {
        let mut state = self.state();
        let order = state.order.clone();
        let Ok(at) = order.binary_search(name) else { return };
        let wanted = state.walks.step(at, self.at_once - 1);
        self.walking.store(state.walks.is_walking(), Ordering::Relaxed);
        drop(state);
        let wanted = wanted.start.min(order.len())..wanted.end.min(order.len());
        self.fetch(&order[wanted]);
    }

    /// Queues those of the names that are not in memory: nobody fetches for a walk through what is.
    fn fetch(&self, names: &[SecretName]) {
        let Some(store) = self.store.upgrade().filter(|_| !names.is_empty()) else { return };
        let missing: Vec<_> = names.iter().filter(|name| !store.is_in_memory(name)).cloned().collect();
        if missing.is_empty() {
            return;
        }
        let mut state = self.state();
        state.queue.extend(missing);
        let more = (self.at_once - 1).saturating_sub(state.threads).min(state.queue.len());
        state.threads += more;
        drop(state);
        (0..more).for_each(|_| self.start_thread());
    }

    /// The listing's order, where it is in memory.
    fn update_order(&self) {
        let Some(store) = self.store.upgrade() else { return };
        let now = store.clock.moment();
        if self.state().ordered.is_some_and(|ordered| now.since(ordered) < ORDER_AGE) {
            return;
        }
        let Ok(page) = store.list(None, Wait::No) else { return };
        if page.next.is_some() {
            return;
        }
        let order: Arc<[SecretName]> = page.items.into_iter().map(|item| item.name).collect();
        let mut state = self.state();
        state.ordered = Some(now);
        if state.order != order {
            state.walks.forget();
            state.order = order;
        }
    }

    fn start_thread(&self) {
        let store = self.store.clone();
        let work = move || {
            while let Some(store) = store.upgrade()
                && store.fetch_next()
            {}
        };
        if thread::Builder::new().name("akvfs-ahead".into()).spawn(work).is_err() {
            self.state().threads -= 1;
        }
    }

    /// Fetches the next name; `false` if there is none, and the thread ends.
    pub fn fetch_next(&self, store: &CachedStore) -> bool {
        let name = {
            let mut state = self.state();
            let Some(name) = state.queue.pop_front() else {
                state.threads -= 1;
                return false;
            };
            state.under_way.insert(name.clone());
            name
        };
        let under_way = UnderWay { ahead: self, name: &name };
        let answer = store.get_known(&name, None, Wait::at_most(&*store.clock, self.limit));
        drop(under_way);
        if answer.is_err_and(|error| error.is_no_answer()) {
            // A vault in trouble is not asked for what nobody may want.
            let mut state = self.state();
            state.queue.clear();
            state.walks.forget();
        }
        true
    }
}

/// A name that is being fetched; no longer when this is dropped, by a panic too.
struct UnderWay<'a> {
    ahead: &'a Ahead,
    name: &'a SecretName,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.ahead.state();
        state.under_way.remove(self.name);
        if thread::panicking() {
            state.threads -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(places: impl IntoIterator<Item = usize>) -> Vec<Range<usize>> {
        let mut walks = Walks::default();
        places.into_iter().map(|at| walks.step(at, 15)).filter(|range| !range.is_empty()).collect()
    }

    #[test]
    fn who_reads_one_or_two_or_here_and_there_causes_nothing() {
        assert!(steps([5, 5, 5]).is_empty());
        assert!(steps([5, 6, 6, 5]).is_empty());
        assert!(steps([900, 5, 300, 100, 700, 200]).is_empty());
        assert!(steps([5, 6, 5, 6, 4, 5]).is_empty());
    }

    #[test]
    fn who_walks_has_a_window_ahead_and_each_name_is_fetched_once() {
        let fetched = steps(10..100);
        assert_eq!(fetched[0], 13..28);
        assert!(fetched[1..].iter().all(|range| range.len() == 1), "{fetched:?}");
        let all: Vec<_> = fetched.into_iter().flatten().collect();
        assert_eq!(all, (13..115).collect::<Vec<_>>());
    }

    #[test]
    fn a_walk_may_go_down_and_then_up_again() {
        let fetched = steps((10..100).rev());
        assert_eq!(fetched[0], 82..97);
        let all: HashSet<_> = fetched.iter().cloned().flatten().collect();
        assert_eq!(all, (0..97).collect());
        assert_eq!(fetched.into_iter().map(|range| range.len()).sum::<usize>(), all.len(), "each once");
        let both: Vec<_> = steps((0..100).rev().chain(0..100)).into_iter().flatten().collect();
        assert!(both.iter().filter(|place| **place == 50).count() == 2, "what is gone by then is fetched again");
    }

    #[test]
    fn steps_may_be_irregular_and_readers_may_take_turns() {
        assert_eq!(steps([10, 13, 12, 15])[0], 16..31);
        let mixed = (0..30).flat_map(|at| [at, 500 + at]);
        let all: HashSet<_> = steps(mixed).into_iter().flatten().collect();
        assert!(all.contains(&40) && all.contains(&540) && !all.contains(&100));
    }
}
