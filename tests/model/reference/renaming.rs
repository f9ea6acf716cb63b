//! Renaming: saving a temporary file, moving a file aside.

use crate::op::{At, Dir, META, NAMES, VALUE};

use super::sight::Home;
use super::{Change, Face, Growth, MAX, Outcome, Reference, Seen, Target, is_legal, is_temporary};

/// What a rename onto a name means.
enum Goal {
    Value(usize, Face),
    Meta(usize),
    Restore,
    Scratch,
}

impl Reference {
    pub(super) fn rename(&mut self, from: At, to: At, p: u32) -> Option<Outcome> {
        if let Err(errno) = self.enter(from.0, p).and(self.enter(to.0, p)) {
            return Some(Err(errno));
        }
        let seen = match self.look(from, p) {
            Err(errno) => return Some(Err(errno)),
            Ok(Seen::Unclear) => return None,
            Ok(seen) => seen,
        };
        // One file under both names: the kernel does nothing.
        if from == to || (seen != Seen::Ghost && self.look(to, p) == Ok(seen)) {
            return Some(Ok(()));
        }
        let goal = match self.goal(to, p) {
            Err(errno) => return Some(Err(errno)),
            Ok(goal) => goal,
        };
        Some(match (seen, goal) {
            (Seen::Draft(id), _) if !matches!(self.drafts[&id].target, Target::Scratch(_)) => return None,
            (Seen::Draft(id), Goal::Value(n, face)) => self.rename_to_value(id, (n, face), to),
            (Seen::Draft(id), Goal::Meta(n)) => self.rename_to_meta(id, n),
            (Seen::Draft(id), Goal::Restore) if self.drafts[&id].spoiled => Err(libc::EFBIG),
            // Nothing that is written here by itself is a backup.
            (Seen::Draft(_), Goal::Restore) => self.send(Change::Restore).and(Err(libc::EINVAL)),
            (Seen::Draft(id), Goal::Scratch) => self.rename_scratch(id, from, to),
            (Seen::Value(n, face), Goal::Scratch) if from.0 == to.0 => self.move_aside((n, face), to, p),
            _ => Err(libc::EPERM),
        })
    }

    fn goal(&self, to: At, p: u32) -> Result<Goal, i32> {
        let temporary = is_temporary(to.1);
        match to.0 {
            Dir::Secret(n) => match self.home(n, p)? {
                Home::Ghost => Err(libc::EPERM),
                _ if to.1 == VALUE => Ok(Goal::Value(n, Face::Value)),
                _ if to.1 == META => Ok(Goal::Meta(n)),
                _ if temporary || is_legal(to.1) => Ok(Goal::Scratch),
                _ => Err(libc::EINVAL),
            },
            Dir::Files => match self.resolve(to.1) {
                Some(n) => Ok(Goal::Value(n, Face::File)),
                None if temporary => Ok(Goal::Scratch),
                None => {
                    let n = Self::meant(to.1).ok_or(libc::EINVAL)?;
                    self.check_free(n)?;
                    Ok(Goal::Value(n, Face::File))
                }
            },
            Dir::Backups if temporary => Ok(Goal::Scratch),
            Dir::Backups => match self.look(to, p) {
                Ok(_) => Err(libc::EEXIST),
                Err(_) => Ok(Goal::Restore),
            },
        }
    }

    fn rename_to_value(&mut self, id: usize, (n, face): (usize, Face), to: At) -> Outcome {
        self.removals.remove(&n);
        self.movers.remove(&(n, face));
        let bytes = self.drafts[&id].bytes.clone();
        if self.drafts[&id].spoiled || (face == Face::Value && bytes.len() > MAX) {
            return Err(libc::EFBIG);
        }
        self.save_value(n, face, &bytes)?;
        self.saved(n);
        // An empty file that stood there was to become this secret.
        self.nameless(|draft| draft.target == Target::Scratch(to));
        let draft = self.drafts.get_mut(&id).expect("a draft");
        (draft.target, draft.renamed, draft.dirty) = (Target::Value(n, face), true, false);
        (draft.growth, draft.copy_of) = (Growth::Free, None);
        self.drop_unused();
        Ok(())
    }

    fn rename_to_meta(&mut self, id: usize, n: usize) -> Outcome {
        if self.drafts[&id].spoiled {
            return Err(libc::EFBIG);
        }
        let bytes = self.drafts[&id].bytes.clone();
        self.save_document(n, &bytes, false)?;
        let of = self.drafts[&id].target.clone();
        self.nameless(|draft| draft.target == of);
        Ok(())
    }

    fn rename_scratch(&mut self, id: usize, from: At, to: At) -> Outcome {
        self.nameless(|draft| draft.target == Target::Scratch(to));
        let draft = self.drafts.get_mut(&id).expect("a draft");
        draft.target = Target::Scratch(to);
        if from.0 != to.0 {
            draft.way_back = None;
        }
        if draft.growth != Growth::Free {
            draft.growth = if is_temporary(to.1) { Growth::Free } else { Growth::Never };
        }
        Ok(())
    }

    /// The file stays where it is for everybody else; what is moved is a copy.
    fn move_aside(&mut self, (n, face): (usize, Face), to: At, p: u32) -> Outcome {
        if self.is_disabled(n) {
            return Err(libc::EACCES);
        }
        let bytes = self.shown(n, face)?;
        self.nameless(|draft| draft.target == Target::Scratch(to));
        self.set_aside.remove(&(n, face));
        self.movers.insert((n, face), (p, self.now));
        let id = self.new_draft(Target::Scratch(to), bytes, false);
        let draft = self.drafts.get_mut(&id).expect("just made");
        (draft.way_back, draft.copy_of) = (Some((n, face, p)), Some(n));
        Ok(())
    }
}

#[test]
fn names_that_cannot_be_secrets_are_temporary_or_illegal() {
    assert!(NAMES.iter().all(|name| is_legal(name) && !is_temporary(name)));
}
