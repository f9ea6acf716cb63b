//! Time. The only file that asks what time it is, so that tests can move it.
//!
//! Two clocks that must not be mixed: the calendar ([`Clock::now`]), which dates what people read and may jump,
//! and the monotonic clock ([`Clock::moment`]), which every limit and every age is measured by.

use std::fmt;
use std::ops::Add;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A point on the monotonic clock: the time since that clock was made. Only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The moment `since_start` after the clock was made.
    pub fn from_start(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `time` before this one, or the first one.
    pub fn before(self, time: Duration) -> Moment {
        Self(self.0.saturating_sub(time))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, after: Duration) -> Moment {
        Moment(self.0.saturating_add(after))
    }
}

/// What tells the time. Cloned freely; every clone is the same clock.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The calendar time.
    fn now(&self) -> SystemTime;
    /// The monotonic time.
    fn moment(&self) -> Moment;
    /// Waits. A clock of a test may return at once and move itself instead.
    fn sleep(&self, time: Duration);
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose moments count from now.
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self { start: Instant::now() })
    }
}

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn moment(&self) -> Moment {
        Moment(self.start.elapsed())
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Calendar seconds since 1970 UTC on `clock`; 0 for a clock set before it.
pub fn unix_seconds(clock: &dyn Clock) -> i64 {
    clock
        .now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
