//! The tests that the pages of promises name are there, and run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/named.rs"]
mod named;

use std::collections::BTreeSet;
use std::path::PathBuf;

use named::tests_below;

/// The pages whose tables have a promise in the first cell and its tests in the last.
const PAGES: &[&str] = &["docs/security.md"];
/// How such a table begins and ends its head.
const HEAD: (&str, &str) = ("| promise |", "| test |");
/// How a target of the fuzzer is named among the tests.
const FUZZ: &str = "fuzz ";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Each promise of a page with what it names as its tests.
fn promises(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut in_table = false;
    for line in text.lines() {
        in_table = (in_table && line.starts_with('|')) || (line.starts_with(HEAD.0) && line.ends_with(HEAD.1));
        if !in_table || line.starts_with(HEAD.0) || line.starts_with("|--") {
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        let (promise, tests) = (cells[0].trim(), cells.last().unwrap());
        found.push((promise.to_owned(), tests.split('`').skip(1).step_by(2).map(str::to_owned).collect()));
    }
    found
}

fn is_there(test: &str, tests: &BTreeSet<String>) -> bool {
    match test.strip_prefix(FUZZ) {
        Some(target) => root().join(format!("tests/fuzz/fuzz_targets/{target}.rs")).exists(),
        None => tests.contains(test),
    }
}

#[test]
fn every_promise_has_a_test_that_is_there() {
    let tests = tests_below("src").into_iter().chain(tests_below("tests")).collect();
    for page in PAGES {
        let promises = promises(&std::fs::read_to_string(root().join(page)).unwrap());
        assert!(promises.len() >= 5, "{page} has {} promises", promises.len());
        for (promise, named) in promises {
            assert!(!named.is_empty(), "{page}: no test for {promise:?}");
            let missing: Vec<_> = named.iter().filter(|test| !is_there(test, &tests)).collect();
            assert!(missing.is_empty(), "{page}: there is no {missing:?} for {promise:?}");
        }
    }
}

#[test]
fn a_promise_without_its_test_is_found() {
    let page = "# x\n| promise | limit | test |\n|---|---|---|\n| one | 1 | `a`, `fuzz ids` |\n| two | 2 | |\n\n| a | b |\n|---|---|\n| c | `d` |\n";
    let found = promises(page);
    assert_eq!(found, [("one".to_owned(), vec!["a".to_owned(), "fuzz ids".to_owned()]), ("two".to_owned(), vec![])]);
    let tests = BTreeSet::from(["a".to_owned()]);
    assert!(is_there("a", &tests) && is_there("fuzz ids", &tests));
    assert!(!is_there("b", &tests) && !is_there("fuzz nothing", &tests));
}
