//! Making directories, and removing.
//!
//! `mv`, `install` and `tar` onto an existing name unlink it first and create it anew. So an unlinked `value` is only hidden;
//! the deletion is sent after a delay, and a new file of that name takes it back. What removes a directory tree unlinks
//! everything below first: what is left of a secret that is going can be unlinked without effect by the process that
//! removes it.

use crate::secret::{NameError, SecretName};
use crate::store::{ErrorKind, Operation, StoreError, Wait};

use super::attr::Entry;
use super::draft::{Place, Target};
use super::errno::{FsError, FsResult};
use super::lookup::{CERTIFICATE, Home, META, VALUE, VERSIONS, parse_existing};
use super::processes::Process;
use super::state::{Newborn, Removal};
use super::tree::{Face, Ino, Node};
use super::{Call, Notice, SecretFs};

fn not_alone() -> FsError {
    FsError::refused(libc::EPERM, "a secret is removed whole: rm its value, or rmdir its directory")
}

impl SecretFs {
    /// Makes the directory of a secret that is not there yet. Nothing is sent.
    pub fn mkdir(&self, call: &Call, parent: Ino, name: &str) -> FsResult<Entry> {
        self.check_writable()?;
        match self.node(parent)? {
            Node::Secrets => {}
            Node::Dir(_) if name == VERSIONS => return Err(FsError::plain(libc::EEXIST)),
            _ => {
                return Err(FsError::refused(
                    libc::EPERM,
                    "directories are made in secrets/ only, one for each secret",
                ));
            }
        }
        let secret = SecretName::parse(name).map_err(|error| match error {
            NameError::Illegal => FsError::refused(libc::EINVAL, "a secret's name has only letters, digits and dashes"),
            NameError::TooLong => FsError::plain(libc::ENAMETOOLONG),
        })?;
        self.check_free(call, &secret)?;
        let mut state = self.state();
        state.ghosts.remove(&secret);
        state.newborn.insert(secret.clone(), Newborn::default());
        drop(state);
        let entry = self.directory(&Node::Dir(secret), self.mounted, std::time::Duration::ZERO);
        let entry = self.permitted_entry(entry);
        self.state().tree.looked_up(entry.node);
        Ok(entry)
    }

    pub(super) fn check_free(&self, call: &Call, secret: &SecretName) -> FsResult<()> {
        let home = match self.home(call, secret) {
            // To who cleared up behind it the name is taken as well.
            Ok(Home::Ghost) => self.deleted_home(secret, call.wait),
            home => home,
        };
        match home {
            Ok(Home::Live(_) | Home::Newborn) => Err(FsError::plain(libc::EEXIST)),
            Ok(Home::Deleted | Home::Ghost) => {
                let why = "the name is held by a deleted secret: mv deleted/NAME secrets/ brings it back";
                Err(FsError::refused(libc::EEXIST, why))
            }
            Err(error) if error.is_not_found() => Ok(()),
            // Who may not look at the deleted ones hears of a conflict when he saves.
            Err(FsError::Store(error)) if error.kind == ErrorKind::Forbidden && error.operation != Operation::Find => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Removes a file.
    pub fn unlink(&self, call: &Call, parent: Ino, name: &str) -> FsResult<()> {
        if self.is_waking(call) {
            return Ok(());
        }
        self.check_writable()?;
        let process = self.process(call);
        match self.node(parent)? {
            Node::Dir(secret) => self.unlink_in_secret(call, &secret, name, process),
            Node::Files => self.unlink_in_files(call, name, process),
            Node::Backups => self.unlink_in_backups(call, name),
            Node::Versions(secret) | Node::Certificate(secret) => {
                if self.may_clear(&secret, process) {
                    Ok(())
                } else {
                    Err(not_alone())
                }
            }
            _ => Err(FsError::plain(libc::EPERM)),
        }
    }

    fn unlink_in_secret(&self, call: &Call, secret: &SecretName, name: &str, process: Process) -> FsResult<()> {
        let scratch = self.state().scratch(&Place::Secret(secret.clone()), name);
        if let Some(id) = scratch {
            self.unlink_draft(id);
            return Ok(());
        }
        match (name, self.home(call, secret)?) {
            (VALUE, Home::Live(found)) if found.properties.is_managed() => {
                Err(FsError::refused(libc::EPERM, "a certificate owns this secret: delete the certificate"))
            }
            (VALUE, Home::Live(_)) => {
                self.hide(secret, Face::Value, process);
                Ok(())
            }
            (VALUE | META, Home::Newborn) => self.unlink_unsaved(secret, name),
            (_, Home::Live(_)) if self.may_clear(secret, process) => Ok(()),
            (_, Home::Live(_) | Home::Newborn) => Err(not_alone()),
            (_, Home::Ghost) => Ok(()),
            (_, Home::Deleted) => self.check_purge_begins(secret, process),
        }
    }

    fn unlink_in_files(&self, call: &Call, name: &str, process: Process) -> FsResult<()> {
        if let Some(id) = self.scratch_in(call, &Place::Files, name)? {
            self.unlink_draft(id);
            return Ok(());
        }
        let found = match self.resolve(call, name) {
            Err(error) if error.errno() == libc::ENOENT => {
                let secret = self.meant(name)?;
                let unsaved = self.state().creation(&Target::Value(secret, Face::File), process);
                return unsaved.map(|id| self.unlink_draft(id)).ok_or(error);
            }
            found => found?.properties,
        };
        if found.is_managed() {
            return Err(FsError::refused(libc::EPERM, "a certificate owns this secret: delete the certificate"));
        }
        self.hide(&found.name, Face::File, process);
        Ok(())
    }

    pub(super) fn unlink_draft(&self, id: u64) {
        let mut state = self.state();
        if let Some(draft) = state.drafts.get_mut(&id) {
            draft.lose_name();
        }
        state.drop_if_unused(id);
    }

    /// Unlinking a file while a copy of it, moved aside, is there is an editor's way back, not a removal.
    fn hide(&self, secret: &SecretName, face: Face, process: Process) {
        let own = Target::Value(secret.clone(), face);
        let mut state = self.state();
        // What he was writing under this name has none any more.
        state.make_nameless(|draft| draft.target == own && !draft.retired && draft.writers.contains(&process));
        if state.can_go_back(secret, face, process) {
            state.set_aside.insert((secret.clone(), face));
        } else {
            let due = self.now() + self.options.delete_delay;
            state.removals.insert(secret.clone(), Removal { by: process, due });
        }
    }

    fn unlink_unsaved(&self, secret: &SecretName, name: &str) -> FsResult<()> {
        let target = match name {
            VALUE => Target::Value(secret.clone(), Face::Value),
            _ => Target::Meta(secret.clone(), None),
        };
        let mut state = self.state();
        if let Some(newborn) = state.newborn.get_mut(secret).filter(|_| name == META) {
            newborn.attributes = None;
        }
        let drafts: Vec<_> =
            state.drafts.iter().filter(|(_, draft)| draft.target == target).map(|(id, _)| *id).collect();
        drop(state);
        drafts.into_iter().for_each(|id| self.unlink_draft(id));
        Ok(())
    }

    /// Whether `process` removes this secret's whole directory, so that what it unlinks in it needs no effect.
    fn may_clear(&self, secret: &SecretName, process: Process) -> bool {
        let state = self.state();
        let now = self.now();
        let removes = state.removals.get(secret).is_some_and(|removal| process != 0 && removal.by == process);
        removes || state.is_lister(secret, process, now) || state.is_ghost_of(secret, process, now)
    }

    fn check_purge_begins(&self, secret: &SecretName, process: Process) -> FsResult<()> {
        self.check_may_purge()?;
        if self.may_clear(secret, process) { Ok(()) } else { Err(not_alone()) }
    }

    fn check_may_purge(&self) -> FsResult<()> {
        if self.options.allow_purge {
            return Ok(());
        }
        Err(FsError::refused(libc::EPERM, "this mount does not purge: mount with -o allow_purge"))
    }

    /// Removes a directory: deletes the secret, or purges a deleted one.
    pub fn rmdir(&self, call: &Call, parent: Ino, name: &str) -> FsResult<()> {
        self.check_writable()?;
        let process = self.process(call);
        match self.node(parent)? {
            Node::Secrets => {
                let secret = parse_existing(name)?;
                self.remove_secret(call, &secret, process)
            }
            Node::Deleted => self.purge(call, &parse_existing(name)?),
            Node::Dir(secret) if matches!(name, VERSIONS | CERTIFICATE) => {
                if self.may_clear(&secret, process) {
                    Ok(())
                } else {
                    Err(not_alone())
                }
            }
            _ => Err(FsError::plain(libc::EPERM)),
        }
    }

    fn remove_secret(&self, call: &Call, secret: &SecretName, process: Process) -> FsResult<()> {
        let mut state = self.state();
        if state.newborn.remove(secret).is_some() {
            state.drop_unsaved(secret);
            return Ok(());
        }
        if state.is_ghost_of(secret, process, self.now()) && !state.removals.contains_key(secret) {
            let gone = state.ghosts.remove(secret).is_some();
            drop(state);
            // Another party may have made it anew meanwhile; then this is a removal like any other.
            if gone && self.store.find(secret, call.wait).is_err_and(|error| error.kind == ErrorKind::NotFound) {
                return Ok(());
            }
        } else {
            drop(state);
        }
        self.delete(secret, process, call.wait)?;
        // What removes a tree is done with this directory now. Whoever looks the name up again looks for a new one:
        // a ghost here would stand in the way of `mv` from deleted/ by the same program.
        self.state().ghosts.remove(secret);
        Ok(())
    }

    /// Sends the deletion of a secret.
    pub(super) fn delete(&self, secret: &SecretName, by: Process, wait: Wait) -> FsResult<()> {
        let was_hidden = self.state().removals.contains_key(secret);
        let _on_its_way = self.begin_deleting(secret, wait)?;
        self.send_deletion(secret, by, was_hidden, wait)
    }

    /// It stays hidden until the vault has answered; what is refused is there again.
    fn send_deletion(&self, secret: &SecretName, by: Process, was_hidden: bool, wait: Wait) -> FsResult<()> {
        let answer = self.store.delete(secret, wait);
        let mut state = self.state();
        match answer {
            Ok(_) => {}
            // Hidden for a second, and somebody else deleted it in it.
            Err(error) if error.kind == ErrorKind::NotFound && was_hidden => {}
            Err(error) => {
                state.removals.remove(secret);
                return Err(error.into());
            }
        }
        state.unhide(secret);
        state.drop_scratch(secret);
        state.drop_copies(secret);
        state.ghosts.insert(secret.clone(), (by, self.now()));
        drop(state);
        self.drop_listings();
        Ok(())
    }

    fn purge(&self, call: &Call, secret: &SecretName) -> FsResult<()> {
        self.check_may_purge()?;
        let deleted = self.listed_deleted(secret, call.wait)?;
        let age = deleted.deleted_date.map_or(0, |date| self.seconds().saturating_sub(date.0));
        if age < i64::try_from(self.options.purge_after.as_secs()).unwrap_or(i64::MAX) {
            return Err(FsError::refused(
                libc::EPERM,
                "it was deleted too lately to be purged: wait, or mount with a shorter -o purge_after",
            ));
        }
        self.store.purge(secret, call.wait)?;
        Ok(())
    }

    // Removals that wait.

    /// Sends all removals that wait. What is refused comes back, and the refusal stands in `.akvfs/errors`.
    pub fn send_removals(&self, wait: Wait) -> FsResult<()> {
        let waiting: Vec<_> = self.state().removals.keys().cloned().collect();
        if waiting.is_empty() {
            return Ok(());
        }
        if wait == Wait::No {
            return Err(StoreError::not_in_memory(Operation::Delete).into());
        }
        waiting.iter().for_each(|secret| self.send_removal(secret, wait));
        // What somebody else is sending is not to be seen any more either.
        waiting.iter().try_for_each(|secret| self.await_deletion(secret, wait))
    }

    /// Sends the removals whose delay is over.
    pub fn send_due_removals(&self) {
        let now = self.now();
        self.state().drop_late_bounces(now);
        let due: Vec<_> = self
            .state()
            .removals
            .iter()
            .filter(|(_, removal)| removal.due <= now)
            .map(|(name, _)| name.clone())
            .collect();
        due.iter().for_each(|secret| self.send_removal(secret, self.own_wait()));
    }

    fn send_removal(&self, secret: &SecretName, wait: Wait) {
        let Some((_on_its_way, by)) = self.begin_waiting_removal(secret) else { return };
        match self.send_deletion(secret, by, true, wait) {
            Ok(()) => {
                let secrets = self.state().tree.intern(&Node::Secrets);
                self.kernel.tell(Notice::Entry(secrets, secret.to_string()));
                self.drop_files(secret);
            }
            Err(error) => {
                self.drop_listings();
                self.failed_unheard("unlink", &format!("secrets/{secret}/{VALUE}"), &error);
            }
        }
    }
}
