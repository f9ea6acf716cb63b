//! What the service manager is told (sd_notify(3)): that the mount is usable, that it looks again, that it ends, and,
//! if it wants to know, that it still answers. Without `$NOTIFY_SOCKET` everything here does nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sd_notify::NotifyState;

use crate::clock::Clock;

/// The mount is usable, and this process is the one that carries it.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::MainPid(std::process::id()), NotifyState::Status(status)]);
}

/// Does `work`, which was asked for by SIGHUP, and says so.
pub fn reloading(work: impl FnOnce()) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("the service manager cannot be told of a reload: {error}"),
    }
    work();
    tell(&[NotifyState::Ready]);
}

/// The mount ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells the service manager again and again that the mount answers, until this is dropped.
pub struct Watchdog(Arc<AtomicBool>);

impl Watchdog {
    /// Starts if the service manager wants it (`$WATCHDOG_USEC`). `answers` may block for ever when the mount does not
    /// answer; then the service manager hears nothing more and acts.
    pub fn start(answers: impl Fn() -> bool + Send + 'static, clock: Arc<dyn Clock>) -> io::Result<Option<Self>> {
        // sd_watchdog_enabled(3): half of the time it gives.
        let Some(pause) = sd_notify::watchdog_enabled().map(|limit| limit / 2) else { return Ok(None) };
        let ended = Arc::new(AtomicBool::new(false));
        let over = ended.clone();
        let watch = move || {
            while !over.load(Ordering::Relaxed) {
                if answers() {
                    tell(&[NotifyState::Watchdog]);
                }
                clock.sleep(pause);
            }
        };
        std::thread::Builder::new().name("akvfs-watchdog".to_owned()).spawn(watch)?;
        Ok(Some(Self(ended)))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}
