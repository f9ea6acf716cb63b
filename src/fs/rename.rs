//! Renaming: deleting and recovering a secret, saving a temporary file, moving a value aside.
//!
//! The kernel keeps the lock on both directories until it has the answer, so nothing here waits for the kernel to
//! drop a name; it is told to, and does so after the answer.

use zeroize::Zeroizing;

use crate::secret::SecretName;

use super::draft::{Target, is_temporary};
use super::errno::{FsError, FsResult};
use super::lookup::{Home, META, VALUE, VERSIONS, parse_existing};
use super::tree::{DraftId, Ino, Node};
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
        self.check_writable()?;
        if mode == RenameMode::Unsupported {
            return Err(FsError::plain(libc::EINVAL));
        }
        match (self.node(parent)?, self.node(new_parent)?) {
            (Node::Secrets, Node::Deleted) if name == new_name => self.move_to_deleted(call, &parse_existing(name)?),
            (Node::Deleted, Node::Secrets) if name == new_name => self.recover(call, &parse_existing(name)?),
            (Node::Dir(from), Node::Dir(to)) => {
                if mode == RenameMode::KeepExisting && self.lookup_exists(call, new_parent, new_name)? {
                    return Err(FsError::plain(libc::EEXIST));
                }
                self.rename_file(call, &from, name, &to, new_name)
            }
            _ => Err(fixed()),
        }
    }

    fn lookup_exists(&self, call: &Call, parent: Ino, name: &str) -> FsResult<bool> {
        match self.lookup(call, parent, name) {
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
    fn drop_children(&self, secret: &SecretName) {
        let dir = self.state().tree.intern(&Node::Dir(secret.clone()));
        for name in [VALUE, META, VERSIONS] {
            self.kernel.tell(Notice::Entry(dir, name.to_owned()));
        }
    }

    fn rename_file(&self, call: &Call, from: &SecretName, name: &str, to: &SecretName, new_name: &str) -> FsResult<()> {
        let scratch = self.state().scratch(from, name);
        match (scratch, name, new_name) {
            (Some(id), _, VALUE) => self.rename_to_value(call, id, to),
            (Some(id), _, META) => self.rename_to_meta(call, id, to),
            (Some(id), _, _) => self.rename_scratch(call, id, to, new_name),
            (None, VALUE, VALUE | META | VERSIONS) => Err(fixed()),
            (None, VALUE, _) if from == to => self.move_aside(call, from, new_name),
            (None, _, _) => Err(FsError::refused(libc::EPERM, "only value and temporary files can be moved here")),
        }
    }

    /// The save of editors, sed, rsync and git.
    fn rename_to_value(&self, call: &Call, id: DraftId, secret: &SecretName) -> FsResult<()> {
        match self.home(call, secret)? {
            Home::Live(found) if found.properties.is_managed() => {
                return Err(FsError::refused(libc::EPERM, "a certificate owns this secret: change the certificate"));
            }
            Home::Live(_) | Home::Newborn => {}
            Home::Deleted | Home::Ghost => {
                return Err(FsError::refused(libc::EPERM, "a deleted secret cannot be changed: recover it first"));
            }
        }
        self.state().removals.remove(secret);
        let bytes = self.with_draft(id, |draft| Ok(Zeroizing::new(draft.bytes().to_vec())))?;
        if bytes.len() > crate::secret::MAX_VALUE {
            return Err(FsError::refused(libc::EFBIG, "a value has at most 25600 bytes"));
        }
        self.save_value(secret, bytes, call.wait)?;
        self.state().is_saved(secret);
        self.with_draft(id, |draft| {
            draft.target = Target::Value(secret.clone());
            draft.retired = true;
            draft.dirty = false;
            Ok(())
        })?;
        let dir = self.state().tree.intern(&Node::Dir(secret.clone()));
        self.kernel.tell(Notice::Entry(dir, VALUE.to_owned()));
        self.state().drop_if_unused(id);
        Ok(())
    }

    fn rename_to_meta(&self, call: &Call, id: DraftId, secret: &SecretName) -> FsResult<()> {
        let bytes = self.with_draft(id, |draft| Ok(Zeroizing::new(draft.bytes().to_vec())))?;
        self.save_meta(secret, &bytes, call.wait)?;
        self.with_draft(id, |draft| {
            draft.target = Target::Nameless;
            draft.dirty = false;
            Ok(())
        })?;
        let dir = self.state().tree.intern(&Node::Dir(secret.clone()));
        self.kernel.tell(Notice::Entry(dir, META.to_owned()));
        self.state().drop_if_unused(id);
        Ok(())
    }

    fn rename_scratch(&self, call: &Call, id: DraftId, to: &SecretName, new_name: &str) -> FsResult<()> {
        self.check_scratch_target(call, to, new_name)?;
        let mut state = self.state();
        let replaced = state.scratch(to, new_name).filter(|other| *other != id);
        if let Some(draft) = replaced.and_then(|other| state.drafts.get_mut(&other)) {
            draft.target = Target::Nameless;
        }
        if let Some(draft) = state.drafts.get_mut(&id) {
            if !draft.is_scratch_in(to) {
                draft.way_back_of = None;
            }
            draft.target = Target::Scratch(to.clone(), new_name.to_owned());
        }
        if let Some(other) = replaced {
            state.drop_if_unused(other);
        }
        Ok(())
    }

    fn check_scratch_target(&self, call: &Call, dir: &SecretName, name: &str) -> FsResult<()> {
        if name == VERSIONS || !(is_temporary(name) || SecretName::parse(name).is_ok()) {
            return Err(FsError::refused(libc::EINVAL, "a temporary file needs a temporary name (.x, x~, x.bak)"));
        }
        match self.home(call, dir)? {
            Home::Live(_) | Home::Newborn => Ok(()),
            Home::Deleted | Home::Ghost => Err(FsError::plain(libc::EPERM)),
        }
    }

    /// An editor makes a backup by moving the value aside. It gets a copy; the value stays where it is, so that readers
    /// never miss it.
    fn move_aside(&self, call: &Call, secret: &SecretName, new_name: &str) -> FsResult<()> {
        self.check_scratch_target(call, secret, new_name)?;
        let value = self.value_to_change(call, secret)?;
        let (now, process) = (self.seconds(), self.process(call));
        let mut state = self.state();
        if let Some(other) = state.scratch(secret, new_name) {
            if let Some(draft) = state.drafts.get_mut(&other) {
                draft.target = Target::Nameless;
            }
            state.drop_if_unused(other);
        }
        state.set_aside.remove(secret);
        let id = state.new_draft(Target::Scratch(secret.clone(), new_name.to_owned()), None);
        if let Some(draft) = state.drafts.get_mut(&id) {
            draft.load(&value);
            (draft.uid, draft.gid, draft.mtime, draft.way_back_of) = (call.uid, call.gid, now, Some(process));
        }
        let dir = state.tree.intern(&Node::Dir(secret.clone()));
        drop(state);
        self.kernel.tell(Notice::Entry(dir, new_name.to_owned()));
        self.kernel.tell(Notice::Entry(dir, VALUE.to_owned()));
        Ok(())
    }
}
