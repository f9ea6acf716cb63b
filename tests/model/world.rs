//! The filesystem under test on a model vault, with the kernel's part played by the test: it walks paths by look-ups,
//! opens again after ESTALE, keeps what is open, and forgets the rest.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use akvfs::cache::{CacheOptions, CachedStore};
use akvfs::fs::attr::Entry;
use akvfs::fs::errno::{FsError, FsResult};
use akvfs::fs::processes::Processes;
use akvfs::fs::tree::{Ino, ROOT};
use akvfs::fs::{Call, Change, FsOptions, Kernel, Notice, OpenFlags, RenameMode, SecretFs};
use akvfs::secret::Version;
use akvfs::store::{ErrorKind, Operation, SecretStore, Wait};

use crate::op::{ALIAS, At, Dir, Edit, How, Listed, META, NAMES, Op, Refusal};
use crate::others::change;
use crate::reference::{Fd, Outcome, Setup};
use crate::support::{ManualClock, ModelStore, name};

pub const TTL: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(15);

/// The process that looks on.
pub const LOOKER: u32 = 99;

/// Threads are processes plus this. A process above 10 is a child of the one ten below.
const THREADS: u32 = 100;

#[derive(Default)]
struct Table {
    /// Process, and both numbers of what it holds open for writing.
    open: Mutex<Vec<(u32, Ino, Ino)>>,
    killed: Mutex<BTreeSet<u32>>,
}

impl Processes for Table {
    fn of_thread(&self, thread: u32) -> u32 {
        thread - THREADS
    }

    fn descends(&self, process: u32, ancestors: &BTreeSet<u32>) -> bool {
        ancestors.contains(&process) || (process > 10 && ancestors.contains(&(process - 10)))
    }

    fn may_write(&self, processes: &BTreeSet<u32>, inodes: &[Ino]) -> bool {
        let open = self.open.lock().expect("whole");
        open.iter()
            .any(|(p, node, shown)| self.descends(*p, processes) && (inodes.contains(node) || inodes.contains(shown)))
    }

    fn was_killed(&self, thread: u32) -> bool {
        self.killed.lock().expect("whole").contains(&(thread - THREADS))
    }
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Notice>>);

impl Kernel for Recorder {
    fn tell(&self, notice: Notice) {
        self.0.lock().expect("whole").push(notice);
    }

    fn settle(&self, _limit: Duration) {}
}

/// A descriptor as the kernel holds it.
pub struct Open {
    pub handle: u64,
    node: Ino,
    shown: Ino,
    write: bool,
}

pub struct World {
    pub vault: Arc<ModelStore>,
    pub store: Arc<dyn SecretStore>,
    cached: bool,
    clock: Arc<ManualClock>,
    table: Arc<Table>,
    kernel: Arc<Recorder>,
    pub fs: SecretFs,
    pub files: BTreeMap<usize, Open>,
    looked_up: RefCell<Vec<Ino>>,
    /// Where the looker-on has been.
    walked: RefCell<BTreeMap<String, Ino>>,
    setup: Setup,
    /// What was read in `backup/`.
    blobs: Vec<Vec<u8>>,
    /// Every version there ever was, in the order they were made: their names are in none.
    made: BTreeMap<Version, usize>,
}

fn errno<T>(result: FsResult<T>) -> Result<T, i32> {
    result.map_err(|error| error.errno())
}

impl World {
    pub fn new(cached: bool, setup: Setup) -> Self {
        let clock = ManualClock::shared();
        let vault = ModelStore::new(clock.clone());
        let (table, kernel) = (Arc::<Table>::default(), Arc::<Recorder>::default());
        let store = store(&vault, cached, &clock);
        let fs = mount(&store, &clock, &table, &kernel, setup);
        let (files, looked_up, walked, blobs, made) = Default::default();
        Self { vault, store, cached, clock, table, kernel, fs, files, looked_up, walked, setup, blobs, made }
    }

    fn call(&self, p: u32) -> Call {
        Call { uid: p, gid: p, thread: p + THREADS, wait: Wait::at_most(&*self.clock, LIMIT) }
    }

    /// As the adapter does: from memory, and if that cannot be, with time to wait.
    fn ask<T>(&self, p: u32, act: impl Fn(&Call) -> FsResult<T>) -> FsResult<T> {
        match act(&Call { wait: Wait::No, ..self.call(p) }) {
            Err(error) if error.is_not_in_memory() => act(&self.call(p)),
            answer => answer,
        }
    }

    pub fn lookup(&self, p: u32, parent: Ino, name: &str) -> FsResult<Entry> {
        let entry = self.ask(p, |call| self.fs.lookup(call, parent, name))?;
        self.looked_up.borrow_mut().push(entry.node);
        Ok(entry)
    }

    pub fn walk(&self, p: u32, path: &[&str]) -> Result<Entry, i32> {
        let (last, dirs) = path.split_last().expect("a path with parts");
        let parent = self.walk_to(p, dirs)?;
        errno(self.lookup(p, parent, last))
    }

    /// A directory. Between two steps the kernel would not ask twice either.
    fn walk_to(&self, p: u32, path: &[&str]) -> Result<Ino, i32> {
        let Some((last, dirs)) = path.split_last() else { return Ok(ROOT) };
        let key = (p == LOOKER).then(|| path.join("/"));
        if let Some(ino) = key.as_ref().and_then(|key| self.walked.borrow().get(key).copied()) {
            return Ok(ino);
        }
        let ino = errno(self.lookup(p, self.walk_to(p, dirs)?, last))?.node;
        self.walked.borrow_mut().extend(key.map(|key| (key, ino)));
        Ok(ino)
    }

    fn dir(&self, p: u32, dir: Dir) -> Result<Ino, i32> {
        self.walk(p, &path(dir)).map(|entry| entry.node)
    }

    fn node(&self, p: u32, at: At) -> Result<Ino, i32> {
        let dir = self.dir(p, at.0)?;
        errno(self.lookup(p, dir, at.1)).map(|entry| entry.node)
    }

    /// The kernel lets go of everything that is not open.
    pub fn forget(&self) {
        self.walked.borrow_mut().clear();
        self.looked_up.borrow_mut().drain(..).for_each(|ino| self.fs.forget(ino, 1));
    }

    pub fn names(&self, p: u32, path: &[&str]) -> Result<Vec<String>, i32> {
        self.names_of(p, self.walk(p, path)?.node)
    }

    pub fn names_of(&self, p: u32, ino: Ino) -> Result<Vec<String>, i32> {
        let handle = errno(self.ask(p, |call| self.fs.opendir(call, ino)))?;
        let mut known = 0;
        let entries = loop {
            let entries = self.ask(p, |call| self.fs.readdir(call, handle, known));
            match &entries {
                Ok(more) if more.len() > known => known = more.len(),
                _ => break entries,
            }
        };
        self.fs.releasedir(handle);
        let names: Vec<_> = errno(entries)?.iter().map(|entry| entry.name.clone()).collect();
        assert_eq!(names[..2], [".", ".."]);
        Ok(names[2..].to_vec())
    }

    /// The bytes, the size that stat shows, and the permissions.
    pub fn read(&self, p: u32, path: &[&str]) -> Result<(Vec<u8>, u64, u16), i32> {
        let mut tries = 0;
        loop {
            let node = self.walk(p, path)?.node;
            let attr = errno(self.ask(p, |call| self.fs.getattr(call, node)))?.attr;
            match self.ask(p, |call| self.fs.open(call, node, OpenFlags::default())) {
                Err(error) if error.errno() == libc::ESTALE && tries == 0 => tries += 1,
                Err(error) => return Err(error.errno()),
                Ok(opened) => {
                    let bytes = errno(self.fs.read(opened.handle, 0, 1 << 20))?.to_vec();
                    errno(self.fs.flush(&self.call(p), opened.handle))?;
                    errno(self.fs.release(opened.handle))?;
                    return Ok((bytes, attr.size, attr.mode));
                }
            }
        }
    }

    pub fn mode(&self, p: u32, path: &[&str]) -> Result<(u16, u64), i32> {
        let node = self.walk(p, path)?.node;
        errno(self.ask(p, |call| self.fs.getattr(call, node))).map(|stat| (stat.attr.mode, stat.attr.size))
    }

    /// Extended attributes of a value.
    pub fn attributes<const N: usize>(
        &self,
        p: u32,
        path: &[&str],
        keys: [&str; N],
    ) -> Result<[Option<String>; N], i32> {
        let node = self.walk(p, path)?.node;
        let of = |key| self.ask(p, |call| self.fs.getxattr(call, node, &format!("user.akvfs.{key}")));
        Ok(keys.map(|key| of(key).ok().and_then(|value| String::from_utf8(value).ok())))
    }

    pub fn link(&self, p: u32, path: &[&str]) -> Result<String, i32> {
        let node = self.walk(p, path)?.node;
        errno(self.ask(p, |call| self.fs.readlink(call, node)))
    }

    fn opened(&self, handle: u64, node: Ino, write: bool, p: u32) -> Open {
        // What is open is not forgotten.
        let mut looked_up = self.looked_up.borrow_mut();
        let place = looked_up.iter().rposition(|ino| *ino == node).expect("it was looked up");
        looked_up.remove(place);
        drop(looked_up);
        let shown = self.fs.getattr(&self.call(p), node).map_or(node, |stat| stat.attr.ino);
        Open { handle, node, shown, write }
    }

    fn open(&self, p: u32, path: (Ino, &str), flags: OpenFlags, create: bool) -> Result<Open, i32> {
        for _ in 0..2 {
            match self.lookup(p, path.0, path.1) {
                Ok(_) if flags.exclusive => return Err(libc::EEXIST),
                Ok(entry) => match self.ask(p, |call| self.fs.open(call, entry.node, flags)) {
                    Err(error) if error.errno() == libc::ESTALE => {}
                    Err(error) => return Err(error.errno()),
                    Ok(opened) => return Ok(self.opened(opened.handle, entry.node, flags.write, p)),
                },
                Err(error) if error.errno() == libc::ENOENT && create => {
                    let (entry, opened) = errno(self.fs.create(&self.call(p), path.0, path.1, 0o600, flags))?;
                    self.looked_up.borrow_mut().push(entry.node);
                    return Ok(self.opened(opened.handle, entry.node, flags.write, p));
                }
                Err(error) => return Err(error.errno()),
            }
        }
        Err(libc::ESTALE)
    }

    /// A file is written whole, by a process that does nothing else meanwhile.
    fn put(&self, p: u32, path: (Ino, &str), text: &[u8], flags: OpenFlags) -> Outcome {
        let open = self.open(p, path, flags, true)?;
        let written = errno(self.fs.write(&self.call(p), open.handle, 0, text));
        let closed = self.fs.flush(&self.call(p), open.handle).map_err(|error| error.errno_at_close());
        // Nobody hears what a release says.
        let _ = self.fs.release(open.handle);
        self.fs.forget(open.node, 1);
        written.and(closed)
    }

    /// A descriptor of `fd` is there: in the process's table.
    pub fn hold(&self, fd: Fd) {
        if let Some(open) = self.files.get(&fd.file).filter(|open| open.write) {
            self.table.open.lock().expect("whole").push((fd.p, open.node, open.shown));
        }
    }

    fn let_go(&self, fd: Fd) {
        let Some(open) = self.files.get(&fd.file).filter(|open| open.write) else { return };
        let mut table = self.table.open.lock().expect("whole");
        if let Some(place) = table.iter().position(|held| *held == (fd.p, open.node, open.shown)) {
            table.remove(place);
        }
    }

    fn close(&mut self, fd: Fd, last: bool) -> Outcome {
        let handle = self.files[&fd.file].handle;
        let verdict = self.fs.flush(&self.call(fd.p), handle).map_err(|error| error.errno_at_close());
        if last {
            // Nobody hears what a release says.
            let _ = self.fs.release(handle);
            let open = self.files.remove(&fd.file).expect("open");
            self.fs.forget(open.node, 1);
        }
        verdict
    }

    /// `fds` are the descriptors it is about, each with whether it is the last of its file.
    pub fn step(&mut self, op: &Op, fds: &[(Fd, bool)], opened: &mut Option<Open>) -> Outcome {
        let outcome = self.act(op, fds, opened);
        if !matches!(op, Op::VaultRefuses { .. }) {
            self.vault.forget_faults();
        }
        self.note_versions();
        outcome
    }

    fn act(&mut self, op: &Op, fds: &[(Fd, bool)], opened: &mut Option<Open>) -> Outcome {
        match *op {
            Op::List { p, what } => self.list(p, what),
            Op::Mkdir { p, n } => self.mkdir(p, NAMES[n]),
            Op::MkdirOtherCase { p, n } => self.mkdir(p, &other_case(NAMES[n])),
            Op::Rmdir { p, n } => self.remove_in(p, "secrets", n),
            Op::Purge { p, n } => self.remove_in(p, "deleted", n),
            Op::Unlink { p, at } => {
                let dir = self.dir(p, at.0)?;
                errno(self.lookup(p, dir, at.1))?;
                errno(self.fs.unlink(&self.call(p), dir, at.1))
            }
            Op::UnlinkVersion { p, n } => self.unlink_version(p, n),
            Op::UnlinkGrave { p, n } => {
                let dir = self.walk(p, &["deleted", NAMES[n]])?.node;
                errno(self.lookup(p, dir, META))?;
                errno(self.fs.unlink(&self.call(p), dir, META))
            }
            Op::Open { p, at, how } => {
                let dir = self.dir(p, at.0)?;
                *opened = Some(self.open(p, (dir, at.1), flags(how), how != How::Read)?);
                Ok(())
            }
            Op::Read { .. } => Ok(()),
            Op::Write { at, data, .. } => {
                let fd = fds[0].0;
                errno(self.fs.write(&self.call(fd.p), self.files[&fd.file].handle, at, data.0))
            }
            Op::Truncate { size, .. } => {
                let (fd, change) = (fds[0].0, Change { size: Some(size), ..Change::default() });
                let open = &self.files[&fd.file];
                errno(self.fs.setattr(&self.call(fd.p), open.node, Some(open.handle), change)).map(drop)
            }
            Op::TruncatePath { p, at, size } => {
                let node = self.node(p, at)?;
                let change = Change { size: Some(size), ..Change::default() };
                errno(self.fs.setattr(&self.call(p), node, None, change)).map(drop)
            }
            Op::Fsync { .. } => {
                let fd = fds[0].0;
                let synced = self.fs.fsync(&self.call(fd.p), self.files[&fd.file].handle);
                synced.map_err(|error: FsError| error.errno_at_close())
            }
            Op::Fork { .. } => {
                let fd = fds[0].0;
                self.hold(Fd { p: fd.p + 10, ..fd });
                Ok(())
            }
            Op::Close { .. } => {
                self.let_go(fds[0].0);
                self.close(fds[0].0, fds[0].1)
            }
            Op::Kill { p } => self.kill(p, fds),
            Op::Rename { p, from, to } => self.rename(p, from, to),
            Op::ToDeleted { p, n } => self.move_secret(p, n, "secrets", "deleted"),
            Op::Recover { p, n } => self.move_secret(p, n, "deleted", "secrets"),
            Op::Meta { p, n, how, patch } => self.edit(p, n, how, patch),
            Op::VersionMeta { p, n, back, patch } => {
                let versions = self.versions(p, n)?;
                let version = &versions[versions.len() - 1 - back % versions.len()];
                let dir = self.walk(p, &["secrets", NAMES[n], "versions"])?.node;
                self.put(p, (dir, &format!(".{version}{META}")), patch.as_bytes(), OVERWRITE)
            }
            Op::GraveMeta { p, n } => {
                let dir = self.walk(p, &["deleted", NAMES[n]])?.node;
                self.put(p, (dir, META), b"{}", OVERWRITE)
            }
            Op::SetXattr { p, at, name, text } => {
                let node = self.node(p, at)?;
                errno(self.fs.setxattr(&self.call(p), node, &format!("user.akvfs.{name}"), text.as_bytes()))
            }
            Op::RemoveTag { p, at } => {
                let node = self.node(p, at)?;
                errno(self.fs.removexattr(&self.call(p), node, "user.akvfs.tag.k"))
            }
            Op::Backup { p, n } => {
                let (blob, ..) = self.read(p, &["backup", NAMES[n]])?;
                self.blobs.push(blob);
                Ok(())
            }
            Op::Restore { p, blob, name, renamed } => {
                self.restore(p, &self.blobs[blob % self.blobs.len()], name, renamed)
            }
            Op::Refresh { p } => {
                let dir = self.walk(p, &[".akvfs"])?.node;
                self.put(p, (dir, "refresh"), b"", OVERWRITE)
            }
            Op::Others { n, what } => {
                self.vault.forget_faults();
                change(&*self.vault, &name(NAMES[n]), what, self.call(1).wait);
                Ok(())
            }
            Op::Advance { ms } => {
                self.clock.advance(Duration::from_millis(ms));
                self.fs.send_due_removals();
                Ok(())
            }
            Op::Remount => {
                errno(self.fs.send_removals(self.call(1).wait))?;
                self.forget();
                self.store = store(&self.vault, self.cached, &self.clock);
                self.fs = mount(&self.store, &self.clock, &self.table, &self.kernel, self.setup);
                Ok(())
            }
            Op::VaultRefuses { kind } => {
                let kind = match kind {
                    Refusal::Throttled => ErrorKind::Throttled { retry_after: None },
                    Refusal::Managed => ErrorKind::Managed,
                    Refusal::Broken => ErrorKind::Broken,
                };
                self.vault.forget_faults();
                CHANGES.into_iter().for_each(|operation| self.vault.fail_next(operation, kind));
                Ok(())
            }
        }
    }

    fn list(&self, p: u32, what: Listed) -> Outcome {
        let listed = match what {
            Listed::Root => self.names_of(p, ROOT),
            Listed::Secrets => self.names(p, &["secrets"]),
            Listed::Deleted => self.names(p, &["deleted"]),
            Listed::In(dir) => self.names(p, &path(dir)),
            Listed::Versions(n) => self.names(p, &["secrets", NAMES[n], "versions"]),
            Listed::Grave(n) => self.names(p, &["deleted", NAMES[n]]),
        };
        listed.map(drop)
    }

    fn mkdir(&self, p: u32, text: &str) -> Outcome {
        let parent = self.walk(p, &["secrets"])?.node;
        match self.walk(p, &["secrets", text]) {
            Ok(_) => return Err(libc::EEXIST),
            Err(libc::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        let entry = errno(self.fs.mkdir(&self.call(p), parent, text))?;
        self.looked_up.borrow_mut().push(entry.node);
        Ok(())
    }

    fn remove_in(&self, p: u32, parent: &str, n: usize) -> Outcome {
        self.walk(p, &[parent, NAMES[n]])?;
        let parent = self.walk(p, &[parent])?.node;
        errno(self.fs.rmdir(&self.call(p), parent, NAMES[n]))
    }

    fn unlink_version(&self, p: u32, n: usize) -> Outcome {
        let name = self.versions(98, n)?.pop().expect("one at least").to_string();
        let dir = self.walk(p, &["secrets", NAMES[n], "versions"])?.node;
        errno(self.lookup(p, dir, &name))?;
        errno(self.fs.unlink(&self.call(p), dir, &name))
    }

    /// The versions that are listed, the oldest first.
    pub fn versions(&self, p: u32, n: usize) -> Result<Vec<Version>, i32> {
        let names = self.names(p, &["secrets", NAMES[n], "versions"])?;
        let mut versions: Vec<Version> = names.iter().filter_map(|name| Version::parse(name)).collect();
        versions.sort_by_key(|version| self.made.get(version));
        Ok(versions)
    }

    /// A step makes at most one version of a secret.
    fn note_versions(&mut self) {
        for secret in NAMES {
            let listed = self.vault.list_versions(&name(secret), None, self.call(1).wait).expect("listed");
            for version in listed.items.into_iter().filter_map(|item| item.version) {
                let next = self.made.len();
                self.made.entry(version).or_insert(next);
            }
        }
    }

    fn kill(&mut self, p: u32, fds: &[(Fd, bool)]) -> Outcome {
        fds.iter().for_each(|(fd, _)| self.let_go(*fd));
        self.table.killed.lock().expect("whole").insert(p);
        for (fd, last) in fds {
            self.close(*fd, *last)?;
        }
        self.table.killed.lock().expect("whole").clear();
        Ok(())
    }

    fn rename(&self, p: u32, from: At, to: At) -> Outcome {
        let (dir, target) = (self.dir(p, from.0)?, self.dir(p, to.0)?);
        let old = errno(self.lookup(p, dir, from.1))?.node;
        // The same inode under both names: the kernel does nothing.
        if self.lookup(p, target, to.1).is_ok_and(|entry| entry.node == old) {
            return Ok(());
        }
        errno(self.fs.rename(&self.call(p), (dir, from.1), (target, to.1), RenameMode::Replace))
    }

    fn move_secret(&self, p: u32, n: usize, from: &str, to: &str) -> Outcome {
        let (parent, target) = (self.walk(p, &[from])?.node, self.walk(p, &[to])?.node);
        self.walk(p, &[from, NAMES[n]])?;
        let _ = self.lookup(p, target, NAMES[n]);
        errno(self.fs.rename(&self.call(p), (parent, NAMES[n]), (target, NAMES[n]), RenameMode::Replace))
    }

    fn edit(&self, p: u32, n: usize, how: Edit, patch: &str) -> Outcome {
        let dir = self.dir(p, Dir::Secret(n))?;
        match how {
            Edit::Partly => self.put(p, (dir, META), patch.as_bytes(), OVERWRITE),
            Edit::Whole => {
                let before = self.read(p, &["secrets", NAMES[n], META]).map(|(text, ..)| text).unwrap_or_default();
                self.put(p, (dir, META), merged(&before, patch).as_bytes(), OVERWRITE)
            }
            Edit::Renamed => self.put_and_rename(p, (dir, ".edited.tmp"), META, patch.as_bytes()),
        }
    }

    fn restore(&self, p: u32, blob: &[u8], name: &str, renamed: bool) -> Outcome {
        let dir = self.dir(p, Dir::Backups)?;
        if renamed {
            self.put_and_rename(p, (dir, ".new"), name, blob)
        } else {
            self.put(p, (dir, name), blob, OVERWRITE)
        }
    }

    /// As editors save; who cannot takes the temporary file away.
    fn put_and_rename(&self, p: u32, from: (Ino, &str), to: &str, bytes: &[u8]) -> Outcome {
        self.put(p, from, bytes, OVERWRITE)?;
        errno(self.lookup(p, from.0, from.1))?;
        let _ = self.lookup(p, from.0, to);
        let renamed = errno(self.fs.rename(&self.call(p), from, (from.0, to), RenameMode::Replace));
        if renamed.is_err() {
            errno(self.fs.unlink(&self.call(p), from.0, from.1))?;
        }
        renamed
    }

    /// The notices since the last call.
    pub fn notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.kernel.0.lock().expect("whole"))
    }
}

const OVERWRITE: OpenFlags =
    OpenFlags { write: true, truncate: true, read_write: false, append: false, exclusive: false };

const CHANGES: [Operation; 6] =
    [Operation::Set, Operation::Update, Operation::Delete, Operation::Recover, Operation::Purge, Operation::Restore];

fn flags(how: How) -> OpenFlags {
    let exclusive = matches!(how, How::Create | How::Mkstemp);
    match how {
        How::Read => OpenFlags::default(),
        How::Write { truncate, append } => OpenFlags { write: true, truncate, append, ..OpenFlags::default() },
        How::Create | How::Mkstemp => {
            OpenFlags { write: true, exclusive, read_write: how == How::Mkstemp, ..OpenFlags::default() }
        }
    }
}

pub fn path(dir: Dir) -> Vec<&'static str> {
    match dir {
        Dir::Secret(n) => vec!["secrets", NAMES[n]],
        Dir::Files => vec!["files"],
        Dir::Backups => vec!["backup"],
    }
}

/// A document with the members of `patch`; `patch` alone where one of them is none.
fn merged(before: &[u8], patch: &str) -> String {
    let object = |text: &[u8]| serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(text).ok();
    let Some(patched) = object(patch.as_bytes()) else { return patch.to_owned() };
    let mut whole = object(before).unwrap_or_default();
    whole.extend(patched);
    serde_json::Value::Object(whole).to_string()
}

pub fn other_case(text: &str) -> String {
    text.chars().map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect()
}

fn store(vault: &Arc<ModelStore>, cached: bool, clock: &Arc<ManualClock>) -> Arc<dyn SecretStore> {
    let options = CacheOptions { ttl: TTL, ..CacheOptions::default() };
    if cached { Arc::new(CachedStore::new(vault.clone(), options, clock.clone())) } else { vault.clone() }
}

fn mount(
    store: &Arc<dyn SecretStore>,
    clock: &Arc<ManualClock>,
    table: &Arc<Table>,
    kernel: &Arc<Recorder>,
    setup: Setup,
) -> SecretFs {
    let options = FsOptions {
        allow_purge: setup.allow_purge,
        always_set: setup.always_set,
        final_newline_as_before: setup.final_newline_as_before,
        aliases: [(ALIAS.0.to_owned(), name(NAMES[ALIAS.1]))].into(),
        ..FsOptions::default()
    };
    SecretFs::new(store.clone(), clock.clone(), table.clone(), kernel.clone(), options)
}
