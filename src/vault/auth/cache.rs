//! Tokens kept: fetched once for however many threads want one, renewed ahead of time by somebody who does not wait,
//! and used until they really expire while the identity service is down. Knows the clock, and of the identity service
//! only that it answers later.
//!
//! Lifetimes run on the monotonic clock, so that a calendar that jumps neither loses a token nor keeps a dead one. One
//! lock per token; it is never held while anything is fetched.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{AuthError, Token, TokenSource};
use crate::clock::{Clock, Moment};
use crate::store::Wait;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// How long before its end a token is renewed, as in Microsoft's clients.
const AHEAD: Duration = Duration::from_secs(300);
/// After a renewal that failed, the next one waits this long; the old token goes on meanwhile.
const PAUSE: Duration = Duration::from_secs(30);
/// Kinds of token kept. The vault names the tenants, and must not be able to fill the memory with them.
const MAX_SLOTS: usize = 16;

/// What a token is for: its scope and tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub scope: String,
    pub tenant: Option<String>,
}

/// A token as it comes from an identity service.
pub(super) struct Fresh {
    pub token: Token,
    /// From now.
    pub lifetime: Duration,
}

/// An identity service.
pub(super) trait Identity: Send + Sync {
    /// Begins to get a token and returns; the outcome goes to `report`, from any thread.
    fn begin(&self, wanted: Wanted, report: Report);

    /// Drops what is remembered for `wanted`, so that the next token is a new one.
    fn forget(&self, wanted: &Wanted);
}

/// Tokens of an [`Identity`].
pub(super) struct TokenCache {
    identity: Box<dyn Identity>,
    clock: Arc<dyn Clock>,
    slots: Mutex<HashMap<Wanted, Arc<Slot>>>,
}

struct Slot {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    fetching: bool,
    /// Counts fetches that have ended, so that a waiter can tell that one has.
    ended: u64,
    failure: Option<AuthError>,
    /// No renewal ahead of time before this.
    pause: Moment,
}

struct Held {
    token: Token,
    renew: Moment,
    expires: Moment,
}

/// Takes the outcome of one fetch. Dropped without one, it reports a failure: nobody waits for a fetch that died.
pub(super) struct Report(Option<Arc<Slot>>);

impl TokenCache {
    pub(super) fn new(identity: Box<dyn Identity>, clock: Arc<dyn Clock>) -> Self {
        Self { identity, clock, slots: Mutex::default() }
    }

    fn slot(&self, wanted: &Wanted) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_SLOTS && !slots.contains_key(wanted) {
            slots.clear();
        }
        let slot = slots.entry(wanted.clone()).or_insert_with(|| {
            let (state, settled) = (Mutex::default(), Condvar::new());
            Arc::new(Slot { clock: self.clock.clone(), state, settled })
        });
        slot.clone()
    }

    /// Starts a fetch, unless one is under way or has ended since `ended` were counted.
    fn begin(&self, slot: &Arc<Slot>, wanted: &Wanted, ended: u64) {
        let mut state = slot.lock();
        if state.ended == ended && !std::mem::replace(&mut state.fetching, true) {
            drop(state);
            self.identity.begin(wanted.clone(), Report(Some(slot.clone())));
        }
    }
}

impl TokenSource for TokenCache {
    fn token(&self, scope: &str, tenant: Option<&str>, wait: Wait) -> Result<Token, AuthError> {
        let wanted = Wanted { scope: scope.to_owned(), tenant: tenant.map(str::to_owned) };
        let slot = self.slot(&wanted);
        loop {
            let (held, ended) = slot.look();
            match (held, wait) {
                (Some((token, due)), _) => {
                    if due {
                        self.begin(&slot, &wanted, ended);
                    }
                    return Ok(token);
                }
                (None, Wait::No) => return Err(AuthError::TimedOut("memory".to_owned())),
                (None, Wait::Until(_) | Wait::Anew(_)) => {
                    self.begin(&slot, &wanted, ended);
                    if let Some(outcome) = slot.wait(ended, wait) {
                        return outcome;
                    }
                }
            }
        }
    }

    fn forget(&self, scope: &str, tenant: Option<&str>, refused: &Token) {
        let wanted = Wanted { scope: scope.to_owned(), tenant: tenant.map(str::to_owned) };
        let slot = self.slot(&wanted);
        let mut state = slot.lock();
        if state.held.as_ref().is_some_and(|held| held.token == *refused) {
            state.held = None;
            drop(state);
            self.identity.forget(&wanted);
        }
    }
}

impl Slot {
    /// The token if it still holds, with whether it is due for renewal, and how many fetches have ended.
    fn look(&self) -> (Option<(Token, bool)>, u64) {
        let now = self.clock.moment();
        let state = self.lock();
        let held = state.held.as_ref().filter(|held| now < held.expires);
        let due = held.is_some_and(|held| now >= held.renew) && now >= state.pause;
        (held.map(|held| (held.token.clone(), due)), state.ended)
    }

    /// Waits for a fetch to end that had not at `ended`. `None` if its token was refused before anybody here saw it.
    fn wait(&self, ended: u64, wait: Wait) -> Option<Result<Token, AuthError>> {
        let mut state = self.lock();
        while state.ended == ended {
            let remaining = wait.remaining(&*self.clock);
            if remaining.is_zero() {
                return Some(Err(AuthError::TimedOut("the identity service".to_owned())));
            }
            state = self.settled.wait_timeout(state, remaining).unwrap_or_else(PoisonError::into_inner).0;
        }
        match (&state.held, &state.failure) {
            (Some(held), None) => Some(Ok(held.token.clone())),
            (_, Some(failure)) => Some(Err(failure.clone())),
            (None, None) => None,
        }
    }

    fn settle(&self, outcome: Result<Fresh, AuthError>) {
        let now = self.clock.moment();
        let mut state = self.lock();
        state.fetching = false;
        state.ended += 1;
        match outcome {
            Ok(Fresh { token, lifetime }) => {
                let renew = now + lifetime.saturating_sub(AHEAD).max(lifetime / 2);
                state.held = Some(Held { token, renew, expires: now + lifetime });
                state.failure = None;
            }
            Err(error) => {
                tracing::warn!(%error, "no new token");
                state.failure = Some(error);
                state.pause = now + PAUSE;
            }
        }
        self.settled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // `settle` alone writes more than one field
    }
}

impl Report {
    pub(super) fn send(mut self, outcome: Result<Fresh, AuthError>) {
        if let Some(slot) = self.0.take() {
            slot.settle(outcome);
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.settle(Err(AuthError::Refused("the request for a token ended without an outcome".to_owned())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::vault::test_clock::TestClock;

    /// Hands every fetch to the test, which answers it when it likes.
    struct ByHand(Sender<Report>);

    impl Identity for ByHand {
        fn begin(&self, _wanted: Wanted, report: Report) {
            self.0.send(report).expect("the test listens");
        }

        fn forget(&self, _wanted: &Wanted) {}
    }

    const SCOPE: &str = "https://vault.azure.net/.default";

    struct Stage {
        cache: TokenCache,
        clock: Arc<TestClock>,
        asked: Mutex<Receiver<Report>>,
    }

    impl Stage {
        fn set() -> Self {
            let (sender, asked) = channel();
            let clock = Arc::new(TestClock::default());
            let cache = TokenCache::new(Box::new(ByHand(sender)), clock.clone());
            Self { cache, clock, asked: Mutex::new(asked) }
        }

        fn token(&self) -> Result<String, AuthError> {
            let wait = Wait::at_most(&*self.clock, Duration::from_secs(10));
            self.cache.token(SCOPE, None, wait).map(|token| token.expose().to_owned())
        }

        /// The next fetch that is asked for.
        fn asked(&self) -> Report {
            self.asked.lock().expect("no panic").recv().expect("asked")
        }

        fn is_idle(&self) -> bool {
            self.asked.lock().expect("no panic").try_recv().is_err()
        }

        /// What a caller gets who has to wait, when the fetch comes to `outcome`.
        fn fetched(&self, outcome: Result<Fresh, AuthError>) -> Result<String, AuthError> {
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| self.token());
                self.asked().send(outcome);
                waiting.join().expect("no panic")
            })
        }
    }

    fn fresh(text: &str, seconds: u64) -> Result<Fresh, AuthError> {
        Ok(Fresh { token: Token::new(text.to_owned()), lifetime: Duration::from_secs(seconds) })
    }

    fn down() -> Result<Fresh, AuthError> {
        Err(AuthError::Refused("down".to_owned()))
    }

    #[test]
    fn one_fetch_serves_many_threads() {
        let stage = Stage::set();
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..32).map(|_| scope.spawn(|| stage.token())).collect();
            stage.asked().send(fresh("one", 3600));
            for thread in waiting {
                assert_eq!(thread.join().expect("no panic").as_deref(), Ok("one"));
            }
        });
        assert!(stage.is_idle(), "asked once only");
    }

    #[test]
    fn who_looked_before_a_token_came_does_not_fetch_another() {
        let stage = Stage::set();
        let wanted = Wanted { scope: SCOPE.to_owned(), tenant: None };
        let slot = stage.cache.slot(&wanted);
        let (_, ended) = slot.look();
        assert_eq!(stage.fetched(fresh("one", 3600)).as_deref(), Ok("one"));
        stage.cache.begin(&slot, &wanted, ended);
        assert!(stage.is_idle());
    }

    #[test]
    fn a_token_is_renewed_ahead_of_time_and_nobody_waits_for_it() {
        let stage = Stage::set();
        assert_eq!(stage.fetched(fresh("one", 3600)).as_deref(), Ok("one"));
        stage.clock.sleep(Duration::from_secs(3299));
        assert_eq!(stage.token().as_deref(), Ok("one"));
        assert!(stage.is_idle(), "not due yet");
        stage.clock.sleep(Duration::from_secs(1));
        assert_eq!(stage.token().as_deref(), Ok("one"));
        assert_eq!(stage.token().as_deref(), Ok("one"));
        stage.asked().send(fresh("two", 3600));
        assert!(stage.is_idle(), "only one");
        assert_eq!(stage.token().as_deref(), Ok("two"));
    }

    #[test]
    fn the_last_good_token_serves_until_it_expires_while_the_service_is_down() {
        let stage = Stage::set();
        assert_eq!(stage.fetched(fresh("one", 3600)).as_deref(), Ok("one"));
        stage.clock.sleep(Duration::from_secs(3400));
        assert_eq!(stage.token().as_deref(), Ok("one"));
        stage.asked().send(down());
        assert_eq!(stage.token().as_deref(), Ok("one"));
        assert!(stage.is_idle(), "a failed renewal is not repeated at once");
        stage.clock.sleep(PAUSE);
        assert_eq!(stage.token().as_deref(), Ok("one"));
        stage.asked().send(down());
        stage.clock.sleep(Duration::from_secs(200));
        assert_eq!(stage.fetched(down()), Err(AuthError::Refused("down".to_owned())), "expired");
        assert_eq!(stage.fetched(fresh("two", 60)).as_deref(), Ok("two"), "a failure is not kept");
    }

    #[test]
    fn a_short_lived_token_is_not_renewed_with_every_call() {
        let stage = Stage::set();
        assert_eq!(stage.fetched(fresh("one", 100)).as_deref(), Ok("one"));
        assert_eq!(stage.token().as_deref(), Ok("one"));
        assert!(stage.is_idle());
    }

    #[test]
    fn a_refused_token_is_dropped_and_only_that_one() {
        let stage = Stage::set();
        assert_eq!(stage.fetched(fresh("one", 3600)).as_deref(), Ok("one"));
        stage.cache.forget(SCOPE, None, &Token::new("older".to_owned()));
        assert_eq!(stage.token().as_deref(), Ok("one"));
        stage.cache.forget(SCOPE, None, &Token::new("one".to_owned()));
        assert_eq!(stage.fetched(fresh("two", 3600)).as_deref(), Ok("two"));
    }

    #[test]
    fn a_fetch_that_dies_is_a_failure_and_a_slow_one_ends_with_the_limit() {
        let stage = Stage::set();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| stage.token());
            drop(stage.asked());
            assert!(matches!(waiting.join().expect("no panic"), Err(AuthError::Refused(_))));
        });
        let spent = Wait::at_most(&*stage.clock, Duration::ZERO);
        assert!(matches!(stage.cache.token(SCOPE, None, spent), Err(AuthError::TimedOut(_))));
        assert!(matches!(stage.cache.token(SCOPE, None, Wait::No), Err(AuthError::TimedOut(_))));
    }
}

#[cfg(all(test, feature = "shuttle"))]
mod schedules {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::schedules::under_all;
    use crate::vault::test_clock::TestClock;

    const SCOPE: &str = "https://vault.azure.net/.default";

    /// An identity service on threads of its own. Its first answers are failures, so many.
    #[derive(Default)]
    struct Service {
        failures: usize,
        begun: AtomicUsize,
        at_once: AtomicUsize,
    }

    struct Asked(Arc<Service>);

    impl Identity for Asked {
        fn begin(&self, _wanted: Wanted, report: Report) {
            let service = self.0.clone();
            assert_eq!(service.at_once.fetch_add(1, SeqCst), 0, "one fetch at a time");
            let number = service.begun.fetch_add(1, SeqCst) + 1;
            shuttle::thread::spawn(move || {
                shuttle::thread::yield_now();
                service.at_once.fetch_sub(1, SeqCst);
                if number <= service.failures {
                    return drop(report);
                }
                let token = Token::new(number.to_string());
                report.send(Ok(Fresh { token, lifetime: Duration::from_secs(3600) }));
            });
        }

        fn forget(&self, _wanted: &Wanted) {}
    }

    fn everybody(failures: usize, act: impl Fn(&TokenCache, Wait) + Send + Sync + 'static) -> Arc<Service> {
        let service = Arc::new(Service { failures, ..Service::default() });
        let clock = Arc::new(TestClock::default());
        let wait = Wait::at_most(&*clock, Duration::from_secs(60));
        let (cache, act) = (Arc::new(TokenCache::new(Box::new(Asked(service.clone())), clock)), Arc::new(act));
        let spawn = |_| {
            let (cache, act) = (cache.clone(), act.clone());
            shuttle::thread::spawn(move || act(&cache, wait))
        };
        let all: Vec<_> = (0..4).map(spawn).collect();
        all.into_iter().for_each(|thread| thread.join().expect("no panic"));
        service
    }

    #[test]
    fn everybody_gets_the_one_token_that_is_fetched() {
        under_all(|| {
            let service = everybody(0, |cache, wait| {
                assert_eq!(cache.token(SCOPE, None, wait).expect("a token").expose(), "1");
            });
            assert_eq!(service.begun.load(SeqCst), 1);
        });
    }

    #[test]
    fn a_fetch_that_dies_wakes_who_waits_and_the_next_asks_again() {
        under_all(|| {
            let service = everybody(1, |cache, wait| {
                if cache.token(SCOPE, None, wait).is_err() {
                    assert!(cache.token(SCOPE, None, wait).is_ok());
                }
            });
            assert_eq!(service.begun.load(SeqCst), 2);
        });
    }

    #[test]
    fn a_refused_token_is_fetched_anew_once_whoever_refuses_it() {
        under_all(|| {
            let service = everybody(0, |cache, wait| {
                let first = cache.token(SCOPE, None, wait).expect("a token");
                if first.expose() == "1" {
                    cache.forget(SCOPE, None, &first);
                    assert_eq!(cache.token(SCOPE, None, wait).expect("another").expose(), "2");
                }
            });
            assert!(service.begun.load(SeqCst) <= 2);
        });
    }
}
