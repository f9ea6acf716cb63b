//! A vault that hangs costs one time limit, not one a request: after a request has run out of time, others fail at
//! once, until somebody has tried again and was answered.
//!
//! Whoever keeps the cache fresh tries ([`Breaker::probe`]). Where nobody does, one of the callers is let through now
//! and then.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::around::Around;
use crate::clock::{Clock, Moment, unix_seconds};
use crate::metrics::Metrics;
use crate::secret::SecretName;
use crate::store::{ErrorKind, Operation, SecretStore, StoreError, Wait};
use crate::sync::{Mutex, MutexGuard};

/// A failure that came sooner than this did not cost anybody his time.
const LONG: Duration = Duration::from_millis(500);
/// How long nobody else may have tried for a caller to be let through.
const ABANDONED: Duration = Duration::from_secs(30);

/// See the module. One lock, for a step.
pub struct Breaker {
    below: Arc<dyn SecretStore>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    heard: Mutex<Heard>,
}

/// What was heard of the vault.
#[derive(Default)]
struct Heard {
    /// Since when it does not answer, if so.
    open: Option<Silence>,
    /// When it last answered.
    answered: Moment,
}

/// A vault that does not answer.
#[derive(Clone, Copy)]
struct Silence {
    kind: ErrorKind,
    since: Moment,
    tried: Moment,
}

impl Breaker {
    /// In front of `below`.
    pub fn new(below: Arc<dyn SecretStore>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self { below, clock, metrics, heard: Mutex::default() }
    }

    /// Whether requests fail at once.
    pub fn is_open(&self) -> bool {
        self.lock().open.is_some()
    }

    /// Tries whether the vault answers again, and says so.
    pub fn probe(&self, limit: Duration) -> bool {
        let mut heard = self.lock();
        if let Some(silence) = &mut heard.open {
            silence.tried = self.clock.moment();
        }
        drop(heard);
        // A refusal is an answer too.
        let answer = self.measured(|below| below.list(None, Wait::at_most(&*self.clock, limit)));
        !answer.is_err_and(|error| is_silence(error.kind))
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a request fails at once, and since when it would have; `None` if it does not.
    fn refusal(&self) -> Option<(ErrorKind, Duration)> {
        let now = self.clock.moment();
        let mut heard = self.lock();
        let silence = heard.open.as_mut()?;
        if now.since(silence.tried) >= ABANDONED {
            silence.tried = now;
            return None;
        }
        Some((silence.kind, now.since(silence.since)))
    }

    fn measured<T>(&self, ask: impl FnOnce(&dyn SecretStore) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let asked = self.clock.moment();
        let answer = ask(&*self.below);
        let now = self.clock.moment();
        match answer.as_ref().err().map(|error| error.kind).filter(|kind| is_silence(*kind)) {
            Some(kind) if now.since(asked) >= LONG => self.begin_silence(kind, asked, now),
            Some(_) => {}
            None => self.end_silence(now),
        }
        answer
    }

    fn begin_silence(&self, kind: ErrorKind, since: Moment, now: Moment) {
        let mut heard = self.lock();
        // Where others were answered meanwhile, it is not the vault that is silent.
        if heard.open.is_none() && heard.answered <= since {
            heard.open = Some(Silence { kind, since, tried: now });
            self.metrics.silent_since.set(unix_seconds(&*self.clock));
            drop(heard);
            tracing::warn!("the vault does not answer: requests fail at once until it does");
        }
    }

    fn end_silence(&self, now: Moment) {
        let mut heard = self.lock();
        heard.answered = heard.answered.max(now);
        let was_silent = heard.open.take().is_some();
        drop(heard);
        if was_silent {
            self.metrics.silent_since.forget();
            tracing::info!("the vault answers again");
        }
    }
}

/// Whether nobody was there to answer.
fn is_silence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::TimedOut | ErrorKind::Unreachable)
}

impl Around for Breaker {
    fn below(&self) -> &dyn SecretStore {
        &*self.below
    }

    fn around<T>(
        &self,
        operation: Operation,
        name: Option<&SecretName>,
        wait: Wait,
        ask: impl FnOnce(&dyn SecretStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if wait == Wait::No {
            return ask(&*self.below);
        }
        match self.refusal() {
            None => self.measured(ask),
            Some((kind, ago)) => {
                let message = format!("the vault has not answered for {:.0} s; it is tried again", ago.as_secs_f64());
                Err(StoreError::local(operation, name, kind, message))
            }
        }
    }
}
