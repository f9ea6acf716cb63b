//! The canary: random values go every way that a value goes.

use std::fs;
use std::io::Read as _;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use akvfs::local::{Fault, FaultKind, ServeOptions};
use akvfs::secret::{SecretAttributes, SecretValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::harness::{Mount, Vault, World, eventually, has, name};
use super::look::{Canaries, Found};

/// The secrets of a canary, each of which goes a way of its own.
const SECRETS: [&str; 11] = ["read", "written", "edited", "flat", "backup", "a-1", "a-2", "a-3", "stale", "pem", "pfx"];

/// Every way through a mount.
fn go_everywhere(world: &World, canaries: &Canaries) {
    let of = |secret| canaries.of(secret);
    for secret in ["read", "backup", "a-1", "a-2", "a-3", "stale", "edited"] {
        world.vault.set(secret, of(secret));
    }
    let encoded = SecretValue::new(STANDARD.encode(of("flat")));
    let attributes =
        SecretAttributes { tags: Some([("file-encoding".into(), "base64".into())].into()), ..Default::default() };
    world.vault.client.set_secret(&name("flat"), &encoded, &attributes).unwrap();
    let read = |path: &str| fs::read_to_string(world.path(path)).unwrap();
    eventually("the last secret", || world.path("secrets/flat").exists());
    for path in ["secrets/read/value", "files/read", "secrets/stale/value"] {
        read(path);
    }
    for secret in ["a-1", "a-2", "a-3"] {
        assert_eq!(read(&format!("secrets/{secret}/value")), of(secret));
    }
    assert_eq!(read("files/flat"), of("flat"));
    world
        .bash("read", r#"ls -lR "$M/secrets" "$M/files" > /dev/null; cat "$D/.meta.json" "$D"/versions/* > /dev/null"#);
    fs::create_dir(world.path("secrets/written")).unwrap();
    fs::write(world.path("secrets/written/value"), of("written")).unwrap();
    fs::write(world.path("secrets/edited/.new"), of("edited").repeat(2)).unwrap();
    fs::rename(world.path("secrets/edited/.new"), world.path("secrets/edited/value")).unwrap();
    restore(world, of("backup"));
    show_certificates(world, canaries);
    go_wrong(world, canaries);
}

/// A backup is taken, the secret is lost for good, and the backup brings it back.
fn restore(world: &World, value: &str) {
    let saved = world.mount.aside("backup");
    fs::copy(world.path("backup/backup"), &saved).unwrap();
    let lost = name("backup");
    world.vault.client.begin_delete_secret(&lost).unwrap();
    world.vault.client.purge_deleted_secret(&lost).unwrap();
    eventually("the mount to know", || !world.path("secrets/backup").exists());
    fs::copy(&saved, world.path("backup/backup")).unwrap();
    eventually("it to be restored", || world.vault.get("backup").as_deref() == Ok(value));
    assert_eq!(fs::read_to_string(world.path("secrets/backup/value")).unwrap(), value);
}

/// A certificate whose private key is a canary, in the open and encrypted.
fn show_certificates(world: &World, canaries: &Canaries) {
    let set = |secret: &str, value: String, content_type: &str| {
        let content_type = Some(content_type.to_owned());
        let attributes = SecretAttributes { content_type, ..SecretAttributes::default() };
        world.vault.client.set_secret(&name(secret), &SecretValue::new(value), &attributes).unwrap();
    };
    let files = |secret: &str| {
        let directory = world.path(&format!("secrets/{secret}/certificate"));
        eventually("the certificate", || directory.exists());
        let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
        let files: Vec<_> = files.map(|path| fs::read(path).unwrap()).collect();
        assert!(files.iter().any(|file| !canaries.find(file).is_empty()), "{secret}: the key is there");
    };
    set("pem", pem(canaries.of("pem")), "application/x-pem-file");
    files("pem");
    let bundle = fs::read(world.path("secrets/pem/certificate/bundle.pfx")).unwrap();
    set("pfx", STANDARD.encode(bundle), "application/x-pkcs12");
    files("pfx");
}

/// A certificate whose key is the beginning of `canary`: an Ed25519 key may be any 32 bytes.
fn pem(canary: &str) -> String {
    // RFC 8410: version 0, id-Ed25519, and an octet string in an octet string.
    const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let key = rcgen::KeyPair::try_from([&PKCS8, &canary.as_bytes()[..32]].concat()).unwrap();
    let certificate = rcgen::CertificateParams::new(["web.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    key.serialize_pem() + &certificate.pem()
}

/// Every way that ends in an error.
fn go_wrong(world: &World, canaries: &Canaries) {
    let written = canaries.of("written");
    let try_write = |path: &str, bytes: &[u8]| {
        // What close(2) says is not to be had so; the log has it.
        let _ = fs::write(world.path(path), bytes);
    };
    try_write("secrets/written/value", written.repeat(500).as_bytes());
    try_write("secrets/written/value", &[written.as_bytes(), b"\xff"].concat());
    try_write("secrets/written/.meta.json", written.as_bytes());
    try_write("backup/backup", &fs::read(world.mount.aside("backup")).unwrap());
    world.vault.server.inject(Fault { operation: None, count: 30, kind: FaultKind::status(503) });
    assert_eq!(fs::read_to_string(world.path("secrets/stale/value")).unwrap(), canaries.of("stale"));
    try_write("secrets/written/value", written.as_bytes());
    world.vault.server.clear_faults();
}

/// What a value is never in, however it is used: the log, the command line, the environment.
fn assert_nothing_shows(mount: &Mount, canaries: &Canaries) {
    let log = mount.log();
    assert!(log.contains("DEBUG") && log.contains("secrets/written/value"), "it did log");
    canaries.assert_not_in("the log", log.as_bytes());
    for file in ["cmdline", "environ"] {
        let shown = fs::read(format!("/proc/{}/{file}", mount.pid())).unwrap();
        assert!(!shown.is_empty());
        canaries.assert_not_in(file, &shown);
    }
}

/// Lets each of fuser's event loops read something else, and longer: until then its buffer has its last request.
fn overwrite_buffers(mount: &Mount) {
    let other = "x".repeat(100_000);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = mount.path(&format!("files/.tmp{number}"));
            let other = &other;
            scope.spawn(move || fs::write(&path, other).and_then(|()| fs::remove_file(&path)).unwrap());
        }
    });
}

/// For a few looks at a process's memory, on a busy machine.
const LOOKING: Duration = Duration::from_secs(30);

const QUICK: &str = "ttl=500ms,idle_ttl=1s,kernel_ttl=1s,timeout=2s,write_timeout=2s";

#[test]
fn a_value_is_in_its_own_pages_alone_and_nowhere_when_it_is_gone() {
    let Some(world) = World::new(&[], QUICK) else { return };
    let canaries = Canaries::new(&SECRETS);
    go_everywhere(&world, &canaries);
    let look = || canaries.in_memory(world.mount.pid());
    let Some(found) = look() else { return skipped!("nobody may look into another process's memory here") };
    assert!(found.iter().any(|found| found.arena), "the cache has them");
    let is_written = |found: &Found| ["written", "edited"].contains(&found.canary);
    until_none(look, |found| !found.arena && !is_written(found));
    assert_nothing_shows(&world.mount, &canaries);
    for secret in SECRETS {
        world.vault.client.begin_delete_secret(&name(secret)).unwrap();
    }
    until_none(look, |found| !is_written(found));
    let look_anew = || {
        overwrite_buffers(&world.mount);
        look()
    };
    until_none(look_anew, |_| true);
    assert_nothing_shows(&world.mount, &canaries);
}

/// Looks until no such place is left.
fn until_none(look: impl Fn() -> Option<Vec<Found>>, is_wrong: impl Fn(&Found) -> bool) {
    let end = Instant::now() + LOOKING;
    loop {
        let wrong: Vec<_> = look().unwrap().into_iter().filter(&is_wrong).collect();
        if wrong.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{} places: {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
    }
}

#[test]
fn a_value_that_had_to_make_room_is_gone() {
    let canaries = Canaries::new(&["read"]);
    let filling: Vec<_> = (0..20).map(|number| (format!("f-{number}"), "x".repeat(25_000))).collect();
    let mut secrets: Vec<_> = filling.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    secrets.push(("read", canaries.of("read")));
    let Some(world) = World::new(&secrets, "ro,cache_size=200KiB,prefetch=off") else { return };
    let look = || canaries.in_memory(world.mount.pid());
    assert_eq!(fs::read_to_string(world.path("secrets/read/value")).unwrap(), canaries.of("read"));
    let Some(found) = look() else { return skipped!("nobody may look into another process's memory here") };
    assert!(found.iter().any(|found| found.arena), "the cache has it");
    for (name, _) in &filling {
        fs::read(world.path(&format!("secrets/{name}/value"))).unwrap();
    }
    until_none(look, |_| true);
}

#[test]
fn a_daemon_that_crashes_leaves_no_core_file() {
    let canaries = Canaries::new(&["read"]);
    let Some(vault) = Vault::with(ServeOptions::default(), &[("read", canaries.of("read"))]) else { return };
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    let script = r#"ulimit -c unlimited; cd "$PLACE"; exec "$AKVFS" "$@""#;
    command.args(["-c", script, "sh"]).env("PLACE", place.path()).env("AKVFS", env!("CARGO_BIN_EXE_akvfs"));
    let mut mount = Mount::by(command, vault.url(), "");
    assert_eq!(fs::read_to_string(mount.path("secrets/read/value")).unwrap(), canaries.of("read"));
    // The first is caught: a thread that overflows its stack says so, and faults again.
    eventually("the end", || {
        mount.signal(libc::SIGSEGV);
        mount.ends_within(Duration::from_millis(100))
    });
    let status = mount.status().unwrap();
    assert_eq!((status.signal(), status.core_dumped()), (Some(libc::SIGSEGV), false));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    canaries.assert_not_in("the log", mount.log().as_bytes());
}

/// How many pages of a file the kernel keeps, for the version that is there now. `None` where it cannot say.
fn kept_pages(path: &Path) -> Option<u64> {
    kept_pages_of(&fs::File::open(path).unwrap())
}

/// The same for an open file (cachestat(2)).
fn kept_pages_of(file: &fs::File) -> Option<u64> {
    const CACHESTAT: libc::c_long = 451;
    let (all, mut told) = ([0_u64; 2], [0_u64; 5]);
    // SAFETY: a descriptor that is open, and pointers to structures of these sizes.
    let answer = unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), all.as_ptr(), told.as_mut_ptr(), 0) };
    (answer == 0).then_some(told[0])
}

/// How many inodes the kernel has been given and not forgotten, and the fixed ones.
fn inodes(world: &World) -> u64 {
    let status = fs::read(world.path(".akvfs/status.json")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&status).unwrap()["files"]["inodes"].as_u64().unwrap()
}

#[test]
fn the_kernel_keeps_no_page_of_a_version_that_was_replaced() {
    for options in ["rw,ttl=500ms", "ro,ttl=500ms"] {
        let Some(world) = World::new(&[("read", "first")], options) else { return };
        let value = world.path("secrets/read/value");
        assert_eq!(fs::read_to_string(&value).unwrap(), "first");
        let Some(pages) = kept_pages(&value) else { return skipped!("this kernel has no cachestat") };
        assert_eq!(pages, 1, "while it is the current one");
        let before = inodes(&world);
        for number in 1..=8 {
            let next = number.to_string();
            world.vault.set("read", &next);
            eventually("the new version", || fs::read_to_string(&value).unwrap() == next);
        }
        // An inode that the kernel has forgotten has no pages. Of `status.json` itself there may be one or two more.
        eventually("the old ones to be forgotten", || inodes(&world) <= before + 3);
    }
}

#[test]
fn the_kernel_keeps_no_page_of_a_value_that_was_deleted_or_disabled_whoever_has_it_open() {
    for options in ["rw,ttl=500ms", "ro,ttl=500ms"] {
        let Some(world) = World::new(&[("gone", "first"), ("disabled", "first")], options) else { return };
        let opened = ["gone", "disabled"].map(|secret| {
            let mut file = fs::File::open(world.path(&format!("secrets/{secret}/value"))).unwrap();
            file.read_to_string(&mut String::new()).unwrap();
            file
        });
        let Some(pages) = kept_pages_of(&opened[0]) else { return skipped!("this kernel has no cachestat") };
        assert_eq!((pages, kept_pages_of(&opened[1])), (1, Some(1)), "{options}: as long as it may be read");
        world.vault.client.begin_delete_secret(&name("gone")).unwrap();
        let off = SecretAttributes { enabled: Some(false), ..Default::default() };
        world.vault.client.update_secret_properties(&name("disabled"), None, &off).unwrap();
        for file in &opened {
            eventually("its pages to go", || kept_pages_of(file) == Some(0));
        }
    }
}

#[test]
fn without_the_kernels_cache_it_never_has_a_page_of_a_value() {
    for options in ["rw,kernel_cache=off", "ro,kernel_cache=off"] {
        let Some(world) = World::new(&[("read", "first")], options) else { return };
        for path in ["secrets/read/value", "files/read"] {
            for _ in 0..3 {
                assert_eq!(world.bash("read", &format!("cat $M/{path}")).ok(), "first");
                assert_eq!(fs::read_to_string(world.path(path)).unwrap(), "first");
            }
            let Some(pages) = kept_pages(&world.path(path)) else { return skipped!("this kernel has no cachestat") };
            assert_eq!(pages, 0, "{options}: {path}");
        }
        if options.starts_with("rw") {
            fs::write(world.path("secrets/read/value"), "second").unwrap();
            eventually("it to be saved", || world.vault.get("read").as_deref() == Ok("second"));
            assert_eq!(fs::read_to_string(world.path("files/read")).unwrap(), "second");
            assert_eq!(kept_pages(&world.path("secrets/read/value")), Some(0));
        }
    }
}

/// Every call that writes, with what it writes and whereto.
const WRITES: &str = "trace=write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendmmsg,openat,open,creat,mkdir,mkdirat,\
                      rename,renameat,renameat2,link,linkat,symlink,symlinkat,memfd_create";

#[test]
fn what_is_written_goes_to_the_kernel_and_to_the_vault_alone() {
    if !has("strace") {
        return skipped!("strace is missing (apt-get install strace)");
    }
    let canaries = Canaries::new(&SECRETS);
    let Some(vault) = Vault::with(ServeOptions::default(), &[]) else { return };
    let (place, mut command) = (tempfile::tempdir().unwrap(), Command::new("strace"));
    let told = place.path().join("told");
    // -D: the mount is our child, and not strace. -yy: descriptors with their paths.
    command.args(["-D", "-f", "-yy", "-s", "100000", "-e", WRITES, "-e", "signal=none", "-o"]).arg(&told);
    command.arg(env!("CARGO_BIN_EXE_akvfs"));
    let world = World { mount: Mount::by(command, vault.url(), QUICK), vault };
    go_everywhere(&world, &canaries);
    drop(world);
    let told = fs::read_to_string(&told).unwrap();
    let (mut seen, mut wrong) = ([0, 0], Vec::new());
    for line in told.lines().filter(|line| !canaries.find(line.as_bytes()).is_empty()) {
        match line {
            _ if line.contains("</dev/fuse<") => seen[0] += 1,
            _ if line.contains("<TCP:[") => seen[1] += 1,
            _ => wrong.push(line.chars().take(60).collect::<String>()),
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    assert_eq!(wrong, Vec::<String>::new(), "a value went elsewhere");
    let writable = |line: &&str| ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| line.contains(flag));
    let is_file = |line: &&str| !["\"/dev/fuse\"", "\"/dev/null\"", "tracing"].iter().any(|path| line.contains(path));
    let opened: Vec<_> = told.lines().filter(|line| line.contains("open")).filter(writable).filter(is_file).collect();
    assert_eq!(opened, Vec::<&str>::new(), "a mount writes no file");
}
