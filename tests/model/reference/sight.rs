//! Who sees what under which name.

use crate::op::{ALIAS, At, Dir, META, NAMES, VALUE};

use super::{Draft, Reference, Secret, Target, Version};

/// The two files of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Face {
    Value,
    File,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    /// A temporary file, or what the looker is writing himself where others see nothing.
    Draft(usize),
    /// More than one of the looker's own, which cannot be told apart.
    Unclear,
    Value(usize, Face),
    Meta(usize),
    Backup(usize),
    /// What is left for who removes a directory.
    Ghost,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Home {
    Live,
    Newborn,
    Ghost,
}

impl Reference {
    pub fn live(&self, n: usize) -> Option<&Secret> {
        self.secrets.get(&n).filter(|secret| secret.deleted.is_none())
    }

    pub fn is_deleted(&self, n: usize) -> bool {
        self.secrets.get(&n).is_some_and(|secret| secret.deleted.is_some())
    }

    pub(super) fn current(&self, n: usize) -> Option<&Version> {
        self.live(n).map(Secret::current)
    }

    pub(super) fn is_disabled(&self, n: usize) -> bool {
        self.current(n).is_some_and(Version::is_disabled)
    }

    pub fn is_hidden(&self, n: usize, face: Face) -> bool {
        let is_kept = |draft: &Draft| {
            matches!(draft.target, Target::Scratch(_))
                && draft.way_back.is_some_and(|(of, its, _)| (of, its) == (n, face))
        };
        let aside = self.set_aside.contains(&(n, face)) && self.drafts.values().any(is_kept);
        self.removals.contains_key(&n) || aside
    }

    /// Whether `p` moved this file aside: for him it is gone, whatever he still has open.
    pub(super) fn has_moved(&self, n: usize, face: Face, p: u32) -> bool {
        let moved = self.movers.get(&(n, face)).is_some_and(|mover| self.is_late(mover, p));
        moved && self.live(n).is_some() && !self.is_hidden(n, face)
    }

    pub(super) fn home(&self, n: usize, p: u32) -> Result<Home, i32> {
        if self.live(n).is_some() {
            return Ok(Home::Live);
        }
        if self.newborn.contains_key(&n) {
            return Ok(Home::Newborn);
        }
        let ghost = self.ghosts.get(&n).is_some_and(|ghost| self.is_late(ghost, p));
        if ghost { Ok(Home::Ghost) } else { Err(libc::ENOENT) }
    }

    /// The way into a directory.
    pub(super) fn enter(&self, dir: Dir, p: u32) -> Result<(), i32> {
        match dir {
            Dir::Secret(n) => self.home(n, p).map(drop),
            Dir::Files | Dir::Backups => Ok(()),
        }
    }

    /// The secret that a name in `files/` means: by its own name, by the mount's alias, by the tag of the first.
    pub fn resolve(&self, name: &str) -> Option<usize> {
        if let Some(n) = NAMES.iter().position(|own| *own == name).filter(|n| self.live(*n).is_some()) {
            return Some(n);
        }
        if name == ALIAS.0 {
            return Some(ALIAS.1).filter(|n| self.live(*n).is_some());
        }
        let is_tagged = |n: &usize| self.current(*n).is_some_and(|it| it.attributes.tag("akvfs-file") == Some(name));
        let mut tagged: Vec<usize> = (0..NAMES.len()).filter(is_tagged).collect();
        tagged.sort_by_key(|n| NAMES[*n].to_ascii_uppercase());
        tagged.first().copied()
    }

    /// The secret that a new file of this name in `files/` would be.
    pub(super) fn meant(name: &str) -> Option<usize> {
        let own = NAMES.iter().position(|own| *own == name);
        own.or((name == ALIAS.0).then_some(ALIAS.1))
    }

    pub(super) fn scratch_at(&self, at: At) -> Option<usize> {
        self.drafts.iter().find(|(_, draft)| draft.target == Target::Scratch(at)).map(|(id, _)| *id)
    }

    fn creation(&self, target: &Target, p: u32) -> Result<Seen, i32> {
        let is_it = |draft: &Draft| draft.target == *target && !draft.renamed && draft.writers.contains(&p);
        let its: Vec<usize> = self.drafts.iter().filter(|(_, draft)| is_it(draft)).map(|(id, _)| *id).collect();
        match its[..] {
            [] => Err(libc::ENOENT),
            [id] => Ok(Seen::Draft(id)),
            _ => Ok(Seen::Unclear),
        }
    }

    fn look_at_value(&self, n: usize, face: Face, p: u32) -> Result<Seen, i32> {
        if self.is_hidden(n, face) {
            return self.creation(&Target::Value(n, face), p);
        }
        if self.has_moved(n, face, p) { Err(libc::ENOENT) } else { Ok(Seen::Value(n, face)) }
    }

    pub fn look(&self, at: At, p: u32) -> Result<Seen, i32> {
        match at.0 {
            Dir::Secret(n) => self.look_in_secret(n, at.1, p),
            Dir::Files => self.look_in_files(at.1, p),
            Dir::Backups => match (self.scratch_at(at), NAMES.iter().position(|own| *own == at.1)) {
                (Some(id), _) => Ok(Seen::Draft(id)),
                (None, Some(n)) if self.live(n).is_some() => Ok(Seen::Backup(n)),
                _ => self.creation(&Target::Restore(at.1), p),
            },
        }
    }

    fn look_in_secret(&self, n: usize, name: &'static str, p: u32) -> Result<Seen, i32> {
        let home = self.home(n, p)?;
        if let Some(id) = self.scratch_at((Dir::Secret(n), name)) {
            return Ok(Seen::Draft(id));
        }
        match (name, home) {
            (VALUE, Home::Live) => self.look_at_value(n, Face::Value, p),
            (VALUE, Home::Newborn) => self.creation(&Target::Value(n, Face::Value), p),
            (VALUE | META, Home::Ghost) => Ok(Seen::Ghost),
            (META, Home::Live) => Ok(Seen::Meta(n)),
            (META, Home::Newborn) if self.newborn[&n].is_some() => Ok(Seen::Meta(n)),
            _ => Err(libc::ENOENT),
        }
    }

    /// A secret that is there outweighs a temporary file of its name.
    fn look_in_files(&self, name: &'static str, p: u32) -> Result<Seen, i32> {
        if let Some(n) = self.resolve(name) {
            return self.look_at_value(n, Face::File, p);
        }
        if let Some(id) = self.scratch_at((Dir::Files, name)) {
            return Ok(Seen::Draft(id));
        }
        let n = Self::meant(name).ok_or(libc::ENOENT)?;
        self.creation(&Target::Value(n, Face::File), p)
    }
}
