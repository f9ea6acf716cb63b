//! Directories.

use std::sync::Arc;
use std::time::Duration;

use crate::pages::all_pages;
use crate::secret::{DeletedSecret, SecretName, SecretProperties};
use crate::store::{ErrorKind, Found, Operation, StoreError, Wait};

use super::attr::{Attr, DirEntry, Entry, Kind, Stat};
use super::certificate::{CertificateFile, is_certificate};
use super::control::{CONTROL, ControlFile};
use super::draft::Place;
use super::errno::{FsError, FsResult};
use super::handles::{Handle, Listed, Reading, Rest};
use super::lookup::{CERTIFICATE, CURRENT, Home, META, VALUE, VERSIONS};
use super::tree::{Face, Ino, Node};
use super::{Call, Notice, SecretFs};

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
        self.read_opened(call, handle, known).map(|reading| reading.entries)
    }

    fn read_opened(&self, call: &Call, handle: u64, known: usize) -> FsResult<Reading> {
        // Taken out while it grows: a copy of ten thousand names a page would take longer than the pages.
        let mut reading = match self.state().handles.get_mut(&handle) {
            Some(Handle::Directory(reading)) => {
                let fresh = Reading::new(reading.ino);
                std::mem::replace(reading, fresh)
            }
            _ => return Err(FsError::plain(libc::EBADF)),
        };
        if known == 0 {
            reading = Reading::new(reading.ino);
        }
        let read = self.read_on(call, &mut reading, known);
        self.state().handles.insert(handle, Handle::Directory(reading.clone()));
        read.map(|()| reading)
    }

    fn read_on(&self, call: &Call, reading: &mut Reading, known: usize) -> FsResult<()> {
        if reading.entries.len() > known || reading.rest == Rest::Nothing {
            return Ok(());
        }
        while reading.entries.len() <= known && reading.rest != Rest::Nothing {
            let (more, rest) = self.entries(call, reading.ino, &reading.rest)?;
            let entries = Arc::make_mut(&mut reading.entries);
            if entries.is_empty() {
                entries.extend(self.dots(reading.ino)?);
            }
            entries.extend(more);
            reading.rest = rest;
        }
        let is_listing = |node: &Node| matches!(node, Node::Secrets | Node::Files | Node::Backups | Node::Deleted);
        if reading.rest == Rest::Nothing && is_listing(&self.node(reading.ino)?) {
            // The kernel keeps these names now; until when, its next look at the attributes says.
            self.kernel.tell(Notice::Attributes(reading.ino));
        }
        Ok(())
    }

    /// What comes behind `offset` in a directory, whether it was opened or not.
    pub fn list(&self, call: &Call, ino: Ino, handle: u64, offset: u64) -> FsResult<Listed> {
        if !self.goes_without_opendir() {
            let known = usize::try_from(offset).unwrap_or(usize::MAX);
            return self.read_opened(call, handle, known).map(|reading| Listed::new(&reading, known, 0));
        }
        let (number, mut reading, known) = {
            let mut state = self.state();
            let next = state.number();
            state.readings.take(ino, offset, next)
        };
        let read = self.read_on(call, &mut reading, known);
        let listed = Listed::new(&reading, known, number);
        self.state().readings.put(number, reading);
        read.map(|()| listed)
    }

    /// The entry of a name in a listing, as a look-up would give it but from memory alone. What is not there is looked up
    /// when it is used. The kernel has looked it up then and will forget it, but for the dots.
    pub fn list_entry(&self, call: &Call, dir: Ino, listed: &DirEntry) -> Entry {
        self.permitted_entry(self.bare_list_entry(call, dir, listed))
    }

    fn bare_list_entry(&self, call: &Call, dir: Ino, listed: &DirEntry) -> Entry {
        let call = Call { wait: Wait::No, ..*call };
        let of_names = matches!(self.node(dir), Ok(Node::Secrets | Node::Files | Node::Deleted | Node::Root));
        if of_names
            && !listed.is_dots()
            && let Ok(entry) = self.look_up(&call, dir, &listed.name)
        {
            return self.permitted_entry(entry);
        }
        let known = self.state().tree.bound(listed.ino).map_or(0, |bound| bound.size);
        let unknown = Attr { ino: listed.ino, kind: listed.kind, size: known, ..self.ghost_attr() };
        let unknown = Stat { attr: unknown, ttl: Duration::ZERO };
        let stat = self.getattr(&call, listed.ino).unwrap_or_else(|_| self.permitted(listed.ino, unknown));
        if !listed.is_dots() {
            self.state().tree.looked_up(listed.ino);
        }
        Entry { node: listed.ino, stat, ttl: Duration::ZERO }
    }

    /// The directory itself and the one above it: the kernel adds neither.
    fn dots(&self, ino: Ino) -> FsResult<[DirEntry; 2]> {
        let node = self.node(ino)?;
        let above = self.state().above(&node);
        Ok([(ino, "."), (above, "..")].map(|(ino, name)| DirEntry {
            ino,
            kind: Kind::Directory,
            name: name.to_owned(),
        }))
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
                let listed = all_pages(Operation::ListDeleted, |from| self.store.list_deleted(from, wait))?;
                listed.into_iter().find(|item| item.properties.name == *secret).ok_or(error)
            }
            answer => answer,
        }
    }

    /// As much of a deleted secret as the listing tells, which is more than that it is there.
    pub(super) fn listed_deleted(&self, secret: &SecretName, wait: Wait) -> Result<DeletedSecret, StoreError> {
        match self.store.get_deleted(secret, Wait::No) {
            Err(error) if error.kind == ErrorKind::NotInMemory => self.deleted_secret(secret, wait),
            answer => answer,
        }
    }

    /// `value` comes first, because what removes a directory unlinks in this order.
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
        let listed = self.all_versions(secret, call.wait)?;
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

    /// A secret's versions, all pages.
    pub(super) fn all_versions(&self, secret: &SecretName, wait: Wait) -> Result<Vec<SecretProperties>, StoreError> {
        all_pages(Operation::ListVersions, |from| self.store.list_versions(secret, from, wait))
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
