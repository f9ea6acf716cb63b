//! The pages: their links lead somewhere, the texts of errors are the code's, and the examples are what the program takes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/kinds.rs"]
mod kinds;
#[macro_use]
#[path = "support/skipped.rs"]
mod skipped;

use std::path::Path;

use kinds::KINDS;

fn page(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The text of all files below.
fn all_below(path: &Path) -> String {
    if path.is_dir() {
        std::fs::read_dir(path).unwrap().map(|entry| all_below(&entry.unwrap().path())).collect()
    } else {
        std::fs::read_to_string(path).unwrap()
    }
}

/// As one line, whatever a formatter broke it by.
fn in_one_line(text: &str) -> String {
    text.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_texts_of_troubleshooting_are_the_codes_and_every_remedy_is_there() {
    let code = all_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let code = in_one_line(&code).replace("{DEVICE}", "/dev/fuse");
    let text = page("docs/troubleshooting.md");
    let mut told = 0;
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let said = row.split('`').nth(1).unwrap();
        assert!(code.contains(said), "nothing says: {said}");
        told += 1;
    }
    assert!(told > 25, "{told}");
    for kind in KINDS {
        assert!(text.contains(akvfs::fs::errno::remedy(kind)), "{kind:?}");
    }
}

#[test]
fn the_pages_name_files_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = std::fs::read_dir(root.join("docs")).unwrap().map(|file| file.unwrap().path());
    let mut links = 0;
    for file in pages.chain([root.join("README.md")]) {
        let text = std::fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().unwrap();
            let there = target.is_empty() || target.starts_with("http") || file.parent().unwrap().join(target).exists();
            assert!(there, "{}: {target}", file.display());
            links += 1;
        }
    }
    assert!(links > 20, "{links}");
}

#[test]
fn what_the_performance_page_shows_is_what_was_measured() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/page.py");
    let run = std::process::Command::new("python3").arg("-B").arg(script).arg("--check").output();
    let Ok(output) = run else {
        skipped!("python3 is not installed");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_sidecars_command_line_is_one() {
    let text = page("dist/container/sidecar.yaml");
    let args = text.lines().find_map(|line| line.trim().strip_prefix("args: [")).unwrap().trim_end_matches(']');
    let words: Vec<_> = args.split(", ").map(|word| word.trim_matches('"')).collect();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_akvfs"));
    let said = command.args(["mount", "--print-config"]).args(&words).output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("auth = \"workload\"") && said.contains("allow_other = true"), "{said}");
}
