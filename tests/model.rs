//! Random steps on the filesystem and on a reference that is written from the design, compared after every step.
//!
//! No kernel and no FUSE: the test plays the kernel's part. `AKVFS_SEQUENCES` sets how many sequences run (20,000),
//! `AKVFS_FIRST` the number of the first (0), `AKVFS_SEED` runs the one of that number and prints its steps. What goes
//! wrong is printed in as few steps as show it, to be kept in [`regressions`].

#[path = "model/compare.rs"]
mod compare;
#[path = "model/op.rs"]
mod op;
#[path = "model/others.rs"]
mod others;
#[path = "model/reference/mod.rs"]
mod reference;
#[path = "model/regressions.rs"]
mod regressions;
#[path = "model/run.rs"]
mod run;
mod support;
#[path = "model/world.rs"]
mod world;

use std::sync::Mutex;

use run::{random, shrink};

const SEQUENCES: u64 = 20_000;

fn number(key: &str) -> Option<u64> {
    std::env::var(key).ok().and_then(|text| text.parse().ok())
}

#[test]
fn the_filesystem_does_what_the_reference_does() {
    if let Some(seed) = number("AKVFS_SEED") {
        return random(seed, true).unwrap_or_else(|failure| panic!("{}", shrink(failure)));
    }
    let (first, count) = (number("AKVFS_FIRST").unwrap_or(0), number("AKVFS_SEQUENCES").unwrap_or(SEQUENCES));
    let seeds = Mutex::new(first..first + count);
    let failed = Mutex::new(Vec::new());
    let work = || {
        while failed.lock().expect("whole").len() < 5 {
            let Some(seed) = seeds.lock().expect("whole").next() else { return };
            let outcome = random(seed, false);
            failed.lock().expect("whole").extend(outcome.err());
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let failed: Vec<_> = failed.into_inner().expect("whole").into_iter().map(shrink).collect();
    assert!(failed.is_empty(), "AKVFS_SEED=N repeats one\n{}", failed.join("\n"));
    println!("{count} sequences of up to {} steps, from number {first} on", run::STEPS);
}
