//! A vault that is gone, hangs, throttles or talks nonsense: the errno, how long it takes, and what goes on working.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use akvfs::local::{Fault, FaultKind, Operation};

use super::calls::write;
use super::harness::{Vault, World, eventually};

/// For tests that must not wait long; the defaults are 15 s and 30 s.
pub const LIMITS: &str = "timeout=2s,write_timeout=3s,ttl=1h";
const READ_LIMIT: Duration = Duration::from_secs(2);
const WRITE_LIMIT: Duration = Duration::from_secs(3);
/// For the scheduler of a busy machine.
const SLACK: Duration = Duration::from_millis(1500);

fn errno_within<T>(limit: Duration, act: impl FnOnce() -> io::Result<T>) -> i32 {
    let start = Instant::now();
    let number = act().err().map_or(0, |error| error.raw_os_error().unwrap());
    assert!(start.elapsed() < limit + SLACK, "errno {number} after {:?}", start.elapsed());
    number
}

/// Saves as `cp` does, and hears the verdict from close.
fn save(path: &Path, text: &str) -> io::Result<()> {
    match write(path, text.as_bytes()).0 {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

pub fn always(vault: &Vault, operation: Option<Operation>, kind: FaultKind) {
    vault.server.inject(Fault { operation, count: u32::MAX, kind });
}

pub fn refusal(status: u16, code: &str, inner: &str) -> FaultKind {
    let body = format!(r#"{{"error":{{"code":"{code}","message":"Injected.","innererror":{{"code":"{inner}"}}}}}}"#);
    let headers = vec![("content-type".into(), "application/json".into())];
    FaultKind::Status { status, headers, body }
}

#[test]
fn the_errno_of_each_failure_of_the_vault() {
    let rows = [
        (FaultKind::html(404), libc::EIO),
        (FaultKind::html(200), libc::EIO),
        (FaultKind::status(500), libc::EIO),
        (FaultKind::status(503), libc::EIO),
        (FaultKind::redirect("https://elsewhere.invalid/"), libc::EPROTO),
        (refusal(403, "Forbidden", "ForbiddenByRbac"), libc::EACCES),
        (refusal(403, "Forbidden", "ForbiddenByPolicy"), libc::EACCES),
        (refusal(403, "Forbidden", "ForbiddenByFirewall"), libc::EACCES),
        (FaultKind::status(429), libc::EBUSY),
        (FaultKind::Stall, libc::ETIMEDOUT),
    ];
    // A secret for each: what was refused is remembered for a while.
    let names: Vec<String> = (0..rows.len()).map(|at| format!("s{at}")).collect();
    let secrets: Vec<_> = names.iter().map(|name| (name.as_str(), "old")).collect();
    // So that what is asked for is the vault's own word.
    let Some(world) = World::new(&secrets, &format!("{LIMITS},max_stale=0s")) else { return };
    world.bash("", r#"ls "$M/secrets""#).ok();
    for (name, (kind, expected)) in names.iter().zip(rows) {
        let (value, vault) = (world.path(&format!("secrets/{name}/value")), &world.vault);
        always(vault, Some(Operation::Set), kind.clone());
        assert_eq!(errno_within(WRITE_LIMIT, || save(&value, "new")), expected, "saving, {kind:?}");
        always(vault, Some(Operation::Get), kind.clone());
        assert_eq!(errno_within(READ_LIMIT, || fs::read(&value)), expected, "reading, {kind:?}");
        vault.server.clear_faults();
        assert_eq!((vault.get(name).as_deref(), vault.versions(name).len()), (Ok("old"), 1), "saved, {kind:?}");
    }
}

#[test]
fn a_deletion_or_recovery_that_fails_is_undone_or_reported() {
    let Some(world) = World::new(&[("a", "one"), ("b", "two")], LIMITS) else { return };
    let (vault, dir) = (&world.vault, world.path("secrets/a"));
    always(vault, Some(Operation::Delete), refusal(403, "Forbidden", "ForbiddenByRbac"));
    assert_eq!(errno_within(WRITE_LIMIT, || fs::remove_dir(&dir)), libc::EACCES);
    assert_eq!(errno_within(WRITE_LIMIT, || fs::rename(&dir, world.path("deleted/a"))), libc::EACCES);
    // Nobody waits for the removal of an unlinked value; refused, it is undone.
    fs::remove_file(dir.join("value")).unwrap();
    world.bash("a", r#"ls "$M/deleted" && [ -e "$V" ] && cat "$V""#).ok();
    vault.server.clear_faults();
    fs::remove_dir(&dir).unwrap();
    always(vault, Some(Operation::Recover), refusal(403, "Forbidden", "ForbiddenByRbac"));
    assert_eq!(errno_within(WRITE_LIMIT, || fs::rename(world.path("deleted/a"), &dir)), libc::EACCES);
    assert_eq!((vault.deleted(), vault.live()), (vec!["a".to_owned()], vec!["b".to_owned()]));
    let errors = fs::read_to_string(world.path(".akvfs/errors")).unwrap();
    let unheard = |line: &&str| line.contains("unlink") && line.contains("secrets/a/value") && line.contains("EACCES");
    assert_eq!(errors.lines().filter(unheard).count(), 1, "{errors}");
}

#[test]
fn lost_replies_make_one_version_a_save() {
    let Some(world) = World::new(&[("a", "one")], "max_writes=1000/s") else { return };
    for round in 1..=20 {
        world.vault.server.inject(Fault { operation: Some(Operation::Set), count: 1, kind: FaultKind::LoseReply });
        fs::write(world.path("secrets/a/value"), format!("value {round}")).unwrap();
        assert_eq!(world.vault.get("a"), Ok(format!("value {round}")));
        assert_eq!(world.vault.versions("a").len(), 1 + round);
    }
    world.vault.server.inject(Fault { operation: Some(Operation::Delete), count: 1, kind: FaultKind::LoseReply });
    fs::remove_dir(world.path("secrets/a")).unwrap();
    assert_eq!(world.vault.deleted(), ["a"]);
}

#[test]
fn what_is_known_is_readable_while_the_vault_is_gone() {
    let Some(World { mount, vault }) = World::new(&[("a", "known"), ("b", "unknown"), ("c", "known")], LIMITS) else {
        return;
    };
    mount.bash("a", r#"ls "$M/secrets" && cat "$M/secrets/"[ac]/value"#).ok();
    vault.server.stop();
    let at = |path: &str| mount.path(path);
    assert_eq!(fs::read_to_string(at("secrets/a/value")).unwrap(), "known");
    assert_eq!(mount.bash("a", r#"ls "$M/secrets"; ls "$M""#).ok(), "a\nb\nc\nbackup\ndeleted\nfiles\nsecrets\n");
    assert_eq!(errno_within(READ_LIMIT, || fs::read(at("secrets/b/value"))), libc::EHOSTUNREACH);
    assert_eq!(errno_within(READ_LIMIT, || fs::read_dir(at("deleted"))?.next().unwrap()), libc::EHOSTUNREACH);
    assert_eq!(errno_within(WRITE_LIMIT, || save(&at("secrets/a/value"), "new")), libc::EHOSTUNREACH);
    assert_eq!(errno_within(WRITE_LIMIT, || fs::remove_dir(at("secrets/a"))), libc::EHOSTUNREACH);
    let heard = mount.bash("a", r#"echo new | tee "$V""#);
    assert!(heard.code != 0 && heard.err.contains("No route to host"), "{heard:?}");
    assert_eq!(fs::read_to_string(at("secrets/c/value")).unwrap(), "known");
}

/// Programs that hang on a vault that never answers; they end with the mount.
fn hang(world: &World, count: usize) -> mpsc::Receiver<i32> {
    let (tell, told) = mpsc::channel();
    let before = world.vault.server.request_count();
    always(&world.vault, None, FaultKind::Stall);
    for at in 0..count {
        let (path, tell) = (world.path(&format!("secrets/s{at}/value")), tell.clone());
        std::thread::spawn(move || tell.send(fs::read(path).err().and_then(|error| error.raw_os_error()).unwrap_or(0)));
    }
    eventually("the requests", || world.vault.server.request_count() > before);
    told
}

const MANY: [(&str, &str); 8] =
    [("a", "known"), ("s0", "x"), ("s1", "x"), ("s2", "x"), ("s3", "x"), ("s4", "x"), ("s5", "x"), ("s6", "x")];

#[test]
fn a_vault_that_hangs_holds_up_nobody_who_does_not_need_it() {
    let Some(mut world) = World::new(&MANY, "timeout=1min,ttl=1h") else { return };
    world.bash("a", r#"ls "$M/secrets" && cat "$V""#).ok();
    let hanging = hang(&world, 7);
    for script in
        [r#"ls "$M""#, r#"ls "$M/secrets""#, r#"df "$M""#, r#"cat "$V""#, r#"stat "$V""#, r#"stat "$M/secrets/s6""#]
    {
        let ran = world.bash("a", script);
        assert!(ran.code == 0 && ran.time < Duration::from_secs(1), "{script}: {ran:?}");
    }
    let lazy = world.bash("a", &format!(r#"{} unmount --lazy "$M""#, env!("CARGO_BIN_EXE_akvfs")));
    assert!(lazy.code == 0 && lazy.time < Duration::from_secs(1), "{lazy:?}");
    world.mount.signal(libc::SIGTERM);
    assert!(world.mount.ends_within(Duration::from_secs(5)));
    for _ in 0..7 {
        assert_ne!(hanging.recv_timeout(Duration::from_secs(5)).unwrap(), 0, "nobody is left waiting");
    }
}

#[test]
fn sigterm_ends_a_mount_of_a_vault_that_hangs() {
    let Some(mut world) = World::new(&MANY, "timeout=1min,ttl=1h,delete_delay=1h") else { return };
    world.bash("a", r#"ls "$M/secrets" && rm "$V""#).ok();
    let hanging = hang(&world, 3);
    world.mount.signal(libc::SIGTERM);
    assert!(world.mount.ends_within(Duration::from_secs(5)), "although a removal could not be sent");
    for _ in 0..3 {
        assert_ne!(hanging.recv_timeout(Duration::from_secs(5)).unwrap(), 0);
    }
}

#[test]
fn a_killed_reader_is_gone_at_once() {
    let Some(world) = World::new(&MANY, "") else { return };
    world.bash("a", r#"ls "$M/secrets""#).ok();
    always(&world.vault, None, FaultKind::Stall);
    let ran = world.bash("s0", r#"cat "$V" & sleep 0.3; kill -9 $!; wait $!; echo $?"#);
    assert_eq!(ran.out, "137\n");
    // Unkilled it would wait for the mount's own limit, 15 s.
    assert!(ran.time < READ_LIMIT + SLACK, "{ran:?}");
}
