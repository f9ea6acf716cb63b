//! A machine to do anything with.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What every script begins with. `/usr`, `/etc` and `/var` are this machine's, and what is changed in them is kept in
/// memory; `akvfs` is the program under test.
const PRELUDE: &str = r#"
set -eu
mount --make-rprivate /
mount -t tmpfs none "$1"
for tree in usr etc var; do
  mkdir "$1/$tree" "$1/$tree.work"
  mount -t overlay -o "lowerdir=/$tree,upperdir=$1/$tree,workdir=$1/$tree.work" overlay "/$tree" 2>/dev/null || exit 77
done
[ -w /dev/fuse ] || exit 77
mkdir "$1/mnt"
cd "$1"
chmod 755 .
install_akvfs() { # the program under test, as an installation puts it there
  touch /usr/bin/akvfs
  mount --bind "$AKVFS" /usr/bin/akvfs
  ln -s ../bin/akvfs /usr/sbin/mount.akvfs
}
"#;

/// What scripts use.
pub const FUNCTIONS: &str = r#"
fails() { # CODE COMMAND…: it must end so; its error goes to standard output
  code=$1
  shift
  said=0
  "$@" 2>&1 || said=$?
  [ "$said" = "$code" ] || { echo "ended with $said and not $code: $*" >&2; exit 1; }
}
as_user() { # NUMBER COMMAND…
  number=$1
  shift
  setpriv --reuid="$number" --regid="$number" --clear-groups "$@"
}
daemons() { # and the process beside each, which is younger; pidof would pass over one that waits for a disk
  grep -lsEx '(mount.)?akvfs' /proc/[0-9]*/comm | cut -d/ -f3 | sort -n
}
daemon() { daemons | head -n 1; }
gone() { [ -z "$(daemons)" ]; }
eventually() { # COMMAND…: until it holds, at most ten seconds
  for _ in $(seq 200); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.05
  done
  echo "waited for: $*" >&2
  exit 1
}
"#;

/// Runs `script` on a machine of its own; gives what it wrote. `None`, and a loud word, where that cannot be.
pub fn run(script: &str) -> Option<String> {
    run_with(script, &[])
}

/// The same, with variables.
pub fn run_with(script: &str, variables: &[(&str, &Path)]) -> Option<String> {
    let place = tempfile::tempdir().unwrap();
    let output = Command::new("timeout")
        .args(["120", "unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c"])
        .arg(format!("{PRELUDE}\n{FUNCTIONS}\n{script}"))
        .arg("script")
        .arg(place.path())
        .env("AKVFS", env!("CARGO_BIN_EXE_akvfs"))
        .env("HERE", env!("CARGO_MANIFEST_DIR"))
        .env_remove("AKVFS_LOG")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else {
        skipped!("unshare or timeout is missing (apt-get install util-linux coreutils)");
        return None;
    };
    judge(&output)
}

fn judge(output: &Output) -> Option<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || said.contains("unshare failed") {
        skipped!("no machine can be made here; it needs root, overlayfs and /dev/fuse. {said}");
        return None;
    }
    let wrote = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\nstdout: {wrote}\nstderr: {said}", output.status);
    Some(wrote)
}
