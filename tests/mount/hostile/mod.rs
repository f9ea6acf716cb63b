//! A vault that lies, behind a real mount: whatever it answers, no path appears beside the tree, the daemon neither grows
//! nor spins nor panics, each call ends with the errno that fits, and nobody else hears of the token.
//!
//! One row is one lie in one place. It is told, the whole tree is walked, and then the vault tells the truth again:
//! nothing of the lie may stay.

#[path = "../../client_support/mod.rs"]
mod client_support;

mod bodies;
mod changes;
mod connections;
mod listings;
mod server;
mod tree;
mod values;

use std::any::Any;
use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use akvfs::fs::errno::errno_name;
use client_support::{Act, Seen, TOKEN, reply};
use server::{At, Liar, Lie};

use super::harness::{Mount, can_mount};
use super::readme::page;

/// Rows at a time: most of their time they wait.
const AT_A_TIME: usize = 8;
/// The mount's own limit for a read and for a change, in seconds; and what a call may take on a busy machine.
const LIMIT: &str = "4s";
const NO_HANGING: Duration = Duration::from_secs(60);
/// The most that the daemon may grow by, in KiB.
const MAX_GROWTH: u64 = 64 * 1024;
/// The most requests that one row may cause: five looks at a listing that does not end.
const MAX_REQUESTS: usize = 5 * akvfs::pages::MAX_PAGES + 100;

/// One lie, and what is to come of it.
struct Row {
    what: String,
    at: At,
    lie: Lie,
    deed: Deed,
    wants: Result<&'static str, i32>,
    may_be_late: bool,
    keeps_away: bool,
}

/// What is done with the mount.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// The names in a directory.
    List(&'static str),
    /// A file's content.
    Read(&'static str),
    /// Where a link points.
    Link(&'static str),
    /// Writes `new`, or another text.
    Write(&'static str, &'static str),
    Remove(&'static str),
    /// A rename.
    Move(&'static str, &'static str),
}

impl Deed {
    /// What a place is usually asked by.
    fn at(at: At) -> Self {
        match at {
            At::Door | At::Listing => Self::List("secrets"),
            At::Value => Self::Read("secrets/db/value"),
            At::Versions => Self::List("secrets/db/versions"),
            At::Deleted => Self::List("deleted"),
            At::Grave => Self::Read("deleted/gone/.meta.json"),
            At::Save => Self::Write("secrets/db/value", "new"),
            At::Update => Self::Write("secrets/db/.meta.json", r#"{"enabled": false}"#),
            At::Remove => Self::Remove("secrets/db"),
            At::Recover => Self::Move("deleted/gone", "secrets/gone"),
            At::Backup => Self::Read("backup/db"),
            At::Restore => Self::Write("backup/back", "backup"),
        }
    }

    fn perform(self, mount: &Mount) -> Result<String, i32> {
        let number = |error: io::Error| error.raw_os_error().unwrap_or(libc::EILSEQ);
        match self {
            Self::List(path) => tree::names(&mount.path(path)).map(|names| names.join(" ")).map_err(number),
            Self::Read(path) => fs::read_to_string(mount.path(path)).map_err(number),
            Self::Link(path) => {
                fs::read_link(mount.path(path)).map(|to| to.to_string_lossy().into_owned()).map_err(number)
            }
            Self::Write(path, text) => save(&mount.path(path), text).map(|()| String::new()).map_err(number),
            Self::Remove(path) => fs::remove_dir(mount.path(path)).map(|()| String::new()).map_err(number),
            Self::Move(from, to) => {
                fs::rename(mount.path(from), mount.path(to)).map(|()| String::new()).map_err(number)
            }
        }
    }
}

/// Hears the verdict from `fsync`: while other rows start programs, a close may leave it to them.
fn save(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A lie told by a function of the request and of the port to which nobody must come.
fn lies(
    at: At,
    what: impl Into<String>,
    wants: Result<&'static str, i32>,
    lie: impl Fn(&Seen, u16) -> Act + Send + Sync + 'static,
) -> Row {
    Row { what: what.into(), at, lie: Arc::new(lie), deed: Deed::at(at), wants, may_be_late: false, keeps_away: false }
}

/// A body with 200.
fn says(at: At, what: impl Into<String>, wants: Result<&'static str, i32>, body: impl Into<String>) -> Row {
    let body = body.into();
    lies(at, what, wants, move |_, _| reply(200, body.clone()))
}

/// These bytes and nothing else.
fn sends(at: At, what: impl Into<String>, wants: Result<&'static str, i32>, bytes: impl Into<Vec<u8>>) -> Row {
    let bytes = bytes.into();
    lies(at, what, wants, move |_, _| Act::Raw(bytes.clone()))
}

impl Row {
    /// Heard by another deed than the place's usual one.
    fn heard_by(self, deed: Deed) -> Self {
        Self { deed, ..self }
    }

    /// It is so long that a busy machine does not hear it in time.
    fn or_late(self) -> Self {
        Self { may_be_late: true, ..self }
    }

    /// The lie says that nobody may come for a while, and that is obeyed.
    fn keeping_away(self) -> Self {
        Self { keeps_away: true, ..self }
    }
}

#[test]
fn whatever_a_vault_answers_stays_in_its_place() {
    if !can_mount() {
        return;
    }
    let rows: Vec<_> = [listings::rows(), values::rows(), bodies::rows(), connections::rows(), changes::rows()]
        .into_iter()
        .flatten()
        .collect();
    let count = rows.len();
    let promise = format!("({count} lies, each through a mount)");
    assert!(page("docs/security.md").contains(&promise), "docs/security.md does not say {promise}");
    // For who works on some of them.
    let only = std::env::var("AKVFS_ROWS").unwrap_or_default();
    let rows: Vec<_> = rows.into_iter().filter(|row| row.what.contains(&only)).collect();
    let (queue, failed) = (Mutex::new(VecDeque::from(rows)), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(row) = next(&queue) {
                    let what = format!("{:?}: {}", row.at, row.what);
                    if let Err(why) = catch_unwind(AssertUnwindSafe(|| play(row))) {
                        failed.lock().unwrap().push(format!("{what}: {}", said(&*why)));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {count} rows failed:\n{}", failed.len(), failed.join("\n"));
}

fn next(queue: &Mutex<VecDeque<Row>>) -> Option<Row> {
    queue.lock().unwrap().pop_front()
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

fn play(row: Row) {
    let token = tempfile::tempdir().unwrap();
    let token_file = token.path().join("token");
    write_private(&token_file, TOKEN);
    let liar = Liar::start(row.at, row.lie);
    let options = format!(
        "lazy_auth,ttl=1h,max_requests=10000/s,timeout={LIMIT},write_timeout={LIMIT},auth=local,credentials_file={}",
        token_file.display()
    );
    // Several waits of a busy machine, one after another.
    let mount = Mount::lasting(&liar.server.url(), &options, 6 * NO_HANGING);
    let before = peak(mount.pid());
    let start = Instant::now();
    let came = row.deed.perform(&mount);
    assert!(start.elapsed() < NO_HANGING, "it took {:?}", start.elapsed());
    if !row.may_be_late || came != Err(libc::ETIMEDOUT) {
        assert_eq!(named(&came), named(&row.wants.map(str::to_owned)), "{}", errors(&mount));
    }
    tree::walk(&mount.path(""));
    in_time("the end of all requests", || is_quiet(&liar, mount.pid()));
    let (grown, asked) = (peak(mount.pid()) - before, liar.server.seen().len());
    assert!(grown <= MAX_GROWTH, "it grew by {grown} KiB");
    assert!(asked <= MAX_REQUESTS, "{asked} requests");
    if std::env::var_os("AKVFS_TELL").is_some() {
        eprintln!(
            "{:?} {}: {came:.40?} {} ms, {grown} KiB, {asked} requests",
            row.at,
            row.what,
            start.elapsed().as_millis()
        );
    }
    liar.mend();
    if !row.keeps_away {
        in_time("the truth", || {
            let is_asked = fs::write(mount.path(".akvfs/refresh"), "\n").is_ok();
            is_asked && fs::read_to_string(mount.path("secrets/db/value")).is_ok_and(|value| value == "honest")
        });
        in_time("the names", || tree::names(&mount.path("secrets")).is_ok_and(|names| names == ["db"]));
    }
    let log = mount.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(!log.contains(TOKEN) && !errors(&mount).contains(TOKEN), "the token was logged");
    assert_eq!(liar.elsewhere.connections(), 0, "somebody else was asked");
}

fn in_time(what: &str, mut look: impl FnMut() -> bool) {
    let end = Instant::now() + NO_HANGING;
    while !look() {
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn write_private(path: &Path, text: &str) {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

/// The errno by its name.
fn named(came: &Result<String, i32>) -> Result<String, String> {
    came.clone().map_err(|number| {
        if number == 0 { "0".to_owned() } else { errno_name(number).to_owned() + &format!(" ({number})") }
    })
}

fn errors(mount: &Mount) -> String {
    fs::read_to_string(mount.path(".akvfs/errors")).unwrap_or_else(|error| error.to_string())
}

/// The most memory that a process ever had, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The time a process has run, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Whether nothing is asked and nothing is reckoned any more.
fn is_quiet(liar: &Liar, pid: u32) -> bool {
    let look = || (liar.server.seen().len(), ticks(pid));
    let (asked, ran) = look();
    std::thread::sleep(Duration::from_millis(100));
    let (asked_then, ran_then) = look();
    asked == asked_then && ran_then - ran <= 1
}
