//! Files that hold a secret: read once, whole, and only when nobody else could have read or written them. Knows
//! permissions and nothing of what is in the file.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Who else may do what with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing, and it is no link.
    Private,
    /// As systemd keeps credentials: the group's bits show what its access list gives to the service's user.
    Sealed,
    /// Read it, and it may be a link: a certificate or an authority as Kubernetes mounts it.
    Readable,
}

impl Rule {
    /// No such file is longer, in bytes: what proves an identity has some ten thousand, all authorities of a system a
    /// quarter of a million.
    fn most(self) -> u64 {
        if self == Self::Readable { 4 * 1024 * 1024 } else { 256 * 1024 }
    }

    /// How the file at `path` must be kept, where systemd keeps credentials in `sealed`.
    pub(crate) fn of(path: &Path, sealed: Option<&Path>) -> Self {
        if sealed.is_some_and(|place| path.parent() == Some(place)) { Self::Sealed } else { Self::Private }
    }
}

/// The directory in which systemd keeps this service's credentials.
pub(crate) fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|place| !place.is_empty()).map(PathBuf::from)
}

/// What is in the file at `path`.
///
/// # Errors
/// Why it is not read, without its path and never with anything of it.
pub(crate) fn read(path: &Path, rule: Rule) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = open(path, rule).map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => "it is a symbolic link, which somebody else may turn elsewhere".to_owned(),
        _ => error.to_string(),
    })?;
    let most = rule.most();
    let size = usize::try_from(check_opened(&file, rule)?.min(most)).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1)); // a buffer that grows leaves copies behind
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most { Err(format!("it is longer than {most} bytes")) } else { Ok(bytes) }
}

/// The length in bytes of a file that is kept by `rule`.
///
/// # Errors
/// Why it is not, without its path.
pub(crate) fn check_opened(file: &File, rule: Rule) -> Result<u64, String> {
    let meta = file.metadata().map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is no regular file".to_owned());
    }
    check(meta.mode() & 0o777, meta.uid(), our_id(), rule)?;
    Ok(meta.len())
}

/// Does not wait, should it be a pipe.
fn open(path: &Path, rule: Rule) -> std::io::Result<File> {
    let no_link = if rule == Rule::Readable { 0 } else { libc::O_NOFOLLOW };
    OpenOptions::new().read(true).custom_flags(no_link | libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)
}

fn check(mode: u32, owner: u32, us: u32, rule: Rule) -> Result<(), String> {
    let forbidden = match rule {
        Rule::Private => 0o077,
        Rule::Sealed => 0o037,
        Rule::Readable => 0o022,
    };
    if owner != us && owner != 0 {
        return Err(format!("it belongs to user {owner}, not to {us} or root; chown it"));
    }
    match (mode & forbidden, rule) {
        (0, _) => Ok(()),
        (_, Rule::Readable) => Err(format!("its mode is {mode:04o}, so that others may change it; chmod go-w it")),
        _ => Err(format!("its mode is {mode:04o}, so that others may get at it; chmod 0600 it")),
    }
}

fn our_id() -> u32 {
    // SAFETY: it takes nothing, touches no memory and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("allowed");
    }

    #[test]
    fn who_else_may_do_what_decides() {
        use Rule::{Private, Readable, Sealed};
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "canary").expect("written");
        for (mode, good) in [
            (0o600, &[Private, Sealed, Readable][..]),
            (0o400, &[Private, Sealed, Readable]),
            (0o700, &[Private, Sealed, Readable]),
            (0o440, &[Sealed, Readable]),
            (0o640, &[Sealed, Readable]),
            (0o644, &[Readable]),
            (0o444, &[Readable]),
            (0o604, &[Readable]),
            (0o610, &[Readable]),
            (0o620, &[]),
            (0o602, &[]),
            (0o666, &[]),
        ] {
            set(file.path(), mode);
            for rule in [Private, Sealed, Readable] {
                let got = read(file.path(), rule);
                assert_eq!(got.is_ok(), good.contains(&rule), "{mode:o} {rule:?}");
                assert!(got.is_ok_and(|text| *text == b"canary") || !good.contains(&rule));
            }
        }
        set(file.path(), 0o644);
        let why = read(file.path(), Private).expect_err("refused");
        assert_eq!(why, "its mode is 0644, so that others may get at it; chmod 0600 it");
    }

    #[test]
    fn the_owner_is_we_or_root() {
        for rule in [Rule::Private, Rule::Sealed, Rule::Readable] {
            for (owner, us, good) in [(0, 0, true), (7, 7, true), (0, 7, true), (7, 0, false), (7, 8, false)] {
                assert_eq!(check(0o600, owner, us, rule).is_ok(), good, "{owner} {us} {rule:?}");
            }
        }
        assert_eq!(
            check(0o600, 7, 8, Rule::Private).expect_err("refused"),
            "it belongs to user 7, not to 8 or root; chown it"
        );
    }

    #[test]
    fn a_link_a_directory_a_pipe_and_a_long_file_are_refused_without_waiting() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        std::fs::write(at("file"), "x").expect("written");
        set(&at("file"), 0o600);
        symlink(at("file"), at("link")).expect("linked");
        assert!(read(&at("link"), Rule::Private).expect_err("refused").contains("symbolic link"));
        assert!(read(&at("link"), Rule::Sealed).is_err());
        assert!(read(&at("link"), Rule::Readable).is_ok(), "as Kubernetes mounts certificates");
        assert_eq!(read(place.path(), Rule::Readable).expect_err("refused"), "it is no regular file");
        let pipe = std::ffi::CString::new(at("pipe").to_str().expect("text")).expect("no NUL");
        // SAFETY: a path that ends with NUL, which the call only reads.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        assert_eq!(read(&at("pipe"), Rule::Private).expect_err("refused"), "it is no regular file");
        std::fs::write(at("file"), " ".repeat(256 * 1024 + 1)).expect("written");
        assert!(read(&at("file"), Rule::Private).expect_err("refused").contains("longer than 262144 bytes"));
        assert!(read(&at("file"), Rule::Readable).is_ok(), "a system's authorities may be as many");
        assert!(read(&at("none"), Rule::Private).is_err());
    }
}
