//! A clock for unit tests: sleeping moves it.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::{Clock, Moment};

/// Starts at 1,784,000,000 s after 1970 and moves when somebody sleeps.
#[derive(Debug, Default)]
pub(crate) struct TestClock(Mutex<Duration>);

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_784_000_000) + *self.0.lock().expect("no panic")
    }

    fn moment(&self) -> Moment {
        Moment::from_start(*self.0.lock().expect("no panic"))
    }

    fn sleep(&self, time: Duration) {
        *self.0.lock().expect("no panic") += time;
    }
}
