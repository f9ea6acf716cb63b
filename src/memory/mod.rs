//! Memory for what must not be found in it: bytes that are locked while they live and wiped when they do not. Knows no
//! other module.
//!
//! - [`locked`]: the bytes themselves.
//! - [`arena`]: the pages that they stand in.
//! - [`wiping`]: an allocator that wipes all the rest of the process's memory when it is given back.
//! - [`whole`]: locking all of the process, where that is allowed.

mod arena;
mod locked;
mod whole;
mod wiping;

pub use locked::Locked;
pub use whole::lock_all;
pub use wiping::Wiping;
