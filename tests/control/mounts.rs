//! Real mounts for tests: `akvfs mount -f` and `akvfs serve` as children. Both are gone at the end, whatever happens.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use akvfs::clock::SystemClock;
use akvfs::mount::mountinfo;
use akvfs::vault::{ClientOptions, SecretClient, StaticToken};

/// For what must happen at all. A mount that hangs is killed then, so that whoever waits on it goes on.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mount and its daemon.
pub struct Mounted {
    dir: PathBuf,
    daemon: Child,
    place: tempfile::TempDir,
    _watchdog: Sender<()>,
}

/// Kills a daemon that is still there after [`PATIENCE`].
fn watch(pid: u32) -> Sender<()> {
    let (alive, ended) = mpsc::channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            signal(pid, libc::SIGKILL);
        }
    });
    alive
}

fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: numbers; the process is a child that was not waited for yet.
    unsafe { libc::kill(pid.try_into().unwrap(), signal) };
}

/// Waits until `look` says yes.
pub fn eventually(look: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < end, "waited in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn akvfs() -> Command {
    Command::new(env!("CARGO_BIN_EXE_akvfs"))
}

/// A loud word where nobody may mount.
pub fn can_mount() -> bool {
    let device = File::options().read(true).write(true).open("/dev/fuse");
    device.inspect_err(|error| skipped!("/dev/fuse cannot be opened: {error}")).is_ok()
}

impl Mounted {
    /// `None`, and a loud word, where nobody may mount.
    pub fn new(source: &str, options: &str) -> Option<Self> {
        Self::logging(source, options, "debug")
    }

    /// The same, that logs at `level`.
    pub fn logging(source: &str, options: &str, level: &str) -> Option<Self> {
        Self::logging_into(source, options, level, None)
    }

    /// The same, that logs into `log`, if there is one.
    pub fn logging_into(source: &str, options: &str, level: &str, log: Option<Stdio>) -> Option<Self> {
        if !can_mount() {
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().canonicalize().unwrap().join("mount");
        fs::create_dir(&dir).unwrap();
        let mut mounted = Self::spawn(place, dir, (source, options, level), log);
        mounted.until_usable();
        Some(mounted)
    }

    /// Begins to mount at `dir`, where another may be, and does not wait until it is usable.
    pub fn starting_at(dir: &Path, source: &str) -> Self {
        Self::spawn(tempfile::tempdir().unwrap(), dir.to_owned(), (source, "ttl=10m", "info"), None)
    }

    fn spawn(
        place: tempfile::TempDir,
        dir: PathBuf,
        (source, options, level): (&str, &str, &str),
        log: Option<Stdio>,
    ) -> Self {
        let log = log.unwrap_or_else(|| File::create(place.path().join("log")).unwrap().into());
        let mut command = akvfs();
        command.args(["mount", source]).arg(&dir).args(["-f", "-o", options]).env("AKVFS_LOG", level);
        let daemon = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let watchdog = watch(daemon.id());
        Self { dir, daemon, place, _watchdog: watchdog }
    }

    fn until_usable(&mut self) {
        let end = Instant::now() + PATIENCE;
        while mountinfo::top_at(&self.dir).unwrap().is_none() {
            assert!(self.daemon.try_wait().unwrap().is_none(), "the mount ended: {}", self.log());
            assert!(Instant::now() < end, "no mount: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.daemon.id()
    }

    pub fn signal(&self, number: libc::c_int) {
        signal(self.daemon.id(), number);
    }

    /// Leaves a dead mount behind.
    /// Kills it and its attendant, which would take the mount away.
    pub fn kill(&mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.daemon.id());
        let attendants = fs::read_to_string(children).unwrap();
        attendants.split_whitespace().for_each(|pid| signal(pid.parse().unwrap(), libc::SIGKILL));
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }

    /// Whether it ends within `limit`.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if self.daemon.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// What it has logged; a line may be on its way still.
    pub fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        signal(self.daemon.id(), libc::SIGTERM);
        let end = Instant::now() + Duration::from_secs(10);
        while matches!(self.daemon.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.dir).stderr(Stdio::null()).status();
    }
}

/// A local vault in a process of its own.
pub struct Served {
    server: Child,
    pub url: String,
}

impl Served {
    pub fn new() -> Self {
        let mut command = akvfs();
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        let mut server = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { server, url }
    }

    /// Another party.
    pub fn client(&self) -> SecretClient {
        let options = ClientOptions { verify_challenge_resource: false, ..ClientOptions::default() };
        let token = Arc::new(StaticToken::new("local".to_owned()));
        SecretClient::new(&self.url, token, options, SystemClock::shared()).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
