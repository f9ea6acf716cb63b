//! What `stat` shows, as plain values.

use std::time::Duration;

use super::tree::Ino;

/// The kinds of file there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
}

/// A file's attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attr {
    /// The number that programs see (`st_ino`); not always the one the kernel asks by.
    pub ino: Ino,
    /// What kind of file.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970 UTC; may be negative.
    pub mtime: i64,
    /// And so many nanoseconds: of a directory, what tells one set of names in it from another.
    pub nanos: u32,
    /// Links; 0 for a file without a name.
    pub nlink: u32,
}

/// Attributes, and how long the kernel may keep them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The attributes.
    pub attr: Attr,
    /// How long they hold.
    pub ttl: Duration,
}

/// The answer to a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The number the kernel is to ask by.
    pub node: Ino,
    /// The attributes.
    pub stat: Stat,
    /// How long the name stands for this number.
    pub ttl: Duration,
}

impl Entry {
    /// The answer that there is no such name, to be kept for `ttl`: an entry without an inode.
    pub fn missing(ttl: Duration) -> Self {
        let attr = Attr { ino: 0, kind: Kind::File, size: 0, mode: 0, uid: 0, gid: 0, mtime: 0, nanos: 0, nlink: 0 };
        Self { node: 0, stat: Stat { attr, ttl: Duration::ZERO }, ttl }
    }
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The number shown.
    pub ino: Ino,
    /// What kind of file.
    pub kind: Kind,
    /// The name.
    pub name: String,
}

/// The answer to an open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The handle's number.
    pub handle: u64,
    /// Whether reads go past the kernel's page cache. What is not direct never changes.
    pub direct: bool,
}
