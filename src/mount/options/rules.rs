//! The tables `[[rules]]` of the config file: which secrets belong to whom.

use toml::{Table, Value};

use crate::mount::accounts::{self, Numbers};
use crate::mount::value::{parse_id, parse_mode};

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Names, with `*` and `?`.
    pub secrets: String,
    /// Their owner.
    pub owner: Option<u32>,
    /// Their group.
    pub group: Option<u32>,
    /// Permissions of their files.
    pub mode: Option<u16>,
}

const WANTED: &str = "[[rules]] has lines such as secrets = \"web-*\", owner = \"app\", group = 33, mode = \"0440\"";

/// Reads them all. The error is a half-sentence.
pub(super) fn parse(tables: &Value) -> Result<Vec<Rule>, String> {
    let tables = tables.as_array().ok_or(WANTED)?;
    let (users, groups) = (accounts::users(), accounts::groups());
    tables.iter().map(|table| parse_one(table.as_table().ok_or(WANTED)?, &users, &groups)).collect()
}

fn parse_one(table: &Table, users: &Numbers, groups: &Numbers) -> Result<Rule, String> {
    let known = ["secrets", "owner", "group", "mode"];
    if let Some(other) = table.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("[[rules]] has no {other}: {WANTED}"));
    }
    let text = |key: &str| table.get(key).map(|value| value.as_str().ok_or(WANTED)).transpose();
    let secrets = text("secrets")?.ok_or(WANTED)?;
    if secrets.is_empty() || secrets.bytes().any(|byte| !byte.is_ascii_alphanumeric() && !b"-*?".contains(&byte)) {
        return Err(format!(
            "[[rules]] secrets = {secrets:?}: names have letters, digits and dashes, and here * and ?"
        ));
    }
    let mode =
        text("mode")?.map(|mode| parse_mode(mode).map_err(|why| format!("[[rules]] mode: {why}"))).transpose()?;
    let (owner, group) = (account(table, "owner", users)?, account(table, "group", groups)?);
    Ok(Rule { secrets: secrets.to_owned(), owner, group, mode })
}

fn account(table: &Table, key: &str, names: &Numbers) -> Result<Option<u32>, String> {
    let id = |text: &str| parse_id(text).map_err(|why| format!("[[rules]] {key}: {why}"));
    match table.get(key) {
        None => Ok(None),
        Some(Value::Integer(number)) => id(&number.to_string()).map(Some),
        Some(Value::String(name)) if name.parse::<u64>().is_ok() => id(name).map(Some),
        Some(Value::String(name)) => match names.get(name) {
            Some(number) => Ok(Some(*number)),
            None => {
                Err(format!("[[rules]] {key} = {name:?}: this machine's files have no such name; write its number"))
            }
        },
        Some(_) => Err(WANTED.to_owned()),
    }
}

/// They as a config file has them.
pub(super) fn report(rules: &[Rule]) -> String {
    let one = |rule: &Rule| {
        let number = |key: &str, id: Option<u32>| id.map_or_else(String::new, |id| format!("{key} = {id}\n"));
        let mode = rule.mode.map_or_else(String::new, |mode| format!("mode = \"0{mode:03o}\"\n"));
        let (owner, group) = (number("owner", rule.owner), number("group", rule.group));
        format!("\n[[rules]]\nsecrets = \"{}\"\n{owner}{group}{mode}", rule.secrets)
    };
    rules.iter().map(one).collect()
}
