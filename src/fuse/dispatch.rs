//! How a request becomes a call, where the call runs, and what becomes of its answer.
//!
//! A reading call is tried from memory first, on the event loop. What is not in memory, and every call that changes
//! something, goes to the pool, and the reply is sent from there. A panic in a call is an EIO for its caller.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use fuser::{Errno, Request};
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::fs::attr::{Entry, Opened, Stat};
use crate::fs::errno::{FsError, FsResult};
use crate::fs::handles::Listed;
use crate::fs::journal::Asked;
use crate::fs::{Call, SecretFs};
use crate::store::Wait;

use super::Limits;
use super::inflight::{self, Hung, Inflight, Reply};
use super::pool::Pool;

/// The filesystem as the kernel sees it; [`adapter`](super::adapter) has the requests.
pub struct Adapter {
    pub(super) fs: Arc<SecretFs>,
    pool: Pool,
    inflight: Inflight,
    pub(super) limits: Limits,
    pub(super) clock: Arc<dyn Clock>,
}

/// How an answer is sent.
type Sender<R, T> = fn(R, Result<T, Errno>);

/// Runs a call so that a panic in it is an EIO and nothing more.
fn guarded<T>(fs: &SecretFs, call: impl FnOnce(&SecretFs) -> FsResult<T>) -> FsResult<T> {
    catch_unwind(AssertUnwindSafe(|| call(fs))).unwrap_or_else(|_| {
        fs.metrics().panics.add();
        Err(FsError::refused(libc::EIO, "akvfs itself failed (panic): please report it, with the log"))
    })
}

/// The errno; the sentence behind it is kept.
fn verdict<T>(fs: &SecretFs, asked: &Asked, result: FsResult<T>) -> Result<T, Errno> {
    result.map_err(|error| Errno::from_i32(fs.failed(asked, &error)))
}

impl Adapter {
    /// Translates for `fs`.
    pub fn new(fs: Arc<SecretFs>, limits: Limits, clock: Arc<dyn Clock>, hung: Hung) -> std::io::Result<Self> {
        let inflight = Inflight::start(clock.clone(), limits.read.max(limits.change), hung)?;
        Ok(Self { fs, pool: Pool::default(), inflight, limits, clock })
    }

    /// Counts a request of the kernel. Every one that reaches us is, so that what costs nothing can be seen to.
    pub(super) fn count(&self, call: &'static str) {
        self.fs.metrics().requests.add(call);
    }

    pub(super) fn call(&self, request: &Request, limit: Duration) -> Call {
        let wait = Wait::at_most(&*self.clock, limit);
        Call { uid: request.uid(), gid: request.gid(), thread: request.pid(), wait }
    }

    /// A call that never waits.
    pub(super) fn at_once<T>(&self, asked: &Asked, act: impl FnOnce(&SecretFs) -> FsResult<T>) -> Result<T, Errno> {
        self.count(asked.operation);
        verdict(&self.fs, asked, guarded(&self.fs, act))
    }

    /// A reading call: from memory if it can be, else on the pool.
    pub(super) fn read_call<R: Send + 'static, T: Answer>(
        &self,
        request: &Request,
        asked: Asked,
        reply: R,
        act: impl Fn(&SecretFs, &Call) -> FsResult<T> + Send + 'static,
        send: Sender<R, T>,
    ) {
        self.count(asked.operation);
        let call = self.call(request, self.limits.read);
        match guarded(&self.fs, |fs| act(fs, &Call { wait: Wait::No, ..call })) {
            Err(error) if error.is_not_in_memory() => self.on_pool(call, self.limits.read, asked, reply, act, send),
            result => send(reply, verdict(&self.fs, &asked, result)),
        }
    }

    /// A changing call: on the pool.
    pub(super) fn change_call<R: Send + 'static, T: Answer>(
        &self,
        request: &Request,
        asked: Asked,
        reply: R,
        act: impl FnOnce(&SecretFs, &Call) -> FsResult<T> + Send + 'static,
        send: Sender<R, T>,
    ) {
        self.count(asked.operation);
        let call = self.call(request, self.limits.change);
        self.on_pool(call, self.limits.change, asked, reply, act, send);
    }

    fn on_pool<R: Send + 'static, T: Answer>(
        &self,
        call: Call,
        limit: Duration,
        asked: Asked,
        reply: R,
        act: impl FnOnce(&SecretFs, &Call) -> FsResult<T> + Send + 'static,
        send: Sender<R, T>,
    ) {
        let (reply, fs, inflight) = (Reply::new(reply), self.fs.clone(), self.inflight.clone());
        let early = reply.clone();
        let request = inflight::Request { operation: asked.operation, thread: call.thread, limit };
        let ticket = inflight.add(request, move || {
            if let Some(reply) = early.take() {
                send(reply, Err(Errno::EINTR));
            }
        });
        self.pool.run(move || {
            inflight.begun(ticket);
            let result = verdict(&fs, &asked, guarded(&fs, |fs| act(fs, &call)));
            inflight.done(ticket);
            match (reply.take(), result) {
                (Some(reply), result) => send(reply, result),
                (None, Ok(unheard)) => unheard.take_back(&fs),
                (None, Err(_)) => {}
            }
        });
    }
}

/// What a call gives. Some of it the kernel would give back one day (a look-up, a handle); if the caller was killed meanwhile
/// it never hears of it, so we do.
pub(super) trait Answer: 'static {
    /// Nobody will.
    fn take_back(self, fs: &SecretFs);
}

impl Answer for Entry {
    fn take_back(self, fs: &SecretFs) {
        fs.forget(self.node, 1);
    }
}

impl Answer for Opened {
    fn take_back(self, fs: &SecretFs) {
        fs.abandon(self.handle);
    }
}

impl Answer for (Entry, Opened) {
    fn take_back(self, fs: &SecretFs) {
        self.1.take_back(fs);
        self.0.take_back(fs);
    }
}

/// A handle of a directory.
pub(super) struct OpenedDir {
    pub handle: u64,
    /// Whether the kernel may keep its names.
    pub cached: bool,
}

impl Answer for OpenedDir {
    fn take_back(self, fs: &SecretFs) {
        fs.releasedir(self.handle);
    }
}

macro_rules! nothing_to_take_back {
    ($($answer:ty),*) => {
        $(impl Answer for $answer {
            fn take_back(self, _fs: &SecretFs) {}
        })*
    };
}

nothing_to_take_back!((), Stat, String, Vec<u8>, Zeroizing<Vec<u8>>, Listed);
