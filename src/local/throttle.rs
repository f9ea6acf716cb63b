//! How many requests a second are answered. Knows no request and no clock; moments are given.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Moment;

const WINDOW: Duration = Duration::from_secs(1);

/// Counts requests in windows of one second, each of which begins with the first request after the one before.
pub struct Throttle {
    limit: u32,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    begin: Option<Moment>,
    taken: u32,
}

impl Throttle {
    /// `limit` requests a second.
    pub fn new(limit: NonZeroU32) -> Self {
        Self { limit: limit.get(), window: Mutex::default() }
    }

    /// Whether a request that comes `at` this moment is answered; it counts only then.
    pub fn take(&self, at: Moment) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.begin.is_none_or(|begin| at.since(begin) >= WINDOW) {
            *window = Window { begin: Some(at), taken: 0 };
        }
        let free = window.taken < self.limit;
        window.taken += u32::from(free);
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_and_no_more() {
        let throttle = Throttle::new(NonZeroU32::new(2).expect("not zero"));
        let take = |ms| throttle.take(Moment::from_start(Duration::from_millis(ms)));
        let taken = [0, 10, 20, 999, 1000, 1000, 1999, 2000, 9000].map(take);
        assert_eq!(taken, [true, true, false, false, true, true, false, true, true]);
    }
}
