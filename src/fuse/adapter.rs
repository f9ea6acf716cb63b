//! Requests of the kernel, one by one: convert, one call, one reply.

use std::ffi::OsStr;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileHandle, Filesystem, INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner,
    OpenFlags as KernelOpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use crate::clock::unix_seconds;
use crate::fs::attr::Entry;
use crate::fs::journal::Asked;
use crate::fs::{Call, Change, MAX_FILE_NAME, OpenFlags, RenameMode, SecretFs};

use super::dispatch::{Adapter, OpenedDir};
use super::reply::{
    PlusReply, send_attr, send_create, send_data, send_empty, send_entries, send_entries_plus, send_entry, send_open,
    send_opendir, send_xattr,
};

fn text(name: &OsStr) -> Result<String, Errno> {
    // No file here has a name that is not text.
    name.to_str().map(str::to_owned).ok_or(Errno::ENOENT)
}

/// Takes a name apart or answers the request.
macro_rules! text_or_reply {
    ($name:expr, $reply:expr) => {
        match text($name) {
            Ok(text) => text,
            Err(errno) => return $reply.error(errno),
        }
    };
}

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // Without PARALLEL_DIROPS look-ups in one directory run one at a time. ATOMIC_O_TRUNC spares fetching a value that
        // is replaced whole. AUTO_INVAL_DATA is a net under the rule that an inode's bytes never change, and has the kernel
        // look at a directory's time before it lists names that it kept. READDIRPLUS spares `ls -l` a look-up a name. A
        // kernel that lacks one of them works too.
        let wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_ATOMIC_O_TRUNC
            | InitFlags::FUSE_AUTO_INVAL_DATA
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_NO_OPEN_SUPPORT
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT;
        let offered = config.capabilities();
        let _ = config.add_capabilities(wanted & offered);
        // ENOSYS to the first OPEN holds for the whole connection: no open, close or directory costs a request then.
        self.fs.go_without(
            offered.contains(InitFlags::FUSE_NO_OPEN_SUPPORT) && !self.fs.needs_open(),
            offered.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT) && !self.fs.needs_opendir(),
        );
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = text_or_reply!(name, reply);
        self.read_call(
            request,
            Asked::at("lookup", parent.0, &name),
            reply,
            move |fs, call| match fs.lookup(call, parent.0, &name) {
                Err(error) if error.errno() == libc::ENOENT => {
                    fs.keeps_missing(parent.0, &name).map(Entry::missing).ok_or(error)
                }
                found => found,
            },
            send_entry,
        );
    }

    fn forget(&self, _request: &Request, ino: INodeNo, count: u64) {
        self.count("forget");
        self.fs.forget(ino.0, count);
    }

    fn getattr(&self, request: &Request, ino: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        // Without OPEN, only a read asks through a descriptor.
        let to_read = handle.is_some() && self.fs.goes_without_open();
        let act = move |fs: &SecretFs, call: &Call| match to_read {
            true => fs.getattr_to_read(call, ino.0),
            false => fs.getattr(call, ino.0),
        };
        self.read_call(request, Asked::of("stat", ino.0), reply, act, send_attr);
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mtime = mtime.map(|time| match time {
            TimeOrNow::Now => unix_seconds(&*self.clock),
            TimeOrNow::SpecificTime(time) => since_epoch(time),
        });
        // The upper bits are the file's type.
        let mode = mode.map(|mode| (mode & 0o7777) as u16);
        let change = Change { size, mode, uid, gid, mtime };
        let handle = handle.map(|handle| handle.0);
        let act = move |fs: &SecretFs, call: &Call| fs.setattr(call, ino.0, handle, change);
        self.change_call(request, Asked::of("setattr", ino.0), reply, act, send_attr);
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let act = move |fs: &SecretFs, call: &Call| fs.readlink(call, ino.0);
        self.read_call(request, Asked::of("readlink", ino.0), reply, act, |reply, result| match result {
            Ok(target) => reply.data(target.as_bytes()),
            Err(errno) => reply.error(errno),
        });
    }

    fn mknod(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EPERM);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, _mode: u32, _umask: u32, reply: ReplyEntry) {
        let Some(name) = name.to_str().map(str::to_owned) else { return reply.error(Errno::EINVAL) };
        self.change_call(
            request,
            Asked::at("mkdir", parent.0, &name),
            reply,
            move |fs, call| fs.mkdir(call, parent.0, &name),
            send_entry,
        );
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = text_or_reply!(name, reply);
        self.change_call(
            request,
            Asked::at("unlink", parent.0, &name),
            reply,
            move |fs, call| fs.unlink(call, parent.0, &name),
            send_empty,
        );
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = text_or_reply!(name, reply);
        self.change_call(
            request,
            Asked::at("rmdir", parent.0, &name),
            reply,
            move |fs, call| fs.rmdir(call, parent.0, &name),
            send_empty,
        );
    }

    fn symlink(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, _target: &Path, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn link(&self, _request: &Request, _ino: INodeNo, _parent: INodeNo, _name: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let name = text_or_reply!(name, reply);
        let Some(new_name) = new_name.to_str().map(str::to_owned) else { return reply.error(Errno::EINVAL) };
        let mode = if flags.is_empty() {
            RenameMode::Replace
        } else if flags == RenameFlags::RENAME_NOREPLACE {
            RenameMode::KeepExisting
        } else {
            RenameMode::Unsupported
        };
        let asked = Asked::at("rename", new_parent.0, &new_name);
        let act = move |fs: &SecretFs, call: &Call| fs.rename(call, (parent.0, &name), (new_parent.0, &new_name), mode);
        self.change_call(request, asked, reply, act, send_empty);
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: KernelOpenFlags, reply: ReplyOpen) {
        if self.fs.goes_without_open() {
            self.count("open");
            return reply.error(Errno::ENOSYS);
        }
        let flags = OpenFlags::from_bits(flags.0);
        self.read_call(
            request,
            Asked::of("open", ino.0),
            reply,
            move |fs, call| fs.open(call, ino.0, flags),
            send_open,
        );
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let Some(name) = name.to_str().map(str::to_owned) else { return reply.error(Errno::EINVAL) };
        let flags = OpenFlags::from_bits(flags);
        let mode = (mode & !umask & 0o7777) as u16;
        let asked = Asked::at("create", parent.0, &name);
        let act = move |fs: &SecretFs, call: &Call| fs.create(call, parent.0, &name, mode, flags);
        self.change_call(request, asked, reply, act, send_create);
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: KernelOpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (asked, size) = (Asked::of("read", ino.0), size as usize);
        if self.fs.goes_without_open() {
            let act = move |fs: &SecretFs, call: &Call| fs.read_unopened(call, ino.0, offset, size);
            return self.read_call(request, asked, reply, act, send_data);
        }
        let act = |fs: &SecretFs| {
            fs.refuse_revoked(ino.0)?;
            fs.read(handle.0, offset, size)
        };
        send_data(reply, self.at_once(&asked, act));
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: KernelOpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let call = self.call(request, self.limits.change);
        match self.at_once(&Asked::of("write", ino.0), |fs| fs.write(&call, handle.0, offset, data)) {
            // The kernel never sends more than fits.
            Ok(()) => reply.written(data.len() as u32),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, request: &Request, ino: INodeNo, handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        if self.fs.goes_without_open() {
            // Nothing is written here, and nobody asks a second time.
            self.count("flush");
            return reply.error(Errno::ENOSYS);
        }
        self.change_call(
            request,
            Asked::of("flush", ino.0),
            reply,
            move |fs, call| fs.flush(call, handle.0),
            send_empty,
        );
    }

    fn release(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _flags: KernelOpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        // Nobody hears the verdict, and `fs` has kept it.
        let act = move |fs: &SecretFs| {
            let _ = fs.release(handle.0);
            Ok(())
        };
        let asked = Asked::of("release", ino.0);
        if self.fs.may_save_at_release(handle.0) {
            self.change_call(request, asked, reply, move |fs, _| act(fs), send_empty);
        } else {
            send_empty(reply, self.at_once(&asked, act));
        }
    }

    fn fsync(&self, request: &Request, ino: INodeNo, handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.change_call(
            request,
            Asked::of("fsync", ino.0),
            reply,
            move |fs, call| fs.fsync(call, handle.0),
            send_empty,
        );
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _flags: KernelOpenFlags, reply: ReplyOpen) {
        if self.fs.goes_without_opendir() {
            self.count("opendir");
            return reply.error(Errno::ENOSYS);
        }
        let act = move |fs: &SecretFs, call: &Call| {
            let cached = fs.is_kept_listing(ino.0);
            fs.opendir(call, ino.0).map(|handle| OpenedDir { handle, cached })
        };
        self.read_call(request, Asked::of("opendir", ino.0), reply, act, send_opendir);
    }

    fn readdir(&self, request: &Request, ino: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectory) {
        let act = move |fs: &SecretFs, call: &Call| fs.list(call, ino.0, handle.0, offset);
        self.read_call(request, Asked::of("readdir", ino.0), reply, act, send_entries);
    }

    fn readdirplus(&self, request: &Request, ino: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        let act = move |fs: &SecretFs, call: &Call| fs.list(call, ino.0, handle.0, offset);
        let reply = PlusReply { reply, fs: self.fs.clone(), call: self.call(request, self.limits.read) };
        self.read_call(request, Asked::of("readdirplus", ino.0), reply, act, send_entries_plus);
    }

    fn releasedir(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: KernelOpenFlags,
        reply: ReplyEmpty,
    ) {
        self.count("releasedir");
        self.fs.releasedir(handle.0);
        reply.ok();
    }

    fn fsyncdir(&self, request: &Request, ino: INodeNo, _handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.change_call(
            request,
            Asked::of("fsyncdir", ino.0),
            reply,
            |fs, call| fs.send_removals(call.wait),
            send_empty,
        );
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        self.count("statfs");
        // A vault states no size; the figures only keep tools from thinking it full. Never asks the vault.
        reply.statfs(1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 4096, MAX_FILE_NAME as u32, 4096);
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let Some(name) = name.to_str().map(str::to_owned) else { return reply.error(Errno::EOPNOTSUPP) };
        let value = value.to_vec();
        let act = move |fs: &SecretFs, call: &Call| fs.setxattr(call, ino.0, &name, &value);
        self.change_call(request, Asked::of("setxattr", ino.0), reply, act, send_empty);
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let Some(name) = name.to_str().map(str::to_owned) else { return reply.error(Errno::EOPNOTSUPP) };
        let act = move |fs: &SecretFs, call: &Call| fs.getxattr(call, ino.0, &name);
        self.read_call(request, Asked::of("getxattr", ino.0), (reply, size), act, send_xattr);
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let act = move |fs: &SecretFs, call: &Call| fs.listxattr(call, ino.0);
        self.read_call(request, Asked::of("listxattr", ino.0), (reply, size), act, send_xattr);
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let Some(name) = name.to_str().map(str::to_owned) else { return reply.error(Errno::EOPNOTSUPP) };
        let act = move |fs: &SecretFs, call: &Call| fs.removexattr(call, ino.0, &name);
        self.change_call(request, Asked::of("removexattr", ino.0), reply, act, send_empty);
    }

    fn ioctl(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        command: u32,
        data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        let data = data.to_vec();
        let act = move |fs: &SecretFs, call: &Call| fs.ioctl(call, ino.0, command, &data);
        self.change_call(request, Asked::of("ioctl", ino.0), reply, act, |reply, result| match result {
            Ok(()) => reply.ioctl(0, &[]),
            Err(errno) => reply.error(errno),
        });
    }

    fn access(&self, _request: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        self.count("access");
        // The kernel decides by the mode bits (default_permissions) and does not ask.
        reply.error(Errno::ENOSYS);
    }
}

fn since_epoch(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
    }
}
