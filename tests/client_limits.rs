//! Limits: of time, of size, of patience, against servers that know none.

mod client_support;

use std::time::{Duration, Instant};

use akvfs::secret::SecretAttributes;
use akvfs::store::{ErrorKind, SecretStore};
use akvfs::vault::ClientOptions;
use client_support::*;

#[test]
fn a_read_is_retried_and_then_says_what_failed() {
    for failure in [408, 500, 502, 503, 504] {
        let server = Server::vault(vec![reply(failure, ""), Act::HangUp, bundle(VERSION, "x", 0)]);
        assert_eq!(server.client().get_secret(&db(), None).expect("got").value.expose(), "x", "{failure}");
        server.is_done();
    }
    let server = Server::vault((0..4).map(|_| reply(503, "")).collect());
    assert_eq!(kind(server.client().get_secret(&db(), None)), ErrorKind::Broken);
    server.is_done();
    let server = Server::vault(vec![reply(501, "")]);
    assert_eq!(kind(server.client().get_secret(&db(), None)), ErrorKind::Broken);
    server.is_done();
}

#[test]
fn retry_after_is_obeyed_where_it_fits_and_remembered_where_it_does_not() {
    let wish = |wish: &str| Act::Reply(429, vec![("Retry-After".into(), wish.into())], String::new());
    let server = Server::vault(vec![wish("1"), bundle(VERSION, "x", 0)]);
    let started = Instant::now();
    server.client().get(&db(), None, within(5_000)).expect("got");
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());

    let server = Server::vault(vec![wish("60")]);
    let client = server.client();
    let started = Instant::now();
    let error = client.get(&db(), None, within(5_000)).expect_err("throttled");
    assert_eq!(error.kind, ErrorKind::Throttled { retry_after: Some(Duration::from_secs(60)) });
    let ErrorKind::Throttled { retry_after: Some(left) } = kind(client.get(&db(), None, within(5_000))) else {
        panic!("it knocked again")
    };
    assert!(left > Duration::from_secs(50), "{left:?}");
    assert!(started.elapsed() < Duration::from_secs(4), "it slept");
    server.is_done();
}

#[test]
fn who_sleeps_until_he_may_send_hears_a_wish_that_comes_meanwhile() {
    let throttled = reply_with(429, "Retry-After", "60");
    let server = Server::vault(vec![bundle(VERSION, "x", 0), throttled]);
    // One request a second, and five at once: the token is asked for with the first two.
    let client = server.client_with(ClientOptions { max_requests: 1, ..ClientOptions::default() });
    client.get_secret(&db(), None).expect("got");
    std::thread::scope(|scope| {
        let asks = || client.get(&db(), None, within(20_000)).expect_err("throttled");
        let all: Vec<_> = (0..8).map(|_| scope.spawn(asks)).collect();
        for one in all {
            let error = one.join().expect("no panic");
            assert!(matches!(error.kind, ErrorKind::Throttled { .. }), "{error}");
        }
    });
    assert!(server.asked().len() <= 5, "nobody knocks after the wish: {:?}", server.asked());
}

#[test]
fn wishes_in_every_form_stay_within_the_limit() {
    // By the clock of who sends it, not by ours.
    let date = httpdate::parse_http_date(client_support::DATE).expect("a date");
    let soon = httpdate::fmt_http_date(date + Duration::from_secs(2));
    let cases = [
        // The name, what it says, and how long that is at least, in milliseconds.
        ("retry-after-ms", "400".to_owned(), 400),
        ("x-ms-retry-after-ms", "400".to_owned(), 400),
        ("Retry-After", soon, 2_000),
        ("Retry-After", "-5".to_owned(), 0),
        ("Retry-After", "a while".to_owned(), 0),
        ("Retry-After", "Thu, 01 Jan 1970 00:00:00 GMT".to_owned(), 0),
    ];
    std::thread::scope(|scope| {
        for (name, wish, least) in cases {
            for status in [429, 503] {
                let wish = wish.clone();
                scope.spawn(move || {
                    let server = Server::vault(vec![reply_with(status, name, &wish), bundle(VERSION, "x", 0)]);
                    let (client, started) = (server.client(), Instant::now());
                    client.get(&db(), None, within(30_000)).expect("got");
                    let took = started.elapsed();
                    assert!(took >= Duration::from_millis(least), "{name}: {wish}: {took:?}");
                    assert!(took < Duration::from_secs(30), "{name}: {wish}: {took:?}");
                    server.is_done();
                });
            }
        }
    });
    for wish in ["99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let server = Server::vault(vec![reply_with(429, "Retry-After", wish)]);
        let (client, started) = (server.client(), Instant::now());
        let expected = ErrorKind::Throttled { retry_after: Some(Duration::from_secs(300)) };
        assert_eq!(kind(client.get(&db(), None, within(90_000))), expected, "{wish}");
        assert!(started.elapsed() < Duration::from_secs(60), "it slept");
    }
}

#[test]
fn slow_bytes_end_with_the_limit_of_a_try_and_of_the_call() {
    for act in [|| Act::Drip, || Act::Silence] {
        let server = Server::vault((0..9).map(|_| act()).collect());
        let client =
            server.client_with(ClientOptions { try_timeout: Duration::from_millis(300), ..ClientOptions::default() });
        let started = Instant::now();
        assert_eq!(kind(client.get(&db(), None, within(1_000))), ErrorKind::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        assert!(server.asked().len() >= 3, "a try ends before the call does: {:?}", server.asked());
    }
}

#[test]
fn bodies_beyond_their_limit_are_not_read() {
    let long = |bytes: usize| Act::Reply(200, Vec::new(), " ".repeat(bytes));
    for act in [long(256 * 1024 + 1), Act::Flood(300 * 1024), Act::Flood(50 * 1024 * 1024)] {
        let server = Server::vault(vec![act]);
        let error = server.client().get_secret(&db(), None).expect_err("too large");
        assert_eq!(error.kind, ErrorKind::Broken);
        assert!(error.to_string().contains("more than 262144 bytes"), "{error}");
    }
    let server = Server::vault(vec![long(2 * 1024 * 1024 + 1)]);
    assert_eq!(kind(server.client().list(None, within(5_000))), ErrorKind::Broken);
    let server = Server::vault(vec![Act::Flood(25 * 1024 * 1024)]);
    assert_eq!(kind(server.client().backup_secret(&db())), ErrorKind::Broken);
    let largest = "x".repeat(25_600);
    let server = Server::vault(vec![bundle(VERSION, &largest, 0)]);
    assert_eq!(server.client().get_secret(&db(), None).expect("fits").value.len(), 25_600);
}

#[test]
fn headers_beyond_their_number_are_no_answer() {
    let headers = (0..80).map(|number| (format!("x-{number}"), "y".to_owned())).collect();
    let server = Server::vault(vec![Act::Reply(200, headers, String::new()), bundle(VERSION, "x", 0)]);
    assert!(server.client().get_secret(&db(), None).is_ok(), "the next try got one");
}

#[test]
fn what_is_no_good_http_is_asked_for_again_and_never_believed() {
    let whole = r#"{"value":"canary","id":"https://v/secrets/db"}"#;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let (length, long) = (whole.len(), "y".repeat(1024 * 1024));
    for text in [
        format!("{head}Content-Length: {}\r\n\r\n{whole}", length + 1),
        format!("{head}Content-Length: -1\r\n\r\n{whole}"),
        format!("{head}Content-Length: 1\r\nContent-Length: {length}\r\n\r\n{whole}"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{whole}"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{whole}"),
        format!("{head}x-long: {long}\r\nContent-Length: {length}\r\n\r\n{whole}"),
        format!("HTTP/9.9 200 OK\r\n\r\n{whole}"),
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000),
        "HTTP/1.1 200".to_owned(),
        whole.to_owned(),
        "\r\n\r\n".to_owned(),
    ] {
        let short = text.chars().take(90).collect::<String>();
        let server = Server::vault(vec![Act::Raw(text.into_bytes()), bundle(VERSION, "x", 0)]);
        let got = server.client().get_secret(&db(), None).unwrap_or_else(|error| panic!("{short}: {error}"));
        assert_eq!(got.value.expose(), "x", "{short}");
        server.is_done();
    }
}

#[test]
fn a_body_that_makes_no_sense_is_an_error_and_not_asked_for_again() {
    let body = |text: &str| format!(r#"{{"value":{text},"id":"https://v/secrets/db"}}"#).into_bytes();
    for bytes in [
        [b"\xef\xbb\xbf".to_vec(), body("\"canary\"")].concat(),
        body("1e999"),
        body("\"\\ud800canary\""),
        [body("\"canary\""), b"canary".to_vec()].concat(),
        body(&("[".repeat(100_000) + &"]".repeat(100_000))),
        b"\x1f\x8b\x08canary".to_vec(),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bytes.len());
        let server = Server::vault(vec![Act::Raw([head.into_bytes(), bytes].concat())]);
        let error = server.client().get_secret(&db(), None).expect_err("no sense");
        assert_eq!(error.kind, ErrorKind::Broken);
        assert!(!error.to_string().contains("canary"), "{error}");
        server.is_done();
    }
}

#[test]
fn our_own_limit_holds_requests_back_and_refuses_what_would_be_too_late() {
    let server = Server::vault((0..40).map(|_| bundle(VERSION, "x", 0)).collect());
    let client = server.client_with(ClientOptions { max_writes: 4, ..ClientOptions::default() });
    let started = Instant::now();
    for _ in 0..5 {
        client.set(&db(), &value("x"), &SecretAttributes::default(), within(5_000)).expect("set");
    }
    assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
    let refused = (0..4).map(|_| client.set(&db(), &value("x"), &SecretAttributes::default(), within(100)));
    assert!(refused.filter(|set| set.is_err()).all(|set| matches!(kind(set), ErrorKind::Throttled { .. })));
    client.get(&db(), None, within(5_000)).expect("reads go on");
}

#[test]
fn one_client_serves_many_threads() {
    let server = Server::vault((0..64).map(|_| bundle(VERSION, "x", 0)).collect());
    let client = server.client();
    client.get_secret(&db(), None).expect("got");
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| client.get_secret(&db(), None).expect("got"));
        }
    });
    assert_eq!(server.seen().iter().filter(|seen| seen.header("authorization").is_none()).count(), 1);
}

#[test]
fn a_poller_waits_until_it_is_done() {
    let deleted = || reply(200, r#"{"recoveryId":"https://v/deletedsecrets/db","id":"https://v/secrets/db"}"#);
    let server = Server::vault(vec![deleted(), not_found(), refusal(403, "Forbidden", "SecretDisabled")]);
    let mut poller = server.client().begin_delete_secret(&db()).expect("accepted");
    assert!(!poller.done().expect("asked"));
    assert!(poller.result().expect("done").recovery_id.is_some());
    assert!(poller.done().expect("known"));
    server.is_done();
    let final_one = reply(200, r#"{"id":"https://v/secrets/db"}"#);
    let server = Server::vault(vec![final_one]);
    server.client().begin_delete_secret(&db()).expect("accepted").wait(Duration::ZERO).expect("no soft delete");
    let server = Server::vault(vec![bundle(VERSION, "x", 0), not_found(), bundle(VERSION, "x", 0)]);
    let mut poller = server.client().begin_recover_deleted_secret(&db()).expect("accepted");
    assert_eq!(kind(poller.wait(Duration::ZERO)), ErrorKind::TimedOut);
    poller.wait(Duration::from_secs(5)).expect("back");
}
