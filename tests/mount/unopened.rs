//! A read-only mount, whose files the kernel does not open: everything that reads must read all the same.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::time::Duration;

use akvfs::secret::SecretAttributes;

use super::harness::{World, eventually, name};

fn document(world: &World, path: &str) -> serde_json::Value {
    serde_json::from_slice(&fs::read(world.path(path)).unwrap()).unwrap()
}

#[test]
fn what_changes_is_read_as_it_is() {
    let Some(world) = World::new(&[("a", "x")], "ro,ttl=200ms,negative_ttl=200ms") else { return };
    let reads = |world: &World| document(world, ".akvfs/status.json")["files"]["kernel_requests"].as_u64().unwrap();
    let seen: Vec<_> = (0..20).map(|_| reads(&world)).collect();
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    // Two tags of one length within one second: neither the size nor the date tells them apart.
    for tag in ["1", "2", "3"] {
        let changes = SecretAttributes { tags: Some([("t".into(), tag.into())].into()), ..Default::default() };
        world.vault.client.update_secret_properties(&name("a"), None, &changes).unwrap();
        eventually("the new tag", || document(&world, "secrets/a/.meta.json")["tags"]["t"] == tag);
        let size = fs::metadata(world.path("secrets/a/.meta.json")).unwrap().len();
        assert_eq!(fs::read(world.path("secrets/a/.meta.json")).unwrap().len() as u64, size);
    }
    assert!(!world.path("secrets/new").exists());
    world.vault.set("new", "x");
    eventually("the new secret", || world.path("secrets/new").exists());
    eventually("its name", || world.bash("", r#"ls "$M/secrets" "$M/files" | grep -c new"#).out == "2\n");
}

#[test]
fn an_open_descriptor_keeps_its_version_and_a_path_finds_the_new_one() {
    let Some(world) = World::new(&[("a", "first")], "ro,ttl=200ms") else { return };
    let mut file = File::open(world.path("secrets/a/value")).unwrap();
    let mut held = String::new();
    file.read_to_string(&mut held).unwrap();
    for value in ["other", "longer than before", ""] {
        world.vault.set("a", value);
        eventually("the new value", || fs::read_to_string(world.path("secrets/a/value")).unwrap() == value);
        file.rewind().unwrap();
        held.clear();
        file.read_to_string(&mut held).unwrap();
        assert_eq!(held, "first");
    }
    let versions = world.vault.versions("a");
    let all = world.bash("a", r#"cd "$D/versions"; cat $(ls -I current) | wc -c; cat current"#).ok();
    assert_eq!((all.as_str(), versions.len()), ("28\n", 4));
}

#[test]
fn a_backup_is_made_when_it_is_read_and_not_when_it_is_looked_at() {
    let Some(world) = World::new(&[("a", "x"), ("b", "y")], "ro") else { return };
    world.bash("", r#"ls -l "$M/backup"; stat "$M/backup/a"; find "$M/backup" -size +0"#).ok();
    assert_eq!(world.vault.requests("backup"), 0);
    world.bash("", r#"cat "$M/backup/a" > "$T/a" && cp "$M/backup/b" "$T/b" && [ -s "$T/a" ] && [ -s "$T/b" ]"#).ok();
    assert_eq!(world.vault.requests("backup"), 2);
    let blob = fs::read(world.mount.aside("a")).unwrap();
    world.vault.client.begin_delete_secret(&name("a")).unwrap();
    eventually("the deletion", || world.vault.deleted() == ["a"]);
    world.vault.client.purge_deleted_secret(&name("a")).unwrap();
    world.vault.client.restore_secret_backup(&akvfs::secret::BackupBlob::new(blob)).unwrap();
    assert_eq!(world.vault.get("a").as_deref(), Ok("x"));
}

#[test]
fn what_may_not_be_read_is_refused_and_comes_back_when_it_may() {
    let Some(world) = World::new(&[("a", "x")], "ro,ttl=200ms") else { return };
    let enable = |enabled| {
        let changes = SecretAttributes { enabled: Some(enabled), ..Default::default() };
        world.vault.client.update_secret_properties(&name("a"), None, &changes).unwrap();
    };
    enable(false);
    for path in ["secrets/a/value", "files/a"] {
        let refused = fs::read(world.path(path)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EACCES), "{path}");
    }
    enable(true);
    eventually("the value", || fs::read(world.path("secrets/a/value")).is_ok_and(|bytes| bytes == b"x"));
    enable(false);
    std::thread::sleep(Duration::from_millis(250));
    eventually("the refusal", || fs::read(world.path("secrets/a/value")).is_err());
}
