//! Reading where the kernel sends no OPEN: what is read is found by its inode's number.
//!
//! The versions of values never change, so their inodes say enough. What may change (`.meta.json`, `.akvfs/*`) or is made
//! by being read (`backup/*`) gets a new inode whenever its name is looked up: a snapshot, whose size and bytes agree for
//! as long as the kernel knows it.

use zeroize::Zeroizing;

use crate::secret::{KeyVaultSecret, SecretName};
use crate::store::{ErrorKind, StoreError};

use super::attr::{Attr, Entry, Stat};
use super::content::{Content, bound};
use super::errno::{FsError, FsResult};
use super::open::part;
use super::tree::{Bound, Face, Ino, Node};
use super::{Call, SecretFs};

/// A version that is gone or another file's encoding: whoever still reads this inode has to look the name up again.
fn outlived() -> FsError {
    FsError::plain(libc::ESTALE)
}

fn gone_is_outlived(error: StoreError) -> FsError {
    if error.kind == ErrorKind::NotFound { outlived() } else { error.into() }
}

impl SecretFs {
    /// What a look-up gives for a file whose bytes may change: an inode for what they are now.
    pub(super) fn snapshot_of(&self, call: &Call, entry: Entry) -> FsResult<Entry> {
        let node = self.node(entry.node)?;
        let content = match &node {
            Node::Meta(secret, version) => {
                let (document, _) = self.document(call, secret, version.as_ref())?;
                Some(Content::made(Zeroizing::new(document.into_bytes())))
            }
            Node::ControlFile(file) => self.state().documents.get(file).cloned(),
            // Made when it is read.
            Node::Backup(_) => None,
            _ => return Ok(entry),
        };
        let mut state = self.state();
        let ino = state.tree.another(&node);
        let size = content.as_ref().map_or(0, |content| content.bytes().len() as u64);
        if let Some(content) = content {
            state.snapshots.insert(ino, content);
        }
        drop(state);
        let stat = Stat { attr: Attr { size, ..entry.stat.attr }, ..entry.stat };
        Ok(Entry { node: ino, stat, ..entry })
    }

    /// The attributes of a snapshot, made of those of the file: as long as what was taken.
    pub(super) fn as_snapshot(&self, ino: Ino, stat: Stat) -> Stat {
        let state = self.state();
        let size = state.snapshots.get(&ino).map(|content| content.bytes().len() as u64);
        let attr = Attr { ino: state.tree.shown(ino), size: size.unwrap_or(stat.attr.size), ..stat.attr };
        Stat { attr, ..stat }
    }

    /// A file's attributes for who is about to read it: now a backup is made, and its size is told.
    pub fn getattr_to_read(&self, call: &Call, ino: Ino) -> FsResult<Stat> {
        if let Node::Backup(secret) = self.node(ino)?
            && !self.state().snapshots.contains_key(&ino)
        {
            let made = self.make_backup(call, &secret)?;
            // Two may read it first at once: one of the two backups is the file.
            self.state().snapshots.entry(ino).or_insert(made);
        }
        self.getattr(call, ino)
    }

    /// At most `size` bytes at `offset` of a file that nobody opened.
    pub fn read_unopened(&self, call: &Call, ino: Ino, offset: u64, size: usize) -> FsResult<Zeroizing<Vec<u8>>> {
        self.refuse_revoked(ino)?;
        let content = self.unopened_content(call, ino)?;
        Ok(Zeroizing::new(part(content.bytes(), offset, size).to_vec()))
    }

    fn unopened_content(&self, call: &Call, ino: Ino) -> FsResult<Content> {
        let taken = self.state().snapshots.get(&ino).cloned();
        if let Some(taken) = taken {
            return Ok(taken);
        }
        match self.node(ino)? {
            Node::Value(secret, face) => self.unopened_value(call, ino, &secret, face),
            Node::OldVersion(secret, version) => self.version_content(call, &secret, &version),
            Node::Meta(..) | Node::ControlFile(_) | Node::Backup(_) => Err(outlived()),
            _ => Err(FsError::plain(libc::EISDIR)),
        }
    }

    fn unopened_value(&self, call: &Call, ino: Ino, secret: &SecretName, face: Face) -> FsResult<Content> {
        let its = self.state().tree.bound(ino).cloned();
        match its {
            Some(its) => {
                let kept = self.store.get(secret, Some(&its.version), call.wait).map_err(gone_is_outlived)?;
                self.content_of(&kept, face, &its, call)
            }
            // It could not be read when it was looked at.
            None => {
                let kept = self.store.get(secret, None, call.wait)?;
                let content = self.content(&kept, face, call.wait)?;
                if let Some(current) = bound(&kept, face, &content) {
                    self.state().tree.bind(ino, current);
                }
                Ok(content)
            }
        }
    }

    /// What an inode holds for ever, whatever the tags of its version say by now.
    fn content_of(&self, kept: &KeyVaultSecret, face: Face, its: &Bound, call: &Call) -> FsResult<Content> {
        let content = match face {
            Face::File => Content::decoded(kept, its.encoding)?,
            Face::Value | Face::Certificate(_) => self.content(kept, face, call.wait)?,
        };
        if content.bytes().len() as u64 == its.size { Ok(content) } else { Err(outlived()) }
    }
}
