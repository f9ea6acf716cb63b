//! Files and inodes: what a vault looks like as a directory tree, and what each file operation means for it.
//!
//! Operations are plain functions from plain values to plain values. This floor knows the seam
//! ([`SecretStore`]) and nothing of FUSE, HTTP or the cache. What it needs from outside comes as two small traits:
//! [`Processes`] (who is asking) and [`Kernel`] (what the kernel must drop).
//! What it counts goes to [`Metrics`].
//!
//! With [`Wait::No`] an operation answers from memory or fails with "not in memory",
//! without any effect; the caller then asks again, elsewhere, with time to wait.
//!
//! There is one lock ([`SecretFs::state`]). It is never held while the store, a process or the kernel is asked. Beside
//! it each draft has one that is held during its save; the state may be locked under it, never the other way round.

pub mod attr;
pub mod audit;
pub mod certificate;
pub mod content;
pub mod control;
pub mod draft;
pub mod encoding;
pub mod errno;
pub mod journal;
pub mod processes;
pub mod rights;
pub mod tree;
pub mod wake;

mod backup;
mod deleting;
mod document;
mod flat;
pub mod handles;
mod keeps;
mod list;
mod lookup;
mod news;
mod open;
mod parts;
mod remove;
mod rename;
mod room;
mod save;
mod stat;
mod state;
mod status;
mod unopened;
mod write;
mod xattr;

pub use lookup::MAX_FILE_NAME;
pub use open::OpenFlags;
pub use rename::RenameMode;
pub use status::About;
pub use write::Change;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Moment, unix_seconds};
use crate::metrics::Metrics;
use crate::secret::{KeyVaultSecret, SecretName};
use crate::store::{Operation, SecretStore, StoreError, Wait};
use crate::sync::{Condvar, Mutex, MutexGuard};

use audit::Audit;
use content::Content;
use control::Log;
use draft::Draft;
use encoding::Encoding;
use errno::{FsError, FsResult};
use processes::{Process, Processes};
use rights::{Accounts, Rule};
use state::State;
use tree::{DraftId, Face, Ino, Node};

/// What the fuzzer reaches that callers need not.
#[cfg(fuzzing)]
pub mod fuzzing {
    use super::errno::FsResult;
    use crate::secret::{SecretAttributes, SecretProperties};

    /// What an edited `.meta.json` changes of `before`.
    ///
    /// # Errors
    /// If it is none.
    pub fn changes(bytes: &[u8], before: Option<&SecretProperties>) -> FsResult<SecretAttributes> {
        super::document::parse(bytes, before)
    }

    /// The `.meta.json` of a secret.
    pub fn document(properties: &SecretProperties) -> String {
        super::document::render(&super::document::live(properties))
    }

    /// Whether a tag may name a file in `files/`.
    pub fn is_file_name(name: &str) -> bool {
        super::flat::is_file_name(name)
    }
}

/// Who calls, and how long he can be kept.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The caller's user.
    pub uid: u32,
    /// The caller's group.
    pub gid: u32,
    /// The calling thread, as a process number; 0 if it cannot be seen from here.
    pub thread: u32,
    /// How long the answer may take.
    pub wait: Wait,
}

/// Something the kernel must no longer believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// What this name in this directory stands for.
    Entry(Ino, String),
    /// The attributes of this inode; its bytes stay.
    Attributes(Ino),
    /// The attributes of this inode, and its bytes.
    Content(Ino),
}

/// The way to the kernel's caches. Telling never happens on the caller's thread.
pub trait Kernel: Send + Sync {
    /// Hands a notice over.
    fn tell(&self, notice: Notice);
    /// Waits until all notices handed over before were told, at most `limit`; whether they were.
    fn settle(&self, limit: Duration) -> bool;
}

/// What a mount decides about its files.
#[derive(Clone, Debug)]
pub struct FsOptions {
    /// Nothing may be changed.
    pub read_only: bool,
    /// `rmdir deleted/n` purges.
    pub allow_purge: bool,
    /// Only what was deleted longer ago than this may be purged.
    pub purge_after: Duration,
    /// How long an unlinked value waits for a new file of its name before the secret is deleted.
    pub delete_delay: Duration,
    /// Values go past the kernel's cache.
    pub no_kernel_cache: bool,
    /// Owner of all files.
    pub uid: u32,
    /// Group of all files.
    pub gid: u32,
    /// Permissions of files.
    pub file_mode: u16,
    /// Permissions of directories.
    pub dir_mode: u16,
    /// What single secrets' files have instead; the first that fits counts.
    pub rules: Vec<Rule>,
    /// What secrets' tags say of that counts where no rule fits, by these accounts.
    pub owner_tags: Option<Accounts>,
    /// The longest the kernel may keep a name or attributes.
    pub kernel_ttl: Duration,
    /// How long the kernel may keep that there is no such name.
    pub negative_ttl: Duration,
    /// Names of the mount's own in `files/`, and the secrets they mean.
    pub aliases: BTreeMap<String, SecretName>,
    /// A newline that an editor put behind a value which had none is taken off again.
    pub final_newline_as_before: bool,
    /// A save makes a version also when its bytes are there already.
    pub always_set: bool,
    /// How long from its save a new version expires; never, if not given.
    pub expires_in: Option<Duration>,
    /// How long a change that nobody waits for (a release, a delayed removal) may take.
    pub write_timeout: Duration,
    /// What `.akvfs/status.json` tells of the mount.
    pub about: About,
}

impl Default for FsOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            allow_purge: false,
            purge_after: Duration::from_secs(3600),
            delete_delay: Duration::from_secs(1),
            no_kernel_cache: false,
            uid: 0,
            gid: 0,
            file_mode: 0o600,
            dir_mode: 0o700,
            rules: Vec::new(),
            owner_tags: None,
            kernel_ttl: Duration::from_secs(60),
            negative_ttl: Duration::ZERO,
            aliases: BTreeMap::new(),
            final_newline_as_before: false,
            always_set: false,
            expires_in: None,
            write_timeout: Duration::from_secs(30),
            about: About::default(),
        }
    }
}

/// Says as whom the vault is asked, from memory; nothing before the first token, or where the token does not say.
pub type Identity = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// A vault as a filesystem.
pub struct SecretFs {
    store: Arc<dyn SecretStore>,
    clock: Arc<dyn Clock>,
    processes: Arc<dyn Processes>,
    kernel: Arc<dyn Kernel>,
    options: FsOptions,
    metrics: Arc<Metrics>,
    audit: Option<Arc<dyn Audit>>,
    identity: Option<Identity>,
    log: Option<Arc<dyn Log>>,
    mounted: i64,
    /// The kernel sends no OPEN, or no OPENDIR.
    without: (AtomicBool, AtomicBool),
    state: Mutex<State>,
    /// Told when a deletion has ended.
    deleted: Condvar,
}

impl SecretFs {
    /// The filesystem on `store`.
    pub fn new(
        store: Arc<dyn SecretStore>,
        clock: Arc<dyn Clock>,
        processes: Arc<dyn Processes>,
        kernel: Arc<dyn Kernel>,
        options: FsOptions,
    ) -> Self {
        let mounted = unix_seconds(&*clock);
        let metrics = Arc::default();
        Self {
            store,
            clock,
            processes,
            kernel,
            options,
            metrics,
            audit: None,
            identity: None,
            log: None,
            mounted,
            without: Default::default(),
            state: Mutex::default(),
            deleted: Condvar::new(),
        }
    }

    /// Whether somebody here must see each open: only where nothing is written, nobody keeps an account of
    /// readers, and values may stand in the kernel's cache can it do without.
    pub fn needs_open(&self) -> bool {
        !self.options.read_only || self.audit.is_some() || self.options.no_kernel_cache
    }

    /// Whether somebody here must see who lists directories: what removes a tree does.
    pub fn needs_opendir(&self) -> bool {
        !self.options.read_only
    }

    /// The connection does without OPEN, or without OPENDIR, from its first moment on.
    pub fn go_without(&self, open: bool, opendir: bool) {
        self.without.0.store(open, Ordering::Relaxed);
        self.without.1.store(opendir, Ordering::Relaxed);
    }

    /// Whether the kernel sends no OPEN.
    pub fn goes_without_open(&self) -> bool {
        self.without.0.load(Ordering::Relaxed)
    }

    /// Whether the kernel sends no OPENDIR.
    pub fn goes_without_opendir(&self) -> bool {
        self.without.1.load(Ordering::Relaxed)
    }

    /// The same, that counts in `metrics`.
    pub fn counting(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// The same, that tells `audit` of every open of a value.
    pub fn audited(self, audit: Option<Arc<dyn Audit>>) -> Self {
        Self { audit, ..self }
    }

    /// The same, that can tell as whom it signs in.
    pub fn signing_in(self, identity: Identity) -> Self {
        Self { identity: Some(identity), ..self }
    }

    /// The same, whose log can be made to say more, or less, through `.akvfs/log`.
    pub fn logging(self, log: Arc<dyn Log>) -> Self {
        Self { log: Some(log), ..self }
    }

    /// Where it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The options it was made with.
    pub fn options(&self) -> &FsOptions {
        &self.options
    }

    /// The kernel forgets an inode `count` times.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.state().forget(ino, count);
    }

    /// Inodes, drafts and handles now held: what a leak would show in.
    pub fn held(&self) -> (usize, usize, usize) {
        self.state().held()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No change to the state can stop half-way, so a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        self.clock.moment()
    }

    fn seconds(&self) -> i64 {
        unix_seconds(&*self.clock)
    }

    fn node(&self, ino: Ino) -> FsResult<Node> {
        self.state().tree.node(ino).cloned().ok_or_else(|| FsError::plain(libc::ESTALE))
    }

    fn process(&self, call: &Call) -> Process {
        if call.thread == 0 { 0 } else { self.processes.of_thread(call.thread) }
    }

    /// A wait for work that no caller waits for.
    fn own_wait(&self) -> Wait {
        Wait::at_most(&*self.clock, self.options.write_timeout)
    }

    fn with_draft<T>(&self, id: DraftId, act: impl FnOnce(&mut Draft) -> FsResult<T>) -> FsResult<T> {
        match self.state().drafts.get_mut(&id) {
            Some(draft) => act(draft),
            None => Err(FsError::plain(libc::ESTALE)),
        }
    }

    /// What a file that shows a value holds. A part of a certificate is found once, and not by who may not wait.
    fn content(&self, kept: &KeyVaultSecret, face: Face, wait: Wait) -> FsResult<Content> {
        let (Face::Certificate(_), Some(version)) = (face, &kept.properties.version) else {
            return Content::of(kept, face);
        };
        let key = (kept.properties.name.clone(), version.clone(), face, Encoding::of_face(kept, face));
        let found = self.state().parts.get(&key);
        if let Some(content) = found {
            return Ok(content);
        }
        if wait == Wait::No {
            return Err(StoreError::not_in_memory(Operation::Get).into());
        }
        let content = Content::of(kept, face)?;
        self.state().parts.put(key, &kept.value, content.clone());
        Ok(content)
    }

    fn check_writable(&self) -> FsResult<()> {
        if self.options.read_only { Err(FsError::plain(libc::EROFS)) } else { Ok(()) }
    }
}
