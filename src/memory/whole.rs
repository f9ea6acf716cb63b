//! Locking the whole process: buffers of libraries too. Only where the limit (`ulimit -l`) is none, because with one every
//! later allocation would count against it, and fail when it is used up.

use std::io;

/// Locks every page from when it is first used, if that is allowed, and says whether it was. A privileged process may take
/// the limit away, and does. Children are not locked.
pub fn lock_all() -> bool {
    let none = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a pointer to a struct that lives through the call. Refused, the limit stays what it is.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &none) };
    // ONFAULT: the room that is set aside for buffers and stacks stays unused, as it was.
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: numbers.
    limit().is_ok_and(|limit| limit == libc::RLIM_INFINITY) && unsafe { libc::mlockall(flags) } == 0
}

/// How many bytes may be locked.
pub(super) fn limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a pointer to a struct that lives through the call.
    match unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) } {
        0 => Ok(limit.rlim_cur),
        _ => Err(io::Error::last_os_error()),
    }
}
