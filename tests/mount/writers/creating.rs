//! Secrets that are not there yet. In `secrets/` their directory is made first, in `files/` nothing.

use super::{Row, check, row};

const CREATORS: &[Row] = &[
    row("bash", r#"echo new > "$V""#, "new\n").creates(),
    row("bash", r#"{ echo a; cat "$T/new"; } > "$V""#, "a\nnew\n").creates(),
    row("bash", r#"echo new >> "$V""#, "new\n").creates(),
    row("bash", r#"set -C; echo new > "$V""#, "new\n").creates(),
    row("bash", r#"exec 3> "$V"; echo a >&3; echo b >&3; exec 3>&-"#, "a\nb\n").creates(),
    row("bash", r#"{ echo early; (sleep 0.2; echo late) & } > "$V"; wait"#, "early\nlate\n").creates(),
    row("dash", r#"dash -c 'echo new > "$V"'"#, "new\n").creates(),
    row("busybox", r#"busybox sh -c 'echo new > "$V"'"#, "new\n").creates(),
    row("tee", r#"echo new | tee "$V" > /dev/null"#, "new\n").creates(),
    row("cp", r#"cp "$T/new" "$V""#, "new\n").creates(),
    row("cp", r#"cp -p "$T/new" "$V""#, "new\n").creates(),
    row("busybox", r#"busybox cp "$T/new" "$V""#, "new\n").creates(),
    row("install", r#"install -m 600 "$T/new" "$V""#, "new\n").creates(),
    row("install", r#"install -D "$T/new" "$V""#, "new\n").creates(),
    row("mv", r#"cp "$T/new" "$T/x" && mv "$T/x" "$V""#, "new\n").creates(),
    row("mv", r#"cp "$T/new" "$D/$B.tmp" && mv "$D/$B.tmp" "$V""#, "new\n").creates(),
    row("dd", r#"dd if="$T/new" of="$V" conv=fsync status=none"#, "new\n").creates(),
    row("tar", r#"cp "$T/new" "$T/$B" && tar cf - -C "$T" "$B" | tar xf - -C "$D""#, "new\n").creates(),
    row("unzip", r#"cp "$T/new" "$T/$B" && cd "$T" && zip -q z.zip "$B" && unzip -qo z.zip -d "$D""#, "new\n")
        .creates(),
    row("rsync", r#"rsync -a "$T/new" "$V""#, "new\n").creates(),
    row("rsync", r#"rsync --inplace "$T/new" "$V""#, "new\n").creates(),
    row("git", r#"git config -f "$V" a.b new"#, "[a]\n\tb = new\n").creates(),
    row("openssl", r#"openssl base64 -in "$T/new" -out "$V""#, "bmV3Cg==\n").creates(),
    row("curl", r#"curl -s -o "$V" "file://$T/new""#, "new\n").creates(),
    row("ed", r#"printf 'a\nnew\n.\nw\nq\n' | ed -s "$V""#, "new\n").creates(),
    row("vim", r#"vim -u NONE -N -es -c 'set bsk=' -c 'call setline(1, "new")' -c wq "$V""#, "new\n").creates(),
    row("emacs", r#"emacs -Q --batch "$V" --eval '(progn (insert "new\n") (save-buffer))'"#, "new\n").creates(),
    row("nano", r#"python3 "$TYPE" 'New File' $'new\x0f' Write $'\r' Wrote $'\x18' -- nano -I "$V""#, "new\n")
        .creates(),
    row("python3", r#"python3 -c 'import os; open(os.environ["V"], "w").write("new\n")'"#, "new\n").creates(),
    row("python3", r#"python3 -c 'import os; open(os.environ["V"], "x").write("new\n")'"#, "new\n").creates(),
    row("node", r#"node -e 'require("fs").writeFileSync(process.env.V, "new\n")'"#, "new\n").creates(),
    row("perl", r#"perl -e 'open(F, ">", $ENV{V}) or die; print F "new\n"; close(F) or die'"#, "new\n").creates(),
];

#[test]
fn new_secrets_are_made_by_one_save() {
    check("creating", CREATORS);
}
