//! What the kernel lets each thread give up for itself alone: capabilities, new privileges, and what landlock restricts. The
//! threads are there already (a vault must have answered before anything is mounted), so each is told by a signal, as the C
//! library does when a process changes its user. Threads that are started later have what their maker has.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::SystemClock;
use crate::mount::process::check;

/// How often it is looked whether a thread has done as it was told, and after what pause: five seconds.
const LOOKS: (usize, Duration) = (5_000, Duration::from_millis(1));
/// No landlock.
const NONE: i32 = -1;

/// More threads than a daemon has when it enters.
const MAX_THREADS: usize = 1024;

/// For the handler: the ruleset to enter.
static RULESET: AtomicI32 = AtomicI32::new(NONE);
/// The threads that have done it, and, as negative numbers, those that could not.
static ANSWERS: [AtomicI32; MAX_THREADS] = [const { AtomicI32::new(0) }; MAX_THREADS];
/// How many there are.
static ANSWERED: AtomicUsize = AtomicUsize::new(0);

/// In all threads. The error is a line.
pub(super) fn give_up(ruleset: Option<OwnedFd>) -> Result<(), String> {
    let line = |error: io::Error| format!("capabilities and privileges are not given up: {error}");
    RULESET.store(ruleset.as_ref().map_or(NONE, AsRawFd::as_raw_fd), Ordering::Relaxed);
    let signal = libc::SIGRTMIN() + 3;
    listen(signal, on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t).map_err(line)?;
    let told = tell_all(signal);
    listen(signal, libc::SIG_IGN).map_err(line)?;
    told.map_err(line)?;
    match ANSWERS.iter().filter(|answer| answer.load(Ordering::Acquire) < 0).count() {
        0 => Ok(()),
        failed => Err(format!("{failed} threads cannot give up all of their privileges")),
    }
}

/// Calls again and again what `handler` does; a wait that it interrupts goes on.
fn listen(signal: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: all zeroes is a valid `sigaction`, the pointers are to what lives through the call, and the handler only makes
    // system calls and counts.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        check(libc::sigaction(signal, &action, std::ptr::null_mut())).map(drop)
    }
}

/// Until there is none that has not been told: one that was not may have started another meanwhile.
fn tell_all(signal: libc::c_int) -> io::Result<()> {
    let mut told = BTreeSet::new();
    loop {
        let new: Vec<_> = threads()?.into_iter().filter(|thread| told.insert(*thread)).collect();
        if new.is_empty() {
            return Ok(());
        }
        new.iter().try_for_each(|thread| tell(*thread, signal))?;
        wait_for(&new)?;
    }
}

fn threads() -> io::Result<Vec<libc::pid_t>> {
    let number = |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(std::fs::read_dir("/proc/self/task")?.filter_map(number).collect())
}

/// One that is gone needs not be told.
fn tell(thread: libc::pid_t, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: numbers, of this process.
    let told = check(unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) } as libc::c_int);
    told.map(drop).or_else(|error| if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) })
}

fn wait_for(told: &[libc::pid_t]) -> io::Result<()> {
    let (clock, (looks, pause)) = (SystemClock::shared(), LOOKS);
    for _ in 0..looks {
        let silent = told.iter().find(|thread| !has_answered(**thread) && !is_gone(**thread));
        if silent.is_none() {
            return Ok(());
        }
        clock.sleep(pause);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "a thread does not answer"))
}

fn has_answered(thread: libc::pid_t) -> bool {
    ANSWERS.iter().any(|answer| answer.load(Ordering::Acquire).abs() == thread)
}

fn is_gone(thread: libc::pid_t) -> bool {
    std::fs::metadata(format!("/proc/self/task/{thread}")).is_err()
}

extern "C" fn on_signal(_signal: libc::c_int) {
    // SAFETY: the address is the thread's own.
    let (place, before) = unsafe { (libc::__errno_location(), *libc::__errno_location()) };
    // SAFETY: no arguments, cannot fail.
    let us = unsafe { libc::gettid() };
    let answer = if give_up_here() { us } else { -us };
    if let Some(place) = ANSWERS.get(ANSWERED.fetch_add(1, Ordering::Relaxed)) {
        place.store(answer, Ordering::Release);
    }
    // SAFETY: as above.
    unsafe { *place = before }
}

/// Only system calls: it runs wherever the thread was interrupted.
fn give_up_here() -> bool {
    // From linux/capability.h: version 3 has two words for each set.
    const VERSION: u32 = 0x2008_0522;
    let (header, none) = ([VERSION, 0], [0_u32; 6]);
    let ruleset = RULESET.load(Ordering::Relaxed);
    // SAFETY: numbers, and pointers to as many words as the version says.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && (ruleset == NONE || libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) == 0)
            && libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) == 0
    }
}
