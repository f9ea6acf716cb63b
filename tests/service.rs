//! A mount as a service: what it tells the service manager, what signals do, and how long it may take to end.
//!
//! Needs /dev/fuse and the right to mount; says so and passes where that is missing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
#[path = "support/skipped.rs"]
mod skipped;

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use akvfs::clock::SystemClock;
use akvfs::local::{Fault, FaultKind, ServeOptions, Server};
use akvfs::mount::{mountinfo, point, unmount};
use akvfs::secret::{SecretAttributes, SecretName, SecretValue};
use akvfs::vault::{ClientOptions, SecretClient, StaticToken};

/// For what must happen at all.
const SOON: Duration = Duration::from_secs(20);
/// An end that was asked for, whatever the vault does.
const END_LIMIT: Duration = Duration::from_secs(5);

/// A vault of the test's own.
struct Vault(Server);

impl Vault {
    fn new() -> Self {
        Self::with(ServeOptions::default())
    }

    fn with(options: ServeOptions) -> Self {
        let vault = Self(Server::start(options, SystemClock::shared()).unwrap());
        vault.set("first");
        vault
    }

    /// Gives the secret `a` this value, behind the mount's back.
    fn set(&self, value: &str) {
        let tokens = Arc::new(StaticToken::new("local".to_owned()));
        let options = ClientOptions { verify_challenge_resource: false, ..ClientOptions::default() };
        let client = SecretClient::new(self.0.url(), tokens, options, SystemClock::shared()).unwrap();
        let name = SecretName::parse("a").unwrap();
        client.set_secret(&name, &SecretValue::new(value.to_owned()), &SecretAttributes::default()).unwrap();
    }

    fn stall(&self) {
        self.0.inject(Fault { operation: None, count: u32::MAX, kind: FaultKind::Stall });
    }
}

/// `akvfs -f` on a directory, under a service manager that is the test. All is gone at the end, whatever happens.
struct Service {
    place: tempfile::TempDir,
    socket: UnixDatagram,
    child: Child,
    /// How it said that it was ready.
    ready: String,
}

impl Service {
    /// `None`, and a loud word, where nobody may mount.
    fn start(vault: &Vault, words: &[&str]) -> Option<Self> {
        if let Err(reason) = point::check_device() {
            skipped!("{reason}");
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(place.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let dir = place.path().join("mnt");
        fs::create_dir(&dir).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_akvfs"))
            .args(["mount", "-f", vault.0.url()])
            .arg(&dir)
            .args(words)
            .env("NOTIFY_SOCKET", place.path().join("notify"))
            .env("WATCHDOG_USEC", "100000")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut service = Self { place, socket, child, ready: String::new() };
        service.ready = service.wait_for("READY=1");
        Some(service)
    }

    fn dir(&self) -> PathBuf {
        self.place.path().canonicalize().unwrap().join("mnt")
    }

    fn value(&self) -> PathBuf {
        self.dir().join("secrets/a/value")
    }

    /// The next message that is not the watchdog's.
    fn told(&self) -> String {
        loop {
            let mut message = [0; 4096];
            let length = self.socket.recv(&mut message).expect("the service manager is told");
            let text = String::from_utf8_lossy(&message[..length]).into_owned();
            if text.trim() != "WATCHDOG=1" {
                return text;
            }
        }
    }

    fn wait_for(&self, line: &str) -> String {
        let told = self.told();
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
        told
    }

    fn signal(&self, signal: libc::c_int) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: numbers; the process is one that the test has started and not waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    fn is_mounted(&self) -> bool {
        mountinfo::top_at(&self.dir()).unwrap().is_some()
    }

    /// Waits for its end; the exit code.
    fn end(&mut self) -> Option<i32> {
        let ended = eventually("the end", || self.child.try_wait().unwrap());
        ended.code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = Command::new("umount").arg("-l").arg(self.dir()).stderr(Stdio::null()).status();
    }
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A program that reads `path`, which may hang: never in the test's own process.
fn read(path: &Path) -> Child {
    Command::new("timeout").args(["30", "cat"]).arg(path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn read_now(path: &Path) -> String {
    String::from_utf8(read(path).wait_with_output().unwrap().stdout).unwrap()
}

fn mount_in_background(vault: &Vault, dir: &Path, options: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_akvfs"))
        .args(["mount", vault.0.url()])
        .arg(dir)
        .args(["-o", options])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn in_the_background_it_keeps_nothing_that_its_caller_has_open() {
    if let Err(reason) = point::check_device() {
        return skipped!("{reason}");
    }
    let (vault, place) = (Vault::new(), tempfile::tempdir().unwrap());
    let (mut theirs, ours) = std::io::pipe().unwrap();
    let script = r#"exec "$0" mount "$@" 9>&0 </dev/null"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_akvfs"), vault.0.url()]).arg(place.path()).stdin(ours);
    let ran = command.output().unwrap();
    // It has the other end of the pipe.
    drop(command);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(theirs.read_to_end(&mut Vec::new()).unwrap()));
    let ended = told.recv_timeout(SOON);
    let read = read_now(&place.path().join("secrets/a/value"));
    let device = akvfs::mount::mountinfo::top_at(place.path()).unwrap().unwrap().device;
    unmount::detach(place.path(), &device).unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!((ended, read.as_str()), (Ok(0), "first"), "the pipe is closed while the mount is there");
}

#[test]
fn the_service_manager_hears_of_readiness_reload_and_end() {
    let vault = Vault::new();
    let Some(mut service) = Service::start(&vault, &[]) else { return };
    for line in [format!("MAINPID={}", service.child.id()), format!("STATUS={} is mounted", vault.0.url())] {
        assert!(service.ready.lines().any(|told| told == line), "{line}: {}", service.ready);
    }
    assert_eq!(read_now(&service.value()), "first");
    service.signal(libc::SIGHUP);
    let told = service.wait_for("RELOADING=1");
    assert!(told.contains("MONOTONIC_USEC="), "{told}");
    service.wait_for("READY=1");
    service.signal(libc::SIGTERM);
    service.wait_for("STOPPING=1");
    assert_eq!(service.end(), Some(0));
    assert!(!service.is_mounted());
}

#[test]
fn the_watchdog_hears_of_a_mount_that_answers() {
    let vault = Vault::new();
    let Some(service) = Service::start(&vault, &[]) else { return };
    for _ in 0..3 {
        let mut message = [0; 4096];
        let length = service.socket.recv(&mut message).unwrap();
        assert_eq!(String::from_utf8_lossy(&message[..length]).trim(), "WATCHDOG=1");
    }
    // A vault that hangs is no mount that hangs.
    vault.stall();
    let reader = read(&service.value());
    for _ in 0..3 {
        service.socket.recv(&mut [0; 4096]).unwrap();
    }
    service.signal(libc::SIGTERM);
    drop(reader.wait_with_output());
}

#[test]
fn sighup_shows_what_changed_elsewhere() {
    let vault = Vault::new();
    let Some(service) = Service::start(&vault, &["-o", "ttl=1h,kernel_ttl=1h"]) else { return };
    assert_eq!(read_now(&service.value()), "first");
    vault.set("second");
    assert_eq!(read_now(&service.value()), "first", "an hour is not over");
    service.signal(libc::SIGHUP);
    eventually("the new value", || (read_now(&service.value()) == "second").then_some(()));
}

#[test]
fn a_hung_vault_does_not_delay_the_end() {
    let vault = Vault::new();
    let options = "timeout=60s,write_timeout=60s,delete_delay=1h,ttl=0s";
    let Some(mut service) = Service::start(&vault, &["-o", options]) else { return };
    assert_eq!(read_now(&service.value()), "first");
    // A removal that waits to be sent, and a reader that waits for an answer.
    fs::remove_file(service.value()).unwrap();
    vault.stall();
    let reader = read(&service.dir().join("secrets/b/value"));
    let asked = vault.0.request_count();
    eventually("the reader's request", || (vault.0.request_count() > asked).then_some(()));
    let begin = Instant::now();
    service.signal(libc::SIGTERM);
    service.end();
    let took = begin.elapsed();
    assert!(took < END_LIMIT, "{took:?}");
    assert!(!service.is_mounted());
    assert!(!reader.wait_with_output().unwrap().status.success());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let vault = Vault::new();
    let Some(mut service) = Service::start(&vault, &["-o", "delete_delay=1h"]) else { return };
    fs::remove_file(service.value()).unwrap();
    vault.stall();
    service.signal(libc::SIGTERM);
    service.wait_for("STOPPING=1");
    let begin = Instant::now();
    service.signal(libc::SIGINT);
    assert_eq!(service.end(), Some(1));
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert!(!service.is_mounted());
}

#[test]
fn an_unmounted_filesystem_ends_its_daemon() {
    let vault = Vault::new();
    let Some(mut service) = Service::start(&vault, &[]) else { return };
    let unmounted = Command::new(env!("CARGO_BIN_EXE_akvfs")).arg("unmount").arg(service.dir()).status().unwrap();
    assert!(unmounted.success());
    assert_eq!(service.end(), Some(0));
}

#[test]
fn a_mount_that_does_not_become_usable_is_given_up() {
    if let Err(reason) = point::check_device() {
        return skipped!("{reason}");
    }
    let vault = Vault::new();
    vault.stall();
    let place = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let output = mount_in_background(&vault, place.path(), "mount_timeout=500ms");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(32), "{said}");
    assert!(said.starts_with("akvfs: cannot mount http://127.0.0.1:") && said.matches('\n').count() == 1, "{said}");
    assert_eq!(mountinfo::top_at(&place.path().canonicalize().unwrap()).unwrap(), None);
}

#[test]
fn a_first_answer_may_take_as_long_as_the_mount_may() {
    let slow = ServeOptions { latency: Duration::from_millis(700), ..ServeOptions::default() };
    let vault = Vault::with(slow);
    // Two answers come before it is usable: the challenge, and the one that is meant.
    let Some(service) = Service::start(&vault, &["-o", "timeout=1s,mount_timeout=50s"]) else { return };
    assert!(service.is_mounted());
}

#[test]
fn lazy_auth_mounts_before_the_vault_answers() {
    let vault = Vault::new();
    vault.stall();
    let Some(service) = Service::start(&vault, &["-o", "lazy_auth,timeout=1s"]) else { return };
    assert!(service.is_mounted());
    let refused = read(&service.value()).wait_with_output().unwrap();
    assert!(!refused.status.success());
    vault.0.clear_faults();
    eventually("the value", || (read_now(&service.value()) == "first").then_some(()));
}
