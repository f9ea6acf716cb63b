//! What another party's change means for what the kernel believes. The store has the new state before anybody hears of
//! it here, so whoever looks again sees it.

use std::collections::BTreeSet;

use crate::secret::SecretName;
use crate::store::{Change, ErrorKind, News, Wait};

use super::errno::{FsError, FsResult};
use super::tree::{Ino, Node};
use super::{Notice, SecretFs};

impl SecretFs {
    /// Tells the kernel to look again at what a change concerns. An open file keeps a value that was replaced; of one that
    /// may no longer be read, the kernel's pages go too, and its descriptors read no more.
    pub fn heard(&self, change: &Change) {
        let secret = &change.name;
        match change.news {
            News::Appeared => {
                self.drop_children(secret);
                self.drop_directory(secret);
            }
            News::Rotated => self.drop_children(secret),
            News::Altered => {
                self.drop_children(secret);
                self.tell_of_each(&self.state().tree.values(secret), Notice::Attributes);
            }
            News::Revoked => {
                let revoked = self.state().tree.revoke(secret);
                self.drop_children(secret);
                self.tell_of_each(&revoked, Notice::Content);
                if self.store.find(secret, Wait::No).is_err_and(|error| error.kind == ErrorKind::NotFound) {
                    self.drop_directory(secret);
                }
            }
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
