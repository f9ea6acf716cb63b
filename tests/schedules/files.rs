//! The files: the inode table, the handles, and what is being written.

use std::sync::Arc;

use akvfs::fs::tree::{Ino, ROOT};
use akvfs::fs::{Call, FsOptions, Kernel, Notice, OpenFlags, SecretFs};
use akvfs::store::{Change, News, SecretStore};
use shuttle::thread::{JoinHandle, spawn};

use super::support::{Alone, name};
use super::{Stage, join, save, under_all};

/// A kernel that takes every notice.
struct Kernels;

impl Kernel for Kernels {
    fn tell(&self, _notice: Notice) {}
    fn settle(&self, _limit: std::time::Duration) -> bool {
        true
    }
}

struct Files {
    stage: Arc<Stage>,
    fs: SecretFs,
    dir: Ino,
    /// What is held when nobody does anything.
    before: (usize, usize, usize),
}

impl Files {
    fn new() -> Arc<Self> {
        let stage = Stage::new();
        let fs = SecretFs::new(
            stage.store.clone(),
            stage.clock.clone(),
            Arc::new(Alone),
            Arc::new(Kernels),
            FsOptions { read_only: false, ..FsOptions::default() },
        );
        let mut files = Self { stage, fs, dir: ROOT, before: (0, 0, 0) };
        for part in ["secrets", "n"] {
            files.dir = files.fs.lookup(&files.call(1), files.dir, part).unwrap().node;
        }
        files.before = files.fs.held();
        Arc::new(files)
    }

    fn call(&self, thread: u32) -> Call {
        Call { uid: 0, gid: 0, thread, wait: self.stage.wait() }
    }

    /// As the kernel does for open(2): looks up and opens, and once more after ESTALE.
    fn open(&self, thread: u32, flags: OpenFlags) -> (Ino, u64) {
        for _ in 0..2 {
            let ino = self.fs.lookup(&self.call(thread), self.dir, "value").unwrap().node;
            match self.fs.open(&self.call(thread), ino, flags) {
                Ok(opened) => return (ino, opened.handle),
                Err(error) if error.errno() == libc::ESTALE => self.fs.forget(ino, 1),
                Err(error) => panic!("{error:?}"),
            }
        }
        panic!("stale twice")
    }

    /// Opens, reads, closes, forgets.
    fn read(&self, thread: u32) -> usize {
        let (ino, handle) = self.open(thread, OpenFlags::default());
        let bytes = self.fs.read(handle, 0, 100).unwrap();
        self.fs.release(handle).unwrap();
        self.fs.forget(ino, 1);
        std::str::from_utf8(&bytes).unwrap().parse().unwrap()
    }

    /// The same with another value.
    fn write(&self, thread: u32, number: usize) {
        let flags = OpenFlags { write: true, truncate: true, ..OpenFlags::default() };
        let (ino, handle) = self.open(thread, flags);
        self.fs.write(&self.call(thread), handle, 0, number.to_string().as_bytes()).unwrap();
        self.fs.flush(&self.call(thread), handle).unwrap();
        self.fs.release(handle).unwrap();
        self.fs.forget(ino, 1);
    }

    /// Nothing is open and nothing half written; of inodes there may be the one that the next who looks is given.
    fn is_at_rest(&self) {
        let ((inodes, drafts, handles), (before, ..)) = (self.fs.held(), self.before);
        assert_eq!((drafts, handles), (0, 0));
        assert!(inodes <= before + 1, "{before} inodes became {inodes}");
    }
}

fn thread(files: &Arc<Files>, act: impl FnOnce(&Files) + Send + 'static) -> JoinHandle<()> {
    let files = files.clone();
    spawn(move || act(&files))
}

#[test]
fn readers_and_a_rotation_leave_no_inode_and_no_handle() {
    under_all(|| {
        let files = Files::new();
        let reader = |number| thread(&files, move |files| assert!(files.read(number) <= 2));
        let rotation = thread(&files, |files| {
            for number in 1..=2 {
                save(&*files.stage.vault, number, files.stage.wait());
                files.stage.store.find(&name("n"), files.stage.wait().anew()).unwrap();
                files.fs.heard(&Change { name: name("n"), news: News::Rotated }, false);
            }
        });
        join(vec![reader(2), reader(3), rotation]);
        assert_eq!(files.read(4), 2);
        files.is_at_rest();
    });
}

#[test]
fn a_number_that_is_looked_up_is_there_until_it_is_forgotten() {
    under_all(|| {
        let files = Files::new();
        let looker = |number| {
            thread(&files, move |files| {
                for _ in 0..2 {
                    let ino = files.fs.lookup(&files.call(number), files.dir, "value").unwrap().node;
                    let stat = files.fs.getattr(&files.call(number), ino).unwrap();
                    assert_eq!(stat.attr.size, 1);
                    files.fs.forget(ino, 1);
                }
            })
        };
        let saver = thread(&files, |files| save(&*files.stage.store, 1, files.stage.wait()));
        join(vec![looker(2), looker(3), saver]);
        files.is_at_rest();
    });
}

#[test]
fn readers_beside_a_writer_read_a_whole_value_and_who_reads_after_its_close_the_new_one() {
    under_all(|| {
        let files = Files::new();
        let reader = |number| thread(&files, move |files| assert!([0, 11].contains(&files.read(number))));
        let writer = thread(&files, |files| {
            files.write(4, 11);
            assert_eq!(files.read(4), 11);
        });
        join(vec![reader(2), reader(3), writer]);
        assert_eq!(files.stage.held(), 11);
        files.is_at_rest();
    });
}

#[test]
fn of_two_writers_one_is_last_and_the_file_shows_what_the_vault_holds() {
    under_all(|| {
        let files = Files::new();
        let writer = |number| thread(&files, move |files| files.write(number, number as usize * 10));
        join(vec![writer(2), writer(3)]);
        let held = files.stage.held();
        assert!([20, 30].contains(&held), "{held}");
        assert_eq!(files.read(4), held);
        files.is_at_rest();
    });
}

#[test]
fn waking_beside_readers_leaves_nothing_behind() {
    under_all(|| {
        let files = Files::new();
        let reader = thread(&files, |files| assert!(files.read(2) <= 1));
        let waker = thread(&files, |files| {
            save(&*files.stage.vault, 1, files.stage.wait());
            files.stage.store.find(&name("n"), files.stage.wait().anew()).unwrap();
            for watched in files.fs.watched(&name("n")) {
                files.fs.begin_waking(9, &watched);
                files.fs.end_waking();
            }
            files.fs.heard(&Change { name: name("n"), news: News::Rotated }, true);
        });
        join(vec![reader, waker]);
        files.is_at_rest();
    });
}
