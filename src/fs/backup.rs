//! `backup/`: reading a file makes a backup of its secret, a file put there is restored.
//!
//! A backup costs a request and tells its size only then, so listings show size 0 and make none.

use crate::secret::{BackupBlob, SecretName};
use crate::store::{ErrorKind, Wait};

use super::attr::{Attr, DirEntry, Entry, Kind, Opened, Stat};
use super::content::Content;
use super::draft::{Place, Target, is_temporary};
use super::errno::{FsError, FsResult};
use super::flat::is_file_name;
use super::handles::Rest;
use super::lookup::parse_existing;
use super::open::OpenFlags;
use super::tree::{Ino, Node};
use super::{Call, Notice, SecretFs};

pub(super) fn in_use() -> FsError {
    FsError::refused(libc::EEXIST, "the vault has this secret: delete and purge it before its backup is restored")
}

impl SecretFs {
    pub(super) fn lookup_backup(&self, call: &Call, name: &str) -> FsResult<Entry> {
        let scratch = self.state().scratch(&Place::Backups, name);
        if let Some(id) = scratch {
            return self.draft_entry(id);
        }
        let target = Target::Restore(name.to_owned());
        let Ok(secret) = SecretName::parse(name) else { return self.lookup_creation(call, target) };
        match self.store.find(&secret, call.wait) {
            Ok(found) if found.properties.name.as_str() == name => {
                let ino = self.state().tree.intern(&Node::Backup(secret));
                let stat = self.backup_stat(ino);
                Ok(Entry { node: ino, ttl: stat.ttl, stat })
            }
            Ok(_) => Err(FsError::plain(libc::ENOENT)),
            Err(error) if error.kind == ErrorKind::NotFound => self.lookup_creation(call, target),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn backup_stat(&self, ino: Ino) -> Stat {
        Stat { attr: Attr { ino, ..self.ghost_attr() }, ttl: std::time::Duration::ZERO }
    }

    pub(super) fn backups(&self, call: &Call, from: &Rest) -> FsResult<(Vec<DirEntry>, Rest)> {
        let page = self.store.list(from.place(), call.wait)?;
        let rest = Rest::of(page.next);
        let names = page.items.into_iter().map(|item| item.name);
        let mut entries: Vec<_> =
            names.map(|name| self.dir_entry(&Node::Backup(name.clone()), name.as_str())).collect();
        if rest == Rest::Nothing {
            let scratch = self.state().scratch_names(&Place::Backups);
            entries.extend(scratch.into_iter().map(|(name, ino)| DirEntry { ino, kind: Kind::File, name }));
        }
        Ok((entries, rest))
    }

    pub(super) fn open_backup(&self, call: &Call, secret: &SecretName, flags: OpenFlags) -> FsResult<Opened> {
        if flags.write || flags.truncate {
            return Err(in_use());
        }
        Ok(self.opened(self.make_backup(call, secret)?))
    }

    pub(super) fn make_backup(&self, call: &Call, secret: &SecretName) -> FsResult<Content> {
        let blob = self.store.backup(secret, call.wait)?;
        Ok(Content::made(zeroize::Zeroizing::new(blob.expose().to_vec())))
    }

    /// What a new file in `backup/` is. Its name does not matter: the backup has its own.
    pub(super) fn target_in_backups(&self, call: &Call, name: &str) -> FsResult<Target> {
        if is_temporary(name) {
            return Ok(Target::Scratch(Place::Backups, name.to_owned()));
        }
        if !is_file_name(name) {
            return Err(FsError::plain(libc::EINVAL));
        }
        match self.lookup_backup(call, name) {
            Err(error) if error.errno() == libc::ENOENT => Ok(Target::Restore(name.to_owned())),
            Err(error) => Err(error),
            Ok(_) => Err(in_use()),
        }
    }

    /// Restores a backup.
    pub(super) fn restore(&self, bytes: &[u8], wait: Wait) -> FsResult<()> {
        let restored = self.store.restore(&BackupBlob::new(bytes.to_vec()), wait)?.name;
        let (secrets, backups) = {
            let mut state = self.state();
            state.ghosts.remove(&restored);
            (state.tree.intern(&Node::Secrets), state.tree.intern(&Node::Backups))
        };
        for dir in [secrets, backups] {
            self.kernel.tell(Notice::Entry(dir, restored.to_string()));
        }
        self.drop_files(&restored);
        Ok(())
    }

    pub(super) fn unlink_in_backups(&self, call: &Call, name: &str) -> FsResult<()> {
        let scratch = self.state().scratch(&Place::Backups, name);
        if let Some(id) = scratch {
            self.unlink_draft(id);
            return Ok(());
        }
        let process = self.process(call);
        let unsaved = self.state().creation(&Target::Restore(name.to_owned()), process);
        if let Some(id) = unsaved {
            self.unlink_draft(id);
            return Ok(());
        }
        self.store.find(&parse_existing(name)?, call.wait)?;
        Err(FsError::refused(libc::EPERM, "a backup stands for its secret: rmdir secrets/NAME deletes that"))
    }
}
