//! Requests of the kernel, one by one: convert, one call, one reply.
//!
//! A reading call is tried from memory first, on the event loop. What is not in memory, and every call that changes
//! something, goes to the pool, and the reply is sent from there. A panic in a call is an EIO for its caller.

use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags as KernelOpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
    WriteFlags,
};
use zeroize::Zeroizing;

use crate::clock::{Clock, unix_seconds};
use crate::fs::attr::{Attr, DirEntry, Entry, Kind, Opened, Stat};
use crate::fs::errno::{FsError, FsResult};
use crate::fs::journal::Asked;
use crate::fs::{Call, Change, OpenFlags, RenameMode, SecretFs};
use crate::store::Wait;

use super::Limits;
use super::inflight::{Inflight, Reply};
use super::pool::Pool;

/// See the module.
pub struct Adapter {
    fs: Arc<SecretFs>,
    pool: Pool,
    inflight: Inflight,
    limits: Limits,
    clock: Arc<dyn Clock>,
}

type Send_<R, T> = fn(R, Result<T, Errno>);

/// Runs a call so that a panic in it is an EIO and nothing more.
fn guarded<T>(fs: &SecretFs, call: impl FnOnce(&SecretFs) -> FsResult<T>) -> FsResult<T> {
    catch_unwind(AssertUnwindSafe(|| call(fs))).unwrap_or_else(|_| {
        fs.metrics().panics.add();
        Err(FsError::refused(libc::EIO, "akvfs itself failed (panic): please report it, with the log"))
    })
}

/// The errno; the sentence behind it is kept.
fn verdict<T>(fs: &SecretFs, asked: &Asked, result: FsResult<T>) -> Result<T, Errno> {
    result.map_err(|error| Errno::from_i32(fs.failed(asked, &error)))
}

fn text(name: &OsStr) -> Result<String, Errno> {
    // No file here has a name that is not text.
    name.to_str().map(str::to_owned).ok_or(Errno::ENOENT)
}

impl Adapter {
    /// Translates for `fs`.
    pub fn new(fs: Arc<SecretFs>, limits: Limits, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let inflight = Inflight::start(clock.clone())?;
        Ok(Self { fs, pool: Pool::default(), inflight, limits, clock })
    }

    fn call(&self, request: &Request, limit: Duration) -> Call {
        let wait = Wait::at_most(&*self.clock, limit);
        Call { uid: request.uid(), gid: request.gid(), thread: request.pid(), wait }
    }

    /// A call that never waits.
    fn at_once<T>(&self, asked: &Asked, act: impl FnOnce(&SecretFs) -> FsResult<T>) -> Result<T, Errno> {
        self.fs.metrics().requests.add();
        verdict(&self.fs, asked, guarded(&self.fs, act))
    }

    /// A reading call: from memory if it can be, else on the pool.
    fn read_call<R: Send + 'static, T: Answer>(
        &self,
        request: &Request,
        asked: Asked,
        reply: R,
        act: impl Fn(&SecretFs, &Call) -> FsResult<T> + Send + 'static,
        send: Send_<R, T>,
    ) {
        self.fs.metrics().requests.add();
        let call = self.call(request, self.limits.read);
        match guarded(&self.fs, |fs| act(fs, &Call { wait: Wait::No, ..call })) {
            Err(error) if error.is_not_in_memory() => self.on_pool(call, asked, reply, act, send),
            result => send(reply, verdict(&self.fs, &asked, result)),
        }
    }

    /// A changing call: on the pool.
    fn change_call<R: Send + 'static, T: Answer>(
        &self,
        request: &Request,
        asked: Asked,
        reply: R,
        act: impl FnOnce(&SecretFs, &Call) -> FsResult<T> + Send + 'static,
        send: Send_<R, T>,
    ) {
        self.fs.metrics().requests.add();
        let call = self.call(request, self.limits.change);
        self.on_pool(call, asked, reply, act, send);
    }

    fn on_pool<R: Send + 'static, T: Answer>(
        &self,
        call: Call,
        asked: Asked,
        reply: R,
        act: impl FnOnce(&SecretFs, &Call) -> FsResult<T> + Send + 'static,
        send: Send_<R, T>,
    ) {
        let (reply, fs, inflight) = (Reply::new(reply), self.fs.clone(), self.inflight.clone());
        let early = reply.clone();
        let ticket = inflight.add(call.thread, move || {
            if let Some(reply) = early.take() {
                send(reply, Err(Errno::EINTR));
            }
        });
        self.pool.run(move || {
            let result = verdict(&fs, &asked, guarded(&fs, |fs| act(fs, &call)));
            inflight.done(ticket);
            match (reply.take(), result) {
                (Some(reply), result) => send(reply, result),
                (None, Ok(unheard)) => unheard.take_back(&fs),
                (None, Err(_)) => {}
            }
        });
    }
}

/// What a call gives. Some of it the kernel would give back one day (a look-up, a handle); if the caller was killed meanwhile
/// it never hears of it, so we do.
trait Answer: 'static {
    /// Nobody will.
    fn take_back(self, fs: &SecretFs);
}

impl Answer for Entry {
    fn take_back(self, fs: &SecretFs) {
        fs.forget(self.node, 1);
    }
}

impl Answer for Opened {
    fn take_back(self, fs: &SecretFs) {
        fs.abandon(self.handle);
    }
}

impl Answer for (Entry, Opened) {
    fn take_back(self, fs: &SecretFs) {
        self.1.take_back(fs);
        self.0.take_back(fs);
    }
}

/// A handle of a directory.
struct OpenedDir(u64);

impl Answer for OpenedDir {
    fn take_back(self, fs: &SecretFs) {
        fs.releasedir(self.0);
    }
}

macro_rules! nothing_to_take_back {
    ($($answer:ty),*) => {
        $(impl Answer for $answer {
            fn take_back(self, _fs: &SecretFs) {}
        })*
    };
}

nothing_to_take_back!((), Stat, String, Vec<u8>, Arc<Vec<DirEntry>>);

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

fn send_entry(reply: ReplyEntry, result: Result<Entry, Errno>) {
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

fn send_attr(reply: ReplyAttr, result: Result<Stat, Errno>) {
    match result {
        Ok(stat) => reply.attr(&stat.ttl, &file_attr(&stat.attr)),
        Err(errno) => reply.error(errno),
    }
}

fn send_empty(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn open_flags(opened: &Opened) -> FopenFlags {
    if opened.direct { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH }
}

fn send_open(reply: ReplyOpen, result: Result<Opened, Errno>) {
    match result {
        Ok(opened) => reply.opened(FileHandle(opened.handle), open_flags(&opened)),
        Err(errno) => reply.error(errno),
    }
}

fn send_create(reply: ReplyCreate, result: Result<(Entry, Opened), Errno>) {
    match result {
        Ok((entry, opened)) => {
            let attr = FileAttr { ino: INodeNo(entry.node), ..file_attr(&entry.stat.attr) };
            reply.created(&entry.ttl, &attr, Generation(0), FileHandle(opened.handle), open_flags(&opened));
        }
        Err(errno) => reply.error(errno),
    }
}

fn send_data(reply: ReplyData, result: Result<Zeroizing<Vec<u8>>, Errno>) {
    match result {
        Ok(bytes) => reply.data(&bytes),
        Err(errno) => reply.error(errno),
    }
}

/// Entries from an offset on; offset 1 is behind the first.
fn send_entries((mut reply, offset): (ReplyDirectory, u64), result: Result<Arc<Vec<DirEntry>>, Errno>) {
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

fn send_xattr((reply, size): (ReplyXattr, u32), result: Result<Vec<u8>, Errno>) {
    match result {
        Ok(value) if size == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(errno) => reply.error(errno),
    }
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
        // is replaced whole. AUTO_INVAL_DATA is a net under the rule that an inode's bytes never change. A kernel that
        // lacks one of them works too.
        let wanted = InitFlags::FUSE_PARALLEL_DIROPS | InitFlags::FUSE_ATOMIC_O_TRUNC | InitFlags::FUSE_AUTO_INVAL_DATA;
        if let Err(missing) = config.add_capabilities(wanted) {
            let _ = config.add_capabilities(wanted & !missing);
        }
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = text_or_reply!(name, reply);
        self.read_call(
            request,
            Asked::at("lookup", parent.0, &name),
            reply,
            move |fs, call| fs.lookup(call, parent.0, &name),
            send_entry,
        );
    }

    fn forget(&self, _request: &Request, ino: INodeNo, count: u64) {
        self.fs.forget(ino.0, count);
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        self.read_call(request, Asked::of("stat", ino.0), reply, move |fs, call| fs.getattr(call, ino.0), send_attr);
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
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: KernelOpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let act = |fs: &SecretFs| fs.read(handle.0, offset, size as usize);
        send_data(reply, self.at_once(&Asked::of("read", ino.0), act));
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
        let act = move |fs: &SecretFs, call: &Call| fs.opendir(call, ino.0).map(OpenedDir);
        self.read_call(request, Asked::of("opendir", ino.0), reply, act, |reply, result| match result {
            Ok(opened) => reply.opened(FileHandle(opened.0), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        });
    }

    fn readdir(&self, request: &Request, ino: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectory) {
        let act =
            move |fs: &SecretFs, call: &Call| fs.readdir(call, handle.0, usize::try_from(offset).unwrap_or(usize::MAX));
        self.read_call(request, Asked::of("readdir", ino.0), (reply, offset), act, send_entries);
    }

    fn releasedir(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: KernelOpenFlags,
        reply: ReplyEmpty,
    ) {
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
        // A vault states no size; the figures only keep tools from thinking it full. Never asks the vault.
        reply.statfs(1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 4096, 255, 4096);
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

    fn access(&self, _request: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
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
