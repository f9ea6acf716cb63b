//! The calls of the vault's API, each by the program that makes a mount send it, and a vault to send it to.

use std::fs;
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use akvfs::clock::{Clock, Moment, SystemClock};
use akvfs::local::ServeOptions;
use akvfs::store::ErrorKind;

use super::harness::{Mount, Vault, name, run};

const RENAME: &str = r#"rename($ARGV[0], $ARGV[1]) or die "rename: $!\n""#;

/// For a program.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls of the vault's API, each by the file operation that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Get,
    GetVersion,
    List,
    ListVersions,
    ListDeleted,
    GetDeleted,
    Backup,
    Set,
    Update,
    Delete,
    Recover,
    Purge,
    Restore,
}

pub use Call::*;

pub const CALLS: [Call; 13] = [
    Get,
    GetVersion,
    List,
    ListVersions,
    ListDeleted,
    GetDeleted,
    Backup,
    Set,
    Update,
    Delete,
    Recover,
    Purge,
    Restore,
];

impl Call {
    pub fn is_change(self) -> bool {
        matches!(self, Set | Update | Delete | Recover | Purge | Restore)
    }

    /// The request that is struck.
    pub fn request(self, on: &Prepared) -> (&'static str, String) {
        let Prepared { secret, version, .. } = on;
        match self {
            Get => ("GET", format!("/secrets/{secret}")),
            GetVersion => ("GET", format!("/secrets/{secret}/{version}")),
            List => ("GET", "/secrets".to_owned()),
            ListVersions => ("GET", format!("/secrets/{secret}/versions")),
            ListDeleted => ("GET", "/deletedsecrets".to_owned()),
            GetDeleted => ("GET", format!("/deletedsecrets/{secret}")),
            Backup => ("POST", format!("/secrets/{secret}/backup")),
            Set => ("PUT", format!("/secrets/{secret}")),
            Update => ("PATCH", format!("/secrets/{secret}")),
            Delete => ("DELETE", format!("/secrets/{secret}")),
            Recover => ("POST", format!("/deletedsecrets/{secret}/recover")),
            Purge => ("DELETE", format!("/deletedsecrets/{secret}")),
            Restore => ("POST", "/secrets/restore".to_owned()),
        }
    }

    /// What there is before. The value "old" is the second of two versions.
    pub fn prepare(self, vault: &Vault, secret: &str) -> Prepared {
        vault.set(secret, "older");
        let version = vault.versions(secret).remove(0);
        vault.set(secret, "old");
        let blob = vault.client.backup_secret(&name(secret)).unwrap().expose().to_vec();
        if matches!(self, Recover | Purge | GetDeleted | ListDeleted | Restore) {
            vault.client.begin_delete_secret(&name(secret)).unwrap();
        }
        if self == Restore {
            vault.client.purge_deleted_secret(&name(secret)).unwrap();
        }
        Prepared { secret: secret.to_owned(), version, blob }
    }

    /// The program that makes the call. A process of its own: a descriptor of ours would be held for a moment by everything
    /// that another lane starts, and the close that is told of its save is the last one.
    pub fn program(self, mount: &Mount, on: &Prepared) -> Command {
        let at = |path: &str| mount.path(&path.replace('N', &on.secret));
        let to_copy = |bytes: &[u8]| {
            fs::write(mount.aside("new"), bytes).unwrap();
            mount.aside("new")
        };
        let (program, paths) = match self {
            Get => ("cat", vec![at("secrets/N/value")]),
            GetVersion => ("cat", vec![at("secrets/N/versions").join(&on.version)]),
            List => ("ls", vec![at("secrets")]),
            ListVersions => ("ls", vec![at("secrets/N/versions")]),
            ListDeleted => ("ls", vec![at("deleted")]),
            GetDeleted => ("cat", vec![at("deleted/N/.meta.json")]),
            Backup => ("cat", vec![at("backup/N")]),
            Set => ("cp", vec![to_copy(b"new"), at("secrets/N/value")]),
            Update => ("cp", vec![to_copy(br#"{"content_type":"new"}"#), at("secrets/N/.meta.json")]),
            Delete => ("rmdir", vec![at("secrets/N")]),
            // What mv says of EEXIST is its own.
            Recover => ("perl", vec!["-e".into(), RENAME.into(), at("deleted/N"), at("secrets/N")]),
            Purge => ("rmdir", vec![at("deleted/N")]),
            Restore => ("cp", vec![to_copy(&on.blob), at("backup/N")]),
        };
        let mut command = Command::new(program);
        command.args(paths).env("LC_ALL", "C");
        command
    }

    /// Does it; the errno that the program tells, and what it read.
    pub fn act(self, mount: &Mount, on: &Prepared) -> (i32, String) {
        let ran = run(self.program(mount, on), PATIENCE);
        let said = ran.err.trim().rsplit(": ").next().unwrap();
        let is_it =
            |number: &i32| io::Error::from_raw_os_error(*number).to_string().starts_with(&format!("{said} (os"));
        let number = if ran.code == 0 { 0 } else { (1..134).find(is_it).unwrap_or_else(|| panic!("{ran:?}")) };
        (number, ran.out)
    }

    /// What must have been read.
    pub fn is_right(self, read: &str, on: &Prepared) -> bool {
        match self {
            Get => read == "old",
            GetVersion => read == "older",
            List | ListDeleted => read.lines().any(|name| name == on.secret),
            ListVersions => read.is_empty() || read.contains(&on.version),
            GetDeleted => read.contains(r#""deleted_date""#),
            Backup => !read.is_empty(),
            _ => true,
        }
    }

    /// What the vault holds before, and when it was carried out.
    pub fn states(self) -> [State; 2] {
        let live = State::Live { value: "old".into(), versions: 2, content_type: "text/plain".into() };
        match self {
            Set => [live, State::Live { value: "new".into(), versions: 3, content_type: "text/plain".into() }],
            Update => [live, State::Live { value: "old".into(), versions: 2, content_type: "new".into() }],
            Delete => [live, State::Deleted],
            Recover => [State::Deleted, live],
            Purge => [State::Deleted, State::Gone],
            Restore => [State::Gone, live],
            ListDeleted | GetDeleted => [State::Deleted, State::Deleted],
            Get | GetVersion | List | ListVersions | Backup => [live.clone(), live],
        }
    }
}

pub struct Prepared {
    pub secret: String,
    version: String,
    blob: Vec<u8>,
}

/// What the vault itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Live { value: String, versions: usize, content_type: String },
    Deleted,
    Gone,
}

impl State {
    pub fn of(vault: &Vault, secret: &str) -> Self {
        match vault.client.get_secret(&name(secret), None) {
            Ok(found) => Self::Live {
                value: found.value.expose().to_owned(),
                versions: vault.versions(secret).len(),
                content_type: found.properties.content_type.unwrap_or_default(),
            },
            Err(error) if error.kind == ErrorKind::NotFound => match vault.client.get_deleted_secret(&name(secret)) {
                Ok(_) => Self::Deleted,
                Err(error) => {
                    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
                    Self::Gone
                }
            },
            Err(error) => panic!("{error}"),
        }
    }
}

/// A vault whose secrets can be made an hour ago: what was made within two seconds before a change that got no answer may be
/// somebody else's work, and is not written over.
pub struct Lane {
    pub vault: Vault,
    clock: Arc<Past>,
}

#[derive(Debug)]
struct Past {
    clock: Arc<dyn Clock>,
    is_past: AtomicBool,
}

impl Clock for Past {
    fn now(&self) -> SystemTime {
        let back = if self.is_past.load(Ordering::Relaxed) { 3600 } else { 0 };
        self.clock.now() - Duration::from_secs(back)
    }

    fn moment(&self) -> Moment {
        self.clock.moment()
    }

    fn sleep(&self, time: Duration) {
        self.clock.sleep(time);
    }
}

impl Lane {
    pub fn new() -> Self {
        let clock = Arc::new(Past { clock: SystemClock::shared(), is_past: AtomicBool::new(false) });
        Self { vault: Vault::on(ServeOptions::default(), clock.clone()), clock }
    }

    pub fn prepare(&self, call: Call, secret: &str) -> Prepared {
        self.clock.is_past.store(true, Ordering::Relaxed);
        let prepared = call.prepare(&self.vault, secret);
        self.clock.is_past.store(false, Ordering::Relaxed);
        prepared
    }
}
