//! Random sequences of calls on `files/` and on a directory of a tmpfs, where both must do the same: each call's errno, and
//! after it the names, the sizes and the bytes of everything. `AKVFS_SEED` runs the sequence of that number alone.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::calls::errno;
use super::fsx::Dice;
use super::harness::{World, run};

const SEQUENCES: u64 = 40;
const STEPS: usize = 60;
/// Names of secrets, and one that no secret can have.
const NAMES: [&str; 4] = ["a", "b", "c", ".new"];

/// A call that a program makes; names by number.
#[derive(Debug)]
enum Op {
    Save(usize, Vec<u8>),
    Append(usize, Vec<u8>),
    CreateNew(usize, Vec<u8>),
    Patch(usize, u64, Vec<u8>),
    Cut(usize, u64),
    SaveByRename(usize, Vec<u8>),
    Remove(usize),
    RemoveDirectory(usize),
    ReadLink(usize),
    OpenDirectory(usize),
    Within(usize),
    RenameNothing(usize),
}

impl Op {
    fn random(dice: &mut Dice) -> Self {
        let (name, text) = (dice.roll(3), dice.text(400));
        match dice.roll(17) {
            0..=2 => Self::Save(name, text),
            3 | 4 => Self::Append(name, text),
            5 => Self::CreateNew(name, text),
            6 | 7 => Self::Patch(name, dice.roll(500) as u64, text),
            8 => Self::Cut(name, dice.roll(500) as u64 + 1),
            9 | 10 => Self::SaveByRename(name, text),
            11 => Self::Remove(name),
            12 => Self::RemoveDirectory(name),
            13 => Self::ReadLink(name),
            14 => Self::OpenDirectory(name),
            15 => Self::Within(name),
            _ => Self::RenameNothing(name),
        }
    }

    fn run(&self, dir: &Path) -> io::Result<()> {
        let at = |name: &usize| dir.join(NAMES[*name]);
        let open = OpenOptions::new;
        match self {
            Self::Save(name, text) => fs::write(at(name), text),
            Self::Append(name, text) => open().append(true).create(true).open(at(name))?.write_all(text),
            Self::CreateNew(name, text) => open().write(true).create_new(true).open(at(name))?.write_all(text),
            Self::Patch(name, offset, text) => {
                let file = open().write(true).open(at(name))?;
                // No hole: a value is text.
                file.write_all_at(text, (*offset).min(file.metadata()?.len()))
            }
            Self::Cut(name, length) => {
                let file = open().write(true).open(at(name))?;
                file.set_len((*length).min(file.metadata()?.len()))
            }
            Self::SaveByRename(name, text) => {
                fs::write(at(&3), text)?;
                fs::rename(at(&3), at(name))
            }
            Self::Remove(name) => fs::remove_file(at(name)),
            Self::RemoveDirectory(name) => fs::remove_dir(at(name)),
            Self::ReadLink(name) => fs::read_link(at(name)).map(drop),
            Self::OpenDirectory(name) => open().read(true).custom_flags(libc::O_DIRECTORY).open(at(name)).map(drop),
            Self::Within(name) => fs::read(at(name).join("within")).map(drop),
            Self::RenameNothing(name) => fs::rename(at(&3), at(name)),
        }
    }
}

/// Everything in a directory: names, sizes, bytes.
fn all(dir: &Path) -> BTreeMap<String, (u64, Vec<u8>)> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let names = fs::read_dir(dir).unwrap().map(name);
    let content = |name: String| {
        let path = dir.join(&name);
        let size = path.metadata().unwrap().len();
        (name, (size, fs::read(path).unwrap()))
    };
    names.map(content).collect()
}

/// A directory of a tmpfs: under /dev/shm, which is one wherever there is one.
fn memory() -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir_in("/dev/shm").ok()?;
    let mut command = std::process::Command::new("stat");
    command.args(["-f", "-c", "%T"]).arg(dir.path());
    let kind = run(command, std::time::Duration::from_secs(10)).ok();
    (kind.trim() == "tmpfs").then_some(dir)
}

fn sequence(seed: u64, mount: &Path, memory: &Path) {
    let mut dice = Dice::new(seed);
    let mut done = Vec::new();
    for _ in 0..STEPS {
        let op = Op::random(&mut dice);
        let (here, there) = (errno(op.run(mount)), errno(op.run(memory)));
        done.push(op);
        assert_eq!(here, there, "left: the mount, right: tmpfs; AKVFS_SEED={seed}, at the end of {done:?}");
        assert_eq!(all(mount), all(memory), "left: the mount, right: tmpfs; AKVFS_SEED={seed}, after {done:?}");
    }
}

#[test]
fn files_do_as_files_of_a_tmpfs_do() {
    let Some(memory) = memory() else { return skipped!("/dev/shm is no tmpfs") };
    // An unlinked file's name can be taken again; the delete that then is not sent is another test's.
    let Some(world) = World::new(&[], "delete_delay=1h,max_writes=100000/s,max_requests=100000/s") else { return };
    let dir: PathBuf = world.path("files");
    let alone = std::env::var("AKVFS_SEED").ok().and_then(|text| text.parse().ok());
    for seed in alone.map_or(0..SEQUENCES, |seed: u64| seed..seed + 1) {
        sequence(seed, &dir, memory.path());
    }
    println!("{} calls in {SEQUENCES} sequences", SEQUENCES * STEPS as u64);
}
