//! What can happen to a mount, and a source of chance. Knows neither the filesystem nor the reference.

use std::fmt;

/// The secrets there can be.
pub const NAMES: [&str; 3] = ["a", "Web-Tls", "c"];
/// The mount's own alias, and the secret's place in [`NAMES`] that it means.
pub const ALIAS: (&str, usize) = ("tls.crt", 1);
/// A name in `files/` that only a tag can give.
pub const TAGGED: &str = "db.env";
/// The temporary files there can be in a secret's directory; the last may hold nothing unless it was made as mkstemp(3)
/// does.
pub const SCRATCH: [&str; 3] = [".new", "value~", "4913"];
pub const VALUE: &str = "value";
pub const META: &str = ".meta.json";

/// A directory with files that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dir {
    /// Of the secret at this place in [`NAMES`].
    Secret(usize),
    Files,
    Backups,
}

/// A file's path.
pub type At = (Dir, &'static str);

/// A directory that can be listed.
#[derive(Clone, Copy, Debug)]
#[rustfmt::skip]
pub enum Listed { Root, Secrets, Deleted, In(Dir), Versions(usize), Grave(usize) }

/// The flags of open(2): none; `O_WRONLY | O_CREAT`; the same and `O_EXCL`; `O_RDWR | O_CREAT | O_EXCL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[rustfmt::skip]
pub enum How { Read, Write { truncate: bool, append: bool }, Create, Mkstemp }

/// How a document is edited: written with what changes alone, read and written whole, or renamed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[rustfmt::skip]
pub enum Edit { Partly, Whole, Renamed }

/// Bytes to write, printed as they are written in Rust.
#[derive(Clone, Copy)]
pub struct Bytes(pub &'static [u8]);

impl fmt::Debug for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Bytes(&{:?})", self.0)
    }
}

/// A step. `p` is a process, `n` a secret's place in [`NAMES`], `fd` any number: that one of the open descriptors; `back`
/// and `blob` likewise: that one of the versions, the current first, and that one of the backups.
#[derive(Clone, Copy, Debug)]
#[rustfmt::skip]
pub enum Op {
    List { p: u32, what: Listed },
    Mkdir { p: u32, n: usize },
    MkdirOtherCase { p: u32, n: usize },
    Rmdir { p: u32, n: usize },
    Unlink { p: u32, at: At },
    UnlinkVersion { p: u32, n: usize },
    UnlinkGrave { p: u32, n: usize },
    Open { p: u32, at: At, how: How },
    Read { fd: usize },
    Write { fd: usize, at: u64, data: Bytes },
    Truncate { fd: usize, size: u64 },
    TruncatePath { p: u32, at: At, size: u64 },
    Fsync { fd: usize },
    Fork { fd: usize },
    Close { fd: usize },
    Kill { p: u32 },
    Rename { p: u32, from: At, to: At },
    ToDeleted { p: u32, n: usize },
    Recover { p: u32, n: usize },
    Purge { p: u32, n: usize },
    Meta { p: u32, n: usize, how: Edit, patch: &'static str },
    VersionMeta { p: u32, n: usize, back: usize, patch: &'static str },
    GraveMeta { p: u32, n: usize },
    SetXattr { p: u32, at: At, name: &'static str, text: &'static str },
    RemoveTag { p: u32, at: At },
    Backup { p: u32, n: usize },
    Restore { p: u32, blob: usize, name: &'static str, renamed: bool },
    Refresh { p: u32 },
    Others { n: usize, what: Others },
    Advance { ms: u64 },
    Remount,
    /// The vault refuses the first change of each kind in the next step.
    VaultRefuses { kind: Refusal },
}

/// What another client does to the vault itself.
#[derive(Clone, Copy, Debug)]
#[rustfmt::skip]
pub enum Others {
    Set(&'static str), SetBase64, SetCertificate, Delete, Recover, Purge, Enable(bool), Tag(&'static str, &'static str),
}

/// Why the vault refuses, and what comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[rustfmt::skip]
pub enum Refusal { Throttled, Managed, Broken }

/// Chance from a seed (xorshift64*): the same sequence wherever it runs. What is told beforehand comes first.
pub struct Dice(u64, Vec<u8>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, Vec::new())
    }

    /// Rolls what these bytes say, the last first, and then what chance says.
    #[cfg(fuzzing)]
    pub fn told(bytes: &[u8]) -> Self {
        Self(1, bytes.to_vec())
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        if let Some(told) = self.1.pop() {
            return u64::from(told) % sides;
        }
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.roll(choices.len() as u64) as usize]
    }

    fn coin(&mut self) -> bool {
        self.roll(2) == 0
    }
}

const PATCHES: [&str; 13] = [
    r#"{"enabled": false}"#,
    r#"{"enabled": true}"#,
    r#"{"content_type": "text/x"}"#,
    r#"{"tags": {"k": "v"}}"#,
    r#"{"tags": {}, "expires_on": "2030-01-01T00:00:00Z"}"#,
    r#"{"tags": {"file-encoding": "hex"}}"#,
    r#"{"tags": {"akvfs-file": "db.env"}}"#,
    r#"{"tags": {"akvfs-file": "tls.crt"}}"#,
    r#"{"tags": {"akvfs-file": "c", "file-encoding": "utf-16le"}}"#,
    r#"{"content_type": "application/x-pkcs12"}"#,
    r#"{"version": "0"}"#,
    r#"{"content_type": null}"#,
    "no document",
];

const DATA: [&[u8]; 8] = [
    b"x",
    b"hello\n",
    b"",
    b"second value",
    "gr\u{fc}\u{df}e".as_bytes(),
    b"\xff\xfe",
    br#"{"content_type": "text/x"}"#,
    b"6869",
];

/// The file of a secret, or one beside it.
fn at(dice: &mut Dice, n: usize) -> At {
    match dice.roll(24) {
        0..=10 => (Dir::Secret(n), VALUE),
        11..=13 => (Dir::Secret(n), dice.of(&SCRATCH)),
        14..=18 => (Dir::Files, NAMES[n]),
        19 => (Dir::Files, ALIAS.0),
        20 => (Dir::Files, TAGGED),
        21 | 22 => (Dir::Files, dice.of(&[".new", "c~"])),
        _ => (Dir::Backups, dice.of(&[".new", "put", NAMES[n]])),
    }
}

/// A temporary file.
fn scratch(dice: &mut Dice, n: usize) -> At {
    match dice.roll(8) {
        0..=4 => (Dir::Secret(n), dice.of(&SCRATCH)),
        5 | 6 => (Dir::Files, dice.of(&[".new", "c~", NAMES[n]])),
        _ => (Dir::Backups, ".new"),
    }
}

fn how(dice: &mut Dice) -> How {
    match dice.roll(12) {
        0 | 1 => How::Read,
        2 => How::Create,
        3 => How::Mkstemp,
        _ => How::Write { truncate: dice.coin(), append: dice.roll(4) == 0 },
    }
}

fn listed(dice: &mut Dice, n: usize) -> Listed {
    match dice.roll(10) {
        0 => Listed::Root,
        1 => Listed::Secrets,
        2 => Listed::Deleted,
        3 => Listed::In(Dir::Files),
        4 => Listed::In(Dir::Backups),
        5 => Listed::Versions(n),
        6 => Listed::Grave(n),
        _ => Listed::In(Dir::Secret(n)),
    }
}

/// A file is saved, moved aside, or moved elsewhere.
fn rename(dice: &mut Dice, p: u32, n: usize) -> Op {
    let to = if dice.roll(4) == 0 { dice.roll(NAMES.len() as u64) as usize } else { n };
    let (from, to) = match dice.roll(8) {
        0..=2 => (scratch(dice, n), at(dice, to)),
        3 => ((Dir::Secret(n), dice.of(&SCRATCH)), (Dir::Secret(to), VALUE)),
        4 => ((Dir::Files, dice.of(&[".new", "c~"])), (Dir::Files, NAMES[to])),
        5 => ((Dir::Secret(n), VALUE), (Dir::Secret(n), dice.of(&SCRATCH))),
        6 => ((Dir::Files, NAMES[n]), (Dir::Files, dice.of(&[".new", "c~"]))),
        _ => (at(dice, n), dice.of(&[(Dir::Secret(to), META), (Dir::Secret(to), "tls.crt"), (Dir::Files, "tls.key")])),
    };
    Op::Rename { p, from, to }
}

fn change_attribute(dice: &mut Dice, p: u32, n: usize) -> Op {
    let at = dice.of(&[(Dir::Secret(n), VALUE), (Dir::Files, NAMES[n])]);
    let name = dice.of(&["content_type", "enabled", "tag.k", "version", "colour"]);
    Op::SetXattr { p, at, name, text: dice.of(&["true", "false", "text/x"]) }
}

/// The next step.
pub fn next(dice: &mut Dice) -> Op {
    let (p, n, fd) = (1 + dice.roll(3) as u32, dice.roll(NAMES.len() as u64) as usize, dice.roll(1000) as usize);
    match dice.roll(76) {
        0..=4 => Op::List { p, what: listed(dice, n) },
        5 | 6 => Op::Mkdir { p, n },
        7 => Op::MkdirOtherCase { p, n },
        8 => Op::Rmdir { p, n },
        9..=12 => Op::Unlink { p, at: at(dice, n) },
        13 => Op::Unlink { p, at: (Dir::Secret(n), META) },
        14 => Op::UnlinkVersion { p, n },
        15 => Op::UnlinkGrave { p, n },
        16..=28 => Op::Open { p, at: at(dice, n), how: how(dice) },
        29..=31 => Op::Open { p, at: scratch(dice, n), how: dice.of(&[How::Create, How::Create, How::Mkstemp]) },
        32 => Op::Open { p, at: (Dir::Secret(n), "tls.crt"), how: How::Write { truncate: true, append: false } },
        33 => Op::Read { fd },
        34..=40 => {
            Op::Write { fd, at: dice.of(&[0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 3, 25_600]), data: Bytes(dice.of(&DATA)) }
        }
        41 => Op::Truncate { fd, size: dice.of(&[0, 2, 9, 20_000]) },
        42 => Op::TruncatePath { p, at: at(dice, n), size: dice.of(&[0, 2, 9, 30_000]) },
        43 => Op::Fsync { fd },
        44 => Op::Fork { fd },
        45..=51 => Op::Close { fd },
        52 => Op::Kill { p },
        53..=58 => rename(dice, p, n),
        59 => Op::ToDeleted { p, n },
        60 => Op::Recover { p, n },
        61 => Op::Purge { p, n },
        62 | 63 => {
            Op::Meta { p, n, how: dice.of(&[Edit::Partly, Edit::Whole, Edit::Renamed]), patch: dice.of(&PATCHES) }
        }
        64 => Op::VersionMeta { p, n, back: fd, patch: dice.of(&PATCHES) },
        65 => change_attribute(dice, p, n),
        66 => dice.of(&[Op::GraveMeta { p, n }, Op::RemoveTag { p, at: (Dir::Secret(n), VALUE) }]),
        67 => Op::Backup { p, n },
        68 => Op::Restore { p, blob: fd, name: dice.of(&["put", NAMES[n]]), renamed: dice.coin() },
        69 => dice.of(&[Op::Refresh { p }, Op::Remount]),
        70 | 71 => Op::Others { n, what: others(dice) },
        72 | 73 => Op::Advance { ms: dice.of(&[300, 1_000, 2_500, 31_000, 7_200_000]) },
        74 => Op::VaultRefuses { kind: dice.of(&[Refusal::Throttled, Refusal::Managed, Refusal::Broken]) },
        _ => Op::Remount,
    }
}

fn others(dice: &mut Dice) -> Others {
    match dice.roll(12) {
        0..=2 => Others::Set(dice.of(&["theirs", "x", ""])),
        3 => Others::SetBase64,
        4 => Others::SetCertificate,
        5 => Others::Delete,
        6 => Others::Recover,
        7 => Others::Purge,
        8 | 9 => Others::Enable(dice.coin()),
        10 => Others::Tag("t", "theirs"),
        _ => Others::Tag("akvfs-file", TAGGED),
    }
}
