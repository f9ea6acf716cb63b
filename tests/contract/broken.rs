//! Stores that break the contract, each in one way: what the suite must notice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use akvfs::clock::{Clock, Moment};
use akvfs::secret::{
    BackupBlob, DeletedSecret, KeyVaultSecret, MAX_VALUE, SecretAttributes, SecretName, SecretProperties, SecretValue,
    Tags, Timestamp, Version,
};
use akvfs::store::{Continuation, ErrorKind, Found, Operation, Page, SecretStore, StoreError, Wait};

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The wrapper by itself breaks nothing.
    None,
    GetIsStale,
    GetIgnoresTheVersion,
    DisabledCanBeGot,
    FindRefusesWhatIsDisabled,
    NamesCompareWithCase,
    AnswersRepeatTheAskersSpelling,
    MissingIsBroken,
    DoubtIsNotFound,
    ErrorsTellTheValue,
    ErrorsNameTheWrongOperation,
    NonAsciiIsLost,
    LargeValuesAreCut,
    SetInherits,
    SetMakesTwoVersions,
    SetTakesADeletedName,
    DatesHave32Bits,
    EmptyTagsAreDropped,
    UpdateMergesTags,
    UpdateForgetsTheRest,
    UpdateMakesAVersion,
    UpdateIgnoresTheVersion,
    ListIsStale,
    ListStopsAfterAPage,
    ListRepeatsAnItem,
    ListIsInAnotherOrder,
    VersionsAreInAnotherOrder,
    VersionsOfNothingAreNotFound,
    DeletedListStopsAfterAPage,
    DeleteAgainSucceeds,
    RecoverLosesVersions,
    RecoverOfALiveSecretSucceeds,
    PurgeDoesNothing,
    BadBackupsAreInvalid,
    RestoreLosesTags,
    WaitNoWaits,
    DeadlinesAreIgnored,
}

impl Flaw {
    /// All that are wrong.
    pub const ALL: &[Flaw] = &[
        Flaw::GetIsStale,
        Flaw::GetIgnoresTheVersion,
        Flaw::DisabledCanBeGot,
        Flaw::FindRefusesWhatIsDisabled,
        Flaw::NamesCompareWithCase,
        Flaw::AnswersRepeatTheAskersSpelling,
        Flaw::MissingIsBroken,
        Flaw::DoubtIsNotFound,
        Flaw::ErrorsTellTheValue,
        Flaw::ErrorsNameTheWrongOperation,
        Flaw::NonAsciiIsLost,
        Flaw::LargeValuesAreCut,
        Flaw::SetInherits,
        Flaw::SetMakesTwoVersions,
        Flaw::SetTakesADeletedName,
        Flaw::DatesHave32Bits,
        Flaw::EmptyTagsAreDropped,
        Flaw::UpdateMergesTags,
        Flaw::UpdateForgetsTheRest,
        Flaw::UpdateMakesAVersion,
        Flaw::UpdateIgnoresTheVersion,
        Flaw::ListIsStale,
        Flaw::ListStopsAfterAPage,
        Flaw::ListRepeatsAnItem,
        Flaw::ListIsInAnotherOrder,
        Flaw::VersionsAreInAnotherOrder,
        Flaw::VersionsOfNothingAreNotFound,
        Flaw::DeletedListStopsAfterAPage,
        Flaw::DeleteAgainSucceeds,
        Flaw::RecoverLosesVersions,
        Flaw::RecoverOfALiveSecretSucceeds,
        Flaw::PurgeDoesNothing,
        Flaw::BadBackupsAreInvalid,
        Flaw::RestoreLosesTags,
        Flaw::WaitNoWaits,
        Flaw::DeadlinesAreIgnored,
    ];
}

/// `inner` with one flaw.
pub struct Broken {
    flaw: Flaw,
    inner: Arc<dyn SecretStore>,
    clock: Arc<dyn Clock>,
    /// What was set last by name, for flaws that know too much.
    seen: Mutex<HashMap<SecretName, KeyVaultSecret>>,
    /// The first page that was not empty.
    listed: Mutex<Option<Page<SecretProperties>>>,
}

type Answered<T> = Result<T, StoreError>;

impl Broken {
    pub fn new(flaw: Flaw, inner: Arc<dyn SecretStore>, clock: Arc<dyn Clock>) -> Self {
        Self { flaw, inner, clock, seen: Mutex::default(), listed: Mutex::default() }
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn wait(&self, wait: Wait) -> Wait {
        let longer = Wait::at_most(&*self.clock, Duration::from_secs(30));
        match wait {
            Wait::No if self.is(Flaw::WaitNoWaits) => longer,
            Wait::Until(_) | Wait::Anew(_) if self.is(Flaw::DeadlinesAreIgnored) => longer,
            _ => wait,
        }
    }

    fn remember(&self, name: &SecretName, secret: KeyVaultSecret) {
        let mut seen = self.seen.lock().expect("no panic inside");
        if !(self.is(Flaw::GetIsStale) && seen.contains_key(name)) {
            seen.insert(name.clone(), secret);
        }
    }

    fn seen(&self, name: &SecretName) -> Option<KeyVaultSecret> {
        self.seen.lock().expect("no panic inside").get(name).cloned()
    }

    /// The error as this store tells it.
    fn told(&self, mut error: StoreError) -> StoreError {
        match (self.flaw, error.kind) {
            (Flaw::MissingIsBroken, ErrorKind::NotFound) => error.kind = ErrorKind::Broken,
            (Flaw::DoubtIsNotFound, ErrorKind::TimedOut) => error.kind = ErrorKind::NotFound,
            (Flaw::BadBackupsAreInvalid, ErrorKind::BadBackup) => error.kind = ErrorKind::Invalid,
            (Flaw::ErrorsNameTheWrongOperation, _) => error.operation = Operation::Get,
            _ => {}
        }
        error
    }

    /// The properties as this store tells them to who asked for `asked`.
    fn shown(&self, asked: &SecretName, mut properties: SecretProperties) -> SecretProperties {
        if self.is(Flaw::AnswersRepeatTheAskersSpelling) {
            properties.name = asked.clone();
        }
        if self.is(Flaw::EmptyTagsAreDropped) {
            properties.tags = properties.tags.filter(|tags| !tags.is_empty());
        }
        properties
    }

    fn refuse_other_case(&self, operation: Operation, name: &SecretName) -> Answered<()> {
        let other = self.seen(name).is_some_and(|secret| !secret.properties.name.same_spelling(name));
        if self.is(Flaw::NamesCompareWithCase) && other {
            return Err(StoreError::local(operation, Some(name), ErrorKind::NotFound, "no such spelling"));
        }
        Ok(())
    }

    fn bent_value(&self, value: &SecretValue) -> SecretValue {
        let bent: String = match self.flaw {
            Flaw::NonAsciiIsLost => value.expose().replace(|letter: char| !letter.is_ascii(), "?"),
            Flaw::LargeValuesAreCut if value.len() > MAX_VALUE => value.expose().chars().take(100).collect(),
            _ => return value.clone(),
        };
        SecretValue::new(bent)
    }

    fn bent_attributes(&self, name: &SecretName, attributes: &SecretAttributes) -> SecretAttributes {
        let mut bent = attributes.clone();
        if self.is(Flaw::DatesHave32Bits) {
            bent.expires_on = bent.expires_on.map(|date| Timestamp(i64::from(date.0 as i32)));
        }
        if self.is(Flaw::SetInherits) {
            bent.content_type = bent.content_type.or(self.seen(name).and_then(|secret| secret.properties.content_type));
        }
        bent
    }

    fn bent_changes(&self, name: &SecretName, changes: &SecretAttributes) -> SecretAttributes {
        let mut bent = changes.clone();
        if self.is(Flaw::UpdateForgetsTheRest) {
            bent.tags.get_or_insert_default();
        }
        if self.is(Flaw::UpdateMergesTags)
            && let Some(tags) = &mut bent.tags
        {
            let mut merged: Tags = self.seen(name).and_then(|secret| secret.properties.tags).unwrap_or_default();
            merged.append(tags);
            *tags = merged;
        }
        bent
    }

    fn bent_page<T>(&self, mut page: Page<T>, flaw: Flaw) -> Page<T> {
        if self.is(flaw) && !page.items.is_empty() {
            page.next = None;
        }
        page
    }
}

impl SecretStore for Broken {
    fn get(&self, name: &SecretName, version: Option<&Version>, wait: Wait) -> Answered<KeyVaultSecret> {
        self.refuse_other_case(Operation::Get, name)?;
        if let (Flaw::GetIsStale, None, Some(secret)) = (self.flaw, version, self.seen(name)) {
            return Ok(secret);
        }
        let version = version.filter(|_| !self.is(Flaw::GetIgnoresTheVersion));
        match self.inner.get(name, version, self.wait(wait)) {
            Ok(secret) => Ok(KeyVaultSecret { properties: self.shown(name, secret.properties), value: secret.value }),
            Err(error) if error.kind == ErrorKind::Disabled && self.is(Flaw::DisabledCanBeGot) => {
                self.seen(name).ok_or(error)
            }
            Err(error) => Err(self.told(error)),
        }
    }

    fn find(&self, name: &SecretName, wait: Wait) -> Answered<Found> {
        let found = self.inner.find(name, self.wait(wait)).map_err(|error| self.told(error))?;
        if self.is(Flaw::FindRefusesWhatIsDisabled) && found.properties.is_disabled() {
            return Err(StoreError::local(Operation::Find, Some(name), ErrorKind::Disabled, "disabled"));
        }
        Ok(Found { properties: self.shown(name, found.properties), ..found })
    }

    fn set(
        &self,
        name: &SecretName,
        value: &SecretValue,
        attributes: &SecretAttributes,
        wait: Wait,
    ) -> Answered<SecretProperties> {
        let (wait, bent, attributes) =
            (self.wait(wait), self.bent_value(value), self.bent_attributes(name, attributes));
        let set = || self.inner.set(name, &bent, &attributes, wait);
        let mut answer = set();
        if self.is(Flaw::SetMakesTwoVersions) {
            answer = set();
        }
        if self.is(Flaw::SetTakesADeletedName) && answer.as_ref().is_err_and(|error| error.kind == ErrorKind::Deleted) {
            self.inner.purge(name, wait)?;
            answer = set();
        }
        if let Err(error) = &mut answer
            && self.is(Flaw::ErrorsTellTheValue)
        {
            error.answer.message.push_str(value.expose());
        }
        let properties = answer.map_err(|error| self.told(error))?;
        let secret = KeyVaultSecret { properties: properties.clone(), value: bent };
        self.remember(name, secret);
        Ok(self.shown(name, properties))
    }

    fn update(
        &self,
        name: &SecretName,
        version: Option<&Version>,
        changes: &SecretAttributes,
        wait: Wait,
    ) -> Answered<SecretProperties> {
        let version = version.filter(|_| !self.is(Flaw::UpdateIgnoresTheVersion));
        if self.is(Flaw::UpdateMakesAVersion)
            && let Ok(secret) = self.inner.get(name, version, self.wait(wait))
        {
            return self.inner.set(name, &secret.value, changes, self.wait(wait));
        }
        let changes = self.bent_changes(name, changes);
        let answer = self.inner.update(name, version, &changes, self.wait(wait));
        answer.map(|properties| self.shown(name, properties)).map_err(|error| self.told(error))
    }

    fn delete(&self, name: &SecretName, wait: Wait) -> Answered<DeletedSecret> {
        let answer = self.inner.delete(name, self.wait(wait));
        if answer.is_err() && self.is(Flaw::DeleteAgainSucceeds) {
            return self.inner.get_deleted(name, self.wait(wait));
        }
        answer.map_err(|error| self.told(error))
    }

    fn get_deleted(&self, name: &SecretName, wait: Wait) -> Answered<DeletedSecret> {
        self.inner.get_deleted(name, self.wait(wait)).map_err(|error| self.told(error))
    }

    fn recover(&self, name: &SecretName, wait: Wait) -> Answered<SecretProperties> {
        let wait = self.wait(wait);
        let answer = self.inner.recover(name, wait);
        if self.is(Flaw::RecoverOfALiveSecretSucceeds) && answer.is_err() {
            return self.inner.get(name, None, wait).map(|secret| secret.properties);
        }
        if self.is(Flaw::RecoverLosesVersions)
            && let (Ok(properties), Some(secret)) = (&answer, self.seen(name))
        {
            self.inner.delete(name, wait)?;
            self.inner.purge(name, wait)?;
            self.inner.set(&properties.name, &secret.value, &SecretAttributes::default(), wait)?;
        }
        answer.map_err(|error| self.told(error))
    }

    fn purge(&self, name: &SecretName, wait: Wait) -> Answered<()> {
        if self.is(Flaw::PurgeDoesNothing) {
            return self.inner.get_deleted(name, self.wait(wait)).map(|_| ());
        }
        self.inner.purge(name, self.wait(wait)).map_err(|error| self.told(error))
    }

    fn backup(&self, name: &SecretName, wait: Wait) -> Answered<BackupBlob> {
        self.inner.backup(name, self.wait(wait)).map_err(|error| self.told(error))
    }

    fn restore(&self, blob: &BackupBlob, wait: Wait) -> Answered<SecretProperties> {
        let properties = self.inner.restore(blob, self.wait(wait)).map_err(|error| self.told(error))?;
        if self.is(Flaw::RestoreLosesTags) {
            let none = SecretAttributes { tags: Some(Tags::new()), ..SecretAttributes::default() };
            self.inner.update(&properties.name, None, &none, self.wait(wait))?;
        }
        Ok(properties)
    }

    fn list(&self, from: Option<&Continuation>, wait: Wait) -> Answered<Page<SecretProperties>> {
        let page = self.inner.list(from, self.wait(wait)).map_err(|error| self.told(error))?;
        let mut page = self.bent_page(page, Flaw::ListStopsAfterAPage);
        if self.is(Flaw::ListIsStale) && !page.items.is_empty() {
            return Ok(self.listed.lock().expect("no panic inside").get_or_insert(page).clone());
        }
        match self.flaw {
            Flaw::ListRepeatsAnItem if from.is_some() => page.items.extend(page.items.last().cloned()),
            Flaw::ListIsInAnotherOrder => page.items.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str())),
            _ => {}
        }
        Ok(page)
    }

    fn list_versions(
        &self,
        name: &SecretName,
        from: Option<&Continuation>,
        wait: Wait,
    ) -> Answered<Page<SecretProperties>> {
        let mut page = self.inner.list_versions(name, from, self.wait(wait)).map_err(|error| self.told(error))?;
        if self.is(Flaw::VersionsAreInAnotherOrder) {
            page.items.reverse();
        }
        if self.is(Flaw::VersionsOfNothingAreNotFound) && page.items.is_empty() && page.next.is_none() {
            return Err(StoreError::local(Operation::ListVersions, Some(name), ErrorKind::NotFound, "no versions"));
        }
        Ok(page)
    }

    fn list_deleted(&self, from: Option<&Continuation>, wait: Wait) -> Answered<Page<DeletedSecret>> {
        let page = self.inner.list_deleted(from, self.wait(wait)).map_err(|error| self.told(error))?;
        Ok(self.bent_page(page, Flaw::DeletedListStopsAfterAPage))
    }

    fn expire(&self, name: Option<&SecretName>) {
        self.inner.expire(name);
    }

    fn time_at(&self, moment: Moment) -> Option<Timestamp> {
        self.inner.time_at(moment)
    }
}
