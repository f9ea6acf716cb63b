//! What `stat` shows.
//!
//! A stat never fails because of what the caller may do: a value that may not be read is shown without permissions.

use std::time::Duration;

use crate::secret::{KeyVaultSecret, SecretName, SecretProperties, Version};
use crate::store::{ErrorKind, Found, StoreError, Wait};

use super::attr::{Attr, Entry, Kind, Stat};
use super::content::{Content, bound};
use super::draft::Target;
use super::errno::FsResult;
use super::tree::{Bound, DraftId, Face, Ino, Node};
use super::{Call, SecretFs};

/// The size shown for a value that may not be read. Not 0: a file of size 0 reads as empty without asking (measured).
const UNREADABLE_SIZE: u64 = 1;

impl SecretFs {
    /// A file's attributes.
    pub fn getattr(&self, call: &Call, ino: Ino) -> FsResult<Stat> {
        self.stat(call, ino).map(|stat| self.permitted(ino, stat))
    }

    fn stat(&self, call: &Call, ino: Ino) -> FsResult<Stat> {
        match self.node(ino)? {
            node @ (Node::Root | Node::Control) => {
                Ok(self.directory(&node, self.mounted, self.options.kernel_ttl).stat)
            }
            node @ (Node::Secrets | Node::Deleted | Node::Files | Node::Backups | Node::Versions(_)) => {
                Ok(self.listing_entry(&node).stat)
            }
            Node::Dir(secret) => Ok(self.secret_stat(&secret)),
            node @ Node::Certificate(_) => Ok(self.directory(&node, self.mounted, Duration::ZERO).stat),
            Node::Value(secret, face) => self.getattr_value(call, ino, &secret, face),
            Node::OldVersion(secret, version) => self.getattr_version(call, ino, &secret, &version),
            Node::Meta(secret, version) => {
                self.getattr_meta(call, ino, &secret, version.as_ref()).map(|stat| self.as_snapshot(ino, stat))
            }
            Node::Current(_) => {
                // As long as the version that it names.
                let attr = Attr { ino, kind: Kind::Symlink, mode: 0o777, size: 32, ..self.ghost_attr() };
                Ok(Stat { attr, ttl: Duration::ZERO })
            }
            Node::Backup(_) => Ok(self.as_snapshot(ino, self.backup_stat(ino))),
            Node::Draft(id) => self.draft_entry(id).map(|entry| entry.stat),
            Node::ControlFile(file) => Ok(self.as_snapshot(ino, self.getattr_control(ino, file))),
        }
    }

    fn getattr_value(&self, call: &Call, ino: Ino, secret: &SecretName, face: Face) -> FsResult<Stat> {
        let found = self.store.find(secret, Wait::No).ok();
        let bound_to = self.state().tree.bound(ino).cloned();
        if let Some(bound) = bound_to {
            return Ok(self.bound_stat(ino, &bound, found.as_ref()));
        }
        match self.store.get(secret, None, call.wait) {
            Ok(kept) => Ok(self.value_stat(ino, &kept, face, call.wait)?),
            Err(error) => {
                let known = found.map(|found| found.properties);
                self.unreadable_stat(ino, known, error)
            }
        }
    }

    fn value_stat(&self, ino: Ino, kept: &KeyVaultSecret, face: Face, wait: Wait) -> FsResult<Stat> {
        let content = match self.content(kept, face, wait) {
            Err(error) if error.is_not_in_memory() => return Err(error),
            content => content,
        };
        // What cannot be decoded is told by open; it has the string's size until then.
        let size = content.as_ref().map_or(kept.value.len(), |content| content.bytes().len()) as u64;
        let bound = content.ok().and_then(|content| bound(kept, face, &content));
        let ttl = if bound.is_some() { self.options.kernel_ttl } else { Duration::ZERO };
        let mut state = self.state();
        if let Some(bound) = bound {
            state.tree.bind(ino, bound);
        }
        let shown = state.tree.shown(ino);
        drop(state);
        Ok(Stat { attr: Attr { ino: shown, ..self.attr_of(&kept.properties, size) }, ttl })
    }

    fn getattr_version(&self, call: &Call, ino: Ino, secret: &SecretName, version: &Version) -> FsResult<Stat> {
        match self.store.get(secret, Some(version), call.wait) {
            Ok(kept) => {
                let whole = Content::Value(kept.value.clone());
                if let Some(bound) = bound(&kept, Face::Value, &whole) {
                    self.state().tree.bind(ino, bound);
                }
                let dated = kept.properties.created_on.map_or(self.mounted, |date| date.0);
                let attr = Attr { ino, mtime: dated, ..self.attr_of(&kept.properties, kept.value.len() as u64) };
                Ok(Stat { attr, ttl: self.options.kernel_ttl })
            }
            Err(error) => {
                let stat = self.unreadable_stat(ino, None, error)?;
                let listed = self.version_properties(secret, version, call.wait).ok();
                let dated = listed.and_then(|properties| properties.created_on).map_or(stat.attr.mtime, |date| date.0);
                Ok(Stat { attr: Attr { mtime: dated, ..stat.attr }, ..stat })
            }
        }
    }

    /// A stat never fails because of what the caller may do: what may not be read is shown so.
    fn unreadable_stat(&self, ino: Ino, known: Option<SecretProperties>, error: StoreError) -> FsResult<Stat> {
        match error.kind {
            ErrorKind::Disabled | ErrorKind::Forbidden => {
                let attr = match known {
                    Some(properties) => self.unreadable(&properties),
                    None => Attr { mode: 0, size: UNREADABLE_SIZE, ..self.ghost_attr() },
                };
                Ok(Stat { attr: Attr { ino, ..attr }, ttl: Duration::ZERO })
            }
            _ => Err(error.into()),
        }
    }

    fn getattr_meta(&self, call: &Call, ino: Ino, secret: &SecretName, version: Option<&Version>) -> FsResult<Stat> {
        let process = self.process(call);
        if self.state().is_ghost_of(secret, process, self.now()) {
            return Ok(Stat { attr: Attr { ino, ..self.ghost_attr() }, ttl: Duration::ZERO });
        }
        let (document, dated) = self.document(call, secret, version)?;
        let attr = Attr { ino, size: document.len() as u64, mtime: dated.unwrap_or(self.mounted), ..self.ghost_attr() };
        Ok(Stat { attr, ttl: Duration::ZERO })
    }

    pub(super) fn draft_entry(&self, id: DraftId) -> FsResult<Entry> {
        let (owner, group, mode) = (self.options.uid, self.options.gid, self.options.file_mode);
        self.with_draft(id, |draft| {
            let scratch = matches!(draft.target, Target::Scratch(..) | Target::Nameless);
            let attr = Attr {
                ino: draft.shown,
                kind: Kind::File,
                size: draft.bytes().len() as u64,
                mode: if scratch { draft.mode } else { mode },
                uid: if scratch { draft.uid } else { owner },
                gid: if scratch { draft.gid } else { group },
                mtime: draft.mtime,
                nanos: 0,
                nlink: u32::from(draft.target != Target::Nameless),
            };
            Ok(Entry { node: draft.ino, stat: Stat { attr, ttl: Duration::ZERO }, ttl: Duration::ZERO })
        })
    }

    pub(super) fn entry_of(&self, call: &Call, node: &Node) -> FsResult<Entry> {
        let ino = self.state().tree.intern(node);
        Ok(Entry { node: ino, stat: self.getattr(call, ino)?, ttl: Duration::ZERO })
    }

    pub(super) fn directory(&self, node: &Node, mtime: i64, ttl: Duration) -> Entry {
        let ino = self.state().tree.intern(node);
        let mode = if *node == Node::Control { self.control_mode() } else { self.options.dir_mode };
        let attr = Attr { ino, kind: Kind::Directory, mode, mtime, nlink: 2, ..self.ghost_attr() };
        Entry { node: ino, stat: Stat { attr, ttl }, ttl }
    }

    /// What the mount tells of itself is for its owner, whoever else is let in. Nothing can be put there; but who wakes
    /// watchers is that owner too, and renames what it shows to him alone.
    fn control_mode(&self) -> u16 {
        if self.options.read_only { 0o500 } else { 0o700 }
    }

    /// A file whose version comes with the getattr that follows.
    pub(super) fn unbound_entry(&self, secret: &SecretName, face: Face, attr: Attr) -> Entry {
        let ino = self.state().tree.unbound_value(secret, face);
        Entry { node: ino, stat: Stat { attr: Attr { ino, ..attr }, ttl: Duration::ZERO }, ttl: Duration::ZERO }
    }

    /// A file of a version that is in memory.
    pub(super) fn bound_entry(&self, kept: &KeyVaultSecret, face: Face, ttl: Duration) -> FsResult<Entry> {
        let secret = &kept.properties.name;
        let content = self.content(kept, face, Wait::No).ok();
        let Some(bound) = content.and_then(|content| bound(kept, face, &content)) else {
            return Ok(self.unbound_entry(secret, face, self.attr_of(&kept.properties, kept.value.len() as u64)));
        };
        let ino = self.state().tree.bound_value(secret, face, bound);
        let stat = self.value_stat(ino, kept, face, Wait::No)?;
        Ok(Entry { node: ino, stat: Stat { ttl: stat.ttl.min(ttl), ..stat }, ttl })
    }

    /// A bound inode's attributes: its size for ever, its date as long as it is current.
    pub(super) fn bound_stat(&self, ino: Ino, bound: &Bound, found: Option<&Found>) -> Stat {
        let current = found.filter(|found| found.current.as_ref() == Some(&bound.version));
        let dated = current.and_then(|found| found.properties.updated_on).or(bound.updated_on);
        let shown = self.state().tree.shown(ino);
        let attr = Attr {
            ino: shown,
            size: bound.size,
            mtime: dated.map_or(self.mounted, |date| date.0),
            ..self.ghost_attr()
        };
        Stat { attr, ttl: self.options.kernel_ttl }
    }

    pub(super) fn attr_of(&self, properties: &SecretProperties, size: u64) -> Attr {
        Attr { size, mtime: properties.updated_on.map_or(self.mounted, |date| date.0), ..self.ghost_attr() }
    }

    pub(super) fn unreadable(&self, properties: &SecretProperties) -> Attr {
        Attr { mode: 0, ..self.attr_of(properties, UNREADABLE_SIZE) }
    }

    /// A file of which nothing is known but that it is there.
    pub(super) fn ghost_attr(&self) -> Attr {
        Attr {
            ino: 0,
            kind: Kind::File,
            size: 0,
            mode: self.options.file_mode,
            uid: self.options.uid,
            gid: self.options.gid,
            mtime: self.mounted,
            nanos: 0,
            nlink: 1,
        }
    }

    pub(super) fn kernel_ttl(&self, valid_for: Duration) -> Duration {
        valid_for.min(self.options.kernel_ttl)
    }
}
