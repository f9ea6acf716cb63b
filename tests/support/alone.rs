//! Processes that have nothing to do with each other.

use std::collections::BTreeSet;

use akvfs::fs::processes::{Process, Processes};
use akvfs::fs::tree::Ino;

/// Every thread is a process that nobody shares a descriptor with.
pub struct Alone;

impl Processes for Alone {
    fn of_thread(&self, thread: u32) -> Process {
        thread
    }
    fn descends(&self, process: Process, ancestors: &BTreeSet<Process>) -> bool {
        ancestors.contains(&process)
    }
    fn may_write(&self, _processes: &BTreeSet<Process>, _inodes: &[Ino]) -> bool {
        false
    }
    fn was_killed(&self, _thread: u32) -> bool {
        false
    }

    fn program(&self, _process: Process) -> Option<String> {
        None
    }
}
