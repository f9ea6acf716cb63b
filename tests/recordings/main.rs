//! Every answer that was recorded from live vaults goes through the client: successes lose no known member, failures
//! become the right kind. What is expected is worked out here from the raw JSON, apart from the client's code.
//!
//! Once answer by answer through the client's reader, and once recording by recording: a server plays each recorded
//! session back in order while the client performs the same operations.
//!
//! Needs the folder of recordings in `AKVFS_SHARED`; passes without it and says so.

#[macro_use]
#[path = "../support/skipped.rs"]
mod skipped;

#[path = "../client_support/mod.rs"]
mod client_support;
mod exchange;
mod playback;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use exchange::Exchange;
use serde_json::Value;

/// What was counted, for the last line of the output.
type Counts = BTreeMap<String, usize>;

/// All recorded exchanges in order; `None` without the folder.
fn recorded() -> Option<impl Iterator<Item = (usize, Value)>> {
    let Some(shared) = std::env::var_os("AKVFS_SHARED") else {
        skipped!("AKVFS_SHARED does not name the folder with the recordings");
        return None;
    };
    let file = std::path::Path::new(&shared).join("recordings/exchanges.jsonl.xz");
    let file = std::fs::File::open(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let lines = BufReader::new(xz2::read::XzDecoder::new(file)).lines().enumerate();
    Some(
        lines.map(|(number, line)| {
            (number + 1, serde_json::from_str(&line.expect("readable")).expect("a record is JSON"))
        }),
    )
}

#[test]
fn every_recorded_answer_is_understood() {
    let Some(records) = recorded() else { return };
    let mut counts = Counts::new();
    for (line, record) in records {
        let exchange = Exchange::of(&record);
        let verdict = exchange.judge(exchange.read());
        let redacted = record.get("redacted").map(|_| "(of them with a value that was blacked out)".to_owned());
        redacted.into_iter().for_each(|note| *counts.entry(note).or_default() += 1);
        *counts.entry(verdict.unwrap_or_else(|why| panic!("line {line}: {why}"))).or_default() += 1;
    }
    println!("{counts:#?}");
    let answers = counts.iter().filter(|(what, _)| !what.starts_with('(')).map(|(_, count)| count).sum::<usize>();
    assert_eq!(answers, 43_400, "all of them");
}

#[test]
fn every_recorded_session_is_understood_when_it_is_played_back() {
    let Some(records) = recorded() else { return };
    let counts = playback::play(records.map(|(_, record)| Exchange::of(&record)));
    println!("{counts:#?}");
    let answers = counts.iter().filter(|(what, _)| !what.starts_with('(')).map(|(_, count)| count).sum::<usize>();
    assert_eq!(answers, 43_400, "all of them");
}
