//! Temporary files: what is one, whose it is, how many there may be, and what becomes of them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use super::calls::{errno, write};
use super::harness::{World, has};

/// How a program makes a file.
fn create(path: &Path, flags: i32) -> std::io::Result<File> {
    OpenOptions::new()
        .read(flags & libc::O_RDWR != 0)
        .write(true)
        .create(true)
        .custom_flags(flags)
        .mode(0o644)
        .open(path)
}

const DIRECTORIES: [&str; 2] = ["secrets/a", "files"];

#[test]
fn what_is_temporary_is_told_by_its_name_or_by_how_it_is_made() {
    let Some(world) = World::new(&[("a", "x")], "") else { return };
    world.bash("a", r#"ls "$M/secrets" "$D" "$M/files" && cat "$V""#).ok();
    let sent = world.vault.server.request_count();
    for dir in DIRECTORIES {
        let at = |name: &str| world.path(&format!("{dir}/{name}"));
        let endings = ["x~", "x.swp", "x.swx", "x.tmp", "x.temp", "x.new", "x.part", "x.bak", "x.orig", "x.lock"];
        let names: Vec<_> = endings.into_iter().chain([".x", "#x#", "tls.crt.tmp", "a b~"]).collect();
        for name in &names {
            assert_eq!(write(&at(name), b"temporary"), (0, ""), "{dir}/{name}");
            assert_eq!(fs::read_to_string(at(name)).unwrap(), "temporary", "{dir}/{name}");
        }
        let listed =
            |name: &str| fs::read_dir(world.path(dir)).unwrap().any(|entry| entry.unwrap().file_name() == name);
        assert!(names.iter().all(|name| listed(name)), "{dir}");
        for name in ["tls.crt", "x.txt", "x.old", "value.oAbCdEf", "value.3746284912", "a b", "ü"] {
            assert_eq!(write(&at(name), b"lost"), (libc::EINVAL, "open"), "{dir}/{name}");
            assert_eq!(errno(create(&at(name), libc::O_EXCL)), libc::EINVAL, "{dir}/{name}, exclusively");
            assert!(!listed(name), "{dir}/{name}");
            // As mkstemp(3) makes its files.
            let mut made = create(&at(name), libc::O_EXCL | libc::O_RDWR).unwrap();
            made.write_all(b"temporary").unwrap();
            drop(made);
            assert!(listed(name), "{dir}/{name}");
            fs::remove_file(at(name)).unwrap();
        }
        for name in names {
            fs::remove_file(at(name)).unwrap();
            assert!(!listed(name), "{dir}/{name}");
        }
    }
    // vim looks whether a file can be made, under a name that a secret can have. It may be there, and hold nothing.
    let probe = world.path("secrets/a/4913");
    let mut made = create(&probe, libc::O_EXCL).unwrap();
    assert_eq!(errno(made.write_all(b"lost")), libc::EINVAL);
    drop(made);
    fs::remove_file(probe).unwrap();
    assert_eq!(world.vault.server.request_count(), sent, "nothing of it concerns the vault");
}

#[test]
fn a_file_that_no_secret_can_hold_does_not_vanish_silently() {
    let Some(world) = World::new(&[("a", "x")], "") else { return };
    for (script, remedy) in [
        (r#"echo x > "$T/tls.crt" && cp "$T/tls.crt" "$M/files/""#, "alias"),
        (r#"echo x > "$T/tls.crt" && mv "$T/tls.crt" "$M/files/""#, "alias"),
        (r#"echo x > "$T/b.txt" && cp "$T/b.txt" "$D/""#, "temporary name"),
    ] {
        let ran = world.bash("a", script);
        assert!(ran.code != 0 && ran.err.contains("Invalid argument"), "{script}: {ran:?}");
        let last = world.bash("a", r#"tail -n 1 "$M/.akvfs/errors""#).ok();
        assert!(last.contains("EINVAL") && last.contains(remedy), "{script}: {last}");
    }
    assert_eq!(world.vault.live(), ["a"]);
}

#[test]
fn temporary_files_are_bounded_in_number() {
    let Some(world) = World::new(&[("a", "x")], "") else { return };
    let at = |number: usize| world.path(&format!("secrets/a/.{number}"));
    let made = (0..).take_while(|number| File::create(at(*number)).is_ok()).count();
    assert_eq!((made, errno(File::create(at(made)))), (4096, libc::ENOSPC));
    let why = world.bash("a", r#"tail -n 1 "$M/.akvfs/errors""#).ok();
    assert!(why.contains("too many temporary files"), "{why}");
    assert_eq!(world.bash("a", r#"cat "$V""#).ok(), "x", "reading needs none");
    fs::remove_file(at(0)).unwrap();
    assert_eq!(errno(File::create(at(made))), 0);
}

#[test]
fn temporary_files_are_bounded_in_bytes() {
    let Some(world) = World::new(&[("a", "old")], "") else { return };
    let at = |number: usize| world.path(&format!("secrets/a/.{number}"));
    let one = vec![b'x'; 1 << 20];
    assert_eq!(write(&at(0), &[&one[..], b"x"].concat()), (libc::EFBIG, "write"));
    for number in 0..64 {
        assert_eq!(write(&at(number), &one), (0, ""), "{number}");
    }
    assert_eq!(write(&at(64), b"x"), (libc::ENOSPC, "write"));
    assert_eq!(write(&world.path("secrets/a/value"), b"new"), (libc::ENOSPC, "write"));
    assert_eq!((world.vault.get("a").as_deref(), world.vault.versions("a").len()), (Ok("old"), 1));
    assert_eq!(world.bash("a", r#"cat "$V""#).ok(), "old");
    fs::remove_file(at(0)).unwrap();
    assert_eq!(write(&world.path("secrets/a/value"), b"new"), (0, ""));
    assert_eq!(world.vault.get("a").as_deref(), Ok("new"));
}

#[test]
fn a_temporary_file_is_its_makers_alone() {
    // SAFETY: no arguments, cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root || !has("setpriv") {
        skipped!("only root can be two users");
        return;
    }
    let open = "allow_other,file_mode=0666,dir_mode=0777";
    let Some(world) = World::new(&[("a", "x")], open) else { return };
    world.bash("a", r#"chmod 755 "$M/.." 2> /dev/null; umask 0; echo roots > "$D/.roots""#).ok();
    let (file, value) = (world.path("secrets/a/.roots"), world.path("secrets/a/value"));
    let modes = |path: &Path| fs::metadata(path).map(|told| (told.mode() & 0o777, told.uid())).unwrap();
    assert_eq!((modes(&file), modes(&value)), ((0o600, 0), (0o666, 0)));
    let nobody =
        |script: &str| world.bash("a", &format!("setpriv --reuid=65534 --regid=65534 --clear-groups sh -c '{script}'"));
    assert_eq!(nobody(r#"cat "$V""#).ok(), "x");
    let refused = nobody(r#"cat "$D/.roots""#);
    assert!(refused.err.contains("Permission denied"), "{refused:?}");
    nobody(r#"echo his > "$D/.his" && [ "$(cat "$D/.his")" = his ]"#).ok();
    assert_eq!(modes(&world.path("secrets/a/.his")), (0o600, 65534));
    // What he saves is the vault's, and belongs to whom it did.
    nobody(r#"mv "$D/.his" "$V""#).ok();
    assert_eq!((world.vault.get("a").as_deref(), modes(&value)), (Ok("his\n"), (0o666, 0)));
}

#[test]
fn an_end_of_the_mount_names_what_was_not_renamed() {
    let Some(World { mut mount, vault }) = World::new(&[("a", "x")], "") else { return };
    let make = |name: &str| create(&mount.path(&format!("secrets/a/{name}")), libc::O_EXCL | libc::O_RDWR).unwrap();
    make("sedAbCdEf").write_all(b"canary").unwrap();
    make(".sedAbCdEf").write_all(b"canary").unwrap();
    mount.signal(libc::SIGTERM);
    assert!(mount.ends_within(Duration::from_secs(5)));
    let log = mount.log();
    let named: Vec<_> = log.lines().filter(|line| line.contains("never renamed")).collect();
    assert!(named.len() == 1 && named[0].contains("WARN") && named[0].contains("secrets/a/sedAbCdEf"), "{log}");
    assert!(!log.contains("canary"), "{log}");
    assert_eq!(vault.live(), ["a"]);
}
