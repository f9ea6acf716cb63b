//! What another party changes, as readers and the kernel see it.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use akvfs::fs::control::REFRESH_REQUEST;
use akvfs::local::{Fault, FaultKind, Operation, ServeOptions};
use akvfs::secret::SecretAttributes;

use super::calls::{call, errno};
use super::harness::{Vault, World, eventually, name};

/// The kernel would keep names for an hour: what is seen sooner was told.
const TOLD: &str = "ttl=1s,kernel_ttl=1h";

/// A number in `.akvfs/status.json`.
fn status(world: &World, pointer: &str) -> serde_json::Value {
    let text = fs::read_to_string(world.path(".akvfs/status.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap().pointer(pointer).unwrap().clone()
}

fn text(world: &World, path: &str) -> io::Result<String> {
    fs::read_to_string(world.path(path))
}

/// How many requests of the kernel `act` costs.
fn kernel_requests(world: &World, act: impl FnOnce()) -> u64 {
    let count = || status(world, "/files/kernel_requests").as_u64().unwrap();
    let (first, second) = (count(), count());
    act();
    (count() - second) - (second - first)
}

/// Reads until the kernel knows the version's inode and its bytes.
fn warm(world: &World, path: &str) {
    (0..3).for_each(|_| drop(text(world, path).unwrap()));
}

#[test]
fn what_is_warm_costs_no_look_up_and_no_stat_and_a_change_is_seen_all_the_same() {
    let Some(world) = World::new(&[("a", "old"), ("b", "x")], TOLD) else { return };
    for path in ["secrets/a/value", "files/a"] {
        warm(&world, path);
    }
    // Long beyond `ttl`, by several refreshes.
    eventually("refreshes", || status(&world, "/refreshes").as_u64().unwrap() >= 3);
    let stats = kernel_requests(&world, || {
        (0..100).for_each(|_| _ = fs::metadata(world.path("secrets/a/value")).unwrap());
    });
    assert_eq!(stats, 0, "a stat of what is warm");
    let reads = kernel_requests(&world, || {
        (0..100).for_each(|_| drop(text(&world, "secrets/a/value").unwrap()));
    });
    assert!(reads <= 200, "an open and a release each, not {reads}");
    world.vault.set("a", "new");
    for path in ["secrets/a/value", "files/a"] {
        eventually("the new value", || text(&world, path).unwrap() == "new");
    }
}

#[test]
fn two_changes_in_one_second_are_both_seen() {
    let Some(world) = World::new(&[("a", "0")], TOLD) else { return };
    warm(&world, "secrets/a/value");
    for round in 1..=5 {
        world.vault.set("a", &format!("first {round}"));
        // Now one falls between the two.
        assert_eq!(refresh_by_ioctl(&world, "a"), 0);
        assert_eq!(text(&world, "secrets/a/value").unwrap(), format!("first {round}"));
        world.vault.set("a", &format!("second {round}"));
        eventually("the second", || text(&world, "secrets/a/value").unwrap() == format!("second {round}"));
    }
}

fn map(file: &File, length: usize) -> *const u8 {
    // SAFETY: a new mapping of a file that never changes.
    let map =
        unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    assert_ne!(map, libc::MAP_FAILED);
    map.cast()
}

#[test]
fn old_descriptors_and_mappings_keep_the_old_bytes() {
    let Some(world) = World::new(&[("a", "old value")], TOLD) else { return };
    let path = world.path("secrets/a/value");
    let (file, unread) = (File::open(&path).unwrap(), File::open(&path).unwrap());
    let mapped = map(&file, 9);
    world.vault.set("a", "new and longer");
    eventually("the new value", || fs::read_to_string(&path).unwrap() == "new and longer");
    for file in [&file, &unread] {
        let mut bytes = [0; 20];
        assert_eq!((file.read_at(&mut bytes, 0).unwrap(), &bytes[..9]), (9, &b"old value"[..]));
    }
    // SAFETY: mapped above, nine bytes.
    assert_eq!(unsafe { std::slice::from_raw_parts(mapped, 9) }, b"old value");
}

/// What may no longer be read is gone by its path, and its descriptors read no more.
fn is_gone(world: &World, file: &File, expected: i32) {
    eventually("the end of the value", || {
        errno(fs::read(world.path("secrets/a/value"))) == expected && errno(fs::read(world.path("files/a"))) == expected
    });
    eventually("the end of the descriptor", || errno(file.read_at(&mut [0; 9], 0)) == libc::ESTALE);
}

#[test]
fn what_was_deleted_or_disabled_is_gone_and_open_descriptors_are_stale() {
    let Some(world) = World::new(&[("a", "revoked"), ("b", "x")], TOLD) else { return };
    let off = |enabled| SecretAttributes { enabled: Some(enabled), ..SecretAttributes::default() };
    let client = &world.vault.client;
    let open = || {
        eventually("the value", || text(&world, "secrets/a/value").is_ok_and(|text| text == "revoked"));
        warm(&world, "files/a");
        File::open(world.path("secrets/a/value")).unwrap()
    };
    let file = open();
    client.update_secret_properties(&name("a"), None, &off(false)).unwrap();
    // As root, who may read what has mode 0000: the refusal is the file's.
    is_gone(&world, &file, libc::EACCES);
    client.update_secret_properties(&name("a"), None, &off(true)).unwrap();
    let file = open();
    client.begin_delete_secret(&name("a")).unwrap();
    is_gone(&world, &file, libc::ENOENT);
    assert!(!world.path("secrets/a").exists());
}

#[test]
fn what_is_forbidden_is_gone_and_open_descriptors_are_stale() {
    let Some(world) = World::new(&[("a", "revoked")], TOLD) else { return };
    warm(&world, "secrets/a/value");
    warm(&world, "files/a");
    let file = File::open(world.path("secrets/a/value")).unwrap();
    let body = r#"{"error":{"code":"Forbidden","message":"No.","innererror":{"code":"ForbiddenByPolicy"}}}"#.to_owned();
    let headers = vec![("content-type".into(), "application/json".into())];
    let kind = FaultKind::Status { status: 403, headers, body };
    world.vault.server.inject(Fault { operation: Some(Operation::Get), count: u32::MAX, kind });
    is_gone(&world, &file, libc::EACCES);
}

/// A value that says which it is, with a checksum and a length that varies.
fn numbered(number: u64) -> String {
    let length = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50) as usize;
    let fill: String = (0..length).map(|at| char::from(b'a' + ((at as u64 + number) % 26) as u8)).collect();
    format!("{number:08} {length:08} {fill}")
}

/// Which it is, if it is whole.
fn number_of(text: &str) -> u64 {
    let number = text[..8].parse().unwrap();
    assert!(text == numbered(number), "torn: {} bytes that begin with {}", text.len(), &text[..17]);
    number
}

fn read_on(path: &Path, published: &AtomicU64, ended: &AtomicBool) -> u64 {
    let (mut last, mut count) = (0, 0);
    while !ended.load(Ordering::Relaxed) {
        let acknowledged = published.load(Ordering::SeqCst);
        let number = number_of(&fs::read_to_string(path).unwrap());
        assert!(number >= acknowledged, "{number} after {acknowledged} was acknowledged");
        assert!(number >= last, "{number} after {last}");
        (last, count) = (number, count + 1);
    }
    count
}

/// `AKVFS_TEST_CHANGES` says how many changes.
#[test]
fn changes_by_another_party_race_with_readers() {
    let options = "ttl=1s,kernel_ttl=1h,max_requests=100000/s,max_writes=100000/s";
    let Some(world) = World::new(&[("a", &numbered(0))], options) else { return };
    let changes = std::env::var("AKVFS_TEST_CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let (published, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let paths = ["secrets/a/value", "files/a"].map(|path| world.path(path));
    let reads: u64 = std::thread::scope(|scope| {
        let (published, ended) = (&published, &ended);
        let readers: Vec<_> =
            (0..4).map(|at| &paths[at % 2]).map(|path| scope.spawn(move || read_on(path, published, ended))).collect();
        for number in 1..=changes {
            world.vault.set("a", &numbered(number));
            if number % 3 != 0 {
                // Not by writing: on a busy machine that may be carried out behind the close, as every save may.
                assert_eq!(refresh_by_ioctl(&world, "a"), 0);
                published.store(number, Ordering::SeqCst);
            }
        }
        ended.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    println!("{changes} changes, {reads} reads, none torn, none older than acknowledged");
    assert!(reads > 4);
}

#[test]
fn the_last_known_values_stand_in_for_a_vault_that_is_gone_and_the_status_says_so() {
    let Some(world) = World::new(&[("a", "known"), ("b", "unknown")], "ttl=1s,kernel_ttl=0s,timeout=2s") else {
        return;
    };
    world.bash("a", r#"ls "$M/secrets" && cat "$V""#).ok();
    assert_eq!(status(&world, "/stale_answers").as_u64(), Some(0));
    world.vault.server.inject(Fault { operation: None, count: u32::MAX, kind: FaultKind::CloseBefore });
    eventually("a stale answer", || {
        assert_eq!(text(&world, "secrets/a/value").unwrap(), "known");
        status(&world, "/stale_answers").as_u64().unwrap() > 0
    });
    assert_eq!(world.bash("a", r#"ls "$M/secrets" && cat "$M/files/a""#).ok(), "a\nb\nknown");
    for path in ["secrets/b/value", "secrets/never/value"] {
        let number = errno(text(&world, path));
        assert!([libc::EIO, libc::ETIMEDOUT].contains(&number), "{path}: {number}; doubt is not absence");
    }
}

#[test]
fn a_vault_that_hangs_costs_a_crawler_one_time_limit() {
    let names: Vec<_> = (0..20).map(|at| format!("s{at:02}")).collect();
    let secrets: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let Some(world) = World::new(&secrets, "timeout=3s,ttl=1h") else { return };
    assert_eq!(world.bash("", r#"ls "$M/secrets" | wc -l"#).ok(), "20\n");
    world.vault.server.inject(Fault { operation: None, count: u32::MAX, kind: FaultKind::Stall });
    // Not by `*/value`: bash looks for each itself, and takes what it cannot have for missing.
    let crawl = world.bash("", r#"for n in $(ls "$M/secrets"); do cat "$M/secrets/$n/value"; done"#);
    assert_eq!(crawl.err.matches("Connection timed out").count(), 20, "{crawl:?}");
    // A busy machine takes its time for twenty processes, but not nineteen limits more.
    assert!(crawl.time < Duration::from_secs(4 * 3), "one limit, not twenty: {:?}", crawl.time);
    world.vault.server.clear_faults();
    eventually("the vault answers again", || world.bash("", r#"cat "$M"/secrets/*/value"#).code == 0);
}

/// The ioctl of `.akvfs/refresh` for one secret, or with an empty name for all.
fn refresh_by_ioctl(world: &World, secret: &str) -> i32 {
    let file = File::open(world.path(".akvfs/refresh")).unwrap();
    let mut data = [0_u8; 128];
    data[..secret.len()].copy_from_slice(secret.as_bytes());
    // SAFETY: the request reads 128 bytes.
    call(unsafe { libc::ioctl(file.as_raw_fd(), REFRESH_REQUEST.into(), data.as_ptr()) })
}

#[test]
fn a_refresh_that_is_asked_for_acts_at_once_also_where_nothing_can_be_written() {
    for options in ["ttl=1h,kernel_ttl=1h", "ro,ttl=1h,kernel_ttl=1h"] {
        let Some(world) = World::new(&[("a", "old"), ("b", "old")], options) else { return };
        for path in ["secrets/a/value", "secrets/b/value"] {
            warm(&world, path);
        }
        for secret in ["a", "b"] {
            world.vault.set(secret, "new");
        }
        assert_eq!(refresh_by_ioctl(&world, "a"), 0);
        assert_eq!((text(&world, "secrets/a/value").unwrap(), text(&world, "secrets/b/value").unwrap()), {
            ("new".to_owned(), "old".to_owned())
        });
        assert_eq!(refresh_by_ioctl(&world, ""), 0);
        assert_eq!(text(&world, "secrets/b/value").unwrap(), "new");
        assert_eq!(refresh_by_ioctl(&world, "no/name"), libc::EINVAL);
        world.vault.set("a", "newest");
        world.mount.signal(libc::SIGHUP);
        eventually("what SIGHUP asks for", || text(&world, "secrets/a/value").unwrap() == "newest");
        let value = File::open(world.path("secrets/a/value")).unwrap();
        // SAFETY: no argument is read: it is refused.
        let other = call(unsafe { libc::ioctl(value.as_raw_fd(), REFRESH_REQUEST.into(), [0_u8; 128].as_ptr()) });
        assert_eq!(other, libc::ENOTTY);
    }
}

/// Both conditions of a deadlock at once: notices for a directory in which look-ups are slow, and for inodes that are
/// being read. `AKVFS_TEST_DEADLOCK_SECONDS` says how long.
#[test]
fn notices_do_not_deadlock_with_slow_look_ups_and_reads() {
    let slow =
        ServeOptions { latency: Duration::from_millis(20), deny: vec![Operation::List], ..ServeOptions::default() };
    let big = "x".repeat(25_000);
    let Some(vault) = Vault::with(slow, &[("a", &big), ("b", &big)]) else { return };
    let options = "ttl=200ms,kernel_ttl=1h,negative_ttl=0s,max_requests=100000/s,max_writes=100000/s";
    let world = World::of(vault, options).unwrap();
    let seconds = std::env::var("AKVFS_TEST_DEADLOCK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let end = Instant::now() + Duration::from_secs(seconds);
    let off = |enabled| SecretAttributes { enabled: Some(enabled), ..SecretAttributes::default() };
    let busy = |act: &(dyn Fn(u64) + Sync)| (0..).take_while(|_| Instant::now() < end).for_each(act);
    std::thread::scope(|scope| {
        for at in 0..3 {
            let world = &world;
            scope.spawn(move || {
                busy(&|round| {
                    // A look-up that asks the vault, in the directories that are told of.
                    let missing = format!("none-{at}-{round}");
                    let _ = fs::metadata(world.path(&format!("secrets/{missing}")));
                    let _ = fs::metadata(world.path(&format!("files/{missing}")));
                });
            });
            scope.spawn(move || {
                busy(&|_| {
                    for path in ["secrets/a/value", "files/a", "secrets/b/value", "files/b"] {
                        let Ok(file) = File::open(world.path(path)) else { continue };
                        // SAFETY: advice on a descriptor that is open.
                        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
                        let _ = file.read_at(&mut [0; 32_768], 0);
                    }
                });
            });
        }
        busy(&|round| {
            world.vault.set("a", &format!("{round}{big}")[..25_000]);
            let _ = world.vault.client.update_secret_properties(&name("b"), None, &off(round % 2 == 0));
            let _ = fs::write(world.path(".akvfs/refresh"), "a\nb");
        });
    });
    world.vault.client.update_secret_properties(&name("b"), None, &off(true)).unwrap();
    eventually("all goes on", || text(&world, "secrets/b/value").is_ok());
}
