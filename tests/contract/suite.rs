//! How a contract is checked: a store under test, the clauses, and the runner. Knows no store.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use akvfs::clock::Clock;
use akvfs::secret::{
    BackupBlob, DeletedSecret, KeyVaultSecret, SecretAttributes, SecretName, SecretProperties, SecretValue, Version,
};
use akvfs::store::{Continuation, ErrorKind, Page, SecretStore, StoreError, Wait};

use crate::support::{ManualClock, name, value};

/// What an operation may take, and how often a clause looks again: deletions are done some time after the answer.
const LIMIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const LOOKS: u32 = 600;

/// Makes a secret that a certificate owns.
pub type Planter = Box<dyn Fn(&SecretName, &SecretValue)>;

/// An empty store and what its maker can promise about it.
pub struct Subject {
    pub store: Arc<dyn SecretStore>,
    /// The clock that the store measures waits by.
    pub clock: Arc<dyn Clock>,
    /// The clock that dates versions, where the test can move it. Without it no clause looks at exact dates.
    pub dates: Option<Arc<ManualClock>>,
    /// Where the store's maker can.
    pub plant_managed: Option<Planter>,
    /// What must live as long as the store: a server, a directory.
    #[allow(dead_code, reason = "held, not read")]
    pub keep: Box<dyn Any>,
}

/// A sentence of the contract as a check on an empty store.
#[derive(Clone, Copy)]
pub struct Clause {
    pub name: &'static str,
    pub check: fn(&Subject),
}

/// Makes the list of a file's clauses from the names of its functions.
macro_rules! clauses {
    ($($check:ident),* $(,)?) => {
        pub const CLAUSES: &[$crate::suite::Clause] =
            &[$($crate::suite::Clause { name: stringify!($check), check: $check }),*];
    };
}
pub(crate) use clauses;

/// Clauses on a store that takes its time run side by side; each has a store of its own.
const SIDE_BY_SIDE: usize = 16;

/// Runs every clause on a fresh store; the names of those that were not kept.
pub fn broken_clauses(clauses: &[Clause], make: &(dyn Fn() -> Subject + Sync)) -> Vec<&'static str> {
    let (next, broken) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(clause) = clauses.get(next.fetch_add(1, Ordering::Relaxed)) {
            if catch_unwind(AssertUnwindSafe(|| (clause.check)(&make()))).is_err() {
                broken.lock().expect("nobody panics with it").push(clause.name);
            }
        }
    };
    std::thread::scope(|scope| (0..SIDE_BY_SIDE).for_each(|_| drop(scope.spawn(work))));
    broken.into_inner().expect("nobody panics with it")
}

/// The kind of failure of what must fail.
#[track_caller]
pub fn kind<T>(outcome: Result<T, StoreError>) -> ErrorKind {
    match outcome {
        Ok(_) => panic!("this should have been refused"),
        Err(error) => error.kind,
    }
}

/// The version that an answer must tell.
#[track_caller]
pub fn version(properties: &SecretProperties) -> Version {
    properties.version.clone().expect("the answer tells the version")
}

/// Nothing given.
pub fn nothing() -> SecretAttributes {
    SecretAttributes::default()
}

/// Everything given, nothing as by default but `enabled`.
pub fn everything() -> SecretAttributes {
    SecretAttributes {
        enabled: Some(true),
        not_before: Some(akvfs::secret::Timestamp(1_000_000_000)),
        expires_on: Some(akvfs::secret::Timestamp(2_000_000_000)),
        content_type: Some("text/plain; charset=ütf".to_owned()),
        tags: Some(tags(&[("team", "blue"), ("größe", "ß"), ("empty", "")])),
    }
}

/// Tags by pairs.
pub fn tags(pairs: &[(&str, &str)]) -> akvfs::secret::Tags {
    pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

/// What of an answer a caller can give; to compare with what was given.
pub fn given(properties: &SecretProperties) -> SecretAttributes {
    SecretAttributes {
        enabled: properties.enabled,
        not_before: properties.not_before,
        expires_on: properties.expires_on,
        content_type: properties.content_type.clone(),
        tags: properties.tags.clone(),
    }
}

/// Names as they are spelled.
pub fn spelled(items: &[SecretProperties]) -> Vec<&str> {
    items.iter().map(|item| item.name.as_str()).collect()
}

/// All of a listing, page by page.
#[track_caller]
pub fn all<T>(mut page: impl FnMut(Option<&Continuation>) -> Result<Page<T>, StoreError>) -> Vec<T> {
    let (mut items, mut next) = (Vec::new(), None);
    for _ in 0..1_000 {
        let more = page(next.as_ref()).expect("a page");
        items.extend(more.items);
        next = more.next;
        if next.is_none() {
            return items;
        }
    }
    panic!("the listing has no end");
}

/// What must succeed, in few words. Each takes the time it needs and fails the clause when it cannot.
impl Subject {
    pub fn wait(&self) -> Wait {
        Wait::at_most(&*self.clock, LIMIT)
    }

    #[track_caller]
    pub fn set(&self, secret: &str, text: &str) -> SecretProperties {
        self.set_with(secret, text, &nothing())
    }

    #[track_caller]
    pub fn set_with(&self, secret: &str, text: &str, attributes: &SecretAttributes) -> SecretProperties {
        self.store.set(&name(secret), &value(text), attributes, self.wait()).expect("set")
    }

    #[track_caller]
    pub fn update(&self, secret: &str, changes: &SecretAttributes) -> SecretProperties {
        self.store.update(&name(secret), None, changes, self.wait()).expect("update")
    }

    #[track_caller]
    pub fn get(&self, secret: &str) -> KeyVaultSecret {
        self.store.get(&name(secret), None, self.wait()).expect("get")
    }

    #[track_caller]
    pub fn get_version(&self, secret: &str, version: &Version) -> KeyVaultSecret {
        self.store.get(&name(secret), Some(version), self.wait()).expect("get of a version")
    }

    /// What a get says that must fail.
    #[track_caller]
    pub fn get_kind(&self, secret: &str) -> ErrorKind {
        kind(self.store.get(&name(secret), None, self.wait()))
    }

    #[track_caller]
    pub fn list(&self) -> Vec<SecretProperties> {
        all(|from| self.store.list(from, self.wait()))
    }

    #[track_caller]
    pub fn list_versions(&self, secret: &str) -> Vec<SecretProperties> {
        all(|from| self.store.list_versions(&name(secret), from, self.wait()))
    }

    #[track_caller]
    pub fn list_deleted(&self) -> Vec<DeletedSecret> {
        all(|from| self.store.list_deleted(from, self.wait()))
    }

    /// Deletes, and waits until it is done.
    #[track_caller]
    pub fn delete(&self, secret: &str) -> DeletedSecret {
        let answer = self.store.delete(&name(secret), self.wait()).expect("delete");
        let deleted = || self.list_deleted().iter().any(|item| item.properties.name == name(secret));
        self.until(deleted, "the deletion to be done");
        answer
    }

    /// Recovers, and waits until it is done.
    #[track_caller]
    pub fn recover(&self, secret: &str) -> SecretProperties {
        let answer = self.store.recover(&name(secret), self.wait()).expect("recover");
        self.until(|| self.store.find(&name(secret), self.wait()).is_ok(), "the recovery to be done");
        answer
    }

    #[track_caller]
    pub fn purge(&self, secret: &str) {
        self.store.purge(&name(secret), self.wait()).expect("purge");
    }

    #[track_caller]
    pub fn backup(&self, secret: &str) -> BackupBlob {
        self.store.backup(&name(secret), self.wait()).expect("backup")
    }

    /// Restores, once the vault has let go of the name.
    #[track_caller]
    pub fn restore(&self, blob: &BackupBlob) -> SecretProperties {
        let mut answer = self.store.restore(blob, self.wait());
        self.until(
            || {
                let held = matches!(&answer, Err(error) if error.kind == ErrorKind::Exists);
                if held {
                    answer = self.store.restore(blob, self.wait());
                }
                !held
            },
            "a purged name to be free",
        );
        answer.expect("restore")
    }

    #[track_caller]
    pub fn until(&self, mut done: impl FnMut() -> bool, what: &str) {
        for _ in 0..LOOKS {
            if done() {
                return;
            }
            self.clock.sleep(LOOK_AGAIN);
        }
        panic!("waited in vain for {what}");
    }

    /// Every version of a secret with its value: to compare before and after.
    #[track_caller]
    pub fn picture(&self, secret: &str) -> Vec<(SecretProperties, SecretValue)> {
        let versions = self.list_versions(secret);
        let held = versions.into_iter().map(|item| {
            let secret = self.get_version(secret, &version(&item));
            (secret.properties, secret.value)
        });
        held.collect()
    }
}
