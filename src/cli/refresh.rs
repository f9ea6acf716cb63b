//! `akvfs refresh DIR [NAME…]`: what others changed is seen now, also where nothing can be written.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use super::mounted::{Mounted, in_words, within};
use super::{Failure, USAGE};
use crate::mount::process;
use crate::mount::session::REFRESH_REQUEST;
use crate::secret::SecretName;

/// Longer than any mount waits for its vault (`write_timeout`), but for who has raised it.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub(super) struct RefreshArgs {
    /// Where the vault is mounted, or any place in it
    dir: PathBuf,
    /// Secrets to ask anew; all, if none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Returns when the vault has been asked and the kernel has dropped what it knew.
pub(super) fn run(args: &RefreshArgs) -> Result<(), Failure> {
    for name in &args.names {
        SecretName::parse(name).map_err(|error| Failure { code: USAGE, line: format!("{name}: {error}") })?;
    }
    let mounted = Mounted::at(&args.dir)?;
    match args.names.as_slice() {
        [] => refresh(&mounted, ""),
        names => names.iter().try_for_each(|name| refresh(&mounted, name)),
    }
}

/// One secret, or all for an empty name.
fn refresh(mounted: &Mounted, name: &str) -> Result<(), Failure> {
    let (path, name) = (mounted.control("refresh"), name.to_owned());
    let asked = within(LIMIT, move || process::ask_by_name(&File::open(path)?, REFRESH_REQUEST, &name));
    asked.map_err(|error| mounted.failed(&sentence(mounted).unwrap_or_else(|| in_words(&error))))
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
