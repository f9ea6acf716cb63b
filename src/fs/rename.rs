//! Renaming: deleting and recovering a secret, saving a temporary file, moving a value aside.
//!
//! The kernel keeps the lock on both directories until it has the answer, so nothing here waits for the kernel to
//! drop a name; it is told to, and does so after the answer.

use std::sync::PoisonError;

use crate::secret::{MAX_VALUE, SecretName};

use super::draft::{Place, Target, is_temporary};
use super::errno::{FsError, FsResult};
use super::lookup::{CERTIFICATE, Home, META, VALUE, VERSIONS, parse_existing};
use super::save::owned;
use super::tree::{DraftId, Face, Ino, Node};
use super::{Call, Notice, SecretFs};

/// How a rename treats what stands at its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// Replaces it.
    Replace,
    /// Refuses (RENAME_NOREPLACE).
    KeepExisting,
    /// Something else that this filesystem does not do (RENAME_EXCHANGE, RENAME_WHITEOUT).
    Unsupported,
}

fn fixed() -> FsError {
    FsError::refused(
        libc::EPERM,
        "secrets cannot be renamed; mv secrets/NAME deleted/ deletes, mv deleted/NAME secrets/ recovers",
    )
}

impl SecretFs {
    /// Renames `name` in `parent` to `new_name` in `new_parent`.
    pub fn rename(
        &self,
        call: &Call,
        (parent, name): (Ino, &str),
        (new_parent, new_name): (Ino, &str),
        mode: RenameMode,
    ) -> FsResult<()> {
        if self.is_waking(call) {
            return Ok(());
        }
        self.check_writable()?;
        if mode == RenameMode::Unsupported {
            return Err(FsError::plain(libc::EINVAL));
        }
        match (self.node(parent)?, self.node(new_parent)?) {
            (Node::Secrets, Node::Deleted) if name == new_name => self.move_to_deleted(call, &parse_existing(name)?),
            (Node::Deleted, Node::Secrets) if name == new_name => self.recover(call, &parse_existing(name)?),
            (from, to) => {
                let (Some(from), Some(to)) = (place(from), place(to)) else { return Err(fixed()) };
                if mode == RenameMode::KeepExisting && self.lookup_exists(call, new_parent, new_name)? {
                    return Err(FsError::plain(libc::EEXIST));
                }
                self.rename_file(call, (&from, name), (&to, new_name), new_parent)
            }
        }
    }

    fn lookup_exists(&self, call: &Call, parent: Ino, name: &str) -> FsResult<bool> {
        match self.look_up(call, parent, name) {
            Ok(entry) => {
                self.forget(entry.node, 1);
                Ok(true)
            }
            Err(error) if error.errno() == libc::ENOENT => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn move_to_deleted(&self, call: &Call, secret: &SecretName) -> FsResult<()> {
        if self.state().newborn.contains_key(secret) {
            return Err(FsError::refused(libc::EPERM, "nothing was saved here yet: rmdir it"));
        }
        self.delete(secret, self.process(call), call.wait)?;
        // Not a removal that goes on below it: it is looked at in its new place.
        self.state().ghosts.remove(secret);
        self.drop_children(secret);
        Ok(())
    }

    fn recover(&self, call: &Call, secret: &SecretName) -> FsResult<()> {
        self.store.recover(secret, call.wait)?;
        self.state().ghosts.remove(secret);
        self.drop_children(secret);
        Ok(())
    }

    /// A directory that changed its kind: the kernel keeps what it knew below it (measured).
    pub(super) fn drop_children(&self, secret: &SecretName) {
        let dir = self.state().tree.intern(&Node::Dir(secret.clone()));
        self.kernel.tell(Notice::Entry(dir, VALUE.to_owned()));
        self.drop_files(secret);
        self.drop_all_but_values(secret);
    }

    /// The same, but for the files that show the current value.
    pub fn drop_all_but_values(&self, secret: &SecretName) {
        let dir = self.state().tree.intern(&Node::Dir(secret.clone()));
        for name in [META, VERSIONS, CERTIFICATE] {
            self.kernel.tell(Notice::Entry(dir, name.to_owned()));
        }
    }

    fn rename_file(
        &self,
        call: &Call,
        (from, name): (&Place, &str),
        (to, new_name): (&Place, &str),
        new_parent: Ino,
    ) -> FsResult<()> {
        let scratch = self.scratch_in(call, from, name)?;
        let target = self.rename_target(call, to, new_name)?;
        match (scratch, target) {
            (Some(id), Goal::Value(secret, face)) => {
                self.rename_to_value(call, id, &secret, face)?;
                // A file that stood there, and was empty, was to become this secret.
                self.state().replace_scratch(to, new_name, None);
                self.kernel.tell(Notice::Entry(new_parent, new_name.to_owned()));
                Ok(())
            }
            (Some(id), Goal::Restore) => self.rename_to_backup(call, id, new_name),
            (Some(id), Goal::Meta(secret)) => self.rename_to_meta(call, id, &secret),
            (Some(id), Goal::Scratch) => self.rename_scratch(id, to, new_name),
            (None, Goal::Scratch) => self.move_aside(call, (from, name), (to, new_name), new_parent),
            (None, Goal::Value(..) | Goal::Meta(_) | Goal::Restore) => Err(fixed()),
        }
    }

    fn rename_target(&self, call: &Call, to: &Place, name: &str) -> FsResult<Goal> {
        let secret = match to {
            Place::Secret(secret) => secret,
            Place::Files => return self.rename_target_in_files(call, name),
            Place::Backups => {
                let scratch = matches!(self.target_in_backups(call, name)?, Target::Scratch(..));
                return Ok(if scratch { Goal::Scratch } else { Goal::Restore });
            }
        };
        match (name, self.home(call, secret)?) {
            (_, Home::Deleted | Home::Ghost) => {
                Err(FsError::refused(libc::EPERM, "a deleted secret cannot be changed: recover it first"))
            }
            (VALUE, Home::Live(found)) if found.properties.is_managed() => Err(owned()),
            (VALUE, _) => Ok(Goal::Value(secret.clone(), Face::Value)),
            (META, _) => Ok(Goal::Meta(secret.clone())),
            (VERSIONS | CERTIFICATE, _) => Err(fixed()),
            _ if is_temporary(name) || SecretName::parse(name).is_ok() => Ok(Goal::Scratch),
            _ => Err(FsError::refused(libc::EINVAL, "a temporary file needs a temporary name (.x, x~, x.bak)")),
        }
    }

    fn rename_target_in_files(&self, call: &Call, name: &str) -> FsResult<Goal> {
        match self.resolve(call, name) {
            Ok(found) if found.properties.is_managed() => return Err(owned()),
            Ok(found) => return Ok(Goal::Value(found.properties.name, Face::File)),
            Err(error) if error.errno() == libc::ENOENT => {}
            Err(error) => return Err(error),
        }
        if is_temporary(name) {
            return Ok(Goal::Scratch);
        }
        let secret = self.meant(name)?;
        self.check_free(call, &secret)?;
        Ok(Goal::Value(secret, Face::File))
    }

    /// The save of editors, sed, rsync and git.
    fn rename_to_value(&self, call: &Call, id: DraftId, secret: &SecretName, face: Face) -> FsResult<()> {
        {
            let mut state = self.state();
            state.removals.remove(secret);
            state.movers.remove(&(secret.clone(), face));
        }
        let saving = self.saving(id)?;
        let _one_at_a_time = saving.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, writes) = self.with_draft(id, |draft| Ok((draft.whole()?, draft.writes)))?;
        if face == Face::Value && bytes.len() > MAX_VALUE {
            return Err(FsError::refused(libc::EFBIG, "a value has at most 25600 bytes"));
        }
        self.save_value(secret, face, &bytes, call.wait)?;
        self.state().is_saved(secret);
        self.with_draft(id, |draft| {
            draft.become_saved(Target::Value(secret.clone(), face), writes);
            Ok(())
        })?;
        self.state().drop_if_unused(id);
        Ok(())
    }

    fn rename_to_backup(&self, call: &Call, id: DraftId, name: &str) -> FsResult<()> {
        let saving = self.saving(id)?;
        let _one_at_a_time = saving.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, writes) = self.with_draft(id, |draft| Ok((draft.whole()?, draft.writes)))?;
        self.restore(&bytes, call.wait)?;
        self.leave_name(id, Target::Restore(name.to_owned()), writes);
        Ok(())
    }

    fn rename_to_meta(&self, call: &Call, id: DraftId, secret: &SecretName) -> FsResult<()> {
        let saving = self.saving(id)?;
        let _one_at_a_time = saving.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, writes) = self.with_draft(id, |draft| Ok((draft.whole()?, draft.writes)))?;
        self.save_meta(secret, None, &bytes, call.wait)?;
        self.leave_name(id, Target::Meta(secret.clone(), None), writes);
        let dir = self.state().tree.intern(&Node::Dir(secret.clone()));
        self.kernel.tell(Notice::Entry(dir, META.to_owned()));
        Ok(())
    }

    /// A temporary file was saved as `target` and is no file any more, unless somebody wrote into it meanwhile: his close
    /// saves that, or hears why not.
    fn leave_name(&self, id: DraftId, target: Target, writes: u64) {
        let mut state = self.state();
        if let Some(draft) = state.drafts.get_mut(&id) {
            match draft.writes == writes {
                true => draft.lose_name(),
                false => draft.become_saved(target, writes),
            }
        }
        state.drop_if_unused(id);
    }

    fn rename_scratch(&self, id: DraftId, to: &Place, new_name: &str) -> FsResult<()> {
        let mut state = self.state();
        state.replace_scratch(to, new_name, Some(id));
        if let Some(draft) = state.drafts.get_mut(&id) {
            draft.move_to(to, new_name);
        }
        Ok(())
    }

    /// An editor makes a backup by moving the file aside. It gets a copy; the file stays where it is for everybody
    /// else, so that readers never miss it.
    fn move_aside(
        &self,
        call: &Call,
        (from, name): (&Place, &str),
        (to, new_name): (&Place, &str),
        new_parent: Ino,
    ) -> FsResult<()> {
        let (secret, face) = match from {
            Place::Secret(secret) if name == VALUE => (secret.clone(), Face::Value),
            Place::Files => (self.resolve(call, name)?.properties.name, Face::File),
            Place::Secret(_) | Place::Backups => return Err(fixed()),
        };
        if from != to {
            return Err(fixed());
        }
        let content = self.bytes_to_change(call, &secret, face)?;
        let (process, now) = (self.process(call), self.seconds());
        let mut state = self.state();
        state.check_another(content.bytes().len())?;
        state.movers.insert((secret.clone(), face), (process, self.now()));
        state.set_aside.remove(&(secret.clone(), face));
        state.replace_scratch(to, new_name, None);
        let id = state.new_draft(Target::Scratch(to.clone(), new_name.to_owned()), None);
        if let Some(draft) = state.drafts.get_mut(&id) {
            draft.load(content.bytes());
            (draft.uid, draft.gid, draft.mtime) = (call.uid, call.gid, now);
            draft.copy_of = Some(secret.clone());
            draft.way_back = Some((secret, face, process));
        }
        drop(state);
        self.kernel.tell(Notice::Entry(new_parent, new_name.to_owned()));
        self.kernel.tell(Notice::Entry(new_parent, name.to_owned()));
        Ok(())
    }
}

/// What stands at the target of a rename.
enum Goal {
    Value(SecretName, Face),
    Meta(SecretName),
    Restore,
    Scratch,
}

fn place(node: Node) -> Option<Place> {
    match node {
        Node::Dir(secret) => Some(Place::Secret(secret)),
        Node::Files => Some(Place::Files),
        Node::Backups => Some(Place::Backups),
        _ => None,
    }
}
