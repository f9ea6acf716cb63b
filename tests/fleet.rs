//! Ten thousand mounts of one vault: whether they stay below what it answers, and whether they ever move in step. Each mount
//! is the real cache with its real refresher, alone on a clock of its own; what it asks, and when, is put together
//! afterwards. They do not meet except at the vault's limit, and the question is whether they come to it.
//!
//! With `AKVFS_FLEET=FILE` the table of docs/performance.md is written to FILE too; that takes minutes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use akvfs::around::Around;
use akvfs::cache::{CacheOptions, CachedStore, RefreshOptions, Refresher};
use akvfs::clock::{Clock, Moment};
use akvfs::local::{Rate, Throttle};
use akvfs::secret::{SecretAttributes, SecretName};
use akvfs::store::{ErrorKind, Operation, SecretStore, StoreError, Wait};
use support::{ManualClock, ModelStore, Settings, name, value};

const SECOND: Duration = Duration::from_secs(1);
/// Of each vault's secrets so many are read.
const READ: usize = 5;
/// The default of `kernel_ttl`: for so long the kernel answers readers by itself.
const KERNEL_TTL: Duration = Duration::from_secs(60);
/// A mount looks so often whether something is due, but not more than [`LOOKS`] times in a ttl: time is dear here too.
const TICK: Duration = Duration::from_millis(200);
const LOOKS: u32 = 150;

/// A vault that is not there for a while, and what it was asked, by when.
struct Wire {
    vault: Arc<ModelStore>,
    clock: Arc<ManualClock>,
    outage: Range<Duration>,
    asked: Mutex<Vec<Duration>>,
}

impl Around for Wire {
    fn below(&self) -> &dyn SecretStore {
        &*self.vault
    }

    fn around<T>(
        &self,
        operation: Operation,
        name: Option<&SecretName>,
        wait: Wait,
        ask: impl FnOnce(&dyn SecretStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let now = self.clock.advanced();
        self.asked.lock().unwrap().push(now);
        if !self.outage.contains(&now) {
            return ask(&*self.vault);
        }
        // It hangs, and what was asked in its last seconds is not answered either.
        self.clock.sleep(wait.remaining(&*self.clock));
        Err(StoreError::local(operation, name, ErrorKind::TimedOut, "the vault does not answer"))
    }
}

/// A fleet's mounts: all alike, all of one vault.
struct Fleet {
    vault: Arc<ModelStore>,
    secrets: usize,
    ttl: Duration,
}

impl Fleet {
    fn new(secrets: usize, ttl: Duration) -> Self {
        let clock = ManualClock::shared();
        let vault = ModelStore::with(clock.clone(), Settings::default());
        let wait = Wait::at_most(&*clock, SECOND);
        for number in 0..secrets {
            vault.set(&secret(number), &value("x"), &SecretAttributes::default(), wait).unwrap();
        }
        // Old secrets: what is new is asked for again. The vault's own clock stands still, so there is always time.
        clock.set_calendar(clock.now() + Duration::from_secs(86_400));
        Self { vault, secrets, ttl }
    }

    /// When the mount of this number, which started with all others, asked the vault, until `end`.
    fn mount(&self, number: u64, end: Duration, outage: Range<Duration>) -> Vec<Duration> {
        let clock = ManualClock::shared();
        let wire = Arc::new(Wire { vault: self.vault.clone(), clock: clock.clone(), outage, asked: Mutex::default() });
        let options = CacheOptions { ttl: self.ttl, ..CacheOptions::default() };
        let cache = Arc::new(CachedStore::new(wire.clone(), options, clock.clone()));
        let mut random = fastrand::Rng::with_seed(number);
        let mut reader = Reader::new(self.secrets, random.fork());
        reader.read(&cache, &*clock);
        let names: BTreeSet<_> = reader.names.iter().cloned().collect();
        let mut refresher =
            Refresher::new(cache.clone(), Box::new(move || names.clone()), self.options(random.u64(..)));
        let step = TICK.max(self.ttl / LOOKS);
        // Nor do they look at the same moments.
        clock.advance(step.mul_f64(random.f64()));
        while clock.advanced() < end {
            let before = clock.advanced();
            refresher.tick();
            reader.read(&cache, &*clock);
            clock.advance(step.saturating_sub(clock.advanced() - before));
        }
        std::mem::take(&mut *wire.asked.lock().unwrap())
    }

    fn options(&self, seed: u64) -> RefreshOptions {
        RefreshOptions {
            ttl: self.ttl,
            kernel_ttl: KERNEL_TTL,
            idle_ttl: Duration::from_secs(600),
            all_held: false,
            timeout: Duration::from_secs(15),
            seed,
        }
    }

    /// What each of so many mounts asked, in order.
    fn mounts(&self, count: u64, end: Duration, outage: Range<Duration>) -> Vec<Vec<Duration>> {
        let of = |numbers: Range<u64>| numbers.map(|number| self.mount(number, end, outage.clone())).collect();
        std::thread::scope(|scope| {
            let half = scope.spawn(|| of(0..count / 2));
            let mut all: Vec<_> = of(count / 2..count);
            all.extend(half.join().unwrap());
            all
        })
    }
}

/// Somebody who reads some secrets again and again. The kernel asks for each when it may no longer answer by itself.
struct Reader {
    names: Vec<SecretName>,
    due: Vec<Moment>,
    random: fastrand::Rng,
}

impl Reader {
    fn new(secrets: usize, mut random: fastrand::Rng) -> Self {
        let first = random.usize(..=secrets - READ);
        Self { names: (first..first + READ).map(secret).collect(), due: vec![Moment::default(); READ], random }
    }

    fn read(&mut self, cache: &CachedStore, clock: &dyn Clock) {
        for (name, due) in self.names.iter().zip(&mut self.due) {
            if clock.moment() >= *due {
                *due = clock.moment() + KERNEL_TTL.mul_f64(1.0 + self.random.f64());
                // In an outage it fails, or is the last known one.
                let _ = cache.get(name, None, Wait::at_most(clock, 15 * SECOND));
            }
        }
    }
}

fn secret(number: usize) -> SecretName {
    name(&format!("s{number:04}"))
}

/// How often each moment of this length was asked, from `span.start` to `span.end`.
fn busy(mounts: &[Vec<Duration>], span: Range<Duration>, moment: Duration) -> Vec<usize> {
    let mut counts = vec![0; span.end.saturating_sub(span.start).div_duration_f64(moment).ceil() as usize];
    for at in mounts.iter().flatten().filter(|at| span.contains(*at)) {
        counts[(*at - span.start).div_duration_f64(moment) as usize] += 1;
    }
    counts
}

/// What the fleet asks in a moment when it is left alone.
fn mean(mounts: &[Vec<Duration>], span: Range<Duration>, moment: Duration) -> f64 {
    let asked = mounts.iter().flatten().filter(|at| span.contains(*at)).count();
    asked as f64 / (span.end - span.start).div_duration_f64(moment)
}

/// How many mounts there can be before one of them is refused, by the vault's limit of 4,000 requests in 10 s. Each is one
/// of `mounts`, begun at some other time: what one of them did in `span`, from some moment on, another one does in ten
/// minutes.
fn capacity(mounts: &[Vec<Duration>], span: &Range<Duration>) -> usize {
    const WATCHED: Duration = Duration::from_secs(600);
    let rate = Rate { requests: NonZeroU32::new(4_000).unwrap(), time: 10 * SECOND };
    let is_enough = |count: usize| {
        let mut random = fastrand::Rng::with_seed(1);
        let mut asked = Vec::new();
        for number in 0..count {
            let mount = &mounts[number % mounts.len()];
            let begin = span.start + (span.end - span.start - WATCHED).mul_f64(random.f64());
            let first = mount.partition_point(|at| *at < begin);
            asked.extend(mount[first..].iter().map(|at| *at - begin).take_while(|at| *at < WATCHED));
        }
        asked.sort_unstable();
        let throttle = Throttle::new(rate);
        asked.into_iter().all(|at| throttle.take(Moment::from_start(at)))
    };
    // What the mean allows is the most; from there down in halves.
    let each = mean(mounts, span.clone(), 10 * SECOND) / mounts.len() as f64;
    let (mut fits, mut fails) = (0, (4_000.0 / each).ceil() as usize + 1);
    while fails - fits > fits / 200 + 1 {
        let middle = fits.midpoint(fails);
        if is_enough(middle) { fits = middle } else { fails = middle }
    }
    fits
}

/// What a fleet asks in a moment: in the mean, and when most.
#[derive(Debug)]
struct Peaks {
    mean: f64,
    /// After a common start. The first reads, which are the readers' own, are left out.
    start: usize,
    /// While the vault does not answer anybody.
    outage: usize,
    /// When it is back.
    back: usize,
}

fn peaks(fleet: &Fleet, count: u64, moment: Duration) -> Peaks {
    let ttl = fleet.ttl;
    let (outage, end) = (3 * ttl..6 * ttl, 12 * ttl);
    let mounts = fleet.mounts(count, end, outage.clone());
    let most = |span| busy(&mounts, span, moment).into_iter().max().unwrap();
    Peaks {
        mean: mean(&mounts, 9 * ttl..end, moment),
        start: most(SECOND..outage.start),
        outage: most(outage.clone()),
        back: most(outage.end..9 * ttl),
    }
}

#[test]
fn a_fleet_never_moves_in_step() {
    const MOUNTS: u32 = 500;
    for (secrets, ttl, moment) in [(10, 30, SECOND), (1000, 30, SECOND), (10, 300, 10 * SECOND)] {
        let peaks = peaks(&Fleet::new(secrets, ttl * SECOND), MOUNTS.into(), moment);
        // With a long ttl it is the readers who ask whether the vault is back, when the kernel no longer answers them.
        let calm = peaks.mean.max(f64::from(MOUNTS) * moment.div_duration_f64(KERNEL_TTL));
        let times = [peaks.start, peaks.outage, peaks.back].map(|most| most as f64 / calm);
        assert!(times.iter().all(|times| *times < 6.0), "{secrets} secrets, ttl {ttl} s: {times:?} {peaks:?}");
    }
}

#[test]
fn so_many_mounts_live_under_one_vaults_limit() {
    let fleet = Fleet::new(10, 30 * SECOND);
    let row = steady(&fleet, 40);
    assert!(row.mounts > 9_000, "ten secrets are one page, and thirty seconds hold 12,000 requests: {row:?}");
}

/// Of a fleet that is left alone.
#[derive(Debug)]
struct Steady {
    mounts: usize,
    /// Of each mount.
    requests_a_minute: f64,
}

fn steady(fleet: &Fleet, count: u64) -> Steady {
    let span = 3 * fleet.ttl..(43 * fleet.ttl).max(1800 * SECOND);
    let mounts = fleet.mounts(count, span.end, span.end..span.end);
    let requests_a_minute = mean(&mounts, span.clone(), 60 * SECOND) / mounts.len() as f64;
    Steady { mounts: capacity(&mounts, &span), requests_a_minute }
}

#[test]
fn the_table_of_the_documentation() {
    const WATCHED: u64 = 300;
    let Some(file) = std::env::var_os("AKVFS_FLEET") else { return };
    let mut rows = Vec::new();
    for ttl in [10, 30, 60, 300, 900, 3600u32] {
        for secrets in [10, 100, 1000] {
            let fleet = Fleet::new(secrets, ttl * SECOND);
            let (steady, peaks) = (steady(&fleet, 60), peaks(&fleet, WATCHED, 10 * SECOND));
            println!("{secrets} secrets, ttl {ttl} s: {steady:?} {peaks:?}");
            let room = |most: usize| 4_000 * WATCHED / most as u64;
            rows.push(serde_json::json!({
                "ttl": ttl, "secrets": secrets, "per_minute": steady.requests_a_minute,
                "mounts": steady.mounts, "start": room(peaks.start), "back": room(peaks.back),
            }));
        }
    }
    std::fs::write(file, serde_json::Value::from(rows).to_string()).unwrap();
}
