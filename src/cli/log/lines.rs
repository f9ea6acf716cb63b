//! The log as lines: text for people, JSON for programs.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use tracing::field::Field;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use super::Output;
use crate::mount::syslog::{Facility, Severity, Syslog};

/// Fields of an error that its sentence has already; only programs want them apart.
const IN_THE_SENTENCE: &str = "error.";

/// Lines on the standard error.
pub(super) fn to_stderr(json: bool, ansi: bool) -> Output {
    match json {
        true => Box::new(fmt::layer().json().flatten_event(true).with_writer(io::stderr)),
        false => Box::new(fmt::layer().fmt_fields(debug_fn(write_field)).with_writer(io::stderr).with_ansi(ansi)),
    }
}

/// Lines in the syslog at `path`, which adds the time and the level.
pub(super) fn to_syslog(path: &Path, json: bool) -> Output {
    let lines = fmt::layer().with_writer(Lines::to(path)).without_time().with_target(false).with_ansi(false);
    match json {
        true => Box::new(lines.json().flatten_event(true)),
        false => Box::new(lines.with_level(false).fmt_fields(debug_fn(write_field))),
    }
}

fn write_field(out: &mut Writer<'_>, field: &Field, value: &dyn std::fmt::Debug) -> std::fmt::Result {
    match field.name() {
        "message" => write!(out, "{value:?}"),
        name if name.starts_with(IN_THE_SENTENCE) => Ok(()),
        name => write!(out, " {name}={value:?}"),
    }
}

struct Lines(Syslog);

impl Lines {
    fn to(path: &Path) -> Self {
        Self(Syslog::new(path, Facility::Daemon, Duration::ZERO))
    }
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

/// The level in syslog's words.
pub(super) fn severity(level: Level) -> Severity {
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
