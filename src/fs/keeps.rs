//! What the kernel may keep of directories: their names, and the names that they do not have.
//!
//! The kernel keeps a listing for as long as its directory's time is the same. So a directory's nanoseconds are made of its
//! names; where these are not in memory they are a number that never was. The attributes hold no longer than the listing
//! they were made of.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::secret::SecretName;
use crate::store::{Found, Wait};

use super::attr::{Attr, Entry, Stat};
use super::certificate::is_certificate;
use super::flat::tagged_alias;
use super::tree::{Ino, Node};
use super::{Notice, SecretFs};

/// Nanoseconds are below this.
const NANOS: u64 = 1_000_000_000;
/// A listing's age is known to the second.
const GRAIN: Duration = Duration::from_secs(1);
/// So many missing names are remembered; beyond that they are left to their time to live.
const MAX_MISSING: usize = 4096;

impl SecretFs {
    /// A directory that lists what the vault lists.
    pub(super) fn listing_entry(&self, node: &Node) -> Entry {
        let (nanos, ttl) = match self.names_in(node) {
            Some(names) => (names % NANOS, self.listing_ttl(node)),
            // Nothing that the kernel keeps has this time.
            None => (self.state().number() % NANOS, self.options.kernel_ttl),
        };
        let entry = self.directory(node, self.mounted, self.options.kernel_ttl);
        // Below a billion.
        Entry { stat: Stat { attr: Attr { nanos: nanos as u32, ..entry.stat.attr }, ttl }, ..entry }
    }

    fn listing_ttl(&self, node: &Node) -> Duration {
        let Some(at) = self.metrics.listing.get() else { return Duration::ZERO };
        match node {
            Node::Secrets | Node::Files | Node::Backups => {
                let age = Duration::from_secs(u64::try_from(self.seconds().saturating_sub(at)).unwrap_or(0));
                self.kernel_ttl(self.options.about.ttl.saturating_sub(age + GRAIN))
            }
            _ => Duration::ZERO,
        }
    }

    /// A number made of a directory's names; `None` if they are not in memory, all of them.
    fn names_in(&self, node: &Node) -> Option<u64> {
        let mut names = DefaultHasher::new();
        match node {
            Node::Secrets | Node::Files | Node::Backups => {
                let page = self.store.list(None, Wait::No).ok().filter(|page| page.next.is_none())?;
                page.items.iter().for_each(|item| (item.name.as_str(), tagged_alias(item)).hash(&mut names));
                let state = self.state();
                state.newborn.keys().chain(state.removals.keys()).for_each(|name| name.as_str().hash(&mut names));
            }
            Node::Deleted => {
                let page = self.store.list_deleted(None, Wait::No).ok().filter(|page| page.next.is_none())?;
                page.items.iter().for_each(|item| item.properties.name.as_str().hash(&mut names));
            }
            Node::Versions(secret) => {
                let page = self.store.list_versions(secret, None, Wait::No).ok()?;
                page.items.iter().for_each(|item| item.version.hash(&mut names));
            }
            _ => {}
        }
        Some(names.finish())
    }

    /// A secret's own directory, from memory.
    pub(super) fn secret_stat(&self, secret: &SecretName) -> Stat {
        let node = Node::Dir(secret.clone());
        if let Ok(found) = self.store.find(secret, Wait::No) {
            return self.live_entry(&node, &found).stat;
        }
        let deleted = self.store.get_deleted(secret, Wait::No).ok().and_then(|secret| secret.deleted_date);
        let dated = deleted.map_or(self.mounted, |date| date.0);
        // What it lists is not what it listed elsewhere.
        let stat = self.directory(&node, dated, Duration::ZERO).stat;
        Stat { attr: Attr { nanos: (self.state().number() % NANOS) as u32, ..stat.attr }, ..stat }
    }

    /// The directory of a secret that is there. What it lists depends on whether it is a certificate.
    pub(super) fn live_entry(&self, node: &Node, found: &Found) -> Entry {
        let dated = found.properties.updated_on.map_or(self.mounted, |date| date.0);
        let entry = self.directory(node, dated, self.kernel_ttl(found.valid_for));
        let nanos = u32::from(is_certificate(found.properties.content_type.as_deref()));
        Entry { stat: Stat { attr: Attr { nanos, ..entry.stat.attr }, ..entry.stat }, ..entry }
    }

    /// Whether the kernel may keep a directory's names also where files are made in it: its time says when they change.
    pub fn is_kept_listing(&self, ino: Ino) -> bool {
        matches!(self.node(ino), Ok(Node::Secrets | Node::Files))
    }

    /// The kernel asks anew which names there are before it lists them.
    pub(super) fn drop_listings(&self) {
        let nodes = [Node::Secrets, Node::Files, Node::Backups];
        let inodes = nodes.map(|node| self.state().tree.intern(&node));
        inodes.into_iter().for_each(|ino| self.kernel.tell(Notice::Attributes(ino)));
    }

    /// How long the kernel may keep that there is no such name; `None` where the answer is one caller's alone, as it is
    /// for the files that are being made or removed.
    pub fn keeps_missing(&self, parent: Ino, name: &str) -> Option<Duration> {
        let ttl = self.options.negative_ttl.min(self.options.kernel_ttl);
        let now = self.now();
        let mut state = self.state();
        if ttl.is_zero() || !state.is_quiet(now) {
            return None;
        }
        if state.missing.len() >= MAX_MISSING {
            state.missing.retain(|_, until| *until > now);
        }
        if state.missing.len() < MAX_MISSING {
            state.missing.insert((parent, name.to_owned()), now + ttl);
        }
        Some(ttl)
    }

    /// The kernel asks anew for what it was told is not there.
    pub(super) fn drop_missing(&self) {
        let missing = std::mem::take(&mut self.state().missing);
        missing.into_keys().for_each(|(parent, name)| self.kernel.tell(Notice::Entry(parent, name)));
    }
}
