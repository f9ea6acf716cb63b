//! akvfs on a machine: mount(8) and fstab, other users, the service manager's units, the package.
//!
//! Each test has a machine of its own: a mount and a process namespace in which `/usr`, `/etc` and `/var` can be
//! changed, and which is gone with everything in it when the test's script ends. Needs root; says so and passes
//! where that is missing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
#[path = "../support/skipped.rs"]
mod skipped;

#[path = "../support/named.rs"]
mod named;

mod helper;
mod package;
mod pages;
mod support;
mod units;
mod users;
