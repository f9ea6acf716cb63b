//! `backup/`: what is read there is a copy, what is put there is restored.

use crate::op::{Dir, NAMES};

use super::{Change, Outcome, Reference, Seen};

impl Reference {
    pub(super) fn back_up(&mut self, n: usize, p: u32) -> Option<Outcome> {
        match self.look((Dir::Backups, NAMES[n]), p) {
            Ok(Seen::Backup(n)) => {
                let secret = self.live(n)?.clone();
                self.blobs.push((n, secret));
                Some(Ok(()))
            }
            Ok(_) => None,
            Err(errno) => Some(Err(errno)),
        }
    }

    /// A backup is copied into `backup/`, or written beside and renamed.
    pub(super) fn restore(&mut self, blob: usize, name: &'static str, renamed: bool, p: u32) -> Option<Outcome> {
        if self.blobs.is_empty() || (renamed && self.look((Dir::Backups, ".new"), p).is_ok()) {
            return None;
        }
        match self.look((Dir::Backups, name), p) {
            Ok(Seen::Backup(_)) => return Some(Err(libc::EEXIST)),
            Ok(_) => return None,
            Err(_) => {}
        }
        let (n, secret) = self.blobs[blob % self.blobs.len()].clone();
        if let Err(errno) = self.send(Change::Restore) {
            return Some(Err(errno));
        }
        // The name it has, not the name of the file, decides.
        if self.secrets.contains_key(&n) {
            return Some(Err(libc::EEXIST));
        }
        self.secrets.insert(n, secret);
        self.moved.insert(n, self.now);
        self.newborn.remove(&n);
        self.ghosts.remove(&n);
        Some(Ok(()))
    }
}
