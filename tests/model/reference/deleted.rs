//! Making directories, removing, recovering, purging.

use crate::op::{At, Dir, Listed};

use super::sight::Home;
use super::{Change, Face, Outcome, Reference, Seen, Target};

/// How long an unlinked value waits for a new file of its name.
const DELETE_DELAY: u64 = 1_000;
const PURGE_AFTER: u64 = 3_600_000;

impl Reference {
    pub(super) fn list(&mut self, what: Listed, p: u32) -> Outcome {
        match what {
            Listed::In(Dir::Secret(n)) => {
                self.home(n, p)?;
                self.listers.push((n, p, self.now));
            }
            Listed::Versions(n) => match self.home(n, p)? {
                Home::Live | Home::Ghost => {}
                Home::Newborn => return Err(libc::ENOENT),
            },
            Listed::Grave(n) => {
                self.look_at_grave(n, p)?;
                self.listers.push((n, p, self.now));
            }
            Listed::Deleted => self.send_removals(|_| true),
            Listed::Root | Listed::Secrets | Listed::In(Dir::Files | Dir::Backups) => {}
        }
        Ok(())
    }

    pub(super) fn mkdir(&mut self, n: usize, p: u32) -> Outcome {
        if self.home(n, p).is_ok() || self.is_deleted(n) {
            return Err(libc::EEXIST);
        }
        self.newborn.insert(n, None);
        self.ghosts.remove(&n);
        Ok(())
    }

    pub(super) fn rmdir(&mut self, n: usize, p: u32) -> Outcome {
        match self.home(n, p)? {
            Home::Live => return self.delete(n, None),
            Home::Newborn => {
                self.newborn.remove(&n);
                self.nameless(|draft| match draft.target {
                    Target::Value(of, face) => of == n && face == Face::Value,
                    Target::Scratch((dir, _)) => dir == Dir::Secret(n),
                    Target::Restore(_) | Target::Nothing => false,
                });
            }
            Home::Ghost => {
                self.ghosts.remove(&n);
            }
        }
        Ok(())
    }

    pub(super) fn unlink(&mut self, at: At, p: u32) -> Option<Outcome> {
        if let Err(errno) = self.enter(at.0, p) {
            return Some(Err(errno));
        }
        Some(match (self.look(at, p), at.0) {
            (Err(errno), _) => Err(errno),
            (Ok(Seen::Draft(id)), _) if matches!(self.drafts[&id].target, Target::Scratch(_)) => {
                self.nameless(|draft| draft.target == Target::Scratch(at));
                Ok(())
            }
            (Ok(Seen::Value(n, face)), _) => self.hide(n, face, p),
            (Ok(Seen::Meta(n)), _) => self.unlink_meta(n, p),
            (Ok(Seen::Ghost), _) => Ok(()),
            (Ok(Seen::Backup(_)), _) => Err(libc::EPERM),
            // What he is writing himself.
            (Ok(Seen::Draft(_) | Seen::Unclear), Dir::Secret(n)) if self.live(n).is_some() => {
                self.hide(n, Face::Value, p)
            }
            (Ok(Seen::Draft(_) | Seen::Unclear), Dir::Secret(n)) => {
                self.nameless(|draft| draft.target == Target::Value(n, Face::Value));
                Ok(())
            }
            (Ok(Seen::Draft(id)), _) => match self.resolve(at.1).filter(|_| at.0 == Dir::Files) {
                Some(n) => self.hide(n, Face::File, p),
                None => {
                    let draft = self.drafts.get_mut(&id)?;
                    (draft.target, draft.dirty) = (Target::Nothing, false);
                    self.drop_unused();
                    Ok(())
                }
            },
            (Ok(Seen::Unclear), _) => return None,
        })
    }

    fn hide(&mut self, n: usize, face: Face, p: u32) -> Outcome {
        let own = Target::Value(n, face);
        self.nameless(|draft| draft.target == own && !draft.renamed && draft.writers.contains(&p));
        let can_go_back = self
            .drafts
            .values()
            .any(|draft| matches!(draft.target, Target::Scratch(_)) && draft.way_back == Some((n, face, p)));
        if can_go_back {
            self.set_aside.insert((n, face));
        } else {
            self.removals.insert(n, (p, self.now + DELETE_DELAY));
        }
        Ok(())
    }

    fn unlink_meta(&mut self, n: usize, p: u32) -> Outcome {
        match self.home(n, p)? {
            Home::Newborn => self.newborn.get_mut(&n).and_then(Option::take).map(drop).ok_or(libc::ENOENT),
            Home::Ghost => Ok(()),
            Home::Live if self.may_clear(n, p) => Ok(()),
            Home::Live => Err(libc::EPERM),
        }
    }

    /// `deleted/n/.meta.json`: the first step of `rm -r`.
    pub(super) fn unlink_grave(&mut self, n: usize, p: u32) -> Outcome {
        self.look_at_grave(n, p)?;
        if self.setup.allow_purge && self.may_clear(n, p) { Ok(()) } else { Err(libc::EPERM) }
    }

    /// The way to `deleted/n`. Who looks there does not clear up below `secrets/n` any more.
    pub(super) fn look_at_grave(&mut self, n: usize, p: u32) -> Outcome {
        self.send_removals(|_| true);
        if !self.is_deleted(n) {
            return Err(libc::ENOENT);
        }
        if self.ghosts.get(&n).is_some_and(|(by, _)| *by == p) {
            self.ghosts.remove(&n);
        }
        Ok(())
    }

    pub(super) fn may_clear(&self, n: usize, p: u32) -> bool {
        let lists = |(dir, by, at): &(usize, u32, u64)| *dir == n && self.is_late(&(*by, *at), p);
        self.removals.get(&n).is_some_and(|(by, _)| *by == p)
            || self.listers.iter().any(lists)
            || self.ghosts.get(&n).is_some_and(|ghost| self.is_late(ghost, p))
    }

    /// Soft deletion, however it was asked for. What is refused is there again.
    fn delete(&mut self, n: usize, by: Option<u32>) -> Outcome {
        self.removals.remove(&n);
        self.send(Change::Delete)?;
        self.moved.insert(n, self.now);
        self.unhide(n);
        if let Some(secret) = self.secrets.get_mut(&n).filter(|secret| secret.deleted.is_none()) {
            secret.deleted = Some(self.now);
        }
        self.nameless(|draft| matches!(draft.target, Target::Scratch((dir, _)) if dir == Dir::Secret(n)));
        // The copies of what was moved aside go, too, and hold nothing for whoever has them open.
        for copy in self.drafts.values_mut().filter(|draft| draft.copy_of == Some(n)) {
            copy.bytes.clear();
            (copy.target, copy.dirty, copy.copy_of) = (Target::Nothing, false, None);
        }
        self.drop_unused();
        match by {
            Some(by) => self.ghosts.insert(n, (by, self.now)),
            None => self.ghosts.remove(&n),
        };
        Ok(())
    }

    /// Nobody waits for these, so nobody hears of a refusal.
    pub(super) fn send_removals(&mut self, due: impl Fn(u64) -> bool) {
        let sent: Vec<_> = self.removals.iter().filter(|(_, (_, at))| due(*at)).map(|(n, (by, _))| (*n, *by)).collect();
        for (n, by) in sent {
            let _ = self.delete(n, Some(by));
        }
    }

    pub(super) fn move_to_deleted(&mut self, n: usize, p: u32) -> Outcome {
        let home = self.home(n, p)?;
        // The kernel looks at the target first.
        let _ = self.look_at_grave(n, p);
        match home {
            Home::Newborn if self.live(n).is_none() => Err(libc::EPERM),
            _ if self.live(n).is_none() => Err(libc::ENOENT),
            _ => self.delete(n, None),
        }
    }

    pub(super) fn recover(&mut self, n: usize, p: u32) -> Option<Outcome> {
        if let Err(errno) = self.look_at_grave(n, p) {
            return Some(Err(errno));
        }
        if self.newborn.contains_key(&n) {
            return None;
        }
        if let Err(errno) = self.send(Change::Recover) {
            return Some(Err(errno));
        }
        self.secrets.get_mut(&n)?.deleted = None;
        self.moved.insert(n, self.now);
        self.ghosts.remove(&n);
        Some(Ok(()))
    }

    pub(super) fn purge(&mut self, n: usize, p: u32) -> Outcome {
        self.look_at_grave(n, p)?;
        if !self.setup.allow_purge {
            return Err(libc::EPERM);
        }
        let deleted = self.secrets[&n].deleted.unwrap_or(0);
        // The vault's dates are whole seconds.
        if self.now / 1000 - deleted / 1000 < PURGE_AFTER / 1000 {
            return Err(libc::EPERM);
        }
        self.send(Change::Purge)?;
        self.secrets.remove(&n);
        Ok(())
    }
}
