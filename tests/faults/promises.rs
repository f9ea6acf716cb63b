//! Each promise of `docs/reliability.md` names its tests, and they exist.

use std::collections::{BTreeMap, BTreeSet};

use super::named::tests_below;

const PROMISES: [&str; 10] = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P11", "P15"];

/// Tests of this directory that hold no promise to the reader: this one.
const NO_PROMISE: &[&str] = &["every_promise_has_tests_and_every_test_is_there"];

fn named(text: &str) -> BTreeSet<String> {
    let spans = text.split('`').skip(1).step_by(2);
    spans.filter(|span| span.matches('_').count() > 1).map(str::to_owned).collect()
}

#[test]
fn every_promise_has_tests_and_every_test_is_there() {
    let page = include_str!("../../docs/reliability.md");
    let sections = page.split("\n## ").skip(1).filter_map(|section| section.split_once(": "));
    let promises: BTreeMap<_, _> =
        sections.filter(|(head, _)| head.starts_with('P')).map(|(head, text)| (head, named(text))).collect();
    assert_eq!(promises.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from(PROMISES));
    let there: BTreeSet<_> = ["tests", "src"].into_iter().flat_map(tests_below).collect();
    for (promise, tests) in &promises {
        assert!(!tests.is_empty(), "{promise} names no test");
        tests.iter().for_each(|test| assert!(there.contains(test), "{promise}: there is no test {test}"));
    }
    let all: BTreeSet<_> = promises.into_values().flatten().collect();
    let silent: BTreeSet<_> = tests_below("tests/faults").into_iter().filter(|test| !all.contains(test)).collect();
    assert_eq!(silent, NO_PROMISE.iter().map(|test| (*test).to_owned()).collect(), "left: tests that no promise names");
}
