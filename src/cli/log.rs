//! Where a mount's log goes: to standard error in the foreground, to syslog (which is journald on most machines) in the
//! background. Only our own events: what a library logs of a request may hold a token.

use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use super::{Failure, USAGE};

/// What is logged unless `AKVFS_LOG` says otherwise.
const LOGGED: &str = "akvfs=info";
/// Where syslog listens.
const SYSLOG: &str = "/dev/log";

/// Logs to the standard error from now on.
pub(super) fn to_stderr() -> Result<(), Failure> {
    let ansi = io::stderr().is_terminal();
    start(fmt::layer().with_writer(io::stderr).with_ansi(ansi))
}

/// Logs to syslog from now on; to nowhere while there is none.
pub(super) fn to_syslog() -> Result<(), Failure> {
    let lines = fmt::layer().with_writer(Syslog::new(Path::new(SYSLOG))).with_ansi(false);
    // syslog has the time and the level.
    start(lines.without_time().with_level(false).with_target(false))
}

fn start<L>(lines: L) -> Result<(), Failure>
where
    L: Layer<Layered<EnvFilter, Registry>> + Send + Sync,
{
    let wanted = std::env::var("AKVFS_LOG").unwrap_or_else(|_| LOGGED.to_owned());
    let filter = EnvFilter::try_new(&wanted).map_err(|error| Failure {
        code: USAGE,
        line: format!("AKVFS_LOG={wanted}: {error}; write for example debug"),
    })?;
    let ours = filter_fn(|event| is_ours(event.target()));
    tracing_subscriber::registry().with(filter).with(lines.with_filter(ours)).init();
    Ok(())
}

fn is_ours(target: &str) -> bool {
    target == "akvfs" || target.starts_with("akvfs::")
}

/// The machine's syslog. A line that it does not take at once is lost: no file operation waits for a log.
struct Syslog {
    path: PathBuf,
    socket: Mutex<Option<UnixDatagram>>,
}

impl Syslog {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), socket: Mutex::new(None) }
    }

    fn send(&self, line: &[u8]) -> io::Result<()> {
        // A socket is put there whole or not at all.
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(_)) = socket.as_ref().map(|socket| socket.send(line)) {
            return Ok(());
        }
        // The first line, or syslog was started anew.
        let fresh = UnixDatagram::unbound()?;
        fresh.set_nonblocking(true)?;
        fresh.connect(&self.path)?;
        fresh.send(line)?;
        *socket = Some(fresh);
        Ok(())
    }
}

/// One line on its way to syslog.
struct Line<'a> {
    syslog: &'a Syslog,
    level: Level,
}

impl Write for Line<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let head = format!("<{}>akvfs[{}]: ", priority(self.level), std::process::id());
        let line = [head.as_bytes(), text.trim_ascii_end()].concat();
        // There is nobody to tell that there is nobody to tell.
        let _ = self.syslog.send(&line);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { syslog: self, level: Level::INFO }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line<'a> {
        Line { syslog: self, level: *about.level() }
    }
}

/// RFC 3164, 4.1.1: facility 3 (daemons) times eight, plus the severity.
fn priority(level: Level) -> u8 {
    let severity = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    3 * 8 + severity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_events_are_logged() {
        assert!(is_ours("akvfs") && is_ours("akvfs::vault::http"));
        assert!(!is_ours("hyper::proto") && !is_ours("akvfsx") && !is_ours("reqwest::connect"));
    }

    #[test]
    fn a_line_reaches_syslog_with_its_level_and_a_missing_syslog_is_no_error() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("log");
        let syslog = Syslog::new(&path);
        let say = |level, text: &str| Line { syslog: &syslog, level }.write_all(text.as_bytes()).unwrap();
        say(Level::ERROR, "nobody listens\n");
        for round in ["first", "second"] {
            let _ = std::fs::remove_file(&path);
            let listener = UnixDatagram::bind(&path).unwrap();
            say(Level::WARN, &format!("{round}\n"));
            let mut line = [0; 256];
            let length = listener.recv(&mut line).unwrap();
            let expected = format!("<28>akvfs[{}]: {round}", std::process::id());
            assert_eq!(String::from_utf8_lossy(&line[..length]), expected);
        }
        assert_eq!([Level::ERROR, Level::INFO, Level::DEBUG].map(priority), [27, 30, 31]);
    }
}
