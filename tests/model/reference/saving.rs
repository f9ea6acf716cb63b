//! What a close saves.

use super::{Attributes, Change, Face, Fd, File, MAX, Outcome, Reference, Target, Version};

impl Reference {
    /// After a save what was moved aside before is a file like any other.
    pub(super) fn saved(&mut self, n: usize) {
        self.set_aside.retain(|(of, _)| *of != n);
        self.movers.retain(|(of, _), _| *of != n);
        for draft in self.drafts.values_mut().filter(|draft| draft.way_back.is_some_and(|(of, ..)| of == n)) {
            draft.way_back = None;
        }
    }

    /// "Bytes that equal the current value make no new version"; content type, tags and enabled are carried over.
    pub(super) fn save_value(&mut self, n: usize, face: Face, bytes: &[u8]) -> Outcome {
        if face == Face::Value && std::str::from_utf8(bytes).is_err() {
            return Err(libc::EILSEQ);
        }
        if self.is_disabled(n) {
            return Err(libc::EACCES);
        }
        let shown = self.shown(n, face).ok();
        let bytes = match &shown {
            Some(shown) if self.setup.final_newline_as_before && !shown.ends_with(b"\n") => {
                bytes.strip_suffix(b"\n").unwrap_or(bytes)
            }
            _ => bytes,
        };
        if !self.setup.always_set && shown.as_deref() == Some(bytes) {
            self.saved(n);
            return Ok(());
        }
        let attributes = match self.current(n) {
            Some(current) => Attributes { expires_on: None, ..current.attributes.clone() },
            None => self.newborn.get(&n).cloned().flatten().unwrap_or_default(),
        };
        let version = new_version(attributes, face, bytes);
        if version.value.len() > MAX {
            return Err(libc::EFBIG);
        }
        self.send(Change::Set)?;
        if self.is_deleted(n) {
            return Err(libc::EEXIST);
        }
        self.secrets.entry(n).or_default().versions.push(version);
        self.newborn.remove(&n);
        self.removals.remove(&n);
        self.ghosts.remove(&n);
        self.saved(n);
        Ok(())
    }

    pub(super) fn save(&mut self, id: usize) -> Outcome {
        let Some(draft) = self.drafts.get(&id).filter(|draft| draft.dirty).cloned() else { return Ok(()) };
        match draft.target {
            Target::Value(..) | Target::Restore(_) if draft.spoiled => return Err(libc::EFBIG),
            Target::Value(n, face) => self.save_value(n, face, &draft.bytes)?,
            // Nothing that is written here by itself is a backup.
            Target::Restore(_) => {
                self.send(Change::Restore)?;
                return Err(libc::EINVAL);
            }
            Target::Scratch(_) | Target::Nothing => return Ok(()),
        }
        self.clean(id);
        Ok(())
    }

    pub(super) fn sync(&mut self, id: usize) -> Outcome {
        let outcome = self.save(id);
        if let Some(draft) = self.drafts.get_mut(&id).filter(|draft| draft.dirty) {
            draft.unsynced = outcome.err();
        }
        outcome
    }

    /// A close leaves the save to others; what an fsync could not save is gone.
    fn leave(&mut self, id: usize) -> Outcome {
        let refused = self.drafts.get_mut(&id).filter(|draft| draft.dirty).and_then(|draft| draft.unsynced);
        refused.map_or(Ok(()), |errno| {
            self.clean(id);
            Err(errno)
        })
    }

    pub(super) fn clean(&mut self, id: usize) {
        if let Some(draft) = self.drafts.get_mut(&id) {
            draft.dirty = false;
        }
    }

    pub(super) fn close(&mut self, fd: Fd, killed: bool) -> Outcome {
        let place = self.fds.iter().position(|other| *other == fd).expect("an open descriptor");
        self.fds.remove(place);
        let last = !self.fds.iter().any(|other| other.file == fd.file);
        let File::Draft { id, writes: true, .. } = self.files[&fd.file] else {
            if last {
                self.files.remove(&fd.file);
                self.drop_unused();
            }
            return Ok(());
        };
        self.drafts.get_mut(&id).expect("a draft that is open").writers.insert(fd.p);
        if !last {
            return self.leave(id);
        }
        self.files.remove(&fd.file);
        let is_its = |file: &File| matches!(file, File::Draft { id: other, writes: true, .. } if *other == id);
        let shared = self.files.values().any(is_its);
        if shared {
            let left = self.leave(id);
            if killed || left.is_err() {
                self.drop_unused();
                return left;
            }
        }
        self.may_be_silent |= self.fds.iter().any(|other| self.writes(other.file));
        let outcome = if killed || shared { Ok(()) } else { self.save(id) };
        if !shared {
            self.clean(id);
        }
        self.drop_unused();
        outcome
    }
}

fn new_version(attributes: Attributes, face: Face, bytes: &[u8]) -> Version {
    let attributes = Attributes { enabled: Some(attributes.enabled.unwrap_or(true)), ..attributes };
    let mut version = Version { value: bytes.to_vec(), attributes };
    match face {
        Face::File => version.with_file(bytes),
        Face::Value => {
            if let Some(tags) = &mut version.attributes.tags {
                tags.remove("file-encoding");
            }
            version
        }
    }
}
