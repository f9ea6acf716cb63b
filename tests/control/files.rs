//! The files of `.akvfs/` without a kernel.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use akvfs::fs::attr::Kind;
use akvfs::fs::journal::Asked;
use akvfs::fs::{Change, FsOptions, Notice, OpenFlags, RenameMode};
use akvfs::secret::SecretAttributes;
use akvfs::store::{ErrorKind, Operation, SecretStore};
use serde_json::Value;

use crate::house::{House, errno};
use crate::support::{name, value};
use crate::{CANARY, samples};

const FILES: [&str; 5] = ["status.json", "errors", "metrics", "refresh", "log"];

fn names(house: &House, path: &str) -> Vec<String> {
    let handle = house.fs.opendir(&house.call(), house.ino(path)).unwrap();
    let entries = house.fs.readdir(&house.call(), handle, 0).unwrap();
    house.fs.releasedir(handle);
    assert_eq!((entries[0].name.as_str(), entries[1].name.as_str()), (".", ".."));
    entries[2..].iter().map(|entry| entry.name.clone()).collect()
}

/// What is logged meanwhile by this thread.
fn logged(act: impl FnOnce()) -> String {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let lines = kept.clone();
    let writer = move || Lines(lines.clone());
    tracing::subscriber::with_default(tracing_subscriber::fmt().with_writer(writer).finish(), act);
    String::from_utf8(kept.lock().unwrap().clone()).unwrap()
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Another party's set.
fn set_elsewhere(house: &House, secret: &str, text: &str) {
    house.model.set(&name(secret), &value(text), &SecretAttributes::default(), house.call().wait).unwrap();
}

#[test]
fn the_directory_lists_its_files_and_nobody_but_the_owner_reads_them() {
    let house = House::new();
    assert_eq!(names(&house, ".akvfs"), FILES);
    let dir = house.attr(".akvfs");
    assert_eq!((dir.kind, dir.mode), (Kind::Directory, 0o700));
    for (file, mode) in FILES.into_iter().zip([0o400, 0o400, 0o400, 0o600, 0o600]) {
        let attr = house.attr(&format!(".akvfs/{file}"));
        assert_eq!((attr.kind, attr.mode), (Kind::File, mode), "{file}");
    }
    assert_eq!(errno(house.walk(".akvfs/other")), libc::ENOENT);
    assert_eq!(house.model.all_calls(), 0, "no look at .akvfs asks the vault");
}

#[test]
fn it_keeps_its_number_and_cannot_be_changed() {
    let house = House::new();
    let (dir, errors) = (house.ino(".akvfs"), house.ino(".akvfs/errors"));
    house.fs.forget(errors, 2);
    assert_eq!((house.ino(".akvfs"), house.ino(".akvfs/errors")), (dir, errors));
    let call = house.call();
    assert_eq!(errno(house.open(".akvfs/errors", libc::O_WRONLY)), libc::EPERM);
    assert_eq!(
        errno(house.fs.setattr(&call, errors, None, Change { size: Some(0), ..Change::default() })),
        libc::EPERM
    );
    assert_eq!(errno(house.fs.unlink(&call, dir, "errors")), libc::EPERM);
    assert_eq!(errno(house.fs.mkdir(&call, dir, "more")), libc::EPERM);
    assert_eq!(errno(house.fs.create(&call, dir, "more", 0o600, OpenFlags::default())), libc::EPERM);
    assert_eq!(errno(house.fs.rename(&call, (dir, "errors"), (dir, "e"), RenameMode::Replace)), libc::EPERM);
    assert_eq!(errno(house.fs.rmdir(&call, 1, ".akvfs")), libc::EPERM);
}

#[test]
fn a_size_is_that_of_the_bytes_that_are_read() {
    let house = House::new();
    for file in FILES.map(|file| format!(".akvfs/{file}")) {
        let ino = house.ino(&file);
        let handle = house.fs.open(&house.call(), ino, OpenFlags::default()).unwrap();
        // What happens after the open changes neither.
        (0..1_000).for_each(|_| house.fs.metrics().requests.add("open"));
        house.clock.advance(Duration::from_secs(1_000));
        let size = house.fs.getattr(&house.call(), ino).unwrap().attr.size;
        let bytes = house.fs.read(handle.handle, 0, usize::MAX).unwrap();
        assert_eq!(bytes.len() as u64, size, "{file}");
        assert!(handle.direct, "{file}");
        house.fs.release(handle.handle).unwrap();
    }
}

#[test]
fn the_status_tells_what_the_mount_is_and_how_it_is() {
    let house = House::new();
    let status = house.status();
    let expected = serde_json::json!(["1.2.3", "contoso", "/mnt/a \"b\"", 42, "2026-11-24T05:00:00Z", false]);
    let told = ["akvfs", "source", "directory", "pid", "since", "read_only"].map(|key| status[key].clone());
    assert_eq!(Value::from(told.to_vec()), expected);
    assert_eq!(status["listing"], Value::Null);
    assert_eq!(status["operations"], serde_json::json!({}));

    names(&house, "secrets");
    house.clock.advance(Duration::from_secs(60));
    house.save_new("n", CANARY).unwrap();
    house.read("secrets/n/value");
    let status = house.status();
    assert_eq!(status["operations"]["list"]["last_success"], "2026-11-24T05:00:00Z");
    assert_eq!(status["operations"]["set"]["last_success"], "2026-11-24T05:01:00Z");
    assert_eq!(
        status["listing"],
        serde_json::json!({ "as_of": "2026-11-24T05:00:00Z", "age_seconds": 60, "stale": false })
    );
    assert_eq!(status["cache"]["values"], 1);
    assert!(status["cache"]["hits"].as_u64() > Some(0) && status["cache"]["bytes"].as_u64() > Some(500), "{status}");
    assert_eq!(status["files"]["opens"], 1);
    assert!(!status.to_string().contains(CANARY));
    house.clock.advance(Duration::from_secs(600));
    assert_eq!(house.status()["listing"]["stale"], true);
}

#[test]
fn the_status_tells_what_is_not_at_the_vault() {
    let house = House::new();
    house.save_new("gone", "x").unwrap();
    let dir = house.ino("secrets/gone");
    house.fs.unlink(&house.call(), dir, "value").unwrap();
    let secrets = house.ino("secrets");
    let dir = house.fs.mkdir(&house.call(), secrets, "new").unwrap().node;
    let flags = OpenFlags::from_bits(libc::O_RDWR | libc::O_EXCL);
    for file in ["sedAbC123", ".sedAbC123"] {
        let (_, opened) = house.fs.create(&house.call(), dir, file, 0o600, flags).unwrap();
        house.fs.write(&house.call(), opened.handle, 0, CANARY.as_bytes()).unwrap();
        house.fs.release(opened.handle).unwrap();
    }
    let pending = house.status()["pending"].clone();
    let expected = |files: &[&str]| serde_json::json!({ "removals": ["gone"], "directories_without_value": ["new"], "temporary_files": files });
    assert_eq!(pending, expected(&[]));
    house.clock.advance(Duration::from_secs(60));
    assert_eq!(house.status()["pending"], expected(&["secrets/new/sedAbC123"]));
    assert_eq!(house.fs.not_renamed(), ["secrets/new/sedAbC123"]);
    assert!(house.read(".akvfs/metrics").contains("akvfs_pending_removals 1\n"));
}

#[test]
fn a_temporary_file_that_is_left_lying_is_logged_once() {
    let house = House::new();
    house.save_new("n", "x").unwrap();
    let flags = OpenFlags::from_bits(libc::O_RDWR | libc::O_EXCL);
    for file in ["sedAbC123", ".sedAbC123"] {
        let (_, opened) = house.fs.create(&house.call(), house.ino("secrets/n"), file, 0o600, flags).unwrap();
        house.fs.write(&house.call(), opened.handle, 0, CANARY.as_bytes()).unwrap();
        house.fs.release(opened.handle).unwrap();
    }
    let told = || logged(|| house.fs.tell_of_left_files());
    house.clock.advance(Duration::from_secs(59));
    assert_eq!(told(), "");
    house.clock.advance(Duration::from_secs(1));
    let line = told();
    assert!(line.contains("WARN") && line.contains("secrets/n/sedAbC123 ") && !line.contains(CANARY), "{line}");
    assert_eq!((line.lines().count(), told().as_str()), (1, ""));
}

#[test]
fn the_metrics_count_saves_and_the_versions_they_made() {
    let house = House::new();
    house.save_new("n", "x").unwrap();
    let dir = house.ino("secrets/n");
    let flags = OpenFlags::from_bits(libc::O_WRONLY);
    let (entry, opened) = house.fs.create(&house.call(), dir, ".x", 0o600, flags).unwrap();
    house.write_and_close(opened.handle, entry.node, b"x").unwrap();
    house.fs.rename(&house.call(), (dir, ".x"), (dir, "value"), RenameMode::Replace).unwrap();
    let found = samples(&house.read(".akvfs/metrics"));
    assert_eq!((found["akvfs_saves_total"], found["akvfs_versions_made_total"]), (2.0, 1.0), "equal bytes make none");
    assert_eq!(found["akvfs_vault_operations_total{operation=\"set\"}"], 1.0);
    let info = r#"akvfs_mount_info{version="1.2.3",source="contoso",directory="/mnt/a \"b\""}"#;
    assert_eq!(found[info], 1.0);
}

#[test]
fn a_refused_save_is_kept_with_its_path_and_without_its_value() {
    let house = House::new();
    house.model.fail_next(Operation::Set, ErrorKind::Forbidden);
    assert_eq!(house.save_new("n", CANARY), Err(libc::EACCES));
    let errors = house.errors();
    // The close heard of it; the release, where it was tried again, was let through.
    assert_eq!(errors.len(), 1, "{errors:?}");
    let expected = [
        ("time", "2026-11-24T05:00:00Z"),
        ("path", "secrets/n/value"),
        ("operation", "flush"),
        ("errno", "EACCES"),
        ("remedy", "give the identity this right on the vault"),
    ];
    for (key, text) in expected {
        assert_eq!(errors[0][key], text);
    }
    let status = house.status();
    assert_eq!(status["errors"], serde_json::json!({ "count": 1, "by_errno": { "EACCES": 1 }, "panics": 0 }));
    assert_eq!(status["operations"]["set"]["failures"], serde_json::json!({ "forbidden": 1 }));
    assert!(!house.read(".akvfs/errors").contains(CANARY));
}

#[test]
fn what_nobody_hears_is_kept_too() {
    let house = House::new();
    house.save_new("n", "x").unwrap();
    let dir = house.ino("secrets/n");
    house.fs.unlink(&house.call(), dir, "value").unwrap();
    house.model.fail_next(Operation::Delete, ErrorKind::Forbidden);
    house.clock.advance(Duration::from_secs(2));
    house.fs.send_due_removals();
    let (entry, opened) =
        house.fs.create(&house.call(), dir, "value", 0o600, OpenFlags::from_bits(libc::O_WRONLY)).unwrap();
    house.fs.write(&house.call(), opened.handle, 0, CANARY.as_bytes()).unwrap();
    house.model.fail_next(Operation::Set, ErrorKind::Managed);
    house.fs.release(opened.handle).unwrap_err();
    house.fs.forget(entry.node, 1);
    let told: Vec<_> =
        house.errors().iter().map(|e| ["path", "operation", "errno"].map(|key| e[key].clone())).collect();
    let path = "secrets/n/value";
    assert_eq!(told, [[path, "unlink", "EACCES"], [path, "release", "EPERM"]]);
}

#[test]
fn routine_answers_are_not_kept() {
    let house = House::new();
    let secrets = house.ino("secrets");
    for missing in ["missing", ".git", "x.y"] {
        let error = house.fs.lookup(&house.call(), secrets, missing).unwrap_err();
        assert_eq!(house.fs.failed(&Asked::at("lookup", secrets, missing), &error), libc::ENOENT);
    }
    house.save_new("n", "x").unwrap();
    let error = house.fs.mkdir(&house.call(), secrets, "n").unwrap_err();
    assert_eq!(house.fs.failed(&Asked::at("mkdir", secrets, "n"), &error), libc::EEXIST);
    assert!(house.errors().is_empty());
    let error = house.fs.mkdir(&house.call(), secrets, "n_").unwrap_err();
    house.fs.failed(&Asked::at("mkdir", secrets, "n_"), &error);
    assert_eq!(house.errors()[0]["path"], "secrets/n_");
}

#[test]
fn a_deleted_secret_is_named_where_it_stands() {
    let house = House::new();
    house.save_new("n", "x").unwrap();
    let secrets = house.ino("secrets");
    house.fs.rmdir(&house.call(), secrets, "n").unwrap();
    let meta = house.ino("deleted/n/.meta.json");
    let error = house.fs.open(&house.call(), meta, OpenFlags::from_bits(libc::O_WRONLY)).unwrap_err();
    house.fs.failed(&Asked::of("open", meta), &error);
    assert_eq!(house.errors()[0]["path"], "deleted/n/.meta.json");
}

#[test]
fn refresh_asks_anew_for_one_or_for_all() {
    for names_written in ["n\n", "\n", "other\nN"] {
        let house = House::new();
        set_elsewhere(&house, "n", "old");
        names(&house, "secrets");
        assert_eq!(house.read("secrets/n/value"), "old");
        set_elsewhere(&house, "n", "new");
        assert_eq!(house.read("secrets/n/value"), "old", "believed for ttl");
        house.kernel.take();
        house.refresh(names_written).unwrap();
        let told = house.kernel.take();
        let (dir, secrets) = (house.ino("secrets/n"), house.ino("secrets"));
        assert!(told.contains(&Notice::Entry(dir, "value".to_owned())), "{told:?}");
        let whole =
            |notice: &Notice| matches!(notice, Notice::Entry(at, n) if *at == secrets && n.eq_ignore_ascii_case("n"));
        assert!(!told.iter().any(whole), "the directory stays: {told:?}");
        assert_eq!(house.read("secrets/n/value"), "new");
    }
}

#[test]
fn an_empty_refresh_is_for_all_and_opening_alone_is_nothing() {
    let house = House::new();
    set_elsewhere(&house, "a", "1");
    names(&house, "secrets");
    set_elsewhere(&house, "b", "2");
    let handle = house.open(".akvfs/refresh", libc::O_WRONLY).unwrap();
    house.fs.flush(&house.call(), handle).unwrap();
    house.fs.release(handle).unwrap();
    assert_eq!(names(&house, "secrets"), ["a"]);
    let handle = house.open(".akvfs/refresh", libc::O_WRONLY | libc::O_TRUNC).unwrap();
    house.fs.flush(&house.call(), handle).unwrap();
    house.fs.release(handle).unwrap();
    assert_eq!(names(&house, "secrets"), ["a", "b"]);
    assert_eq!(house.read(".akvfs/refresh"), "");
    assert_eq!(house.fs.held().1, 0, "no draft is left");
}

#[test]
fn refresh_drops_the_directory_of_a_secret_that_is_gone() {
    for one in [true, false] {
        let house = House::new();
        set_elsewhere(&house, "n", "x");
        names(&house, "secrets");
        let secrets = house.ino("secrets");
        house.ino("secrets/n");
        house.model.delete(&name("n"), house.call().wait).unwrap();
        assert!(house.walk("secrets/n").is_ok(), "believed for ttl");
        house.kernel.take();
        house.fs.refresh(one.then(|| name("n")).as_ref(), house.call().wait).unwrap();
        assert!(house.kernel.take().contains(&Notice::Entry(secrets, "n".to_owned())));
        assert_eq!(errno(house.walk("secrets/n")), libc::ENOENT);
    }
}

#[test]
fn a_refresh_that_the_vault_does_not_answer_says_so() {
    let house = House::new();
    for (names_written, operation) in [("n\n", Operation::Get), ("\n", Operation::List)] {
        house.model.fail_next(operation, ErrorKind::Unreachable);
        assert_eq!(house.refresh(names_written), Err(libc::EHOSTUNREACH));
        house.model.fail_next(operation, ErrorKind::Forbidden);
        assert_eq!(house.refresh(names_written), Ok(()));
    }
    assert_eq!(house.errors().len(), 2);
}

#[test]
fn a_refresh_of_what_is_no_name_is_refused_whole() {
    let house = House::new();
    set_elsewhere(&house, "n", "old");
    assert_eq!(house.read("secrets/n/value"), "old");
    set_elsewhere(&house, "n", "new");
    assert_eq!(house.refresh("n\nsecrets/n\n"), Err(libc::EINVAL));
    assert_eq!(house.read("secrets/n/value"), "old");
    let error = &house.errors()[0];
    assert_eq!((&error["path"], &error["errno"]), (&".akvfs/refresh".into(), &"EINVAL".into()));
}

#[test]
fn a_read_only_mount_tells_and_takes_nothing() {
    let house = House::with(FsOptions { read_only: true, ..FsOptions::default() });
    assert_eq!(house.status()["read_only"], true);
    assert_eq!(house.attr(".akvfs/refresh").mode, 0o400);
    assert_eq!(errno(house.open(".akvfs/refresh", libc::O_WRONLY)), libc::EROFS);
}

#[test]
fn refresh_drops_a_plain_file_and_its_alias_too() {
    let house = House::new();
    let tags = [("akvfs-file".to_owned(), "n.txt".to_owned())].into();
    let attributes = SecretAttributes { tags: Some(tags), ..SecretAttributes::default() };
    house.model.set(&name("n"), &value("old"), &attributes, house.call().wait).unwrap();
    assert_eq!((house.read("files/n"), house.read("files/n.txt")), ("old".to_owned(), "old".to_owned()));
    house.model.set(&name("n"), &value("new"), &SecretAttributes::default(), house.call().wait).unwrap();
    house.kernel.take();
    house.fs.refresh(None, house.call().wait).unwrap();
    let (told, files) = (house.kernel.take(), house.ino("files"));
    for file in ["n", "n.txt"] {
        assert!(told.contains(&Notice::Entry(files, file.to_owned())), "{file}: {told:?}");
    }
    assert_eq!(house.read("files/n"), "new");
    assert_eq!(errno(house.walk("files/n.txt")), libc::ENOENT);
}

#[test]
fn every_kind_of_file_has_its_path() {
    let house = House::new();
    house.save_new("n", "x").unwrap();
    let versions = names(&house, "secrets/n/versions");
    for path in
        ["secrets", "deleted", "files", "backup", ".akvfs", "secrets/n", "secrets/n/value", "files/n", "backup/n"]
    {
        named(&house, path);
    }
    named(&house, "secrets/n/.meta.json");
    for version in versions {
        let path = format!("secrets/n/versions/{version}");
        named(&house, &path);
    }
    assert_eq!(house.errors().last().unwrap()["operation"], "stat");
}

/// What fails at `path` is told by that path.
fn named(house: &House, path: &str) {
    let refused = akvfs::fs::errno::FsError::refused(libc::EIO, "because");
    house.fs.failed(&Asked::of("stat", house.ino(path)), &refused);
    assert_eq!(house.errors().last().unwrap()["path"], path);
}

/// Each top-level member has its row in docs/operating.md, and each row its member.
#[test]
fn the_manual_has_every_member_of_the_status_and_no_other() {
    let manual = include_str!("../../docs/operating.md").split("### status.json").nth(1).unwrap();
    let table = manual.split("\n\n").nth(1).unwrap();
    let cells = table.lines().skip(2).map(|row| row.split('|').nth(1).unwrap());
    let mut told: Vec<_> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    told.sort_unstable();
    let status = House::new().status();
    let mut there: Vec<_> = status.as_object().unwrap().keys().map(String::as_str).collect();
    there.sort_unstable();
    assert_eq!(told, there);
}
