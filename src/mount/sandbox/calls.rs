//! System calls: seccomp(2). What is not in the list is answered as by a kernel that has never heard of it, so that a
//! library that knows another way takes it.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};

/// Always allowed: files by descriptor and to read, memory, threads, time, and the network.
#[rustfmt::skip]
const CALLS: &[libc::c_long] = &[
    // Files. Which may be opened landlock says.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_openat, libc::SYS_close, libc::SYS_lseek, libc::SYS_fstat,
    libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_getdents64,
    libc::SYS_readlinkat, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_flock, libc::SYS_fsync,
    libc::SYS_fdatasync, libc::SYS_sync_file_range, libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_dup,
    libc::SYS_dup3, libc::SYS_pipe2, libc::SYS_getcwd, libc::SYS_fadvise64,
    // Memory.
    libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mprotect, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_mlock,
    libc::SYS_mlock2, libc::SYS_munlock, libc::SYS_brk, libc::SYS_membarrier,
    // Threads and signals of our own.
    libc::SYS_futex, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_set_tid_address, libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity, libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait, libc::SYS_sigaltstack, libc::SYS_restart_syscall, libc::SYS_exit, libc::SYS_exit_group,
    libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid,
    libc::SYS_getegid, libc::SYS_getrusage, libc::SYS_sysinfo, libc::SYS_uname, libc::SYS_getrandom, libc::SYS_getcpu,
    // Time.
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep,
    libc::SYS_gettimeofday, libc::SYS_timerfd_create, libc::SYS_timerfd_settime,
    // Network. Whereto a connection may go landlock says.
    libc::SYS_connect, libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_recvmmsg, libc::SYS_shutdown, libc::SYS_bind, libc::SYS_accept, libc::SYS_accept4, libc::SYS_getsockname,
    libc::SYS_getpeername, libc::SYS_socketpair, libc::SYS_setsockopt, libc::SYS_getsockopt, libc::SYS_ppoll,
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2,
];

/// Older names of the same, which this architecture still has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER: &[libc::c_long] = &[
    libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink, libc::SYS_poll,
    libc::SYS_epoll_wait, libc::SYS_epoll_create, libc::SYS_eventfd, libc::SYS_pipe, libc::SYS_dup2, libc::SYS_time,
    libc::SYS_arch_prctl, libc::SYS_getrlimit, libc::SYS_select, libc::SYS_pselect6,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[libc::SYS_pselect6];

/// In all threads. The error is a line.
pub(super) fn allow_only_ours() -> Result<(), String> {
    let program = filter().and_then(|filter| BpfProgram::try_from(filter).map_err(Error::Backend));
    program
        .and_then(|program| apply_filter_all_threads(&program))
        .map_err(|error| format!("system calls are not restricted: {error}"))
}

fn filter() -> Result<SeccompFilter, Error> {
    let always = CALLS.iter().chain(OLDER).map(|call| (*call, Vec::new()));
    let mut rules: BTreeMap<_, _> = always.collect();
    let conditions = conditional().map_err(Error::Backend)?;
    rules.extend(conditions);
    let arch = std::env::consts::ARCH.try_into().map_err(Error::Backend)?;
    let unknown = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    SeccompFilter::new(rules, unknown, SeccompAction::Allow, arch).map_err(Error::Backend)
}

type Rules = Vec<(libc::c_long, Vec<SeccompRule>)>;

/// Allowed with some arguments only.
fn conditional() -> Result<Rules, seccompiler::BackendError> {
    let is = |argument, value: u64| SeccompRule::new(vec![equal(argument, value)?]);
    let any = |argument, values: &[libc::c_int]| {
        values.iter().map(|value| is(argument, u64::from(value.cast_unsigned()))).collect::<Result<Vec<_>, _>>()
    };
    // A send that makes a connection is none that landlock looks at.
    let no_connection = |flags| SeccompRule::new(vec![without(flags, libc::MSG_FASTOPEN)?]);
    // A thread of ours, and no process. clone3(2) hides its flags, so it is not there, and the C library takes clone(2).
    let thread = u64::from((libc::CLONE_THREAD | libc::CLONE_VM).cast_unsigned());
    let thread = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), thread)?;
    // SAFETY: no arguments, cannot fail.
    let us = u64::from(unsafe { libc::getpid() }.cast_unsigned());
    let no_limit = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    Ok(vec![
        (libc::SYS_clone, vec![SeccompRule::new(vec![thread])?]),
        (libc::SYS_tgkill, vec![is(0, us)?]),
        // Reads a limit, and sets none.
        (libc::SYS_prlimit64, vec![SeccompRule::new(vec![no_limit])?]),
        (libc::SYS_prctl, any(0, &[libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA])?),
        (libc::SYS_sendto, vec![no_connection(3)?]),
        (libc::SYS_sendmsg, vec![no_connection(2)?]),
        (libc::SYS_sendmmsg, vec![no_connection(3)?]),
        (libc::SYS_ioctl, any(1, IOCTLS)?),
        (libc::SYS_fcntl, fcntl(any(1, FCNTLS)?)?),
        (libc::SYS_socket, sockets()?),
    ])
}

/// What the libraries and the tests of a terminal ask. None that types on one (TIOCSTI), or sends signals (FIOASYNC).
const IOCTLS: &[libc::c_int] = &[
    libc::FIONBIO as libc::c_int,
    libc::FIONREAD as libc::c_int,
    libc::FIOCLEX as libc::c_int,
    libc::TCGETS as libc::c_int,
];

/// Flags of descriptors, copies, and locks. None that says who gets a signal: the kernel would send it for us to anybody.
#[rustfmt::skip]
const FCNTLS: &[libc::c_int] = &[
    libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETLK, libc::F_SETLK,
    libc::F_SETLKW, libc::F_OFD_GETLK, libc::F_OFD_SETLK, libc::F_OFD_SETLKW,
];

fn fcntl(mut rules: Vec<SeccompRule>) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let set_flags = equal(1, u64::from(libc::F_SETFL.cast_unsigned()))?;
    rules.push(SeccompRule::new(vec![set_flags, without(2, libc::O_ASYNC)?])?);
    Ok(rules)
}

/// The network's own protocols: landlock knows of no others which ports they go to. A log's sockets take datagrams; what
/// takes a stream (a container engine, a service manager) would start programs for us.
fn sockets() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let of = |family: libc::c_int, protocol: libc::c_int| {
        let family = equal(0, u64::from(family.cast_unsigned()))?;
        SeccompRule::new(vec![family, equal(2, u64::from(protocol.cast_unsigned()))?])
    };
    let is_datagram = SeccompCmpOp::MaskedEq(KIND_OF_SOCKET);
    let is_datagram =
        SeccompCondition::new(1, SeccompCmpArgLen::Dword, is_datagram, u64::from(libc::SOCK_DGRAM.cast_unsigned()))?;
    let mut rules = vec![
        SeccompRule::new(vec![equal(0, u64::from(libc::AF_UNIX.cast_unsigned()))?, is_datagram])?,
        of(libc::AF_NETLINK, libc::NETLINK_ROUTE)?,
    ];
    for family in [libc::AF_INET, libc::AF_INET6] {
        for protocol in [libc::IPPROTO_IP, libc::IPPROTO_TCP, libc::IPPROTO_UDP] {
            rules.push(of(family, protocol)?);
        }
    }
    Ok(rules)
}

/// The bits of socket(2)'s type that are not flags.
const KIND_OF_SOCKET: u64 = 0xf;

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn without(argument: u8, flag: libc::c_int) -> Result<SeccompCondition, seccompiler::BackendError> {
    let flag = u64::from(flag.cast_unsigned());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(flag), 0)
}
