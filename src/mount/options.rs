//! The options of a mount: one list, [`OPTIONS`]. The long flags of `akvfs mount`, the words of `-o`, the message
//! about an unknown word and `docs/options.md` all come from it; a new option is one entry.
//!
//! Nothing below this module reads flags or words: they get a [`MountOptions`].

mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use words::is_swallowed;
pub use words::{OptionError, refusal};

use super::value::{parse_duration, parse_rate};

/// How a mount signs in to its vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Whatever is configured, in the order of the ones below.
    Auto,
    /// `AZURE_TENANT_ID` and its like.
    Environment,
    /// Workload identity (Kubernetes).
    Workload,
    /// Managed identity.
    Managed,
    /// The Azure CLI's.
    AzCli,
    /// The Azure Developer CLI's.
    Azd,
    /// A vault that `akvfs serve` runs, on loopback.
    Local,
}

impl Auth {
    /// Every way and its word.
    pub const WORDS: [(&str, Auth); 7] = [
        ("auto", Auth::Auto),
        ("environment", Auth::Environment),
        ("workload", Auth::Workload),
        ("managed", Auth::Managed),
        ("azcli", Auth::AzCli),
        ("azd", Auth::Azd),
        ("local", Auth::Local),
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, auth)| *auth == self).map_or("", |(word, _)| word)
    }
}

/// What a mount was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// Nothing can be changed through the mount.
    pub read_only: bool,
    /// `deleted/` may be emptied for good.
    pub allow_purge: bool,
    /// How long a secret must have been deleted before it can be purged.
    pub purge_after: Duration,
    /// How long an unlinked value waits for a rename onto its name before the delete is sent.
    pub delete_delay: Duration,
    /// The longest time another party's change may stay unseen.
    pub ttl: Duration,
    /// Bounds a read, from call to errno.
    pub timeout: Duration,
    /// Bounds a change, from call to errno.
    pub write_timeout: Duration,
    /// Requests a second, all together.
    pub max_requests: u32,
    /// Changes a second.
    pub max_writes: u32,
    /// How to sign in.
    pub auth: Auth,
    /// A certificate authority to trust besides the system's; PEM.
    pub ca_file: Option<PathBuf>,
}

impl Default for MountOptions {
    /// The only place where a default stands.
    fn default() -> Self {
        Self {
            read_only: false,
            allow_purge: false,
            purge_after: Duration::from_secs(3600),
            delete_delay: Duration::from_secs(1),
            ttl: Duration::from_secs(30),
            timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(30),
            max_requests: 400,
            max_writes: 30,
            auth: Auth::Auto,
            ca_file: None,
        }
    }
}

/// All that the options say: the mount's part, and the command's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// For the floors below.
    pub mount: MountOptions,
    /// Stay in the foreground.
    pub foreground: bool,
}

/// What kind of value an option takes, and the field that holds it.
#[derive(Clone, Copy)]
pub enum Kind {
    /// None: the word alone sets the field to the value given here.
    Flag(fn(&mut Settings) -> &mut bool, bool),
    /// A duration, which may be zero.
    Duration(fn(&mut Settings) -> &mut Duration),
    /// A duration above zero: a limit of zero could never be met.
    Limit(fn(&mut Settings) -> &mut Duration),
    /// A number a second.
    Rate(fn(&mut Settings) -> &mut u32),
    /// A file. Kept absolute, since a daemon leaves its directory.
    Path(fn(&mut Settings) -> &mut Option<PathBuf>),
    /// One of [`Auth::WORDS`].
    Auth(fn(&mut Settings) -> &mut Auth),
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

/// Every option there is.
#[rustfmt::skip]
pub static OPTIONS: &[Entry] = &[
    Entry { name: "ro", kind: Kind::Flag(|all| &mut all.mount.read_only, true), help: "Nothing can be changed through the mount" },
    Entry { name: "rw", kind: Kind::Flag(|all| &mut all.mount.read_only, false), help: "Secrets can be changed; what a mount is unless ro is given" },
    Entry { name: "ttl", kind: Kind::Duration(|all| &mut all.mount.ttl), help: "The longest time a change made elsewhere stays unseen" },
    Entry { name: "timeout", kind: Kind::Limit(|all| &mut all.mount.timeout), help: "The longest time a read waits for the vault" },
    Entry { name: "write_timeout", kind: Kind::Limit(|all| &mut all.mount.write_timeout), help: "The longest time a change waits for the vault" },
    Entry { name: "max_requests", kind: Kind::Rate(|all| &mut all.mount.max_requests), help: "Requests to the vault, at most" },
    Entry { name: "max_writes", kind: Kind::Rate(|all| &mut all.mount.max_writes), help: "Changes sent to the vault, at most" },
    Entry { name: "delete_delay", kind: Kind::Duration(|all| &mut all.mount.delete_delay), help: "How long an unlinked value waits for a new file of its name before the delete is sent" },
    Entry { name: "allow_purge", kind: Kind::Flag(|all| &mut all.mount.allow_purge, true), help: "Removing from deleted/ destroys a secret for good" },
    Entry { name: "purge_after", kind: Kind::Duration(|all| &mut all.mount.purge_after), help: "How long a secret must have been deleted before it can be purged" },
    Entry { name: "auth", kind: Kind::Auth(|all| &mut all.mount.auth), help: "How to sign in" },
    Entry { name: "ca_file", kind: Kind::Path(|all| &mut all.mount.ca_file), help: "A certificate authority to trust besides the system's, PEM" },
    Entry { name: "foreground", kind: Kind::Flag(|all| &mut all.foreground, true), help: "Stay in the foreground and log to the standard error" },
];

impl Settings {
    /// Takes in a `-o` list: words apart by commas, `name` or `name=value`. A later word wins over an earlier one.
    pub fn apply_list(&mut self, list: &str) -> Result<(), OptionError> {
        list.split(',').map(str::trim).filter(|word| !word.is_empty()).try_for_each(|word| match word.split_once('=') {
            Some((name, value)) => self.apply(name, Some(value)),
            None => self.apply(word, None),
        })
    }

    /// What differs from the defaults, as a `-o` list.
    pub fn in_short(&self) -> String {
        let mut all = self.clone();
        let words: Vec<_> = OPTIONS.iter().filter_map(|entry| entry.changed(&mut all)).collect();
        words.join(",")
    }

    /// Takes in one word.
    pub fn apply(&mut self, name: &str, value: Option<&str>) -> Result<(), OptionError> {
        match find(name) {
            Some(entry) => entry.apply(self, value),
            None if is_swallowed(name) => Ok(()),
            None => Err(refusal(name)),
        }
    }
}

impl Entry {
    /// The long flag, without its dashes.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// What stands for the value in a help text; `None` for a flag.
    pub fn placeholder(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Flag(..) => None,
            Kind::Duration(_) | Kind::Limit(_) => Some("DURATION"),
            Kind::Rate(_) => Some("RATE"),
            Kind::Path(_) => Some("FILE"),
            Kind::Auth(_) => Some("WAY"),
        }
    }

    /// The default as one would write it; `None` where there is none.
    pub fn default_text(&self) -> Option<String> {
        self.text_of(&mut Settings::default())
    }

    /// The value in `all` as one would write it; `None` for a flag, and where there is none.
    fn text_of(&self, all: &mut Settings) -> Option<String> {
        match self.kind {
            Kind::Flag(..) => None,
            Kind::Duration(field) | Kind::Limit(field) => Some(humantime::format_duration(*field(all)).to_string()),
            Kind::Rate(field) => Some(format!("{}/s", field(all))),
            Kind::Path(field) => field(all).as_deref().map(|path| path.display().to_string()),
            Kind::Auth(field) => Some(field(all).word().to_owned()),
        }
    }

    /// The entry as a word of `-o`, where `all` differs from the default.
    fn changed(&self, all: &mut Settings) -> Option<String> {
        if let Kind::Flag(field, meaning) = self.kind {
            let differs = *field(all) != *field(&mut Settings::default());
            return (differs && *field(all) == meaning).then(|| self.name.to_owned());
        }
        let text = self.text_of(all).filter(|text| Some(text) != self.default_text().as_ref())?;
        Some(format!("{}={text}", self.name))
    }

    fn apply(&self, all: &mut Settings, value: Option<&str>) -> Result<(), OptionError> {
        if let Kind::Flag(field, meaning) = self.kind {
            *field(all) = meaning;
            return if value.is_some() { Err(OptionError::TakesNoValue { name: self.name }) } else { Ok(()) };
        }
        let value = value.filter(|value| !value.is_empty()).ok_or(OptionError::NeedsValue { name: self.name })?;
        self.set(all, value).map_err(|reason| OptionError::Value { name: self.name, value: value.to_owned(), reason })
    }

    fn set(&self, all: &mut Settings, value: &str) -> Result<(), String> {
        match self.kind {
            Kind::Flag(field, meaning) => *field(all) = meaning,
            Kind::Duration(field) => *field(all) = parse_duration(value)?,
            Kind::Limit(field) => *field(all) = parse_limit(value)?,
            Kind::Rate(field) => *field(all) = parse_rate(value)?,
            Kind::Path(field) => *field(all) = Some(parse_path(value)?),
            Kind::Auth(field) => *field(all) = parse_auth(value)?,
        }
        Ok(())
    }
}

/// The option of this name, `_` and `-` alike.
pub fn find(name: &str) -> Option<&'static Entry> {
    let name = name.replace('-', "_");
    OPTIONS.iter().find(|entry| entry.name == name)
}

fn parse_limit(value: &str) -> Result<Duration, String> {
    let limit = parse_duration(value)?;
    if limit.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(limit) }
}

fn parse_path(value: &str) -> Result<PathBuf, String> {
    std::path::absolute(Path::new(value)).map_err(|error| error.to_string())
}

fn parse_auth(value: &str) -> Result<Auth, String> {
    let known = Auth::WORDS.iter().find(|(word, _)| *word == value);
    known.map(|(_, auth)| *auth).ok_or_else(|| format!("write one of {}", Auth::WORDS.map(|(word, _)| word).join(", ")))
}

#[cfg(test)]
mod tests;
