//! What other parties changed, told to the kernel, to who watches, and to the user's command.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;

use crate::fs::SecretFs;
use crate::fs::wake::Watched;
use crate::mount::attendant::Attendant;
use crate::mount::hook::Hook;
use crate::mount::wake::{File, PATIENCE, Waker};
use crate::secret::SecretName;
use crate::store::{Change, News};

use super::attended;

/// Who hears what other parties change.
pub(super) struct Listener {
    pub(super) fs: Arc<SecretFs>,
    pub(super) attendant: Arc<Attendant>,
    pub(super) waker: Waker,
    /// The attendant's thread that wakes; nobody is woken without.
    pub(super) thread: Option<u32>,
    pub(super) hook: Option<Hook>,
}

impl Listener {
    fn hear(&mut self, change: &Change) {
        let is_rotated = change.news == News::Rotated;
        if is_rotated {
            // Who is woken may read any of the secret's files.
            self.fs.drop_all_but_values(&change.name);
            self.fs.settle_kernel(PATIENCE);
        }
        // Then who watches: while the kernel still knows the old version by its name, that can be renamed over.
        let is_moved = is_rotated && self.wake(&change.name);
        self.fs.heard(change, is_moved);
        if let (Some(hook), Some(version)) = (&self.hook, self.fs.version_of(change)) {
            self.fs.settle_kernel(PATIENCE);
            hook.run(change.name.as_str(), version.as_str());
        }
    }

    /// Wakes who watches the secret's files; whether all is done. Where we do not know the path that they watch, nobody is.
    fn wake(&mut self, name: &SecretName) -> bool {
        let Some(thread) = self.thread else { return false };
        let (fs, attendant, watched) = (self.fs.clone(), self.attendant.clone(), self.fs.watched(name));
        let is_any = !watched.is_empty();
        let all = move || watched.iter().try_for_each(|watched| wake_one(&fs, &attendant, thread, watched));
        match self.waker.wake(Box::new(all)) {
            Some(Ok(())) => return is_any,
            Some(Err(error)) => tracing::debug!("who watches {name} may not have been woken: {error}"),
            None => tracing::debug!("who watches {name} is not woken: the last who were take too long"),
        }
        false
    }
}

fn wake_one(fs: &SecretFs, attendant: &Attendant, thread: u32, watched: &Watched) -> io::Result<()> {
    let file = File { path: &watched.path, earlier: watched.earlier };
    fs.begin_waking(thread, watched);
    let woken = attended::wake(attendant, &file);
    fs.end_waking();
    woken
}

/// The thread ends with the process: it holds the files, and they the store that it hears.
pub(super) fn start_listening(changes: Receiver<Change>, mut listener: Listener) -> io::Result<()> {
    let listen = move || changes.iter().for_each(|change| listener.hear(&change));
    thread::Builder::new().name("akvfs-news".into()).spawn(listen).map(drop)
}
