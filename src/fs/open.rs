//! Opening, reading, closing.
//!
//! Who opens a value for writing is sent back once (ESTALE): the kernel then looks the name up again, and the look-up
//! gives him an inode of his own. So nothing that he writes can be seen through the version that others
//! read.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use crate::secret::{SecretName, Version};
use crate::store::ErrorKind;

use super::attr::Opened;
use super::audit::Purpose;
use super::content::{Content, bound};
use super::draft::{Growth, Target};
use super::errno::{FsError, FsResult};
use super::handles::Handle;
use super::lookup::Home;
use super::save::{check_may_save, owned};
use super::state::{Bounce, Bounced};
use super::tree::{Bound, DraftId, Face, Ino, Node};
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
        if flags.changes() && self.is_waking(call) {
            return Ok(self.open_waking());
        }
        let opened = self.open_node(call, ino, flags);
        self.audit(call, ino, if flags.changes() { Purpose::Write } else { Purpose::Read }, &opened);
        opened
    }

    fn open_node(&self, call: &Call, ino: Ino, flags: OpenFlags) -> FsResult<Opened> {
        if flags.changes() {
            self.check_writable()?;
        }
        match self.node(ino)? {
            Node::Value(_, Face::Certificate(_)) if flags.changes() => Err(FsError::refused(
                libc::EPERM,
                "a part of a certificate cannot be changed: write secrets/NAME/value",
            )),
            Node::Value(secret, face) if flags.changes() => self.send_back(call, (&secret, face), ino, flags),
            Node::Value(secret, face) => self.open_value(call, ino, &secret, face),
            Node::OldVersion(secret, version) => self.open_version(call, &secret, &version, flags),
            Node::Meta(secret, version) if flags.changes() => {
                self.open_meta_for_writing(call, &secret, version.as_ref(), ino, flags)
            }
            Node::Current(_) => Err(FsError::plain(libc::ELOOP)),
            Node::Backup(secret) => self.open_backup(call, &secret, flags),
            Node::Meta(secret, version) => {
                let (document, _) = self.document(call, &secret, version.as_ref())?;
                Ok(self.opened(Content::made(Zeroizing::new(document.into_bytes()))))
            }
            Node::Draft(id) => self.open_draft(call, id, flags),
            Node::ControlFile(file) => self.open_control(call, ino, file, flags),
            Node::Root
            | Node::Secrets
            | Node::Deleted
            | Node::Files
            | Node::Backups
            | Node::Control
            | Node::Dir(_)
            | Node::Versions(_)
            | Node::Certificate(_) => Err(FsError::plain(libc::EISDIR)),
        }
    }

    /// Past the kernel's cache.
    pub(super) fn opened(&self, content: Content) -> Opened {
        Opened { handle: self.state().open(Handle::Content(content)), direct: true }
    }

    /// Only values go through the kernel's cache, if they may.
    fn opened_value(&self, secret: &SecretName, content: Content) -> Opened {
        self.metrics.opens.add();
        self.metrics.reads.add(secret);
        Opened { handle: self.state().open(Handle::Content(content)), direct: self.options.no_kernel_cache }
    }

    fn open_value(&self, call: &Call, ino: Ino, secret: &SecretName, face: Face) -> FsResult<Opened> {
        if self.state().is_hidden(secret, face) {
            return Err(FsError::plain(libc::ENOENT));
        }
        let kept = self.store.get(secret, None, call.wait)?;
        let content = self.content(&kept, face, call.wait)?;
        let Some(current) = bound(&kept, face, &content) else { return Err(FsError::plain(libc::EIO)) };
        let its = {
            let mut state = self.state();
            state.tree.bind(ino, current.clone());
            state.tree.bound(ino).cloned()
        };
        match its {
            Some(its) if its.version != current.version || its.encoding != current.encoding => {
                self.open_overtaken(call, ino, (secret, face), &its)
            }
            _ => {
                self.state().has_arrived(call.thread);
                Ok(self.opened_value(secret, content))
            }
        }
    }

    /// Another version is current than the one that was looked up. Its inode is another one, which the next look-up gives;
    /// but the kernel repeats that only once. Whoever is overtaken again gets what that look-up found, which was current
    /// when he was sent back for it.
    fn open_overtaken(
        &self,
        call: &Call,
        ino: Ino,
        (secret, face): (&SecretName, Face),
        found: &Bound,
    ) -> FsResult<Opened> {
        if !self.state().is_overtaken_again(call.thread, ino) {
            self.state().overtake(call.thread, secret, self.now());
            return Err(look_again());
        }
        let kept = self.store.get(secret, Some(&found.version), call.wait)?;
        let content = self.content(&kept, face, call.wait)?;
        self.state().has_arrived(call.thread);
        // Of another length it is another encoding's: that is no file of this inode.
        if content.bytes().len() as u64 != found.size {
            return Err(look_again());
        }
        Ok(self.opened_value(secret, content))
    }

    fn open_version(&self, call: &Call, secret: &SecretName, version: &Version, flags: OpenFlags) -> FsResult<Opened> {
        if flags.changes() {
            return Err(FsError::refused(libc::EPERM, "an old version cannot be changed: write to value"));
        }
        let content = self.version_content(call, secret, version)?;
        Ok(self.opened_value(secret, content))
    }

    pub(super) fn version_content(&self, call: &Call, secret: &SecretName, version: &Version) -> FsResult<Content> {
        if self.version_properties(secret, version, call.wait)?.is_disabled() {
            return Err(FsError::refused(libc::EACCES, "this version is disabled"));
        }
        Ok(Content::Value(self.store.get(secret, Some(version), call.wait)?.value))
    }

    /// Refuses what can be known to fail, and sends the thread back for an inode of its own.
    fn send_back(
        &self,
        call: &Call,
        (secret, face): (&SecretName, Face),
        ino: Ino,
        flags: OpenFlags,
    ) -> FsResult<Opened> {
        let found = self.find(secret, call.wait)?.properties;
        check_may_save(&found)?;
        let bytes = if flags.truncate { None } else { Some(self.bytes_to_change(call, secret, face)?) };
        self.state().bounce((call.thread, secret.clone(), face), ino, bytes, self.now());
        Err(look_again())
    }

    fn open_draft(&self, call: &Call, id: DraftId, flags: OpenFlags) -> FsResult<Opened> {
        let process = self.process(call);
        let (target, retired, ino, loaded, writers) = self.with_draft(id, |draft| {
            Ok((draft.target.clone(), draft.retired, draft.ino, draft.loaded, draft.writers.clone()))
        })?;
        if let Target::Value(secret, face) = &target {
            // By its path, the file is a version again, or another writer's.
            if retired && flags.changes() {
                return self.send_back(call, (secret, *face), ino, flags);
            }
            if retired || !self.may_share(call, id, process, &writers) {
                // The kernel comes back once; a save in between must not send it back a second time.
                self.state().overtake(call.thread, secret, self.now());
                return Err(look_again());
            }
            if !loaded && !flags.truncate {
                let value = self.bytes_to_change(call, secret, *face)?;
                self.with_draft(id, |draft| {
                    draft.load(value.bytes());
                    Ok(())
                })?;
            }
        }
        self.start_writing(id, process, flags)
    }

    /// Whether this thread was sent here, or its process is one that writes already (`echo > /dev/stdout`).
    fn may_share(&self, call: &Call, id: DraftId, process: u32, writers: &BTreeSet<u32>) -> bool {
        let is_sent = |(key, bounce): (&Bounced, &Bounce)| key.0 == call.thread && bounce.draft == Some(id);
        let sent = self.state().bounces.iter().any(is_sent);
        sent || (process != 0 && self.processes.descends(process, writers))
    }

    /// The bytes that a writer who does not truncate starts from.
    pub(super) fn bytes_to_change(&self, call: &Call, secret: &SecretName, face: Face) -> FsResult<Content> {
        match self.store.get(secret, None, call.wait) {
            Ok(kept) => Content::of(&kept, face),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Content::made(Zeroizing::default())),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives out a descriptor on a loaded draft.
    pub(super) fn start_writing(&self, id: DraftId, process: u32, flags: OpenFlags) -> FsResult<Opened> {
        let now = self.seconds();
        self.with_draft(id, |draft| {
            // A file that was just made is empty already; that alone is no save yet (`draft::Growth::Becomes`).
            if flags.truncate && !matches!(draft.growth, Growth::Becomes(_)) {
                draft.truncate(0, now)?;
            }
            draft.opens += 1;
            draft.closed = None;
            if flags.write {
                draft.writers.insert(process);
            }
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
            Home::Live(found) if found.properties.is_managed() => return Err(owned()),
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
            Some(Handle::Content(content)) => part(content.bytes(), offset, size),
            Some(Handle::Draft { id, .. }) => state.drafts.get(id).map_or(&[][..], |draft| draft.read(offset, size)),
            Some(Handle::Directory(_)) => return Err(FsError::plain(libc::EISDIR)),
            None => return Err(FsError::plain(libc::EBADF)),
        };
        Ok(Zeroizing::new(bytes.to_vec()))
    }
}

pub(super) fn part(bytes: &[u8], offset: u64, size: usize) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    &bytes[start..start.saturating_add(size).min(bytes.len())]
}
