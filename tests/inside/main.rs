//! Secrets stay inside: what can be found of a value where it must not be, and what a daemon can no longer do.
//!
//! Real mounts, looked at from outside, as root can. Where nothing can be mounted, or nobody may look, the test says
//! SKIPPED and passes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
#[path = "../support/skipped.rs"]
mod skipped;

#[path = "../mount/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the mount, which use more of it")]
mod harness;

mod everywhere;
mod look;
mod sandbox;
