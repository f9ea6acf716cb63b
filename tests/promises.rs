//! Each promise of the documentation names its tests, they are there, and they run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/named.rs"]
mod named;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use named::tests_below;

/// The pages whose sections are promises: `## P1: what is promised`, and its tests.
const PAGES: [&str; 2] = ["docs/reliability.md", "docs/security.md"];
/// How many promises there are, numbered from 1.
const PROMISES: usize = 16;
/// How a target of the fuzzer is named among the tests.
const FUZZ: &str = "fuzz ";

fn page(path: &str) -> String {
    std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The tests that a text names: code of three words or more, or a target of the fuzzer.
fn tests_in(text: &str) -> BTreeSet<String> {
    let spans = text.split('`').skip(1).step_by(2);
    spans.filter(|span| span.starts_with(FUZZ) || is_test(span)).map(str::to_owned).collect()
}

fn is_test(span: &str) -> bool {
    span.matches('_').count() > 1 && span.chars().all(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '_'))
}

/// Each promise of a page, by its number, with its section.
fn sections(page: &str) -> Vec<(usize, &str)> {
    let heads = page.split("\n## P").skip(1).filter_map(|section| section.split_once(": "));
    heads.filter_map(|(number, text)| Some((number.parse().ok()?, text.split("\n## ").next()?))).collect()
}

/// What a section promises one by one, with the tests of each: its table of promises.
fn rows(section: &str) -> Vec<(&str, BTreeSet<String>)> {
    let lines = section.lines().skip_while(|line| !line.starts_with("| promise |"));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    rows.filter_map(|row| row.trim_matches('|').rsplit_once('|'))
        .map(|(what, tests)| (what.trim(), tests_in(tests)))
        .collect()
}

fn is_there(test: &str, tests: &BTreeSet<String>) -> bool {
    match test.strip_prefix(FUZZ) {
        Some(target) => {
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fuzz/fuzz_targets/{target}.rs")).exists()
        }
        None => tests.contains(test),
    }
}

fn promised() -> BTreeMap<usize, BTreeSet<String>> {
    let pages = PAGES.map(page);
    let sections: Vec<_> = pages.iter().flat_map(|page| sections(page)).collect();
    let promised: BTreeMap<_, _> = sections.iter().map(|(number, section)| (*number, tests_in(section))).collect();
    assert_eq!(promised.len(), sections.len(), "a promise is made twice");
    promised
}

#[test]
fn every_promise_has_tests_that_are_there() {
    let there = ["src", "tests"].into_iter().flat_map(tests_below).collect();
    let promised = promised();
    assert!(promised.keys().copied().eq(1..=PROMISES), "promised: {:?}", promised.keys());
    for (number, tests) in promised {
        assert!(!tests.is_empty(), "P{number} names no test");
        let missing: Vec<_> = tests.iter().filter(|test| !is_there(test, &there)).collect();
        assert!(missing.is_empty(), "P{number}: there is no {missing:?}");
    }
}

#[test]
fn every_row_of_a_promise_has_a_test() {
    let page = page("docs/security.md");
    for (number, section) in sections(&page) {
        let rows = rows(section);
        assert!(!rows.is_empty(), "P{number} has no table");
        rows.iter().for_each(|(what, tests)| assert!(!tests.is_empty(), "P{number}: no test for {what:?}"));
    }
}

#[test]
fn every_test_of_a_bad_day_holds_a_promise() {
    let promised: BTreeSet<_> = promised().into_values().flatten().collect();
    let silent: Vec<_> = tests_below("tests/faults").into_iter().filter(|test| !promised.contains(test)).collect();
    assert!(silent.is_empty(), "tests that no promise names: {silent:?}");
}

#[test]
fn a_promise_without_its_test_is_found() {
    let page = "# x\n\n## P1: a\n\n`a_b_c`, `fuzz ids`, `ttl`\n\n| promise | test |\n|---|---|\n| one | `d_e_f` |\n| two | |\n\n## Else\n\n`g_h_i`\n";
    let [(1, section)] = sections(page)[..] else { panic!("one promise") };
    assert!(tests_in(section).iter().eq(["a_b_c", "d_e_f", "fuzz ids"]));
    assert_eq!(rows(section), [("one", BTreeSet::from(["d_e_f".to_owned()])), ("two", BTreeSet::new())]);
    let tests = BTreeSet::from(["a_b_c".to_owned()]);
    assert!(is_there("a_b_c", &tests) && is_there("fuzz ids", &tests));
    assert!(!is_there("g_h_i", &tests) && !is_there("fuzz nothing", &tests));
}
