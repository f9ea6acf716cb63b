//! A vault and a mount of it that end with the test, and programs that run on it with a time limit.
//!
//! What a test expects it asks the vault, not the mount: how many versions there are, what is deleted, what was sent.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use akvfs::clock::{Clock, SystemClock};
use akvfs::local::{ServeOptions, Server};
use akvfs::mount::{mountinfo, point};
use akvfs::secret::{SecretAttributes, SecretName, SecretValue, Tags};
use akvfs::store::{ErrorKind, StoreError};
use akvfs::vault::{ClientOptions, SecretClient, StaticToken};

/// The longest a program may run.
const PROGRAM_LIMIT: Duration = Duration::from_secs(60);
/// For a mount to appear, and for what must happen at all, on a machine with much else to do.
pub const SOON: Duration = Duration::from_secs(30);
/// The longest a daemon takes to end after SIGTERM.
const END_LIMIT: Duration = Duration::from_secs(5);
/// The longest a test keeps its mount; then it is broken, so that whoever waits on it gets an error.
const MOUNT_LIMIT: Duration = Duration::from_secs(120);

/// A vault and one mount of it.
pub struct World {
    // In the order in which they end.
    pub mount: Mount,
    pub vault: Vault,
}

impl World {
    /// A mount with `options` of a vault with these secrets, or `None` and a loud word where nothing can be mounted.
    pub fn new(secrets: &[(&str, &str)], options: &str) -> Option<Self> {
        Self::of(Vault::with(ServeOptions::default(), secrets)?, options)
    }

    /// A mount of this vault.
    pub fn of(vault: Vault, options: &str) -> Option<Self> {
        Some(Self::lasting(vault, options, MOUNT_LIMIT))
    }

    /// The same for a test that takes long.
    pub fn lasting(vault: Vault, options: &str, limit: Duration) -> Self {
        let mount = Mount::lasting(vault.url(), options, limit);
        Self { mount, vault }
    }

    /// Runs a bash script on `secrets/`; see [`World::bash_at`].
    pub fn bash(&self, secret: &str, script: &str) -> Ran {
        self.mount.bash(secret, script)
    }

    /// Runs a bash script with `$M` (the mount), `$N` (the secret), `$V` (the file that holds its value), `$D` and `$B` (its
    /// directory and its name in it), `$T` (a directory elsewhere) and `$TYPE` (which types into a program).
    pub fn bash_at(&self, at: At, secret: &str, script: &str) -> Ran {
        self.mount.bash_at(at, secret, script)
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.mount.path(path)
    }
}

/// The two files of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// `secrets/n/value`
    Secret,
    /// `files/n`
    Flat,
}

impl At {
    /// The file's directory, below the mount.
    pub fn dir(self, secret: &str) -> String {
        match self {
            Self::Secret => format!("secrets/{secret}"),
            Self::Flat => "files".to_owned(),
        }
    }

    /// Its name in that.
    pub fn base(self, secret: &str) -> &str {
        match self {
            Self::Secret => "value",
            Self::Flat => secret,
        }
    }

    /// Both.
    pub fn path(self, secret: &str) -> String {
        format!("{}/{}", self.dir(secret), self.base(secret))
    }
}

/// A local vault, and a client of it that shares nothing with the mount's.
pub struct Vault {
    pub server: Server,
    pub client: SecretClient,
}

pub fn name(text: &str) -> SecretName {
    SecretName::parse(text).unwrap()
}

impl Vault {
    /// `None`, and a loud word, where nothing could be mounted.
    pub fn with(options: ServeOptions, secrets: &[(&str, &str)]) -> Option<Self> {
        if !can_mount() {
            return None;
        }
        let vault = Self::on(options, SystemClock::shared());
        for (name, value) in secrets {
            vault.set(name, value);
        }
        Some(vault)
    }

    /// An empty one whose time is told by `clock`.
    pub fn on(options: ServeOptions, clock: Arc<dyn Clock>) -> Self {
        let server = Server::start(options, clock).unwrap();
        let options = ClientOptions {
            verify_challenge_resource: false,
            max_requests: 100_000,
            max_writes: 100_000,
            ..ClientOptions::default()
        };
        let tokens = Arc::new(StaticToken::new("local".to_owned()));
        let client = SecretClient::new(server.url(), tokens, options, SystemClock::shared()).unwrap();
        Self { server, client }
    }

    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// A new version, with a tag that saves must keep.
    pub fn set(&self, secret: &str, value: &str) {
        let attributes = SecretAttributes {
            tags: Some(Tags::from([("kept".into(), "yes".into())])),
            content_type: Some("text/plain".into()),
            ..SecretAttributes::default()
        };
        self.client.set_secret(&name(secret), &SecretValue::new(value.to_owned()), &attributes).unwrap();
    }

    /// What stands there, or why it cannot be had.
    pub fn get(&self, secret: &str) -> Result<String, ErrorKind> {
        let got = self.client.get_secret(&name(secret), None);
        got.map(|secret| secret.value.expose().to_owned()).map_err(|error| error.kind)
    }

    pub fn tags(&self, secret: &str) -> BTreeMap<String, String> {
        let got = self.client.get_secret(&name(secret), None).unwrap();
        got.properties.tags.unwrap_or_default().into_iter().collect()
    }

    /// All versions, the order is the listing's.
    pub fn versions(&self, secret: &str) -> Vec<String> {
        let items = self.client.list_properties_of_secret_versions(&name(secret));
        items.map(|item| item.unwrap().version.unwrap().to_string()).collect()
    }

    pub fn live(&self) -> Vec<String> {
        sorted(self.client.list_properties_of_secrets().map(|item| Ok(item?.name.to_string())))
    }

    pub fn deleted(&self) -> Vec<String> {
        sorted(self.client.list_deleted_secrets().map(|item| Ok(item?.properties.name.to_string())))
    }

    /// How many requests of this kind were let in.
    pub fn requests(&self, operation: &str) -> u64 {
        self.server.requests_of(operation)
    }
}

fn sorted(names: impl Iterator<Item = Result<String, StoreError>>) -> Vec<String> {
    let mut names: Vec<_> = names.map(Result::unwrap).collect();
    names.sort();
    names
}

/// Whether something can be mounted here; says so loudly if not.
pub fn can_mount() -> bool {
    // SAFETY: no arguments, cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    if let Err(why) = point::check_device() {
        skipped!("{why}");
        return false;
    }
    if !is_root && !has("fusermount3") {
        skipped!("fusermount3 is missing (apt-get install fuse3)");
        return false;
    }
    true
}

/// Whether this program is installed.
pub fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null()).status();
    found.unwrap().success()
}

/// A mount that a process of ours carries.
pub struct Mount {
    daemon: Child,
    dir: tempfile::TempDir,
    /// The log, and files for the programs to use.
    aside: tempfile::TempDir,
    ended: Arc<AtomicBool>,
    watch: Option<Watch>,
}

impl Mount {
    pub fn new(source: &str, options: &str) -> Self {
        Self::lasting(source, options, MOUNT_LIMIT)
    }

    /// One whose daemon finds programs in `place` first.
    pub fn finding(place: &Path, source: &str, options: &str) -> Self {
        let path = format!("{}:{}", place.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(env!("CARGO_BIN_EXE_akvfs"));
        command.env("PATH", path);
        Self::start(command, source, options, MOUNT_LIMIT)
    }

    /// One that this command runs, which gets all that akvfs is told behind what it has.
    #[allow(dead_code, reason = "for the tests of what stays inside")]
    pub fn by(command: Command, source: &str, options: &str) -> Self {
        Self::start(command, source, options, MOUNT_LIMIT)
    }

    /// One for a test that takes long.
    pub fn lasting(source: &str, options: &str, limit: Duration) -> Self {
        Self::start(Command::new(env!("CARGO_BIN_EXE_akvfs")), source, options, limit)
    }

    fn start(command: Command, source: &str, options: &str, limit: Duration) -> Self {
        let (dir, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(aside.path().join("files")).unwrap();
        let daemon = spawn_daemon(command, source, options, (dir.path(), aside.path()));
        let mut mount = Self { daemon, dir, aside, ended: Arc::default(), watch: None };
        mount.wait_until_mounted();
        mount.watch = Some(watch(mount.dir.path(), mount.daemon.id(), limit));
        mount
    }

    /// Mounts again, where a daemon that was killed has left a dead mount.
    pub fn again(&mut self, source: &str, options: &str) {
        self.signal(libc::SIGKILL);
        self.daemon.wait().unwrap();
        let command = Command::new(env!("CARGO_BIN_EXE_akvfs"));
        self.daemon = spawn_daemon(command, source, options, (self.dir.path(), self.aside.path()));
        self.ended.store(false, Ordering::Relaxed);
        eventually("the mount", || {
            let ended = self.daemon.try_wait().unwrap();
            assert!(ended.is_none(), "no mount: {}", self.log());
            std::fs::read_dir(self.dir.path()).is_ok_and(|mut names| names.next().is_some())
        });
        stop_watching(&mut self.watch);
        self.watch = Some(watch(self.dir.path(), self.daemon.id(), MOUNT_LIMIT));
    }

    fn wait_until_mounted(&mut self) {
        // Before it gives itself up (`mount_timeout`), so that it can be seen what it waits for.
        let end = Instant::now() + SOON - Duration::from_secs(5);
        loop {
            let ended = self.daemon.try_wait().unwrap();
            assert!(ended.is_none(), "no mount: {}", self.log());
            // Its last words before it is left to its users.
            if self.is_mounted() && self.log().contains(" INFO akvfs::mount::session: akvfs ") {
                return;
            }
            assert!(Instant::now() < end, "waited for the mount; where its threads are:\n{}", threads_of(self.pid()));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A path below the mount.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// A path on another filesystem.
    pub fn aside(&self, path: &str) -> PathBuf {
        self.aside.path().join("files").join(path)
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.daemon.id()
    }

    pub fn is_mounted(&self) -> bool {
        mountinfo::top_at(self.dir.path()).unwrap().is_some()
    }

    /// What the daemon logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.aside.path().join("log")).unwrap()
    }

    /// How it ended, if it has.
    #[allow(dead_code, reason = "for the tests of what stays inside")]
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.daemon.try_wait().unwrap()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: numbers; the process is our own child, not waited for yet.
        unsafe { libc::kill(self.daemon.id().cast_signed(), signal) };
    }

    /// Whether the daemon ends by itself within `limit`.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.daemon.try_wait().unwrap().is_none() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.ended.store(true, Ordering::Relaxed);
        true
    }

    /// See [`World::bash`].
    pub fn bash(&self, secret: &str, script: &str) -> Ran {
        self.bash_at(At::Secret, secret, script)
    }

    /// See [`World::bash_at`].
    pub fn bash_at(&self, at: At, secret: &str, script: &str) -> Ran {
        let mut command = Command::new("bash");
        command.args(["-c", script]).envs([
            ("M", self.dir.path().to_owned()),
            ("N", secret.into()),
            ("D", self.path(&at.dir(secret))),
            ("B", at.base(secret).into()),
            ("V", self.path(&at.path(secret))),
            ("T", self.aside.path().join("files")),
            ("TYPE", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mount/type.py").into()),
            ("HOME", self.aside.path().join("files")),
        ]);
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "dumb")
            .current_dir(self.aside(""));
        run(command, PROGRAM_LIMIT)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("the end of the mount's log:\n{}", lines[lines.len().saturating_sub(200)..].join("\n"));
        }
        self.signal(libc::SIGTERM);
        let ended = self.ends_within(END_LIMIT);
        if !ended {
            break_connection(self.dir.path(), self.daemon.id());
            let _ = self.daemon.wait();
        }
        stop_watching(&mut self.watch);
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).stderr(Stdio::null()).status();
        if std::thread::panicking() {
            let log = self.log();
            let lines = log.lines().filter(|line| !line.contains(" DEBUG ") && !line.contains(" TRACE "));
            eprintln!("the daemon's log:\n{}", lines.collect::<Vec<_>>().join("\n"));
        } else {
            assert!(ended, "the daemon did not end in time:\n{}", self.log());
        }
    }
}

/// Starts a daemon that mounts on the first place and logs in the second.
fn spawn_daemon(mut command: Command, source: &str, options: &str, (dir, aside): (&Path, &Path)) -> Child {
    let log = File::options().create(true).append(true).open(aside.join("log")).unwrap();
    command.args(["mount", "-f", "-o", "rw"]).env("AKVFS_LOG", "akvfs=trace");
    if !options.is_empty() {
        command.args(["-o", options]);
    }
    command.arg(source).arg(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap()
}

/// A thread that breaks the mount when its test hangs, and what ends it.
type Watch = (mpsc::Sender<()>, JoinHandle<()>);

fn stop_watching(watch: &mut Option<Watch>) {
    if let Some((stop, thread)) = watch.take() {
        drop(stop);
        let _ = thread.join();
    }
}

fn watch(dir: &Path, daemon: u32, limit: Duration) -> Watch {
    let (stop, stopped) = mpsc::channel::<()>();
    let dir = dir.to_owned();
    let thread = std::thread::spawn(move || {
        if stopped.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            let threads = threads_of(daemon);
            eprintln!("a test hangs on {}; its mount is broken now; where its threads were:\n{threads}", dir.display());
            break_connection(&dir, daemon);
        }
    });
    (stop, thread)
}

/// Ends a mount whose daemon does not answer: whoever waits on it gets an error, even in a deadlock.
fn break_connection(dir: &Path, daemon: u32) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let line = table.lines().find(|line| line.split(' ').nth(4) == dir.to_str());
    let minor = line.and_then(|line| line.split([' ', ':']).nth(3));
    let connections = Path::new("/sys/fs/fuse/connections");
    if std::fs::read_dir(connections).is_ok_and(|mut entries| entries.next().is_none()) {
        let _ = Command::new("mount").args(["-t", "fusectl", "none"]).arg(connections).status();
    }
    if let Some(minor) = minor {
        let _ = std::fs::write(connections.join(minor).join("abort"), "1");
    }
    // SAFETY: numbers; our own child.
    unsafe { libc::kill(daemon.cast_signed(), libc::SIGKILL) };
}

/// What [`Ran::code`] is when the program took too long.
pub const KILLED: i32 = 124;

/// How a program ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    pub out: String,
    pub err: String,
    pub time: Duration,
}

impl Ran {
    /// Its output, if it succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }
}

/// Runs a program to its end; kills it and whatever it started after `limit`.
pub fn run(mut command: Command, limit: Duration) -> Ran {
    let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap()).process_group(0);
    let start = Instant::now();
    let mut child = command.spawn().unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > limit {
            // SAFETY: numbers; the group is the child's own.
            unsafe { libc::kill(-child.id().cast_signed(), libc::SIGKILL) };
            let _ = child.wait();
            let err = format!("killed after {limit:?}; it said: {}", text_of(&mut err));
            return Ran { code: KILLED, out: text_of(&mut out), err, time: start.elapsed() };
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let time = start.elapsed();
    Ran { code: status.code().unwrap_or(-1), out: text_of(&mut out), err: text_of(&mut err), time }
}

fn text_of(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a process has not ended. It is not waited for.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z") && !rest.starts_with(" X"))
}

/// Whether somebody traces every thread of a process, or has ended it already.
pub fn all_traced_or_gone(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    let is_traced =
        |status: String| status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"));
    let status = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("status"));
    !is_alive(pid) || threads.flatten().all(|thread| status(thread).is_ok_and(is_traced))
}

/// Each thread of a process: its name and what it waits for in the kernel.
fn threads_of(pid: u32) -> String {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return "none".to_owned() };
    let line = |thread: std::fs::DirEntry| {
        let told = |file| std::fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        ["comm", "wchan", "syscall", "stack"].map(|file| told(file).trim().to_owned()).join(" ")
    };
    threads.flatten().map(line).collect::<Vec<_>>().join("\n")
}

/// Waits until `look` says yes.
pub fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !look() {
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
