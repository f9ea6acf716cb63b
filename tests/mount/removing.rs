//! Removing: each way deletes a secret once and succeeds, `mv` brings it back whole, and what only looks like a removal is
//! a save.

use std::time::Duration;

use akvfs::local::ServeOptions;
use akvfs::store::ErrorKind;

use super::harness::{Ran, Vault, World, eventually, has};

/// What must be installed, and a script that removes the secret; see [`World::bash`].
const REMOVERS: &[(&str, &str)] = &[
    ("rm", r#"rm -r "$D""#),
    ("rm", r#"rm -rf "$D""#),
    ("rm", r#"cd "$M/secrets" && rm -r "$N""#),
    ("rm", r#"rm "$V""#),
    ("unlink", r#"unlink "$V""#),
    ("rmdir", r#"rmdir "$D""#),
    ("find", r#"find "$D" -delete"#),
    ("find", r#"find "$M/secrets" -path "$D*" -delete"#),
    ("mv", r#"mv "$D" "$M/deleted/""#),
    ("mv", r#"mv "$D" "$T/moved" && rm -r "$T/moved""#),
    ("busybox", r#"busybox rm -r "$D""#),
    ("busybox", r#"busybox rm -rf "$D""#),
    ("busybox", r#"busybox mv "$D" "$M/deleted/""#),
    ("python3", r#"python3 -c 'import os, shutil; shutil.rmtree(os.environ["D"])'"#),
    ("python3", r#"python3 -c 'import os; os.remove(os.environ["V"])'"#),
    ("perl", r#"perl -MFile::Path -e 'rmtree($ENV{D}, { error => \my $e }); die if @$e'"#),
    ("node", r#"node -e 'require("fs").rmSync(process.env.D, { recursive: true })'"#),
    ("node", r#"node -e 'require("fs").promises.rm(process.env.D, { recursive: true })'"#),
    ("vim", r#"vim -u NONE -N -es -c 'call delete($D, "rf")' -c q"#),
];

#[test]
fn every_way_of_removing_deletes_once_and_mv_brings_it_back() {
    let names: Vec<String> = (0..REMOVERS.len()).map(|at| format!("s{at:02}")).collect();
    let secrets: Vec<_> = names.iter().map(|name| (name.as_str(), "first")).collect();
    let Some(world) = World::new(&secrets, "delete_delay=200ms,max_writes=1000/s") else { return };
    for (name, (needs, script)) in names.iter().zip(REMOVERS) {
        if !has(needs) {
            skipped!("{needs} is not installed: {script}");
            continue;
        }
        world.vault.set(name, "second");
        let versions = world.vault.versions(name);
        let before = world.vault.requests("delete");
        check_done(script, &world.bash(name, script));
        eventually(script, || world.vault.requests("delete") > before);
        assert_eq!(world.vault.get(name), Err(ErrorKind::NotFound), "{script}");
        assert_eq!(world.vault.deleted(), [name.as_str()], "{script}");
        check_done(script, &world.bash(name, r#"[ ! -e "$D" ] && [ "$(ls "$M/deleted")" = "$N" ]"#));
        check_done(script, &world.bash(name, r#"mv "$M/deleted/$N" "$M/secrets/""#));
        assert_eq!(world.vault.versions(name), versions, "{script}");
        assert_eq!(world.bash(name, r#"cat "$V""#).ok(), "second", "{script}");
        assert_eq!((world.vault.deleted(), world.vault.requests("delete")), (vec![], before + 1), "{script}");
        println!("deleted once, back with {} versions: {script}", versions.len());
    }
}

fn check_done(script: &str, ran: &Ran) {
    assert_eq!(ran.code, 0, "{script}: {ran:?}");
}

#[test]
fn whole_trees_are_removed_secret_by_secret() {
    for (needs, script) in [
        ("rm", r#"rm -r "$M"/secrets/*"#),
        ("find", r#"find "$M/secrets" -mindepth 1 -delete"#),
        ("rsync", r#"mkdir "$T/empty" && rsync -r --delete "$T/empty/" "$M/secrets/""#),
    ] {
        let Some(world) = World::new(&[("a", "1"), ("b", "2"), ("c", "3")], "") else { return };
        if has(needs) {
            check_done(script, &world.bash("", script));
            assert_eq!(world.bash("", r#"ls "$M/secrets""#).ok(), "", "{script}");
            assert_eq!(world.vault.deleted(), ["a", "b", "c"], "{script}");
            assert_eq!(world.vault.requests("delete"), 3, "{script}");
        } else {
            skipped!("{needs} is not installed: {script}");
        }
    }
}

/// What a program removes only to write it anew is a save: one version more, and nothing was ever deleted.
const SAVES: &[&str] = &[
    r#"rm "$V"; echo new > "$V""#,
    r#"cp "$T/new" "$T/x" && mv "$T/x" "$V""#,
    r#"install "$T/new" "$V""#,
    r#"cp --remove-destination "$T/new" "$V""#,
    r#"cp "$T/new" "$T/value" && tar cf - -C "$T" value | tar xf - -C "$D""#,
    r#"python3 -c 'import os; v = os.environ["V"]; os.remove(v); open(v, "w").write("new\n")'"#,
    r#"rm "$V"; cp "$T/new" "$D/.tmp" && mv "$D/.tmp" "$V""#,
];

/// How long the slow vault's deletions and recoveries take.
const SLOW: Duration = Duration::from_secs(2);

fn slow_vault(secrets: &[(&str, &str)]) -> Option<World> {
    let vault = Vault::with(ServeOptions { soft_delete_delay: SLOW, ..ServeOptions::default() }, secrets)?;
    World::of(vault, "")
}

#[test]
fn what_is_removed_to_be_written_anew_is_a_save() {
    let names: Vec<String> = (0..SAVES.len()).map(|at| format!("s{at:02}")).collect();
    let secrets: Vec<_> = names.iter().map(|name| (name.as_str(), "before")).collect();
    let Some(world) = slow_vault(&secrets) else { return };
    std::fs::write(world.mount.aside("new"), "new\n").unwrap();
    for (name, script) in names.iter().zip(SAVES) {
        check_done(script, &world.bash(name, script));
        assert_eq!(world.vault.get(name).as_deref(), Ok("new\n"), "{script}");
        assert_eq!(world.vault.versions(name).len(), 2, "{script}");
        assert_eq!(world.bash(name, r#"cat "$V""#).ok(), "new\n", "{script}");
    }
    // A look at deleted/ sends what waits.
    assert_eq!(world.bash("", r#"ls "$M/deleted""#).ok(), "");
    assert_eq!((world.vault.requests("delete"), world.vault.deleted().len()), (0, 0));
}

#[test]
fn the_next_change_waits_for_a_deletion_or_recovery_that_is_under_way() {
    let Some(world) = slow_vault(&[("a", "kept"), ("b", "kept")]) else { return };
    let back = world.bash("a", r#"rm -r "$D" && [ ! -e "$D" ] && mv "$M/deleted/$N" "$M/secrets/""#);
    check_done("a recovery right after a deletion", &back);
    let saved = world.bash("a", r#"cat "$V" && printf new | tee "$V""#);
    assert_eq!(saved.ok(), "keptnew");
    assert_eq!(world.vault.get("a").as_deref(), Ok("new"));
    assert_eq!(world.vault.versions("a").len(), 2);
    let moved = world.bash("b", r#"mv "$D" "$M/deleted/" && ls "$M/deleted" && mv "$M/deleted/$N" "$M/secrets/""#);
    assert_eq!(moved.ok(), "b\n");
    eventually("the recovery", || world.vault.get("b").as_deref() == Ok("kept"));
    assert_eq!(world.vault.requests("delete"), 2);
}

#[test]
fn a_version_or_a_document_alone_cannot_be_removed() {
    let Some(world) = World::new(&[("a", "first")], "") else { return };
    world.vault.set("a", "second");
    for script in [
        r#"rm "$D/.meta.json""#,
        r#"rm -f "$D/.meta.json""#,
        r#"rm "$D/versions/"*"#,
        r#"ls -la "$D" "$D/versions" && rm "$D/versions/"*"#,
        r#"rm -r "$D/versions""#,
        r#"rmdir "$D/versions""#,
        r#"find "$D/versions" -type f -delete"#,
        r#"mv "$D/versions/$(ls "$D/versions" | head -1)" "$T/""#,
        r#"mv "$D/.meta.json" "$D/x.bak""#,
    ] {
        let ran = world.bash("a", script);
        assert!(ran.code != 0 && ran.err.contains("Operation not permitted"), "{script}: {ran:?}");
    }
    assert_eq!(world.bash("a", r#"ls -A "$D"; cat "$V"; ls "$D/versions" | wc -l; ls "$M/deleted""#).ok(), {
        ".meta.json\nvalue\nversions\nsecond3\n"
    });
    assert_eq!(world.vault.requests("delete"), 0);
}

#[test]
fn a_removal_that_waits_is_sent_when_the_mount_ends() {
    let Some(World { mount, vault }) = World::new(&[("a", "1")], "delete_delay=1h") else { return };
    std::fs::remove_file(mount.path("secrets/a/value")).unwrap();
    assert_eq!(vault.requests("delete"), 0);
    drop(mount);
    assert_eq!(vault.deleted(), ["a"]);
}

#[test]
fn what_was_never_saved_is_removed_without_a_request() {
    let Some(world) = World::new(&[("a", "1")], "") else { return };
    world.bash("", r#"ls "$M/secrets""#).ok();
    let changes = |world: &World| world.vault.requests("set") + world.vault.requests("delete");
    let before = changes(&world);
    world
        .bash("new", r#"mkdir "$D" && echo '{"tags": {}}' > "$D/.meta.json" && cat "$D/.meta.json" && rm -r "$D""#)
        .ok();
    world.bash("new", r#"mkdir "$D" && rmdir "$D" && [ ! -e "$D" ]"#).ok();
    assert_eq!(changes(&world), before);
}
