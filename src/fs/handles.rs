//! What an open descriptor is, and how far a directory was read through it.

use std::sync::Arc;

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
