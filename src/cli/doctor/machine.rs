//! What this machine must have before anything can be mounted.

use std::path::PathBuf;

use super::report::{Line, Report};
use crate::mount::options::MountOptions;
use crate::mount::{point, process};

/// A user's way to mount.
const HELPER: &str = "fusermount3";

/// The device, the helper, and who may let others in.
pub(super) fn check(report: &mut Report, options: &MountOptions) {
    report.add(device());
    report.add(helper(process::is_root(), found_in_path(HELPER)));
    report.add(others(process::is_root(), point::others_allowed(), options.allow_other));
}

fn device() -> Line {
    match point::check_device() {
        Ok(()) => Line::ok("device", "/dev/fuse can be opened"),
        Err(why) => {
            let (said, remedy) = why.split_once("; ").unwrap_or((&why, "see fuse(4)"));
            Line::failed("device", said, remedy)
        }
    }
}

fn helper(root: bool, found: Option<PathBuf>) -> Line {
    match (root, found) {
        (_, Some(path)) => Line::ok("fusermount3", path.display().to_string()),
        (true, None) => Line::ok("fusermount3", "is missing, and not needed: root mounts without it"),
        (false, None) => {
            Line::failed("fusermount3", "is missing", "install it: apt-get install fuse3, or mount as root")
        }
    }
}

fn others(root: bool, allowed: bool, wanted: bool) -> Line {
    const CHECK: &str = "allow_other";
    match (root, allowed, wanted) {
        (true, _, _) => Line::ok(CHECK, "root may let other users in"),
        (_, true, _) => Line::ok(CHECK, "/etc/fuse.conf has user_allow_other: other users can be let in"),
        (_, false, false) => Line::ok(CHECK, "/etc/fuse.conf lacks user_allow_other: only you will get in"),
        (_, false, true) => {
            Line::failed(CHECK, "only root may let other users in", "write user_allow_other into /etc/fuse.conf")
        }
    }
}

fn found_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    #[test]
    fn the_helper_is_needed_by_users_only() {
        assert_eq!(helper(true, None).state, State::Ok);
        assert_eq!(helper(false, Some("/bin/fusermount3".into())).state, State::Ok);
        let line = helper(false, None);
        assert_eq!((line.state, line.remedy.unwrap().contains("fuse3")), (State::Failed, true));
    }

    #[test]
    fn others_are_a_failure_only_where_they_are_wanted() {
        assert_eq!(others(true, false, true).state, State::Ok);
        assert_eq!(others(false, true, true).state, State::Ok);
        assert_eq!(others(false, false, false).state, State::Ok);
        assert_eq!(others(false, false, true).state, State::Failed);
    }
}
