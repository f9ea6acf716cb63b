//! Whom a secret's files belong to: what a rule of the mount says, else what the secret's tags say where the mount lets
//! them, else what holds for the whole mount. Only shown here; the kernel decides by it.

use std::collections::BTreeMap;

use wildmatch::WildMatch;

use crate::secret::{SecretName, Tags};
use crate::store::Wait;

use super::SecretFs;
use super::attr::{Attr, Entry, Kind, Stat};
use super::draft::Target;
use super::tree::{Ino, Node};

/// The tags that `owner_tags` is about.
const OWNER: &str = "akvfs-owner";
const GROUP: &str = "akvfs-group";
const MODE: &str = "akvfs-mode";

/// Owner, group and permissions of a secret's files, as far as they are not those of the whole mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// The owner.
    pub owner: Option<u32>,
    /// The group.
    pub group: Option<u32>,
    /// Permissions of files. A directory can be searched by who can read them.
    pub mode: Option<u16>,
}

/// Rights for the secrets whose names fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// A name in which `*` stands for any letters and `?` for one.
    pub secrets: String,
    /// What they get.
    pub rights: Rights,
}

/// The numbers of users and groups by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Users.
    pub users: BTreeMap<String, u32>,
    /// Groups.
    pub groups: BTreeMap<String, u32>,
}

/// Whether `name` fits `pattern`. Names compare without case.
fn fits(pattern: &str, name: &str) -> bool {
    WildMatch::new_case_insensitive(pattern).matches(name)
}

impl Rights {
    /// What tags say. What makes no sense says nothing: somebody far away wrote it.
    fn of_tags(tags: &Tags, accounts: &Accounts) -> Self {
        let number = |tag: &str, names: &BTreeMap<String, u32>| {
            let text = tags.get(tag)?;
            // chown(2): the largest number means "no change".
            text.parse().ok().filter(|id| *id != u32::MAX).or_else(|| names.get(text).copied())
        };
        let mode = tags.get(MODE).and_then(|text| u16::from_str_radix(text, 8).ok()).filter(|mode| *mode <= 0o777);
        Self { owner: number(OWNER, &accounts.users), group: number(GROUP, &accounts.groups), mode }
    }
}

impl SecretFs {
    /// `attr` as it is shown for `ino`.
    pub(super) fn permitted(&self, ino: Ino, stat: Stat) -> Stat {
        if self.options.rules.is_empty() && self.options.owner_tags.is_none() {
            return stat;
        }
        match self.node(ino).ok().and_then(|node| self.secret_of(&node)) {
            Some(secret) => Stat { attr: self.attr_with(stat.attr, self.rights_of(&secret)), ..stat },
            None => stat,
        }
    }

    pub(super) fn permitted_entry(&self, entry: Entry) -> Entry {
        Entry { stat: self.permitted(entry.node, entry.stat), ..entry }
    }

    fn attr_with(&self, attr: Attr, rights: Rights) -> Attr {
        let mode = match (rights.mode, attr.kind) {
            // What may not be read is shown so, whoever owns it.
            (Some(mode), Kind::File) if attr.mode != 0 => self.unless_read_only(mode),
            (Some(mode), Kind::Directory) => self.unless_read_only(mode | (mode & 0o444) >> 2),
            _ => attr.mode,
        };
        Attr { uid: rights.owner.unwrap_or(attr.uid), gid: rights.group.unwrap_or(attr.gid), mode, ..attr }
    }

    fn unless_read_only(&self, mode: u16) -> u16 {
        if self.options.read_only { mode & !0o222 } else { mode }
    }

    fn rights_of(&self, secret: &SecretName) -> Rights {
        if let Some(rule) = self.options.rules.iter().find(|rule| fits(&rule.secrets, secret.as_str())) {
            return rule.rights;
        }
        let Some(accounts) = &self.options.owner_tags else { return Rights::default() };
        let tags = self.store.find(secret, Wait::No).ok().and_then(|found| found.properties.tags);
        tags.map_or_else(Rights::default, |tags| Rights::of_tags(&tags, accounts))
    }

    /// The secret that a file is of. A backup is not for who may read the value, and a temporary file is its maker's.
    fn secret_of(&self, node: &Node) -> Option<SecretName> {
        match node {
            Node::Dir(secret)
            | Node::Versions(secret)
            | Node::Certificate(secret)
            | Node::Value(secret, _)
            | Node::OldVersion(secret, _)
            | Node::Meta(secret, _) => Some(secret.clone()),
            Node::Draft(id) => {
                let target = self.state().drafts.get(id).map(|draft| draft.target.clone());
                match target {
                    Some(Target::Value(secret, _) | Target::Meta(secret, _)) => Some(secret),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names_without_case() {
        for (pattern, name, expected) in [
            ("web-*", "web-tls", true),
            ("web-*", "WEB-", true),
            ("web-*", "my-web-tls", false),
            ("*", "anything", true),
            ("db", "db", true),
            ("db", "db2", false),
            ("d?", "db", true),
            ("d?", "d", false),
            ("*-key-*", "a-key-b", true),
            ("*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn tags_are_numbers_or_known_names_and_nonsense_is_nothing() {
        let accounts = Accounts { users: BTreeMap::from([("app".to_owned(), 33)]), groups: BTreeMap::new() };
        let rights = |pairs: &[(&str, &str)]| {
            let tags = pairs.iter().map(|(tag, text)| ((*tag).to_owned(), (*text).to_owned())).collect();
            Rights::of_tags(&tags, &accounts)
        };
        let all = rights(&[(OWNER, "app"), (GROUP, "44"), (MODE, "0440")]);
        assert_eq!(all, Rights { owner: Some(33), group: Some(44), mode: Some(0o440) });
        let odd = [(OWNER, "nobody-knows"), (GROUP, "4294967295"), (MODE, "7777")];
        assert_eq!(rights(&odd), Rights::default());
        assert_eq!(rights(&[(MODE, "rw")]), Rights::default());
    }
}
