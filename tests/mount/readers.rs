//! Readers while somebody saves: the old value or the new one, whole. Values carry their length and a checksum.
//!
//! The readers are a process of their own, since a process sees its own unfinished files.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::harness::World;

const VALUE: &str = "AKVFS_TEST_READ";
const STOP: &str = "AKVFS_TEST_STOP";
/// How long each way of saving is watched; `AKVFS_TEST_READ_SECONDS` changes it.
const SECONDS: u64 = 2;

/// A value of a length that varies widely, with its length and checksum in front.
fn value(round: u64) -> String {
    let length = (round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 24_000;
    let payload: String = (0..length).map(|at| char::from(b'a' + ((at * 7 + round) % 26) as u8)).collect();
    format!("{:08}{:016x}{payload}", payload.len() + 24, checksum(payload.as_bytes()))
}

/// FNV-1a, 64 bits.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// What readers saw.
#[derive(Default)]
struct Seen {
    whole: AtomicU64,
    absent: AtomicU64,
    zeros: AtomicU64,
    short: AtomicU64,
    torn: AtomicU64,
}

impl Seen {
    fn count(&self, bytes: &[u8]) {
        let text = |range: std::ops::Range<usize>| bytes.get(range).and_then(|part| std::str::from_utf8(part).ok());
        let length = text(0..8).and_then(|text| text.parse().ok());
        let sum = text(8..24).and_then(|text| u64::from_str_radix(text, 16).ok());
        let counter = match (length, sum) {
            _ if bytes.contains(&0) => &self.zeros,
            (Some(length), Some(sum)) if bytes.len() == length && checksum(&bytes[24..]) == sum => &self.whole,
            (Some(length), Some(_)) if bytes.len() < length => &self.short,
            (None, _) if bytes.is_empty() => &self.short,
            _ => &self.torn,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn told(&self) -> [u64; 5] {
        [&self.whole, &self.absent, &self.zeros, &self.short, &self.torn].map(|count| count.load(Ordering::Relaxed))
    }
}

fn read_by_steps(file: &mut File) -> Vec<u8> {
    let (mut all, mut step) = (Vec::new(), [0; 4096]);
    loop {
        match file.read(&mut step).unwrap() {
            0 => return all,
            count => all.extend_from_slice(&step[..count]),
        }
    }
}

/// `None` where the value is not there; no other failure is allowed.
fn open(path: &Path, seen: &Seen) -> Option<File> {
    match File::open(path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            seen.absent.fetch_add(1, Ordering::Relaxed);
            None
        }
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

fn by_path(path: &Path, seen: &Seen) {
    if let Some(mut file) = open(path, seen) {
        seen.count(&read_by_steps(&mut file));
    }
}

/// A descriptor shows the value it was opened with, whatever is saved meanwhile.
fn by_an_old_descriptor(path: &Path, seen: &Seen) {
    let Some(mut file) = open(path, seen) else { return };
    let first = read_by_steps(&mut file);
    std::thread::sleep(Duration::from_millis(30));
    let mut again = vec![0; 32_768];
    let count = file.read_at(&mut again, 0).unwrap();
    assert!(again[..count] == first, "an open file showed another value: {} and {count} bytes", first.len());
    seen.count(&again[..count]);
}

fn by_map(path: &Path, seen: &Seen) {
    let Some(file) = open(path, seen) else { return };
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    // SAFETY: a new mapping of that length, read before it is taken away.
    let copy = unsafe {
        let map = libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(map, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        std::thread::sleep(Duration::from_millis(1));
        let copy = std::slice::from_raw_parts(map.cast::<u8>(), length).to_vec();
        libc::munmap(map, length);
        copy
    };
    seen.count(&copy);
}

fn by_size(path: &Path, seen: &Seen) {
    let Some(mut file) = open(path, seen) else { return };
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes).unwrap();
    assert_eq!(file.read(&mut [0]).unwrap(), 0, "longer than its size");
    seen.count(&bytes);
}

#[test]
#[ignore = "the other test runs it in a process of its own"]
fn the_readers() {
    let (Ok(path), Ok(stop)) = (std::env::var(VALUE), std::env::var(STOP)) else { return };
    let (path, seen) = (PathBuf::from(path), Seen::default());
    std::thread::scope(|scope| {
        for read in [by_path, by_an_old_descriptor, by_map, by_size] {
            let (path, seen, stop) = (&path, &seen, &stop);
            scope.spawn(move || {
                while !Path::new(stop).exists() {
                    read(path, seen);
                }
            });
        }
    });
    println!("seen {:?}", seen.told());
}

fn in_pieces(path: &Path, text: &str) {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    text.as_bytes().chunks(1000).for_each(|piece| file.write_all(piece).unwrap());
    file.sync_all().unwrap();
}

fn in_place(path: &Path, text: &str) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    file.write_all_at(text.as_bytes(), 0).unwrap();
    file.set_len(text.len() as u64).unwrap();
    file.sync_all().unwrap();
}

fn by_renaming(path: &Path, text: &str) {
    let new = path.with_extension("tmp");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// As vim does with `backupcopy=no`.
fn by_moving_aside(path: &Path, text: &str) {
    let old = path.with_extension("bak");
    fs::rename(path, &old).unwrap();
    fs::write(path, text).unwrap();
    fs::remove_file(&old).unwrap();
}

/// As `install` and `mv` from another filesystem do.
fn by_removing(path: &Path, text: &str) {
    fs::remove_file(path).unwrap();
    OpenOptions::new().write(true).create_new(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Saves a text at a path.
type Save = fn(&Path, &str);

#[test]
fn readers_see_the_old_value_or_the_new_one() {
    let Some(world) = World::new(&[("a", &value(0))], "max_writes=100000/s,max_requests=100000/s") else { return };
    let path = world.path("secrets/a/value");
    let seconds = std::env::var("AKVFS_TEST_READ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let ways: [(&str, Save, bool); 5] = [
        ("in pieces", in_pieces, false),
        ("in place", in_place, false),
        ("by renaming", by_renaming, false),
        ("by moving aside", by_moving_aside, false),
        ("by removing", by_removing, true),
    ];
    let mut round = 0;
    println!(
        "{:<16} {:>6} {:>8} {:>7} {:>6} {:>6} {:>5}",
        "saved", "saves", "whole", "absent", "zeros", "short", "torn"
    );
    for (way, save, may_miss) in ways {
        let (stop, first) = (world.mount.aside(way), round);
        let readers = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "readers::the_readers", "--ignored", "--nocapture"])
            .env(VALUE, &path)
            .env(STOP, &stop)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            round += 1;
            save(&path, &value(round));
        }
        fs::write(&stop, "").unwrap();
        let output = readers.wait_with_output().unwrap();
        assert!(output.status.success(), "{way}: {output:?}");
        let [whole, absent, zeros, short, torn] = told(&String::from_utf8(output.stdout).unwrap());
        let saves = round - first;
        println!("{way:<16} {saves:>6} {whole:>8} {absent:>7} {zeros:>6} {short:>6} {torn:>5}");
        assert_eq!([zeros, short, torn], [0; 3], "{way}");
        assert!(may_miss || absent == 0, "{way}: the value was not there {absent} times");
        assert!(whole > 0 && saves > 0, "{way}");
        assert_eq!(world.vault.versions("a").len() as u64, 1 + round, "{way}: one save, one version");
        assert_eq!(world.vault.get("a"), Ok(value(round)), "{way}");
    }
    assert_eq!(world.vault.requests("delete"), 0);
}

fn told(output: &str) -> [u64; 5] {
    let counts = output.split_once("seen [").unwrap().1.split_once(']').unwrap().0;
    counts.split(", ").map(|count| count.parse().unwrap()).collect::<Vec<_>>().try_into().unwrap()
}
