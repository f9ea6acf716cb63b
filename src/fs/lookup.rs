//! What a name stands for.
//!
//! A look-up answers from the listing. What it cannot know without asking (a value's size) it leaves to the `getattr`
//! that the kernel sends next, because a slow look-up would hold up every change to its directory.

use std::time::Duration;

use crate::secret::{NameError, SecretName, SecretProperties, Version};
use crate::store::{ErrorKind, Found, StoreError, Wait};

use super::attr::{Attr, Entry, Stat};
use super::certificate::{CertificateFile, is_certificate};
use super::draft::{Place, Target};
use super::errno::{FsError, FsResult};
use super::list::ROOT_NAMES;
use super::save::is_refused;
use super::tree::{DraftId, Face, Ino, Node};
use super::{Call, Notice, SecretFs};

/// The file names of a secret's directory.
pub const VALUE: &str = "value";
/// See [`VALUE`].
pub const META: &str = ".meta.json";
/// See [`VALUE`].
pub const VERSIONS: &str = "versions";
/// See [`VALUE`]; only where the value is a certificate.
pub const CERTIFICATE: &str = "certificate";
/// The link in `versions/`.
pub const CURRENT: &str = "current";

/// The longest name of a file, in bytes, as statfs tells it and everywhere else; the kernel lets FUSE have 1024. Whatever
/// names a file looks it up first, so this is asked at look-up alone.
pub const MAX_FILE_NAME: usize = 255;

/// How often a look-up starts anew because the kernel forgot its inode at that very moment. Once is rare.
const MAX_FORGOTTEN: usize = 8;

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
        if self.state().is_late_again(call.thread, parent, name, self.now()) {
            return Err(FsError::refused(libc::ETIMEDOUT, "the vault did not answer in time"));
        }
        let found = self.look_up(call, parent, name).map(|entry| self.permitted_entry(entry));
        // A name that the kernel holds is looked up twice if it cannot be had: first to see whether it still holds, then
        // anew. One caller waits once.
        if found.is_err() && call.wait != Wait::No && call.wait.remaining(&*self.clock).is_zero() {
            self.state().look_up_was_late(call.thread, parent, name, self.now());
        }
        found
    }

    /// A file that the kernel forgets while its name is looked up is looked up anew.
    pub(super) fn look_up(&self, call: &Call, parent: Ino, name: &str) -> FsResult<Entry> {
        for _ in 0..MAX_FORGOTTEN {
            let mut entry = self.find_entry(call, parent, name)?;
            if self.goes_without_open() {
                entry = self.snapshot_of(call, entry)?;
            }
            if self.state().tree.looked_up(entry.node) {
                return Ok(entry);
            }
        }
        Err(FsError::plain(libc::ESTALE))
    }

    fn find_entry(&self, call: &Call, parent: Ino, name: &str) -> FsResult<Entry> {
        if let Some(entry) = self.lookup_waking(call, parent, name) {
            return Ok(entry);
        }
        if name.len() > MAX_FILE_NAME {
            return Err(FsError::plain(libc::ENAMETOOLONG));
        }
        match self.node(parent)? {
            Node::Root => self.lookup_root(name),
            Node::Secrets => self.lookup_secret(call, name),
            Node::Files => self.lookup_file(call, name),
            Node::Backups => self.lookup_backup(call, name),
            Node::Deleted => self.lookup_deleted(call, name),
            Node::Dir(secret) => self.lookup_in_secret(call, &secret, name),
            Node::Versions(secret) => self.lookup_version(call, &secret, name),
            Node::Certificate(secret) => self.lookup_part(call, &secret, name),
            Node::Control => self.lookup_control(name),
            Node::Value(..)
            | Node::OldVersion(..)
            | Node::Meta(..)
            | Node::Current(_)
            | Node::Backup(_)
            | Node::Draft(_)
            | Node::ControlFile(_) => Err(FsError::plain(libc::ENOTDIR)),
        }
    }

    fn lookup_root(&self, name: &str) -> FsResult<Entry> {
        let (_, node) = ROOT_NAMES.iter().find(|(its, _)| *its == name).ok_or_else(no_entry)?;
        match node {
            Node::Control => Ok(self.directory(node, self.mounted, self.options.kernel_ttl)),
            _ => Ok(self.listing_entry(node)),
        }
    }

    fn lookup_secret(&self, call: &Call, text: &str) -> FsResult<Entry> {
        let name = parse_existing(text)?;
        let unsaved = self.state().newborn.get_key_value(&name).map(|(spelled, _)| spelled.clone());
        match self.live_home(call, &name)? {
            Home::Live(found) if found.properties.name.as_str() == text => {
                self.show_in(&name, &Node::Secrets);
                Ok(self.live_entry(&Node::Dir(found.properties.name.clone()), &found))
            }
            Home::Newborn if unsaved.is_some_and(|spelled| spelled.as_str() != text) => Err(no_entry()),
            Home::Newborn | Home::Ghost => Ok(self.directory(&Node::Dir(name), self.mounted, Duration::ZERO)),
            Home::Live(_) | Home::Deleted => Err(no_entry()),
        }
    }

    fn lookup_deleted(&self, call: &Call, text: &str) -> FsResult<Entry> {
        let name = parse_existing(text)?;
        self.send_removals(call.wait)?;
        let secret = self.listed_deleted(&name, call.wait)?;
        if secret.properties.name.as_str() != text {
            return Err(no_entry());
        }
        self.show_in(&name, &Node::Deleted);
        self.stops_clearing(call, &name);
        let dated = secret.deleted_date.map_or(self.mounted, |date| date.0);
        Ok(self.directory(&Node::Dir(secret.properties.name), dated, Duration::ZERO))
    }

    /// Who looks at a deleted secret in its new place does not clear up behind it any more.
    fn stops_clearing(&self, call: &Call, secret: &SecretName) {
        let clears = self.state().ghosts.get(secret).map(|(by, _)| *by);
        if clears.is_some_and(|by| by == self.process(call)) {
            self.state().ghosts.remove(secret);
        }
    }

    /// A directory stands in one place. What another party moved, the kernel may still have in the old one, and would
    /// refuse to rename it from the new.
    fn show_in(&self, secret: &SecretName, place: &Node) {
        let mut state = self.state();
        let parent = state.tree.intern(place);
        if let Some(before) = state.show_in(secret, parent) {
            self.kernel.tell(Notice::Entry(before, secret.to_string()));
        }
    }

    fn lookup_in_secret(&self, call: &Call, secret: &SecretName, name: &str) -> FsResult<Entry> {
        let scratch = self.state().scratch(&Place::Secret(secret.clone()), name);
        if let Some(id) = scratch {
            return self.draft_entry(id);
        }
        let home = self.home(call, secret)?;
        match (name, home) {
            (VALUE, Home::Live(found)) => self.lookup_value(call, &found, Face::Value),
            (VALUE, Home::Newborn) => self.lookup_creation(call, Target::Value(secret.clone(), Face::Value)),
            (META, Home::Newborn) => self.lookup_new_meta(call, secret),
            (META, Home::Live(_) | Home::Deleted | Home::Ghost) => {
                self.entry_of(call, &Node::Meta(secret.clone(), None))
            }
            (VALUE, Home::Ghost) => Ok(self.unbound_entry(secret, Face::Value, self.ghost_attr())),
            (CERTIFICATE, Home::Live(found)) if is_certificate(found.properties.content_type.as_deref()) => {
                Ok(self.directory(&Node::Certificate(secret.clone()), self.mounted, Duration::ZERO))
            }
            (CERTIFICATE, Home::Ghost) => {
                Ok(self.directory(&Node::Certificate(secret.clone()), self.mounted, Duration::ZERO))
            }
            (VERSIONS, Home::Live(_) | Home::Ghost) => {
                Ok(Entry { ttl: Duration::ZERO, ..self.listing_entry(&Node::Versions(secret.clone())) })
            }
            _ => Err(no_entry()),
        }
    }

    fn lookup_part(&self, call: &Call, secret: &SecretName, name: &str) -> FsResult<Entry> {
        let face = Face::Certificate(CertificateFile::parse(name).ok_or_else(no_entry)?);
        match self.home(call, secret)? {
            Home::Live(found) if is_certificate(found.properties.content_type.as_deref()) => {
                let ttl = self.kernel_ttl(found.valid_for);
                let overtaken = self.state().is_overtaken(call.thread, secret, self.now());
                if overtaken {
                    return self.lookup_overtaken(call, secret, face, ttl);
                }
                let known =
                    found.current.as_ref().and_then(|version| self.store.get(secret, Some(version), Wait::No).ok());
                match known {
                    Some(kept) => self.bound_entry(&kept, face, ttl),
                    None => Ok(self.unbound_entry(secret, face, self.attr_of(&found.properties, 0))),
                }
            }
            Home::Ghost => Ok(self.unbound_entry(secret, face, self.ghost_attr())),
            Home::Live(_) | Home::Newborn | Home::Deleted => Err(no_entry()),
        }
    }

    fn lookup_file(&self, call: &Call, name: &str) -> FsResult<Entry> {
        if let Some(id) = self.scratch_in(call, &Place::Files, name)? {
            return self.draft_entry(id);
        }
        match self.resolve(call, name) {
            Ok(found) => self.lookup_value(call, &found, Face::File),
            Err(error) if error.errno() == libc::ENOENT => {
                let secret = self.meant(name).map_err(|_| error)?;
                self.lookup_creation(call, Target::Value(secret, Face::File))
            }
            Err(error) => Err(error),
        }
    }

    fn lookup_value(&self, call: &Call, found: &Found, face: Face) -> FsResult<Entry> {
        let secret = &found.properties.name;
        if let Some(id) = self.writers_own(call, secret, face) {
            return self.draft_entry(id);
        }
        let hidden = self.state().is_hidden(secret, face);
        if hidden {
            return self.lookup_creation(call, Target::Value(secret.clone(), face));
        }
        let moved = self.state().was_moved(secret, face);
        if moved && self.is_mover(call, secret, face) {
            return Err(no_entry());
        }
        // Whose answer this is depends on who asks: the kernel must not keep it.
        let ttl = if moved { Duration::ZERO } else { self.kernel_ttl(found.valid_for) };
        if found.properties.is_disabled() {
            return Ok(self.unbound_entry(secret, face, self.unreadable(&found.properties)));
        }
        let overtaken = self.state().is_overtaken(call.thread, secret, self.now());
        if overtaken {
            return self.lookup_overtaken(call, secret, face, ttl);
        }
        if let Some(version) = &found.current
            && let Ok(kept) = self.store.get(secret, Some(version), Wait::No)
        {
            return self.bound_entry(&kept, face, ttl);
        }
        // The size comes with the getattr that follows.
        Ok(self.unbound_entry(secret, face, self.attr_of(&found.properties, 0)))
    }

    /// Who has been overtaken gets an inode that is the current version already: which one an unbound inode becomes, another's
    /// open may decide that is older than he.
    fn lookup_overtaken(&self, call: &Call, secret: &SecretName, face: Face, ttl: Duration) -> FsResult<Entry> {
        let kept = self.store.get(secret, None, call.wait)?;
        let entry = self.bound_entry(&kept, face, ttl)?;
        self.state().has_found(call.thread, entry.node);
        Ok(entry)
    }

    fn is_mover(&self, call: &Call, secret: &SecretName, face: Face) -> bool {
        let process = self.process(call);
        self.state().is_mover((secret.clone(), face), process, self.now())
    }

    /// The inode that this thread was sent back for.
    fn writers_own(&self, call: &Call, secret: &SecretName, face: Face) -> Option<DraftId> {
        let key = (call.thread, secret.clone(), face);
        let mut state = self.state();
        let now = self.now();
        let bounce = state.bounces.get_mut(&key).filter(|bounce| bounce.until > now)?;
        if let Some(id) = bounce.draft {
            return Some(id);
        }
        let (shown, bytes) = (bounce.shown, bounce.bytes.take());
        let id = state.new_draft(Target::Value(secret.clone(), face), Some(shown));
        if let (Some(bytes), Some(draft)) = (bytes, state.drafts.get_mut(&id)) {
            draft.load(bytes.bytes());
        }
        if let Some(bounce) = state.bounces.get_mut(&key) {
            bounce.draft = Some(id);
        }
        Some(id)
    }

    /// A file that does not exist for others yet is there for the process that is creating it.
    pub(super) fn lookup_creation(&self, call: &Call, target: Target) -> FsResult<Entry> {
        let process = self.process(call);
        let id = self.state().creation(&target, process).ok_or_else(no_entry)?;
        self.draft_entry(id)
    }

    fn lookup_new_meta(&self, call: &Call, secret: &SecretName) -> FsResult<Entry> {
        let written = self.state().newborn.get(secret).is_some_and(|newborn| newborn.attributes.is_some());
        if written {
            return self.entry_of(call, &Node::Meta(secret.clone(), None));
        }
        self.lookup_creation(call, Target::Meta(secret.clone(), None))
    }

    fn lookup_version(&self, call: &Call, secret: &SecretName, text: &str) -> FsResult<Entry> {
        let node = version_node(secret, text).ok_or_else(no_entry)?;
        let process = self.process(call);
        let is_ghost = self.state().is_ghost_of(secret, process, self.now());
        match &node {
            _ if is_ghost => {}
            Node::OldVersion(_, version) | Node::Meta(_, Some(version)) => {
                match self.version_properties(secret, version, call.wait) {
                    // By this the vault says that it is there.
                    Err(FsError::Store(error)) if error.kind == ErrorKind::Disabled => {}
                    answer => drop(answer?),
                }
            }
            _ => return self.entry_of(call, &node),
        }
        // The size comes with the getattr that follows. Where it is known it must be told: the kernel cuts what it has
        // cached to the size that it hears.
        let (ino, size) = {
            let mut state = self.state();
            let ino = state.tree.intern(&node);
            (ino, state.tree.bound(ino).map_or(0, |bound| bound.size))
        };
        let stat = Stat { attr: Attr { ino, size, ..self.ghost_attr() }, ttl: Duration::ZERO };
        Ok(Entry { node: ino, stat, ttl: Duration::ZERO })
    }

    /// The current version's name, which `versions/current` points to.
    pub fn readlink(&self, call: &Call, ino: Ino) -> FsResult<String> {
        match self.node(ino)? {
            Node::Current(secret) => {
                let version = match self.store.get(&secret, None, call.wait) {
                    Ok(kept) => kept.properties.version.ok_or_else(no_entry)?,
                    Err(error) if is_refused(&error) => self.newest_version(&secret, error, call.wait)?,
                    Err(error) => return Err(error.into()),
                };
                Ok(version.to_string())
            }
            _ => Err(FsError::plain(libc::EINVAL)),
        }
    }

    /// Which version is current where the get of it is refused: the one made last, if that was only one. Dates have
    /// one-second grain, and a wrong answer is worse than none.
    fn newest_version(&self, secret: &SecretName, refused: StoreError, wait: Wait) -> FsResult<Version> {
        let mut listed = self.all_versions(secret, wait)?;
        if refused.kind == ErrorKind::Disabled {
            listed.retain(SecretProperties::is_disabled);
        }
        let newest = listed.iter().map(|item| item.created_on).max();
        let mut last = listed.into_iter().filter(|item| Some(item.created_on) == newest);
        match (last.next().and_then(|item| item.version), last.next()) {
            (Some(version), None) => Ok(version),
            _ => Err(refused.into()),
        }
    }

    /// What the vault lists of one version. Who may not list can still get it, if he knows its name.
    pub(super) fn version_properties(
        &self,
        secret: &SecretName,
        version: &Version,
        wait: Wait,
    ) -> FsResult<SecretProperties> {
        match self.all_versions(secret, wait) {
            Ok(listed) => {
                let listed = listed.into_iter().find(|item| item.version.as_ref() == Some(version));
                // A listing that stands in for a vault that does not answer may be older than what is known to be current.
                listed.or_else(|| self.known_current(secret, version)).ok_or_else(no_entry)
            }
            Err(error) if error.kind == ErrorKind::Forbidden => {
                Ok(self.store.get(secret, Some(version), wait)?.properties)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// This version, if it is the current one as far as is known.
    fn known_current(&self, secret: &SecretName, version: &Version) -> Option<SecretProperties> {
        let found = self.store.find(secret, Wait::No).ok();
        found.filter(|found| found.current.as_ref() == Some(version)).map(|found| found.properties)
    }

    /// What a secret's directory is now.
    pub(super) fn home(&self, call: &Call, secret: &SecretName) -> FsResult<Home> {
        match self.live_home(call, secret) {
            Err(error) if error.is_not_found() => self.deleted_home(secret, call.wait),
            home => home,
        }
    }

    /// What is known of a secret. Who may neither get nor list cannot be told whether it is there; he is not told that it
    /// is not, since he may be the one who sets it.
    pub(super) fn find(&self, secret: &SecretName, wait: Wait) -> Result<Found, StoreError> {
        match self.store.find(secret, wait) {
            Err(error) if error.kind == ErrorKind::Forbidden => {
                let properties = SecretProperties::bare("", secret);
                Ok(Found { properties, current: None, valid_for: Duration::ZERO })
            }
            answer => answer,
        }
    }

    /// Whether a secret that is not there is a deleted one.
    pub(super) fn deleted_home(&self, secret: &SecretName, wait: Wait) -> FsResult<Home> {
        match self.listed_deleted(secret, wait) {
            Ok(_) => Ok(Home::Deleted),
            // The service may not show a disabled one that it does not list, but says by this that it is there.
            Err(error) if error.kind == ErrorKind::Disabled => Ok(Home::Deleted),
            Err(error) => Err(error.into()),
        }
    }

    /// As [`home`](Self::home), without a look at the deleted ones.
    fn live_home(&self, call: &Call, secret: &SecretName) -> FsResult<Home> {
        let (is_newborn, has_ghosts) = {
            let state = self.state();
            (state.newborn.contains_key(secret), state.ghosts.contains_key(secret))
        };
        match self.find(secret, call.wait) {
            Ok(found) => {
                if is_newborn {
                    // Somebody else saved it first.
                    self.state().newborn.remove(secret);
                }
                Ok(Home::Live(Box::new(found)))
            }
            // Who may neither get nor list hears no more than that.
            Err(error) if is_newborn && matches!(error.kind, ErrorKind::NotFound | ErrorKind::Forbidden) => {
                Ok(Home::Newborn)
            }
            Err(error) if error.kind == ErrorKind::NotFound && has_ghosts => {
                let process = self.process(call);
                let is_ghost = self.state().is_ghost_of(secret, process, self.now());
                if is_ghost { Ok(Home::Ghost) } else { Err(error.into()) }
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What a name in `versions/` is.
fn version_node(secret: &SecretName, name: &str) -> Option<Node> {
    let parse = |text: &str| Version::parse(text).filter(|version| version.as_str() == text);
    if name == CURRENT {
        return Some(Node::Current(secret.clone()));
    }
    match name.strip_prefix('.').and_then(|rest| rest.strip_suffix(META)) {
        Some(version) => Some(Node::Meta(secret.clone(), Some(parse(version)?))),
        None => Some(Node::OldVersion(secret.clone(), parse(name)?)),
    }
}
