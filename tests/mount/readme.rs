//! The README's tree, its table of what to do, and its errnos are what the mount and the code have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use akvfs::fs::errno::errno_of;
use akvfs::store::ErrorKind;

use super::harness::World;
use super::kinds::KINDS;
use super::named::tests_below;

pub fn page(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The rows of the table whose head starts with `head`, each as its cells.
pub fn table(text: &str, head: &str) -> Vec<Vec<String>> {
    let rows = text.lines().skip_while(|line| !line.starts_with(head)).skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<_> =
        rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect();
    assert!(!rows.is_empty(), "no table {head}");
    rows
}

pub fn in_backticks(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// What the vault is asked to do, in the words of its operations.
fn operation_of(effect: &str) -> &'static str {
    let kinds =
        [("sets", "set"), ("updates", "update"), ("deletes", "delete"), ("recovers", "recover"), ("purges", "purge")];
    kinds.into_iter().find(|(word, _)| effect.starts_with(word)).map_or("", |(_, operation)| operation)
}

/// `n` live, `x` deleted, whatever a command did before.
const BEFORE: &str = r#"
[ -e secrets/n ] || mv deleted/n secrets/
if [ -e secrets/x ]; then rm -r secrets/x; elif [ ! -e deleted/x ]; then mkdir secrets/x; printf x > secrets/x/value; rm -r secrets/x; fi
"#;

#[test]
fn the_readmes_commands_do_what_it_says() {
    let Some(world) = World::new(&[("n", "first"), ("x", "x")], "allow_purge,purge_after=0s") else { return };
    let version = world.vault.versions("n")[0].clone();
    let mut done = 0;
    for row in table(&page("README.md"), "| you do |") {
        let operation = operation_of(&row[1]);
        for written in in_backticks(&row[0]).into_iter().filter(|span| span.contains(' ')) {
            let command = written.replace("versions/V", &format!("versions/{version}"));
            // Those on a deleted secret, and those on a new one, get one of their own.
            let command = match command.as_str() {
                "mkdir secrets/n" => "mkdir secrets/new && rmdir secrets/new".to_owned(),
                on if on.contains("deleted/n") => command.replace("/n", "/x"),
                _ => command,
            };
            world.bash("", &format!("cd \"$M\"\n{BEFORE}")).ok();
            let before = world.vault.requests(operation);
            world.bash("", &format!("cd \"$M\" && {command} && ls \"$M/deleted\" > /dev/null")).ok();
            let sent = world.vault.requests(operation) - before;
            let expected = u64::from(!operation.is_empty() && !command.starts_with("mkdir"));
            assert_eq!(sent, expected, "{written}: {operation}");
            done += 1;
        }
    }
    assert!(done >= 14, "only {done} commands were found");
}

#[test]
fn the_readmes_tree_is_what_stands_there() {
    let Some(world) = World::new(&[("n", "x"), ("x", "x")], "") else { return };
    world.bash("x", r#"rm -r "$D""#).ok();
    let version = world.vault.versions("n")[0].clone();
    let found = world.bash("", r#"cd "$M" && find . -mindepth 1 | sort"#).ok();
    let found = found.replace(&version, "VERSION").replace("/n", "/NAME").replace("/x", "/NAME");
    let text = page("README.md");
    let lines = text.lines().skip_while(|line| *line != "## The tree").skip(1).skip_while(|line| line.is_empty());
    let mut dirs: Vec<String> = Vec::new();
    let mut written = BTreeSet::new();
    for line in lines.take_while(|line| line.starts_with("    ")) {
        let depth = (line.len() - line.trim_start().len()) / 4 - 1;
        let name = line.split_whitespace().next().unwrap().trim_end_matches('/');
        dirs.truncate(depth);
        dirs.push(name.to_owned());
        written.insert(format!("./{}", dirs.join("/")));
    }
    assert_eq!(found.lines().map(str::to_owned).collect::<BTreeSet<_>>(), written);
}

/// Tests that hold no sentence of `docs/semantics.md`: those of the README and of the tests themselves.
const NO_SENTENCE: &[&str] = &[
    "an_ordinary_user_can_try_it",
    "every_cut_and_every_mixture_is_noticed",
    "every_errno_of_the_readme_is_shown_on_a_mount",
    "every_program_of_the_writers_tables_is_watched",
    "every_sentence_of_the_semantics_has_its_test_and_every_test_its_sentence",
    "the_error_table_has_200_rows",
    "the_readers",
    "the_readmes_commands_do_what_it_says",
    "the_readmes_errnos_are_the_codes",
    "the_readmes_tree_is_what_stands_there",
    "trying_it_is_told_what_is_missing_in_one_line",
    "trying_it_works_twice_and_stops_twice",
    "whatever_a_vault_answers_stays_in_its_place",
];

#[test]
fn every_sentence_of_the_semantics_has_its_test_and_every_test_its_sentence() {
    let (text, tests) = (page("docs/semantics.md"), tests_below("tests/mount"));
    let mut named = BTreeSet::new();
    for sentence in text.split("\n- ").skip(1).map(|part| part.split("\n#").next().unwrap()) {
        let claimed: Vec<_> = in_backticks(sentence).into_iter().filter(|span| span.matches('_').count() > 1).collect();
        assert!(!claimed.is_empty(), "no test is named: {sentence}");
        claimed.iter().for_each(|test| assert!(tests.contains(*test), "there is no test {test}"));
        named.extend(claimed);
    }
    let silent: BTreeSet<_> = tests.iter().map(String::as_str).filter(|test| !named.contains(test)).collect();
    assert_eq!(silent, NO_SENTENCE.iter().copied().collect(), "left: tests that no sentence names");
}

/// What the README's row of a kind's errno must say about it.
fn said_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "no such secret",
        ErrorKind::Disabled => "disabled",
        ErrorKind::Forbidden => "no right",
        ErrorKind::Firewall => "firewall",
        ErrorKind::Authentication => "no sign-in",
        ErrorKind::Managed => "certificate manages",
        ErrorKind::PurgeProtected => "purge protection",
        ErrorKind::Deleted => "soft-deleted",
        ErrorKind::Exists => "another spelling",
        ErrorKind::BeingDeleted | ErrorKind::BeingRecovered => "being deleted or recovered",
        ErrorKind::Throttled { .. } => "throttles",
        ErrorKind::Superseded => "somebody else wrote",
        ErrorKind::Invalid => "cannot take",
        ErrorKind::BadBackup => "",
        ErrorKind::Foreign => "foreign host",
        ErrorKind::Unreachable => "no connection",
        ErrorKind::TimedOut => "is over",
        ErrorKind::Broken => "vault failed",
        ErrorKind::Tls => "TLS",
        ErrorKind::NotInMemory => "",
    }
}

const NUMBERS: &[(&str, i32)] = &[
    ("ENOENT", libc::ENOENT),
    ("EACCES", libc::EACCES),
    ("EPERM", libc::EPERM),
    ("EEXIST", libc::EEXIST),
    ("EBUSY", libc::EBUSY),
    ("EINVAL", libc::EINVAL),
    ("ENAMETOOLONG", libc::ENAMETOOLONG),
    ("EFBIG", libc::EFBIG),
    ("EILSEQ", libc::EILSEQ),
    ("EOPNOTSUPP", libc::EOPNOTSUPP),
    ("ESTALE", libc::ESTALE),
    ("EIO", libc::EIO),
    ("EHOSTUNREACH", libc::EHOSTUNREACH),
    ("EPROTO", libc::EPROTO),
    ("ETIMEDOUT", libc::ETIMEDOUT),
    ("EROFS", libc::EROFS),
    ("EINTR", libc::EINTR),
    ("ENOSPC", libc::ENOSPC),
    ("ENODATA", libc::ENODATA),
];

/// Mean here what they mean everywhere, and need no row.
const EVERYWHERE: [&str; 5] = ["EISDIR", "ENOTDIR", "EBADF", "ELOOP", "ENOTTY"];

#[test]
fn the_readmes_errnos_are_the_codes() {
    let rows: BTreeMap<_, _> =
        table(&page("README.md"), "| errno |").into_iter().map(|row| (row[0].clone(), row[1..].join(" "))).collect();
    let row_of = |number: i32| {
        let (name, _) = NUMBERS.iter().find(|(_, other)| *other == number).unwrap();
        rows.get(*name).unwrap_or_else(|| panic!("no row {name}"))
    };
    for kind in KINDS {
        // The errno of a lost race is another one at close, and that one has the row.
        let number = if kind == ErrorKind::Superseded { libc::ESTALE } else { errno_of(kind) };
        assert!(row_of(number).contains(said_of(kind)), "{kind:?}: {:?} in {:?}", said_of(kind), row_of(number));
    }
    let written: BTreeSet<_> = rows.keys().map(String::as_str).collect();
    let mut used = errnos_of_fs();
    EVERYWHERE.iter().for_each(|name| assert!(used.remove(*name), "{name} is not used any more"));
    let used: BTreeSet<_> = used.iter().map(String::as_str).collect();
    assert_eq!(written, used, "left: the README, right: src/fs");
}

/// Every errno that the file floor names outside its tests.
fn errnos_of_fs() -> BTreeSet<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fs");
    let mut used = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (at, _) in code.match_indices("libc::E") {
            let name =
                code[at + 6..].chars().take_while(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit());
            used.insert(name.collect());
        }
    }
    used
}
