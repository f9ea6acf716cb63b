//! Secret values, tokens and backups stay inside: a canary of each goes everywhere a real one goes, everything that can
//! go wrong goes wrong, and nothing that prints has it, in any spelling.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
#[path = "support/skipped.rs"]
mod skipped;

mod support;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use akvfs::cache::{CacheOptions, CachedStore};
use akvfs::clock::{Clock, SystemClock};
use akvfs::fs::draft::{Draft, Target};
use akvfs::fs::processes::Processes;
use akvfs::fs::tree::{Face, Ino, ROOT};
use akvfs::fs::{Call, FsOptions, Kernel, Notice, OpenFlags, RenameMode, SecretFs};
use akvfs::local::{Fault, FaultKind, ServeOptions, Server};
use akvfs::secret::{BackupBlob, SecretAttributes};
use akvfs::store::{ErrorKind, Operation, SecretStore, Wait};
use akvfs::vault::{ClientOptions, Proxy, SecretClient, StaticToken};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use support::{ManualClock, ModelStore, name, value};
use tracing_subscriber::fmt::MakeWriter;
use zeroize::Zeroizing;

/// 32 random bytes, as text.
fn canary() -> String {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How `canary` might look where it must not: whole or in part, as itself, in base64, as numbers.
fn spellings(canary: &str) -> Vec<String> {
    let numbers = |separator: &str| {
        let digits: Vec<_> = canary.bytes().take(16).map(|byte| byte.to_string()).collect();
        digits.join(separator)
    };
    let characters: Vec<char> = canary.chars().collect();
    let parts = characters.chunks_exact(16).take(4).map(|part| part.iter().collect());
    // Three offsets, for base64 depends on what stands before; the ends are cut off because they do too.
    let encoded = (0..3).flat_map(|offset| {
        let padded = format!("{}{canary}", "x".repeat(offset));
        [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)].map(|text| text[8..40].to_owned())
    });
    parts.chain(encoded).chain([numbers(", "), numbers(",\n    ")]).collect()
}

#[track_caller]
fn assert_clean(what: &str, text: &str, canaries: &[&str]) {
    for canary in canaries {
        for spelling in spellings(canary) {
            let found = text.find(&spelling);
            // Not the text itself: it would be printed.
            assert!(found.is_none(), "{what} holds a canary, at byte {found:?} of {}", text.len());
        }
    }
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    fn note(&self, told: impl Debug) {
        writeln!(self.clone(), "{told:?} {told:#?}").unwrap();
    }

    fn note_result<T: Debug, E: Debug + std::fmt::Display>(&self, told: Result<T, E>) -> Result<T, E> {
        self.note(&told);
        if let Err(error) = &told {
            writeln!(self.clone(), "{error}").unwrap();
        }
        told
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Kept {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn trace() -> Kept {
    static KEPT: std::sync::OnceLock<Kept> = std::sync::OnceLock::new();
    let start = || {
        let kept = Kept::default();
        let builder = tracing_subscriber::fmt().with_env_filter("akvfs=trace").with_writer(kept.clone());
        builder.init();
        let panics = kept.clone();
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            writeln!(panics.clone(), "{info}").unwrap();
            usual(info);
        }));
        kept
    };
    KEPT.get_or_init(start).clone()
}

struct Nobody;

impl Processes for Nobody {
    fn of_thread(&self, thread: u32) -> u32 {
        thread
    }

    fn descends(&self, process: u32, ancestors: &BTreeSet<u32>) -> bool {
        ancestors.contains(&process)
    }

    fn may_write(&self, _processes: &BTreeSet<u32>, _inodes: &[Ino]) -> bool {
        false
    }

    fn was_killed(&self, _thread: u32) -> bool {
        false
    }

    fn program(&self, _process: u32) -> Option<String> {
        None
    }
}

impl Kernel for Nobody {
    fn tell(&self, notice: Notice) {
        trace().note(notice);
    }

    fn settle(&self, _limit: Duration) -> bool {
        true
    }
}

/// Everything that a store does, whatever becomes of it. Gives back a part of the backup, if there was one.
fn exercise(store: &dyn SecretStore, clock: &dyn Clock, canary: &str) -> Option<String> {
    let (kept, none, secret) = (trace(), SecretAttributes::default(), name("a"));
    let wait = || Wait::at_most(clock, Duration::from_millis(700));
    let _ = kept.note_result(store.set(&secret, &value(canary), &none, wait()));
    let _ = kept.note_result(store.get(&secret, None, wait()));
    let _ = kept.note_result(store.find(&secret, wait()));
    let _ = kept.note_result(store.list(None, wait()));
    let _ = kept.note_result(store.list_versions(&secret, None, wait()));
    let backup = kept.note_result(store.backup(&secret, wait())).ok();
    if let Some(blob) = &backup {
        let _ = kept.note_result(store.restore(blob, wait()));
    }
    let _ = kept.note_result(store.restore(&BackupBlob::new(canary.as_bytes().to_vec()), wait()));
    let _ = kept.note_result(store.set(&secret, &value(&canary.repeat(401)), &none, wait()));
    let _ = kept.note_result(store.delete(&secret, wait()));
    let _ = kept.note_result(store.set(&secret, &value(canary), &none, wait()));
    let _ = kept.note_result(store.get_deleted(&secret, wait()));
    let _ = kept.note_result(store.recover(&secret, wait()));
    // Behind the part that all backups share.
    backup.map(|blob| String::from_utf8_lossy(&blob.expose()[100..164]).into_owned())
}

fn all_faults(canary: &str) -> Vec<FaultKind> {
    let echo = format!(r#"{{"error":{{"code":"BadParameter"}},"value":"{canary}"}}"#);
    let echoing = |status| FaultKind::Status { status, headers: Vec::new(), body: echo.clone() };
    let statuses = [400, 401, 403, 404, 409, 429, 500, 503].map(FaultKind::status);
    let others = [
        FaultKind::LoseReply,
        FaultKind::CloseBefore,
        FaultKind::Truncate,
        FaultKind::html(404),
        FaultKind::redirect("https://elsewhere.invalid/"),
        FaultKind::ForeignNextLink("https://elsewhere.invalid".into()),
        echoing(400),
        echoing(500),
    ];
    statuses.into_iter().chain(others).collect()
}

#[test]
fn the_check_finds_a_canary_in_every_spelling() {
    let secret = canary();
    let bytes = secret.as_bytes();
    for leak in
        [secret.clone(), secret[7..].to_owned(), STANDARD_NO_PAD.encode(format!("ab{secret}")), format!("{bytes:?}")]
    {
        assert!(catch_unwind(|| assert_clean("this", &format!("before {leak} after"), &[&secret])).is_err());
    }
    assert_clean("another", &canary(), &[&secret]);
}

#[test]
fn a_client_that_fails_in_every_way_tells_nothing() {
    let (kept, secret, token) = (trace(), canary(), canary());
    let clock = SystemClock::shared();
    let serve = ServeOptions { token: Some(Zeroizing::new(token.clone())), ..ServeOptions::default() };
    kept.note(&serve);
    let options = ClientOptions { verify_challenge_resource: false, proxy: Proxy::Direct, ..ClientOptions::default() };
    let blobs = Mutex::new(Vec::new());
    let fail = |kind| {
        let server = Server::start(serve.clone(), clock.clone()).unwrap();
        let tokens = Arc::new(StaticToken::new(token.clone()));
        let client = SecretClient::new(server.url(), tokens, options.clone(), clock.clone()).unwrap();
        client.set(&name("a"), &value(&secret), &SecretAttributes::default(), wait(&*clock)).unwrap();
        server.inject(Fault { operation: None, count: 30, kind });
        blobs.lock().unwrap().extend(exercise(&client, &*clock, &secret));
    };
    thread::scope(|scope| {
        for kind in all_faults(&secret) {
            scope.spawn(|| fail(kind));
        }
    });
    let server = Server::start(serve, clock.clone()).unwrap();
    let wrong = Arc::new(StaticToken::new(secret.clone()));
    exercise(&SecretClient::new(server.url(), wrong, options, clock.clone()).unwrap(), &*clock, &secret);
    let log = kept.text();
    assert!(log.contains("akvfs::vault") && log.contains("cannot set a"), "it did listen");
    assert_clean("what a client told", &log, &[&secret, &token]);
    let blobs = blobs.into_inner().unwrap();
    assert!(!blobs.is_empty(), "some backups were made");
    blobs.iter().for_each(|blob| assert_clean("what a client told of backups", &log, &[blob]));
}

fn wait(clock: &dyn Clock) -> Wait {
    Wait::at_most(clock, Duration::from_secs(10))
}

#[test]
fn files_that_fail_in_every_way_tell_nothing() {
    let (kept, secret) = (trace(), canary());
    let kinds = [
        ErrorKind::Forbidden,
        ErrorKind::Disabled,
        ErrorKind::Throttled { retry_after: None },
        ErrorKind::TimedOut,
        ErrorKind::Broken,
        ErrorKind::Superseded,
        ErrorKind::Authentication,
    ];
    for kind in kinds {
        for operation in [Operation::Get, Operation::Set, Operation::Update, Operation::List, Operation::Delete] {
            save_with(&secret, |vault| vault.fail_next(operation, kind));
            save_with(&secret, |vault| vault.lose_next_reply(operation, kind));
        }
    }
    let mut draft = Draft::new(Target::Value(name("a"), Face::Value), 1, 1);
    draft.write(None, secret.as_bytes(), 0).unwrap();
    kept.note(&draft);
    kept.note(akvfs::secret::KeyVaultSecret {
        properties: akvfs::secret::SecretProperties::bare("https://v", &name("a")),
        value: value(&secret),
    });
    assert_clean("what files told", &kept.text(), &[&secret]);
}

/// Reads and saves by files while `spoil` makes something fail.
fn save_with(secret: &str, spoil: impl Fn(&ModelStore)) {
    let clock = ManualClock::shared();
    let vault = ModelStore::new(clock.clone());
    vault.set(&name("a"), &value(secret), &SecretAttributes::default(), wait(&*clock)).unwrap();
    let cache = Arc::new(CachedStore::new(vault.clone(), CacheOptions::default(), clock.clone()));
    let files = SecretFs::new(cache, clock.clone(), Arc::new(Nobody), Arc::new(Nobody), FsOptions::default());
    spoil(&vault);
    let call = || Call { uid: 0, gid: 0, thread: 7, wait: wait(&*clock) };
    for bytes in [secret.as_bytes().to_vec(), [secret.as_bytes(), b"\xff"].concat(), secret.repeat(401).into_bytes()] {
        let _ = use_files(&files, &call, &bytes);
    }
}

fn use_files(files: &SecretFs, call: &dyn Fn() -> Call, bytes: &[u8]) -> Result<(), akvfs::fs::errno::FsError> {
    let kept = trace();
    let write = OpenFlags { write: true, truncate: true, ..OpenFlags::default() };
    let secrets = kept.note_result(files.lookup(&call(), ROOT, "secrets"))?.node;
    let dir = kept.note_result(files.lookup(&call(), secrets, "a"))?.node;
    let version = kept.note_result(files.lookup(&call(), dir, "value"))?.node;
    let _ = kept.note_result(files.getattr(&call(), version));
    let _ = kept.note_result(files.open(&call(), version, OpenFlags::default()));
    let _ = kept.note_result(files.open(&call(), version, write));
    let own = kept.note_result(files.lookup(&call(), dir, "value"))?.node;
    let handle = kept.note_result(files.open(&call(), own, write))?.handle;
    let _ = kept.note_result(files.write(&call(), handle, 0, bytes));
    let _ = kept.note_result(files.fsync(&call(), handle));
    let _ = kept.note_result(files.flush(&call(), handle));
    let _ = kept.note_result(files.release(handle));
    let meta = kept.note_result(files.lookup(&call(), dir, ".meta.json"))?.node;
    let handle = kept.note_result(files.open(&call(), meta, write))?.handle;
    let _ = kept.note_result(files.write(&call(), handle, 0, bytes));
    let _ = kept.note_result(files.flush(&call(), handle));
    let _ = kept.note_result(files.release(handle));
    let (_, made) = kept.note_result(files.create(&call(), dir, ".new", 0o600, write))?;
    let _ = kept.note_result(files.write(&call(), made.handle, 0, bytes));
    let _ = kept.note_result(files.rename(&call(), (dir, ".new"), (dir, "value"), RenameMode::Replace));
    let _ = kept.note_result(files.setxattr(&call(), version, "user.akvfs.enabled", bytes));
    kept.note_result(files.unlink(&call(), dir, "value"))?;
    files.send_removals(call().wait)
}

#[test]
fn a_panic_under_a_save_tells_nothing() {
    let (kept, secret) = (trace(), canary());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let held = (value(&secret), BackupBlob::new(secret.clone().into_bytes()));
        let none: Option<()> = None;
        assert!(none.is_some(), "held: {held:?}");
    }));
    assert!(panicked.is_err() && kept.text().contains("REDACTED"));
    assert_clean("a panic", &kept.text(), &[&secret]);
}

/// A process that ends with its test, and what it says.
struct Program {
    child: Child,
    told: Kept,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_akvfs"));
        command.args(arguments).env("AKVFS_LOG", "trace").env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let told = Kept::default();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        let readers = streams.map(|stream| {
            let told = told.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    writeln!(told.clone(), "{line}").unwrap();
                }
            })
        });
        Self { child, told, readers: readers.into() }
    }

    fn wait_for<T>(&self, what: &str, look: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(found) = look(&self.told.text()) {
                return found;
            }
            assert!(Instant::now() < end, "waited for {what}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What every user of this machine may see of it.
    fn shown(&self) -> String {
        let read = |file| {
            let bytes = fs::read(format!("/proc/{}/{file}", self.child.id())).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        read("cmdline") + &read("environ")
    }

    /// Asks it to end; all that it said.
    fn end(mut self) -> String {
        // SAFETY: numbers; the process is our child, not waited for yet.
        unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGTERM) };
        let end = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        self.told.text()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_local_vault_as_a_program_tells_nothing() {
    let (secret, token, place) = (canary(), canary(), tempfile::tempdir().unwrap());
    let file = place.path().join("token");
    fs::write(&file, &token).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--token", file.to_str().unwrap(), "--fault", "500:2"];
    let program = Program::start(&arguments);
    let url = program.wait_for("its address", |told| {
        told.lines().find_map(|line| line.strip_prefix("listening on ")).map(str::to_owned)
    });
    let clock = SystemClock::shared();
    let options = ClientOptions { verify_challenge_resource: false, proxy: Proxy::Direct, ..ClientOptions::default() };
    for text in [token.clone(), secret.clone()] {
        let tokens = Arc::new(StaticToken::new(text));
        exercise(&SecretClient::new(&url, tokens, options.clone(), clock.clone()).unwrap(), &*clock, &secret);
    }
    let shown = program.shown();
    assert!(shown.contains("serve"), "it was there to be looked at");
    assert_clean("argv or environment", &shown, &[&secret, &token]);
    assert_clean("akvfs serve", &program.end(), &[&secret, &token]);
}

#[test]
fn a_mount_as_a_program_tells_nothing() {
    if fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() {
        skipped!("/dev/fuse cannot be opened");
        return;
    }
    let (secret, place) = (canary(), tempfile::tempdir().unwrap());
    let dir = place.path().to_str().unwrap();
    let program = Program::start(&["mount", "-f", "local:", dir]);
    program.wait_for("the mount", |_| place.path().join("secrets").exists().then_some(()));
    use_mount(place.path(), &secret);
    let shown = program.shown();
    assert!(shown.contains("local:"), "it was there to be looked at");
    assert_clean("argv or environment", &shown, &[&secret]);
    let told = program.end();
    assert!(told.contains("akvfs::fs"), "it did log");
    assert_clean("akvfs mount", &told, &[&secret]);
}

/// Saves, reads and fails by plain files.
fn use_mount(dir: &Path, secret: &str) {
    let home = dir.join("secrets/a");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("value"), secret).unwrap();
    assert_eq!(fs::read_to_string(home.join("value")).unwrap(), secret);
    let file = fs::OpenOptions::new().write(true).open(home.join("value")).unwrap();
    assert!(file.write_at(secret.as_bytes(), 25_600).is_err());
    drop(file);
    let _ = fs::write(home.join("value"), [secret.as_bytes(), b"\xff"].concat());
    let _ = fs::write(home.join(".meta.json"), secret);
    let _ = fs::write(home.join(format!(".{}", "tmp")), secret);
    let _ = fs::rename(home.join(".tmp"), home.join(".meta.json"));
    let _ = fs::rename(home.join(".tmp"), home.join("value"));
    let _ = fs::rename(&home, dir.join("deleted/a"));
    let _ = fs::create_dir(&home);
}
