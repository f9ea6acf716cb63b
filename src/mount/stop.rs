//! Why a mount ends. Whoever wants it to end says so here; the session waits here.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

/// Why a mount ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was asked to: settle what is pending, then unmount.
    Asked,
    /// It is no longer mounted.
    Unmounted,
}

/// The wish to end. Cloned freely; every clone is the same wish, and the first reason stays.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<Option<Reason>>, Condvar)>);

impl Stop {
    /// Says that the mount ends, and why.
    pub fn request(&self, reason: Reason) {
        self.lock().get_or_insert(reason);
        self.0.1.notify_all();
    }

    /// Waits until somebody has said so.
    pub fn wait(&self) -> Reason {
        let mut said = self.lock();
        loop {
            if let Some(reason) = *said {
                return reason;
            }
            said = self.0.1.wait(said).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether somebody has said so.
    pub fn requested(&self) -> Option<Reason> {
        *self.lock()
    }

    /// A reason is written in one step, so a holder that panicked left it whole.
    fn lock(&self) -> MutexGuard<'_, Option<Reason>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From now on SIGTERM, SIGINT and SIGHUP ask the mount to end. The second signal runs `at_once` and ends the
/// process: whoever asks twice does not want to wait for a vault.
pub fn end_on_signals(stop: &Stop, at_once: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let stop = stop.clone();
    let listen = move || {
        let mut arriving = signals.forever();
        if arriving.next().is_some() {
            stop.request(Reason::Asked);
        }
        if arriving.next().is_some() {
            at_once();
            low_level::exit(1);
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays_and_wakes_who_waits() {
        let stop = Stop::default();
        assert_eq!(stop.requested(), None);
        let waiter = std::thread::spawn({
            let stop = stop.clone();
            move || stop.wait()
        });
        stop.request(Reason::Unmounted);
        stop.request(Reason::Asked);
        assert_eq!(waiter.join().unwrap(), Reason::Unmounted);
        assert_eq!(stop.requested(), Some(Reason::Unmounted));
    }
}
