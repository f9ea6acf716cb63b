//! What the kernel is told about our own process. Each function is one or two system calls.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

/// A child process: not to be confused with other numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pid(pub(super) libc::pid_t);

/// Nobody may read our memory: no core file, no ptrace by the same user; and what we create is ours alone.
pub fn harden() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: numbers, and a pointer to a struct that lives through the call.
    unsafe {
        libc::umask(0o077);
        check(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0))?;
        check(libc::setrlimit(libc::RLIMIT_CORE, &none))?;
    }
    Ok(())
}

/// Memory that was given back is used again, or is the system's. Unless told, glibc's allocator has a heap for each of
/// some threads, and keeps there what another thread could have used; and each large block that is freed makes it keep
/// larger ones. Measured: 61 MiB instead of 40 for ten thousand secrets of 1 KiB.
pub fn share_memory() {
    #[cfg(target_env = "gnu")]
    {
        /// The bound that glibc begins with (mallopt(3)).
        const LARGE: libc::c_int = 128 << 10;
        // SAFETY: numbers. What is refused stays as it is.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 2);
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        }
    }
}

/// A session of our own, so that a closing terminal does not reach us, in a directory that nobody wants to unmount.
pub fn leave_terminal() -> io::Result<()> {
    // SAFETY: no arguments.
    check(unsafe { libc::setsid() })?;
    std::env::set_current_dir("/")
}

/// Puts `/dev/null` in the place of the three standard descriptors.
pub fn close_standard_descriptors() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for standard in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: both descriptors are open, and nothing in Rust owns the standard ones.
        check(unsafe { libc::dup2(null.as_raw_fd(), standard) })?;
    }
    Ok(())
}

/// Closes all descriptors from `first` to `last` that are open (close_range(2)). No part of this process may use one of them.
pub fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: numbers; nothing in Rust owns them, as the caller promises.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Puts `/dev/null` in the place of a descriptor, in this process alone: its owner still closes it, and nobody else's.
pub fn close(descriptor: &impl AsRawFd) -> io::Result<()> {
    let null = OpenOptions::new().read(true).open("/dev/null")?;
    // SAFETY: both descriptors are open.
    check(unsafe { libc::dup2(null.as_raw_fd(), descriptor.as_raw_fd()) }).map(drop)
}

/// Ends a child at once and takes its status.
pub fn kill(child: Pid) -> io::Result<ExitStatus> {
    // SAFETY: numbers; the child has not been waited for, so its number is still its own.
    check(unsafe { libc::kill(child.0, libc::SIGKILL) })?;
    wait(child)
}

/// Takes the status of a child that has ended or is about to.
pub fn wait(child: Pid) -> io::Result<ExitStatus> {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to a number that lives through the call.
        match check(unsafe { libc::waitpid(child.0, &mut status, 0) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
            Ok(_) => return Ok(ExitStatus::from_raw(status)),
        }
    }
}

/// Waits until a child has ended, and leaves its status, and so its number, for who takes it.
pub fn wait_for_end(child: Pid) -> io::Result<()> {
    loop {
        // SAFETY: all zeroes is a valid `siginfo_t`, and the pointer is to one that lives through the call.
        let ended = check(unsafe {
            let mut about: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, child.0.cast_unsigned(), &mut about, libc::WEXITED | libc::WNOWAIT)
        });
        match ended {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            ended => return ended.map(drop),
        }
    }
}

/// Ends at once the whole group that a child leads. Its status stays.
pub fn kill_group(leader: Pid) -> io::Result<()> {
    // SAFETY: numbers; the child has not been waited for, so its number is still its own.
    check(unsafe { libc::kill(-leader.0, libc::SIGKILL) }).map(drop)
}

/// Whether this process may do what root may.
pub fn is_root() -> bool {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Whether `descriptor` is open and is the FUSE device.
pub fn is_fuse_device(descriptor: RawFd) -> io::Result<bool> {
    // SAFETY: all zeroes is a valid `stat`, and the pointer is to one that lives through the call.
    let about = unsafe {
        let mut about: libc::stat = std::mem::zeroed();
        check(libc::fstat(descriptor, &mut about))?;
        about
    };
    // Documentation/admin-guide/devices.txt: 10 is "misc", 229 is /dev/fuse.
    Ok(about.st_mode & libc::S_IFMT == libc::S_IFCHR && about.st_rdev == libc::makedev(10, 229))
}

/// Takes over a descriptor that was left open for this process. No program that is run later gets it.
///
/// # Safety
/// Nothing else in this process owns it.
pub unsafe fn take_descriptor(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: as the caller promises.
    unsafe {
        check(libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC))?;
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

/// Asks the file system at `path` about itself (statvfs(3)), and waits for its answer, for ever if there is none.
pub fn file_system_answers(path: &Path) -> bool {
    ask_file_system(path).is_ok()
}

/// The same, with why not.
pub fn ask_file_system(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all zeroes is a valid `statvfs`; both pointers are to what lives through the call.
    unsafe {
        let mut about: libc::statvfs = std::mem::zeroed();
        check(libc::statvfs(path.as_ptr(), &mut about)).map(drop)
    }
}

/// Sends an ioctl(2) that passes 128 bytes on: a name with zeros behind it.
pub fn ask_by_name(file: &File, request: u32, name: &str) -> io::Result<()> {
    let mut data = [0_u8; 128];
    let place = data.get_mut(..name.len()).ok_or(io::ErrorKind::InvalidInput)?;
    place.copy_from_slice(name.as_bytes());
    // SAFETY: the descriptor is open, and as many bytes are there as the request's number says.
    check(unsafe { libc::ioctl(file.as_raw_fd(), request.into(), data.as_ptr()) }).map(drop)
}

/// Goes over to another mount namespace, `/proc/PID/ns/mnt`. Must be called while there is one thread.
pub fn enter_mount_namespace(path: &Path) -> io::Result<()> {
    let namespace = File::open(path)?;
    // SAFETY: a number, and a descriptor that is open.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) }).map(drop)
}

pub(super) fn check(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}
