//! Programs that watch files (inotify) when another party rotates a value: each hears of every rotation, and reads the new
//! value then.

use std::fs;
use std::io::Read;
use std::os::fd::FromRawFd;

use super::calls::c_path;
use super::harness::{World, eventually};

const MOUNTS: [&str; 2] = ["ttl=500ms", "ro,ttl=500ms"];

/// The events of an inotify watch, as they come.
struct Watcher {
    queue: fs::File,
    /// Watch and mask of each.
    heard: Vec<(i32, u32)>,
}

impl Watcher {
    fn new() -> Self {
        // SAFETY: no pointers; the answer is a new descriptor.
        let queue = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        assert!(queue >= 0);
        // SAFETY: just opened, nobody else has it.
        Self { queue: unsafe { fs::File::from_raw_fd(queue) }, heard: Vec::new() }
    }

    fn add(&self, world: &World, path: &str, mask: u32) -> i32 {
        use std::os::fd::AsRawFd;
        let path = c_path(&world.path(path));
        // SAFETY: a path that lives.
        let watch = unsafe { libc::inotify_add_watch(self.queue.as_raw_fd(), path.as_ptr(), mask) };
        assert!(watch >= 0, "{}", std::io::Error::last_os_error());
        watch
    }

    fn take_in(&mut self) {
        let mut buffer = [0_u8; 16_384];
        while let Ok(count) = self.queue.read(&mut buffer) {
            let mut at = 0;
            while at < count {
                let word = |offset: usize| i32::from_ne_bytes(buffer[at + offset..at + offset + 4].try_into().unwrap());
                let (watch, mask, length) = (word(0), word(4).cast_unsigned(), word(12) as usize);
                self.heard.push((watch, mask));
                at += 16 + length;
            }
        }
    }

    /// Whether `watch` has heard one of `mask` since it was asked last.
    fn has_heard(&mut self, watch: i32, mask: u32) -> bool {
        self.take_in();
        self.heard.drain(..).any(|(its, heard)| its == watch && heard & mask != 0)
    }
}

const ROWS: [(&str, &str, u32); 9] = [
    ("a change of the file", "secrets/a/value", libc::IN_MODIFY | libc::IN_CLOSE_WRITE),
    ("its attributes only", "secrets/a/value", libc::IN_ATTRIB),
    ("a close of the file only", "secrets/a/value", libc::IN_CLOSE_WRITE),
    ("a change in the directory", "secrets/a", libc::IN_MODIFY),
    ("a close in the directory", "secrets/a", libc::IN_CLOSE_WRITE),
    ("what is put into the directory", "secrets/a", libc::IN_MOVED_TO | libc::IN_CREATE),
    ("a change of the flat file", "files/a", libc::IN_MODIFY),
    ("a change among the flat files", "files", libc::IN_MODIFY),
    ("what is put among the flat files", "files", libc::IN_MOVED_TO),
];

#[test]
fn every_watch_hears_of_each_of_three_rotations_and_reads_the_new_value() {
    for options in MOUNTS {
        let Some(world) = World::new(&[("a", "0"), ("b", "x")], options) else { return };
        for path in ["secrets/a/value", "files/a"] {
            (0..3).for_each(|_| drop(fs::read(world.path(path)).unwrap()));
        }
        // Each on its own, as the programs would have it.
        let mut watchers: Vec<_> = ROWS
            .iter()
            .map(|(what, path, mask)| {
                let watcher = Watcher::new();
                let watch = watcher.add(&world, path, *mask);
                (what, path, *mask, watch, watcher)
            })
            .collect();
        for round in 1..=3 {
            world.vault.set("a", &round.to_string());
            for (what, path, mask, watch, watcher) in &mut watchers {
                let file = if path.starts_with("files") { "files/a" } else { "secrets/a/value" };
                // The last events of the rotation before may come late; what counts is one after which the new value is there.
                eventually(&format!("{what}, rotation {round}, {options}"), || {
                    watcher.has_heard(*watch, *mask)
                        && fs::read_to_string(world.path(file)).unwrap() == round.to_string()
                });
            }
            // Long enough for the readers of this round to look the name up again.
            (0..3).for_each(|_| drop(fs::read(world.path("secrets/a/value")).unwrap()));
        }
    }
}

#[test]
fn a_mount_that_cannot_be_written_to_still_cannot_and_shows_it() {
    let Some(world) = World::new(&[("a", "x")], "ro,ttl=500ms") else { return };
    let script =
        r#"grep " $M " /proc/self/mountinfo | cut -d" " -f6; touch "$V"; mkdir "$M/secrets/n"; ls -a "$M/.akvfs""#;
    let ran = world.bash("a", script);
    assert!(ran.out.starts_with("ro,"), "{ran:?}");
    assert_eq!(ran.err.matches("Read-only file system").count(), 2, "{ran:?}");
    assert!(!ran.out.contains(".wake"), "{ran:?}");
    assert!(!world.path(".akvfs/.wake.new").exists());
}

#[test]
fn on_change_runs_with_the_path_and_the_version_and_no_value() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let options = format!("ttl=500ms,on_change=\"env >>{}\"", log.path().display());
    let Some(world) = World::new(&[("a", "old"), ("b", "x")], &options) else { return };
    fs::read(world.path("secrets/a/value")).unwrap();
    world.vault.set("a", "not to be seen");
    let text = || fs::read_to_string(log.path()).unwrap();
    eventually("the command", || text().contains("AKVFS_VERSION"));
    let path = world.path("secrets/a/value");
    assert!(text().contains(&format!("AKVFS_PATH={}\n", path.display())), "{}", text());
    let version = world.vault.client.get_secret(&super::harness::name("a"), None).unwrap().properties.version.unwrap();
    assert!(text().contains(&format!("AKVFS_VERSION={version}\n")), "{}", text());
    assert!(!text().contains("not to be seen"));
}
