//! Answers in the kernel's words.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyXattr,
};
use zeroize::Zeroizing;

use crate::fs::attr::{Attr, Entry, Kind, Opened, Stat};
use crate::fs::handles::Listed;
use crate::fs::{Call, SecretFs};

use super::dispatch::OpenedDir;

fn seconds(at: i64) -> SystemTime {
    let distance = Duration::from_secs(at.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    if at < 0 { epoch.checked_sub(distance) } else { epoch.checked_add(distance) }.unwrap_or(epoch)
}

fn file_attr(attr: &Attr) -> FileAttr {
    let time = seconds(attr.mtime) + Duration::from_nanos(attr.nanos.into());
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

/// The attributes of an entry: the number that the kernel asks by goes where fuser takes it from. Where programs see
/// another one, a getattr has to tell it.
fn asked_by(entry: &Entry) -> (FileAttr, Duration) {
    let attr = FileAttr { ino: INodeNo(entry.node), ..file_attr(&entry.stat.attr) };
    (attr, if entry.node == entry.stat.attr.ino { entry.stat.ttl } else { Duration::ZERO })
}

pub(super) fn send_entry(reply: ReplyEntry, result: Result<Entry, Errno>) {
    match result {
        Ok(entry) => {
            let (attr, attr_ttl) = asked_by(&entry);
            // The attributes' time comes first.
            reply.entry_with_ttls(&attr_ttl, &entry.ttl, &attr, Generation(0));
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

pub(super) fn send_opendir(reply: ReplyOpen, result: Result<OpenedDir, Errno>) {
    match result {
        Ok(OpenedDir { handle, cached: true }) => {
            reply.opened(FileHandle(handle), FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE);
        }
        Ok(OpenedDir { handle, cached: false }) => reply.opened(FileHandle(handle), FopenFlags::empty()),
        Err(errno) => reply.error(errno),
    }
}

/// As many entries as there is room for.
pub(super) fn send_entries(mut reply: ReplyDirectory, result: Result<Listed, Errno>) {
    let listed = match result {
        Ok(listed) => listed,
        Err(errno) => return reply.error(errno),
    };
    for (offset, entry) in listed.entries() {
        if reply.add(INodeNo(entry.ino), offset, file_type(entry.kind), &entry.name) {
            break;
        }
    }
    reply.ok();
}

/// Who asked, and what knows the entries, for an answer that is made while there is room for more.
pub(super) struct PlusReply {
    pub reply: ReplyDirectoryPlus,
    pub fs: Arc<SecretFs>,
    pub call: Call,
}

/// As many entries as there is room for, each as if it had been looked up.
pub(super) fn send_entries_plus(asked: PlusReply, result: Result<Listed, Errno>) {
    let PlusReply { mut reply, fs, call } = asked;
    let listed = match result {
        Ok(listed) => listed,
        Err(errno) => return reply.error(errno),
    };
    for (offset, name) in listed.entries() {
        let entry = fs.list_entry(&call, listed.dir, name);
        // One time to live is for the name and its attributes.
        let (attr, attr_ttl) = asked_by(&entry);
        let full = reply.add(INodeNo(entry.node), offset, &name.name, &attr_ttl.min(entry.ttl), &attr, Generation(0));
        if full {
            fs.forget(entry.node, 1);
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
