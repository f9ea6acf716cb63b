//! The wiring: the only place that knows all the floors.

mod attended;
mod connect;
mod errands;
mod floors;
mod needs;
mod news;
mod signing;

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use signal_hook::low_level;

use crate::cache::{CachedStore, RefreshOptions, Refresher, Watch};
use crate::clock::{Clock, SystemClock};
use crate::fs::audit::Audit;
use crate::fs::{About, SecretFs};
use crate::fuse::inflight::Hung;
use crate::fuse::notify::Announcer;
use crate::fuse::{Device, Limits, Serving, Shown};
use crate::local::{ServeError, Server};
use crate::metrics::{Metered, Metrics};
use crate::store::{ErrorKind, StoreError, Wait};
use crate::vault::SecretClient;

use super::attendant::Attendant;
use super::audit::AuditLog;
use super::options::{MountOptions, Settings};
use super::point::Place;
use super::source::Source;
use super::stop::{Event, Reason, Stop};
use super::supervisor::{self, Watchdog};
use super::unmount::Own;
use super::wake::{Waker, show_read_only};
use super::{process, sandbox};
use attended::{Attended, SignIns};
use floors::{about, at_once, cache_options, fs_options};
use news::Listener;

/// What `akvfs refresh` and `akvfs log` ask of a mount, and who does the latter.
pub use crate::fs::control::{LOG_REQUEST, Log, REFRESH_REQUEST};

pub use connect::connect;
pub use errands::Charge;

/// How often it is looked whether an unlinked value's delay is over, and what was left lying.
const TICK: Duration = Duration::from_millis(100);
/// How long an end that was asked for waits for the vault (five seconds altogether).
const SETTLE_LIMIT: Duration = Duration::from_secs(4);
/// What the audit has to itself where nothing of that is left.
const AUDIT_LIMIT: Duration = Duration::from_millis(200);

/// A mount that is usable.
pub struct Session {
    fs: Arc<SecretFs>,
    serving: Serving,
    clock: Arc<dyn Clock>,
    place: Place,
    own: Own,
    /// For the service manager.
    status: String,
    audit: Option<Arc<AuditLog>>,
    attendant: Arc<Attendant>,
    announcer: Arc<Announcer>,
    /// Keeps what is in use fresh.
    watch: Watch,
    /// Ends the thread that sends delayed removals.
    ending: Arc<AtomicBool>,
    /// The embedded vault. It ends last.
    _server: Option<Server>,
}

/// Why a mount is not usable, or ended badly: a reason and a remedy.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The embedded vault does not start.
    #[error("the embedded vault does not start: {0}")]
    Local(#[from] ServeError),
    /// There is no client.
    #[error("{0}")]
    Client(String),
    /// The vault's first answer was no.
    #[error("{error}{}", remedy(.error.kind))]
    Vault {
        /// What it said.
        error: StoreError,
    },
    /// The kernel does not mount.
    #[error("{0}")]
    Kernel(String),
}

fn remedy(kind: ErrorKind) -> String {
    match remedy_for(kind) {
        "" => String::new(),
        remedy => format!("; {remedy}"),
    }
}

/// What to do about a failure; empty where nothing general can be said.
pub fn remedy_for(kind: ErrorKind) -> &'static str {
    crate::fs::errno::remedy(kind)
}

/// Mounts `source` at `place`; returns when the vault has given its first answer and the kernel its first request.
/// What this process may no longer do then is done by the attendant at the other end of the socket. `own` is told of the mount as
/// soon as there is one.
pub fn start(
    source: &Source,
    place: &Place,
    settings: &Settings,
    log: Arc<dyn Log>,
    attendant: UnixStream,
    own: &Own,
) -> Result<Session, MountError> {
    let options = &settings.mount;
    let clock = SystemClock::shared();
    let cannot = |error: io::Error| MountError::Kernel(error.to_string());
    let attendant = Attendant::over(attendant).map_err(cannot)?;
    let (client, server) = connect(&source.vault, options, Some(Arc::new(SignIns(attendant.clone()))), &clock)?;
    tracing::debug!("there is a client for {}", client.vault_url());
    let about = about(source, client.vault_url(), place, options);
    let metrics = Arc::new(Metrics::default());
    let signed_in = client.clone();
    let client = Arc::new(Metered::new(Arc::new(client), metrics.clone(), clock.clone()));
    if !options.lazy_auth {
        // A little less, so that the reason comes before the process that waits gives up.
        let limit = settings.mount_timeout.mul_f64(0.9);
        connect::check_answers(&*client, Wait::at_most(&*clock, limit))?;
        tracing::debug!("the vault answers");
    }
    let store = Arc::new(CachedStore::counting(client, cache_options(options), clock.clone(), metrics.clone()));
    store.fetch_ahead(at_once(options), options.timeout);
    let announcer = Arc::new(Announcer::default());
    let fs = SecretFs::new(
        store.clone(),
        clock.clone(),
        Arc::new(Attended::new(attendant.clone(), options.write_timeout)),
        announcer.clone(),
        fs_options(options, about),
    );
    let audit = start_audit(settings, &metrics)?;
    let told = audit.clone().map(|audit| -> Arc<dyn Audit> { audit });
    let whom = signed_in.clone();
    let hung = give_up(log.clone());
    let fs = fs.counting(metrics).audited(told).logging(log).signing_in(Box::new(move || identity(&whom)));
    let fs = Arc::new(fs);
    let limits = Limits { read: options.timeout, change: options.write_timeout };
    // Who watches files of a mount that is read-only only as users see it can be woken.
    let outside = options.read_only && process::is_root() && matches!(place, Place::Directory(_));
    let read_only = options.read_only && !outside;
    let shown = Shown { source: &source.text, to_others: options.allow_other, read_only };
    let serving = Serving::start(fs.clone(), &announcer, device(place)?, shown, limits, clock.clone(), hung)
        .map_err(|error| MountError::Kernel(cannot_mount(&error)))?;
    if let Place::Directory(directory) = place {
        own.remember(directory);
    }
    tracing::debug!("the kernel knows the mount");
    if let (true, Place::Directory(directory)) = (outside, place)
        && let Err(error) = show_read_only(directory)
    {
        // It refuses every change all the same.
        tracing::warn!("the mount is not shown as read-only: {error}");
    }
    let ending = Arc::new(AtomicBool::new(false));
    start_ticking(fs.clone(), clock.clone(), ending.clone()).map_err(cannot)?;
    let waker = Waker::start().map_err(cannot)?;
    let hook = options.on_change.is_some().then(|| attended::hook(attendant.clone()));
    let thread = attended::waking_thread(&attendant);
    let listener = Listener { fs: fs.clone(), attendant: attendant.clone(), waker, thread, hook };
    news::start_listening(store.changes(), listener).map_err(cannot)?;
    let watch = keep_fresh(store, fs.clone(), options)?;
    tracing::debug!("everything runs");
    // Last, so that what starts here may do what it does once.
    for lacking in sandbox::enter(&needs::needs(settings, signed_in.vault_url())) {
        tracing::warn!("{lacking}");
    }
    say_what_is_mounted(&fs.options().about, &signed_in);
    let status = format!("{source} is mounted");
    Ok(Session {
        fs,
        serving,
        clock,
        place: place.clone(),
        own: own.clone(),
        status,
        announcer,
        watch,
        audit,
        attendant,
        ending,
        _server: server,
    })
}

/// As whom the vault is asked, from memory: without a first answer (lazy_auth) it is not known yet.
fn identity(client: &SecretClient) -> Option<String> {
    client.sign_in(Wait::No).ok().flatten().map(|claims| claims.to_string())
}

/// The log's first line, but for warnings.
fn say_what_is_mounted(about: &About, client: &SecretClient) {
    let whom = identity(client).map_or_else(String::new, |identity| format!(" as {identity}"));
    let About { version, source, vault, directory, auth, options, .. } = about;
    let told = if options.is_empty() { "none" } else { options };
    tracing::info!(
        "akvfs {version} has mounted {source} at {directory}: {vault}, signed in by {auth}{whom}, options {told}"
    );
}

/// What to do when a request hangs inside: nothing that it may hold can be waited for, so this process ends as if it had
/// been killed. The attendant unmounts then, the kernel lets go of everybody, and a service manager starts another one.
fn give_up(log: Arc<dyn Log>) -> Hung {
    Box::new(move |what| {
        tracing::error!("akvfs itself hangs: {what}; the mount is given up, please report it with the log");
        log.flush();
        // Not by exit(3), which runs what others have left to be run.
        low_level::exit(libc::EXIT_FAILURE);
    })
}

fn device(place: &Place) -> Result<Device<'_>, MountError> {
    match place {
        Place::Directory(dir) => Ok(Device::MountOn(dir)),
        Place::Descriptor(number) => {
            // SAFETY: the descriptor was opened for us before this program began, and this is the only use of it.
            let taken = unsafe { process::take_descriptor(*number) };
            taken.map(Device::Mounted).map_err(|error| MountError::Kernel(error.to_string()))
        }
    }
}

fn start_audit(settings: &Settings, metrics: &Arc<Metrics>) -> Result<Option<Arc<AuditLog>>, MountError> {
    let Some(target) = settings.audit_target() else { return Ok(None) };
    let metrics = metrics.clone();
    let started = AuditLog::start(&target, Box::new(move || metrics.audit_lost.add()));
    let cannot = |error| MountError::Kernel(format!("the audit cannot be written to {target}: {error}"));
    started.map(|log| Some(Arc::new(log))).map_err(cannot)
}

impl Audit for AuditLog {
    fn say(&self, line: String) {
        AuditLog::say(self, line);
    }
}

fn cannot_mount(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!(
                "the kernel does not let this user mount ({error}); run it as root, or install fuse3 (apt-get install fuse3)"
            )
        }
        io::ErrorKind::NotFound => format!("{error}; is fusermount3 installed (apt-get install fuse3)?"),
        _ => error.to_string(),
    }
}

fn start_ticking(fs: Arc<SecretFs>, clock: Arc<dyn Clock>, ending: Arc<AtomicBool>) -> io::Result<()> {
    let tick = move || {
        while !ending.load(Ordering::Relaxed) {
            clock.sleep(TICK);
            fs.send_due_removals();
            fs.tell_of_left_files();
            fs.forget_orphans();
        }
    };
    thread::Builder::new().name("akvfs-ticks".into()).spawn(tick).map(drop)
}

fn keep_fresh(store: Arc<CachedStore>, fs: Arc<SecretFs>, options: &MountOptions) -> Result<Watch, MountError> {
    let seed = getrandom::u64().map_err(|error| MountError::Client(format!("no random numbers: {error}")))?;
    let how = RefreshOptions {
        ttl: options.ttl,
        kernel_ttl: options.kernel_ttl,
        idle_ttl: options.idle_ttl,
        all_held: options.on_change.is_some(),
        timeout: options.timeout,
        seed,
    };
    let refresher = Refresher::new(store, Box::new(move || fs.held_secrets()), how);
    Watch::start(refresher).map_err(|error| MountError::Kernel(error.to_string()))
}

impl Session {
    /// Carries the mount until it is unmounted, or until `stop` is requested and pending changes are settled.
    pub fn wait(self, stop: &Stop) -> Result<(), MountError> {
        let Self { fs, serving, clock, place, own, status, announcer, watch, audit, attendant, ending, _server } = self;
        let loops = join_in_background(serving, stop.clone())?;
        let watchdog = Watchdog::start(answers(&place), clock.clone());
        let watchdog = watchdog.map_err(|error| MountError::Kernel(error.to_string()))?;
        supervisor::ready(&status);
        let reason = carry(&fs, audit.as_deref(), &clock, stop);
        tracing::info!("the mount ends: {reason}");
        supervisor::stopping();
        drop((watchdog, watch));
        ending.store(true, Ordering::Relaxed);
        // One limit for all that is left to do.
        let wait = Wait::at_most(&*clock, SETTLE_LIMIT);
        // A refusal is in the log; there is nothing else to do about it now.
        let _ = fs.send_removals(wait);
        for path in fs.not_renamed() {
            tracing::warn!("{path} was written, and never renamed to what it was meant to be: it is lost");
        }
        announcer.stop();
        let ended = match reason {
            Reason::Unmounted => match loops.join() {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(MountError::Kernel(format!("the mount broke: {error}"))),
                Err(_) => Err(MountError::Kernel("the mount broke inside".to_owned())),
            },
            Reason::Asked => {
                attended::unmount(&attendant, own.device()).map_err(|error| MountError::Kernel(error.to_string()))
            }
        };
        // A release behind the last close may still save, also where somebody else has unmounted.
        fs.settle(wait);
        // Not left to its drop, which never comes: what hears of changes holds the files, and they hold it.
        let left = audit.map_or(0, |audit| audit.end(wait.remaining(&*clock).max(AUDIT_LIMIT)));
        if left > 0 {
            tracing::error!("{left} lines of the audit are lost: they could not be written before the end");
        }
        ended
    }
}

fn join_in_background(serving: Serving, stop: Stop) -> Result<JoinHandle<io::Result<()>>, MountError> {
    let join = move || {
        let ended = serving.join();
        stop.request(Reason::Unmounted);
        ended
    };
    let spawned = thread::Builder::new().name("akvfs-session".into()).spawn(join);
    spawned.map_err(|error| MountError::Kernel(error.to_string()))
}

/// Does what is asked for, until it is the end.
fn carry(fs: &Arc<SecretFs>, audit: Option<&AuditLog>, clock: &Arc<dyn Clock>, stop: &Stop) -> Reason {
    loop {
        match stop.next() {
            Event::Refresh => {
                if let Some(audit) = audit {
                    audit.reopen();
                }
                refresh_in_background(fs.clone(), clock.clone());
            }
            Event::End(reason) => return reason,
        }
    }
}

/// Not here: a vault that hangs must not delay the end.
fn refresh_in_background(fs: Arc<SecretFs>, clock: Arc<dyn Clock>) {
    let look = move || {
        supervisor::reloading(|| {
            tracing::info!("looking again at everything");
            let wait = Wait::at_most(&*clock, fs.options().write_timeout);
            if let Err(error) = fs.refresh(None, wait) {
                tracing::warn!("looking again has failed: {error}");
            }
        });
    };
    if let Err(error) = thread::Builder::new().name("akvfs-refresh".into()).spawn(look) {
        tracing::warn!("there is no thread to look again: {error}");
    }
}

/// Whether the mount answers: asked through the kernel, as everybody else does.
fn answers(place: &Place) -> impl Fn() -> bool + Send + 'static {
    let place = place.clone();
    move || match &place {
        Place::Directory(dir) => process::file_system_answers(dir),
        // Where it is mounted, only who mounted it knows.
        Place::Descriptor(_) => true,
    }
}
