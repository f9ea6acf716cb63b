//! `akvfs refresh DIR [NAME…]`: what others changed is seen now, also where nothing can be written.

use std::path::PathBuf;
use std::time::Duration;

use super::mounted::Mounted;
use super::{Failure, USAGE};
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
    let refresh = |name: &str| mounted.ask("refresh", REFRESH_REQUEST, name, LIMIT);
    match args.names.as_slice() {
        // All.
        [] => refresh(""),
        names => names.iter().try_for_each(|name| refresh(name)),
    }
}
