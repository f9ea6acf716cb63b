//! The errno table of the README, row by row: which test shows each errno on a real mount, and the answers of a vault that
//! no other test gives.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;

use akvfs::local::{Fault, FaultKind, Operation, ServeOptions};

use super::calls::{errno, write};
use super::harness::{Vault, World, eventually};
use super::outages::{LIMITS, always, refusal};
use super::readme::{page, table};

/// Each errno of the README's table, and tests in which a program gets it from a mount.
const PROVEN: &[(&str, &[&str])] = &[
    ("ENOENT", &["files_and_calls_that_do_not_exist_here", "the_error_table_of_paths"]),
    ("EACCES", &["the_errno_of_each_failure_of_the_vault", "secrets_that_cannot_be_changed"]),
    (
        "EPERM",
        &[
            "purge_protection_is_eperm",
            "secrets_that_cannot_be_changed",
            "purging_needs_leave_and_time",
            "the_error_table_of_names",
        ],
    ),
    ("EEXIST", &["a_save_onto_what_another_party_deleted_is_refused_until_it_is_recovered", "refusals_of_a_change"]),
    ("EBUSY", &["the_errno_of_each_failure_of_the_vault", "refusals_of_a_change"]),
    ("EINVAL", &["documents_that_change_what_cannot_be_changed", "refusals_of_a_change"]),
    ("ENAMETOOLONG", &["names_that_no_secret_can_have", "the_error_table_of_paths"]),
    ("EFBIG", &["values_that_no_secret_can_have"]),
    ("EILSEQ", &["values_that_no_secret_can_have"]),
    ("EOPNOTSUPP", &["allocation_maps_and_foreign_attributes", "documents_that_change_what_cannot_be_changed"]),
    (
        "EIO",
        &[
            "the_errno_of_each_failure_of_the_vault",
            "answers_that_make_no_sense",
            "a_certificate_that_is_not_trusted_is_eio",
        ],
    ),
    ("EHOSTUNREACH", &["what_is_known_is_readable_while_the_vault_is_gone"]),
    (
        "EPROTO",
        &[
            "the_errno_of_each_failure_of_the_vault",
            "answers_that_make_no_sense",
            "a_challenge_for_another_vault_is_eproto_and_leaves_nothing_behind",
        ],
    ),
    ("ETIMEDOUT", &["the_errno_of_each_failure_of_the_vault"]),
    ("EROFS", &["a_read_only_mount_refuses_every_change_and_sends_nothing", "the_error_table_of_a_read_only_mount"]),
    ("ENODATA", &["the_error_table_of_attributes"]),
    ("ESTALE", &["a_save_that_lost_a_race_is_refused"]),
    // Nobody hears this one: that he is gone is what can be seen.
    ("EINTR", &["a_killed_reader_is_gone_at_once"]),
    ("ENOSPC", &["temporary_files_are_bounded_in_bytes"]),
];

#[test]
fn every_errno_of_the_readme_is_shown_on_a_mount() {
    let written: BTreeSet<_> = table(&page("README.md"), "| errno |").into_iter().map(|row| row[0].clone()).collect();
    let proven = PROVEN.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(written, proven, "left: the README, right: this table");
    let code = super::named::tests_below("tests/mount");
    for (name, test) in PROVEN.iter().flat_map(|(name, tests)| tests.iter().map(move |test| (name, test))) {
        assert!(code.contains(*test), "{name}: there is no test {test}");
    }
}

#[test]
fn refusals_of_a_change() {
    let rows = [
        (refusal(400, "BadParameter", ""), libc::EINVAL),
        (refusal(409, "Conflict", "ObjectIsDeletedButRecoverable"), libc::EEXIST),
        (refusal(409, "Conflict", "ObjectIsBeingDeleted"), libc::EBUSY),
        (refusal(409, "Conflict", "ObjectIsBeingRecovered"), libc::EBUSY),
    ];
    for (kind, expected) in rows {
        let Some(world) = World::new(&[("a", "old")], LIMITS) else { return };
        always(&world.vault, Some(Operation::Set), kind.clone());
        assert_eq!(write(&world.path("secrets/a/value"), b"new"), (expected, "close"), "{kind:?}");
        world.vault.server.clear_faults();
        assert_eq!((world.vault.get("a").as_deref(), world.vault.versions("a").len()), (Ok("old"), 1), "{kind:?}");
    }
}

#[test]
fn a_restore_over_a_name_in_use_is_eexist_and_of_something_foreign_einval() {
    let Some(world) = World::new(&[("a", "old")], LIMITS) else { return };
    let blob = fs::read(world.path("backup/a")).unwrap();
    assert_eq!(write(&world.path("backup/a"), &blob), (libc::EEXIST, "open"));
    assert_eq!(write(&world.path("backup/b"), &blob), (libc::EEXIST, "close"));
    assert_eq!(write(&world.path("backup/b"), b"no backup"), (libc::EINVAL, "close"));
    let sentences = fs::read_to_string(world.path(".akvfs/errors")).unwrap();
    assert!(sentences.contains("EEXIST") && sentences.contains("EINVAL"), "{sentences}");
    assert_eq!((world.vault.get("a").as_deref(), world.vault.versions("a").len()), (Ok("old"), 1));
    assert_eq!((world.vault.live(), world.vault.deleted()), (vec!["a".to_owned()], vec![]));
}

/// What a service says to whom it does not know.
const CHALLENGE: &str = r#"Bearer authorization="https://login.invalid/tenant", resource="https://vault.azure.net""#;

#[test]
fn answers_that_make_no_sense() {
    let rows = [
        (Operation::Get, FaultKind::Truncate, libc::EIO),
        (Operation::Get, FaultKind::Challenge(CHALLENGE.into()), libc::EACCES),
        (Operation::List, FaultKind::Truncate, libc::EIO),
        (Operation::List, FaultKind::ForeignNextLink("https://elsewhere.invalid".into()), libc::EPROTO),
    ];
    for (operation, kind, expected) in rows {
        let Some(world) = World::new(&[("a", "old")], LIMITS) else { return };
        world.vault.server.inject(Fault { operation: Some(operation), count: u32::MAX, kind: kind.clone() });
        let said = match operation {
            Operation::List => {
                fs::write(world.path(".akvfs/refresh"), "").ok();
                errno(fs::read_dir(world.path("secrets")).and_then(|mut names| names.next().unwrap()))
            }
            _ => errno(fs::read(world.path("secrets/a/value"))),
        };
        assert_eq!(said, expected, "{operation:?} {kind:?}");
        world.vault.server.clear_faults();
    }
}

/// A way of saving "ours"; gives the errno.
type Save = fn(&World) -> i32;

/// Saves "ours" by `save`; while its request hangs another party saves, and then our connection breaks.
fn lose_a_race(save: impl FnOnce(&World) -> i32 + Send) -> Option<(World, i32)> {
    let world = World::new(&[("a", "old")], "ttl=1h")?;
    let set = || world.vault.requests("set");
    let before = set();
    world.vault.server.inject(Fault { operation: Some(Operation::Set), count: 1, kind: FaultKind::Stall });
    let said = std::thread::scope(|scope| {
        let saving = scope.spawn(|| save(&world));
        eventually("our request", || set() > before);
        world.vault.set("a", "theirs");
        world.vault.server.clear_faults();
        saving.join().unwrap()
    });
    Some((world, said))
}

#[test]
fn a_save_that_lost_a_race_is_refused() {
    let by_close = |world: &World| write(&world.path("secrets/a/value"), b"ours").0;
    let by_fsync = |world: &World| {
        let mut file = fs::File::options().write(true).truncate(true).open(world.path("secrets/a/value")).unwrap();
        file.write_all(b"ours").unwrap();
        errno(file.sync_all())
    };
    let by_rename = |world: &World| {
        fs::write(world.path("secrets/a/.new"), "ours").unwrap();
        errno(fs::rename(world.path("secrets/a/.new"), world.path("secrets/a/value")))
    };
    let ways: [(Save, i32); 3] = [(by_close, libc::ESTALE), (by_fsync, libc::ESTALE), (by_rename, libc::EBUSY)];
    for (at, (save, expected)) in ways.into_iter().enumerate() {
        let Some((world, said)) = lose_a_race(save) else { return };
        assert_eq!(said, expected, "way {at}");
        assert_eq!((world.vault.get("a").as_deref(), world.vault.versions("a").len()), (Ok("theirs"), 2), "way {at}");
    }
}

#[test]
fn purge_protection_is_eperm() {
    let options = ServeOptions { purge_protection: true, ..ServeOptions::default() };
    let Some(vault) = Vault::with(options, &[("a", "x")]) else { return };
    let Some(world) = World::of(vault, "allow_purge,purge_after=0s") else { return };
    world.bash("a", r#"rm -r "$D""#).ok();
    assert_eq!(errno(fs::remove_dir(world.path("deleted/a"))), libc::EPERM);
    assert_eq!(world.vault.deleted(), ["a"]);
}
