//! The filesystem under test on a model vault, with the kernel's part played by the test: it walks paths by look-ups,
//! opens again after ESTALE, keeps what is open, and forgets the rest.

mod acts;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use akvfs::cache::{CacheOptions, CachedStore};
use akvfs::fs::attr::Entry;
use akvfs::fs::errno::FsResult;
use akvfs::fs::processes::Processes;
use akvfs::fs::tree::{Ino, ROOT};
use akvfs::fs::{Call, FsOptions, Kernel, Notice, OpenFlags, SecretFs};
use akvfs::secret::Version;
use akvfs::store::{SecretStore, Wait};

use crate::op::{ALIAS, At, Dir, NAMES};
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

    fn program(&self, _process: u32) -> Option<String> {
        None
    }
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Notice>>);

impl Kernel for Recorder {
    fn tell(&self, notice: Notice) {
        self.0.lock().expect("whole").push(notice);
    }

    fn settle(&self, _limit: Duration) -> bool {
        true
    }
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

    /// The notices since the last call.
    pub fn notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.kernel.0.lock().expect("whole"))
    }
}

pub fn path(dir: Dir) -> Vec<&'static str> {
    match dir {
        Dir::Secret(n) => vec!["secrets", NAMES[n]],
        Dir::Files => vec!["files"],
        Dir::Backups => vec!["backup"],
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
