//! `akvfs list`: the mounts of akvfs that this machine has, and whether they answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::mounted::within;
use super::{Failure, SYSTEM, pages};
use crate::mount::mountinfo::{self, Mount};
use crate::mount::process;

/// A mount answers this question from memory.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Prints a line for each mount; nothing, if there is none.
pub(super) fn run(args: &ListArgs) -> Result<(), Failure> {
    let mounts = mountinfo::read()
        .map_err(|error| Failure { code: SYSTEM, line: format!("the mount table cannot be read: {error}") })?;
    let ours: Vec<_> = mounts.iter().filter(|mount| mount.is_akvfs()).collect();
    let text = if args.json {
        let all: Vec<Value> = ours.iter().map(|mount| document(mount)).collect();
        format!("{:#}\n", Value::from(all))
    } else {
        ours.iter().map(|mount| line(mount)).collect()
    };
    pages::print(text.as_bytes())
}

fn line(mount: &Mount) -> String {
    let mode = if mount.read_only { "ro" } else { "rw" };
    format!("{}  {}  {mode}  {}\n", mount.source.display(), mount.dir.display(), state(&mount.dir))
}

fn document(mount: &Mount) -> Value {
    json!({
        "source": mount.source.to_string_lossy(),
        "directory": mount.dir.to_string_lossy(),
        "read_only": mount.read_only,
        "state": state(&mount.dir),
    })
}

/// Whether a daemon is behind it. Others' mounts do not answer us, and that is an answer.
fn state(dir: &Path) -> &'static str {
    let dir: PathBuf = dir.to_owned();
    match within(ANSWER_LIMIT, move || process::ask_file_system(&dir)) {
        Ok(()) => "answers",
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => "of another user",
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => "dead",
        Err(_) => "does not answer",
    }
}
