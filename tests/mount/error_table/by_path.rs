//! The calls that take a path, each as it is written in a row. All give the errno, 0 for success.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::ptr::{null, null_mut};

use libc::{c_char, c_int, c_uint};

use super::super::calls::{call, errno};
use super::tree::Tree;

/// An address that nothing is mapped at.
const NOWHERE: *const c_char = std::ptr::without_provenance(1);

/// What a call that gives out a descriptor says; the descriptor is closed.
fn opened(answer: c_int) -> c_int {
    let said = call(answer);
    if said == 0 {
        // SAFETY: the descriptor was given out just now.
        drop(unsafe { OwnedFd::from_raw_fd(answer) });
    }
    said
}

/// Room for whatever a call wants to tell.
fn room() -> [u8; 4096] {
    [0; 4096]
}

// SAFETY of all calls below: paths are C strings, and what is pointed to lives through the call, unless the row is about
// an address that is wrong on purpose, which the kernel refuses.
impl Tree {
    pub fn open(&self, path: &str, flags: c_int) -> i32 {
        opened(unsafe { libc::open(self.path(path).as_ptr(), flags, 0o600) })
    }

    /// `open` of a file that is not there yet; it is removed again.
    pub fn open_new(&self, path: &str, flags: c_int) -> i32 {
        match self.open(path, flags | libc::O_CREAT) {
            0 => self.unlink(path),
            errno => errno,
        }
    }

    pub fn open_nowhere(&self) -> i32 {
        opened(unsafe { libc::open(NOWHERE, libc::O_RDONLY) })
    }

    /// Relative to what stands at `dir`.
    pub fn openat(&self, dir: &str, path: &str, flags: c_int) -> i32 {
        let path = CString::new(path).unwrap();
        self.on(dir, libc::O_PATH, |dir| opened(unsafe { libc::openat(dir, path.as_ptr(), flags, 0o600) }))
    }

    pub fn openat_of_nothing(&self) -> i32 {
        opened(unsafe { libc::openat(-1, c"value".as_ptr(), libc::O_RDONLY) })
    }

    pub fn creat(&self, path: &str) -> i32 {
        opened(unsafe { libc::creat(self.path(path).as_ptr(), 0o600) })
    }

    pub fn mkdir(&self, path: &str) -> i32 {
        call(unsafe { libc::mkdir(self.path(path).as_ptr(), 0o700) })
    }

    /// `mkdir`, and `rmdir` behind it.
    pub fn mkdir_and_rmdir(&self, path: &str) -> i32 {
        match self.mkdir(path) {
            0 => self.rmdir(path),
            errno => errno,
        }
    }

    pub fn rmdir(&self, path: &str) -> i32 {
        call(unsafe { libc::rmdir(self.path(path).as_ptr()) })
    }

    pub fn unlink(&self, path: &str) -> i32 {
        call(unsafe { libc::unlink(self.path(path).as_ptr()) })
    }

    pub fn unlinkat(&self, path: &str, flags: c_int) -> i32 {
        call(unsafe { libc::unlinkat(libc::AT_FDCWD, self.path(path).as_ptr(), flags) })
    }

    pub fn rename(&self, from: &str, to: &str) -> i32 {
        call(unsafe { libc::rename(self.path(from).as_ptr(), self.path(to).as_ptr()) })
    }

    /// `rename`, and back.
    pub fn rename_and_back(&self, from: &str, to: &str) -> i32 {
        match self.rename(from, to) {
            0 => self.rename(to, from),
            errno => errno,
        }
    }

    pub fn renameat2(&self, from: &str, to: &str, flags: c_uint) -> i32 {
        let (from, to) = (self.path(from), self.path(to));
        call(unsafe { libc::renameat2(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags) })
    }

    pub fn link(&self, from: &str, to: &str) -> i32 {
        call(unsafe { libc::link(self.path(from).as_ptr(), self.path(to).as_ptr()) })
    }

    pub fn linkat(&self, from: &str, to: &str, flags: c_int) -> i32 {
        let (from, to) = (self.path(from), self.path(to));
        call(unsafe { libc::linkat(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags) })
    }

    pub fn symlink(&self, target: &str, path: &str) -> i32 {
        let target = CString::new(target).unwrap();
        call(unsafe { libc::symlink(target.as_ptr(), self.path(path).as_ptr()) })
    }

    pub fn readlink(&self, path: &str) -> i32 {
        self.readlink_into(path, 4096)
    }

    pub fn readlink_into(&self, path: &str, size: usize) -> i32 {
        call(unsafe { libc::readlink(self.path(path).as_ptr(), room().as_mut_ptr().cast(), size) } as i64)
    }

    pub fn mknod(&self, path: &str, mode: libc::mode_t) -> i32 {
        call(unsafe { libc::mknod(self.path(path).as_ptr(), mode | 0o600, 0) })
    }

    pub fn mkfifo(&self, path: &str) -> i32 {
        call(unsafe { libc::mkfifo(self.path(path).as_ptr(), 0o600) })
    }

    pub fn stat(&self, path: &str) -> i32 {
        call(unsafe { libc::stat(self.path(path).as_ptr(), room().as_mut_ptr().cast()) })
    }

    pub fn stat_nowhere(&self) -> i32 {
        call(unsafe { libc::stat(NOWHERE, room().as_mut_ptr().cast()) })
    }

    pub fn stat_into_nowhere(&self, path: &str) -> i32 {
        // Not by libc's function, which may copy the answer itself.
        call(unsafe { libc::syscall(libc::SYS_newfstatat, libc::AT_FDCWD, self.path(path).as_ptr(), NOWHERE, 0) })
    }

    pub fn lstat(&self, path: &str) -> i32 {
        call(unsafe { libc::lstat(self.path(path).as_ptr(), room().as_mut_ptr().cast()) })
    }

    pub fn statx(&self, path: &str, flags: c_int, mask: c_uint) -> i32 {
        let path = self.path(path);
        call(unsafe { libc::statx(libc::AT_FDCWD, path.as_ptr(), flags, mask, room().as_mut_ptr().cast()) })
    }

    pub fn statfs(&self, path: &str) -> i32 {
        call(unsafe { libc::statfs(self.path(path).as_ptr(), room().as_mut_ptr().cast()) })
    }

    pub fn access(&self, path: &str, mode: c_int) -> i32 {
        // Not access(2): that asks for the real user, who is root and has all capabilities again.
        self.faccessat2(path, mode, libc::AT_EACCESS)
    }

    pub fn faccessat2(&self, path: &str, mode: c_int, flags: c_int) -> i32 {
        let path = self.path(path);
        call(unsafe { libc::syscall(libc::SYS_faccessat2, libc::AT_FDCWD, path.as_ptr(), mode, flags) })
    }

    pub fn chmod(&self, path: &str, mode: libc::mode_t) -> i32 {
        call(unsafe { libc::chmod(self.path(path).as_ptr(), mode) })
    }

    pub fn chown(&self, path: &str, uid: u32, gid: u32) -> i32 {
        call(unsafe { libc::chown(self.path(path).as_ptr(), uid, gid) })
    }

    /// Nanoseconds as given.
    pub fn utimensat(&self, path: &str, nanoseconds: i64, flags: c_int) -> i32 {
        let times = [libc::timespec { tv_sec: 1, tv_nsec: nanoseconds }; 2];
        call(unsafe { libc::utimensat(libc::AT_FDCWD, self.path(path).as_ptr(), times.as_ptr(), flags) })
    }

    pub fn utimes_now(&self, path: &str) -> i32 {
        call(unsafe { libc::utimes(self.path(path).as_ptr(), null()) })
    }

    pub fn truncate(&self, path: &str, size: i64) -> i32 {
        call(unsafe { libc::truncate(self.path(path).as_ptr(), size) })
    }

    pub fn chdir(&self, path: &str) -> i32 {
        call(unsafe { libc::chdir(self.path(path).as_ptr()) })
    }

    pub fn chroot(&self, path: &str) -> i32 {
        call(unsafe { libc::chroot(self.path(path).as_ptr()) })
    }

    pub fn execve(&self, path: &str) -> i32 {
        let path = self.path(path);
        let mut command = Command::new(std::ffi::OsStr::from_bytes(path.as_bytes()));
        errno(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status())
    }

    pub fn inotify_add_watch(&self, path: &str, mask: u32) -> i32 {
        let inotify = unsafe { OwnedFd::from_raw_fd(libc::inotify_init1(libc::IN_CLOEXEC)) };
        call(unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), self.path(path).as_ptr(), mask) })
    }

    pub fn name_to_handle_at(&self, path: &str, room_for: u32) -> i32 {
        let mut handle = [0_u32; 64];
        handle[0] = room_for;
        let (path, mut mount) = (self.path(path), 0_i32);
        call(unsafe {
            let into = (handle.as_mut_ptr(), &raw mut mount);
            libc::syscall(libc::SYS_name_to_handle_at, libc::AT_FDCWD, path.as_ptr(), into.0, into.1, 0)
        })
    }

    pub fn bind(&self, path: &str) -> i32 {
        self.with_socket(path, |socket, address, length| unsafe { libc::bind(socket, address, length) })
    }

    pub fn connect(&self, path: &str) -> i32 {
        self.with_socket(path, |socket, address, length| unsafe { libc::connect(socket, address, length) })
    }

    fn with_socket(&self, path: &str, act: impl Fn(c_int, *const libc::sockaddr, u32) -> c_int) -> i32 {
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        address.sun_family = libc::AF_UNIX as u16;
        for (to, from) in address.sun_path.iter_mut().zip(self.path(path).as_bytes()) {
            *to = *from as c_char;
        }
        let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)) };
        call(act(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32))
    }

    pub fn getxattr(&self, path: &str, name: &str) -> i32 {
        self.getxattr_into(path, name, 4096)
    }

    pub fn getxattr_into(&self, path: &str, name: &str, size: usize) -> i32 {
        let name = CString::new(name).unwrap();
        call(unsafe { libc::getxattr(self.path(path).as_ptr(), name.as_ptr(), room().as_mut_ptr().cast(), size) } as i64)
    }

    pub fn listxattr(&self, path: &str) -> i32 {
        self.listxattr_into(path, 4096)
    }

    pub fn listxattr_into(&self, path: &str, size: usize) -> i32 {
        call(unsafe { libc::listxattr(self.path(path).as_ptr(), room().as_mut_ptr().cast(), size) } as i64)
    }

    /// A value of so many bytes.
    pub fn setxattr(&self, path: &str, name: &str, size: usize, flags: c_int) -> i32 {
        let (name, value) = (CString::new(name).unwrap(), vec![b'x'; size]);
        call(unsafe { libc::setxattr(self.path(path).as_ptr(), name.as_ptr(), value.as_ptr().cast(), size, flags) })
    }

    pub fn removexattr(&self, path: &str, name: &str) -> i32 {
        let name = CString::new(name).unwrap();
        call(unsafe { libc::removexattr(self.path(path).as_ptr(), name.as_ptr()) })
    }

    pub fn umount(&self, path: &str) -> i32 {
        call(unsafe { libc::umount2(self.path(path).as_ptr(), 0) })
    }

    pub fn swapon(&self, path: &str) -> i32 {
        call(unsafe { libc::swapon(self.path(path).as_ptr(), 0) })
    }

    pub fn pivot_root(&self, path: &str) -> i32 {
        let path = self.path(path);
        call(unsafe { libc::syscall(libc::SYS_pivot_root, path.as_ptr(), path.as_ptr()) })
    }

    pub fn acct(&self, path: &str) -> i32 {
        call(unsafe { libc::acct(self.path(path).as_ptr()) })
    }

    pub fn mount_on(&self, path: &str) -> i32 {
        call(unsafe {
            libc::mount(c"none".as_ptr(), self.path(path).as_ptr(), c"tmpfs".as_ptr(), 0, null_mut::<u8>().cast())
        })
    }
}
