//! The calls on a file that is open, each as it is written in a row: the path, how it is opened, and what is asked then.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;

use libc::{c_int, c_ulong};

use super::super::calls::call;
use super::tree::Tree;

/// Added to the errno of an open that a row takes for granted, so that no row mistakes it for its own.
const NOT_OPENED: i32 = 10_000;

// SAFETY of all calls below: descriptors are open, what is pointed to lives through the call.
impl Tree {
    /// Opens a file for `act`.
    pub fn on(&self, path: &str, flags: c_int, act: impl FnOnce(c_int) -> i32) -> i32 {
        let fd = unsafe { libc::open(self.path(path).as_ptr(), flags | libc::O_CLOEXEC) };
        if fd < 0 {
            return NOT_OPENED + io::Error::last_os_error().raw_os_error().unwrap();
        }
        // SAFETY: the descriptor was given out just now.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        act(fd.as_raw_fd())
    }

    pub fn read(&self, path: &str, flags: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::read(fd, [0_u8; 64].as_mut_ptr().cast(), 64) } as i64))
    }

    pub fn read_into_nowhere(&self, path: &str, flags: c_int) -> i32 {
        let nowhere = std::ptr::without_provenance_mut(1);
        self.on(path, flags, |fd| call(unsafe { libc::read(fd, nowhere, 1) } as i64))
    }

    pub fn write(&self, path: &str, flags: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::write(fd, b"x".as_ptr().cast(), 1) } as i64))
    }

    pub fn write_nothing(&self, path: &str, flags: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::write(fd, b"x".as_ptr().cast(), 0) } as i64))
    }

    pub fn write_from_nowhere(&self, path: &str, flags: c_int) -> i32 {
        let nowhere = std::ptr::without_provenance(1);
        self.on(path, flags, |fd| call(unsafe { libc::write(fd, nowhere, 1) } as i64))
    }

    pub fn pread(&self, path: &str, flags: c_int, offset: i64) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::pread(fd, [0_u8; 8].as_mut_ptr().cast(), 8, offset) } as i64))
    }

    pub fn pwrite(&self, path: &str, flags: c_int, offset: i64) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::pwrite(fd, b"x".as_ptr().cast(), 1, offset) } as i64))
    }

    pub fn preadv2(&self, path: &str, flags: c_int, how: c_int) -> i32 {
        let mut room = [0_u8; 8];
        let piece = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: 8 };
        self.on(path, flags, |fd| call(unsafe { libc::preadv2(fd, &raw const piece, 1, 0, how) } as i64))
    }

    pub fn lseek(&self, path: &str, flags: c_int, offset: i64, whence: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::lseek(fd, offset, whence) }))
    }

    pub fn ftruncate(&self, path: &str, flags: c_int, size: i64) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::ftruncate(fd, size) }))
    }

    pub fn fallocate(&self, path: &str, flags: c_int, mode: c_int, offset: i64, length: i64) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::fallocate(fd, mode, offset, length) }))
    }

    pub fn fsync(&self, path: &str, flags: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::fsync(fd) }))
    }

    pub fn fdatasync(&self, path: &str, flags: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::fdatasync(fd) }))
    }

    pub fn syncfs(&self, path: &str, flags: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::syncfs(fd) }))
    }

    pub fn sync_file_range(&self, path: &str, flags: c_int, offset: i64) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::sync_file_range(fd, offset, 1, libc::SYNC_FILE_RANGE_WRITE) }))
    }

    pub fn getdents(&self, path: &str, flags: c_int, size: usize) -> i32 {
        let mut room = [0_u64; 512];
        self.on(path, flags, |fd| call(unsafe { libc::syscall(libc::SYS_getdents64, fd, room.as_mut_ptr(), size) }))
    }

    pub fn mmap(&self, path: &str, flags: c_int, protection: c_int, how: c_int, offset: i64) -> i32 {
        self.mmap_of(path, flags, 1, protection, how, offset)
    }

    pub fn mmap_of(&self, path: &str, flags: c_int, length: usize, protection: c_int, how: c_int, offset: i64) -> i32 {
        self.on(path, flags, |fd| {
            let map = unsafe { libc::mmap(null_mut(), length, protection, how, fd, offset) };
            match map {
                libc::MAP_FAILED => call(-1),
                map => call(unsafe { libc::munmap(map, length) }),
            }
        })
    }

    /// A change of protection of what was mapped for reading.
    pub fn mprotect(&self, path: &str, flags: c_int, how: c_int, protection: c_int) -> i32 {
        self.on(path, flags, |fd| {
            let map = unsafe { libc::mmap(null_mut(), 1, libc::PROT_READ, how, fd, 0) };
            if map == libc::MAP_FAILED {
                return NOT_OPENED + call(-1);
            }
            let said = call(unsafe { libc::mprotect(map, 1, protection) });
            unsafe { libc::munmap(map, 1) };
            said
        })
    }

    pub fn fstat(&self, path: &str, flags: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::fstat(fd, [0_u8; 256].as_mut_ptr().cast()) }))
    }

    pub fn fstatfs(&self, path: &str, flags: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::fstatfs(fd, [0_u8; 256].as_mut_ptr().cast()) }))
    }

    pub fn fchdir(&self, path: &str, flags: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::fchdir(fd) }))
    }

    pub fn fchmod(&self, path: &str, flags: c_int, mode: libc::mode_t) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::fchmod(fd, mode) }))
    }

    pub fn fchown(&self, path: &str, flags: c_int, uid: u32, gid: u32) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::fchown(fd, uid, gid) }))
    }

    pub fn futimens(&self, path: &str, flags: c_int, nanoseconds: i64) -> i32 {
        let times = [libc::timespec { tv_sec: 1, tv_nsec: nanoseconds }; 2];
        self.on(path, flags, |fd| call(unsafe { libc::futimens(fd, times.as_ptr()) }))
    }

    pub fn fgetxattr(&self, path: &str, flags: c_int, name: &str) -> i32 {
        let name = CString::new(name).unwrap();
        self.on(path, flags, |fd| {
            call(unsafe { libc::fgetxattr(fd, name.as_ptr(), [0_u8; 256].as_mut_ptr().cast(), 256) } as i64)
        })
    }

    pub fn flock(&self, path: &str, flags: c_int, operation: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::flock(fd, operation) }))
    }

    pub fn fcntl_lock(&self, path: &str, flags: c_int, command: c_int, kind: c_int, whence: c_int) -> i32 {
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        (lock.l_type, lock.l_whence, lock.l_len) = (kind as i16, whence as i16, 1);
        self.on(path, flags, |fd| call(unsafe { libc::fcntl(fd, command, &raw mut lock) }))
    }

    pub fn fcntl(&self, path: &str, flags: c_int, command: c_int, argument: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::fcntl(fd, command, argument) }))
    }

    pub fn ioctl(&self, path: &str, flags: c_int, request: c_ulong) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::ioctl(fd, request, [0_u8; 256].as_mut_ptr()) }))
    }

    /// Makes one file a clone of the other (FICLONE).
    pub fn ficlone(&self, from: &str, to: &str) -> i32 {
        const FICLONE: c_ulong = 0x4004_9409;
        self.on(from, libc::O_RDONLY, |from| {
            self.on(to, libc::O_RDWR, |to| call(unsafe { libc::ioctl(to, FICLONE, from) }))
        })
    }

    pub fn copy_file_range(&self, (from, from_flags): (&str, c_int), (to, to_flags): (&str, c_int), how: u32) -> i32 {
        self.on(from, from_flags, |from| {
            self.on(to, to_flags, |to| {
                call(unsafe { libc::copy_file_range(from, null_mut(), to, null_mut(), 1, how) } as i64)
            })
        })
    }

    pub fn sendfile(&self, (from, from_flags): (&str, c_int), (to, to_flags): (&str, c_int)) -> i32 {
        self.on(from, from_flags, |from| {
            self.on(to, to_flags, |to| call(unsafe { libc::sendfile(to, from, null_mut(), 1) } as i64))
        })
    }

    /// From a file into a pipe.
    pub fn splice_from(&self, path: &str, flags: c_int, offset: i64) -> i32 {
        self.on(path, flags, |fd| {
            let ((_read, write), mut offset) = (pipe(), offset);
            call(unsafe { libc::splice(fd, &raw mut offset, write.as_raw_fd(), null_mut(), 1, 0) } as i64)
        })
    }

    /// From a file into a file: one of them must be a pipe.
    pub fn splice_without_pipe(&self, path: &str, flags: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::splice(fd, null_mut(), fd, null_mut(), 1, 0) } as i64))
    }

    pub fn tee(&self, path: &str, flags: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::tee(fd, fd, 1, 0) } as i64))
    }

    pub fn vmsplice(&self, path: &str, flags: c_int) -> i32 {
        let piece = libc::iovec { iov_base: [0_u8; 1].as_mut_ptr().cast(), iov_len: 1 };
        self.on(path, flags, |fd| call(unsafe { libc::vmsplice(fd, &raw const piece, 1, 0) } as i64))
    }

    pub fn posix_fadvise(&self, path: &str, flags: c_int, advice: c_int) -> i32 {
        // Gives the errno itself.
        self.on(path, flags, |fd| unsafe { libc::posix_fadvise(fd, 0, 0, advice) })
    }

    pub fn readahead(&self, path: &str, flags: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::readahead(fd, 0, 1) } as i64))
    }

    pub fn epoll_add(&self, path: &str, flags: c_int) -> i32 {
        let epoll = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) };
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        self.on(path, flags, |fd| {
            call(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) })
        })
    }

    pub fn listen(&self, path: &str, flags: c_int) -> i32 {
        self.on(path, flags, |fd| call(unsafe { libc::listen(fd, 1) }))
    }

    /// `fchmodat2` and its kin by a descriptor that is a path only.
    pub fn linkat_of_descriptor(&self, path: &str, flags: c_int, to: &str) -> i32 {
        let to = self.path(to);
        self.on(path, flags, |fd| {
            call(unsafe { libc::linkat(fd, c"".as_ptr(), libc::AT_FDCWD, to.as_ptr(), libc::AT_EMPTY_PATH) })
        })
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: both were given out just now.
    unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) }
}
