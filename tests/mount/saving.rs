//! What a save carries, what is no save, and who wins.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::Duration;

use akvfs::secret::{SecretAttributes, SecretValue, Timestamp};
use akvfs::store::ErrorKind;

use super::calls::{mapped, write};
use super::harness::{At, Mount, World, has, name};

#[test]
fn a_new_secret_begins_with_mkdir_and_takes_the_document_written_before_its_value() {
    let Some(world) = World::new(&[("a", "x")], "") else { return };
    let script = r#"
        mkdir "$D"
        printf '{"content_type": "a/b", "tags": {"k": "v"}, "expires_on": "2031-01-02T03:04:05Z"}' | tee "$D/.meta.json"
        [ "$(ls "$M/secrets")" = "$(printf 'a\nnew')" ] && [ ! -e "$V" ]
        printf v | tee "$V"
    "#;
    world.bash("new", &format!("set -e{script}")).ok();
    let kept = world.vault.client.get_secret(&name("new"), None).unwrap();
    assert_eq!(kept.value.expose(), "v");
    assert_eq!(kept.properties.content_type.as_deref(), Some("a/b"));
    assert_eq!(kept.properties.tags.unwrap()["k"], "v");
    assert_eq!(kept.properties.expires_on, Timestamp::parse("2031-01-02T03:04:05Z"));
    assert_eq!((world.vault.versions("new").len(), world.vault.requests("update")), (1, 0));
}

#[test]
fn a_directory_without_a_value_is_in_this_mount_only() {
    let Some(World { mount, vault }) = World::new(&[("a", "x")], "") else { return };
    mount.bash("new", r#"mkdir "$D" && ls "$D" && [ -d "$D" ]"#).ok();
    assert_eq!((vault.live(), vault.requests("set")), (vec!["a".to_owned()], 1));
    drop(mount);
    assert_eq!(Mount::new(vault.url(), "").bash("new", r#"ls "$M/secrets""#).ok(), "a\n");
}

#[test]
fn type_tags_and_enabled_are_carried_over_and_dates_are_not() {
    let Some(world) = World::new(&[], "") else { return };
    let attributes = SecretAttributes {
        content_type: Some("a/b".into()),
        tags: Some([("k".to_owned(), "v".to_owned())].into_iter().collect()),
        not_before: Some(Timestamp(1)),
        expires_on: Some(Timestamp(4_000_000_000)),
        ..SecretAttributes::default()
    };
    world.vault.client.set_secret(&name("a"), &SecretValue::new("old".into()), &attributes).unwrap();
    world.bash("a", r#"printf new | tee "$V""#).ok();
    let kept = world.vault.client.get_secret(&name("a"), None).unwrap();
    assert_eq!(kept.value.expose(), "new");
    assert_eq!((kept.properties.not_before, kept.properties.expires_on), (None, None));
    assert_eq!(kept.properties.content_type, attributes.content_type);
    assert_eq!(kept.properties.tags, attributes.tags);
    assert_eq!(kept.properties.enabled, Some(true));
}

#[test]
fn nothing_is_sent_before_the_file_is_closed_nor_for_the_bytes_that_are_there() {
    let Some(world) = World::new(&[("a", "old")], "") else { return };
    let path = world.path("secrets/a/value");
    let mut file = OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    file.write_all(b"new").unwrap();
    assert_eq!((world.vault.requests("set"), fs::read_to_string(&path).unwrap()), (1, "old".into()));
    drop(file);
    assert_eq!((world.vault.requests("set"), fs::read_to_string(&path).unwrap()), (2, "new".into()));
    assert_eq!((write(&path, b"new"), world.vault.requests("set")), ((0, ""), 2));
}

#[test]
fn of_two_writers_each_saves_whole_and_the_last_close_wins() {
    let Some(world) = World::new(&[("a", "old"), ("b", "old")], "") else { return };
    for (at, secret) in [(At::Secret, "a"), (At::Flat, "b")] {
        let path = world.path(&at.path(secret));
        let open = || OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        let (mut first, mut second) = (open(), open());
        first.write_all(b"first").unwrap();
        second.write_all(b"se").unwrap();
        first.write_all(b", whole").unwrap();
        second.write_all(b"cond").unwrap();
        second.sync_all().unwrap();
        assert_eq!(world.vault.get(secret).as_deref(), Ok("second"));
        first.sync_all().unwrap();
        drop((first, second));
        assert_eq!((world.vault.get(secret).as_deref(), world.vault.versions(secret).len()), (Ok("first, whole"), 3));
    }
}

/// The document and the versions are there as soon as the value is.
#[test]
fn a_directory_that_is_copied_gives_its_value_and_says_what_it_does_not() {
    let Some(world) = World::new(&[("a", "first"), ("b", "x")], "") else { return };
    world.vault.set("a", "second");
    let ran = world.bash("a", r#"cp -r "$D" "$M/secrets/copy""#);
    assert!(
        ran.code == 1 && ran.err.contains(".meta.json': File exists") && ran.err.contains("versions': File exists"),
        "{ran:?}"
    );
    assert_eq!((world.vault.get("copy").as_deref(), world.vault.versions("copy").len()), (Ok("second"), 1));
    // Whose directory holds the value alone is copied without a word.
    for (secret, script) in [
        ("c1", r#"cp -r "$T/d" "$D""#),
        ("c2", r#"cp -a "$T/d" "$D""#),
        ("c3", r#"rsync -a "$T/d/" "$D""#),
        ("c4", r#"cp -r "$T/d" "$T/$N" && tar cf - -C "$T" "$N" | tar xf - -C "$M/secrets""#),
    ] {
        world.bash(secret, &format!(r#"mkdir -p "$T/d" && printf copied > "$T/d/value" && {script}"#)).ok();
        assert_eq!(
            (world.vault.get(secret).as_deref(), world.vault.versions(secret).len()),
            (Ok("copied"), 1),
            "{script}"
        );
    }
    assert_eq!(world.vault.live(), ["a", "b", "c1", "c2", "c3", "c4", "copy"]);
}

/// Who may still write is seen by inode numbers, and two mounts must not have the same.
#[test]
fn a_close_is_told_of_its_save_although_a_file_of_another_mount_is_open() {
    let worlds = || Some((World::new(&[("a", "x")], "")?, World::new(&[("a", "x")], "")?));
    let Some((one, other)) = worlds() else { return };
    let open = other.path("secrets/a/value");
    let script = format!(r#"exec 3> "{}"; printf '\xff' | tee "$V" > /dev/null"#, open.display());
    let ran = one.bash("a", &script);
    assert!(ran.code != 0 && ran.err.contains("Invalid or incomplete multibyte"), "{ran:?}");
}

#[test]
fn a_file_just_opened_for_writing_can_be_mapped_for_reading() {
    let Some(world) = World::new(&[("a", "old value")], "") else { return };
    for path in ["secrets/a/value", "files/a"] {
        let file = OpenOptions::new().read(true).write(true).open(world.path(path)).unwrap();
        assert_eq!(mapped(&file, 9, libc::MAP_PRIVATE).unwrap(), b"old value", "{path}");
    }
}

#[test]
fn an_open_file_keeps_the_value_it_was_opened_with() {
    let Some(world) = World::new(&[("a", "old")], "") else { return };
    let path = world.path("secrets/a/value");
    let open = File::open(&path).unwrap();
    assert_eq!(write(&path, b"newer"), (0, ""));
    assert_eq!(
        (std::io::read_to_string(&open).unwrap(), fs::read_to_string(&path).unwrap()),
        ("old".into(), "newer".into())
    );
}

/// Ways in which documents are edited. None makes a version.
const EDITS: &[(&str, &str)] = &[
    ("tee", r#"printf '{"content_type": "new"}' | tee "$D/.meta.json""#),
    ("bash", r#"printf '{"content_type": "new"}' > "$D/.meta.json""#),
    ("sed", r#"sed -i 's#text/plain#new#' "$D/.meta.json""#),
    ("perl", r#"perl -i -pe 's#text/plain#new#' "$D/.meta.json""#),
    ("vim", r#"vim -u NONE -N -es -c 'set bsk= bkc=yes' -c '%s#text/plain#new#' -c wq "$D/.meta.json""#),
    ("vim", r#"vim -u NONE -N -es -c 'set bsk= bkc=no' -c '%s#text/plain#new#' -c wq "$D/.meta.json""#),
    ("ed", r#"printf ',s#text/plain#new#\nw\nq\n' | ed -s "$D/.meta.json""#),
    ("cp", r#"sed 's#text/plain#new#' "$D/.meta.json" > "$T/m" && cp "$T/m" "$D/.meta.json""#),
    ("mv", r#"sed 's#text/plain#new#' "$D/.meta.json" > "$D/.m.tmp" && mv "$D/.m.tmp" "$D/.meta.json""#),
    (
        "python3",
        r#"python3 -c 'import json, os
path = os.environ["D"] + "/.meta.json"
document = json.load(open(path)); document["content_type"] = "new"
with open(path, "w") as f: json.dump(document, f)'"#,
    ),
];

#[test]
fn documents_are_edited_like_files() {
    let names: Vec<String> = (0..EDITS.len()).map(|at| format!("s{at}")).collect();
    let secrets: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let Some(world) = World::new(&secrets, "") else { return };
    for (secret, (needs, script)) in names.iter().zip(EDITS) {
        if !has(needs) {
            skipped!("{needs} is not installed: {script}");
            continue;
        }
        let before = world.vault.requests("update");
        let ran = world.bash(secret, script);
        assert_eq!(ran.code, 0, "{script}: {ran:?}");
        let kept = world.vault.client.get_secret(&name(secret), None).unwrap().properties;
        assert_eq!(kept.content_type.as_deref(), Some("new"), "{script}");
        assert_eq!(kept.tags.unwrap()["kept"], "yes", "{script}");
        assert_eq!(world.vault.requests("update"), before + 1, "{script}");
        assert_eq!(world.vault.versions(secret).len(), 1, "{script}");
        assert_eq!(world.bash(secret, r#"ls -A "$D""#).ok(), ".meta.json\nvalue\nversions\n", "{script}");
    }
}

#[test]
fn temporary_files_live_in_the_mount_and_nowhere_else() {
    let Some(World { mount, vault }) = World::new(&[("a", "x"), ("b", "y")], "") else { return };
    mount.bash("a", r#"ls "$M/secrets" "$M/deleted" "$D" && cat "$V""#).ok();
    let sent = vault.server.request_count();
    mount
        .bash(
            "a",
            r#"echo hidden > "$D/.x" && chmod 400 "$D/.x" && mv "$D/.x" "$D/y~" && [ "$(cat "$D/y~")" = hidden ]"#,
        )
        .ok();
    mount.bash("a", r#"[ "$(stat -c %a "$D/y~")" = 400 ] && ln -s x "$D/z" 2> /dev/null; touch "$D/4913" && ls -A "$D" && rm "$D/4913""#).ok();
    assert_eq!(vault.server.request_count(), sent, "nothing of it concerns the vault");
    assert_eq!(mount.bash("b", r#"mv "$M/secrets/a/y~" "$V" && cat "$V""#).ok(), "hidden\n");
    assert_eq!(vault.get("b").as_deref(), Ok("hidden\n"));
    mount.bash("a", r#"echo gone > "$D/.z""#).ok();
    drop(mount);
    assert_eq!(Mount::new(vault.url(), "").bash("a", r#"ls -A "$D""#).ok(), ".meta.json\nvalue\nversions\n");
    assert_eq!(vault.live(), ["a", "b"]);
}

#[test]
fn a_save_onto_what_another_party_deleted_is_refused_until_it_is_recovered() {
    let Some(world) = World::new(&[("a", "x")], "ttl=1h") else { return };
    world.bash("a", r#"ls "$M/secrets" && cat "$V""#).ok();
    world.vault.client.begin_delete_secret(&name("a")).unwrap();
    let ran = world.bash("a", r#"echo new | tee "$V""#);
    assert!(ran.code != 0 && ran.err.contains("File exists"), "{ran:?}");
    assert_eq!((world.vault.get("a"), world.vault.deleted()), (Err(ErrorKind::NotFound), vec!["a".to_owned()]));
    let again = world.bash("a", r#"mv "$M/deleted/$N" "$M/secrets/" && cat "$V""#);
    assert_eq!(again.ok(), "x");
}

/// The kernel holds a directory in one place, and would not rename it from another (ESTALE) unless it is told.
#[test]
fn what_another_party_deleted_or_recovered_can_be_moved_at_once() {
    let names: Vec<String> = (0..10).map(|at| format!("s{at}")).collect();
    let secrets: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let Some(world) = World::new(&secrets, "ttl=1ms") else { return };
    let client = &world.vault.client;
    let (back, away) = names.split_at(5);
    for secret in back {
        world.bash(secret, r#"stat "$D" "$V""#).ok();
        client.begin_delete_secret(&name(secret)).unwrap();
        world.bash(secret, r#"mv "$M/deleted/$N" "$M/secrets/" && [ "$(cat "$V")" = x ]"#).ok();
    }
    for secret in away {
        client.begin_delete_secret(&name(secret)).unwrap();
        world.bash(secret, r#"stat "$M/deleted/$N" "$M/deleted/$N/.meta.json""#).ok();
        client.begin_recover_deleted_secret(&name(secret)).unwrap();
    }
    // That there is no such secret is believed for a second.
    std::thread::sleep(Duration::from_secs(1));
    for secret in away {
        world.bash(secret, r#"mv "$D" "$M/deleted/" && [ ! -e "$D" ]"#).ok();
    }
    assert_eq!((world.vault.live(), world.vault.deleted()), (back.to_vec(), away.to_vec()));
}

#[test]
fn many_secrets_are_saved_at_once() {
    let names: Vec<String> = (0..40).map(|at| format!("s{at}")).collect();
    let secrets: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let Some(world) = World::new(&secrets, "max_writes=1000/s") else { return };
    world
        .bash(
            "",
            r#"for n in $(ls "$M/secrets"); do printf %s "$n" | tee "$M/secrets/$n/value" > /dev/null & done; wait"#,
        )
        .ok();
    for secret in &names {
        assert_eq!((world.vault.get(secret), world.vault.versions(secret).len()), (Ok(secret.clone()), 2));
    }
}

/// No byte of a value, of the new one, or of one that was refused.
#[test]
fn a_value_never_stands_in_the_log() {
    let Some(world) = World::new(&[("a", "canary-old")], "") else { return };
    let path = world.path("secrets/a/value");
    assert_eq!(fs::read_to_string(&path).unwrap(), "canary-old");
    assert_eq!(write(&path, b"canary-new"), (0, ""));
    assert_eq!(write(&path, b"canary-bad\xff").1, "close");
    assert_eq!(write(&world.path("secrets/a/.meta.json"), b"{\"canary\": \"canary\"}").1, "close");
    assert_eq!(write(&world.path("secrets/a/.canary"), b"canary-scratch"), (0, ""));
    world.bash("a", r#"rm -r "$D" && mv "$M/deleted/$N" "$M/secrets/" && cat "$V""#).ok();
    let log = world.mount.log();
    assert!(log.contains("secrets/a") && !log.contains("canary-"), "{log}");
}

#[test]
fn a_name_that_was_missing_is_there_once_it_is_made_elsewhere_in_the_mount() {
    let Some(world) = World::new(&[("old", "x")], "negative_ttl=10m") else { return };
    let script = r#"set -e; cd "$M"
        missing() { for path; do if [ -e "$path" ]; then echo "$path is there"; exit 1; fi; done; }
        missing secrets/new files/new deleted/old backup/new files/.hidden
        printf x > files/new
        for path in secrets/new/value files/new backup/new; do [ -e $path ]; done
        rmdir secrets/old && [ -e deleted/old/.meta.json ] && missing secrets/old files/old
        mv deleted/old secrets/ && [ -e secrets/old/value ] && [ -e files/old ] && missing deleted/old
        printf x > files/.hidden && [ -e files/.hidden ]"#;
    assert_eq!(world.bash("", script).ok(), "");
}
