//! Extended attributes of a value: `user.akvfs.*`, its properties one by one.

use crate::secret::{SecretAttributes, SecretName, SecretProperties, Tags, Timestamp};

use super::errno::{FsError, FsResult};
use super::tree::{Ino, Node};
use super::{Call, SecretFs};

const PREFIX: &str = "user.akvfs.";
const TAG: &str = "tag.";

fn unsupported() -> FsError {
    FsError::plain(libc::EOPNOTSUPP)
}

fn own_name(name: &str) -> FsResult<&str> {
    name.strip_prefix(PREFIX).ok_or_else(unsupported)
}

impl SecretFs {
    /// One attribute's value.
    pub fn getxattr(&self, call: &Call, ino: Ino, name: &str) -> FsResult<Vec<u8>> {
        let name = own_name(name)?;
        let properties = self.attributed(call, ino)?;
        let found = all(&properties).into_iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_bytes()).ok_or_else(|| FsError::plain(libc::ENODATA))
    }

    /// The names of all attributes, each closed by a NUL. None where there can be none, or none may be seen.
    pub fn listxattr(&self, call: &Call, ino: Ino) -> FsResult<Vec<u8>> {
        let properties = match self.attributed(call, ino) {
            Ok(properties) => properties,
            Err(error) if [libc::EOPNOTSUPP, libc::EACCES].contains(&error.errno()) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        Ok(all(&properties).into_iter().flat_map(|(key, _)| format!("{PREFIX}{key}\0").into_bytes()).collect())
    }

    /// Sets one attribute. No new version.
    pub fn setxattr(&self, call: &Call, ino: Ino, name: &str, value: &[u8]) -> FsResult<()> {
        let name = own_name(name)?;
        self.check_writable()?;
        let secret = self.current_secret(ino)?;
        let text = std::str::from_utf8(value).map_err(|_| FsError::refused(libc::EINVAL, "an attribute is text"))?;
        let changes = match name.strip_prefix(TAG) {
            Some(tag) => self.with_tags(call, &secret, |tags| {
                tags.insert(tag.to_owned(), text.to_owned());
                Ok(())
            })?,
            None => parse(name, text)?,
        };
        self.change(&secret, None, &changes, call.wait)
    }

    /// Removes a tag.
    pub fn removexattr(&self, call: &Call, ino: Ino, name: &str) -> FsResult<()> {
        let name = own_name(name)?;
        self.check_writable()?;
        let secret = self.current_secret(ino)?;
        let tag = name.strip_prefix(TAG).ok_or_else(unsupported)?;
        let changes = self.with_tags(call, &secret, |tags| match tags.remove(tag) {
            Some(_) => Ok(()),
            None => Err(FsError::plain(libc::ENODATA)),
        })?;
        self.change(&secret, None, &changes, call.wait)
    }

    fn attributed(&self, call: &Call, ino: Ino) -> FsResult<SecretProperties> {
        match self.node(ino)? {
            Node::Value(secret, _) => self.properties(&secret, None, call.wait),
            Node::OldVersion(secret, version) => self.properties(&secret, Some(&version), call.wait),
            _ => Err(unsupported()),
        }
    }

    fn current_secret(&self, ino: Ino) -> FsResult<SecretName> {
        match self.node(ino)? {
            Node::Value(secret, _) => Ok(secret),
            Node::OldVersion(..) => Err(FsError::plain(libc::EPERM)),
            _ => Err(unsupported()),
        }
    }

    /// The service replaces all tags at once, so they are read anew before one of them changes.
    fn with_tags(
        &self,
        call: &Call,
        secret: &SecretName,
        edit: impl FnOnce(&mut Tags) -> FsResult<()>,
    ) -> FsResult<SecretAttributes> {
        self.store.expire(Some(secret));
        let mut tags = self.properties(secret, None, call.wait)?.tags.unwrap_or_default();
        edit(&mut tags)?;
        Ok(SecretAttributes { tags: Some(tags), ..SecretAttributes::default() })
    }
}

fn all(properties: &SecretProperties) -> Vec<(String, String)> {
    let date = |timestamp: Option<Timestamp>| timestamp.map(|timestamp| timestamp.to_string());
    let fixed = [
        ("version", properties.version.as_ref().map(ToString::to_string)),
        ("content_type", properties.content_type.clone()),
        ("enabled", properties.enabled.map(|enabled| enabled.to_string())),
        ("not_before", date(properties.not_before)),
        ("expires_on", date(properties.expires_on)),
        ("created_on", date(properties.created_on)),
        ("updated_on", date(properties.updated_on)),
        ("recovery_level", properties.recovery_level.clone()),
        ("key_id", properties.key_id.clone()),
        ("id", Some(properties.id.clone())),
    ];
    let tags = properties.tags.iter().flatten().map(|(key, value)| (format!("{TAG}{key}"), value.clone()));
    fixed.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).chain(tags).collect()
}

fn parse(name: &str, text: &str) -> FsResult<SecretAttributes> {
    let date = || {
        let timestamp = Timestamp::parse(text);
        timestamp.map(Some).ok_or_else(|| FsError::refused(libc::EINVAL, "a date looks like 2027-01-31T00:00:00Z"))
    };
    let mut changes = SecretAttributes::default();
    match name {
        "content_type" => changes.content_type = Some(text.to_owned()),
        "enabled" => {
            let enabled = text.parse().map_err(|_| FsError::refused(libc::EINVAL, "enabled is true or false"))?;
            changes.enabled = Some(enabled);
        }
        "not_before" => changes.not_before = date()?,
        "expires_on" => changes.expires_on = date()?,
        "version" | "created_on" | "updated_on" | "recovery_level" | "key_id" | "id" => {
            return Err(FsError::refused(libc::EPERM, "only the service sets this attribute"));
        }
        _ => return Err(unsupported()),
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_can_be_set_and_those_that_cannot() {
        assert_eq!(parse("enabled", "false").expect("set").enabled, Some(false));
        assert_eq!(parse("expires_on", "1970-01-01T00:00:01Z").expect("set").expires_on, Some(Timestamp(1)));
        for (name, text, errno) in [
            ("enabled", "no", libc::EINVAL),
            ("not_before", "soon", libc::EINVAL),
            ("version", "x", libc::EPERM),
            ("colour", "x", libc::EOPNOTSUPP),
        ] {
            assert_eq!(parse(name, text).expect_err(name).errno(), errno);
        }
        assert_eq!(own_name("security.selinux").expect_err("foreign").errno(), libc::EOPNOTSUPP);
    }
}
