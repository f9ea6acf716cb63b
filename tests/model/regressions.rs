//! What once went wrong, one by one, in as few steps as show it.

use std::time::Duration;

use akvfs::secret::SecretAttributes;
use akvfs::store::{ErrorKind, Operation, SecretStore, Wait};

use crate::op::{Bytes, Dir, Edit, How, Op, Others, SCRATCH, VALUE};
use crate::reference::{Fd, Setup};
use crate::run::{Stage, Variant, given, shrink};
use crate::support::{name, value};
use crate::world::{Open, World};

const PATH: [&str; 3] = ["secrets", "a", "value"];

const PLAIN: Setup = Setup { allow_purge: true, always_set: false, final_newline_as_before: false };

fn move_aside(p: u32, n: usize, to: &'static str) -> Op {
    Op::Rename { p, from: (Dir::Secret(n), VALUE), to: (Dir::Secret(n), to) }
}

fn world_with(text: &'static str) -> World {
    let mut world = World::new(true, PLAIN);
    others(&mut world, Others::Set(text));
    world
}

fn others(world: &mut World, what: Others) {
    does(world, Op::Others { n: 0, what });
    world.store.expire(None);
}

fn step(world: &mut World, op: Op) -> Result<(), i32> {
    let outcome = world.step(&op, &[], &mut None);
    world.forget();
    outcome
}

#[track_caller]
fn does(world: &mut World, op: Op) {
    assert_eq!(step(world, op), Ok(()), "{op:?}");
}

/// Process 1 opens the value for writing and writes `text`.
fn writer(world: &mut World, text: &'static str) -> (Fd, bool) {
    let mut opened: Option<Open> = None;
    let op = Op::Open { p: 1, at: (Dir::Secret(0), VALUE), how: How::Write { truncate: true, append: false } };
    assert_eq!(world.step(&op, &[], &mut opened), Ok(()));
    let fd = Fd { p: 1, file: 1 };
    world.files.insert(1, opened.expect("open"));
    world.hold(fd);
    let write = Op::Write { fd: 0, at: 0, data: Bytes(text.as_bytes()) };
    assert_eq!(world.step(&write, &[(fd, true)], &mut None), Ok(()));
    (fd, true)
}

fn read(world: &World) -> Result<String, i32> {
    let read = world.read(9, &PATH).map(|(bytes, _, _)| String::from_utf8(bytes).expect("text"));
    world.forget();
    read
}

#[test]
fn after_a_close_that_was_refused_nothing_is_sent_again() {
    let mut world = world_with("old");
    let fd = writer(&mut world, "ours");
    world.vault.fail_next(Operation::Set, ErrorKind::Superseded);
    assert_eq!(world.step(&Op::Close { fd: 0 }, &[fd], &mut None), Err(libc::ESTALE));
    assert_eq!(world.vault.calls(Operation::Set), 2, "the others', and ours once");
    assert_eq!(read(&world), Ok("old".to_owned()));
}

#[test]
fn after_an_fsync_that_found_somebody_elses_write_a_close_does_not_write_over_it() {
    let mut world = world_with("old");
    let fd = writer(&mut world, "ours");
    world.vault.fail_next(Operation::Set, ErrorKind::Superseded);
    assert_eq!(world.step(&Op::Fsync { fd: 0 }, &[fd], &mut None), Err(libc::ESTALE));
    assert_eq!(world.step(&Op::Close { fd: 0 }, &[fd], &mut None), Ok(()));
    assert_eq!(read(&world), Ok("old".to_owned()));
}

#[test]
fn who_removed_a_secret_does_not_see_it_any_more() {
    let mut world = world_with("x");
    does(&mut world, Op::Rmdir { p: 1, n: 0 });
    assert_eq!(world.walk(1, &["secrets", "a"]).err(), Some(libc::ENOENT));
    assert_eq!(step(&mut world, Op::Mkdir { p: 1, n: 0 }), Err(libc::EEXIST), "a deleted secret holds the name");
}

#[test]
fn a_value_that_was_restored_stays_visible_when_it_is_moved_aside_again() {
    let mut world = world_with("x");
    for _ in 0..2 {
        does(&mut world, move_aside(1, 0, SCRATCH[1]));
        assert_eq!(read(&world), Ok("x".to_owned()));
        assert_eq!(
            step(&mut world, Op::Unlink { p: 1, at: (Dir::Secret(0), VALUE) }),
            Err(libc::ENOENT),
            "for him it is gone already"
        );
        assert_eq!(read(&world), Ok("x".to_owned()), "for others it is not");
        does(&mut world, Op::Rename { p: 1, from: (Dir::Secret(0), SCRATCH[1]), to: (Dir::Secret(0), VALUE) });
        assert_eq!(read(&world), Ok("x".to_owned()));
    }
    assert_eq!(world.vault.calls(Operation::Set), 1, "moving it back sends nothing");
}

#[test]
fn a_backup_that_an_editor_left_does_not_keep_others_from_deleting() {
    let mut world = world_with("x");
    does(&mut world, move_aside(1, 0, SCRATCH[1]));
    does(&mut world, Op::Unlink { p: 2, at: (Dir::Secret(0), VALUE) });
    does(&mut world, Op::Advance { ms: 1_000 });
    assert_eq!(world.walk(9, &["secrets", "a"]).err(), Some(libc::ENOENT));
    assert!(world.names(9, &["deleted"]).expect("listed").contains(&"a".to_owned()));
}

#[test]
fn after_a_save_the_editors_own_backup_is_no_way_back() {
    let mut world = world_with("x");
    does(&mut world, move_aside(1, 0, SCRATCH[1]));
    let fd = writer(&mut world, "y");
    assert_eq!(world.step(&Op::Close { fd: 0 }, &[fd], &mut None), Ok(()));
    does(&mut world, Op::Unlink { p: 1, at: (Dir::Secret(0), VALUE) });
    does(&mut world, Op::Advance { ms: 1_000 });
    assert_eq!(world.walk(9, &["secrets", "a"]).err(), Some(libc::ENOENT));
}

#[test]
fn temporary_files_go_with_their_directory() {
    let mut world = world_with("x");
    does(&mut world, move_aside(1, 0, SCRATCH[0]));
    does(&mut world, Op::Rmdir { p: 1, n: 0 });
    assert_eq!(world.fs.held().1, 0);
    does(&mut world, Op::Recover { p: 1, n: 0 });
    assert!(!world.names(9, &["secrets", "a"]).expect("listed").contains(&SCRATCH[0].to_owned()));
}

#[test]
fn a_new_directory_has_one_spelling() {
    let mut world = World::new(true, PLAIN);
    does(&mut world, Op::Mkdir { p: 1, n: 1 });
    assert_eq!(world.walk(9, &["secrets", "web-tls"]).err(), Some(libc::ENOENT));
    assert_eq!(world.names(9, &["secrets"]), Ok(vec!["Web-Tls".to_owned()]));
}

#[test]
fn what_others_save_under_a_new_directorys_name_is_seen_and_not_written_over_blindly() {
    let mut world = World::new(true, PLAIN);
    does(&mut world, Op::Mkdir { p: 1, n: 0 });
    let tagged = SecretAttributes { tags: Some([("k".to_owned(), "v".to_owned())].into()), ..Default::default() };
    let wait = Wait::Until(akvfs::clock::Moment::from_start(Duration::from_secs(60)));
    world.vault.set(&name("a"), &value("theirs"), &tagged, wait).expect("set by others");
    let fd = writer(&mut world, "ours");
    assert_eq!(world.step(&Op::Close { fd: 0 }, &[fd], &mut None), Ok(()));
    let now = world.vault.get(&name("a"), None, wait).expect("saved");
    assert_eq!((now.value.expose(), now.properties.tags), ("ours", tagged.tags));
}

#[test]
fn an_edit_of_the_properties_does_not_take_back_a_removal() {
    let mut world = world_with("x");
    does(&mut world, Op::Unlink { p: 1, at: (Dir::Secret(0), VALUE) });
    does(&mut world, Op::Meta { p: 1, n: 0, how: Edit::Partly, patch: r#"{"content_type": "t"}"# });
    does(&mut world, Op::Advance { ms: 1_000 });
    assert_eq!(world.walk(9, &["secrets", "a"]).err(), Some(libc::ENOENT));
}

#[test]
fn a_disabled_secret_can_be_looked_at_and_purged_after_its_deletion() {
    let mut world = World::new(false, PLAIN);
    does(&mut world, Op::Others { n: 0, what: Others::Set("x") });
    does(&mut world, Op::Others { n: 0, what: Others::Enable(false) });
    does(&mut world, Op::ToDeleted { p: 1, n: 0 });
    assert!(world.read(9, &["deleted", "a", ".meta.json"]).is_ok());
    does(&mut world, Op::Advance { ms: 3_600_000 });
    does(&mut world, Op::Purge { p: 1, n: 0 });
}

#[test]
fn a_look_up_never_tells_the_kernel_that_a_known_version_became_shorter() {
    let world = world_with("hello");
    let held = world.walk(9, &PATH).expect("there").node;
    assert_eq!(world.mode(9, &PATH).expect("there").1, 5);
    // Out of our memory, and not out of the kernel's.
    world.store.expire(None);
    let again = world.walk(9, &PATH).expect("there");
    assert!(again.node != held || again.stat.attr.size == 5);
    let versions = world.names(9, &["secrets", "a", "versions"]).expect("listed");
    let path = ["secrets", "a", "versions", &versions[0]];
    let old = world.walk(9, &path).expect("there");
    assert_eq!(world.mode(9, &path).expect("there").1, 5);
    let again = world.walk(9, &path).expect("there");
    assert_eq!((again.node, again.stat.attr.size), (old.node, 5));
}

#[test]
fn a_temporary_file_that_moves_to_another_secret_is_not_that_ones_way_back() {
    let mut world = world_with("x");
    does(&mut world, Op::Others { n: 2, what: Others::Set("y") });
    world.store.expire(None);
    does(&mut world, move_aside(1, 0, SCRATCH[1]));
    does(&mut world, Op::Rename { p: 1, from: (Dir::Secret(0), SCRATCH[1]), to: (Dir::Secret(2), SCRATCH[1]) });
    does(&mut world, Op::Unlink { p: 1, at: (Dir::Secret(2), VALUE) });
    does(&mut world, Op::Advance { ms: 1_000 });
    assert_eq!(world.walk(9, &["secrets", "c"]).err(), Some(libc::ENOENT));
}

const OVER: How = How::Write { truncate: true, append: false };
const ON: How = How::Write { truncate: false, append: false };
const DISABLE: &str = r#"{"enabled": false}"#;
const PKCS12: &str = r#"{"content_type": "application/x-pkcs12"}"#;
const HEX: &str = r#"{"tags": {"file-encoding": "hex"}}"#;

fn file(name: &'static str) -> (Dir, &'static str) {
    (Dir::Files, name)
}

fn inside(n: usize, name: &'static str) -> (Dir, &'static str) {
    (Dir::Secret(n), name)
}

fn meta(n: usize, how: Edit, patch: &'static str) -> Op {
    Op::Meta { p: 1, n, how, patch }
}

/// Steps that once did not end as the reference has them, cut to what shows it.
fn kept() -> Vec<(&'static str, Vec<Op>)> {
    let set = |n| Op::Others { n, what: Others::Set("theirs") };
    let write = |bytes| Op::Write { fd: 0, at: 0, data: Bytes(bytes) };
    let hide = |n| Op::Unlink { p: 1, at: inside(n, VALUE) };
    vec![
        (
            "a new file of the mount's alias is the secret that it means",
            vec![Op::Open { p: 1, at: file("tls.crt"), how: OVER }, write(b"x"), Op::Close { fd: 0 }],
        ),
        (
            "who reads a new file does not become one of its writers",
            vec![Op::Open { p: 1, at: file("c"), how: OVER }, write(b"x"), Op::Close { fd: 0 }],
        ),
        (
            "a secret that others make outweighs a temporary file of its name",
            vec![Op::Open { p: 1, at: file("c"), how: How::Mkstemp }, write(b"x"), Op::Close { fd: 0 }, set(2)],
        ),
        (
            "a save by rename takes the place of an empty file of that name",
            vec![
                Op::Open { p: 1, at: file("c"), how: OVER },
                Op::Close { fd: 0 },
                Op::Open { p: 1, at: file(".new"), how: OVER },
                write(b"x"),
                Op::Close { fd: 0 },
                Op::Rename { p: 1, from: file(".new"), to: file("c") },
            ],
        ),
        (
            "a file that only stood there may be written once it has another name",
            vec![
                set(0),
                Op::Open { p: 1, at: inside(0, "4913"), how: How::Create },
                Op::Rename { p: 1, from: inside(0, "4913"), to: inside(0, VALUE) },
                write(b"x"),
            ],
        ),
        (
            "an empty file of files/ is none of another directory's secrets",
            vec![
                set(0),
                Op::Open { p: 1, at: file("c"), how: OVER },
                Op::Rename { p: 1, from: file("c"), to: inside(0, "4913") },
                write(b"x"),
            ],
        ),
        (
            "an empty file that is cut by its path becomes a secret at once",
            vec![
                Op::Open { p: 1, at: file("c"), how: OVER },
                Op::Close { fd: 0 },
                Op::TruncatePath { p: 1, at: file("c"), size: 2 },
            ],
        ),
        (
            "an empty file stays what it is when too much is written",
            vec![
                Op::Open { p: 1, at: file("c"), how: OVER },
                Op::Write { fd: 0, at: 25_600, data: Bytes(b"x") },
                Op::Close { fd: 0 },
            ],
        ),
        (
            "a new file of a disabled secret is refused when it is made",
            vec![set(0), meta(0, Edit::Partly, DISABLE), hide(0), Op::Open { p: 1, at: file("a"), how: OVER }],
        ),
        (
            "who deleted a secret cannot make a file of its name either",
            vec![set(0), hide(0), Op::Advance { ms: 2_500 }, Op::Open { p: 1, at: file("a"), how: OVER }],
        ),
        (
            "what cannot be decoded can be cut to nothing",
            vec![set(0), meta(0, Edit::Partly, HEX), Op::TruncatePath { p: 1, at: file("a"), size: 0 }],
        ),
        (
            "an alias that the mount and a tag give is listed once",
            vec![set(1), Op::Others { n: 1, what: Others::Tag("akvfs-file", "tls.crt") }],
        ),
        ("a directory that others made a secret is listed once", vec![Op::Mkdir { p: 1, n: 1 }, set(1)]),
        (
            "temporary files are no part of what others deleted",
            vec![
                set(0),
                Op::Open { p: 1, at: inside(0, ".new"), how: OVER },
                Op::Others { n: 0, what: Others::Delete },
            ],
        ),
        ("what is no PKCS#12 file gives no bundle", vec![set(0), meta(0, Edit::Partly, PKCS12)]),
        (
            "parts of a certificate go with its content type",
            vec![Op::Others { n: 0, what: Others::SetCertificate }, meta(0, Edit::Partly, PKCS12)],
        ),
        (
            "the whole document of a secret that was just disabled can be written back",
            vec![set(0), meta(0, Edit::Partly, DISABLE), meta(0, Edit::Whole, r#"{"tags": {}}"#)],
        ),
        (
            "and after another start of the mount",
            vec![set(0), meta(0, Edit::Partly, DISABLE), Op::Remount, meta(0, Edit::Whole, r#"{"tags": {}}"#)],
        ),
        (
            "a disabled secret that others recover is back",
            vec![
                set(2),
                Op::Others { n: 2, what: Others::Enable(false) },
                hide(2),
                Op::Advance { ms: 2_500 },
                Op::Others { n: 2, what: Others::Recover },
            ],
        ),
        (
            "what others make of a secret that was recovered while disabled is seen",
            vec![
                set(2),
                meta(2, Edit::Partly, DISABLE),
                hide(2),
                Op::Recover { p: 1, n: 2 },
                Op::Others { n: 2, what: Others::SetCertificate },
            ],
        ),
        (
            "who writes on what cannot be decoded is refused and leaves nothing",
            vec![set(0), meta(0, Edit::Partly, HEX), Op::Open { p: 1, at: file("a"), how: ON }],
        ),
    ]
}

#[test]
fn what_once_went_wrong_goes_right() {
    for (name, steps) in kept() {
        for variant in [Variant::Raw, Variant::CacheRefreshed, Variant::CacheByAge] {
            let outcome = given(0, Stage { variant, setup: PLAIN }, &steps);
            outcome.unwrap_or_else(|failure| panic!("{name}: {}", shrink(failure)));
        }
    }
}
