//! Deleting, recovering, purging, and what comes in between.

use akvfs::secret::SecretAttributes;
use akvfs::store::{ErrorKind, StoreError};

use crate::suite::{Subject, clauses, everything, given, kind, nothing, version};
use crate::support::{name, value};

clauses![
    a_delete_answers_with_what_was_deleted,
    a_deletion_takes_all_versions,
    a_deletion_takes_nothing_else,
    a_deleted_secret_is_as_it_was,
    a_set_on_a_deleted_name_is_refused,
    a_deleted_secret_cannot_be_deleted_again,
    a_recovery_brings_every_version_back,
    a_recovery_answers_with_the_current_version,
    a_recovered_secret_is_like_any_other,
    what_is_not_deleted_cannot_be_recovered,
    a_purge_is_for_good,
    a_purged_name_starts_anew,
    what_is_not_deleted_cannot_be_purged,
    a_disabled_secret_can_be_deleted_and_recovered,
    while_a_deletion_is_under_way_others_wait_or_are_told,
    while_a_recovery_is_under_way_others_wait_or_are_told,
];

fn a_delete_answers_with_what_was_deleted(on: &Subject) {
    on.set("a", "old");
    let set = on.set_with("a", "new", &everything());
    let deleted = on.delete("a");
    assert_eq!((deleted.properties.version, deleted.properties.id), (set.version, set.id));
    let recovery_id = deleted.recovery_id.expect("the deletion is soft");
    assert!(recovery_id.ends_with("/deletedsecrets/a"), "{recovery_id}");
    assert!(deleted.scheduled_purge_date > deleted.deleted_date);
    assert!(deleted.deleted_date.is_some());
}

fn a_deletion_takes_all_versions(on: &Subject) {
    let old = version(&on.set("a", "old"));
    on.set("a", "new");
    on.delete("a");
    assert_eq!(on.get_kind("a"), ErrorKind::NotFound);
    assert_eq!(kind(on.store.get(&name("a"), Some(&old), on.wait())), ErrorKind::NotFound);
    assert_eq!(kind(on.store.update(&name("a"), Some(&old), &everything(), on.wait())), ErrorKind::NotFound);
    assert_eq!(kind(on.store.backup(&name("a"), on.wait())), ErrorKind::NotFound);
    assert_eq!(on.list_versions("a"), []);
    assert_eq!(on.list(), []);
}

fn a_deletion_takes_nothing_else(on: &Subject) {
    for text in ["a", "aa", "b"] {
        on.set(text, text);
    }
    on.delete("a");
    assert_eq!((on.get("aa").value.expose(), on.get("b").value.expose()), ("aa", "b"));
    assert_eq!(on.list_deleted().len(), 1);
}

fn a_deleted_secret_is_as_it_was(on: &Subject) {
    on.set("a", "old");
    let set = on.set_with("a", "new", &everything());
    let answer = on.delete("a");
    let deleted = on.store.get_deleted(&name("a"), on.wait()).expect("it is deleted");
    assert_eq!(given(&deleted.properties), everything());
    assert_eq!((&deleted.properties.version, &deleted.properties.id), (&set.version, &set.id));
    assert_eq!((deleted.properties.created_on, deleted.properties.updated_on), (set.created_on, set.updated_on));
    assert_eq!((deleted.deleted_date, deleted.recovery_id), (answer.deleted_date, answer.recovery_id));
}

fn set_outcome(on: &Subject) -> Result<(), StoreError> {
    on.store.set(&name("A"), &value("new"), &nothing(), on.wait()).map(|_| ())
}

fn a_set_on_a_deleted_name_is_refused(on: &Subject) {
    on.set("a", "x");
    let before = on.picture("a");
    on.delete("a");
    assert_eq!(kind(set_outcome(on)), ErrorKind::Deleted);
    assert_eq!(on.list_deleted().len(), 1);
    on.recover("a");
    assert_eq!(on.picture("a"), before);
}

fn a_deleted_secret_cannot_be_deleted_again(on: &Subject) {
    on.set("a", "x");
    let first = on.delete("a");
    assert_eq!(kind(on.store.delete(&name("a"), on.wait())), ErrorKind::NotFound);
    assert_eq!(on.list_deleted()[0].deleted_date, first.deleted_date);
}

fn a_recovery_brings_every_version_back(on: &Subject) {
    on.set_with("a", "one", &everything());
    on.set("a", "");
    on.set_with("a", "three", &SecretAttributes { enabled: None, ..everything() });
    let (before, current) = (on.picture("a"), on.get("a"));
    assert_eq!(before.len(), 3);
    on.delete("a");
    on.recover("a");
    assert_eq!(on.picture("a"), before);
    assert_eq!(on.get("a"), current);
}

fn a_recovery_answers_with_the_current_version(on: &Subject) {
    on.set("a", "old");
    let set = on.set_with("a", "new", &everything());
    on.delete("a");
    assert_eq!(on.recover("a"), set);
}

fn a_recovered_secret_is_like_any_other(on: &Subject) {
    on.set("a", "x");
    on.delete("a");
    on.recover("a");
    assert_eq!(kind(on.store.get_deleted(&name("a"), on.wait())), ErrorKind::NotFound);
    assert_eq!(on.list_deleted(), []);
    on.set("a", "y");
    on.update("a", &everything());
    assert_eq!((on.get("a").value.expose(), on.list_versions("a").len()), ("y", 2));
    on.delete("a");
    assert_eq!(on.get_kind("a"), ErrorKind::NotFound);
}

fn what_is_not_deleted_cannot_be_recovered(on: &Subject) {
    on.set("a", "x");
    let before = on.get("a");
    assert_eq!(kind(on.store.recover(&name("a"), on.wait())), ErrorKind::Exists);
    assert_eq!(kind(on.store.get_deleted(&name("a"), on.wait())), ErrorKind::NotFound);
    assert_eq!(on.get("a"), before);
}

fn a_purge_is_for_good(on: &Subject) {
    on.set("a", "x");
    on.delete("a");
    on.purge("a");
    assert_eq!(on.get_kind("a"), ErrorKind::NotFound);
    assert_eq!(kind(on.store.get_deleted(&name("a"), on.wait())), ErrorKind::NotFound);
    assert_eq!(kind(on.store.recover(&name("a"), on.wait())), ErrorKind::NotFound);
    assert_eq!(kind(on.store.purge(&name("a"), on.wait())), ErrorKind::NotFound);
    assert_eq!(on.list_deleted(), []);
}

fn a_purged_name_starts_anew(on: &Subject) {
    let old = version(&on.set_with("a", "x", &everything()));
    on.delete("a");
    on.purge("a");
    let set = on.set("A", "y");
    assert_eq!((set.name.as_str(), set.tags.as_ref()), ("A", None));
    assert_eq!(on.list_versions("a").len(), 1);
    assert_eq!(kind(on.store.get(&name("a"), Some(&old), on.wait())), ErrorKind::NotFound);
}

fn what_is_not_deleted_cannot_be_purged(on: &Subject) {
    on.set("a", "x");
    assert_eq!(kind(on.store.purge(&name("a"), on.wait())), ErrorKind::NotFound);
    assert_eq!(on.get("a").value.expose(), "x");
}

fn a_disabled_secret_can_be_deleted_and_recovered(on: &Subject) {
    let set = on.set_with("a", "x", &SecretAttributes { enabled: Some(false), ..nothing() });
    on.delete("a");
    // The service does not show it; a listing does, and a store may answer from that.
    match on.store.get_deleted(&name("a"), on.wait()) {
        Ok(deleted) => assert!(deleted.properties.is_disabled()),
        Err(error) => assert_eq!(error.kind, ErrorKind::Disabled),
    }
    assert!(on.list_deleted()[0].properties.is_disabled());
    assert_eq!(on.recover("a"), set);
    assert_eq!(on.get_kind("a"), ErrorKind::Disabled);
}

/// Either it was told that a change of state is under way, or it waited and says what holds after it.
#[track_caller]
fn told_or<T>(outcome: Result<T, StoreError>, told: ErrorKind, after: Option<ErrorKind>) {
    let found = outcome.err().map(|error| error.kind);
    assert!(found == Some(told) || found == after, "{found:?} is neither {told:?} nor {after:?}");
}

fn while_a_deletion_is_under_way_others_wait_or_are_told(on: &Subject) {
    let (under_way, start) = (ErrorKind::BeingDeleted, |secret: &str| {
        on.set(secret, "x");
        on.store.delete(&name(secret), on.wait()).expect("delete");
        name(secret)
    });
    assert_eq!(kind(on.store.get(&start("a"), None, on.wait())), ErrorKind::NotFound);
    assert_eq!(kind(on.store.find(&name("a"), on.wait())), ErrorKind::NotFound);
    assert_eq!(on.list(), []);
    told_or(set_outcome(on), under_way, Some(ErrorKind::Deleted));
    told_or(on.store.recover(&start("b"), on.wait()), under_way, None);
    told_or(on.store.purge(&start("c"), on.wait()), under_way, None);
}

fn while_a_recovery_is_under_way_others_wait_or_are_told(on: &Subject) {
    on.set("a", "x");
    on.delete("a");
    on.store.recover(&name("a"), on.wait()).expect("recover");
    assert_eq!(kind(on.store.recover(&name("a"), on.wait())), ErrorKind::Exists);
    assert_eq!(on.list_deleted(), []);
    told_or(on.store.purge(&name("a"), on.wait()), ErrorKind::BeingRecovered, Some(ErrorKind::NotFound));
    told_or(set_outcome(on), ErrorKind::BeingRecovered, None);
}
