//! Every kind of fault at every call, once and at every try: the promised errno, nothing lost, at most one version a save,
//! nobody kept longer than the limit. One row a kind, one column a call.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use akvfs::clock::{Clock, Moment, SystemClock};
use akvfs::fs::errno::errno_name;
use akvfs::local::ServeOptions;
use akvfs::store::ErrorKind;
use libc::{EACCES, EBUSY, EEXIST, EIO, ENOENT, EPROTO, ETIMEDOUT};

use super::calls::errno;
use super::harness::{Mount, Vault, name, run};
use super::lanes::in_lanes;
use super::proxy::{Break, Fault, Proxy, Strike};

/// Both limits of a mount whose operations end because the time is up.
const SHORT: Duration = Duration::from_secs(1);
/// The same where they end by what the vault says, so that a busy machine is not taken for a slow vault.
const LONG: Duration = Duration::from_secs(4);
/// Half a second by the promise, and what a busy machine takes for a file's several calls.
const SLACK: Duration = Duration::from_millis(500 + 2_000);
const OPTIONS: &str = "ttl=1h,max_stale=0s,allow_purge,purge_after=0s,max_writes=1000/s,lazy_auth";
/// For a program that copies a file.
const PATIENCE: Duration = Duration::from_secs(20);
/// An answer that is no Key Vault's, or bears its signature.
fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}", body.len())
}

const JSON: &str = "content-type: application/json\r\n";

fn refusal(status: u16, inner: &str) -> String {
    let body = format!(r#"{{"error":{{"code":"Code","message":"Injected.","innererror":{{"code":"{inner}"}}}}}}"#);
    answer(status, JSON, &body)
}

fn not_found() -> String {
    answer(404, JSON, r#"{"error":{"code":"SecretNotFound","message":"Injected."}}"#)
}

fn throttled(header: &str) -> String {
    answer(429, &format!("{JSON}{header}\r\n"), r#"{"error":{"code":"Throttled","message":"Injected."}}"#)
}

const PAGE: &str = "<html><body>Not the vault</body></html>";
const CHALLENGE: &str =
    "www-authenticate: Bearer authorization=\"https://login.invalid/t\", resource=\"https://vault.azure.net\"\r\n";
const REDIRECT: &str = "location: https://elsewhere.invalid/\r\n";

/// What a row promises: the errnos of a read and of a change, struck once and struck at every try. 0 is success.
struct Kind {
    name: &'static str,
    strike: Strike,
    read: [&'static [i32]; 2],
    change: [&'static [i32]; 2],
}

fn kind(name: &'static str, strike: Strike, read: [&'static [i32]; 2], change: [&'static [i32]; 2]) -> Kind {
    Kind { name, strike, read, change }
}

impl Kind {
    fn limit(&self) -> Duration {
        let by_time = self.read[1] == [ETIMEDOUT] || self.read[1] == [EBUSY];
        if by_time { SHORT } else { LONG }
    }

    /// What the row says, but where a call is special.
    fn promise(&self, call: Call, always: bool) -> &'static [i32] {
        match (call, &self.strike, self.name) {
            // A restore sent again without its name being known is refused if the first one was carried out.
            (Restore, Strike::After(_) | Strike::Over(_), _) if self.change == [&[0], &[0]] => {
                if always {
                    &[EIO]
                } else {
                    &[EEXIST]
                }
            }
            // What may not be got is told from the listing; a value is asked for a second time.
            (GetDeleted, _, "403 no right") => &[0],
            (GetVersion, _, "403 no right") if !always => &[0, EACCES],
            // The C library takes ENOENT for the end of a directory.
            (ListVersions, _, "404 of the vault") => &[0],
            // Of all secrets there cannot be none.
            (List | ListDeleted, _, "404 of the vault") => &[EIO],
            (Purge, _, "stalled in the body") => &[0],
            _ if call.is_change() => self.change[usize::from(always)],
            _ => self.read[usize::from(always)],
        }
    }
}

/// An answer that another try does not mend.
fn refused(name: &'static str, answer: String, errno: &'static [i32]) -> Kind {
    kind(name, Strike::Instead(answer), [errno; 2], [errno; 2])
}

/// Something that another try mends, and that has changed nothing.
fn passing(name: &'static str, strike: Strike, errno: &'static [i32]) -> Kind {
    kind(name, strike, [&[0], errno], [&[0], errno])
}

/// Something that happens to an answer when a change was carried out: a look at the vault finds that out.
fn afterwards(name: &'static str, strike: Strike, read: [&'static [i32]; 2]) -> Kind {
    kind(name, strike, read, [&[0]; 2])
}

/// The time is up before anything can be found out.
fn silent(name: &'static str, strike: Strike) -> Kind {
    kind(name, strike, [&[ETIMEDOUT]; 2], [&[ETIMEDOUT]; 2])
}

fn kinds() -> Vec<Kind> {
    use Strike::{After, Before, Instead, Over};
    let mends: [&[i32]; 2] = [&[0], &[EIO]];
    let broken: [&[i32]; 2] = [&[EIO]; 2];
    let large = "x".repeat(3 << 20);
    let mut kinds = vec![
        refused("401", answer(401, "www-authenticate: Bearer error=\"invalid_token\"\r\n", ""), &[EACCES]),
        refused("a challenge of somebody else's", answer(401, CHALLENGE, ""), &[EACCES]),
        refused("403 no right", refusal(403, "ForbiddenByRbac"), &[EACCES]),
        refused("404 of the vault", not_found(), &[ENOENT]),
        refused("404 of a proxy", answer(404, "content-type: text/html\r\n", PAGE), &[EIO]),
        refused("a redirect", answer(307, REDIRECT, ""), &[EPROTO]),
        refused("409 deleted", refusal(409, "ObjectIsDeletedButRecoverable"), &[EEXIST]),
        passing("409 being deleted", Instead(refusal(409, "ObjectIsBeingDeleted")), &[EBUSY]),
        passing("409 being recovered", Instead(refusal(409, "ObjectIsBeingRecovered")), &[EBUSY]),
        // The first delay, up to a second, may not fit.
        kind("429", Instead(throttled("x: y")), [&[0, EBUSY], &[EBUSY]], [&[0, EBUSY], &[EBUSY]]),
        refused("429 for a minute", throttled("retry-after: 60"), &[EBUSY]),
        refused("429 until a date", throttled("retry-after: Fri, 31 Dec 9999 23:59:59 GMT"), &[EBUSY]),
        passing("429 for 50 ms", Instead(throttled("retry-after-ms: 50")), &[EBUSY]),
        passing("reset before", Before(Break::Reset), &[EIO]),
        passing("closed before", Before(Break::Close), &[EIO]),
        silent("stalled before", Before(Break::Stall)),
        afterwards("reset after", After(Break::Reset), mends),
        afterwards("closed after", After(Break::Close), mends),
        silent("stalled after", After(Break::Stall)),
        afterwards("reset in the head", After(Break::ResetInHead), mends),
        silent("stalled in the head", After(Break::StallInHead)),
        afterwards("a body cut short", After(Break::CutBody), mends),
        afterwards("half a body", After(Break::HalfBody), broken),
        silent("stalled in the body", After(Break::StallInBody)),
        silent("a byte now and then", After(Break::Drip)),
        afterwards("no JSON", Over(answer(200, JSON, "{\"value\":")), broken),
        afterwards("a portal's page", Over(answer(200, "content-type: text/html\r\n", PAGE)), broken),
        afterwards("3 MiB", Over(answer(200, JSON, &large)), broken),
    ];
    for (status, before, after) in [
        (408, "408 before", "408 after"),
        (500, "500 before", "500 after"),
        (502, "502 before", "502 after"),
        (503, "503 before", "503 after"),
        (504, "504 before", "504 after"),
    ] {
        kinds.push(passing(before, Instead(answer(status, "", "")), &[EIO]));
        kinds.push(afterwards(after, Over(answer(status, "", "")), mends));
    }
    kinds
}

/// Calls of the vault's API, each by the file operation that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Get,
    GetVersion,
    List,
    ListVersions,
    ListDeleted,
    GetDeleted,
    Backup,
    Set,
    Update,
    Delete,
    Recover,
    Purge,
    Restore,
}

use Call::{
    Backup, Delete, Get, GetDeleted, GetVersion, List, ListDeleted, ListVersions, Purge, Recover, Restore, Set, Update,
};

const CALLS: [Call; 13] = [
    Get,
    GetVersion,
    List,
    ListVersions,
    ListDeleted,
    GetDeleted,
    Backup,
    Set,
    Update,
    Delete,
    Recover,
    Purge,
    Restore,
];

impl Call {
    fn is_change(self) -> bool {
        matches!(self, Set | Update | Delete | Recover | Purge | Restore)
    }

    /// The request that is struck.
    fn request(self, secret: &str, version: &str) -> (&'static str, String) {
        match self {
            Get => ("GET", format!("/secrets/{secret}")),
            GetVersion => ("GET", format!("/secrets/{secret}/{version}")),
            List => ("GET", "/secrets".to_owned()),
            ListVersions => ("GET", format!("/secrets/{secret}/versions")),
            ListDeleted => ("GET", "/deletedsecrets".to_owned()),
            GetDeleted => ("GET", format!("/deletedsecrets/{secret}")),
            Backup => ("POST", format!("/secrets/{secret}/backup")),
            Set => ("PUT", format!("/secrets/{secret}")),
            Update => ("PATCH", format!("/secrets/{secret}")),
            Delete => ("DELETE", format!("/secrets/{secret}")),
            Recover => ("POST", format!("/deletedsecrets/{secret}/recover")),
            Purge => ("DELETE", format!("/deletedsecrets/{secret}")),
            Restore => ("POST", "/secrets/restore".to_owned()),
        }
    }

    /// What there is before. The value "old" is the second of two versions.
    fn prepare(self, vault: &Vault, secret: &str) -> Prepared {
        vault.set(secret, "older");
        let version = vault.versions(secret).remove(0);
        vault.set(secret, "old");
        let blob = vault.client.backup_secret(&name(secret)).unwrap().expose().to_vec();
        if matches!(self, Recover | Purge | GetDeleted | ListDeleted | Restore) {
            vault.client.begin_delete_secret(&name(secret)).unwrap();
        }
        if self == Restore {
            vault.client.purge_deleted_secret(&name(secret)).unwrap();
        }
        Prepared { secret: secret.to_owned(), version, blob }
    }

    /// Does it; the errno, and what was read.
    fn act(self, mount: &Mount, on: &Prepared) -> (i32, Vec<u8>) {
        let secret = &on.secret;
        let at = |path: &str| mount.path(&path.replace('N', secret));
        let done = |number: i32| (number, Vec::new());
        let read = |path: PathBuf| ended(fs::read(path));
        let list = |path: PathBuf| {
            let bytes = |name: io::Result<fs::DirEntry>| Ok(name?.file_name().into_encoded_bytes());
            let names = fs::read_dir(path).and_then(|names| names.map(bytes).collect::<io::Result<Vec<_>>>());
            ended(names.map(|names| names.join(&b' ')))
        };
        match self {
            Get => read(at("secrets/N/value")),
            GetVersion => read(at("secrets/N/versions").join(&on.version)),
            List => list(at("secrets")),
            ListVersions => list(at("secrets/N/versions")),
            ListDeleted => list(at("deleted")),
            GetDeleted => read(at("deleted/N/.meta.json")),
            Backup => read(at("backup/N")),
            Set => done(copy(mount, b"new", &at("secrets/N/value"))),
            Update => done(copy(mount, br#"{"content_type":"new"}"#, &at("secrets/N/.meta.json"))),
            Delete => done(errno(fs::remove_dir(at("secrets/N")))),
            Recover => done(errno(fs::rename(at("deleted/N"), at("secrets/N")))),
            Purge => done(errno(fs::remove_dir(at("deleted/N")))),
            Restore => done(copy(mount, &on.blob, &at("backup/N"))),
        }
    }

    /// What must have been read.
    fn is_right(self, read: &[u8], on: &Prepared) -> bool {
        let text = || String::from_utf8_lossy(read);
        match self {
            Get => read == b"old",
            GetVersion => read == b"older",
            List | ListDeleted => text().split(' ').any(|name| name == on.secret),
            ListVersions => read.is_empty() || text().contains(&on.version),
            GetDeleted => text().contains(r#""deleted_date""#),
            Backup => !read.is_empty(),
            _ => true,
        }
    }

    /// What the vault holds before, and when it was carried out.
    fn states(self) -> [State; 2] {
        let live = State::Live { value: "old".into(), versions: 2, content_type: "text/plain".into() };
        match self {
            Set => [live, State::Live { value: "new".into(), versions: 3, content_type: "text/plain".into() }],
            Update => [live, State::Live { value: "old".into(), versions: 2, content_type: "new".into() }],
            Delete => [live, State::Deleted],
            Recover => [State::Deleted, live],
            Purge => [State::Deleted, State::Gone],
            Restore => [State::Gone, live],
            ListDeleted | GetDeleted => [State::Deleted, State::Deleted],
            Get | GetVersion | List | ListVersions | Backup => [live.clone(), live],
        }
    }
}

/// Writes by `cp`, the errno of what it says. A descriptor of our own would be held for a moment by every process that another
/// lane starts, and the close that is told of its save is the last one.
fn copy(mount: &Mount, bytes: &[u8], to: &Path) -> i32 {
    let from = mount.aside("new");
    fs::write(&from, bytes).unwrap();
    let mut cp = Command::new("cp");
    cp.arg(from).arg(to).env("LC_ALL", "C");
    let ran = run(cp, PATIENCE);
    let said = ran.err.trim().rsplit(": ").next().unwrap();
    let is_it = |number: &i32| io::Error::from_raw_os_error(*number).to_string().starts_with(&format!("{said} (os"));
    if ran.code == 0 { 0 } else { (1..134).find(is_it).unwrap_or_else(|| panic!("{ran:?}")) }
}

fn ended(result: io::Result<Vec<u8>>) -> (i32, Vec<u8>) {
    match result {
        Ok(bytes) => (0, bytes),
        Err(error) => (error.raw_os_error().unwrap(), Vec::new()),
    }
}

struct Prepared {
    secret: String,
    version: String,
    blob: Vec<u8>,
}

/// What the vault itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Live { value: String, versions: usize, content_type: String },
    Deleted,
    Gone,
}

impl State {
    fn of(vault: &Vault, secret: &str) -> Self {
        match vault.client.get_secret(&name(secret), None) {
            Ok(found) => Self::Live {
                value: found.value.expose().to_owned(),
                versions: vault.versions(secret).len(),
                content_type: found.properties.content_type.unwrap_or_default(),
            },
            Err(error) if error.kind == ErrorKind::NotFound => match vault.client.get_deleted_secret(&name(secret)) {
                Ok(_) => Self::Deleted,
                Err(error) => {
                    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
                    Self::Gone
                }
            },
            Err(error) => panic!("{error}"),
        }
    }
}

/// A vault whose secrets can be made an hour ago: what was made within two seconds before a change that got no answer may be
/// somebody else's work, and is not written over.
struct Lane {
    vault: Vault,
    clock: Arc<Past>,
}

#[derive(Debug)]
struct Past {
    clock: Arc<dyn Clock>,
    is_past: AtomicBool,
}

impl Clock for Past {
    fn now(&self) -> SystemTime {
        let back = if self.is_past.load(Ordering::Relaxed) { 3600 } else { 0 };
        self.clock.now() - Duration::from_secs(back)
    }

    fn moment(&self) -> Moment {
        self.clock.moment()
    }

    fn sleep(&self, time: Duration) {
        self.clock.sleep(time);
    }
}

impl Lane {
    fn new() -> Self {
        let clock = Arc::new(Past { clock: SystemClock::shared(), is_past: AtomicBool::new(false) });
        Self { vault: Vault::on(ServeOptions::default(), clock.clone()), clock }
    }

    fn prepare(&self, call: Call, secret: &str) -> Prepared {
        self.clock.is_past.store(true, Ordering::Relaxed);
        let prepared = call.prepare(&self.vault, secret);
        self.clock.is_past.store(false, Ordering::Relaxed);
        prepared
    }
}

/// How a cell came out.
struct Cell {
    number: i32,
    took: Duration,
    struck: u32,
    /// What else is wrong with it.
    wrong: Option<String>,
}

fn try_cell(lane: &Lane, secret: &str, kind: &Kind, call: Call, always: bool) -> Cell {
    let (on, vault) = (lane.prepare(call, secret), &lane.vault);
    let proxy = Proxy::to(vault.server.addr());
    let mount = Mount::new(&proxy.url(), &format!("{OPTIONS},timeout={0}s,write_timeout={0}s", kind.limit().as_secs()));
    let (method, path) = call.request(secret, &on.version);
    proxy.arm(Fault { method, path, strike: kind.strike.clone(), count: if always { u32::MAX } else { 1 } });
    let start = Instant::now();
    let (number, read) = call.act(&mount, &on);
    let (took, struck) = (start.elapsed(), proxy.disarm());
    let [before, after] = call.states();
    let state = State::of(vault, secret);
    let may_be_there = matches!(kind.strike, Strike::Over(_) | Strike::After(_));
    let is_possible = if number == 0 { state == after } else { state == before || (may_be_there && state == after) };
    let wrong = if !is_possible {
        Some(format!("the vault holds {state:?}"))
    } else if number == 0 && !call.is_right(&read, &on) {
        Some(format!("{} bytes were read, and not the right ones", read.len()))
    } else {
        None
    };
    Cell { number, took, struck, wrong }
}

/// A try that a machine which stood still explains proves nothing and is made again.
const TRIES: u32 = 3;

/// One cell of the matrix; what is wrong with it.
fn check_cell(lane: &Lane, secret: &str, kind: &Kind, call: Call, always: bool) -> Result<(), String> {
    let promised = kind.promise(call, always);
    let mut tries = 0;
    let said = loop {
        tries += 1;
        let cell = try_cell(lane, &format!("{secret}-{tries}"), kind, call, always);
        let is_slow = cell.took >= kind.limit() + SLACK || (cell.number == ETIMEDOUT && !promised.contains(&ETIMEDOUT));
        let is_promised = promised.contains(&cell.number);
        if cell.wrong.is_none() && is_promised && !is_slow && cell.struck > 0 {
            return Ok(());
        }
        if cell.wrong.is_some() || !(is_slow || cell.struck == 0) || tries == TRIES {
            let errno = if cell.number == 0 { "success" } else { errno_name(cell.number) };
            break format!("{errno} after {:?}, {} strikes, {:?}", cell.took, cell.struck, cell.wrong);
        }
    };
    let when = if always { "at every try" } else { "once" };
    Err(format!("{call:?}, {} {when}: {said}", kind.name))
}

#[test]
fn every_fault_at_every_call_has_the_promised_end() {
    if !super::harness::can_mount() {
        return;
    }
    let kinds = kinds();
    let cells: Vec<_> = kinds
        .iter()
        .flat_map(|kind| CALLS.map(|call| (kind, call)))
        .flat_map(|(kind, call)| [(kind, call, false), (kind, call, true)])
        .collect();
    let start = Instant::now();
    let failures = in_lanes(&cells, Lane::new, |lane, at, (kind, call, always)| {
        check_cell(lane, &format!("c{at}"), kind, *call, *always)
    });
    eprintln!("{} cells in {:?}", cells.len(), start.elapsed());
    assert!(failures.is_empty(), "{} of {} cells:\n{}", failures.len(), cells.len(), failures.join("\n"));
}
