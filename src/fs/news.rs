//! What another party's change means for what the kernel believes. The store has the new state before anybody hears of
//! it here, so whoever looks again sees it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::secret::{SecretName, Version};
use crate::store::{Change, ErrorKind, News, Wait};

use super::errno::{FsError, FsResult};
use super::tree::{Ino, Node};
use super::{Notice, SecretFs};

/// How long a save waits for the kernel to drop the old version's name. It needs microseconds, unless a slow request
/// holds that directory; then the name's own time to live ends the old one.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

impl SecretFs {
    /// Tells the kernel to look again at what a change concerns. An open file keeps a value that was replaced; of one that
    /// may no longer be read, the kernel's pages go too, and its descriptors read no more. `is_moved`: a rename has given the
    /// files that show the value to the new version already, after [`drop_all_but_values`](Self::drop_all_but_values).
    pub fn heard(&self, change: &Change, is_moved: bool) {
        let secret = &change.name;
        match change.news {
            News::Appeared => {
                self.drop_children(secret);
                self.drop_missing();
            }
            News::Rotated if is_moved => self.drop_listings(),
            News::Rotated => self.drop_children(secret),
            News::Altered => {
                self.drop_children(secret);
                self.tell_of_each(&self.state().tree.values(secret), Notice::Attributes);
            }
            News::Revoked => {
                let revoked = {
                    let mut state = self.state();
                    state.drop_copies(secret);
                    state.tree.revoke(secret)
                };
                self.drop_children(secret);
                self.tell_of_each(&revoked, Notice::Content);
                if self.store.find(secret, Wait::No).is_err_and(|error| error.kind == ErrorKind::NotFound) {
                    self.drop_directory(secret);
                }
            }
        }
    }

    /// The version that another party has made current, as far as it is in memory.
    pub fn version_of(&self, change: &Change) -> Option<Version> {
        let found = self.store.find(&change.name, Wait::No).ok().filter(|_| change.news == News::Rotated);
        found.and_then(|found| found.current)
    }

    /// Waits until the kernel has taken what it was told, at most `limit`. Later is no harm: what it holds has a time to live.
    pub fn settle_kernel(&self, limit: Duration) {
        if !self.kernel.settle(limit) {
            tracing::debug!("the kernel has not dropped what it was told to within {limit:?}");
        }
    }

    /// The same for who has changed something himself, and looks at once.
    pub(super) fn settle_change(&self, wait: Wait) {
        let limit = wait.remaining(&*self.clock).min(SETTLE_LIMIT);
        if !self.kernel.settle(limit) {
            tracing::warn!("the kernel has not dropped what it was told to within {limit:?}");
        }
    }

    fn tell_of_each(&self, inodes: &[Ino], notice: impl Fn(Ino) -> Notice) {
        inodes.iter().for_each(|ino| self.kernel.tell(notice(*ino)));
    }

    /// Refuses a read of what may no longer be read.
    pub fn refuse_revoked(&self, ino: Ino) -> FsResult<()> {
        if self.state().tree.is_revoked(ino) {
            return Err(FsError::refused(libc::ESTALE, "the value may no longer be read"));
        }
        Ok(())
    }

    /// The secrets of which the kernel holds something.
    pub fn held_secrets(&self) -> BTreeSet<SecretName> {
        self.state().tree.secrets()
    }

    pub(super) fn drop_directory(&self, secret: &SecretName) {
        let secrets = self.state().tree.intern(&Node::Secrets);
        self.kernel.tell(Notice::Entry(secrets, secret.to_string()));
    }
}
