//! The options of a mount: one list, [`OPTIONS`]. The long flags of `akvfs mount`, the words of `-o`, the message
//! about an unknown word, the environment's variables, the config file's keys, the manual pages and `docs/options.md`
//! all come from it; a new option is one entry.
//!
//! - [`entry`]: what an option takes.
//! - [`words`]: words that are no option of ours.
//! - [`rules`]: whose which secrets are.
//! - [`layers`]: command line, environment and file, and which of them wins.
//!
//! Nothing below this module reads flags or words: they get a [`MountOptions`].

pub mod entry;
pub mod layers;
pub mod rules;
pub mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use entry::{Entry, Kind};
pub use rules::Rule;
pub use words::{OptionError, refusal};

use super::audit::Target;
use super::daemon::MOUNT_TIMEOUT;
use crate::secret::SecretName;

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
    /// A newline that an editor put behind a value which had none is taken off again.
    pub final_newline_as_before: bool,
    /// Names of the mount's own in `files/`, and the secrets they mean. Only the config file has them.
    pub aliases: BTreeMap<String, SecretName>,
    /// Saving the bytes that are there already makes a new version too.
    pub always_set: bool,
    /// How long a value is good for from when it is saved; without it a new version has no date.
    pub expires_in: Option<Duration>,
    /// How to sign in.
    pub auth: Auth,
    /// Which of several managed or workload identities.
    pub client_id: Option<String>,
    /// Where the identity's proofs stand; see [`AuthOptions`](crate::vault::AuthOptions).
    pub credentials_file: Option<PathBuf>,
    /// A certificate authority to trust besides the system's; PEM.
    pub ca_file: Option<PathBuf>,
    /// Mount before the vault has given its first answer.
    pub lazy_auth: bool,
    /// Room for values in memory, in bytes.
    pub cache_size: usize,
    /// So many values are asked for at a time for who reads them in order; 0: none ahead.
    pub prefetch: usize,
    /// Values go past the kernel's cache.
    pub no_kernel_cache: bool,
    /// The longest the kernel may keep a name or attributes.
    pub kernel_ttl: Duration,
    /// How often what the kernel merely still holds is asked for again.
    pub idle_ttl: Duration,
    /// Runs when another party has replaced a value.
    pub on_change: Option<String>,
    /// How long the last that is known stands in for a vault that does not answer; zero: never.
    pub max_stale: Duration,
    /// How long "no such secret" is believed without a listing.
    pub negative_ttl: Duration,
    /// Owner of all files; who mounts, if not given.
    pub uid: Option<u32>,
    /// Group of all files; that of who mounts, if not given.
    pub gid: Option<u32>,
    /// What the permissions of files and directories lack.
    pub umask: Option<u16>,
    /// Permissions of files.
    pub file_mode: Option<u16>,
    /// Permissions of directories.
    pub dir_mode: Option<u16>,
    /// Every open of a value is told.
    pub audit: bool,
    /// Where, if not where the log goes.
    pub audit_file: Option<PathBuf>,
    /// Whose which secrets are. Only the config file has them.
    pub rules: Vec<Rule>,
    /// The tags of a secret say whose it is.
    pub owner_tags: bool,
    /// Users other than the one who mounts are let in, as far as owner and permissions allow.
    pub allow_other: bool,
    /// Permissions hold. Always so; the word counts where somebody else has mounted (`/dev/fd/N`).
    pub default_permissions: bool,
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
            final_newline_as_before: false,
            aliases: BTreeMap::new(),
            always_set: false,
            expires_in: None,
            auth: Auth::Auto,
            client_id: None,
            credentials_file: None,
            ca_file: None,
            lazy_auth: false,
            cache_size: 64 << 20,
            prefetch: 16,
            no_kernel_cache: false,
            kernel_ttl: Duration::from_secs(60),
            idle_ttl: Duration::from_secs(600),
            max_stale: Duration::from_secs(3600),
            on_change: None,
            negative_ttl: Duration::from_secs(1),
            uid: None,
            gid: None,
            umask: None,
            file_mode: None,
            dir_mode: None,
            rules: Vec::new(),
            owner_tags: false,
            audit: false,
            audit_file: None,
            allow_other: false,
            default_permissions: false,
        }
    }
}

impl MountOptions {
    /// The permissions that files show: what `file_mode` says, else what `umask` leaves, else the owner's alone.
    pub fn mode_of_files(&self) -> u16 {
        self.file_mode.unwrap_or_else(|| self.unless_read_only(self.umask.map_or(0o600, |umask| 0o666 & !umask)))
    }

    /// The permissions that directories show, likewise.
    pub fn mode_of_directories(&self) -> u16 {
        self.dir_mode.unwrap_or_else(|| self.unless_read_only(self.umask.map_or(0o700, |umask| 0o777 & !umask)))
    }

    /// Whether opens of values are told of, so that the kernel must not answer them by itself.
    pub fn is_audited(&self) -> bool {
        self.audit || self.audit_file.is_some()
    }

    fn unless_read_only(&self, mode: u16) -> u16 {
        if self.read_only { mode & !0o222 } else { mode }
    }
}

/// All that the options say: the mount's part, and the command's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// For the floors below.
    pub mount: MountOptions,
    /// Stay in the foreground.
    pub foreground: bool,
    /// How long a mount may take to become usable.
    pub mount_timeout: Duration,
    /// The log is JSON, not text.
    pub log_json: bool,
    /// Where more options stand.
    pub config: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        let mount = MountOptions::default();
        Self { mount, foreground: false, mount_timeout: MOUNT_TIMEOUT, log_json: false, config: None }
    }
}

/// Every option there is.
#[rustfmt::skip]
pub static OPTIONS: &[Entry] = &[
    Entry { name: "ro", kind: Kind::Flag(|all| &mut all.mount.read_only), help: "Nothing can be changed through the mount" },
    Entry { name: "rw", kind: Kind::Opposite("ro"), help: "Secrets can be changed; what a mount is unless ro is given" },
    Entry { name: "ttl", kind: Kind::Duration(|all| &mut all.mount.ttl), help: "The longest time a change made elsewhere stays unseen" },
    Entry { name: "timeout", kind: Kind::Limit(|all| &mut all.mount.timeout), help: "The longest time a read waits for the vault; each try has a third of it, and 5 s at least" },
    Entry { name: "write_timeout", kind: Kind::Limit(|all| &mut all.mount.write_timeout), help: "The longest time a change waits for the vault" },
    Entry { name: "mount_timeout", kind: Kind::Limit(|all| &mut all.mount_timeout), help: "The longest time until the mount is usable, or given up" },
    Entry { name: "max_requests", kind: Kind::Rate(|all| &mut all.mount.max_requests), help: "Requests to the vault, at most; those of five seconds may go at once" },
    Entry { name: "max_writes", kind: Kind::Rate(|all| &mut all.mount.max_writes), help: "Changes sent to the vault, at most" },
    Entry { name: "cache_size", kind: Kind::Size(|all| &mut all.mount.cache_size), help: "Room for values in memory" },
    Entry { name: "prefetch", kind: Kind::AtOnce(|all| &mut all.mount.prefetch), help: "How many values are asked for at a time for who reads them in the order of the listing, or off" },
    Entry { name: "kernel_ttl", kind: Kind::Duration(|all| &mut all.mount.kernel_ttl), help: "The longest time the kernel keeps names and attributes" },
    Entry { name: "kernel_cache", kind: Kind::Choice(|all| &mut all.mount.no_kernel_cache, ["on", "off"]), help: "Whether the kernel keeps the bytes of values that are read; off: each read asks the daemon" },
    Entry { name: "idle_ttl", kind: Kind::Limit(|all| &mut all.mount.idle_ttl), help: "How often what nobody asks for, but the kernel still holds, is asked for again" },
    Entry { name: "max_stale", kind: Kind::Duration(|all| &mut all.mount.max_stale), help: "How long after its ttl the last known value stands in for a vault that does not answer; 0s: never" },
    Entry { name: "on_change", kind: Kind::Command(|all| &mut all.mount.on_change), help: "Runs by the shell when another party has replaced a value, with AKVFS_PATH and AKVFS_VERSION" },
    Entry { name: "negative_ttl", kind: Kind::Duration(|all| &mut all.mount.negative_ttl), help: "How long a name that the vault did not have is taken to be missing" },
    Entry { name: "delete_delay", kind: Kind::Duration(|all| &mut all.mount.delete_delay), help: "How long an unlinked value waits for a new file of its name before the delete is sent" },
    Entry { name: "final_newline", kind: Kind::Choice(|all| &mut all.mount.final_newline_as_before, ["keep", "as_before"]), help: "Keep the newline that an editor puts at the end, or take it off where there was none" },
    Entry { name: "always_set", kind: Kind::Flag(|all| &mut all.mount.always_set), help: "Saving the bytes that are there already makes a new version too" },
    Entry { name: "expires_in", kind: Kind::Lifetime(|all| &mut all.mount.expires_in), help: "How long a value is good for from when it is saved: each save gets an expires_on" },
    Entry { name: "allow_purge", kind: Kind::Flag(|all| &mut all.mount.allow_purge), help: "Removing from deleted/ destroys a secret for good" },
    Entry { name: "purge_after", kind: Kind::Duration(|all| &mut all.mount.purge_after), help: "How long a secret must have been deleted before it can be purged" },
    Entry { name: "auth", kind: Kind::Auth(|all| &mut all.mount.auth), help: "How to sign in" },
    Entry { name: "client_id", kind: Kind::Text(|all| &mut all.mount.client_id), help: "Which of several managed or workload identities signs in" },
    Entry { name: "credentials_file", kind: Kind::Credential(|all| &mut all.mount.credentials_file), help: "Where the identity's secrets stand; nobody else may read it" },
    Entry { name: "lazy_auth", kind: Kind::Flag(|all| &mut all.mount.lazy_auth), help: "Mount before the vault has given its first answer" },
    Entry { name: "ca_file", kind: Kind::Path(|all| &mut all.mount.ca_file), help: "A certificate authority to trust besides the system's, PEM" },
    Entry { name: "uid", kind: Kind::Id(|all| &mut all.mount.uid), help: "Owner of all files; who mounts, unless given" },
    Entry { name: "gid", kind: Kind::Id(|all| &mut all.mount.gid), help: "Group of all files; that of who mounts, unless given" },
    Entry { name: "umask", kind: Kind::Mode(|all| &mut all.mount.umask), help: "Permissions that no file and no directory has, as in 027" },
    Entry { name: "file_mode", kind: Kind::Mode(|all| &mut all.mount.file_mode), help: "Permissions of files; 0600 unless given, 0400 under ro" },
    Entry { name: "dir_mode", kind: Kind::Mode(|all| &mut all.mount.dir_mode), help: "Permissions of directories; 0700 unless given, 0500 under ro" },
    Entry { name: "owner_tags", kind: Kind::Flag(|all| &mut all.mount.owner_tags), help: "The tags akvfs-owner, akvfs-group and akvfs-mode of a secret say whose its files are" },
    Entry { name: "allow_other", kind: Kind::Flag(|all| &mut all.mount.allow_other), help: "Let other users in, as far as owner, group and permissions allow" },
    Entry { name: "default_permissions", kind: Kind::Flag(|all| &mut all.mount.default_permissions), help: "The kernel checks owner, group and permissions; always so" },
    Entry { name: "audit", kind: Kind::Flag(|all| &mut all.mount.audit), help: "Tell of every open of a value: when, who, which program, which version" },
    Entry { name: "audit_file", kind: Kind::Path(|all| &mut all.mount.audit_file), help: "The file for that, instead of syslog or, in the foreground, the standard error" },
    Entry { name: "log_format", kind: Kind::Choice(|all| &mut all.log_json, ["text", "json"]), help: "The log as lines of text or of JSON; journald gets fields" },
    Entry { name: "config", kind: Kind::Path(|all| &mut all.config), help: "A TOML file with options; the environment and the command line win over it" },
    Entry { name: "foreground", kind: Kind::Flag(|all| &mut all.foreground), help: "Stay in the foreground and log to the standard error, not to journald or syslog" },
];

impl Settings {
    /// Where the audit goes, if there is one.
    pub fn audit_target(&self) -> Option<Target> {
        match &self.mount.audit_file {
            Some(file) => Some(Target::File(file.clone())),
            None if !self.mount.audit => None,
            None if self.foreground => Some(Target::Stderr),
            None => Some(Target::Syslog),
        }
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
            None if words::is_swallowed(name) => Ok(()),
            None => Err(refusal(name)),
        }
    }
}

/// The option of this name, `_` and `-` alike.
pub fn find(name: &str) -> Option<&'static Entry> {
    let name = name.replace('-', "_");
    OPTIONS.iter().find(|entry| entry.name == name)
}

#[cfg(test)]
mod tests;
