//! Taking a mount away: `umount2` where we may, `fusermount3` where we may not.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::mountinfo::{self, Mount};
use super::process;
use crate::clock::Clock;

/// How long a mount may stay in the table after the kernel was told to drop it.
const GONE: Duration = Duration::from_secs(5);
/// How often the table is read meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// How long who is about to exit waits for what is left behind.
const ABANDONED: Duration = Duration::from_secs(1);

/// How often a mount that is in use is tried again.
const BUSY_LOOKS: usize = 5;

/// Why a mount is still there. Each is a whole sentence and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum UnmountError {
    /// The path leads nowhere.
    #[error("cannot unmount {}: {error}", .dir.display())]
    Path {
        /// As given.
        dir: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Nothing is mounted there.
    #[error("{} is not mounted; findmnt -t fuse.akvfs lists the mounts of akvfs", .0.display())]
    NotMounted(PathBuf),
    /// Something else is.
    #[error("{} is a mount of {kind}, not of akvfs; use umount", .dir.display())]
    NotOurs {
        /// The mount's place.
        dir: PathBuf,
        /// Its type.
        kind: String,
    },
    /// In use.
    #[error(
        "cannot unmount {dir}: a file in it is open, or a program works in it; end that program, or detach the mount \
         now and let it end later: akvfs unmount --lazy {dir}",
        dir = .0.display()
    )]
    Busy(PathBuf),
    /// A user's way to unmount is not installed.
    #[error("cannot unmount {}: fusermount3 is missing; install it (apt-get install fuse3) or unmount as root", .0.display())]
    NoHelper(PathBuf),
    /// Anything else.
    #[error("cannot unmount {}: {reason}", .dir.display())]
    Failed {
        /// The mount's place.
        dir: PathBuf,
        /// What the kernel or the helper said.
        reason: String,
    },
}

/// Unmounts the akvfs at `dir` and returns when it is gone from the mount table. `lazy` detaches it at once, even
/// while files in it are open; it ends when the last is closed.
pub fn unmount(dir: &Path, lazy: bool, clock: &dyn Clock) -> Result<(), UnmountError> {
    let dir = mountinfo::resolve(dir).map_err(|error| UnmountError::Path { dir: dir.to_owned(), error })?;
    let mount = ours_at(&dir)?;
    take_away_patiently(&dir, lazy, clock)?;
    wait_until_gone(&mount, clock)
}

/// The mount that this process has made, once it has. At its end it takes no other away: another daemon may have mounted at the
/// same place since.
#[derive(Clone, Debug, Default)]
pub struct Own(Arc<OnceLock<String>>);

impl Own {
    /// It is the one that is at `dir` now.
    pub fn remember(&self, dir: &Path) {
        if let Ok(mount) = ours_at(dir) {
            self.0.get_or_init(|| mount.device);
        }
    }

    /// The number of its file system; empty, which is nobody's, where there is none.
    pub fn device(&self) -> &str {
        self.0.get().map_or("", String::as_str)
    }

    /// Takes away what is left of it at `dir`; of a process that did not come to remember it, what is dead. For who is about
    /// to exit, and can do no more about it than try.
    pub fn abandon(&self, dir: &Path) {
        let (own, dir, (tell, told)) = (self.clone(), dir.to_owned(), mpsc::channel());
        let take_away = move || {
            let _ = match own.device() {
                "" => detach_dead(&dir).map(drop),
                device => detach(&dir, device),
            };
            let _ = tell.send(());
        };
        // On a thread, because whoever has mounted there since may not answer.
        let _ = thread::Builder::new().spawn(take_away).map(|_| told.recv_timeout(ABANDONED));
    }
}

/// Detaches the akvfs at `dir` (as in the mount table) without waiting for anybody, if its file system is `device`. `Ok` when
/// it is not there.
pub fn detach(dir: &Path, device: &str) -> Result<(), UnmountError> {
    match ours_at(dir) {
        Ok(mount) if mount.device == device => match take_away(dir, true) {
            // Somebody else was quicker: two may clear away after a daemon that died, its attendant and who mounts again.
            Err(_) if is_gone(&mount).is_ok_and(|gone| gone) => Ok(()),
            done => done,
        },
        Ok(_) | Err(UnmountError::NotMounted(_) | UnmountError::NotOurs { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Detaches the akvfs at `dir` if its daemon is gone; whether there is one that is not dead. Waits for its answer.
pub fn detach_dead(dir: &Path) -> Result<bool, UnmountError> {
    let mount = match ours_at(dir) {
        Ok(mount) => mount,
        Err(UnmountError::NotMounted(_) | UnmountError::NotOurs { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    match process::ask_file_system(dir) {
        // Who mounts again clears away too, and what he has mounted since is his.
        Err(error) if is_dead(&error) => detach(dir, &mount.device).map(|()| false),
        Ok(()) | Err(_) => Ok(true),
    }
}

/// "Transport endpoint is not connected": the daemon of that mount is gone.
pub fn is_dead(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOTCONN)
}

fn ours_at(dir: &Path) -> Result<Mount, UnmountError> {
    match mountinfo::top_at(dir) {
        Ok(Some(mount)) if mount.is_akvfs() => Ok(mount),
        Ok(Some(mount)) => Err(UnmountError::NotOurs { dir: dir.to_owned(), kind: mount.kind }),
        Ok(None) => Err(UnmountError::NotMounted(dir.to_owned())),
        Err(error) => Err(UnmountError::Path { dir: dir.to_owned(), error }),
    }
}

/// A program that looks at the mount just now, as the watchdog does, is no program that uses it.
fn take_away_patiently(dir: &Path, lazy: bool, clock: &dyn Clock) -> Result<(), UnmountError> {
    for _ in 0..BUSY_LOOKS {
        match take_away(dir, lazy) {
            Err(UnmountError::Busy(_)) => clock.sleep(LOOK),
            done => return done,
        }
    }
    take_away(dir, lazy)
}

fn take_away(dir: &Path, lazy: bool) -> Result<(), UnmountError> {
    match ask_kernel(dir, lazy) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => ask_helper(dir, lazy),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Err(UnmountError::Busy(dir.to_owned())),
        Err(error) => Err(UnmountError::Failed { dir: dir.to_owned(), reason: error.to_string() }),
    }
}

fn ask_kernel(dir: &Path, lazy: bool) -> io::Result<()> {
    let path = CString::new(dir.as_os_str().as_bytes())?;
    let flags = libc::UMOUNT_NOFOLLOW | if lazy { libc::MNT_DETACH } else { 0 };
    // SAFETY: the path is a C string that lives through the call.
    match unsafe { libc::umount2(path.as_ptr(), flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `fusermount3` is setuid root and unmounts what its caller has mounted.
fn ask_helper(dir: &Path, lazy: bool) -> Result<(), UnmountError> {
    let how = if lazy { "-uz" } else { "-u" };
    let ran = Command::new("fusermount3")
        .args([OsStr::new(how), OsStr::new("--"), dir.as_os_str()])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output();
    match ran {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(helper_error(dir, &String::from_utf8_lossy(&output.stderr))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(UnmountError::NoHelper(dir.to_owned())),
        Err(error) => Err(UnmountError::Failed { dir: dir.to_owned(), reason: format!("fusermount3: {error}") }),
    }
}

fn helper_error(dir: &Path, said: &str) -> UnmountError {
    if said.contains("Device or resource busy") {
        return UnmountError::Busy(dir.to_owned());
    }
    UnmountError::Failed { dir: dir.to_owned(), reason: said.trim().to_owned() }
}

fn is_gone(mount: &Mount) -> io::Result<bool> {
    Ok(mountinfo::read()?.iter().all(|other| other.id != mount.id))
}

fn wait_until_gone(mount: &Mount, clock: &dyn Clock) -> Result<(), UnmountError> {
    let end = clock.moment() + GONE;
    loop {
        let failed = |reason| UnmountError::Failed { dir: mount.dir.clone(), reason };
        if is_gone(mount).map_err(|error| failed(error.to_string()))? {
            return Ok(());
        }
        if clock.moment() >= end {
            return Err(failed(format!("it is still mounted after {} s", GONE.as_secs())));
        }
        clock.sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn refused(dir: &Path) -> String {
        unmount(dir, false, &*SystemClock::shared()).expect_err("nothing of ours is there").to_string()
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let plain = tempfile::tempdir().unwrap();
        assert!(refused(plain.path()).contains("is not mounted"));
        assert!(refused(Path::new("/proc")).contains("is a mount of proc, not of akvfs; use umount"));
        assert!(refused(&plain.path().join("no")).contains("No such file or directory"));
        let device = mountinfo::top_at(Path::new("/proc")).unwrap().unwrap().device;
        assert!(detach(Path::new("/proc"), &device).is_ok());
        assert!(!detach_dead(Path::new("/proc")).unwrap());
        assert!(mountinfo::top_at(Path::new("/proc")).unwrap().is_some());
    }

    #[test]
    fn busy_names_the_way_out() {
        let busy =
            helper_error(Path::new("/mnt/v"), "fusermount3: failed to unmount /mnt/v: Device or resource busy\n");
        assert!(busy.to_string().ends_with("akvfs unmount --lazy /mnt/v"));
        assert!(busy.to_string().contains("a file in it is open"));
        let other = helper_error(Path::new("/mnt/v"), "fusermount3: entry for /mnt/v not found in /etc/mtab\n");
        assert!(other.to_string().ends_with("not found in /etc/mtab"));
    }
}
