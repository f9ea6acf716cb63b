//! What the filesystem remembers between two calls. Asks nobody; times come as arguments.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::Moment;
use crate::secret::{SecretAttributes, SecretName, SecretValue};

use super::attr::DirEntry;
use super::draft::{Draft, Target};
use super::processes::Process;
use super::tree::{DraftId, Ino, Node, Tree};

/// How long a thread whose open was answered ESTALE has to come back (measured: at once; SAVES.md 2).
const BOUNCE_LIMIT: Duration = Duration::from_secs(2);
/// How long a process that removes a directory is believed to be still at it (SAVES.md 4).
pub const REMOVER_LIMIT: Duration = Duration::from_secs(30);

/// An open descriptor, or several that share one open.
#[derive(Clone)]
pub enum Handle {
    /// A version's value, as it was when it was opened.
    Value(SecretValue),
    /// A document made at open.
    Document(Arc<Zeroizing<Vec<u8>>>),
    /// A draft.
    Draft {
        /// Which.
        id: DraftId,
        /// Every write goes to the end.
        append: bool,
        /// Opened for writing.
        writable: bool,
    },
    /// A directory, as it was at its first read.
    Directory {
        /// Whose.
        ino: Ino,
        /// `None` before the first read.
        entries: Option<Arc<Vec<DirEntry>>>,
    },
}

/// A thread that was sent back to look the name up again, so that it gets an inode of its own.
pub struct Bounce {
    /// The inode it gets; `None` before it came back.
    pub draft: Option<DraftId>,
    /// The number that its inode shows: programs compare it with the one they saw before (vim does).
    pub shown: Ino,
    /// When it is forgotten.
    pub until: Moment,
}

/// A directory that was made for a secret that is not there yet.
#[derive(Default)]
pub struct Newborn {
    /// What its `.meta.json` said.
    pub attributes: Option<SecretAttributes>,
}

/// A value that was unlinked, and whose secret is going to be deleted.
pub struct Removal {
    /// Who unlinked it.
    pub by: Process,
    /// When the deletion is sent.
    pub due: Moment,
}

/// See the module.
#[derive(Default)]
pub struct State {
    /// The inodes.
    pub tree: Tree,
    /// The drafts.
    pub drafts: HashMap<DraftId, Draft>,
    /// The handles.
    pub handles: HashMap<u64, Handle>,
    /// Threads on their way back, by name.
    pub bounces: HashMap<(u32, SecretName), Bounce>,
    /// Directories without a secret.
    pub newborn: BTreeMap<SecretName, Newborn>,
    /// Values hidden because their secret is going to be deleted.
    pub removals: BTreeMap<SecretName, Removal>,
    /// Values hidden because they were moved aside and then unlinked.
    pub set_aside: BTreeSet<SecretName>,
    /// Secrets that are gone, and the process that still clears up behind them.
    pub ghosts: HashMap<SecretName, (Process, Moment)>,
    /// Who listed a secret's directory, and when.
    pub listers: HashMap<SecretName, Vec<(Process, Moment)>>,
    next: u64,
}

impl State {
    /// A number that was never given before.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Keeps a handle.
    pub fn open(&mut self, handle: Handle) -> u64 {
        let number = self.number();
        self.handles.insert(number, handle);
        number
    }

    /// Makes a draft that has an inode of its own. `shown` is the number it shows, or its own.
    pub fn new_draft(&mut self, target: Target, shown: Option<Ino>) -> DraftId {
        let id = self.number();
        let ino = self.tree.intern(&Node::Draft(id));
        self.drafts.insert(id, Draft::new(target, ino, shown.unwrap_or(ino)));
        id
    }

    /// Makes a draft that is written through somebody else's inode.
    pub fn new_draft_on(&mut self, target: Target, ino: Ino) -> DraftId {
        let id = self.number();
        self.drafts.insert(id, Draft::new(target, ino, ino));
        id
    }

    /// The temporary file of this name.
    pub fn scratch(&self, dir: &SecretName, name: &str) -> Option<DraftId> {
        let is_it = |target: &Target| matches!(target, Target::Scratch(d, n) if d == dir && n == name);
        self.drafts.iter().find(|(_, draft)| is_it(&draft.target)).map(|(id, _)| *id)
    }

    /// The names of the temporary files in a directory.
    pub fn scratch_names(&self, dir: &SecretName) -> BTreeMap<String, Ino> {
        self.drafts
            .values()
            .filter_map(|draft| match &draft.target {
                Target::Scratch(d, name) if d == dir => Some((name.clone(), draft.ino)),
                _ => None,
            })
            .collect()
    }

    /// Whether a copy of this secret's value, moved aside by one of `by`, is still there.
    fn has_way_back(&self, name: &SecretName, by: impl Fn(Process) -> bool) -> bool {
        self.drafts.values().any(|draft| draft.way_back_of.is_some_and(&by) && draft.is_scratch_in(name))
    }

    /// Whether `process` moved this secret's value aside and can still move it back.
    pub fn can_go_back(&self, name: &SecretName, process: Process) -> bool {
        self.has_way_back(name, |by| by == process)
    }

    /// A save has succeeded: what was moved aside before is a file like any other, and the value is to be seen.
    pub fn is_saved(&mut self, name: &SecretName) {
        self.set_aside.remove(name);
        self.drafts.values_mut().filter(|draft| draft.is_scratch_in(name)).for_each(|draft| draft.way_back_of = None);
    }

    /// Takes the names away from all temporary files of a secret whose directory goes.
    pub fn drop_scratch(&mut self, name: &SecretName) {
        self.make_nameless(|draft| draft.is_scratch_in(name));
    }

    /// Takes the names away from all that was never saved in a directory that goes.
    pub fn drop_unsaved(&mut self, name: &SecretName) {
        self.make_nameless(|draft| {
            draft.is_scratch_in(name)
                || matches!(&draft.target, Target::Value(secret) | Target::Meta(secret) if secret == name)
        });
    }

    /// Takes the names away from those drafts: nothing of them is saved any more.
    pub fn make_nameless(&mut self, which: impl Fn(&Draft) -> bool) {
        let gone: Vec<_> = self.drafts.iter().filter(|(_, draft)| which(draft)).map(|(id, _)| *id).collect();
        for id in gone {
            if let Some(draft) = self.drafts.get_mut(&id) {
                draft.target = Target::Nameless;
                draft.dirty = false;
            }
            self.drop_if_unused(id);
        }
    }

    /// Whether `value` is hidden from everybody.
    pub fn is_hidden(&self, name: &SecretName) -> bool {
        self.removals.contains_key(name) || (self.set_aside.contains(name) && self.has_way_back(name, |_| true))
    }

    /// The draft that a file being created under `target` is, if `process` is its writer.
    pub fn creation(&self, target: &Target, process: Process) -> Option<DraftId> {
        let is_it = |draft: &Draft| {
            draft.target == *target && draft.opens > 0 && !draft.retired && draft.writers.contains(&process)
        };
        self.drafts.iter().find(|(_, draft)| is_it(draft)).map(|(id, _)| *id)
    }

    /// Sends a thread back from `ino`.
    pub fn bounce(&mut self, thread: u32, name: &SecretName, ino: Ino, now: Moment) {
        self.drop_late_bounces(now);
        let shown = self.tree.shown(ino);
        self.bounces.insert((thread, name.clone()), Bounce { draft: None, shown, until: now + BOUNCE_LIMIT });
    }

    /// Threads that did not come back in time are not waited for.
    pub fn drop_late_bounces(&mut self, now: Moment) {
        let late: Vec<_> =
            self.bounces.iter().filter(|(_, bounce)| bounce.until <= now).map(|(key, _)| key.clone()).collect();
        for key in late {
            if let Some(id) = self.bounces.remove(&key).and_then(|bounce| bounce.draft) {
                self.drop_if_unused(id);
            }
        }
    }

    /// Notes who lists a secret's directory.
    pub fn listed(&mut self, name: &SecretName, process: Process, now: Moment) {
        let listers = self.listers.entry(name.clone()).or_default();
        listers.retain(|(_, at)| now.since(*at) < REMOVER_LIMIT);
        listers.push((process, now));
        if self.listers.len() > 4096 {
            self.listers.retain(|_, listers| listers.iter().any(|(_, at)| now.since(*at) < REMOVER_LIMIT));
        }
    }

    /// Whether `process` listed a secret's directory lately.
    pub fn is_lister(&self, name: &SecretName, process: Process, now: Moment) -> bool {
        let lately = |(by, at): &(Process, Moment)| *by == process && now.since(*at) < REMOVER_LIMIT;
        process != 0 && self.listers.get(name).is_some_and(|listers| listers.iter().any(lately))
    }

    /// Whether `process` still clears up behind a secret that is gone.
    pub fn is_ghost_of(&self, name: &SecretName, process: Process, now: Moment) -> bool {
        self.ghosts.get(name).is_some_and(|(by, at)| process != 0 && *by == process && now.since(*at) < REMOVER_LIMIT)
    }

    /// The kernel forgets an inode.
    pub fn forget(&mut self, ino: Ino, count: u64) {
        if let Some(id) = self.tree.forget(ino, count) {
            self.drop_if_unused(id);
        }
    }

    /// Drops a draft that has no name, no descriptor and nobody on the way to it.
    pub fn drop_if_unused(&mut self, id: DraftId) {
        let Some(draft) = self.drafts.get(&id) else { return };
        let named = matches!(draft.target, Target::Scratch(..));
        let awaited = self.bounces.values().any(|bounce| bounce.draft == Some(id));
        if named || awaited || draft.opens > 0 {
            return;
        }
        let ino = draft.ino;
        if self.tree.node(ino) != Some(&Node::Draft(id)) {
            self.drafts.remove(&id);
        } else if !self.tree.is_looked_up(ino) {
            self.drafts.remove(&id);
            self.tree.remove(ino);
        }
    }

    /// Inodes, drafts, handles.
    pub fn held(&self) -> (usize, usize, usize) {
        (self.tree.count(), self.drafts.len(), self.handles.len())
    }
}
