//! What the files say where an answer of the vault is missing or old: what is known, or an error. Never that there is nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use akvfs::cache::{CacheOptions, CachedStore};
use akvfs::fs::tree::{Ino, ROOT};
use akvfs::fs::{Call, FsOptions, OpenFlags, SecretFs};
use akvfs::secret::SecretAttributes;
use akvfs::store::{ErrorKind, Operation, SecretStore, Wait};

use support::{Alone, Deaf, ManualClock, ModelStore, name, value};

/// Longer than anything is believed, or stands in for an answer.
const LONG: Duration = Duration::from_secs(24 * 3600);

struct Scene {
    clock: Arc<ManualClock>,
    vault: Arc<ModelStore>,
    cache: Arc<CachedStore>,
    fs: SecretFs,
}

impl Scene {
    fn new() -> Self {
        let clock = ManualClock::shared();
        let vault = ModelStore::new(clock.clone());
        let cache = Arc::new(CachedStore::new(vault.clone(), CacheOptions::default(), clock.clone()));
        let fs = SecretFs::new(cache.clone(), clock.clone(), Arc::new(Alone), Arc::new(Deaf), FsOptions::default());
        Self { clock, vault, cache, fs }
    }

    fn call(&self) -> Call {
        Call { uid: 0, gid: 0, thread: 1, wait: Wait::at_most(&*self.clock, Duration::from_secs(15)) }
    }

    /// Another party sets it, with a tag.
    fn theirs(&self, secret: &str, tag: (&str, &str)) -> String {
        let tags = Some([(tag.0.to_owned(), tag.1.to_owned())].into());
        let attributes = SecretAttributes { tags, ..SecretAttributes::default() };
        let set = self.vault.set(&name(secret), &value("theirs"), &attributes, self.call().wait);
        set.unwrap().version.unwrap().to_string()
    }

    fn look_up(&self, path: &str) -> Result<Ino, i32> {
        let step = |dir, part| self.fs.lookup(&self.call(), dir, part).map(|entry| entry.node);
        path.split('/').try_fold(ROOT, step).map_err(|error| error.errno())
    }

    /// The next calls of this operation fail.
    fn break_down(&self, operation: Operation, kind: ErrorKind) {
        (0..20).for_each(|_| self.vault.fail_next(operation, kind));
    }
}

#[test]
fn a_version_of_another_party_is_there_as_soon_as_it_is_known_to_be_current() {
    let scene = Scene::new();
    let first = scene.theirs("n", ("a", "b"));
    let path = |version: &str| format!("secrets/n/versions/{version}");
    scene.look_up(&path(&first)).unwrap();
    let second = scene.theirs("n", ("a", "b"));
    scene.cache.get(&name("n"), None, scene.call().wait.anew()).unwrap();
    let link = scene.look_up("secrets/n/versions/current").unwrap();
    assert_eq!(scene.fs.readlink(&scene.call(), link).unwrap(), second);
    scene.look_up(&path(&second)).unwrap();
    // Nor does a listing from before an outage take it away.
    let third = scene.theirs("n", ("a", "b"));
    scene.cache.get(&name("n"), None, scene.call().wait.anew()).unwrap();
    scene.break_down(Operation::ListVersions, ErrorKind::TimedOut);
    scene.look_up(&path(&third)).unwrap();
}

#[test]
fn attributes_that_are_not_in_memory_are_asked_for() {
    let scene = Scene::new();
    scene.theirs("n", ("team", "blue"));
    let ino = scene.look_up("secrets/n/value").unwrap();
    scene.clock.advance(LONG);
    let at_once = Call { wait: Wait::No, ..scene.call() };
    assert!(scene.fs.listxattr(&at_once, ino).unwrap_err().is_not_in_memory());
    let names = String::from_utf8(scene.fs.listxattr(&scene.call(), ino).unwrap()).unwrap();
    assert!(names.contains("user.akvfs.tag.team\0"), "{names}");
}

#[test]
fn who_may_not_get_saves_nothing_while_it_is_not_known_what_there_is() {
    let scene = Scene::new();
    scene.theirs("n", ("team", "blue"));
    let ino = scene.look_up("secrets/n/value").unwrap();
    let flags = OpenFlags::from_bits(libc::O_WRONLY | libc::O_TRUNC);
    let opened = scene.fs.open(&scene.call(), ino, flags).or_else(|_| {
        // Sent back for an inode of its own.
        let ino = scene.look_up("secrets/n/value").unwrap();
        scene.fs.open(&scene.call(), ino, flags)
    });
    let handle = opened.unwrap().handle;
    scene.fs.write(&scene.call(), handle, 0, b"ours").unwrap();
    scene.clock.advance(LONG);
    scene.break_down(Operation::Get, ErrorKind::Forbidden);
    scene.break_down(Operation::List, ErrorKind::Broken);
    let before = scene.vault.calls(Operation::Set);
    assert_eq!(scene.fs.flush(&scene.call(), handle).unwrap_err().errno(), libc::EIO);
    assert_eq!(scene.vault.calls(Operation::Set), before);
    scene.vault.forget_faults();
    let kept = scene.vault.get(&name("n"), None, scene.call().wait).unwrap();
    assert_eq!(kept.value.expose(), "theirs");
    assert!(kept.properties.tags.unwrap().contains_key("team"));
}

#[test]
fn a_directory_just_made_says_nothing_of_a_vault_that_does_not_answer() {
    let scene = Scene::new();
    let secrets = scene.look_up("secrets").unwrap();
    scene.fs.mkdir(&scene.call(), secrets, "n").unwrap();
    assert_eq!(scene.look_up("secrets/n/value"), Err(libc::ENOENT));
    scene.clock.advance(LONG);
    for operation in [Operation::Get, Operation::List] {
        scene.break_down(operation, ErrorKind::TimedOut);
    }
    assert_eq!(scene.look_up("secrets/n/value"), Err(libc::ETIMEDOUT));
}

#[test]
fn an_alias_is_not_left_out_because_it_cannot_be_looked_up() {
    let scene = Scene::new();
    scene.theirs("a", ("akvfs-file", "tls.crt"));
    (0..60).for_each(|number| drop(scene.theirs(&format!("b{number}"), ("x", "y"))));
    // The first page has come.
    scene.cache.list(None, scene.call().wait).unwrap();
    let files = scene.look_up("files").unwrap();
    let handle = scene.fs.opendir(&scene.call(), files).unwrap();
    scene.break_down(Operation::List, ErrorKind::TimedOut);
    let failed = scene.fs.list(&scene.call(), files, handle, 0).map(|_| ()).unwrap_err();
    assert_eq!(failed.errno(), libc::ETIMEDOUT);
}
