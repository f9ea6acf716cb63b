//! Creating, writing, truncating; and what happens when descriptors close.
//!
//! When is a save complete? Not at the first close: shells close duplicates before they write, and children that inherit
//! the descriptor close it when they exit. A close saves when no process that wrote, nor a descendant of one, can still
//! write; otherwise the last close does.

use crate::secret::SecretName;
use crate::store::{ErrorKind, Wait};

use super::attr::{Attr, Entry, Opened, Stat};
use super::audit::Purpose;
use super::backup::in_use;
use super::draft::{Draft, Growth, Place, Target, is_temporary};
use super::errno::{FsError, FsResult};
use super::handles::Handle;
use super::lookup::{CERTIFICATE, Home, META, VALUE, VERSIONS};
use super::open::OpenFlags;
use super::save::check_may_save;
use super::tree::{DraftId, Face, Ino, Node};
use super::{Call, SecretFs};

/// How often an ending mount looks whether all saves are done.
const SETTLE_POLL: std::time::Duration = std::time::Duration::from_millis(10);

/// What setattr(2) and its kin ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// New length in bytes.
    pub size: Option<u64>,
    /// New permission bits.
    pub mode: Option<u16>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New modification time, in seconds since 1970.
    pub mtime: Option<i64>,
}

impl SecretFs {
    /// Creates a file and opens it.
    pub fn create(
        &self,
        call: &Call,
        parent: Ino,
        name: &str,
        mode: u16,
        flags: OpenFlags,
    ) -> FsResult<(Entry, Opened)> {
        self.check_writable()?;
        let target = match self.node(parent)? {
            Node::Dir(secret) => self.target_in_secret(call, &secret, name, flags)?,
            Node::Files => self.target_in_files(call, name, flags)?,
            Node::Backups => (self.target_in_backups(call, name)?, Growth::Free),
            _ => {
                let why =
                    "files live in files/ or in a secret's directory: mkdir secrets/NAME, write secrets/NAME/value";
                return Err(FsError::refused(libc::EPERM, why));
            }
        };
        let id = self.new_file(target, call, mode)?;
        let opened = self.start_writing(id, self.process(call), flags)?;
        let entry = self.permitted_entry(self.draft_entry(id)?);
        self.state().tree.looked_up(entry.node);
        self.audit(call, entry.node, Purpose::Write, &Ok(()));
        Ok((entry, opened))
    }

    fn target_in_secret(
        &self,
        call: &Call,
        secret: &SecretName,
        name: &str,
        flags: OpenFlags,
    ) -> FsResult<(Target, Growth)> {
        let scratch = || Target::Scratch(Place::Secret(secret.clone()), name.to_owned());
        match (name, self.home(call, secret)?) {
            (_, Home::Deleted | Home::Ghost) => {
                Err(FsError::refused(libc::EPERM, "a deleted secret cannot be changed: recover it first"))
            }
            (VALUE, home) => {
                if let Home::Live(found) = home {
                    check_may_save(&found.properties)?;
                }
                Ok((Target::Value(secret.clone(), Face::Value), Growth::Free))
            }
            (META, _) => Ok((Target::Meta(secret.clone(), None), Growth::Free)),
            (VERSIONS | CERTIFICATE, _) => Err(FsError::plain(libc::EPERM)),
            _ if is_temporary(name) || is_mkstemp(flags) => Ok((scratch(), Growth::Free)),
            _ if SecretName::parse(name).is_ok() => Ok((scratch(), Growth::Never)),
            _ => Err(FsError::refused(
                libc::EINVAL,
                "a secret's directory holds value and .meta.json; a temporary file needs a temporary name (.x, x.tmp)",
            )),
        }
    }

    /// In `files/` a new file of a legal name becomes a secret with its first byte, one of an alias is a save.
    fn target_in_files(&self, call: &Call, name: &str, flags: OpenFlags) -> FsResult<(Target, Growth)> {
        match self.resolve(call, name) {
            Ok(found) => {
                check_may_save(&found.properties)?;
                return Ok((Target::Value(found.properties.name, Face::File), Growth::Free));
            }
            Err(error) if error.errno() == libc::ENOENT => {}
            Err(error) => return Err(error),
        }
        let growth = if is_temporary(name) || is_mkstemp(flags) {
            Growth::Free
        } else {
            let secret = self.meant(name)?;
            self.check_free(call, &secret)?;
            Growth::Becomes(secret)
        };
        Ok((Target::Scratch(Place::Files, name.to_owned()), growth))
    }

    fn new_file(&self, (target, growth): (Target, Growth), call: &Call, mode: u16) -> FsResult<DraftId> {
        let now = self.seconds();
        let mut state = self.state();
        state.check_another(0)?;
        if let Target::Value(secret, _) = &target {
            // A new file of that name is a save, not a removal.
            state.unhide(secret);
        }
        let is_scratch = matches!(target, Target::Scratch(..));
        let id = state.new_draft(target, None);
        if let Some(draft) = state.drafts.get_mut(&id) {
            (draft.uid, draft.gid, draft.mode, draft.mtime) = (call.uid, call.gid, mode & 0o700, now);
            draft.load(&[]);
            (draft.dirty, draft.growth) = (!is_scratch, growth);
        }
        Ok(id)
    }

    /// Writes into an open file.
    pub fn write(&self, call: &Call, handle: u64, offset: u64, data: &[u8]) -> FsResult<()> {
        let (id, append) = self.writable(handle)?;
        self.note_writer(call, id);
        let now = self.seconds();
        self.state().write(id, (!append).then_some(offset), data, now)
    }

    fn writable(&self, handle: u64) -> FsResult<(DraftId, bool)> {
        match self.state().handles.get(&handle) {
            Some(Handle::Draft { id, append, writable: true }) => Ok((*id, *append)),
            _ => Err(FsError::plain(libc::EBADF)),
        }
    }

    fn draft_of(&self, handle: u64) -> Option<DraftId> {
        match self.state().handles.get(&handle) {
            Some(Handle::Draft { id, .. }) => Some(*id),
            _ => None,
        }
    }

    /// Remembers the caller's process among the writers; asks for it once a thread.
    fn note_writer(&self, call: &Call, id: DraftId) {
        let known = self.state().drafts.get(&id).and_then(|draft| draft.threads.get(&call.thread).copied());
        let process = known.unwrap_or_else(|| self.process(call));
        if let Some(draft) = self.state().drafts.get_mut(&id) {
            draft.threads.insert(call.thread, process);
            draft.writers.insert(process);
        }
    }

    /// Changes attributes. On a secret only the length can be changed; the rest succeeds and changes nothing, because
    /// tools that copy files need it to.
    pub fn setattr(&self, call: &Call, ino: Ino, handle: Option<u64>, change: Change) -> FsResult<Stat> {
        if self.is_waking(call) {
            return self.waking_stat(ino);
        }
        self.set_attributes(call, ino, handle, change).map(|stat| self.permitted(ino, stat))
    }

    fn set_attributes(&self, call: &Call, ino: Ino, handle: Option<u64>, change: Change) -> FsResult<Stat> {
        self.check_writable()?;
        if let Some(id) = handle.and_then(|handle| self.draft_of(handle)) {
            self.change_draft(id, change)?;
            return self.draft_entry(id).map(|entry| entry.stat);
        }
        let before = self.getattr(call, ino)?;
        match (self.node(ino)?, change.size) {
            (Node::Draft(id), _) => {
                self.change_draft_by_path(call, id, change)?;
                self.draft_entry(id).map(|entry| entry.stat)
            }
            (Node::Value(_, Face::Certificate(_)), Some(_)) => Err(FsError::refused(
                libc::EPERM,
                "a part of a certificate cannot be changed: write secrets/NAME/value",
            )),
            (Node::Backup(_), Some(_)) => Err(in_use()),
            (Node::Value(secret, face), Some(size)) => {
                self.truncate_value(call, &secret, face, size)?;
                // The old version keeps its length: answering another would cut it under its readers.
                Ok(before)
            }
            (Node::OldVersion(..), Some(_)) => {
                Err(FsError::refused(libc::EPERM, "an old version cannot be changed: write to value"))
            }
            (Node::Meta(..), Some(_)) => {
                Err(FsError::refused(libc::EINVAL, "a .meta.json cannot be cut: write the members to change"))
            }
            // A kernel that does not pass O_TRUNC on cuts the file before it opens it.
            (Node::ControlFile(file), Some(0)) if file.takes_words() => Ok(before),
            (Node::ControlFile(_), Some(_)) => Err(FsError::plain(libc::EPERM)),
            (_, Some(_)) => Err(FsError::plain(libc::EISDIR)),
            (_, None) => Ok(Stat { attr: Attr { ..before.attr }, ttl: before.ttl }),
        }
    }

    fn change_draft(&self, id: DraftId, change: Change) -> FsResult<()> {
        let now = self.seconds();
        if let Some(size) = change.size {
            self.state().truncate(id, size, now)?;
        }
        self.with_draft(id, |draft| {
            draft.uid = change.uid.unwrap_or(draft.uid);
            draft.gid = change.gid.unwrap_or(draft.gid);
            draft.mode = change.mode.unwrap_or(draft.mode);
            draft.mtime = change.mtime.unwrap_or(draft.mtime);
            Ok(())
        })
    }

    /// An empty file in `files/` that truncate(2) makes a secret is saved at once: there is no descriptor to close.
    fn change_draft_by_path(&self, call: &Call, id: DraftId, change: Change) -> FsResult<()> {
        let becomes = self.with_draft(id, |draft| Ok(matches!(draft.growth, Growth::Becomes(_))))?;
        self.change_draft(id, change)?;
        if !becomes {
            return Ok(());
        }
        let saved = self.save(id, call.wait);
        if saved.is_err() {
            self.drop_changes(id)?;
        }
        saved
    }

    /// truncate(2): there is no descriptor to close, so it saves at once.
    fn truncate_value(&self, call: &Call, secret: &SecretName, face: Face, size: u64) -> FsResult<()> {
        // What is cut to nothing need not be read.
        let before = if size == 0 { None } else { Some(self.bytes_to_change(call, secret, face)?) };
        let id = self.state().new_draft(Target::Value(secret.clone(), face), None);
        let now = self.seconds();
        let loaded = self.with_draft(id, |draft| {
            if let Some(content) = before {
                draft.load(content.bytes());
            }
            Ok(())
        });
        let cut = loaded.and_then(|()| self.state().truncate(id, size, now));
        let saved = cut.and_then(|()| self.save(id, call.wait));
        self.state().drop_if_unused(id);
        saved
    }

    /// A descriptor is closed, perhaps not the last one.
    pub fn flush(&self, call: &Call, handle: u64) -> FsResult<()> {
        let Ok((id, _)) = self.writable(handle) else { return Ok(()) };
        if !self.note_if_dirty(call, id) {
            return Ok(());
        }
        let Some((writers, inodes)) = self.writers_of(id) else { return Ok(()) };
        let killed = self.processes.was_killed(call.thread);
        self.with_draft(id, |draft| {
            draft.abandoned = killed;
            Ok(())
        })?;
        if writers.contains(&0) || self.processes.may_write(&writers, &inodes) {
            // Whoever may still write closes later.
            return self.leave_to_others(id);
        }
        if killed {
            return self.drop_changes(id);
        }
        let saved = self.save(id, call.wait);
        if saved.is_err() {
            // Whoever closed is told now. A save after that would belie it.
            self.drop_changes(id)?;
        }
        saved
    }

    /// What an fsync could not save is not left to a later close: that may be made after the same program's next save.
    fn leave_to_others(&self, id: DraftId) -> FsResult<()> {
        let Some(errno) = self.with_draft(id, |draft| Ok(draft.refusal()))? else { return Ok(()) };
        self.drop_changes(id)?;
        let why = "fsync failed, and others have the file open: nothing is saved; write it again";
        Err(FsError::refused(errno, why))
    }

    fn note_if_dirty(&self, call: &Call, id: DraftId) -> bool {
        self.note_writer(call, id);
        self.state().drafts.get(&id).is_some_and(|draft| draft.dirty)
    }

    fn writers_of(&self, id: DraftId) -> Option<(std::collections::BTreeSet<u32>, [Ino; 2])> {
        self.state().drafts.get(&id).map(|draft| (draft.writers.clone(), [draft.ino, draft.shown]))
    }

    fn drop_changes(&self, id: DraftId) -> FsResult<()> {
        self.with_draft(id, |draft| {
            draft.dirty = false;
            Ok(())
        })
    }

    /// fsync(2): saves now, whoever else may write.
    pub fn fsync(&self, call: &Call, handle: u64) -> FsResult<()> {
        match self.draft_of(handle) {
            Some(id) => match self.save(id, call.wait) {
                // He may try again, but not write over somebody else by closing.
                Err(FsError::Store(error)) if error.kind == ErrorKind::Superseded => {
                    self.drop_changes(id)?;
                    Err(error.into())
                }
                Err(error) => {
                    self.with_draft(id, |draft| {
                        draft.unsynced = Some((draft.writes, error.errno()));
                        Ok(())
                    })?;
                    Err(error)
                }
                Ok(()) => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Saves under way are waited for: an end of the mount must not cut them off.
    pub fn settle(&self, wait: Wait) {
        while !wait.remaining(&*self.clock).is_zero() {
            let saving = self.state().drafts.values().any(|draft| draft.saving.try_lock().is_err());
            if !saving {
                return;
            }
            self.clock.sleep(SETTLE_POLL);
        }
    }

    /// Whether closing this handle may have to wait for the vault.
    pub fn may_save_at_release(&self, handle: u64) -> bool {
        self.draft_of(handle).is_some()
    }

    /// Closes what its caller never heard of, because he was killed: nothing is saved.
    pub fn abandon(&self, handle: u64) {
        if let Some(id) = self.draft_of(handle) {
            // Gone already is as good.
            let _ = self.drop_changes(id);
        }
        let _ = self.release(handle);
    }

    /// The last descriptor of an open is closed. What was not saved yet is saved now. The caller hears no verdict: a
    /// failure is kept in `.akvfs/errors`.
    pub fn release(&self, handle: u64) -> FsResult<()> {
        let removed = self.state().handles.remove(&handle);
        let Some(Handle::Draft { id, .. }) = removed else { return Ok(()) };
        let now = self.now();
        let (last, abandoned, target) = self.with_draft(id, |draft: &mut Draft| {
            draft.opens = draft.opens.saturating_sub(1);
            draft.closed = (draft.opens == 0).then_some(now);
            Ok((draft.opens == 0, draft.abandoned, draft.target.clone()))
        })?;
        let saved = if last && !abandoned { self.save(id, self.own_wait()) } else { Ok(()) };
        if let Err(error) = &saved {
            self.failed_unheard("release", &self.target_path(&target), error);
        }
        if last {
            // What could not be saved is gone: the next open starts from the vault.
            self.drop_changes(id)?;
        }
        self.state().drop_if_unused(id);
        saved
    }
}

/// What mkstemp(3) asks for, and nobody else: a temporary file, whatever its name.
fn is_mkstemp(flags: OpenFlags) -> bool {
    flags.exclusive && flags.read_write
}
