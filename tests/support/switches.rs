//! What a test can count, break and hold up at a store. Knows nothing of secrets.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use akvfs::store::{ErrorKind, Operation};

/// No test waits longer than this for another thread to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails without effect.
    Refuse(ErrorKind),
    /// It takes effect, and its caller hears of a failure.
    LoseReply(ErrorKind),
    /// It is never answered: its caller waits until the time is up.
    Hang,
}

/// Counts, faults and gates by operation.
#[derive(Default)]
pub struct Switches {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    calls: HashMap<Operation, usize>,
    faults: HashMap<Operation, VecDeque<Fault>>,
    shut: HashSet<Operation>,
    broken: Option<Fault>,
    waiting: HashMap<Operation, usize>,
}

impl Switches {
    /// One call begins: it is counted, waits where its gate is shut, and learns its fault.
    pub fn arrive(&self, operation: Operation) -> Option<Fault> {
        let mut state = self.lock();
        *state.calls.entry(operation).or_default() += 1;
        *state.waiting.entry(operation).or_default() += 1;
        self.changed.notify_all();
        while state.shut.contains(&operation) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        *state.waiting.entry(operation).or_default() -= 1;
        let fault = state.faults.get_mut(&operation).and_then(VecDeque::pop_front);
        fault.or(state.broken)
    }

    /// The next call that has no fault yet gets `fault`.
    pub fn add_fault(&self, operation: Operation, fault: Fault) {
        self.lock().faults.entry(operation).or_default().push_back(fault);
    }

    /// From now on every call gets this fault, unless it has another.
    pub fn break_down(&self, fault: Option<Fault>) {
        self.lock().broken = fault;
    }

    pub fn shut(&self, operation: Operation) {
        self.lock().shut.insert(operation);
    }

    pub fn open(&self, operation: Operation) {
        self.lock().shut.remove(&operation);
        self.changed.notify_all();
    }

    /// Returns when `count` calls wait at the gate of `operation`.
    pub fn wait_for(&self, operation: Operation, count: usize) {
        let here = |state: &mut State| state.waiting.get(&operation).copied().unwrap_or(0) < count;
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE, here);
        let (_state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "fewer than {count} calls to {operation} arrived");
    }

    pub fn calls(&self, operation: Operation) -> usize {
        self.lock().calls.get(&operation).copied().unwrap_or(0)
    }

    pub fn all_calls(&self) -> usize {
        self.lock().calls.values().sum()
    }

    pub fn forget_faults(&self) {
        self.lock().faults.clear();
    }

    pub fn forget_calls(&self) {
        self.lock().calls.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
