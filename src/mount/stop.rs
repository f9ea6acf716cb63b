//! What a mount is asked for while it runs: to look again, or to end, and why. Whoever wants it says so here; the
//! session waits here.

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::{Origin, WithOrigin};
use signal_hook::low_level;
use signal_hook::low_level::siginfo::Cause;

/// Why a mount ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was asked to: settle what is pending, then unmount.
    Asked,
    /// It is no longer mounted.
    Unmounted,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Asked => "it was asked to",
            Self::Unmounted => "it was unmounted",
        })
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Look again at everything.
    Refresh,
    /// End.
    End(Reason),
}

#[derive(Debug, Default)]
struct Wishes {
    end: Option<Reason>,
    refresh: bool,
}

/// The wishes. Cloned freely; every clone is the same, and the first reason to end stays.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<Wishes>, Condvar)>);

impl Stop {
    /// Says that the mount ends, and why.
    pub fn request(&self, reason: Reason) {
        self.lock().end.get_or_insert(reason);
        self.0.1.notify_all();
    }

    /// Says that the mount is to look again. Wishes that nobody has heard yet are one.
    pub fn request_refresh(&self) {
        self.lock().refresh = true;
        self.0.1.notify_all();
    }

    /// Waits for the next wish. The end, once wished, is told again and again.
    pub fn next(&self) -> Event {
        let mut wishes = self.lock();
        loop {
            if let Some(reason) = wishes.end {
                return Event::End(reason);
            }
            if std::mem::take(&mut wishes.refresh) {
                return Event::Refresh;
            }
            wishes = self.0.1.wait(wishes).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether the end was wished, and why.
    pub fn requested(&self) -> Option<Reason> {
        self.lock().end
    }

    /// Each wish is written in one step, so a holder that panicked left them whole.
    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From now on SIGTERM and SIGINT ask the mount to end, and so does the terminal when it goes away; SIGHUP from
/// anybody else asks it to look again. The second signal to end runs `at_once` and ends the process: whoever asks
/// twice does not want to wait for a vault.
pub fn end_on_signals(stop: &Stop, at_once: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = SignalsInfo::<WithOrigin>::new([SIGTERM, SIGINT, SIGHUP])?;
    let stop = stop.clone();
    let listen = move || {
        for origin in signals.forever() {
            if !means_end(&origin) {
                stop.request_refresh();
            } else if stop.requested().is_none() {
                stop.request(Reason::Asked);
            } else {
                break;
            }
        }
        at_once();
        low_level::exit(1);
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen).map(drop)
}

fn means_end(origin: &Origin) -> bool {
    origin.signal != SIGHUP || matches!(origin.cause, Cause::Kernel)
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
            move || stop.next()
        });
        stop.request(Reason::Unmounted);
        stop.request(Reason::Asked);
        assert_eq!(waiter.join().unwrap(), Event::End(Reason::Unmounted));
        assert_eq!(stop.requested(), Some(Reason::Unmounted));
    }

    #[test]
    fn a_refresh_is_heard_once_and_the_end_goes_first() {
        let stop = Stop::default();
        stop.request_refresh();
        stop.request_refresh();
        assert_eq!(stop.next(), Event::Refresh);
        stop.request_refresh();
        stop.request(Reason::Asked);
        assert_eq!(stop.next(), Event::End(Reason::Asked));
        assert_eq!(stop.next(), Event::End(Reason::Asked));
    }
}
