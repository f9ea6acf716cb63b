//! What the client sends, against a scripted server: the exact requests, and what it makes of listings.

mod client_support;

use akvfs::secret::{BackupBlob, SecretAttributes, Tags, Timestamp, Version};
use akvfs::store::{Continuation, ErrorKind, SecretStore, Wait};
use akvfs::vault::ClientOptions;
use client_support::*;

#[test]
fn the_first_request_has_neither_token_nor_body_and_the_next_ones_have_both() {
    let server = Server::vault(vec![bundle(VERSION, "x", 0), bundle(OTHER, "y", 0)]);
    let client = server.client();
    client.set_secret(&db(), &value("x"), &SecretAttributes::default()).expect("set");
    client.set_secret(&db(), &value("y"), &SecretAttributes::default()).expect("set");
    let seen = server.seen();
    assert_eq!(server.asked(), ["PUT /secrets/db"; 3]);
    assert!(seen.iter().all(|seen| seen.header("accept-encoding").is_none()), "nothing compressed is read");
    assert_eq!((seen[0].header("authorization"), seen[0].body.as_str()), (None, ""));
    assert_eq!(seen[0].header("content-length"), Some("0"));
    for (request, body) in seen[1..].iter().zip([r#"{"value":"x"}"#, r#"{"value":"y"}"#]) {
        assert_eq!(request.header("authorization"), Some("Bearer canary-token"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.body, body);
    }
}

#[test]
fn every_operation_is_its_verb_path_and_body() {
    let deleted = || reply(200, r#"{"recoveryId":"https://v/deletedsecrets/db","id":"https://v/secrets/db"}"#);
    let page = || reply(200, r#"{"value":[],"nextLink":null}"#);
    let server = Server::vault(vec![
        bundle(VERSION, "x", 0),
        bundle(VERSION, "x", 0),
        bundle(VERSION, "x", 0),
        bundle(VERSION, "x", 0),
        bundle(VERSION, "x", 0),
        bundle(VERSION, "x", 0),
        deleted(),
        deleted(),
        bundle(VERSION, "x", 0),
        reply(204, ""),
        reply(200, r#"{"value":"_-8"}"#),
        bundle(VERSION, "x", 0),
        page(),
        page(),
        page(),
    ]);
    let client = server.client();
    let version = Version::parse(VERSION);
    let changes = SecretAttributes { expires_on: Some(Timestamp(7)), ..SecretAttributes::default() };
    let tagged = SecretAttributes { tags: Some(Tags::new()), enabled: Some(true), ..SecretAttributes::default() };
    client.get_secret(&db(), None).expect("get");
    client.get_secret(&db(), version.as_ref()).expect("get");
    assert_eq!(client.find(&db(), within(5_000)).expect("find").current, version);
    client.set_secret(&db(), &value("ü"), &tagged).expect("set");
    client.update_secret_properties(&db(), None, &changes).expect("update");
    client.update_secret_properties(&db(), version.as_ref(), &SecretAttributes::default()).expect("update");
    client.delete(&db(), within(5_000)).expect("delete");
    client.get_deleted_secret(&db()).expect("get deleted");
    client.recover(&db(), within(5_000)).expect("recover");
    client.purge_deleted_secret(&db()).expect("purge");
    assert_eq!(client.backup_secret(&db()).expect("backup").expose(), b"\xff\xef");
    client.restore_secret_backup(&BackupBlob::new(b"\xff\xef".to_vec())).expect("restore");
    assert_eq!(client.list_properties_of_secrets().count(), 0);
    assert_eq!(client.list_properties_of_secret_versions(&db()).count(), 0);
    assert_eq!(client.list_deleted_secrets().count(), 0);
    let expected = [
        ("GET /secrets/db/", ""),
        (&format!("GET /secrets/db/{VERSION}"), ""),
        ("GET /secrets/db/", ""),
        ("PUT /secrets/db", r#"{"value":"ü","attributes":{"enabled":true},"tags":{}}"#),
        ("PATCH /secrets/db/", r#"{"attributes":{"exp":7}}"#),
        (&format!("PATCH /secrets/db/{VERSION}"), "{}"),
        ("DELETE /secrets/db", ""),
        ("GET /deletedsecrets/db", ""),
        ("POST /deletedsecrets/db/recover", ""),
        ("DELETE /deletedsecrets/db", ""),
        ("POST /secrets/db/backup", ""),
        ("POST /secrets/restore", r#"{"value":"_-8"}"#),
        ("GET /secrets", ""),
        ("GET /secrets/db/versions", ""),
        ("GET /deletedsecrets", ""),
    ];
    let bodies = server.seen().into_iter().map(|seen| seen.body);
    let sent: Vec<(String, String)> = server.asked().into_iter().zip(bodies).skip(1).collect();
    assert_eq!(sent, expected.map(|(line, body)| (line.to_owned(), body.to_owned())));
    assert!(server.seen().iter().all(|seen| seen.line.contains("?api-version=2026-04-01 ")));
    server.is_done();
}

#[test]
fn without_waiting_nothing_is_sent() {
    let server = Server::vault(vec![]);
    assert_eq!(kind(server.client().get(&db(), None, Wait::No)), ErrorKind::NotInMemory);
    assert_eq!(kind(server.client().purge(&db(), Wait::No)), ErrorKind::NotInMemory);
    assert_eq!(kind(server.client().get(&db(), None, within(0))), ErrorKind::TimedOut);
    assert!(server.seen().is_empty());
}

#[test]
fn a_listing_is_followed_to_its_end_across_empty_pages() {
    let server = Server::vault(vec![]);
    let item = |name: &str| format!(r#"{{"id":"https://v/secrets/{name}","attributes":{{"enabled":true}}}}"#);
    let link =
        |to: &str| format!("http://127.0.0.1:{}/secrets?api-version=7.3&$skiptoken={to}&maxresults=2", server.port);
    let page = |items: String, next: String| reply(200, format!(r#"{{"value":[{items}],"nextLink":{next}}}"#));
    let quoted = |to| format!("\"{}\"", link(to));
    server.add(vec![
        page(String::new(), quoted("a")),
        page(item("one") + "," + &item("a_b") + "," + &item("Two"), quoted("b")),
        page(item("three"), "null".into()),
    ]);
    let client = server.client();
    let names: Vec<_> =
        client.list_properties_of_secrets().map(|item| item.expect("an item").name.to_string()).collect();
    assert_eq!(names, ["one", "Two", "three"]);
    let lines: Vec<_> = server.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines[3], "GET /secrets?api-version=2026-04-01&$skiptoken=b&maxresults=2 HTTP/1.1");
    server.add(vec![page(String::new(), quoted("a")), page(String::new(), quoted("a"))]);
    assert!(client.list(None, within(5_000)).expect("a page").next.is_some());
    assert_eq!(
        kind(client.list(Some(&Continuation(link("a"))), within(5_000))),
        ErrorKind::Broken,
        "it leads to itself"
    );
}

#[test]
fn an_unreachable_vault_and_a_proxys_404_are_never_not_found() {
    let port = Server::unused_port();
    let client = client(&format!("http://127.0.0.1:{port}"), ClientOptions::default()).expect("loopback");
    assert_eq!(kind(client.get(&db(), None, within(300))), ErrorKind::Unreachable);
    let server = Server::vault(vec![reply(404, "<html>"), reply(404, ""), not_found()]);
    let client = server.client();
    assert_eq!(kind(client.get_secret(&db(), None)), ErrorKind::Broken);
    assert_eq!(kind(client.get_secret(&db(), None)), ErrorKind::Broken);
    assert_eq!(kind(client.get_secret(&db(), None)), ErrorKind::NotFound);
}

#[test]
fn a_disabled_secret_is_found() {
    let refused = || refusal(403, "Forbidden", "SecretDisabled");
    let item = format!(r#"{{"id":"https://v/secrets/DB/{VERSION}","attributes":{{"enabled":false,"created":1}}}}"#);
    let page = reply(200, format!(r#"{{"value":[{item}],"nextLink":null}}"#));
    let server = Server::vault(vec![refused(), page, refused(), refusal(403, "Forbidden", "ForbiddenByPolicy")]);
    let found = server.client().find(&db(), within(5_000)).expect("found");
    assert!(found.properties.is_disabled());
    assert_eq!((found.properties.name.as_str(), found.properties.version), ("DB", None), "as the vault spells it");
    let unlisted = server.client().find(&db(), within(5_000)).expect("found without the right to list");
    assert!(unlisted.properties.is_disabled());
    assert_eq!((found.current, found.valid_for), (None, std::time::Duration::ZERO));
}
