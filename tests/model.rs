//! Random steps on the filesystem and on a reference that is written from the design, compared after every step.
//!
//! No kernel and no FUSE: the test plays the kernel's part. `AKVFS_SEQUENCES` sets how many sequences run (2,000),
//! `AKVFS_SEED` runs the one of that number and prints its steps. What once went wrong stands in [`REGRESSIONS`].

#[path = "model/compare.rs"]
mod compare;
#[path = "model/op.rs"]
mod op;
#[path = "model/reference.rs"]
mod reference;
#[path = "model/regressions.rs"]
mod regressions;
mod support;
#[path = "model/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use akvfs::fs::Notice;
use compare::compare;
use op::{Dice, Op};
use reference::Reference;
use world::{TTL, World};

const STEPS: u64 = 40;

/// Seeds that once failed.
const REGRESSIONS: &[u64] = &[];

/// How the filesystem sees the vault, and what tells it of others' changes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Variant {
    Raw,
    CacheRefreshed,
    CacheByAge,
}

fn variant(seed: u64) -> Variant {
    [Variant::Raw, Variant::CacheRefreshed, Variant::CacheByAge][(seed % 3) as usize]
}

struct Run {
    reference: Reference,
    world: World,
    steps: Vec<String>,
    verbose: bool,
}

impl Run {
    fn step(&mut self, op: &Op) -> Result<(), String> {
        let fds = self.about(op);
        let before = self.current();
        let Some(expected) = self.reference.step(op) else { return Ok(()) };
        let mut opened = None;
        let outcome = self.world.step(op, &fds, &mut opened);
        if self.verbose {
            println!("{op:?} {fds:?} -> {outcome:?}");
        }
        self.steps.push(format!("{op:?} -> {outcome:?}"));
        if let Some(open) = opened {
            let fd = *self.reference.fds.last().ok_or("opened, and should not have been")?;
            self.world.files.insert(fd.file, open);
            self.world.hold(fd);
        }
        self.world.forget();
        let told = self.world.notices();
        if !matches!(op, Op::Others { .. }) {
            self.was_told(&before, &told)?;
        }
        let silent = self.reference.may_be_silent && outcome.is_ok();
        if outcome != expected && !silent {
            return Err(format!("{op:?}: {outcome:?}, and should be {expected:?}"));
        }
        Ok(())
    }

    /// How many versions each live secret has; 0 for what is not there.
    fn current(&self) -> [usize; 3] {
        [0, 1, 2].map(|n| self.reference.live(n).map_or(0, |secret| secret.versions.len()))
    }

    /// Whether the kernel heard of every new version, and of every secret that went without its caller waiting.
    fn was_told(&self, before: &[usize; 3], told: &[Notice]) -> Result<(), String> {
        let heard = |name: &str| told.iter().any(|notice| matches!(notice, Notice::Entry(_, told) if told == name));
        for (n, (before, now)) in before.iter().zip(self.current()).enumerate() {
            if *before > 0 && now > *before && !heard("value") {
                return Err(format!("the kernel did not hear of the new version of {}", op::NAMES[n]));
            }
            let by_itself = matches!(self.steps.last(), Some(step) if step.starts_with("Advance"));
            if *before > 0 && now == 0 && by_itself && !heard(op::NAMES[n]) {
                return Err(format!("the kernel did not hear that {} is gone", op::NAMES[n]));
            }
        }
        Ok(())
    }

    /// The descriptors that a step is about, and whether each is its file's last.
    fn about(&self, op: &Op) -> Vec<(reference::Fd, bool)> {
        let mut left = self.reference.fds.clone();
        let theirs: Vec<_> = match op {
            Op::Read { fd }
            | Op::Write { fd, .. }
            | Op::Truncate { fd, .. }
            | Op::Fsync { fd }
            | Op::Fork { fd }
            | Op::Close { fd } => self.reference.fd(*fd).into_iter().collect(),
            Op::Kill { p } => left.iter().filter(|fd| fd.p == *p).copied().collect(),
            _ => Vec::new(),
        };
        let last = |fd: reference::Fd| {
            if let Some(place) = left.iter().position(|other| *other == fd) {
                left.remove(place);
            }
            (fd, !left.iter().any(|other| other.file == fd.file))
        };
        theirs.into_iter().map(last).collect()
    }

    /// A step; seldom one that finds nothing to work on.
    fn choose(&self, dice: &mut Dice, kind: Variant) -> Op {
        loop {
            let op = op::next(dice);
            if kind != Variant::Raw && self.reference.is_ambiguous(&op) {
                continue;
            }
            match self.reference.clone().step(&op) {
                None | Some(Err(libc::ENOENT)) if dice.roll(20) != 0 => {}
                _ => return op,
            }
        }
    }

    fn end(&mut self) -> Result<(), String> {
        while !self.reference.fds.is_empty() {
            self.step(&Op::Close { fd: 0 })?;
        }
        compare(&self.reference, &self.world)?;
        let (_, drafts, handles) = self.world.fs.held();
        let named = self.reference.scratch_count();
        if (drafts, handles) != (named, 0) {
            return Err(format!("{drafts} drafts and {handles} handles are left, and {named} files have a name"));
        }
        Ok(())
    }
}

fn run(seed: u64, verbose: bool) -> Result<(), String> {
    let kind = variant(seed);
    let mut dice = Dice::new(seed + 1);
    let mut run =
        Run { reference: Reference::default(), world: World::new(kind != Variant::Raw), steps: Vec::new(), verbose };
    let steps = 5 + dice.roll(STEPS - 4);
    let mut all = || -> Result<(), String> {
        for _ in 0..steps {
            let op = run.choose(&mut dice, kind);
            run.step(&op)?;
            if let Op::Others { .. } = op {
                match kind {
                    Variant::Raw => {}
                    Variant::CacheRefreshed => run.world.store.expire(None),
                    Variant::CacheByAge => run.step(&Op::Advance { ms: TTL.as_millis() as u64 })?,
                }
            }
            compare(&run.reference, &run.world)?;
        }
        run.end()
    };
    let outcome = catch_unwind(AssertUnwindSafe(&mut all)).unwrap_or_else(|_| Err("a panic".to_owned()));
    outcome.map_err(|why| format!("seed {seed} ({kind:?}): {why}\n  {}", run.steps.join("\n  ")))
}

#[test]
fn the_filesystem_does_what_the_reference_does() {
    let number = |key| std::env::var(key).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("AKVFS_SEED") {
        return run(seed, true).unwrap_or_else(|why| panic!("{why}"));
    }
    let count = number("AKVFS_SEQUENCES").unwrap_or(2_000);
    let seeds = Mutex::new(REGRESSIONS.iter().copied().chain(0..count));
    let failed = Mutex::new(Vec::new());
    let work = || {
        while failed.lock().expect("whole").len() < 5 {
            let Some(seed) = seeds.lock().expect("whole").next() else { return };
            let outcome = run(seed, false);
            failed.lock().expect("whole").extend(outcome.err());
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().expect("whole");
    assert!(failed.is_empty(), "AKVFS_SEED=N repeats one\n{}", failed.join("\n"));
    println!("{count} sequences of up to {STEPS} steps");
}
