//! What the commands that look after a mount share: finding it, and reading what it tells of itself (`.akvfs/`). A mount
//! may hang or be dead, so each look is done aside and given up after a while.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{FAILED, Failure};
use crate::mount::{mountinfo, process};

/// `.akvfs` asks memory only; what takes longer hangs.
pub(super) const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// A mount of akvfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    pub dir: PathBuf,
}

impl Mounted {
    /// The mount at `path`, or the one that it lies in.
    pub fn at(path: &Path) -> Result<Self, Failure> {
        let failed = |why: String| Failure { code: FAILED, line: format!("{}: {why}", path.display()) };
        let inside = mountinfo::resolve(path).map_err(|error| failed(error.to_string()))?;
        let mounts = mountinfo::read().map_err(|error| failed(error.to_string()))?;
        let around = mounts.into_iter().filter(|mount| inside.starts_with(&mount.dir));
        // Of two at one place the later is seen.
        match around.max_by_key(|mount| mount.dir.as_os_str().len()) {
            Some(mount) if mount.is_akvfs() => Ok(Self { dir: mount.dir }),
            _ => Err(failed("no akvfs is mounted there; akvfs list shows the mounts of this machine".to_owned())),
        }
    }

    /// Its `.akvfs/NAME`.
    fn control(&self, name: &str) -> PathBuf {
        self.dir.join(".akvfs").join(name)
    }

    /// What `.akvfs/status.json` says.
    pub fn status(&self) -> Result<Value, Failure> {
        let text = self.read("status.json")?;
        serde_json::from_str(&text).map_err(|error| self.failed(&format!("status.json makes no sense: {error}")))
    }

    /// The last failures, the newest last.
    pub fn errors(&self) -> Result<Vec<Value>, Failure> {
        Ok(self.read("errors")?.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// One of its files.
    pub fn read(&self, name: &str) -> Result<String, Failure> {
        let path = self.control(name);
        within(LOOK_LIMIT, move || fs::read_to_string(path)).map_err(|error| self.failed(&in_words(&error)))
    }

    /// Sends `request`, with `text`, by its `.akvfs/FILE`; gives up after `limit`. A refusal is told in the mount's words.
    pub fn ask(&self, file: &'static str, request: u32, text: &str, limit: Duration) -> Result<(), Failure> {
        let (path, text) = (self.control(file), text.to_owned());
        let asked = within(limit, move || process::ask_by_name(&File::open(path)?, request, &text));
        asked.map_err(|error| self.failed(&self.sentence(file).unwrap_or_else(|| in_words(&error))))
    }

    /// What stands behind the errno of the last request by this file.
    fn sentence(&self, file: &str) -> Option<String> {
        let error = self.errors().ok()?.pop().filter(|error| error["path"] == format!(".akvfs/{file}"))?;
        let message = error["message"].as_str()?;
        Some(match error["remedy"].as_str() {
            Some(remedy) => format!("{message}; {remedy}"),
            None => message.to_owned(),
        })
    }

    pub fn failed(&self, why: &str) -> Failure {
        Failure { code: FAILED, line: format!("{}: {why}", self.dir.display()) }
    }
}

/// Why a mount tells nothing, and what to do.
fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOTCONN) => "the daemon of this mount is gone; akvfs unmount takes the mount away".to_owned(),
        Some(libc::EACCES) => "only who mounted it may look into .akvfs; run this as that user".to_owned(),
        _ if error.kind() == io::ErrorKind::TimedOut => {
            format!("the mount does not answer within {LOOK_LIMIT:?}; see its log, or end it: akvfs unmount --lazy")
        }
        _ => error.to_string(),
    }
}

/// Does `work` on a thread that is left behind if it takes longer than `limit`.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (tell, told) = mpsc::channel();
    let work = move || {
        // Nobody listens any more if it was late.
        let _ = tell.send(work());
    };
    thread::Builder::new().name("look".to_owned()).spawn(work)?;
    told.recv_timeout(limit).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_mount_of_ours_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let refused = Mounted::at(place.path()).unwrap_err();
        assert_eq!(refused.code, FAILED);
        assert!(refused.line.contains("akvfs list"), "{}", refused.line);
        assert!(Mounted::at(&place.path().join("missing")).unwrap_err().line.contains("No such file"));
    }

    #[test]
    fn a_look_that_hangs_is_left() {
        let hangs = within(Duration::from_millis(10), || {
            thread::park();
            Ok(())
        });
        assert_eq!(hangs.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(within(LOOK_LIMIT, || Ok(7)).unwrap(), 7);
    }
}
