//! The tests that stand in a directory, by name: what documentation says must name them.

use std::collections::BTreeSet;
use std::path::Path;

/// The names of all tests below `dir`, a path in this project.
pub fn tests_below(dir: &str) -> BTreeSet<String> {
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)];
    let mut names = BTreeSet::new();
    while let Some(dir) = dirs.pop() {
        for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                // What the fuzzer's build leaves is nobody's test.
                dirs.extend((!path.ends_with("target")).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = std::fs::read_to_string(path).unwrap();
                let tests =
                    code.split("#[test]\n").skip(1).filter_map(|part| part.split_once("fn ")?.1.split_once('('));
                names.extend(tests.map(|(name, _)| name.to_owned()));
            }
        }
    }
    names
}
