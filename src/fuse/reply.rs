//! Answers in the kernel's words.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyXattr,
};
use zeroize::Zeroizing;

use crate::fs::attr::{Attr, DirEntry, Entry, Kind, Opened, Stat};

fn seconds(at: i64) -> SystemTime {
    let distance = Duration::from_secs(at.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    if at < 0 { epoch.checked_sub(distance) } else { epoch.checked_add(distance) }.unwrap_or(epoch)
}

fn file_attr(attr: &Attr) -> FileAttr {
    let time = seconds(attr.mtime);
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(attr.kind),
        perm: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::File => FileType::RegularFile,
        Kind::Symlink => FileType::Symlink,
    }
}

pub(super) fn send_entry(reply: ReplyEntry, result: Result<Entry, Errno>) {
    match result {
        Ok(entry) => {
            // The number that the kernel asks by goes where fuser takes it from: the attributes.
            let attr = FileAttr { ino: INodeNo(entry.node), ..file_attr(&entry.stat.attr) };
            let attr_ttl = if entry.node == entry.stat.attr.ino { entry.stat.ttl } else { Duration::ZERO };
            reply.entry_with_ttls(&entry.ttl, &attr_ttl, &attr, Generation(0));
        }
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn send_attr(reply: ReplyAttr, result: Result<Stat, Errno>) {
    match result {
        Ok(stat) => reply.attr(&stat.ttl, &file_attr(&stat.attr)),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn send_empty(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn open_flags(opened: &Opened) -> FopenFlags {
    if opened.direct { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH }
}

pub(super) fn send_open(reply: ReplyOpen, result: Result<Opened, Errno>) {
    match result {
        Ok(opened) => reply.opened(FileHandle(opened.handle), open_flags(&opened)),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn send_create(reply: ReplyCreate, result: Result<(Entry, Opened), Errno>) {
    match result {
        Ok((entry, opened)) => {
            let attr = FileAttr { ino: INodeNo(entry.node), ..file_attr(&entry.stat.attr) };
            reply.created(&entry.ttl, &attr, Generation(0), FileHandle(opened.handle), open_flags(&opened));
        }
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn send_data(reply: ReplyData, result: Result<Zeroizing<Vec<u8>>, Errno>) {
    match result {
        Ok(bytes) => reply.data(&bytes),
        Err(errno) => reply.error(errno),
    }
}

/// Entries from an offset on; offset 1 is behind the first.
pub(super) fn send_entries((mut reply, offset): (ReplyDirectory, u64), result: Result<Arc<Vec<DirEntry>>, Errno>) {
    let entries = match result {
        Ok(entries) => entries,
        Err(errno) => return reply.error(errno),
    };
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    for (at, entry) in entries.iter().enumerate().skip(start) {
        if reply.add(INodeNo(entry.ino), at as u64 + 1, file_type(entry.kind), &entry.name) {
            break;
        }
    }
    reply.ok();
}

pub(super) fn send_xattr((reply, size): (ReplyXattr, u32), result: Result<Vec<u8>, Errno>) {
    match result {
        Ok(value) if size == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(errno) => reply.error(errno),
    }
}
