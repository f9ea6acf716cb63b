//! Mount points with a real, empty file system of our type on them: second mounts, dead mounts, unmounting.
//!
//! Needs /dev/fuse and the right to mount; says so and passes where that is missing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
#[path = "support/skipped.rs"]
mod skipped;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use akvfs::clock::SystemClock;
use akvfs::mount::point::Place;
use akvfs::mount::{mountinfo, point, unmount};
use fuser::{Config, FileAttr, FileType, Filesystem, INodeNo, MountOption, ReplyAttr, Request};

const PLACE: &str = "AKVFS_TEST_PLACE";
const SUBTYPE: &str = "AKVFS_TEST_SUBTYPE";

/// A directory without anything in it.
struct Empty;

impl Filesystem for Empty {
    fn getattr(&self, _request: &Request, _inode: INodeNo, _handle: Option<fuser::FileHandle>, reply: ReplyAttr) {
        let epoch = std::time::UNIX_EPOCH;
        let root = FileAttr {
            ino: INodeNo::ROOT,
            size: 0,
            blocks: 0,
            atime: epoch,
            mtime: epoch,
            ctime: epoch,
            crtime: epoch,
            kind: FileType::Directory,
            perm: 0o755,
            nlink: 2,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 512,
            flags: 0,
        };
        reply.attr(&Duration::from_secs(1), &root);
    }
}

/// An empty file system on a directory, carried by another process. Both are gone at the end, whatever happens.
struct Mounted {
    dir: PathBuf,
    carrier: Child,
    _temporary: tempfile::TempDir,
}

impl Mounted {
    /// `None`, and a loud word, where nobody may mount.
    fn new(subtype: &str) -> Option<Self> {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().canonicalize().unwrap();
        let mut carrier = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_carrier", "--ignored", "--nocapture"])
            .envs([(PLACE, dir.as_os_str()), (SUBTYPE, subtype.as_ref())])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mounted = || mountinfo::top_at(&dir).unwrap().is_some();
        while !mounted() {
            if carrier.try_wait().unwrap().is_some() {
                skipped!("no mount is possible here; it needs root (or fusermount3) and /dev/fuse");
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(Self { dir, carrier, _temporary: temporary })
    }

    fn kill_carrier(&mut self) {
        self.carrier.kill().unwrap();
        self.carrier.wait().unwrap();
    }

    fn is_mounted(&self) -> bool {
        mountinfo::top_at(&self.dir).unwrap().is_some()
    }

    fn unmount(&self, lazy: bool) -> Result<(), String> {
        unmount::unmount(&self.dir, lazy, &*SystemClock::shared()).map_err(|error| error.to_string())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = self.carrier.kill();
        let _ = self.carrier.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.dir).stderr(Stdio::null()).status();
    }
}

#[test]
#[ignore = "the other tests run it in a process of its own"]
fn the_carrier() {
    let (Ok(place), Ok(subtype)) = (std::env::var(PLACE), std::env::var(SUBTYPE)) else { return };
    let mut config = Config::default();
    config.mount_options =
        vec![MountOption::CUSTOM(format!("subtype={subtype}")), MountOption::FSName("test-vault".to_owned())];
    let ended = fuser::mount(Empty, place, &config);
    std::process::exit(i32::from(ended.is_err()));
}

#[test]
fn a_second_mount_of_one_directory_is_refused() {
    let Some(mounted) = Mounted::new("akvfs") else { return };
    let dir = mounted.dir.display();
    let remedy = format!("test-vault is mounted there already; unmount it first: akvfs unmount {dir}");
    assert_eq!(point::prepare(&mounted.dir), Err(remedy));
    assert!(mounted.is_mounted());
}

#[test]
fn a_dead_mount_of_ours_is_taken_away() {
    let Some(mut mounted) = Mounted::new("akvfs") else { return };
    mounted.kill_carrier();
    let error = std::fs::metadata(&mounted.dir).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
    assert_eq!(point::prepare(&mounted.dir), Ok(Place::Directory(mounted.dir.clone())));
    assert!(!mounted.is_mounted());
}

#[test]
fn a_dead_mount_of_somebody_else_is_left_and_named() {
    let Some(mut mounted) = Mounted::new("elsefs") else { return };
    mounted.kill_carrier();
    let said = point::prepare(&mounted.dir).unwrap_err();
    assert!(said.contains("a dead mount of fuse.elsefs is there; remove it: umount -l"), "{said}");
    assert!(mounted.is_mounted());
}

#[test]
fn unmounting_ends_it() {
    let Some(mut mounted) = Mounted::new("akvfs") else { return };
    assert_eq!(mounted.unmount(false), Ok(()));
    assert!(!mounted.is_mounted());
    assert!(mounted.carrier.wait().unwrap().success());
    assert!(mounted.unmount(false).unwrap_err().contains("is not mounted"));
}

#[test]
fn an_open_file_keeps_it_unless_lazy() {
    let Some(mounted) = Mounted::new("akvfs") else { return };
    let open = File::open(&mounted.dir).unwrap();
    let said = mounted.unmount(false).unwrap_err();
    assert!(said.contains("a file in it is open"), "{said}");
    assert!(said.ends_with(&format!("akvfs unmount --lazy {}", mounted.dir.display())), "{said}");
    assert!(mounted.is_mounted());
    assert_eq!(mounted.unmount(true), Ok(()));
    assert!(!mounted.is_mounted());
    drop(open);
}

#[test]
fn a_dead_mount_can_be_unmounted() {
    let Some(mut mounted) = Mounted::new("akvfs") else { return };
    mounted.kill_carrier();
    assert_eq!(mounted.unmount(false), Ok(()));
    assert!(!mounted.is_mounted());
}

#[test]
fn only_a_mount_of_ours_is_unmounted() {
    let Some(mounted) = Mounted::new("elsefs") else { return };
    assert!(mounted.unmount(false).unwrap_err().contains("is a mount of fuse.elsefs, not of akvfs; use umount"));
    let device = mountinfo::top_at(&mounted.dir).unwrap().unwrap().device;
    assert!(unmount::detach(&mounted.dir, &device).is_ok());
    assert!(mounted.is_mounted());
}
