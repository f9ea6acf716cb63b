//! A clock that is put to where a recording was made, forwards or back.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use akvfs::clock::{Clock, Moment};

/// Milliseconds since 1970.
#[derive(Debug, Default)]
pub struct RecordedClock(AtomicI64);

impl RecordedClock {
    pub fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

impl Clock for RecordedClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.load(Ordering::SeqCst).try_into().expect("after 1970"))
    }

    fn moment(&self) -> Moment {
        Moment::default()
    }

    fn sleep(&self, _: Duration) {}
}
