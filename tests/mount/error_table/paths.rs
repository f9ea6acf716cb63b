//! Paths that lead nowhere: what every call that takes one says of them.

use libc::*;

use super::{Row, rows};

/// Rows for every call that takes a path, all with the same answer.
macro_rules! of_every_call {
    ($($path:literal => $mount:ident $(, tmpfs $tmpfs:ident : $why:expr)? ;)*) => { rows! { $(
        open($path, O_RDONLY) => $mount $(, tmpfs $tmpfs: $why)?;
        open($path, O_WRONLY | O_TRUNC) => $mount $(, tmpfs $tmpfs: $why)?;
        open($path, O_PATH) => $mount $(, tmpfs $tmpfs: $why)?;
        stat($path) => $mount $(, tmpfs $tmpfs: $why)?;
        lstat($path) => $mount $(, tmpfs $tmpfs: $why)?;
        statx($path, 0, STATX_BASIC_STATS) => $mount $(, tmpfs $tmpfs: $why)?;
        statfs($path) => $mount $(, tmpfs $tmpfs: $why)?;
        access($path, F_OK) => $mount $(, tmpfs $tmpfs: $why)?;
        readlink($path) => $mount $(, tmpfs $tmpfs: $why)?;
        chdir($path) => $mount $(, tmpfs $tmpfs: $why)?;
        execve($path) => $mount $(, tmpfs $tmpfs: $why)?;
        chmod($path, 0o600) => $mount $(, tmpfs $tmpfs: $why)?;
        chown($path, 0, 0) => $mount $(, tmpfs $tmpfs: $why)?;
        utimensat($path, 0, 0) => $mount $(, tmpfs $tmpfs: $why)?;
        truncate($path, 0) => $mount $(, tmpfs $tmpfs: $why)?;
        getxattr($path, "user.x") => $mount $(, tmpfs $tmpfs: $why)?;
        listxattr($path) => $mount $(, tmpfs $tmpfs: $why)?;
        setxattr($path, "user.x", 1, 0) => $mount $(, tmpfs $tmpfs: $why)?;
        removexattr($path, "user.x") => $mount $(, tmpfs $tmpfs: $why)?;
        inotify_add_watch($path, IN_MODIFY) => $mount $(, tmpfs $tmpfs: $why)?;
        name_to_handle_at($path, 0) => $mount $(, tmpfs $tmpfs: $why)?;
        unlink($path) => $mount $(, tmpfs $tmpfs: $why)?;
        rmdir($path) => $mount $(, tmpfs $tmpfs: $why)?;
        rename($path, "secrets/a/x.tmp") => $mount $(, tmpfs $tmpfs: $why)?;
        link($path, "secrets/a/x.tmp") => $mount $(, tmpfs $tmpfs: $why)?;
    )* } };
}

pub const ROWS: &[Row] = of_every_call! {
    "" => ENOENT;
    "none" => ENOENT;
    "secrets/none" => ENOENT;
    "secrets/none/value" => ENOENT;
    "secrets/a/none" => ENOENT;
    "secrets/a/versions/none" => ENOENT;
    "secrets/A" => ENOENT;
    "secrets/x_y" => ENOENT;
    "files/x.crt" => ENOENT;
    "deleted/none" => ENOENT;
    "backup/none" => ENOENT;
    "secrets/a/value/x" => ENOTDIR;
    "secrets/a/versions/current/x" => ENOTDIR;
    "secrets/a/@n256" => ENAMETOOLONG;
    "@deep" => ENAMETOOLONG;
    "secrets/@n128" => ENAMETOOLONG, tmpfs ENOENT: "a secret's name has 127 characters at most";
};
