//! `akvfs serve`.

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {}

/// Serves.
pub fn run(_args: ServeArgs) -> Result<(), std::io::Error> {
    Err(std::io::Error::other("serving is not built in"))
}
