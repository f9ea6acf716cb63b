//! Bytes that a program is writing and nobody else may see yet: a save in the making, or a temporary file.
//!
//! They live in memory only. One draft is one file to the kernel, however many descriptors it has.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use crate::secret::{MAX_VALUE, SecretName, Version};

use crate::clock::Moment;
use crate::sync::Mutex;

use super::control::ControlFile;
use super::errno::{FsError, FsResult};
use super::processes::Process;
use super::tree::{Face, Ino};

/// The largest temporary file or `.meta.json`, in bytes: what editors keep beside a value (swap files start at
/// some pages) fits many times.
pub const MAX_SCRATCH: usize = 1 << 20;
/// The largest backup, in bytes: 500 versions of 25,600 bytes, encrypted, in base64 twice (the service refuses more
/// versions).
pub const MAX_BACKUP: usize = 24 << 20;

/// What a draft's bytes become when they are saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A new version of a secret, through one of its two files.
    Value(SecretName, Face),
    /// Changed properties, of the current version or of this one.
    Meta(SecretName, Option<Version>),
    /// What a backup of this name holds.
    Restore(String),
    /// What a file of `.akvfs` is told.
    Control(ControlFile),
    /// Nothing: a temporary file of this name.
    Scratch(Place, String),
    /// Nothing any more: the temporary file was unlinked.
    Nameless,
}

impl Target {
    fn limit(&self) -> usize {
        match self {
            // The service's own limit.
            Self::Value(..) => MAX_VALUE,
            Self::Restore(_) | Self::Scratch(Place::Backups, _) => MAX_BACKUP,
            Self::Meta(..) | Self::Scratch(..) | Self::Control(_) | Self::Nameless => MAX_SCRATCH,
        }
    }
}

/// Where temporary files stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `secrets/n`
    Secret(SecretName),
    /// `files`
    Files,
    /// `backup`
    Backups,
}

/// What a file of this name may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Growth {
    /// Anything up to its limit.
    Free,
    /// Nothing: it has a legal name and is no temporary, so it may only stand there empty (vim's `4913`).
    Never,
    /// Anything, but then it is no temporary any more: it becomes this secret, through its file in `files/`.
    Becomes(SecretName),
}

/// See the module.
pub struct Draft {
    /// What it becomes.
    pub target: Target,
    /// The kernel's number; the number that programs see may be the replaced version's.
    pub ino: Ino,
    /// The number that programs see.
    pub shown: Ino,
    /// Owner, for a temporary file.
    pub uid: u32,
    /// Group, for a temporary file.
    pub gid: u32,
    /// Permission bits, for a temporary file.
    pub mode: u16,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Whether the bytes are what a reader of the file would see; not before the first open.
    pub loaded: bool,
    /// Whether there is something to save.
    pub dirty: bool,
    /// Whether a write was refused, so that the bytes are not what the writer wanted. Nothing is saved then, unless he
    /// starts anew.
    pub spoiled: bool,
    /// What happens when bytes are written.
    pub growth: Growth,
    /// The most it may hold, in bytes.
    pub limit: usize,
    /// Whether a rename made it `value` (or saved it as something else), so that by path another inode is meant from now on.
    pub retired: bool,
    /// The file that was moved aside and by whom, if this is the copy of it and no save has succeeded since: his way
    /// back.
    pub way_back: Option<(SecretName, Face, Process)>,
    /// The secret whose value was moved aside, if this is the copy of it, and nothing else was made of it.
    pub copy_of: Option<SecretName>,
    /// Open descriptors.
    pub opens: u32,
    /// When the last descriptor was closed; `None` before, and while it is open.
    pub closed: Option<Moment>,
    /// Whether the log says already that it was left behind.
    pub told: bool,
    /// Who opened it or wrote.
    pub writers: BTreeSet<Process>,
    /// The threads already asked for their process.
    pub threads: HashMap<u32, Process>,
    /// Held while it is being saved, so that one save is one version.
    pub saving: Arc<Mutex<()>>,
    /// Whether the one who closed it last was killed: what he wrote is half of something.
    pub abandoned: bool,
    /// Counts the writes, so that a save knows whether it saved all.
    pub writes: u64,
    /// How many there were at an fsync that failed, and the errno that it was told.
    pub unsynced: Option<(u64, i32)>,
    bytes: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Draft {
    /// What it is to become and how long it is; not its bytes.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("Draft");
        out.field("target", &self.target).field("ino", &self.ino).field("size", &self.bytes.len());
        out.field("dirty", &self.dirty).field("opens", &self.opens).field("writers", &self.writers).finish()
    }
}

impl Draft {
    /// An empty draft, not loaded.
    pub fn new(target: Target, ino: Ino, shown: Ino) -> Self {
        Self {
            limit: target.limit(),
            target,
            ino,
            shown,
            uid: 0,
            gid: 0,
            mode: 0o600,
            mtime: 0,
            loaded: false,
            dirty: false,
            spoiled: false,
            growth: Growth::Free,
            retired: false,
            way_back: None,
            copy_of: None,
            opens: 0,
            closed: None,
            told: false,
            writers: BTreeSet::new(),
            threads: HashMap::new(),
            saving: Arc::default(),
            abandoned: false,
            writes: 0,
            unsynced: None,
            bytes: Zeroizing::new(Vec::new()),
        }
    }

    /// Whether it is a temporary file in this place.
    pub fn is_scratch_in(&self, place: &Place) -> bool {
        matches!(&self.target, Target::Scratch(its, _) if its == place)
    }

    /// A temporary file gets another name, and perhaps another directory.
    pub fn move_to(&mut self, place: &Place, name: &str) {
        if !self.is_scratch_in(place) {
            self.way_back = None;
        }
        if self.growth != Growth::Free {
            self.growth = if is_temporary(name) { Growth::Free } else { Growth::Never };
        }
        self.target = Target::Scratch(place.clone(), name.to_owned());
    }

    /// What its writer was told when it could not be saved, if nothing was written since.
    pub fn refusal(&self) -> Option<i32> {
        self.unsynced.filter(|(writes, _)| *writes == self.writes).map(|(_, errno)| errno)
    }

    /// A rename saved it as `target`, as far as it was written then: what was written since is saved as that, too.
    pub fn become_saved(&mut self, target: Target, writes: u64) {
        (self.limit, self.growth, self.retired) = (target.limit(), Growth::Free, true);
        self.dirty = self.writes != writes;
        self.copy_of = None;
        self.target = target;
    }

    /// Nothing becomes of it any more.
    pub fn lose_name(&mut self) {
        self.target = Target::Nameless;
        self.dirty = false;
        self.limit = MAX_SCRATCH;
    }

    /// Nothing stays of what it holds.
    pub fn wipe(&mut self) {
        self.replace(0);
        self.copy_of = None;
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes `bytes` its content, with nothing to save.
    pub fn load(&mut self, bytes: &[u8]) {
        self.replace(bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.loaded = true;
        self.dirty = false;
    }

    /// Writes `data` at `offset`; `None` appends. A gap is filled with zeros, as everywhere.
    pub fn write(&mut self, offset: Option<u64>, data: &[u8], now: i64) -> FsResult<()> {
        let start = self.start_of(offset);
        let resized = self.resize(self.size_with(offset, data.len()), now);
        self.spoiled |= resized.is_err();
        resized?;
        self.bytes[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }

    /// How long it is with `more` bytes at `offset`.
    pub fn size_with(&self, offset: Option<u64>, more: usize) -> usize {
        self.start_of(offset).saturating_add(more).max(self.bytes.len())
    }

    fn start_of(&self, offset: Option<u64>) -> usize {
        offset.map_or(self.bytes.len(), |offset| usize::try_from(offset).unwrap_or(usize::MAX))
    }

    /// Cuts or fills with zeros.
    pub fn truncate(&mut self, size: u64, now: i64) -> FsResult<()> {
        self.resize(usize::try_from(size).unwrap_or(usize::MAX), now)?;
        // A new start: the program knows what it has.
        self.spoiled = false;
        Ok(())
    }

    /// The bytes, if all that was written is among them.
    pub fn whole(&self) -> FsResult<Zeroizing<Vec<u8>>> {
        if self.spoiled { Err(self.too_big()) } else { Ok(Zeroizing::new(self.bytes.to_vec())) }
    }

    /// What a reader at `offset` gets.
    pub fn read(&self, offset: u64, size: usize) -> &[u8] {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let end = start.saturating_add(size).min(self.bytes.len());
        &self.bytes[start..end]
    }

    fn resize(&mut self, size: usize, now: i64) -> FsResult<()> {
        if size > 0 {
            self.grow(size)?;
        }
        if size > self.limit {
            return Err(self.too_big());
        }
        if size > self.bytes.capacity() {
            // Growing in place may move the bytes and leave a copy behind: move them ourselves, and wipe.
            let mut larger = Zeroizing::new(Vec::with_capacity(size.next_power_of_two()));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        if size < self.bytes.len() {
            self.bytes[size..].zeroize();
        }
        self.bytes.resize(size, 0);
        if size == 0 {
            self.copy_of = None;
        }
        self.loaded = true;
        self.dirty = true;
        self.writes += 1;
        self.mtime = now;
        Ok(())
    }

    fn grow(&mut self, size: usize) -> FsResult<()> {
        match (&self.growth, &self.target) {
            (Growth::Never, _) => Err(FsError::refused(
                libc::EINVAL,
                "no file of this name can hold anything here: write to value, or use a temporary name (.x, x.tmp)",
            )),
            // What is refused leaves the empty file that there was.
            (Growth::Becomes(_), Target::Scratch(..)) if size > MAX_VALUE => Err(value_too_big()),
            (Growth::Becomes(secret), Target::Scratch(..)) => {
                self.target = Target::Value(secret.clone(), Face::File);
                self.limit = MAX_VALUE;
                self.growth = Growth::Free;
                Ok(())
            }
            (Growth::Free | Growth::Becomes(_), _) => Ok(()),
        }
    }

    fn replace(&mut self, capacity: usize) {
        self.bytes = Zeroizing::new(Vec::with_capacity(capacity));
    }

    fn too_big(&self) -> FsError {
        match &self.target {
            Target::Value(..) => value_too_big(),
            Target::Restore(_) | Target::Scratch(Place::Backups, _) => {
                FsError::refused(libc::EFBIG, "a backup has at most 24 MiB")
            }
            Target::Meta(..) | Target::Scratch(..) | Target::Control(_) | Target::Nameless => {
                FsError::refused(libc::EFBIG, "a temporary file or a .meta.json has at most 1 MiB here")
            }
        }
    }
}

fn value_too_big() -> FsError {
    FsError::refused(libc::EFBIG, "a value has at most 25600 bytes")
}

/// Whether `name` is a temporary file's by its look: the one list.
pub fn is_temporary(name: &str) -> bool {
    const ENDINGS: [&str; 10] = ["~", ".swp", ".swx", ".tmp", ".temp", ".new", ".part", ".bak", ".orig", ".lock"];
    name.starts_with(['.', '#']) || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> Draft {
        Draft::new(Target::Value(SecretName::parse("n").expect("legal"), Face::Value), 1, 1)
    }

    #[test]
    fn writes_land_where_they_belong() {
        let mut draft = value();
        draft.load(b"hello");
        assert!(!draft.dirty);
        draft.write(Some(1), b"EL", 0).expect("written");
        draft.write(None, b"!", 0).expect("appended");
        assert_eq!(draft.bytes(), b"hELlo!");
        draft.write(Some(8), b"x", 0).expect("with a gap");
        assert_eq!(draft.bytes(), b"hELlo!\0\0x");
        draft.truncate(2, 0).expect("cut");
        assert_eq!((draft.bytes(), draft.read(1, 10), draft.read(9, 1)), (&b"hE"[..], &b"E"[..], &b""[..]));
        assert!(draft.dirty);
    }

    #[test]
    fn a_value_is_full_at_25600_bytes() {
        let mut draft = value();
        draft.write(Some(0), &[b'x'; MAX_VALUE], 0).expect("fits");
        for result in [draft.write(None, b"x", 0), draft.write(Some(u64::MAX), b"x", 0), draft.truncate(1 << 40, 0)] {
            assert_eq!(result.expect_err("too big").errno(), libc::EFBIG);
        }
        assert_eq!(draft.bytes().len(), MAX_VALUE);
    }

    #[test]
    fn what_did_not_fit_is_not_whole_until_it_is_cut() {
        let mut draft = value();
        draft.write(Some(0), &[b'x'; MAX_VALUE], 0).expect("fits");
        assert!(draft.whole().is_ok());
        draft.truncate(1 << 40, 0).expect_err("too big");
        assert!(draft.whole().is_ok(), "the program knows what it has");
        draft.write(None, b"x", 0).expect_err("too big");
        assert_eq!(draft.whole().expect_err("not whole").errno(), libc::EFBIG);
        draft.truncate(0, 0).expect("cut");
        assert!(draft.whole().is_ok());
    }

    #[test]
    fn a_file_that_may_only_stand_there_takes_no_bytes() {
        let mut draft = value();
        draft.growth = Growth::Never;
        assert_eq!(draft.write(None, b"x", 0).expect_err("refused").errno(), libc::EINVAL);
        draft.truncate(0, 0).expect("empty it may be");
    }

    #[test]
    fn a_new_file_of_a_legal_name_becomes_a_secret_with_its_first_byte() {
        let mut draft = Draft::new(Target::Scratch(Place::Files, "n".into()), 1, 1);
        draft.growth = Growth::Becomes(SecretName::parse("n").expect("legal"));
        draft.truncate(0, 0).expect("empty it stays a temporary");
        assert!(matches!(draft.target, Target::Scratch(..)));
        draft.write(Some(MAX_VALUE as u64), b"x", 0).expect_err("too big");
        assert!(matches!(draft.target, Target::Scratch(..)), "and so it stays");
        draft.write(None, b"x", 0).expect("written");
        assert_eq!(draft.target, Target::Value(SecretName::parse("n").expect("legal"), Face::File));
    }

    #[test]
    fn temporary_names() {
        for name in
            [".x", "#x#", "x~", "value.swp", "sed.tmp", "value.bak", "value.orig", "value.lock", ".value.AbC123"]
        {
            assert!(is_temporary(name), "{name}");
        }
        for name in ["value", "x", "tls.crt", "4913", "tmp"] {
            assert!(!is_temporary(name), "{name}");
        }
    }
}
