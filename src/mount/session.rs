//! The wiring: the only place that knows all the floors.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::cache::{CacheOptions, CachedStore, RefreshOptions, Refresher, Watch};
use crate::clock::{Clock, SystemClock};
use crate::fs::audit::Audit;
use crate::fs::processes::ProcFs;
use crate::fs::rights::{Accounts, Rights, Rule};
use crate::fs::wake::{EARLIER, NEW, Watched};
use crate::fs::{About, FsOptions, SecretFs};
use crate::fuse::notify::Announcer;
use crate::fuse::{Device, Limits, Serving, Shown};
use crate::local::{ServeError, ServeOptions, Server};
use crate::metrics::{Metered, Metrics};
use crate::secret::{MAX_VALUE, SecretName};
use crate::store::{Change, ErrorKind, News, SecretStore, StoreError, Wait};
use crate::vault::{
    AuthKind, AuthOptions, ClientOptions, SecretClient, StaticToken, TokenSource, azure_tokens, local_token,
};

use super::audit::AuditLog;
use super::hook::Hook;
use super::options::{Auth, MountOptions, Settings};
use super::point::Place;
use super::source::{Source, Vault};
use super::stop::{Event, Reason, Stop};
use super::supervisor::{self, Watchdog};
use super::wake::{File, Touched, Waker, show_read_only};
use super::{accounts, options, process, unmount};

/// What `akvfs refresh` asks of a mount.
pub use crate::fs::control::REFRESH_REQUEST;

/// How often it is looked whether an unlinked value's delay is over, and what was left lying.
const TICK: Duration = Duration::from_millis(100);
/// How long an end that was asked for waits for the vault (DESIGN 5: five seconds altogether).
const SETTLE_LIMIT: Duration = Duration::from_secs(4);

/// A mount that is usable.
pub struct Session {
    fs: Arc<SecretFs>,
    serving: Serving,
    clock: Arc<dyn Clock>,
    place: Place,
    /// For the service manager.
    status: String,
    audit: Option<Arc<AuditLog>>,
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
pub fn start(source: &Source, place: &Place, settings: &Settings) -> Result<Session, MountError> {
    let options = &settings.mount;
    let clock = SystemClock::shared();
    let (client, server) = connect(&source.vault, options, &clock)?;
    let about = about(source, client.vault_url(), place, options);
    let metrics = Arc::new(Metrics::default());
    let signed_in = client.clone();
    let client = Arc::new(Metered::new(Arc::new(client), metrics.clone(), clock.clone()));
    if !options.lazy_auth {
        check_answers(&*client, Wait::at_most(&*clock, options.timeout.min(settings.mount_timeout)))?;
    }
    let store = Arc::new(CachedStore::counting(client, cache_options(options), clock.clone(), metrics.clone()));
    store.fetch_ahead(at_once(options), options.timeout);
    let announcer = Arc::new(Announcer::default());
    let fs =
        SecretFs::new(store.clone(), clock.clone(), Arc::new(ProcFs), announcer.clone(), fs_options(options, about));
    let audit = start_audit(settings, &metrics)?;
    let told = audit.clone().map(|audit| -> Arc<dyn Audit> { audit });
    let whom = signed_in.clone();
    let fs = fs.counting(metrics).audited(told).signing_in(Box::new(move || identity(&whom)));
    let fs = Arc::new(fs);
    let limits = Limits { read: options.timeout, change: options.write_timeout };
    // Who watches files of a mount that is read-only only as users see it can be woken.
    let outside = options.read_only && process::is_root() && matches!(place, Place::Directory(_));
    let read_only = options.read_only && !outside;
    let shown = Shown { source: &source.text, to_others: options.allow_other, read_only };
    let serving = Serving::start(fs.clone(), &announcer, device(place)?, shown, limits, clock.clone())
        .map_err(|error| MountError::Kernel(cannot_mount(&error)))?;
    if let (true, Place::Directory(directory)) = (outside, place)
        && let Err(error) = show_read_only(directory)
    {
        // It refuses every change all the same.
        tracing::warn!("the mount is not shown as read-only: {error}");
    }
    let ending = Arc::new(AtomicBool::new(false));
    let cannot = |error: io::Error| MountError::Kernel(error.to_string());
    start_ticking(fs.clone(), clock.clone(), ending.clone()).map_err(cannot)?;
    let waker = Waker::start().map_err(cannot)?;
    let hook = options.on_change.as_deref().map(Hook::new);
    let listener = Listener { fs: fs.clone(), waker, hook, place: place.clone() };
    start_listening(store.changes(), listener).map_err(cannot)?;
    say_what_is_mounted(&fs.options().about, &signed_in);
    let watch = keep_fresh(store, fs.clone(), options)?;
    let status = format!("{source} is mounted");
    Ok(Session { fs, serving, clock, place: place.clone(), status, announcer, watch, audit, ending, _server: server })
}

/// As whom the vault is asked, from memory: without a first answer (lazy_auth) it is not known yet.
fn identity(client: &SecretClient) -> Option<String> {
    client.sign_in(Wait::No).ok().flatten().map(|claims| claims.to_string())
}

/// The log's first line.
fn say_what_is_mounted(about: &About, client: &SecretClient) {
    let whom = identity(client).map_or_else(String::new, |identity| format!(" as {identity}"));
    let About { version, source, vault, directory, auth, options, .. } = about;
    let told = if options.is_empty() { "none" } else { options };
    tracing::info!(
        "akvfs {version} has mounted {source} at {directory}: {vault}, signed in by {auth}{whom}, options {told}"
    );
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

/// A client that signs in as `options` say, and the embedded vault that it is for, which ends when dropped.
///
/// # Errors
/// If the vault does not start, or the options do not fit. The vault is not asked.
pub fn connect(
    vault: &Vault,
    options: &MountOptions,
    clock: &Arc<dyn Clock>,
) -> Result<(SecretClient, Option<Server>), MountError> {
    let client = |url: &str, tokens: Arc<dyn TokenSource>, verify: bool| {
        let options = ClientOptions {
            ca_file: options.ca_file.clone(),
            verify_challenge_resource: verify,
            max_requests: options.max_requests,
            max_writes: options.max_writes,
            time_limit: options.write_timeout,
            ..ClientOptions::default()
        };
        let client = SecretClient::new(url, tokens, options, clock.clone());
        client.map_err(|error| MountError::Client(error.to_string()))
    };
    match vault {
        Vault::Local { path } => {
            let token = random_token()?;
            let tokens = Arc::new(StaticToken::new(token.to_string()));
            let serve = ServeOptions { store: path.clone(), token: Some(token), ..ServeOptions::default() };
            let server = Server::start(serve, clock.clone())?;
            Ok((client(server.url(), tokens, false)?, Some(server)))
        }
        Vault::Loopback { url } if matches!(options.auth, Auth::Auto | Auth::Local) => {
            // A token of the user's own identity is nothing for a vault that anybody on this machine may run.
            Ok((client(url, loopback_token(options)?, false)?, None))
        }
        Vault::Loopback { url } | Vault::Azure { url } => {
            let kind = auth_kind(options.auth)?;
            let (client_id, credentials_file) = (options.client_id.clone(), options.credentials_file.clone());
            let how = AuthOptions { kind, client_id, credentials_file };
            let tokens = azure_tokens(how, clock.clone()).map_err(|error| MountError::Client(error.to_string()))?;
            Ok((client(url, tokens, true)?, None))
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

/// The token that `akvfs serve --token` was given, or one that says nothing: without it the vault takes any.
fn loopback_token(options: &MountOptions) -> Result<Arc<dyn TokenSource>, MountError> {
    Ok(Arc::new(match &options.credentials_file {
        Some(file) => local_token(Some(file)).map_err(|error| MountError::Client(error.to_string()))?,
        None => StaticToken::new("local".to_owned()),
    }))
}

fn auth_kind(auth: Auth) -> Result<AuthKind, MountError> {
    Ok(match auth {
        Auth::Auto => AuthKind::Auto,
        Auth::Environment => AuthKind::Environment,
        Auth::Workload => AuthKind::Workload,
        Auth::Managed => AuthKind::ManagedIdentity,
        Auth::AzCli => AuthKind::AzureCli,
        Auth::Azd => AuthKind::AzureDeveloperCli,
        Auth::Local => {
            let why = "auth=local is for a vault that akvfs serve runs on this machine; leave it out";
            return Err(MountError::Client(why.to_owned()));
        }
    })
}

/// What keeps other users of this machine out of the embedded vault.
fn random_token() -> Result<Zeroizing<String>, MountError> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(&mut *bytes).map_err(|error| MountError::Client(format!("no random numbers: {error}")))?;
    Ok(Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// One authenticated answer. A vault that lets this identity in but does not let it list is usable.
fn check_answers(client: &dyn SecretStore, wait: Wait) -> Result<(), MountError> {
    match client.list(None, wait) {
        Ok(_) => Ok(()),
        Err(error) if error.kind == ErrorKind::Forbidden => Ok(()),
        Err(error) => Err(MountError::Vault { error }),
    }
}

/// Not more than half the cache is for values that nobody has asked for yet.
fn at_once(options: &MountOptions) -> usize {
    options.prefetch.min(options.cache_size / (2 * MAX_VALUE))
}

fn cache_options(options: &MountOptions) -> CacheOptions {
    CacheOptions {
        ttl: options.ttl,
        negative_ttl: options.negative_ttl,
        max_stale: options.max_stale,
        bytes: options.cache_size,
        ..CacheOptions::default()
    }
}

fn about(source: &Source, vault: &str, place: &Place, options: &MountOptions) -> About {
    let auth = match (&source.vault, options.auth) {
        (Vault::Local { .. }, _) | (Vault::Loopback { .. }, Auth::Auto) => Auth::Local,
        (_, auth) => auth,
    };
    About {
        source: source.to_string(),
        vault: vault.to_owned(),
        directory: place.to_string(),
        auth: auth.word().to_owned(),
        options: Settings { mount: options.clone(), ..Settings::default() }.in_short(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        ttl: options.ttl,
    }
}

fn fs_options(options: &MountOptions, about: About) -> FsOptions {
    // SAFETY: both calls have no arguments and cannot fail.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    FsOptions {
        read_only: options.read_only,
        allow_purge: options.allow_purge,
        purge_after: options.purge_after,
        delete_delay: options.delete_delay,
        uid: options.uid.unwrap_or(uid),
        gid: options.gid.unwrap_or(gid),
        file_mode: options.mode_of_files(),
        dir_mode: options.mode_of_directories(),
        final_newline_as_before: options.final_newline_as_before,
        aliases: options.aliases.clone(),
        always_set: options.always_set,
        expires_in: options.expires_in,
        rules: options.rules.iter().map(rule).collect(),
        owner_tags: options.owner_tags.then(|| Accounts { users: accounts::users(), groups: accounts::groups() }),
        kernel_ttl: options.kernel_ttl,
        negative_ttl: options.negative_ttl,
        write_timeout: options.write_timeout,
        about,
    }
}

fn rule(rule: &options::Rule) -> Rule {
    let rights = Rights { owner: rule.owner, group: rule.group, mode: rule.mode };
    Rule { secrets: rule.secrets.clone(), rights }
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
        }
    };
    thread::Builder::new().name("akvfs-ticks".into()).spawn(tick).map(drop)
}

/// Who hears what other parties change.
struct Listener {
    fs: Arc<SecretFs>,
    waker: Waker,
    hook: Option<Hook>,
    place: Place,
}

impl Listener {
    fn hear(&mut self, change: &Change) {
        // First who watches: while the kernel still knows the old version by its name, that can be renamed over.
        let is_moved = change.news == News::Rotated && self.wake(&change.name);
        self.fs.heard(change, is_moved);
        if let (Some(hook), Some(version)) = (&self.hook, self.fs.version_of(change)) {
            hook.run(&format!("{}/secrets/{}/value", self.place, change.name), version.as_str());
        }
    }
}

impl Listener {
    /// Wakes who watches the secret's files; whether all is done. Where we do not know the path that they watch, nobody is.
    fn wake(&mut self, name: &SecretName) -> bool {
        let Place::Directory(directory) = &self.place else { return false };
        let (fs, watched) = (self.fs.clone(), self.fs.watched(name));
        let (is_any, read_only) = (!watched.is_empty(), fs.options().read_only);
        let touched = Touched { directory: directory.clone(), read_only };
        let all = move |thread| watched.iter().try_for_each(|watched| wake_one(&fs, &touched, thread, watched));
        match self.waker.wake(Box::new(all)) {
            Some(Ok(())) => return is_any,
            Some(Err(error)) => tracing::debug!("who watches {name} may not have been woken: {error}"),
            None => tracing::debug!("who watches {name} is not woken: the last who were take too long"),
        }
        false
    }
}

fn wake_one(fs: &SecretFs, touched: &Touched, thread: u32, watched: &Watched) -> io::Result<()> {
    let earlier: Vec<_> = (0..watched.earlier).map(|number| format!("{EARLIER}{number}")).collect();
    let file = File { path: &watched.path, new: NEW, earlier: &earlier };
    fs.begin_waking(thread, watched);
    let woken = touched.wake(&file);
    fs.end_waking();
    woken
}

/// The thread ends with the store.
fn start_listening(changes: Receiver<Change>, mut listener: Listener) -> io::Result<()> {
    let listen = move || changes.iter().for_each(|change| listener.hear(&change));
    thread::Builder::new().name("akvfs-news".into()).spawn(listen).map(drop)
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
        let Self { fs, serving, clock, place, status, announcer, watch, audit, ending, _server } = self;
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
        match reason {
            Reason::Unmounted => match loops.join() {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(MountError::Kernel(format!("the mount broke: {error}"))),
                Err(_) => Err(MountError::Kernel("the mount broke inside".to_owned())),
            },
            Reason::Asked => {
                let detached = detach(&place);
                fs.settle(wait);
                detached
            }
        }
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

fn detach(place: &Place) -> Result<(), MountError> {
    match place {
        Place::Directory(dir) => unmount::detach(dir).map_err(|error| MountError::Kernel(error.to_string())),
        // Who mounted it unmounts it; the kernel ends the connection with this process.
        Place::Descriptor(_) => Ok(()),
    }
}
