//! DIR before a mount: there, a directory, free; a mount that died there is cleaned up. And the device that every
//! mount needs.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use super::mountinfo;
use super::unmount;

/// The kernel's end of every FUSE mount.
const DEVICE: &str = "/dev/fuse";

/// Makes `dir` ready to be mounted on and gives its absolute path. The error is a reason and a remedy.
pub fn prepare(dir: &Path) -> Result<PathBuf, String> {
    let place = mountinfo::resolve(dir).map_err(|error| why_no_place(dir, &error))?;
    match std::fs::metadata(&place) {
        Err(error) if is_dead(&error) => heal(&place)?,
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

/// "Transport endpoint is not connected": the daemon of that mount is gone.
fn is_dead(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOTCONN)
}

fn heal(place: &Path) -> Result<(), String> {
    let top = mountinfo::top_at(place).map_err(|error| format!("the mount table cannot be read: {error}"))?;
    match top {
        Some(mount) if !mount.is_akvfs() => {
            Err(format!("a dead mount of {} is there; remove it: umount -l {}", mount.kind, place.display()))
        }
        _ => unmount::detach(place).map_err(|error| format!("a dead mount is there: {error}")),
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
        assert_eq!(prepare(temporary.path()), Ok(temporary.path().canonicalize().unwrap()));
    }

    #[test]
    fn what_is_no_directory_is_refused_with_a_remedy() {
        let temporary = tempfile::tempdir().unwrap();
        let missing = temporary.path().join("no");
        assert!(prepare(&missing).unwrap_err().ends_with(&format!("mkdir -p {}", missing.display())));
        let file = temporary.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(prepare(&file).unwrap_err().contains("is not a directory"));
        assert!(prepare(&file.join("below")).unwrap_err().contains("Not a directory"));
    }
}
