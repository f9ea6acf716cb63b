//! Waking programs that watch a file (inotify) when another party has replaced its value.
//!
//! The kernel tells watchers of what is done to files, so something is done to them: a thread of ours renames the new
//! version over the old one's name, and touches the old ones. What it does comes back to us as requests, which are answered
//! here and change nothing. To that thread alone the old version is shown once more under its name, and the new one and all
//! that somebody may still watch under names of their own in `.akvfs/`. It is shown for no time at all: whoever else looks
//! asks us, and is shown the new version.

use crate::secret::{SecretName, Version};
use crate::store::Wait;

use super::attr::{Attr, Entry, Opened, Stat};
use super::content::{Content, bound};
use super::errno::{FsError, FsResult};
use super::handles::Handle;
use super::lookup::VALUE;
use super::tree::{Bound, Face, Ino, Node};
use super::{Call, SecretFs};

/// How the new version is named for the waking thread, in `.akvfs/`.
pub const NEW: &str = ".akvfs/.wake.new";
/// And the older ones, with a number behind.
pub const EARLIER: &str = ".akvfs/.wake.";
/// How many older versions are touched at most: a watch holds each for ever.
pub const MAX_EARLIER: usize = 64;

/// A file whose watchers are to be woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its path below the mount.
    pub path: String,
    /// How many older versions stand under [`EARLIER`].
    pub earlier: usize,
    place: (Ino, String),
    secret: SecretName,
    face: Face,
    new: Bound,
    old: Vec<Ino>,
}

/// What the waking thread is at. Only meanwhile there are inodes that nobody else is shown.
pub struct Waking {
    thread: u32,
    place: (Ino, String),
    new: Ino,
    old: Vec<Ino>,
}

impl Waking {
    fn is_hidden_name(&self, name: &str) -> Option<Ino> {
        match name.strip_prefix(".wake.")? {
            "new" => Some(self.new),
            number => self.old.get(number.parse::<usize>().ok()?).copied(),
        }
    }

    fn is_place(&self, parent: Ino, name: &str) -> bool {
        self.place.0 == parent && self.place.1 == name
    }
}

impl SecretFs {
    /// The files of a secret that somebody may be watching.
    pub fn watched(&self, secret: &SecretName) -> Vec<Watched> {
        let mut all = Vec::new();
        all.extend(self.watched_file(secret, Face::Value, &Node::Dir(secret.clone()), VALUE));
        for name in self.file_names(secret) {
            all.extend(self.watched_file(secret, Face::File, &Node::Files, &name));
        }
        all
    }

    fn watched_file(&self, secret: &SecretName, face: Face, dir: &Node, name: &str) -> Option<Watched> {
        let kept = self.store.get(secret, None, Wait::No).ok()?;
        let content = self.content(&kept, face, Wait::No).ok()?;
        let new = bound(&kept, face, &content)?;
        let mut state = self.state();
        let dir_ino = state.tree.intern(dir);
        let mut old = state.tree.other_versions(secret, face, &new);
        if old.is_empty() && !state.tree.is_looked_up(dir_ino) {
            return None;
        }
        old.truncate(MAX_EARLIER);
        let place = (dir_ino, name.to_owned());
        let dir = if *dir == Node::Files { "files".to_owned() } else { format!("secrets/{secret}") };
        let path = format!("{dir}/{name}");
        Some(Watched { path, earlier: old.len(), place, secret: secret.clone(), face, new, old })
    }

    /// From now on `thread` is the one that wakes.
    pub fn begin_waking(&self, thread: u32, watched: &Watched) {
        self.end_waking();
        let Watched { place, secret, face, new, old, .. } = watched.clone();
        let mut state = self.state();
        let old = match (old.is_empty(), Version::parse(&"0".repeat(32))) {
            // Who watches the directory hears of what takes another's place.
            (true, Some(none)) => {
                let none = Bound { version: none, size: 0, ..new.clone() };
                vec![state.tree.passing_value(&secret, face, none)]
            }
            _ => old,
        };
        let new = state.tree.bound_value(&secret, face, new);
        state.waking = Some(Waking { thread, place, new, old });
    }

    /// It is done.
    pub fn end_waking(&self) {
        let mut state = self.state();
        let Some(waking) = state.waking.take() else { return };
        let unseen: Vec<_> = waking.old.into_iter().filter(|ino| !state.tree.is_looked_up(*ino)).collect();
        unseen.into_iter().for_each(|ino| state.tree.remove(ino));
    }

    pub(super) fn is_waking(&self, call: &Call) -> bool {
        self.state().waking.as_ref().is_some_and(|waking| waking.thread == call.thread)
    }

    /// What a name is for the waking thread, where that is another thing than for everybody else.
    pub(super) fn lookup_waking(&self, call: &Call, parent: Ino, name: &str) -> Option<Entry> {
        let is_control = matches!(self.node(parent), Ok(Node::Control));
        let (ino, is_new) = {
            let state = self.state();
            let waking = state.waking.as_ref().filter(|waking| waking.thread == call.thread)?;
            let ino = match is_control {
                true => waking.is_hidden_name(name)?,
                false if waking.is_place(parent, name) => *waking.old.first()?,
                false => return None,
            };
            (ino, ino == waking.new)
        };
        // The new one is everybody's at once.
        let stat = if is_new { self.getattr(call, ino) } else { self.waking_stat(ino) };
        Some(Entry { node: ino, stat: stat.ok()?, ttl: std::time::Duration::ZERO })
    }

    /// The true attributes, but for one more link, so that a file whose last name was renamed over keeps its watches; and
    /// its owner may open it for writing, as he has to for its watchers to hear of a close.
    pub(super) fn waking_stat(&self, ino: Ino) -> FsResult<Stat> {
        let bound = self.state().tree.bound(ino).cloned().ok_or_else(|| FsError::plain(libc::ESTALE))?;
        let stat = self.bound_stat(ino, &bound, None);
        let stat = self.permitted(ino, stat);
        Ok(Stat { attr: Attr { nlink: 2, mode: stat.attr.mode | 0o200, ..stat.attr }, ..stat })
    }

    /// A descriptor that is only to be closed again.
    pub(super) fn open_waking(&self) -> Opened {
        let nothing = Handle::Content(Content::made(zeroize::Zeroizing::default()));
        Opened { handle: self.state().open(nothing), direct: true }
    }
}
