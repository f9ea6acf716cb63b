//! Requests under way, and the one thread that lets go of callers who are being killed.
//!
//! The kernel says so by FUSE_INTERRUPT, which fuser 0.18 does not pass on: a caller in a request that waits for the
//! vault could not be killed until it is answered. A fatal signal puts SIGKILL into the pending set of the calling
//! thread, and nothing else does (measured), so that is looked for. The work itself goes on; only nobody waits for it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, Moment};
use crate::fs::processes::is_dying;

/// A request shorter than this is not looked at.
const SHORT: Duration = Duration::from_millis(100);
/// How often the longer ones are.
const LOOK_EVERY: Duration = Duration::from_millis(50);

struct Waiting {
    thread: u32,
    since: Moment,
    let_go: Box<dyn FnOnce() + Send>,
}

#[derive(Default)]
struct State {
    requests: BTreeMap<u64, Waiting>,
    next: u64,
}

/// See the module. Clones are the same list.
#[derive(Clone)]
pub struct Inflight {
    shared: Arc<(Mutex<State>, Condvar)>,
    clock: Arc<dyn Clock>,
}

/// A reply that is given once, by whoever comes first.
pub struct Reply<R>(Arc<Mutex<Option<R>>>);

impl<R> Clone for Reply<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R> Reply<R> {
    /// Not given yet.
    pub fn new(reply: R) -> Self {
        Self(Arc::new(Mutex::new(Some(reply))))
    }

    /// Takes it to give it; `None` if it was given.
    pub fn take(&self) -> Option<R> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Inflight {
    /// An empty list, with its thread.
    pub fn start(clock: Arc<dyn Clock>) -> io::Result<Self> {
        let inflight = Self { shared: Arc::default(), clock };
        let watcher = inflight.clone();
        thread::Builder::new().name("akvfs-inflight".into()).spawn(move || watcher.watch())?;
        Ok(inflight)
    }

    /// Notes that `thread` waits from now on; `let_go` answers it in our stead. The ticket is for
    /// [`done`](Self::done).
    pub fn add(&self, thread: u32, let_go: impl FnOnce() + Send + 'static) -> u64 {
        let waiting = Waiting { thread, since: self.clock.moment(), let_go: Box::new(let_go) };
        let mut state = self.state();
        state.next += 1;
        let ticket = state.next;
        state.requests.insert(ticket, waiting);
        if state.requests.len() == 1 {
            self.shared.1.notify_one();
        }
        ticket
    }

    /// The request is answered.
    pub fn done(&self, ticket: u64) {
        self.state().requests.remove(&ticket);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        loop {
            for (ticket, thread) in self.long_ones() {
                let waiting = if is_dying(thread) { self.state().requests.remove(&ticket) } else { None };
                if let Some(waiting) = waiting {
                    tracing::debug!("thread {thread} is being killed: its request is answered, its work goes on");
                    (waiting.let_go)();
                }
            }
        }
    }

    /// Waits a while, or until there are any.
    fn long_ones(&self) -> Vec<(u64, u32)> {
        let state = self.state();
        let state = match state.requests.is_empty() {
            true => self.shared.1.wait(state).unwrap_or_else(PoisonError::into_inner),
            false => self.shared.1.wait_timeout(state, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0,
        };
        let now = self.clock.moment();
        let is_long = |waiting: &Waiting| waiting.thread != 0 && now.since(waiting.since) >= SHORT;
        state.requests.iter().filter(|(_, waiting)| is_long(waiting)).map(|(ticket, w)| (*ticket, w.thread)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use std::process::Command;
    use std::sync::mpsc;

    #[test]
    fn a_reply_is_given_once() {
        let reply = Reply::new("answer");
        let other = reply.clone();
        assert_eq!((reply.take(), other.take()), (Some("answer"), None));
    }

    #[test]
    fn a_living_caller_is_not_let_go_and_no_signal_but_a_fatal_one_is_taken_for_death() {
        let inflight = Inflight::start(SystemClock::shared()).expect("started");
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep runs");
        let (tell, told) = mpsc::channel();
        let ticket = inflight.add(child.id(), move || tell.send(()).expect("heard"));
        assert!(told.recv_timeout(3 * SHORT).is_err(), "alive");
        inflight.done(ticket);
        assert!(told.recv().is_err(), "done: nobody is left to be let go");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }
}
