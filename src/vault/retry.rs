//! What to do after a try: a pure decision, with its table as the test. Knows no clock, no HTTP and no operation.
//!
//! Two rules are older than the table. A change is never sent again while it may have happened: that is
//! [`Decision::Look`]. And nothing waits beyond the time that is left: a delay that does not fit is no delay.

use std::time::Duration;

/// What a try came to, when it did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No connection, so nothing was sent; or only a request that changes nothing was.
    Unsent,
    /// The connection broke after sending.
    Cut,
    /// No whole answer in time.
    TimedOut,
    /// A success whose body cannot be read.
    Unreadable,
    /// The vault answered with this status.
    Status(u16),
    /// 409 because a deletion or recovery is under way: it passes by itself.
    Busy,
    /// Nothing that another try could mend: a refused certificate, a foreign challenge, no credential, our own limit.
    Hopeless,
}

/// A try and what is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Try {
    pub outcome: Outcome,
    /// Whether the request changes the vault.
    pub change: bool,
    /// How many tries there were, this one included.
    pub tries: u32,
    /// How many there may be of a request that meets failures. Waiting for throttling and for a deletion under way is
    /// bounded by the time alone.
    pub max_tries: u32,
    /// What is left of the operation's time.
    pub remaining: Duration,
    /// What the vault asked us to wait.
    pub retry_after: Option<Duration>,
    /// Random, from 0 up to but not 1.
    pub dice: f64,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Return the failure.
    GiveUp,
    /// Wait, then send again.
    Again { after: Duration },
    /// The change may have happened: find out before anything else.
    Look,
}

/// The first delay's upper end after a failure, as in Microsoft's clients.
const FAILURE: Duration = Duration::from_millis(200);
/// The same after throttling: Key Vault's guidance is to wait 1, 2, 4, 8, 16 s.
const THROTTLED: Duration = Duration::from_secs(1);
/// No delay of our own choice is longer.
const LONGEST: Duration = Duration::from_secs(16);

/// What to do after `this`.
pub(super) fn decide(this: &Try) -> Decision {
    match this.outcome {
        Outcome::Hopeless => Decision::GiveUp,
        Outcome::Busy => again(this, FAILURE),
        Outcome::Status(429) => again(this, THROTTLED),
        Outcome::Unsent => again_unless_tired(this),
        Outcome::Cut | Outcome::TimedOut | Outcome::Status(408 | 500 | 502 | 503 | 504) if !this.change => {
            again_unless_tired(this)
        }
        Outcome::Cut | Outcome::TimedOut | Outcome::Unreadable | Outcome::Status(408 | 500..) if this.change => {
            Decision::Look
        }
        Outcome::Cut | Outcome::TimedOut | Outcome::Unreadable | Outcome::Status(_) => Decision::GiveUp,
    }
}

fn again_unless_tired(this: &Try) -> Decision {
    if this.tries < this.max_tries { again(this, FAILURE) } else { Decision::GiveUp }
}

/// Full jitter: anything from nothing to a window that doubles with every try.
fn again(this: &Try, first: Duration) -> Decision {
    let window = first.saturating_mul(1 << (this.tries.saturating_sub(1)).min(10)).min(LONGEST);
    let own = window.mul_f64(this.dice);
    // Who wishes for no pause is not asked without one.
    let after = this.retry_after.map_or(own, |wish| if wish.is_zero() { own } else { wish });
    if after < this.remaining { Decision::Again { after } } else { Decision::GiveUp }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::*;

    fn try_of(outcome: Outcome, change: bool) -> Try {
        Try {
            outcome,
            change,
            tries: 1,
            max_tries: 4,
            remaining: Duration::from_secs(15),
            retry_after: None,
            dice: 0.5,
        }
    }

    fn after(milliseconds: u64) -> Decision {
        Decision::Again { after: Duration::from_millis(milliseconds) }
    }

    #[test]
    fn the_table() {
        use Decision::{GiveUp, Look};
        for (outcome, read, change) in [
            (Unsent, after(100), after(100)),
            (Cut, after(100), Look),
            (TimedOut, after(100), Look),
            (Unreadable, GiveUp, Look),
            (Busy, after(100), after(100)),
            (Hopeless, GiveUp, GiveUp),
            (Status(301), GiveUp, GiveUp),
            (Status(400), GiveUp, GiveUp),
            (Status(401), GiveUp, GiveUp),
            (Status(403), GiveUp, GiveUp),
            (Status(404), GiveUp, GiveUp),
            (Status(408), after(100), Look),
            (Status(409), GiveUp, GiveUp),
            (Status(429), after(500), after(500)),
            (Status(500), after(100), Look),
            (Status(501), GiveUp, Look),
            (Status(502), after(100), Look),
            (Status(503), after(100), Look),
            (Status(504), after(100), Look),
        ] {
            assert_eq!(decide(&try_of(outcome, false)), read, "read, {outcome:?}");
            assert_eq!(decide(&try_of(outcome, true)), change, "change, {outcome:?}");
        }
    }

    #[test]
    fn delays_double_with_full_jitter_and_have_an_end() {
        for (outcome, tries, dice, expected) in [
            (Status(503), 1, 0.0, after(0)),
            (Status(503), 2, 0.5, after(200)),
            (Status(503), 3, 0.5, after(400)),
            (Status(503), 4, 0.5, Decision::GiveUp),
            (Unsent, 4, 0.5, Decision::GiveUp),
            (Status(429), 4, 0.5, after(4_000)),
            (Status(429), 5, 0.5, after(8_000)),
            (Status(429), 4_000_000_000, 0.5, after(8_000)),
            (Status(429), 5, 0.99, Decision::GiveUp), // 15.84 s of 15
            (Busy, 9, 0.5, after(8_000)),
        ] {
            let this = Try { tries, dice, ..try_of(outcome, false) };
            assert_eq!(decide(&this), expected, "{this:?}");
        }
    }

    #[test]
    fn a_wish_is_obeyed_if_it_fits_and_never_shortened() {
        for (seconds, expected) in
            [(0, after(500)), (1, after(1_000)), (3, after(3_000)), (15, Decision::GiveUp), (300, Decision::GiveUp)]
        {
            let wish = Some(Duration::from_secs(seconds));
            let this = Try { retry_after: wish, ..try_of(Status(429), true) };
            assert_eq!(decide(&this), expected, "{seconds} s");
        }
    }

    #[test]
    fn a_wish_for_no_pause_at_all_is_none() {
        let at_once = Some(Duration::ZERO);
        for (tries, dice, expected) in [(1, 0.5, after(500)), (3, 0.5, after(2_000)), (9, 0.01, after(160))] {
            let this = Try { tries, dice, retry_after: at_once, ..try_of(Status(429), false) };
            assert_eq!(decide(&this), expected, "{this:?}");
        }
    }

    #[test]
    fn no_wait_reaches_the_end_of_the_time_and_none_is_shorter_than_the_vaults_wish() {
        let outcomes = [Unsent, Cut, TimedOut, Unreadable, Busy, Hopeless, Status(408), Status(429), Status(503)];
        let all = (0..20_000_u32).map(|number| {
            let pick = |step: u32, of: u32| number.wrapping_mul(2_654_435_761) / step % of;
            let outcome = outcomes[pick(1, 9) as usize];
            Try {
                tries: pick(10, 40),
                remaining: Duration::from_millis(u64::from(pick(400, 20_000))),
                retry_after: (pick(3, 2) == 0).then(|| Duration::from_millis(u64::from(pick(7, 30_000)))),
                dice: f64::from(pick(17, 1_000)) / 1_000.0,
                ..try_of(outcome, pick(5, 2) == 0)
            }
        });
        for this in all {
            if let Decision::Again { after } = decide(&this) {
                assert!(after < this.remaining && this.retry_after.is_none_or(|wish| after >= wish), "{this:?}");
            }
        }
    }
}
