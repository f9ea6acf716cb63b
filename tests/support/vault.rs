//! A vault in memory and its rules, as the service was recorded, without locks, faults or waiting.
//!
//! Where the service's answer was never recorded this is the stricter of the two: a secret that is being recovered
//! is in neither listing, a managed secret refuses updates too, and a name held by anything refuses a restore.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use akvfs::clock::Moment;
use akvfs::secret::{
    BackupBlob, DeletedSecret, KeyVaultSecret, MAX_VALUE, SecretAttributes, SecretName, SecretProperties, SecretValue,
    Timestamp, Version,
};
use akvfs::store::{Continuation, ErrorKind, Found, Page};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::entry::{Entry, Held, check, purge_date};

/// How a vault is set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a deletion, a recovery, and the freeing of a purged name take.
    pub delay: Duration,
    /// Items on a page at most.
    pub page: usize,
    /// Whether every listing starts with an empty page, as the service's often do.
    pub empty_pages: bool,
    /// Whether nobody may purge.
    pub purge_protected: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { delay: Duration::ZERO, page: 25, empty_pages: false, purge_protected: false }
    }
}

/// The time on both clocks.
#[derive(Clone, Copy, Default)]
pub struct Now {
    pub date: i64,
    pub moment: Moment,
}

/// All of a vault. Each method is one request, at the time that [`arrive`](Self::arrive) was told last.
#[derive(Default)]
pub struct Vault {
    settings: Settings,
    now: Now,
    entries: BTreeMap<SecretName, Entry>,
    freed: BTreeMap<SecretName, Moment>,
    blobs: HashMap<Vec<u8>, Entry>,
    made: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Absent,
    Live,
    Deleting,
    Deleted,
    Recovering,
}

impl Vault {
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Sets the time, and purges what is due.
    pub fn arrive(&mut self, now: Now) {
        self.now = now;
        self.entries.retain(|_, entry| entry.deleted.is_none_or(|date| purge_date(date) > now.date));
    }

    pub fn get(&self, name: &SecretName, version: Option<&Version>) -> Result<KeyVaultSecret, ErrorKind> {
        let entry = self.in_phase(name, Phase::Live)?;
        let version = version.unwrap_or(&entry.current);
        let properties = entry.version(version, self.level())?;
        let held = entry.versions.get(version).ok_or(ErrorKind::NotFound)?;
        held.refuse_disabled()?;
        Ok(KeyVaultSecret { properties, value: held.value.clone() })
    }

    /// The version is told where a get would have told it.
    pub fn find(&self, name: &SecretName) -> Result<Found, ErrorKind> {
        let entry = self.in_phase(name, Phase::Live)?;
        let current = entry.held().refuse_disabled().is_ok().then(|| entry.current.clone());
        Ok(Found { properties: entry.listed(self.level()), current, valid_for: Duration::ZERO })
    }

    pub fn set(
        &mut self,
        name: &SecretName,
        value: &SecretValue,
        attributes: &SecretAttributes,
    ) -> Result<SecretProperties, ErrorKind> {
        check(attributes)?;
        if value.len() > MAX_VALUE {
            return Err(ErrorKind::Invalid);
        }
        self.refuse_managed(name)?;
        match self.phase(name) {
            Phase::Absent | Phase::Live => {}
            Phase::Deleting => return Err(ErrorKind::BeingDeleted),
            Phase::Deleted => return Err(ErrorKind::Deleted),
            Phase::Recovering => return Err(ErrorKind::BeingRecovered),
        }
        self.add_version(name, value, attributes, false)
    }

    /// Puts a secret there that a certificate owns.
    pub fn plant_managed(&mut self, name: &SecretName, value: &SecretValue, attributes: &SecretAttributes) {
        self.add_version(name, value, attributes, true).expect("a name that was just made is there");
    }

    pub fn update(
        &mut self,
        name: &SecretName,
        version: Option<&Version>,
        changes: &SecretAttributes,
    ) -> Result<SecretProperties, ErrorKind> {
        check(changes)?;
        let entry = self.in_phase(name, Phase::Live)?;
        let version = version.unwrap_or(&entry.current).clone();
        if !entry.versions.contains_key(&version) {
            return Err(ErrorKind::NotFound);
        }
        self.refuse_managed(name)?;
        let date = self.now.date;
        if let Some(held) = self.entries.get_mut(name).and_then(|entry| entry.versions.get_mut(&version)) {
            held.merge(changes, date);
        }
        let entry = self.in_phase(name, Phase::Live)?;
        entry.version(&version, self.level())
    }

    pub fn delete(&mut self, name: &SecretName) -> Result<DeletedSecret, ErrorKind> {
        self.in_phase(name, Phase::Live)?;
        self.refuse_managed(name)?;
        self.move_to(name, Some(self.now.date));
        self.entries.get(name).map(|entry| entry.grave(self.level(), true)).ok_or(ErrorKind::NotFound)
    }

    pub fn get_deleted(&self, name: &SecretName) -> Result<DeletedSecret, ErrorKind> {
        let entry = self.in_phase(name, Phase::Deleted)?;
        entry.held().refuse_disabled()?;
        Ok(entry.grave(self.level(), true))
    }

    pub fn recover(&mut self, name: &SecretName) -> Result<SecretProperties, ErrorKind> {
        match self.phase(name) {
            Phase::Absent => return Err(ErrorKind::NotFound),
            Phase::Live | Phase::Recovering => return Err(ErrorKind::Exists),
            Phase::Deleting => return Err(ErrorKind::BeingDeleted),
            Phase::Deleted => {}
        }
        self.move_to(name, None);
        self.told_current(name)
    }

    pub fn purge(&mut self, name: &SecretName) -> Result<(), ErrorKind> {
        match self.phase(name) {
            Phase::Absent | Phase::Live => return Err(ErrorKind::NotFound),
            Phase::Deleting => return Err(ErrorKind::BeingDeleted),
            Phase::Recovering => return Err(ErrorKind::BeingRecovered),
            Phase::Deleted if self.settings.purge_protected => return Err(ErrorKind::PurgeProtected),
            Phase::Deleted => {}
        }
        self.entries.remove(name);
        self.freed.insert(name.clone(), self.now.moment + self.settings.delay);
        Ok(())
    }

    /// The bytes hold nothing: they are the key to a copy kept here, so a changed bit opens nothing.
    pub fn backup(&mut self, name: &SecretName) -> Result<BackupBlob, ErrorKind> {
        let entry = self.in_phase(name, Phase::Live)?.clone();
        let bytes: Vec<u8> = (0..160).flat_map(|_| self.random().into_bytes()).collect();
        self.blobs.insert(bytes.clone(), entry);
        Ok(BackupBlob::new(bytes))
    }

    pub fn restore(&mut self, blob: &BackupBlob) -> Result<SecretProperties, ErrorKind> {
        let entry = self.blobs.get(blob.expose()).ok_or(ErrorKind::BadBackup)?.clone();
        let name = entry.spelling.clone();
        let held = self.freed.get(&name).is_some_and(|free| self.now.moment < *free);
        if held || self.entries.contains_key(&name) {
            return Err(ErrorKind::Exists);
        }
        self.entries.insert(name.clone(), entry);
        self.told_current(&name)
    }

    pub fn list(&self, from: Option<&Continuation>) -> Result<Page<SecretProperties>, ErrorKind> {
        let items = self.all_in(Phase::Live).map(|entry| (key(&entry.spelling), entry.listed(self.level())));
        self.page("secrets", items, from)
    }

    pub fn list_versions(
        &self,
        name: &SecretName,
        from: Option<&Continuation>,
    ) -> Result<Page<SecretProperties>, ErrorKind> {
        let entry = self.in_phase(name, Phase::Live).ok();
        let items = entry.into_iter().flat_map(|entry| {
            entry.versions.iter().map(|(version, held)| (version.to_string(), entry.full(version, held, self.level())))
        });
        self.page(&key(name), items, from)
    }

    pub fn list_deleted(&self, from: Option<&Continuation>) -> Result<Page<DeletedSecret>, ErrorKind> {
        let items = self.all_in(Phase::Deleted).map(|entry| (key(&entry.spelling), entry.grave(self.level(), false)));
        self.page("deletedsecrets", items, from)
    }

    fn phase(&self, name: &SecretName) -> Phase {
        self.entries.get(name).map_or(Phase::Absent, |entry| self.phase_of(entry))
    }

    fn phase_of(&self, entry: &Entry) -> Phase {
        match (entry.deleted.is_some(), self.now.moment < entry.settles) {
            (false, false) => Phase::Live,
            (false, true) => Phase::Recovering,
            (true, true) => Phase::Deleting,
            (true, false) => Phase::Deleted,
        }
    }

    fn in_phase(&self, name: &SecretName, phase: Phase) -> Result<&Entry, ErrorKind> {
        self.entries.get(name).filter(|entry| self.phase_of(entry) == phase).ok_or(ErrorKind::NotFound)
    }

    fn all_in(&self, phase: Phase) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(move |entry| self.phase_of(entry) == phase)
    }

    fn level(&self) -> &'static str {
        if self.settings.purge_protected { "Recoverable" } else { "Recoverable+Purgeable" }
    }

    fn refuse_managed(&self, name: &SecretName) -> Result<(), ErrorKind> {
        match self.entries.get(name) {
            Some(entry) if entry.managed => Err(ErrorKind::Managed),
            _ => Ok(()),
        }
    }

    fn move_to(&mut self, name: &SecretName, deleted: Option<i64>) {
        let settles = self.now.moment + self.settings.delay;
        if let Some(entry) = self.entries.get_mut(name) {
            entry.deleted = deleted;
            entry.settles = settles;
        }
    }

    fn add_version(
        &mut self,
        name: &SecretName,
        value: &SecretValue,
        attributes: &SecretAttributes,
        managed: bool,
    ) -> Result<SecretProperties, ErrorKind> {
        let version = Version::parse(&self.random()).expect("32 digits");
        let mut attributes = attributes.clone();
        attributes.enabled = Some(attributes.enabled.unwrap_or(true));
        let held = Held { value: value.clone(), attributes, created: self.now.date, updated: self.now.date };
        let entry = self.entries.entry(name.clone()).or_insert_with(|| Entry::new(name, &version));
        entry.versions.insert(version.clone(), held);
        entry.current = version;
        entry.managed = managed;
        self.told_current(name)
    }

    /// 32 hexadecimal digits in no order, the same in every run.
    fn random(&mut self) -> String {
        self.made += 1;
        format!("{:016x}{:016x}", scatter(self.made * 2), scatter(self.made * 2 + 1))
    }

    fn told_current(&self, name: &SecretName) -> Result<SecretProperties, ErrorKind> {
        let entry = self.entries.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(entry.full(&entry.current, entry.held(), self.level()))
    }

    /// A continuation is the listing's name and the last key given out.
    fn page<T>(
        &self,
        listing: &str,
        items: impl Iterator<Item = (String, T)>,
        from: Option<&Continuation>,
    ) -> Result<Page<T>, ErrorKind> {
        let place = |mark: &str| Some(Continuation(URL_SAFE_NO_PAD.encode(format!("{listing}\n{mark}"))));
        let after = match from {
            None if self.settings.empty_pages => return Ok(Page { items: Vec::new(), next: place("") }),
            None => String::new(),
            Some(from) => parse_mark(listing, from).ok_or(ErrorKind::Invalid)?,
        };
        let mut rest: Vec<(String, T)> = items.filter(|(key, _)| *key > after).take(self.settings.page + 1).collect();
        let more = rest.len() > self.settings.page;
        rest.truncate(self.settings.page);
        let next = rest.last().filter(|_| more).and_then(|(key, _)| place(key));
        Ok(Page { items: rest.into_iter().map(|(_, item)| item).collect(), next })
    }
}

fn key(name: &SecretName) -> String {
    name.as_str().to_ascii_uppercase()
}

fn parse_mark(listing: &str, from: &Continuation) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(&from.0).ok()?).ok()?;
    text.strip_prefix(listing)?.strip_prefix('\n').map(str::to_owned)
}

/// A bijection of 64 bits that leaves no order to see: odd multiplications and shifts.
fn scatter(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}
