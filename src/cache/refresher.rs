//! When what is in use is refreshed, and the thread that sees to it.
//!
//! In use is what somebody asked for within two kernel times to live: for that long the kernel may answer by itself.
//! What it merely still holds is refreshed now and then. Where it holds nothing, nothing is asked.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::clock::Moment;
use crate::secret::SecretName;

use super::CachedStore;
use super::refresh::interval;

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(200);
/// How long one request of a refresh or a probe waits: one try of the client.
const LIMIT: Duration = Duration::from_secs(5);
/// The first pause between two probes of a vault that does not answer; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The bounds of the longest pause.
const LONGEST_PAUSE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(300));

/// The longest pause between two probes. A fleet that waits for its vault must not ask more often than one that has it, nor
/// all at once when it is back: who is content with what is older than an hour need not know within seconds. Together with
/// the refresh that follows ([`Refresher::tick`]) it is less than `ttl`.
fn longest_pause(ttl: Duration) -> Duration {
    (ttl / 2).clamp(LONGEST_PAUSE.0, LONGEST_PAUSE.1)
}

/// How a refresher goes about it.
#[derive(Clone, Copy, Debug)]
pub struct RefreshOptions {
    /// The longest time another party's change stays unseen.
    pub ttl: Duration,
    /// How long the kernel answers by itself.
    pub kernel_ttl: Duration,
    /// How often what is merely held is refreshed.
    pub idle_ttl: Duration,
    /// Whether all that was ever read counts as held.
    pub all_held: bool,
    /// The longest one request waits.
    pub timeout: Duration,
    /// Where its random numbers start.
    pub seed: u64,
}

/// What is held, beyond what was asked for lately.
pub type Held = Box<dyn Fn() -> BTreeSet<SecretName> + Send>;

/// See the module. Decides by the cache's clock; [`Refresher::tick`] does what is due.
pub struct Refresher {
    store: Arc<CachedStore>,
    held: Held,
    options: RefreshOptions,
    random: Rng,
    next: Moment,
    next_idle: Moment,
    next_probe: Moment,
    pause: Duration,
    was_silent: bool,
}

impl Refresher {
    /// From now on `store` counts on being kept fresh.
    pub fn new(store: Arc<CachedStore>, held: Held, options: RefreshOptions) -> Self {
        let mut random = Rng::with_seed(options.seed);
        let now = store.clock.moment();
        store.state().watched = true;
        // Not sooner than half-way: what was read since the start is still good, and who started together is spread.
        let next = now + options.ttl.mul_f64(0.45 + random.f64() / 2.0);
        let next_idle = now + options.idle_ttl.mul_f64(0.5 + random.f64() / 2.0);
        Self { store, held, options, random, next, next_idle, next_probe: now, pause: FIRST_PAUSE, was_silent: false }
    }

    /// Does what is due.
    pub fn tick(&mut self) {
        if self.store.below.is_open() {
            return self.knock();
        }
        let now = self.store.clock.moment();
        if std::mem::take(&mut self.was_silent) {
            // Others heard it at the same moment; but readers of what is too old ask for each by itself until then.
            let spread = (self.options.ttl / 4).min(LONGEST_PAUSE.0);
            self.next = now + spread.mul_f64(self.random.f64());
            self.pause = FIRST_PAUSE;
        }
        // Without a ttl nothing is believed, and every reader asks.
        if now >= self.next && !self.options.ttl.is_zero() {
            self.refresh(now);
        }
    }

    fn knock(&mut self) {
        let now = self.store.clock.moment();
        if !std::mem::replace(&mut self.was_silent, true) {
            self.next_probe = now + self.pause.mul_f64(self.random.f64());
        }
        if now < self.next_probe || self.store.below.probe(LIMIT.min(self.options.timeout)) {
            return;
        }
        self.pause = (self.pause * 2).min(longest_pause(self.options.ttl));
        self.next_probe = self.store.clock.moment() + self.pause.mul_f64(0.5 + self.random.f64() / 2.0);
    }

    fn refresh(&mut self, now: Moment) {
        let names = self.names(now);
        let (limit, idle_ttl) = (LIMIT.min(self.options.timeout), self.options.idle_ttl);
        let done = self.store.refresh(&names, limit, idle_ttl);
        let end = self.store.clock.moment();
        if let Err(error) = &done {
            tracing::debug!("what is in use could not be refreshed: {error}");
        }
        self.next = end + interval(self.options.ttl, end.since(now), self.random.f64());
    }

    /// What is to be refreshed now.
    fn names(&mut self, now: Moment) -> BTreeSet<SecretName> {
        let window = 2 * self.options.kernel_ttl.max(self.options.ttl);
        let mut names = self.store.state().in_use(window, now);
        if now >= self.next_idle {
            self.next_idle = now + self.options.idle_ttl.mul_f64(0.8 + self.random.f64() / 5.0);
            names.extend((self.held)());
            if self.options.all_held {
                names.extend(self.store.state().current.keys().cloned());
            }
        }
        names
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.store.state().watched = false;
    }
}

/// The thread of a refresher. It ends when this is dropped, and nobody waits for it.
pub struct Watch(Arc<(Mutex<bool>, Condvar)>);

impl Watch {
    /// Starts it.
    pub fn start(mut refresher: Refresher) -> io::Result<Self> {
        let ended: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let watch = Self(ended.clone());
        let work = move || {
            while !has_ended(&ended) {
                refresher.tick();
            }
        };
        thread::Builder::new().name("akvfs-fresh".into()).spawn(work)?;
        Ok(watch)
    }
}

/// Waits for the next tick, or for the end.
fn has_ended(ended: &(Mutex<bool>, Condvar)) -> bool {
    let guard = ended.0.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = ended.1.wait_timeout_while(guard, TICK, |ended| !*ended);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}
