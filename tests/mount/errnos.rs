//! The errno table of the README, row by row: which test shows each errno on a real mount, and the answers of a vault that
//! no other test gives.

use std::collections::BTreeSet;
use std::fs;

use akvfs::local::{Fault, FaultKind, Operation};

use super::calls::{errno, write};
use super::harness::World;
use super::outages::{LIMITS, always, refusal};
use super::readme::{page, table};

/// Each errno of the README's table, and tests in which a program gets it from a mount.
const PROVEN: &[(&str, &[&str])] = &[
    ("ENOENT", &["files_and_calls_that_do_not_exist_here", "the_error_table_of_paths"]),
    ("EACCES", &["the_errno_of_each_failure_of_the_vault", "secrets_that_cannot_be_changed"]),
    ("EPERM", &["secrets_that_cannot_be_changed", "purging_needs_leave_and_time", "the_error_table_of_names"]),
    ("EEXIST", &["a_save_onto_what_another_party_deleted_is_refused_until_it_is_recovered", "refusals_of_a_change"]),
    ("EBUSY", &["the_errno_of_each_failure_of_the_vault", "refusals_of_a_change"]),
    ("EINVAL", &["documents_that_change_what_cannot_be_changed", "refusals_of_a_change"]),
    ("ENAMETOOLONG", &["names_that_no_secret_can_have", "the_error_table_of_paths"]),
    ("EFBIG", &["values_that_no_secret_can_have"]),
    ("EILSEQ", &["values_that_no_secret_can_have"]),
    ("EOPNOTSUPP", &["allocation_maps_and_foreign_attributes", "documents_that_change_what_cannot_be_changed"]),
    ("EIO", &["the_errno_of_each_failure_of_the_vault", "answers_that_make_no_sense"]),
    ("EHOSTUNREACH", &["what_is_known_is_readable_while_the_vault_is_gone"]),
    ("EPROTO", &["the_errno_of_each_failure_of_the_vault", "answers_that_make_no_sense"]),
    ("ETIMEDOUT", &["the_errno_of_each_failure_of_the_vault"]),
    ("EROFS", &["a_read_only_mount_refuses_every_change_and_sends_nothing", "the_error_table_of_a_read_only_mount"]),
    ("ENODATA", &["the_error_table_of_attributes"]),
];

/// No program can get these from a mount when it wants to: what has to happen in between, tests of the code alone make happen
/// (ESTALE in `fs/errno.rs` and the client's tests), a killed caller hears nothing (EINTR), and 64 MiB of temporary files are
/// not written here (ENOSPC).
const ELSEWHERE: [&str; 3] = ["ESTALE", "EINTR", "ENOSPC"];

#[test]
fn every_errno_of_the_readme_is_shown_on_a_mount() {
    let written: BTreeSet<_> = table(&page("README.md"), "| errno |").into_iter().map(|row| row[0].clone()).collect();
    let proven = PROVEN.iter().map(|(name, _)| *name).chain(ELSEWHERE);
    assert_eq!(written, proven.map(str::to_owned).collect(), "left: the README, right: this table");
    let code = super::readme::tests_of_mounts();
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
fn answers_that_make_no_sense() {
    let rows = [
        (Operation::Get, FaultKind::Truncate, libc::EIO),
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
