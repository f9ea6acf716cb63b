//! Backup and restore.

use std::time::Duration;

use akvfs::local::RecoveryLevel;
use akvfs::local::ServeOptions;
use serde_json::{Value, json};

use crate::support::{Local, START};

fn back_up(local: &Local, name: &str) -> String {
    let body = local.call("POST", &format!("/secrets/{name}/backup")).expect(200).json();
    body["value"].as_str().expect("a blob").to_owned()
}

fn restore(local: &Local, blob: &str) -> crate::support::Answer {
    local.call_with("POST", "/secrets/restore", &json!({ "value": blob }))
}

fn remove(local: &Local, name: &str) {
    local.delete(name);
    local.call("DELETE", &format!("/deletedsecrets/{name}")).expect(204);
}

#[test]
fn a_restored_secret_is_what_was_backed_up() {
    let local = Local::start();
    let body = json!({"value": "1", "contentType": "t", "tags": {"b": "1", "a": "2"}, "attributes": {"enabled": false, "exp": 9}});
    local.call_with("PUT", "/secrets/Name", &body).expect(200);
    local.clock.advance(Duration::from_secs(5));
    let current = local.set("name", "2");
    let versions = local.call("GET", "/secrets/name/versions").text;
    let blob = back_up(&local, "name");
    assert!(blob.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    remove(&local, "name");
    local.clock.advance(Duration::from_secs(5));
    let restored = restore(&local, &blob).expect(200);
    assert_eq!(restored.version(), current.version());
    assert_eq!(restored.json().get("value"), None);
    assert_eq!(restored.json()["attributes"]["created"], START + 5);
    assert_eq!(local.call("GET", "/secrets/name/versions").text, versions);
    assert_eq!(local.call("GET", "/secrets/name").text, current.text);
}

#[test]
fn a_name_in_use_is_a_conflict() {
    let local = Local::start();
    let version = local.set("n", "v").version();
    let blob = back_up(&local, "n");
    for step in ["live", "deleted"] {
        let error = restore(&local, &blob).error();
        assert_eq!((error.0, error.1.as_str(), error.2.as_str()), (409, "Conflict", ""), "{step}");
        let id = format!("{}/secrets/n/{version}", local.server.url());
        assert!(error.3.starts_with(&format!("There was a conflict restoring the secret '{id}'. This can happen if")));
        if step == "live" {
            local.delete("n");
        }
    }
}

#[test]
fn altered_foreign_and_other_blobs_are_refused() {
    let local = Local::start();
    local.set("n", &"value ".repeat(200));
    let blob = back_up(&local, "n");
    remove(&local, "n");
    let refused = |blob: &str| {
        let (status, code, inner, message) = restore(&local, blob).error();
        assert_eq!((status, code.as_str(), inner.as_str()), (400, "Malformed backup blob", ""), "{message}");
        message
    };
    for at in (0..blob.len()).step_by(50) {
        let mut altered = blob.clone().into_bytes();
        altered[at] = if altered[at] == b'x' { b'y' } else { b'x' };
        refused(&String::from_utf8(altered).expect("ascii"));
    }
    assert_eq!(refused(&"A".repeat(1000)), "Backup blob contains invalid or corrupt version.");
    assert_eq!(refused("bm9uLWV4aXN0aW5n"), "Backup blob is corrupt.");
    assert_eq!(refused(&blob[..blob.len() - 4]), "Backup blob is corrupt.");
    let other = Local::start();
    other.set("n", "v");
    assert_eq!(refused(&back_up(&other, "n")), "Cannot decrypt backup blob");
    restore(&local, &blob).expect(200);
}

#[test]
fn a_restored_secret_takes_the_vaults_recovery_level() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Some(dir.path().join("vault"));
    let local = Local::with(ServeOptions { store: store.clone(), ..Default::default() });
    local.set("n", "v");
    let blob = back_up(&local, "n");
    remove(&local, "n");
    drop(local);
    let level = Some(RecoveryLevel::CustomizedRecoverablePurgeable);
    let local = Local::with(ServeOptions { store, recovery_level: level, ..Default::default() });
    let attributes = restore(&local, &blob).expect(200).json()["attributes"].clone();
    assert_eq!(
        (&attributes["recoveryLevel"], &attributes["recoverableDays"]),
        (&json!("CustomizedRecoverable+Purgeable"), &json!(7))
    );
}

#[test]
fn a_body_without_a_blob_is_refused() {
    let local = Local::start();
    for body in [json!({}), json!({"value": Value::Null}), json!({"value": 5})] {
        assert_eq!(local.call_with("POST", "/secrets/restore", &body).expect(400).error().1, "BadParameter");
    }
}
