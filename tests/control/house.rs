//! A filesystem without a kernel: the operations on a cache on a vault in memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use akvfs::cache::{CacheOptions, CachedStore};
use akvfs::clock::Clock;
use akvfs::fs::attr::{Attr, Entry};
use akvfs::fs::errno::{FsError, FsResult};
use akvfs::fs::journal::Asked;
use akvfs::fs::tree::{Ino, ROOT};
use akvfs::fs::{About, Call, FsOptions, Kernel, Notice, OpenFlags, SecretFs};
use akvfs::metrics::{Metered, Metrics};
use akvfs::store::Wait;
use serde_json::Value;

use crate::support::{Alone, ManualClock, ModelStore};

pub const TTL: Duration = Duration::from_secs(600);

/// Keeps what it is told.
#[derive(Default)]
pub struct Told(Mutex<Vec<Notice>>);

impl Told {
    pub fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Kernel for Told {
    fn tell(&self, notice: Notice) {
        self.0.lock().unwrap().push(notice);
    }
    fn settle(&self, _limit: Duration) -> bool {
        true
    }
}

/// All of it.
pub struct House {
    pub fs: SecretFs,
    pub model: Arc<ModelStore>,
    pub clock: Arc<ManualClock>,
    pub kernel: Arc<Told>,
}

impl House {
    pub fn new() -> Self {
        Self::with(FsOptions::default())
    }

    pub fn with(options: FsOptions) -> Self {
        let clock = ManualClock::shared();
        let model = ModelStore::new(clock.clone());
        let metrics = Arc::new(Metrics::default());
        let metered = Arc::new(Metered::new(model.clone(), metrics.clone(), clock.clone()));
        let cache_options = CacheOptions { ttl: TTL, ..CacheOptions::default() };
        let store = Arc::new(CachedStore::counting(metered, cache_options, clock.clone(), metrics.clone()));
        let kernel = Arc::new(Told::default());
        let about = About {
            source: "contoso".to_owned(),
            directory: "/mnt/a \"b\"".to_owned(),
            version: "1.2.3".to_owned(),
            pid: 42,
            ttl: TTL,
            ..About::default()
        };
        let options = FsOptions { about, ..options };
        let fs = SecretFs::new(store, clock.clone(), Arc::new(Alone), kernel.clone(), options).counting(metrics);
        Self { fs, model, clock, kernel }
    }

    pub fn call(&self) -> Call {
        let wait = Wait::Until(self.clock.moment() + Duration::from_secs(30));
        Call { uid: 0, gid: 0, thread: 7, wait }
    }

    /// Walks a path from the root.
    pub fn walk(&self, path: &str) -> FsResult<Entry> {
        let mut entry = None;
        for name in path.split('/') {
            let parent = entry.map_or(ROOT, |entry: Entry| entry.node);
            entry = Some(self.fs.lookup(&self.call(), parent, name)?);
        }
        Ok(entry.unwrap())
    }

    pub fn ino(&self, path: &str) -> Ino {
        self.walk(path).unwrap().node
    }

    pub fn attr(&self, path: &str) -> Attr {
        let ino = self.ino(path);
        self.fs.getattr(&self.call(), ino).unwrap().attr
    }

    pub fn open(&self, path: &str, bits: i32) -> FsResult<u64> {
        let ino = self.ino(path);
        Ok(self.fs.open(&self.call(), ino, OpenFlags::from_bits(bits))?.handle)
    }

    pub fn read(&self, path: &str) -> String {
        let handle = self.open(path, libc::O_RDONLY).unwrap();
        let bytes = self.fs.read(handle, 0, usize::MAX).unwrap();
        self.fs.release(handle).unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&self.read(".akvfs/status.json")).unwrap()
    }

    pub fn errors(&self) -> Vec<Value> {
        self.read(".akvfs/errors").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Writes and closes; the verdict is the close's, and told as the kernel side tells it.
    pub fn write_and_close(&self, handle: u64, ino: Ino, bytes: &[u8]) -> Result<(), i32> {
        self.fs.write(&self.call(), handle, 0, bytes).unwrap();
        let closed = self.fs.flush(&self.call(), handle);
        let closed = closed.map_err(|error| self.fs.failed(&Asked::of("flush", ino), &error));
        let _ = self.fs.release(handle);
        closed
    }

    /// Makes a secret the way a program does.
    pub fn save_new(&self, name: &str, value: &str) -> Result<(), i32> {
        let secrets = self.ino("secrets");
        let dir = self.fs.mkdir(&self.call(), secrets, name).unwrap().node;
        let flags = OpenFlags::from_bits(libc::O_WRONLY);
        let (entry, opened) = self.fs.create(&self.call(), dir, "value", 0o600, flags).unwrap();
        self.write_and_close(opened.handle, entry.node, value.as_bytes())
    }

    pub fn refresh(&self, names: &str) -> Result<(), i32> {
        let handle = self.open(".akvfs/refresh", libc::O_WRONLY).unwrap();
        self.write_and_close(handle, self.ino(".akvfs/refresh"), names.as_bytes())
    }
}

pub fn errno<T>(result: FsResult<T>) -> i32 {
    result.err().as_ref().map_or(0, FsError::errno)
}
