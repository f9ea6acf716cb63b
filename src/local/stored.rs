//! How secrets are written down: the bytes of the store's records and of what a backup encrypts.
//!
//! Compact JSON with a form of its own, so that neither the wire nor the model binds the file. Buffers that hold a
//! value are wiped. Bytes that cannot be read are `None`; who reads decides what that means.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::secret::{SecretName, SecretValue, Version};

use super::model::{Attributes, Head, Now, Revision, Secret, State, Tags};

/// Room for a version's record beside its value and tags, so that the buffer rarely moves while it is written.
const RECORD_ROOM: usize = 4096;

#[derive(Serialize, Deserialize)]
struct StoredHead {
    name: String,
    current: String,
    managed: bool,
    ready: i64,
    deleted: Option<StoredDeletion>,
}

#[derive(Serialize, Deserialize)]
struct StoredDeletion {
    on: i64,
    purge_on: i64,
}

#[derive(Serialize, Deserialize)]
struct StoredRevision<Text> {
    value: Text,
    enabled: bool,
    not_before: Option<i64>,
    expires_on: Option<i64>,
    content_type: Option<String>,
    tags: Option<Tags>,
    created: i64,
    updated: i64,
}

#[derive(Serialize, Deserialize)]
struct StoredSecret<Text> {
    head: StoredHead,
    revisions: Vec<(String, StoredRevision<Text>)>,
}

/// The record of a head.
pub fn head_bytes(head: &Head) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&StoredHead::of(head))
}

/// Reads what [`head_bytes`] wrote.
pub fn parse_head(bytes: &[u8]) -> Option<Head> {
    serde_json::from_slice::<StoredHead>(bytes).ok()?.parse()
}

/// The record of a version.
pub fn revision_bytes(revision: &Revision) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    write(&StoredRevision::of(revision), revision.value.len())
}

/// Reads what [`revision_bytes`] wrote.
pub fn parse_revision(bytes: &[u8]) -> Option<Revision> {
    Some(serde_json::from_slice::<StoredRevision<String>>(bytes).ok()?.open())
}

/// A secret with all its versions.
pub fn secret_bytes(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let revisions = secret.revisions.iter();
    let size = secret.revisions.values().map(|revision| revision.value.len() + RECORD_ROOM).sum();
    let revisions = revisions.map(|(version, revision)| (version.to_string(), StoredRevision::of(revision))).collect();
    write(&StoredSecret { head: StoredHead::of(&secret.head), revisions }, size)
}

/// Reads what [`secret_bytes`] wrote.
pub fn parse_secret(bytes: &[u8]) -> Option<Secret> {
    let stored = serde_json::from_slice::<StoredSecret<String>>(bytes).ok()?;
    let revisions = stored.revisions.into_iter();
    let revisions = revisions.map(|(version, revision)| Some((Version::parse(&version)?, revision.open())));
    Some(Secret { head: stored.head.parse()?, revisions: revisions.collect::<Option<_>>()? })
}

fn write(what: &impl Serialize, size: usize) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(size * 2 + RECORD_ROOM));
    serde_json::to_writer(&mut *bytes, what)?;
    Ok(bytes)
}

impl StoredHead {
    fn of(head: &Head) -> Self {
        let (ready, deleted) = match head.state {
            State::Live { ready } => (ready, None),
            State::Deleted { on, purge_on, ready } => (ready, Some(StoredDeletion { on, purge_on })),
        };
        Self {
            name: head.name.to_string(),
            current: head.current.to_string(),
            managed: head.managed,
            ready: ready.0,
            deleted,
        }
    }

    fn parse(self) -> Option<Head> {
        let ready = Now(self.ready);
        let state = match self.deleted {
            None => State::Live { ready },
            Some(StoredDeletion { on, purge_on }) => State::Deleted { on, purge_on, ready },
        };
        let name = SecretName::parse(&self.name).ok()?;
        Some(Head { name, current: Version::parse(&self.current)?, state, managed: self.managed })
    }
}

impl<'a> StoredRevision<&'a str> {
    fn of(revision: &'a Revision) -> Self {
        let attributes = revision.attributes.clone();
        Self {
            value: revision.value.expose(),
            enabled: attributes.enabled.unwrap_or(true),
            not_before: attributes.not_before,
            expires_on: attributes.expires_on,
            content_type: attributes.content_type,
            tags: attributes.tags,
            created: revision.created,
            updated: revision.updated,
        }
    }
}

impl StoredRevision<String> {
    fn open(self) -> Revision {
        let attributes = Attributes {
            enabled: Some(self.enabled),
            not_before: self.not_before,
            expires_on: self.expires_on,
            content_type: self.content_type,
            tags: self.tags,
        };
        Revision { value: SecretValue::new(self.value), attributes, created: self.created, updated: self.updated }
    }
}
