//! A clock that stands still until a test moves it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use akvfs::clock::{Clock, Moment};

/// 2026-11-24T05:00:00Z, where the calendar of every test starts.
const START: Duration = Duration::from_secs(1_795_496_400);

/// Moves only by [`advance`](Self::advance) and by those who sleep on it. A sleeper moves it for everybody.
#[derive(Debug)]
pub struct ManualClock {
    hands: Mutex<Hands>,
}

#[derive(Debug)]
struct Hands {
    calendar: SystemTime,
    since_start: Duration,
    slept: Duration,
}

impl ManualClock {
    /// A clock at its start.
    pub fn shared() -> Arc<Self> {
        let hands =
            Hands { calendar: SystemTime::UNIX_EPOCH + START, since_start: Duration::ZERO, slept: Duration::ZERO };
        Arc::new(Self { hands: Mutex::new(hands) })
    }

    /// Moves the calendar and the monotonic time together.
    pub fn advance(&self, time: Duration) {
        let mut hands = self.lock();
        hands.calendar += time;
        hands.since_start += time;
    }

    /// Sets the calendar alone, as an administrator or a time service may.
    pub fn set_calendar(&self, calendar: SystemTime) {
        self.lock().calendar = calendar;
    }

    /// How long it is since its start.
    pub fn advanced(&self) -> Duration {
        self.lock().since_start
    }

    /// How long all sleepers slept together.
    pub fn slept(&self) -> Duration {
        self.lock().slept
    }

    fn lock(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        self.lock().calendar
    }

    fn moment(&self) -> Moment {
        Moment::from_start(self.lock().since_start)
    }

    fn sleep(&self, time: Duration) {
        self.advance(time);
        self.lock().slept += time;
    }
}
