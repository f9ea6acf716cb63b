//! Whole trees: what lists reads nothing, what copies reads each value once.

use super::super::harness::{World, has};

const SECRETS: usize = 12;

/// Texts of several sizes, and bytes that are no text.
fn world() -> Option<World> {
    let names: Vec<String> = (0..SECRETS - 1).map(|number| format!("s{number:02}")).collect();
    let values: Vec<String> = (0..SECRETS - 1).map(|number| "needle\n".repeat(1 + number * number * 20)).collect();
    let secrets: Vec<_> = names.iter().zip(&values).map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let world = World::new(&secrets, "")?;
    world.bash("", r#"head -c 10000 /dev/urandom > "$T/bytes" && cp "$T/bytes" "$M/files/bytes""#).ok();
    // Fresh from the vault: what was written here is known already.
    drop(world.mount);
    World::of(world.vault, "")
}

/// How many values were asked for.
fn gets(world: &World) -> u64 {
    world.vault.requests("get")
}

#[test]
fn listings_read_no_value() {
    let Some(world) = world() else { return };
    let before = gets(&world);
    for script in [
        r#"ls -l "$M/secrets""#,
        r#"ls -lR "$M/backup""#,
        r#"ls "$M/files" "$M/secrets/s03""#,
        r#"find "$M/secrets" -maxdepth 1 -type d"#,
        r#"find "$M" -name 's0*'"#,
        r#"busybox ls -l "$M/secrets""#,
        r#"python3 -c 'import os; print(len(os.listdir(os.environ["M"] + "/files")))'"#,
    ] {
        world.bash("", script).ok();
        assert_eq!((gets(&world), world.vault.requests("backup")), (before, 0), "{script}");
    }
}

/// Programs that copy `files/` to `$T/copy`.
const COPIES: &[(&str, &str)] = &[
    ("cp", r#"cp -r "$M/files" "$T/copy""#),
    ("cp", r#"cp -a "$M/files" "$T/copy""#),
    ("tar", r#"tar cf - -C "$M" files | tar xf - -C "$T" && mv "$T/files" "$T/copy""#),
    ("rsync", r#"rsync -a "$M/files/" "$T/copy""#),
    ("rsync", r#"rsync -rc --inplace "$M/files/" "$T/copy""#),
    ("zip", r#"cd "$M" && zip -qr "$T/all.zip" files && unzip -q "$T/all.zip" -d "$T" && mv "$T/files" "$T/copy""#),
    ("busybox", r#"busybox cp -r "$M/files" "$T/copy""#),
    ("busybox", r#"busybox tar cf - -C "$M" files | busybox tar xf - -C "$T" && mv "$T/files" "$T/copy""#),
    ("cpio", r#"cd "$M/files" && mkdir "$T/copy" && find . -type f | cpio -pd --quiet "$T/copy""#),
    (
        "git",
        r#"cd "$T" && git init -q copy && cp "$M"/files/* copy && cd copy && git add . && rm s0* && git checkout -q . && rm -r .git"#,
    ),
];

#[test]
fn what_copies_files_reads_each_once() {
    for (needs, script) in COPIES {
        if !has(needs) {
            skipped!("{needs} is not installed: {script}");
            continue;
        }
        let Some(world) = world() else { return };
        let before = gets(&world);
        world.bash("", script).ok();
        assert_eq!(gets(&world) - before, SECRETS as u64, "{script}");
        assert_eq!(world.bash("", r#"diff -r "$M/files" "$T/copy" && ls "$T/copy" | wc -l"#).ok(), "12\n", "{script}");
    }
}

#[test]
fn what_looks_at_files_sees_their_sizes_and_their_text() {
    let Some(world) = world() else { return };
    let before = gets(&world);
    world.bash("", r#"cp -r "$M/files" "$T/copy""#).ok();
    for script in [
        r#"ls -l | awk '{ print $5, $9 }'"#,
        r#"du -b s* bytes"#,
        r#"find . -type f -printf '%s %f\n' | sort"#,
        r#"find . -type f -size +5k | sort"#,
        r#"stat -c '%s %n' *"#,
        r#"wc -c *"#,
        r#"grep -rc needle . | sort"#,
        r#"grep -lr needle . | sort"#,
        r#"md5sum *"#,
        r#"git hash-object *"#,
    ] {
        let both = format!(r#"cd "$T/copy" && {script} > "$T/there" && cd "$M/files" && {script} | diff "$T/there" -"#);
        assert_eq!(world.bash("", &both).ok(), "", "{script}");
    }
    assert_eq!(gets(&world) - before, SECRETS as u64);
}
