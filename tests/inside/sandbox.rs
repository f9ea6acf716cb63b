//! What a daemon can no longer do. Each forbidden thing is tried, by a process that has entered the same sandbox, in the
//! thread that entered it and in one that was there before. A process that enters it does not come out, so it is this very
//! program, run again with a job.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use akvfs::mount::mountinfo;
use akvfs::mount::sandbox::{self, Needs};

use super::harness::{SOON, World, eventually};

const JOB: &str = "AKVFS_TEST_SANDBOX";

/// A thing to try, and the errno that it gets; 0 if it works.
type Tried = (&'static str, fn(&Stage) -> io::Result<()>);

/// What the job may reach, and what not.
struct Stage {
    place: PathBuf,
    open_port: u16,
    closed_port: u16,
}

fn call(number: libc::c_long, arguments: [usize; 4]) -> io::Result<()> {
    let [first, second, third, fourth] = arguments;
    // SAFETY: what is tried is refused before it looks at its arguments; where it is not, they name nothing.
    match unsafe { libc::syscall(number, first, second, third, fourth) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

const NOBODY: usize = 0x7fff_fff0;
/// Not in the library: fcntl(2).
const F_SETSIG: usize = 10;

#[rustfmt::skip]
const FORBIDDEN: &[Tried] = &[
    // Privileges.
    ("mount", |_| call(libc::SYS_mount, [0; 4])),
    ("umount2", |_| call(libc::SYS_umount2, [0; 4])),
    ("open_tree", |_| call(libc::SYS_open_tree, [0; 4])),
    ("mount_setattr", |_| call(libc::SYS_mount_setattr, [0; 4])),
    ("fsopen", |_| call(libc::SYS_fsopen, [0; 4])),
    ("setns", |_| call(libc::SYS_setns, [0; 4])),
    ("unshare", |_| call(libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0, 0])),
    ("chroot", |_| call(libc::SYS_chroot, [0; 4])),
    ("setuid", |_| call(libc::SYS_setuid, [0; 4])),
    ("capset", |_| call(libc::SYS_capset, [0; 4])),
    ("reboot", |_| call(libc::SYS_reboot, [0; 4])),
    ("init_module", |_| call(libc::SYS_init_module, [0; 4])),
    ("keyctl", |_| call(libc::SYS_keyctl, [0; 4])),
    ("setrlimit", |_| call(libc::SYS_prlimit64, [0, 0, 1, 0])),
    ("dumpable", |_| call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as usize, 1, 0, 0])),
    // Programs and other processes.
    ("execve", |_| call(libc::SYS_execve, [0; 4])),
    ("execveat", |_| call(libc::SYS_execveat, [0; 4])),
    ("fork", |_| call(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0, 0])),
    ("clone3", |_| call(libc::SYS_clone3, [0; 4])),
    ("a program", |_| Command::new("/bin/true").status().map(drop)),
    ("ptrace", |_| call(libc::SYS_ptrace, [libc::PTRACE_ATTACH as usize, NOBODY, 0, 0])),
    ("process_vm_readv", |_| call(libc::SYS_process_vm_readv, [NOBODY, 0, 0, 0])),
    ("pidfd_getfd", |_| call(libc::SYS_pidfd_getfd, [0; 4])),
    ("kill", |_| call(libc::SYS_kill, [NOBODY, 0, 0, 0])),
    ("signal to another", |_| call(libc::SYS_tgkill, [NOBODY, NOBODY, 0, 0])),
    ("signals by a descriptor", |_| call(libc::SYS_fcntl, [0, libc::F_SETOWN as usize, 1, 0])),
    ("which signal", |_| call(libc::SYS_fcntl, [0, F_SETSIG, libc::SIGKILL as usize, 0])),
    ("signals on input", |_| call(libc::SYS_fcntl, [0, libc::F_SETFL as usize, libc::O_ASYNC as usize, 0])),
    ("the same by ioctl", |_| call(libc::SYS_ioctl, [0, libc::FIOASYNC as usize, 0, 0])),
    ("keystrokes", |_| call(libc::SYS_ioctl, [0, libc::TIOCSTI as usize, 0, 0])),
    // Ways around.
    ("bpf", |_| call(libc::SYS_bpf, [0; 4])),
    ("perf_event_open", |_| call(libc::SYS_perf_event_open, [0; 4])),
    ("userfaultfd", |_| call(libc::SYS_userfaultfd, [0; 4])),
    ("io_uring_setup", |_| call(libc::SYS_io_uring_setup, [0; 4])),
    ("open_by_handle_at", |_| call(libc::SYS_open_by_handle_at, [0; 4])),
    ("memfd_create", |_| call(libc::SYS_memfd_create, [0; 4])),
    ("unix stream", |_| call(libc::SYS_socket, [libc::AF_UNIX as usize, libc::SOCK_STREAM as usize, 0, 0])),
    ("unix packets", |_| call(libc::SYS_socket, [libc::AF_UNIX as usize, libc::SOCK_SEQPACKET as usize, 0, 0])),
    ("multipath", |_| {
        let arguments = [libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP, 0];
        call(libc::SYS_socket, arguments.map(|argument| argument as usize))
    }),
    ("fast open", |_| call(libc::SYS_sendto, [0, 0, 0, libc::MSG_FASTOPEN as usize])),
    ("fast open, sendmsg", |_| call(libc::SYS_sendmsg, [0, 0, libc::MSG_FASTOPEN as usize, 0])),
    ("fast open, sendmmsg", |_| call(libc::SYS_sendmmsg, [0, 0, 0, libc::MSG_FASTOPEN as usize])),
    ("packet socket", |_| call(libc::SYS_socket, [libc::AF_PACKET as usize, libc::SOCK_RAW as usize, 0, 0])),
    ("vsock", |_| call(libc::SYS_socket, [libc::AF_VSOCK as usize, libc::SOCK_STREAM as usize, 0, 0])),
];

/// These landlock forbids, which not every kernel has.
const OUT_OF_REACH: &[Tried] = &[
    ("a file elsewhere", |stage| fs::read(stage.place.join("closed/file")).map(drop)),
    ("a directory elsewhere", |stage| fs::read_dir(stage.place.join("closed")).map(drop)),
    ("a new file elsewhere", |stage| fs::write(stage.place.join("closed/new"), "x")),
    ("a write where it may read", |stage| {
        fs::OpenOptions::new().write(true).open(stage.place.join("open/file")).map(drop)
    }),
    ("a new file where it may read", |stage| fs::write(stage.place.join("open/new"), "x")),
    ("a file that is cut", |stage| {
        let path = CString::new(stage.place.join("open/file").to_str().unwrap()).unwrap();
        call(libc::SYS_truncate, [path.as_ptr() as usize, 0, 0, 0])
    }),
    ("another's memory", |_| fs::File::open("/proc/1/mem").map(drop)),
    ("another's environment", |_| fs::read("/proc/1/environ").map(drop)),
    ("another's program", |_| fs::read_link("/proc/1/exe").map(drop)),
    ("another port", |stage| TcpStream::connect(("127.0.0.1", stage.closed_port)).map(drop)),
    ("to listen", |_| TcpListener::bind("127.0.0.1:0").map(drop)),
];

const ALLOWED: &[Tried] = &[
    ("a file", |stage| fs::read(stage.place.join("open/file")).map(drop)),
    ("a file that was replaced", |stage| fs::read(stage.place.join("open/replaced")).map(drop)),
    ("the audit", |stage| {
        let audit = stage.place.join("audit/log");
        io::Write::write_all(&mut fs::OpenOptions::new().append(true).create(true).open(audit)?, b"x")
    }),
    ("the port", |stage| TcpStream::connect(("127.0.0.1", stage.open_port)).map(drop)),
    ("a name", |_| std::net::ToSocketAddrs::to_socket_addrs("localhost:1").map(drop)),
    ("a log's socket", |_| std::os::unix::net::UnixDatagram::unbound().map(drop)),
    ("a lock", |stage| fs::File::open(stage.place.join("open/file"))?.lock_shared()),
    ("a thread", |_| std::thread::Builder::new().spawn(|| ()).map(|thread| thread.join().unwrap())),
    ("a status", |_| fs::read("/proc/1/status").map(drop)),
    ("time and chance", |_| {
        let mut byte = [0];
        getrandom::fill(&mut byte).map_err(|error| io::Error::other(error.to_string()))
    }),
];

#[test]
#[ignore = "the other tests run it in a process of its own"]
fn the_job() {
    let Ok(place) = std::env::var(JOB) else { return };
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [open_port, closed_port] = listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
    let stage = Stage { place: place.into(), open_port, closed_port };
    let (begin, begun) = mpsc::channel::<Stage>();
    let before = std::thread::spawn(move || begun.recv().map(|stage| (try_all("before", &stage), stage)).unwrap());
    let needs = Needs {
        reads: vec![stage.place.join("open")],
        writes: vec![stage.place.join("audit")],
        ports: [open_port].into(),
        abstract_sockets: false,
    };
    let lacking = sandbox::enter(&needs);
    println!("LACKING {lacking:?}");
    fs::read_to_string("/proc/self/status").unwrap().lines().for_each(|line| println!("STATUS {line}"));
    begin.send(stage).unwrap();
    let ((), stage) = before.join().unwrap();
    try_all("main", &stage);
}

fn try_all(thread: &str, stage: &Stage) {
    for (name, act) in FORBIDDEN.iter().chain(OUT_OF_REACH).chain(ALLOWED) {
        let errno = act(stage).map_or_else(|error| error.raw_os_error().unwrap_or(-1), |()| 0);
        println!("TRIED {thread}/{name}/{errno}");
    }
}

/// What came of each thing in each thread.
fn tried(place: &Path, user: Option<u32>) -> (BTreeMap<(String, String), i32>, String) {
    for directory in ["open", "closed", "audit"] {
        fs::create_dir(place.join(directory)).unwrap();
        fs::write(place.join(directory).join("file"), "x").unwrap();
        std::os::unix::fs::chown(place.join(directory), user, user).unwrap();
    }
    fs::write(place.join("open/other"), "x").unwrap();
    fs::rename(place.join("open/other"), place.join("open/replaced")).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "sandbox::the_job", "--ignored", "--nocapture"]).env(JOB, place);
    if let Some(user) = user {
        std::os::unix::process::CommandExt::uid(&mut command, user);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let line = |line: &str| {
        let (thread, rest) = line.strip_prefix("TRIED ")?.split_once('/')?;
        let (name, errno) = rest.rsplit_once('/')?;
        Some(((thread.to_owned(), name.to_owned()), errno.parse().ok()?))
    };
    (said.lines().filter_map(line).collect(), said)
}

fn check(place: &Path, user: Option<u32>) {
    let promised = format!("Each of {} forbidden calls", FORBIDDEN.len());
    assert!(include_str!("../../docs/security.md").contains(&promised), "docs/security.md does not say {promised}");
    let (tried, said) = tried(place, user);
    let has_landlock = !said.contains("no landlock");
    if !has_landlock {
        skipped!("this kernel has no landlock");
    }
    assert!(said.contains("LACKING []") || !has_landlock, "{said}");
    for status in ["CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(said.contains(&format!("STATUS {status}")), "{status}: {said}");
    }
    for thread in ["before", "main"] {
        let errno = |name: &str| tried[&(thread.to_owned(), name.to_owned())];
        for (name, _) in FORBIDDEN {
            assert_eq!(errno(name), libc::ENOSYS, "{thread}: {name}");
        }
        for (name, _) in OUT_OF_REACH.iter().filter(|_| has_landlock) {
            assert!(
                [libc::EACCES, libc::EPERM, libc::ENOSYS].contains(&errno(name)),
                "{thread}: {name}: {}",
                errno(name)
            );
        }
        for (name, _) in ALLOWED {
            assert_eq!(errno(name), 0, "{thread}: {name}: {said}");
        }
    }
}

#[test]
fn what_is_forbidden_is_refused_in_every_thread_and_what_is_needed_works() {
    check(tempfile::tempdir().unwrap().path(), None);
}

#[test]
fn the_same_for_a_user_other_than_root() {
    // SAFETY: no arguments, cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return skipped!("only root can be another user too");
    }
    let place = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(place.path(), Some(65_534), None).unwrap();
    check(place.path(), Some(65_534));
}

/// Without the sandbox these work, so that a refusal is the sandbox's.
#[test]
fn what_landlock_forbids_works_without_it() {
    let place = tempfile::tempdir().unwrap();
    for directory in ["open", "closed", "audit"] {
        fs::create_dir(place.path().join(directory)).unwrap();
        fs::write(place.path().join(directory).join("file"), "x").unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let stage = Stage { place: place.path().to_owned(), open_port: port, closed_port: port };
    for (name, act) in OUT_OF_REACH.iter().filter(|(name, _)| !name.starts_with("another's")) {
        assert!(act(&stage).is_ok(), "{name}");
    }
}

#[test]
fn every_thread_of_a_mount_has_given_it_up() {
    for options in ["rw", "ro"] {
        let Some(world) = World::new(&[("a", "x")], options) else { return };
        assert_eq!(fs::read_to_string(world.path("secrets/a/value")).unwrap(), "x");
        let log = world.mount.log();
        assert!(!log.contains("not restricted") && !log.contains("given up"), "{log}");
        let threads = fs::read_dir(format!("/proc/{}/task", world.mount.pid())).unwrap();
        let statuses: Vec<_> =
            threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).ok()).collect();
        assert!(statuses.len() > 10, "{}", statuses.len());
        for status in statuses {
            for line in ["CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
                assert!(status.contains(line), "{line}: {status}");
            }
        }
    }
}

#[test]
fn a_daemon_that_dies_leaves_no_mount() {
    let Some(mut world) = World::new(&[("a", "x")], "rw") else { return };
    assert_eq!(fs::read_to_string(world.path("secrets/a/value")).unwrap(), "x");
    world.mount.signal(libc::SIGKILL);
    assert!(world.mount.ends_within(SOON));
    eventually("the mount to be gone", || mountinfo::top_at(&world.path("")).unwrap().is_none());
}

#[test]
fn a_mount_without_its_attendant_still_reads_and_saves_and_ends() {
    let Some(world) = World::new(&[("a", "x")], "rw") else { return };
    let children = format!("/proc/{0}/task/{0}/children", world.mount.pid());
    let attendants: Vec<_> = fs::read_to_string(children).unwrap().split_whitespace().map(str::to_owned).collect();
    assert_eq!(attendants.len(), 1);
    // SAFETY: numbers; the daemon has not taken its status, so the number is still the attendant's.
    unsafe { libc::kill(attendants[0].parse().unwrap(), libc::SIGKILL) };
    assert_eq!(fs::read_to_string(world.path("secrets/a/value")).unwrap(), "x");
    fs::write(world.path("secrets/a/value"), "changed").unwrap();
    eventually("it to be saved", || world.vault.get("a").as_deref() == Ok("changed"));
}
