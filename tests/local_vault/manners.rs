//! What a vault does that is set up to refuse, to hurry nobody, or to cut its listings.

use std::num::NonZeroU32;
use std::time::Duration;

use akvfs::clock::SystemClock;
use akvfs::local::{Fault, FaultKind, Operation, Rate, ServeOptions, Server};
use serde_json::json;

use crate::support::{Answer, Local};

/// Each request with the permission that it needs.
const REQUESTS: [(&str, &str, Operation); 13] = [
    ("PUT", "/secrets/n", Operation::Set),
    ("PATCH", "/secrets/n/", Operation::Set),
    ("GET", "/secrets/n", Operation::Get),
    ("GET", "/secrets/n/0123456789abcdef0123456789abcdef", Operation::Get),
    ("GET", "/deletedsecrets/n", Operation::Get),
    ("GET", "/secrets", Operation::List),
    ("GET", "/secrets/n/versions", Operation::List),
    ("GET", "/deletedsecrets", Operation::List),
    ("DELETE", "/secrets/n", Operation::Delete),
    ("POST", "/deletedsecrets/n/recover", Operation::Recover),
    ("DELETE", "/deletedsecrets/n", Operation::Purge),
    ("POST", "/secrets/n/backup", Operation::Backup),
    ("POST", "/secrets/restore", Operation::Restore),
];

#[test]
fn what_is_denied_gets_the_recorded_403_and_nothing_else_does() {
    let all = [Operation::Get, Operation::List, Operation::Set, Operation::Delete, Operation::Recover];
    for denied in all.into_iter().chain([Operation::Purge, Operation::Backup, Operation::Restore]) {
        let local = Local::with(ServeOptions { deny: vec![denied], ..Default::default() });
        for (method, path, needed) in REQUESTS {
            let answer = local.call(method, path);
            assert_eq!(answer.status == 403, needed == denied, "{method} {path} without {denied}: {}", answer.text);
            if needed == denied {
                check_denied(&answer, denied);
            }
        }
    }
}

fn check_denied(answer: &Answer, denied: Operation) {
    let (_, code, inner, message) = answer.error();
    assert_eq!((code.as_str(), inner.as_str()), ("Forbidden", "ForbiddenByPolicy"));
    let begin = format!("Operation is not allowed.\r\nOperation: \"{denied}\"\r\nCaller: appid=");
    let end = "\r\nVault: 127;location=local";
    assert!(message.starts_with(&begin) && message.ends_with(end), "{message}");
}

#[test]
fn a_part_of_a_permission_is_not_denied_alone() {
    let options = ServeOptions { deny: vec![Operation::GetVersion], ..Default::default() };
    let error = Server::start(options, SystemClock::shared()).expect_err("no permission").to_string();
    assert_eq!(error, "get-version is no permission of its own; deny get");
}

#[test]
fn whoever_asks_too_often_gets_429_without_a_retry_after() {
    let rate = Rate { requests: NonZeroU32::new(2).expect("not zero"), time: Duration::from_secs(1) };
    let local = Local::with(ServeOptions { throttle: Some(rate), ..Default::default() });
    let challenged = local.http.get(format!("{}/secrets", local.server.url())).send().expect("an answer");
    assert_eq!(challenged.status(), 401, "challenges do not count");
    local.set("n", "v");
    local.call("GET", "/secrets/n").expect(200);
    let answer = local.call("GET", "/secrets/n").expect(429);
    assert_eq!((answer.text.len(), answer.header("retry-after")), (146, None));
    assert_eq!(answer.json()["error"]["code"], "Throttled");
    local.clock.advance(Duration::from_secs(1));
    local.call("GET", "/secrets/n").expect(200);
}

/// The names on each page of the listing that begins at `path`.
fn pages(local: &Local, path: &str) -> Vec<Vec<String>> {
    let (mut pages, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let page = local.call("GET", &path).expect(200).json();
        let ids = page["value"].as_array().expect("items").iter().map(|item| item["id"].as_str().expect("an id"));
        pages.push(ids.map(|id| id.rsplit('/').next().expect("a name").to_owned()).collect());
        next = page["nextLink"].as_str().map(|link| link.replace(local.server.url(), ""));
    }
    pages
}

#[test]
fn empty_pages_come_before_every_page_and_hide_nothing() {
    let local = Local::with(ServeOptions { empty_pages: true, ..Default::default() });
    assert_eq!(pages(&local, "/secrets"), [[""; 0], []]);
    ["a", "b", "c"].iter().for_each(|name| drop(local.set(name, "v")));
    assert_eq!(pages(&local, "/secrets"), [vec![], vec!["a", "b", "c"]]);
    let by_two = pages(&local, "/secrets?maxresults=2&api-version=7.6");
    assert_eq!(by_two, [vec![], vec!["a", "b"], vec![], vec!["c"]]);
    assert_eq!(pages(&local, "/secrets/a/versions").len(), 2);
    ["a", "c"].iter().for_each(|name| drop(local.delete(name)));
    assert_eq!(pages(&local, "/deletedsecrets"), [vec![], vec!["a", "c"]]);
}

#[test]
fn a_page_ends_where_it_is_told_to() {
    let local = Local::start();
    ["a", "b", "c"].iter().for_each(|name| drop(local.set(name, "v")));
    for items in [0, 2, 1] {
        let kind = FaultKind::ShortPage(items);
        local.server.inject(Fault { operation: Some(Operation::List), count: 1, kind });
    }
    assert_eq!(pages(&local, "/secrets"), [vec![], vec!["a", "b"], vec!["c"], vec![]]);
}

#[test]
fn a_delay_can_change_and_holds_for_what_begins_then() {
    let local = Local::start();
    ["a", "b"].iter().for_each(|name| drop(local.set(name, "v")));
    local.server.set_soft_delete_delay(Duration::from_secs(10));
    local.delete("a");
    local.server.set_soft_delete_delay(Duration::ZERO);
    local.delete("b");
    local.call("GET", "/deletedsecrets/a").expect(404);
    local.call("GET", "/deletedsecrets/b").expect(200);
    local.clock.advance(Duration::from_secs(10));
    local.call("GET", "/deletedsecrets/a").expect(200);
}

#[test]
fn without_a_delay_a_calendar_that_is_put_back_hides_nothing() {
    let local = Local::start();
    local.clock.advance(Duration::from_secs(60));
    ["kept", "deleted", "recovered"].iter().for_each(|name| drop(local.set(name, "v")));
    ["deleted", "recovered"].iter().for_each(|name| drop(local.delete(name)));
    local.call("POST", "/deletedsecrets/recovered/recover").expect(200);
    local.clock.go_back(Duration::from_secs(60));
    local.call("GET", "/secrets/kept").expect(200);
    local.call("GET", "/secrets/recovered").expect(200);
    local.call("GET", "/deletedsecrets/deleted").expect(200);
}

#[test]
fn a_certificate_changes_and_removes_what_it_owns() {
    let local = Local::start();
    local.server.add_managed(crate::bodies::pkcs12("owned")).expect("made");
    let name = akvfs::secret::SecretName::parse("owned").expect("legal");
    let tags = Some([("k".to_owned(), "v".to_owned())].into());
    let change = akvfs::secret::SecretAttributes { enabled: Some(false), tags, ..Default::default() };
    local.server.update_managed(&name, change).expect("updated");
    let item = local.call("GET", "/secrets").expect(200).json()["value"][0].clone();
    assert_eq!((&item["attributes"]["enabled"], &item["tags"]), (&json!(false), &json!({"k": "v"})));
    local.server.remove_managed(&name).expect("removed");
    local.call("GET", "/secrets/owned").expect(404);
    local.call("GET", "/deletedsecrets/owned").expect(404);
    assert!(local.server.remove_managed(&name).is_err());
}
