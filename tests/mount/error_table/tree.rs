//! The trees that the rows are run on: the mount, and a tmpfs with files and directories of the same names, kinds, modes and
//! sizes.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::calls::c_path;

/// The temporary file that rows may write to and cut.
pub const SCRATCH: &str = "secrets/a/t.tmp";

/// One file of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// `d`, `f` or `l`.
    kind: String,
    mode: u32,
    size: u64,
    path: String,
    target: String,
}

/// All that stands in a tree, as a program of its own sees it: what lists a directory may empty it (see `fs::remove`),
/// and the rows' caller shall be none of those.
pub fn shape(root: &Path) -> Vec<File> {
    let mut find = Command::new("find");
    find.args([".", "-mindepth", "1", "-printf", r"%y\t%m\t%s\t%P\t%l\n"]).current_dir(root);
    let listed = find.output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let text = String::from_utf8(listed.stdout).unwrap();
    let mut files: Vec<_> = text.lines().map(file).collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

fn file(line: &str) -> File {
    let fields: Vec<_> = line.split('\t').collect();
    let path = fields[3].to_owned();
    // What the mount tells of itself grows, and the size of a directory is the filesystem's own affair.
    let size = if path.starts_with(".akvfs") || fields[0] == "d" { 0 } else { fields[2].parse().unwrap() };
    let mode = u32::from_str_radix(fields[1], 8).unwrap();
    File { kind: fields[0].to_owned(), mode, size, path, target: fields[4].to_owned() }
}

/// Where the calls of a row go.
pub struct Tree {
    /// Its root.
    pub root: PathBuf,
    /// A directory of another filesystem.
    aside: PathBuf,
    version: String,
}

impl Tree {
    pub fn new(root: PathBuf, aside: PathBuf, version: &str) -> Self {
        Self { root, aside, version: version.to_owned() }
    }

    /// The same names elsewhere.
    pub fn at(&self, root: &Path) -> Self {
        Self { root: root.to_owned(), aside: self.aside.clone(), version: self.version.clone() }
    }

    /// What the rows expect to find.
    pub fn prepare(&self, options: &str) {
        fs::write(self.aside.join("file"), "elsewhere").unwrap();
        if options != "ro" {
            fs::write(self.root.join(SCRATCH), "scratch").unwrap();
        }
    }

    /// A path as the rows write it: `@v` is the version, `@meta` its document, `@n128` a name of 128 letters, `@aside` another filesystem,
    /// `@deep` a path that is too long as a whole. The empty path stays empty.
    pub fn path(&self, text: &str) -> CString {
        if text.is_empty() {
            return CString::default();
        }
        // A slash at the end is part of the question.
        let end = if text.ends_with('/') { "/" } else { "" };
        let names = text.split('/').filter(|name| !name.is_empty()).map(|name| match name.strip_prefix('@') {
            Some("v") => self.version.clone(),
            Some("meta") => format!(".{}.meta.json", self.version),
            Some("aside") => self.aside.to_str().unwrap().to_owned(),
            Some("deep") => "d/".repeat(2048),
            Some(length) => "n".repeat(length.strip_prefix('n').unwrap().parse().unwrap()),
            None => name.to_owned(),
        });
        let path = names.collect::<Vec<_>>().join("/");
        c_path(&self.root.join(path + end))
    }
}

/// A tmpfs that goes with the test; mounted as a vault is.
pub struct Tmpfs {
    dir: tempfile::TempDir,
    is_filled: bool,
}

impl Tmpfs {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        mount(&["-t", "tmpfs", "-o", "nodev,nosuid,noexec", "none"], dir.path());
        Self { dir, is_filled: false }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Makes it the tree of this shape, whatever it was. One that shall be read-only is, and nothing can have changed it.
    pub fn fill(&mut self, shape: &[File], read_only: bool) {
        if read_only && self.is_filled {
            return;
        }
        for entry in fs::read_dir(self.path()).unwrap() {
            let path = entry.unwrap().path();
            let is_dir = path.is_dir() && !path.is_symlink();
            if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.unwrap();
        }
        shape.iter().for_each(|file| make(&self.path().join(&file.path), file));
        self.is_filled = true;
        if read_only {
            mount(&["-o", "remount,ro"], self.path());
        }
    }
}

fn make(path: &Path, file: &File) {
    match file.kind.as_str() {
        "d" => fs::create_dir(path).unwrap(),
        "l" => return symlink(&file.target, path).unwrap(),
        _ => fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .unwrap()
            .set_len(file.size)
            .unwrap(),
    }
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode)).unwrap();
}

fn mount(arguments: &[&str], dir: &Path) {
    let done = Command::new("mount").args(arguments).arg(dir).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // SAFETY: a C string that lives through the call. The directory is removed next, which tells if it failed.
        unsafe { libc::umount2(c_path(self.dir.path()).as_ptr(), libc::MNT_DETACH) };
    }
}
