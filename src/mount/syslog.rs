//! The machine's syslog (`/dev/log`), which is journald on most machines.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Where syslog listens.
pub const SYSLOG: &str = "/dev/log";

/// From syslog(3): who says it, times eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facility {
    /// A daemon.
    Daemon = 3 << 3,
    /// What is about security, and not for everybody.
    Authpriv = 10 << 3,
}

/// From syslog(3): how much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of syslog(3)")]
pub enum Severity {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

/// A way to syslog. Opened with the first line, and anew when syslog was started anew.
#[derive(Debug)]
pub struct Syslog {
    path: PathBuf,
    facility: Facility,
    /// How long one line may wait; not at all, if zero.
    patience: Duration,
    socket: Mutex<Option<UnixDatagram>>,
}

impl Syslog {
    /// To the syslog at `path`.
    pub fn new(path: &Path, facility: Facility, patience: Duration) -> Self {
        Self { path: path.to_owned(), facility, patience, socket: Mutex::new(None) }
    }

    /// Sends one line. An error means that it is lost.
    pub fn send(&self, severity: Severity, text: &[u8]) -> io::Result<()> {
        let head = format!("<{}>akvfs[{}]: ", self.facility as u8 | severity as u8, std::process::id());
        let line = [head.as_bytes(), text.trim_ascii_end()].concat();
        // A socket is put there whole or not at all.
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(_)) = socket.as_ref().map(|socket| socket.send(&line)) {
            return Ok(());
        }
        let fresh = UnixDatagram::unbound()?;
        if self.patience.is_zero() {
            fresh.set_nonblocking(true)?;
        } else {
            fresh.set_write_timeout(Some(self.patience))?;
        }
        fresh.connect(&self.path)?;
        fresh.send(&line)?;
        *socket = Some(fresh);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_priority_and_a_missing_syslog_is_an_error_and_no_more() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("log");
        let daemon = Syslog::new(&path, Facility::Daemon, Duration::ZERO);
        let audit = Syslog::new(&path, Facility::Authpriv, Duration::from_secs(1));
        daemon.send(Severity::Error, b"nobody listens\n").unwrap_err();
        for round in ["first", "second"] {
            let _ = std::fs::remove_file(&path);
            let listener = UnixDatagram::bind(&path).unwrap();
            let heard = |syslog: &Syslog, severity| {
                syslog.send(severity, format!("{round}\n").as_bytes()).unwrap();
                let mut line = [0; 256];
                let length = listener.recv(&mut line).unwrap();
                String::from_utf8_lossy(&line[..length]).into_owned()
            };
            let us = std::process::id();
            assert_eq!(heard(&daemon, Severity::Warning), format!("<28>akvfs[{us}]: {round}"));
            assert_eq!(heard(&audit, Severity::Notice), format!("<85>akvfs[{us}]: {round}"));
        }
    }
}
