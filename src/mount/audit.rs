//! Where the lines of the audit go. Whoever hands one over does not wait: a thread of its own writes them, in their
//! order. What it cannot write, or cannot keep up with, is counted, and the next line that gets through says how many
//! are missing before it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::queue::Queue;
use super::syslog::{Facility, SYSLOG, Severity, Syslog};

/// Lines that wait to be written, at most: two seconds of the fastest reader that was measured, some 2 MiB.
const WAITING: usize = 8192;
/// How long one line may wait for syslog.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This file.
    File(PathBuf),
    /// The standard error.
    Stderr,
    /// Syslog, among what is about security.
    Syslog,
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Stderr => out.write_str("the standard error"),
            Self::Syslog => out.write_str("syslog"),
        }
    }
}

/// Is told of lost lines.
pub type Lost = Box<dyn Fn() + Send + Sync>;

/// A running audit. Its thread ends, all lines written, after [`AuditLog::end`], or when this is dropped.
pub struct AuditLog {
    queue: Arc<Queue<String>>,
    shared: Arc<Shared>,
}

struct Shared {
    /// The file was moved away: it is to be made anew.
    reopen: AtomicBool,
    /// Lines lost since the last that was written.
    missing: AtomicU64,
    lost: Lost,
}

impl Shared {
    fn new(lost: Lost) -> Arc<Self> {
        Arc::new(Self { reopen: AtomicBool::new(false), missing: AtomicU64::new(0), lost })
    }

    fn count_lost(&self, why: &dyn fmt::Display) {
        if self.missing.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!("a line of the audit is lost: {why}");
        }
        (self.lost)();
    }
}

impl AuditLog {
    /// Opens `target`; `lost` is called for each line that is lost.
    pub fn start(target: &Target, lost: Lost) -> io::Result<Self> {
        Self::into_sink(Sink::open(target)?, lost)
    }

    fn into_sink(sink: Sink, lost: Lost) -> io::Result<Self> {
        let (queue, shared) = (Arc::new(Queue::new(WAITING)), Shared::new(lost));
        let (lines, writer) = (queue.clone(), Writer { sink, shared: shared.clone() });
        thread::Builder::new().name("akvfs-audit".to_owned()).spawn(move || writer.run(&lines))?;
        Ok(Self { queue, shared })
    }

    /// Hands a line over.
    pub fn say(&self, line: String) {
        if !self.queue.push(line) {
            self.shared.count_lost(&"too many wait to be written");
        }
    }

    /// From the next line on, the file is the one that then has its name.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Relaxed);
    }

    /// Takes no more lines, and waits until all are written, at most for `limit`. How many are not: they count as lost.
    pub fn end(&self, limit: Duration) -> usize {
        self.queue.close();
        let left = self.queue.flush(limit);
        (0..left).for_each(|_| (self.shared.lost)());
        left
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.queue.close();
    }
}

struct Writer {
    sink: Sink,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(mut self, lines: &Queue<String>) {
        while let Some(line) = lines.next() {
            if self.shared.reopen.swap(false, Ordering::Relaxed) {
                self.sink.reopen();
            }
            if let Err(error) = self.write(&line) {
                self.shared.count_lost(&error);
            }
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let missing = self.shared.missing.load(Ordering::Relaxed);
        if missing > 0 {
            self.sink.write(&format!("{{\"lost\":{missing}}}"))?;
            self.shared.missing.fetch_sub(missing, Ordering::Relaxed);
        }
        self.sink.write(line)
    }
}

enum Sink {
    File { path: PathBuf, file: File },
    Stderr,
    Syslog(Syslog),
}

impl Sink {
    fn open(target: &Target) -> io::Result<Self> {
        Ok(match target {
            Target::File(path) => Self::File { path: path.clone(), file: open(path)? },
            Target::Stderr => Self::Stderr,
            Target::Syslog => Self::Syslog(Syslog::new(Path::new(SYSLOG), Facility::Authpriv, PATIENCE)),
        })
    }

    /// Keeps the old file where there is no new one.
    fn reopen(&mut self) {
        if let Self::File { path, file } = self {
            match open(path) {
                Ok(fresh) => *file = fresh,
                Err(error) => tracing::error!("the audit stays in its old file: {}: {error}", path.display()),
            }
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let whole = format!("{line}\n");
        match self {
            Self::File { file, .. } => file.write_all(whole.as_bytes()),
            Self::Stderr => io::stderr().write_all(whole.as_bytes()),
            Self::Syslog(syslog) => syslog.send(Severity::Notice, whole.as_bytes()),
        }
    }
}

/// For its owner alone, and no link that somebody laid there.
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a file")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::PermissionsExt;

    /// For what must happen at all.
    const SOON: Duration = Duration::from_secs(60);

    fn counted() -> (Lost, Arc<AtomicU64>) {
        let lost = Arc::new(AtomicU64::new(0));
        let counter = lost.clone();
        let count = move || {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        (Box::new(count), lost)
    }

    #[test]
    fn lines_are_in_the_file_in_their_order_and_a_moved_file_is_made_anew() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("audit");
        let (lost, count) = counted();
        let log = AuditLog::start(&Target::File(path.clone()), lost).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        log.say("one".to_owned());
        assert_eq!(log.end(SOON), 0);
        std::fs::rename(&path, place.path().join("audit.1")).unwrap();
        let (lost, _) = counted();
        let log = AuditLog::start(&Target::File(place.path().join("audit.1")), lost).unwrap();
        log.say("two".to_owned());
        assert_eq!(log.end(SOON), 0);
        assert_eq!(std::fs::read_to_string(place.path().join("audit.1")).unwrap(), "one\ntwo\n");
        assert_eq!(count.load(Ordering::Relaxed), 0);
        let (lost, _) = counted();
        let log = AuditLog::start(&Target::File(path.clone()), lost).unwrap();
        std::fs::rename(&path, place.path().join("audit.2")).unwrap();
        log.reopen();
        log.say("three".to_owned());
        assert_eq!(log.end(SOON), 0);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(std::fs::read_to_string(place.path().join("audit.2")).unwrap(), "");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_said() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("audit");
        let (lost, count) = counted();
        let shared = Shared::new(lost);
        // A descriptor that takes nothing, as a full disk.
        std::fs::write(&path, "").unwrap();
        let sink = Sink::File { path: path.clone(), file: File::open(&path).unwrap() };
        let writer = Writer { sink, shared: shared.clone() };
        let queue = Arc::new(Queue::new(3));
        let lines = queue.clone();
        let thread = thread::spawn(move || writer.run(&lines));
        assert!(queue.push("a".to_owned()) && queue.push("b".to_owned()));
        while count.load(Ordering::Relaxed) < 2 {
            thread::yield_now();
        }
        shared.reopen.store(true, Ordering::Relaxed);
        assert!(queue.push("c".to_owned()));
        queue.close();
        thread.join().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"lost\":2}\nc\n");
    }

    #[test]
    fn who_hands_a_line_over_never_waits() {
        let (lost, count) = counted();
        let log = AuditLog { queue: Arc::new(Queue::new(2)), shared: Shared::new(lost) };
        (0..5).for_each(|number| log.say(number.to_string()));
        assert_eq!(count.load(Ordering::Relaxed), 3);
        assert_eq!([log.queue.next(), log.queue.next()], [0, 1].map(|number| Some(number.to_string())));
    }

    #[test]
    fn an_end_waits_for_what_is_left_but_not_for_ever_and_counts_what_is_lost() {
        let (mut unread, writer) = io::pipe().unwrap();
        let (lost, count) = counted();
        let sink = Sink::File { path: PathBuf::new(), file: OwnedFd::from(writer).into() };
        let log = AuditLog::into_sink(sink, lost).unwrap();
        // More than a pipe takes at once, and another.
        let long = "x".repeat(1024 * 1024);
        log.say(long.clone());
        log.say("two".to_owned());
        assert_eq!(log.end(Duration::ZERO), 2, "nobody reads");
        assert_eq!(count.load(Ordering::Relaxed), 2);
        let reader = thread::spawn(move || io::read_to_string(&mut unread).unwrap());
        assert_eq!(log.end(SOON), 0, "they are written now");
        assert_eq!(reader.join().unwrap(), format!("{long}\ntwo\n"));
    }

    #[test]
    fn a_link_is_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let link = place.path().join("link");
        std::os::unix::fs::symlink("target", &link).unwrap();
        assert!(AuditLog::start(&Target::File(link), Box::new(|| ())).is_err());
        assert!(!place.path().join("target").exists());
    }
}
