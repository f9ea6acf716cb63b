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
    /// A flag with a value.
    #[error("option {name} takes no value")]
    TakesNoValue {
        /// The option.
        name: &'static str,
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

/// What to say about a name that is no option.
pub fn refusal(name: &str) -> OptionError {
    let plain = name.replace('-', "_").to_ascii_lowercase();
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
    find(name).and_then(Entry::default_text).unwrap_or_else(|| "FILE".to_owned())
}
