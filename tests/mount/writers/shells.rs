//! Shells: what redirects opens, duplicates and inherits descriptors before anything is written.

use super::{Row, check, row};

pub const SHELLS: &[Row] = &[
    row("bash", r#"echo new > "$V""#, "new\n"),
    row("bash", r#"echo more >> "$V""#, "before\nmore\n"),
    row("bash", r#"printf %s new > "$V""#, "new"),
    row("bash", r#"{ echo a; echo b; } > "$V""#, "a\nb\n"),
    row("bash", r#"( echo a; echo b ) > "$V""#, "a\nb\n"),
    row("bash", r#"{ cat "$T/new"; cat "$T/new"; } > "$V""#, "new\nnew\n"),
    row("bash", r#"{ echo 1; echo err >&2; echo 2; } > "$V""#, "1\n2\n"),
    row("bash", r#"{ { echo 1; { echo err >&2; } 2>/dev/null; echo 2; } 2>&1; echo 3; } > "$V""#, "1\n2\n3\n"),
    row("bash", r#"{ echo one; echo two > /dev/stdout; } > "$V""#, "two\n"),
    row("bash", r#"exec 3> "$V"; echo a >&3; echo b >&3; exec 3>&-"#, "a\nb\n"),
    row("bash", r#"exec > "$V"; echo a; echo b"#, "a\nb\n"),
    row("bash", r#"exec 3<> "$V"; echo x >&3; exec 3>&-"#, "x\nfore\n"),
    row("bash", r#"{ echo early; (sleep 0.2; echo late) & } > "$V"; wait"#, "early\nlate\n"),
    row("bash", r#"( (sleep 0.2; echo late) & ) > "$V"; sleep 0.5"#, "late\n"),
    row("bash", r#"for i in 1 2 3; do echo $i; done > "$V""#, "1\n2\n3\n"),
    row("bash", r#": > "$V""#, ""),
    row("bash", r#"> "$V""#, ""),
    row("bash", r#"set -C; echo new >| "$V""#, "new\n"),
    row("bash", r#"cat > "$V" <<< new"#, "new\n"),
    row("bash", r#"echo new | cat > "$V""#, "new\n"),
    row("bash", r#"cd "$D" && echo new > "$B""#, "new\n"),
    row("dash", r#"dash -c 'echo new > "$V"'"#, "new\n"),
    row("dash", r#"dash -c 'echo more >> "$V"'"#, "before\nmore\n"),
    row("dash", r#"dash -c '{ echo a; echo b; } > "$V"'"#, "a\nb\n"),
    row("dash", r#"dash -c '{ echo 1; echo err >&2; cat "$T/new"; } > "$V"'"#, "1\nnew\n"),
    row("dash", r#"dash -c 'exec 3> "$V"; echo a >&3; echo b >&3; exec 3>&-'"#, "a\nb\n"),
    row("dash", r#"dash -c '{ echo early; (sleep 0.2; echo late) & } > "$V"; wait'"#, "early\nlate\n"),
    row("dash", r#"dash -c ': > "$V"'"#, ""),
    row("busybox", r#"busybox sh -c 'echo new > "$V"'"#, "new\n"),
    row("busybox", r#"busybox sh -c 'echo more >> "$V"'"#, "before\nmore\n"),
    row("busybox", r#"busybox sh -c '{ echo a; echo b; } > "$V"'"#, "a\nb\n"),
    row("busybox", r#"busybox sh -c '{ echo 1; echo err >&2; cat "$T/new"; } > "$V"'"#, "1\nnew\n"),
    row("busybox", r#"busybox sh -c 'exec 3> "$V"; echo a >&3; echo b >&3; exec 3>&-'"#, "a\nb\n"),
    row("busybox", r#"busybox sh -c ': > "$V"'"#, ""),
];

#[test]
fn shells_save_once() {
    check("shells", SHELLS);
}
