//! One option: what it takes, how its value is read, and how it is written back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::words::OptionError;
use super::{Auth, Settings, find, words};
use crate::mount::value::{format_size, parse_duration, parse_id, parse_mode, parse_rate, parse_size};

/// The field of the settings that an option sets.
pub type Field<T> = fn(&mut Settings) -> &mut T;

/// What kind of value an option takes, and the field that holds it.
#[derive(Clone, Copy)]
pub enum Kind {
    /// On or off; the word alone is on.
    Flag(Field<bool>),
    /// The flag of that name, the other way round.
    Opposite(&'static str),
    /// A duration, which may be zero.
    Duration(Field<Duration>),
    /// A duration above zero: a limit of zero could never be met.
    Limit(Field<Duration>),
    /// A duration above zero that may be missing.
    Lifetime(Field<Option<Duration>>),
    /// A number a second.
    Rate(Field<u32>),
    /// How many at a time; 0 is off.
    AtOnce(Field<usize>),
    /// A number of bytes.
    Size(Field<usize>),
    /// A user's or a group's number.
    Id(Field<Option<u32>>),
    /// Permission bits, octal.
    Mode(Field<Option<u16>>),
    /// A name that is passed on.
    Text(Field<Option<String>>),
    /// A command line of the shell.
    Command(Field<Option<String>>),
    /// A file. Kept absolute, since a daemon leaves its directory.
    Path(Field<Option<PathBuf>>),
    /// A file, or the bare name of one in `$CREDENTIALS_DIRECTORY` (systemd.exec(5)).
    Credential(Field<Option<PathBuf>>),
    /// One of two words; the second is on.
    Choice(Field<bool>, [&'static str; 2]),
    /// One of [`Auth::WORDS`].
    Auth(Field<Auth>),
}

/// One option.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its word in `-o`; the long flag has dashes where this has `_`.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// One line.
    pub help: &'static str,
}

impl Entry {
    /// The long flag, without its dashes.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The environment variable.
    pub fn variable(&self) -> String {
        format!("AKVFS_{}", self.name.to_ascii_uppercase())
    }

    /// The option whose field this one sets: itself, but for an opposite.
    pub fn subject(&self) -> &'static str {
        match self.kind {
            Kind::Opposite(name) => name,
            _ => self.name,
        }
    }

    /// What stands for the value in a help text; `None` for a flag.
    pub fn placeholder(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Flag(_) | Kind::Opposite(_) => None,
            Kind::Duration(_) | Kind::Limit(_) | Kind::Lifetime(_) => Some("DURATION"),
            Kind::Rate(_) => Some("RATE"),
            Kind::AtOnce(_) => Some("COUNT"),
            Kind::Size(_) => Some("SIZE"),
            Kind::Id(_) => Some("NUMBER"),
            Kind::Mode(_) => Some("OCTAL"),
            Kind::Text(_) => Some("ID"),
            Kind::Command(_) => Some("COMMAND"),
            Kind::Path(_) | Kind::Credential(_) => Some("FILE"),
            Kind::Choice(..) => Some("WORD"),
            Kind::Auth(_) => Some("WAY"),
        }
    }

    /// The words that it takes, if it takes one of two.
    pub fn words(&self) -> Option<[&'static str; 2]> {
        match self.kind {
            Kind::Choice(_, words) => Some(words),
            _ => None,
        }
    }

    /// The default as one would write it; `None` for a flag and where there is none.
    pub fn default_text(&self) -> Option<String> {
        self.placeholder().and_then(|_| self.text(&mut Settings::default()))
    }

    /// The value in force as one would write it; `None` where it is not set. Changes nothing.
    pub fn text(&self, all: &mut Settings) -> Option<String> {
        match self.kind {
            Kind::Flag(field) => Some(field(all).to_string()),
            Kind::Opposite(name) => find(name).and_then(|entry| entry.text(all)),
            Kind::Duration(field) | Kind::Limit(field) => Some(humantime::format_duration(*field(all)).to_string()),
            Kind::Lifetime(field) => field(all).map(|time| humantime::format_duration(time).to_string()),
            Kind::Rate(field) => Some(format!("{}/s", field(all))),
            Kind::AtOnce(field) => Some(format_at_once(*field(all))),
            Kind::Size(field) => Some(format_size(*field(all))),
            Kind::Id(field) => field(all).map(|id| id.to_string()),
            Kind::Mode(field) => field(all).map(|mode| format!("{mode:04o}")),
            Kind::Text(field) | Kind::Command(field) => field(all).clone(),
            Kind::Choice(field, words) => Some(words[usize::from(*field(all))].to_owned()),
            Kind::Path(field) | Kind::Credential(field) => field(all).as_deref().map(|path| path.display().to_string()),
            Kind::Auth(field) => Some(field(all).word().to_owned()),
        }
    }

    /// The entry as a word of `-o`, where `all` differs from the default.
    pub(super) fn changed(&self, all: &mut Settings) -> Option<String> {
        if matches!(self.kind, Kind::Opposite(_)) {
            return None;
        }
        let text = self.text(all).filter(|text| Some(text) != self.text(&mut Settings::default()).as_ref())?;
        match self.kind {
            Kind::Flag(_) if text == "true" => Some(self.name.to_owned()),
            _ => Some(words::quoted(self.name, &text)),
        }
    }

    pub(super) fn apply(&self, all: &mut Settings, value: Option<&str>) -> Result<(), OptionError> {
        let alone = self.placeholder().is_none().then_some("true");
        let value = value.or(alone).filter(|value| !value.is_empty());
        let value = value.ok_or(OptionError::NeedsValue { name: self.name })?;
        self.set(all, value).map_err(|reason| OptionError::Value { name: self.name, value: value.to_owned(), reason })
    }

    fn set(&self, all: &mut Settings, value: &str) -> Result<(), String> {
        match self.kind {
            Kind::Flag(field) => *field(all) = parse_flag(value)?,
            Kind::Opposite(name) => {
                let opposite = !parse_flag(value)?;
                if let Some(entry) = find(name) {
                    entry.set(all, &opposite.to_string())?;
                }
            }
            Kind::Duration(field) => *field(all) = parse_duration(value)?,
            Kind::Limit(field) => *field(all) = parse_limit(value)?,
            Kind::Lifetime(field) => *field(all) = Some(parse_limit(value)?),
            Kind::Rate(field) => *field(all) = parse_rate(value)?,
            Kind::AtOnce(field) => *field(all) = parse_at_once(value)?,
            Kind::Size(field) => *field(all) = parse_size(value)?,
            Kind::Id(field) => *field(all) = Some(parse_id(value)?),
            Kind::Mode(field) => *field(all) = Some(parse_mode(value)?),
            Kind::Text(field) | Kind::Command(field) => *field(all) = Some(value.to_owned()),
            Kind::Path(field) => *field(all) = Some(parse_path(value)?),
            Kind::Credential(field) => *field(all) = Some(parse_credential(value)?),
            Kind::Choice(field, words) => *field(all) = parse_choice(value, words)?,
            Kind::Auth(field) => *field(all) = parse_auth(value)?,
        }
        Ok(())
    }
}

fn parse_flag(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "write true or false, or the word alone".to_owned())
}

fn parse_limit(value: &str) -> Result<Duration, String> {
    let limit = parse_duration(value)?;
    if limit.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(limit) }
}

fn parse_path(value: &str) -> Result<PathBuf, String> {
    std::path::absolute(Path::new(value)).map_err(|error| error.to_string())
}

/// The vault's client looks for a bare name itself. Where there is nothing of systemd's, it is a file as any other.
fn parse_credential(value: &str) -> Result<PathBuf, String> {
    let sealed = std::env::var_os("CREDENTIALS_DIRECTORY").is_some();
    if sealed && !value.contains('/') { Ok(PathBuf::from(value)) } else { parse_path(value) }
}

/// Beyond this a mount would use up what the service allows a whole vault.
const MAX_AT_ONCE: usize = 64;

fn parse_at_once(value: &str) -> Result<usize, String> {
    if value == "off" {
        return Ok(0);
    }
    let count = value.parse().ok().filter(|count| (2..=MAX_AT_ONCE).contains(count));
    count.ok_or_else(|| format!("write a number from 2 to {MAX_AT_ONCE}, or off"))
}

fn format_at_once(count: usize) -> String {
    if count == 0 { "off".to_owned() } else { count.to_string() }
}

fn parse_choice(value: &str, words: [&str; 2]) -> Result<bool, String> {
    words
        .iter()
        .position(|word| *word == value)
        .map(|at| at == 1)
        .ok_or_else(|| format!("write {}", words.join(" or ")))
}

fn parse_auth(value: &str) -> Result<Auth, String> {
    let known = Auth::WORDS.iter().find(|(word, _)| *word == value);
    known.map(|(_, auth)| *auth).ok_or_else(|| format!("write one of {}", Auth::WORDS.map(|(word, _)| word).join(", ")))
}
