//! The tools that are on every machine.

use super::{Row, check, row};

pub const TOOLS: &[Row] = &[
    row("tee", r#"echo new | tee "$V" > /dev/null"#, "new\n"),
    row("tee", r#"echo more | tee -a "$V" > /dev/null"#, "before\nmore\n"),
    row("cp", r#"cp "$T/new" "$V""#, "new\n"),
    row("cp", r#"cp -p "$T/new" "$V""#, "new\n"),
    row("cp", r#"cp -f "$T/new" "$D/$B""#, "new\n"),
    row("cp", r#"cp --remove-destination "$T/new" "$V""#, "new\n"),
    row("cp", r#"cp -b "$T/new" "$V""#, "new\n").leaves(&["~"]),
    row("dd", r#"dd if="$T/new" of="$V" status=none"#, "new\n"),
    row("dd", r#"dd if="$T/new" of="$V" conv=fsync status=none"#, "new\n"),
    row("dd", r#"dd if="$T/new" of="$V" conv=notrunc status=none"#, "new\nre\n"),
    row("install", r#"install -m 600 "$T/new" "$V""#, "new\n"),
    row("install", r#"install -b "$T/new" "$V""#, "new\n").leaves(&["~"]),
    row("mv", r#"cp "$T/new" "$T/x" && mv "$T/x" "$V""#, "new\n"),
    row("mv", r#"cp "$T/new" "$T/$B" && mv -f "$T/$B" "$D""#, "new\n"),
    row("mv", r#"cp "$T/new" "$D/$B.tmp" && mv "$D/$B.tmp" "$V""#, "new\n"),
    row("mv", r#"cp "$T/new" "$D/.$B.x" && mv -b "$D/.$B.x" "$V""#, "new\n").leaves(&["~"]),
    row("tar", r#"cp "$T/new" "$T/$B" && tar cf - -C "$T" "$B" | tar xf - -C "$D""#, "new\n"),
    row("tar", r#"cp "$T/new" "$T/$B" && tar cf - -C "$T" "$B" | tar xf - --overwrite -C "$D""#, "new\n"),
    row("tar", r#"cp "$T/new" "$T/$B" && tar cf - -C "$T" "$B" | tar xf - --unlink-first -C "$D""#, "new\n"),
    row("unzip", r#"cp "$T/new" "$T/$B" && cd "$T" && zip -q z.zip "$B" && unzip -qo z.zip -d "$D""#, "new\n"),
    row("rsync", r#"rsync "$T/new" "$V""#, "new\n"),
    row("rsync", r#"rsync -a "$T/new" "$V""#, "new\n"),
    row("rsync", r#"rsync --inplace "$T/new" "$V""#, "new\n"),
    row("rsync", r#"rsync -b "$T/new" "$V""#, "new\n").leaves(&["~"]),
    row("rsync", r#"rsync --temp-dir="$T" "$T/new" "$V""#, "new\n"),
    row("rsync", r#"rsync --partial --fsync "$T/new" "$V""#, "new\n"),
    // It makes a directory beside the value, and says 0 when it cannot.
    row("rsync", r#"rsync --delay-updates "$T/new" "$V""#, "before\n").refused(0, "discarding completed file"),
    row("rsync", r#"rsync --append "$T/longer" "$V""#, "before\nmore\n"),
    row("sed", r#"sed -i s/before/new/ "$V""#, "new\n"),
    row("sed", r#"sed -i -s --follow-symlinks s/before/new/ "$V""#, "new\n"),
    row("sed", r#"sed -i.bak s/before/new/ "$V""#, "new\n").leaves(&[".bak"]),
    row("truncate", r#"truncate -s 3 "$V""#, "bef"),
    row("truncate", r#"truncate -s 0 "$V""#, ""),
    row("truncate", r#"truncate -s +2 "$V""#, "before\n\0\0"),
    row("sort", r#"sort -o "$V" "$V""#, "1\n2\n").before("2\n1\n"),
    row("git", r#"git config -f "$V" a.b new"#, "[a]\n\tb = new\n").before("[a]\n\tb = old\n"),
    row("git", r#"git config -f "$V" a.b 1 && git config -f "$V" a.c 2"#, "[a]\n\tb = 1\n\tc = 2\n")
        .before("[a]\n")
        .versions(2),
    row("openssl", r#"openssl base64 -in "$T/new" -out "$V""#, "bmV3Cg==\n"),
    row("curl", r#"curl -s -o "$V" "file://$T/new""#, "new\n"),
    row("awk", r#"awk 'BEGIN { print "new" > ENVIRON["V"] }'"#, "new\n"),
    row("split", r#"split --filter='cat >> "$V"' -b 2 "$T/new""#, "before\nnew\n").versions(2),
    row("busybox", r#"busybox cp "$T/new" "$V""#, "new\n"),
    row("busybox", r#"cp "$T/new" "$T/x" && busybox mv "$T/x" "$V""#, "new\n"),
    row("busybox", r#"busybox sed -i s/before/new/ "$V""#, "new\n"),
    row("busybox", r#"busybox dd if="$T/new" of="$V" 2>/dev/null"#, "new\n"),
    row("busybox", r#"echo new | busybox tee "$V" >/dev/null"#, "new\n"),
    row("busybox", r#"cp "$T/new" "$T/$B" && tar cf - -C "$T" "$B" | busybox tar xf - -C "$D""#, "new\n"),
    row("busybox", r#"busybox truncate -s 3 "$V""#, "bef"),
    row("cp", r#"cp "$V" "$V.bak" && cp "$T/new" "$V" && rm "$V.bak""#, "new\n"),
    row("cp", r#"echo before | cp /dev/stdin "$V""#, "before\n").versions(0),
    row("touch", r#"touch "$V" && chmod 600 "$V" && chown 0 "$V""#, "before\n").versions(0),
    // Its temporary file is called value.oXXXXXX, and opened for writing alone.
    row("patch", r#"diff -u "$V" "$T/new" | patch -s "$V""#, "before\n").refused(2, "Invalid argument"),
    row("patch", r#"diff -u "$V" "$T/new" > "$T/p"; patch -s -o "$T/x" "$V" "$T/p" && cp "$T/x" "$V""#, "new\n"),
    row("busybox", r#"diff -u "$V" "$T/new" > "$T/p"; cd "$D" && busybox patch "$B" "$T/p" > /dev/null"#, "new\n"),
    row("mktemp", r#"t=$(mktemp -p "$D") && cp "$T/new" "$t" && mv "$t" "$V""#, "new\n"),
    row("cat", r#"cat "$T/new" 1<> "$V""#, "new\nre\n"),
    row("cp", r#"flock "$V" cp "$T/new" "$V""#, "new\n"),
    row("cp", r#"script -qec "cp '$T/new' '$V'" /dev/null"#, "new\n"),
    row("cp", r#"echo "$V" | xargs cp "$T/new""#, "new\n"),
    row("cp", r#"find "$V" -exec cp "$T/new" {} \;"#, "new\n"),
];

#[test]
fn tools_save_once() {
    check("tools", TOOLS);
}
