//! Looking for a canary: in the memory of a process, in what it wrote, in what everybody sees of it.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use memchr::memmem;

/// How much memory is looked at at a time, in bytes, and how much of it again with the next part.
const PART: usize = 1 << 20;
const OVERLAP: usize = 128;

/// Random letters.
fn letters(count: usize) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef";
    let mut bytes = vec![0_u8; count];
    getrandom::fill(&mut bytes).unwrap();
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

/// Values that are found wherever they are: each has a mark in every quarter, the same in all of them, so that one search
/// finds them all, or what is left of one.
pub struct Canaries {
    mark: String,
    names: Vec<&'static str>,
    values: Vec<String>,
}

impl Canaries {
    /// One of this name for each, of 64 letters.
    pub fn new(names: &[&'static str]) -> Self {
        let mark = letters(8);
        let value = |_: &&str| (0..4).map(|_| format!("{mark}{}", letters(8))).collect();
        let values = names.iter().map(value).collect();
        Self { mark, names: names.to_vec(), values }
    }

    pub fn of(&self, name: &str) -> &str {
        &self.values[self.names.iter().position(|other| *other == name).unwrap()]
    }

    /// Of which canary the part is that begins with the mark.
    fn whose(&self, part: &[u8]) -> &'static str {
        let here = |value: &String| value.as_bytes().chunks(16).any(|quarter| part.starts_with(&quarter[..12]));
        self.values.iter().position(here).map_or("one of them", |at| self.names[at])
    }

    /// The mark as it is, and in base64 wherever it begins, but for the ends, which depend on what stands around it.
    fn needles(&self) -> Vec<String> {
        let encoded = (0..3).map(|offset| {
            let padded = format!("{}{}", "x".repeat(offset), self.mark);
            STANDARD_NO_PAD.encode(&padded)[(offset * 4).div_ceil(3)..(padded.len() * 8) / 6].to_owned()
        });
        encoded.chain([self.mark.clone()]).collect()
    }

    /// Where in `bytes`, and of which.
    pub fn find(&self, bytes: &[u8]) -> Vec<(usize, &'static str)> {
        let needles = self.needles();
        let all = needles.iter().flat_map(|needle| memmem::find_iter(bytes, needle));
        all.map(|at| (at, self.whose(&bytes[at..]))).collect()
    }

    /// Fails if one is there, without printing it.
    #[track_caller]
    pub fn assert_not_in(&self, what: &str, bytes: &[u8]) {
        let found = self.find(bytes);
        assert!(found.is_empty(), "{what} holds a canary: {found:?} of {}", bytes.len());
    }

    /// In all memory that the process has. `None` where nobody may look.
    pub fn in_memory(&self, process: u32) -> Option<Vec<Found>> {
        let memory = File::open(format!("/proc/{process}/mem")).ok()?;
        let maps = fs::read_to_string(format!("/proc/{process}/smaps")).ok()?;
        let mappings = mappings(&maps);
        // What cannot be written to is what was in a file.
        let writable = mappings.iter().filter(|mapping| mapping.line.contains(" rw"));
        Some(writable.flat_map(|mapping| self.in_mapping(&memory, mapping)).collect())
    }

    fn in_mapping(&self, memory: &File, mapping: &Mapping) -> Vec<Found> {
        let parts = (mapping.from..mapping.to).step_by(PART);
        let look = |at| {
            let mut part = vec![0; (PART + OVERLAP).min(mapping.to - at)];
            // What the kernel shows to nobody holds nothing of ours.
            let read = memory.read_at(&mut part, at as u64).unwrap_or(0);
            let found = self.find(&part[..read]).into_iter().filter(|(offset, _)| *offset < PART);
            found.map(move |(offset, canary)| (at + offset, canary)).collect::<Vec<_>>()
        };
        let found = parts.flat_map(look);
        found.map(|(at, canary)| Found { canary, arena: mapping.is_arena, place: mapping.place_of(at) }).collect()
    }
}

/// A place where one was found.
#[derive(Clone)]
pub struct Found {
    /// Which.
    pub canary: &'static str,
    /// Whether it is a page that is kept for values: left out of core files and wiped in children.
    pub arena: bool,
    /// The address, the distance from the mapping's beginning, and the mapping.
    pub place: String,
}

impl fmt::Debug for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at {}{}", self.canary, self.place, if self.arena { ", kept for values" } else { "" })
    }
}

struct Mapping {
    from: usize,
    to: usize,
    line: String,
    is_arena: bool,
}

impl Mapping {
    fn place_of(&self, at: usize) -> String {
        format!("{at:#x} (+{:#x}) {}", at - self.from, self.line)
    }
}

/// From `/proc/PID/smaps`: a line of each mapping, and behind it a line `VmFlags:`.
fn mappings(smaps: &str) -> Vec<Mapping> {
    let mut all = Vec::new();
    for line in smaps.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16).ok();
        if let Some((from, to)) = range.and_then(|(from, to)| number(from).zip(number(to))) {
            all.push(Mapping { from, to, line: line.to_owned(), is_arena: false });
        } else if let (Some(flags), Some(last)) = (line.strip_prefix("VmFlags:"), all.last_mut()) {
            last.is_arena = ["dd", "wf"].iter().all(|flag| flags.split(' ').any(|word| word == *flag));
        }
    }
    all
}

#[test]
fn a_canary_is_found_as_it_is_in_part_and_in_base64() {
    let canaries = Canaries::new(&["a", "b"]);
    let value = canaries.of("b");
    for offset in 0..3 {
        let padded = format!("{}{value}{}", "x".repeat(offset), "y".repeat(offset));
        assert!(canaries.find(STANDARD_NO_PAD.encode(padded).as_bytes()).len() >= 4, "{offset}");
    }
    assert_eq!(canaries.find(&value.as_bytes()[20..60]), [(12, "b"), (28, "b")]);
    assert!(canaries.find(letters(100_000).as_bytes()).is_empty());
    let held = vec![value.to_owned()];
    let found = canaries.in_memory(std::process::id()).unwrap();
    assert!(found.iter().any(|found| found.canary == "b" && !found.arena), "{held:?}: {found:?}");
}
