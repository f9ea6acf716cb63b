//! One request for many readers: who asks for what is already being asked for waits for that answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError};

use crate::clock::Clock;
use crate::secret::SecretName;
use crate::store::{ErrorKind, Operation, StoreError, Wait};
use crate::sync::{Condvar, Mutex, MutexGuard};

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
        let mut ended = Ended { flight: self, key, question, landing, answer: None };
        let answer = ask();
        ended.answer = Some(answer.clone());
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
    answer: Option<Result<T, StoreError>>,
}

impl<K: Eq + Hash, T> Drop for Ended<'_, K, T> {
    fn drop(&mut self) {
        // In this order: who comes later and asks again must not find a failure that has landed, again and again.
        lock(&self.flight.under_way).remove(&self.key);
        let broken = || Err(local(self.question, ErrorKind::Broken, "the request for it failed inside"));
        *lock(&self.landing.answer) = Some(self.answer.take().unwrap_or_else(broken));
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

#[cfg(all(test, feature = "shuttle"))]
mod schedules {
    use super::*;
    use crate::clock::SystemClock;
    use crate::schedules::under_all;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    const QUESTION: Question<'_> = (Operation::Get, None);

    /// A vault that answers with the number of the question.
    #[derive(Default)]
    struct Asked {
        begun: AtomicUsize,
        answered: AtomicUsize,
        at_once: AtomicUsize,
    }

    impl Asked {
        fn ask(&self) -> usize {
            assert_eq!(self.at_once.fetch_add(1, SeqCst), 0, "one request at a time");
            let number = self.begun.fetch_add(1, SeqCst) + 1;
            shuttle::thread::yield_now();
            self.at_once.fetch_sub(1, SeqCst);
            self.answered.store(number, SeqCst);
            number
        }
    }

    fn everybody(ask: impl Fn(usize) + Send + Sync + 'static) {
        let ask = Arc::new(ask);
        let spawn = |number| {
            let ask = ask.clone();
            shuttle::thread::spawn(move || ask(number))
        };
        let all: Vec<_> = (0..4).map(spawn).collect();
        all.into_iter().for_each(|thread| thread.join().expect("no panic"));
    }

    #[test]
    fn one_request_at_a_time_and_nobody_gets_an_answer_older_than_one_that_was_known() {
        under_all(|| {
            let (flight, asked) = (Arc::new(Flight::<u8, usize>::default()), Arc::new(Asked::default()));
            let kept = flight.clone();
            everybody(move |_| {
                let clock = SystemClock::shared();
                let wait = Wait::at_most(&*clock, Duration::from_secs(3600));
                let before = asked.answered.load(SeqCst);
                let answer = flight.run(1, QUESTION, wait, &*clock, || Ok(asked.ask())).expect("answered");
                assert!(answer >= before, "{answer} is older than {before}, which was known");
            });
            assert!(lock(&kept.under_way).is_empty());
        });
    }

    #[test]
    fn who_has_time_left_asks_again_and_nobody_is_forgotten() {
        under_all(|| {
            let (flight, asked) = (Arc::new(Flight::<u8, usize>::default()), Arc::new(Asked::default()));
            let failed = Arc::new(AtomicUsize::new(0));
            let heard = failed.clone();
            everybody(move |_| {
                let clock = SystemClock::shared();
                let wait = Wait::at_most(&*clock, Duration::from_secs(3600));
                let ask = || match asked.ask() {
                    1 | 2 => Err(local(QUESTION, ErrorKind::TimedOut, "no answer")),
                    number => Ok(number),
                };
                if flight.run(1, QUESTION, wait, &*clock, ask).is_err() {
                    failed.fetch_add(1, SeqCst);
                }
            });
            // Only those hear of a failure whose own request it was.
            assert_eq!(heard.load(SeqCst), 2);
        });
    }

    #[test]
    fn questions_of_different_names_do_not_wait_for_each_other() {
        under_all(|| {
            let flight = Arc::new(Flight::<usize, usize>::default());
            everybody(move |number| {
                let clock = SystemClock::shared();
                let wait = Wait::at_most(&*clock, Duration::from_secs(3600));
                let inner = || flight.run(number + 10, QUESTION, wait, &*clock, || Ok(number));
                assert_eq!(flight.run(number, QUESTION, wait, &*clock, inner).ok(), Some(number));
            });
        });
    }
}
