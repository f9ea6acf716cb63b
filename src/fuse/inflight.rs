//! Requests under way, and the one thread that lets go of callers who are being killed, and notices what never ends.
//!
//! The kernel says so by FUSE_INTERRUPT, which fuser 0.18 does not pass on: a caller in a request that waits for the
//! vault could not be killed until it is answered. A fatal signal puts SIGKILL into the pending set of the calling
//! thread, and nothing else does (measured), so that is looked for. The work itself goes on; only nobody waits for it.
//!
//! Every request ends within its limit. One that takes twice as long hangs inside, in a lock or a system call: nothing but
//! the end of this process frees its caller, and whoever started the list is told so. The time that counts is its own: while
//! it waits for a thread, it waits for others, whose limits may be longer.

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

/// How often a request must be found to be overdue: a process that was stopped, or a machine that stood still, gets on with
/// its requests in this time.
const OVERDUE_LOOKS: u32 = 40;

/// A request.
pub struct Request {
    /// What it does, for messages.
    pub operation: &'static str,
    /// Who waits for it; 0 if that is not known.
    pub thread: u32,
    /// When it should have ended.
    pub limit: Duration,
}

struct Waiting {
    request: Request,
    since: Moment,
    /// When its turn came.
    begun: Option<Moment>,
    /// How often it was found to be overdue.
    overdue: u32,
    /// `None` when the caller is gone.
    let_go: Option<Box<dyn FnOnce() + Send>>,
}

/// Is told, once, what hangs.
pub type Hung = Box<dyn FnOnce(String) + Send>;

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
    /// The longest limit that any request has.
    longest: Duration,
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
    /// An empty list of requests that have at most the limit `longest`, with its thread, which tells `hung` of one that does
    /// not end.
    pub fn start(clock: Arc<dyn Clock>, longest: Duration, hung: Hung) -> io::Result<Self> {
        let inflight = Self { shared: Arc::default(), clock, longest };
        let watcher = inflight.clone();
        thread::Builder::new().name("akvfs-inflight".into()).spawn(move || watcher.watch(hung))?;
        Ok(inflight)
    }

    /// Notes that `request` is under way from now on; `let_go` answers it in our stead. The ticket is for
    /// [`begun`](Self::begun) and [`done`](Self::done).
    pub fn add(&self, request: Request, let_go: impl FnOnce() + Send + 'static) -> u64 {
        let since = self.clock.moment();
        let waiting = Waiting { request, since, begun: None, overdue: 0, let_go: Some(Box::new(let_go)) };
        let mut state = self.state();
        state.next += 1;
        let ticket = state.next;
        state.requests.insert(ticket, waiting);
        if state.requests.len() == 1 {
            self.shared.1.notify_one();
        }
        ticket
    }

    /// The request's turn has come: its own time runs.
    pub fn begun(&self, ticket: u64) {
        let now = self.clock.moment();
        if let Some(waiting) = self.state().requests.get_mut(&ticket) {
            (waiting.begun, waiting.overdue) = (Some(now), 0);
        }
    }

    /// The request is answered.
    pub fn done(&self, ticket: u64) {
        self.state().requests.remove(&ticket);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, hung: Hung) {
        let mut hung = Some(hung);
        loop {
            self.wait_for_some();
            for (ticket, thread) in self.long_ones() {
                if is_dying(thread)
                    && let Some(let_go) = self.take_let_go(ticket)
                {
                    tracing::debug!("thread {thread} is being killed: its request is answered, its work goes on");
                    let_go();
                }
            }
            if let Some(what) = self.find_hung()
                && let Some(hung) = hung.take()
            {
                hung(what);
            }
        }
    }

    /// Waits a while, or until there are any.
    fn wait_for_some(&self) {
        let state = self.state();
        if state.requests.is_empty() {
            drop(self.shared.1.wait(state));
        } else {
            drop(self.shared.1.wait_timeout(state, LOOK_EVERY));
        }
    }

    /// Those whose caller is still there.
    fn long_ones(&self) -> Vec<(u64, u32)> {
        let now = self.clock.moment();
        let state = self.state();
        let is_long = |waiting: &Waiting| {
            waiting.request.thread != 0 && waiting.let_go.is_some() && now.since(waiting.since) >= SHORT
        };
        let long = state.requests.iter().filter(|(_, waiting)| is_long(waiting));
        long.map(|(ticket, waiting)| (*ticket, waiting.request.thread)).collect()
    }

    fn take_let_go(&self, ticket: u64) -> Option<Box<dyn FnOnce() + Send>> {
        self.state().requests.get_mut(&ticket)?.let_go.take()
    }

    /// What has been overdue for some while.
    fn find_hung(&self) -> Option<String> {
        let now = self.clock.moment();
        let mut state = self.state();
        state.requests.values_mut().find_map(|waiting| {
            let overdue = waiting.overdue(now, self.longest);
            waiting.overdue += u32::from(overdue.is_some());
            overdue.filter(|_| waiting.overdue >= OVERDUE_LOOKS)
        })
    }
}

impl Waiting {
    /// What to say if it takes too long. Before its turn it waits for others, each of which may take the `longest` limit.
    fn overdue(&self, now: Moment, longest: Duration) -> Option<String> {
        let (Request { operation, limit, .. }, took) = (&self.request, now.since(self.begun.unwrap_or(self.since)));
        let seconds = took.as_secs_f64();
        match self.begun {
            Some(_) if took >= *limit * 2 => {
                Some(format!("a {operation} has taken {seconds:.0} s, and its limit is {limit:?}"))
            }
            None if took >= longest * 2 => Some(format!(
                "a {operation} has waited {seconds:.0} s for its turn, and no limit is longer than {longest:?}"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use std::process::Command;
    use std::sync::mpsc;
    use std::time::SystemTime;

    #[test]
    fn a_reply_is_given_once() {
        let reply = Reply::new("answer");
        let other = reply.clone();
        assert_eq!((reply.take(), other.take()), (Some("answer"), None));
    }

    fn list(hung: impl FnOnce(String) + Send + 'static) -> Inflight {
        Inflight::start(SystemClock::shared(), Duration::from_secs(600), Box::new(hung)).expect("started")
    }

    fn request(thread: u32, limit: Duration) -> Request {
        Request { operation: "read", thread, limit }
    }

    #[test]
    fn a_living_caller_is_not_let_go_and_no_signal_but_a_fatal_one_is_taken_for_death() {
        let inflight = list(|what| panic!("{what}"));
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep runs");
        let (tell, told) = mpsc::channel();
        let ticket = inflight.add(request(child.id(), Duration::from_secs(60)), move || tell.send(()).expect("heard"));
        assert!(told.recv_timeout(3 * SHORT).is_err(), "alive");
        inflight.done(ticket);
        assert!(told.recv().is_err(), "done: nobody is left to be let go");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    #[test]
    fn what_takes_twice_its_limit_is_told_once_and_what_ends_is_not() {
        let (tell, told) = mpsc::channel();
        let inflight = list(move |what| tell.send(what).expect("heard"));
        let limit = Duration::from_millis(20);
        let ends = inflight.add(request(0, limit), || {});
        let hangs = inflight.add(request(0, limit), || {});
        let slow = inflight.add(request(0, Duration::from_secs(600)), || {});
        for ticket in [ends, hangs, slow] {
            inflight.begun(ticket);
        }
        inflight.done(ends);
        let what = told.recv_timeout(Duration::from_secs(60)).expect("told");
        assert!(what.contains("a read") && what.contains("its limit is 20ms"), "{what}");
        assert!(told.recv_timeout(LOOK_EVERY * OVERDUE_LOOKS).is_err(), "once");
        inflight.done(hangs);
        inflight.done(slow);
    }

    /// Without its thread: the test looks itself.
    fn unwatched(longest: Duration) -> (Inflight, Arc<Turned>) {
        let clock = Arc::<Turned>::default();
        (Inflight { shared: Arc::default(), clock: clock.clone(), longest }, clock)
    }

    /// A clock that goes when it is turned.
    #[derive(Debug, Default)]
    struct Turned(Mutex<Duration>);

    impl Clock for Turned {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        fn moment(&self) -> Moment {
            Moment::from_start(*self.0.lock().expect("whole"))
        }

        fn sleep(&self, time: Duration) {
            *self.0.lock().expect("whole") += time;
        }
    }

    /// What as many looks find as are needed.
    fn looks(inflight: &Inflight) -> Option<String> {
        (0..OVERDUE_LOOKS).find_map(|_| inflight.find_hung())
    }

    const READ: Duration = Duration::from_secs(5);
    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn who_waits_for_his_turn_does_not_hang() {
        let (inflight, clock) = unwatched(LONGEST);
        let ticket = inflight.add(request(0, READ), || {});
        clock.sleep(2 * LONGEST - SHORT);
        assert_eq!(looks(&inflight), None, "it waits for others, as long as they may take");
        inflight.begun(ticket);
        clock.sleep(2 * READ - SHORT);
        assert_eq!(looks(&inflight), None, "its own time begins with its turn");
        clock.sleep(SHORT);
        assert_eq!(looks(&inflight).as_deref(), Some("a read has taken 10 s, and its limit is 5s"));
    }

    #[test]
    fn a_turn_that_never_comes_is_told() {
        let (inflight, clock) = unwatched(LONGEST);
        inflight.add(request(0, READ), || {});
        clock.sleep(2 * LONGEST);
        let told = "a read has waited 60 s for its turn, and no limit is longer than 30s";
        assert_eq!(looks(&inflight).as_deref(), Some(told));
    }
}
