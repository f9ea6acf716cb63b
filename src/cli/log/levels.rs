//! What is logged: `AKVFS_LOG`, and SIGUSR1, which goes on to the next level.

use std::io;

use signal_hook::consts::SIGUSR1;
use signal_hook::iterator::Signals;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::{Registry, reload};

use crate::cli::{Failure, USAGE};

/// What is logged unless `AKVFS_LOG` says otherwise.
const LOGGED: &str = "akvfs=info";
/// What SIGUSR1 goes through, behind what was configured.
const LOUDER: [&str; 2] = ["akvfs=debug", "akvfs=trace"];

/// What is logged, to be changed.
pub(in crate::cli) struct Levels {
    configured: String,
    filter: reload::Handle<EnvFilter, Registry>,
}

/// The filter as it is configured, and the way to change it.
pub(super) fn configured() -> Result<(reload::Layer<EnvFilter, Registry>, Levels), Failure> {
    let configured = std::env::var("AKVFS_LOG").unwrap_or_else(|_| LOGGED.to_owned());
    let filter = EnvFilter::try_new(&configured).map_err(|error| Failure {
        code: USAGE,
        line: format!("AKVFS_LOG={configured}: {error}; write for example debug"),
    })?;
    let (layer, filter) = reload::Layer::new(filter);
    Ok((layer, Levels { configured, filter }))
}

impl Levels {
    /// From now on each SIGUSR1 goes on to the next level: what was configured, debug, trace, and from the beginning. Starts
    /// a thread: a process that forks must do so before.
    pub fn cycle_on_signal(self) -> io::Result<()> {
        let mut signals = Signals::new([SIGUSR1])?;
        let listen = move || {
            let steps = LOUDER.map(str::to_owned).into_iter().chain([self.configured.clone()]);
            for (_, step) in signals.forever().zip(steps.cycle()) {
                self.set(&step);
            }
        };
        std::thread::Builder::new().name("akvfs-levels".to_owned()).spawn(listen).map(drop)
    }

    fn set(&self, step: &str) {
        // The words were accepted before, and the log lives as long as the process.
        if EnvFilter::try_new(step).is_ok_and(|filter| self.filter.reload(filter).is_ok()) {
            tracing::info!("the log is at {step} from now on");
        }
    }
}
