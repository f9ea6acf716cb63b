//! The one thread that tells the kernel what to drop.
//!
//! A notification waits for requests under way in that directory, so it must never be sent by a thread that
//! answers requests, nor under a lock (every such mistake was a deadlock that outlives kill -9).

use std::ffi::OsStr;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use fuser::{INodeNo, Notifier};

use crate::fs::{Kernel, Notice};

enum Message {
    Tell(Notice),
    Reached(Sender<()>),
}

/// Hands notices to the thread. Made before the filesystem, started when it is mounted; what comes earlier waits.
pub struct Announcer {
    queue: Sender<Message>,
    unstarted: Mutex<Option<Receiver<Message>>>,
    stopped: Arc<AtomicBool>,
}

impl Default for Announcer {
    fn default() -> Self {
        let (queue, receiver) = mpsc::channel();
        Self { queue, unstarted: Mutex::new(Some(receiver)), stopped: Arc::default() }
    }
}

impl Announcer {
    /// Starts the thread. It ends with the announcer.
    pub(super) fn start(&self, notifier: Notifier) -> io::Result<()> {
        let receiver = self.unstarted.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(receiver) = receiver else { return Ok(()) };
        let stopped = self.stopped.clone();
        thread::Builder::new().name("akvfs-notify".into()).spawn(move || announce(&receiver, &notifier, &stopped))?;
        Ok(())
    }

    /// Nothing is told any more: the mount is about to go, and what the kernel believes goes with it.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

fn announce(queue: &Receiver<Message>, notifier: &Notifier, stopped: &AtomicBool) {
    for message in queue {
        match message {
            Message::Tell(_) if stopped.load(Ordering::Relaxed) => {}
            Message::Tell(notice) => tell(notifier, &notice),
            // Who waited no longer does not matter.
            Message::Reached(reached) => drop(reached.send(())),
        }
    }
}

fn tell(notifier: &Notifier, notice: &Notice) {
    let told = match notice {
        Notice::Entry(parent, name) => notifier.inval_entry(INodeNo(*parent), OsStr::new(name)),
        // An offset below 0 means: the attributes, not the bytes (fuse_lowlevel.h).
        Notice::Attributes(ino) => notifier.inval_inode(INodeNo(*ino), -1, 0),
        Notice::Content(ino) => notifier.inval_inode(INodeNo(*ino), 0, 0),
    };
    if let Err(error) = told {
        // What the kernel did not drop ends with its time to live.
        tracing::debug!("the kernel did not take a notice: {error}");
    }
}

impl Kernel for Announcer {
    fn tell(&self, notice: Notice) {
        // Without the thread the mount is ending.
        let _ = self.queue.send(Message::Tell(notice));
    }

    fn settle(&self, limit: Duration) -> bool {
        let (reached, wait) = mpsc::channel();
        self.queue.send(Message::Reached(reached)).is_err() || wait.recv_timeout(limit).is_ok()
    }
}
