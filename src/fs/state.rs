//! What the filesystem remembers between two calls. Asks nobody; times come as arguments.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crate::clock::Moment;
use crate::secret::{SecretAttributes, SecretName};

use super::content::Content;
use super::control::ControlFile;
use super::draft::{Draft, Place, Target};
use super::handles::{Handle, Readings};
use super::journal::Journal;
use super::parts::Parts;
use super::processes::Process;
use super::tree::{DraftId, Face, Ino, Node, ROOT, Tree};
use super::wake::Waking;

/// How long a thread whose open was answered ESTALE has to come back (measured: at once).
const BOUNCE_LIMIT: Duration = Duration::from_secs(2);
/// How long a process that removes a directory is believed to be still at it.
pub const REMOVER_LIMIT: Duration = Duration::from_secs(30);

/// How soon the kernel repeats a look-up that failed (at once; this is for a busy machine).
const REPEAT_LIMIT: Duration = Duration::from_secs(1);

/// Which thread was sent back from which file.
pub type Bounced = (u32, SecretName, Face);

/// A thread that was sent back to look the name up again, so that it gets an inode of its own.
pub struct Bounce {
    /// The inode it gets; `None` before it came back.
    pub draft: Option<DraftId>,
    /// The number that its inode shows: programs compare it with the one they saw before (vim does).
    pub shown: Ino,
    /// What it starts with, unless that is nothing. The look-up tells its size, and no open can: a map that is made before
    /// a stat would end at the first byte.
    pub bytes: Option<Content>,
    /// When it is forgotten.
    pub until: Moment,
}

/// A reader who was sent back to look again.
struct Overtaken {
    secret: SecretName,
    at: Moment,
    /// What his look-up then gave him.
    found: Option<Ino>,
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
    pub bounces: HashMap<Bounced, Bounce>,
    /// Readers that were sent back because another version was current, by thread.
    overtaken: HashMap<u32, Overtaken>,
    /// Look-ups whose time was up, by thread.
    late: HashMap<u32, (Ino, String, Moment)>,
    /// Under which directory the kernel was last shown a secret's own.
    shown_in: HashMap<SecretName, Ino>,
    /// Directories without a secret.
    pub newborn: BTreeMap<SecretName, Newborn>,
    /// Values hidden because their secret is going to be deleted.
    pub removals: BTreeMap<SecretName, Removal>,
    /// Whose deletion is on its way to the vault.
    pub deleting: BTreeSet<SecretName>,
    /// Values hidden because they were moved aside and then unlinked.
    pub set_aside: HashSet<(SecretName, Face)>,
    /// Who moved a file aside, and when. For him it is gone, so that he may create it anew (`cp -b`).
    pub movers: HashMap<(SecretName, Face), (Process, Moment)>,
    /// Secrets that are gone, and the process that still clears up behind them.
    pub ghosts: HashMap<SecretName, (Process, Moment)>,
    /// What the waking thread is at.
    pub waking: Option<Waking>,
    /// Parts of certificates that were found.
    pub parts: Parts,
    /// Who listed a secret's directory, and when.
    pub listers: HashMap<SecretName, Vec<(Process, Moment)>>,
    /// The last failures.
    pub journal: Journal,
    /// What a file in `.akvfs` said when its name was last looked up.
    pub documents: HashMap<ControlFile, Content>,
    /// What the inodes hold that are snapshots.
    pub snapshots: HashMap<Ino, Content>,
    /// Names that the kernel was told are not there, and until when it believes that.
    pub missing: HashMap<(Ino, String), Moment>,
    /// Readings of directories that were not opened.
    pub readings: Readings,
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
    pub fn scratch(&self, place: &Place, name: &str) -> Option<DraftId> {
        let is_it = |target: &Target| matches!(target, Target::Scratch(p, n) if p == place && n == name);
        self.drafts.iter().find(|(_, draft)| is_it(&draft.target)).map(|(id, _)| *id)
    }

    /// Takes its name from the temporary file that a rename replaces.
    pub fn replace_scratch(&mut self, place: &Place, name: &str, by: Option<DraftId>) {
        let Some(id) = self.scratch(place, name).filter(|id| Some(*id) != by) else { return };
        if let Some(draft) = self.drafts.get_mut(&id) {
            draft.lose_name();
        }
        self.drop_if_unused(id);
    }

    /// The names of the temporary files in a directory.
    pub fn scratch_names(&self, place: &Place) -> BTreeMap<String, Ino> {
        self.drafts
            .values()
            .filter_map(|draft| match &draft.target {
                Target::Scratch(p, name) if p == place => Some((name.clone(), draft.ino)),
                _ => None,
            })
            .collect()
    }

    /// Whether a copy of this file, moved aside by one of `by`, is still there.
    fn has_way_back(&self, name: &SecretName, face: Face, by: impl Fn(Process) -> bool) -> bool {
        self.drafts.values().filter(|draft| matches!(draft.target, Target::Scratch(..))).any(|draft| {
            draft.way_back.as_ref().is_some_and(|(of, its, process)| of == name && *its == face && by(*process))
        })
    }

    /// Whether `process` moved this file aside and can still move it back.
    pub fn can_go_back(&self, name: &SecretName, face: Face, process: Process) -> bool {
        self.has_way_back(name, face, |by| by == process)
    }

    /// A save has succeeded: what was moved aside before is a file like any other, and the value is to be seen.
    pub fn is_saved(&mut self, name: &SecretName) {
        self.set_aside.retain(|(of, _)| of != name);
        self.movers.retain(|(of, _), _| of != name);
        let is_way_back = |draft: &&mut Draft| draft.way_back.as_ref().is_some_and(|(of, ..)| of == name);
        self.drafts.values_mut().filter(is_way_back).for_each(|draft| draft.way_back = None);
    }

    /// Takes the names away from all temporary files of a secret whose directory goes.
    pub fn drop_scratch(&mut self, name: &SecretName) {
        let place = Place::Secret(name.clone());
        self.make_nameless(|draft| draft.is_scratch_in(&place));
    }

    /// Wipes the copies of a value that was moved aside, wherever they stand and whoever has them open: it may no longer be
    /// read.
    pub fn drop_copies(&mut self, name: &SecretName) {
        let is_copy = |draft: &Draft| draft.copy_of.as_ref() == Some(name);
        let gone: Vec<_> = self.drafts.iter().filter(|(_, draft)| is_copy(draft)).map(|(id, _)| *id).collect();
        for id in gone {
            if let Some(draft) = self.drafts.get_mut(&id) {
                draft.lose_name();
                draft.wipe();
            }
            self.drop_if_unused(id);
        }
    }

    /// Takes the names away from all that was never saved in a directory that goes.
    pub fn drop_unsaved(&mut self, name: &SecretName) {
        let place = Place::Secret(name.clone());
        self.make_nameless(|draft| {
            let is_its =
                matches!(&draft.target, Target::Value(secret, Face::Value) | Target::Meta(secret, _) if secret == name);
            is_its || draft.is_scratch_in(&place)
        });
    }

    /// Takes the names away from those drafts: nothing of them is saved any more.
    pub fn make_nameless(&mut self, which: impl Fn(&Draft) -> bool) {
        let gone: Vec<_> = self.drafts.iter().filter(|(_, draft)| which(draft)).map(|(id, _)| *id).collect();
        for id in gone {
            if let Some(draft) = self.drafts.get_mut(&id) {
                draft.lose_name();
            }
            self.drop_if_unused(id);
        }
    }

    /// Whether this file is hidden from everybody. The parts of a certificate stay as the versions do, until it is gone.
    pub fn is_hidden(&self, name: &SecretName, face: Face) -> bool {
        if matches!(face, Face::Certificate(_)) {
            return false;
        }
        let set_aside = self.set_aside.contains(&(name.clone(), face)) && self.has_way_back(name, face, |_| true);
        set_aside || self.removals.contains_key(name)
    }

    /// A new file stands where one was removed or moved aside: nothing is hidden any more.
    pub fn unhide(&mut self, name: &SecretName) {
        self.removals.remove(name);
        self.set_aside.retain(|(of, _)| of != name);
        self.movers.retain(|(of, _), _| of != name);
    }

    /// The draft that a file being created under `target` is, if `process` is its writer.
    pub fn creation(&self, target: &Target, process: Process) -> Option<DraftId> {
        let is_it = |draft: &Draft| {
            draft.target == *target && draft.opens > 0 && !draft.retired && draft.writers.contains(&process)
        };
        self.drafts.iter().find(|(_, draft)| is_it(draft)).map(|(id, _)| *id)
    }

    /// Sends a thread back from `ino`.
    pub fn bounce(&mut self, key: Bounced, ino: Ino, bytes: Option<Content>, now: Moment) {
        self.drop_late_bounces(now);
        let shown = self.tree.shown(ino);
        self.bounces.insert(key, Bounce { draft: None, shown, bytes, until: now + BOUNCE_LIMIT });
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

    /// Notes under which directory a secret's own is shown now. Gives back where the kernel may still have it.
    pub fn show_in(&mut self, name: &SecretName, parent: Ino) -> Option<Ino> {
        self.shown_in.insert(name.clone(), parent).filter(|before| *before != parent)
    }

    /// The directory above this one; of the root itself.
    pub fn above(&mut self, node: &Node) -> Ino {
        match node {
            Node::Dir(name) => match self.shown_in.get(name) {
                Some(parent) => *parent,
                None => self.tree.intern(&Node::Secrets),
            },
            Node::Versions(name) | Node::Certificate(name) => self.tree.intern(&Node::Dir(name.clone())),
            _ => ROOT,
        }
    }

    /// A reader was overtaken by a save, until it arrives.
    pub fn overtake(&mut self, thread: u32, name: &SecretName, now: Moment) {
        self.overtaken.retain(|_, overtaken| now.since(overtaken.at) < BOUNCE_LIMIT);
        self.overtaken.insert(thread, Overtaken { secret: name.clone(), at: now, found: None });
    }

    /// Whether it looks again because it was overtaken.
    pub fn is_overtaken(&self, thread: u32, name: &SecretName, now: Moment) -> bool {
        let is_it = |overtaken: &Overtaken| overtaken.secret == *name && now.since(overtaken.at) < BOUNCE_LIMIT;
        self.overtaken.get(&thread).is_some_and(is_it)
    }

    /// What it found when it looked again.
    pub fn has_found(&mut self, thread: u32, ino: Ino) {
        if let Some(overtaken) = self.overtaken.get_mut(&thread) {
            overtaken.found = Some(ino);
        }
    }

    /// Whether it was overtaken once more, on the way to what it found.
    pub fn is_overtaken_again(&self, thread: u32, ino: Ino) -> bool {
        self.overtaken.get(&thread).is_some_and(|overtaken| overtaken.found == Some(ino))
    }

    /// A reader was not overtaken.
    pub fn has_arrived(&mut self, thread: u32) {
        self.overtaken.remove(&thread);
    }

    /// Notes that a thread's look-up had no time left.
    pub fn look_up_was_late(&mut self, thread: u32, parent: Ino, name: &str, now: Moment) {
        self.late.retain(|_, (.., at)| now.since(*at) < REPEAT_LIMIT);
        if thread != 0 {
            self.late.insert(thread, (parent, name.to_owned(), now));
        }
    }

    /// Whether this is the kernel's repetition of a look-up that had no time left. Says so once.
    pub fn is_late_again(&mut self, thread: u32, parent: Ino, name: &str, now: Moment) -> bool {
        let is_it =
            |(dir, entry, at): (Ino, String, Moment)| dir == parent && entry == name && now.since(at) < REPEAT_LIMIT;
        self.late.remove(&thread).is_some_and(is_it)
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

    /// Whether somebody moved this file aside.
    pub fn was_moved(&self, name: &SecretName, face: Face) -> bool {
        !self.movers.is_empty() && self.movers.contains_key(&(name.clone(), face))
    }

    /// Whether `process` moved this file aside and has not put another in its place.
    pub fn is_mover(&self, file: (SecretName, Face), process: Process, now: Moment) -> bool {
        self.movers.get(&file).is_some_and(|(by, at)| process != 0 && *by == process && now.since(*at) < REMOVER_LIMIT)
    }

    /// The kernel forgets an inode.
    pub fn forget(&mut self, ino: Ino, count: u64) {
        if let Some(id) = self.tree.forget(ino, count) {
            self.drop_if_unused(id);
        }
        if !self.snapshots.is_empty() && self.tree.node(ino).is_none() {
            self.snapshots.remove(&ino);
        }
    }

    /// Whether nobody makes, saves, moves or removes anything: then a name means the same to everybody.
    pub fn is_quiet(&self, now: Moment) -> bool {
        let lately = |(_, at): &(Process, Moment)| now.since(*at) < REMOVER_LIMIT;
        self.drafts.is_empty()
            && self.bounces.is_empty()
            && self.newborn.is_empty()
            && self.removals.is_empty()
            && !self.ghosts.values().chain(self.movers.values()).any(lately)
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
