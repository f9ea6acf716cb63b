//! What a name stands for.
//!
//! A look-up answers from the listing. What it cannot know without asking (a value's size) it leaves to the `getattr`
//! that the kernel sends next, because a slow look-up would hold up every change to its directory (FUSE.md 3.3).

use std::time::Duration;

use crate::secret::{NameError, SecretName, SecretProperties, Version};
use crate::store::{ErrorKind, Found, Wait};

use super::attr::{Attr, Entry, Stat};
use super::draft::Target;
use super::errno::{FsError, FsResult};
use super::list::all_versions;
use super::tree::{DraftId, Ino, Node};
use super::{Call, SecretFs};

/// The file names of a secret's directory.
pub const VALUE: &str = "value";
/// See [`VALUE`].
pub const META: &str = ".meta.json";
/// See [`VALUE`].
pub const VERSIONS: &str = "versions";

/// What a secret's directory is at the moment.
#[derive(Clone, Debug)]
pub(super) enum Home {
    /// The secret is there.
    Live(Box<Found>),
    /// Its directory was made, nothing more.
    Newborn,
    /// It is soft-deleted.
    Deleted,
    /// It is gone, and the caller is clearing up behind it.
    Ghost,
}

fn no_entry() -> FsError {
    FsError::plain(libc::ENOENT)
}

/// Reads a secret's name off a path that asks whether it is there.
pub(super) fn parse_existing(text: &str) -> FsResult<SecretName> {
    SecretName::parse(text).map_err(|error| match error {
        NameError::Illegal => no_entry(),
        NameError::TooLong => FsError::plain(libc::ENAMETOOLONG),
    })
}

impl SecretFs {
    /// What `name` in `parent` is.
    pub fn lookup(&self, call: &Call, parent: Ino, name: &str) -> FsResult<Entry> {
        let entry = match self.node(parent)? {
            Node::Root => self.lookup_root(name),
            Node::Secrets => self.lookup_secret(call, name),
            Node::Deleted => self.lookup_deleted(call, name),
            Node::Dir(secret) => self.lookup_in_secret(call, &secret, name),
            Node::Versions(secret) => self.lookup_version(call, &secret, name),
            Node::Value(_) | Node::OldVersion(..) | Node::Meta(_) | Node::Draft(_) => {
                Err(FsError::plain(libc::ENOTDIR))
            }
        }?;
        self.state().tree.looked_up(entry.node);
        Ok(entry)
    }

    fn lookup_root(&self, name: &str) -> FsResult<Entry> {
        let node = match name {
            "secrets" => Node::Secrets,
            "deleted" => Node::Deleted,
            _ => return Err(no_entry()),
        };
        Ok(self.directory(&node, self.mounted, self.options.kernel_ttl))
    }

    fn lookup_secret(&self, call: &Call, text: &str) -> FsResult<Entry> {
        let name = parse_existing(text)?;
        let unsaved = self.state().newborn.get_key_value(&name).map(|(spelled, _)| spelled.clone());
        match self.live_home(call, &name)? {
            Home::Live(found) if found.properties.name.as_str() == text => {
                let dated = found.properties.updated_on.map_or(self.mounted, |date| date.0);
                Ok(self.directory(&Node::Dir(found.properties.name), dated, self.kernel_ttl(found.valid_for)))
            }
            Home::Newborn if unsaved.is_some_and(|spelled| spelled.as_str() != text) => Err(no_entry()),
            Home::Newborn | Home::Ghost => Ok(self.directory(&Node::Dir(name), self.mounted, Duration::ZERO)),
            Home::Live(_) | Home::Deleted => Err(no_entry()),
        }
    }

    fn lookup_deleted(&self, call: &Call, text: &str) -> FsResult<Entry> {
        let name = parse_existing(text)?;
        self.send_removals(call.wait)?;
        let secret = self.deleted_secret(&name, call.wait)?;
        if secret.properties.name.as_str() != text {
            return Err(no_entry());
        }
        let dated = secret.deleted_date.map_or(self.mounted, |date| date.0);
        Ok(self.directory(&Node::Dir(secret.properties.name), dated, Duration::ZERO))
    }

    fn lookup_in_secret(&self, call: &Call, secret: &SecretName, name: &str) -> FsResult<Entry> {
        let scratch = self.state().scratch(secret, name);
        if let Some(id) = scratch {
            return self.draft_entry(id);
        }
        let home = self.home(call, secret)?;
        match (name, home) {
            (VALUE, Home::Live(found)) => self.lookup_value(call, secret, &found),
            (VALUE, Home::Newborn) => self.lookup_creation(call, Target::Value(secret.clone())),
            (META, Home::Newborn) => self.lookup_new_meta(call, secret),
            (META, Home::Live(_) | Home::Deleted | Home::Ghost) => self.entry_of(call, &Node::Meta(secret.clone())),
            (VALUE, Home::Ghost) => Ok(self.value_entry(secret, None, self.ghost_attr())),
            (VERSIONS, Home::Live(_) | Home::Ghost) => {
                Ok(self.directory(&Node::Versions(secret.clone()), self.mounted, Duration::ZERO))
            }
            _ => Err(no_entry()),
        }
    }

    fn lookup_value(&self, call: &Call, secret: &SecretName, found: &Found) -> FsResult<Entry> {
        if let Some(id) = self.writers_own(call, secret) {
            return self.draft_entry(id);
        }
        if self.state().is_hidden(secret) {
            return self.lookup_creation(call, Target::Value(secret.clone()));
        }
        let ttl = self.kernel_ttl(found.valid_for);
        if found.properties.is_disabled() {
            return Ok(self.value_entry(secret, None, self.unreadable(&found.properties)));
        }
        if let Some(version) = &found.current
            && let Ok(kept) = self.store.get(secret, Some(version), Wait::No)
        {
            let ino = self.bound_value(secret, version, kept.value.len(), &found.properties);
            return Ok(Entry { node: ino, stat: self.value_stat(ino, &found.properties, ttl), ttl });
        }
        // The size comes with the getattr that follows.
        Ok(self.value_entry(secret, found.current.as_ref(), self.attr_of(&found.properties, 0)))
    }

    /// The inode that this thread was sent back for.
    fn writers_own(&self, call: &Call, secret: &SecretName) -> Option<DraftId> {
        let mut state = self.state();
        let now = self.now();
        let bounce = state.bounces.get(&(call.thread, secret.clone())).filter(|bounce| bounce.until > now)?;
        if let Some(id) = bounce.draft {
            return Some(id);
        }
        let shown = bounce.shown;
        let id = state.new_draft(Target::Value(secret.clone()), Some(shown));
        if let Some(bounce) = state.bounces.get_mut(&(call.thread, secret.clone())) {
            bounce.draft = Some(id);
        }
        Some(id)
    }

    /// A file that does not exist for others yet is there for the process that is creating it.
    fn lookup_creation(&self, call: &Call, target: Target) -> FsResult<Entry> {
        let process = self.process(call);
        let id = self.state().creation(&target, process).ok_or_else(no_entry)?;
        self.draft_entry(id)
    }

    fn lookup_new_meta(&self, call: &Call, secret: &SecretName) -> FsResult<Entry> {
        let written = self.state().newborn.get(secret).is_some_and(|newborn| newborn.attributes.is_some());
        if written {
            return self.entry_of(call, &Node::Meta(secret.clone()));
        }
        self.lookup_creation(call, Target::Meta(secret.clone()))
    }

    fn lookup_version(&self, call: &Call, secret: &SecretName, text: &str) -> FsResult<Entry> {
        let version = Version::parse(text).filter(|version| version.as_str() == text).ok_or_else(no_entry)?;
        let process = self.process(call);
        if !self.state().is_ghost_of(secret, process, self.now()) {
            self.version_properties(secret, &version, call.wait)?;
        }
        let mut state = self.state();
        let ino = state.tree.intern(&Node::OldVersion(secret.clone(), version));
        // The kernel cuts what it has cached to the size that it is told.
        let size = state.tree.bound(ino).map_or(0, |bound| bound.size);
        drop(state);
        let stat = Stat { attr: Attr { ino, size, ..self.ghost_attr() }, ttl: Duration::ZERO };
        Ok(Entry { node: ino, stat, ttl: Duration::ZERO })
    }

    /// What the vault lists of one version.
    pub(super) fn version_properties(
        &self,
        secret: &SecretName,
        version: &Version,
        wait: Wait,
    ) -> FsResult<SecretProperties> {
        let listed = all_versions(&*self.store, secret, wait)?;
        listed.into_iter().find(|item| item.version.as_ref() == Some(version)).ok_or_else(no_entry)
    }

    /// What a secret's directory is now.
    pub(super) fn home(&self, call: &Call, secret: &SecretName) -> FsResult<Home> {
        match self.live_home(call, secret) {
            Err(error) if error.is_not_found() => {
                match self.store.get_deleted(secret, call.wait) {
                    // The service does not show a disabled one, but says by this that it is there.
                    Ok(_) => Ok(Home::Deleted),
                    Err(error) if error.kind == ErrorKind::Disabled => Ok(Home::Deleted),
                    Err(error) => Err(error.into()),
                }
            }
            home => home,
        }
    }

    /// As [`home`](Self::home), without a look at the deleted ones.
    fn live_home(&self, call: &Call, secret: &SecretName) -> FsResult<Home> {
        let (is_newborn, has_ghosts) = {
            let state = self.state();
            (state.newborn.contains_key(secret), state.ghosts.contains_key(secret))
        };
        match self.store.find(secret, call.wait) {
            Ok(found) => {
                if is_newborn {
                    // Somebody else saved it first.
                    self.state().newborn.remove(secret);
                }
                Ok(Home::Live(Box::new(found)))
            }
            Err(error) if is_newborn && error.kind != ErrorKind::NotInMemory => Ok(Home::Newborn),
            Err(error) if error.kind == ErrorKind::NotFound && has_ghosts => {
                let process = self.process(call);
                let is_ghost = self.state().is_ghost_of(secret, process, self.now());
                if is_ghost { Ok(Home::Ghost) } else { Err(error.into()) }
            }
            Err(error) => Err(error.into()),
        }
    }
}
