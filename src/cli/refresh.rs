//! `akvfs refresh DIR [NAME…]`: what others changed is seen now. A mount that takes writes is told by its `.akvfs/refresh`; to
//! one that is read-only the kernel lets no write through, so its daemon gets a SIGHUP, which means everything.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::mounted::{Mounted, in_words, within};
use super::{Failure, USAGE};
use crate::clock::SystemClock;
use crate::mount::process;
use crate::secret::SecretName;

/// Longer than any mount waits for its vault (`write_timeout`), but for who has raised it.
const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks whether a daemon has done it.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub(super) struct RefreshArgs {
    /// Where the vault is mounted, or any place in it
    dir: PathBuf,
    /// Secrets to ask anew; all, if none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Returns when the vault has been asked.
pub(super) fn run(args: &RefreshArgs) -> Result<(), Failure> {
    for name in &args.names {
        SecretName::parse(name).map_err(|error| Failure { code: USAGE, line: format!("{name}: {error}") })?;
    }
    let mounted = Mounted::at(&args.dir)?;
    let status = mounted.status()?;
    match status["read_only"].as_bool() {
        Some(true) => by_signal(&mounted, &status),
        _ => by_file(&mounted, &args.names),
    }
}

fn by_file(mounted: &Mounted, names: &[String]) -> Result<(), Failure> {
    let (path, text) = (mounted.control("refresh"), names.join("\n") + "\n");
    let written = within(LIMIT, move || {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| mounted.failed(&sentence(mounted).unwrap_or_else(|| in_words(&error))))
}

/// What stands behind the errno of the last refresh.
fn sentence(mounted: &Mounted) -> Option<String> {
    let error = mounted.errors().ok()?.pop().filter(|error| error["path"] == ".akvfs/refresh")?;
    let message = error["message"].as_str()?;
    Some(match error["remedy"].as_str() {
        Some(remedy) => format!("{message}; {remedy}"),
        None => message.to_owned(),
    })
}

fn by_signal(mounted: &Mounted, before: &Value) -> Result<(), Failure> {
    let pid = before["pid"].as_u64().and_then(|pid| i32::try_from(pid).ok());
    let daemon = pid.filter(|pid| is_akvfs(*pid));
    let daemon = daemon.ok_or_else(|| mounted.failed("its daemon is not seen from here (another container?)"))?;
    process::hang_up(daemon).map_err(|error| mounted.failed(&format!("its daemon cannot be told: {error}")))?;
    let clock = SystemClock::shared();
    let end = clock.moment() + LIMIT;
    while !end.since(clock.moment()).is_zero() {
        let now = mounted.status()?;
        if count(&now, "done") > count(before, "done") {
            return verdict(mounted, before, &now);
        }
        clock.sleep(LOOK);
    }
    Err(mounted.failed(&in_words(&io::ErrorKind::TimedOut.into())))
}

fn verdict(mounted: &Mounted, before: &Value, now: &Value) -> Result<(), Failure> {
    match count(now, "failed") == count(before, "failed") {
        true => Ok(()),
        false => Err(mounted.failed("the vault did not give its list; the log says why, and so does akvfs status")),
    }
}

fn count(status: &Value, what: &str) -> u64 {
    status["hangups"][what].as_u64().unwrap_or(0)
}

/// A number from a mount of another container means another process here.
fn is_akvfs(pid: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    matches!(name.trim_end(), "akvfs" | "mount.akvfs" | "mount.fuse.akvf")
}
