//! Lines on their way to the one thread that writes them. Who hands one over does not wait, and who ends waits only so long
//! for what is left.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct Queue<L> {
    room: usize,
    state: Mutex<State<L>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<L> {
    waiting: VecDeque<L>,
    /// The last line that was taken is not written yet.
    is_writing: bool,
    /// There will be no more.
    is_closed: bool,
}

impl<L> State<L> {
    fn left(&self) -> usize {
        self.waiting.len() + usize::from(self.is_writing)
    }
}

impl<L> Queue<L> {
    /// With room for so many lines.
    pub fn new(room: usize) -> Self {
        let state = State { waiting: VecDeque::new(), is_writing: false, is_closed: false };
        Self { room, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Takes a line if there is room; whether it did.
    #[must_use]
    pub fn push(&self, line: L) -> bool {
        let mut state = self.lock();
        let is_taken = !state.is_closed && state.waiting.len() < self.room;
        if is_taken {
            state.waiting.push_back(line);
            self.changed.notify_all();
        }
        is_taken
    }

    /// For who writes: waits for the next line. The one before is written now. None when there will be no more.
    pub fn next(&self) -> Option<L> {
        let mut state = self.lock();
        state.is_writing = false;
        self.changed.notify_all();
        let is_idle = |state: &mut State<L>| state.waiting.is_empty() && !state.is_closed;
        state = self.changed.wait_while(state, is_idle).unwrap_or_else(PoisonError::into_inner);
        let line = state.waiting.pop_front();
        state.is_writing = line.is_some();
        line
    }

    /// Takes no more lines.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Waits until all is written, at most for `limit`; how many lines are not.
    pub fn flush(&self, limit: Duration) -> usize {
        let is_busy = |state: &mut State<L>| state.left() > 0;
        let waited = self.changed.wait_timeout_while(self.lock(), limit, is_busy);
        waited.unwrap_or_else(PoisonError::into_inner).0.left()
    }

    /// Each step is done at once, so a holder that panicked left it whole.
    fn lock(&self) -> MutexGuard<'_, State<L>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_refused_and_what_is_taken_is_left_until_it_is_written() {
        let queue = Queue::new(2);
        assert_eq!([1, 2, 3].map(|line| queue.push(line)), [true, true, false]);
        assert_eq!(queue.next(), Some(1));
        assert_eq!(queue.flush(Duration::ZERO), 2, "the first is not written yet");
        assert!(queue.push(4));
        queue.close();
        assert!(!queue.push(5));
        assert_eq!([queue.next(), queue.next(), queue.next()], [Some(2), Some(4), None]);
        assert_eq!(queue.flush(Duration::from_secs(60)), 0);
    }

    #[test]
    fn who_waits_for_the_end_hears_of_it() {
        let queue = Queue::new(2);
        assert!(queue.push(()));
        std::thread::scope(|scope| {
            scope.spawn(|| while queue.next().is_some() {});
            assert_eq!(queue.flush(Duration::from_secs(60)), 0);
            queue.close();
        });
    }
}
