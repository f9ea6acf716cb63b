//! Opening and writing.

use std::collections::BTreeSet;

use crate::op::{At, Dir, How, VALUE};

use super::sight::Home;
use super::{Draft, Face, Fd, File, Growth, MAX, Outcome, Reference, Seen, Target};
use super::{is_legal, is_temporary};

impl Reference {
    pub(super) fn open(&mut self, at: At, how: How, p: u32) -> Option<Outcome> {
        if let Err(errno) = self.enter(at.0, p) {
            return Some(Err(errno));
        }
        match (self.look(at, p), how) {
            (Err(_), How::Read) => Some(Err(libc::ENOENT)),
            (Err(_), _) => Some(self.create(at, how, p)),
            (Ok(_), How::Create | How::Mkstemp) => Some(Err(libc::EEXIST)),
            (Ok(Seen::Value(n, face)), _) => Some(self.open_value(n, face, how, p)),
            (Ok(Seen::Draft(id)), _) => self.open_draft_by_name(id, how, p),
            (Ok(Seen::Backup(_)), How::Write { .. }) => Some(Err(libc::EEXIST)),
            (Ok(Seen::Ghost), How::Write { .. }) => Some(Err(libc::ENOENT)),
            (Ok(Seen::Backup(_) | Seen::Ghost | Seen::Meta(_) | Seen::Unclear), _) => None,
        }
    }

    fn open_value(&mut self, n: usize, face: Face, how: How, p: u32) -> Outcome {
        if self.is_disabled(n) {
            return Err(libc::EACCES);
        }
        match how {
            How::Read => {
                let bytes = self.shown(n, face)?;
                self.open_file(p, File::Reader(bytes));
            }
            How::Write { truncate, append } => {
                // What cannot be decoded can still be replaced.
                let bytes = if truncate { Vec::new() } else { self.shown(n, face)? };
                let id = self.new_draft(Target::Value(n, face), bytes, truncate);
                self.open_draft(p, id, append);
            }
            How::Create | How::Mkstemp => return Err(libc::EEXIST),
        }
        Ok(())
    }

    /// The bytes of a live secret's file.
    pub(super) fn shown(&self, n: usize, face: Face) -> Result<Vec<u8>, i32> {
        let current = self.current(n).ok_or(libc::ENOENT)?;
        match face {
            Face::Value => Ok(current.value.clone()),
            Face::File => current.file().ok_or(libc::EIO),
        }
    }

    fn open_draft_by_name(&mut self, id: usize, how: How, p: u32) -> Option<Outcome> {
        let is_scratch = matches!(self.drafts[&id].target, Target::Scratch(_));
        match how {
            How::Read if is_scratch => {
                self.open_file(p, File::Draft { id, append: false, writes: false });
            }
            How::Write { truncate, append } => {
                let draft = self.drafts.get_mut(&id)?;
                if truncate && !matches!(draft.growth, Growth::Becomes(_)) {
                    draft.bytes.clear();
                    (draft.spoiled, draft.dirty, draft.copy_of, draft.unsynced) = (false, true, None, None);
                }
                self.open_draft(p, id, append);
            }
            _ => return None,
        }
        Some(Ok(()))
    }

    fn create(&mut self, at: At, how: How, p: u32) -> Outcome {
        let mkstemp = how == How::Mkstemp;
        let (target, growth) = match at.0 {
            Dir::Secret(n) => self.new_in_secret(n, at, mkstemp, p)?,
            Dir::Files => self.new_in_files(at, mkstemp)?,
            Dir::Backups if is_temporary(at.1) => (Target::Scratch(at), Growth::Free),
            Dir::Backups => (Target::Restore(at.1), Growth::Free),
        };
        if let Target::Value(n, _) = target {
            self.unhide(n);
        }
        let dirty = !matches!(target, Target::Scratch(_));
        let id = self.new_draft(target, Vec::new(), dirty);
        self.drafts.get_mut(&id).expect("just made").growth = growth;
        self.open_draft(p, id, matches!(how, How::Write { append: true, .. }));
        Ok(())
    }

    fn new_in_secret(&self, n: usize, at: At, mkstemp: bool, p: u32) -> Result<(Target, Growth), i32> {
        match self.home(n, p)? {
            Home::Ghost => Err(libc::EPERM),
            _ if at.1 == VALUE && self.is_disabled(n) => Err(libc::EACCES),
            _ if at.1 == VALUE => Ok((Target::Value(n, Face::Value), Growth::Free)),
            _ if is_temporary(at.1) || mkstemp => Ok((Target::Scratch(at), Growth::Free)),
            _ if is_legal(at.1) => Ok((Target::Scratch(at), Growth::Never)),
            _ => Err(libc::EINVAL),
        }
    }

    fn new_in_files(&self, at: At, mkstemp: bool) -> Result<(Target, Growth), i32> {
        if let Some(n) = self.resolve(at.1) {
            let target = (Target::Value(n, Face::File), Growth::Free);
            return if self.is_disabled(n) { Err(libc::EACCES) } else { Ok(target) };
        }
        if is_temporary(at.1) || mkstemp {
            return Ok((Target::Scratch(at), Growth::Free));
        }
        let n = Self::meant(at.1).ok_or(libc::EINVAL)?;
        self.check_free(n)?;
        Ok((Target::Scratch(at), Growth::Becomes(n)))
    }

    /// Whether a new secret can have this name.
    pub(super) fn check_free(&self, n: usize) -> Outcome {
        let taken = self.secrets.contains_key(&n) || self.newborn.contains_key(&n);
        if taken { Err(libc::EEXIST) } else { Ok(()) }
    }

    /// A new file stands where one was removed or moved aside.
    pub(super) fn unhide(&mut self, n: usize) {
        self.removals.remove(&n);
        self.set_aside.retain(|(of, _)| *of != n);
        self.movers.retain(|(of, _), _| *of != n);
    }

    fn open_file(&mut self, p: u32, file: File) {
        let number = self.number();
        self.files.insert(number, file);
        self.fds.push(Fd { p, file: number });
    }

    pub(super) fn new_draft(&mut self, target: Target, bytes: Vec<u8>, dirty: bool) -> usize {
        let id = self.number();
        let (writers, way_back, growth) = (BTreeSet::new(), None, Growth::Free);
        let draft = Draft {
            target,
            bytes,
            dirty,
            spoiled: false,
            growth,
            writers,
            way_back,
            copy_of: None,
            renamed: false,
            unsynced: None,
        };
        self.drafts.insert(id, draft);
        id
    }

    fn open_draft(&mut self, p: u32, id: usize, append: bool) {
        self.drafts.get_mut(&id).expect("a draft").writers.insert(p);
        self.open_file(p, File::Draft { id, append, writes: true });
    }

    pub(super) fn drop_unused(&mut self) {
        let used: BTreeSet<usize> = self
            .files
            .values()
            .filter_map(|file| match file {
                File::Draft { id, .. } => Some(*id),
                File::Reader(_) => None,
            })
            .collect();
        self.drafts.retain(|id, draft| used.contains(id) || matches!(draft.target, Target::Scratch(..)));
    }

    pub(super) fn nameless(&mut self, which: impl Fn(&Draft) -> bool) {
        for draft in self.drafts.values_mut().filter(|draft| which(draft)) {
            (draft.target, draft.dirty) = (Target::Nothing, false);
        }
        self.drop_unused();
    }

    pub(super) fn change(&mut self, id: usize, act: impl FnOnce(&mut Vec<u8>)) -> Outcome {
        let draft = self.drafts.get_mut(&id).expect("an open draft");
        let mut bytes = draft.bytes.clone();
        act(&mut bytes);
        if !bytes.is_empty() {
            match (draft.growth, &draft.target) {
                (Growth::Never, _) => return Err(libc::EINVAL),
                (Growth::Becomes(_), Target::Scratch(_)) if bytes.len() > MAX => return Err(libc::EFBIG),
                (Growth::Becomes(n), Target::Scratch(_)) => {
                    (draft.target, draft.growth) = (Target::Value(n, Face::File), Growth::Free);
                }
                _ => {}
            }
        }
        if bytes.len() > MAX && matches!(draft.target, Target::Value(..)) {
            return Err(libc::EFBIG);
        }
        draft.copy_of = draft.copy_of.filter(|_| !bytes.is_empty());
        (draft.bytes, draft.dirty, draft.unsynced) = (bytes, true, None);
        Ok(())
    }

    pub(super) fn write(&mut self, fd: Fd, at: u64, data: &[u8]) -> Option<Outcome> {
        let File::Draft { id, append, writes: true } = self.files[&fd.file] else { return None };
        self.drafts.get_mut(&id)?.writers.insert(fd.p);
        let outcome = self.change(id, |bytes| {
            let at = if append { bytes.len() } else { at as usize };
            bytes.resize(bytes.len().max(at + data.len()), 0);
            bytes[at..at + data.len()].copy_from_slice(data);
        });
        self.drafts.get_mut(&id)?.spoiled |= outcome.is_err();
        Some(outcome)
    }

    pub(super) fn truncate(&mut self, fd: Fd, size: u64) -> Option<Outcome> {
        let File::Draft { id, writes: true, .. } = self.files[&fd.file] else { return None };
        Some(self.cut(id, size))
    }

    fn cut(&mut self, id: usize, size: u64) -> Outcome {
        self.change(id, |bytes| bytes.resize(size as usize, 0))?;
        self.drafts.get_mut(&id).expect("a draft").spoiled = false;
        Ok(())
    }

    pub(super) fn truncate_path(&mut self, at: At, p: u32, size: u64) -> Option<Outcome> {
        if let Err(errno) = self.enter(at.0, p) {
            return Some(Err(errno));
        }
        Some(match self.look(at, p) {
            Err(errno) => Err(errno),
            Ok(Seen::Value(n, face)) => self.truncate_value(n, face, size),
            Ok(Seen::Draft(id)) if matches!(self.drafts[&id].target, Target::Scratch(_)) => self.cut_scratch(id, size),
            Ok(Seen::Backup(_)) => Err(libc::EEXIST),
            Ok(_) => return None,
        })
    }

    /// An empty file that becomes a secret by this is saved: there is nothing to close.
    fn cut_scratch(&mut self, id: usize, size: u64) -> Outcome {
        self.cut(id, size)?;
        let saved = self.save(id);
        if saved.is_err() {
            self.clean(id);
        }
        self.drop_unused();
        saved
    }

    fn truncate_value(&mut self, n: usize, face: Face, size: u64) -> Outcome {
        if self.is_disabled(n) {
            return Err(libc::EACCES);
        }
        let mut bytes = if size == 0 { Vec::new() } else { self.shown(n, face)? };
        if size as usize > MAX {
            return Err(libc::EFBIG);
        }
        bytes.resize(size as usize, 0);
        self.save_value(n, face, &bytes)
    }
}
