//! Directories.

use std::sync::Arc;
use std::time::Duration;

use crate::secret::{DeletedSecret, SecretName, SecretProperties};
use crate::store::{ErrorKind, Found, SecretStore, StoreError, Wait};

use super::attr::{DirEntry, Kind};
use super::certificate::{CertificateFile, is_certificate};
use super::control::{CONTROL, ControlFile};
use super::draft::Place;
use super::errno::{FsError, FsResult};
use super::handles::{Handle, Reading, Rest};
use super::lookup::{CERTIFICATE, CURRENT, Home, META, VALUE, VERSIONS};
use super::tree::{Face, Ino, Node};
use super::{Call, SecretFs};

/// What stands in the root.
pub(super) const ROOT_NAMES: [(&str, Node); 5] = [
    ("secrets", Node::Secrets),
    ("deleted", Node::Deleted),
    ("files", Node::Files),
    ("backup", Node::Backups),
    (CONTROL, Node::Control),
];

impl SecretFs {
    /// Opens a directory.
    pub fn opendir(&self, call: &Call, ino: Ino) -> FsResult<u64> {
        let node = self.node(ino)?;
        let process = self.process(call);
        let mut state = self.state();
        if let Node::Dir(secret) = &node {
            state.listed(secret, process, self.now());
        }
        Ok(state.open(Handle::Directory(Reading::new(ino))))
    }

    /// The entries of an open directory, at least one behind the first `known` if there is any. They stay the same
    /// until the directory is read from the start again. A listing that is not complete is waited for page by page.
    pub fn readdir(&self, call: &Call, handle: u64, known: usize) -> FsResult<Arc<Vec<DirEntry>>> {
        let mut reading = self.reading(handle)?;
        if known == 0 {
            reading = Reading::new(reading.ino);
        }
        while reading.entries.len() <= known && reading.rest != Rest::Nothing {
            let (more, rest) = self.entries(call, reading.ino, &reading.rest)?;
            Arc::make_mut(&mut reading.entries).extend(more);
            reading.rest = rest;
        }
        let entries = reading.entries.clone();
        self.state().handles.insert(handle, Handle::Directory(reading));
        Ok(entries)
    }

    fn reading(&self, handle: u64) -> FsResult<Reading> {
        match self.state().handles.get(&handle) {
            Some(Handle::Directory(reading)) => Ok(reading.clone()),
            _ => Err(FsError::plain(libc::EBADF)),
        }
    }

    fn entries(&self, call: &Call, ino: Ino, from: &Rest) -> FsResult<(Vec<DirEntry>, Rest)> {
        let whole = match self.node(ino)? {
            Node::Root => ROOT_NAMES.map(|(name, node)| self.dir_entry(&node, name)).into(),
            Node::Secrets => return self.secrets(call, from),
            Node::Deleted => return self.deleted(call, from),
            Node::Files => return self.files(call, from),
            Node::Backups => return self.backups(call, from),
            Node::Dir(secret) => self.entries_of(call, &secret)?,
            Node::Versions(secret) => self.versions(call, &secret)?,
            Node::Certificate(secret) => self.parts(&secret),
            Node::Control => ControlFile::ALL.map(|file| self.dir_entry(&Node::ControlFile(file), file.name())).into(),
            _ => return Err(FsError::plain(libc::ENOTDIR)),
        };
        Ok((whole, Rest::Nothing))
    }

    fn secrets(&self, call: &Call, from: &Rest) -> FsResult<(Vec<DirEntry>, Rest)> {
        let page = self.store.list(from.place(), call.wait)?;
        let mut names: Vec<_> = page.items.into_iter().map(|item| item.name).collect();
        let rest = Rest::of(page.next);
        if rest == Rest::Nothing {
            let newborn: Vec<_> = self.state().newborn.keys().cloned().collect();
            // What another party has saved meanwhile was listed.
            names.extend(newborn.into_iter().filter(|name| self.store.find(name, call.wait).is_err()));
        }
        Ok((names.iter().map(|name| self.dir_entry(&Node::Dir(name.clone()), name.as_str())).collect(), rest))
    }

    fn deleted(&self, call: &Call, from: &Rest) -> FsResult<(Vec<DirEntry>, Rest)> {
        self.send_removals(call.wait)?;
        let page = self.store.list_deleted(from.place(), call.wait)?;
        let names = page.items.into_iter().map(|item| item.properties.name);
        let entries = names.map(|name| self.dir_entry(&Node::Dir(name.clone()), name.as_str())).collect();
        Ok((entries, Rest::of(page.next)))
    }

    /// A deleted secret. Of a disabled one the service tells no more than its listing does.
    pub(super) fn deleted_secret(&self, secret: &SecretName, wait: Wait) -> Result<DeletedSecret, StoreError> {
        match self.store.get_deleted(secret, wait) {
            Err(error) if error.kind == ErrorKind::Disabled => {
                let listed = all_deleted(&*self.store, wait)?;
                listed.into_iter().find(|item| item.properties.name == *secret).ok_or(error)
            }
            answer => answer,
        }
    }

    /// `value` comes first, because what removes a directory unlinks in this order (SAVES.md 4).
    fn entries_of(&self, call: &Call, secret: &SecretName) -> FsResult<Vec<DirEntry>> {
        let mut entries = Vec::new();
        let home = self.home(call, secret)?;
        let is_deleted = matches!(home, Home::Deleted);
        match home {
            Home::Live(found) => {
                if !self.state().is_hidden(secret, Face::Value) {
                    entries.push(self.value_dir_entry(&found));
                }
                entries.push(self.dir_entry(&Node::Meta(secret.clone(), None), META));
                entries.push(self.dir_entry(&Node::Versions(secret.clone()), VERSIONS));
                if is_certificate(found.properties.content_type.as_deref()) {
                    entries.push(self.dir_entry(&Node::Certificate(secret.clone()), CERTIFICATE));
                }
            }
            Home::Newborn => {
                let written = self.state().newborn.get(secret).is_some_and(|newborn| newborn.attributes.is_some());
                if written {
                    entries.push(self.dir_entry(&Node::Meta(secret.clone(), None), META));
                }
            }
            Home::Deleted => entries.push(self.dir_entry(&Node::Meta(secret.clone(), None), META)),
            Home::Ghost => {}
        }
        // What programs had here when another party deleted it is not part of what is deleted.
        if !is_deleted {
            let scratch = self.state().scratch_names(&Place::Secret(secret.clone()));
            entries.extend(scratch.into_iter().map(|(name, ino)| DirEntry { ino, kind: Kind::File, name }));
        }
        Ok(entries)
    }

    fn parts(&self, secret: &SecretName) -> Vec<DirEntry> {
        let mut state = self.state();
        let mut entry = |file: CertificateFile| DirEntry {
            ino: state.tree.unbound_value(secret, Face::Certificate(file)),
            kind: Kind::File,
            name: file.name().to_owned(),
        };
        CertificateFile::ALL.map(&mut entry).into()
    }

    fn versions(&self, call: &Call, secret: &SecretName) -> FsResult<Vec<DirEntry>> {
        let listed = all_versions(&*self.store, secret, call.wait)?;
        let mut entries = Vec::with_capacity(2 * listed.len() + 1);
        for version in listed.into_iter().filter_map(|item| item.version) {
            let node = Node::OldVersion(secret.clone(), version.clone());
            entries.push(self.dir_entry(&node, version.as_str()));
            let node = Node::Meta(secret.clone(), Some(version.clone()));
            entries.push(self.dir_entry(&node, &format!(".{version}{META}")));
        }
        if !entries.is_empty() {
            entries.push(self.dir_entry(&Node::Current(secret.clone()), CURRENT));
        }
        Ok(entries)
    }

    pub(super) fn dir_entry(&self, node: &Node, name: &str) -> DirEntry {
        let kind = match node {
            Node::Root
            | Node::Secrets
            | Node::Deleted
            | Node::Files
            | Node::Backups
            | Node::Control
            | Node::Dir(_)
            | Node::Versions(_)
            | Node::Certificate(_) => Kind::Directory,
            Node::Value(..)
            | Node::OldVersion(..)
            | Node::Meta(..)
            | Node::Backup(_)
            | Node::Draft(_)
            | Node::ControlFile(_) => Kind::File,
            Node::Current(_) => Kind::Symlink,
        };
        DirEntry { ino: self.state().tree.intern(node), kind, name: name.to_owned() }
    }

    fn value_dir_entry(&self, found: &Found) -> DirEntry {
        let secret = &found.properties.name;
        let kept = found.current.as_ref().and_then(|version| self.store.get(secret, Some(version), Wait::No).ok());
        let entry = kept.and_then(|kept| self.bound_entry(&kept, Face::Value, Duration::ZERO).ok());
        let ino =
            entry.map_or_else(|| self.state().tree.unbound_value(secret, Face::Value), |entry| entry.stat.attr.ino);
        DirEntry { ino, kind: Kind::File, name: VALUE.to_owned() }
    }

    /// Closes a directory.
    pub fn releasedir(&self, handle: u64) {
        self.state().handles.remove(&handle);
    }
}

/// The deleted secrets, all pages.
fn all_deleted(store: &dyn SecretStore, wait: Wait) -> Result<Vec<DeletedSecret>, StoreError> {
    let (mut items, mut next) = (Vec::new(), None);
    loop {
        let page = store.list_deleted(next.as_ref(), wait)?;
        items.extend(page.items);
        match page.next {
            Some(more) => next = Some(more),
            None => return Ok(items),
        }
    }
}

/// A secret's versions, all pages.
pub(super) fn all_versions(
    store: &dyn SecretStore,
    secret: &SecretName,
    wait: Wait,
) -> Result<Vec<SecretProperties>, StoreError> {
    let (mut items, mut next) = (Vec::new(), None);
    loop {
        let page = store.list_versions(secret, next.as_ref(), wait)?;
        items.extend(page.items);
        match page.next {
            Some(more) => next = Some(more),
            None => return Ok(items),
        }
    }
}
