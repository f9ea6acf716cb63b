//! Reading as programs read: what comes out of the mount is what is in the vault, sizes included.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use akvfs::local::ServeOptions;
use akvfs::secret::{SecretAttributes, SecretValue};

use super::harness::{Vault, World, eventually, has, name};

/// Values that programs trip over: empty, without an end of line, at the limit, around pages, beyond ASCII.
fn values() -> BTreeMap<String, String> {
    let mut values = BTreeMap::from([
        ("empty".to_owned(), String::new()),
        ("plain".to_owned(), "needle".to_owned()),
        ("line".to_owned(), "a line\n".to_owned()),
        ("crlf".to_owned(), "a\r\nb\r\n".to_owned()),
        ("nul".to_owned(), "a\0b".to_owned()),
        ("utf8".to_owned(), "ключ 鍵 🔑 needle\n".to_owned()),
        ("full".to_owned(), "x".repeat(25_600)),
        ("UPPER-Case".to_owned(), "q".to_owned()),
    ]);
    for size in [1, 4095, 4096, 4097, 8192, 12_288, 25_599] {
        values.insert(format!("size-{size}"), "0123456789".repeat(size / 10 + 1)[..size].to_owned());
    }
    values
}

fn world_of(values: &BTreeMap<String, String>, options: ServeOptions) -> Option<World> {
    mounted(values, options, "")
}

fn mounted(values: &BTreeMap<String, String>, options: ServeOptions, how: &str) -> Option<World> {
    let secrets: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    World::of(Vault::with(options, &secrets)?, how)
}

/// The values below a directory that looks like `secrets/`.
fn values_in(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.map(|name| (name.clone(), fs::read_to_string(dir.join(name).join("value")).unwrap())).collect()
}

#[test]
fn trees_are_copied_byte_for_byte() {
    let values = values();
    let Some(world) = world_of(&values, ServeOptions::default()) else { return };
    world.vault.set("plain", "needle");
    for (needs, script) in [
        ("cp", r#"cp -r "$M/secrets" "$T/copy""#),
        ("cp", r#"cp -a "$M/secrets" "$T/copy""#),
        ("tar", r#"mkdir "$T/copy" && tar cf - -C "$M/secrets" . | tar xf - -C "$T/copy""#),
        ("rsync", r#"rsync -a "$M/secrets/" "$T/copy""#),
        ("rsync", r#"rsync -rlc --inplace "$M/secrets/" "$T/copy""#),
        ("busybox", r#"busybox cp -r "$M/secrets" "$T/copy""#),
        (
            "zip",
            r#"cd "$M" && zip -qr "$T/all.zip" secrets && unzip -q "$T/all.zip" -d "$T" && mv "$T/secrets" "$T/copy""#,
        ),
        (
            "python3",
            r#"python3 -c 'import os, shutil; shutil.copytree(os.environ["M"] + "/secrets", os.environ["T"] + "/copy")'"#,
        ),
        (
            "node",
            r#"node -e 'require("fs").cpSync(process.env.M + "/secrets", process.env.T + "/copy", { recursive: true })'"#,
        ),
    ] {
        if !has(needs) {
            skipped!("{needs} is not installed: {script}");
            continue;
        }
        world.bash("", script).ok();
        assert_eq!(values_in(&world.mount.aside("copy")), values, "{script}");
        let versions =
            world.bash("", r#"cd "$T/copy/plain/versions" && cat [0-9a-f]*[0-9a-f] | grep -o needle | wc -l"#);
        assert_eq!(versions.ok().trim(), "2", "{script}");
        world.bash("", r#"diff -r "$M/secrets" "$T/copy" && rm -r "$T/copy""#).ok();
    }
    assert_eq!(world.vault.requests("set"), values.len() as u64 + 1);
}

#[test]
fn every_size_is_right_before_anything_is_read() {
    ["rw", "ro"].into_iter().for_each(sizes_are_right);
}

fn sizes_are_right(how: &str) {
    let values = values();
    let Some(world) = mounted(&values, ServeOptions::default(), how) else { return };
    let names: String = values.keys().map(|name| format!("{name}\n")).collect();
    let sorted = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(world.bash("", r#"ls -1 "$M/secrets""#).ok()), sorted(names));
    let listed = world.bash("", r#"ls -la "$M/secrets" "$M/deleted" && find "$M" -maxdepth 2 && df "$M""#);
    assert!(listed.ok().contains("size-25599"));
    assert_eq!(world.vault.requests("get"), 0, "a listing reads no value");
    let sizes: Vec<_> = values.iter().map(|(name, value)| format!("{} {name}", value.len())).collect();
    for script in [
        r#"cd "$M/secrets" && for n in *; do echo "$(stat -c %s $n/value) $n"; done"#,
        r#"cd "$M/secrets" && find . -path './*/value' -printf '%s %h\n' | sed 's# ./# #'"#,
        r#"cd "$M/secrets" && du -b */value | sed 's#\t# #; s#/value##'"#,
        r#"cd "$M/secrets" && for n in *; do echo "$(wc -c < $n/value) $n"; done"#,
        r#"cd "$M/secrets" && ls -l */value | awk '{ split($9, p, "/"); print $5, p[1] }'"#,
    ] {
        let sizes: Vec<_> = sorted(sizes.join("\n"));
        assert_eq!(sorted(world.bash("", script).ok()), sizes, "{script}");
    }
}

/// The kernel adds neither `.` nor `..` to what a filesystem lists.
#[test]
fn every_directory_lists_itself_and_the_one_above() {
    let Some(world) = World::new(&[("a", "x"), ("gone", "x")], "") else { return };
    world.bash("gone", r#"rm -r "$D" && stat "$M/deleted/gone""#).ok();
    let script = r#"
        for dir in . secrets deleted files backup .akvfs secrets/a secrets/a/versions deleted/gone; do
            cd "$M/$dir"
            [ "$(ls -a | head -2 | xargs)" = ". .." ] || echo "$dir: no dots"
            [ "$(ls -ai | awk '$2 == "." { print $1 }')" = "$(stat -c %i .)" ] || echo "$dir: another ."
            [ "$dir" = . ] || [ "$(ls -ai | awk '$2 == ".." { print $1 }')" = "$(stat -c %i ..)" ] || echo "$dir: another .."
        done"#;
    assert_eq!(world.bash("a", script).ok(), "");
}

#[test]
fn one_file_is_read_in_many_ways() {
    ["rw", "ro"].into_iter().for_each(one_file_is_read);
}

fn one_file_is_read(how: &str) {
    let values = values();
    let Some(world) = mounted(&values, ServeOptions::default(), how) else { return };
    for (needs, script) in [
        ("dd", r#"dd if="$V" bs=7 status=none"#),
        ("head", r#"head -c 1M "$V""#),
        ("tail", r#"tail -c +1 "$V""#),
        ("tac", r#"tac "$V" | tac"#),
        ("bash", r#"cat < "$V""#),
        ("openssl", r#"openssl base64 -in "$V" | openssl base64 -d"#),
        ("gzip", r#"gzip -c "$V" | gunzip"#),
        ("cat", r#"ln -sf "$V" "$T/link" && cat "$T/link""#),
        (
            "python3",
            r#"python3 -c 'import os, mmap
with open(os.environ["V"], "rb") as f: os.write(1, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)[:])'"#,
        ),
        (
            "python3",
            r#"python3 -c 'import os
with open(os.environ["V"], "rb") as f, open(os.environ["T"] + "/sent", "wb") as t:
    os.sendfile(t.fileno(), f.fileno(), 0, os.fstat(f.fileno()).st_size)' && cat "$T/sent""#,
        ),
        ("node", r#"node -e 'process.stdout.write(require("fs").readFileSync(process.env.V))'"#),
        ("perl", r#"perl -0777 -pe 1 "$V""#),
        ("busybox", r#"busybox cat "$V""#),
    ] {
        if !has(needs) {
            skipped!("{needs} is not installed: {script}");
            continue;
        }
        for name in ["full", "size-4097", "utf8", "line", "size-25599"] {
            let read = world.bash(name, script).ok();
            assert!(read == values[name], "{script}: {name}: {} bytes", read.len());
        }
    }
    let found = world.bash("", r#"cd "$M/secrets" && grep -rl needle . | sort"#).ok();
    let in_versions = |line: &&str| line.contains("/versions/");
    let (versions, current): (Vec<&str>, Vec<&str>) = found.lines().partition(in_versions);
    assert_eq!((current, versions.len()), (vec!["./plain/value", "./utf8/value"], 2));
}

#[test]
fn versions_and_documents_say_what_the_vault_says() {
    let Some(world) = World::new(&[("a", "first")], "") else { return };
    for value in ["second", "third\n"] {
        world.vault.set("a", value);
    }
    let versions = world.vault.versions("a");
    assert_eq!(world.bash("a", r#"ls -I current "$D/versions""#).ok().lines().collect::<Vec<_>>(), versions);
    for version in &versions {
        let kept = world.vault.client.get_secret(&name("a"), akvfs::secret::Version::parse(version).as_ref()).unwrap();
        let path = world.path(&format!("secrets/a/versions/{version}"));
        assert_eq!(fs::read_to_string(&path).unwrap(), kept.value.expose());
        assert_eq!(fs::metadata(&path).unwrap().len(), kept.value.len() as u64);
    }
    let document: serde_json::Value =
        serde_json::from_slice(&fs::read(world.path("secrets/a/.meta.json")).unwrap()).unwrap();
    let kept = world.vault.client.get_secret(&name("a"), None).unwrap().properties;
    assert_eq!(document["id"], kept.id.as_str());
    assert_eq!(document["version"], kept.version.unwrap().as_str());
    assert_eq!(document["updated_on"], kept.updated_on.unwrap().to_string());
    assert_eq!((&document["tags"]["kept"], &document["enabled"]), (&"yes".into(), &true.into()));
    world.bash("a", r#"rm -r "$D""#).ok();
    let gone: serde_json::Value =
        serde_json::from_slice(&fs::read(world.path("deleted/a/.meta.json")).unwrap()).unwrap();
    let kept = world.vault.client.get_deleted_secret(&name("a")).unwrap();
    assert_eq!(gone["recovery_id"], kept.recovery_id.unwrap());
    assert_eq!(gone["deleted_date"], kept.deleted_date.unwrap().to_string());
}

/// No answer of the vault says which version of a disabled secret is current.
#[test]
fn the_current_version_of_a_disabled_secret_is_the_disabled_one_made_last() {
    let Some(world) = World::new(&[("a", "first")], "") else { return };
    let disabled = SecretAttributes { enabled: Some(false), ..SecretAttributes::default() };
    let set = |secret: &str| {
        let value = SecretValue::new("x".into());
        world.vault.client.set_secret(&name(secret), &value, &disabled).unwrap().properties
    };
    let link = |secret: &str| {
        world.bash("", r#"echo > "$M/.akvfs/refresh""#).ok();
        fs::read_link(world.path(&format!("secrets/{secret}/versions/current")))
    };
    let second = set("a");
    assert_eq!(link("a").unwrap().to_str(), Some(second.version.unwrap().as_str()));
    // Dates have one-second grain: of two in one second nobody knows which was the last.
    let in_one_second = |secret: &String| set(secret).created_on == set(secret).created_on;
    let doubtful = (0..100).map(|at| format!("b{at}")).find(in_one_second).unwrap();
    assert_eq!(link(&doubtful).unwrap_err().raw_os_error(), Some(libc::EACCES));
}

#[test]
fn the_document_of_a_deleted_secret_is_what_the_vault_says_of_it() {
    let Some(world) = World::new(&[("a", "x"), ("b", "x")], "ttl=1h") else { return };
    let deleted = ["a", "b"].map(|secret| {
        let version = world.vault.versions(secret)[0].clone();
        world.vault.client.begin_delete_secret(&name(secret)).unwrap();
        (secret, world.vault.client.get_deleted_secret(&name(secret)).unwrap(), version)
    });
    let asked = || world.vault.requests("get-deleted");
    let before = asked();
    world.bash("", r#"ls -l "$M/deleted"; stat "$M/deleted/a" "$M/deleted/b""#).ok();
    assert_eq!(asked(), before, "a listing tells that they are there");
    for (secret, said, version) in deleted {
        let path = world.path(&format!("deleted/{secret}/.meta.json"));
        let size = fs::metadata(&path).unwrap().len();
        let text = fs::read_to_string(&path).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&document["version"], text.len() as u64), (&version.into(), size), "{text}");
        assert_eq!(document["id"], said.properties.id.as_str());
        assert_eq!(document["recovery_id"], said.recovery_id.unwrap());
        assert_eq!(document["tags"]["kept"], "yes");
    }
    assert_eq!(asked(), before + 2, "one for each");
}

#[test]
fn attributes_are_read_and_set() {
    let Some(world) = World::new(&[("a", "x")], "") else { return };
    if !has("setfattr") {
        skipped!("setfattr is not installed (apt-get install attr)");
        return;
    }
    let get =
        |attribute: &str| world.bash("a", &format!(r#"getfattr --only-values -n user.akvfs.{attribute} "$V""#)).ok();
    assert_eq!(
        (get("content_type"), get("enabled"), get("tag.kept")),
        ("text/plain".into(), "true".into(), "yes".into())
    );
    assert_eq!(get("version"), world.vault.versions("a")[0]);
    let all = world.bash("a", r#"getfattr -d "$V" | grep -c '^user.akvfs.'"#).ok();
    assert_eq!(all.trim(), "8");
    for script in [
        r#"setfattr -n user.akvfs.content_type -v application/json "$V""#,
        r#"setfattr -n user.akvfs.expires_on -v 2031-01-02T03:04:05Z "$V""#,
        r#"setfattr -n user.akvfs.tag.team -v blue "$V""#,
        r#"setfattr -x user.akvfs.tag.kept "$V""#,
    ] {
        world.bash("a", script).ok();
    }
    let kept = world.vault.client.get_secret(&name("a"), None).unwrap().properties;
    assert_eq!(kept.content_type.as_deref(), Some("application/json"));
    assert_eq!(kept.expires_on.map(|date| date.to_string()).as_deref(), Some("2031-01-02T03:04:05Z"));
    assert_eq!(kept.tags.unwrap().into_iter().collect::<Vec<_>>(), [("team".to_owned(), "blue".to_owned())]);
    for attribute in ["version", "id", "created_on", "updated_on", "recovery_level", "key_id"] {
        let refused = world.bash("a", &format!(r#"setfattr -n user.akvfs.{attribute} -v x "$V""#));
        assert!(refused.code != 0 && refused.err.contains("not permitted"), "{attribute}: {refused:?}");
    }
    assert!(world.bash("a", r#"getfattr -n user.akvfs.key_id "$V""#).err.contains("No such attribute"));
    assert_eq!(world.vault.versions("a").len(), 1, "properties make no version");
    world
        .bash("a", r#"setfattr -n user.akvfs.enabled -v false "$V" && ! cat "$V" && [ "$(stat -c %a "$V")" = 0 ]"#)
        .ok();
    world.bash("a", r#"printf '{"enabled": true}' | tee "$D/.meta.json" && [ "$(cat "$V")" = x ]"#).ok();
}

#[test]
fn many_readers_of_one_value_ask_once() {
    let slow = ServeOptions { latency: Duration::from_millis(100), ..ServeOptions::default() };
    let Some(world) = world_of(&BTreeMap::from([("a".to_owned(), "x".to_owned())]), slow) else { return };
    world.bash("a", r#"ls "$M/secrets""#).ok();
    let all = world.bash("a", r#"for i in $(seq 20); do cat "$V" & done; wait"#).ok();
    assert_eq!((all, world.vault.requests("get")), ("x".repeat(20), 1));
}

#[test]
fn another_partys_change_is_seen_after_the_ttl() {
    let Some(world) = World::new(&[("a", "old"), ("b", "old")], "ttl=300ms") else { return };
    assert_eq!(world.bash("a", r#"cat "$V" && ls "$M/secrets""#).ok(), "olda\nb\n");
    world.vault.set("a", "new");
    world.vault.set("c", "made elsewhere");
    world.vault.client.begin_delete_secret(&name("b")).unwrap();
    let dirs = [world.path("deleted"), world.path("secrets")].map(|dir| dir.display().to_string());
    let wanted = format!("new{}:\nb\n\n{}:\na\nc\nmade elsewhere", dirs[0], dirs[1]);
    let look = r#"cat "$V" && ls "$M/secrets" "$M/deleted" && cat "$M/secrets/c/value""#;
    eventually("what others changed", || world.bash("a", look).out == wanted);
}

#[test]
fn a_daemon_in_the_background_carries_the_mount_and_its_parent_has_returned() {
    let Some(vault) = Vault::with(ServeOptions::default(), &[("a", "x")]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let akvfs = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_akvfs"));
        command.args(words);
        super::harness::run(command, Duration::from_secs(20))
    };
    let place = dir.path().to_str().unwrap();
    let mounted = akvfs(&["mount", vault.url(), place]);
    assert_eq!((mounted.code, mounted.out.as_str(), mounted.err.as_str()), (0, "", ""));
    let read = fs::read_to_string(dir.path().join("secrets/a/value"));
    let again = akvfs(&["mount", vault.url(), place]);
    let unmounted = akvfs(&["unmount", place]);
    assert_eq!(read.unwrap(), "x");
    assert!(again.code == 32 && again.err.contains("is mounted there already"), "{again:?}");
    assert_eq!((unmounted.code, fs::read_dir(dir.path()).unwrap().count()), (0, 0));
}
