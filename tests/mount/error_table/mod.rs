//! The error table: a system call, what it is given, and the errno; on the mount and on a tmpfs tree of the same shape.
//!
//! A row is one line. Where the two answer alike it is `call(…) => ERRNO;`. Where this filesystem means to differ it is
//! `call(…) => ERRNO, tmpfs ERRNO: "why";` and the reason must be needed: a row whose two answers are the same fails.
//! The caller owns everything and has no capabilities, as an ordinary user has none.
//!
//! After each row the vault must not have been changed, and after the last one both trees must be as they were.

mod actor;
mod by_descriptor;
mod by_path;
mod tree;

mod attributes;
mod descriptors;
mod names;
mod opening;
mod paths;
mod read_only;
mod special;

use super::harness::{Vault, World};
use super::refusals::{fill, snapshot};
use tree::{Tmpfs, Tree};

/// See the module.
struct Row {
    what: &'static str,
    call: fn(&Tree) -> i32,
    mount: i32,
    tmpfs: i32,
    /// Why they differ; empty where they do not.
    why: &'static str,
}

/// The errnos by their names, and success.
mod number {
    pub const OK: i32 = 0;
    pub use libc::{
        E2BIG, EACCES, EADDRINUSE, EBADF, EBUSY, ECONNREFUSED, EEXIST, EFAULT, EFBIG, EINVAL, EISDIR, ELOOP,
        ENAMETOOLONG, ENODATA, ENODEV, ENOENT, ENOTDIR, ENOTEMPTY, ENOTSOCK, ENOTTY, ENXIO, EOPNOTSUPP, EOVERFLOW,
        EPERM, ERANGE, EROFS, EXDEV,
    };
}

/// Rows as the module describes them.
macro_rules! rows {
    ($( $call:ident ( $($arg:expr),* ) => $mount:ident $(, tmpfs $tmpfs:ident : $why:expr)? ; )*) => {
        &[$( $crate::error_table::Row {
            what: stringify!($call($($arg),*)),
            call: |tree| tree.$call($($arg),*),
            mount: $crate::error_table::number::$mount,
            tmpfs: $crate::error_table::rows!(@last $mount $($tmpfs)?),
            why: concat!($($why)?),
        } ),*]
    };
    (@last $only:ident) => { $crate::error_table::number::$only };
    (@last $first:ident $last:ident) => { $crate::error_table::number::$last };
}
use rows;

fn name_of(errno: i32) -> String {
    if errno == 0 { "OK".to_owned() } else { std::io::Error::from_raw_os_error(errno).to_string() }
}

impl Row {
    /// What is wrong with it, if anything is.
    fn verdict(&self, mount: i32, tmpfs: i32) -> Option<String> {
        let Self { what, why, .. } = self;
        let is = |errno| name_of(errno);
        if (mount, tmpfs) != (self.mount, self.tmpfs) {
            return Some(format!("{what}: the mount says {}, tmpfs {}", is(mount), is(tmpfs)));
        }
        match (mount == tmpfs, why.is_empty()) {
            (true, false) => Some(format!("{what}: both say {}, so this explains nothing: {why}", is(mount))),
            (false, true) => Some(format!("{what}: differs without a reason")),
            _ => None,
        }
    }
}

/// Runs all rows of a theme on a mount with `options` and on a tmpfs, and tells all that is wrong at once.
fn hold(theme: &str, options: &str, rows: &[Row]) {
    if !actor::is_possible() {
        return;
    }
    let vault = Vault::with(akvfs::local::ServeOptions::default(), &[("a", "one"), ("b", "two"), ("old", "first")]);
    let Some(vault) = vault else { return };
    fill(&vault);
    let Some(world) = World::of(vault, options) else { return };
    let mut tmpfs = Tmpfs::new();
    let on_mount = Tree::new(world.path(""), world.mount.aside(""), &world.vault.versions("a")[0]);
    on_mount.prepare(options);
    let shape = tree::shape(&on_mount.root);
    let on_tmpfs = on_mount.at(tmpfs.path());
    let (before, mut sent, mut wrong) = (snapshot(&world.vault), changes(&world.vault), Vec::new());
    for row in rows {
        tmpfs.fill(&shape, options == "ro");
        let (mount, other) = (actor::act(|| (row.call)(&on_mount)), actor::act(|| (row.call)(&on_tmpfs)));
        wrong.extend(row.verdict(mount, other));
        // Some of it only the vault can refuse.
        if changes(&world.vault) != sent {
            assert_eq!(snapshot(&world.vault), before, "{}", row.what);
            sent = changes(&world.vault);
        }
    }
    let after = tree::shape(&on_mount.root);
    let moved: Vec<_> = shape
        .iter()
        .filter(|one| !after.contains(one))
        .chain(after.iter().filter(|one| !shape.contains(one)))
        .collect();
    assert!(moved.is_empty(), "the tree is another one after the {theme}: {moved:?}; {wrong:#?}");
    let differ = rows.iter().filter(|row| !row.why.is_empty()).count();
    assert!(wrong.is_empty(), "{} of {} rows of the {theme}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    println!("{theme}: {} rows, {} agree with tmpfs, {differ} differ and say why", rows.len(), rows.len() - differ);
}

/// How often the vault was asked to change something.
fn changes(vault: &Vault) -> u64 {
    ["set", "update", "delete", "recover", "purge", "restore"].iter().map(|kind| vault.requests(kind)).sum()
}

#[test]
fn the_error_table_of_paths() {
    hold("paths", "", paths::ROWS);
}

#[test]
fn the_error_table_of_opening() {
    hold("opening", "", opening::ROWS);
}

#[test]
fn the_error_table_of_names() {
    hold("names", "", names::ROWS);
}

#[test]
fn the_error_table_of_attributes() {
    hold("attributes", "", attributes::ROWS);
}

#[test]
fn the_error_table_of_descriptors() {
    hold("descriptors", "", descriptors::ROWS);
}

#[test]
fn the_error_table_of_special_calls() {
    hold("special calls", "", special::ROWS);
}

#[test]
fn the_error_table_of_a_read_only_mount() {
    hold("read-only mount", "ro", read_only::ROWS);
}

/// The table is as long as it is said to be, and no call stands in it twice.
#[test]
fn the_error_table_has_200_rows() {
    let themes =
        [paths::ROWS, opening::ROWS, names::ROWS, attributes::ROWS, descriptors::ROWS, special::ROWS, read_only::ROWS];
    for rows in themes {
        let whats: std::collections::BTreeSet<_> = rows.iter().map(|row| row.what).collect();
        assert_eq!(whats.len(), rows.len(), "a row stands there twice");
    }
    assert!(themes.iter().map(|rows| rows.len()).sum::<usize>() >= 200);
}
