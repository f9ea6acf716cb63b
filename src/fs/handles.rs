//! What an open descriptor is, and how far a directory was read: through it, or without any.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::store::Continuation;

use super::attr::DirEntry;
use super::content::Content;
use super::tree::{DraftId, Ino};

/// An open descriptor, or several that share one open.
#[derive(Clone)]
pub enum Handle {
    /// Bytes as they were when it was opened.
    Content(Content),
    /// A draft.
    Draft {
        /// Which.
        id: DraftId,
        /// Every write goes to the end.
        append: bool,
        /// Opened for writing.
        writable: bool,
    },
    /// A directory.
    Directory(Reading),
}

/// How far a directory was read.
#[derive(Clone)]
pub struct Reading {
    /// Which.
    pub ino: Ino,
    /// What was read.
    pub entries: Arc<Vec<DirEntry>>,
    /// What was not.
    pub rest: Rest,
}

impl Reading {
    /// Nothing of it.
    pub fn new(ino: Ino) -> Self {
        Self { ino, entries: Arc::default(), rest: Rest::All }
    }
}

/// How many readings of directories that were not opened are kept. A reader whose reading was dropped goes on in the names
/// as they are then.
const MAX_READINGS: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
/// Of an offset in a directory that was not opened these lower bits count entries, the ones above name the reading. Both
/// together fit what 32-bit programs have for it.
const COUNT_BITS: u32 = 24;
const MAX_NUMBER: u64 = (1 << (31 - COUNT_BITS)) - 1;

/// Readings of directories that were not opened, by directory and number.
pub struct Readings(LruCache<(Ino, u64), Reading>);

impl Default for Readings {
    fn default() -> Self {
        Self(LruCache::new(MAX_READINGS))
    }
}

impl Readings {
    /// The reading that `offset` belongs to, taken out, with its number and how much of it is known; `next` numbers one that
    /// begins.
    pub fn take(&mut self, ino: Ino, offset: u64, next: u64) -> (u64, Reading, usize) {
        let number = if offset == 0 { 1 + next % MAX_NUMBER } else { offset >> COUNT_BITS };
        let known = (offset & ((1 << COUNT_BITS) - 1)) as usize;
        let reading = if offset == 0 { None } else { self.0.pop(&(ino, number)) };
        (number, reading.unwrap_or_else(|| Reading::new(ino)), known)
    }

    /// Puts it back.
    pub fn put(&mut self, number: u64, reading: Reading) {
        self.0.put((reading.ino, number), reading);
    }
}

/// The entries of a directory that come next.
#[derive(Clone)]
pub struct Listed {
    /// The directory.
    pub dir: Ino,
    entries: Arc<Vec<DirEntry>>,
    known: usize,
    number: u64,
}

impl Listed {
    /// What `reading` has behind the first `known`.
    pub fn new(reading: &Reading, known: usize, number: u64) -> Self {
        Self { dir: reading.ino, entries: reading.entries.clone(), known, number }
    }

    /// Each with the offset behind it.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &DirEntry)> {
        let base = self.number << COUNT_BITS;
        self.entries.iter().enumerate().skip(self.known).map(move |(at, entry)| (base + at as u64 + 1, entry))
    }
}

/// What of a directory was not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// All of it.
    All,
    /// From here on.
    From(Continuation),
    /// Nothing.
    Nothing,
}

impl Rest {
    /// What a page leaves.
    pub fn of(next: Option<Continuation>) -> Self {
        next.map_or(Self::Nothing, Self::From)
    }

    /// Where the next page starts.
    pub fn place(&self) -> Option<&Continuation> {
        match self {
            Self::From(place) => Some(place),
            Self::All | Self::Nothing => None,
        }
    }
}
