//! `scripts/try`, for root and for an ordinary user, with all that it says to type next.
//!
//! The build is left out: a `cargo` that does nothing stands first in the path, and the program is the one under test.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::harness::{Ran, can_mount, has, run};

const LIMIT: Duration = Duration::from_secs(30);

/// A copy of what the script needs, readable by everybody.
fn checkout() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let at = |path: &str| place.path().join(path);
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for dir in ["scripts", "bin", "target/debug"] {
        std::fs::create_dir_all(at(dir)).unwrap();
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/try");
    std::fs::copy(source, at("scripts/try")).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_akvfs"), at("target/debug/akvfs")).unwrap();
    std::fs::write(at("bin/cargo"), "#!/bin/sh\nexit 0\n").unwrap();
    std::fs::set_permissions(at("bin/cargo"), PermissionsExt::from_mode(0o755)).unwrap();
    place
}

/// Tries, types what is told, tries again, stops twice. `$1` is the checkout, `$2` the place of the mount.
const SESSION: &str = r#"
set -euo pipefail
cd "$1"
export PATH=$1/bin:$PATH CARGO_TARGET_DIR=$1/target
trap 'scripts/try --stop "$2" > /dev/null 2>&1 || true' EXIT
said=$(scripts/try "$2")
commands=$(grep '^  ' <<< "$said")
[ "$(wc -l <<< "$commands")" = 7 ]
bash -euo pipefail -c "$commands"
[ "$(cat "$2/secrets/db-password/value")" = tr0ub4dor ]
[ "$(ls -I current "$2/secrets/db-password/versions" | wc -l)" = 2 ]
[ "$(ls -I current "$2/secrets/api-key/versions" | wc -l)" = 2 ]
again=$(scripts/try "$2")
grep -q 'is mounted already' <<< "$again"
[ "$(cat "$2/secrets/db-password/value")" = tr0ub4dor ]
stop=$(grep -o 'scripts/try --stop.*' <<< "$again")
bash -c "$stop"
[ -z "$(ls "$2")" ]
$stop
"#;

fn session(shell: &[&str], checkout: &Path, place: &Path) -> Ran {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).args(["bash", "-c", SESSION, "session"]).args([checkout, place]);
    run(command, LIMIT)
}

#[test]
fn trying_it_works_twice_and_stops_twice() {
    if !can_mount() {
        return;
    }
    let (checkout, place) = (checkout(), tempfile::tempdir().unwrap());
    let said = session(&["env"], checkout.path(), place.path()).ok();
    assert!(said.ends_with(&format!("try: nothing is mounted at {}\n", place.path().display())), "{said}");
}

#[test]
fn trying_it_is_told_what_is_missing_in_one_line() {
    let checkout = checkout();
    let try_with = |path: &str, words: &[&str]| {
        let mut command = Command::new("/bin/bash");
        command.arg(checkout.path().join("scripts/try")).args(words).env("PATH", path);
        run(command, LIMIT)
    };
    std::fs::create_dir(checkout.path().join("few")).unwrap();
    for program in ["dirname", "basename", "realpath", "grep", "id"] {
        let link = checkout.path().join("few").join(program);
        std::os::unix::fs::symlink(format!("/usr/bin/{program}"), link).unwrap();
    }
    let few = checkout.path().join("few").display().to_string();
    let place = checkout.path().join("place").display().to_string();
    for (ran, part) in [
        (try_with(&few, &[&place]), "try: cargo is missing; install Rust"),
        (
            try_with(&format!("{few}:{}", checkout.path().join("bin").display()), &[&place]),
            "try: a C compiler is missing",
        ),
        (try_with("/usr/bin:/bin", &["--bogus"]), "usage: scripts/try"),
    ] {
        assert!(ran.code == 1 && ran.err.starts_with(part) && ran.err.lines().count() == 1, "{ran:?}");
    }
}

/// Makes a device that anybody may open, in a mount namespace of its own, and becomes nobody.
const AS_NOBODY: &str = r#"
set -euo pipefail
mount -t tmpfs none "$1/dev"
mknod "$1/dev/fuse" c 10 229
chmod 666 "$1/dev/fuse"
mount --bind "$1/dev/fuse" /dev/fuse
shift
exec setpriv --reuid 65534 --regid 65534 --clear-groups -- "$@"
"#;

#[test]
fn an_ordinary_user_can_try_it() {
    // SAFETY: no arguments, cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root || !can_mount() || !["unshare", "setpriv", "fusermount3"].into_iter().all(has) {
        skipped!("it needs root to become another user, unshare, setpriv and fusermount3");
        return;
    }
    let (checkout, place) = (checkout(), tempfile::tempdir().unwrap());
    std::fs::create_dir(checkout.path().join("dev")).unwrap();
    std::os::unix::fs::chown(place.path(), Some(65534), Some(65534)).unwrap();
    let nobody = ["unshare", "--mount", "bash", "-c", AS_NOBODY, "nobody", checkout.path().to_str().unwrap()];
    session(&nobody, checkout.path(), place.path()).ok();
    assert!(!std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(place.path().to_str().unwrap()));
}
