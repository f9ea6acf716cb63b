//! What is believed for a while: something, and when it was asked for.

use std::time::Duration;

use crate::clock::Moment;

/// Something the vault said, and the moment its request left.
#[derive(Clone, Debug)]
pub struct Fresh<T> {
    /// What was said.
    pub said: T,
    asked: Moment,
    standing: Standing,
}

/// What speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing.
    Firm,
    /// It must be asked for again; until there is an answer it is the last that is known.
    Doubted,
    /// The vault has said that it is no longer so.
    Refuted,
}

impl<T> Fresh<T> {
    /// What was said to a request sent at `asked`.
    pub fn new(said: T, asked: Moment) -> Self {
        Self { said, asked, standing: Standing::Firm }
    }

    /// How long it may still be relied on under `ttl`; zero when no longer.
    pub fn valid_for(&self, ttl: Duration, now: Moment) -> Duration {
        if self.standing == Standing::Firm { ttl.saturating_sub(now.since(self.asked)) } else { Duration::ZERO }
    }

    /// Whether it may be relied on.
    pub fn is_valid(&self, ttl: Duration, now: Moment) -> bool {
        !self.valid_for(ttl, now).is_zero()
    }

    /// Whether it may stand in where the vault does not answer: nothing the vault said speaks against it, and it is
    /// younger than `bound`.
    pub fn may_stand_in(&self, bound: Duration, now: Moment) -> bool {
        self.standing != Standing::Refuted && now.since(self.asked) < bound
    }

    /// How long before `moment` it was asked for.
    pub fn age(&self, moment: Moment) -> Duration {
        moment.since(self.asked)
    }

    /// Whether it was asked for before `moment`, or is in doubt.
    pub fn is_older(&self, moment: Moment) -> bool {
        self.standing != Standing::Firm || self.asked < moment
    }

    /// The vault says the same to a request sent at `asked`.
    pub fn confirm(&mut self, asked: Moment) {
        self.asked = self.asked.max(asked);
        self.standing = Standing::Firm;
    }

    /// From now on it may not be relied on.
    pub fn expire(&mut self) {
        if self.standing == Standing::Firm {
            self.standing = Standing::Doubted;
        }
    }

    /// The vault says otherwise.
    pub fn refute(&mut self) {
        self.standing = Standing::Refuted;
    }
}
