//! What is logged: `AKVFS_LOG`, and what changes it at run time: SIGUSR1, which goes on to the next level, and
//! `.akvfs/log`, which takes levels part by part.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::SIGUSR1;
use signal_hook::iterator::Signals;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::{Registry, reload};

use super::lines::StderrLines;
use crate::cli::{Failure, USAGE};
use crate::mount::session::Log;

/// What is logged unless `AKVFS_LOG` says otherwise.
const LOGGED: &str = "akvfs=info";
/// What SIGUSR1 goes through, behind what was configured.
const LOUDER: [&str; 2] = ["akvfs=debug", "akvfs=trace"];

/// What is logged, to be changed.
pub(in crate::cli) struct Levels {
    configured: String,
    now: Mutex<String>,
    filter: reload::Handle<EnvFilter, Registry>,
    /// What has to be written by a thread.
    lines: Option<Arc<StderrLines>>,
}

/// The filter as it is configured, and the way to change it.
pub(super) fn configured(
    lines: Option<Arc<StderrLines>>,
) -> Result<(reload::Layer<EnvFilter, Registry>, Levels), Failure> {
    let configured = std::env::var("AKVFS_LOG").unwrap_or_else(|_| LOGGED.to_owned());
    let filter = parse(&configured).map_err(|why| Failure { code: USAGE, line: format!("AKVFS_LOG={why}") })?;
    let (layer, filter) = reload::Layer::new(filter);
    Ok((layer, Levels { now: Mutex::new(configured.clone()), configured, filter, lines }))
}

fn parse(levels: &str) -> Result<EnvFilter, String> {
    let foreign = levels.split(',').find(|word| word.contains('=') && !super::is_ours(target_of(word)));
    if let Some(word) = foreign {
        return Err(format!("{levels}: {word} is no part of akvfs; write for example akvfs::vault=debug"));
    }
    let wrong = |error| format!("{levels}: {error}; write for example debug, or akvfs::vault=debug");
    EnvFilter::try_new(levels).map_err(wrong)
}

/// `akvfs::vault` of `akvfs::vault=debug`.
fn target_of(word: &str) -> &str {
    word.split(['=', '[']).next().unwrap_or_default().trim()
}

impl Levels {
    /// From now on what is logged is also written. Starts a thread: a process that forks must do so before, and each of the
    /// two has its own.
    pub fn start_writing(&self) -> io::Result<()> {
        self.lines.clone().map_or(Ok(()), StderrLines::start)
    }

    /// From now on each SIGUSR1 goes on to the next level: what was configured, debug, trace, and from the beginning. Starts
    /// a thread: a process that forks must do so before.
    pub fn cycle_on_signal(self: Arc<Self>) -> io::Result<()> {
        let mut signals = Signals::new([SIGUSR1])?;
        let listen = move || {
            let steps = LOUDER.map(str::to_owned).into_iter().chain([self.configured.clone()]);
            for (_, step) in signals.forever().zip(steps.cycle()) {
                // The words were accepted before, and the log lives as long as the process.
                let _ = self.set_levels(&step);
            }
        };
        std::thread::Builder::new().name("akvfs-levels".to_owned()).spawn(listen).map(drop)
    }
}

impl Log for Levels {
    fn levels(&self) -> String {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_levels(&self, levels: &str) -> Result<(), String> {
        let levels = if levels.is_empty() { &self.configured } else { levels };
        let filter = parse(levels)?;
        {
            // Held over both, so that what is told is what holds.
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            self.filter.reload(filter).map_err(|error| error.to_string())?;
            levels.clone_into(&mut now);
        }
        tracing::info!("the log is at {levels} from now on");
        Ok(())
    }

    fn flush(&self) {
        if let Some(lines) = &self.lines {
            lines.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_for_all_or_for_parts_of_ours() {
        for levels in ["debug", "akvfs=warn", "warn,akvfs::vault=debug", "akvfs::fs::journal=off,akvfs=trace", ""] {
            assert!(parse(levels).is_ok(), "{levels}");
        }
        for (levels, part) in [
            ("vault=debug", "vault=debug: vault=debug is no part of akvfs; write for example akvfs::vault=debug"),
            ("hyper=trace", "no part of akvfs"),
            ("akvfs=loud", "write for example debug, or akvfs::vault=debug"),
        ] {
            let why = parse(levels).unwrap_err();
            assert!(why.starts_with(levels) && why.contains(part), "{why}");
        }
    }

    #[test]
    fn what_is_set_is_told_and_nothing_means_as_it_was_configured() {
        let (filter, handle) = reload::Layer::new(parse("warn").unwrap());
        let levels =
            Levels { configured: "warn".to_owned(), now: Mutex::new("warn".to_owned()), filter: handle, lines: None };
        levels.set_levels("akvfs::vault=debug").unwrap();
        assert_eq!(levels.levels(), "akvfs::vault=debug");
        levels.set_levels("akvfs=loud").unwrap_err();
        assert_eq!(levels.levels(), "akvfs::vault=debug", "nothing has changed");
        levels.set_levels("").unwrap();
        assert_eq!(levels.levels(), "warn");
        drop(filter);
        assert!(levels.set_levels("debug").is_err(), "there is no log any more");
        assert_eq!(levels.levels(), "warn");
    }
}
