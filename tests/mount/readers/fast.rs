//! Saves as fast as one process makes them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use akvfs::local::ServeOptions;

use super::super::harness::{At, Vault, World};
use super::record::record;
use super::{OPTIONS, REST, Readers, head, watched};

fn in_pieces(path: &Path, text: &str) {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    text.as_bytes().chunks(1000).for_each(|piece| file.write_all(piece).unwrap());
    file.sync_all().unwrap();
}

fn in_place(path: &Path, text: &str) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    file.write_all_at(text.as_bytes(), 0).unwrap();
    file.set_len(text.len() as u64).unwrap();
    file.sync_all().unwrap();
}

fn by_renaming(path: &Path, text: &str) {
    let new = path.with_extension("tmp");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// As vim does with `backupcopy=no`.
fn by_moving_aside(path: &Path, text: &str) {
    let old = path.with_extension("bak");
    fs::rename(path, &old).unwrap();
    fs::write(path, text).unwrap();
    fs::remove_file(&old).unwrap();
}

/// As `install` and `mv` from another filesystem do.
fn by_removing(path: &Path, text: &str) {
    fs::remove_file(path).unwrap();
    OpenOptions::new().write(true).create_new(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Saves a text at a path.
type Save = fn(&Path, &str);

#[test]
fn readers_see_the_old_value_or_the_new_one() {
    let Some(vault) = Vault::with(ServeOptions::default(), &[("a", &record(0))]) else { return };
    let world = World::lasting(vault, OPTIONS, 10 * watched() + REST);
    let ways: [(&str, Save, bool); 5] = [
        ("in pieces", in_pieces, false),
        ("in place", in_place, false),
        ("by renaming", by_renaming, false),
        ("by moving aside", by_moving_aside, false),
        ("by removing", by_removing, true),
    ];
    let mut round = 0;
    println!("{}", head());
    for at in [At::Secret, At::Flat] {
        let path = world.path(&at.path("a"));
        for (way, save, may_miss) in ways {
            let first = round;
            let readers = Readers::start(&path, world.mount.aside(&format!("{at:?} {way}")));
            let end = Instant::now() + watched() / 2;
            while Instant::now() < end {
                round += 1;
                save(&path, &record(round));
            }
            let (seen, saves) = (readers.end(), round - first);
            println!("{}", seen.line(saves, &format!("{way}: {}", at.path("n"))));
            assert!(saves > 0 && seen.is_clean(may_miss), "{way}: {seen:?}");
            assert_eq!(world.vault.versions("a").len() as u64, 1 + round, "{way}: one save, one version");
            assert_eq!(world.vault.get("a"), Ok(record(round)), "{way}");
        }
    }
    assert_eq!(world.vault.requests("delete"), 0);
}
