//! The sentences behind the last errnos. An errno is one word, and where a shell closes a file, or nobody waits any
//! more, not even that is heard: what failed stands here, with what to do about it. Never a value.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use crate::secret::{SecretName, Timestamp};
use crate::store::{Answer, Wait};

use super::SecretFs;
use super::control::CONTROL;
use super::draft::{Place, Target};
use super::errno::{FsError, errno_name, remedy};
use super::lookup::{CERTIFICATE, CURRENT, META, VALUE, VERSIONS};
use super::tree::{Face, Ino, Node};

/// How many failures are kept.
const KEPT: usize = 100;

/// What was asked for: the system call's word, and the file: an inode, or a name in one.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `open`, `rename`, …
    pub operation: &'static str,
    /// The file, or the directory.
    pub ino: Ino,
    /// The name in the directory.
    pub name: Option<String>,
}

impl Asked {
    /// Something of a file.
    pub fn of(operation: &'static str, ino: Ino) -> Self {
        Self { operation, ino, name: None }
    }

    /// Something of a name in a directory.
    pub fn at(operation: &'static str, parent: Ino, name: &str) -> Self {
        Self { operation, ino: parent, name: Some(name.to_owned()) }
    }

    /// The errno for it. A close may hear what a call by path must not.
    fn errno(&self, error: &FsError) -> i32 {
        match self.operation {
            "flush" | "fsync" | "release" => error.errno_at_close(),
            _ => error.errno(),
        }
    }
}

/// The last failures, as JSON documents of one line each.
#[derive(Debug, Default)]
pub struct Journal(VecDeque<String>);

impl Journal {
    fn add(&mut self, line: String) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    /// All of them, a line each, the newest last.
    pub fn text(&self) -> String {
        self.0.iter().flat_map(|line| [line, "\n"]).collect()
    }
}

/// Whether this is an answer like any other: no such name, or a refusal whose errno says it all.
fn is_routine(error: &FsError) -> bool {
    error.errno() == libc::ENOENT || !error.has_sentence()
}

/// What was answered, and what to do about it.
fn parts(error: &FsError) -> (Answer, Option<&'static str>) {
    match error {
        FsError::Refused { why, .. } => (Answer { message: why.to_string(), ..Answer::default() }, None),
        FsError::Store(error) => (error.answer.clone(), Some(remedy(error.kind)).filter(|remedy| !remedy.is_empty())),
    }
}

fn line(now: i64, path: &str, operation: &str, errno: i32, error: &FsError) -> String {
    let (answer, remedy) = parts(error);
    let mut entry = Map::new();
    let mut put = |key: &str, value: Value| entry.insert(key.to_owned(), value);
    put("time", Timestamp(now).to_string().into());
    put("path", path.into());
    put("operation", operation.into());
    put("errno", errno_name(errno).into());
    put("status", answer.status.into());
    put("code", answer.code.into());
    put("message", answer.message.into());
    put("request_id", answer.request_id.into());
    put("remedy", remedy.into());
    Value::Object(entry).to_string()
}

impl SecretFs {
    /// Gives the errno for a failure, and keeps the sentence behind it: in the log, and in `.akvfs/errors`.
    pub fn failed(&self, asked: &Asked, error: &FsError) -> i32 {
        let (operation, errno) = (asked.operation, asked.errno(error));
        if is_routine(error) {
            tracing::debug!("{operation}: {}", errno_name(errno));
        } else {
            self.note(operation, &self.path(asked.ino, asked.name.as_deref()), errno, error);
        }
        errno
    }

    /// As [`failed`](Self::failed), for what no call waits for.
    pub(super) fn failed_unheard(&self, operation: &'static str, path: &str, error: &FsError) {
        if !is_routine(error) {
            self.note(operation, path, error.errno_at_close(), error);
        }
    }

    fn note(&self, operation: &'static str, path: &str, errno: i32, error: &FsError) {
        let word = errno_name(errno);
        let (answer, remedy) = parts(error);
        tracing::warn!(
            error.operation = operation,
            error.path = path,
            error.errno = word,
            error.status = answer.status,
            error.code = answer.code,
            error.request_id = answer.request_id,
            error.remedy = remedy,
            "{operation} {path}: {error} ({word})"
        );
        self.metrics.errors.add(word);
        let line = line(self.seconds(), path, operation, errno, error);
        self.state().journal.add(line);
    }

    /// Where a file is in the mount, without a slash at the beginning; `.` is the mount itself.
    pub(super) fn path(&self, ino: Ino, name: Option<&str>) -> String {
        let node = self.state().tree.node(ino).cloned();
        // A number that was forgotten has no path any more.
        let path = node.map_or_else(|| "?".to_owned(), |node| self.path_of(&node));
        match name {
            None => path,
            Some(name) if path == "." => name.to_owned(),
            Some(name) => format!("{path}/{name}"),
        }
    }

    fn path_of(&self, node: &Node) -> String {
        match node {
            Node::Root => ".".to_owned(),
            Node::Secrets => "secrets".to_owned(),
            Node::Deleted => "deleted".to_owned(),
            Node::Dir(secret) => self.directory_path(secret),
            Node::Versions(secret) => format!("secrets/{secret}/{VERSIONS}"),
            Node::Files => "files".to_owned(),
            Node::Backups => "backup".to_owned(),
            Node::Backup(secret) => format!("backup/{secret}"),
            Node::Value(secret, Face::Value) => format!("secrets/{secret}/{VALUE}"),
            Node::Value(secret, Face::File) => format!("files/{secret}"),
            Node::Value(secret, Face::Certificate(file)) => format!("secrets/{secret}/{CERTIFICATE}/{}", file.name()),
            Node::Certificate(secret) => format!("secrets/{secret}/{CERTIFICATE}"),
            Node::OldVersion(secret, version) => format!("secrets/{secret}/{VERSIONS}/{version}"),
            Node::Meta(secret, None) => format!("{}/{META}", self.directory_path(secret)),
            Node::Meta(secret, Some(version)) => format!("secrets/{secret}/{VERSIONS}/.{version}{META}"),
            Node::Current(secret) => format!("secrets/{secret}/{VERSIONS}/{CURRENT}"),
            Node::Draft(id) => {
                let target = self.state().drafts.get(id).map(|draft| draft.target.clone());
                target.map_or_else(|| "?".to_owned(), |target| self.target_path(&target))
            }
            Node::Control => CONTROL.to_owned(),
            Node::ControlFile(file) => format!("{CONTROL}/{}", file.name()),
        }
    }

    /// Where what is being written goes.
    pub(super) fn target_path(&self, target: &Target) -> String {
        match target {
            Target::Value(secret, face) => self.path_of(&Node::Value(secret.clone(), *face)),
            Target::Meta(secret, version) => self.path_of(&Node::Meta(secret.clone(), version.clone())),
            Target::Restore(name) | Target::Scratch(Place::Backups, name) => format!("backup/{name}"),
            Target::Scratch(Place::Secret(secret), name) => format!("secrets/{secret}/{name}"),
            Target::Scratch(Place::Files, name) => format!("files/{name}"),
            Target::Control(file) => self.path_of(&Node::ControlFile(*file)),
            Target::Nameless => "?".to_owned(),
        }
    }

    /// A secret's directory stands where memory says; `secrets/` in doubt.
    fn directory_path(&self, secret: &SecretName) -> String {
        let is_deleted = self.store.find(secret, Wait::No).is_err() && self.store.get_deleted(secret, Wait::No).is_ok();
        format!("{}/{secret}", if is_deleted { "deleted" } else { "secrets" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ErrorKind, Operation, StoreError};

    fn read(line: &str) -> Value {
        serde_json::from_str(line).expect("JSON")
    }

    #[test]
    fn what_the_vault_said_is_kept_apart() {
        let answer = Answer {
            status: Some(403),
            code: Some("Forbidden/ForbiddenByPolicy".into()),
            message: "no\n\"right\"".into(),
            request_id: Some("0f".into()),
        };
        let error =
            FsError::Store(StoreError { operation: Operation::Set, name: None, kind: ErrorKind::Forbidden, answer });
        let line = line(0, "secrets/n/value", "flush", libc::EACCES, &error);
        assert!(!line.contains('\n'), "one line: {line}");
        let expected = serde_json::json!({
            "time": "1970-01-01T00:00:00Z", "path": "secrets/n/value", "operation": "flush", "errno": "EACCES",
            "status": 403, "code": "Forbidden/ForbiddenByPolicy", "message": "no\n\"right\"", "request_id": "0f",
            "remedy": "give the identity this right on the vault",
        });
        assert_eq!(read(&line), expected);
    }

    #[test]
    fn our_own_refusal_has_its_sentence_and_no_more() {
        let line = line(0, ".", "mkdir", libc::EPERM, &FsError::refused(libc::EPERM, "because"));
        let entry = read(&line);
        assert_eq!(
            (&entry["message"], &entry["status"], &entry["remedy"]),
            (&"because".into(), &Value::Null, &Value::Null)
        );
    }

    #[test]
    fn the_last_hundred_are_kept_the_newest_last() {
        let mut journal = Journal::default();
        assert_eq!(journal.text(), "");
        (0..KEPT + 3).for_each(|number| journal.add(number.to_string()));
        let text = journal.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[KEPT - 1]), (KEPT, "3", "102"));
    }

    #[test]
    fn only_a_close_hears_of_somebody_elses_write() {
        let error = FsError::Store(StoreError::local(Operation::Set, None, ErrorKind::Superseded, "another value"));
        assert_eq!(Asked::of("flush", 1).errno(&error), libc::ESTALE);
        assert_eq!(Asked::at("rename", 1, "n").errno(&error), libc::EBUSY);
    }
}
