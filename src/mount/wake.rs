//! What is done to a file so that the kernel tells those who watch it. Knows paths and system calls, and no values.
//!
//! The new version is renamed over the old one's name, so a watch on the directory hears of it. The old one, and the ones
//! before, are touched: their dates are set and they are opened for writing and closed, so watches on the file hear of it
//! too. The files' other side answers all of that and changes nothing (`fs::wake`).
//!
//! It may wait for a request that is answered late, and a process that has /dev/fuse open and a thread that waits so cannot
//! be killed (measured). So another process does it, the attendant, which has not.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

use super::process::check;

/// A mount whose files are touched, as its user sees it.
pub struct Touched {
    /// Where it is.
    pub directory: PathBuf,
    /// Whether nothing can be changed through it.
    pub read_only: bool,
}

/// A file, by paths below the mount.
pub struct File<'a> {
    /// Its path.
    pub path: &'a str,
    /// Where the current version has another name.
    pub new: &'a str,
    /// Where the older ones have.
    pub earlier: &'a [String],
}

impl Touched {
    /// Wakes those who watch `file`.
    pub fn wake(&self, file: &File<'_>) -> io::Result<()> {
        let root = self.root()?;
        // Held, its watches outlive the loss of its name.
        let shown = open_at(&root, file.path, libc::O_PATH | libc::O_NOFOLLOW)?;
        let mut others = Vec::new();
        rename(&root, file.new, file.path)?;
        for name in file.earlier {
            others.push(open_at(&root, name, libc::O_PATH | libc::O_NOFOLLOW)?);
        }
        for touched in others.iter().chain([&shown]) {
            touch(touched)?;
        }
        // A link less: those who watch attributes only hear that.
        file.earlier.iter().try_for_each(|name| unlink(&root, name))
    }

    /// The mount's root, where it can be written to. Held for one wake only: who holds it holds the mount.
    fn root(&self) -> io::Result<OwnedFd> {
        if !self.read_only {
            return open(self.directory.as_os_str(), libc::O_PATH | libc::O_DIRECTORY);
        }
        let path = CString::new(self.directory.as_os_str().as_bytes())?;
        let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
        // SAFETY: a path that lives; the answer is a new descriptor.
        let clone = check_long(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })?;
        // SAFETY: just opened, nobody else has it.
        let clone = unsafe { OwnedFd::from_raw_fd(clone) };
        set_read_only(&clone, c"", false)?;
        Ok(clone)
    }
}

/// Lets users see a mount as read-only whose filesystem is not: only so can its files be touched from inside.
pub fn show_read_only(directory: &Path) -> io::Result<()> {
    let place = open(directory.as_os_str(), libc::O_PATH | libc::O_DIRECTORY)?;
    set_read_only(&place, c"", true)
}

fn set_read_only(at: &OwnedFd, path: &std::ffi::CStr, on: bool) -> io::Result<()> {
    let (set, clear) = if on { (libc::MOUNT_ATTR_RDONLY, 0) } else { (0, libc::MOUNT_ATTR_RDONLY) };
    let attributes = libc::mount_attr { attr_set: set, attr_clr: clear, propagation: 0, userns_fd: 0 };
    let size = size_of::<libc::mount_attr>();
    let flags = libc::AT_EMPTY_PATH;
    // SAFETY: pointers that live, and the structure's own size.
    let answer = unsafe {
        libc::syscall(libc::SYS_mount_setattr, at.as_raw_fd(), path.as_ptr(), flags, &raw const attributes, size)
    };
    check_long(answer).map(drop)
}

fn check_long(answer: libc::c_long) -> io::Result<i32> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer as i32) }
}

fn open(path: &OsStr, flags: i32) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_bytes())?;
    // SAFETY: a path that lives; the answer is a new descriptor.
    let opened = check(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) })?;
    // SAFETY: just opened, nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

fn open_at(root: &OwnedFd, path: &str, flags: i32) -> io::Result<OwnedFd> {
    let path = CString::new(path)?;
    // SAFETY: a path and a descriptor that live; the answer is a new descriptor.
    let opened = check(unsafe { libc::openat(root.as_raw_fd(), path.as_ptr(), flags | libc::O_CLOEXEC) })?;
    // SAFETY: just opened, nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

fn rename(root: &OwnedFd, from: &str, to: &str) -> io::Result<()> {
    let (from, to) = (CString::new(from)?, CString::new(to)?);
    let root = root.as_raw_fd();
    // SAFETY: paths that live.
    check(unsafe { libc::renameat(root, from.as_ptr(), root, to.as_ptr()) }).map(drop)
}

fn unlink(root: &OwnedFd, path: &str) -> io::Result<()> {
    let path = CString::new(path)?;
    // SAFETY: a path that lives.
    check(unsafe { libc::unlinkat(root.as_raw_fd(), path.as_ptr(), 0) }).map(drop)
}

/// Sets the date of last change to now (the other side keeps the true one), opens for writing, and closes.
fn touch(file: &OwnedFd) -> io::Result<()> {
    let path = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
    let name = CString::new(path.as_str())?;
    let keep = libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT };
    let now = libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_NOW };
    // SAFETY: a path and two times that live.
    check(unsafe { libc::utimensat(libc::AT_FDCWD, name.as_ptr(), [keep, now].as_ptr(), 0) })?;
    open(OsStr::new(&path), libc::O_WRONLY).map(drop)
}

/// How long who tells of a change waits for the watchers to be woken: they should hear of it before the kernel drops what it
/// knows, but nobody's fresh value hangs on that.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// What is done to wake somebody.
pub type Job = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// A thread that has somebody woken, so that who tells of a change does not wait for ever. It ends with this.
pub struct Waker {
    jobs: Sender<(Job, Sender<io::Result<()>>)>,
    /// The answer of the job that was not done in time.
    late: Option<Receiver<io::Result<()>>>,
}

impl Waker {
    /// Starts it.
    pub fn start() -> io::Result<Self> {
        let (jobs, todo) = mpsc::channel::<(Job, Sender<io::Result<()>>)>();
        let work = move || {
            for (job, answer) in todo {
                // Who waits no longer does not matter.
                let _ = answer.send(job());
            }
        };
        thread::Builder::new().name("akvfs-wake".into()).spawn(work)?;
        Ok(Self { jobs, late: None })
    }

    /// Does a job and gives back its answer, or none: it waits for a while only, and does no other until that is over.
    pub fn wake(&mut self, job: Job) -> Option<io::Result<()>> {
        if self.late.as_ref().is_some_and(|late| matches!(late.try_recv(), Err(TryRecvError::Empty))) {
            return None;
        }
        let (answer, answered) = mpsc::channel();
        self.jobs.send((job, answer)).ok()?;
        let in_time = answered.recv_timeout(PATIENCE);
        self.late = matches!(in_time, Err(RecvTimeoutError::Timeout)).then_some(answered);
        in_time.ok()
    }
}
