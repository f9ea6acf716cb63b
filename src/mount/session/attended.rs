//! What the daemon leaves to the attendant, as the floors know it.

use std::collections::BTreeSet;
use std::io;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use crate::fs::processes::{ProcFs, Process, Processes};
use crate::fs::tree::Ino;
use crate::mount::attendant::{Answer, Attendant, Errand};
use crate::mount::hook;
use crate::mount::wake::File;
use crate::vault::Runner;

/// How long a look at a process may take: longer than [`ProcFs`] looks.
const LOOK_LIMIT: Duration = Duration::from_secs(15);
/// How long an open waits for the program's name.
const PROGRAM_LIMIT: Duration = Duration::from_millis(500);
/// `az` starts an interpreter; who waits for a token has a limit of his own.
pub(super) const SIGN_IN_LIMIT: Duration = Duration::from_secs(60);
/// A command of the user's may take as long as it likes.
const COMMAND_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// How long an unmount may take; it is lazy.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(5);

/// The machine's processes: what everybody may see is looked at here, the rest by the attendant.
pub(super) struct Attended {
    attendant: Arc<Attendant>,
    /// How long a close may wait to know who else may write.
    look: Duration,
}

impl Attended {
    /// For a mount that gives a change so long: half of it is left for the save itself, so that a machine that stands still is
    /// not taken for a request that hangs.
    pub(super) fn new(attendant: Arc<Attendant>, write_timeout: Duration) -> Self {
        Self { attendant, look: LOOK_LIMIT.min(write_timeout / 2) }
    }
}

impl Processes for Attended {
    fn of_thread(&self, thread: u32) -> Process {
        ProcFs.of_thread(thread)
    }

    fn descends(&self, process: Process, ancestors: &BTreeSet<Process>) -> bool {
        ProcFs.descends(process, ancestors)
    }

    fn may_write(&self, processes: &BTreeSet<Process>, inodes: &[Ino]) -> bool {
        let errand = Errand::MayWrite { processes: processes.iter().copied().collect(), inodes: inodes.to_vec() };
        match self.attendant.ask(errand, self.look) {
            Ok(Answer::Holds(held)) => held,
            other => {
                let why = other.map_or_else(|error| error, Answer::unexpected);
                tracing::warn!(
                    "who may still write is not known ({why}): what was written is saved after the last close"
                );
                true
            }
        }
    }

    fn was_killed(&self, thread: u32) -> bool {
        ProcFs.was_killed(thread)
    }

    fn program(&self, process: Process) -> Option<String> {
        match self.attendant.ask(Errand::Program { process }, PROGRAM_LIMIT) {
            Ok(Answer::Program(program)) => program,
            _ => ProcFs.program(process),
        }
    }
}

/// Has `az` and `azd` run by the attendant.
pub struct SignIns(pub(super) Arc<Attendant>);

impl Runner for SignIns {
    fn run(&self, line: &str) -> io::Result<Output> {
        self.0.ask(Errand::SignIn { line: line.to_owned() }, SIGN_IN_LIMIT)?.into_output()
    }
}

/// A hook whose command the attendant runs.
pub(super) fn hook(attendant: Arc<Attendant>) -> hook::Hook {
    let run = move |name: &str, version: &str| {
        let errand = Errand::Changed { name: name.to_owned(), version: version.to_owned() };
        attendant.ask(errand, COMMAND_LIMIT)?.into_output().map(|ended| ended.status)
    };
    hook::Hook::new(Arc::new(run))
}

/// Takes the mount of the file system `device` away.
pub(super) fn unmount(attendant: &Attendant, device: &str) -> io::Result<()> {
    attendant.ask(Errand::Unmount { device: device.to_owned() }, UNMOUNT_LIMIT)?.into_done()
}

/// The number of the thread that wakes watchers; none where nobody is woken.
pub(super) fn waking_thread(attendant: &Attendant) -> Option<u32> {
    match attendant.ask(Errand::WakingThread, LOOK_LIMIT) {
        Ok(Answer::Thread(thread)) => Some(thread),
        _ => None,
    }
}

/// Wakes who watches a file.
pub(super) fn wake(attendant: &Attendant, file: &File<'_>) -> io::Result<()> {
    let errand = Errand::Wake { path: file.path.to_owned(), earlier: file.earlier };
    attendant.ask(errand, LOOK_LIMIT)?.into_done()
}
