//! Everything at once, with a tenth of all requests going wrong: readers, writers, another party that rotates, secrets that
//! go and come back, listings. Every value tells its secret, a number that only grows, and a checksum of both.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use akvfs::local::ServeOptions;

use super::calls::errno;
use super::harness::{Mount, Vault, eventually};
use super::proxy::{Break, Proxy, Strike};
use super::soak;

/// The cache is full before a third of the time is over, so that what grows later is lost.
const OPTIONS: &str = "ttl=1s,negative_ttl=1s,max_stale=0s,timeout=2s,write_timeout=3s,prefetch=4,cache_size=1MiB,\
                       max_requests=10000/s,max_writes=1000/s";
/// `ttl`, the time that a refresh takes when it fails once, and what a busy machine takes.
const FRESH: Duration = Duration::from_secs(1 + 2 + 4);
/// The longest that opening and reading or saving a file may take: three calls that wait for the vault, each the limit of a
/// change and half a second, and what a busy machine takes.
const SILENCE: Duration = Duration::from_millis(3 * 3_500 + 6_000);
const SECRETS: usize = 24;
const READERS: usize = 8;
const WRITERS: usize = 2;
/// These are deleted and recovered all the time.
const COMING_AND_GOING: usize = 3;

/// What happens to a tenth of the requests. One that stalls costs everybody some seconds, so there are few of these.
fn strikes() -> Vec<Strike> {
    let answer = |status: u16| format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let short = [
        Strike::Instead(answer(500)),
        Strike::Over(answer(500)),
        Strike::Instead(answer(503)),
        Strike::Over(answer(504)),
        Strike::Instead(answer(429)),
        Strike::Before(Break::Reset),
        Strike::After(Break::Reset),
        Strike::After(Break::ResetInHead),
        Strike::After(Break::CutBody),
        Strike::After(Break::HalfBody),
    ];
    let long = [Strike::Before(Break::Stall), Strike::After(Break::StallInBody)];
    std::iter::repeat_n(short, 20).flatten().chain(long).collect()
}

fn sum(secret: &str, number: u64) -> u64 {
    secret.bytes().fold(number, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
}

/// Of different lengths, so that a mixture of two would be seen.
fn value(secret: &str, number: u64) -> String {
    let filler = "x".repeat((number % 7 * 1_500) as usize);
    format!("{secret} {number} {} {filler}", sum(secret, number))
}

fn number_of(secret: &str, text: &str) -> Result<u64, String> {
    let mut words = text.split(' ');
    let number = words.nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    if text == value(secret, number) {
        Ok(number)
    } else {
        Err(format!("{secret} holds {} bytes of no value", text.len()))
    }
}

/// A secret and what is known of it.
struct Known {
    name: String,
    /// One writer at a time; the last number that was tried.
    next: Mutex<u64>,
    /// Numbers that are stored for certain, and since when.
    stored: RwLock<Vec<(Instant, u64)>>,
}

impl Known {
    /// Saves the next value by `save`.
    fn rotate(&self, save: impl FnOnce(&str) -> bool) {
        let mut next = self.next.lock().unwrap();
        *next += 1;
        if save(&value(&self.name, *next)) {
            self.stored.write().unwrap().push((Instant::now(), *next));
        }
    }

    /// The least number that a read may give which begins now.
    fn least(&self) -> u64 {
        let now = Instant::now();
        let stored = self.stored.read().unwrap();
        stored.iter().rev().find(|(since, _)| now - *since > FRESH).map_or(0, |(_, number)| *number)
    }
}

struct Race {
    mount: Mount,
    proxy: Proxy,
    vault: Vault,
    secrets: Vec<Known>,
    over: AtomicBool,
    calls: AtomicUsize,
    failures: AtomicUsize,
    wrong: Mutex<Vec<String>>,
}

/// The errnos of a vault that fails, throttles, or is slow.
const EXCUSED: [i32; 5] = [libc::EIO, libc::EBUSY, libc::ETIMEDOUT, libc::EHOSTUNREACH, libc::ESTALE];

impl Race {
    fn new() -> Option<Self> {
        let vault = Vault::with(ServeOptions::default(), &[])?;
        let name = |at: usize| if at < COMING_AND_GOING { format!("gone{at}") } else { format!("s{at}") };
        let known = |at| Known { name: name(at), next: Mutex::new(0), stored: RwLock::default() };
        let secrets: Vec<_> = (0..SECRETS).map(known).collect();
        for secret in &secrets {
            secret.rotate(|text| {
                vault.set(&secret.name, text);
                true
            });
        }
        let proxy = Proxy::to(vault.server.addr());
        let limit = soak::lasting(Duration::from_secs(60)) + Duration::from_secs(120);
        let mount = Mount::lasting(&proxy.url(), OPTIONS, limit);
        let (over, calls, failures, wrong) = Default::default();
        Some(Self { mount, proxy, vault, secrets, over, calls, failures, wrong })
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed) && self.wrong.lock().unwrap().is_empty()
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// A call that ends in time, with success or an excuse.
    fn call<T>(&self, what: &str, excused: &[i32], act: impl FnOnce() -> io::Result<T>) -> Option<T> {
        let start = Instant::now();
        let result = act();
        self.calls.fetch_add(1, Ordering::Relaxed);
        if start.elapsed() > SILENCE {
            self.wrong(format!("{what} took {:?}", start.elapsed()));
        }
        match result {
            Ok(done) => Some(done),
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                let number = errno::<()>(Err(error));
                if !EXCUSED.contains(&number) && !excused.contains(&number) {
                    self.wrong(format!("{what}: errno {number}"));
                }
                None
            }
        }
    }

    fn read(&self) {
        let mut seen = vec![(0, String::new()); SECRETS];
        while self.goes_on() {
            let at = fastrand::usize(..SECRETS);
            let secret = &self.secrets[at];
            let excused: &[i32] = if at < COMING_AND_GOING { &[libc::ENOENT] } else { &[] };
            let path = if fastrand::bool() {
                format!("secrets/{}/value", secret.name)
            } else {
                format!("files/{}", secret.name)
            };
            let (least, from) = seen[at].clone().max((secret.least(), "its save".to_owned()));
            let Some(text) = self.call(&path, excused, || fs::read_to_string(self.mount.path(&path))) else { continue };
            match number_of(&secret.name, &text) {
                Err(what) => self.wrong(what),
                Ok(number) if number < least => {
                    self.wrong(format!("{path} holds {number} after {least} of {from}"));
                }
                Ok(number) => seen[at] = (number, path),
            }
        }
    }

    fn write(&self, writer: usize) {
        let own: Vec<_> = self.secrets[COMING_AND_GOING..].iter().skip(writer).step_by(2 * WRITERS).collect();
        while self.goes_on() {
            let secret = own[fastrand::usize(..own.len())];
            let path = self.mount.path(&format!("secrets/{}/value", secret.name));
            secret.rotate(|text| {
                let save = || {
                    let mut file = File::create(&path)?;
                    file.write_all(text.as_bytes())?;
                    // Its verdict is for everybody; a close may not be the last one, when another test starts a process.
                    file.sync_all()
                };
                self.call("a save", &[], save).is_some()
            });
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Another party: past the relay.
    fn rotate(&self) {
        let theirs: Vec<_> = self.secrets[COMING_AND_GOING..].iter().skip(WRITERS).step_by(2 * WRITERS).collect();
        while self.goes_on() {
            theirs[fastrand::usize(..theirs.len())].rotate(|text| {
                self.vault.set(text.split(' ').next().unwrap(), text);
                true
            });
            std::thread::sleep(Duration::from_millis(70));
        }
    }

    fn remove_and_recover(&self) {
        while self.goes_on() {
            let name = &self.secrets[fastrand::usize(..COMING_AND_GOING)].name;
            let (live, deleted) =
                (self.mount.path(&format!("secrets/{name}")), self.mount.path(&format!("deleted/{name}")));
            self.call("rmdir", &[libc::ENOENT], || fs::remove_dir(&live));
            std::thread::sleep(Duration::from_millis(100));
            self.call("mv", &[libc::ENOENT, libc::EEXIST], || fs::rename(&deleted, &live));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn list(&self) {
        let stay: BTreeSet<_> = self.secrets[COMING_AND_GOING..].iter().map(|secret| secret.name.clone()).collect();
        while self.goes_on() {
            let dir = self.mount.path(if fastrand::bool() { "secrets" } else { "files" });
            let list = || {
                let names = fs::read_dir(&dir)?.map(|entry| Ok(entry?.file_name().into_string().unwrap()));
                names.collect::<io::Result<BTreeSet<_>>>()
            };
            if let Some(names) = self.call("ls", &[], list)
                && !stay.is_subset(&names)
            {
                self.wrong(format!("missing in a listing: {:?}", stay.difference(&names)));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// What the daemon uses: memory in KiB, descriptors, inodes, handles.
    fn used(&self) -> [u64; 4] {
        let pid = self.mount.pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let memory = memory.trim().trim_end_matches(" kB").parse().unwrap();
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
        let status: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(self.mount.path(".akvfs/status.json")).unwrap()).unwrap();
        [memory, descriptors, status["files"]["inodes"].as_u64().unwrap(), status["files"]["handles"].as_u64().unwrap()]
    }
}

#[test]
fn everything_at_once_with_a_tenth_of_all_requests_going_wrong() {
    let Some(race) = Race::new() else { return };
    let time = soak::lasting(Duration::from_secs(45));
    race.proxy.arm_chaos(10, strikes());
    let (warm, end) = std::thread::scope(|scope| {
        (0..READERS).for_each(|_| drop(scope.spawn(|| race.read())));
        (0..WRITERS).for_each(|writer| {
            drop(scope.spawn({
                let race = &race;
                move || race.write(writer)
            }))
        });
        scope.spawn(|| race.rotate());
        scope.spawn(|| race.remove_and_recover());
        scope.spawn(|| race.list());
        let begin = Instant::now();
        let wait_until = |part: Duration| {
            while begin.elapsed() < part && race.goes_on() {
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        wait_until(time / 3);
        let warm = race.used();
        wait_until(time);
        let end = race.used();
        race.over.store(true, Ordering::Relaxed);
        (warm, end)
    });
    let struck = race.proxy.disarm();
    let wrong = race.wrong.lock().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (calls, failures) = (race.calls.load(Ordering::Relaxed), race.failures.load(Ordering::Relaxed));
    println!(
        "{calls} calls, {failures} failed, {struck} requests struck; KiB, descriptors, inodes, handles: {warm:?}, {end:?}"
    );
    assert!(calls > 500 && struck > 50 && failures > 0, "too little happened");
    flat(warm, end);
    settle(&race);
}

/// Nothing grows but by what happens to be under way.
fn flat([memory, descriptors, inodes, handles]: [u64; 4], end: [u64; 4]) {
    let room = [memory / 20 + 8 * 1024, descriptors / 4 + 20, inodes / 4 + 50, 30];
    for ((before, after), room) in [memory, descriptors, inodes, handles].into_iter().zip(end).zip(room) {
        assert!(after <= before + room, "{before} became {after}, {room} more would be well");
    }
}

/// When nothing goes wrong any more, the mount shows what the vault holds, and that is the last that was stored, or one that
/// was tried after it.
fn settle(race: &Race) {
    eventually("all is well", || {
        race.secrets.iter().skip(COMING_AND_GOING).all(|secret| {
            let shown = fs::read_to_string(race.mount.path(&format!("secrets/{}/value", secret.name)));
            shown.is_ok_and(|shown| race.vault.get(&secret.name) == Ok(shown))
        })
    });
    for secret in race.secrets.iter().skip(COMING_AND_GOING) {
        let number = number_of(&secret.name, &race.vault.get(&secret.name).unwrap()).unwrap();
        let (tried, stored) = (*secret.next.lock().unwrap(), secret.stored.read().unwrap());
        let last = stored.last().map_or(0, |(_, number)| *number);
        assert!((last..=tried).contains(&number), "{} holds {number} of {tried}, {last} were stored", secret.name);
        let versions = race.vault.versions(&secret.name).len();
        assert!((stored.len()..=tried as usize).contains(&versions), "{}: {versions} versions", secret.name);
    }
}
