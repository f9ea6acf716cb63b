//! Mounting: what a mount is told, where it goes, and the process that carries it.
//!
//! - [`options`]: the one list of options; flags, `-o` and the documentation come from it.
//! - [`helper`]: the command line that mount(8) writes.
//! - [`source`]: what a SOURCE may be.
//! - [`point`]: whether DIR can be mounted on; cleans up after a mount that died there.
//! - [`mountinfo`]: what the kernel says is mounted.
//! - [`daemon`]: the process in the background, and how it tells its parent that it is ready.
//! - [`stop`]: what a mount is asked for while it runs, and the signals that ask.
//! - [`supervisor`]: what the service manager is told.
//! - [`accounts`]: users and groups by name.
//! - [`attendant`]: a process beside the daemon, for what the daemon may no longer do.
//! - [`inherited`]: what the caller left open.
//! - [`audit`]: where the lines of the audit go.
//! - [`queue`]: lines on their way to the thread that writes them.
//! - [`syslog`]: the machine's syslog.
//! - [`process`]: what the kernel is asked about our own process.
//! - [`program`]: a program that is run, and ended when it takes too long.
//! - [`wake`]: what is done to a file so that who watches it is told.
//! - [`hook`]: the command that runs on a change.
//! - [`unmount`]: taking a mount away.
//! - [`sandbox`]: what the daemon gives up once it is mounted.
//! - [`session`]: the wiring, the only place that knows all the floors.

pub mod accounts;
pub mod attendant;
pub mod audit;
pub mod daemon;
pub mod helper;
pub mod hook;
pub mod inherited;
pub mod mountinfo;
pub mod options;
pub mod point;
pub mod process;
mod program;
pub mod queue;
pub mod sandbox;
pub mod session;
pub mod source;
pub mod stop;
pub mod supervisor;
pub mod syslog;
pub mod unmount;
mod value;
pub mod wake;

/// The type a mount of ours has in the mount table.
pub const FILESYSTEM: &str = "fuse.akvfs";

/// What the fuzzer reaches that callers need not.
#[cfg(fuzzing)]
pub mod fuzzing {
    use std::path::Path;

    use super::options::OptionError;
    use super::options::layers::Configured;

    /// What a config file that holds `text` sets.
    ///
    /// # Errors
    /// If it is none.
    pub fn config(text: &str) -> Result<Configured, OptionError> {
        let mut all = Configured::default();
        all.take_text(Path::new("akvfs.toml"), text)?;
        Ok(all)
    }
}
