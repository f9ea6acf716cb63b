//! Opening, reading, closing.
//!
//! Who opens a value for writing is sent back once (ESTALE): the kernel then looks the name up again, and the look-up
//! gives him an inode of his own. So nothing that he writes can be seen through the version that others read
//! (SAVES.md 1 and 2).

use std::collections::BTreeSet;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::secret::{KeyVaultSecret, SecretName, Version};
use crate::store::ErrorKind;

use super::attr::Opened;
use super::draft::Target;
use super::errno::{FsError, FsResult};
use super::lookup::Home;
use super::state::Handle;
use super::tree::{Bound, DraftId, Ino, Node};
use super::{Call, SecretFs};

/// The flags of open(2) that matter here.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenFlags {
    /// O_RDWR or O_WRONLY.
    pub write: bool,
    /// Both directions.
    pub read_write: bool,
    /// O_APPEND.
    pub append: bool,
    /// O_TRUNC.
    pub truncate: bool,
    /// O_EXCL.
    pub exclusive: bool,
}

impl OpenFlags {
    /// Reads the flags as the kernel passes them.
    pub fn from_bits(bits: i32) -> Self {
        let mode = bits & libc::O_ACCMODE;
        Self {
            write: mode != libc::O_RDONLY,
            read_write: mode == libc::O_RDWR,
            append: bits & libc::O_APPEND != 0,
            truncate: bits & libc::O_TRUNC != 0,
            exclusive: bits & libc::O_EXCL != 0,
        }
    }

    pub(super) fn changes(self) -> bool {
        self.write || self.truncate
    }
}

fn look_again() -> FsError {
    FsError::plain(libc::ESTALE)
}

impl SecretFs {
    /// Opens a file.
    pub fn open(&self, call: &Call, ino: Ino, flags: OpenFlags) -> FsResult<Opened> {
        if flags.changes() {
            self.check_writable()?;
        }
        match self.node(ino)? {
            Node::Value(secret) if flags.changes() => self.send_back(call, &secret, ino),
            Node::Value(secret) => self.open_value(call, ino, &secret),
            Node::OldVersion(secret, version) => self.open_version(call, &secret, &version, flags),
            Node::Meta(secret, version) if flags.changes() => {
                self.open_meta_for_writing(call, &secret, version.as_ref(), ino, flags)
            }
            Node::Current(_) => Err(FsError::plain(libc::ELOOP)),
            Node::Meta(secret, version) => {
                let (document, _) = self.document(call, &secret, version.as_ref())?;
                Ok(self.opened(Handle::Document(Arc::new(Zeroizing::new(document.into_bytes()))), true))
            }
            Node::Draft(id) => self.open_draft(call, id, flags),
            Node::ControlFile(file) => self.open_control(call, ino, file, flags),
            Node::Root | Node::Secrets | Node::Deleted | Node::Dir(_) | Node::Versions(_) | Node::Control => {
                Err(FsError::plain(libc::EISDIR))
            }
        }
    }

    pub(super) fn opened(&self, handle: Handle, direct: bool) -> Opened {
        if matches!(handle, Handle::Value(_)) {
            self.metrics.opens.add();
        }
        Opened { handle: self.state().open(handle), direct }
    }

    fn open_value(&self, call: &Call, ino: Ino, secret: &SecretName) -> FsResult<Opened> {
        let kept = self.current_of(call, secret)?;
        let Some(version) = kept.properties.version.clone() else { return Err(FsError::plain(libc::EIO)) };
        let is_it = {
            let mut state = self.state();
            if state.tree.bound(ino).is_none() {
                let (size, updated_on) = (kept.value.len() as u64, kept.properties.updated_on);
                state.tree.bind(ino, Bound { version: version.clone(), size, updated_on });
            }
            state.tree.bound(ino).is_some_and(|bound| bound.version == version)
        };
        // Another version is current: its inode is another one, which the next look-up gives.
        if is_it { Ok(self.opened(Handle::Value(kept.value), false)) } else { Err(look_again()) }
    }

    /// The current version with its value, refused as an open is refused.
    fn current_of(&self, call: &Call, secret: &SecretName) -> FsResult<KeyVaultSecret> {
        if self.state().is_hidden(secret) {
            return Err(FsError::plain(libc::ENOENT));
        }
        Ok(self.store.get(secret, None, call.wait)?)
    }

    fn open_version(&self, call: &Call, secret: &SecretName, version: &Version, flags: OpenFlags) -> FsResult<Opened> {
        if flags.changes() {
            return Err(FsError::refused(libc::EPERM, "an old version cannot be changed: write to value"));
        }
        if self.version_properties(secret, version, call.wait)?.is_disabled() {
            return Err(FsError::refused(libc::EACCES, "this version is disabled"));
        }
        let kept = self.store.get(secret, Some(version), call.wait)?;
        Ok(self.opened(Handle::Value(kept.value), false))
    }

    /// Refuses what can be known to fail, and sends the thread back for an inode of its own.
    fn send_back(&self, call: &Call, secret: &SecretName, ino: Ino) -> FsResult<Opened> {
        let found = self.store.find(secret, call.wait)?.properties;
        if found.is_managed() {
            return Err(FsError::refused(libc::EPERM, "a certificate owns this secret: change the certificate"));
        }
        if found.is_disabled() {
            return Err(FsError::refused(libc::EACCES, "the secret is disabled: enable it in its .meta.json"));
        }
        self.state().bounce(call.thread, secret, ino, self.now());
        Err(look_again())
    }

    fn open_draft(&self, call: &Call, id: DraftId, flags: OpenFlags) -> FsResult<Opened> {
        let process = self.process(call);
        let (target, retired, ino, loaded, writers) = self.with_draft(id, |draft| {
            Ok((draft.target.clone(), draft.retired, draft.ino, draft.loaded, draft.writers.clone()))
        })?;
        if let Target::Value(secret) = &target {
            // By its path, the file is a version again, or another writer's.
            if retired && flags.changes() {
                return self.send_back(call, secret, ino);
            }
            if retired || !self.may_share(call, id, secret, process, &writers) {
                return Err(look_again());
            }
            if !loaded && !flags.truncate {
                let value = self.value_to_change(call, secret)?;
                self.with_draft(id, |draft| {
                    draft.load(&value);
                    Ok(())
                })?;
            }
        }
        self.start_writing(id, process, flags)
    }

    /// Whether this thread was sent here, or its process is one that writes already (`echo > /dev/stdout`).
    fn may_share(&self, call: &Call, id: DraftId, secret: &SecretName, process: u32, writers: &BTreeSet<u32>) -> bool {
        let sent = self.state().bounces.get(&(call.thread, secret.clone())).and_then(|bounce| bounce.draft);
        sent == Some(id) || (process != 0 && self.processes.descends(process, writers))
    }

    /// The bytes that a writer who does not truncate starts from.
    pub(super) fn value_to_change(&self, call: &Call, secret: &SecretName) -> FsResult<Zeroizing<Vec<u8>>> {
        match self.store.get(secret, None, call.wait) {
            Ok(kept) => Ok(Zeroizing::new(kept.value.expose().as_bytes().to_vec())),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Zeroizing::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives out a descriptor on a loaded draft.
    pub(super) fn start_writing(&self, id: DraftId, process: u32, flags: OpenFlags) -> FsResult<Opened> {
        let now = self.seconds();
        self.with_draft(id, |draft| {
            if flags.truncate {
                draft.truncate(0, now)?;
            }
            draft.opens += 1;
            draft.closed = None;
            draft.writers.insert(process);
            Ok(())
        })?;
        let mut state = self.state();
        // Whoever was on the way has arrived.
        state.bounces.retain(|_, bounce| bounce.draft != Some(id));
        let handle = state.open(Handle::Draft { id, append: flags.append, writable: flags.write });
        Ok(Opened { handle, direct: true })
    }

    fn open_meta_for_writing(
        &self,
        call: &Call,
        secret: &SecretName,
        version: Option<&Version>,
        ino: Ino,
        flags: OpenFlags,
    ) -> FsResult<Opened> {
        match self.home(call, secret)? {
            Home::Live(found) if found.properties.is_managed() => {
                return Err(FsError::refused(libc::EPERM, "a certificate owns this secret: change the certificate"));
            }
            Home::Live(_) | Home::Newborn => {}
            Home::Deleted | Home::Ghost => {
                return Err(FsError::refused(libc::EPERM, "a deleted secret cannot be changed: recover it first"));
            }
        }
        let document = if flags.truncate { String::new() } else { self.document(call, secret, version)?.0 };
        let process = self.process(call);
        let id = self.state().new_draft_on(Target::Meta(secret.clone(), version.cloned()), ino);
        self.with_draft(id, |draft| {
            draft.load(document.as_bytes());
            Ok(())
        })?;
        self.start_writing(id, process, flags)
    }

    /// At most `size` bytes at `offset` of an open file.
    pub fn read(&self, handle: u64, offset: u64, size: usize) -> FsResult<Zeroizing<Vec<u8>>> {
        let state = self.state();
        let bytes = match state.handles.get(&handle) {
            Some(Handle::Value(value)) => part(value.expose().as_bytes(), offset, size),
            Some(Handle::Document(document)) => part(document, offset, size),
            Some(Handle::Draft { id, .. }) => state.drafts.get(id).map_or(&[][..], |draft| draft.read(offset, size)),
            Some(Handle::Directory { .. }) => return Err(FsError::plain(libc::EISDIR)),
            None => return Err(FsError::plain(libc::EBADF)),
        };
        Ok(Zeroizing::new(bytes.to_vec()))
    }
}

fn part(bytes: &[u8], offset: u64, size: usize) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    &bytes[start..start.saturating_add(size).min(bytes.len())]
}
