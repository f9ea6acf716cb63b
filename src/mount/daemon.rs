//! The process that carries a mount: in the foreground this one, in the background a child of it.
//!
//! The parent returns only when the child has said that the mount is usable, or why it is not. The child says it
//! over a socket, once: nothing before, nothing after, and the end of the socket without a word means that it died.
//!
//! Knows nothing of vaults and files: what is started, served and abandoned is a [`Job`].

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::memory::lock_all;

use super::process::{self, Pid};
use super::stop::{self, Reason, Stop};

/// How long a mount may take to become usable. Longer than one sign-in and one answer of a slow vault (`timeout`).
pub const MOUNT_TIMEOUT: Duration = Duration::from_secs(30);

/// How often it is looked whether a start is to end, and its thread is woken, whatever it waits for: it looks again, and sleeps
/// on. Seen on Linux 6.18: it slept for good in reqwest, whose own thread had said long ago that it was ready.
const NUDGE: Duration = Duration::from_secs(1);

/// What the child says when the mount is usable; anything else is a line about why it is not.
const READY: &[u8] = b"\0ready";

/// The whole life of a process beside the daemon; the daemon is at the other end of the socket.
pub type Attend = Box<dyn FnOnce(UnixStream)>;
/// Makes a mount usable, with that process at the other end of the socket. The error is one line for the user.
pub type Start<Running> = Box<dyn FnOnce(UnixStream) -> Result<Running, String> + Send>;
/// Carries a mount until it is unmounted or asked to end.
pub type Serve<Running> = Box<dyn FnOnce(Running, &Stop) -> Result<(), String>>;
/// Takes away what a process that ends at once leaves behind. Must wait for nothing.
pub type Abandon = Arc<dyn Fn() + Send + Sync>;

/// What a daemon does.
pub struct Job<Running> {
    /// Beside it.
    pub attend: Attend,
    /// First.
    pub start: Start<Running>,
    /// Then.
    pub serve: Serve<Running>,
    /// Instead of an orderly end.
    pub abandon: Abandon,
}

/// Why there is no mount, or no longer.
#[derive(Debug, PartialEq, Eq)]
pub enum DaemonError {
    /// It never became usable.
    NotStarted(String),
    /// It was, and ended badly.
    Broken(String),
}

/// Carries the mount in this process until it ends, if it is usable within `limit`.
pub fn in_foreground<Running: Send + 'static>(job: Job<Running>, limit: Duration) -> Result<(), DaemonError> {
    let Job { attend, start, serve, abandon } = job;
    let attendant = leave_to_attendant(attend, || Ok(())).map_err(DaemonError::NotStarted)?;
    let started = begin(start, attendant, &abandon, limit);
    let (running, stop) = started.map_err(DaemonError::NotStarted)?;
    serve(running, &stop).map_err(DaemonError::Broken)
}

/// Leaves the mount to a child and returns when it is usable, at most `limit` later. Must be called before this
/// process has a second thread: only the thread that calls lives on in a child.
pub fn in_background<Running: Send + 'static>(job: Job<Running>, limit: Duration) -> Result<(), DaemonError> {
    let cannot = |error: io::Error| DaemonError::NotStarted(format!("no daemon can be started: {error}"));
    let (ours, theirs) = UnixStream::pair().map_err(cannot)?;
    // SAFETY: there is one thread, as the caller promises, so no lock is held by one that the child lacks.
    match process::check(unsafe { libc::fork() }).map_err(cannot)? {
        0 => {
            drop(ours);
            std::process::exit(be_child(job, theirs, limit))
        }
        child => {
            drop(theirs);
            be_parent(Pid(child), ours, limit, &*job.abandon).map_err(DaemonError::NotStarted)
        }
    }
}

fn be_parent(child: Pid, mut socket: UnixStream, limit: Duration, abandon: &dyn Fn()) -> Result<(), String> {
    let mut said = Vec::new();
    let heard = socket.set_read_timeout(Some(limit)).and_then(|()| socket.read_to_end(&mut said));
    match heard {
        Ok(_) if said == READY => Ok(()),
        Ok(0) => {
            let status = process::wait(child);
            abandon();
            Err(format!("the daemon ended before the mount was usable ({})", in_words(status)))
        }
        Ok(_) => Err(String::from_utf8_lossy(&said).into_owned()),
        Err(error) => {
            // Only when it is dead can it mount nothing any more.
            let killed = process::kill(child);
            abandon();
            Err(match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => not_in_time(limit),
                _ => format!("the daemon cannot be heard: {error} ({})", in_words(killed)),
            })
        }
    }
}

fn not_in_time(limit: Duration) -> String {
    format!(
        "the mount was not usable within {} s; run it with -f and AKVFS_LOG=debug to see what it waits for",
        limit.as_secs_f32()
    )
}

fn in_words(status: io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// The child's whole life; its exit code.
fn be_child<Running: Send + 'static>(job: Job<Running>, socket: UnixStream, limit: Duration) -> i32 {
    let Job { attend, start, serve, abandon } = job;
    // The attendant must not keep what the parent, or its caller, waits for to be closed.
    let close = || process::close_standard_descriptors().and_then(|()| process::close(&socket));
    let started = process::leave_terminal()
        .map_err(|error| format!("the daemon cannot leave the terminal: {error}"))
        .and_then(|()| leave_to_attendant(attend, close))
        .and_then(|attendant| begin(start, attendant, &abandon, limit));
    let (running, stop) = match started {
        Ok(started) => started,
        Err(line) => {
            // A parent that is gone has nobody to show the line to.
            let _ = say(socket, line.as_bytes());
            return 1;
        }
    };
    if process::close_standard_descriptors().and_then(|()| say(socket, READY)).is_err() {
        // Nobody waits for this mount any more: leave none behind.
        stop.request(Reason::Asked);
    }
    i32::from(serve(running, &stop).is_err())
}

/// Starts the process beside this one; our end of the socket between them. It is not told of a closing terminal, and
/// ends when this one does. There must be one thread.
fn leave_to_attendant(attend: Attend, close: impl FnOnce() -> io::Result<()>) -> Result<UnixStream, String> {
    process::harden().map_err(|error| format!("the process cannot be protected: {error}"))?;
    let cannot = |error: io::Error| format!("no attendant can be started: {error}");
    let (ours, theirs) = UnixStream::pair().map_err(cannot)?;
    // SAFETY: there is one thread, as the caller promises, so no lock is held by one that the child lacks.
    match process::check(unsafe { libc::fork() }).map_err(cannot)? {
        0 => {
            drop(ours);
            // One that has no terminal to leave, or nothing to close, serves as well.
            let _ = process::leave_terminal();
            let _ = close();
            attend(theirs);
            std::process::exit(0)
        }
        _ => Ok(ours),
    }
}

fn say(mut socket: UnixStream, words: &[u8]) -> io::Result<()> {
    socket.write_all(words)
}

/// Starts, within `limit`, unless it is asked to end before. On a thread of its own, because what it waits for has no limit
/// everywhere.
fn begin<Running: Send + 'static>(
    start: Start<Running>,
    attendant: UnixStream,
    abandon: &Abandon,
    limit: Duration,
) -> Result<(Running, Stop), String> {
    process::share_memory();
    if !lock_all() {
        tracing::debug!("the limit on locked memory is for values alone");
    }
    let stop = Stop::default();
    let abandoned = Arc::clone(abandon);
    stop::end_on_signals(&stop, move || abandoned()).map_err(|error| format!("signals cannot be caught: {error}"))?;
    let (tell, told) = mpsc::channel();
    let begin = move || {
        // Who has given up does not listen.
        let _ = tell.send(start(attendant));
    };
    let spawned = thread::Builder::new().name("akvfs-start".to_owned()).spawn(begin);
    let starting = spawned.map_err(|error| format!("no thread can be started: {error}"))?;
    let mut waited = Duration::ZERO;
    let why = loop {
        match told.recv_timeout(NUDGE.min(limit.saturating_sub(waited))) {
            Ok(started) => return started.map(|running| (running, stop)),
            Err(RecvTimeoutError::Disconnected) => {
                break "akvfs broke inside before the mount was usable; please report it with the log".to_owned();
            }
            Err(RecvTimeoutError::Timeout) if stop.requested().is_some() => {
                break "it was asked to end before the mount was usable".to_owned();
            }
            Err(RecvTimeoutError::Timeout) if waited >= limit => break not_in_time(limit),
            Err(RecvTimeoutError::Timeout) => waited += NUDGE,
        }
        starting.thread().unpark();
    };
    abandon();
    Err(why)
}
