//! What can happen to a mount, and a source of chance. Knows neither the filesystem nor the reference.

/// The secrets there can be.
pub const NAMES: [&str; 3] = ["a", "Web-Tls", "c"];
/// The temporary files there can be; the last may hold nothing unless it was made as mkstemp(3) does.
pub const SCRATCH: [&str; 3] = [".new", "value~", "4913"];

/// A step. `p` is a process, `n` a secret's place in [`NAMES`], `fd` any number: that one of the open descriptors.
#[derive(Clone, Debug)]
#[rustfmt::skip]
pub enum Op {
    ListSecrets { p: u32 },
    ListSecret { p: u32, n: usize },
    ListDeleted { p: u32 },
    Mkdir { p: u32, n: usize },
    MkdirOtherCase { p: u32, n: usize },
    Rmdir { p: u32, n: usize },
    UnlinkValue { p: u32, n: usize },
    UnlinkMeta { p: u32, n: usize },
    UnlinkVersion { p: u32, n: usize },
    UnlinkScratch { p: u32, n: usize, s: usize },
    OpenRead { p: u32, n: usize },
    OpenWrite { p: u32, n: usize, truncate: bool, append: bool },
    CreateScratch { p: u32, n: usize, s: usize, mkstemp: bool },
    CreateOther { p: u32, n: usize },
    Read { fd: usize },
    Write { fd: usize, at: u64, data: Vec<u8> },
    Truncate { fd: usize, size: u64 },
    TruncatePath { p: u32, n: usize, size: u64 },
    Fsync { fd: usize },
    Fork { fd: usize },
    Close { fd: usize },
    Kill { p: u32 },
    RenameOver { p: u32, n: usize, s: usize, to: usize },
    RenameScratch { p: u32, n: usize, s: usize, to: usize, new: usize },
    MoveAside { p: u32, n: usize, s: usize },
    ToDeleted { p: u32, n: usize },
    Recover { p: u32, n: usize },
    Purge { p: u32, n: usize },
    Meta { p: u32, n: usize, patch: &'static str },
    SetXattr { p: u32, n: usize, name: &'static str, text: &'static str },
    RemoveTag { p: u32, n: usize },
    Others { n: usize, what: Others },
    Advance { ms: u64 },
    Remount,
}

/// What another client does to the vault itself.
#[derive(Clone, Debug)]
#[rustfmt::skip]
pub enum Others { Set(String), Delete, Recover, Purge, Enable(bool), Tag(&'static str) }

/// Chance from a seed (xorshift64*): the same sequence wherever it runs.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.roll(choices.len() as u64) as usize].clone()
    }

    fn coin(&mut self) -> bool {
        self.roll(2) == 0
    }
}

const PATCHES: [&str; 8] = [
    r#"{"enabled": false}"#,
    r#"{"enabled": true}"#,
    r#"{"content_type": "text/x"}"#,
    r#"{"tags": {"k": "v"}}"#,
    r#"{"tags": {}, "expires_on": "2030-01-01T00:00:00Z"}"#,
    r#"{"version": "0"}"#,
    r#"{"content_type": null}"#,
    "no document",
];

fn bytes(dice: &mut Dice) -> Vec<u8> {
    let some: [&[u8]; 6] = [b"x", b"hello\n", b"", b"second value", "gr\u{fc}\u{df}e".as_bytes(), b"\xff\xfe"];
    dice.of(&some).to_vec()
}

/// The next step.
pub fn next(dice: &mut Dice) -> Op {
    let (p, n, s) = (1 + dice.roll(3) as u32, dice.roll(NAMES.len() as u64) as usize, dice.roll(3) as usize);
    let (fd, to) = (dice.roll(1000) as usize, if dice.roll(4) == 0 { dice.roll(3) as usize } else { n });
    match dice.roll(62) {
        0 => Op::ListSecrets { p },
        1 | 2 => Op::ListSecret { p, n },
        3 => Op::ListDeleted { p },
        4 | 5 => Op::Mkdir { p, n },
        6 => Op::MkdirOtherCase { p, n },
        7 => Op::Rmdir { p, n },
        8..=10 => Op::UnlinkValue { p, n },
        11 => Op::UnlinkMeta { p, n },
        12 => Op::UnlinkVersion { p, n },
        13 => Op::UnlinkScratch { p, n, s },
        14 | 15 => Op::OpenRead { p, n },
        16..=22 => Op::OpenWrite { p, n, truncate: dice.coin(), append: dice.roll(4) == 0 },
        23..=25 => Op::CreateScratch { p, n, s, mkstemp: dice.coin() },
        26 => Op::CreateOther { p, n },
        27 => Op::Read { fd },
        28..=33 => Op::Write { fd, at: dice.of(&[0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 3, 25_600]), data: bytes(dice) },
        34 => Op::Truncate { fd, size: dice.of(&[0, 2, 9]) },
        35 => Op::TruncatePath { p, n, size: dice.of(&[0, 2, 9, 30_000]) },
        36 => Op::Fsync { fd },
        37 => Op::Fork { fd },
        38..=43 => Op::Close { fd },
        44 => Op::Kill { p },
        45..=47 => Op::RenameOver { p, n, s, to },
        48 => Op::RenameScratch { p, n, s, to, new: dice.roll(3) as usize },
        49 | 50 => Op::MoveAside { p, n, s },
        51 => Op::ToDeleted { p, n },
        52 => Op::Recover { p, n },
        53 => Op::Purge { p, n },
        54 => Op::Meta { p, n, patch: dice.of(&PATCHES) },
        55 => Op::SetXattr {
            p,
            n,
            name: dice.of(&["content_type", "enabled", "tag.k", "version", "colour"]),
            text: dice.of(&["true", "false", "text/x"]),
        },
        56 => Op::RemoveTag { p, n },
        57 | 58 => Op::Others { n, what: others(dice) },
        59 | 60 => Op::Advance { ms: dice.of(&[300, 1_000, 2_500, 31_000, 7_200_000]) },
        _ => Op::Remount,
    }
}

fn others(dice: &mut Dice) -> Others {
    match dice.roll(9) {
        0..=2 => Others::Set(dice.of(&["theirs", "x", ""]).to_owned()),
        3 => Others::Delete,
        4 => Others::Recover,
        5 => Others::Purge,
        6 | 7 => Others::Enable(dice.coin()),
        _ => Others::Tag("theirs"),
    }
}
