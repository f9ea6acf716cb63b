//! A process beside the daemon that does for it what it has given up: unmounting, running programs, looking at other
//! processes. It is there before anybody signs in, is asked over a socket, and knows the [`Errand`]s and nothing else.
//! What each of them means is not told here.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// No errand and no answer is longer, in bytes: some ten thousand numbers of processes, or what `az` says.
const LONGEST: u32 = 256 * 1024;

/// What it can be asked for.
#[derive(Debug, Deserialize, Serialize)]
pub enum Errand {
    /// Take the mount away.
    Unmount {
        /// The number of its file system.
        device: String,
    },
    /// Whether one of these processes, or a relative of one, may write to one of these files.
    MayWrite {
        /// Which processes.
        processes: Vec<u32>,
        /// Which files, by their numbers.
        inodes: Vec<u64>,
    },
    /// Which program a process runs.
    Program {
        /// The process.
        process: u32,
    },
    /// Run the user's command for a changed secret.
    Changed {
        /// The secret.
        name: String,
        /// Its version.
        version: String,
    },
    /// Let `az` or `azd` get a token.
    SignIn {
        /// As azure_identity writes it.
        line: String,
    },
    /// The number of the thread that wakes watchers, as the kernel's requests have it.
    WakingThread,
    /// Wake who watches a file.
    Wake {
        /// Its path below the mount.
        path: String,
        /// How many older versions have a name of their own.
        earlier: usize,
    },
}

/// What it answers. What a program wrote may be a token, so it does not print.
#[derive(Deserialize, Serialize)]
pub enum Answer {
    /// Done.
    Done,
    /// Not done, and why.
    Failed(String),
    /// Yes or no.
    Holds(bool),
    /// A program.
    Program(Option<String>),
    /// A thread.
    Thread(u32),
    /// A program has ended.
    Ended {
        /// As wait(2) has it.
        status: i32,
        /// What it wrote to its standard output.
        out: Vec<u8>,
        /// And to its standard error.
        err: Vec<u8>,
    },
}

impl fmt::Debug for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("REDACTED")
    }
}

impl Answer {
    /// How a program ended, or why it did not run.
    pub fn of_program(ran: io::Result<Output>) -> Self {
        match ran {
            Ok(Output { status, stdout, stderr }) => {
                Self::Ended { status: status.into_raw(), out: stdout, err: stderr }
            }
            Err(error) => Self::Failed(error.to_string()),
        }
    }

    /// The same the other way.
    pub fn into_output(self) -> io::Result<Output> {
        match self {
            Self::Ended { status, out, err } => {
                Ok(Output { status: ExitStatus::from_raw(status), stdout: out, stderr: err })
            }
            other => Err(other.unexpected()),
        }
    }

    /// Whether it is done.
    pub fn into_done(self) -> io::Result<()> {
        match self {
            Self::Done => Ok(()),
            other => Err(other.unexpected()),
        }
    }

    /// Why an answer is not what was asked for.
    pub fn unexpected(self) -> io::Error {
        match self {
            Self::Failed(why) => io::Error::other(why),
            _ => io::Error::other("the attendant gave another answer than was asked for"),
        }
    }
}

#[derive(Deserialize, Serialize)]
struct Numbered<T> {
    number: u64,
    what: T,
}

/// The daemon's way to it.
pub struct Attendant {
    socket: Mutex<UnixStream>,
    next: AtomicU64,
    waiting: Arc<Mutex<Waiting>>,
}

/// Who waits for an answer.
type Waiting = HashMap<u64, Sender<Answer>>;

impl Attendant {
    /// The one at the other end of `socket`. Starts a thread: a process that forks must do so before.
    pub fn over(socket: UnixStream) -> io::Result<Arc<Self>> {
        let waiting = Arc::<Mutex<Waiting>>::default();
        let (mut answers, told) = (socket.try_clone()?, waiting.clone());
        let listen = move || {
            while let Ok(Some(Numbered { number, what })) = receive(&mut answers) {
                let waiter = lock(&told).remove(&number);
                if let Some(waiter) = waiter {
                    // Who waits no longer does not matter.
                    let _ = waiter.send(what);
                }
            }
            // Whoever asks from now on hears that nothing can be sent.
            let _ = answers.shutdown(std::net::Shutdown::Both);
            lock(&told).clear();
            tracing::warn!(
                "the attendant has ended: until akvfs is mounted again, saves come after their close, nobody who watches \
                 files is woken, on_change and az do not run"
            );
        };
        thread::Builder::new().name("akvfs-attendant".to_owned()).spawn(listen)?;
        Ok(Arc::new(Self { socket: Mutex::new(socket), next: AtomicU64::new(0), waiting }))
    }

    /// Asks, and waits for the answer, at most for `limit`.
    pub fn ask(&self, errand: Errand, limit: Duration) -> io::Result<Answer> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = mpsc::channel();
        lock(&self.waiting).insert(number, answer);
        let sent = send(&mut lock(&self.socket), &Numbered { number, what: errand });
        let heard = sent.and_then(|()| answered.recv_timeout(limit).map_err(in_words));
        lock(&self.waiting).remove(&number);
        heard
    }
}

fn in_words(why: RecvTimeoutError) -> io::Error {
    match why {
        RecvTimeoutError::Timeout => io::Error::new(ErrorKind::TimedOut, "the attendant gave no answer in time"),
        RecvTimeoutError::Disconnected => io::Error::new(ErrorKind::BrokenPipe, "the attendant is gone"),
    }
}

/// Does errands until the daemon is gone, each on a thread of its own: a command may take long.
pub fn attend(socket: UnixStream, duty: impl Fn(Errand) -> Answer + Send + Sync + 'static) -> io::Result<()> {
    attend_by(socket, duty, on_a_thread)
}

/// An errand under way.
type Work = Box<dyn FnOnce() + Send>;

fn attend_by(
    mut socket: UnixStream,
    duty: impl Fn(Errand) -> Answer + Send + Sync + 'static,
    mut start: impl FnMut(Work) -> io::Result<()>,
) -> io::Result<()> {
    let (duty, answers) = (Arc::new(duty), Arc::new(Mutex::new(socket.try_clone()?)));
    while let Some(Numbered { number, what }) = receive(&mut socket)? {
        let (duty, answer) = (duty.clone(), answers.clone());
        let work = move || {
            let what = duty(what);
            // A daemon that is gone needs no answer.
            let _ = send(&mut lock(&answer), &Numbered { number, what });
        };
        if let Err(error) = start(Box::new(work)) {
            // There may be room for the next, and without this process there is no unmount either.
            let what = Answer::Failed(format!("no thread can be started: {error}"));
            send(&mut lock(&answers), &Numbered { number, what })?;
        }
    }
    Ok(())
}

fn on_a_thread(work: Work) -> io::Result<()> {
    thread::Builder::new().name("akvfs-errand".to_owned()).spawn(work).map(drop)
}

/// Four bytes of length, and that much JSON.
fn send(socket: &mut UnixStream, what: &impl Serialize) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, what)?;
    let length =
        u32::try_from(frame.len() - 4).ok().filter(|length| *length <= LONGEST).ok_or(ErrorKind::InvalidInput)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    socket.write_all(&frame)
}

/// The next; `None` when the other end is closed.
fn receive<T: DeserializeOwned>(socket: &mut UnixStream) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match socket.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_le_bytes(length);
    if length > LONGEST {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; length as usize];
    socket.read_exact(&mut frame)?;
    Ok(Some(serde_json::from_slice(&frame)?))
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each step leaves it whole; half a frame ends the connection at the other end.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn attended(duty: impl Fn(Errand) -> Answer + Send + Sync + 'static) -> (Arc<Attendant>, thread::JoinHandle<()>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let serving = thread::spawn(move || attend(theirs, duty).unwrap());
        (Attendant::over(ours).unwrap(), serving)
    }

    fn unmount() -> Errand {
        Errand::Unmount { device: String::new() }
    }

    #[test]
    fn answers_find_who_asked_and_nobody_waits_for_another() {
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let (attendant, serving) = attended(move |errand| match errand {
            Errand::Unmount { .. } => {
                let _ = lock(&released).recv();
                Answer::Done
            }
            Errand::Program { process } => Answer::Program(Some(process.to_string())),
            _ => Answer::Failed("not known".to_owned()),
        });
        thread::scope(|scope| {
            let slow = scope.spawn(|| attendant.ask(unmount(), SOON).unwrap().into_done());
            for process in 0..50 {
                let program = attendant.ask(Errand::Program { process }, SOON).unwrap();
                assert!(matches!(program, Answer::Program(Some(text)) if text == process.to_string()));
            }
            let late = attendant.ask(unmount(), Duration::from_millis(10)).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::TimedOut);
            drop(release);
            slow.join().unwrap().unwrap();
        });
        let refused = attendant.ask(Errand::WakingThread, SOON).unwrap().into_done().unwrap_err();
        assert_eq!(refused.to_string(), "not known");
        drop(attendant.socket.lock().unwrap().shutdown(std::net::Shutdown::Both));
        serving.join().unwrap();
        assert!(attendant.ask(unmount(), SOON).is_err());
        assert!(lock(&attendant.waiting).is_empty());
    }

    #[test]
    fn an_errand_for_which_there_is_no_thread_fails_alone() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut first = true;
        let start = move |work: Work| match std::mem::take(&mut first) {
            true => Err(ErrorKind::WouldBlock.into()),
            false => on_a_thread(work),
        };
        let serving = thread::spawn(move || attend_by(theirs, |_| Answer::Done, start));
        let attendant = Attendant::over(ours).unwrap();
        let refused = attendant.ask(unmount(), SOON).unwrap().into_done().unwrap_err();
        assert_eq!(refused.to_string(), "no thread can be started: operation would block");
        attendant.ask(unmount(), SOON).unwrap().into_done().unwrap();
        drop(attendant.socket.lock().unwrap().shutdown(std::net::Shutdown::Both));
        serving.join().unwrap().unwrap();
    }

    #[test]
    fn what_a_program_wrote_does_not_print() {
        let output = Output { status: ExitStatus::from_raw(0), stdout: b"token".to_vec(), stderr: b"token".to_vec() };
        assert_eq!(format!("{:?}", Answer::of_program(Ok(output))), "REDACTED");
    }

    #[test]
    fn one_that_is_gone_is_noticed_by_who_waits() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let attendant = Attendant::over(ours).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| attendant.ask(unmount(), SOON));
            let mut theirs = theirs;
            receive::<Numbered<Errand>>(&mut theirs).unwrap().unwrap();
            drop(theirs);
            assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
    }

    #[test]
    fn what_is_no_errand_or_too_long_ends_it() {
        for bytes in [&b"\x02\0\0\0{}"[..], &(LONGEST + 1).to_le_bytes(), b"\xff\xff\xff\xff", b"\x09\0\0\0"] {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(bytes).unwrap();
            drop(ours);
            assert!(attend(theirs, |_| panic!("it was asked for nothing")).is_err(), "{bytes:?}");
        }
        let long = Errand::SignIn { line: "x".repeat(LONGEST as usize) };
        let (attendant, _serving) = attended(|_| Answer::Done);
        assert_eq!(attendant.ask(long, SOON).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(attendant.ask(unmount(), SOON).unwrap().into_done().is_ok(), "and it goes on");
    }
}
