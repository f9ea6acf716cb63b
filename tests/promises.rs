//! The tests that the pages of promises name are there, and run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The pages whose tables have a promise in the first cell and its tests in the last.
const PAGES: &[&str] = &["docs/security.md"];
/// How such a table begins and ends its head.
const HEAD: (&str, &str) = ("| promise |", "| test |");
/// How a target of the fuzzer is named among the tests.
const FUZZ: &str = "fuzz ";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust sources below a directory.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The names of the tests in a source that are run by themselves.
fn tests_in(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut is_test, mut is_ignored) = (false, false);
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("fn ").or_else(|| line.strip_prefix("pub fn ")) {
            Some(rest) => {
                names.extend((is_test && !is_ignored).then(|| rest.split('(').next().unwrap_or_default().to_owned()));
                (is_test, is_ignored) = (false, false);
            }
            None => {
                is_test |= line == "#[test]";
                is_ignored |= line.starts_with("#[ignore");
            }
        }
    }
    names
}

fn all_tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    ["src", "tests"].iter().for_each(|dir| sources(&root().join(dir), &mut files));
    files.iter().flat_map(|file| tests_in(&std::fs::read_to_string(file).unwrap())).collect()
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
    let tests = all_tests();
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
    let source = "#[test]\nfn a() {}\nfn b() {}\n#[test]\n#[ignore = \"x\"]\nfn c() {}\n    #[test]\n    fn d() {}\n";
    assert_eq!(tests_in(source), ["a", "d"]);
    let tests = BTreeSet::from(["a".to_owned()]);
    assert!(is_there("a", &tests) && is_there("fuzz ids", &tests));
    assert!(!is_there("b", &tests) && !is_there("fuzz nothing", &tests));
}
