//! Random operations on one value through some descriptors at once, compared with a model after each: an fsx for text.
//!
//! A model in memory says what each descriptor and the path must show, which errno comes, and when a version is made: at a
//! close, fsync, truncate or rename that changed something, and never else. `AKVFS_FSX_OPERATIONS` sets how many operations
//! run (100,000), `AKVFS_SEED` runs the sequence of that number alone.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use akvfs::local::ServeOptions;
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::calls::{c_path, call, errno, mapped};
use super::harness::{Vault, World, eventually};

/// The service's limit, in bytes.
const MAX_VALUE: usize = 25_600;
/// How many operations one mount sees.
const SEQUENCE: u64 = 10_000;
/// The longest that a sequence may take: 6 s alone, and 90 s were seen beside the readers of the other tests.
const LONGEST: Duration = Duration::from_secs(600);
/// Where most operations fall; some go up to the limit and beyond.
const USUAL_SIZE: usize = 3_000;
const SLOTS: usize = 3;

/// Chance from a seed: the same sequence wherever it runs.
pub struct Dice(TestRng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0x5a; 16];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::XorShift, &bytes))
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        (self.0.next_u64() >> 16) as usize % sides
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    /// A size or an offset.
    fn size(&mut self) -> usize {
        let most = if self.one_in(50) { MAX_VALUE + 1000 } else { USUAL_SIZE };
        self.roll(most + 1)
    }

    pub fn text(&mut self, most: usize) -> Vec<u8> {
        let length = self.roll(most) + 1;
        let start = self.roll(26);
        (0..length).map(|at| if at % 60 == 59 { b'\n' } else { b'a' + ((start + at) % 26) as u8 }).collect()
    }
}

/// An open descriptor, and what it must show.
struct Slot {
    file: File,
    bytes: Vec<u8>,
    position: usize,
    reads: bool,
    writes: bool,
    appends: bool,
    /// Whether there is something to save.
    dirty: bool,
    /// Whether a write was refused, so that the bytes are not what was wanted.
    spoiled: bool,
}

impl Slot {
    fn put(&mut self, offset: usize, data: &[u8]) -> i32 {
        let end = offset + data.len();
        if end > MAX_VALUE {
            self.spoiled = true;
            return libc::EFBIG;
        }
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(data);
        self.dirty = true;
        0
    }

    fn part(&self, offset: usize, length: usize) -> &[u8] {
        let start = offset.min(self.bytes.len());
        &self.bytes[start..(start + length).min(self.bytes.len())]
    }
}

/// The file, the model of it, and what was done.
struct Run {
    world: World,
    path: PathBuf,
    dice: Dice,
    current: Vec<u8>,
    /// How often a version must have been made.
    made: u64,
    slots: [Option<Slot>; SLOTS],
    /// Of a lone writer: those that answered after the save, and before it.
    closes: [usize; 2],
    done: Vec<String>,
}

impl Run {
    fn note(&mut self, what: String) {
        self.done.push(what);
    }

    fn open_slot(&mut self) -> Option<usize> {
        let open: Vec<_> = (0..SLOTS).filter(|at| self.slots[*at].is_some()).collect();
        (!open.is_empty()).then(|| open[self.dice.roll(open.len())])
    }

    fn slot(&mut self, at: usize) -> &mut Slot {
        self.slots[at].as_mut().unwrap()
    }

    /// What a save of these bytes does to the model.
    fn save(&mut self, bytes: Vec<u8>) {
        if self.current != bytes {
            self.current = bytes;
            self.made += 1;
        }
    }

    fn step(&mut self) {
        let what = self.dice.roll(100);
        match (what, self.open_slot()) {
            (0..8, _) | (_, None) => self.open(),
            (8..20, Some(at)) => self.read(at),
            (20..33, Some(at)) => self.pread(at),
            (33..47, Some(at)) => self.write(at),
            (47..58, Some(at)) => self.pwrite(at),
            (58..66, Some(at)) => self.seek(at),
            (66..71, Some(at)) => self.ftruncate(at),
            (71..79, Some(at)) => self.mmap(at),
            (79..86, Some(at)) => self.fstat(at),
            (86..88, Some(at)) => self.close_a_duplicate(at),
            (88..91, Some(at)) => self.fsync(at),
            (91..96, Some(at)) => self.close(at),
            (96..97, _) => self.truncate(),
            (97..99, _) => self.rename_over(),
            _ => {}
        }
        self.look(what >= 88);
    }

    /// The path shows the current value, and no version was made that should not have been.
    fn look(&mut self, changed: bool) {
        assert_eq!(self.world.vault.requests("set"), self.made, "versions made");
        if changed || self.dice.one_in(10) {
            assert!(fs::read(&self.path).unwrap() == self.current, "the path shows another value");
            assert_eq!(fs::metadata(&self.path).unwrap().len(), self.current.len() as u64, "the path's size");
        }
        if changed && self.dice.one_in(10) {
            assert!(self.world.vault.get("a").unwrap().as_bytes() == self.current, "the vault has another value");
        }
    }

    fn open(&mut self) {
        let Some(at) = (0..SLOTS).find(|at| self.slots[*at].is_none()) else { return self.close(0) };
        let (reads, writes) = [(true, false), (true, true), (true, true), (false, true)][self.dice.roll(4)];
        let (appends, truncates) = (writes && self.dice.one_in(4), writes && self.dice.one_in(4));
        let flags = if appends { libc::O_APPEND } else { 0 };
        self.note(format!("open {at}: reads {reads} writes {writes} appends {appends} truncates {truncates}"));
        let mut options = OpenOptions::new();
        let file = options.read(reads).write(writes).truncate(truncates).custom_flags(flags).open(&self.path).unwrap();
        let bytes = if truncates { Vec::new() } else { self.current.clone() };
        self.slots[at] =
            Some(Slot { file, bytes, position: 0, reads, writes, appends, dirty: truncates, spoiled: false });
    }

    fn read(&mut self, at: usize) {
        let length = self.dice.size();
        self.note(format!("read {at}: {length}"));
        let slot = self.slot(at);
        let mut room = vec![0; length];
        let got = slot.file.read(&mut room);
        if !slot.reads {
            return assert_eq!(errno(got), libc::EBADF);
        }
        let got = got.unwrap();
        assert!(&room[..got] == slot.part(slot.position, length), "read other bytes");
        slot.position += got;
    }

    fn pread(&mut self, at: usize) {
        let (offset, length) = (self.dice.size(), self.dice.size());
        self.note(format!("pread {at}: {length} at {offset}"));
        let slot = self.slot(at);
        let mut room = vec![0; length];
        let got = slot.file.read_at(&mut room, offset as u64);
        if !slot.reads {
            return assert_eq!(errno(got), libc::EBADF);
        }
        assert!(&room[..got.unwrap()] == slot.part(offset, length), "read other bytes");
    }

    fn write(&mut self, at: usize) {
        let data = self.dice.text(400);
        self.note(format!("write {at}: {}", data.len()));
        let slot = self.slot(at);
        let said = errno(slot.file.write(&data));
        if !slot.writes {
            return assert_eq!(said, libc::EBADF);
        }
        let offset = if slot.appends { slot.bytes.len() } else { slot.position };
        let expected = slot.put(offset, &data);
        assert_eq!(said, expected);
        if said == 0 {
            slot.position = offset + data.len();
        }
    }

    fn pwrite(&mut self, at: usize) {
        let (offset, data) = (self.dice.size(), self.dice.text(400));
        self.note(format!("pwrite {at}: {} at {offset}", data.len()));
        let slot = self.slot(at);
        let said = errno(slot.file.write_at(&data, offset as u64));
        if !slot.writes {
            return assert_eq!(said, libc::EBADF);
        }
        // On Linux it appends then, whatever the offset (pwrite(2), BUGS).
        let offset = if slot.appends { slot.bytes.len() } else { offset };
        assert_eq!(said, slot.put(offset, &data));
    }

    fn seek(&mut self, at: usize) {
        let (to, from_end) = (self.dice.size(), self.dice.one_in(3));
        self.note(format!("seek {at}: {to} from the end {from_end}"));
        let slot = self.slot(at);
        let back = to.min(slot.bytes.len());
        let (whence, expected) = match from_end {
            true => (SeekFrom::End(-(back as i64)), slot.bytes.len() - back),
            false => (SeekFrom::Start(to as u64), to),
        };
        slot.position = expected;
        assert_eq!(slot.file.seek(whence).unwrap(), expected as u64);
    }

    fn ftruncate(&mut self, at: usize) {
        let size = self.dice.size();
        self.note(format!("ftruncate {at}: {size}"));
        let slot = self.slot(at);
        let said = errno(slot.file.set_len(size as u64));
        match (slot.writes, size > MAX_VALUE) {
            (false, _) => assert_eq!(said, libc::EINVAL),
            (true, true) => assert_eq!(said, libc::EFBIG),
            (true, false) => {
                assert_eq!(said, 0);
                slot.bytes.resize(size, 0);
                (slot.dirty, slot.spoiled) = (true, false);
            }
        }
    }

    fn mmap(&mut self, at: usize) {
        self.note(format!("mmap {at}"));
        let slot = self.slot(at);
        let length = slot.bytes.len();
        if !slot.reads || length == 0 {
            return;
        }
        let how = if slot.writes { libc::MAP_PRIVATE } else { libc::MAP_SHARED };
        assert!(mapped(&slot.file, length, how).unwrap() == slot.bytes, "mapped other bytes");
    }

    fn fstat(&mut self, at: usize) {
        self.note(format!("fstat {at}"));
        let slot = self.slot(at);
        assert_eq!(slot.file.metadata().unwrap().len(), slot.bytes.len() as u64);
    }

    /// Shells do that before they write; it saves nothing.
    fn close_a_duplicate(&mut self, at: usize) {
        self.note(format!("close a duplicate of {at}"));
        drop(self.slot(at).file.try_clone().unwrap());
    }

    fn fsync(&mut self, at: usize) {
        self.note(format!("fsync {at}"));
        let slot = self.slot(at);
        let said = errno(slot.file.sync_all());
        match (slot.dirty, slot.spoiled) {
            (true, true) => assert_eq!(said, libc::EFBIG),
            (true, false) => {
                assert_eq!(said, 0);
                slot.dirty = false;
                let bytes = slot.bytes.clone();
                self.save(bytes);
            }
            (false, _) => assert_eq!(said, 0),
        }
    }

    /// While this process has another writer of the same version open, `close` may leave the save to the release that
    /// comes behind it: who may still write is told by inode numbers, which those two share. So it may while a child that
    /// another test has forked has not become its program yet; that is rare.
    fn close(&mut self, at: usize) {
        let unseen = |slot: &Slot| slot.dirty && !slot.spoiled && slot.bytes == self.current;
        if self.slots[at].as_ref().is_some_and(unseen) {
            // Nothing to see would tell when the release has looked.
            self.fsync(at);
        }
        let alone = self.slots.iter().flatten().filter(|slot| slot.writes).count() <= 1;
        self.note(format!("close {at}"));
        let slot = self.slots[at].take().unwrap();
        // SAFETY: the descriptor is ours and closed once.
        let said = call(unsafe { libc::close(slot.file.into_raw_fd()) });
        match (slot.dirty, slot.spoiled) {
            (true, true) => assert!([libc::EFBIG, 0].contains(&said), "close said {said}"),
            (true, false) => {
                assert_eq!(said, 0);
                self.save(slot.bytes);
            }
            (false, _) => assert_eq!(said, 0),
        }
        let at_once = said != 0 || self.world.vault.requests("set") >= self.made;
        self.closes[usize::from(!at_once)] += usize::from(alone);
        if !alone || !at_once {
            eventually("the release", || self.world.vault.requests("set") >= self.made);
            eventually("the new version", || fs::read(&self.path).is_ok_and(|bytes| bytes == self.current));
        }
    }

    fn truncate(&mut self) {
        let size = self.dice.size();
        self.note(format!("truncate: {size}"));
        // SAFETY: a C string that lives through the call.
        let said = call(unsafe { libc::truncate(c_path(&self.path).as_ptr(), size as i64) });
        if size > MAX_VALUE {
            return assert_eq!(said, libc::EFBIG);
        }
        assert_eq!(said, 0);
        let mut bytes = self.current.clone();
        bytes.resize(size, 0);
        self.save(bytes);
    }

    fn rename_over(&mut self) {
        let bytes = if self.dice.one_in(4) { self.current.clone() } else { self.dice.text(USUAL_SIZE) };
        self.note(format!("rename over it: {}", bytes.len()));
        let temporary = self.path.with_file_name(".fsx.tmp");
        fs::write(&temporary, &bytes).unwrap();
        fs::rename(&temporary, &self.path).unwrap();
        self.save(bytes);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.done.len().saturating_sub(25);
            eprintln!("the last of {} operations:\n  {}", self.done.len(), self.done[from..].join("\n  "));
        }
    }
}

/// Runs one sequence; gives the number of versions that it made, or `None` where nothing can be mounted.
fn sequence(seed: u64, operations: u64) -> Option<u64> {
    println!("AKVFS_SEED={seed}, {operations} operations");
    let vault = Vault::with(ServeOptions::default(), &[("a", "begin\n")])?;
    let world = World::lasting(vault, "max_writes=100000/s,max_requests=100000/s", LONGEST);
    let (path, current) = (world.path("secrets/a/value"), b"begin\n".to_vec());
    let made = world.vault.requests("set");
    let mut run = Run {
        world,
        path,
        dice: Dice::new(seed),
        current,
        made,
        slots: [const { None }; SLOTS],
        closes: [0; 2],
        done: Vec::new(),
    };
    (0..operations).for_each(|_| run.step());
    (0..SLOTS).for_each(|at| {
        if run.slots[at].is_some() {
            run.close(at);
        }
    });
    run.look(true);
    let [after, before] = run.closes;
    assert!(before * 10 <= after, "{before} closes of a lone writer answered before the save, {after} after it");
    assert_eq!(run.world.vault.get("a").unwrap().as_bytes(), run.current);
    assert_eq!(run.world.vault.versions("a").len() as u64, run.made);
    Some(run.made - made)
}

#[test]
fn a_value_is_what_a_model_says_after_each_of_100_000_operations() {
    let number = |key| std::env::var(key).ok().and_then(|text| text.parse::<u64>().ok());
    let operations = number("AKVFS_FSX_OPERATIONS").unwrap_or(100_000);
    let seeds = match number("AKVFS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..operations.div_ceil(SEQUENCE),
    };
    let mut made = 0;
    for seed in seeds {
        let Some(versions) = sequence(seed, operations.min(SEQUENCE)) else { return };
        made += versions;
    }
    println!("{operations} operations made {made} versions");
}
