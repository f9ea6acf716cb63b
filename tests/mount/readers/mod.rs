//! Readers while somebody saves: the old value or the new one, whole. Values carry their length and a checksum.
//!
//! The readers are a process of their own, since a process sees its own unfinished files.

mod fast;
mod programs;
mod record;
mod ways;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use record::{Verdict, is_a_size, judge};

const VALUE: &str = "AKVFS_TEST_READ";
const STOP: &str = "AKVFS_TEST_STOP";
/// What the readers say before they read.
const READY: &str = "they read";
/// No limits but ours; a removal waits long, since what programs do between removing a file and making it anew takes its
/// time on a busy machine.
const OPTIONS: &str = "max_writes=100000/s,max_requests=100000/s,delete_delay=1m";

/// The longest that a mount stands beyond the time that is watched.
const REST: Duration = Duration::from_secs(120);

/// How long each way of saving is to be watched: `AKVFS_READERS=60s`.
fn asked_for() -> Option<Duration> {
    let seconds = |text: String| text.strip_suffix('s')?.parse().ok();
    let given = std::env::var("AKVFS_READERS").ok()?;
    Some(Duration::from_secs(seconds(given).expect("AKVFS_READERS=60s")))
}

fn watched() -> Duration {
    asked_for().unwrap_or(Duration::from_secs(1))
}

/// What readers saw.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    whole: u64,
    absent: u64,
    zeros: u64,
    short: u64,
    torn: u64,
}

/// The same while it is counted.
#[derive(Default)]
struct Counters([AtomicU64; 5]);

impl Counters {
    fn add(&self, at: usize) {
        self.0[at].fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, bytes: &[u8]) {
        self.add(match judge(bytes) {
            Verdict::Whole => 0,
            Verdict::Zeros => 2,
            Verdict::Short => 3,
            Verdict::Torn => 4,
        });
    }

    fn seen(&self) -> [u64; 5] {
        std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed))
    }

    /// `None` where the value is not there; no other failure is allowed.
    fn open(&self, path: &Path) -> Option<File> {
        match File::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.add(1);
                None
            }
            Err(error) => panic!("{}: {error}", path.display()),
        }
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

fn by_path(path: &Path, seen: &Counters) {
    if let Some(mut file) = seen.open(path) {
        seen.count(&read_by_steps(&mut file));
    }
}

/// A descriptor shows the value it was opened with, whatever is saved meanwhile.
fn by_an_old_descriptor(path: &Path, seen: &Counters) {
    let Some(mut file) = seen.open(path) else { return };
    let first = read_by_steps(&mut file);
    std::thread::sleep(Duration::from_millis(30));
    let mut again = vec![0; 32_768];
    let count = file.read_at(&mut again, 0).unwrap();
    assert!(again[..count] == first, "an open file showed another value: {} and {count} bytes", first.len());
    seen.count(&again[..count]);
}

fn by_map(path: &Path, seen: &Counters) {
    let Some(file) = seen.open(path) else { return };
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

/// By the size that stat(2) and fstat(2) say.
fn by_size(path: &Path, seen: &Counters) {
    if let Ok(told) = fs::metadata(path) {
        assert!(is_a_size(told.len()), "no value has {} bytes", told.len());
    }
    let Some(mut file) = seen.open(path) else { return };
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes).unwrap();
    assert_eq!(file.read(&mut [0]).unwrap(), 0, "longer than its size");
    seen.count(&bytes);
}

#[test]
#[ignore = "other tests run it in a process of its own"]
fn the_readers() {
    let (Ok(path), Ok(stop)) = (std::env::var(VALUE), std::env::var(STOP)) else { return };
    let (path, seen) = (PathBuf::from(path), Counters::default());
    println!("{READY}");
    std::thread::scope(|scope| {
        for read in [by_path, by_an_old_descriptor, by_map, by_size] {
            let (path, seen, stop) = (&path, &seen, &stop);
            scope.spawn(move || {
                while !Path::new(stop).exists() {
                    read(path, seen);
                    // Whoever saves needs the processor too.
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
    });
    println!("seen {:?}", seen.seen());
}

/// Four readers of one file, in a process of their own that ends with this.
struct Readers {
    process: Option<Child>,
    told: BufReader<ChildStdout>,
    stop: PathBuf,
}

impl Drop for Readers {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Readers {
    fn start(path: &Path, stop: PathBuf) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "readers::the_readers", "--ignored", "--nocapture"]).env(VALUE, path).env(STOP, &stop);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains(READY) {
            line.clear();
            assert!(told.read_line(&mut line).unwrap() > 0, "there are no readers");
        }
        Self { process: Some(process), told, stop }
    }

    fn end(mut self) -> Seen {
        fs::write(&self.stop, "").unwrap();
        let mut text = String::new();
        self.told.read_to_string(&mut text).unwrap();
        let status = self.process.take().unwrap().wait().unwrap();
        assert!(status.success(), "{}: {status}", self.stop.display());
        let counts = text.split_once("seen [").unwrap().1.split_once(']').unwrap().0;
        let counts: Vec<u64> = counts.split(", ").map(|count| count.parse().unwrap()).collect();
        let [whole, absent, zeros, short, torn] = counts.try_into().unwrap();
        Seen { whole, absent, zeros, short, torn }
    }
}

/// The head of a table of what readers saw.
fn head() -> String {
    format!("{:>6} {:>8} {:>7} {:>6} {:>6} {:>5}  saved", "saves", "whole", "absent", "zeros", "short", "torn")
}

impl Seen {
    fn line(&self, saves: u64, way: &str) -> String {
        let Self { whole, absent, zeros, short, torn } = self;
        format!("{saves:>6} {whole:>8} {absent:>7} {zeros:>6} {short:>6} {torn:>5}  {way}")
    }

    /// Nothing but whole values; a moment without one only where the program removes it first.
    fn is_clean(&self, may_miss: bool) -> bool {
        self.whole > 0 && [self.zeros, self.short, self.torn] == [0; 3] && (may_miss || self.absent == 0)
    }
}
