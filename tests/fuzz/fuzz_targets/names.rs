//! Any name and path, looked up in a tree: no panic, and what is found has a name that belongs there. Any text as a name, a
//! version, a date: what is read, reads back.
#![no_main]

#[path = "../../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use akvfs::fs::processes::Processes;
use akvfs::fs::tree::{Ino, ROOT};
use akvfs::fs::{Call, FsOptions, Kernel, Notice, SecretFs, fuzzing};
use akvfs::secret::{SecretAttributes, SecretName, Tags, Timestamp, Version};
use akvfs::store::{SecretStore, Wait};
use libfuzzer_sys::fuzz_target;
use support::{ManualClock, ModelStore, name, value};

struct Nobody;

impl Processes for Nobody {
    fn of_thread(&self, thread: u32) -> u32 {
        thread
    }
    fn descends(&self, _process: u32, _ancestors: &BTreeSet<u32>) -> bool {
        false
    }
    fn may_write(&self, _processes: &BTreeSet<u32>, _inodes: &[Ino]) -> bool {
        false
    }
    fn was_killed(&self, _thread: u32) -> bool {
        false
    }
    fn program(&self, _: u32) -> Option<String> {
        None
    }
}

impl Kernel for Nobody {
    fn tell(&self, _notice: Notice) {}
    fn settle(&self, _limit: Duration) -> bool {
        true
    }
}

/// A tree with two secrets, one of which has another name too, and the clock of it.
static TREE: LazyLock<(SecretFs, Arc<ManualClock>)> = LazyLock::new(|| {
    let clock = ManualClock::shared();
    let vault = ModelStore::new(clock.clone());
    let wait = Wait::at_most(&*clock, Duration::from_secs(1));
    let tags = Some(Tags::from([("akvfs-file".to_owned(), "tls.crt".to_owned())]));
    let tagged = SecretAttributes { tags, content_type: Some("application/x-pkcs12".into()), ..Default::default() };
    vault.set(&name("Web-Tls"), &value("MAA="), &tagged, wait).expect("set");
    vault.set(&name("db"), &value("x"), &SecretAttributes::default(), wait).expect("set");
    let fs = SecretFs::new(vault, clock.clone(), Arc::new(Nobody), Arc::new(Nobody), FsOptions::default());
    (fs, clock)
});

fn belongs(depth: usize, name: &str) -> bool {
    match depth {
        0 => ["secrets", "deleted", "files", "backup", ".akvfs"].contains(&name),
        1 => ["Web-Tls", "db", "tls.crt", "status.json", "errors", "metrics", "refresh"].contains(&name),
        _ => {
            let parts = ["value", ".meta.json", "versions", "certificate", "current", "cert.pem", "chain.pem", "fullchain.pem", "privkey.pem", "bundle.pfx"];
            let version = name.strip_prefix('.').and_then(|name| name.strip_suffix(".meta.json")).unwrap_or(name);
            parts.contains(&name) || Version::parse(version).is_some()
        }
    }
}

fn walk(path: &str) {
    let (fs, clock) = &*TREE;
    let call = Call { uid: 0, gid: 0, thread: 1, wait: Wait::at_most(&**clock, Duration::from_secs(1)) };
    let mut at = ROOT;
    for (depth, part) in path.split('/').enumerate() {
        match fs.lookup(&call, at, part) {
            Ok(entry) => {
                assert!(belongs(depth, part), "{part:?} at {depth}");
                let _ = fs.getattr(&call, entry.node);
                at = entry.node;
            }
            Err(error) => {
                let errno = error.errno();
                assert!([libc::ENOENT, libc::ENAMETOOLONG, libc::ENOTDIR].contains(&errno), "{part:?}: {errno}");
                return;
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    walk(text);
    if let Ok(name) = SecretName::parse(text) {
        assert!(name.as_str() == text && (1..=127).contains(&text.len()) && fuzzing::is_file_name(text));
        assert!(name == SecretName::parse(&text.to_ascii_lowercase()).expect("so is this"));
    }
    if let Some(version) = Version::parse(text) {
        assert!(version.as_str().eq_ignore_ascii_case(text) && Version::parse(version.as_str()).as_ref() == Some(&version));
    }
    if let Some(date) = Timestamp::parse(text) {
        assert_eq!(Timestamp::parse(&date.to_string()), Some(date));
    }
    if fuzzing::is_file_name(text) {
        assert!(!text.contains(['/', '\0', '\n']) && text != "." && text != ".." && text.len() <= 255);
    }
});
