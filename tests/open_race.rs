//! A reader and a watcher that are overtaken by saves again and again. The kernel repeats a look-up and open once after ESTALE, not twice,
//! so the second time the reader must get what its look-up found.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use akvfs::cache::{CacheOptions, CachedStore};
use akvfs::clock::SystemClock;
use akvfs::fs::processes::ProcFs;
use akvfs::fs::tree::{Ino, ROOT};
use akvfs::fs::{Call, FsOptions, OpenFlags, SecretFs};
use akvfs::secret::SecretAttributes;
use akvfs::store::{SecretStore, Wait};

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
