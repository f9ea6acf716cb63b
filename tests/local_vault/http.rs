//! HTTP around the operations: challenge, headers, hosts, tokens, limits, starting and stopping.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use akvfs::clock::SystemClock;
use akvfs::local::{ServeOptions, Server};
use serde_json::json;
use zeroize::Zeroizing;

use crate::support::{Local, read};

#[test]
fn whoever_brings_no_token_is_challenged_before_anything_else() {
    let local = Local::start();
    let body = r#"{"error":{"code":"Unauthorized","message":"AKV10000: Request is missing a Bearer, PoP, or MTLS_POP token."}}"#;
    for (method, path) in [
        ("GET", "/secrets/n/?api-version=7.6"),
        ("PUT", "/secrets/"),
        ("GET", "/secrets?api-version=banana"),
        ("PUT", "/secrets/a_b?api-version=7.6"),
        ("DELETE", "/nowhere"),
    ] {
        let url = format!("{}{path}", local.server.url());
        let answer = read(local.http.request(method.parse().expect("a verb"), url)).expect("an answer").expect(401);
        assert_eq!(answer.text, body, "{method} {path}");
        assert_eq!(answer.text.len(), 108);
        let challenge = answer.header("www-authenticate").expect("a challenge");
        let port = local.server.addr().port();
        let (authority, resource) = challenge.split_once(", resource=").expect("two pairs");
        assert!(authority.starts_with("Bearer authorization=\"https://login.microsoftonline.com/"), "{challenge}");
        assert_eq!(resource, format!("\"https://127.0.0.1:{port}\""));
    }
    assert_eq!(local.server.request_count(), 5);
    assert_eq!(local.server.requests_of("get"), 0, "a challenged request is not carried out");
}

#[test]
fn the_challenge_follows_the_host_that_was_asked() {
    let local = Local::start();
    for (host, resource) in [
        ("akv.localhost:8443", "https://localhost:8443"),
        ("akv.vault.localhost:8443", "https://vault.localhost:8443"),
        ("akv.localhost", "https://localhost"),
    ] {
        let request = local.http.get(format!("{}/secrets", local.server.url())).header("host", host);
        let answer = read(request).expect("an answer").expect(401);
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(challenge.ends_with(&format!(", resource=\"{resource}\"")), "{challenge}");
    }
}

#[test]
fn identifiers_and_links_lead_to_the_host_that_was_asked() {
    let local = Local::start();
    ["a", "b"].iter().for_each(|name| drop(local.set(name, "v")));
    for (host, id, link) in [
        ("akv.localhost:8443", "http://akv.localhost:8443", "http://akv.localhost:8443"),
        ("akv.localhost", "http://akv.localhost", "http://akv.localhost:80"),
    ] {
        let url = format!("{}/secrets?maxresults=1&api-version=7.6", local.server.url());
        let page = read(local.http.get(url).bearer_auth("any").header("host", host)).expect("an answer").json();
        assert_eq!(page["value"][0]["id"], format!("{id}/secrets/a"));
        assert!(page["nextLink"].as_str().expect("a link").starts_with(&format!("{link}/secrets?")), "{page}");
    }
}

#[test]
fn a_name_that_was_bent_to_point_here_is_refused() {
    let local = Local::start();
    for host in ["evil.example", "evil.example:80", "localhost.evil.example", "10.0.0.1"] {
        let request = local.http.get(format!("{}/secrets?api-version=7.6", local.server.url()));
        read(request.bearer_auth("any").header("host", host)).expect("an answer").expect(421);
    }
}

#[test]
fn every_answer_has_the_services_headers() {
    let local = Local::start();
    let url = format!("{}/secrets/n?api-version=7.6", local.server.url());
    let get = || local.http.get(&url).header("x-ms-client-request-id", "mine");
    for answer in [read(get().bearer_auth("any")), read(get())] {
        let answer = answer.expect("an answer");
        for (name, value) in [
            ("cache-control", "no-cache"),
            ("pragma", "no-cache"),
            ("expires", "-1"),
            ("content-type", "application/json; charset=utf-8"),
            ("strict-transport-security", "max-age=31536000;includeSubDomains"),
            ("x-content-type-options", "nosniff"),
            ("x-ms-client-request-id", "mine"),
            ("x-ms-keyvault-region", "local"),
            ("x-ms-keyvault-service-version", "1.9.3449.1"),
            ("x-ms-keyvault-network-info", "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
        assert_eq!(answer.header("content-length"), Some(answer.text.len().to_string().as_str()));
        assert_eq!(answer.header("x-ms-request-id").map(str::len), Some(36));
        assert!(answer.header("date").is_some());
    }
    let answer = local.call("GET", "/secrets");
    assert_eq!(answer.header("x-ms-client-request-id"), None);
}

#[test]
fn only_the_token_that_was_set_is_taken() {
    let token = Some(Zeroizing::new("right".to_owned()));
    let local = Local::with(ServeOptions { token, ..Default::default() });
    let url = format!("{}/secrets?api-version=7.6", local.server.url());
    let status = |token: &str| read(local.http.get(&url).bearer_auth(token)).expect("an answer");
    status("right").expect(200);
    let refused = status("wrong").expect(401);
    assert!(refused.header("www-authenticate").is_some());
    assert!(!refused.text.contains("right"));
    assert!(read(local.http.get(&url).basic_auth("right", Some("right"))).expect("an answer").status == 401);
}

#[test]
fn a_post_can_stand_in_for_another_verb() {
    let local = Local::start();
    local.set("n", "v");
    let url = format!("{}/secrets/n?api-version=7.6", local.server.url());
    let request = local.http.post(url).bearer_auth("any").header("x-http-method", "DELETE");
    read(request).expect("an answer").expect(200);
    local.call("GET", "/deletedsecrets/n").expect(200);
}

#[test]
fn bodies_beyond_all_reason_are_refused() {
    let local = Local::start();
    let refused = local.call_with("PUT", "/secrets/n", &json!({"value": "x".repeat(2 << 20)}));
    assert_eq!(refused.expect(413).error().1, "RequestEntityTooLarge");
    local.set("n", "v");
}

#[test]
fn latency_is_waited_for() {
    let local = Local::with(ServeOptions { latency: Duration::from_millis(60), ..Default::default() });
    let before = Instant::now();
    local.set("n", "v");
    assert!(before.elapsed() >= Duration::from_millis(60));
}

#[test]
fn many_connections_are_served_at_once() {
    let local = Local::start();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let local = &local;
            scope.spawn(move || (0..20).for_each(|n| drop(local.set(&format!("n{}", (thread * 20 + n) % 40), "v"))));
        }
    });
    assert_eq!(local.server.requests_of("set"), 320);
    let versions =
        |n| local.call("GET", &format!("/secrets/n{n}/versions")).json()["value"].as_array().map_or(0, Vec::len);
    assert_eq!((0..40).map(versions).sum::<usize>(), 320);
}

#[test]
fn a_server_ends_within_a_second_with_connections_open() {
    let local = Local::start();
    let mut idle = TcpStream::connect(local.server.addr()).expect("connected");
    idle.write_all(b"GET /secrets HTTP/1.1\r\n").expect("sent");
    local.set("n", "v");
    let before = Instant::now();
    let address = local.server.addr();
    local.server.stop();
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    assert!(matches!(idle.read(&mut [0; 1]), Ok(0) | Err(_)), "open connections end too");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn what_cannot_be_served_says_why() {
    let refused = |options| Server::start(options, SystemClock::shared()).expect_err("refused").to_string();
    let open = ServeOptions { listen: (Ipv4Addr::UNSPECIFIED, 0).into(), ..Default::default() };
    assert!(refused(open).contains("--token FILE"));
    let local = Local::start();
    let taken = ServeOptions { listen: local.server.addr(), ..Default::default() };
    assert!(refused(taken).contains(&local.server.addr().to_string()));
}
