//! What is done to a file so that the kernel tells those who watch it. Knows paths and system calls, and no values.
//!
//! The new version is renamed over the old one's name, so a watch on the directory hears of it. The old one, and the ones
//! before, are touched: their dates are set and they are opened for writing and closed, so watches on the file hear of it
//! too. The files' other side answers all of that and changes nothing (`fs::wake`).
//!
//! What stands behind a name is the daemon's to say, and it may have been taken over. So no step follows a link or leaves the
//! mount: the directories are opened by openat2(2), which can refuse that, and what is done then takes one name in one of them.
//! A kernel without it (before 5.6) wakes nobody.
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
    /// What path the new version has, below the mount.
    pub new: &'static str,
    /// And the older ones, with a number behind.
    pub earlier: &'static str,
}

/// A file that may be watched.
pub struct File<'a> {
    /// Its path below the mount.
    pub path: &'a str,
    /// How many older versions have a name of their own.
    pub earlier: usize,
}

impl Touched {
    /// Wakes those who watch `file`.
    pub fn wake(&self, file: &File<'_>) -> io::Result<()> {
        let root = self.root()?;
        let ((place, name), (hidden, new)) = (split(file.path)?, split(self.new)?);
        let (place, hidden) = (open_below(&root, place, DIRECTORY)?, open_below(&root, hidden, DIRECTORY)?);
        let (_, earlier) = split(self.earlier)?;
        // Held, its watches outlive the loss of its name.
        let shown = open_below(&place, name, FILE)?;
        rename(&hidden, new, &place, name)?;
        let mut others = Vec::new();
        for name in (0..file.earlier).map(|number| format!("{earlier}{number}")) {
            match open_below(&hidden, &name, FILE) {
                // The kernel has forgotten it, so nobody watches it any more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => others.push((opened?, name)),
            }
        }
        let device = about(&root)?.device;
        for touched in others.iter().map(|(opened, _)| opened).chain([&shown]) {
            touch(touched, device)?;
        }
        // A link less: those who watch attributes only hear that.
        others.iter().try_for_each(|(_, name)| unlink(&hidden, name))
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

const DIRECTORY: i32 = libc::O_PATH | libc::O_DIRECTORY;
const FILE: i32 = libc::O_PATH | libc::O_NOFOLLOW;

/// The directory and the name in it.
fn split(path: &str) -> io::Result<(&str, &str)> {
    path.rsplit_once('/').ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Opens what is below `root` on the same mount, and reached without a link.
fn open_below(root: &OwnedFd, path: &str, flags: i32) -> io::Result<OwnedFd> {
    let path = CString::new(path)?;
    // SAFETY: all zeroes is a valid `open_how`.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::from((flags | libc::O_CLOEXEC).cast_unsigned());
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_XDEV;
    let size = size_of::<libc::open_how>();
    // SAFETY: a path, a descriptor and a structure that live, and its own size; the answer is a new descriptor.
    let opened = unsafe { libc::syscall(libc::SYS_openat2, root.as_raw_fd(), path.as_ptr(), &raw const how, size) };
    let opened = check_long(opened)?;
    // SAFETY: just opened, nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

fn rename(from: &OwnedFd, old: &str, to: &OwnedFd, new: &str) -> io::Result<()> {
    let (old, new) = (CString::new(old)?, CString::new(new)?);
    // SAFETY: names and descriptors that live.
    check(unsafe { libc::renameat(from.as_raw_fd(), old.as_ptr(), to.as_raw_fd(), new.as_ptr()) }).map(drop)
}

fn unlink(dir: &OwnedFd, name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: a name and a descriptor that live.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), 0) }).map(drop)
}

/// On which device something is, and whether it is a file.
struct About {
    device: (u32, u32),
    is_file: bool,
}

/// As the kernel knows it: the other side is not asked.
fn about(opened: &OwnedFd) -> io::Result<About> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: all zeroes is a valid `statx`; the pointers are to what lives through the call.
    let told = unsafe {
        let mut told: libc::statx = std::mem::zeroed();
        check(libc::statx(opened.as_raw_fd(), c"".as_ptr(), flags, libc::STATX_TYPE, &mut told))?;
        told
    };
    let is_file = u32::from(told.stx_mode) & libc::S_IFMT == libc::S_IFREG;
    Ok(About { device: (told.stx_dev_major, told.stx_dev_minor), is_file })
}

/// Sets the date of last change to now (the other side keeps the true one), opens for writing, and closes. A pipe or a device
/// would do more than that when it is opened.
fn touch(file: &OwnedFd, device: (u32, u32)) -> io::Result<()> {
    let found = about(file)?;
    if !found.is_file || found.device != device {
        return Err(io::Error::other("what is to be touched is no file of the mount"));
    }
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory that plays the mount, with a file to wake, beside one that is none of the mount's business.
    fn places() -> (tempfile::TempDir, Touched, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let (mount, outside) = (place.path().join("mount"), place.path().join("outside"));
        for dir in ["mount/secrets/a", "mount/.akvfs", "outside/a"] {
            fs::create_dir_all(place.path().join(dir)).unwrap();
        }
        for dir in [mount.join("secrets/a"), outside.join("a")] {
            fs::write(dir.join("value"), "old").unwrap();
        }
        for dir in [mount.join(".akvfs"), outside.clone()] {
            fs::write(dir.join(".wake.new"), "new").unwrap();
            fs::write(dir.join(".wake.0"), "earlier").unwrap();
        }
        let (new, earlier) = (".akvfs/.wake.new", ".akvfs/.wake.");
        (place, Touched { directory: mount, read_only: false, new, earlier }, outside)
    }

    fn wake(touched: &Touched) -> io::Result<()> {
        touched.wake(&File { path: "secrets/a/value", earlier: 1 })
    }

    #[test]
    fn the_new_version_takes_the_name_and_the_earlier_ones_lose_theirs() {
        let (_place, touched, _) = places();
        wake(&touched).unwrap();
        assert_eq!(fs::read_to_string(touched.directory.join("secrets/a/value")).unwrap(), "new");
        assert_eq!(fs::read_dir(touched.directory.join(".akvfs")).unwrap().count(), 0);
    }

    #[test]
    fn an_earlier_version_that_the_kernel_has_forgotten_keeps_nobody_from_being_woken() {
        let (_place, touched, _) = places();
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        let held = fs::File::options().write(true).open(touched.directory.join(".akvfs/.wake.0")).unwrap();
        held.set_modified(long_ago).unwrap();
        touched.wake(&File { path: "secrets/a/value", earlier: 3 }).unwrap();
        assert!(held.metadata().unwrap().modified().unwrap() > long_ago, "who watches the one that is there has heard");
        assert!(!touched.directory.join(".akvfs/.wake.0").exists());
    }

    #[test]
    fn no_link_of_the_mounts_leads_out_of_it() {
        for linked in ["secrets", ".akvfs"] {
            let (_place, touched, outside) = places();
            let link = touched.directory.join(linked);
            fs::remove_dir_all(&link).unwrap();
            symlink(&outside, &link).unwrap();
            wake(&touched).unwrap_err();
            assert_eq!(fs::read_to_string(outside.join("a/value")).unwrap(), "old", "{linked}");
            assert_eq!(fs::read_to_string(outside.join(".wake.new")).unwrap(), "new", "{linked}");
            assert_eq!(fs::read_to_string(outside.join(".wake.0")).unwrap(), "earlier", "{linked}");
        }
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let (_place, touched, outside) = places();
        let (earlier, fifo) = (touched.directory.join(".akvfs/.wake.0"), outside.join("fifo"));
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        // Whoever opened a pipe for writing would wait for a reader.
        fs::rename(&fifo, &earlier).unwrap();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(wake(&touched)));
        let said = told.recv_timeout(Duration::from_secs(20)).expect("it waits for nobody").unwrap_err();
        assert_eq!(said.to_string(), "what is to be touched is no file of the mount");
    }
}
