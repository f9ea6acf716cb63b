//! One save is one version, whatever saves, through `secrets/n/value` and through `files/n`. Tables of programs.

mod creating;
mod editors;
mod languages;
mod shells;
mod tools;

use std::collections::BTreeMap;

use super::harness::{At, Ran, World, has};
use super::readme::{page, table};

/// A program that saves.
pub struct Row {
    /// What must be installed.
    needs: &'static str,
    /// Run by bash; see [`World::bash_at`]. `$T/new` holds `new\n`, `$T/longer` what stood there and `more\n`.
    script: &'static str,
    /// What stood there; `None`: the secret is not there yet.
    before: Option<&'static str>,
    after: &'static str,
    /// How many saves it makes.
    versions: usize,
    /// Files that it was asked to leave beside the value: what follows the value's own name.
    leaves: &'static [&'static str],
    /// What a program exits with and says, whose way of writing is refused.
    refused: Option<(i32, &'static str)>,
}

/// A row for a program that saves once.
pub const fn row(needs: &'static str, script: &'static str, after: &'static str) -> Row {
    let before = Some("before\n");
    Row { needs, script, before, after, versions: 1, leaves: &[], refused: None }
}

impl Row {
    pub const fn before(mut self, before: &'static str) -> Self {
        self.before = Some(before);
        self
    }

    pub const fn creates(mut self) -> Self {
        self.before = None;
        self
    }

    pub const fn versions(mut self, versions: usize) -> Self {
        self.versions = versions;
        self
    }

    pub const fn leaves(mut self, leaves: &'static [&'static str]) -> Self {
        self.leaves = leaves;
        self
    }

    /// It exits with this code, says this, and nothing is changed.
    pub const fn refused(mut self, code: i32, says: &'static str) -> Self {
        self.refused = Some((code, says));
        self.versions(0)
    }
}

const TABLES: [&[Row]; 5] = [shells::SHELLS, tools::TOOLS, editors::EDITORS, languages::LANGUAGES, creating::CREATORS];

/// The programs that save.
pub fn that_save() -> impl Iterator<Item = &'static str> {
    TABLES.into_iter().flatten().filter(|row| row.versions > 0).map(|row| row.needs)
}

#[test]
fn the_page_of_programs_has_what_is_tested() {
    let mut tested = BTreeMap::<_, usize>::new();
    for row in TABLES.into_iter().flatten() {
        *tested.entry(row.needs.to_owned()).or_default() += 1;
    }
    let rows = table(&page("docs/programs.md"), "| program |");
    let written = rows.into_iter().map(|row| (row[0].trim_matches('`').to_owned(), row[1].parse().unwrap()));
    assert_eq!(written.collect::<BTreeMap<_, _>>(), tested);
}

/// Runs a table, in `secrets/` and in `files/`.
pub fn check(title: &str, rows: &[Row]) {
    check_at(At::Secret, title, rows);
    check_at(At::Flat, title, rows);
}

/// Runs a table on one mount, a secret for each row, and prints what came of it.
fn check_at(at: At, title: &str, rows: &[Row]) {
    let names: Vec<String> = (0..rows.len()).map(|at| format!("s{at:02}")).collect();
    let there = names.iter().zip(rows).filter_map(|(name, row)| Some((name.as_str(), row.before?)));
    // A removal waits until it is looked for: on a busy machine some take long to make the file anew.
    let Some(world) = World::new(&there.collect::<Vec<_>>(), "max_writes=1000/s,delete_delay=1m") else { return };
    std::fs::write(world.mount.aside("new"), "new\n").unwrap();
    std::fs::write(world.mount.aside("longer"), "before\nmore\n").unwrap();
    let mut table =
        format!("{title}, {}\n{:<8} {:<8} {:<16} program\n", at.path("n"), "right", "versions", "leftovers");
    let mut wrong = Vec::new();
    for (name, row) in names.iter().zip(rows) {
        if !has(row.needs) {
            skipped!("{} is not installed: {}", row.needs, row.script);
            continue;
        }
        if row.before.is_none() && at == At::Secret {
            world.bash(name, r#"mkdir "$D""#).ok();
        }
        let before = Beside::of(&world, at, name);
        let said = world.bash_at(at, name, row.script);
        let came = Outcome::of(&world, (at, name), row, &before);
        let is_right = said_as_expected(row, &said) && came == Outcome::expected(row);
        table += &format!("{:<8} {:<8} {:<16} {}\n", is_right, came.versions, came.left(), row.script);
        if !is_right {
            wrong.push(format!("{at:?} {}\n  {said:?}\n  {came:?}", row.script));
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{}\nlog:\n{}", wrong.join("\n"), world.mount.log());
}

fn said_as_expected(row: &Row, said: &Ran) -> bool {
    match row.refused {
        None => said.code == 0,
        Some((code, says)) => said.code == code && said.err.contains(says),
    }
}

/// What stands around a value, in the mount and in the vault.
struct Beside {
    entries: Vec<String>,
    secrets: Vec<String>,
}

impl Beside {
    fn of(world: &World, at: At, name: &str) -> Self {
        // A look at deleted/ sends what waits to be deleted.
        world.bash(name, r#"ls "$M/deleted""#).ok();
        let entries = world.bash_at(at, name, r#"ls -A "$D""#).ok().lines().map(str::to_owned).collect();
        let secrets = world.vault.live().into_iter().chain(world.vault.deleted()).collect();
        Self { entries, secrets }
    }

    /// What was not there before, apart from the value itself.
    fn more_than(&self, before: &Self, own: &[&str]) -> Vec<String> {
        let new = |now: &[String], then: &[String]| {
            now.iter().filter(|name| !then.contains(name) && !own.contains(&name.as_str())).cloned().collect::<Vec<_>>()
        };
        [new(&self.entries, &before.entries), new(&self.secrets, &before.secrets)].concat()
    }
}

/// What the vault and the mount say after a row.
#[derive(Debug, PartialEq)]
struct Outcome {
    value: String,
    read_back: String,
    versions: usize,
    /// Files and secrets that were not there before; of files named after the value, what follows its name.
    beside: Vec<String>,
    deletes: u64,
    tag: Option<String>,
}

impl Outcome {
    fn of(world: &World, (at, name): (At, &str), row: &Row, before: &Beside) -> Self {
        let own = [name, "value", ".meta.json", "versions"];
        let beside = Beside::of(world, at, name).more_than(before, &own);
        let suffix = |entry: String| entry.strip_prefix(at.base(name)).map(str::to_owned).unwrap_or(entry);
        let is_there = world.vault.live().contains(&name.to_owned());
        let all = if is_there { world.vault.versions(name).len() } else { 0 };
        Self {
            value: world.vault.get(name).unwrap_or_else(|kind| format!("{kind:?}")),
            read_back: world.bash_at(at, name, r#"cat "$V""#).out,
            versions: all - usize::from(row.before.is_some()),
            beside: beside.into_iter().map(suffix).collect(),
            deletes: world.vault.requests("delete"),
            tag: is_there.then(|| world.vault.tags(name).remove("kept")).flatten(),
        }
    }

    fn expected(row: &Row) -> Self {
        Self {
            value: row.after.into(),
            read_back: row.after.into(),
            versions: row.versions,
            beside: row.leaves.iter().map(|leaf| (*leaf).to_owned()).collect(),
            deletes: 0,
            tag: row.before.is_some().then(|| "yes".into()),
        }
    }

    fn left(&self) -> String {
        if self.beside.is_empty() { "none".into() } else { self.beside.join(" ") }
    }
}
