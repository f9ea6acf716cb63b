//! Who opened a value: one line for each open that reaches the mount, whatever became of it. Never a value.
//!
//! What the kernel refuses by owner and mode it does not ask us about, so it is not here.

use serde_json::{Map, Value};

use crate::secret::Timestamp;

use super::draft::Target;
use super::errno::{FsResult, errno_name};
use super::processes::Process;
use super::tree::{Ino, Node};
use super::{Call, SecretFs};

/// Takes the lines of the audit.
pub trait Audit: Send + Sync {
    /// Hands a line over. Must not wait: somebody's open does.
    fn say(&self, line: String);
}

/// What an open is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
}

impl SecretFs {
    /// Tells the audit, if there is one, how an open of `ino` ended. An answer that only sends the caller on his way (not
    /// in memory, look again) is none.
    pub(super) fn audit<T>(&self, call: &Call, ino: Ino, purpose: Purpose, result: &FsResult<T>) {
        let Some(audit) = &self.audit else { return };
        let errno = match result {
            Ok(_) => None,
            Err(error) if error.is_not_in_memory() || error.errno() == libc::ESTALE => return,
            Err(error) => Some(errno_name(error.errno())),
        };
        if self.holds_value(ino) {
            let process = self.process(call);
            self.metrics.audited.add();
            audit.say(self.audit_line(call, process, ino, purpose, errno));
        }
    }

    fn audit_line(
        &self,
        call: &Call,
        process: Process,
        ino: Ino,
        purpose: Purpose,
        errno: Option<&'static str>,
    ) -> String {
        let mut entry = Map::new();
        let mut put = |key: &str, value: Value| entry.insert(key.to_owned(), value);
        put("time", Timestamp(self.seconds()).to_string().into());
        put("uid", call.uid.into());
        put("gid", call.gid.into());
        put("pid", Some(process).filter(|process| *process != 0).into());
        put("program", self.processes.program(process).into());
        put("path", self.path(ino, None).into());
        put("for", if purpose == Purpose::Read { "read" } else { "write" }.into());
        put("version", self.version_at(ino).into());
        put("errno", errno.into());
        Value::Object(entry).to_string()
    }

    /// Whether who opens it gets at a value, or at a backup, which holds all of them.
    fn holds_value(&self, ino: Ino) -> bool {
        match self.node(ino) {
            Ok(Node::Value(..) | Node::OldVersion(..) | Node::Backup(_)) => true,
            Ok(Node::Draft(id)) => {
                let target = self.state().drafts.get(&id).map(|draft| draft.target.clone());
                matches!(target, Some(Target::Value(..) | Target::Restore(_)))
            }
            _ => false,
        }
    }

    /// The version that is read there; none while one is being written.
    fn version_at(&self, ino: Ino) -> Option<String> {
        match self.node(ino).ok()? {
            Node::OldVersion(_, version) => Some(version.to_string()),
            _ => self.state().tree.bound(ino).map(|bound| bound.version.to_string()),
        }
    }
}
