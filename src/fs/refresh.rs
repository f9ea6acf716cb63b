//! Looking again because somebody asks for it.

use crate::secret::SecretName;

use super::lookup::VALUE;
use super::tree::{Ino, Node};
use super::{Notice, SecretFs};

impl SecretFs {
    /// From now on nothing that memory holds is relied on, here or in the kernel: the next reader sees what the vault
    /// has. A file that is open keeps its value.
    pub fn refresh(&self) {
        self.store.expire(None);
        let known = self.state().tree.known();
        known.into_iter().flat_map(|(ino, node)| outdated(ino, node)).for_each(|notice| self.kernel.tell(notice));
    }
}

fn outdated(ino: Ino, node: Node) -> Vec<Notice> {
    match node {
        Node::Dir(secret) => names_of(ino, &secret),
        Node::Value(_) | Node::OldVersion(..) => vec![Notice::Attributes(ino)],
        // Fixed, or never kept by the kernel, or a writer's own.
        Node::Root
        | Node::Secrets
        | Node::Deleted
        | Node::Versions(_)
        | Node::Meta(..)
        | Node::Current(_)
        | Node::Draft(_) => Vec::new(),
    }
}

fn names_of(dir: Ino, secret: &SecretName) -> Vec<Notice> {
    vec![Notice::Entry(dir, VALUE.to_owned()), Notice::Entry(super::tree::SECRETS, secret.as_str().to_owned())]
}
