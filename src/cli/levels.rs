//! `akvfs log DIR [LEVELS]`: what a mount logs, shown or changed while it runs.

use std::path::PathBuf;

use super::mounted::{LOOK_LIMIT, Mounted};
use super::{Failure, pages};
use crate::mount::session::LOG_REQUEST;

#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    /// Where the vault is mounted, or any place in it
    dir: PathBuf,
    /// A level for all, or for parts: debug, or warn,akvfs::vault=debug; nothing between quotes, as it began
    #[arg(value_name = "LEVELS")]
    levels: Option<String>,
}

/// Prints what is logged, or changes it.
pub(super) fn run(args: &LogArgs) -> Result<(), Failure> {
    let mounted = Mounted::at(&args.dir)?;
    match &args.levels {
        Some(levels) => mounted.ask("log", LOG_REQUEST, levels, LOOK_LIMIT),
        None => pages::print(mounted.read("log")?.as_bytes()),
    }
}
