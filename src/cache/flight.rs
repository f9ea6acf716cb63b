//! One request for many readers: who asks for what is already being asked for waits for that answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::secret::SecretName;
use crate::store::{ErrorKind, Operation, StoreError, Wait};

/// What is being asked, for messages.
pub type Question<'a> = (Operation, Option<&'a SecretName>);

/// The requests under way, by what they ask for.
pub struct Flight<K, T> {
    under_way: Mutex<HashMap<K, Arc<Landing<T>>>>,
}

struct Landing<T> {
    answer: Mutex<Option<Result<T, StoreError>>>,
    landed: Condvar,
}

impl<K, T> Default for Flight<K, T> {
    fn default() -> Self {
        Self { under_way: Mutex::new(HashMap::new()) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Eq + Hash + Clone, T: Clone> Flight<K, T> {
    /// Runs `ask`, or waits for the same `key` under way. An error is shared only with those already waiting; who
    /// has time left when the first asker's ran out asks anew.
    pub fn run(
        &self,
        key: K,
        question: Question<'_>,
        wait: Wait,
        clock: &dyn Clock,
        ask: impl Fn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        loop {
            let (landing, first) = self.join(&key);
            if first {
                return self.lead(key, question, &landing, &ask);
            }
            match landing.wait(wait, clock) {
                Some(Err(error)) if depends_on_time(error.kind) && !wait.remaining(clock).is_zero() => {}
                Some(answer) => return answer,
                None => return Err(local(question, ErrorKind::TimedOut, "the same request is still under way")),
            }
        }
    }

    fn join(&self, key: &K) -> (Arc<Landing<T>>, bool) {
        let mut under_way = lock(&self.under_way);
        if let Some(landing) = under_way.get(key) {
            return (landing.clone(), false);
        }
        let landing = Arc::new(Landing { answer: Mutex::new(None), landed: Condvar::new() });
        under_way.insert(key.clone(), landing.clone());
        (landing, true)
    }

    fn lead(
        &self,
        key: K,
        question: Question<'_>,
        landing: &Landing<T>,
        ask: &impl Fn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Lands also when `ask` panics: nobody may wait for an answer that cannot come.
        let ended = Ended { flight: self, key, question, landing };
        let answer = ask();
        *lock(&ended.landing.answer) = Some(answer.clone());
        answer
    }
}

/// Whether somebody with more time might get another answer.
fn depends_on_time(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TimedOut | ErrorKind::BeingDeleted | ErrorKind::BeingRecovered | ErrorKind::Throttled { .. }
    )
}

fn local((operation, name): Question<'_>, kind: ErrorKind, message: &str) -> StoreError {
    StoreError::local(operation, name, kind, message)
}

struct Ended<'a, K: Eq + Hash, T> {
    flight: &'a Flight<K, T>,
    key: K,
    question: Question<'a>,
    landing: &'a Landing<T>,
}

impl<K: Eq + Hash, T> Drop for Ended<'_, K, T> {
    fn drop(&mut self) {
        lock(&self.flight.under_way).remove(&self.key);
        let mut answer = lock(&self.landing.answer);
        answer.get_or_insert_with(|| Err(local(self.question, ErrorKind::Broken, "the request for it failed inside")));
        self.landing.landed.notify_all();
    }
}

impl<T: Clone> Landing<T> {
    /// `None` if the time is up first.
    fn wait(&self, wait: Wait, clock: &dyn Clock) -> Option<Result<T, StoreError>> {
        let answer = lock(&self.answer);
        let (answer, _) = self
            .landed
            .wait_timeout_while(answer, wait.remaining(clock), |answer| answer.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        answer.clone()
    }
}
