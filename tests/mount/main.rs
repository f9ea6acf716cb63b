//! Real mounts, used by ordinary programs, with the vault asked afterwards.
//!
//! Each test has a vault and a mount of its own. Where nothing can be mounted, or a program is missing, the test says
//! SKIPPED and passes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
#[path = "../support/skipped.rs"]
mod skipped;

#[macro_use]
mod compiled;

mod alike;
mod calls;
mod commands;
mod errnos;
mod error_table;
mod fresh;
mod fsx;
#[allow(dead_code, reason = "tests/faults uses the rest")]
mod harness;
mod hostile;
mod identity;
#[path = "../support/kinds.rs"]
mod kinds;
mod messages;
#[path = "../support/named.rs"]
mod named;
mod outages;
mod programs;
mod readers;
mod reading;
mod readme;
mod refusals;
mod removing;
mod roles;
mod saving;
mod temporary;
mod unopened;
mod walking;
mod watchers;
mod writers;
