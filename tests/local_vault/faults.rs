//! Bad days on request.

use akvfs::local::{Fault, FaultKind, Operation};
use serde_json::json;

use crate::support::{Answer, Local};

fn inject(local: &Local, operation: Operation, kind: FaultKind) {
    local.server.inject(Fault { operation: Some(operation), count: 1, kind });
}

fn set(local: &Local, name: &str) -> reqwest::Result<Answer> {
    local.send("PUT", &format!("/secrets/{name}"), Some(&json!({"value": "v"}).to_string()))
}

#[test]
fn a_lost_reply_was_carried_out_and_a_closed_connection_was_not() {
    let local = Local::start();
    inject(&local, Operation::Set, FaultKind::LoseReply);
    inject(&local, Operation::Set, FaultKind::CloseBefore);
    assert!(set(&local, "lost").is_err());
    assert!(set(&local, "closed").is_err());
    local.call("GET", "/secrets/lost").expect(200);
    local.call("GET", "/secrets/closed").expect(404);
    set(&local, "closed").expect("an answer").expect(200);
}

#[test]
fn a_status_is_answered_with_its_headers_and_body() {
    let local = Local::start();
    let headers = vec![("retry-after".to_owned(), "7".to_owned())];
    let kind = FaultKind::Status { status: 429, headers, body: "busy".into() };
    inject(&local, Operation::Set, kind);
    local.call("GET", "/secrets").expect(200);
    let answer = set(&local, "n").expect("an answer").expect(429);
    assert_eq!((answer.header("retry-after"), answer.text.as_str()), (Some("7"), "busy"));
    local.call("GET", "/secrets/n").expect(404);
    inject(&local, Operation::Get, FaultKind::html(404));
    assert_eq!(local.call("GET", "/secrets/n").expect(404).header("content-type"), Some("text/html"));
    inject(&local, Operation::Get, FaultKind::redirect("https://elsewhere.invalid/"));
    let moved = local.call("GET", "/secrets/n").expect(307);
    assert_eq!(moved.header("location"), Some("https://elsewhere.invalid/"));
    inject(&local, Operation::Get, FaultKind::Challenge("Bearer claims=\"x\"".into()));
    assert_eq!(local.call("GET", "/secrets/n").expect(401).header("www-authenticate"), Some("Bearer claims=\"x\""));
}

#[test]
fn a_body_breaks_off_and_a_link_is_bent() {
    let local = Local::start();
    set(&local, "n").expect("an answer").expect(200);
    inject(&local, Operation::Get, FaultKind::Truncate);
    assert!(local.send("GET", "/secrets/n", None).is_err());
    inject(&local, Operation::List, FaultKind::ForeignNextLink("https://elsewhere.invalid".into()));
    let link = local.call("GET", "/secrets").expect(200).json()["nextLink"].as_str().map(str::to_owned);
    assert!(link.expect("a link").starts_with("https://elsewhere.invalid/"));
}

#[test]
fn a_stalled_request_ends_with_the_faults_or_with_the_server() {
    let local = Local::start();
    inject(&local, Operation::Set, FaultKind::Stall);
    std::thread::scope(|scope| {
        let stalled = scope.spawn(|| set(&local, "n"));
        while local.server.requests_of("set") == 0 {
            std::thread::yield_now();
        }
        local.call("GET", "/secrets/n").expect(404);
        assert!(!stalled.is_finished());
        local.server.clear_faults();
        assert!(stalled.join().expect("no panic").is_err());
    });
}
