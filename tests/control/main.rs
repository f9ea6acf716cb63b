//! `.akvfs/`: what a mount tells of itself, and `refresh`. First on the file operations alone, with a vault in memory
//! and a clock that is moved by hand, then on real mounts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
#[path = "../support/skipped.rs"]
mod skipped;

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/terminal.rs"]
mod terminal;

mod commands;
mod files;
mod house;
mod logs;
mod mounted;
mod mounts;
mod others;
mod removing;

/// What must never be seen outside of a value.
const CANARY: &str = "canary-5d1f";

/// Each line of a Prometheus page is a comment or a sample; a family's HELP and TYPE come before its samples. Gives
/// the samples, labels and all.
fn samples(page: &str) -> std::collections::BTreeMap<String, f64> {
    let (mut helped, mut family, mut found) = (String::new(), String::new(), std::collections::BTreeMap::new());
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(text.len() > 3, "{line}");
            helped = name.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(name == helped && matches!(kind, "counter" | "gauge"), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            family = name.to_owned();
        } else {
            let (sample, number) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            assert!(name == family && name.starts_with("akvfs_"), "{line}");
            assert!(sample == name || sample.ends_with("\"}"), "{line}");
            assert!(found.insert(sample.to_owned(), number.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    found
}
