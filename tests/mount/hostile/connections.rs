//! HTTP: lengths that lie, headers without end, bytes that drip, redirects, challenges, statuses that nobody has.

use std::time::Duration;

use super::client_support::{Act, TOKEN, challenge_for, refusal, reply, reply_with};
use super::server::{At, secret};
use super::{Row, lies, sends};

const BROKEN: Result<&str, i32> = Err(libc::EIO);
const FOREIGN: Result<&str, i32> = Err(libc::EPROTO);
const LATE: Result<&str, i32> = Err(libc::ETIMEDOUT);
const OK: &str = "HTTP/1.1 200 OK\r\n";

pub fn rows() -> Vec<Row> {
    [lengths(), floods(), drips(), redirects(), doors(), statuses()].into_iter().flatten().collect()
}

fn lengths() -> Vec<Row> {
    let whole = secret("x");
    let length = whole.len();
    let row = |what: &str, headers: String| sends(At::Value, what, BROKEN, format!("{OK}{headers}\r\n\r\n{whole}"));
    vec![
        row("a length one too long", format!("Content-Length: {}", length + 1)),
        row("a length one too short", format!("Content-Length: {}", length - 1)),
        row("a length below nothing", "Content-Length: -1".to_owned()),
        row("a length beyond numbers", "Content-Length: 99999999999999999999999".to_owned()),
        row("a length of 10 GB", "Content-Length: 10737418240".to_owned()),
        row("two lengths", format!("Content-Length: 1\r\nContent-Length: {length}")),
        row("chunks larger than numbers", "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff".to_owned()),
        row("a chunk that does not come", format!("Transfer-Encoding: chunked\r\n\r\n{:x}", length + 9)),
        row("packed in a way that was not asked for", format!("Transfer-Encoding: gzip, chunked\r\n\r\n{length:x}")),
    ]
}

/// Something without end that is no body.
fn floods() -> Vec<Row> {
    let row = |at, what: &str, head: &str, again: &str| {
        let (head, again) = (head.as_bytes().to_vec(), again.repeat(1 + 16_384 / again.len()).into_bytes());
        lies(at, what, BROKEN, move |_, _| Act::Endless(head.clone(), again.clone(), Duration::ZERO))
    };
    vec![
        row(At::Value, "headers without end", OK, "x-more: and more\r\n"),
        row(At::Listing, "a header without end", &format!("{OK}x-long: "), "x"),
        row(At::Value, "a status without end", "HTTP/1.1 200 ", "O"),
        // Each is an answer, none is the last.
        lies(At::Value, "continue, and again", LATE, |_, _| {
            Act::Endless(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".repeat(600), Duration::from_millis(5))
        }),
        row(At::Value, "no HTTP at all", "", "\0"),
        row(
            At::Value,
            "trailers without end",
            &format!("{OK}Transfer-Encoding: chunked\r\n\r\n0\r\n"),
            "x-more: and more\r\n",
        ),
        row(At::Value, "words beside a chunk without end", &format!("{OK}Transfer-Encoding: chunked\r\n\r\n5;"), "x"),
        row(At::Door, "challenges without end", "HTTP/1.1 401 No\r\n", "WWW-Authenticate: Bearer x=\"y\"\r\n"),
        sends(At::Value, "another protocol", BROKEN, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        sends(At::Value, "TLS", BROKEN, b"\x16\x03\x01\x00\x05hello".to_vec()),
        sends(At::Value, "a new protocol", BROKEN, "HTTP/1.1 101 Go on\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    ]
}

fn drips() -> Vec<Row> {
    let slowly = Duration::from_millis(50);
    vec![
        lies(At::Value, "a body that drips", LATE, |_, _| Act::Drip),
        lies(At::Listing, "headers that drip", LATE, move |_, _| Act::Endless(OK.into(), b"x: y\r\n".to_vec(), slowly)),
        lies(At::Value, "silence", LATE, |_, _| Act::Silence),
        lies(At::Door, "silence", LATE, |_, _| Act::Silence),
        lies(At::Save, "silence", LATE, |_, _| Act::Silence),
        lies(At::Backup, "a body that drips", LATE, |_, _| Act::Drip),
        lies(At::Value, "nothing but an end", BROKEN, |_, _| Act::HangUp),
    ]
}

fn redirects() -> Vec<Row> {
    let row = |at, status: u16| {
        lies(at, format!("a redirect with {status}"), FOREIGN, move |_, elsewhere| {
            reply_with(status, "Location", &format!("http://127.0.0.1:{elsewhere}/secrets/db?{TOKEN}"))
        })
    };
    let mut rows: Vec<_> = [301, 302, 303, 307, 308].map(|status| row(At::Value, status)).into();
    rows.extend([
        row(At::Door, 302),
        row(At::Listing, 307),
        row(At::Save, 307),
        row(At::Remove, 308),
        row(At::Backup, 303),
    ]);
    let headers = ["Link", "Alt-Svc", "Refresh", "Content-Location", "Azure-AsyncOperation", "Set-Cookie"];
    rows.push(lies(At::Value, "places in other headers", Ok("x"), move |_, elsewhere| {
        let place = format!("http://127.0.0.1:{elsewhere}/");
        Act::Reply(200, headers.map(|name| (name.to_owned(), place.clone())).into(), secret("x"))
    }));
    rows
}

fn doors() -> Vec<Row> {
    let asks = |what: &str, wants, header: fn(u16) -> String| {
        lies(At::Door, what, wants, move |_, elsewhere| reply_with(401, "WWW-Authenticate", &header(elsewhere)))
    };
    vec![
        asks("an authority without TLS", FOREIGN, |port| {
            format!(r#"Bearer authorization="http://127.0.0.1:{port}/tenant", resource="https://vault.azure.net""#)
        }),
        asks("an authority that is none", FOREIGN, |_| {
            r#"Bearer authorization="file:///etc/passwd", resource="https://vault.azure.net""#.to_owned()
        }),
        asks("a word and a password", BROKEN, |_| r#"Basic realm="x""#.to_owned()),
        asks("nothing", BROKEN, |_| String::new()),
        asks("quotes that do not close", BROKEN, |_| format!("Bearer {}\"", "a=\"b\\".repeat(500))),
        lies(At::Door, "everybody in", Err(libc::EIO), |_, _| reply(200, "<html>")),
        lies(At::Door, "a proxy's challenge", Err(libc::EIO), |_, _| reply_with(407, "Proxy-Authenticate", "Basic")),
        lies(At::Listing, "another challenge to every token", Err(libc::EACCES), |_, _| {
            challenge_for("https://vault.azure.net")
        }),
        lies(At::Listing, "a claim to every token", Err(libc::EACCES), |_, _| {
            reply_with(401, "WWW-Authenticate", r#"Bearer error="insufficient_claims", claims="eyJ4Ijp7fX0=""#)
        }),
    ]
}

/// Never "not found" out of doubt.
fn statuses() -> Vec<Row> {
    let row = |at, status: u16, body: &'static str| {
        lies(at, format!("{status} {body:.20}"), BROKEN, move |_, _| reply(status, body))
    };
    let mut rows: Vec<_> =
        [204, 206, 404, 403, 410, 418, 451, 500, 599].map(|status| row(At::Value, status, "<html>")).into();
    rows.extend([
        row(At::Listing, 404, "<html>"),
        row(At::Versions, 404, "{}"),
        row(At::Value, 404, r#"{"error":{}}"#),
        row(At::Value, 404, r#"{"error":{"code":"ResourceNotFound"}}"#),
        row(At::Value, 404, r#"{"error":"SecretNotFound"}"#),
        row(At::Value, 999, r#"{"error":{"code":"SecretNotFound"}}"#),
        row(At::Deleted, 404, ""),
        row(At::Remove, 404, ""),
        sends(At::Value, "1000 for a status", BROKEN, "HTTP/1.1 1000 X\r\n\r\n"),
        sends(At::Value, "no status", BROKEN, "HTTP/1.1 \r\n\r\n"),
        lies(At::Value, "a message that paints the terminal", Err(libc::EACCES), |_, _| {
            let message = r"\u001b[2J\r\n2026-01-01 root: all is well\u0000".repeat(3_000);
            reply(403, format!(r#"{{"error":{{"code":"Forbidden","message":"{message}"}}}}"#))
        }),
        lies(At::Value, "wait for a thousand years", Err(libc::EBUSY), |_, _| {
            reply_with(429, "Retry-After", "31556952000")
        })
        .keeping_away(),
        lies(At::Listing, "wait until 9999", Err(libc::EBUSY), |_, _| {
            reply_with(429, "Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT")
        })
        .keeping_away(),
        lies(At::Save, "always under way", Err(libc::EBUSY), |_, _| refusal(409, "Conflict", "ObjectIsBeingDeleted")),
    ]);
    rows
}
