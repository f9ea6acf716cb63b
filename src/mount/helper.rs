//! The command line of a mount helper, as mount(8) writes it ("EXTERNAL HELPERS"):
//! `mount.akvfs SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE.SUBTYPE]`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The names under which mount(8) looks for the helper of `-t akvfs` and `-t fuse.akvfs`.
const NAMES: [&str; 2] = ["mount.akvfs", "mount.fuse.akvfs"];
/// What `-t` may say.
const TYPES: [&str; 3] = ["akvfs", "fuse.akvfs", "fuse"];

/// What mount(8) asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// What to mount.
    pub source: String,
    /// Where.
    pub dir: PathBuf,
    /// The words of each `-o`.
    pub lists: Vec<String>,
    /// `-s`: options that we do not know are let through.
    pub sloppy: bool,
    /// `-f`: everything but the mount itself.
    pub fake: bool,
    /// `-v`: say what was done.
    pub verbose: bool,
    /// `-N`: the mount namespace to mount in, `/proc/PID/ns/mnt`.
    pub namespace: Option<PathBuf>,
}

/// Why a command line is none of a helper. Each is a whole sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelperError {
    /// SPEC or DIR is missing.
    #[error("{0} is missing; usage: {USAGE}")]
    Missing(&'static str),
    /// Too many words.
    #[error("one word too many, behind DIR; usage: {USAGE}")]
    TooMany,
    /// No such flag.
    #[error("unknown flag -{0}; usage: {USAGE}")]
    Flag(char),
    /// A flag without what it needs.
    #[error("-{0} needs a value; usage: {USAGE}")]
    NeedsValue(char),
    /// `-t` names another type.
    #[error("-t {0} is not for this helper; write -t akvfs or -t fuse.akvfs")]
    Type(String),
    /// SPEC or the options are no text.
    #[error("{0} is not UTF-8")]
    NoText(&'static str),
}

/// The grammar.
pub const USAGE: &str = "mount.akvfs SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]";

/// Whether a program that was called as `program` is to be the helper.
pub fn is_called_so(program: &OsStr) -> bool {
    let name = std::path::Path::new(program).file_name();
    name.is_some_and(|name| NAMES.iter().any(|known| name == *known))
}

impl Call {
    /// Reads the words behind the program's name.
    pub fn parse(words: &[OsString]) -> Result<Self, HelperError> {
        let mut call = Self::default();
        let mut places = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_bytes().strip_prefix(b"-") {
                Some(flags) if !flags.is_empty() => call.take_flags(flags, &mut words)?,
                _ => places.push(word),
            }
        }
        let mut places = places.into_iter();
        let source = places.next().ok_or(HelperError::Missing("SPEC"))?;
        call.source = text(source, "SPEC")?;
        call.dir = places.next().ok_or(HelperError::Missing("DIR"))?.into();
        if places.next().is_some() { Err(HelperError::TooMany) } else { Ok(call) }
    }

    /// Flags in one word, such as `-sv` or `-oro`: the first that needs a value takes the rest, or the next word.
    fn take_flags<'a>(
        &mut self,
        flags: &[u8],
        words: &mut impl Iterator<Item = &'a OsString>,
    ) -> Result<(), HelperError> {
        for (at, flag) in flags.iter().enumerate() {
            let flag = char::from(*flag);
            match flag {
                's' => self.sloppy = true,
                'f' => self.fake = true,
                // There is no /etc/mtab that could be left alone.
                'n' => {}
                'v' => self.verbose = true,
                'o' | 't' | 'N' => {
                    let rest = OsStr::from_bytes(&flags[at + 1..]);
                    let value = if rest.is_empty() { words.next().map(OsString::as_os_str) } else { Some(rest) };
                    return self.take_value(flag, value.ok_or(HelperError::NeedsValue(flag))?);
                }
                _ => return Err(HelperError::Flag(flag)),
            }
        }
        Ok(())
    }

    fn take_value(&mut self, flag: char, value: &OsStr) -> Result<(), HelperError> {
        match flag {
            'o' => self.lists.push(text(value, "what follows -o")?),
            'N' => self.namespace = Some(value.into()),
            _ if TYPES.iter().any(|known| value == *known) => {}
            _ => return Err(HelperError::Type(value.display().to_string())),
        }
        Ok(())
    }
}

fn text(word: &OsStr, what: &'static str) -> Result<String, HelperError> {
    word.to_str().map(str::to_owned).ok_or(HelperError::NoText(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Call, HelperError> {
        Call::parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_program_is_known_by_its_name() {
        for name in ["mount.akvfs", "/sbin/mount.akvfs", "/usr/sbin/mount.fuse.akvfs"] {
            assert!(is_called_so(OsStr::new(name)), "{name}");
        }
        for name in ["akvfs", "/usr/bin/akvfs", "mount.akvfs.old", "/sbin/mount.akvfs/..", ""] {
            assert!(!is_called_so(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn what_mount_writes_is_read() {
        let call = parse("contoso /mnt -sfnv -N /proc/1/ns/mnt -o ro,ttl=5s -t fuse.akvfs -o rw").unwrap();
        let expected = Call {
            source: "contoso".to_owned(),
            dir: "/mnt".into(),
            lists: vec!["ro,ttl=5s".to_owned(), "rw".to_owned()],
            sloppy: true,
            fake: true,
            verbose: true,
            namespace: Some("/proc/1/ns/mnt".into()),
        };
        assert_eq!(call, expected);
        assert_eq!(parse("-voro contoso /mnt -t akvfs").unwrap().lists, ["ro"]);
        assert_eq!(parse("local: /mnt"), Ok(Call { source: "local:".into(), dir: "/mnt".into(), ..Call::default() }));
    }

    #[test]
    fn what_it_does_not_write_is_refused() {
        for (line, expected) in [
            ("", HelperError::Missing("SPEC")),
            ("contoso -v", HelperError::Missing("DIR")),
            ("contoso /mnt /more", HelperError::TooMany),
            ("contoso /mnt -x", HelperError::Flag('x')),
            ("contoso /mnt -vo", HelperError::NeedsValue('o')),
            ("contoso /mnt -t ext4", HelperError::Type("ext4".to_owned())),
        ] {
            assert_eq!(parse(line), Err(expected), "{line}");
        }
        let odd = OsStr::from_bytes(b"\xff").to_owned();
        assert_eq!(Call::parse(&[odd, "/mnt".into()]), Err(HelperError::NoText("SPEC")));
    }
}
