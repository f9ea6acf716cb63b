//! The inode table: which number is which file. Does no I/O and takes no lock.
//!
//! Invariants: a number names one file for ever; a version of a value has at most one number that is shown
//! ([`Tree::shown`]); what is neither looked up nor stable is not in the table.

use std::collections::HashMap;

use crate::secret::{SecretName, Timestamp, Version};

/// An inode's number.
pub type Ino = u64;

/// The number of a writer's own bytes; see `draft`.
pub type DraftId = u64;

/// Numbers of everything that comes and goes start here, so that they are not mistaken for another
/// filesystem's when open files are compared by number.
const FIRST: Ino = 1 << 40;

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// `/`
    Root,
    /// `/secrets`
    Secrets,
    /// `/deleted`
    Deleted,
    /// `/secrets/n`, or `/deleted/n`: one directory that changes its kind.
    Dir(SecretName),
    /// `/secrets/n/versions`
    Versions(SecretName),
    /// `/secrets/n/value`, for one version that may not be known yet.
    Value(SecretName),
    /// `/secrets/n/versions/v`
    OldVersion(SecretName, Version),
    /// `.meta.json` of a secret or a deleted secret; `versions/.v.meta.json` of one version.
    Meta(SecretName, Option<Version>),
    /// `/secrets/n/versions/current`
    Current(SecretName),
    /// Bytes that are being written, or a temporary file.
    Draft(DraftId),
}

/// What is fixed about the version that a `value` inode stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The version.
    pub version: Version,
    /// Its length in bytes.
    pub size: u64,
    /// Its date when it was bound.
    pub updated_on: Option<Timestamp>,
}

#[derive(Debug)]
struct Inode {
    node: Node,
    lookups: u64,
    bound: Option<Bound>,
}

/// See the module.
#[derive(Debug)]
pub struct Tree {
    inodes: HashMap<Ino, Inode>,
    by_node: HashMap<Node, Ino>,
    by_version: HashMap<(SecretName, Version), Ino>,
    unbound: HashMap<SecretName, Ino>,
    next: Ino,
}

/// The fixed directories' numbers.
pub const ROOT: Ino = 1;
/// See [`ROOT`].
pub(super) const SECRETS: Ino = 2;
const DELETED: Ino = 3;

impl Default for Tree {
    fn default() -> Self {
        let mut tree = Self {
            inodes: HashMap::new(),
            by_node: HashMap::new(),
            by_version: HashMap::new(),
            unbound: HashMap::new(),
            next: FIRST,
        };
        for (ino, node) in [(ROOT, Node::Root), (SECRETS, Node::Secrets), (DELETED, Node::Deleted)] {
            tree.put(ino, node);
        }
        tree
    }
}

impl Tree {
    /// What `ino` is; `None` for a number that was forgotten.
    pub fn node(&self, ino: Ino) -> Option<&Node> {
        self.inodes.get(&ino).map(|inode| &inode.node)
    }

    /// The number of a file that has one number for ever, or as long as it is in use. A name's last spelling is kept.
    pub fn intern(&mut self, node: &Node) -> Ino {
        if let Some(ino) = self.by_node.get(node).copied() {
            if let Some(inode) = self.inodes.get_mut(&ino) {
                inode.node = node.clone();
            }
            return ino;
        }
        let ino = self.number();
        self.put(ino, node.clone());
        ino
    }

    /// A `value` inode for `version`, or for whatever version its first use finds.
    pub fn value(&mut self, name: &SecretName, version: Option<&Version>) -> Ino {
        let known = match version {
            Some(version) => self.by_version.get(&(name.clone(), version.clone())),
            None => self.unbound.get(name),
        };
        if let Some(ino) = known {
            return *ino;
        }
        let ino = self.number();
        self.inodes.insert(ino, Inode { node: Node::Value(name.clone()), lookups: 0, bound: None });
        self.unbound.insert(name.clone(), ino);
        ino
    }

    /// From now on and for ever `ino` is this version.
    pub fn bind(&mut self, ino: Ino, bound: Bound) {
        let Some(inode) = self.inodes.get_mut(&ino) else { return };
        let Node::Value(name) = &inode.node else { return };
        let name = name.clone();
        if inode.bound.is_none() {
            self.by_version.entry((name.clone(), bound.version.clone())).or_insert(ino);
            inode.bound = Some(bound);
        }
        if self.unbound.get(&name) == Some(&ino) {
            self.unbound.remove(&name);
        }
    }

    /// The version that a `value` inode stands for, once it is known.
    pub fn bound(&self, ino: Ino) -> Option<&Bound> {
        self.inodes.get(&ino)?.bound.as_ref()
    }

    /// The number that programs are shown for `ino`: the same for all inodes of one version.
    pub fn shown(&self, ino: Ino) -> Ino {
        let Some(Inode { node: Node::Value(name), bound: Some(bound), .. }) = self.inodes.get(&ino) else { return ino };
        self.by_version.get(&(name.clone(), bound.version.clone())).copied().unwrap_or(ino)
    }

    /// The kernel was told of `ino` once more.
    pub fn looked_up(&mut self, ino: Ino) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.lookups += 1;
        }
    }

    /// The kernel forgets `ino` `count` times. Gives back the draft that it was, if it is gone.
    pub fn forget(&mut self, ino: Ino, count: u64) -> Option<DraftId> {
        let inode = self.inodes.get_mut(&ino)?;
        inode.lookups = inode.lookups.saturating_sub(count);
        if inode.lookups > 0 {
            return None;
        }
        match inode.node.clone() {
            Node::Value(_) | Node::OldVersion(..) | Node::Meta(_, Some(_)) => {
                self.remove(ino);
                None
            }
            Node::Draft(id) => Some(id),
            Node::Root
            | Node::Secrets
            | Node::Deleted
            | Node::Dir(_)
            | Node::Versions(_)
            | Node::Current(_)
            | Node::Meta(_, None) => None,
        }
    }

    /// Everything in the table.
    pub fn known(&self) -> Vec<(Ino, Node)> {
        self.inodes.iter().map(|(ino, inode)| (*ino, inode.node.clone())).collect()
    }

    /// Whether the kernel knows `ino`.
    pub fn is_looked_up(&self, ino: Ino) -> bool {
        self.inodes.get(&ino).is_some_and(|inode| inode.lookups > 0)
    }

    /// Takes `ino` out of the table.
    pub fn remove(&mut self, ino: Ino) {
        let Some(inode) = self.inodes.remove(&ino) else { return };
        self.by_node.remove(&inode.node);
        let Node::Value(name) = inode.node else { return };
        if self.unbound.get(&name) == Some(&ino) {
            self.unbound.remove(&name);
        }
        if let Some(bound) = inode.bound {
            let key = (name, bound.version);
            if self.by_version.get(&key) == Some(&ino) {
                self.by_version.remove(&key);
            }
        }
    }

    fn number(&mut self) -> Ino {
        self.next += 1;
        self.next
    }

    fn put(&mut self, ino: Ino, node: Node) {
        self.by_node.insert(node.clone(), ino);
        self.inodes.insert(ino, Inode { node, lookups: 0, bound: None });
    }

    /// How many inodes there are, for the tests that watch for leaks.
    pub fn count(&self) -> usize {
        self.inodes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SecretName {
        SecretName::parse(text).expect("legal")
    }

    fn bound(digit: char) -> Bound {
        let version = Version::parse(&digit.to_string().repeat(32)).expect("legal");
        Bound { version, size: 3, updated_on: None }
    }

    #[test]
    fn a_version_has_one_number_and_the_next_version_another() {
        let mut tree = Tree::default();
        let first = tree.value(&name("n"), None);
        assert_eq!(tree.value(&name("N"), None), first, "unbound: the same until it is bound");
        tree.bind(first, bound('a'));
        assert_eq!(tree.value(&name("n"), Some(&bound('a').version)), first);
        let second = tree.value(&name("n"), Some(&bound('b').version));
        assert_ne!(second, first);
        tree.bind(first, bound('b'));
        assert_eq!(tree.bound(first), Some(&bound('a')), "bound for ever");
    }

    #[test]
    fn two_inodes_of_one_version_show_one_number() {
        let mut tree = Tree::default();
        let first = tree.value(&name("n"), None);
        tree.bind(first, bound('a'));
        let again = tree.value(&name("n"), None);
        tree.bind(again, bound('a'));
        assert_ne!(first, again);
        assert_eq!(tree.shown(again), first);
    }

    #[test]
    fn what_the_kernel_forgets_goes_and_directories_keep_their_number() {
        let mut tree = Tree::default();
        let (value, dir) = (tree.value(&name("n"), None), tree.intern(&Node::Dir(name("n"))));
        let before = tree.count();
        tree.looked_up(value);
        tree.looked_up(value);
        tree.looked_up(dir);
        tree.forget(value, 1);
        assert_eq!(tree.node(value), Some(&Node::Value(name("n"))));
        tree.forget(value, 1);
        tree.forget(dir, 1);
        assert_eq!(tree.node(value), None);
        assert_eq!(tree.intern(&Node::Dir(name("N"))), dir);
        assert_eq!(tree.count(), before - 1);
    }
}
