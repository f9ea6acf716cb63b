//! Bad days inside: a call that panics, one that never ends. The filesystem is served from this process, over a store that
//! does what it is told; only other processes use the mount.

use std::fs;
use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use akvfs::around::Around;
use akvfs::cache::{CacheOptions, CachedStore};
use akvfs::clock::SystemClock;
use akvfs::fs::processes::ProcFs;
use akvfs::fs::{FsOptions, SecretFs};
use akvfs::fuse::notify::Announcer;
use akvfs::fuse::{Device, Limits, Serving, Shown};
use akvfs::local::{self, Fault, FaultKind, ServeOptions};
use akvfs::metrics::Metrics;
use akvfs::secret::{SecretAttributes, SecretName};
use akvfs::store::{Operation, SecretStore, StoreError, Wait};

use super::harness::{Mount, Ran, Vault, can_mount, eventually, run};
use super::support::{ModelStore, name, value};

const LIMIT: Duration = Duration::from_secs(1);
/// A program that waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(20);

const ON_PURPOSE: &str = "on purpose";

/// A store in which asking for the value of `panics` panics, and for that of `hangs` never ends.
struct Bad {
    below: Arc<ModelStore>,
    freed: AtomicBool,
}

impl Around for Bad {
    fn below(&self) -> &dyn SecretStore {
        &*self.below
    }

    fn around<T>(
        &self,
        _operation: Operation,
        name: Option<&SecretName>,
        wait: Wait,
        ask: impl FnOnce(&dyn SecretStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if wait != Wait::No {
            match name.map(SecretName::as_str) {
                Some("panics") => std::panic::panic_any(ON_PURPOSE),
                Some("hangs") => {
                    while !self.freed.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
                _ => {}
            }
        }
        ask(self.below())
    }
}

/// A mount whose daemon is this process.
struct Inside {
    dir: tempfile::TempDir,
    serving: Option<Serving>,
    metrics: Arc<Metrics>,
    bad: Arc<Bad>,
    hung: mpsc::Receiver<String>,
}

impl Inside {
    fn new() -> Option<Self> {
        if !can_mount() {
            return None;
        }
        let clock = SystemClock::shared();
        let model = ModelStore::new(clock.clone());
        for secret in ["good", "other", "panics", "hangs"] {
            let wait = Wait::at_most(&*clock, LIMIT);
            model.set(&name(secret), &value(secret), &SecretAttributes::default(), wait).unwrap();
        }
        let bad = Arc::new(Bad { below: model, freed: AtomicBool::new(false) });
        let metrics = Arc::<Metrics>::default();
        let store = CachedStore::counting(bad.clone(), CacheOptions::default(), clock.clone(), metrics.clone());
        let announcer = Arc::<Announcer>::default();
        let options = FsOptions::default();
        let fs = SecretFs::new(Arc::new(store), clock.clone(), Arc::new(ProcFs), announcer.clone(), options);
        let fs = Arc::new(fs.counting(metrics.clone()));
        let dir = tempfile::tempdir().unwrap();
        let (tell, hung) = mpsc::channel();
        let shown = Shown { source: "inside", to_others: false, read_only: false };
        let limits = Limits { read: LIMIT, change: LIMIT };
        let hear = Box::new(move |what| tell.send(what).unwrap());
        let serving = Serving::start(fs, &announcer, Device::MountOn(dir.path()), shown, limits, clock, hear).unwrap();
        Some(Self { dir, serving: Some(serving), metrics, bad, hung })
    }

    fn command(&self, script: &str) -> Command {
        let mut bash = Command::new("bash");
        bash.args(["-c", script]).env("M", self.dir.path()).env("LC_ALL", "C");
        bash
    }

    fn bash(&self, script: &str) -> Ran {
        run(self.command(script), PATIENCE)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.bad.freed.store(true, Ordering::Relaxed);
        let unmounted = Command::new("umount").arg("-l").arg(self.dir.path()).status().unwrap();
        assert!(unmounted.success());
        self.serving.take().unwrap().join().unwrap();
    }
}

/// What panics on purpose says nothing: a backtrace takes a second.
fn hush() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref() != Some(&ON_PURPOSE) {
            usual(info);
        }
    }));
}

#[test]
fn a_call_that_panics_is_an_eio_is_counted_and_costs_nothing_else() {
    let Some(inside) = Inside::new() else { return };
    hush();
    for round in 1..=80 {
        let ran = inside.bash(r#"cat "$M/secrets/panics/value""#);
        assert!(ran.code == 1 && ran.err.contains("Input/output error"), "{ran:?}");
        assert_eq!(inside.metrics.panics.get(), round);
    }
    // More than there are threads: none was lost.
    assert_eq!(
        inside.bash(r#"cat "$M/secrets/good/value"; echo new > "$M/secrets/other/value" && cat "$M/files/other""#).ok(),
        "goodnew\n"
    );
    assert!(inside.bash(r#"cat "$M/.akvfs/errors""#).ok().contains("please report it"));
    let status: serde_json::Value = serde_json::from_str(&inside.bash(r#"cat "$M/.akvfs/status.json""#).ok()).unwrap();
    assert_eq!(status["errors"]["panics"], 80);
}

#[test]
fn a_request_that_never_ends_is_noticed_and_holds_up_no_other() {
    let Some(inside) = Inside::new() else { return };
    let mut hangs = inside.command(r#"cat "$M/secrets/hangs/value""#).spawn().unwrap();
    let what = inside.hung.recv_timeout(PATIENCE).expect("told");
    assert!(what.contains("its limit is 1s"), "{what}");
    assert_eq!(inside.bash(r#"cat "$M/secrets/good/value""#).ok(), "good");
    inside.bad.freed.store(true, Ordering::Relaxed);
    // Its time is over, whatever comes.
    assert!(!hangs.wait().unwrap().success());
    assert!(inside.hung.try_recv().is_err(), "told once");
}

/// A thread of the daemon that stands still, as in a system call or a lock that never comes back.
struct Frozen(libc::pid_t);

impl Frozen {
    /// All threads that serve requests which wait. `None`, and a loud word, where that is not allowed.
    fn workers_of(daemon: u32) -> Option<Vec<Self>> {
        let name = |thread: &fs::DirEntry| fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let threads = fs::read_dir(format!("/proc/{daemon}/task")).unwrap().map(Result::unwrap);
        let workers = threads.filter(|thread| name(thread) == "akvfs-worker\n");
        workers.map(|thread| Self::thread(thread.file_name().to_str().unwrap().parse().unwrap())).collect()
    }

    fn thread(thread: libc::pid_t) -> Option<Self> {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: numbers; no memory of ours is touched.
        let stopped = unsafe {
            libc::ptrace(libc::PTRACE_SEIZE, thread, none, none) == 0
                && libc::ptrace(libc::PTRACE_INTERRUPT, thread, none, none) == 0
        };
        if !stopped {
            skipped!("a thread of a daemon cannot be stopped here: {}", io::Error::last_os_error());
        }
        stopped.then_some(Self(thread))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let mut status = 0;
        // Takes what the thread has to say until it has ended, or is nobody's any more.
        // SAFETY: a pointer to a number that lives through the call.
        while unsafe { libc::waitpid(self.0, &raw mut status, libc::__WALL) } == self.0 && !libc::WIFEXITED(status) {}
    }
}

#[test]
fn a_daemon_that_hangs_inside_ends_itself_and_lets_everybody_go() {
    let Some(vault) = Vault::with(ServeOptions::default(), &[("a", "one")]) else { return };
    let mut mount = Mount::new(vault.url(), "timeout=1s,write_timeout=1s");
    mount.bash("a", r#"ls "$M/secrets""#).ok();
    vault.server.inject(Fault { operation: Some(local::Operation::Get), count: u32::MAX, kind: FaultKind::Stall });
    let reader = std::thread::scope(|scope| {
        let reader = scope.spawn(|| mount.bash("a", r#"cat "$V""#));
        eventually("the request", || vault.requests("get") > 0);
        let frozen = Frozen::workers_of(mount.pid());
        let reader = reader.join().unwrap();
        frozen.map(|_| reader)
    });
    let Some(reader) = reader else { return };
    assert!(reader.code == 1 && reader.time < PATIENCE, "{reader:?}");
    assert!(mount.ends_within(PATIENCE), "it does not end");
    let log = mount.log();
    assert!(log.contains("akvfs itself hangs: a ") && log.contains("its limit is 1s"), "{log}");
    assert!(!mount.is_mounted(), "it is detached");
}

/// A process that stands still until this is dropped.
struct Stopped(libc::pid_t);

impl Stopped {
    fn child_of(daemon: u32) -> Self {
        let children = fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children")).unwrap();
        let only: libc::pid_t = children.trim().parse().unwrap();
        // SAFETY: numbers; the process is a child of one that the test has started.
        assert_eq!(unsafe { libc::kill(only, libc::SIGSTOP) }, 0);
        Self(only)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::kill(self.0, libc::SIGCONT) };
    }
}

#[test]
fn an_attendant_that_stands_still_delays_a_save_and_costs_no_mount() {
    let Some(vault) = Vault::with(ServeOptions::default(), &[("a", "one")]) else { return };
    let mount = Mount::new(vault.url(), "timeout=1s,write_timeout=1s");
    let stopped = Stopped::child_of(mount.pid());
    assert!(mount.bash("a", r#"printf two > "$V""#).time < PATIENCE);
    eventually("the save", || vault.get("a").as_deref() == Ok("two"));
    drop(stopped);
    eventually("the word", || mount.log().contains("who may still write is not known"));
    assert_eq!(mount.bash("a", r#"cat "$V""#).ok(), "two");
}
