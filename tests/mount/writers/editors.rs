//! Editors, with every way they have of keeping the old text.

use super::{Row, check, row};

/// vim with these options, by which it keeps the old text while and after it writes, and a swap file beside.
macro_rules! vim {
    ($options:literal) => {
        row(
            "vim",
            concat!(
                "vim -u NONE -N -es -c 'set bsk= uc=1 ",
                $options,
                "' -c s/before/new/ -c 'sleep 20m' -c wq \"$V\""
            ),
            "new\n",
        )
    };
}

pub const EDITORS: &[Row] = &[
    row("ed", r#"printf 's/before/new/\nw\nq\n' | ed -s "$V""#, "new\n"),
    row("ex", r#"printf 's/before/new/\nx\n' | ex -s -u NONE "$V""#, "new\n"),
    vim!("bkc=yes nobk nowb swf"),
    vim!("bkc=yes nobk wb swf"),
    vim!("bkc=yes bk nowb swf").leaves(&["~"]),
    vim!("bkc=yes bk wb swf").leaves(&["~"]),
    vim!("bkc=no nobk nowb swf"),
    vim!("bkc=no nobk wb swf"),
    vim!("bkc=no bk nowb swf").leaves(&["~"]),
    vim!("bkc=no bk wb swf").leaves(&["~"]),
    vim!("bkc=auto nobk nowb swf"),
    vim!("bkc=auto nobk wb swf"),
    vim!("bkc=auto bk nowb swf").leaves(&["~"]),
    vim!("bkc=auto bk wb swf").leaves(&["~"]),
    vim!("bkc=yes nobk nowb noswf"),
    vim!("bkc=yes nobk wb noswf"),
    vim!("bkc=yes bk nowb noswf").leaves(&["~"]),
    vim!("bkc=yes bk wb noswf").leaves(&["~"]),
    vim!("bkc=no nobk nowb noswf"),
    vim!("bkc=no nobk wb noswf"),
    vim!("bkc=no bk nowb noswf").leaves(&["~"]),
    vim!("bkc=no bk wb noswf").leaves(&["~"]),
    vim!("bkc=auto nobk nowb noswf"),
    vim!("bkc=auto nobk wb noswf"),
    vim!("bkc=auto bk nowb noswf").leaves(&["~"]),
    vim!("bkc=auto bk wb noswf").leaves(&["~"]),
    // A backup of a name that is none here is made in another of vim's directories.
    row("vim", r#"vim -u NONE -N -es -c 'set bsk= bk bex=.old' -c s/before/new/ -c wq "$V" && ls "$T" | grep -q old"#, "new\n"),
    row("vim", r#"vim -u NONE -N -es -c 'set bsk= bk pm=.orig' -c s/before/new/ -c wq "$V""#, "new\n").leaves(&[".orig"]),
    row("vim", r#"vim -u NONE -N -es -c 'set bsk= udf udir=.' -c s/before/new/ -c wq "$V" && rm "$D/.$B.un~""#, "new\n"),
    row("vim", r#"python3 "$TYPE" before $':s/before/new/\r:wq\r' -- vim "$V""#, "new\n"),
    row("view", r#"view -u NONE -N -es -c s/before/new/ -c 'w!' -c q "$V""#, "new\n"),
    row("vim", r#"vim -u NONE -N -es -c s/before/new/ -c w -c s/new/newer/ -c wq "$V""#, "newer\n").versions(2),
    row("vim", r#"vim -u NONE -N -es -c q "$V""#, "before\n").versions(0),
    row("emacs", r#"emacs -Q --batch "$V" --eval '(progn (setq backup-inhibited nil backup-enable-predicate (lambda (x) t)) (replace-regexp "before" "new") (save-buffer))'"#, "new\n")
        .leaves(&["~"]),
    row(
        "emacs",
        r#"emacs -Q --batch --eval '(setq backup-by-copying t)' "$V" --eval '(progn (setq backup-inhibited nil backup-enable-predicate (lambda (x) t)) (replace-regexp "before" "new") (save-buffer))'"#,
        "new\n",
    )
    .leaves(&["~"]),
    row("emacs", r#"emacs -Q --batch --eval '(setq make-backup-files nil)' "$V" --eval '(progn (replace-regexp "before" "new") (save-buffer))'"#, "new\n"),
    row("emacs", r#"emacs -Q --batch --eval '(setq make-backup-files nil file-precious-flag t)' "$V" --eval '(progn (replace-regexp "before" "new") (save-buffer))'"#, "new\n"),
    row("emacs", r#"emacs -Q --batch --eval '(setq make-backup-files nil)' "$V" --eval '(progn (replace-regexp "before" "new") (auto-save-mode 1) (do-auto-save) (save-buffer))'"#, "new\n"),
    row("emacs", r#"emacs -Q --batch --eval '(append-to-file "more\n" nil (getenv "V"))'"#, "before\nmore\n"),
    row("nano", r#"python3 "$TYPE" before $'new\r\x0f' Write $'\r' Wrote $'\x18' -- nano -I -B "$V""#, "new\nbefore\n").leaves(&["~"]),
    row("nano", r#"python3 "$TYPE" before $'new\r\x0f' Write $'\r' Wrote $'\x18' -- nano -I "$V""#, "new\nbefore\n"),
    row("busybox", r#"python3 "$TYPE" before $':s/before/new/\r:wq\r' -- busybox vi "$V""#, "new\n"),
];

#[test]
fn editors_save_once() {
    check("editors", EDITORS);
}
