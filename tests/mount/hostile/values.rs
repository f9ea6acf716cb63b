//! One secret: answers about another, dates and sizes that nobody has, tags and types that mislead.

use super::client_support::{OTHER, VERSION, reply};
use super::server::{At, page, secret};
use super::{Deed, Row, lies, says};

const BROKEN: Result<&str, i32> = Err(libc::EIO);

pub fn rows() -> Vec<Row> {
    [identity(), attributes(), contents()].into_iter().flatten().collect()
}

/// A value with this identifier and these members behind it.
fn with(id: &str, members: &str) -> String {
    format!(r#"{{"value":"x","id":"{id}"{members}}}"#)
}

fn ours(members: &str) -> String {
    with(&format!("https://v/secrets/db/{VERSION}"), members)
}

fn identity() -> Vec<Row> {
    let other = format!("https://v/secrets/other/{VERSION}");
    let spelled = format!("https://v/secrets/DB/{VERSION}");
    let elsewhere = format!("https://other.vault.azure.net/secrets/db/{VERSION}");
    vec![
        says(At::Value, "another secret", BROKEN, with(&other, "")),
        says(At::Value, "a secret of a name that is a path", BROKEN, with("https://v/secrets/../../etc/passwd", "")),
        says(At::Value, "no identifier", BROKEN, r#"{"value":"x"}"#),
        says(At::Value, "a version that is a path", BROKEN, with("https://v/secrets/db/..%2f..", "")),
        says(At::Value, "no version", BROKEN, with("https://v/secrets/db", "")),
        says(
            At::Value,
            "a version of 10,000 digits",
            BROKEN,
            with(&format!("https://v/secrets/db/{}", "0".repeat(10_000)), ""),
        ),
        // The vault says by it that there is no `db`, but a `DB`.
        says(At::Value, "another spelling", Err(libc::ENOENT), with(&spelled, "")),
        says(At::Value, "another vault's", Ok("x"), with(&elsewhere, "")),
        says(
            At::Grave,
            "another secret",
            Err(libc::EIO),
            format!(r#"{{"id":"{other}","recoveryId":"https://v/deletedsecrets/other"}}"#),
        ),
        says(At::Value, "another version", BROKEN, ours(""))
            .heard_by(Deed::Read(format!("secrets/db/versions/{OTHER}").leak())),
        says(At::Value, "a version for a link", BROKEN, with("https://v/secrets/db/../../../etc", ""))
            .heard_by(Deed::Link("secrets/db/versions/current")),
    ]
}

fn attributes() -> Vec<Row> {
    let dated =
        |what: &str, dates: &str| says(At::Value, what, Ok("x"), ours(&format!(r#","attributes":{{{dates}}}"#)));
    vec![
        dated("dates before all time", r#""created":-9223372036854775808,"updated":-9223372036854775808"#),
        dated("dates after all time", r#""created":9223372036854775807,"updated":9223372036854775807"#),
        dated("days and dates below nothing", r#""recoverableDays":-1,"nbf":-1,"exp":-1"#),
        says(At::Value, "a date beyond numbers", BROKEN, ours(r#","attributes":{"created":1e999}"#)),
        says(At::Value, "a text for attributes", BROKEN, ours(r#","attributes":"enabled""#)),
        says(At::Value, "tags that are a list", BROKEN, ours(r#","tags":["x"]"#)),
        says(At::Value, "tags that are numbers", BROKEN, ours(r#","tags":{"x":1}"#)),
        says(At::Value, "a type with ends of lines", Ok("x"), ours(r#","contentType":"a\nb\u0000c""#)),
        says(
            At::Value,
            "a type as long as fits",
            Ok("x"),
            ours(&format!(r#","contentType":"{}""#, "x".repeat(250_000))),
        ),
        lies(At::Value, "tags as many as fit", BROKEN, |_, _| {
            let tags: Vec<_> = (0..20_000).map(|tag| format!(r#""{tag:x}":"""#)).collect();
            reply(200, ours(&format!(r#","tags":{{{}}}"#, tags.join(","))))
        }),
    ]
}

fn contents() -> Vec<Row> {
    let escaped = |what: &str, value: &str, wants| says(At::Value, what, wants, secret(value));
    let file = Deed::Read("files/db");
    vec![
        escaped("a value of 200,000 bytes", &"x".repeat(200_000), Ok(Box::leak("x".repeat(200_000).into_boxed_str()))),
        escaped("a NUL in a value", r"a\u0000b", Ok("a\0b")),
        says(At::Value, "a value that is a number", BROKEN, secret("").replace(r#""""#, "7")),
        says(At::Value, "a value that is null", BROKEN, secret("").replace(r#""""#, "null")),
        says(At::Value, "no value", BROKEN, secret("").replace("value", "valuf")),
        says(At::Value, "base64 that is none", Err(libc::EIO), ours(r#","tags":{"file-encoding":"base64"}"#))
            .heard_by(file),
        says(At::Value, "an encoding that nobody has", Ok("x"), ours(r#","tags":{"file-encoding":"../x"}"#))
            .heard_by(file),
        says(At::Value, "PKCS#12 that is none", Ok("x"), ours(r#","contentType":"application/x-pkcs12""#)),
        says(At::Value, "PEM that is none", Err(libc::EIO), ours(r#","contentType":"application/x-pem-file""#))
            .heard_by(Deed::Read("secrets/db/certificate/cert.pem")),
        says(At::Value, "a page for a value", BROKEN, page("", "")),
    ]
}
