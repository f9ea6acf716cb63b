//! `files/`: every secret as one plain file, for programs that insist on names and bytes of their own.
//!
//! A file is found by its secret's name, else by an alias: one of the mount's own (`[aliases]` in its configuration), or
//! what a secret's tag `akvfs-file` says. A secret's own name outweighs an alias, and the mount's aliases the tags'.

use crate::pages::all_pages;
use crate::secret::{NameError, SecretName, SecretProperties};
use crate::store::{ErrorKind, Found, Operation, Wait};

use super::attr::{DirEntry, Kind};
use super::draft::Place;
use super::errno::{FsError, FsResult};
use super::handles::Rest;
use super::tree::{DraftId, Face, Node};
use super::{Call, Notice, SecretFs};

/// The tag that gives a secret another name in `files/`.
pub const ALIAS_TAG: &str = "akvfs-file";
/// The longest file name (`NAME_MAX`).
const MAX_FILE_NAME: usize = 255;

impl SecretFs {
    /// The secret that a name in `files/` means.
    pub(super) fn resolve(&self, call: &Call, name: &str) -> FsResult<Found> {
        if let Ok(secret) = SecretName::parse(name) {
            match self.find(&secret, call.wait) {
                Ok(found) if found.properties.name.as_str() == name => return Ok(found),
                Ok(_) => {}
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        let secret = self.aliased(name, call.wait)?.ok_or_else(|| FsError::plain(libc::ENOENT))?;
        Ok(self.find(&secret, call.wait)?)
    }

    /// The temporary file of this name, unless a secret was made meanwhile that the name means: that outweighs it.
    pub(super) fn scratch_in(&self, call: &Call, place: &Place, name: &str) -> FsResult<Option<DraftId>> {
        let scratch = self.state().scratch(place, name);
        if scratch.is_none() || *place != Place::Files {
            return Ok(scratch);
        }
        match self.resolve(call, name) {
            Ok(_) => Ok(None),
            Err(error) if error.is_not_in_memory() => Err(error),
            // Whatever ails the vault, the file is here.
            Err(_) => Ok(scratch),
        }
    }

    /// The secret that a new file of this name is: by the mount's alias, or by its own name.
    pub(super) fn meant(&self, name: &str) -> FsResult<SecretName> {
        if let Some(secret) = self.options.aliases.get(name) {
            return Ok(secret.clone());
        }
        SecretName::parse(name).map_err(|error| match error {
            NameError::Illegal => FsError::refused(
                libc::EINVAL,
                "no secret can have this name: give one an alias (tag akvfs-file), or use a temporary name (.x, x.tmp)",
            ),
            NameError::TooLong => FsError::plain(libc::ENAMETOOLONG),
        })
    }

    fn aliased(&self, name: &str, wait: Wait) -> FsResult<Option<SecretName>> {
        if let Some(secret) = self.options.aliases.get(name) {
            return Ok(Some(secret.clone()));
        }
        if !is_file_name(name) {
            return Ok(None);
        }
        let listed = match self.listed(wait) {
            Ok(listed) => listed,
            // Who may not list has the mount's own aliases only.
            Err(FsError::Store(error)) if error.kind == ErrorKind::Forbidden => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(listed.into_iter().find(|item| tagged_alias(item) == Some(name)).map(|item| item.name))
    }

    /// All secrets, as listed.
    pub(super) fn listed(&self, wait: Wait) -> FsResult<Vec<SecretProperties>> {
        Ok(all_pages(Operation::List, |from| self.store.list(from, wait))?)
    }

    /// A page of `files/`: the secrets by name and by tag, and behind the last page the mount's aliases and the temporary
    /// files.
    pub(super) fn files(&self, call: &Call, from: &Rest) -> FsResult<(Vec<DirEntry>, Rest)> {
        let page = self.store.list(from.place(), call.wait)?;
        let rest = Rest::of(page.next);
        let mut entries = Vec::with_capacity(page.items.len());
        for item in &page.items {
            entries.extend(self.file_entry(item.name.as_str(), &item.name));
            // The mount's own aliases come last.
            let alias = tagged_alias(item).filter(|alias| !self.options.aliases.contains_key(*alias));
            if let Some(alias) = alias
                && self.is_alias_of(call, alias, &item.name)?
            {
                entries.extend(self.file_entry(alias, &item.name));
            }
        }
        if rest == Rest::Nothing {
            for (alias, secret) in &self.options.aliases {
                if self.is_alias_of(call, alias, secret)? {
                    entries.extend(self.file_entry(alias, secret));
                }
            }
            let scratch = self.state().scratch_names(&Place::Files);
            // What has become the name of a secret meanwhile was listed as that.
            let kept = scratch.into_iter().filter(|(name, _)| self.resolve(call, name).is_err());
            entries.extend(kept.map(|(name, ino)| DirEntry { ino, kind: Kind::File, name }));
        }
        Ok((entries, rest))
    }

    /// Whether a look-up of `alias` comes to `secret`, by the alias and not by its name.
    fn is_alias_of(&self, call: &Call, alias: &str, secret: &SecretName) -> FsResult<bool> {
        if alias == secret.as_str() {
            return Ok(false);
        }
        match self.resolve(call, alias) {
            Ok(found) => Ok(found.properties.name == *secret),
            // It means nothing, or nothing that this identity may see.
            Err(error) if [libc::ENOENT, libc::EACCES].contains(&error.errno()) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn file_entry(&self, name: &str, secret: &SecretName) -> Option<DirEntry> {
        let mut state = self.state();
        let ino = state.tree.unbound_value(secret, Face::File);
        (!state.is_hidden(secret, Face::File)).then(|| DirEntry { ino, kind: Kind::File, name: name.to_owned() })
    }

    /// What the kernel must look up again in `files/` after a change of this secret.
    pub(super) fn drop_files(&self, secret: &SecretName) {
        let files = self.state().tree.intern(&Node::Files);
        for name in self.file_names(secret) {
            self.kernel.tell(Notice::Entry(files, name));
        }
        self.drop_listings();
    }

    /// The names of a secret in `files/`: its own, and its aliases, as far as they are known.
    pub(super) fn file_names(&self, secret: &SecretName) -> Vec<String> {
        let found = self.store.find(secret, Wait::No).ok();
        let tagged = found.as_ref().and_then(|found| tagged_alias(&found.properties)).map(str::to_owned);
        let own = self.options.aliases.iter().filter(|(_, of)| *of == secret).map(|(alias, _)| alias.clone());
        own.chain(tagged).chain([secret.to_string()]).collect()
    }
}

pub(super) fn tagged_alias(item: &SecretProperties) -> Option<&str> {
    let alias = item.tags.as_ref()?.get(ALIAS_TAG)?;
    is_file_name(alias).then_some(alias.as_str())
}

/// Whether a tag, which anybody who may write the vault can set, is one file's name and nothing else.
pub(super) fn is_file_name(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte != b'/' && !byte.is_ascii_control());
    plain && !matches!(name, "" | "." | "..") && name.len() <= MAX_FILE_NAME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_files_name_is_an_alias() {
        for name in ["tls.crt", "DB_PASSWORD", ".netrc", "a b", "ü"] {
            assert!(is_file_name(name), "{name:?}");
        }
        for name in ["", ".", "..", "a/b", "../x", "a\nb", "a\0b", &"x".repeat(256)] {
            assert!(!is_file_name(name), "{name:?}");
        }
    }
}
