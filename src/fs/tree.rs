//! The inode table: which number is which file. Does no I/O and takes no lock.
//!
//! Invariants: a number names one file for ever; a version of a value has at most one number that is shown
//! ([`Tree::shown`]); what is neither looked up nor stable is not in the table.

use std::collections::{BTreeSet, HashMap};

use crate::secret::{SecretName, Timestamp, Version};

use super::certificate::CertificateFile;
use super::control::ControlFile;
use super::encoding::Encoding;

/// An inode's number.
pub type Ino = u64;

/// The number of a writer's own bytes; see `draft`.
pub type DraftId = u64;

/// Where the numbers of everything that comes and goes start: apart from those of other filesystems and of other
/// mounts, because open files are compared by number alone (`processes`). A mount is a process, and has 2³⁰ numbers
/// before it comes to the next one's. All are below 2⁵³, since some programs keep them in a double (JavaScript).
fn first() -> Ino {
    const ABOVE_OTHERS: Ino = 1 << 52;
    /// The kernel's highest process number (`PID_MAX_LIMIT` in `include/linux/threads.h`).
    const PROCESSES: Ino = 1 << 22;
    ABOVE_OTHERS + ((Ino::from(std::process::id()) % PROCESSES) << 30)
}

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
    /// `/secrets/n/certificate`
    Certificate(SecretName),
    /// `/files`
    Files,
    /// `/backup`
    Backups,
    /// `/backup/n`
    Backup(SecretName),
    /// `/secrets/n/value` or `/files/n`, for one version that may not be known yet.
    Value(SecretName, Face),
    /// `/secrets/n/versions/v`
    OldVersion(SecretName, Version),
    /// `.meta.json` of a secret or a deleted secret; `versions/.v.meta.json` of one version.
    Meta(SecretName, Option<Version>),
    /// `/secrets/n/versions/current`
    Current(SecretName),
    /// Bytes that are being written, or a temporary file.
    Draft(DraftId),
    /// `/.akvfs`
    Control,
    /// A file in it.
    ControlFile(ControlFile),
}

/// The files that show a secret's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Face {
    /// `secrets/n/value`: the string itself.
    Value,
    /// `files/n`: what the string was made of.
    File,
    /// `secrets/n/certificate/…`: a part of the certificate that it is.
    Certificate(CertificateFile),
}

/// What is fixed about the version that an inode stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The version.
    pub version: Version,
    /// How its bytes are made of the string; another encoding is another file.
    pub encoding: Encoding,
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
    /// The vault no longer gives what it shows.
    revoked: bool,
    /// One of several of its node, gone when it is forgotten.
    another: bool,
}

/// What has one number that programs see.
type Shown = (SecretName, Face, Version, Encoding);

/// See the module.
#[derive(Debug)]
pub struct Tree {
    inodes: HashMap<Ino, Inode>,
    by_node: HashMap<Node, Ino>,
    by_version: HashMap<Shown, Ino>,
    unbound: HashMap<(SecretName, Face), Ino>,
    /// The one that was bound last.
    latest: HashMap<(SecretName, Face), Ino>,
    next: Ino,
}

/// The fixed directories' numbers.
pub const ROOT: Ino = 1;
const SECRETS: Ino = 2;
const DELETED: Ino = 3;
const FILES: Ino = 4;
const BACKUPS: Ino = 5;

impl Inode {
    fn new(node: Node) -> Self {
        Self { node, lookups: 0, bound: None, revoked: false, another: false }
    }

    /// Whether it shows a value of this secret.
    fn is_value_of(&self, secret: &SecretName) -> bool {
        matches!(&self.node, Node::Value(name, _) | Node::OldVersion(name, _) if name == secret)
    }
}

impl Default for Tree {
    fn default() -> Self {
        let mut tree = Self {
            inodes: HashMap::new(),
            by_node: HashMap::new(),
            by_version: HashMap::new(),
            unbound: HashMap::new(),
            latest: HashMap::new(),
            next: first(),
        };
        let fixed = [
            (ROOT, Node::Root),
            (SECRETS, Node::Secrets),
            (DELETED, Node::Deleted),
            (FILES, Node::Files),
            (BACKUPS, Node::Backups),
        ];
        for (ino, node) in fixed {
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

    /// One more inode of a file that has one number: for what it holds now. Programs are shown the one number.
    pub fn another(&mut self, node: &Node) -> Ino {
        self.intern(node);
        let ino = self.number();
        self.inodes.insert(ino, Inode { another: true, ..Inode::new(node.clone()) });
        ino
    }

    /// An inode for the version that its first use finds.
    pub fn unbound_value(&mut self, name: &SecretName, face: Face) -> Ino {
        if let Some(ino) = self.unbound.get(&(name.clone(), face)) {
            return *ino;
        }
        let ino = self.number();
        self.inodes.insert(ino, Inode::new(Node::Value(name.clone(), face)));
        self.unbound.insert((name.clone(), face), ino);
        ino
    }

    /// The inode of this version.
    pub fn bound_value(&mut self, name: &SecretName, face: Face, bound: Bound) -> Ino {
        let key = (name.clone(), face, bound.version.clone(), bound.encoding);
        if let Some(ino) = self.by_version.get(&key) {
            return *ino;
        }
        let ino = self.unbound_value(name, face);
        self.bind(ino, bound);
        ino
    }

    /// From now on and for ever `ino` is this version. Of an old version, which it is anyway, the size is noted.
    pub fn bind(&mut self, ino: Ino, bound: Bound) {
        let Some(inode) = self.inodes.get_mut(&ino) else { return };
        // Whoever binds it was given it.
        inode.revoked = false;
        if let Node::OldVersion(..) = &inode.node {
            inode.bound.get_or_insert(bound);
            return;
        }
        let Node::Value(name, face) = &inode.node else { return };
        let (name, face) = (name.clone(), *face);
        if inode.bound.is_none() {
            self.by_version.entry((name.clone(), face, bound.version.clone(), bound.encoding)).or_insert(ino);
            inode.bound = Some(bound);
        }
        let key = (name, face);
        if self.unbound.get(&key) == Some(&ino) {
            self.unbound.remove(&key);
        }
        self.overtake(key, ino);
    }

    /// `ino` is what was bound last. The version before, if the kernel was never told of it, it will not forget.
    fn overtake(&mut self, key: (SecretName, Face), ino: Ino) {
        if let Some(before) = self.latest.insert(key, ino)
            && self.shown(before) != self.shown(ino)
            && !self.is_looked_up(before)
        {
            self.remove(before);
        }
    }

    /// The version that a `value` inode stands for, once it is known.
    pub fn bound(&self, ino: Ino) -> Option<&Bound> {
        self.inodes.get(&ino)?.bound.as_ref()
    }

    /// The number that programs are shown for `ino`: the same for all inodes of one version.
    pub fn shown(&self, ino: Ino) -> Ino {
        if let Some(Inode { node, another: true, .. }) = self.inodes.get(&ino) {
            return self.by_node.get(node).copied().unwrap_or(ino);
        }
        let Some(Inode { node: Node::Value(name, face), bound: Some(bound), .. }) = self.inodes.get(&ino) else {
            return ino;
        };
        let key = (name.clone(), *face, bound.version.clone(), bound.encoding);
        self.by_version.get(&key).copied().unwrap_or(ino)
    }

    /// The kernel is told of `ino` once more; `false` if there is no such inode any more.
    pub fn looked_up(&mut self, ino: Ino) -> bool {
        let inode = self.inodes.get_mut(&ino);
        inode.map(|inode| inode.lookups += 1).is_some()
    }

    /// The kernel forgets `ino` `count` times. Gives back the draft that it was, if it is gone.
    pub fn forget(&mut self, ino: Ino, count: u64) -> Option<DraftId> {
        let inode = self.inodes.get_mut(&ino)?;
        inode.lookups = inode.lookups.saturating_sub(count);
        if inode.lookups > 0 {
            return None;
        }
        if inode.another {
            self.inodes.remove(&ino);
            return None;
        }
        match inode.node.clone() {
            Node::Value(..) | Node::OldVersion(..) | Node::Meta(_, Some(_)) => {
                self.remove(ino);
                None
            }
            Node::Draft(id) => Some(id),
            Node::Root
            | Node::Secrets
            | Node::Deleted
            | Node::Files
            | Node::Backups
            | Node::Backup(_)
            | Node::Dir(_)
            | Node::Versions(_)
            | Node::Certificate(_)
            | Node::Current(_)
            | Node::Meta(_, None)
            | Node::Control
            | Node::ControlFile(_) => None,
        }
    }

    /// The secrets of which the kernel knows a directory or a file in `files/`.
    pub fn secrets(&self) -> BTreeSet<SecretName> {
        let known = self.inodes.values().filter(|inode| inode.lookups > 0);
        let name = |inode: &Inode| match &inode.node {
            Node::Dir(name) | Node::Value(name, _) => Some(name.clone()),
            _ => None,
        };
        known.filter_map(name).collect()
    }

    /// The inodes that show a value of this secret.
    pub fn values(&self, secret: &SecretName) -> Vec<Ino> {
        self.inodes.iter().filter(|(_, inode)| inode.is_value_of(secret)).map(|(ino, _)| *ino).collect()
    }

    /// The inodes the kernel holds of other versions than `current`, as this file shows them; the one last made first.
    pub fn other_versions(&self, secret: &SecretName, face: Face, current: &Bound) -> Vec<Ino> {
        let is_other = |bound: &Bound| bound.version != current.version || bound.encoding != current.encoding;
        let held =
            self.inodes.iter().filter(|(_, inode)| inode.lookups > 0 && inode.bound.as_ref().is_some_and(is_other));
        let is_its = |inode: &Inode| matches!(&inode.node, Node::Value(name, its) if name == secret && *its == face);
        let mut found: Vec<_> = held.filter(|(_, inode)| is_its(inode)).map(|(ino, _)| *ino).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found
    }

    /// Whether the kernel knows the directory of a secret by this name.
    pub fn has_directory(&self, parent: Ino, name: &str) -> bool {
        let named = SecretName::parse(name).ok().and_then(|name| self.by_node.get(&Node::Dir(name)));
        parent == SECRETS && named.is_some_and(|ino| self.is_looked_up(*ino))
    }

    /// An inode of a version that nobody but one caller is shown, for once.
    pub fn passing_value(&mut self, name: &SecretName, face: Face, bound: Bound) -> Ino {
        let ino = self.number();
        self.inodes.insert(ino, Inode { bound: Some(bound), ..Inode::new(Node::Value(name.clone(), face)) });
        ino
    }

    /// The values of this secret may no longer be read, until somebody is given them again. Gives back which these are.
    pub fn revoke(&mut self, secret: &SecretName) -> Vec<Ino> {
        let of_it = self.inodes.iter_mut().filter(|(_, inode)| inode.is_value_of(secret));
        of_it
            .map(|(ino, inode)| {
                inode.revoked = true;
                *ino
            })
            .collect()
    }

    /// Whether what `ino` shows may no longer be read.
    pub fn is_revoked(&self, ino: Ino) -> bool {
        self.inodes.get(&ino).is_some_and(|inode| inode.revoked)
    }

    /// Whether the kernel knows `ino`.
    pub fn is_looked_up(&self, ino: Ino) -> bool {
        self.inodes.get(&ino).is_some_and(|inode| inode.lookups > 0)
    }

    /// Takes `ino` out of the table.
    pub fn remove(&mut self, ino: Ino) {
        let Some(inode) = self.inodes.remove(&ino) else { return };
        self.by_node.remove(&inode.node);
        let Node::Value(name, face) = inode.node else { return };
        let key = (name.clone(), face);
        for last in [&mut self.unbound, &mut self.latest] {
            if last.get(&key) == Some(&ino) {
                last.remove(&key);
            }
        }
        if let Some(bound) = inode.bound {
            let key = (name, face, bound.version, bound.encoding);
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
        self.inodes.insert(ino, Inode::new(node));
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
        Bound { version, encoding: Encoding::Text, size: 3, updated_on: None }
    }

    #[test]
    fn a_version_has_one_number_and_the_next_version_another() {
        let mut tree = Tree::default();
        let first = tree.unbound_value(&name("n"), Face::Value);
        assert_eq!(tree.unbound_value(&name("N"), Face::Value), first, "unbound: the same until it is bound");
        tree.looked_up(first);
        tree.bind(first, bound('a'));
        assert_eq!(tree.bound_value(&name("n"), Face::Value, bound('a')), first);
        let second = tree.bound_value(&name("n"), Face::Value, bound('b'));
        assert_ne!(second, first);
        assert_ne!(tree.bound_value(&name("n"), Face::File, bound('a')), first, "the plain file is another one");
        let hex = Bound { encoding: Encoding::Hex, ..bound('a') };
        assert_ne!(tree.bound_value(&name("n"), Face::Value, hex), first, "so is another encoding");
        tree.bind(first, bound('b'));
        assert_eq!(tree.bound(first), Some(&bound('a')), "bound for ever");
    }

    #[test]
    fn two_inodes_of_one_version_show_one_number() {
        let mut tree = Tree::default();
        let first = tree.unbound_value(&name("n"), Face::Value);
        tree.bind(first, bound('a'));
        let again = tree.unbound_value(&name("n"), Face::Value);
        tree.bind(again, bound('a'));
        assert_ne!(first, again);
        assert_eq!(tree.shown(again), first);
    }

    #[test]
    fn versions_that_the_kernel_was_never_told_of_do_not_stay() {
        let mut tree = Tree::default();
        let held = tree.bound_value(&name("n"), Face::Value, bound('0'));
        tree.looked_up(held);
        let before = tree.count();
        for digit in "123456789abcdef".chars() {
            tree.bound_value(&name("n"), Face::Value, bound(digit));
            tree.unbound_value(&name("n"), Face::Value);
        }
        assert!(tree.count() <= before + 2, "{before} became {}", tree.count());
        assert_eq!(tree.bound(held), Some(&bound('0')), "what it was told of stays until it forgets");
    }

    #[test]
    fn what_the_kernel_forgets_goes_and_directories_keep_their_number() {
        let mut tree = Tree::default();
        let (value, dir) = (tree.unbound_value(&name("n"), Face::Value), tree.intern(&Node::Dir(name("n"))));
        let before = tree.count();
        tree.looked_up(value);
        tree.looked_up(value);
        tree.looked_up(dir);
        tree.forget(value, 1);
        assert_eq!(tree.node(value), Some(&Node::Value(name("n"), Face::Value)));
        tree.forget(value, 1);
        tree.forget(dir, 1);
        assert_eq!(tree.node(value), None);
        assert_eq!(tree.intern(&Node::Dir(name("N"))), dir);
        assert_eq!(tree.count(), before - 1);
    }
}
