//! Temporary files from inside: what is written while one is renamed, how much all hold together, and how long a copy of
//! a value stands.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use akvfs::fs::errno::FsResult;
use akvfs::fs::processes::{Process, Processes};
use akvfs::fs::tree::{Ino, ROOT};
use akvfs::fs::{Call, FsOptions, OpenFlags, RenameMode, SecretFs};
use akvfs::secret::SecretAttributes;
use akvfs::store::{Change, ErrorKind, News, Operation, SecretStore, Wait};

use support::{Alone, Deaf, ManualClock, ModelStore, name, value};

struct Stage {
    clock: Arc<ManualClock>,
    vault: Arc<ModelStore>,
    fs: SecretFs,
    shared: Arc<Shared>,
}

/// Every thread is a process; whether another one could still write is as the test says.
#[derive(Default)]
struct Shared(AtomicBool);

impl Processes for Shared {
    fn of_thread(&self, thread: u32) -> Process {
        Alone.of_thread(thread)
    }

    fn descends(&self, process: Process, ancestors: &BTreeSet<Process>) -> bool {
        Alone.descends(process, ancestors)
    }

    fn may_write(&self, _processes: &BTreeSet<Process>, _inodes: &[Ino]) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn was_killed(&self, thread: u32) -> bool {
        Alone.was_killed(thread)
    }

    fn program(&self, process: Process) -> Option<String> {
        Alone.program(process)
    }
}

impl Stage {
    /// A mount on a vault that has the secret `n`.
    fn new() -> Self {
        let clock = ManualClock::shared();
        let vault = ModelStore::new(clock.clone());
        let shared = Arc::<Shared>::default();
        let fs = SecretFs::new(vault.clone(), clock.clone(), shared.clone(), Arc::new(Deaf), FsOptions::default());
        let stage = Self { clock, vault, fs, shared };
        stage.vault.set(&name("n"), &value("old"), &SecretAttributes::default(), stage.wait(60)).unwrap();
        stage
    }

    fn wait(&self, seconds: u64) -> Wait {
        Wait::at_most(&*self.clock, Duration::from_secs(seconds))
    }

    fn call(&self) -> Call {
        Call { uid: 0, gid: 0, thread: 7, wait: self.wait(60) }
    }

    fn dir(&self, path: &[&str]) -> Ino {
        path.iter().fold(ROOT, |dir, part| self.fs.lookup(&self.call(), dir, part).unwrap().node)
    }

    /// Makes a file and leaves it open.
    fn create(&self, dir: Ino, name: &str) -> FsResult<u64> {
        let flags = OpenFlags { write: true, ..OpenFlags::default() };
        self.fs.create(&self.call(), dir, name, 0o600, flags).map(|(_, opened)| opened.handle)
    }

    fn write(&self, handle: u64, offset: u64, data: &[u8]) -> FsResult<()> {
        self.fs.write(&self.call(), handle, offset, data)
    }

    fn rename(&self, dir: Ino, from: &str, to: &str) -> FsResult<()> {
        self.fs.rename(&self.call(), (dir, from), (dir, to), RenameMode::Replace)
    }

    fn close(&self, handle: u64) -> FsResult<()> {
        let verdict = self.fs.flush(&self.call(), handle);
        self.fs.release(handle).and(verdict)
    }

    /// Opens the value anew and writes it; leaves it open.
    fn write_value(&self, thread: u32, text: &str) -> u64 {
        let (call, flags) =
            (Call { thread, ..self.call() }, OpenFlags { write: true, truncate: true, ..OpenFlags::default() });
        let dir = self.dir(&["secrets", "n"]);
        let look_up = || self.fs.lookup(&call, dir, "value").unwrap().node;
        assert_eq!(self.fs.open(&call, look_up(), flags).unwrap_err().errno(), libc::ESTALE);
        let handle = self.fs.open(&call, look_up(), flags).unwrap().handle;
        self.fs.write(&call, handle, 0, text.as_bytes()).unwrap();
        handle
    }

    fn held(&self) -> String {
        self.vault.get(&name("n"), None, self.wait(60)).unwrap().value.expose().to_owned()
    }

    /// Renames `.x` to `to`, and does `act` while the vault has not answered.
    fn while_renamed<T>(&self, dir: Ino, to: &str, operation: Operation, act: impl FnOnce() -> T) -> T {
        self.vault.shut_gate(operation);
        thread::scope(|scope| {
            let rename = scope.spawn(|| self.rename(dir, ".x", to));
            self.vault.wait_at_gate(operation, 1);
            let done = act();
            self.vault.open_gate(operation);
            rename.join().unwrap().unwrap();
            done
        })
    }
}

#[test]
fn what_is_written_while_a_rename_waits_for_the_vault_is_saved_by_the_close() {
    let stage = Stage::new();
    for (path, to) in [(&["secrets", "n"][..], "value"), (&["files"], "n")] {
        let dir = stage.dir(path);
        let handle = stage.create(dir, ".x").unwrap();
        stage.write(handle, 0, b"first").unwrap();
        stage.while_renamed(dir, to, Operation::Set, || stage.write(handle, 5, b", second").unwrap());
        assert_eq!(stage.held(), "first", "{to}");
        stage.close(handle).unwrap();
        assert_eq!(stage.held(), "first, second", "{to}");
    }
}

/// A program's close is not the last one where a child of its has the descriptor for a moment more, until it executes another.
/// What an fsync could not save would else come after the program's next save.
#[test]
fn what_an_fsync_could_not_save_is_not_saved_behind_a_close() {
    let stage = Stage::new();
    let first = stage.write_value(7, "first");
    stage.vault.fail_next(Operation::Get, ErrorKind::Broken);
    assert_eq!(stage.fs.fsync(&stage.call(), first).unwrap_err().errno(), libc::EIO);
    stage.shared.0.store(true, Ordering::Relaxed);
    let closed = stage.fs.flush(&stage.call(), first).unwrap_err();
    assert_eq!(closed.errno(), libc::EIO);
    assert!(closed.to_string().contains("fsync"), "{closed}");
    stage.shared.0.store(false, Ordering::Relaxed);
    let second = stage.write_value(8, "second");
    stage.close(second).unwrap();
    stage.close(first).unwrap();
    assert_eq!(stage.held(), "second", "it was written before");
}

#[test]
fn a_close_after_an_fsync_that_failed_tries_again_and_so_does_who_writes_more() {
    for more in [false, true] {
        let stage = Stage::new();
        let first = stage.write_value(7, "first");
        stage.vault.fail_next(Operation::Get, ErrorKind::Broken);
        assert_eq!(stage.fs.fsync(&stage.call(), first).unwrap_err().errno(), libc::EIO);
        if more {
            stage.write(first, 5, b", more").unwrap();
            stage.shared.0.store(true, Ordering::Relaxed);
            stage.fs.flush(&stage.call(), first).unwrap();
            stage.shared.0.store(false, Ordering::Relaxed);
        }
        stage.close(first).unwrap();
        assert_eq!(stage.held(), if more { "first, more" } else { "first" });
    }
}

/// A save is answered when another has been written and closed since: it is earlier than that one.
#[test]
fn a_save_that_was_under_way_keeps_no_later_close_from_saving() {
    let stage = Stage::new();
    let (first, second) = (stage.write_value(8, "first"), stage.write_value(7, "second"));
    stage.vault.shut_gate(Operation::Set);
    thread::scope(|scope| {
        let save = scope.spawn(|| stage.fs.fsync(&stage.call(), first));
        stage.vault.wait_at_gate(Operation::Set, 1);
        stage.shared.0.store(true, Ordering::Relaxed);
        stage.fs.flush(&stage.call(), second).unwrap();
        stage.vault.open_gate(Operation::Set);
        save.join().unwrap().unwrap();
    });
    assert_eq!(stage.held(), "first");
    stage.fs.release(second).unwrap();
    assert_eq!(stage.held(), "second");
}

#[test]
fn what_is_written_after_a_close_that_was_not_the_last_is_saved_as_ever() {
    let stage = Stage::new();
    let first = stage.write_value(7, "first");
    stage.shared.0.store(true, Ordering::Relaxed);
    stage.fs.flush(&stage.call(), first).unwrap();
    stage.shared.0.store(false, Ordering::Relaxed);
    let second = stage.write_value(8, "second");
    stage.write(first, 5, b", and more").unwrap();
    stage.close(second).unwrap();
    stage.close(first).unwrap();
    assert_eq!(stage.held(), "first, and more");
}

#[test]
fn a_document_written_while_it_is_renamed_is_saved_by_the_close() {
    let stage = Stage::new();
    let dir = stage.dir(&["secrets", "n"]);
    let handle = stage.create(dir, ".x").unwrap();
    stage.write(handle, 0, br#"{"content_type": "a/1"}"#).unwrap();
    stage.while_renamed(dir, ".meta.json", Operation::Update, || stage.write(handle, 20, b"2").unwrap());
    stage.close(handle).unwrap();
    let kept = stage.vault.get(&name("n"), None, stage.wait(60)).unwrap();
    assert_eq!(kept.properties.content_type.as_deref(), Some("a/2"));
}

#[test]
fn a_backup_written_while_it_is_renamed_is_not_closed_with_success() {
    let stage = Stage::new();
    let blob = stage.vault.backup(&name("n"), stage.wait(60)).unwrap();
    stage.vault.delete(&name("n"), stage.wait(60)).unwrap();
    stage.vault.purge(&name("n"), stage.wait(60)).unwrap();
    let dir = stage.dir(&["backup"]);
    let handle = stage.create(dir, ".x").unwrap();
    stage.write(handle, 0, blob.expose()).unwrap();
    stage.while_renamed(dir, "n", Operation::Restore, || stage.write(handle, 0, b"x").unwrap());
    assert_eq!(stage.held(), "old");
    stage.close(handle).unwrap_err();
}

#[test]
fn an_end_of_the_mount_waits_for_a_rename_that_saves() {
    let stage = Stage::new();
    let dir = stage.dir(&["secrets", "n"]);
    for (to, operation) in [("value", Operation::Set), (".meta.json", Operation::Update)] {
        let handle = stage.create(dir, ".x").unwrap();
        stage.write(handle, 0, br#"{"content_type": "a/1"}"#).unwrap();
        let before = stage.clock.advanced();
        stage.while_renamed(dir, to, operation, || stage.fs.settle(stage.wait(1)));
        assert!(stage.clock.advanced() - before >= Duration::from_secs(1), "{to}: it did not wait");
    }
    let before = stage.clock.advanced();
    stage.fs.settle(stage.wait(1));
    assert_eq!(stage.clock.advanced(), before, "nothing is under way");
}

const MIB: u64 = 1 << 20;

#[track_caller]
fn assert_full(verdict: FsResult<()>, why: &str) {
    let error = verdict.unwrap_err();
    assert_eq!(error.errno(), libc::ENOSPC);
    assert!(error.to_string().contains(why), "{error}");
}

const FULL: &str = "hold 64 MiB";
const TOO_MANY: &str = "too many temporary files";

impl Stage {
    fn truncate(&self, handle: u64, size: u64) -> FsResult<()> {
        let change = akvfs::fs::Change { size: Some(size), ..akvfs::fs::Change::default() };
        self.fs.setattr(&self.call(), ROOT, Some(handle), change).map(drop)
    }
}

#[test]
fn all_temporary_files_hold_64_mib_however_they_grow() {
    let stage = Stage::new();
    let dir = stage.dir(&["backup"]);
    let [first, second, third] = [".1", ".2", ".3"].map(|name| stage.create(dir, name).unwrap());
    stage.truncate(first, 24 * MIB).unwrap();
    stage.write(second, 24 * MIB - 1, b"x").unwrap();
    assert_full(stage.truncate(third, 16 * MIB + 1), FULL);
    assert_full(stage.write(third, 16 * MIB, b"x"), FULL);
    stage.truncate(third, 16 * MIB).unwrap();
    // What stands there can be written over and cut, and what was never to fit is told as before.
    stage.write(second, 0, b"y").unwrap();
    assert_eq!(stage.truncate(third, 25 * MIB).unwrap_err().errno(), libc::EFBIG);
    assert_eq!(stage.write(third, 25 * MIB, b"x").unwrap_err().errno(), libc::EFBIG);
    let value = stage.dir(&["secrets", "n", "value"]);
    let change = akvfs::fs::Change { size: Some(5), ..akvfs::fs::Change::default() };
    assert_full(stage.fs.setattr(&stage.call(), value, None, change).map(drop), FULL);
    assert_full(stage.rename(stage.dir(&["secrets", "n"]), "value", "value~"), FULL);
    assert_eq!(stage.held(), "old");
    stage.truncate(first, 0).unwrap();
    stage.rename(stage.dir(&["secrets", "n"]), "value", "value~").unwrap();
}

#[test]
fn values_moved_aside_are_temporary_files_that_count() {
    let stage = Stage::new();
    let dir = stage.dir(&["secrets", "n"]);
    for number in 1..4096 {
        let made = stage.fs.create(&stage.call(), dir, &format!(".{number}"), 0o600, OpenFlags::default());
        let (entry, opened) = made.unwrap();
        stage.fs.release(opened.handle).unwrap();
        stage.fs.forget(entry.node, 1);
    }
    let aside = |thread, to: &str| {
        let call = Call { thread, ..stage.call() };
        stage.fs.rename(&call, (dir, "value"), (dir, to), RenameMode::Replace)
    };
    aside(8, ".b1").unwrap();
    assert_full(aside(9, ".b2"), TOO_MANY);
    assert_full(stage.create(dir, ".c").map(drop), TOO_MANY);
    stage.fs.unlink(&stage.call(), dir, ".1").unwrap();
    aside(9, ".b2").unwrap();
}

impl Stage {
    /// Moves the file of `n` aside, and opens the copy.
    fn copy(&self, dir: Ino, file: &str, to: &str) -> u64 {
        self.rename(dir, file, to).unwrap();
        let copy = self.fs.lookup(&self.call(), dir, to).unwrap().node;
        self.fs.open(&self.call(), copy, OpenFlags::default()).unwrap().handle
    }

    fn is_there(&self, dir: Ino, name: &str) -> bool {
        self.fs.lookup(&self.call(), dir, name).is_ok()
    }

    fn read(&self, handle: u64) -> Vec<u8> {
        self.fs.read(handle, 0, 100).unwrap().to_vec()
    }
}

#[test]
fn a_copy_that_was_moved_aside_goes_with_the_secret_that_may_no_longer_be_read() {
    let stage = Stage::new();
    for (path, file) in [(&["secrets", "n"][..], "value"), (&["files"], "n")] {
        let dir = stage.dir(path);
        let copy = stage.copy(dir, file, "n~");
        stage.create(dir, ".own").unwrap();
        stage.fs.heard(&Change { name: name("n"), news: News::Rotated }, false);
        stage.fs.heard(&Change { name: name("other"), news: News::Revoked }, false);
        assert_eq!((stage.read(copy).as_slice(), stage.is_there(dir, "n~")), (&b"old"[..], true), "{path:?}");
        stage.fs.heard(&Change { name: name("n"), news: News::Revoked }, false);
        assert_eq!((stage.read(copy).as_slice(), stage.is_there(dir, "n~")), (&b""[..], false), "{path:?}");
        assert!(stage.is_there(dir, ".own"), "{path:?}: what is no copy stays");
    }
}

#[test]
fn a_copy_that_was_moved_aside_goes_when_the_deletion_is_sent_and_not_before() {
    let stage = Stage::new();
    let files = stage.dir(&["files"]);
    let copy = stage.copy(files, "n", "n~");
    let other = Call { thread: 8, ..stage.call() };
    stage.fs.unlink(&other, files, "n").unwrap();
    assert_eq!((stage.read(copy).as_slice(), stage.is_there(files, "n~")), (&b"old"[..], true), "it only waits");
    stage.fs.send_removals(stage.wait(60)).unwrap();
    assert_eq!(stage.vault.calls(Operation::Delete), 1);
    assert_eq!((stage.read(copy).as_slice(), stage.is_there(files, "n~")), (&b""[..], false));
}

#[test]
fn what_was_made_of_a_copy_is_its_own() {
    let stage = Stage::new();
    stage.vault.set(&name("m"), &value("x"), &SecretAttributes::default(), stage.wait(60)).unwrap();
    let files = stage.dir(&["files"]);
    // One is another secret now, of the other nothing is left.
    let saved = stage.copy(files, "n", "1~");
    stage.rename(files, "1~", "m").unwrap();
    stage.rename(files, "n", "2~").unwrap();
    let anew = stage.fs.lookup(&stage.call(), files, "2~").unwrap().node;
    let flags = OpenFlags { write: true, truncate: true, ..OpenFlags::default() };
    let anew = stage.fs.open(&stage.call(), anew, flags).unwrap().handle;
    stage.write(anew, 0, b"own").unwrap();
    stage.fs.heard(&Change { name: name("n"), news: News::Revoked }, false);
    assert_eq!((stage.read(saved).as_slice(), stage.read(anew).as_slice()), (&b"old"[..], &b"own"[..]));
    assert!(stage.is_there(files, "2~"));
}
