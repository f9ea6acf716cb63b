//! No token, no body and no request ever reaches another origin, wherever the vault points: a second listener stands by
//! and must not even see a connection.

mod client_support;

use akvfs::secret::{BackupBlob, SecretAttributes};
use akvfs::store::{Continuation, ErrorKind, SecretStore, StoreError};
use akvfs::vault::SecretClient;
use client_support::*;

type Perform = fn(&SecretClient) -> Result<(), StoreError>;

/// Operations of every verb, with and without a body.
fn operations() -> [Perform; 8] {
    [
        |client| client.get(&db(), None, within(5_000)).map(drop),
        |client| client.set(&db(), &value("x"), &SecretAttributes::default(), within(5_000)).map(drop),
        |client| client.update(&db(), None, &SecretAttributes::default(), within(5_000)).map(drop),
        |client| client.delete(&db(), within(5_000)).map(drop),
        |client| client.restore(&BackupBlob::new(b"x".to_vec()), within(5_000)).map(drop),
        |client| client.backup(&db(), within(5_000)).map(drop),
        |client| client.list(None, within(5_000)).map(drop),
        |client| client.list_deleted(None, within(5_000)).map(drop),
    ]
}

#[test]
fn no_redirect_is_followed_before_or_after_signing_in() {
    let elsewhere = Server::play(vec![]);
    let port = elsewhere.port;
    let places = [
        format!("http://127.0.0.1:{port}/secrets/db"),
        format!("http://user:word@127.0.0.1:{port}/secrets/db"),
        format!("//127.0.0.1:{port}/secrets/db"),
        format!("https://localhost:{port}/"),
    ];
    const STATUSES: [u16; 8] = [300, 301, 302, 303, 304, 305, 307, 308];
    for (at, operation) in operations().into_iter().enumerate() {
        let redirects =
            || STATUSES.map(|status| reply_with(status, "Location", &places[(at + usize::from(status)) % 4]));
        let script = redirects().into_iter().chain([challenge()]).chain(redirects());
        let server = Server::play(script.collect());
        let client = server.client();
        for status in STATUSES.into_iter().chain(STATUSES) {
            assert_eq!(kind(operation(&client)), ErrorKind::Foreign, "operation {at}, {status}");
        }
        server.is_done();
        let signed_in = server.seen().iter().filter(|seen| seen.header("authorization").is_some()).count();
        assert_eq!(signed_in, STATUSES.len());
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn a_place_in_other_headers_or_in_an_identifier_is_only_text() {
    let elsewhere = Server::play(vec![]);
    let place = format!("http://127.0.0.1:{}/secrets/db", elsewhere.port);
    let body = format!(r#"{{"value":"x","id":"{place}/{VERSION}","recoveryId":"{place}"}}"#);
    let names = ["Location", "Content-Location", "Refresh", "Link", "Alt-Svc", "Azure-AsyncOperation"];
    let headers = || names.map(|name| (name.to_owned(), place.clone())).to_vec();
    let server = Server::vault((0..3).map(|_| Act::Reply(200, headers(), body.clone())).collect());
    let client = server.client();
    client.get(&db(), None, within(5_000)).expect("got");
    client.set(&db(), &value("x"), &SecretAttributes::default(), within(5_000)).expect("set");
    client.delete(&db(), within(5_000)).expect("deleted");
    server.is_done();
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn no_link_is_followed_to_another_place() {
    let elsewhere = Server::play(vec![]);
    let (port, server) = (elsewhere.port, Server::vault(vec![]));
    let (here, client) = (server.port, server.client());
    let mut asked = 1; // the challenge
    for (link, why) in [
        (format!("http://127.0.0.1:{port}/secrets?$skiptoken=x"), ErrorKind::Foreign),
        (format!("http://localhost:{port}/secrets"), ErrorKind::Foreign),
        (format!("https://127.0.0.1:{port}/secrets"), ErrorKind::Foreign),
        (format!("http://user@127.0.0.1:{port}/secrets"), ErrorKind::Foreign),
        (format!("http://127.0.0.1:{here}@127.0.0.1:{port}/secrets"), ErrorKind::Foreign),
        (format!("http:/\\127.0.0.1:{port}/secrets"), ErrorKind::Foreign),
        (format!("http://0x7f.1:{port}/secrets"), ErrorKind::Foreign),
        (format!("ftp://127.0.0.1:{here}/secrets"), ErrorKind::Foreign),
        // This vault by another name, with a user, over TLS, or beside the listing.
        (format!("http://localhost:{here}/secrets"), ErrorKind::Foreign),
        (format!("http://user@127.0.0.1:{here}/secrets"), ErrorKind::Foreign),
        (format!("https://127.0.0.1:{here}/secrets"), ErrorKind::Foreign),
        (format!("http://127.0.0.1:{here}/deletedsecrets?$skiptoken=x"), ErrorKind::Foreign),
        (format!("http://127.0.0.1:{here}/secrets/../keys"), ErrorKind::Foreign),
        (format!("http://127.0.0.1:{here}/secrets/%2e%2e/keys"), ErrorKind::Foreign),
        (format!("http://127.0.0.1:{here}/secrets/db"), ErrorKind::Foreign),
        // No URL at all.
        (format!("//127.0.0.1:{port}/secrets"), ErrorKind::Broken),
        ("/secrets?$skiptoken=x".to_owned(), ErrorKind::Broken),
        ("../secrets".to_owned(), ErrorKind::Broken),
        ("?$skiptoken=x".to_owned(), ErrorKind::Broken),
        (" ".to_owned(), ErrorKind::Broken),
    ] {
        let page = format!(r#"{{"value":[],"nextLink":{}}}"#, serde_json::Value::from(link.clone()));
        server.add(vec![reply(200, page.clone()), reply(200, page)]);
        assert_eq!(kind(client.list(None, within(5_000))), why, "{link}");
        assert_eq!(client.list_properties_of_secrets().filter(Result::is_err).count(), 1, "{link}");
        asked += 2;
        assert_eq!(kind(client.list(Some(&Continuation(link.clone())), within(5_000))), why, "{link}");
        assert_eq!(server.seen().len(), asked, "{link}: asked for all the same");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn a_listing_that_leads_in_a_circle_ends_with_an_error() {
    let server = Server::vault(vec![]);
    let page = |to: &str| {
        let link = format!("http://127.0.0.1:{}/secrets?$skiptoken={to}", server.port);
        reply(200, format!(r#"{{"value":[],"nextLink":"{link}"}}"#))
    };
    server.add(vec![page("a"), page("b"), page("a")]);
    let outcomes: Vec<_> = server.client().list_properties_of_secrets().filter_map(Result::err).collect();
    assert!(outcomes.len() == 1 && outcomes[0].to_string().contains("leads back to itself"), "{outcomes:?}");
    assert_eq!(server.seen().len(), 4, "the challenge and three pages");
    let server = Server::vault(vec![reply(200, r#"{"value":[],"nextLink":""}"#)]);
    assert_eq!(server.client().list_properties_of_secrets().count(), 0, "an empty link is the end");
    server.is_done();
}
