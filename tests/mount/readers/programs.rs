//! Readers while real programs save, many at a time on one mount.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Instant;

use akvfs::local::ServeOptions;

use super::super::harness::{At, Vault, World, eventually, has};
use super::super::writers;
use super::record::{GIT, record, record_of};
use super::ways::{Kind, WAYS, Way};
use super::{OPTIONS, REST, Readers, Seen, asked_for, head, watched};

/// How many ways are watched at a time.
const AT_ONCE: usize = 6;
/// The largest value that another record is appended to, in bytes.
const FULL: usize = 12_000;

/// One way of saving, through one of the two files.
struct Job {
    secret: String,
    at: At,
    way: &'static Way,
}

impl Job {
    fn title(&self) -> String {
        format!("{}  {}", self.at.path("n"), self.way.script)
    }

    /// What stands there before the first save.
    fn first(&self) -> String {
        match self.way.kind {
            Kind::WrapsForGit => format!("{GIT}{}", record(0)),
            _ => record(0),
        }
    }

    /// Runs a script that has what is to be saved in `$NEXT`.
    fn run(&self, world: &World, script: &str, next: &str) {
        std::fs::write(world.mount.aside(&format!("{}.next", self.secret)), next).unwrap();
        let script = format!("export NEXT=\"$T/$N.next\" SIZE={}\n{script}", next.len());
        let ran = world.bash_at(self.at, &self.secret, &script);
        assert_eq!(ran.code, 0, "{}: {ran:?}", self.title());
    }

    /// Saves once more. What stands there now, what stands there then, and how many saves it took.
    fn save(&self, world: &World, stands: &str, round: u64) -> (String, u64) {
        let (way, next) = (self.way.script, record(round));
        match self.way.kind {
            Kind::Replaces => {
                self.run(world, way, &next);
                (next, 1)
            }
            Kind::WrapsForGit => {
                self.run(world, way, &next);
                (format!("{GIT}{next}"), 1)
            }
            Kind::Appends if stands.len() < FULL => {
                self.run(world, way, &next);
                (format!("{stands}{next}"), 1)
            }
            Kind::Appends => {
                self.run(world, COPY, &next);
                (next, 1)
            }
            Kind::WritesInPlace => {
                let next = record_of(round, stands.len());
                self.run(world, way, &next);
                (next, 1)
            }
            Kind::Cuts => {
                self.run(world, COPY, &format!("{next}{}", record(round + 1)));
                self.run(world, way, &next);
                (next, 2)
            }
        }
    }

    /// Saves until `end`, and at least once.
    fn watch(&self, world: &World) -> (Seen, u64) {
        let (mut stands, mut saves, mut round) = (self.first(), 0, 0);
        let stop = world.mount.aside(&format!("{}.stop", self.secret));
        let readers = Readers::start(&world.path(&self.at.path(&self.secret)), stop);
        let end = Instant::now() + watched();
        loop {
            round += 1;
            let (then, more) = self.save(world, &stands, round);
            (stands, saves) = (then, saves + more);
            // On a machine without a processor to spare a close may come back before its save.
            eventually(&self.title(), || world.vault.get(&self.secret).as_ref() == Ok(&stands));
            if Instant::now() >= end {
                break;
            }
        }
        let versions = world.vault.versions(&self.secret).len() as u64;
        assert_eq!(versions, 1 + saves, "{}: one save, one version", self.title());
        (readers.end(), saves)
    }
}

const COPY: &str = r#"cp "$NEXT" "$V""#;

fn watch_all(jobs: &[Job]) -> Option<Vec<String>> {
    let firsts: Vec<_> = jobs.iter().map(Job::first).collect();
    let secrets: Vec<_> = jobs.iter().zip(&firsts).map(|(job, first)| (job.secret.as_str(), first.as_str())).collect();
    let vault = Vault::with(ServeOptions::default(), &secrets)?;
    let world = World::lasting(vault, OPTIONS, watched() + REST);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for job in jobs {
            let (world, wrong) = (&world, &wrong);
            scope.spawn(move || {
                let (seen, saves) = job.watch(world);
                let line = seen.line(saves, &job.title());
                println!("{line}");
                if !seen.is_clean(job.way.may_miss) {
                    wrong.lock().unwrap().push(line);
                }
            });
        }
    });
    assert_eq!(world.vault.requests("delete"), 0);
    Some(wrong.into_inner().unwrap())
}

#[test]
fn readers_see_whole_values_whatever_program_saves() {
    let mut jobs = Vec::new();
    for (number, way) in WAYS.iter().enumerate() {
        if has(way.needs) {
            let both = [(At::Secret, 's'), (At::Flat, 'f')].map(|(at, letter)| Job {
                secret: format!("{letter}{number}"),
                at,
                way,
            });
            // Without much time each way is watched through one of the two files.
            let half = asked_for().is_none().then_some(number % 2);
            jobs.extend(
                both.into_iter().enumerate().filter(|(at, _)| half.is_none_or(|half| half == *at)).map(|(_, job)| job),
            );
        } else {
            skipped!("{} is not installed: {}", way.needs, way.script);
        }
    }
    // Those that start slowly stand beside each other: not at one time.
    jobs.sort_by_key(|job| (job.secret.bytes().rev().collect::<Vec<_>>(), job.at == At::Flat));
    println!("{}", head());
    let mut wrong = Vec::new();
    for some in jobs.chunks(AT_ONCE) {
        let Some(more) = watch_all(some) else { return };
        wrong.extend(more);
    }
    assert!(wrong.is_empty(), "{}\n{}", head(), wrong.join("\n"));
}

#[test]
fn every_program_of_the_writers_tables_is_watched() {
    let watched: BTreeSet<_> = WAYS.iter().map(|way| way.needs).collect();
    let missing: Vec<_> = writers::that_save().filter(|needs| !watched.contains(needs)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
