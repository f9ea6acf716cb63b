//! Listings: names that are paths, names of others, pages that do not end, links that lead elsewhere.

use super::client_support::{Act, Seen, VERSION, reply};
use super::server::{At, here, item, page, place_in_listing};
use super::{Deed, Row, lies, says};

const BROKEN: Result<&str, i32> = Err(libc::EIO);
const FOREIGN: Result<&str, i32> = Err(libc::EPROTO);

pub fn rows() -> Vec<Row> {
    [names(), identifiers(), aliases(), links(), endless(), crowds()].into_iter().flatten().collect()
}

/// Beside `db` an item of this name, as JSON writes it.
fn names() -> Vec<Row> {
    let long = |length: usize| "x".repeat(length);
    let bad = [
        "..",
        ".",
        "",
        "/",
        "a/b",
        "a%2Fb",
        "../../../etc/passwd",
        "..%2f..%2fetc",
        "%2e%2e",
        r"..\\..\\etc",
        r"\u0000",
        r"a\u0000b",
        r"a\nb",
        r"a\tb",
        r"\u001b[2J",
        " db",
        "db ",
        "a b",
        "value.txt",
        ".meta.json",
        "db;rm",
        "d_b",
        "$(id)",
        "ü",
        r"\u202edb",
        r"\ud83d\ude00",
        &long(128),
        &long(10_000),
    ];
    let row = |name: &str| {
        let what = format!("a name {:.40}", name);
        says(At::Listing, what, Ok("db"), page(&[item(name), item("db")].join(","), ""))
    };
    let mut rows: Vec<_> = bad.into_iter().map(row).collect();
    let deleted = |name: &str| {
        let what = format!("a deleted name {name}");
        says(At::Deleted, what, Ok("gone"), page(&[item(name), item("gone")].join(","), ""))
    };
    rows.extend(["..", "a/b", r"a\nb"].map(deleted));
    let odd = ["value", "versions", "current", "files", "secrets", "-", "--help", "con", "0"];
    let all = odd.map(item).join(",");
    rows.push(says(
        At::Listing,
        "names of our own",
        Ok("- --help 0 con current db files secrets value versions"),
        page(&[item("db"), all].join(","), ""),
    ));
    let twice = ["db", "DB", "Db", "db"].map(item).join(",");
    rows.push(says(At::Listing, "names that differ by case", Ok("db"), page(&twice, "")));
    rows
}

fn identifiers() -> Vec<Row> {
    let listed = |id: &str| page(&format!(r#"{{"id":{id}}},{}"#, item("db")), "");
    let bad = [
        "null",
        "7",
        "[]",
        r#""""#,
        r#""x""#,
        r#""/secrets/x""#,
        r#""https://""#,
        r#""https://v""#,
        r#""https://v/keys/x""#,
        r#""https://v/secrets/../../x""#,
        r#""file:///secrets/x""#,
        r#""mailto:secrets/x""#,
        r#""https://v/x/secrets/x""#,
        r#""https://v/secrets/x/..""#,
        r#""https://v/secrets/x/not-a-version""#,
        r#""https://v/secrets//x""#,
    ];
    // A number or an array where a text stands makes the page none.
    let wants = |id: &str| if ["7", "[]"].contains(&id) { BROKEN } else { Ok("db") };
    let mut rows: Vec<_> =
        bad.into_iter().map(|id| says(At::Listing, format!("an identifier {id}"), wants(id), listed(id))).collect();
    // Only text, wherever it points: the secret is asked of this vault.
    rows.push(lies(At::Listing, "identifiers of other vaults", Ok("db x y"), |_, elsewhere| {
        let of = |host: &str, name: &str| format!(r#"{{"id":"https://{host}/secrets/{name}"}}"#);
        let items = [of(&format!("127.0.0.1:{elsewhere}"), "x"), of("other.vault.azure.net", "y"), item("db")];
        reply(200, page(&items.join(","), ""))
    }));
    let of_another =
        format!(r#"{{"id":"https://v/secrets/other/{VERSION}"}},{{"id":"https://v/secrets/db/{VERSION}"}}"#);
    let wants = format!(".{VERSION}.meta.json {VERSION} current");
    rows.push(says(At::Versions, "versions of another secret", Ok(wants.leak()), page(&of_another, "")));
    rows.push(says(At::Versions, "no versions of a secret that is there", Ok(""), page("", "")));
    rows
}

/// The tag that gives a secret another name in `files/`.
fn aliases() -> Vec<Row> {
    let long = "x".repeat(256);
    let tagged = |alias: &str| item("x").replace("}}", &format!(r#"}},"tags":{{"akvfs-file":"{alias}"}}}}"#));
    let bad = ["..", ".", "", "a/b", "/etc/passwd", "../secrets", r"a\nb", r"a\u0000b", r"\u001b[2J", "db", "x", &long];
    let row = |alias: &str| {
        let body = page(&[item("db"), tagged(alias)].join(","), "");
        says(At::Listing, format!("an alias {alias:.40}"), Ok("db x"), body).heard_by(Deed::List("files"))
    };
    bad.into_iter().map(row).collect()
}

fn links() -> Vec<Row> {
    let to = |what: &str, wants, link: fn(&Seen, u16) -> String| {
        lies(At::Listing, format!("a link to {what}"), wants, move |seen, elsewhere| {
            reply(200, page(&item("db"), &link(seen, elsewhere)))
        })
    };
    vec![
        to("another port", FOREIGN, |_, port| format!("http://127.0.0.1:{port}/secrets?$skiptoken=x")),
        to("another name", FOREIGN, |_, port| format!("http://localhost:{port}/secrets?$skiptoken=x")),
        to("https elsewhere", FOREIGN, |_, port| format!("https://127.0.0.1:{port}/secrets")),
        to("us as somebody", FOREIGN, |seen, _| here(seen, "secrets?$skiptoken=x").replace("127.", "user@127.")),
        to("elsewhere with us as its user", FOREIGN, |seen, port| {
            let us = seen.header("host").unwrap_or_default().to_owned();
            format!("http://{us}@127.0.0.1:{port}/secrets")
        }),
        to("elsewhere behind a backslash", FOREIGN, |_, port| format!(r"http:\\127.0.0.1:{port}\secrets")),
        to("another listing", FOREIGN, |seen, _| here(seen, "deletedsecrets?$skiptoken=x")),
        to("a path above", FOREIGN, |seen, _| here(seen, "secrets/../keys?$skiptoken=x")),
        to("a file", FOREIGN, |_, _| "file:///etc/passwd".to_owned()),
        to("nowhere", Err(libc::EIO), |_, port| format!("//127.0.0.1:{port}/secrets")),
        to("a relative place", Err(libc::EIO), |_, _| "../secrets?$skiptoken=x".to_owned()),
        to("itself", Err(libc::EIO), |seen, _| here(seen, "secrets?$skiptoken=x")),
        to("a place of 100,000 characters", Err(libc::EIO), |seen, _| {
            here(seen, &format!("secrets?$skiptoken={}", "x".repeat(100_000)))
        }),
        // What comes behind its place is there for the next reader.
        lies(At::Listing, "names in no order", Ok("a b z"), |seen, _| match place_in_listing(seen) {
            "" => reply(200, page(&["b", "z", "a"].map(item).join(","), &here(seen, "secrets?$skiptoken=x"))),
            _ => reply(200, page(&["db", "c", "a"].map(item).join(","), "")),
        }),
        to("a circle", Err(libc::EIO), |seen, _| {
            let next = match place_in_listing(seen) {
                "a" => "b",
                "b" => "c",
                _ => "a",
            };
            here(seen, &format!("secrets?$skiptoken={next}"))
        }),
    ]
}

/// The page behind the last: `what` on each.
fn on_and_on(path: &str, seen: &Seen, what: impl Fn(usize) -> String) -> Act {
    let at: usize = place_in_listing(seen).parse().unwrap_or_default();
    reply(200, page(&what(at), &here(seen, &format!("{path}?$skiptoken={}", at + 1))))
}

fn thousand(at: usize) -> String {
    (0..1_000).map(|number| item(&format!("s{at:06}-{number}"))).collect::<Vec<_>>().join(",")
}

fn endless() -> Vec<Row> {
    let fat = |at: usize| {
        let tags: Vec<_> = (0..15).map(|tag| format!(r#""tag-{tag}":"{}""#, "x".repeat(8_000))).collect();
        let item = |number: usize| {
            item(&format!("s-{at}-{number}")).replace("}}", &format!(r#"}},"tags":{{{}}}}}"#, tags.join(",")))
        };
        (0..15).map(item).collect::<Vec<_>>().join(",")
    };
    vec![
        lies(At::Listing, "pages without end, empty", BROKEN, |seen, _| on_and_on("secrets", seen, |_| String::new()))
            .or_late(),
        lies(At::Listing, "pages without end, of the same", BROKEN, |seen, _| {
            on_and_on("secrets", seen, |_| item("db"))
        })
        .or_late(),
        lies(At::Listing, "pages without end, of a thousand", BROKEN, |seen, _| on_and_on("secrets", seen, thousand)),
        lies(At::Listing, "pages without end, fat", BROKEN, move |seen, _| on_and_on("secrets", seen, fat)),
        lies(At::Deleted, "pages without end, of a thousand", BROKEN, |seen, _| {
            on_and_on("deletedsecrets", seen, thousand)
        }),
        lies(At::Versions, "pages without end, fat", BROKEN, |seen, _| {
            on_and_on("secrets/db/versions", seen, |at| {
                let item = |number: usize| {
                    let kind = "x".repeat(100_000);
                    format!(r#"{{"id":"https://v/secrets/db/{at:016x}{number:016x}","contentType":"{kind}"}}"#)
                };
                (0..15).map(item).collect::<Vec<_>>().join(",")
            })
        })
        .or_late(),
    ]
}

/// More on one page than any page has.
fn crowds() -> Vec<Row> {
    let many = |item: &str, count: usize| format!("{item},").repeat(count - 1) + item;
    vec![
        lies(At::Listing, "a million items on a page", BROKEN, move |_, _| {
            reply(200, page(&many("{}", 1_000_000), ""))
        }),
        lies(At::Listing, "as many items as fit a page", BROKEN, move |_, _| {
            reply(200, page(&many("{}", 690_000), ""))
        }),
        lies(At::Listing, "as many nulls as fit a page", BROKEN, move |_, _| {
            reply(200, page(&many("null", 400_000), ""))
        }),
        lies(At::Deleted, "as many items as fit a page", BROKEN, move |_, _| {
            reply(200, page(&many("{}", 690_000), ""))
        }),
        lies(At::Listing, "a hundred thousand tags", BROKEN, |_, _| {
            let tags: Vec<_> = (0..100_000).map(|tag| format!(r#""{tag:x}":"""#)).collect();
            reply(200, page(&item("db").replace("}}", &format!(r#"}},"tags":{{{}}}}}"#, tags.join(","))), ""))
        }),
        lies(At::Listing, "a thousand items", Ok("db"), move |_, _| reply(200, page(&many(&item("db"), 1_000), ""))),
    ]
}
