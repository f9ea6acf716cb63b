//! Every recorded session of live vaults is sent to a fresh local vault, and what it answers is compared with what
//! Azure answered: status, codes, texts, members with their order, types and values, names of headers.
//!
//! Needs the folder of recordings in `AKVFS_SHARED`; passes without it and says so. `AKVFS_WRITE_DOCS=1` writes the
//! tables into `docs/local-vault.md`; without it they must stand there already.

#[macro_use]
#[path = "../support/skipped.rs"]
mod skipped;

mod bench;
mod classify;
mod clock;
mod compare;
mod plan;
mod player;
mod recording;
mod seed;
mod table;
mod wire;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use player::Outcome;
use recording::Exchange;
use table::Table;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/local-vault.md");
const BEGIN: &str = "<!-- what follows is written by tests/replay -->\n";
const END: &str = "<!-- written by tests/replay so far -->\n";
const PLAYERS: usize = 4;

#[test]
fn every_recorded_session_is_answered_as_azure_answered_it() {
    let Some(shared) = std::env::var_os("AKVFS_SHARED") else {
        skipped!("AKVFS_SHARED does not name the folder with the recordings");
        return;
    };
    let sessions = recording::read(&Path::new(&shared).join("recordings/exchanges.jsonl.xz"));
    let mut table = Table::default();
    for (session, outcomes) in sessions.iter().zip(play_all(&sessions)) {
        session.iter().zip(&outcomes).for_each(|(exchange, outcome)| table.add(exchange, outcome));
    }
    println!("{}", table.markdown());
    assert!(table.unknown.is_empty(), "{} unexplained:\n{}", table.unknown.len(), table.unknown.join("\n"));
    assert!(table.shares().0 >= 99.5, "{:?}", table.shares());
    check_docs(&table.markdown());
}

/// The outcomes of every session, in the sessions' order.
fn play_all(sessions: &[Vec<Exchange>]) -> Vec<Vec<Outcome>> {
    let next = AtomicUsize::new(0);
    let take = || {
        let at = next.fetch_add(1, Ordering::Relaxed);
        sessions.get(at).map(|session| (at, player::play(session)))
    };
    let mut played: Vec<(usize, Vec<Outcome>)> = std::thread::scope(|scope| {
        let players: Vec<_> =
            (0..PLAYERS).map(|_| scope.spawn(|| std::iter::from_fn(take).collect::<Vec<_>>())).collect();
        players.into_iter().flat_map(|player| player.join().expect("no panic")).collect()
    });
    played.sort_unstable_by_key(|(at, _)| *at);
    played.into_iter().map(|(_, outcomes)| outcomes).collect()
}

fn check_docs(tables: &str) {
    let docs = std::fs::read_to_string(DOCS).expect("the docs");
    let (before, rest) = docs.split_once(BEGIN).expect("the mark where the tables begin");
    let (_, after) = rest.split_once(END).expect("the mark where they end");
    let current = format!("{before}{BEGIN}\n{tables}\n{END}{after}");
    if std::env::var_os("AKVFS_WRITE_DOCS").is_some() {
        std::fs::write(DOCS, current).expect("written");
    } else {
        assert!(docs == current, "docs/local-vault.md is not current; AKVFS_WRITE_DOCS=1 writes it:\n{tables}");
    }
}
