//! What is refused, with which errno, and that nothing of the vault was touched by it.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};

use akvfs::local::ManagedSecret;
use akvfs::secret::{SecretAttributes, SecretValue};
use akvfs::store::ErrorKind;

use super::calls::{c_path, call, errno, write};
use super::harness::{Vault, World, has, name};

/// Everything that can be asked of a vault.
pub fn snapshot(vault: &Vault) -> Vec<String> {
    let mut all: Vec<_> = vault.deleted().into_iter().map(|name| format!("deleted {name}")).collect();
    for secret in vault.live() {
        let value = vault.get(&secret);
        let versions = vault.client.list_properties_of_secret_versions(&name(&secret));
        let versions: Vec<_> = versions.map(Result::unwrap).collect();
        all.push(format!("{secret}: {value:?} {versions:?}"));
    }
    all
}

/// A vault with one of everything that refuses.
pub fn fill(vault: &Vault) {
    vault.set("old", "second");
    vault.set("gone", "x");
    vault.client.begin_delete_secret(&name("gone")).unwrap();
    let disabled = SecretAttributes { enabled: Some(false), ..SecretAttributes::default() };
    vault.client.set_secret(&name("disabled"), &SecretValue::new("x".into()), &disabled).unwrap();
    let managed = ManagedSecret {
        name: name("managed"),
        content_type: "application/x-pem-file".into(),
        value: SecretValue::new("PEM".into()),
        not_before: 0,
        expires_on: 4_000_000_000,
    };
    vault.server.add_managed(managed).unwrap();
}

fn world(options: &str) -> Option<World> {
    let world = World::new(&[("a", "one"), ("Name", "two"), ("old", "first")], options)?;
    fill(&world.vault);
    // The mount was there before: it shall know what was made meanwhile.
    drop(world.mount);
    World::of(world.vault, options)
}

#[test]
fn names_that_no_secret_can_have() {
    let Some(world) = world("") else { return };
    let before = snapshot(&world.vault);
    let at = |name: &str| world.path(&format!("secrets/{name}"));
    let (long, longest) = ("n".repeat(128), "n".repeat(127));
    for (name, expected) in [
        ("with_underscore", libc::EINVAL),
        ("with.dot", libc::EINVAL),
        ("with space", libc::EINVAL),
        ("ä", libc::EINVAL),
        (&long, libc::ENAMETOOLONG),
        ("NAME", libc::EEXIST),
        ("a", libc::EEXIST),
        ("gone", libc::EEXIST),
    ] {
        assert_eq!(errno(fs::create_dir(at(name))), expected, "mkdir {name}");
    }
    for (name, expected) in
        [("with_underscore", libc::ENOENT), ("NAME", libc::ENOENT), (&long, libc::ENAMETOOLONG), ("none", libc::ENOENT)]
    {
        assert_eq!(errno(fs::metadata(at(name))), expected, "stat {name}");
        assert_eq!(errno(File::open(at(name).join("value"))), expected, "open {name}/value");
    }
    assert_eq!(errno(fs::create_dir(at(&longest)).and_then(|()| fs::remove_dir(at(&longest)))), 0);
    assert_eq!(snapshot(&world.vault), before);
}

#[test]
fn values_that_no_secret_can_have() {
    let Some(world) = world("") else { return };
    let before = snapshot(&world.vault);
    let value = world.path("secrets/a/value");
    assert_eq!(write(&value, &[b'x'; 25_601]), (libc::EFBIG, "write"));
    assert_eq!(errno(OpenOptions::new().write(true).open(&value).and_then(|file| file.set_len(25_601))), libc::EFBIG);
    assert_eq!(call(unsafe { libc::truncate(c_path(&value).as_ptr(), 25_601) }), libc::EFBIG);
    assert_eq!(write(&value, b"\xff\xfe"), (libc::EILSEQ, "close"));
    let mut file = OpenOptions::new().write(true).truncate(true).open(&value).unwrap();
    file.write_all(b"ok \xff").unwrap();
    assert_eq!(errno(file.sync_all()), libc::EILSEQ);
    // What could not be saved is mended through the same descriptor.
    file.set_len(2).unwrap();
    file.sync_all().unwrap();
    drop(file);
    assert_eq!(fs::read_to_string(&value).unwrap(), "ok");
    world.bash("a", r#"printf one > "$V""#).ok();
    assert_eq!(world.vault.get("a").as_deref(), Ok("one"));
    assert_eq!(world.vault.versions("a").len(), 3, "two saves, and none by what was refused");
    assert_eq!(snapshot(&world.vault).len(), before.len());
    assert_eq!(write(&value, &[b'x'; 25_600]), (0, ""));
    assert_eq!(fs::metadata(&value).unwrap().len(), 25_600);
}

#[test]
fn documents_that_change_what_cannot_be_changed() {
    let Some(world) = world("") else { return };
    let before = snapshot(&world.vault);
    let document = world.path("secrets/a/.meta.json");
    for (text, expected) in [
        (r#"{"version": "0123456789abcdef0123456789abcdef"}"#, libc::EINVAL),
        (r#"{"created_on": "2020-01-01T00:00:00Z"}"#, libc::EINVAL),
        (r#"{"name": "b"}"#, libc::EINVAL),
        (r#"{"recovery_level": "Purgeable"}"#, libc::EINVAL),
        (r#"{"colour": "red"}"#, libc::EINVAL),
        (r#"{"tags": {"a": 1}}"#, libc::EINVAL),
        (r#"{"enabled": "no"}"#, libc::EINVAL),
        (r#"{"expires_on": "soon"}"#, libc::EINVAL),
        (r#"{"expires_on": null}"#, libc::EOPNOTSUPP),
        (r#"{"not_before": null, "tags": {}}"#, libc::EOPNOTSUPP),
        (r#"{"content_type": null}"#, libc::EOPNOTSUPP),
        (r#"{"tags": {}"#, libc::EINVAL),
        ("", libc::EINVAL),
        ("[]", libc::EINVAL),
    ] {
        assert_eq!(write(&document, text.as_bytes()), (expected, "close"), "{text}");
    }
    assert_eq!(write(&document, b"\xff"), (libc::EINVAL, "close"));
    assert_eq!(write(&document, &[b' '; (1 << 20) + 1]), (libc::EFBIG, "write"));
    assert_eq!(world.vault.requests("update"), 0);
    // What was read can be written back, and changes nothing.
    let text = fs::read(&document).unwrap();
    assert_eq!((write(&document, &text), world.vault.requests("update")), ((0, ""), 0));
    assert_eq!(snapshot(&world.vault), before);
    assert_eq!(write(&document, br#"{"content_type": "x/y"}"#), (0, ""));
    assert_eq!(world.vault.requests("update"), 1);
}

#[test]
fn secrets_that_cannot_be_changed() {
    let Some(world) = world("") else { return };
    let before = snapshot(&world.vault);
    let at = |path: &str| world.path(path);
    let version = world.bash("old", r#"ls "$D/versions" | head -1"#).ok();
    let old = at("secrets/old/versions").join(version.trim());
    assert_eq!(write(&old, b"x"), (libc::EPERM, "open"));
    assert_eq!(errno(OpenOptions::new().append(true).open(&old)), libc::EPERM);
    assert_eq!(call(unsafe { libc::truncate(c_path(&old).as_ptr(), 0) }), libc::EPERM);
    let disabled = at("secrets/disabled/value");
    let stat = fs::metadata(&disabled).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.len()), (0, 1));
    assert_eq!(errno(fs::read(&disabled)), libc::EACCES);
    assert_eq!(write(&disabled, b"x"), (libc::EACCES, "open"));
    assert_eq!(fs::read_to_string(at("secrets/managed/value")).unwrap(), "PEM");
    assert_eq!(write(&at("secrets/managed/value"), b"x"), (libc::EPERM, "open"));
    assert_eq!(write(&at("secrets/managed/.meta.json"), b"{}"), (libc::EPERM, "open"));
    assert_eq!(errno(fs::remove_file(at("secrets/managed/value"))), libc::EPERM);
    assert_eq!(errno(fs::remove_dir(at("secrets/managed"))), libc::EPERM);
    assert_eq!(errno(fs::rename(at("secrets/managed"), at("deleted/managed"))), libc::EPERM);
    assert_eq!(write(&at("deleted/gone/.meta.json"), b"{}"), (libc::EPERM, "open"));
    assert_eq!(write(&at("deleted/gone/value"), b"x"), (libc::EPERM, "open"));
    assert_eq!(errno(fs::remove_dir(at("deleted/gone"))), libc::EPERM, "purging needs allow_purge");
    assert_ne!(world.bash("gone", r#"rm -rf "$M/deleted/$N""#).code, 0);
    assert_eq!((snapshot(&world.vault), world.vault.requests("purge")), (before, 0));
}

#[test]
fn files_and_calls_that_do_not_exist_here() {
    let Some(world) = world("") else { return };
    let before = snapshot(&world.vault);
    let at = |path: &str| world.path(path);
    let (value, dir) = (at("secrets/a/value"), at("secrets/a"));
    let tmpfile = OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(&dir);
    assert_eq!(errno(tmpfile), libc::EOPNOTSUPP, "O_TMPFILE");
    assert_eq!(errno(symlink("x", at("secrets/a/x.tmp"))), libc::EPERM, "symlink");
    assert_eq!(errno(fs::hard_link(&value, at("secrets/a/x.tmp"))), libc::EPERM, "link");
    let fifo = c_path(&at("secrets/a/x.tmp"));
    // SAFETY (here and below): C strings that live through the call.
    assert_eq!(call(unsafe { libc::mknod(fifo.as_ptr(), libc::S_IFIFO | 0o600, 0) }), libc::EPERM, "mknod");
    assert_eq!(call(unsafe { libc::mknod(fifo.as_ptr(), libc::S_IFCHR | 0o600, 259) }), libc::EPERM, "mknod");
    assert_eq!(errno(fs::rename(&dir, at("secrets/b"))), libc::EPERM, "renaming a secret");
    assert_eq!(errno(fs::rename(&dir, at("deleted/b"))), libc::EPERM, "renaming while deleting");
    assert_eq!(errno(fs::rename(&value, at("secrets/old/value"))), libc::EPERM, "a value over another's");
    assert_eq!(errno(fs::rename(at("deleted/gone"), at("secrets/other"))), libc::EPERM, "renaming while recovering");
    let (one, two) = (c_path(&value), c_path(&at("secrets/old/value")));
    let exchange =
        |flags| unsafe { libc::renameat2(libc::AT_FDCWD, one.as_ptr(), libc::AT_FDCWD, two.as_ptr(), flags) };
    assert_eq!(call(exchange(libc::RENAME_EXCHANGE)), libc::EINVAL, "RENAME_EXCHANGE");
    assert_eq!(call(exchange(libc::RENAME_NOREPLACE)), libc::EEXIST, "RENAME_NOREPLACE");
    for path in ["new", "secrets/new", "secrets/a/versions/new", "deleted/new"] {
        assert_eq!(write(&at(path), b"x"), (libc::EPERM, "open"), "create {path}");
    }
    assert_eq!(write(&at("secrets/a/tls.crt"), b"x"), (libc::EINVAL, "open"));
    assert_eq!(write(&at("secrets/a/plain"), b"x"), (libc::EINVAL, "write"));
    for path in ["new", "secrets/a/new", "secrets/a/versions/new", "deleted/new"] {
        assert_eq!(errno(fs::create_dir(at(path))), libc::EPERM, "mkdir {path}");
    }
    for path in ["secrets", "deleted"] {
        assert_eq!(errno(fs::remove_dir(at(path))), libc::EPERM, "rmdir {path}");
        assert_eq!(errno(fs::rename(at(path), at("other"))), libc::EPERM, "rename {path}");
    }
    assert_eq!(errno(fs::remove_file(&dir)), libc::EISDIR);
    assert_eq!(errno(fs::remove_dir(&value)), libc::ENOTDIR);
    assert_eq!(errno(fs::metadata(value.join("x"))), libc::ENOTDIR);
    assert_eq!(errno(File::open(at("secrets/a/none"))), libc::ENOENT);
    fs::remove_file(at("secrets/a/plain")).unwrap();
    assert_eq!(snapshot(&world.vault), before);
}

#[test]
fn allocation_maps_and_foreign_attributes() {
    let Some(world) = world("") else { return };
    let before = snapshot(&world.vault);
    let value = world.path("secrets/a/value");
    let file = OpenOptions::new().read(true).write(true).open(&value).unwrap();
    assert_eq!(call(unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, 10) }), libc::EOPNOTSUPP);
    let shared = unsafe {
        let both = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(std::ptr::null_mut(), 3, both, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    assert_eq!((shared, io::Error::last_os_error().raw_os_error()), (libc::MAP_FAILED, Some(libc::ENODEV)));
    drop(file);
    let path = c_path(&value);
    let set = |attribute: &str| {
        let attribute = CString::new(attribute).unwrap();
        call(unsafe { libc::setxattr(path.as_ptr(), attribute.as_ptr(), c"x".as_ptr().cast(), 1, 0) })
    };
    for attribute in ["user.foreign", "security.selinux", "trusted.x", "user.akvfs.colour"] {
        assert_eq!(set(attribute), libc::EOPNOTSUPP, "{attribute}");
    }
    assert_eq!((set("user.akvfs.version"), set("user.akvfs.enabled")), (libc::EPERM, libc::EINVAL));
    assert_eq!(snapshot(&world.vault), before);
}

#[test]
fn a_read_only_mount_refuses_every_change_and_sends_nothing() {
    let Some(world) = world("ro") else { return };
    let before = snapshot(&world.vault);
    let at = |path: &str| world.path(path);
    let value = at("secrets/a/value");
    assert_eq!(fs::read_to_string(&value).unwrap(), "one");
    assert_eq!(fs::metadata(&value).unwrap().mode() & 0o7777, 0o400);
    fs::metadata(at("deleted/gone")).unwrap();
    fs::metadata(at("secrets/a/.meta.json")).unwrap();
    assert_eq!(errno(fs::metadata(at("secrets/new"))), libc::ENOENT);
    let sent = world.vault.server.request_count();
    let path = c_path(&value);
    for (what, answer) in [
        ("write", write(&value, b"x").0),
        ("append", errno(OpenOptions::new().append(true).open(&value))),
        ("truncate", call(unsafe { libc::truncate(path.as_ptr(), 0) })),
        ("create", write(&at("secrets/a/x.tmp"), b"x").0),
        ("write .meta.json", write(&at("secrets/a/.meta.json"), b"{}").0),
        ("mkdir", errno(fs::create_dir(at("secrets/new")))),
        ("unlink", errno(fs::remove_file(&value))),
        ("rmdir", errno(fs::remove_dir(at("secrets/a")))),
        ("delete", errno(fs::rename(at("secrets/a"), at("deleted/a")))),
        ("recover", errno(fs::rename(at("deleted/gone"), at("secrets/gone")))),
        ("purge", errno(fs::remove_dir(at("deleted/gone")))),
        ("chmod", call(unsafe { libc::chmod(path.as_ptr(), 0o600) })),
        ("utimes", call(unsafe { libc::utimes(path.as_ptr(), std::ptr::null()) })),
        ("symlink", errno(symlink("x", at("secrets/a/x.tmp")))),
        ("link", errno(fs::hard_link(&value, at("secrets/a/x.tmp")))),
        ("setxattr", {
            let name = c"user.akvfs.content_type";
            call(unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), c"x".as_ptr().cast(), 1, 0) })
        }),
        ("removexattr", call(unsafe { libc::removexattr(path.as_ptr(), c"user.akvfs.tag.kept".as_ptr()) })),
    ] {
        assert_eq!(answer, libc::EROFS, "{what}");
    }
    assert_eq!(world.vault.server.request_count(), sent);
    assert_eq!(errno(fs::read(at("secrets/disabled/value"))), libc::EACCES);
    assert_eq!(snapshot(&world.vault), before);
}

#[test]
fn purging_needs_leave_and_time() {
    let Some(young) = world("allow_purge") else { return };
    assert_eq!(errno(fs::remove_dir(young.path("deleted/gone"))), libc::EPERM);
    assert_ne!(young.bash("gone", r#"rm -rf "$M/deleted/$N""#).code, 0);
    assert_eq!((young.vault.deleted(), young.vault.requests("purge")), (vec!["gone".to_owned()], 0));
    drop(young.mount);
    let Some(world) = World::of(young.vault, "allow_purge,purge_after=0s") else { return };
    world.bash("gone", r#"rm -r "$M/deleted/$N" && [ ! -e "$M/deleted/$N" ]"#).ok();
    assert_eq!((world.vault.deleted(), world.vault.requests("purge")), (vec![], 1));
    // The name is free again.
    world.bash("gone", r#"mkdir "$D" && printf new | tee "$V""#).ok();
    assert_eq!(world.vault.get("gone").as_deref(), Ok("new"));
    world.bash("gone", r#"rm -r "$D" && rmdir "$M/deleted/$N""#).ok();
    assert_eq!((world.vault.get("gone"), world.vault.deleted()), (Err(ErrorKind::NotFound), vec![]));
}

#[test]
fn an_open_file_keeps_the_mount_unless_it_is_taken_lazily() {
    let Some(mut world) = world("") else { return };
    let open = File::open(world.path("secrets/a/value")).unwrap();
    let busy = world.bash("a", r#"umount "$M""#);
    assert!(busy.code != 0 && busy.err.contains("busy"), "{busy:?}");
    let akvfs = env!("CARGO_BIN_EXE_akvfs");
    let told = world.bash("a", &format!(r#"{akvfs} unmount "$M""#));
    assert!(told.code == 32 && told.err.contains("a file in it is open"), "{told:?}");
    assert_eq!(world.bash("a", r#"cat "$V""#).ok(), "one");
    world.bash("a", &format!(r#"{akvfs} unmount --lazy "$M" && [ ! -e "$V" ]"#)).ok();
    assert_eq!(io::read_to_string(&open).unwrap(), "one");
    drop(open);
    assert!(world.mount.ends_within(std::time::Duration::from_secs(5)), "the last file is closed");
}

#[test]
fn a_program_that_looks_hears_of_every_refused_save() {
    let Some(world) = world("") else { return };
    const STANDS: &str = "gone\n.meta.json\nvalue\nversions\none";
    let before = world.vault.requests("delete");
    fs::write(world.mount.aside("bad"), b"\xff\xfe").unwrap();
    fs::write(world.mount.aside("big"), [b'x'; 25_601]).unwrap();
    for (needs, script) in [
        ("tee", r#"cat "$T/bad" | tee "$V" > /dev/null"#),
        ("cp", r#"cp "$T/bad" "$V""#),
        ("cp", r#"cp "$T/big" "$V""#),
        ("dd", r#"dd if="$T/bad" of="$V" conv=fsync status=none"#),
        ("install", r#"install "$T/bad" "$V""#),
        ("mv", r#"cp "$T/bad" "$T/x" && mv "$T/x" "$V""#),
        ("mv", r#"cp "$T/bad" "$D/.x" && mv "$D/.x" "$V" || { rm "$D/.x"; false; }"#),
        ("sed", r#"LC_ALL=C sed -i 's/one/\xff/' "$V""#),
        ("perl", r#"perl -i -pe 's/one/\xff/' "$V""#),
        ("rsync", r#"rsync "$T/bad" "$V""#),
        ("rsync", r#"rsync --inplace "$T/bad" "$V""#),
        (
            "python3",
            r#"python3 -c 'import os
with open(os.environ["V"], "wb") as f: f.write(b"\xff")'"#,
        ),
        ("node", r#"node -e 'require("fs").writeFileSync(process.env.V, Buffer.from([255]))'"#),
        ("vim", r#"vim -u NONE -N -es -c 'set bsk= bkc=no' -c 'call setline(1, repeat("x", 30000))' -c wq "$V""#),
        (
            "vim",
            r#"vim -u NONE -N -es -c 'set bsk= bkc=yes' -c 'call setline(1, repeat("x", 30000))' -c wq "$V" || { rm "$V~"; false; }"#,
        ),
    ] {
        if !has(needs) {
            skipped!("{needs} is not installed: {script}");
            continue;
        }
        let ran = world.bash("a", script);
        assert_ne!(ran.code, 0, "{script}: {ran:?}");
        // A look at deleted/ sends what waits to be deleted.
        assert_eq!(world.bash("a", r#"ls "$M/deleted"; ls -A "$D"; cat "$V""#).ok(), STANDS, "{script}");
        assert_eq!(world.vault.requests("delete"), before, "{script}");
        assert_eq!(world.vault.versions("a").len(), 1, "{script}");
    }
}
