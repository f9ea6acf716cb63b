//! `.akvfs/`: the mount about itself, and two ways to tell it something.
//!
//! `status.json`, `errors` and `metrics` are documents made when their name is looked up; stat, open and read that
//! follow see that one, so that a size and the bytes agree. `refresh` takes secrets' names: what is remembered of them
//! is asked anew. `log` takes what is to be logged from now on.

use std::collections::BTreeSet;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::secret::SecretName;
use crate::store::{ErrorKind, Wait};

use super::attr::{Attr, Entry, Opened, Stat};
use super::content::Content;
use super::draft::Target;
use super::errno::{FsError, FsResult};

use super::open::OpenFlags;
use super::tree::{Ino, Node};
use super::{Call, SecretFs};

/// The directory's name.
pub(super) const CONTROL: &str = ".akvfs";

/// The ioctl(2) on `.akvfs/refresh` that refreshes the secret whose name follows, with zeros up to 128 bytes, or all:
/// `_IOW('a', 1, char[128])`.
pub const REFRESH_REQUEST: u32 = 1 << 30 | 128 << 16 | (b'a' as u32) << 8 | 1;

/// The ioctl(2) on `.akvfs/log` that sets what is logged, in the same form: `_IOW('a', 2, char[128])`.
pub const LOG_REQUEST: u32 = REFRESH_REQUEST + 1;

/// What is logged, part by part: words as `AKVFS_LOG` has them.
pub trait Log: Send + Sync {
    /// What is logged now.
    fn levels(&self) -> String;
    /// Logs by these from now on; by those that it began with, if there are none. What is wrong with them, if anything is:
    /// then nothing has changed.
    fn set_levels(&self, levels: &str) -> Result<(), String>;
    /// Waits, half a second at most, until what was logged is written. For who ends the process.
    fn flush(&self);
}

/// The files in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlFile {
    /// What the mount is, and how it is.
    Status,
    /// The last failures.
    Errors,
    /// The counters, for Prometheus.
    Metrics,
    /// Takes names.
    Refresh,
    /// What is logged; takes what shall be.
    Log,
}

impl ControlFile {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Status, Self::Errors, Self::Metrics, Self::Refresh, Self::Log];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status.json",
            Self::Errors => "errors",
            Self::Metrics => "metrics",
            Self::Refresh => "refresh",
            Self::Log => "log",
        }
    }

    /// Whether something can be written to it.
    pub(super) fn takes_words(self) -> bool {
        matches!(self, Self::Refresh | Self::Log)
    }

    /// The ioctl(2) that does what writing to it does, also where nothing can be written.
    fn request(self) -> Option<u32> {
        match self {
            Self::Refresh => Some(REFRESH_REQUEST),
            Self::Log => Some(LOG_REQUEST),
            Self::Status | Self::Errors | Self::Metrics => None,
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.name() == name)
    }
}

impl SecretFs {
    pub(super) fn lookup_control(&self, name: &str) -> FsResult<Entry> {
        let file = ControlFile::of_name(name).ok_or_else(|| FsError::plain(libc::ENOENT))?;
        let document = Content::made(Zeroizing::new(self.control_document(file).into_bytes()));
        let ino = {
            let mut state = self.state();
            state.documents.insert(file, document);
            state.tree.intern(&Node::ControlFile(file))
        };
        Ok(Entry { node: ino, stat: self.getattr_control(ino, file), ttl: Duration::ZERO })
    }

    fn control_document(&self, file: ControlFile) -> String {
        match file {
            ControlFile::Status => self.status(),
            ControlFile::Errors => self.state().journal.text(),
            ControlFile::Metrics => self.metrics_page(),
            ControlFile::Refresh => String::new(),
            ControlFile::Log => self.log.as_ref().map_or_else(String::new, |log| format!("{}\n", log.levels())),
        }
    }

    pub(super) fn getattr_control(&self, ino: Ino, file: ControlFile) -> Stat {
        let size = self.state().documents.get(&file).map_or(0, |document| document.bytes().len() as u64);
        let mode = if file.takes_words() && !self.options.read_only { 0o600 } else { 0o400 };
        let attr = Attr { ino, size, mode, mtime: self.seconds(), ..self.ghost_attr() };
        Stat { attr, ttl: Duration::ZERO }
    }

    pub(super) fn open_control(&self, call: &Call, ino: Ino, file: ControlFile, flags: OpenFlags) -> FsResult<Opened> {
        let document = self.state().documents.get(&file).cloned().ok_or_else(|| FsError::plain(libc::ESTALE))?;
        if !flags.changes() {
            return Ok(self.opened(document));
        }
        if !file.takes_words() {
            return Err(FsError::refused(libc::EPERM, "of the files in .akvfs only refresh and log can be written"));
        }
        let id = self.state().new_draft_on(Target::Control(file), ino);
        self.with_draft(id, |draft| {
            draft.load(document.bytes());
            Ok(())
        })?;
        self.start_writing(id, self.process(call), flags)
    }

    /// A request on a file's descriptor that is neither a read nor a write. `refresh` and `log` have one each: it does what
    /// writing to the file does, also where nothing can be written.
    pub fn ioctl(&self, call: &Call, ino: Ino, request: u32, data: &[u8]) -> FsResult<()> {
        let Node::ControlFile(file) = self.node(ino)? else { return Err(FsError::plain(libc::ENOTTY)) };
        if file.request() != Some(request) {
            return Err(FsError::plain(libc::ENOTTY));
        }
        let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
        self.told(file, &data[..end], call.wait)?;
        self.settle_change(call.wait);
        Ok(())
    }

    /// What was written to one of the files.
    pub(super) fn told(&self, file: ControlFile, bytes: &[u8], wait: Wait) -> FsResult<()> {
        match file {
            ControlFile::Refresh => self.refresh_named(bytes, wait),
            ControlFile::Log => self.set_levels(bytes),
            ControlFile::Status | ControlFile::Errors | ControlFile::Metrics => Err(FsError::plain(libc::EPERM)),
        }
    }

    fn set_levels(&self, bytes: &[u8]) -> FsResult<()> {
        let Some(log) = &self.log else { return Err(FsError::plain(libc::EOPNOTSUPP)) };
        let levels = std::str::from_utf8(bytes).map_err(|_| FsError::plain(libc::EILSEQ))?;
        // A line may have been appended.
        let levels: Vec<_> = levels.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        log.set_levels(&levels.join(",")).map_err(|why| FsError::refused(libc::EINVAL, why))
    }

    /// What was written to `refresh`: names, a line each, or none, which means all.
    fn refresh_named(&self, bytes: &[u8], wait: Wait) -> FsResult<()> {
        let names = parse_names(bytes)?;
        if names.is_empty() {
            return self.refresh(None, wait);
        }
        names.iter().try_for_each(|name| self.refresh(Some(name), wait))
    }

    /// What is remembered of a secret, or with `None` of all, is asked anew. The kernel is told to drop what it knows;
    /// it does so soon, not when this returns.
    pub fn refresh(&self, name: Option<&SecretName>, wait: Wait) -> FsResult<()> {
        let names = name.map_or_else(|| self.state().tree.secrets(), |name| BTreeSet::from([name.clone()]));
        // By the aliases that they had; below, by those that they have.
        names.iter().for_each(|name| self.drop_children(name));
        self.store.expire(name);
        self.drop_listings();
        self.drop_missing();
        let asked = match name {
            Some(name) => self.store.find(name, wait.anew()).map(drop).map_err(FsError::from),
            None => self.listed(wait.anew()).map(drop),
        };
        names.iter().for_each(|name| self.drop_children(name));
        match asked {
            Ok(()) => names.iter().for_each(|name| self.drop_if_gone(name, wait)),
            Err(error) if error.is_not_found() => names.iter().for_each(|name| self.drop_directory(name)),
            // Who may not list, or not get, hears so when he looks.
            Err(FsError::Store(error)) if error.kind == ErrorKind::Forbidden => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Only the directory of a secret that is gone is dropped: a process that stands in one that was dropped has no
    /// working directory until somebody looks it up again (measured).
    fn drop_if_gone(&self, secret: &SecretName, wait: Wait) {
        if self.store.find(secret, wait).is_err_and(|error| error.kind == ErrorKind::NotFound) {
            self.drop_directory(secret);
        }
    }
}

fn parse_names(bytes: &[u8]) -> FsResult<BTreeSet<SecretName>> {
    let invalid = || FsError::refused(libc::EINVAL, "a line is a secret's name; without any, everything is refreshed");
    let text = std::str::from_utf8(bytes).map_err(|_| invalid())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| SecretName::parse(line).map_err(|_| invalid())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_a_line_each() {
        let names = |text: &str| {
            parse_names(text.as_bytes()).map(|names| names.into_iter().map(|n| n.to_string()).collect::<Vec<_>>())
        };
        assert!(names("").expect("nothing").is_empty());
        assert!(names(" \n\n").expect("blank").is_empty());
        assert_eq!(names("b\n a \r\n\nb").expect("names"), ["a", "b"]);
        for wrong in ["a b", "secrets/a", "ä", "a\nb_c"] {
            assert_eq!(names(wrong).expect_err(wrong).errno(), libc::EINVAL);
        }
        assert_eq!(parse_names(b"a\xff").expect_err("no text").errno(), libc::EINVAL);
    }

    #[test]
    fn every_file_is_found_by_its_name() {
        for file in ControlFile::ALL {
            assert_eq!(ControlFile::of_name(file.name()), Some(file));
        }
        assert_eq!(ControlFile::of_name("STATUS.JSON"), None);
    }
}
