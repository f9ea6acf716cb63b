//! Walks the whole tree, and lets no name pass that does not belong where it stands.

use std::fs;
use std::io;
use std::path::Path;

use akvfs::secret::{SecretName, Version};

/// Of how many names of a directory more is looked at than the name.
const ENOUGH: usize = 20;
/// What stands in the root, and in a certificate.
const ROOT: [&str; 5] = [".akvfs", "backup", "deleted", "files", "secrets"];
const CERTIFICATE: [&str; 5] = ["cert.pem", "chain.pem", "fullchain.pem", "privkey.pem", "bundle.pfx"];

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = fs::read_dir(dir)?
        .map(|entry| Ok(entry?.file_name().into_string().expect("UTF-8")))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Goes everywhere. What cannot be read, because the vault lies, is passed over.
pub fn walk(root: &Path) {
    let top = names(root).unwrap();
    assert_eq!(top, ROOT);
    each(&root.join("secrets"), is_secret, |dir| {
        each(dir, |name| ["value", ".meta.json", "versions", "certificate"].contains(&name), touch);
        each(&dir.join("versions"), is_version, touch);
        each(&dir.join("certificate"), |name| CERTIFICATE.contains(&name), touch);
        if let Ok(to) = fs::read_link(dir.join("versions/current")) {
            assert!(Version::parse(&to.to_string_lossy()).is_some(), "current points to {to:?}");
        }
    });
    each(&root.join("deleted"), is_secret, |dir| each(dir, |name| name == ".meta.json", touch));
    each(&root.join("files"), is_file, touch);
    each(&root.join("backup"), is_secret, |_| {});
}

fn each(dir: &Path, may_be: impl Fn(&str) -> bool, look: impl Fn(&Path)) {
    let Ok(names) = names(dir) else { return };
    for name in &names {
        assert!(may_be(name), "{name:?} stands in {}", dir.display());
    }
    let is_new = |at: &usize| *at == 0 || !names[at - 1].eq_ignore_ascii_case(&names[*at]);
    assert!((0..names.len()).all(|at| is_new(&at)), "a name stands twice in {}", dir.display());
    names.iter().take(ENOUGH).for_each(|name| look(&dir.join(name)));
}

fn is_secret(name: &str) -> bool {
    SecretName::parse(name).is_ok()
}

/// The name of a secret, or what the tag `akvfs-file` may make of it: one file's.
fn is_file(name: &str) -> bool {
    name.len() <= 255 && !name.contains('/') && !name.chars().any(char::is_control)
}

fn is_version(name: &str) -> bool {
    let meta = name.strip_prefix('.').and_then(|name| name.strip_suffix(".meta.json"));
    name == "current" || Version::parse(meta.unwrap_or(name)).is_some()
}

/// Looks at a file as programs do, and reads it.
fn touch(path: &Path) {
    let Ok(about) = fs::symlink_metadata(path) else { return };
    assert!(about.len() <= 256 * 1024, "{} has {} bytes", path.display(), about.len());
    if about.is_file() {
        let _ = fs::read(path);
    }
}
