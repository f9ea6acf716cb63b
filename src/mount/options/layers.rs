//! Where options stand: on the command line, in the environment, in a config file. The command line wins over the
//! environment, the environment over the file, the file over the default.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::entry::{Entry, Kind};
use super::words::{OptionError, Word, refusal};
use super::{OPTIONS, Settings, find, rules};
use crate::secret::SecretName;

/// The largest config file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The table of the config file that gives secrets the names that programs insist on.
const ALIASES: &str = "aliases";
/// The tables that say whose which secrets are.
const RULES: &str = "rules";

/// Where an option's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The config file.
    File(PathBuf),
    /// A variable.
    Environment(String),
    /// A flag or a word of `-o`.
    CommandLine,
}

/// The variables of a process.
pub type Environment = BTreeMap<OsString, OsString>;

/// What is in force, and where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// What is in force.
    pub settings: Settings,
    /// By option; what is missing here is a default.
    origins: BTreeMap<&'static str, Origin>,
}

impl Configured {
    /// Takes in all that was given. The last of two equal words of the command line wins.
    pub fn gather(line: &[Word], environment: &Environment) -> Result<Self, OptionError> {
        let mut all = Self::default();
        if let Some(path) = config_file(line, environment)? {
            all.take_file(&path)?;
        }
        all.take_environment(environment)?;
        line.iter().try_for_each(|word| all.take(&word.name, word.value.as_deref(), Origin::CommandLine))?;
        Ok(all)
    }

    /// Where the value of `entry` comes from; `None` is the default.
    pub fn origin(&self, entry: &Entry) -> Option<&Origin> {
        self.origins.get(entry.subject())
    }

    fn take(&mut self, name: &str, value: Option<&str>, origin: Origin) -> Result<(), OptionError> {
        self.settings.apply(name, value)?;
        if let Some(entry) = find(name) {
            self.origins.insert(entry.subject(), origin);
        }
        Ok(())
    }

    fn take_environment(&mut self, environment: &Environment) -> Result<(), OptionError> {
        for entry in OPTIONS {
            let variable = entry.variable();
            if let Some(value) = text_of(environment, &variable)? {
                let taken = self.take(entry.name, Some(&value), Origin::Environment(variable.clone()));
                taken.map_err(|error| in_place(&variable, error))?;
            }
        }
        Ok(())
    }

    fn take_file(&mut self, path: &Path) -> Result<(), OptionError> {
        let failed = |reason| OptionError::File { place: path.display().to_string(), reason };
        let text = read_guarded(path).map_err(failed)?;
        self.take_text(path, &text)
    }

    /// What stands in the file at `path`.
    pub(in crate::mount) fn take_text(&mut self, path: &Path, text: &str) -> Result<(), OptionError> {
        let failed = |reason| OptionError::File { place: path.display().to_string(), reason };
        // The parser's own message would show the line, and a line may hold what does not belong there.
        let mut table: Table = toml::from_str(text).map_err(|error| failed(what_and_where(&error, text)))?;
        if let Some(aliases) = table.remove(ALIASES) {
            self.settings.mount.aliases = parse_aliases(&aliases).map_err(failed)?;
        }
        if let Some(tables) = table.remove(RULES) {
            self.settings.mount.rules = rules::parse(&tables).map_err(failed)?;
        }
        for (name, value) in &table {
            let taken =
                file_value(name, value).and_then(|value| self.take(name, Some(&value), Origin::File(path.to_owned())));
            taken.map_err(|error| in_place(&path.display().to_string(), error))?;
        }
        Ok(())
    }

    /// What is in force, as a config file that says of each line where it comes from.
    pub fn report(&self) -> String {
        let mut settings = self.settings.clone();
        let lines = OPTIONS.iter().filter(|entry| !matches!(entry.kind, Kind::Opposite(_)) && entry.name != "config");
        let lines: String = lines.map(|entry| self.report_line(entry, entry.text(&mut settings))).collect();
        lines + &self.report_aliases() + &rules::report(&self.settings.mount.rules)
    }

    /// A table stands behind all that is in none.
    fn report_aliases(&self) -> String {
        let text = |text: &str| Value::String(text.to_owned()).to_string();
        let aliases = &self.settings.mount.aliases;
        let lines = aliases.iter().map(|(name, secret)| format!("{} = {}\n", text(name), text(secret.as_str())));
        if aliases.is_empty() { String::new() } else { format!("\n[{ALIASES}]\n{}", lines.collect::<String>()) }
    }

    fn report_line(&self, entry: &Entry, text: Option<String>) -> String {
        let Some(text) = text else { return format!("# {} is not set\n", entry.name) };
        let plain = matches!(entry.kind, Kind::Flag(_) | Kind::Id(_));
        let value = if plain { text } else { Value::String(text).to_string() };
        let line = format!("{} = {value}", entry.name);
        match self.origin(entry) {
            None => format!("{line:<32} # default\n"),
            Some(origin) => format!("{line:<32} # {origin}\n"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Environment(variable) => write!(out, "environment, {variable}"),
            Self::CommandLine => out.write_str("command line"),
        }
    }
}

fn in_place(place: &str, error: OptionError) -> OptionError {
    OptionError::In { place: place.to_owned(), error: Box::new(error) }
}

fn text_of(environment: &Environment, variable: &str) -> Result<Option<String>, OptionError> {
    let Some(value) = environment.get(&OsString::from(variable)) else { return Ok(None) };
    let failed = || OptionError::File { place: variable.to_owned(), reason: "its value is not UTF-8".to_owned() };
    value.to_str().map(|text| Some(text.to_owned())).ok_or_else(failed)
}

/// The file that was named last on the command line, else in the environment.
fn config_file(line: &[Word], environment: &Environment) -> Result<Option<PathBuf>, OptionError> {
    let mut only = Settings::default();
    if let Some(value) = text_of(environment, "AKVFS_CONFIG")? {
        only.apply("config", Some(&value)).map_err(|error| in_place("AKVFS_CONFIG", error))?;
    }
    for word in line.iter().filter(|word| word.name == "config") {
        only.apply("config", word.value.as_deref())?;
    }
    Ok(only.config)
}

/// Reads a file that nobody but its owner can have written, and that belongs to root or to us: what it says decides
/// who may read secrets.
fn read_guarded(path: &Path) -> Result<String, String> {
    let open = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let file = open.map_err(|error| error.to_string())?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    // SAFETY: no arguments, cannot fail.
    let us = unsafe { libc::geteuid() };
    if !about.is_file() {
        return Err("it is not a file".to_owned());
    }
    if about.mode() & 0o022 != 0 {
        return Err("others may write to it; chmod go-w it".to_owned());
    }
    if about.uid() != 0 && about.uid() != us {
        return Err(format!("it belongs to user {}, who is neither root nor you", about.uid()));
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

fn what_and_where(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let at = line.map_or_else(String::new, |line| format!("line {line}: "));
    format!("{at}it is no TOML that says an option once a line, such as ttl = \"30s\"")
}

/// A value of the file as it would stand in `-o`.
fn file_value(name: &str, value: &Value) -> Result<String, OptionError> {
    let Some(entry) = find(name) else { return Err(refusal(name)) };
    let refused =
        |value: String, reason: &str| Err(OptionError::Value { name: entry.name, value, reason: reason.to_owned() });
    match (value, entry.kind) {
        (_, Kind::Path(_)) if entry.name == "config" => refused("…".to_owned(), "a config file cannot name another"),
        (Value::String(text), _) => Ok(text.clone()),
        (Value::Boolean(on), Kind::Flag(_) | Kind::Opposite(_)) => Ok(on.to_string()),
        (Value::Integer(number), Kind::Mode(_)) => refused(number.to_string(), "write it as text, such as \"0640\""),
        (Value::Integer(number), _) => Ok(number.to_string()),
        _ => refused("…".to_owned(), "write a text between double quotes"),
    }
}

fn parse_aliases(table: &Value) -> Result<BTreeMap<String, SecretName>, String> {
    let wanted = || "[aliases] has lines such as \"tls.crt\" = \"web-tls\"".to_owned();
    let table = table.as_table().ok_or_else(wanted)?;
    let parse = |(alias, secret): (&String, &Value)| {
        let secret = secret.as_str().ok_or_else(wanted)?;
        let secret = SecretName::parse(secret).map_err(|error| format!("[aliases] {alias} = {secret}: {error}"))?;
        match is_file_name(alias) {
            true => Ok((alias.clone(), secret)),
            false => Err(format!("[aliases] {alias} = {secret}: no file can have this name")),
        }
    };
    table.iter().map(parse).collect()
}

/// NAME_MAX is 255 bytes (limits.h).
fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests;
