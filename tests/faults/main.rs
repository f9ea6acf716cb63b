//! Bad days: faults on the wire at every call, lost replies, killed daemons and callers, a vault that hangs. On real mounts,
//! with the vault asked afterwards.
//!
//! Each test has a size for every run; `scripts/soak` runs the same with the sizes of `AKVFS_SOAK`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
#[path = "../support/skipped.rs"]
mod skipped;

mod api;
#[allow(dead_code, reason = "tests/mount uses the rest")]
#[path = "../mount/calls.rs"]
mod calls;
mod hangs;
#[allow(dead_code, reason = "tests/mount uses the rest")]
#[path = "../mount/harness.rs"]
mod harness;
mod inside;
mod kills;
mod lanes;
mod lost;
mod matrix;
mod nobody;
mod proxy;
mod racer;
mod soak;
#[path = "../support/mod.rs"]
mod support;
