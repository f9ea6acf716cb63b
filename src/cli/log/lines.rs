//! The log as lines: text for people, JSON for programs.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tracing::field::Field;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use super::Output;
use crate::mount::queue::Queue;
use crate::mount::syslog::{Facility, Severity, Syslog};

/// Fields of an error that its sentence has already; only programs want them apart.
const IN_THE_SENTENCE: &str = "error.";

/// Lines that wait to be written, at most: some 2 MiB.
const WAITING: usize = 8192;
/// How long an end waits for those that are left.
const PATIENCE: Duration = Duration::from_millis(500);

/// Lines on the standard error.
pub(super) fn to_stderr(lines: Arc<StderrLines>, json: bool, ansi: bool) -> Output {
    match json {
        true => Box::new(fmt::layer().json().flatten_event(true).with_writer(lines)),
        false => Box::new(fmt::layer().fmt_fields(debug_fn(write_field)).with_writer(lines).with_ansi(ansi)),
    }
}

/// Lines on their way to the standard error. A thread of its own writes them, because who reads it may have stopped. A line
/// that finds no room is counted, and the next one that gets through says how many are missing.
pub(super) struct StderrLines {
    queue: Queue<Vec<u8>>,
    lost: AtomicU64,
    json: bool,
}

impl StderrLines {
    /// They wait until somebody starts the thread.
    pub fn new(json: bool) -> Self {
        Self { queue: Queue::new(WAITING), lost: AtomicU64::new(0), json }
    }

    /// Starts the thread.
    pub fn start(self: Arc<Self>) -> io::Result<()> {
        let write = move || self.write_to(&mut io::stderr());
        thread::Builder::new().name("akvfs-log".to_owned()).spawn(write).map(drop)
    }

    /// Waits, a little, until all are written.
    pub fn flush(&self) {
        self.queue.flush(PATIENCE);
    }

    fn write_to(&self, out: &mut dyn Write) {
        while let Some(line) = self.queue.next() {
            let lost = self.lost.swap(0, Ordering::Relaxed);
            // There is nobody to tell that there is nobody to tell.
            let _ = if lost > 0 { out.write_all(self.missing(lost).as_bytes()) } else { Ok(()) };
            let _ = out.write_all(&line);
        }
    }

    fn missing(&self, lost: u64) -> String {
        let said = format!("{lost} lines of the log are lost: they were not taken in time");
        if self.json { format!("{{\"level\":\"WARN\",\"message\":\"{said}\"}}\n") } else { format!("WARN {said}\n") }
    }
}

impl Write for &StderrLines {
    /// A whole line, as the subscriber writes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !self.queue.push(line.to_vec()) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
    fn a_line_that_finds_no_room_is_counted_and_said_once_one_gets_through() {
        for (json, missing) in [
            (false, "WARN 3 lines of the log are lost: they were not taken in time\n"),
            (true, "{\"level\":\"WARN\",\"message\":\"3 lines of the log are lost: they were not taken in time\"}\n"),
        ] {
            let lines = StderrLines { queue: Queue::new(2), lost: AtomicU64::new(0), json };
            (0..5).for_each(|number| (&lines).write_all(format!("{number}\n").as_bytes()).unwrap());
            lines.queue.close();
            let mut out = Vec::new();
            lines.write_to(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{missing}0\n1\n"));
        }
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
