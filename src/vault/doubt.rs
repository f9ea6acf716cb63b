//! What to look at when a change may or may not have happened, and what to make of it. Every look only reads.
//!
//! The rule for a set, which is the hard one because nothing of ours may mark the new version:
//!
//! - The current version is the one that this client last saw before it began: nothing happened, even if that
//!   version's value is the wanted one already.
//! - It was made before the set began, by the vault's clock and with two seconds' grace (`created` and `Date` are
//!   whole seconds, each rounded): nothing happened.
//! - It is newer and has the value and the attributes that were sent: it is ours. (Or somebody wrote the very same
//!   within these seconds: then the vault holds what was wanted all the same.)
//! - It is newer and anything else: somebody else wrote. That includes the case that neither the version nor the
//!   vault's time was known before: what might be somebody's work is not written over.
//!
//! A disabled version keeps its value to itself. It is judged by what a listing of the versions tells of it, and can
//! be ours only if a disabled version was wanted.

use super::SecretClient;
use super::calls::Look;
use crate::clock::Moment;
use crate::secret::{DeletedSecret, SecretAttributes, SecretName, SecretProperties, SecretValue, Timestamp, Version};
use crate::store::{ErrorKind, SecretStore as _, StoreError, Wait};

/// Whole seconds of two dates that were both rounded.
const GRACE: i64 = 2;

/// What was known before a change began.
pub(super) struct Before {
    /// The current version, if this client has seen one.
    pub version: Option<Version>,
    /// When the change began.
    pub began: Moment,
}

impl SecretClient {
    /// Did a set of `value` with `attributes` happen?
    pub(super) fn look_at_set(
        &self,
        name: &SecretName,
        value: &SecretValue,
        attributes: &SecretAttributes,
        before: &Before,
        wait: Wait,
    ) -> Result<Look<SecretProperties>, StoreError> {
        let (properties, same_value) = match self.get(name, None, wait) {
            Ok(secret) => (secret.properties, secret.value == *value),
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(Look::NotDone),
            Err(error) if error.kind == ErrorKind::Disabled => {
                match self.newest_but(before.version.as_ref(), name, wait)? {
                    Some(newest) => (newest, attributes.enabled == Some(false)),
                    None => return Ok(Look::NotDone),
                }
            }
            Err(error) => return Err(error),
        };
        Ok(if self.is_older(&properties, before) {
            Look::NotDone
        } else if same_value && holds(&properties, attributes) {
            Look::Done(properties)
        } else {
            Look::SomebodyElse
        })
    }

    /// Did an update with `changes` happen? It gives no version, so all that tells is whether the properties are now
    /// as wanted; sending it again would bring about the same.
    pub(super) fn look_at_update(
        &self,
        name: &SecretName,
        version: Option<&Version>,
        changes: &SecretAttributes,
        before: &Before,
        wait: Wait,
    ) -> Result<Look<SecretProperties>, StoreError> {
        let found = match self.get(name, version, wait) {
            Ok(secret) => Some(secret.properties),
            Err(error) if error.kind == ErrorKind::Disabled => match version {
                None => self.newest(name, wait)?,
                Some(version) => self.listed(name, version, wait)?,
            },
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(match found {
            Some(properties) if holds(&properties, changes) => Look::Done(properties),
            Some(properties) if self.is_past(properties.updated_on, before) => Look::NotDone,
            Some(_) => Look::SomebodyElse,
            None => Look::NotDone,
        })
    }

    /// Did a delete happen? It shows among the deleted ones only after a while.
    pub(super) fn look_at_delete(&self, name: &SecretName, wait: Wait) -> Result<Look<DeletedSecret>, StoreError> {
        match self.get_deleted(name, wait) {
            Ok(deleted) => return Ok(Look::Done(deleted)),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            // The service does not show a disabled one, but says by this that it is there.
            Err(error) if is_hidden(&error) => return Ok(Look::Done(self.bare_deleted(name))),
            Err(error) => return Err(error),
        }
        Ok(if self.is_there(name, wait)? { Look::NotDone } else { Look::Pending })
    }

    /// Did a recovery happen? The secret is back only after a while.
    pub(super) fn look_at_recover(&self, name: &SecretName, wait: Wait) -> Result<Look<SecretProperties>, StoreError> {
        match self.find(name, wait) {
            Ok(found) => return Ok(Look::Done(found.properties)),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(if self.is_deleted(name, wait)? { Look::NotDone } else { Look::Pending })
    }

    /// Did a purge happen?
    pub(super) fn look_at_purge(&self, name: &SecretName, wait: Wait) -> Result<Look<()>, StoreError> {
        Ok(if self.is_deleted(name, wait)? { Look::NotDone } else { Look::Done(()) })
    }

    fn is_there(&self, name: &SecretName, wait: Wait) -> Result<bool, StoreError> {
        match self.find(name, wait) {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_deleted(&self, name: &SecretName, wait: Wait) -> Result<bool, StoreError> {
        match self.get_deleted(name, wait) {
            Ok(_) => Ok(true),
            Err(error) if is_hidden(&error) => Ok(true),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn bare_deleted(&self, name: &SecretName) -> DeletedSecret {
        DeletedSecret {
            properties: SecretProperties::bare(self.vault_url(), name),
            deleted_date: None,
            scheduled_purge_date: None,
            recovery_id: Some(format!("{}/deletedsecrets/{name}", self.vault_url())),
        }
    }

    /// The version that was made last, as a listing tells it.
    pub(super) fn newest(&self, name: &SecretName, wait: Wait) -> Result<Option<SecretProperties>, StoreError> {
        self.newest_but(None, name, wait)
    }

    /// The same; of several that were made in one second another one than `known`.
    fn newest_but(
        &self,
        known: Option<&Version>,
        name: &SecretName,
        wait: Wait,
    ) -> Result<Option<SecretProperties>, StoreError> {
        let versions = self.versions_within(name, wait).collect::<Result<Vec<_>, _>>()?;
        Ok(versions.into_iter().max_by_key(|item| (item.created_on, item.version.as_ref() != known)))
    }

    fn listed(&self, name: &SecretName, version: &Version, wait: Wait) -> Result<Option<SecretProperties>, StoreError> {
        let mut versions = self.versions_within(name, wait);
        versions.find(|item| item.as_ref().is_ok_and(|found| found.version.as_ref() == Some(version))).transpose()
    }

    fn is_older(&self, found: &SecretProperties, before: &Before) -> bool {
        let is_known = found.version.is_some() && found.version == before.version;
        is_known || self.is_past(found.created_on, before)
    }

    /// Whether `date` lies before the change began.
    fn is_past(&self, date: Option<Timestamp>, before: &Before) -> bool {
        let began = self.link.server_time().at(before.began);
        date.zip(began).is_some_and(|(Timestamp(date), began)| date < began.saturating_sub(GRACE))
    }
}

fn is_hidden(error: &StoreError) -> bool {
    error.kind == ErrorKind::Disabled
}

/// Whether everything that `wanted` gives is so in `found`.
fn holds(found: &SecretProperties, wanted: &SecretAttributes) -> bool {
    fn same<T: PartialEq>(wanted: &Option<T>, found: &Option<T>) -> bool {
        wanted.is_none() || wanted == found
    }
    let SecretAttributes { enabled, not_before, expires_on, content_type, tags } = wanted;
    let (no_tags, any_tags) = (tags.as_ref().is_some_and(|tags| tags.is_empty()), found.tags.is_some());
    same(enabled, &found.enabled)
        && same(not_before, &found.not_before)
        && same(expires_on, &found.expires_on)
        && same(content_type, &found.content_type)
        && (same(tags, &found.tags) || (no_tags && !any_tags))
}
