//! The wiring: the only place that knows all the floors.

use std::path::Path;

use super::options::MountOptions;
use super::source::Source;
use super::stop::Stop;

/// A mount that is usable.
#[derive(Debug)]
pub struct Session;

/// Why a mount is not usable, or ended badly: a reason and a remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MountError(String);

/// Mounts `source` at `dir`; returns when the vault has given its first answer.
pub fn start(_source: &Source, _dir: &Path, _options: &MountOptions) -> Result<Session, MountError> {
    Err(MountError("mounting is not built in".to_owned()))
}

impl Session {
    /// Carries the mount until it is unmounted, or until `stop` is requested and pending changes are settled.
    pub fn wait(self, stop: &Stop) -> Result<(), MountError> {
        stop.wait();
        Ok(())
    }
}
