//! `.meta.json` and extended attributes.

use serde_json::Value;

use crate::op::{At, Edit};

use super::sight::Home;
use super::{Attributes, Change, Outcome, Reference, Seen};

impl Reference {
    pub(super) fn edit(&mut self, n: usize, p: u32, how: Edit, patch: &str) -> Option<Outcome> {
        let home = match self.home(n, p) {
            Err(errno) => return Some(Err(errno)),
            Ok(home) => home,
        };
        Some(match home {
            // Looked at first, or written beside it first: there is nothing, and nothing can be made.
            Home::Ghost => Err(libc::EPERM),
            Home::Newborn => self.save_document(n, patch.as_bytes(), how == Edit::Whole),
            Home::Live => self.save_document(n, patch.as_bytes(), false),
        })
    }

    /// A document is written: whole, or what changes. `merged` is for one of a secret that is not there yet, which has
    /// nothing but what is written.
    pub(super) fn save_document(&mut self, n: usize, text: &[u8], merged: bool) -> Outcome {
        if self.live(n).is_some() {
            let before = self.current(n).expect("live").attributes.clone();
            let after = patched(&before, text)?;
            return self.update(n, 0, after);
        }
        let before = self.newborn.get(&n).cloned().flatten().filter(|_| merged);
        let after = patched(&before.unwrap_or_default(), text)?;
        self.newborn.insert(n, Some(after));
        Ok(())
    }

    /// What is as before is not sent.
    fn update(&mut self, n: usize, back: usize, after: Attributes) -> Outcome {
        let place = |secret: &super::Secret| secret.versions.len() - 1 - back;
        let secret = self.live(n).expect("live");
        if secret.versions[place(secret)].attributes != after {
            self.send(Change::Update)?;
        }
        let secret = self.secrets.get_mut(&n).expect("live");
        let place = place(secret);
        secret.versions[place].attributes = after;
        Ok(())
    }

    pub(super) fn edit_version(&mut self, n: usize, p: u32, back: usize, patch: &str) -> Option<Outcome> {
        match self.home(n, p) {
            Err(errno) => return Some(Err(errno)),
            Ok(Home::Live) => {}
            Ok(_) => return None,
        }
        let versions = &self.live(n)?.versions;
        let back = back % versions.len();
        let before = &versions[versions.len() - 1 - back].attributes;
        Some(patched(before, patch.as_bytes()).and_then(|after| self.update(n, back, after)))
    }

    pub(super) fn set_xattr(&mut self, at: At, p: u32, name: &str, text: &str) -> Option<Outcome> {
        let Ok(Seen::Value(n, _)) = self.look(at, p) else { return None };
        let mut attributes = self.current(n)?.attributes.clone();
        match (name, text) {
            ("content_type", _) => attributes.content_type = Some(text.to_owned()),
            ("enabled", "true" | "false") => attributes.enabled = Some(text == "true"),
            ("tag.k", _) => {
                attributes.tags.get_or_insert_default().insert("k".to_owned(), text.to_owned());
            }
            ("enabled", _) => return Some(Err(libc::EINVAL)),
            ("version", _) => return Some(Err(libc::EPERM)),
            _ => return Some(Err(libc::EOPNOTSUPP)),
        }
        // An attribute that is set is sent, whatever it was.
        Some(self.send(Change::Update).and_then(|()| self.update(n, 0, attributes)))
    }

    pub(super) fn remove_tag(&mut self, at: At, p: u32) -> Option<Outcome> {
        let Ok(Seen::Value(n, _)) = self.look(at, p) else { return None };
        let mut attributes = self.current(n)?.attributes.clone();
        if attributes.tags.as_mut().and_then(|tags| tags.remove("k")).is_none() {
            return Some(Err(libc::ENODATA));
        }
        Some(self.update(n, 0, attributes))
    }
}

/// What a document changes of `before`.
fn patched(before: &Attributes, text: &[u8]) -> Result<Attributes, i32> {
    let Ok(Value::Object(members)) = serde_json::from_slice(text) else { return Err(libc::EINVAL) };
    let mut new = before.clone();
    for (key, value) in members {
        match (key.as_str(), value) {
            ("enabled", Value::Bool(enabled)) => new.enabled = Some(enabled),
            ("content_type" | "expires_on", Value::Null) => return Err(libc::EOPNOTSUPP),
            ("content_type", Value::String(text)) => new.content_type = Some(text),
            ("expires_on", Value::String(text)) => new.expires_on = Some(text),
            ("tags", Value::Object(tags)) => {
                let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
                new.tags = Some(tags.into_iter().map(|(key, value)| (key, text(value))).collect());
            }
            _ => return Err(libc::EINVAL),
        }
    }
    Ok(new)
}
