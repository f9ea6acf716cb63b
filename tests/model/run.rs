//! One sequence of steps, made by chance or given, and what is left of it when it is cut to what still fails.

use std::panic::{AssertUnwindSafe, catch_unwind};

use akvfs::fs::Notice;

use crate::compare::compare;
use crate::op::{self, Dice, Op};
use crate::reference::{Fd, Outcome, Reference, Setup};
use crate::world::{TTL, World};

pub const STEPS: u64 = 40;

/// How the filesystem sees the vault, and what tells it of others' changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Variant {
    Raw,
    CacheRefreshed,
    CacheByAge,
}

/// Where steps are run.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    pub variant: Variant,
    pub setup: Setup,
}

impl Stage {
    fn of(seed: u64) -> Self {
        let setup = Setup {
            allow_purge: !seed.is_multiple_of(5),
            always_set: seed % 11 == 5,
            final_newline_as_before: seed % 7 == 3,
        };
        let variant = [Variant::Raw, Variant::CacheRefreshed, Variant::CacheByAge][(seed % 3) as usize];
        Self { variant, setup }
    }
}

/// What went wrong, and after which steps.
pub struct Failure {
    seed: u64,
    stage: Stage,
    steps: Vec<Op>,
    why: String,
}

struct Run {
    stage: Stage,
    reference: Reference,
    world: World,
    steps: Vec<Op>,
    verbose: bool,
}

impl Run {
    fn new(stage: Stage, verbose: bool) -> Self {
        let world = World::new(stage.variant != Variant::Raw, stage.setup);
        Self { stage, reference: Reference::new(stage.setup), world, steps: Vec::new(), verbose }
    }

    /// A step with all that comes of it.
    fn take(&mut self, op: &Op) -> Result<(), String> {
        self.steps.push(*op);
        self.step(op)?;
        if let Op::Others { .. } = op {
            match self.stage.variant {
                Variant::Raw => {}
                Variant::CacheRefreshed => self.world.store.expire(None),
                Variant::CacheByAge => self.step(&Op::Advance { ms: TTL.as_millis() as u64 })?,
            }
        }
        compare(&self.reference, &self.world)
    }

    fn step(&mut self, op: &Op) -> Result<(), String> {
        let fds = self.about(op);
        let before = self.current();
        let Some(expected) = self.reference.step(op) else {
            self.world.vault.forget_faults();
            return Ok(());
        };
        let mut opened = None;
        let outcome = self.world.step(op, &fds, &mut opened);
        if self.verbose {
            println!("{op:?} {fds:?} -> {outcome:?}");
        }
        if let Some(open) = opened {
            let fd = *self.reference.fds.last().ok_or("opened, and should not have been")?;
            self.world.files.insert(fd.file, open);
            self.world.hold(fd);
        }
        self.world.forget();
        let told = self.world.notices();
        if !matches!(op, Op::Others { .. }) {
            self.was_told(op, &before, &told)?;
        }
        self.judge(op, outcome, expected)
    }

    fn judge(&self, op: &Op, outcome: Outcome, expected: Outcome) -> Result<(), String> {
        let silent = self.reference.may_be_silent && outcome.is_ok();
        if outcome == expected || silent {
            return Ok(());
        }
        Err(format!("{op:?}: {outcome:?}, and should be {expected:?}"))
    }

    /// How many versions each live secret has; 0 for what is not there.
    fn current(&self) -> [usize; 3] {
        [0, 1, 2].map(|n| self.reference.live(n).map_or(0, |secret| secret.versions.len()))
    }

    /// Whether the kernel heard of every new version, and of every secret that went without its caller waiting.
    fn was_told(&self, op: &Op, before: &[usize; 3], told: &[Notice]) -> Result<(), String> {
        let heard = |name: &str| told.iter().any(|notice| matches!(notice, Notice::Entry(_, told) if told == name));
        for (n, (before, now)) in before.iter().zip(self.current()).enumerate() {
            let name = op::NAMES[n];
            if *before > 0 && now > *before && !(heard(op::VALUE) && heard(name)) {
                return Err(format!("the kernel did not hear of the new version of {name}"));
            }
            if *before > 0 && now == 0 && matches!(op, Op::Advance { .. }) && !heard(name) {
                return Err(format!("the kernel did not hear that {name} is gone"));
            }
        }
        Ok(())
    }

    /// The descriptors that a step is about, and whether each is its file's last.
    fn about(&self, op: &Op) -> Vec<(Fd, bool)> {
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
        let last = |fd: Fd| {
            if let Some(place) = left.iter().position(|other| *other == fd) {
                left.remove(place);
            }
            (fd, !left.iter().any(|other| other.file == fd.file))
        };
        theirs.into_iter().map(last).collect()
    }

    fn is_open(&self, op: &Op) -> bool {
        self.stage.variant != Variant::Raw && self.reference.is_ambiguous(op)
    }

    /// A step; seldom one that finds nothing to work on.
    fn choose(&self, dice: &mut Dice) -> Op {
        loop {
            let op = op::next(dice);
            if self.is_open(&op) {
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
        // Who was sent back for an inode of his own and did not come is waited for.
        self.step(&Op::Advance { ms: 2_500 })?;
        compare(&self.reference, &self.world)?;
        let (_, drafts, handles) = self.world.fs.held();
        let named = self.reference.scratch_count();
        if (drafts, handles) != (named, 0) {
            return Err(format!("{drafts} drafts and {handles} handles are left, and {named} files have a name"));
        }
        Ok(())
    }
}

/// A whole run, in which `act` takes the steps.
fn watched(seed: u64, mut run: Run, act: impl FnOnce(&mut Run) -> Result<(), String>) -> Result<(), Failure> {
    let all = catch_unwind(AssertUnwindSafe(|| act(&mut run).and_then(|()| run.end())));
    let why = match all {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => why,
        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned()),
    };
    Err(Failure { seed, stage: run.stage, steps: run.steps, why })
}

/// The sequence of this number.
pub fn random(seed: u64, verbose: bool) -> Result<(), Failure> {
    rolled(seed, Dice::new(seed + 1), verbose)
}

/// The sequence that these bytes tell.
#[cfg(fuzzing)]
pub fn told(bytes: &[u8]) -> Result<(), Failure> {
    let mut dice = Dice::told(bytes);
    rolled(dice.roll(256), dice, false)
}

fn rolled(seed: u64, mut dice: Dice, verbose: bool) -> Result<(), Failure> {
    let steps = 5 + dice.roll(STEPS - 4);
    watched(seed, Run::new(Stage::of(seed), verbose), |run| {
        (0..steps).try_for_each(|_| {
            let op = run.choose(&mut dice);
            run.take(&op)
        })
    })
}

/// These steps; what the reference leaves open is left out.
pub fn given(seed: u64, stage: Stage, steps: &[Op]) -> Result<(), Failure> {
    watched(seed, Run::new(stage, false), |run| {
        steps.iter().try_for_each(|op| if run.is_open(op) { Ok(()) } else { run.take(op) })
    })
}

/// As few of the steps as still fail, as a test to be kept.
pub fn shrink(mut failure: Failure) -> String {
    let mut at = 0;
    while at < failure.steps.len() {
        let mut fewer = failure.steps.clone();
        fewer.remove(at);
        match given(failure.seed, failure.stage, &fewer) {
            // What it failed at comes last; something shorter may come of it at once.
            Err(found) if found.steps.len() < failure.steps.len() => failure = found,
            _ => at += 1,
        }
    }
    let Failure { seed, stage, steps, why } = failure;
    let steps: String = steps.iter().map(|op| format!("        {op:?},\n")).collect();
    format!("seed {seed} ({stage:?}): {why}\n{steps}")
}
