//! A mount's log: to standard error in the foreground, to journald or syslog in the background. Only our own events: what a
//! library logs of a request may hold a token. No file operation waits for it: a line that is not taken at once is lost.
//!
//! - [`levels`]: what is logged, and how that changes at run time.
//! - [`journald`]: lines with fields.
//! - [`lines`]: lines of text, or of JSON, for the standard error and for syslog.

mod journald;
mod levels;
mod lines;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use super::Failure;
use crate::mount::options::Settings;
use crate::mount::syslog::SYSLOG;

pub(super) use levels::Levels;
use lines::StderrLines;

/// What stands between the registry and the lines.
type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
/// Where events become lines.
type Output = Box<dyn Layer<Filtered> + Send + Sync>;

/// Logs from now on as `settings` say; to nowhere while nobody listens.
pub(super) fn start(settings: &Settings) -> Result<Levels, Failure> {
    let lines = settings.foreground.then(|| Arc::new(StderrLines::new(settings.log_json)));
    let output: Output = match &lines {
        Some(lines) => lines::to_stderr(lines.clone(), settings.log_json, io::stderr().is_terminal()),
        None => match journald::Journald::find(Path::new(journald::SOCKET)) {
            Some(journald) => Box::new(journald),
            None => lines::to_syslog(Path::new(SYSLOG), settings.log_json),
        },
    };
    let (filter, levels) = levels::configured(lines)?;
    let ours = filter_fn(|event| is_ours(event.target()));
    tracing_subscriber::registry().with(filter).with(output.with_filter(ours)).init();
    Ok(levels)
}

fn is_ours(target: &str) -> bool {
    target == "akvfs" || target.starts_with("akvfs::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_events_are_logged() {
        assert!(is_ours("akvfs") && is_ours("akvfs::vault::http"));
        assert!(!is_ours("hyper::proto") && !is_ours("akvfsx") && !is_ours("reqwest::connect"));
    }
}
