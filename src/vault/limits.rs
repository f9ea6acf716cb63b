//! Our own restraint: so many requests a second, so many changes, and none before the moment a throttled vault named.
//! Knows the clock and nothing of requests.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Moment};

/// How long a request has to wait, or why it must not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// After this.
    After(Duration),
    /// Not within the time there is; this is how long it would take.
    Refused(Duration),
}

/// The limits of one client.
pub(super) struct Limits {
    state: Mutex<State>,
}

struct State {
    requests: Bucket,
    writes: Bucket,
    not_before: Moment,
}

impl Limits {
    /// `requests` and `writes` are rates a second. The bucket of requests holds five seconds' worth, that of writes
    /// one: the service counts new versions over 10 s and takes ten times our rate in that time.
    pub(super) fn new(requests: u32, writes: u32) -> Self {
        let state = State {
            requests: Bucket::new(requests, requests.saturating_mul(5)),
            writes: Bucket::new(writes, writes),
            not_before: Moment::default(),
        };
        Self { state: Mutex::new(state) }
    }

    /// Books one request now, if it can begin within `remaining`.
    pub(super) fn admit(&self, write: bool, clock: &dyn Clock, remaining: Duration) -> Leave {
        let now = clock.moment();
        let mut state = self.lock();
        let mut wait = state.not_before.since(now).max(state.requests.wait(now));
        if write {
            wait = wait.max(state.writes.wait(now));
        }
        if wait > Duration::ZERO && wait >= remaining {
            return Leave::Refused(wait);
        }
        state.requests.take();
        if write {
            state.writes.take();
        }
        Leave::After(wait)
    }

    /// The same for who was admitted and has waited: whether the vault has named a moment since.
    pub(super) fn still(&self, clock: &dyn Clock, remaining: Duration) -> Leave {
        let wait = self.lock().not_before.since(clock.moment());
        if wait > Duration::ZERO && wait >= remaining { Leave::Refused(wait) } else { Leave::After(wait) }
    }

    /// Nothing goes out before `wait` has passed.
    pub(super) fn silence(&self, clock: &dyn Clock, wait: Duration) {
        let until = clock.moment() + wait;
        let mut state = self.lock();
        state.not_before = state.not_before.max(until);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // three numbers; no update leaves them half done
    }
}

/// A token bucket that may be booked ahead: below zero, the next one waits.
struct Bucket {
    rate: f64,
    size: f64,
    level: f64,
    filled: Moment,
}

impl Bucket {
    fn new(rate: u32, size: u32) -> Self {
        let (rate, size) = (f64::from(rate.max(1)), f64::from(size.max(1)));
        Self { rate, size, level: size, filled: Moment::default() }
    }

    /// Fills up to `now`, and tells how long until one is there.
    fn wait(&mut self, now: Moment) -> Duration {
        let passed = now.since(self.filled).as_secs_f64();
        self.level = (self.level + passed * self.rate).min(self.size);
        self.filled = self.filled.max(now);
        Duration::from_secs_f64(((1.0 - self.level) / self.rate).max(0.0))
    }

    fn take(&mut self) {
        self.level -= 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::test_clock::TestClock;

    const LONG: Duration = Duration::from_secs(60);

    fn admitted_at_once(limits: &Limits, write: bool, clock: &TestClock) -> usize {
        (0..10_000).take_while(|_| limits.admit(write, clock, Duration::ZERO) == Leave::After(Duration::ZERO)).count()
    }

    #[test]
    fn a_bucket_of_five_seconds_then_the_rate() {
        let (limits, clock) = (Limits::new(400, 30), TestClock::default());
        assert_eq!(admitted_at_once(&limits, false, &clock), 2_000);
        clock.sleep(Duration::from_secs(1));
        assert_eq!(admitted_at_once(&limits, false, &clock), 400);
        clock.sleep(LONG);
        assert_eq!(admitted_at_once(&limits, false, &clock), 2_000);
    }

    #[test]
    fn changes_have_a_limit_of_their_own() {
        let (limits, clock) = (Limits::new(400, 30), TestClock::default());
        assert_eq!(admitted_at_once(&limits, true, &clock), 30);
        assert!(matches!(limits.admit(false, &clock, LONG), Leave::After(Duration::ZERO)));
        clock.sleep(Duration::from_millis(100));
        assert_eq!(admitted_at_once(&limits, true, &clock), 3);
    }

    #[test]
    fn who_can_wait_is_queued_and_who_cannot_is_refused() {
        let (limits, clock) = (Limits::new(10, 10), TestClock::default());
        assert_eq!(admitted_at_once(&limits, false, &clock), 50);
        for place in 1..=3 {
            let Leave::After(wait) = limits.admit(false, &clock, LONG) else { panic!("refused") };
            assert_eq!(wait.as_millis(), place * 100);
        }
        assert!(matches!(limits.admit(false, &clock, Duration::from_millis(300)), Leave::Refused(_)));
        assert!(matches!(limits.admit(false, &clock, Duration::from_millis(500)), Leave::After(_)));
    }

    #[test]
    fn who_waits_already_hears_a_wish_too() {
        let (limits, clock) = (Limits::new(400, 1), TestClock::default());
        assert_eq!(admitted_at_once(&limits, true, &clock), 1);
        assert_eq!(limits.admit(true, &clock, LONG), Leave::After(Duration::from_secs(1)));
        limits.silence(&clock, Duration::from_secs(20));
        clock.sleep(Duration::from_secs(1));
        assert_eq!(limits.still(&clock, Duration::from_secs(5)), Leave::Refused(Duration::from_secs(19)));
        assert_eq!(limits.still(&clock, LONG), Leave::After(Duration::from_secs(19)));
        clock.sleep(Duration::from_secs(19));
        assert_eq!(limits.still(&clock, LONG), Leave::After(Duration::ZERO));
        assert!(matches!(limits.admit(true, &clock, LONG), Leave::After(Duration::ZERO)), "it was booked once");
    }

    #[test]
    fn nothing_goes_out_before_the_moment_that_the_vault_named() {
        let (limits, clock) = (Limits::new(400, 30), TestClock::default());
        limits.silence(&clock, Duration::from_secs(20));
        limits.silence(&clock, Duration::from_secs(5));
        assert_eq!(limits.admit(false, &clock, Duration::from_secs(15)), Leave::Refused(Duration::from_secs(20)));
        assert_eq!(limits.admit(false, &clock, Duration::from_secs(30)), Leave::After(Duration::from_secs(20)));
        clock.sleep(Duration::from_secs(20));
        assert_eq!(limits.admit(false, &clock, Duration::from_secs(15)), Leave::After(Duration::ZERO));
    }
}
