//! Bodies that are no JSON, too deep, too large, or not what was asked for; at every place that reads one.

use std::process::Command;
use std::time::Duration;

use super::client_support::{Act, reply};
use super::server::{At, page, secret};
use super::{Row, lies, says, sends};

const BROKEN: Result<&str, i32> = Err(libc::EIO);

pub fn rows() -> Vec<Row> {
    let places = [At::Listing, At::Value, At::Deleted, At::Backup, At::Save];
    let mut rows = Vec::new();
    // Every body somewhere, every place hears several.
    for (number, (what, body)) in nonsense().into_iter().enumerate() {
        for place in [places[number % 5], places[(number + 1) % 5]] {
            let body = body.clone();
            rows.push(sends(place, what, BROKEN, [head(body.len()).into_bytes(), body].concat()));
        }
    }
    rows.extend(large());
    rows
}

fn head(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
}

fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let cut = secret("x");
    vec![
        ("nothing", text("")),
        ("null", text("null")),
        ("an array", text("[]")),
        ("an empty object", text("{}")),
        ("a page of HTML", text("<!doctype html><title>Sign in</title>")),
        ("half of it", cut.as_bytes()[..cut.len() / 2].to_vec()),
        ("more behind it", text(&(page("", "") + "x"))),
        ("a mark before it", text(&format!("\u{feff}{}", page("", "")))),
        ("UTF-16", secret("x").encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("bytes that are no text", b"{\"value\":\"\xff\xfe\",\"id\":\"https://v/secrets/db\"}".to_vec()),
        ("half a surrogate", text(r#"{"value":"\ud800"}"#)),
        ("the same member twice", text(r#"{"value":"a","value":"b","id":"https://v/secrets/db"}"#)),
        ("100,000 brackets", text(&("[".repeat(100_000) + &"]".repeat(100_000)))),
        ("100,000 brackets that do not close", text(&r#"{"value":"#.repeat(20_000))),
        ("NaN", text(r#"{"value":NaN}"#)),
        ("a comment", text(r#"/* */{"value":"x"}"#)),
        ("an error with 200", text(r#"{"error":{"code":"SecretNotFound","message":"no"}}"#)),
    ]
}

fn large() -> Vec<Row> {
    let endless = |head: &str, again: &str| {
        let (head, again) = (head.as_bytes().to_vec(), again.repeat(65_536 / again.len()).into_bytes());
        move |_: &_, _| Act::Endless(head.clone(), again.clone(), Duration::ZERO)
    };
    let until_closed = "HTTP/1.1 200 OK\r\n\r\n";
    vec![
        lies(At::Value, "100 MB of blanks", BROKEN, |_, _| Act::Flood(100 * 1024 * 1024)),
        lies(At::Value, "a text without end", BROKEN, endless(&(until_closed.to_owned() + r#"{"value":""#), "x")),
        lies(At::Listing, "brackets without end", BROKEN, endless(&(until_closed.to_owned() + r#"{"value":["#), "[")),
        lies(At::Backup, "a backup without end", BROKEN, endless(&(until_closed.to_owned() + r#"{"value":""#), "eHh4"))
            .or_late(),
        lies(At::Backup, "the largest backup", Ok("x"), |_, _| {
            reply(200, format!(r#"{{"value":"eA","x":"{}"}}"#, "x".repeat(20 * 1024 * 1024)))
        })
        .or_late(),
        lies(At::Door, "100 MB for a challenge", BROKEN, |_, _| Act::Flood(100 * 1024 * 1024)),
        sends(At::Value, "a bomb of gzip", BROKEN, gzip(100 * 1024 * 1024)),
        sends(At::Listing, "a bomb of gzip", BROKEN, gzip(100 * 1024 * 1024)),
        says(At::Value, "a number of 200,000 digits", BROKEN, secret("").replace(r#""""#, &"9".repeat(200_000))),
    ]
}

/// A whole answer whose body packs so many zeros; by the program, since nothing here may know how to unpack.
fn gzip(bytes: usize) -> Vec<u8> {
    let packed = Command::new("sh").args(["-c", &format!("head -c {bytes} /dev/zero | gzip")]).output().unwrap();
    assert!(packed.status.success() && packed.stdout.len() > 90_000, "{packed:?}");
    let body = packed.stdout;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat()
}
