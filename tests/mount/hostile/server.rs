//! A vault with one honest answer to everything, and one place where it lies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::client_support::{Act, OTHER, Seen, Server, TOKEN, VERSION, challenge, refusal, reply};

/// Where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// To who brings no token.
    Door,
    /// The secrets.
    Listing,
    /// `db`, whatever version.
    Value,
    /// The versions of `db`.
    Versions,
    /// The deleted secrets.
    Deleted,
    /// `gone`, which is deleted.
    Grave,
    /// A new version of `db`.
    Save,
    /// New properties of `db`.
    Update,
    /// Deleting `db`.
    Remove,
    /// Recovering `gone`.
    Recover,
    /// A backup of `db`.
    Backup,
    /// Restoring one.
    Restore,
}

/// What it says there: of the request, and of the port of a listener to whom nobody must come.
pub type Lie = Arc<dyn Fn(&Seen, u16) -> Act + Send + Sync>;

/// The vault, and the other listener.
pub struct Liar {
    pub server: Server,
    pub elsewhere: Server,
    honest: Arc<AtomicBool>,
}

impl Liar {
    pub fn start(at: At, lie: Lie) -> Self {
        let elsewhere = Server::play(vec![]);
        let honest: Arc<AtomicBool> = Arc::default();
        let (port, is_honest) = (elsewhere.port, honest.clone());
        let server = Server::decide(move |seen| match place(seen) {
            Some(place) if place == at && !is_honest.load(Ordering::SeqCst) => lie(seen, port),
            place => truth(place),
        });
        Self { server, elsewhere, honest }
    }

    /// From now on it tells the truth.
    pub fn mend(&self) {
        self.honest.store(true, Ordering::SeqCst);
    }
}

/// What a request is about.
fn place(seen: &Seen) -> Option<At> {
    if seen.header("authorization").is_none_or(|sent| sent != format!("Bearer {TOKEN}")) {
        return Some(At::Door);
    }
    let (method, target) = seen.line.split_once(' ')?;
    let path = target.split(['?', ' ']).next()?;
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    Some(match (method, segments.as_slice()) {
        ("GET", ["secrets"]) => At::Listing,
        ("GET", ["secrets", "db", "versions"]) => At::Versions,
        ("GET", ["secrets", "db"] | ["secrets", "db", _]) => At::Value,
        ("GET", ["deletedsecrets"]) => At::Deleted,
        ("GET", ["deletedsecrets", "gone"]) => At::Grave,
        ("PUT", ["secrets", "db"]) => At::Save,
        ("PATCH", ["secrets", "db", ..]) => At::Update,
        ("DELETE", ["secrets", "db"]) => At::Remove,
        ("POST", ["deletedsecrets", "gone", "recover"]) => At::Recover,
        ("POST", ["secrets", "db", "backup"]) => At::Backup,
        ("POST", ["secrets", "restore"]) => At::Restore,
        _ => return None,
    })
}

fn truth(place: Option<At>) -> Act {
    let name = if place == Some(At::Remove) { "db" } else { "gone" };
    let deleted =
        format!(r#"{{"recoveryId":"https://v/deletedsecrets/{name}","deletedDate":1783000000,{}}}"#, id(name, OTHER));
    match place {
        Some(At::Door) => challenge(),
        Some(At::Listing) => reply(200, page(&item("db"), "")),
        Some(At::Value) => reply(200, secret_of(OTHER, "honest")),
        Some(At::Versions) => reply(200, page(&format!("{{{}}}", id("db", OTHER)), "")),
        Some(At::Deleted) => {
            reply(200, page(&format!(r#"{{"recoveryId":"https://v/deletedsecrets/gone",{}}}"#, bare("gone")), ""))
        }
        Some(At::Grave | At::Remove) => reply(200, deleted),
        Some(At::Save | At::Update) => reply(200, secret_of(OTHER, "new")),
        Some(At::Recover) => reply(200, format!("{{{}}}", id("gone", OTHER))),
        Some(At::Backup) => reply(200, r#"{"value":"YmFja3Vw"}"#),
        Some(At::Restore) => reply(200, format!("{{{}}}", id("back", OTHER))),
        None => refusal(404, "SecretNotFound", ""),
    }
}

/// Long before [`super::client_support::DATE`]: nobody has just changed anything.
const SINCE: i64 = 1_783_000_000;

fn dates(changed: i64) -> String {
    format!(r#""attributes":{{"enabled":true,"created":{changed},"updated":{changed}}}"#)
}

fn bare(name: &str) -> String {
    format!(r#""id":"https://v/secrets/{name}",{}"#, dates(SINCE))
}

fn id(name: &str, version: &str) -> String {
    // Of another version other dates, or nobody would see that it changed.
    format!(r#""id":"https://v/secrets/{name}/{version}",{}"#, dates(SINCE - i64::from(version == VERSION)))
}

/// An item of a listing, whose name is this text as JSON writes it.
pub fn item(name: &str) -> String {
    format!("{{{}}}", bare(name))
}

/// A page of these items; a next link unless it is empty.
pub fn page(items: &str, next: &str) -> String {
    let next = if next.is_empty() { "null".to_owned() } else { serde_json::Value::from(next).to_string() };
    format!(r#"{{"value":[{items}],"nextLink":{next}}}"#)
}

/// `db` with this value, in a version that it does not have: what is known of a version is kept.
pub fn secret(value: &str) -> String {
    secret_of(VERSION, value)
}

fn secret_of(version: &str, value: &str) -> String {
    format!(r#"{{"value":"{value}",{}}}"#, id("db", version))
}

/// The listing's own address, with this behind it.
pub fn here(seen: &Seen, path_and_query: &str) -> String {
    format!("http://{}/{path_and_query}", seen.header("host").unwrap_or_default())
}

/// What stands behind `$skiptoken=` in the request's query; empty on a first page.
pub fn place_in_listing(seen: &Seen) -> &str {
    let behind = seen.line.split_once("$skiptoken=").map_or("", |(_, behind)| behind);
    behind.split([' ', '&']).next().unwrap_or_default()
}
