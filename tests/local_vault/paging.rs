//! Pages: order, size, links.

use serde_json::Value;

use crate::support::{Answer, Local, read};

fn ids(page: &Value) -> Vec<String> {
    let items = page["value"].as_array().expect("items").iter();
    items.map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

/// Follows a link as it was given.
fn follow(local: &Local, link: &str) -> Answer {
    read(local.http.get(link).bearer_auth("any")).expect("an answer").expect(200)
}

fn walk(local: &Local, path: &str) -> Vec<Vec<String>> {
    let mut page = local.call("GET", path).expect(200).json();
    let mut pages = vec![ids(&page)];
    while let Some(link) = page["nextLink"].as_str() {
        page = follow(local, link).json();
        pages.push(ids(&page));
    }
    assert_eq!(page["nextLink"], Value::Null);
    pages
}

fn sizes(pages: &[Vec<String>]) -> Vec<usize> {
    pages.iter().map(Vec::len).collect()
}

#[test]
fn sixty_secrets_are_three_pages_in_order_of_upper_cased_names() {
    let local = Local::start();
    let mut names: Vec<String> = (0..60).map(|n| format!("{}-{n:02}", ["b", "A", "c0", "C"][n % 4])).collect();
    names.iter().for_each(|name| drop(local.set(name, "v")));
    names.sort_by_key(|name| name.to_uppercase());
    let pages = walk(&local, "/secrets");
    assert_eq!(sizes(&pages), [25, 25, 10]);
    let url = local.server.url();
    let expected: Vec<String> = names.iter().map(|name| format!("{url}/secrets/{name}")).collect();
    assert_eq!(pages.concat(), expected);
    assert_eq!(sizes(&walk(&local, "/secrets?maxresults=20")), [20, 20, 20], "a full page can be the last");
}

#[test]
fn versions_are_paged_by_version_string() {
    let local = Local::start();
    (0..30).for_each(|_| drop(local.set("n", "v")));
    let pages = walk(&local, "/secrets/n/versions?maxresults=7");
    assert_eq!(sizes(&pages), [7, 7, 7, 7, 2]);
    let mut sorted = pages.concat();
    sorted.sort();
    sorted.dedup();
    assert_eq!(pages.concat(), sorted);
}

#[test]
fn deleted_secrets_are_paged_too() {
    let local = Local::start();
    for n in 0..26 {
        local.set(&format!("n{n}"), "v");
        local.delete(&format!("n{n}"));
    }
    assert_eq!(sizes(&walk(&local, "/deletedsecrets")), [25, 1]);
    assert_eq!(sizes(&walk(&local, "/secrets")), [0]);
}

#[test]
fn a_link_is_absolute_and_keeps_what_was_asked() {
    let local = Local::start();
    (0..3).for_each(|n| drop(local.set(&format!("n{n}"), "v")));
    let answer = local.call("GET", "/secrets/?maxresults=2&api-version=7.3");
    let link = answer.json()["nextLink"].as_str().expect("a link").to_owned();
    let start = format!("{}/secrets?api-version=7.3&$skiptoken=", local.server.url());
    assert!(link.starts_with(&start) && link.ends_with("&maxresults=2"), "{link}");
    let escaped = link.replace("$skiptoken", "%24skiptoken").replace("7.3", "2026-04-01");
    assert_eq!(ids(&follow(&local, &escaped).json()).len(), 1);
    let (path, query) = link.split_once('?').expect("a query");
    let mut parts: Vec<&str> = query.split('&').collect();
    parts.reverse();
    assert_eq!(ids(&follow(&local, &format!("{path}?{}", parts.join("&"))).json()).len(), 1);
}

#[test]
fn a_listing_goes_on_past_what_was_removed_meanwhile() {
    let local = Local::start();
    ["a", "b", "c"].iter().for_each(|name| drop(local.set(name, "v")));
    let page = local.call("GET", "/secrets?maxresults=2").json();
    local.delete("b");
    let next = follow(&local, page["nextLink"].as_str().expect("a link")).json();
    assert_eq!(ids(&next), [format!("{}/secrets/c", local.server.url())]);
}
