//! akvfs mounts the secrets of an Azure Key Vault as a directory tree.
//!
//! A request falls through five floors. Each floor knows only the ones below it, answers with a value or an error,
//! and never reaches up:
//!
//! ```text
//! kernel -> fuse (translate) -> fs (files and inodes) -> cache -> vault client -> HTTP
//! ```
//!
//! [`store::SecretStore`] is the one seam between files and vaults. `ARCHITECTURE.md` has the map.

pub mod around;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod fs;
pub mod fuse;
pub mod local;
pub mod memory;
pub mod metrics;
pub mod mount;
pub mod pages;
mod private;
pub mod secret;
pub mod store;
mod sync;
pub mod vault;

// Not as a target of its own: that would build the program with the scheduler's locks.
#[cfg(all(test, feature = "shuttle"))]
extern crate self as akvfs;
#[cfg(all(test, feature = "shuttle"))]
#[path = "../tests/schedules/mod.rs"]
mod schedules;
