//! Soft delete: every cell of the table of states, and what time alone brings about.

use std::time::Duration;

use akvfs::local::ServeOptions;
use serde_json::json;

use crate::support::{Answer, Local};

const DELAY: Duration = Duration::from_secs(20);

fn slow() -> Local {
    Local::with(ServeOptions { soft_delete_delay: DELAY, ..Default::default() })
}

/// Every request of the table on `n`, none of which succeeds in changing anything in the phases it is asked in.
fn row(local: &Local, blob: &str) -> Vec<String> {
    let short = |answer: Answer| match answer.status {
        200 => "200".to_owned(),
        _ => {
            let (status, code, inner, _) = answer.error();
            format!("{status} {}", if inner.is_empty() { code } else { inner })
        }
    };
    let versions = local.call("GET", "/secrets/n/versions").json()["value"].as_array().map_or(0, Vec::len);
    let listed = |path: &str| local.call("GET", path).json()["value"].as_array().map_or(0, Vec::len);
    vec![
        short(local.call("GET", "/secrets/n")),
        format!("{versions} versions"),
        short(local.call("GET", "/deletedsecrets/n")),
        format!("{}/{} listed", listed("/secrets"), listed("/deletedsecrets")),
        short(local.call_with("PUT", "/secrets/n", &json!({"value": "w"}))),
        short(local.call_with("PATCH", "/secrets/n", &json!({}))),
        short(local.call("POST", "/secrets/n/backup")),
        short(local.call_with("POST", "/secrets/restore", &json!({"value": blob}))),
    ]
}

#[test]
fn the_table_of_states() {
    let local = slow();
    local.set("n", "1");
    local.set("n", "2");
    let blob = local.call("POST", "/secrets/n/backup").json()["value"].as_str().expect("a blob").to_owned();
    local.delete("n");
    let not_found = "404 SecretNotFound";
    let deleting = [
        not_found,
        "0 versions",
        not_found,
        "0/0 listed",
        "409 ObjectIsBeingDeleted",
        not_found,
        not_found,
        "409 Conflict",
    ];
    assert_eq!(row(&local, &blob), deleting);
    local.call("DELETE", "/secrets/n").expect(404);
    let recover = local.call("POST", "/deletedsecrets/n/recover").error();
    assert_eq!((recover.0, recover.3.as_str()), (409, "Secret n is currently being deleted."));
    let purge = local.call("DELETE", "/deletedsecrets/n").error();
    assert_eq!((purge.0, purge.3.as_str()), (409, "Secret is currently being deleted."));

    local.clock.advance(DELAY);
    let deleted = [
        not_found,
        "0 versions",
        "200",
        "0/1 listed",
        "409 ObjectIsDeletedButRecoverable",
        not_found,
        not_found,
        "409 Conflict",
    ];
    assert_eq!(row(&local, &blob), deleted);
    local.call("DELETE", "/secrets/n").expect(404);

    local.call("POST", "/deletedsecrets/n/recover").expect(200);
    let recovering = [
        not_found,
        "0 versions",
        not_found,
        "0/0 listed",
        "409 ObjectIsBeingRecovered",
        not_found,
        not_found,
        "409 Conflict",
    ];
    assert_eq!(row(&local, &blob), recovering);
    local.call("DELETE", "/secrets/n").expect(404);
    let again = local.call("POST", "/deletedsecrets/n/recover").error();
    assert_eq!(
        (again.0, again.1.as_str(), again.2.as_str()),
        (400, "MethodNotAllowed", "RequestNotAllowedOnNonDeletedObject")
    );
    assert_eq!(again.3, "Secret exists already: n");
    local.call("DELETE", "/deletedsecrets/n").expect(404);

    local.clock.advance(DELAY);
    assert_eq!(local.call("GET", "/secrets/n").expect(200).json()["value"], "2");
    assert_eq!(local.call("GET", "/secrets/n/versions").json()["value"].as_array().map(Vec::len), Some(2));
    local.call("POST", "/deletedsecrets/n/recover").expect(400);
}

#[test]
fn texts_of_a_refused_set() {
    let local = slow();
    local.set("n", "1");
    local.delete("n");
    let text = |local: &Local| local.call_with("PUT", "/secrets/n", &json!({"value": "w"})).expect(409).error().3;
    assert_eq!(text(&local), "Secret n is currently being deleted and cannot be re-created; retry later.");
    local.clock.advance(DELAY);
    assert_eq!(
        text(&local),
        "Secret n is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the \
         secret can only be recovered or purged."
    );
    local.call("POST", "/deletedsecrets/n/recover").expect(200);
    assert_eq!(text(&local), "Secret n is currently being recovered and cannot be re-created; retry later.");
}

#[test]
fn a_purged_name_is_free_for_a_set_and_held_from_a_restore() {
    let local = slow();
    local.set("n", "1");
    let blob = local.call("POST", "/secrets/n/backup").json();
    local.delete("n");
    local.clock.advance(DELAY);
    local.call("DELETE", "/deletedsecrets/n").expect(204);
    local.call("GET", "/deletedsecrets/n").expect(404);
    local.call("DELETE", "/deletedsecrets/n").expect(404);
    local.call_with("POST", "/secrets/restore", &blob).expect(409);
    local.clock.advance(DELAY);
    local.call_with("POST", "/secrets/restore", &blob).expect(200);
    assert_eq!(local.call("GET", "/secrets/n").json()["value"], "1");
}

#[test]
fn a_name_is_free_for_a_set_at_once_after_a_purge() {
    let local = slow();
    local.set("N", "1");
    local.delete("n");
    local.clock.advance(DELAY);
    local.call("DELETE", "/deletedsecrets/n").expect(204);
    let set = local.set("n", "2").json();
    assert!(set["id"].as_str().expect("an id").contains("/secrets/n/"), "a purged name forgets its spelling");
    assert_eq!(local.call("GET", "/secrets/n/versions").json()["value"].as_array().map(Vec::len), Some(1));
}

#[test]
fn without_a_delay_every_step_is_immediate() {
    let local = Local::start();
    let old = local.set("n", "1").version();
    let new = local.set("n", "2").version();
    local.delete("n");
    local.call("GET", "/deletedsecrets/n").expect(200);
    local.call("POST", "/deletedsecrets/n/recover").expect(200);
    for (version, value) in [(old, "1"), (new, "2")] {
        assert_eq!(local.call("GET", &format!("/secrets/n/{version}")).json()["value"], value);
    }
    local.delete("n");
    local.call("DELETE", "/deletedsecrets/n").expect(204);
    local.set("n", "3");
}

#[test]
fn what_was_deleted_is_purged_when_its_retention_ends() {
    let local = Local::with(ServeOptions { retention_days: Some(7), purge_protection: true, ..Default::default() });
    local.set("n", "1");
    local.delete("n");
    local.clock.advance(Duration::from_secs(7 * 86_400 - 1));
    local.call("GET", "/deletedsecrets/n").expect(200);
    local.clock.advance(Duration::from_secs(1));
    local.call("GET", "/deletedsecrets/n").expect(404);
    assert_eq!(local.call("GET", "/deletedsecrets").json()["value"], json!([]));
    local.set("n", "2");
    assert_eq!(local.call("GET", "/secrets/n/versions").json()["value"].as_array().map(Vec::len), Some(1));
}
