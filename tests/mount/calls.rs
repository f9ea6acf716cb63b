//! System calls and what they answer.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The errno of a failure; 0 for success.
pub fn errno<T>(result: io::Result<T>) -> i32 {
    result.err().map_or(0, |error| error.raw_os_error().unwrap())
}

pub fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// The errno of a system call that answers below 0 when it fails.
pub fn call(answer: impl Into<i64>) -> i32 {
    if answer.into() < 0 { io::Error::last_os_error().raw_os_error().unwrap() } else { 0 }
}

/// Writes a file whole. The errno is that of open, write or close, whichever fails first, and where it failed.
pub fn write(path: &Path, bytes: &[u8]) -> (i32, &'static str) {
    let mut file = match OpenOptions::new().write(true).create(true).truncate(true).open(path) {
        Ok(file) => file,
        Err(error) => return (error.raw_os_error().unwrap(), "open"),
    };
    if let Err(error) = file.write_all(bytes) {
        return (error.raw_os_error().unwrap(), "write");
    }
    // SAFETY: the descriptor is ours and closed once.
    match call(unsafe { libc::close(file.into_raw_fd()) }) {
        0 => (0, ""),
        number => (number, "close"),
    }
}

/// What a map of an open file shows. A page that cannot be had, which is SIGBUS to whoever touches it, is EFAULT here.
pub fn mapped(file: &File, length: usize, how: i32) -> io::Result<Vec<u8>> {
    let mut room = vec![0_u8; length];
    let to = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: length };
    // SAFETY: a new mapping of an open file, unmapped once; the kernel copies from it, not we.
    let copied = unsafe {
        let map = libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, how, file.as_raw_fd(), 0);
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let from = libc::iovec { iov_base: map, iov_len: length };
        let copied = libc::process_vm_readv(libc::getpid(), &raw const to, 1, &raw const from, 1, 0);
        let copied = usize::try_from(copied).map_err(|_| io::Error::last_os_error());
        libc::munmap(map, length);
        copied
    };
    room.truncate(copied?);
    Ok(room)
}
