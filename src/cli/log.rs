//! Where a mount's log goes: to standard error in the foreground, to syslog (which is journald on most machines) in the
//! background. Only our own events: what a library logs of a request may hold a token.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use super::{Failure, USAGE};
use crate::mount::syslog::{Facility, SYSLOG, Severity, Syslog};

/// What is logged unless `AKVFS_LOG` says otherwise.
const LOGGED: &str = "akvfs=info";

/// Logs to the standard error from now on.
pub(super) fn to_stderr() -> Result<(), Failure> {
    let ansi = io::stderr().is_terminal();
    start(fmt::layer().with_writer(io::stderr).with_ansi(ansi))
}

/// Logs to syslog from now on; to nowhere while there is none.
pub(super) fn to_syslog() -> Result<(), Failure> {
    let lines = fmt::layer().with_writer(Lines::to(Path::new(SYSLOG))).with_ansi(false);
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

/// The log's way to syslog. A line that it does not take at once is lost: no file operation waits for a log.
struct Lines(Syslog);

impl Lines {
    fn to(path: &Path) -> Self {
        Self(Syslog::new(path, Facility::Daemon, Duration::ZERO))
    }
}

fn is_ours(target: &str) -> bool {
    target == "akvfs" || target.starts_with("akvfs::")
}

/// One line on its way to syslog.
struct Line<'a> {
    syslog: &'a Syslog,
    level: Level,
}

impl Write for Line<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        // There is nobody to tell that there is nobody to tell.
        let _ = self.syslog.send(severity(self.level), text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { syslog: &self.0, level: Level::INFO }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line<'a> {
        Line { syslog: &self.0, level: *about.level() }
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        Level::INFO => Severity::Info,
        _ => Severity::Debug,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

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
        let syslog = Lines::to(&path);
        let say = |level, text: &str| Line { syslog: &syslog.0, level }.write_all(text.as_bytes()).unwrap();
        say(Level::ERROR, "nobody listens\n");
        let listener = UnixDatagram::bind(&path).unwrap();
        for (level, priority) in [(Level::ERROR, 27), (Level::WARN, 28), (Level::INFO, 30), (Level::TRACE, 31)] {
            say(level, "said\n");
            let mut line = [0; 256];
            let length = listener.recv(&mut line).unwrap();
            let expected = format!("<{priority}>akvfs[{}]: said", std::process::id());
            assert_eq!(String::from_utf8_lossy(&line[..length]), expected);
        }
    }
}
