//! A reader and a watcher that are overtaken by saves again and again. The kernel repeats a look-up and open once after ESTALE, not twice,
//! so the second time the reader must get what its look-up found.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use akvfs::around::Around;
use akvfs::cache::{CacheOptions, CachedStore};
use akvfs::clock::SystemClock;
use akvfs::fs::processes::ProcFs;
use akvfs::fs::tree::{Ino, ROOT};
use akvfs::fs::{Call, FsOptions, OpenFlags, SecretFs};
use akvfs::secret::{SecretAttributes, SecretName};
use akvfs::store::{Operation, SecretStore, StoreError, Wait};

use support::{Deaf, ModelStore, name, value};

fn call() -> Call {
    Call {
        uid: 0,
        gid: 0,
        thread: std::process::id(),
        wait: Wait::at_most(&*SystemClock::shared(), Duration::from_secs(5)),
    }
}

fn look_up(fs: &SecretFs) -> Ino {
    let dir = ["secrets", "n"].into_iter().fold(ROOT, |dir, part| fs.lookup(&call(), dir, part).unwrap().node);
    fs.lookup(&call(), dir, "value").unwrap().node
}

#[test]
fn a_reader_that_is_overtaken_twice_gets_the_value_it_found() {
    let clock = SystemClock::shared();
    let store = Arc::new(CachedStore::new(ModelStore::new(clock.clone()), CacheOptions::default(), clock.clone()));
    let save = |text: &str| store.set(&name("n"), &value(text), &SecretAttributes::default(), call().wait).unwrap();
    save("first");
    let fs = SecretFs::new(store.clone(), clock, Arc::new(ProcFs), Arc::new(Deaf), FsOptions::default());
    let first = look_up(&fs);
    assert_eq!(fs.getattr(&call(), first).unwrap().attr.size, 5);
    save("second");
    let overtaken = fs.open(&call(), first, OpenFlags::default()).unwrap_err();
    assert_eq!(overtaken.errno(), libc::ESTALE, "look again");
    let second = look_up(&fs);
    save("third");
    let opened = fs.open(&call(), second, OpenFlags::default()).unwrap();
    assert_eq!(fs.read(opened.handle, 0, 100).unwrap().as_slice(), b"second");
    // The next open is judged anew.
    assert_eq!(fs.open(&call(), second, OpenFlags::default()).unwrap_err().errno(), libc::ESTALE);
}

/// A store behind which something happens when a get has been answered, before anybody hears of the answer.
struct Interrupted {
    below: CachedStore,
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Around for Interrupted {
    fn below(&self) -> &dyn SecretStore {
        &self.below
    }

    fn around<T>(
        &self,
        operation: Operation,
        _name: Option<&SecretName>,
        wait: Wait,
        ask: impl FnOnce(&dyn SecretStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let answer = ask(&self.below);
        let then =
            if operation == Operation::Get && wait != Wait::No { self.then.lock().unwrap().take() } else { None };
        then.into_iter().for_each(|then| then());
        answer
    }
}

/// Another reader's open, that has lasted since before the save, decides which version an inode is that the name was looked up
/// to after it.
#[test]
fn a_reader_never_gets_an_older_version_than_was_current_when_he_came() {
    let clock = SystemClock::shared();
    // No value stays in memory, so a look-up cannot tell which version it has found.
    let options = CacheOptions { bytes: 0, ..CacheOptions::default() };
    let below = CachedStore::new(ModelStore::new(clock.clone()), options, clock.clone());
    let store = Arc::new(Interrupted { below, then: Mutex::default() });
    let save = |store: &Interrupted, text: &str| {
        store.set(&name("n"), &value(text), &SecretAttributes::default(), call().wait).unwrap();
    };
    save(&store, "first");
    let fs = Arc::new(SecretFs::new(store.clone(), clock, Arc::new(ProcFs), Arc::new(Deaf), FsOptions::default()));
    let first = look_up(&fs);
    fs.open(&call(), first, OpenFlags::default()).unwrap();
    let slow = Call { thread: 1, ..call() };
    let found = look_up(&fs);
    let (reader, saved, again) = (fs.clone(), store.clone(), Arc::new(Mutex::new(None)));
    let looked_up = again.clone();
    *store.then.lock().unwrap() = Some(Box::new(move || {
        save(&saved, "second");
        assert_eq!(reader.open(&call(), first, OpenFlags::default()).unwrap_err().errno(), libc::ESTALE);
        *looked_up.lock().unwrap() = Some(look_up(&reader));
    }));
    let _ = fs.open(&slow, found, OpenFlags::default());
    let second = again.lock().unwrap().take().unwrap();
    let opened = fs.open(&call(), second, OpenFlags::default()).unwrap();
    assert_eq!(fs.read(opened.handle, 0, 100).unwrap().as_slice(), b"second");
}

#[test]
fn watchers_that_are_not_woken_leave_nothing_behind() {
    let clock = SystemClock::shared();
    let store = Arc::new(CachedStore::new(ModelStore::new(clock.clone()), CacheOptions::default(), clock.clone()));
    let save = |text: &str| store.set(&name("n"), &value(text), &SecretAttributes::default(), call().wait).unwrap();
    save("first");
    let fs = SecretFs::new(store.clone(), clock, Arc::new(ProcFs), Arc::new(Deaf), FsOptions::default());
    // The directories are watched, and no file of theirs is held.
    look_up(&fs);
    fs.lookup(&call(), ROOT, "files").unwrap();
    let (before, ..) = fs.held();
    for number in 0..10 {
        save(&number.to_string());
        let watched = fs.watched(&name("n"));
        assert!(["secrets/n/value", "files/n"].iter().all(|path| watched.iter().any(|watched| watched.path == *path)));
        // The first wake ends before anything was looked up; the others do not begin.
        fs.begin_waking(1, &watched[0]);
        fs.end_waking();
    }
    let (after, ..) = fs.held();
    assert!(after <= before + 2, "{before} inodes became {after}: more than the two files of the current version");
}
