//! Words that are no option of ours: which are let through, and what the others are told.

use super::{Entry, OPTIONS, find};

/// Words of mount(8) and fstab(5) that mean nothing here, or that always hold (nodev, nosuid, noexec).
pub(super) const SWALLOWED: &[&str] = &[
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "noowner",
    "nogroup",
    "nousers",
    "nofail",
    "_netdev",
    "dev",
    "nodev",
    "suid",
    "nosuid",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "lazytime",
    "nolazytime",
    "silent",
    "loud",
    "iversion",
    "noiversion",
    "mand",
    "nomand",
    "family",
    "nofamily",
    "uhelper",
    "helper",
    "comment",
];

/// Words that would carry a secret. Refused by name, so that the answer says where it belongs.
pub(super) const SECRETS: &[&str] = &[
    "token",
    "access_token",
    "bearer",
    "password",
    "passwd",
    "pass",
    "secret",
    "client_secret",
    "key",
    "api_key",
    "credentials",
    "certificate_password",
];

/// An option as it was written: `name` or `name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What stands before the first `=`.
    pub name: String,
    /// What stands behind it.
    pub value: Option<String>,
}

impl Word {
    fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some((name, value)) => Self { name: name.to_owned(), value: Some(value.to_owned()) },
            None => Self { name: text.to_owned(), value: None },
        }
    }
}

/// Reads a `-o` list: words apart by commas. Commas between double quotes part nothing, as in mount(8).
pub fn parse_list(list: &str) -> Result<Vec<Word>, OptionError> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in list.chars() {
        match (letter, words.last_mut()) {
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => words.push(String::new()),
            (_, Some(word)) => word.push(letter),
            (_, None) => {}
        }
    }
    if quoted {
        return Err(OptionError::Quote);
    }
    Ok(words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()).map(Word::parse).collect())
}

/// `name=value` as a word that [`parse_list`] reads back.
pub(super) fn quoted(name: &str, value: &str) -> String {
    if value.contains(',') { format!("{name}=\"{value}\"") } else { format!("{name}={value}") }
}

/// Why an option was refused. Never holds the value of a word we do not know: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No such option.
    #[error("unknown option {name}; {}", advice(.nearest))]
    Unknown {
        /// As it was given.
        name: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// It would show in `ps`.
    #[error(
        "option {name} is refused: a secret on a command line can be read by every user of the machine; give it in \
         the environment (AZURE_CLIENT_SECRET and its like), or sign in with an identity service or az login"
    )]
    Secret {
        /// As it was given.
        name: String,
    },
    /// A mount that is there cannot be changed.
    #[error(
        "a mount of akvfs cannot be remounted: its options hold until it is unmounted; unmount it and mount it anew"
    )]
    Remount,
    /// A quote that does not end.
    #[error("a \" in -o has no other: write name=\"value, with commas\"")]
    Quote,
    /// Wrong in the environment or the config file.
    #[error("{place}: {error}")]
    In {
        /// The variable or the file.
        place: String,
        /// What is wrong there.
        error: Box<OptionError>,
    },
    /// The config file as a whole.
    #[error("config file {place}: {reason}")]
    File {
        /// Which.
        place: String,
        /// A half-sentence.
        reason: String,
    },
    /// An option without its value.
    #[error("option {name} needs a value: write {name}={}", default_or_example(.name))]
    NeedsValue {
        /// The option.
        name: &'static str,
    },
    /// A value that is none.
    #[error("option {name}={value}: {reason}")]
    Value {
        /// The option.
        name: &'static str,
        /// As it was given.
        value: String,
        /// A half-sentence that says what to write.
        reason: String,
    },
}

/// Whether a name has a meaning or gets an answer of its own; `-s` of a helper lets the others through. A word that
/// would carry a secret, and `remount`, are refused even so.
pub fn is_known(name: &str) -> bool {
    find(name).is_some() || is_swallowed(name) || !matches!(refusal(name), OptionError::Unknown { .. })
}

/// What to say about a name that is no option.
pub fn refusal(name: &str) -> OptionError {
    let plain = name.replace('-', "_").to_ascii_lowercase();
    if plain == "remount" {
        return OptionError::Remount;
    }
    if SECRETS.contains(&plain.as_str()) {
        return OptionError::Secret { name: name.to_owned() };
    }
    OptionError::Unknown { name: name.to_owned(), nearest: nearest(&plain) }
}

/// The option whose name is closest to `name`, if a third of the letters wrong still makes it that one.
fn nearest(name: &str) -> Option<&'static str> {
    let distance = |entry: &Entry| strsim::damerau_levenshtein(entry.name, name);
    let best = OPTIONS.iter().min_by_key(|entry| distance(entry))?;
    (distance(best) <= (name.len() / 3).max(1)).then_some(best.name)
}

pub(super) fn is_swallowed(name: &str) -> bool {
    SWALLOWED.contains(&name) || name.starts_with("x-") || name.starts_with("X-")
}

fn advice(nearest: &Option<&str>) -> String {
    match nearest {
        Some(name) => format!("did you mean {name}?"),
        None => "akvfs mount --help lists the options".to_owned(),
    }
}

fn default_or_example(name: &str) -> String {
    let entry = find(name);
    let placeholder = || entry.and_then(Entry::placeholder).unwrap_or("true").to_owned();
    entry.and_then(Entry::default_text).unwrap_or_else(placeholder)
}
