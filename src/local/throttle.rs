//! How many requests are answered in a time. Knows no request and no clock; moments are given.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Moment;

/// So many requests in so long a time. The service's own limit is 4,000 in 10 s for each vault (Key Vault's "service
/// limits").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many,
    pub requests: NonZeroU32,
    /// in this.
    pub time: Duration,
}

/// Counts requests in windows, each of which begins with the first request after the one before.
pub struct Throttle {
    rate: Rate,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    begin: Option<Moment>,
    taken: u32,
}

impl Throttle {
    /// At most `rate`.
    pub fn new(rate: Rate) -> Self {
        Self { rate, window: Mutex::default() }
    }

    /// Whether a request that comes `at` this moment is answered; it counts only then.
    pub fn take(&self, at: Moment) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.begin.is_none_or(|begin| at.since(begin) >= self.rate.time) {
            *window = Window { begin: Some(at), taken: 0 };
        }
        let free = window.taken < self.rate.requests.get();
        window.taken += u32::from(free);
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_window_and_no_more() {
        for unit in [1, 10] {
            let rate = Rate { requests: NonZeroU32::new(2).expect("not zero"), time: Duration::from_secs(unit) };
            let throttle = Throttle::new(rate);
            let take = |ms| throttle.take(Moment::from_start(Duration::from_millis(ms * unit)));
            let taken = [0, 10, 20, 999, 1000, 1000, 1999, 2000, 9000].map(take);
            assert_eq!(taken, [true, true, false, false, true, true, false, true, true], "{unit}");
        }
    }
}
