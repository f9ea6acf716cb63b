//! What can be known of a caller: its process, its descendants, which files they hold open, and whether it was
//! killed. The rule of who may still write rests on it (`write`).
//!
//! Only `status`, `fdinfo` and `children` are read: `fd/` links and `stat` of a process in the middle of an exec wait for
//! that exec, which may itself be waiting for our answer (measured). `stat` is safe once the process is exiting.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::tree::Ino;

/// A process (thread group); 0 is one that cannot be seen from here.
pub type Process = u32;

/// How long a look at other processes may stand still before the answer is "may still write".
const LOOK_LIMIT: Duration = Duration::from_millis(500);
/// How long it may take on a machine that has no processor for it.
const BUSY_LIMIT: Duration = Duration::from_secs(10);
/// From `include/linux/sched.h`: killed by a signal.
const PF_SIGNALED: u64 = 0x400;
/// How far up a process's ancestors are followed.
const MAX_ANCESTORS: usize = 64;

/// What the filesystem asks about processes. A trait because a test without a kernel has none.
pub trait Processes: Send + Sync {
    /// The process of a thread.
    fn of_thread(&self, thread: u32) -> Process;
    /// Whether `process` is one of `ancestors` or descends from one.
    fn descends(&self, process: Process, ancestors: &BTreeSet<Process>) -> bool;
    /// Whether one of `processes`, a descendant or an ancestor holds one of `inodes` open for writing. Doubt is `true`.
    fn may_write(&self, processes: &BTreeSet<Process>, inodes: &[Ino]) -> bool;
    /// Whether `thread` is ending because of a signal.
    fn was_killed(&self, thread: u32) -> bool;
    /// The program that `process` runs: the path of its file, else, where that may not be seen, its short name.
    fn program(&self, process: Process) -> Option<String>;
}

/// Whether `thread` is about to end: a fatal signal, whichever it was, puts SIGKILL into its pending set, and others such
/// as SIGCHLD or SIGURG do not (measured).
pub fn is_dying(thread: u32) -> bool {
    fs::read_to_string(format!("/proc/{thread}/status")).is_ok_and(|status| has_a_kill_pending(&status))
}

fn has_a_kill_pending(status: &str) -> bool {
    const SIGKILL_BIT: u64 = 1 << (libc::SIGKILL - 1);
    let pending = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
    };
    (pending("SigPnd:") | pending("ShdPnd:")) & SIGKILL_BIT != 0
}

/// The machine's processes, from `/proc`.
#[derive(Debug, Default)]
pub struct ProcFs;

fn status_field(process: u32, field: &str) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim_start_matches(':').trim().parse().ok()
}

fn is_exiting(thread: u32) -> bool {
    fs::read_to_string(format!("/proc/{thread}/status")).is_ok_and(|status| !status.contains("\nVmSize:"))
}

fn children(process: Process) -> Vec<Process> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn with_descendants(processes: &BTreeSet<Process>) -> BTreeSet<Process> {
    let mut all = processes.clone();
    let mut todo: Vec<_> = processes.iter().copied().collect();
    while let Some(process) = todo.pop() {
        todo.extend(children(process).into_iter().filter(|child| all.insert(*child)));
    }
    all
}

/// Its parent, that one's parent, and so on.
fn ancestors(process: Process) -> impl Iterator<Item = Process> {
    let parent = |process: &Process| status_field(*process, "PPid").filter(|parent| *parent > 1);
    std::iter::successors(parent(&process), parent).take(MAX_ANCESTORS)
}

/// All that may have got a descriptor from one of `processes`, or have given it one: a shell in the background may
/// never touch a file before its children close it.
fn relatives(processes: &BTreeSet<Process>) -> BTreeSet<Process> {
    let above = processes.iter().flat_map(|process| ancestors(*process));
    above.chain(with_descendants(processes)).collect()
}

/// Whether an `fdinfo` file shows one of `inodes` open for writing.
fn is_writable_to(fdinfo: &str, inodes: &[Ino]) -> bool {
    let field = |name: &str| fdinfo.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let writable = field("flags:")
        .and_then(|flags| i32::from_str_radix(flags, 8).ok())
        .is_some_and(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY);
    writable && field("ino:").and_then(|ino| ino.parse().ok()).is_some_and(|ino| inodes.contains(&ino))
}

fn holds(process: Process, inodes: &[Ino]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fdinfo")) else { return false };
    files.flatten().any(|file| fs::read_to_string(file.path()).is_ok_and(|info| is_writable_to(&info, inodes)))
}

/// What `look` finds; `None` if it stands still. That it only waits for a processor does not count.
fn answer_of(look: impl FnOnce() -> bool + Send + 'static) -> Option<bool> {
    let (tell, told) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let look = move || {
        // SAFETY: no arguments, cannot fail.
        let _ = begin.send(unsafe { libc::gettid() });
        // Nobody listens any more if the look was late.
        let _ = tell.send(look());
    };
    thread::Builder::new().name("akvfs-look".into()).spawn(look).ok()?;
    let looker = begun.recv_timeout(BUSY_LIMIT).ok()?;
    for _ in 0..BUSY_LIMIT.as_millis() / LOOK_LIMIT.as_millis() {
        match told.recv_timeout(LOOK_LIMIT) {
            Ok(held) => return Some(held),
            Err(_) if is_running(looker) => {}
            Err(_) => return None,
        }
    }
    None
}

/// Whether a thread of ours runs, or would if there were a processor, or if a debugger let it.
fn is_running(thread: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/self/task/{thread}/status"));
    status.is_ok_and(|status| ["\nState:\tR", "\nState:\tt"].iter().any(|state| status.contains(state)))
}

impl Processes for ProcFs {
    fn of_thread(&self, thread: u32) -> Process {
        status_field(thread, "Tgid").unwrap_or(0)
    }

    fn descends(&self, process: Process, ancestors: &BTreeSet<Process>) -> bool {
        ancestors.contains(&process) || self::ancestors(process).any(|above| ancestors.contains(&above))
    }

    fn may_write(&self, processes: &BTreeSet<Process>, inodes: &[Ino]) -> bool {
        let (processes, inodes) = (processes.clone(), inodes.to_vec());
        // On a thread of its own: a later kernel may make one of these reads wait for the very caller we hold up.
        let look = move || relatives(&processes).into_iter().any(|process| holds(process, &inodes));
        answer_of(look).unwrap_or_else(|| {
            tracing::warn!("who may still write was not to be seen: what was written is saved after the last close");
            true
        })
    }

    fn was_killed(&self, thread: u32) -> bool {
        if thread == 0 || !is_exiting(thread) {
            return false;
        }
        let Ok(stat) = fs::read_to_string(format!("/proc/{thread}/stat")) else { return false };
        // Fields count from behind the command's name, which may hold anything; flags are the 9th (proc(5)).
        let flags = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse::<u64>().ok());
        flags.is_some_and(|flags| flags & PF_SIGNALED != 0)
    }

    fn program(&self, process: Process) -> Option<String> {
        let path = fs::read_link(format!("/proc/{process}/exe")).ok().map(|path| path.to_string_lossy().into_owned());
        path.or_else(|| fs::read_to_string(format!("/proc/{process}/comm")).ok().map(|name| name.trim_end().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::linux::fs::MetadataExt;
    use std::process::{Command, Stdio};

    #[test]
    fn our_own_open_file_is_found_only_while_it_is_open_for_writing() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let ino = file.as_file().metadata().expect("metadata").st_ino();
        let us = BTreeSet::from([std::process::id()]);
        assert!(ProcFs.may_write(&us, &[ino]));
        let path = file.into_temp_path();
        let reader = fs::File::open(&path).expect("open");
        assert!(!ProcFs.may_write(&us, &[ino]), "a reader is no writer");
        drop(reader);
    }

    #[test]
    fn a_file_that_a_relative_has_open_for_writing_is_found() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let ino = file.as_file().metadata().expect("metadata").st_ino();
        let us = BTreeSet::from([std::process::id()]);
        let mut child = Command::new("sleep").arg("600").stdout(file.as_file().try_clone().expect("a copy")).spawn();
        let child = child.as_mut().expect("sleep");
        let its = BTreeSet::from([child.id()]);
        assert!(ProcFs.may_write(&its, &[ino]) && ProcFs.may_write(&its, &[ino + 1, ino]));
        assert!(!ProcFs.may_write(&its, &[ino + 1]));
        let path = file.into_temp_path();
        assert!(ProcFs.may_write(&us, &[ino]), "the child has it");
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert!(!ProcFs.may_write(&us, &[ino]));
        let again = fs::File::options().append(true).open(&path).expect("open");
        let mut child = Command::new("sleep").arg("600").spawn().expect("sleep");
        assert!(ProcFs.may_write(&BTreeSet::from([child.id()]), &[ino]), "the parent has it");
        drop(again);
        assert!(!ProcFs.may_write(&BTreeSet::from([child.id()]), &[ino]));
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    /// A child that has ended so, and is not waited for yet.
    fn ended(signal: Option<libc::c_int>) -> std::process::Child {
        let time = if signal.is_some() { "600" } else { "0" };
        let child = Command::new("sleep").arg(time).spawn().expect("sleep");
        // SAFETY: numbers of our own child, and a structure that lives.
        unsafe {
            signal.map(|signal| libc::kill(child.id().cast_signed(), signal));
            let mut info: libc::siginfo_t = std::mem::zeroed();
            assert_eq!(libc::waitid(libc::P_PID, child.id(), &mut info, libc::WEXITED | libc::WNOWAIT), 0);
        }
        child
    }

    #[test]
    fn who_was_killed_is_told_from_who_has_ended() {
        for (signal, killed) in [(None, false), (Some(libc::SIGKILL), true), (Some(libc::SIGTERM), true)] {
            let mut child = ended(signal);
            assert_eq!(ProcFs.was_killed(child.id()), killed, "{signal:?}");
            assert_eq!(ProcFs.program(child.id()).as_deref(), Some("sleep"), "its file cannot be seen any more");
            child.wait().expect("ended");
            assert!(!ProcFs.was_killed(child.id()), "it is gone");
            assert_eq!(ProcFs.program(child.id()), None);
        }
        assert!(!ProcFs.was_killed(0));
        let us = std::env::current_exe().expect("a path").to_string_lossy().into_owned();
        assert_eq!(ProcFs.program(std::process::id()), Some(us));
    }

    #[test]
    fn only_a_pending_kill_is_fatal() {
        for (pending, shared, fatal) in [
            ("0000000000000000", "0000000000000000", false),
            ("0000000000000100", "0000000000000000", true),
            ("0000000000000000", "0000000000000100", true),
            // SIGTERM, SIGURG and SIGCHLD, which may have a handler or be ignored.
            ("0000000000014000", "0000000000400000", false),
            ("fffffffffffffeff", "0000000000000000", false),
            ("ffffffffffffffff", "ffffffffffffffff", true),
        ] {
            let status =
                format!("Name:\tx\nSigQ:\t0/1\nSigPnd:\t{pending}\nShdPnd:\t{shared}\nSigBlk:\t0000000000000100\n");
            assert_eq!(has_a_kill_pending(&status), fatal, "{pending} {shared}");
        }
        assert!(!has_a_kill_pending(""));
        assert!(!is_dying(std::process::id()));
    }

    #[test]
    fn a_grandchild_descends_too() {
        let mut shell = Command::new("sh");
        let mut shell = shell.args(["-c", "sleep 600 & echo $!; wait"]).stdout(Stdio::piped()).spawn().expect("sh");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("a pipe")).read_line(&mut line).expect("a number");
        let grandchild: Process = line.trim().parse().expect("a number");
        let us = BTreeSet::from([std::process::id()]);
        assert!(ProcFs.descends(grandchild, &us) && ProcFs.descends(shell.id(), &us));
        assert!(!ProcFs.descends(std::process::id(), &BTreeSet::from([shell.id()])), "nor the other way round");
        assert!(with_descendants(&us).is_superset(&BTreeSet::from([shell.id(), grandchild])));
        // SAFETY: numbers; our own grandchild, whose parent waits for it.
        unsafe { libc::kill(grandchild.cast_signed(), libc::SIGKILL) };
        shell.wait().expect("ended");
    }

    #[test]
    fn a_look_that_stands_still_is_given_up_and_one_without_a_processor_is_not() {
        assert_eq!(answer_of(|| true), Some(true));
        let (_open, blocked) = mpsc::channel::<()>();
        assert_eq!(answer_of(move || blocked.recv().is_ok()), None);
        let busy = || {
            let start = std::time::Instant::now();
            while start.elapsed() < 2 * LOOK_LIMIT {}
            true
        };
        assert_eq!(answer_of(busy), Some(true));
    }

    #[test]
    fn threads_belong_to_their_process_and_children_descend() {
        let thread = thread::spawn(|| {
            // SAFETY: gettid has no arguments and cannot fail.
            let thread = unsafe { libc::gettid() };
            ProcFs.of_thread(thread.unsigned_abs())
        });
        assert_eq!(thread.join().expect("joined"), std::process::id());
        let us = BTreeSet::from([std::process::id()]);
        assert!(ProcFs.descends(std::process::id(), &us));
        assert!(!ProcFs.descends(1, &us));
        assert!(!ProcFs.was_killed(std::process::id()));
    }
}
