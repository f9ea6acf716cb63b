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
use akvfs::secret::{SecretAttributes, SecretName, SecretValue};
use akvfs::store::{SecretStore, Wait};

use crate::op::{NAMES, Op, Others, SCRATCH};
use crate::reference::{Fd, Outcome};
use crate::support::{ManualClock, ModelStore, name};

pub const TTL: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(15);

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
}

fn errno<T>(result: FsResult<T>) -> Result<T, i32> {
    result.map_err(|error| error.errno())
}

impl World {
    pub fn new(cached: bool) -> Self {
        let clock = ManualClock::shared();
        let vault = ModelStore::new(clock.clone());
        let (table, kernel) = (Arc::<Table>::default(), Arc::<Recorder>::default());
        let store = store(&vault, cached, &clock);
        let fs = mount(&store, &clock, &table, &kernel);
        Self { vault, store, cached, clock, table, kernel, fs, files: BTreeMap::new(), looked_up: RefCell::default() }
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
        let mut entry = None;
        for part in path {
            let parent = entry.map_or(ROOT, |entry: Entry| entry.node);
            entry = Some(errno(self.lookup(p, parent, part))?);
        }
        Ok(entry.expect("a path with parts"))
    }

    fn dir(&self, p: u32, n: usize) -> Result<Ino, i32> {
        self.walk(p, &["secrets", NAMES[n]]).map(|entry| entry.node)
    }

    /// The kernel lets go of everything that is not open.
    pub fn forget(&self) {
        self.looked_up.borrow_mut().drain(..).for_each(|ino| self.fs.forget(ino, 1));
    }

    pub fn names(&self, p: u32, path: &[&str]) -> Result<Vec<String>, i32> {
        let ino = self.walk(p, path)?.node;
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
        assert_eq!(names[..2], [".", ".."], "{path:?}");
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
        let write = OpenFlags { write: true, ..OpenFlags::default() };
        match op {
            Op::ListSecrets { p } => self.names(*p, &["secrets"]).map(drop),
            Op::ListSecret { p, n } => self.names(*p, &["secrets", NAMES[*n]]).map(drop),
            Op::ListDeleted { p } => self.names(*p, &["deleted"]).map(drop),
            Op::Mkdir { p, n } => self.mkdir(*p, NAMES[*n]),
            Op::MkdirOtherCase { p, n } => self.mkdir(*p, &other_case(NAMES[*n])),
            Op::Rmdir { p, n } => {
                let parent = self.walk(*p, &["secrets"])?.node;
                self.dir(*p, *n)?;
                errno(self.fs.rmdir(&self.call(*p), parent, NAMES[*n]))
            }
            Op::UnlinkValue { p, n } => self.unlink(*p, *n, "value"),
            Op::UnlinkMeta { p, n } => self.unlink(*p, *n, ".meta.json"),
            Op::UnlinkScratch { p, n, s } => self.unlink(*p, *n, SCRATCH[*s]),
            Op::UnlinkVersion { p, n } => self.unlink_version(*p, *n),
            Op::OpenRead { p, n } => {
                let dir = self.dir(*p, *n)?;
                *opened = Some(self.open(*p, (dir, "value"), OpenFlags::default(), false)?);
                Ok(())
            }
            Op::OpenWrite { p, n, truncate, append } => {
                let dir = self.dir(*p, *n)?;
                let flags = OpenFlags { truncate: *truncate, append: *append, ..write };
                *opened = Some(self.open(*p, (dir, "value"), flags, true)?);
                Ok(())
            }
            Op::CreateScratch { p, n, s, mkstemp } => {
                let dir = self.dir(*p, *n)?;
                let flags = OpenFlags { exclusive: true, read_write: *mkstemp, ..write };
                *opened = Some(self.open(*p, (dir, SCRATCH[*s]), flags, true)?);
                Ok(())
            }
            Op::CreateOther { p, n } => {
                let dir = self.dir(*p, *n)?;
                self.open(*p, (dir, "tls.crt"), write, true).map(drop)
            }
            Op::Read { .. } => Ok(()),
            Op::Write { at, data, .. } => {
                let fd = fds[0].0;
                errno(self.fs.write(&self.call(fd.p), self.files[&fd.file].handle, *at, data))
            }
            Op::Truncate { size, .. } => {
                let (fd, change) = (fds[0].0, Change { size: Some(*size), ..Change::default() });
                let open = &self.files[&fd.file];
                errno(self.fs.setattr(&self.call(fd.p), open.node, Some(open.handle), change)).map(drop)
            }
            Op::TruncatePath { p, n, size } => {
                let node = self.walk(*p, &["secrets", NAMES[*n], "value"])?.node;
                let change = Change { size: Some(*size), ..Change::default() };
                errno(self.fs.setattr(&self.call(*p), node, None, change)).map(drop)
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
            Op::Kill { p } => {
                fds.iter().for_each(|(fd, _)| self.let_go(*fd));
                self.table.killed.lock().expect("whole").insert(*p);
                for (fd, last) in fds {
                    self.close(*fd, *last)?;
                }
                self.table.killed.lock().expect("whole").clear();
                Ok(())
            }
            Op::RenameOver { p, n, s, to } => self.rename(*p, (*n, SCRATCH[*s]), (*to, "value")),
            Op::RenameScratch { p, n, s, to, new } => self.rename(*p, (*n, SCRATCH[*s]), (*to, SCRATCH[*new])),
            Op::MoveAside { p, n, s } => self.rename(*p, (*n, "value"), (*n, SCRATCH[*s])),
            Op::ToDeleted { p, n } => self.move_secret(*p, *n, "secrets", "deleted"),
            Op::Recover { p, n } => self.move_secret(*p, *n, "deleted", "secrets"),
            Op::Purge { p, n } => {
                let parent = self.walk(*p, &["deleted"])?.node;
                self.walk(*p, &["deleted", NAMES[*n]])?;
                errno(self.fs.rmdir(&self.call(*p), parent, NAMES[*n]))
            }
            Op::Meta { p, n, patch } => {
                let dir = self.dir(*p, *n)?;
                let flags = OpenFlags { truncate: true, ..write };
                let open = self.open(*p, (dir, ".meta.json"), flags, true)?;
                errno(self.fs.write(&self.call(*p), open.handle, 0, patch.as_bytes()))?;
                let verdict = self.fs.flush(&self.call(*p), open.handle).map_err(|error| error.errno_at_close());
                let _ = self.fs.release(open.handle);
                self.fs.forget(open.node, 1);
                verdict
            }
            Op::SetXattr { p, n, name, text } => {
                let node = self.walk(*p, &["secrets", NAMES[*n], "value"])?.node;
                let name = format!("user.akvfs.{name}");
                errno(self.fs.setxattr(&self.call(*p), node, &name, text.as_bytes()))
            }
            Op::RemoveTag { p, n } => {
                let node = self.walk(*p, &["secrets", NAMES[*n], "value"])?.node;
                errno(self.fs.removexattr(&self.call(*p), node, "user.akvfs.tag.k"))
            }
            Op::Others { n, what } => {
                self.others(&name(NAMES[*n]), what);
                Ok(())
            }
            Op::Advance { ms } => {
                self.clock.advance(Duration::from_millis(*ms));
                self.fs.send_due_removals();
                Ok(())
            }
            Op::Remount => {
                errno(self.fs.send_removals(self.call(1).wait))?;
                self.forget();
                self.store = store(&self.vault, self.cached, &self.clock);
                self.fs = mount(&self.store, &self.clock, &self.table, &self.kernel);
                Ok(())
            }
        }
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

    fn unlink(&self, p: u32, n: usize, file: &str) -> Outcome {
        let dir = self.dir(p, n)?;
        errno(self.lookup(p, dir, file))?;
        errno(self.fs.unlink(&self.call(p), dir, file))
    }

    fn unlink_version(&self, p: u32, n: usize) -> Outcome {
        // As another process, for who lists a directory may clear it.
        let names = self.names(98, &["secrets", NAMES[n], "versions"])?;
        let dir = self.walk(p, &["secrets", NAMES[n], "versions"])?.node;
        errno(self.lookup(p, dir, &names[0]))?;
        errno(self.fs.unlink(&self.call(p), dir, &names[0]))
    }

    fn rename(&self, p: u32, (n, from): (usize, &str), (to, new): (usize, &str)) -> Outcome {
        let (dir, target) = (self.dir(p, n)?, self.dir(p, to)?);
        let old = errno(self.lookup(p, dir, from))?.node;
        // The same inode under both names: the kernel does nothing.
        if self.lookup(p, target, new).is_ok_and(|entry| entry.node == old) {
            return Ok(());
        }
        errno(self.fs.rename(&self.call(p), (dir, from), (target, new), RenameMode::Replace))
    }

    fn move_secret(&self, p: u32, n: usize, from: &str, to: &str) -> Outcome {
        let (parent, target) = (self.walk(p, &[from])?.node, self.walk(p, &[to])?.node);
        self.walk(p, &[from, NAMES[n]])?;
        let _ = self.lookup(p, target, NAMES[n]);
        errno(self.fs.rename(&self.call(p), (parent, NAMES[n]), (target, NAMES[n]), RenameMode::Replace))
    }

    /// What is not possible in the vault's state is refused there, and nothing happens.
    fn others(&self, secret: &SecretName, what: &Others) {
        let (wait, vault, none) = (self.call(1).wait, &self.vault, SecretAttributes::default());
        let _ = match what {
            Others::Set(text) => vault.set(secret, &SecretValue::new(text.clone()), &none, wait).map(drop),
            Others::Delete => vault.delete(secret, wait).map(drop),
            Others::Recover => vault.recover(secret, wait).map(drop),
            Others::Purge => vault.purge(secret, wait),
            Others::Enable(enabled) => {
                vault.update(secret, None, &SecretAttributes { enabled: Some(*enabled), ..none }, wait).map(drop)
            }
            Others::Tag(text) => {
                let tags = [("t".to_owned(), (*text).to_owned())].into();
                vault.update(secret, None, &SecretAttributes { tags: Some(tags), ..none }, wait).map(drop)
            }
        };
    }

    /// The notices since the last call.
    pub fn notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.kernel.0.lock().expect("whole"))
    }
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
) -> SecretFs {
    let options = FsOptions { allow_purge: true, ..FsOptions::default() };
    SecretFs::new(store.clone(), clock.clone(), table.clone(), kernel.clone(), options)
}
