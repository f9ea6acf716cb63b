//! How much all drafts of a mount may hold together. Whatever makes one, or makes one longer, comes through here.

use super::draft::Draft;
use super::errno::{FsError, FsResult};
use super::state::State;
use super::tree::DraftId;

/// How many drafts a mount holds; a leak guard, far above what editors need.
const MAX_DRAFTS: usize = 4096;
/// How many bytes all drafts of a mount hold together. They are in memory, and a secret is small.
const MAX_BYTES: usize = 64 << 20;

impl State {
    /// Refuses another temporary file, of `size` bytes, that is too much.
    pub fn check_another(&self, size: usize) -> FsResult<()> {
        if self.drafts.len() >= MAX_DRAFTS {
            return Err(FsError::refused(libc::ENOSPC, "too many temporary files in this mount"));
        }
        self.check_room(0, size)
    }

    /// Writes into a draft.
    pub fn write(&mut self, id: DraftId, offset: Option<u64>, data: &[u8], now: i64) -> FsResult<()> {
        let size = self.draft(id)?.size_with(offset, data.len());
        let has_room = self.check_growth(id, size);
        let draft = self.draft(id)?;
        draft.spoiled |= has_room.is_err();
        has_room?;
        draft.write(offset, data, now)
    }

    /// Cuts a draft or fills it with zeros.
    pub fn truncate(&mut self, id: DraftId, size: u64, now: i64) -> FsResult<()> {
        self.check_growth(id, usize::try_from(size).unwrap_or(usize::MAX))?;
        self.draft(id)?.truncate(size, now)
    }

    fn check_growth(&mut self, id: DraftId, size: usize) -> FsResult<()> {
        let draft = self.draft(id)?;
        // What is too big for its own file hears of that.
        if size > draft.limit {
            return Ok(());
        }
        let held = draft.bytes().len();
        self.check_room(held, size)
    }

    /// Refuses what does not fit if a draft that holds `before` bytes is to hold `after`.
    fn check_room(&self, before: usize, after: usize) -> FsResult<()> {
        let others: usize = self.drafts.values().map(|draft| draft.bytes().len()).sum::<usize>().saturating_sub(before);
        if after > before && others.saturating_add(after) > MAX_BYTES {
            let why = "the unsaved files of this mount hold 64 MiB: save or remove some";
            return Err(FsError::refused(libc::ENOSPC, why));
        }
        Ok(())
    }

    fn draft(&mut self, id: DraftId) -> FsResult<&mut Draft> {
        self.drafts.get_mut(&id).ok_or_else(|| FsError::plain(libc::ESTALE))
    }
}
