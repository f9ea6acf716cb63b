//! A change happens once, also when its answer is lost: what the client looks at, and what it makes of it.

mod client_support;

use std::sync::{Arc, Mutex};

use akvfs::secret::{BackupBlob, SecretAttributes, SecretProperties, Timestamp, Version};
use akvfs::store::{ErrorKind, SecretStore, StoreError};
use akvfs::vault::ClientOptions;
use client_support::*;

fn set(server: &Server, text: &str) -> Result<SecretProperties, StoreError> {
    server.client().set(&db(), &value(text), &SecretAttributes::default(), within(10_000))
}

/// The ways in which an answer is lost.
fn losses() -> Vec<Act> {
    vec![
        Act::HangUp,
        Act::Silence,
        Act::Drip,
        reply(500, ""),
        reply(503, "busy"),
        reply(408, ""),
        reply(200, "{"),
        Act::Flood(300_000),
    ]
}

#[test]
fn a_set_that_was_stored_is_not_sent_again() {
    for loss in losses() {
        let server = Server::vault(vec![loss, bundle(VERSION, "new", 0)]);
        assert_eq!(set(&server, "new").expect("stored").version, Version::parse(VERSION));
        assert_eq!(server.asked()[1..], ["PUT /secrets/db", "GET /secrets/db/"]);
        server.is_done();
    }
}

#[test]
fn a_set_that_was_not_stored_is_sent_once_more() {
    for before in [not_found as fn() -> Act, || bundle(OTHER, "old", 3_600)] {
        let server = Server::vault(vec![Act::HangUp, before(), bundle(VERSION, "new", 0)]);
        assert_eq!(set(&server, "new").expect("stored").version, Version::parse(VERSION));
        assert_eq!(server.asked()[1..], ["PUT /secrets/db", "GET /secrets/db/", "PUT /secrets/db"]);
    }
    let server = Server::vault(vec![reply(500, ""), not_found(), reply(500, ""), not_found()]);
    assert_eq!(kind(set(&server, "new")), ErrorKind::Broken, "twice is enough");
    server.is_done();
}

#[test]
fn an_old_version_with_the_same_value_does_not_count_as_stored() {
    let server = Server::vault(vec![Act::HangUp, bundle(OTHER, "new", 3_600), bundle(VERSION, "new", 0)]);
    assert_eq!(set(&server, "new").expect("stored").version, Version::parse(VERSION));
    // Known to be the old one, although it is too young for its date to tell.
    let server =
        Server::vault(vec![bundle(OTHER, "new", 0), Act::HangUp, bundle(OTHER, "new", 0), bundle(VERSION, "new", 0)]);
    let client = server.client();
    client.get(&db(), None, within(10_000)).expect("get");
    let made = client.set(&db(), &value("new"), &SecretAttributes::default(), within(10_000)).expect("stored");
    assert_eq!(made.version, Version::parse(VERSION));
    server.is_done();
}

#[test]
fn what_somebody_else_wrote_is_not_written_over() {
    let server = Server::vault(vec![Act::HangUp, bundle(OTHER, "theirs", 0)]);
    assert_eq!(kind(set(&server, "new")), ErrorKind::Superseded);
    server.is_done();
    // The same value, but not what else was wanted.
    let server = Server::vault(vec![Act::HangUp, bundle(OTHER, "new", 0)]);
    let wanted = SecretAttributes { content_type: Some("text/plain".into()), ..SecretAttributes::default() };
    assert_eq!(kind(server.client().set(&db(), &value("new"), &wanted, within(10_000))), ErrorKind::Superseded);
}

#[test]
fn a_set_of_a_disabled_version_is_judged_by_the_listing() {
    let listed = |version: &str, age: i64| {
        let created = NOW - age;
        reply(
            200,
            format!(
                r#"{{"value":[{{"id":"https://v/secrets/db/{version}","attributes":{{"enabled":false,"created":{created}}}}}],"nextLink":null}}"#
            ),
        )
    };
    let disabled = || refusal(403, "Forbidden", "SecretDisabled");
    let wanted = SecretAttributes { enabled: Some(false), ..SecretAttributes::default() };
    let server = Server::vault(vec![Act::HangUp, disabled(), listed(VERSION, 0)]);
    let made = server.client().set(&db(), &value("x"), &wanted, within(10_000)).expect("stored");
    assert_eq!(made.version, Version::parse(VERSION));
    let server = Server::vault(vec![Act::HangUp, disabled(), listed(OTHER, 3_600), bundle(VERSION, "x", 0)]);
    assert_eq!(set(&server, "x").expect("stored").version, Version::parse(VERSION));
}

#[test]
fn of_two_disabled_versions_of_one_second_the_new_one_is_ours() {
    let item = |version: &str| {
        format!(r#"{{"id":"https://v/secrets/db/{version}","attributes":{{"enabled":false,"created":{NOW}}}}}"#)
    };
    let disabled = || refusal(403, "Forbidden", "SecretDisabled");
    let wanted = SecretAttributes { enabled: Some(false), ..SecretAttributes::default() };
    for order in [[VERSION, OTHER], [OTHER, VERSION]] {
        let first = format!(r#"{{"value":"x","id":"https://v/secrets/db/{OTHER}","attributes":{{"enabled":false}}}}"#);
        let both = format!(r#"{{"value":[{}],"nextLink":null}}"#, order.map(item).join(","));
        let server = Server::vault(vec![reply(200, first), Act::HangUp, disabled(), reply(200, both)]);
        let client = server.client();
        client.set(&db(), &value("x"), &wanted, within(10_000)).expect("stored");
        let made = client.set(&db(), &value("y"), &wanted, within(10_000)).expect("stored");
        assert_eq!(made.version, Version::parse(VERSION), "{order:?}");
        server.is_done();
    }
}

#[test]
fn an_outcome_that_cannot_be_found_out_is_said_to_be_open() {
    let server = Server::vault(vec![reply(500, ""), refusal(403, "Forbidden", "ForbiddenByPolicy")]);
    let error = set(&server, "new").expect_err("open");
    assert_eq!(error.kind, ErrorKind::Broken);
    assert!(error.to_string().contains("whether it was carried out is not known"), "{error}");
    let server = Server::vault(vec![Act::Silence, Act::Silence, Act::Silence, Act::Silence]);
    let set = server.client().set(&db(), &value("canary"), &SecretAttributes::default(), within(900));
    let error = set.expect_err("open");
    assert_eq!(error.kind, ErrorKind::TimedOut);
    assert!(!format!("{error:?} {error}").contains("canary"));
}

#[test]
fn what_certainly_did_not_happen_is_sent_again_without_a_look() {
    let busy = || refusal(409, "Conflict", "ObjectIsBeingRecovered");
    let throttled = Act::Reply(429, vec![("retry-after-ms".into(), "10".into())], String::new());
    let server = Server::vault(vec![throttled, busy(), bundle(VERSION, "new", 0)]);
    assert!(set(&server, "new").is_ok());
    assert_eq!(server.asked(), ["PUT /secrets/db"; 4]);
    let server = Server::vault((0..50).map(|_| busy()).collect());
    let refused = server.client().set(&db(), &value("x"), &SecretAttributes::default(), within(500));
    assert_eq!(kind(refused), ErrorKind::BeingRecovered);
    let server = Server::vault(vec![refusal(409, "Conflict", "ObjectIsDeletedButRecoverable")]);
    assert_eq!(kind(set(&server, "x")), ErrorKind::Deleted);
    server.is_done();
}

#[test]
fn a_first_request_that_is_lost_held_nothing_and_is_sent_again_at_once() {
    let server = Server::play(vec![Act::HangUp, Act::Silence, reply(503, ""), challenge(), bundle(VERSION, "new", 0)]);
    assert!(set(&server, "new").is_ok());
    assert_eq!(server.asked(), ["PUT /secrets/db"; 5]);
}

#[test]
fn a_lost_delete_is_looked_for_among_the_deleted() {
    let deleted = || reply(200, r#"{"recoveryId":"https://v/deletedsecrets/db","id":"https://v/secrets/db"}"#);
    let server = Server::vault(vec![Act::HangUp, not_found(), not_found(), deleted()]);
    let gone = server.client().delete(&db(), within(10_000)).expect("deleted");
    assert!(gone.recovery_id.is_some());
    let lines = ["DELETE /secrets/db", "GET /deletedsecrets/db", "GET /secrets/db/", "GET /deletedsecrets/db"];
    assert_eq!(server.asked()[1..], lines);
    let server = Server::vault(vec![Act::HangUp, refusal(403, "Forbidden", "SecretDisabled")]);
    assert!(server.client().delete(&db(), within(10_000)).is_ok(), "a disabled one is hidden, but there");
    let server = Server::vault(vec![Act::HangUp, not_found(), bundle(VERSION, "x", 9), deleted()]);
    assert!(server.client().delete(&db(), within(10_000)).is_ok(), "still there: sent once more");
    server.is_done();
    let server = Server::vault(vec![Act::HangUp, not_found(), bundle(VERSION, "x", 9), not_found(), deleted()]);
    assert!(server.client().delete(&db(), within(10_000)).is_ok(), "the first one went through late");
    server.is_done();
}

#[test]
fn a_lost_recovery_or_purge_is_looked_for() {
    let deleted = || reply(200, r#"{"recoveryId":"https://v/deletedsecrets/db","id":"https://v/secrets/db"}"#);
    let server = Server::vault(vec![Act::HangUp, bundle(VERSION, "x", 9)]);
    assert!(server.client().recover(&db(), within(10_000)).is_ok());
    let exists = refusal(400, "MethodNotAllowed", "RequestNotAllowedOnNonDeletedObject");
    let server = Server::vault(vec![Act::HangUp, not_found(), deleted(), exists, bundle(VERSION, "x", 9)]);
    assert!(server.client().recover(&db(), within(10_000)).is_ok(), "the first one went through late");
    server.is_done();
    let server = Server::vault(vec![Act::HangUp, not_found()]);
    assert!(server.client().purge(&db(), within(10_000)).is_ok());
    let server = Server::vault(vec![Act::HangUp, deleted(), reply(204, "")]);
    assert!(server.client().purge(&db(), within(10_000)).is_ok());
    server.is_done();
}

#[test]
fn a_lost_update_is_looked_at_and_a_lost_restore_cannot_happen_twice() {
    let wanted = SecretAttributes { enabled: Some(true), ..SecretAttributes::default() };
    let server = Server::vault(vec![Act::HangUp, bundle(VERSION, "x", 0)]);
    assert!(server.client().update(&db(), None, &wanted, within(10_000)).is_ok());
    server.is_done();
    let dated = SecretAttributes { expires_on: Some(Timestamp(9)), ..SecretAttributes::default() };
    let server = Server::vault(vec![Act::HangUp, bundle(VERSION, "x", 60), bundle(VERSION, "x", 0)]);
    assert!(server.client().update(&db(), None, &dated, within(10_000)).is_ok(), "sent once more");
    server.is_done();
    let server = Server::vault(vec![Act::HangUp, refusal(409, "Conflict", "")]);
    let blob = BackupBlob::new(vec![1]);
    assert_eq!(kind(server.client().restore(&blob, within(10_000))), ErrorKind::Exists);
    server.is_done();
}

/// A vault of one secret that stores, or not, and answers, or not.
fn careless_vault(stored: Arc<Mutex<Vec<String>>>) -> Server {
    let mut changes = 0;
    let version = |number: usize| format!("{number:032x}");
    Server::decide(move |request| {
        if request.header("authorization").is_none() {
            return challenge();
        }
        let mut stored = stored.lock().expect("no panic");
        if request.line.starts_with("PUT") {
            changes += 1;
            let (stores, answer) = match changes % 5 {
                1 => (true, reply(503, "")),
                2 => (true, Act::HangUp),
                3 => (false, Act::Reply(429, vec![("retry-after-ms".into(), "1".into())], String::new())),
                4 => (false, Act::HangUp),
                _ => (true, reply(200, "{")),
            };
            if stores {
                stored.push(request.body.split('"').nth(3).expect("a value").to_owned());
            }
            return answer;
        }
        match stored.last() {
            Some(value) => bundle(&version(stored.len()), value, 0),
            None => not_found(),
        }
    })
}

#[test]
fn five_hundred_sets_with_lost_replies_are_five_hundred_versions() {
    let stored = Arc::default();
    let server = careless_vault(Arc::clone(&stored));
    let options = ClientOptions { max_writes: 10_000, max_requests: 10_000, ..ClientOptions::default() };
    let client = server.client_with(options);
    let wanted: Vec<String> = (0..500).map(|number| format!("value-{}", number / 2)).collect();
    for text in &wanted {
        client.set(&db(), &value(text), &SecretAttributes::default(), within(20_000)).expect("stored once");
    }
    assert_eq!(*stored.lock().expect("no panic"), wanted);
}
