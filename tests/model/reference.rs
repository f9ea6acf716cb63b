//! The reference: what section 2 of the design says of each step, on plain maps. Shares no code with `src/fs`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::op::{NAMES, Op, Others, SCRATCH};

/// An errno, or done.
pub type Outcome = Result<(), i32>;

const DELETE_DELAY: u64 = 1_000;
const LISTED: u64 = 30_000;
const PURGE_AFTER: u64 = 3_600_000;
/// How long a cache believes its own deletion or recovery against what the vault shows.
const SETTLES: u64 = 300_000;
const MAX: usize = 25_600;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    pub enabled: Option<bool>,
    pub expires_on: Option<String>,
    pub content_type: Option<String>,
    pub tags: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug)]
pub struct Version {
    pub value: Vec<u8>,
    pub attributes: Attributes,
}

#[derive(Clone, Debug, Default)]
pub struct Secret {
    /// The last one is current.
    pub versions: Vec<Version>,
    pub deleted: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
enum Target {
    Value(usize),
    Scratch(usize, usize),
    Nothing,
}

#[derive(Clone, Debug)]
struct Draft {
    target: Target,
    bytes: Vec<u8>,
    dirty: bool,
    /// A write did not fit, so what is there is not what was meant.
    spoiled: bool,
    may_grow: bool,
    writers: BTreeSet<u32>,
    /// Whose way back to the value it was moved aside from.
    way_back: Option<u32>,
    renamed: bool,
}

#[derive(Clone, Debug)]
enum File {
    Reader(Vec<u8>),
    Draft { id: usize, append: bool },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fd {
    pub p: u32,
    pub file: usize,
}

/// All that there is.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    pub now: u64,
    pub secrets: BTreeMap<usize, Secret>,
    /// Directories without a secret, and what their `.meta.json` said.
    pub newborn: BTreeMap<usize, Option<Attributes>>,
    pub removals: BTreeMap<usize, (u32, u64)>,
    set_aside: BTreeSet<usize>,
    /// Who moved a value aside, and when: for him it is gone.
    movers: BTreeMap<usize, (u32, u64)>,
    ghosts: BTreeMap<usize, (u32, u64)>,
    listers: Vec<(usize, u32, u64)>,
    drafts: BTreeMap<usize, Draft>,
    files: BTreeMap<usize, File>,
    pub fds: Vec<Fd>,
    /// When this mount last deleted or recovered a secret.
    moved: BTreeMap<usize, u64>,
    next: usize,
    /// What the last step's closes may have kept to themselves: another descriptor looked like the closed one.
    pub may_be_silent: bool,
}

#[derive(PartialEq)]
enum Home {
    Live,
    Newborn,
    Ghost,
}

impl Reference {
    pub fn live(&self, n: usize) -> Option<&Secret> {
        self.secrets.get(&n).filter(|secret| secret.deleted.is_none())
    }

    pub fn is_deleted(&self, n: usize) -> bool {
        self.secrets.get(&n).is_some_and(|secret| secret.deleted.is_some())
    }

    pub fn is_hidden(&self, n: usize) -> bool {
        let aside = self.set_aside.contains(&n) && self.scratch_in(n).any(|draft| draft.way_back.is_some());
        self.removals.contains_key(&n) || aside
    }

    /// Whether `p` moved `value` aside: for him it is gone, whatever he still has open.
    fn has_moved(&self, n: usize, p: u32) -> bool {
        let moved = self.movers.get(&n).is_some_and(|(by, at)| *by == p && self.now - at < LISTED);
        moved && self.live(n).is_some() && !self.is_hidden(n)
    }

    /// Whether `value` is hidden from `p`, if only from him.
    fn is_hidden_from(&self, n: usize, p: u32) -> bool {
        self.has_moved(n, p) || self.is_hidden(n)
    }

    /// The temporary files of a directory, by their place in [`SCRATCH`].
    pub fn scratch(&self, n: usize) -> BTreeMap<usize, &[u8]> {
        let of = |draft: &'_ Draft| match draft.target {
            Target::Scratch(dir, s) if dir == n => Some(s),
            _ => None,
        };
        self.drafts.values().filter_map(|draft| Some((of(draft)?, &draft.bytes[..]))).collect()
    }

    pub fn scratch_count(&self) -> usize {
        (0..NAMES.len()).map(|n| self.scratch(n).len()).sum()
    }

    /// What a reader that is open must see.
    pub fn content(&self, fd: usize) -> Option<&[u8]> {
        match &self.files[&self.fd(fd)?.file] {
            File::Reader(bytes) => Some(bytes),
            File::Draft { .. } => None,
        }
    }

    pub fn fd(&self, fd: usize) -> Option<Fd> {
        (!self.fds.is_empty()).then(|| self.fds[fd % self.fds.len()])
    }

    pub fn is_reader(&self, file: usize) -> bool {
        matches!(self.files.get(&file), Some(File::Reader(_)))
    }

    /// The service takes minutes for a deletion or recovery, in which "not found" means "not yet". So for that long a
    /// cache cannot tell that somebody else undid what this mount did, or went on with it.
    pub fn is_ambiguous(&self, op: &Op) -> bool {
        let Op::Others { n, what: Others::Delete | Others::Purge } = op else { return false };
        self.moved.get(n).is_some_and(|at| self.now - at < SETTLES)
    }

    fn scratch_in(&self, n: usize) -> impl Iterator<Item = &Draft> {
        self.drafts.values().filter(move |draft| matches!(draft.target, Target::Scratch(dir, _) if dir == n))
    }

    fn home(&self, n: usize, p: u32) -> Result<Home, i32> {
        if self.live(n).is_some() {
            return Ok(Home::Live);
        }
        if self.newborn.contains_key(&n) {
            return Ok(Home::Newborn);
        }
        let ghost = self.ghosts.get(&n).is_some_and(|(by, at)| *by == p && self.now - at < LISTED);
        if ghost { Ok(Home::Ghost) } else { Err(libc::ENOENT) }
    }

    fn current(&self, n: usize) -> Option<&Version> {
        self.live(n)?.versions.last()
    }

    fn is_disabled(&self, n: usize) -> bool {
        self.current(n).is_some_and(|version| version.attributes.enabled == Some(false))
    }

    /// A new file that `p` is writing where others see none. More than one cannot be told apart.
    fn own_creations(&self, n: usize, p: u32) -> Vec<usize> {
        if self.has_moved(n, p) {
            return Vec::new();
        }
        let is_it = |draft: &Draft| draft.target == Target::Value(n) && !draft.renamed && draft.writers.contains(&p);
        self.drafts.iter().filter(|(_, draft)| is_it(draft)).map(|(id, _)| *id).collect()
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn open(&mut self, p: u32, file: File) {
        let number = self.number();
        self.files.insert(number, file);
        self.fds.push(Fd { p, file: number });
    }

    fn new_draft(&mut self, target: Target, bytes: Vec<u8>, dirty: bool, may_grow: bool) -> usize {
        let id = self.number();
        let (writers, way_back, renamed) = (BTreeSet::new(), None, false);
        self.drafts.insert(id, Draft { target, bytes, dirty, spoiled: false, may_grow, writers, way_back, renamed });
        id
    }

    fn open_draft(&mut self, p: u32, id: usize, truncate: bool, append: bool) {
        if let Some(draft) = self.drafts.get_mut(&id) {
            draft.writers.insert(p);
            if truncate {
                draft.spoiled = false;
                draft.bytes.clear();
                draft.dirty = true;
            }
        }
        self.open(p, File::Draft { id, append });
    }

    fn saved(&mut self, n: usize) {
        self.set_aside.remove(&n);
        self.movers.remove(&n);
        for draft in self.drafts.values_mut() {
            if matches!(draft.target, Target::Scratch(dir, _) if dir == n) {
                draft.way_back = None;
            }
        }
    }

    /// "Bytes that equal the current value make no new version"; content type, tags and enabled are carried over.
    fn save_value(&mut self, n: usize, bytes: &[u8]) -> Outcome {
        if std::str::from_utf8(bytes).is_err() {
            return Err(libc::EILSEQ);
        }
        if self.is_disabled(n) {
            return Err(libc::EACCES);
        }
        if self.is_deleted(n) {
            return Err(libc::EEXIST);
        }
        let attributes = match self.current(n) {
            Some(current) if current.value == bytes => {
                self.saved(n);
                return Ok(());
            }
            Some(current) => Attributes { expires_on: None, ..current.attributes.clone() },
            None => self.newborn.get(&n).cloned().flatten().unwrap_or_default(),
        };
        let attributes = Attributes { enabled: Some(attributes.enabled.unwrap_or(true)), ..attributes };
        self.secrets.entry(n).or_default().versions.push(Version { value: bytes.to_vec(), attributes });
        self.newborn.remove(&n);
        self.removals.remove(&n);
        self.ghosts.remove(&n);
        self.saved(n);
        Ok(())
    }

    fn save(&mut self, id: usize) -> Outcome {
        let Some(draft) = self.drafts.get(&id).filter(|draft| draft.dirty).cloned() else { return Ok(()) };
        if let Target::Value(n) = draft.target {
            if draft.spoiled {
                return Err(libc::EFBIG);
            }
            self.save_value(n, &draft.bytes)?;
        }
        self.clean(id);
        Ok(())
    }

    fn clean(&mut self, id: usize) {
        if let Some(draft) = self.drafts.get_mut(&id) {
            draft.dirty = false;
        }
    }

    fn drop_unused(&mut self) {
        let used: BTreeSet<usize> = self
            .files
            .values()
            .filter_map(|file| match file {
                File::Draft { id, .. } => Some(*id),
                File::Reader(_) => None,
            })
            .collect();
        self.drafts.retain(|id, draft| used.contains(id) || matches!(draft.target, Target::Scratch(..)));
    }

    fn nameless(&mut self, which: impl Fn(&Draft) -> bool) {
        for draft in self.drafts.values_mut().filter(|draft| which(draft)) {
            (draft.target, draft.dirty) = (Target::Nothing, false);
        }
        self.drop_unused();
    }

    fn close(&mut self, fd: Fd, killed: bool) -> Outcome {
        let place = self.fds.iter().position(|other| *other == fd).expect("an open descriptor");
        self.fds.remove(place);
        let last = !self.fds.iter().any(|other| other.file == fd.file);
        let File::Draft { id, .. } = self.files[&fd.file] else {
            if last {
                self.files.remove(&fd.file);
            }
            return Ok(());
        };
        self.drafts.get_mut(&id).expect("a draft that is open").writers.insert(fd.p);
        if !last {
            return Ok(());
        }
        self.files.remove(&fd.file);
        let shared = self.files.values().any(|file| matches!(file, File::Draft { id: other, .. } if *other == id));
        if shared && killed {
            return Ok(());
        }
        self.may_be_silent |= self.fds.iter().any(|other| !self.is_reader(other.file));
        let outcome = if killed || shared { Ok(()) } else { self.save(id) };
        if !shared {
            self.clean(id);
        }
        self.drop_unused();
        outcome
    }

    /// Soft deletion, however it was asked for.
    fn delete(&mut self, n: usize, by: Option<u32>) {
        self.moved.insert(n, self.now);
        self.removals.remove(&n);
        self.set_aside.remove(&n);
        self.movers.remove(&n);
        if let Some(secret) = self.secrets.get_mut(&n).filter(|secret| secret.deleted.is_none()) {
            secret.deleted = Some(self.now);
        }
        self.nameless(|draft| matches!(draft.target, Target::Scratch(dir, _) if dir == n));
        match by {
            Some(by) => self.ghosts.insert(n, (by, self.now)),
            None => self.ghosts.remove(&n),
        };
    }

    fn send_removals(&mut self, due: impl Fn(u64) -> bool) {
        let sent: Vec<_> = self.removals.iter().filter(|(_, (_, at))| due(*at)).map(|(n, (by, _))| (*n, *by)).collect();
        sent.into_iter().for_each(|(n, by)| self.delete(n, Some(by)));
    }

    fn may_clear(&self, n: usize, p: u32) -> bool {
        let lists = |(dir, by, at): &(usize, u32, u64)| *dir == n && *by == p && self.now - at < LISTED;
        self.removals.get(&n).is_some_and(|(by, _)| *by == p)
            || self.listers.iter().any(lists)
            || self.ghosts.get(&n).is_some_and(|(by, at)| *by == p && self.now - at < LISTED)
    }

    /// `None` for a step that says nothing here: there is no such descriptor, or what it finds is left open.
    pub fn step(&mut self, op: &Op) -> Option<Outcome> {
        self.may_be_silent = false;
        let outcome = match op {
            Op::ListSecrets { .. } => Ok(()),
            Op::ListSecret { p, n } => self.list(*n, *p),
            Op::ListDeleted { .. } => {
                self.send_removals(|_| true);
                Ok(())
            }
            Op::Mkdir { p, n } => self.mkdir(*n, *p),
            Op::MkdirOtherCase { n, .. } => {
                let taken = self.secrets.contains_key(n) || self.newborn.contains_key(n);
                return taken.then_some(Err(libc::EEXIST));
            }
            Op::Rmdir { p, n } => self.rmdir(*n, *p),
            Op::UnlinkValue { p, n } => self.unlink_value(*n, *p),
            Op::UnlinkMeta { p, n } => self.unlink_meta(*n, *p),
            Op::UnlinkVersion { p, n } => {
                self.live(*n)?;
                if self.may_clear(*n, *p) { Ok(()) } else { Err(libc::EPERM) }
            }
            Op::UnlinkScratch { p, n, s } => self.unlink_scratch(*n, *s, *p),
            Op::OpenRead { p, n } => self.open_read(*n, *p)?,
            Op::OpenWrite { p, n, truncate, append } => self.open_write(*n, *p, *truncate, *append)?,
            Op::CreateScratch { p, n, s, mkstemp } => self.create_scratch(*n, *s, *p, *mkstemp)?,
            Op::CreateOther { p, n } => match self.home(*n, *p) {
                Ok(Home::Ghost) => Err(libc::EPERM),
                Ok(_) => Err(libc::EINVAL),
                Err(errno) => Err(errno),
            },
            Op::Read { fd } => self.content(*fd).map(|_| Ok(()))?,
            Op::Write { fd, at, data } => self.write(self.fd(*fd)?, *at, data)?,
            Op::Truncate { fd, size } => self.truncate(self.fd(*fd)?, *size)?,
            Op::TruncatePath { p, n, size } => self.truncate_path(*n, *p, *size)?,
            Op::Fsync { fd } => match self.files[&self.fd(*fd)?.file] {
                File::Draft { id, .. } => self.save(id),
                File::Reader(_) => Ok(()),
            },
            Op::Fork { fd } => {
                let fd = self.fd(*fd).filter(|fd| fd.p < 10)?;
                self.fds.push(Fd { p: fd.p + 10, ..fd });
                Ok(())
            }
            Op::Close { fd } => self.close(self.fd(*fd)?, false),
            Op::Kill { p } => {
                let theirs: Vec<_> = self.fds.iter().filter(|fd| fd.p == *p).copied().collect();
                for fd in theirs {
                    // Who was killed hears nothing.
                    let _ = self.close(fd, true);
                }
                Ok(())
            }
            Op::RenameOver { p, n, s, to } => self.rename_over(*n, *s, *to, *p)?,
            Op::RenameScratch { p, n, s, to, new } => self.rename_scratch((*n, *s), (*to, *new), *p)?,
            Op::MoveAside { p, n, s } => self.move_aside(*n, *s, *p)?,
            Op::ToDeleted { p, n } => self.move_to_deleted(*n, *p),
            Op::Recover { n, .. } => self.recover(*n)?,
            Op::Purge { n, .. } => self.purge(*n),
            Op::Meta { p, n, patch } => self.meta(*n, *p, patch),
            Op::SetXattr { p, n, name, text } => self.set_xattr(*n, *p, name, text)?,
            Op::RemoveTag { p, n } => self.remove_tag(*n, *p)?,
            Op::Others { n, what } => self.others(*n, what),
            Op::Advance { ms } => {
                self.now += ms;
                let now = self.now;
                self.send_removals(|due| due <= now);
                Ok(())
            }
            Op::Remount => self.remount()?,
        };
        Some(outcome)
    }

    fn list(&mut self, n: usize, p: u32) -> Outcome {
        self.home(n, p)?;
        self.listers.push((n, p, self.now));
        Ok(())
    }

    fn mkdir(&mut self, n: usize, p: u32) -> Outcome {
        if self.home(n, p).is_ok() || self.is_deleted(n) {
            return Err(libc::EEXIST);
        }
        self.newborn.insert(n, None);
        self.ghosts.remove(&n);
        Ok(())
    }

    fn rmdir(&mut self, n: usize, p: u32) -> Outcome {
        match self.home(n, p)? {
            Home::Live => self.delete(n, None),
            Home::Newborn => {
                self.newborn.remove(&n);
                self.nameless(|draft| matches!(draft.target, Target::Value(dir) | Target::Scratch(dir, _) if dir == n));
            }
            Home::Ghost => {
                self.ghosts.remove(&n);
            }
        }
        Ok(())
    }

    /// Whether `p` finds a `value` at all: the vault's, or the new one that it is writing itself.
    fn finds_value(&self, n: usize, p: u32) -> Outcome {
        match self.home(n, p)? {
            Home::Live if !self.is_hidden_from(n, p) => Ok(()),
            Home::Ghost => Ok(()),
            Home::Live | Home::Newborn if !self.own_creations(n, p).is_empty() => Ok(()),
            Home::Live | Home::Newborn => Err(libc::ENOENT),
        }
    }

    fn unlink_value(&mut self, n: usize, p: u32) -> Outcome {
        self.finds_value(n, p)?;
        match self.home(n, p)? {
            Home::Ghost => return Ok(()),
            Home::Newborn => {
                self.nameless(|draft| draft.target == Target::Value(n));
                return Ok(());
            }
            Home::Live => {}
        }
        self.nameless(|draft| draft.target == Target::Value(n) && !draft.renamed && draft.writers.contains(&p));
        if self.scratch_in(n).any(|draft| draft.way_back == Some(p)) {
            self.set_aside.insert(n);
        } else {
            self.removals.insert(n, (p, self.now + DELETE_DELAY));
        }
        Ok(())
    }

    fn unlink_meta(&mut self, n: usize, p: u32) -> Outcome {
        match self.home(n, p)? {
            Home::Newborn => self.newborn.get_mut(&n).and_then(Option::take).map(drop).ok_or(libc::ENOENT),
            Home::Ghost => Ok(()),
            Home::Live if self.may_clear(n, p) => Ok(()),
            Home::Live => Err(libc::EPERM),
        }
    }

    fn unlink_scratch(&mut self, n: usize, s: usize, p: u32) -> Outcome {
        self.home(n, p)?;
        if !self.scratch(n).contains_key(&s) {
            return Err(libc::ENOENT);
        }
        self.nameless(|draft| draft.target == Target::Scratch(n, s));
        Ok(())
    }

    fn open_read(&mut self, n: usize, p: u32) -> Option<Outcome> {
        if let Err(errno) = self.home(n, p) {
            return Some(Err(errno));
        }
        let current = self.current(n).cloned()?;
        if self.is_hidden_from(n, p) {
            return self.own_creations(n, p).is_empty().then_some(Err(libc::ENOENT));
        }
        if current.attributes.enabled == Some(false) {
            return Some(Err(libc::EACCES));
        }
        self.open(p, File::Reader(current.value));
        Some(Ok(()))
    }

    fn open_write(&mut self, n: usize, p: u32, truncate: bool, append: bool) -> Option<Outcome> {
        let home = match self.home(n, p) {
            Ok(Home::Ghost) => return Some(Err(libc::ENOENT)),
            Err(errno) => return Some(Err(errno)),
            Ok(home) => home,
        };
        if self.is_disabled(n) {
            return Some(Err(libc::EACCES)).filter(|_| self.own_creations(n, p).is_empty());
        }
        if home == Home::Live && !self.is_hidden_from(n, p) {
            let bytes = self.current(n).map(|current| current.value.clone()).unwrap_or_default();
            let id = self.new_draft(Target::Value(n), bytes, false, true);
            self.open_draft(p, id, truncate, append);
            return Some(Ok(()));
        }
        match self.own_creations(n, p)[..] {
            [] => {
                self.removals.remove(&n);
                self.set_aside.remove(&n);
                self.movers.remove(&n);
                let id = self.new_draft(Target::Value(n), Vec::new(), true, true);
                self.open_draft(p, id, truncate, append);
            }
            [id] => self.open_draft(p, id, truncate, append),
            _ => return None,
        }
        Some(Ok(()))
    }

    fn create_scratch(&mut self, n: usize, s: usize, p: u32, mkstemp: bool) -> Option<Outcome> {
        match self.home(n, p) {
            Ok(Home::Ghost) => return Some(Err(libc::EPERM)),
            Err(errno) => return Some(Err(errno)),
            Ok(_) if self.scratch(n).contains_key(&s) => return Some(Err(libc::EEXIST)),
            Ok(_) => {}
        }
        let may_grow = mkstemp || SCRATCH[s] != "4913";
        let id = self.new_draft(Target::Scratch(n, s), Vec::new(), false, may_grow);
        self.open_draft(p, id, false, false);
        Some(Ok(()))
    }

    fn change(&mut self, id: usize, act: impl FnOnce(&mut Vec<u8>)) -> Outcome {
        let draft = self.drafts.get_mut(&id).expect("an open draft");
        let mut bytes = draft.bytes.clone();
        act(&mut bytes);
        if !bytes.is_empty() && !draft.may_grow {
            return Err(libc::EINVAL);
        }
        if bytes.len() > MAX && matches!(draft.target, Target::Value(_)) {
            return Err(libc::EFBIG);
        }
        (draft.bytes, draft.dirty) = (bytes, true);
        Ok(())
    }

    fn write(&mut self, fd: Fd, at: u64, data: &[u8]) -> Option<Outcome> {
        let File::Draft { id, append } = self.files[&fd.file] else { return None };
        self.drafts.get_mut(&id)?.writers.insert(fd.p);
        let outcome = self.change(id, |bytes| {
            let at = if append { bytes.len() } else { at as usize };
            bytes.resize(bytes.len().max(at + data.len()), 0);
            bytes[at..at + data.len()].copy_from_slice(data);
        });
        self.drafts.get_mut(&id)?.spoiled |= outcome.is_err();
        Some(outcome)
    }

    fn truncate(&mut self, fd: Fd, size: u64) -> Option<Outcome> {
        let File::Draft { id, .. } = self.files[&fd.file] else { return None };
        let outcome = self.change(id, |bytes| bytes.resize(size as usize, 0));
        self.drafts.get_mut(&id)?.spoiled &= outcome.is_err();
        Some(outcome)
    }

    fn truncate_path(&mut self, n: usize, p: u32, size: u64) -> Option<Outcome> {
        if let Err(errno) = self.home(n, p) {
            return Some(Err(errno));
        }
        if self.live(n).is_none() || self.is_hidden_from(n, p) {
            return self
                .own_creations(n, p)
                .is_empty()
                .then_some(Err(libc::ENOENT))
                .filter(|_| !matches!(self.home(n, p), Ok(Home::Ghost)));
        }
        if self.is_disabled(n) {
            return Some(Err(libc::EACCES));
        }
        if size as usize > MAX {
            return Some(Err(libc::EFBIG));
        }
        let mut bytes = self.current(n)?.value.clone();
        bytes.resize(size as usize, 0);
        Some(self.save_value(n, &bytes))
    }

    fn rename_over(&mut self, n: usize, s: usize, to: usize, p: u32) -> Option<Outcome> {
        let homes = (self.home(n, p), self.home(to, p));
        let id = self.drafts.iter().find(|(_, draft)| draft.target == Target::Scratch(n, s)).map(|(id, _)| *id);
        let id = match (homes, id) {
            ((Err(errno), _), _) | ((_, Err(errno)), _) => return Some(Err(errno)),
            (_, None) => return Some(Err(libc::ENOENT)),
            ((_, Ok(Home::Ghost)), _) => return Some(Err(libc::EPERM)),
            (_, Some(id)) => id,
        };
        self.removals.remove(&to);
        self.movers.remove(&to);
        let bytes = self.drafts[&id].bytes.clone();
        if bytes.len() > MAX || self.drafts[&id].spoiled {
            return Some(Err(libc::EFBIG));
        }
        if let Err(errno) = self.save_value(to, &bytes) {
            return Some(Err(errno));
        }
        let draft = self.drafts.get_mut(&id)?;
        (draft.target, draft.renamed, draft.dirty) = (Target::Value(to), true, false);
        self.drop_unused();
        Some(Ok(()))
    }

    fn rename_scratch(&mut self, (n, s): (usize, usize), (to, new): (usize, usize), p: u32) -> Option<Outcome> {
        if let Err(errno) = self.home(n, p).and(self.home(to, p)) {
            return Some(Err(errno));
        }
        if !self.scratch(n).contains_key(&s) {
            return Some(Err(libc::ENOENT));
        }
        if matches!(self.home(to, p), Ok(Home::Ghost)) {
            return Some(Err(libc::EPERM));
        }
        if (n, s) == (to, new) {
            return Some(Ok(()));
        }
        self.nameless(|draft| draft.target == Target::Scratch(to, new));
        let draft = self.drafts.values_mut().find(|draft| draft.target == Target::Scratch(n, s))?;
        draft.target = Target::Scratch(to, new);
        if n != to {
            draft.way_back = None;
        }
        Some(Ok(()))
    }

    fn move_aside(&mut self, n: usize, s: usize, p: u32) -> Option<Outcome> {
        if let Err(errno) = self.home(n, p) {
            return Some(Err(errno));
        }
        if self.live(n).is_none() || self.is_hidden_from(n, p) {
            return None;
        }
        if self.is_disabled(n) {
            return Some(Err(libc::EACCES));
        }
        self.nameless(|draft| draft.target == Target::Scratch(n, s));
        self.set_aside.remove(&n);
        self.movers.insert(n, (p, self.now));
        let bytes = self.current(n)?.value.clone();
        let id = self.new_draft(Target::Scratch(n, s), bytes, false, true);
        self.drafts.get_mut(&id)?.way_back = Some(p);
        Some(Ok(()))
    }

    fn move_to_deleted(&mut self, n: usize, p: u32) -> Outcome {
        let home = self.home(n, p)?;
        self.send_removals(|_| true);
        match home {
            Home::Newborn if self.live(n).is_none() => Err(libc::EPERM),
            _ if self.live(n).is_none() => Err(libc::ENOENT),
            _ => {
                self.delete(n, None);
                Ok(())
            }
        }
    }

    fn recover(&mut self, n: usize) -> Option<Outcome> {
        self.send_removals(|_| true);
        if !self.is_deleted(n) {
            return Some(Err(libc::ENOENT));
        }
        if self.newborn.contains_key(&n) {
            return None;
        }
        self.secrets.get_mut(&n)?.deleted = None;
        self.moved.insert(n, self.now);
        self.ghosts.remove(&n);
        Some(Ok(()))
    }

    fn purge(&mut self, n: usize) -> Outcome {
        self.send_removals(|_| true);
        let secret = self.secrets.get(&n).filter(|secret| secret.deleted.is_some()).ok_or(libc::ENOENT)?;
        // The vault's dates are whole seconds.
        if self.now / 1000 - secret.deleted.unwrap_or(0) / 1000 < PURGE_AFTER / 1000 {
            return Err(libc::EPERM);
        }
        self.secrets.remove(&n);
        Ok(())
    }

    fn meta(&mut self, n: usize, p: u32, patch: &str) -> Outcome {
        let home = self.home(n, p)?;
        if home == Home::Ghost {
            return Err(libc::EPERM);
        }
        let Ok(Value::Object(members)) = serde_json::from_str(patch) else { return Err(libc::EINVAL) };
        let mut new = match home {
            Home::Live => self.current(n).expect("a live secret").attributes.clone(),
            _ => Attributes::default(),
        };
        for (key, value) in members {
            match (key.as_str(), value) {
                ("enabled", Value::Bool(enabled)) => new.enabled = Some(enabled),
                ("content_type" | "expires_on", Value::Null) => return Err(libc::EOPNOTSUPP),
                ("content_type", Value::String(text)) => new.content_type = Some(text),
                ("expires_on", Value::String(text)) => new.expires_on = Some(text),
                ("tags", Value::Object(tags)) => {
                    let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
                    new.tags = Some(tags.into_iter().map(|(key, value)| (key, text(value))).collect());
                }
                _ => return Err(libc::EINVAL),
            }
        }
        match home {
            Home::Live => self.secrets.get_mut(&n).and_then(|s| s.versions.last_mut()).expect("live").attributes = new,
            _ => drop(self.newborn.insert(n, Some(new))),
        }
        Ok(())
    }

    fn attributes(&mut self, n: usize, p: u32) -> Option<Result<&mut Attributes, i32>> {
        if self.live(n).is_none() || self.is_hidden_from(n, p) {
            return None;
        }
        Some(Ok(&mut self.secrets.get_mut(&n)?.versions.last_mut()?.attributes))
    }

    fn set_xattr(&mut self, n: usize, p: u32, name: &str, text: &str) -> Option<Outcome> {
        let attributes = match self.attributes(n, p)? {
            Ok(attributes) => attributes,
            Err(errno) => return Some(Err(errno)),
        };
        Some(match (name, text) {
            ("content_type", _) => {
                attributes.content_type = Some(text.to_owned());
                Ok(())
            }
            ("enabled", "true" | "false") => {
                attributes.enabled = Some(text == "true");
                Ok(())
            }
            ("tag.k", _) => {
                attributes.tags.get_or_insert_default().insert("k".to_owned(), text.to_owned());
                Ok(())
            }
            ("enabled", _) => Err(libc::EINVAL),
            ("version", _) => Err(libc::EPERM),
            _ => Err(libc::EOPNOTSUPP),
        })
    }

    fn remove_tag(&mut self, n: usize, p: u32) -> Option<Outcome> {
        let attributes = match self.attributes(n, p)? {
            Ok(attributes) => attributes,
            Err(errno) => return Some(Err(errno)),
        };
        let removed = attributes.tags.as_mut().and_then(|tags| tags.remove("k"));
        Some(removed.map(drop).ok_or(libc::ENODATA))
    }

    fn others(&mut self, n: usize, what: &Others) -> Outcome {
        match what {
            Others::Set(text) if !self.is_deleted(n) => {
                let attributes = Attributes { enabled: Some(true), ..Attributes::default() };
                let version = Version { value: text.clone().into_bytes(), attributes };
                self.secrets.entry(n).or_default().versions.push(version);
                self.newborn.remove(&n);
            }
            Others::Delete if self.live(n).is_some() => {
                self.secrets.get_mut(&n).expect("there").deleted = Some(self.now)
            }
            Others::Recover if self.is_deleted(n) => self.secrets.get_mut(&n).expect("there").deleted = None,
            Others::Purge if self.is_deleted(n) => drop(self.secrets.remove(&n)),
            Others::Enable(enabled) if self.live(n).is_some() => {
                let secret = self.secrets.get_mut(&n).expect("there");
                secret.versions.last_mut().expect("one").attributes.enabled = Some(*enabled);
            }
            Others::Tag(text) if self.live(n).is_some() => {
                let tags = BTreeMap::from([("t".to_owned(), (*text).to_owned())]);
                let secret = self.secrets.get_mut(&n).expect("there");
                secret.versions.last_mut().expect("one").attributes.tags = Some(tags);
            }
            _ => {}
        }
        if self.live(n).is_some() {
            self.newborn.remove(&n);
        }
        Ok(())
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
