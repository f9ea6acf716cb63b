//! What it takes to keep what is in use fresh: one listing, or one request a secret, whichever is fewer; of a listing's
//! secrets only those are got whose date differs.
//!
//! What to do is decided by pure functions, [`plan`] and [`interval`]; what the vault then says is learned as any other
//! answer is, under the same epochs.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::Moment;
use crate::secret::SecretName;
use crate::store::{ErrorKind, StoreError, Wait};
use crate::sync::Mutex;

use super::state::State;
use super::{CachedStore, stale};

/// Requests at a time, at most: a refresh leaves room for those whom somebody waits for.
const AT_A_TIME: usize = 8;

/// What a way of refreshing costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Secrets to refresh: a request each.
    pub names: usize,
    /// Pages of the listing: a request each; `None` before it was seen.
    pub pages: Option<usize>,
    /// Whether this identity may list.
    pub may_list: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing is in use.
    Nothing,
    /// Ask for each by itself.
    Each,
    /// Ask for the listing, as long as it has no more pages than this.
    Listing(usize),
}

/// The cheaper way. A listing that was never seen is tried as long as it can still be cheaper.
pub fn plan(costs: Costs) -> Plan {
    match costs {
        Costs { names: 0, .. } => Plan::Nothing,
        Costs { may_list: false, .. } | Costs { names: 1, .. } => Plan::Each,
        Costs { names, pages: Some(pages), .. } if pages >= names => Plan::Each,
        Costs { names, .. } => Plan::Listing(names),
    }
}

/// How long after a refresh that took `took` the next one begins, so that it ends before what it confirmed is older
/// than `ttl`. `random` in 0..1 spreads it: mounts that began together do not stay together.
pub fn interval(ttl: Duration, took: Duration, random: f64) -> Duration {
    let spread = ttl.mul_f64(0.8 + 0.15 * random.clamp(0.0, 1.0));
    spread.saturating_sub(took.mul_f64(1.5)).max(ttl / 4)
}

impl State {
    /// What somebody asked for since `window` ago and is known.
    pub fn in_use(&mut self, window: Duration, now: Moment) -> BTreeSet<SecretName> {
        self.used.retain(|_, at| now.since(*at) < window);
        self.used.keys().filter(|name| self.current.contains_key(*name)).cloned().collect()
    }

    /// Of `names`, what is known and was last asked for before `moment`.
    fn unconfirmed(&self, names: &BTreeSet<SecretName>, moment: Moment) -> Vec<SecretName> {
        let is_old = |name: &&SecretName| self.current.get(*name).is_some_and(|current| current.is_older(moment));
        names.iter().filter(is_old).cloned().collect()
    }

    /// `remembered`: how long a refused right to list is.
    fn costs(&self, names: usize, remembered: Duration, now: Moment) -> Costs {
        let refused = self.listing.as_ref().filter(|listing| listing.said.is_err());
        let may_list = refused.is_none_or(|listing| !listing.is_valid(remembered, now));
        Costs { names, pages: self.pages, may_list }
    }
}

impl CachedStore {
    /// Asks the vault what became of `names`, with at most `limit` for each request. `remembered` is how long a refused
    /// right to list is. The error is that of a vault that does not answer; what it says of one secret is no error.
    pub(super) fn refresh(
        &self,
        names: &BTreeSet<SecretName>,
        limit: Duration,
        remembered: Duration,
    ) -> Result<(), StoreError> {
        let began = self.clock.moment();
        let costs = self.state().costs(names.len(), remembered, began);
        let wait = || Wait::at_most(&*self.clock, limit);
        match plan(costs) {
            Plan::Nothing => return Ok(()),
            Plan::Each => {}
            Plan::Listing(most) => match self.refresh_listing(most, wait) {
                Ok(_) => {}
                Err(error) if error.kind == ErrorKind::Forbidden => {}
                Err(error) => return Err(error),
            },
        }
        self.metrics.refreshes.add();
        let rest = self.state().unconfirmed(names, began);
        self.fetch_all(&rest, wait)
    }

    /// Gets each, several at a time, until one is not answered.
    fn fetch_all(&self, names: &[SecretName], wait: impl Fn() -> Wait + Sync) -> Result<(), StoreError> {
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let work = || {
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                match self.fetch(name, None, wait()) {
                    Err(error) if stale::is_silence(&error) => {
                        next.store(names.len(), Ordering::Relaxed);
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    }
                    // Whatever it is, it was learned.
                    Ok(_) | Err(_) => {}
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..names.len().min(AT_A_TIME) {
                scope.spawn(work);
            }
            work();
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheaper_way() {
        let costs = |names, pages, may_list| plan(Costs { names, pages, may_list });
        for (names, pages, may_list, wanted) in [
            (0, Some(1), true, Plan::Nothing),
            (0, None, false, Plan::Nothing),
            (1, None, true, Plan::Each),
            (5, None, true, Plan::Listing(5)),
            (5, Some(1), true, Plan::Listing(5)),
            (5, Some(4), true, Plan::Listing(5)),
            (5, Some(5), true, Plan::Each),
            (5, Some(400), true, Plan::Each),
            (1000, Some(400), true, Plan::Listing(1000)),
            (1000, Some(40), false, Plan::Each),
        ] {
            assert_eq!(costs(names, pages, may_list), wanted, "{names} {pages:?} {may_list}");
        }
    }

    #[test]
    fn a_refresh_ends_before_what_the_last_confirmed_is_too_old() {
        let (ttl, second) = (Duration::from_secs(30), Duration::from_secs(1));
        assert_eq!(interval(ttl, Duration::ZERO, 0.0), Duration::from_secs(24));
        assert!(interval(ttl, Duration::ZERO, 1.0) < ttl - second);
        for took in [second, 4 * second, 8 * second] {
            let next = interval(ttl, took, 1.0);
            assert!(next + took < ttl, "{took:?} {next:?}");
        }
        assert_eq!(interval(ttl, 60 * second, 0.5), ttl / 4, "never without a pause");
    }
}
