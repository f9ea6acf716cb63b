//! Backup and restore.

use akvfs::secret::{BackupBlob, SecretAttributes};
use akvfs::store::ErrorKind;

use crate::suite::{Subject, clauses, everything, kind, nothing};
use crate::support::name;

clauses![
    a_restore_brings_back_all_that_was_backed_up,
    a_restore_answers_with_the_current_version,
    a_restore_uses_the_old_name,
    a_backup_is_of_its_time,
    a_backup_changes_nothing,
    a_backup_can_be_restored_more_than_once,
    a_restore_over_a_name_in_use_is_refused,
    a_restore_over_a_deleted_name_is_refused,
    an_altered_backup_is_refused,
    a_cut_or_grown_backup_is_refused,
    what_is_no_backup_is_refused,
];

fn remove(on: &Subject, secret: &str) {
    on.delete(secret);
    on.purge(secret);
}

fn a_restore_brings_back_all_that_was_backed_up(on: &Subject) {
    on.set("a", "grüße \u{1f511}\r\n");
    on.set_with("a", "", &SecretAttributes { tags: Some([].into()), ..nothing() });
    on.set_with("a", "three", &everything());
    let (before, current) = (on.picture("a"), on.get("a"));
    let blob = on.backup("a");
    remove(on, "a");
    on.restore(&blob);
    assert_eq!(on.picture("a"), before);
    assert_eq!(on.get("a"), current);
}

fn a_restore_answers_with_the_current_version(on: &Subject) {
    on.set("a", "old");
    let set = on.set_with("a", "new", &everything());
    let blob = on.backup("a");
    remove(on, "a");
    assert_eq!(on.restore(&blob), set);
}

fn a_restore_uses_the_old_name(on: &Subject) {
    on.set("Web-Tls", "x");
    let blob = on.backup("WEB-TLS");
    remove(on, "web-tls");
    on.restore(&blob);
    assert_eq!(on.list()[0].name.as_str(), "Web-Tls");
    assert_eq!(on.get("web-tls").value.expose(), "x");
}

fn a_backup_is_of_its_time(on: &Subject) {
    on.set("a", "then");
    let (then, blob) = (on.picture("a"), on.backup("a"));
    on.set("a", "later");
    on.update("a", &everything());
    remove(on, "a");
    on.restore(&blob);
    assert_eq!(on.picture("a"), then);
}

fn a_backup_changes_nothing(on: &Subject) {
    on.set_with("a", "x", &everything());
    let before = (on.picture("a"), on.list());
    on.backup("a");
    assert_eq!((on.picture("a"), on.list()), before);
}

fn a_backup_can_be_restored_more_than_once(on: &Subject) {
    on.set("a", "x");
    let (before, blob) = (on.picture("a"), on.backup("a"));
    for _ in 0..2 {
        remove(on, "a");
        on.restore(&blob);
        assert_eq!(on.picture("a"), before);
    }
}

fn a_restore_over_a_name_in_use_is_refused(on: &Subject) {
    on.set("a", "old");
    let blob = on.backup("a");
    on.set("a", "new");
    assert_eq!(kind(on.store.restore(&blob, on.wait())), ErrorKind::Exists);
    assert_eq!((on.get("a").value.expose(), on.list_versions("a").len()), ("new", 2));
}

fn a_restore_over_a_deleted_name_is_refused(on: &Subject) {
    on.set("a", "x");
    let blob = on.backup("a");
    on.delete("a");
    assert_eq!(kind(on.store.restore(&blob, on.wait())), ErrorKind::Exists);
    assert_eq!(on.list(), []);
}

#[track_caller]
fn refused(on: &Subject, bytes: Vec<u8>) {
    let error = on.store.restore(&BackupBlob::new(bytes), on.wait()).expect_err("this is no backup");
    assert_eq!((error.kind, error.name), (ErrorKind::BadBackup, None));
}

/// The bytes of a backup whose secret is gone, so that nothing but the check stands in the way.
fn orphan(on: &Subject) -> Vec<u8> {
    on.set("a", "x");
    let blob = on.backup("a");
    remove(on, "a");
    on.restore(&blob);
    remove(on, "a");
    blob.expose().to_vec()
}

fn nothing_came_back(on: &Subject) {
    assert_eq!(on.list(), []);
    assert_eq!(kind(on.store.find(&name("a"), on.wait())), ErrorKind::NotFound);
}

fn an_altered_backup_is_refused(on: &Subject) {
    let whole = orphan(on);
    for place in (0..8).map(|part| part * (whole.len() - 1) / 7) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        refused(on, bytes);
    }
    nothing_came_back(on);
}

fn a_cut_or_grown_backup_is_refused(on: &Subject) {
    let whole = orphan(on);
    for length in [whole.len() - 1, whole.len() / 2, 1, 0] {
        refused(on, whole[..length].to_vec());
    }
    refused(on, [whole.clone(), vec![b'A']].concat());
    refused(on, [whole.clone(), whole].concat());
    nothing_came_back(on);
}

fn what_is_no_backup_is_refused(on: &Subject) {
    for bytes in [vec![0; 5_000], b"non-existing".to_vec(), b"KUF6dXJlS2V5VmF1bHRTZWNyZXRCYWNrdXBWMQ".to_vec()] {
        refused(on, bytes);
    }
    nothing_came_back(on);
}
