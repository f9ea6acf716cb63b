//! The reference: what section 2 of the design says of each step, on plain maps. Shares no code with `src/fs`.

mod backups;
mod content;
mod deleted;
mod files;
mod properties;
mod renaming;
mod saving;
mod sight;
mod vault;

use std::collections::{BTreeMap, BTreeSet};

use crate::op::{At, Dir, NAMES, Op, Others, Refusal};

pub use content::{Attributes, Secret, Version, pem};
pub use sight::{Face, Seen};

/// An errno, or done.
pub type Outcome = Result<(), i32>;

/// How long who lists, removes or moves a file is believed to be still at it.
const LISTED: u64 = 30_000;
/// How long a cache believes its own deletion or recovery against what the vault shows.
const SETTLES: u64 = 300_000;
const MAX: usize = 25_600;

/// How a mount is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub allow_purge: bool,
    pub always_set: bool,
    pub final_newline_as_before: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Target {
    Value(usize, Face),
    Scratch(At),
    Restore(&'static str),
    Nothing,
}

/// What a file of this name may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Growth {
    Free,
    Never,
    /// Nothing, or it is that secret's.
    Becomes(usize),
}

/// Bytes that a program is writing, or a temporary file.
#[derive(Clone, Debug)]
struct Draft {
    target: Target,
    bytes: Vec<u8>,
    dirty: bool,
    /// A write did not fit, so what is there is not what was meant.
    spoiled: bool,
    growth: Growth,
    writers: BTreeSet<u32>,
    /// The file it was moved aside from, and by whom.
    way_back: Option<(usize, Face, u32)>,
    /// The secret whose value it is, moved aside.
    copy_of: Option<usize>,
    renamed: bool,
    /// What an fsync was told that could not save it, if nothing was written since.
    unsynced: Option<i32>,
}

#[derive(Clone, Debug)]
enum File {
    Reader(Vec<u8>),
    Draft { id: usize, append: bool, writes: bool },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fd {
    pub p: u32,
    pub file: usize,
}

/// A change that the vault can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[rustfmt::skip]
enum Change { Set, Update, Delete, Recover, Purge, Restore }

/// All that there is.
#[derive(Clone, Debug)]
pub struct Reference {
    setup: Setup,
    pub now: u64,
    pub secrets: BTreeMap<usize, Secret>,
    /// Directories without a secret, and what their `.meta.json` said.
    pub newborn: BTreeMap<usize, Option<Attributes>>,
    pub removals: BTreeMap<usize, (u32, u64)>,
    set_aside: BTreeSet<(usize, Face)>,
    /// Who moved a file aside, and when: for him it is gone.
    movers: BTreeMap<(usize, Face), (u32, u64)>,
    ghosts: BTreeMap<usize, (u32, u64)>,
    listers: Vec<(usize, u32, u64)>,
    drafts: BTreeMap<usize, Draft>,
    files: BTreeMap<usize, File>,
    pub fds: Vec<Fd>,
    /// Secrets as they were when they were backed up.
    blobs: Vec<(usize, Secret)>,
    /// When this mount last deleted, recovered or restored a secret.
    moved: BTreeMap<usize, u64>,
    next: usize,
    /// What the vault refuses in the next step, and in this one.
    armed: Option<Refusal>,
    refuses: BTreeMap<Change, i32>,
    /// What the last step's closes may have kept to themselves: another descriptor looked like the closed one.
    pub may_be_silent: bool,
}

impl Reference {
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            now: 0,
            secrets: BTreeMap::new(),
            newborn: BTreeMap::new(),
            removals: BTreeMap::new(),
            set_aside: BTreeSet::new(),
            movers: BTreeMap::new(),
            ghosts: BTreeMap::new(),
            listers: Vec::new(),
            drafts: BTreeMap::new(),
            files: BTreeMap::new(),
            fds: Vec::new(),
            blobs: Vec::new(),
            moved: BTreeMap::new(),
            next: 0,
            armed: None,
            refuses: BTreeMap::new(),
            may_be_silent: false,
        }
    }

    /// The temporary files of a directory.
    pub fn scratch(&self, dir: Dir) -> BTreeMap<&'static str, &[u8]> {
        let of = |draft: &'_ Draft| match draft.target {
            Target::Scratch((its, name)) if its == dir => Some(name),
            _ => None,
        };
        self.drafts.values().filter_map(|draft| Some((of(draft)?, &draft.bytes[..]))).collect()
    }

    pub fn scratch_count(&self) -> usize {
        self.drafts.values().filter(|draft| matches!(draft.target, Target::Scratch(_))).count()
    }

    /// What a file that is open for reading must show.
    pub fn content(&self, fd: usize) -> Option<&[u8]> {
        match &self.files[&self.fd(fd)?.file] {
            File::Reader(bytes) => Some(bytes),
            File::Draft { id, writes: false, .. } => Some(&self.drafts[id].bytes),
            File::Draft { .. } => None,
        }
    }

    pub fn fd(&self, fd: usize) -> Option<Fd> {
        (!self.fds.is_empty()).then(|| self.fds[fd % self.fds.len()])
    }

    fn writes(&self, file: usize) -> bool {
        matches!(self.files.get(&file), Some(File::Draft { writes: true, .. }))
    }

    /// The service takes minutes for a deletion or recovery, in which "not found" means "not yet". So for that long a
    /// cache cannot tell that somebody else undid what this mount did, or went on with it.
    pub fn is_ambiguous(&self, op: &Op) -> bool {
        let Op::Others { n, what: Others::Delete | Others::Purge } = op else { return false };
        self.moved.get(n).is_some_and(|at| self.now - at < SETTLES)
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn is_late(&self, (by, at): &(u32, u64), p: u32) -> bool {
        *by == p && self.now - at < LISTED
    }

    /// A change is sent; the errno if the vault refuses it.
    fn send(&mut self, change: Change) -> Outcome {
        self.refuses.remove(&change).map_or(Ok(()), Err)
    }

    /// `None` for a step that says nothing here: there is no such descriptor, or what it finds is left open.
    pub fn step(&mut self, op: &Op) -> Option<Outcome> {
        self.may_be_silent = false;
        self.refuses.clear();
        if let Some(refusal) = self.armed.take() {
            let errno = match refusal {
                Refusal::Throttled => libc::EBUSY,
                Refusal::Managed => libc::EPERM,
                Refusal::Broken => libc::EIO,
            };
            use Change::*;
            self.refuses = [Set, Update, Delete, Recover, Purge, Restore].map(|change| (change, errno)).into();
        }
        match *op {
            Op::List { p, what } => Some(self.list(what, p)),
            Op::Mkdir { p, n } => Some(self.mkdir(n, p)),
            Op::MkdirOtherCase { n, .. } => {
                let taken = self.secrets.contains_key(&n) || self.newborn.contains_key(&n);
                taken.then_some(Err(libc::EEXIST))
            }
            Op::Rmdir { p, n } => Some(self.rmdir(n, p)),
            Op::Unlink { p, at } => self.unlink(at, p),
            Op::UnlinkVersion { p, n } => {
                self.live(n)?;
                Some(if self.may_clear(n, p) { Ok(()) } else { Err(libc::EPERM) })
            }
            Op::UnlinkGrave { p, n } => Some(self.unlink_grave(n, p)),
            Op::Open { p, at, how } => self.open(at, how, p),
            Op::Read { fd } => self.content(fd).map(|_| Ok(())),
            Op::Write { fd, at, data } => self.write(self.fd(fd)?, at, data.0),
            Op::Truncate { fd, size } => self.truncate(self.fd(fd)?, size),
            Op::TruncatePath { p, at, size } => self.truncate_path(at, p, size),
            Op::Fsync { fd } => Some(match self.files[&self.fd(fd)?.file] {
                File::Draft { id, .. } => self.sync(id),
                File::Reader(_) => Ok(()),
            }),
            Op::Fork { fd } => {
                let fd = self.fd(fd).filter(|fd| fd.p < 10)?;
                self.fds.push(Fd { p: fd.p + 10, ..fd });
                Some(Ok(()))
            }
            Op::Close { fd } => Some(self.close(self.fd(fd)?, false)),
            Op::Kill { p } => {
                let theirs: Vec<_> = self.fds.iter().filter(|fd| fd.p == p).copied().collect();
                // Who was killed hears nothing.
                for fd in theirs {
                    let _ = self.close(fd, true);
                }
                Some(Ok(()))
            }
            Op::Rename { p, from, to } => self.rename(from, to, p),
            Op::ToDeleted { p, n } => Some(self.move_to_deleted(n, p)),
            Op::Recover { p, n } => self.recover(n, p),
            Op::Purge { p, n } => Some(self.purge(n, p)),
            Op::Meta { p, n, how, patch } => self.edit(n, p, how, patch),
            Op::VersionMeta { p, n, back, patch } => self.edit_version(n, p, back, patch),
            Op::GraveMeta { p, n } => Some(self.look_at_grave(n, p).and(Err(libc::EPERM))),
            Op::SetXattr { p, at, name, text } => self.set_xattr(at, p, name, text),
            Op::RemoveTag { p, at } => self.remove_tag(at, p),
            Op::Backup { p, n } => self.back_up(n, p),
            Op::Restore { p, blob, name, renamed } => self.restore(blob, name, renamed, p),
            Op::Refresh { .. } => Some(Ok(())),
            Op::Others { n, what } => Some(self.others(n, what)),
            Op::Advance { ms } => {
                self.now += ms;
                let now = self.now;
                self.send_removals(|due| due <= now);
                Some(Ok(()))
            }
            Op::Remount => self.remount(),
            Op::VaultRefuses { kind } => {
                self.armed = Some(kind);
                Some(Ok(()))
            }
        }
    }

    fn remount(&mut self) -> Option<Outcome> {
        if !self.fds.is_empty() {
            return None;
        }
        self.send_removals(|_| true);
        self.newborn.clear();
        self.ghosts.clear();
        self.listers.clear();
        self.set_aside.clear();
        self.movers.clear();
        self.drafts.clear();
        Some(Ok(()))
    }
}

/// Whether a name in the directory of a secret is one that a secret could have.
fn is_legal(name: &str) -> bool {
    NAMES.contains(&name) || matches!(name, "4913" | "put")
}

/// The endings of temporary names that occur here.
fn is_temporary(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~')
}
