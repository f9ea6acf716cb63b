//! What is mounted, as the kernel tells in `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::FILESYSTEM;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The mount's number, unique while it exists.
    pub id: u32,
    /// The file system's number, `0:44`, unique while it is mounted anywhere. Of FUSE each mount is one of its own.
    pub device: String,
    /// Where it is.
    pub dir: PathBuf,
    /// Its type, with the subtype: `fuse.akvfs`.
    pub kind: String,
    /// What is mounted.
    pub source: OsString,
    /// Whether nothing can be written there.
    pub read_only: bool,
}

impl Mount {
    /// Whether it is one of ours.
    pub fn is_akvfs(&self) -> bool {
        self.kind == FILESYSTEM
    }
}

/// All mounts that this process sees, in the order of the table: a later one at the same place hides an earlier.
pub fn read() -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// The mount that is visible at `dir`, an absolute path without symbolic links.
pub fn top_at(dir: &Path) -> io::Result<Option<Mount>> {
    Ok(read()?.into_iter().rfind(|mount| mount.dir == dir))
}

fn parse(table: &[u8]) -> Vec<Mount> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw`: the number of fields before the dash varies.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = String::from_utf8_lossy(fields.nth(1)?).into_owned();
    let dir = PathBuf::from(unescape(fields.nth(1)?));
    let read_only = fields.next()?.split(|byte| *byte == b',').any(|option| option == b"ro");
    let mut behind = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = String::from_utf8_lossy(behind.next()?).into_owned();
    let source = unescape(behind.next()?);
    Some(Mount { id, device, dir, kind, source, read_only })
}

/// Space, tab, newline and backslash stand as a backslash and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, behind)) = rest.split_first() {
        match octal(rest) {
            Some(byte) => {
                plain.push(byte);
                rest = &rest[4..];
            }
            None => {
                plain.push(first);
                rest = behind;
            }
        }
    }
    OsString::from_vec(plain)
}

fn octal(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"\\")?.get(..3)?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// The path of `dir` as the table has it: absolute and without symbolic links. Does not ask the file system that is
/// mounted at `dir`, which may be dead.
pub fn resolve(dir: &Path) -> io::Result<PathBuf> {
    match dir.canonicalize() {
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => resolve_by_parent(dir),
        other => other,
    }
}

fn resolve_by_parent(dir: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(dir)?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        _ => Ok(absolute),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    const TABLE: &[u8] = b"21 1 254:0 / / rw,relatime - ext4 /dev/root rw
22 21 0:20 / /proc rw,nosuid shared:5 master:2 - proc proc rw
90 21 0:44 / /mnt/a\\040b\\134c ro,nosuid,nodev,noexec - fuse.akvfs https://contoso.vault.azure.net rw,user_id=0
91 21 0:45 / /mnt/twice rw - tmpfs tmpfs rw
92 91 0:46 / /mnt/twice rw - fuse.akvfs local: rw
broken line
";

    #[test]
    fn fields_are_found_before_and_behind_the_dash() {
        let mounts = parse(TABLE);
        assert_eq!(mounts.len(), 5);
        let (device, dir, kind, source) = ("0:20".to_owned(), "/proc".into(), "proc".to_owned(), "proc".into());
        assert_eq!(mounts[1], Mount { id: 22, device, dir, kind, source, read_only: false });
        assert_eq!(mounts[2].dir, Path::new("/mnt/a b\\c"));
        assert_eq!(mounts[2].source, "https://contoso.vault.azure.net");
        assert!(mounts[2].is_akvfs() && !mounts[1].is_akvfs());
        assert!(mounts[2].read_only && !mounts[4].read_only);
    }

    #[test]
    fn names_need_not_be_text() {
        let line = [b"1 0 0:1 / /mnt/".as_slice(), &[0xff, 0xfe], b" rw - tmpfs none rw"].concat();
        assert_eq!(parse(&line)[0].dir.as_os_str().as_bytes(), [b"/mnt/".as_slice(), &[0xff, 0xfe]].concat());
        assert_eq!(unescape(b"a\\04"), "a\\04");
        assert_eq!(unescape(b"a\\999b"), "a\\999b");
    }

    #[test]
    fn the_real_table_has_a_root() {
        assert!(top_at(Path::new("/")).unwrap().is_some());
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(top_at(nothing.path()).unwrap(), None);
    }

    #[test]
    fn a_path_is_resolved_through_links() {
        let temporary = tempfile::tempdir().unwrap();
        let real = temporary.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("there")).unwrap();
        std::os::unix::fs::symlink("there", real.join("link")).unwrap();
        assert_eq!(resolve(&real.join("link")).unwrap(), real.join("there"));
        assert_eq!(resolve_by_parent(&real.join("there")).unwrap(), real.join("there"));
        assert_eq!(resolve(&real.join("no")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
