//! A bare filesystem of fuser with KEEP_CACHE, the peer of a writable mount: files in memory, endless times to live, OPEN and
//! RELEASE answered and nothing else asked. `keep DIR FROM` mounts at DIR a directory `files` with what stands in the directory
//! FROM.

use std::ffi::OsStr;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyOpen, Request,
};

const LONG: Duration = Duration::from_secs(1 << 30);
const FILES: u64 = 2;
/// The inode of the first file; the others follow.
const FIRST: u64 = 3;

struct Keep(Vec<(String, Vec<u8>)>);

impl Keep {
    fn attr(&self, ino: u64) -> FileAttr {
        let file = (ino >= FIRST).then(|| &self.0[(ino - FIRST) as usize]);
        FileAttr {
            ino: INodeNo(ino),
            size: file.map_or(0, |(_, bytes)| bytes.len() as u64),
            blocks: 1,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if file.is_none() { FileType::Directory } else { FileType::RegularFile },
            perm: if file.is_none() { 0o700 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Keep {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let wanted =
            InitFlags::FUSE_PARALLEL_DIROPS | InitFlags::FUSE_DO_READDIRPLUS | InitFlags::FUSE_READDIRPLUS_AUTO;
        let _ = config.add_capabilities(wanted);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT {
            return match name == "files" {
                true => reply.entry(&LONG, &self.attr(FILES), Generation(0)),
                false => reply.error(Errno::ENOENT),
            };
        }
        match self.0.binary_search_by(|(other, _)| other.as_str().cmp(name.to_str().unwrap_or_default())) {
            Ok(at) => reply.entry(&LONG, &self.attr(at as u64 + FIRST), Generation(0)),
            Err(_) => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&LONG, &self.attr(ino.0));
    }

    fn open(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH);
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = &self.0[(ino.0 - FIRST) as usize].1;
        let start = (offset as usize).min(bytes.len());
        reply.data(&bytes[start..(start + size as usize).min(bytes.len())]);
    }

    fn flush(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn readdir(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for (at, (name, _)) in self.0.iter().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(at as u64 + FIRST), at as u64 + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        for (at, (name, _)) in self.0.iter().enumerate().skip(offset as usize) {
            let ino = at as u64 + FIRST;
            if reply.add(INodeNo(ino), at as u64 + 1, name, &LONG, &self.attr(ino), Generation(0)) {
                break;
            }
        }
        reply.ok();
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut files: Vec<_> = std::fs::read_dir(&words[1])
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    let mut config = Config::default();
    config.n_threads = Some(4);
    config.mount_options = vec![MountOption::FSName("keep".to_owned()), MountOption::RO];
    fuser::mount(Keep(files), &words[0], &config).unwrap();
}
