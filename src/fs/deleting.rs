//! Deletions on their way to the vault, one a secret at a time. What was saved meanwhile would be deleted with the rest,
//! although its close had said that it is stored; so a save waits until the vault has answered.

use std::sync::PoisonError;

use crate::secret::SecretName;
use crate::store::Wait;
use crate::sync::MutexGuard;

use super::SecretFs;
use super::errno::{FsError, FsResult};
use super::processes::Process;
use super::state::State;

/// A deletion on its way; it has arrived, or failed, when this is dropped.
pub struct Deleting<'a> {
    fs: &'a SecretFs,
    secret: SecretName,
}

impl Drop for Deleting<'_> {
    fn drop(&mut self) {
        self.fs.state().deleting.remove(&self.secret);
        self.fs.deleted.notify_all();
    }
}

impl SecretFs {
    /// A deletion of `secret` begins, once no other is on its way.
    pub(super) fn begin_deleting(&self, secret: &SecretName, wait: Wait) -> FsResult<Deleting<'_>> {
        self.once_not_deleting(secret, wait)?.deleting.insert(secret.clone());
        Ok(Deleting { fs: self, secret: secret.clone() })
    }

    /// The deletion for a removal that waits begins, and who removed it; `None` if none waits, or it is on its way.
    pub(super) fn begin_waiting_removal(&self, secret: &SecretName) -> Option<(Deleting<'_>, Process)> {
        let mut state = self.state();
        let by = state.removals.get(secret)?.by;
        state.deleting.insert(secret.clone()).then(|| (Deleting { fs: self, secret: secret.clone() }, by))
    }

    /// Returns when no deletion of `secret` is on its way.
    pub(super) fn await_deletion(&self, secret: &SecretName, wait: Wait) -> FsResult<()> {
        self.once_not_deleting(secret, wait).map(drop)
    }

    fn once_not_deleting(&self, secret: &SecretName, wait: Wait) -> FsResult<MutexGuard<'_, State>> {
        let mut state = self.state();
        while state.deleting.contains(secret) {
            let left = wait.remaining(&*self.clock);
            if left.is_zero() {
                let why = "a deletion of this secret is on its way to the vault, which has not answered yet: try again";
                return Err(FsError::refused(libc::EBUSY, why));
            }
            state = self.deleted.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state)
    }
}
