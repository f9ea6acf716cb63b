//! What stands in where the vault does not answer: the last that is known, for `max_stale` after its `ttl`. Never what
//! the vault has contradicted; not found, disabled and forbidden are answers, and what they say is forgotten at once.

use std::time::Duration;

use crate::clock::Moment;
use crate::secret::{DeletedSecret, KeyVaultSecret, SecretName, SecretProperties, Version};
use crate::store::{ErrorKind, Found, StoreError};

use super::state::{Listing, State};

/// Whether an answer that failed so may be replaced by the last that is known.
pub fn is_silence(error: &StoreError) -> bool {
    // A vault that refuses a fresh token has answered; a sign-in that fails has not.
    let refused = error.kind == ErrorKind::Authentication && error.answer.status == Some(401);
    error.is_no_answer() && !refused
}

impl State {
    /// How old the last that is known may be; `None` where nothing stands in.
    fn bound(&self) -> Option<Duration> {
        let options = &self.options;
        (!options.max_stale.is_zero()).then(|| options.ttl.saturating_add(options.max_stale))
    }

    fn last_current(&self, name: &SecretName, now: Moment) -> Option<&SecretProperties> {
        let bound = self.bound()?;
        self.current.get(name).filter(|current| current.may_stand_in(bound, now)).map(|current| &*current.said)
    }

    /// For a get.
    pub fn last_secret(&mut self, name: &SecretName, version: Option<&Version>, now: Moment) -> Option<KeyVaultSecret> {
        let current = self.last_current(name, now).cloned();
        match (version, current) {
            (None, None) => None,
            (None, Some(current)) => {
                let value = self.values.get(name, current.version.as_ref()?)?.value.clone();
                Some(KeyVaultSecret { properties: current, value })
            }
            (Some(version), Some(current)) if current.version.as_ref() == Some(version) => {
                self.last_secret(name, None, now)
            }
            (Some(version), _) => self.last_version(name, version, now),
        }
    }

    fn last_version(&mut self, name: &SecretName, version: &Version, now: Moment) -> Option<KeyVaultSecret> {
        let bound = self.bound()?;
        let is_it = |item: &&SecretProperties| item.version.as_ref() == Some(version);
        let told = self.versions.get(name).and_then(|versions| versions.said.iter().find(is_it));
        if told.is_some_and(SecretProperties::is_disabled) {
            return None;
        }
        let kept = self.values.get(name, version)?;
        let stands = kept.asked.may_stand_in(bound, now) && !kept.properties.is_disabled();
        stands.then(|| KeyVaultSecret { properties: (*kept.properties).clone(), value: kept.value.clone() })
    }

    /// For a find. That a name was in no listing is no answer: doubt is never "not found".
    pub fn last_found(&self, name: &SecretName, now: Moment) -> Option<Found> {
        if let Some(current) = self.last_current(name, now) {
            let (properties, current) = (current.clone(), current.version.clone());
            return Some(Found { properties, current, valid_for: Duration::ZERO });
        }
        let listed = self.last(&self.listing, now)?.iter().find(|item| item.name == *name).cloned();
        listed.map(|properties| Found { properties, current: None, valid_for: Duration::ZERO })
    }

    /// For a listing.
    pub fn last_listing(&self, now: Moment) -> Option<Vec<SecretProperties>> {
        self.last(&self.listing, now)
    }

    /// For a listing of the deleted ones.
    pub fn last_deleted(&self, now: Moment) -> Option<Vec<DeletedSecret>> {
        self.last(&self.deleted, now)
    }

    /// For a listing of versions.
    pub fn last_versions(&self, name: &SecretName, now: Moment) -> Option<Vec<SecretProperties>> {
        let bound = self.bound()?;
        let versions = self.versions.get(name).filter(|versions| versions.may_stand_in(bound, now))?;
        Some(versions.said.clone())
    }

    fn last<T: Clone>(&self, listing: &Listing<T>, now: Moment) -> Option<Vec<T>> {
        let bound = self.bound()?;
        let said = &listing.as_ref().filter(|listing| listing.may_stand_in(bound, now))?.said;
        said.as_ref().ok().map(|items| items.values().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Operation;

    #[test]
    fn a_sign_in_that_fails_is_no_answer_and_a_refused_token_is_one() {
        let failed = StoreError::local(Operation::Get, None, ErrorKind::Authentication, "no identity service");
        assert!(is_silence(&failed));
        let mut refused = failed;
        refused.answer.status = Some(401);
        assert!(!is_silence(&refused));
        for (kind, silent) in [(ErrorKind::Firewall, true), (ErrorKind::Forbidden, false), (ErrorKind::NotFound, false)]
        {
            assert_eq!(is_silence(&StoreError::local(Operation::Get, None, kind, "")), silent, "{kind:?}");
        }
    }
}
