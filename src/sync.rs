//! Locks: the standard library's, or those of a scheduler that tries many orders of threads (the feature `shuttle`,
//! tests/schedules). For whatever threads share below the kernel's side.

#[cfg(not(feature = "shuttle"))]
pub use std::sync::{Condvar, Mutex, MutexGuard};

#[cfg(feature = "shuttle")]
pub use shuttle::sync::{Condvar, Mutex, MutexGuard};
