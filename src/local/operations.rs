//! The decisions: what each operation does to a vault, or why it is refused. Pure; the whole of the service's
//! behaviour that is not HTTP. Each returns what to answer and the changes to make, and makes none itself.

use crate::secret::{MAX_VALUE, SecretName, SecretValue, Version};

use super::errors::Refusal;
use super::model::{Attributes, Change, Head, Now, Phase, Revision, Secret, Snapshot, State, Vault};

/// Tags of one version (Key Vault's "about secrets").
const MAX_TAGS: usize = 15;
/// Characters of a tag's name and of its value (the same page, 2026).
const MAX_TAG: usize = 512;
/// Characters of a content type (the same page).
const MAX_CONTENT_TYPE: usize = 255;
const SECONDS_A_DAY: i64 = 86_400;

/// What to answer, and the changes that must be durable before it is answered.
pub type Decision = Result<(Snapshot, Vec<Change>), Refusal>;

/// A new version of `name`. Nothing is inherited from the one before.
pub fn set(
    vault: &Vault,
    name: &SecretName,
    version: Version,
    value: Option<SecretValue>,
    attributes: Attributes,
    now: Now,
) -> Decision {
    let wrong = usize::from(value.as_ref().is_none_or(|value| value.len() > MAX_VALUE)) + count_wrong(&attributes);
    let Some(value) = value.filter(|_| wrong == 0) else {
        return Err(Refusal::InvalidProperties(wrong));
    };
    let spelling = settable_name(vault, name, now)?;
    Ok(make_version(spelling, version, value, attributes, now, false))
}

/// A new version that a certificate owns, which no request can make.
pub fn set_managed(
    vault: &Vault,
    name: &SecretName,
    version: Version,
    value: SecretValue,
    attributes: Attributes,
    now: Now,
) -> Decision {
    match vault.look(name, now).0 {
        Phase::Absent | Phase::Live => Ok(make_version(name.clone(), version, value, attributes, now, true)),
        _ => Err(Refusal::SetOnDeleted(name.clone())),
    }
}

fn settable_name(vault: &Vault, name: &SecretName, now: Now) -> Result<SecretName, Refusal> {
    match vault.look(name, now) {
        (Phase::Deleting, _) => Err(Refusal::SetOnDeleting(name.clone())),
        (Phase::Deleted, _) => Err(Refusal::SetOnDeleted(name.clone())),
        (Phase::Recovering, _) => Err(Refusal::SetOnRecovering(name.clone())),
        (Phase::Live, Some(secret)) if secret.head.managed => Err(Refusal::Managed("set")),
        (Phase::Live, Some(secret)) => Ok(secret.head.name.clone()),
        _ => Ok(name.clone()),
    }
}

fn make_version(
    name: SecretName,
    version: Version,
    value: SecretValue,
    attributes: Attributes,
    now: Now,
    managed: bool,
) -> (Snapshot, Vec<Change>) {
    let attributes = Attributes { enabled: Some(attributes.enabled.unwrap_or(true)), ..attributes };
    let revision = Revision { value, attributes, created: now.seconds(), updated: now.seconds() };
    let head =
        Head { name: name.clone(), current: version.clone(), state: State::Live { ready: Now::ALWAYS }, managed };
    let changes = vec![Change::Head(head.clone()), Change::Revision(name, version.clone(), revision.clone())];
    (Snapshot { head, version, revision }, changes)
}

fn count_wrong(attributes: &Attributes) -> usize {
    let longer = |text: &str, limit: usize| text.chars().count() > limit;
    let content_type = attributes.content_type.as_ref().is_some_and(|text| longer(text, MAX_CONTENT_TYPE));
    let tags = attributes.tags.as_ref().is_some_and(|tags| {
        tags.len() > MAX_TAGS || tags.iter().any(|(key, value)| longer(key, MAX_TAG) || longer(value, MAX_TAG))
    });
    usize::from(content_type) + usize::from(tags)
}

/// A version's value and properties; the current one without `version`.
pub fn get(vault: &Vault, name: &SecretName, version: Option<&str>, now: Now) -> Result<Snapshot, Refusal> {
    let snapshot = find_version(vault, name, version, now)?;
    if snapshot.revision.is_disabled() {
        return Err(Refusal::Disabled);
    }
    Ok(snapshot)
}

fn find_live<'a>(vault: &'a Vault, name: &SecretName, now: Now) -> Result<&'a Secret, Refusal> {
    vault.find(name, Phase::Live, now).ok_or_else(|| Refusal::NotFound(name.to_string()))
}

fn find_version(vault: &Vault, name: &SecretName, version: Option<&str>, now: Now) -> Result<Snapshot, Refusal> {
    let secret = find_live(vault, name, now)?;
    let found = match version {
        None => secret.snapshot(),
        Some(text) => Version::parse(text).and_then(|version| secret.snapshot_of(&version)),
    };
    found.ok_or_else(|| Refusal::NotFound(format!("{name}/{}", version.unwrap_or_default())))
}

/// Changes what was given of a version's properties; the current one without `version`. Makes no new version.
pub fn update(vault: &Vault, name: &SecretName, version: Option<&str>, patch: Attributes, now: Now) -> Decision {
    let snapshot = find_version(vault, name, version, now)?;
    if snapshot.head.managed {
        return Err(Refusal::Managed("update"));
    }
    change_version(snapshot, patch, now)
}

/// The same of the current version, done by the certificate that owns it, which no request can do.
pub fn update_managed(vault: &Vault, name: &SecretName, patch: Attributes, now: Now) -> Decision {
    change_version(find_version(vault, name, None, now)?, patch, now)
}

/// Removes what a certificate owns, and leaves nothing deleted behind.
pub fn remove_managed(vault: &Vault, name: &SecretName, now: Now) -> Decision {
    let secret = find_live(vault, name, now)?;
    Ok((current(secret, name)?, vec![Change::Remove(secret.head.name.clone())]))
}

fn change_version(mut snapshot: Snapshot, patch: Attributes, now: Now) -> Decision {
    match count_wrong(&patch) {
        0 => {}
        wrong => return Err(Refusal::InvalidProperties(wrong)),
    }
    merge(&mut snapshot.revision.attributes, patch);
    snapshot.revision.updated = now.seconds();
    let name = snapshot.head.name.clone();
    let change = Change::Revision(name, snapshot.version.clone(), snapshot.revision.clone());
    Ok((snapshot, vec![change]))
}

fn merge(attributes: &mut Attributes, patch: Attributes) {
    let Attributes { enabled, not_before, expires_on, content_type, tags } = patch;
    attributes.enabled = enabled.or(attributes.enabled);
    attributes.not_before = not_before.or(attributes.not_before);
    attributes.expires_on = expires_on.or(attributes.expires_on);
    attributes.content_type = content_type.or(attributes.content_type.take());
    attributes.tags = tags.or(attributes.tags.take());
}

/// Deletes a secret with all its versions: softly, or for good where the vault has no soft delete.
pub fn delete(vault: &Vault, name: &SecretName, now: Now) -> Decision {
    let secret = find_live(vault, name, now)?;
    if secret.head.managed {
        return Err(Refusal::ManagedDelete);
    }
    let mut snapshot = current(secret, name)?;
    let policy = vault.policy();
    if !policy.soft_delete() {
        return Ok((snapshot, vec![Change::Remove(secret.head.name.clone())]));
    }
    let on = now.seconds();
    let purge_on = on + i64::from(policy.days) * SECONDS_A_DAY;
    snapshot.head.state = State::Deleted { on, purge_on, ready: ready(vault, now) };
    let change = Change::Head(snapshot.head.clone());
    Ok((snapshot, vec![change]))
}

/// When a step that begins now is complete. Without a delay that holds even if the calendar is put back.
fn ready(vault: &Vault, now: Now) -> Now {
    match vault.policy().delay_ms {
        0 => Now::ALWAYS,
        delay => Now(now.0 + delay),
    }
}

fn current(secret: &Secret, asked: &SecretName) -> Result<Snapshot, Refusal> {
    secret.snapshot().ok_or_else(|| Refusal::NotFound(asked.to_string()))
}

/// A deleted secret; refused if its current version was disabled, as the service does.
pub fn get_deleted(vault: &Vault, name: &SecretName, now: Now) -> Result<Snapshot, Refusal> {
    let secret = vault.find(name, Phase::Deleted, now);
    match secret.and_then(Secret::snapshot) {
        None => Err(Refusal::DeletedNotFound(name.clone())),
        Some(snapshot) if snapshot.revision.is_disabled() => Err(Refusal::Disabled),
        Some(snapshot) => Ok(snapshot),
    }
}

/// Brings a deleted secret back with the versions it had.
pub fn recover(vault: &Vault, name: &SecretName, now: Now) -> Decision {
    let secret = match vault.look(name, now) {
        (Phase::Deleted, Some(secret)) => secret,
        (Phase::Deleting, _) => return Err(Refusal::RecoverOnDeleting(name.clone())),
        (Phase::Live | Phase::Recovering, _) => return Err(Refusal::RecoverOnLive(name.clone())),
        _ => return Err(Refusal::NotFound(name.to_string())),
    };
    let mut snapshot = current(secret, name)?;
    snapshot.head.state = State::Live { ready: ready(vault, now) };
    let change = Change::Head(snapshot.head.clone());
    Ok((snapshot, vec![change]))
}

/// Removes a deleted secret for good.
pub fn purge(vault: &Vault, name: &SecretName, now: Now) -> Decision {
    let secret = match vault.look(name, now) {
        (Phase::Deleted, Some(secret)) => secret,
        (Phase::Deleting, _) => return Err(Refusal::PurgeOnDeleting),
        _ => return Err(Refusal::NotFound(name.to_string())),
    };
    if vault.policy().purge_protected() {
        return Err(Refusal::PurgeProtected);
    }
    let (snapshot, name) = (current(secret, name)?, secret.head.name.clone());
    let until = Now(now.0 + vault.policy().delay_ms);
    let hold = (until > now).then(|| Change::Hold(name.clone(), until));
    Ok((snapshot, std::iter::once(Change::Remove(name)).chain(hold).collect()))
}

/// The secret that a backup takes: all versions, enabled or not.
pub fn back_up<'a>(vault: &'a Vault, name: &SecretName, now: Now) -> Result<&'a Secret, Refusal> {
    let secret = find_live(vault, name, now)?;
    if secret.revisions.len() > super::blob::MAX_VERSIONS {
        return Err(Refusal::TooManyVersions(name.clone()));
    }
    Ok(secret)
}

/// Puts a backed-up secret back, under its own name and versions, unless anything holds the name.
pub fn restore(vault: &Vault, mut secret: Secret, now: Now) -> Decision {
    secret.head.state = State::Live { ready: Now::ALWAYS };
    let snapshot = secret.snapshot().ok_or(Refusal::BlobCorrupt)?;
    let name = snapshot.head.name.clone();
    if vault.look(&name, now).0 != Phase::Absent || vault.is_held(&name, now) {
        return Err(Refusal::RestoreConflict(name, snapshot.version));
    }
    let revisions = secret.revisions.into_iter();
    let revisions = revisions.map(|(version, revision)| Change::Revision(name.clone(), version, revision));
    let changes = std::iter::once(Change::Head(secret.head)).chain(revisions).collect();
    Ok((snapshot, changes))
}
