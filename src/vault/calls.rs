//! Calls with their retries: a read until it succeeds or is out of time, a change until it is known what became of
//! it. Knows when to try again ([`retry`]) and when to look instead; what to look at, it is told.

use super::answer::OfSecret;
use super::link::{Call, Failed, Link};
use super::reply::Reply;
use super::retry::{self, Decision, Outcome, Try};
use super::wire::WireError;
use crate::store::{Answer, ErrorKind, StoreError, Wait};

/// What a look at the vault says of a change whose outcome is in doubt.
pub(super) enum Look<T> {
    /// It was carried out.
    Done(T),
    /// It was not: everything is as it was before.
    NotDone,
    /// It shows what neither we nor the state before had put there.
    SomebodyElse,
    /// It cannot be told yet.
    Pending,
}

/// Makes an answer of a body: one of [`wire`](super::wire)'s functions.
type Reader<T> = fn(&[u8]) -> Result<T, WireError>;

/// A try that did not succeed.
struct Miss {
    outcome: Outcome,
    error: StoreError,
    retry_after: Option<std::time::Duration>,
}

/// How often a change may be sent when its outcome was in doubt: once more, then it fails.
const MAX_DOUBTS: u32 = 2;

impl Link {
    /// Sends `call`, which changes nothing, until `read` has its answer.
    pub(super) fn read<T: OfSecret>(&self, call: &Call<'_>, wait: Wait, read: Reader<T>) -> Result<T, StoreError> {
        self.begin(call, wait)?;
        let mut tries = 0;
        loop {
            tries += 1;
            let miss = match self.one_try(call, wait, read) {
                Ok(answer) => return Ok(answer),
                Err(miss) => miss,
            };
            match self.decide(call, &miss, tries, wait) {
                Decision::Again { after } => self.clock.sleep(after),
                Decision::GiveUp | Decision::Look => return Err(miss.error),
            }
        }
    }

    /// Sends `call`, which changes the vault, until it is carried out once. When it may have been without our
    /// knowing, `look` tells; nothing is sent again before it has said that nothing happened.
    pub(super) fn change<T: OfSecret>(
        &self,
        call: &Call<'_>,
        wait: Wait,
        read: Reader<T>,
        look: impl Fn() -> Result<Look<T>, StoreError>,
    ) -> Result<T, StoreError> {
        self.begin(call, wait)?;
        let (mut tries, mut doubts) = (0, 0);
        loop {
            tries += 1;
            let miss = match self.one_try(call, wait, read) {
                Ok(answer) => return Ok(answer),
                Err(miss) => miss,
            };
            match self.decide(call, &miss, tries, wait) {
                Decision::Again { after } => self.clock.sleep(after),
                // Refused, but an earlier try may be the reason: a second delete of what the first one deleted.
                Decision::GiveUp if doubts > 0 => return self.settle(&miss.error, wait, &look)?.ok_or(miss.error),
                Decision::GiveUp => return Err(miss.error),
                Decision::Look => {
                    doubts += 1;
                    match self.settle(&miss.error, wait, &look)? {
                        Some(answer) => return Ok(answer),
                        None if doubts == MAX_DOUBTS => return Err(miss.error),
                        None => {}
                    }
                }
            }
        }
    }

    /// Looks until it is known whether the change was carried out: `None` if it was not.
    fn settle<T>(
        &self,
        doubt: &StoreError,
        wait: Wait,
        look: impl Fn() -> Result<Look<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut looks = 0;
        loop {
            looks += 1;
            match look() {
                Ok(Look::Done(answer)) => return Ok(Some(answer)),
                Ok(Look::NotDone) => return Ok(None),
                Ok(Look::SomebodyElse) => return Err(superseded(doubt)),
                Ok(Look::Pending) => {}
                Err(error) => return Err(unknown(doubt, &error)),
            }
            let pending = Try { outcome: Outcome::Busy, ..self.try_of(false, looks, wait) };
            match retry::decide(&pending) {
                Decision::Again { after } => self.clock.sleep(after),
                Decision::GiveUp | Decision::Look => return Err(out_of_time(doubt)),
            }
        }
    }

    /// Refuses what must not wait or has no time left.
    fn begin(&self, call: &Call<'_>, wait: Wait) -> Result<(), StoreError> {
        match wait {
            Wait::No => Err(StoreError::not_in_memory(call.operation)),
            Wait::Until(_) | Wait::Anew(_) => Ok(()),
        }
    }

    fn one_try<T: OfSecret>(&self, call: &Call<'_>, wait: Wait, read: Reader<T>) -> Result<T, Box<Miss>> {
        let reply = self.attempt(call, wait).map_err(|failed| {
            let (outcome, error) = (failed.outcome, unanswered(call, failed));
            Box::new(Miss { outcome, error, retry_after: None })
        })?;
        let question = self.question(call);
        question.read(&reply, read).map_err(|error| {
            let (outcome, retry_after) = (outcome(&reply, error.kind), question.retry_after(&reply));
            Box::new(Miss { outcome, error, retry_after })
        })
    }

    fn decide(&self, call: &Call<'_>, miss: &Miss, tries: u32, wait: Wait) -> Decision {
        let this = self.try_of(call.change, tries, wait);
        retry::decide(&Try { outcome: miss.outcome, retry_after: miss.retry_after, ..this })
    }

    fn try_of(&self, change: bool, tries: u32, wait: Wait) -> Try {
        let remaining = wait.remaining(&*self.clock);
        let max_tries = self.options.max_tries;
        Try { outcome: Outcome::Hopeless, change, tries, max_tries, remaining, retry_after: None, dice: dice() }
    }
}

/// What a reply that is not the answer came to.
fn outcome(reply: &Reply, kind: ErrorKind) -> Outcome {
    match kind {
        ErrorKind::BeingDeleted | ErrorKind::BeingRecovered => Outcome::Busy,
        ErrorKind::Foreign => Outcome::Hopeless,
        _ if reply.is_success() => Outcome::Unreadable,
        _ => Outcome::Status(reply.status),
    }
}

/// From 0 up to but not 1. Without a source of chance the delays are merely not spread.
fn dice() -> f64 {
    let number = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(number) / (f64::from(u32::MAX) + 1.0)
}

pub(super) fn unanswered(call: &Call<'_>, failed: Failed) -> StoreError {
    StoreError::local(call.operation, call.name, failed.kind, failed.message)
}

fn superseded(doubt: &StoreError) -> StoreError {
    let message = "the answer was lost, and the vault now holds what somebody else wrote";
    StoreError::local(doubt.operation, doubt.name.as_ref(), ErrorKind::Superseded, message)
}

fn out_of_time(doubt: &StoreError) -> StoreError {
    in_doubt(doubt, ErrorKind::TimedOut, "the time was up before that could be found out")
}

fn unknown(doubt: &StoreError, look: &StoreError) -> StoreError {
    let kind = if look.kind == ErrorKind::TimedOut { ErrorKind::TimedOut } else { doubt.kind };
    in_doubt(doubt, kind, &look.to_string())
}

/// The first failure's own words, and that the outcome is open.
fn in_doubt(doubt: &StoreError, kind: ErrorKind, why: &str) -> StoreError {
    let message = format!("{}; whether it was carried out is not known: {why}", doubt.answer.message);
    let answer = Answer { message, ..doubt.answer.clone() };
    StoreError { kind, answer, ..doubt.clone() }
}
