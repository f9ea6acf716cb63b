//! `akvfs unmount DIR`.

use std::path::PathBuf;

use super::{FAILED, Failure};
use crate::clock::SystemClock;
use crate::mount::unmount;

#[derive(Debug, clap::Args)]
pub(super) struct UnmountArgs {
    /// Where the vault is mounted
    dir: PathBuf,
    /// Detach it now, even while files in it are open; it ends when the last is closed
    #[arg(short = 'l', long)]
    lazy: bool,
}

/// Unmounts.
pub(super) fn run(args: &UnmountArgs) -> Result<(), Failure> {
    unmount::unmount(&args.dir, args.lazy, &*SystemClock::shared())
        .map_err(|error| Failure { code: FAILED, line: error.to_string() })
}
