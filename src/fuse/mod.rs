//! The kernel side: the only floor that knows FUSE. It translates and does nothing else.
//!
//! - [`adapter`]: each request becomes one call of [`crate::fs::SecretFs`], each answer one reply.
//! - [`dispatch`]: where a call runs, and what becomes of its answer.
//! - [`reply`]: answers in the kernel's words.
//! - [`inflight`]: lets go of callers who are being killed, and notices what hangs.
//! - [`pool`]: threads for what may have to wait; the event loops never do.
//! - [`notify`]: the one thread that tells the kernel what to drop.

mod adapter;
mod dispatch;
pub mod inflight;
pub mod notify;
pub mod pool;
mod reply;

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fuser::{Config, MountOption, Session, SessionACL};

use crate::clock::Clock;
use crate::fs::SecretFs;

use dispatch::Adapter;
use inflight::Hung;
use notify::Announcer;

/// Event loops: enough that answers from memory do not queue behind each other on a small machine.
const EVENT_LOOPS: usize = 4;

/// How long callers can be kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A read, from call to errno.
    pub read: Duration,
    /// A change, from call to errno.
    pub change: Duration,
}

/// Where the kernel's end is.
pub enum Device<'a> {
    /// To be mounted on this directory.
    MountOn(&'a Path),
    /// Mounted already; this is the device.
    Mounted(OwnedFd),
}

/// How the mount looks from outside.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its name in the mount table.
    pub source: &'a str,
    /// Whether users other than the one who mounts get in, as far as permissions allow.
    pub to_others: bool,
    /// Whether the kernel knows that nothing is ever written.
    pub read_only: bool,
}

/// A filesystem that the kernel sends requests to.
pub struct Serving {
    loops: JoinHandle<io::Result<()>>,
}

impl Serving {
    /// Mounts `fs`, with INIT done when this returns. `hung` is told of a request that will never end.
    pub fn start(
        fs: Arc<SecretFs>,
        announcer: &Arc<Announcer>,
        device: Device<'_>,
        shown: Shown<'_>,
        limits: Limits,
        clock: Arc<dyn Clock>,
        hung: Hung,
    ) -> io::Result<Self> {
        let mut config = Config::default();
        config.n_threads = Some(EVENT_LOOPS);
        config.mount_options = mount_options(shown.source, shown.read_only);
        let adapter = Adapter::new(fs, limits, clock, hung)?;
        let session = match device {
            Device::MountOn(dir) => {
                config.acl = if shown.to_others { SessionACL::All } else { SessionACL::Owner };
                Session::new(adapter, dir, &config)?
            }
            Device::Mounted(device) => {
                // Root has mounted it, and the kernel knows root as the owner, whoever we are.
                let acl = if shown.to_others { SessionACL::All } else { SessionACL::RootAndOwner };
                Session::from_fd(adapter, device, acl, config)?
            }
        };
        // Never dropped: its drop unmounts whatever is at `dir` by then, even when the mount is gone already
        // (fuser 0.18). Whoever mounted here unmounts, by name.
        let session = ManuallyDrop::new(session.spawn()?);
        announcer.start(session.notifier())?;
        // SAFETY: `session` is not dropped and not used again, so the handle is moved out of it once.
        let loops = unsafe { std::ptr::read(&session.guard) };
        Ok(Self { loops })
    }

    /// Waits until the kernel has ended the connection: the filesystem is unmounted, or nobody answers any more.
    pub fn join(self) -> io::Result<()> {
        self.loops.join().map_err(|_| io::Error::other("an event loop panicked"))?
    }
}

fn mount_options(source: &str, read_only: bool) -> Vec<MountOption> {
    vec![
        MountOption::FSName(source.to_owned()),
        // `MountOption::Subtype` does nothing without libfuse (measured).
        MountOption::CUSTOM("subtype=akvfs".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoDev,
        MountOption::NoSuid,
        MountOption::NoExec,
        MountOption::NoAtime,
        if read_only { MountOption::RO } else { MountOption::RW },
    ]
}
