//! A secret in a vault with its versions: what it holds, and how it shows itself in answers.

use std::collections::BTreeMap;

use akvfs::clock::Moment;
use akvfs::secret::{DeletedSecret, SecretAttributes, SecretName, SecretProperties, SecretValue, Timestamp, Version};
use akvfs::store::ErrorKind;

/// The vault that every answer names.
pub const VAULT_URL: &str = "https://model.vault.azure.net";

const RETENTION_DAYS: i64 = 90;
const MAX_TAGS: usize = 15;
const MAX_TAG: usize = 512;
const MAX_CONTENT_TYPE: usize = 255;

/// A name and all that it holds.
#[derive(Clone)]
pub struct Entry {
    pub spelling: SecretName,
    /// Never empty.
    pub versions: BTreeMap<Version, Held>,
    /// One of `versions`.
    pub current: Version,
    pub managed: bool,
    /// When it was deleted, in seconds of the calendar.
    pub deleted: Option<i64>,
    /// When the last deletion or recovery is done.
    pub settles: Moment,
}

/// A version.
#[derive(Clone)]
pub struct Held {
    pub value: SecretValue,
    pub attributes: SecretAttributes,
    pub created: i64,
    pub updated: i64,
}

impl Entry {
    /// A name whose first version is about to be added.
    pub fn new(name: &SecretName, current: &Version) -> Self {
        Self {
            spelling: name.clone(),
            versions: BTreeMap::new(),
            current: current.clone(),
            managed: false,
            deleted: None,
            settles: Moment::default(),
        }
    }

    /// The current version.
    pub fn held(&self) -> &Held {
        self.versions.get(&self.current).expect("the current version is one of the versions")
    }

    /// The properties of one version.
    pub fn version(&self, version: &Version, level: &str) -> Result<SecretProperties, ErrorKind> {
        let held = self.versions.get(version).ok_or(ErrorKind::NotFound)?;
        Ok(self.full(version, held, level))
    }

    /// As in an answer about a version.
    pub fn full(&self, version: &Version, held: &Held, level: &str) -> SecretProperties {
        let name = &self.spelling;
        SecretProperties {
            id: format!("{VAULT_URL}/secrets/{name}/{version}"),
            version: Some(version.clone()),
            key_id: self.managed.then(|| format!("{VAULT_URL}/keys/{name}/{version}")),
            ..self.common(held, level)
        }
    }

    /// As in the listing of secrets.
    pub fn listed(&self, level: &str) -> SecretProperties {
        self.common(self.held(), level)
    }

    /// As in an answer about a deleted secret, or without the version as in their listing.
    pub fn grave(&self, level: &str, with_version: bool) -> DeletedSecret {
        let properties = if with_version { self.full(&self.current, self.held(), level) } else { self.listed(level) };
        DeletedSecret {
            properties,
            deleted_date: self.deleted.map(Timestamp),
            scheduled_purge_date: self.deleted.map(|date| Timestamp(purge_date(date))),
            recovery_id: Some(format!("{VAULT_URL}/deletedsecrets/{}", self.spelling)),
        }
    }

    fn common(&self, held: &Held, level: &str) -> SecretProperties {
        SecretProperties {
            enabled: held.attributes.enabled,
            not_before: held.attributes.not_before,
            expires_on: held.attributes.expires_on,
            created_on: Some(Timestamp(held.created)),
            updated_on: Some(Timestamp(held.updated)),
            content_type: held.attributes.content_type.clone(),
            tags: held.attributes.tags.clone(),
            recovery_level: Some(level.to_owned()),
            recoverable_days: Some(RETENTION_DAYS),
            managed: self.managed.then_some(true),
            ..SecretProperties::bare(VAULT_URL, &self.spelling)
        }
    }
}

impl Held {
    /// What a get does with a disabled version.
    pub fn refuse_disabled(&self) -> Result<(), ErrorKind> {
        if self.attributes.enabled == Some(false) { Err(ErrorKind::Disabled) } else { Ok(()) }
    }

    /// An update at `date`: what is given replaces what is there, tags as a whole.
    pub fn merge(&mut self, changes: &SecretAttributes, date: i64) {
        let changes = changes.clone();
        let mine = &mut self.attributes;
        mine.enabled = changes.enabled.or(mine.enabled);
        mine.not_before = changes.not_before.or(mine.not_before);
        mine.expires_on = changes.expires_on.or(mine.expires_on);
        mine.content_type = changes.content_type.or(mine.content_type.take());
        mine.tags = changes.tags.or(mine.tags.take());
        self.updated = date;
    }
}

/// The service's limits: 15 tags of 512 characters, a content type of 255.
pub fn check(attributes: &SecretAttributes) -> Result<(), ErrorKind> {
    let type_fits = attributes.content_type.as_ref().is_none_or(|text| text.chars().count() <= MAX_CONTENT_TYPE);
    let tags_fit = attributes.tags.as_ref().is_none_or(|tags| {
        let short = |text: &String| text.chars().count() <= MAX_TAG;
        tags.len() <= MAX_TAGS && tags.iter().all(|(key, text)| short(key) && short(text))
    });
    if type_fits && tags_fit { Ok(()) } else { Err(ErrorKind::Invalid) }
}

/// When the service purges by itself what was deleted at `deleted`.
pub fn purge_date(deleted: i64) -> i64 {
    deleted + RETENTION_DAYS * 86_400
}
