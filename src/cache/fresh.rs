//! What is believed for a while: something, and when it was asked for.

use std::time::Duration;

use crate::clock::Moment;

/// Something the vault said, and the moment its request left. `asked` is `None` once it may no longer be relied on.
#[derive(Clone, Debug)]
pub struct Fresh<T> {
    /// What was said.
    pub said: T,
    asked: Option<Moment>,
}

impl<T> Fresh<T> {
    /// What was said to a request sent at `asked`.
    pub fn new(said: T, asked: Moment) -> Self {
        Self { said, asked: Some(asked) }
    }

    /// How long it may still be relied on under `ttl`; zero when no longer.
    pub fn valid_for(&self, ttl: Duration, now: Moment) -> Duration {
        self.asked.map_or(Duration::ZERO, |asked| ttl.saturating_sub(now.since(asked)))
    }

    /// Whether it may be relied on.
    pub fn is_valid(&self, ttl: Duration, now: Moment) -> bool {
        !self.valid_for(ttl, now).is_zero()
    }

    /// Whether it was asked for before `moment`.
    pub fn is_older(&self, moment: Moment) -> bool {
        self.asked.is_none_or(|asked| asked < moment)
    }

    /// From now on it may not.
    pub fn expire(&mut self) {
        self.asked = None;
    }
}
