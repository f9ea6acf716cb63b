//! Where a vault is kept: nowhere, or in a redb file. What [`Store::commit`] returned for is on the disk.
//!
//! Knows records and tables; not what they mean. The file holds values and the backup key in the clear, so it is
//! made readable by its owner alone.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::clock::SystemClock;
use crate::private::{self, Rule};
use crate::secret::{SecretName, Version};

use super::blob::BackupKey;
use super::model::{Change, Secret};
use super::stored;

/// By upper-cased name, as the service keys them.
const HEADS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("heads");
/// By upper-cased name and version.
const REVISIONS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("revisions");
/// The backup key and the number of this layout.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const LAYOUT: &[u8] = b"1";
/// Behind every version, all of which are hexadecimal digits.
const AFTER_VERSIONS: &str = "g";

/// How long a daemon may take to end, and between two looks whether it has.
const ENDING: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// What went wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// Others may get at the file.
    #[error("{0}")]
    Exposed(String),
    /// The database.
    #[error("{0}")]
    Database(Box<redb::Error>),
    /// The file is another program's, or a newer layout's, or damaged.
    #[error("this is not a vault that this version of akvfs can read ({0})")]
    Unreadable(&'static str),
    /// A record could not be made.
    #[error("writing a record: {0}")]
    Record(#[from] serde_json::Error),
}

/// Every error of redb, whichever call it came from.
impl<E: Into<redb::Error>> From<Redb<E>> for StoreError {
    fn from(error: Redb<E>) -> Self {
        Self::Database(Box::new(error.0.into()))
    }
}

struct Redb<E>(E);

/// An open store; dropping it closes the file.
pub struct Store {
    database: Option<Database>,
}

/// What a store held when it was opened.
pub struct Contents {
    /// All secrets.
    pub secrets: Vec<Secret>,
    /// The vault's own key.
    pub key: BackupKey,
}

impl Store {
    /// A store that keeps nothing.
    pub fn in_memory() -> Result<(Self, Contents), StoreError> {
        Ok((Self { database: None }, Contents { secrets: Vec::new(), key: BackupKey::generate()? }))
    }

    /// Opens the file at `path`, making it (mode 0600) if it is not there. One process at a time; whoever comes while
    /// another one is still ending waits for that.
    pub fn open(path: &Path) -> Result<(Self, Contents), StoreError> {
        make_private(path)?;
        let database = open_alone(path).map_err(Redb)?;
        let key = prepare(&database)?;
        let secrets = read_all(&database)?;
        Ok((Self { database: Some(database) }, Contents { secrets, key }))
    }

    /// Writes all of `changes` or none; on success they are on the disk (redb's immediate durability: one fsync).
    pub fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let Some(database) = &self.database else { return Ok(()) };
        let transaction = database.begin_write().map_err(Redb)?;
        for change in changes {
            write(&transaction, change)?;
        }
        Ok(transaction.commit().map_err(Redb)?)
    }
}

fn open_alone(path: &Path) -> Result<Database, DatabaseError> {
    let clock = SystemClock::shared();
    let end = clock.moment() + ENDING;
    loop {
        match Database::create(path) {
            Err(DatabaseError::DatabaseAlreadyOpen) if clock.moment() < end => clock.sleep(PAUSE),
            opened => return opened,
        }
    }
}

/// Makes the file if it is not there (redb takes an empty one for new), and its name durable.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    private::check_opened(&file, Rule::Private).map_err(StoreError::Exposed)?;
    match path.parent() {
        Some(dir) if dir != Path::new("") => File::open(dir)?.sync_all()?,
        _ => File::open(".")?.sync_all()?,
    }
    Ok(())
}

/// Makes the tables, checks the layout, and gives the key: all in one commit, so that no file is half prepared.
fn prepare(database: &Database) -> Result<BackupKey, StoreError> {
    let transaction = database.begin_write().map_err(Redb)?;
    transaction.open_table(HEADS).map_err(Redb)?;
    transaction.open_table(REVISIONS).map_err(Redb)?;
    let key = prepare_meta(&transaction)?;
    transaction.commit().map_err(Redb)?;
    Ok(key)
}

fn prepare_meta(transaction: &WriteTransaction) -> Result<BackupKey, StoreError> {
    let mut meta = transaction.open_table(META).map_err(Redb)?;
    let layout = meta.get("layout").map_err(Redb)?.map(|found| found.value().to_vec());
    if layout.is_some_and(|layout| layout != LAYOUT) {
        return Err(StoreError::Unreadable("its layout is another version's"));
    }
    let known = meta.get("backup_key").map_err(Redb)?.map(|found| BackupKey::parse(found.value()));
    if let Some(key) = known {
        return key.ok_or(StoreError::Unreadable("its key is damaged"));
    }
    let key = BackupKey::generate()?;
    meta.insert("layout", LAYOUT).map_err(Redb)?;
    meta.insert("backup_key", key.bytes()).map_err(Redb)?;
    Ok(key)
}

fn write(transaction: &WriteTransaction, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Head(head) => {
            let mut heads = transaction.open_table(HEADS).map_err(Redb)?;
            heads.insert(key(&head.name).as_str(), stored::head_bytes(head)?.as_slice()).map_err(Redb)?;
        }
        Change::Revision(name, version, revision) => {
            let mut revisions = transaction.open_table(REVISIONS).map_err(Redb)?;
            let bytes = stored::revision_bytes(revision)?;
            revisions.insert((key(name).as_str(), version.as_str()), bytes.as_slice()).map_err(Redb)?;
        }
        Change::Remove(name) => remove(transaction, &key(name))?,
        Change::Hold(..) => {}
    }
    Ok(())
}

fn remove(transaction: &WriteTransaction, name: &str) -> Result<(), StoreError> {
    transaction.open_table(HEADS).map_err(Redb)?.remove(name).map_err(Redb)?;
    let mut revisions = transaction.open_table(REVISIONS).map_err(Redb)?;
    revisions.retain_in((name, "")..(name, AFTER_VERSIONS), |_, _| false).map_err(Redb)?;
    Ok(())
}

fn key(name: &SecretName) -> String {
    name.as_str().to_ascii_uppercase()
}

fn read_all(database: &Database) -> Result<Vec<Secret>, StoreError> {
    let transaction = database.begin_read().map_err(Redb)?;
    let heads = transaction.open_table(HEADS).map_err(Redb)?;
    let revisions = transaction.open_table(REVISIONS).map_err(Redb)?;
    let mut secrets = Vec::new();
    for entry in heads.iter().map_err(Redb)? {
        let (name, bytes) = entry.map_err(Redb)?;
        let head = stored::parse_head(bytes.value()).ok_or(StoreError::Unreadable("a secret's record is damaged"))?;
        let mut secret = Secret { head, revisions: Default::default() };
        for entry in revisions.range((name.value(), "")..(name.value(), AFTER_VERSIONS)).map_err(Redb)? {
            let (key, bytes) = entry.map_err(Redb)?;
            let damaged = StoreError::Unreadable("a version's record is damaged");
            let (version, revision) = (Version::parse(key.value().1), stored::parse_revision(bytes.value()));
            let (version, revision) = version.zip(revision).ok_or(damaged)?;
            secret.revisions.insert(version, revision);
        }
        secrets.push(secret);
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_while_another_one_ends_waits_for_that() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("vault.redb");
        let (first, _) = Store::open(&path).expect("opens");
        std::thread::scope(|scope| {
            let second = scope.spawn(|| Store::open(&path).map(drop));
            SystemClock::shared().sleep(10 * PAUSE);
            drop(first);
            second.join().expect("no panic").expect("opens when the first is gone");
        });
    }
}
