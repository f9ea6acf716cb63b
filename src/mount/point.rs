//! DIR before a mount: there, a directory, free; a mount that died there is cleaned up. And the device that every
//! mount needs.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use super::options::MountOptions;
use super::process;
use super::{mountinfo, unmount};

/// The kernel's end of every FUSE mount.
const DEVICE: &str = "/dev/fuse";

/// Who may let others in although he is not root: fusermount3's own configuration.
const FUSE_CONF: &str = "/etc/fuse.conf";
/// A mount point that is none: the kernel's end of a mount that somebody else has made (mount.fuse3(8), "drop_privileges").
const DESCRIPTOR: &str = "/dev/fd/";

/// Where a mount goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A directory, absolute, ready to be mounted on.
    Directory(PathBuf),
    /// Mounted already by who started us; this descriptor is the device.
    Descriptor(RawFd),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => dir.display().fmt(out),
            Self::Descriptor(number) => write!(out, "{DESCRIPTOR}{number}"),
        }
    }
}

/// Makes `dir` ready to be mounted on, which includes the device that every mount needs. The error is a reason and a
/// remedy.
pub fn prepare(dir: &Path) -> Result<Place, String> {
    if let Some(number) = dir.to_str().and_then(|text| text.strip_prefix(DESCRIPTOR)) {
        return number.parse().map_err(|_| not_a_mount(dir)).and_then(|number| check_descriptor(dir, number));
    }
    check_device()?;
    prepare_directory(dir).map(Place::Directory)
}

/// Whether users other than the one who mounts can be let in. The error is a reason and a remedy.
pub fn check_others(options: &MountOptions, place: &Place) -> Result<(), String> {
    match place {
        _ if !options.allow_other => Ok(()),
        // Without it the kernel would let everybody read everything.
        Place::Descriptor(_) if !options.default_permissions => {
            Err("allow_other needs default_permissions where somebody else mounts: -o allow_other,default_permissions"
                .to_owned())
        }
        Place::Directory(_) if !process::is_root() && !others_allowed() => {
            Err(format!("allow_other is for root only; to allow it to all, write user_allow_other into {FUSE_CONF}"))
        }
        _ => Ok(()),
    }
}

/// Whether a user other than root may let others in.
pub fn others_allowed() -> bool {
    allows_others(&read_or_nothing(FUSE_CONF))
}

/// A file that is missing or may not be read says nothing.
fn read_or_nothing(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn allows_others(fuse_conf: &str) -> bool {
    fuse_conf.lines().any(|line| line.trim() == "user_allow_other")
}

fn check_descriptor(dir: &Path, number: RawFd) -> Result<Place, String> {
    match process::is_fuse_device(number) {
        Ok(true) => Ok(Place::Descriptor(number)),
        Ok(false) | Err(_) => Err(not_a_mount(dir)),
    }
}

fn not_a_mount(dir: &Path) -> String {
    format!("{} is not an open {DEVICE}; whoever mounts must leave it open for us", dir.display())
}

fn prepare_directory(dir: &Path) -> Result<PathBuf, String> {
    let place = mountinfo::resolve(dir).map_err(|error| why_no_place(dir, &error))?;
    match std::fs::metadata(&place) {
        Err(error) if unmount::is_dead(&error) => heal(&place)?,
        _ => refuse_second(&place)?,
    }
    match std::fs::metadata(&place) {
        Ok(found) if found.is_dir() => Ok(place),
        Ok(_) => Err(format!("{} is not a directory; give one", dir.display())),
        Err(error) => Err(why_no_place(dir, &error)),
    }
}

/// Whether the device can be opened. The error is a reason and a remedy.
pub fn check_device() -> Result<(), String> {
    let Err(error) = OpenOptions::new().read(true).write(true).open(DEVICE) else { return Ok(()) };
    Err(match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{DEVICE} is missing; load it (modprobe fuse), or start the container with --device {DEVICE}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("{DEVICE} may not be opened; allow it (chmod 666 {DEVICE} as root), or mount as root")
        }
        _ => format!("{DEVICE} cannot be opened ({error}); a container needs --device {DEVICE} --cap-add SYS_ADMIN"),
    })
}

fn heal(place: &Path) -> Result<(), String> {
    let top = mountinfo::top_at(place).map_err(|error| format!("the mount table cannot be read: {error}"))?;
    match top {
        Some(mount) if !mount.is_akvfs() => {
            Err(format!("a dead mount of {} is there; remove it: umount -l {}", mount.kind, place.display()))
        }
        _ => match unmount::detach_dead(place) {
            Ok(false) => Ok(()),
            // Somebody else has cleared away, and mounted.
            Ok(true) => refuse_second(place),
            Err(error) => Err(format!("a dead mount is there: {error}")),
        },
    }
}

fn refuse_second(place: &Path) -> Result<(), String> {
    let top = mountinfo::top_at(place).map_err(|error| format!("the mount table cannot be read: {error}"))?;
    match top {
        Some(mount) if mount.is_akvfs() => Err(format!(
            "{} is mounted there already; unmount it first: akvfs unmount {}",
            mount.source.display(),
            place.display()
        )),
        _ => Ok(()),
    }
}

fn why_no_place(dir: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("the directory does not exist; make it: mkdir -p {}", dir.display()),
        _ => format!("the directory cannot be reached: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_directory_will_do() {
        let temporary = tempfile::tempdir().unwrap();
        assert_eq!(prepare_directory(temporary.path()), Ok(temporary.path().canonicalize().unwrap()));
    }

    #[test]
    fn what_is_no_directory_is_refused_with_a_remedy() {
        let temporary = tempfile::tempdir().unwrap();
        let missing = temporary.path().join("no");
        assert!(prepare_directory(&missing).unwrap_err().ends_with(&format!("mkdir -p {}", missing.display())));
        let file = temporary.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(prepare_directory(&file).unwrap_err().contains("is not a directory"));
        assert!(prepare_directory(&file.join("below")).unwrap_err().contains("Not a directory"));
    }

    #[test]
    fn a_descriptor_must_be_the_device() {
        let file = tempfile::tempfile().unwrap();
        let open = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        for path in [open.as_str(), "/dev/fd/99999", "/dev/fd/", "/dev/fd/x", "/dev/fd/-1"] {
            let said = prepare(Path::new(path)).unwrap_err();
            assert!(said.starts_with(&format!("{path} is not an open /dev/fuse")), "{said}");
        }
    }

    #[test]
    fn others_are_let_in_only_where_permissions_hold() {
        let options = |allow_other, default_permissions| MountOptions {
            allow_other,
            default_permissions,
            ..MountOptions::default()
        };
        assert!(check_others(&options(false, false), &Place::Descriptor(3)).is_ok());
        assert!(check_others(&options(true, true), &Place::Descriptor(3)).is_ok());
        let said = check_others(&options(true, false), &Place::Descriptor(3)).unwrap_err();
        assert!(said.ends_with("-o allow_other,default_permissions"), "{said}");
        assert!(allows_others("# user_allow_other\n user_allow_other \n") && !allows_others("#user_allow_other\n"));
    }
}
