//! Directories.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::secret::{DeletedSecret, SecretName, SecretProperties, Version};
use crate::store::{ErrorKind, SecretStore, StoreError, Wait};

use super::attr::{DirEntry, Kind};
use super::errno::{FsError, FsResult};
use super::lookup::{Home, META, VALUE, VERSIONS};
use super::state::Handle;
use super::tree::{Ino, Node};
use super::{Call, SecretFs};

impl SecretFs {
    /// Opens a directory.
    pub fn opendir(&self, call: &Call, ino: Ino) -> FsResult<u64> {
        let node = self.node(ino)?;
        let process = self.process(call);
        let mut state = self.state();
        if let Node::Dir(secret) = &node {
            state.listed(secret, process, self.now());
        }
        Ok(state.open(Handle::Directory { ino, entries: None }))
    }

    /// The entries of an open directory, the same ones until it is read from the start again.
    pub fn readdir(&self, call: &Call, handle: u64, from_start: bool) -> FsResult<Arc<Vec<DirEntry>>> {
        let (ino, kept) = match self.state().handles.get(&handle) {
            Some(Handle::Directory { ino, entries }) => (*ino, entries.clone()),
            _ => return Err(FsError::plain(libc::EBADF)),
        };
        if let Some(kept) = kept.filter(|_| !from_start) {
            return Ok(kept);
        }
        let fresh = Arc::new(self.entries(call, ino)?);
        if let Some(Handle::Directory { entries, .. }) = self.state().handles.get_mut(&handle) {
            *entries = Some(fresh.clone());
        }
        Ok(fresh)
    }

    fn entries(&self, call: &Call, ino: Ino) -> FsResult<Vec<DirEntry>> {
        match self.node(ino)? {
            Node::Root => Ok(["secrets", "deleted"].map(|name| self.dir_entry(&root_node(name), name)).into()),
            Node::Secrets => self.secrets(call),
            Node::Deleted => self.deleted(call),
            Node::Dir(secret) => self.entries_of(call, &secret),
            Node::Versions(secret) => self.versions(call, &secret),
            _ => Err(FsError::plain(libc::ENOTDIR)),
        }
    }

    fn secrets(&self, call: &Call) -> FsResult<Vec<DirEntry>> {
        let mut names = BTreeSet::new();
        let mut next = None;
        loop {
            let page = self.store.list(next.as_ref(), call.wait)?;
            names.extend(page.items.into_iter().map(|item| item.name));
            match page.next {
                Some(more) => next = Some(more),
                None => break,
            }
        }
        names.extend(self.state().newborn.keys().cloned());
        Ok(names.into_iter().map(|name| self.dir_entry(&Node::Dir(name.clone()), name.as_str())).collect())
    }

    fn deleted(&self, call: &Call) -> FsResult<Vec<DirEntry>> {
        self.send_removals(call.wait)?;
        let names = all_deleted(&*self.store, call.wait)?.into_iter().map(|item| item.properties.name);
        Ok(names.map(|name| self.dir_entry(&Node::Dir(name.clone()), name.as_str())).collect())
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
        match self.home(call, secret)? {
            Home::Live(found) => {
                if !self.state().is_hidden(secret) {
                    entries.push(self.value_dir_entry(secret, found.current.as_ref()));
                }
                entries.push(self.dir_entry(&Node::Meta(secret.clone()), META));
                entries.push(self.dir_entry(&Node::Versions(secret.clone()), VERSIONS));
            }
            Home::Newborn => {
                let written = self.state().newborn.get(secret).is_some_and(|newborn| newborn.attributes.is_some());
                if written {
                    entries.push(self.dir_entry(&Node::Meta(secret.clone()), META));
                }
            }
            Home::Deleted => entries.push(self.dir_entry(&Node::Meta(secret.clone()), META)),
            Home::Ghost => {}
        }
        let scratch = self.state().scratch_names(secret);
        entries.extend(scratch.into_iter().map(|(name, ino)| DirEntry { ino, kind: Kind::File, name }));
        Ok(entries)
    }

    fn versions(&self, call: &Call, secret: &SecretName) -> FsResult<Vec<DirEntry>> {
        let listed = all_versions(&*self.store, secret, call.wait)?;
        let versions = listed.into_iter().filter_map(|item| item.version);
        Ok(versions
            .map(|version| self.dir_entry(&Node::OldVersion(secret.clone(), version.clone()), version.as_str()))
            .collect())
    }

    fn dir_entry(&self, node: &Node, name: &str) -> DirEntry {
        let kind = match node {
            Node::Root | Node::Secrets | Node::Deleted | Node::Dir(_) | Node::Versions(_) => Kind::Directory,
            Node::Value(_) | Node::OldVersion(..) | Node::Meta(_) | Node::Draft(_) => Kind::File,
        };
        DirEntry { ino: self.state().tree.intern(node), kind, name: name.to_owned() }
    }

    fn value_dir_entry(&self, secret: &SecretName, version: Option<&Version>) -> DirEntry {
        let mut state = self.state();
        let ino = state.tree.value(secret, version);
        DirEntry { ino: state.tree.shown(ino), kind: Kind::File, name: VALUE.to_owned() }
    }

    /// Closes a directory.
    pub fn releasedir(&self, handle: u64) {
        self.state().handles.remove(&handle);
    }
}

fn root_node(name: &str) -> Node {
    if name == "secrets" { Node::Secrets } else { Node::Deleted }
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
