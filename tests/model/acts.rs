//! Each step as system calls.

use std::time::Duration;

use akvfs::fs::errno::FsError;
use akvfs::fs::tree::{Ino, ROOT};
use akvfs::fs::{Change, OpenFlags, RenameMode};
use akvfs::secret::Version;
use akvfs::store::{ErrorKind, Operation, SecretStore};

use super::{Open, World, errno, mount, other_case, path, store};
use crate::op::{At, Dir, Edit, How, Listed, META, NAMES, Op, Refusal};
use crate::others::change;
use crate::reference::{Fd, Outcome};
use crate::support::name;

const OVERWRITE: OpenFlags =
    OpenFlags { write: true, truncate: true, read_write: false, append: false, exclusive: false };

const CHANGES: [Operation; 6] =
    [Operation::Set, Operation::Update, Operation::Delete, Operation::Recover, Operation::Purge, Operation::Restore];

fn flags(how: How) -> OpenFlags {
    let exclusive = matches!(how, How::Create | How::Mkstemp);
    match how {
        How::Read => OpenFlags::default(),
        How::Write { truncate, append } => OpenFlags { write: true, truncate, append, ..OpenFlags::default() },
        How::Create | How::Mkstemp => {
            OpenFlags { write: true, exclusive, read_write: how == How::Mkstemp, ..OpenFlags::default() }
        }
    }
}

impl World {
    /// `fds` are the descriptors it is about, each with whether it is the last of its file.
    pub fn step(&mut self, op: &Op, fds: &[(Fd, bool)], opened: &mut Option<Open>) -> Outcome {
        let outcome = self.act(op, fds, opened);
        if !matches!(op, Op::VaultRefuses { .. }) {
            self.vault.forget_faults();
        }
        self.note_versions();
        outcome
    }

    fn act(&mut self, op: &Op, fds: &[(Fd, bool)], opened: &mut Option<Open>) -> Outcome {
        match *op {
            Op::List { p, what } => self.list(p, what),
            Op::Mkdir { p, n } => self.mkdir(p, NAMES[n]),
            Op::MkdirOtherCase { p, n } => self.mkdir(p, &other_case(NAMES[n])),
            Op::Rmdir { p, n } => self.remove_in(p, "secrets", n),
            Op::Purge { p, n } => self.remove_in(p, "deleted", n),
            Op::Unlink { p, at } => {
                let dir = self.dir(p, at.0)?;
                errno(self.lookup(p, dir, at.1))?;
                errno(self.fs.unlink(&self.call(p), dir, at.1))
            }
            Op::UnlinkVersion { p, n } => self.unlink_version(p, n),
            Op::UnlinkGrave { p, n } => {
                let dir = self.walk(p, &["deleted", NAMES[n]])?.node;
                errno(self.lookup(p, dir, META))?;
                errno(self.fs.unlink(&self.call(p), dir, META))
            }
            Op::Open { p, at, how } => {
                let dir = self.dir(p, at.0)?;
                *opened = Some(self.open(p, (dir, at.1), flags(how), how != How::Read)?);
                Ok(())
            }
            Op::Read { .. } => Ok(()),
            Op::Write { at, data, .. } => {
                let fd = fds[0].0;
                errno(self.fs.write(&self.call(fd.p), self.files[&fd.file].handle, at, data.0))
            }
            Op::Truncate { size, .. } => {
                let (fd, change) = (fds[0].0, Change { size: Some(size), ..Change::default() });
                let open = &self.files[&fd.file];
                errno(self.fs.setattr(&self.call(fd.p), open.node, Some(open.handle), change)).map(drop)
            }
            Op::TruncatePath { p, at, size } => {
                let node = self.node(p, at)?;
                let change = Change { size: Some(size), ..Change::default() };
                errno(self.fs.setattr(&self.call(p), node, None, change)).map(drop)
            }
            Op::Fsync { .. } => {
                let fd = fds[0].0;
                let synced = self.fs.fsync(&self.call(fd.p), self.files[&fd.file].handle);
                synced.map_err(|error: FsError| error.errno_at_close())
            }
            Op::Fork { .. } => {
                let fd = fds[0].0;
                self.hold(Fd { p: fd.p + 10, ..fd });
                Ok(())
            }
            Op::Close { .. } => {
                self.let_go(fds[0].0);
                self.close(fds[0].0, fds[0].1)
            }
            Op::Kill { p } => self.kill(p, fds),
            Op::Rename { p, from, to } => self.rename(p, from, to),
            Op::ToDeleted { p, n } => self.move_secret(p, n, "secrets", "deleted"),
            Op::Recover { p, n } => self.move_secret(p, n, "deleted", "secrets"),
            Op::Meta { p, n, how, patch } => self.edit(p, n, how, patch),
            Op::VersionMeta { p, n, back, patch } => {
                let versions = self.versions(p, n)?;
                let version = &versions[versions.len() - 1 - back % versions.len()];
                let dir = self.walk(p, &["secrets", NAMES[n], "versions"])?.node;
                self.put(p, (dir, &format!(".{version}{META}")), patch.as_bytes(), OVERWRITE)
            }
            Op::GraveMeta { p, n } => {
                let dir = self.walk(p, &["deleted", NAMES[n]])?.node;
                self.put(p, (dir, META), b"{}", OVERWRITE)
            }
            Op::SetXattr { p, at, name, text } => {
                let node = self.node(p, at)?;
                errno(self.fs.setxattr(&self.call(p), node, &format!("user.akvfs.{name}"), text.as_bytes()))
            }
            Op::RemoveTag { p, at } => {
                let node = self.node(p, at)?;
                errno(self.fs.removexattr(&self.call(p), node, "user.akvfs.tag.k"))
            }
            Op::Backup { p, n } => {
                let (blob, ..) = self.read(p, &["backup", NAMES[n]])?;
                self.blobs.push(blob);
                Ok(())
            }
            Op::Restore { p, blob, name, renamed } => {
                self.restore(p, &self.blobs[blob % self.blobs.len()], name, renamed)
            }
            Op::Refresh { p } => {
                let dir = self.walk(p, &[".akvfs"])?.node;
                self.put(p, (dir, "refresh"), b"", OVERWRITE)
            }
            Op::Others { n, what } => {
                self.vault.forget_faults();
                change(&*self.vault, &name(NAMES[n]), what, self.call(1).wait);
                Ok(())
            }
            Op::Advance { ms } => {
                self.clock.advance(Duration::from_millis(ms));
                self.fs.send_due_removals();
                Ok(())
            }
            Op::Remount => {
                errno(self.fs.send_removals(self.call(1).wait))?;
                self.forget();
                self.store = store(&self.vault, self.cached, &self.clock);
                self.fs = mount(&self.store, &self.clock, &self.table, &self.kernel, self.setup);
                Ok(())
            }
            Op::VaultRefuses { kind } => {
                let kind = match kind {
                    Refusal::Throttled => ErrorKind::Throttled { retry_after: None },
                    Refusal::Managed => ErrorKind::Managed,
                    Refusal::Broken => ErrorKind::Broken,
                };
                self.vault.forget_faults();
                CHANGES.into_iter().for_each(|operation| self.vault.fail_next(operation, kind));
                Ok(())
            }
        }
    }

    fn list(&self, p: u32, what: Listed) -> Outcome {
        let listed = match what {
            Listed::Root => self.names_of(p, ROOT),
            Listed::Secrets => self.names(p, &["secrets"]),
            Listed::Deleted => self.names(p, &["deleted"]),
            Listed::In(dir) => self.names(p, &path(dir)),
            Listed::Versions(n) => self.names(p, &["secrets", NAMES[n], "versions"]),
            Listed::Grave(n) => self.names(p, &["deleted", NAMES[n]]),
        };
        listed.map(drop)
    }

    fn mkdir(&self, p: u32, text: &str) -> Outcome {
        let parent = self.walk(p, &["secrets"])?.node;
        match self.walk(p, &["secrets", text]) {
            Ok(_) => return Err(libc::EEXIST),
            Err(libc::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        let entry = errno(self.fs.mkdir(&self.call(p), parent, text))?;
        self.looked_up.borrow_mut().push(entry.node);
        Ok(())
    }

    fn remove_in(&self, p: u32, parent: &str, n: usize) -> Outcome {
        self.walk(p, &[parent, NAMES[n]])?;
        let parent = self.walk(p, &[parent])?.node;
        errno(self.fs.rmdir(&self.call(p), parent, NAMES[n]))
    }

    fn unlink_version(&self, p: u32, n: usize) -> Outcome {
        let name = self.versions(98, n)?.pop().expect("one at least").to_string();
        let dir = self.walk(p, &["secrets", NAMES[n], "versions"])?.node;
        errno(self.lookup(p, dir, &name))?;
        errno(self.fs.unlink(&self.call(p), dir, &name))
    }

    /// The versions that are listed, the oldest first.
    pub fn versions(&self, p: u32, n: usize) -> Result<Vec<Version>, i32> {
        let names = self.names(p, &["secrets", NAMES[n], "versions"])?;
        let mut versions: Vec<Version> = names.iter().filter_map(|name| Version::parse(name)).collect();
        versions.sort_by_key(|version| self.made.get(version));
        Ok(versions)
    }

    /// A step makes at most one version of a secret.
    fn note_versions(&mut self) {
        for secret in NAMES {
            let listed = self.vault.list_versions(&name(secret), None, self.call(1).wait).expect("listed");
            for version in listed.items.into_iter().filter_map(|item| item.version) {
                let next = self.made.len();
                self.made.entry(version).or_insert(next);
            }
        }
    }

    fn kill(&mut self, p: u32, fds: &[(Fd, bool)]) -> Outcome {
        fds.iter().for_each(|(fd, _)| self.let_go(*fd));
        self.table.killed.lock().expect("whole").insert(p);
        for (fd, last) in fds {
            self.close(*fd, *last)?;
        }
        self.table.killed.lock().expect("whole").clear();
        Ok(())
    }

    fn rename(&self, p: u32, from: At, to: At) -> Outcome {
        let (dir, target) = (self.dir(p, from.0)?, self.dir(p, to.0)?);
        let old = errno(self.lookup(p, dir, from.1))?.node;
        // The same inode under both names: the kernel does nothing.
        if self.lookup(p, target, to.1).is_ok_and(|entry| entry.node == old) {
            return Ok(());
        }
        errno(self.fs.rename(&self.call(p), (dir, from.1), (target, to.1), RenameMode::Replace))
    }

    fn move_secret(&self, p: u32, n: usize, from: &str, to: &str) -> Outcome {
        let (parent, target) = (self.walk(p, &[from])?.node, self.walk(p, &[to])?.node);
        self.walk(p, &[from, NAMES[n]])?;
        let _ = self.lookup(p, target, NAMES[n]);
        errno(self.fs.rename(&self.call(p), (parent, NAMES[n]), (target, NAMES[n]), RenameMode::Replace))
    }

    fn edit(&self, p: u32, n: usize, how: Edit, patch: &str) -> Outcome {
        let dir = self.dir(p, Dir::Secret(n))?;
        match how {
            Edit::Partly => self.put(p, (dir, META), patch.as_bytes(), OVERWRITE),
            Edit::Whole => {
                let before = self.read(p, &["secrets", NAMES[n], META]).map(|(text, ..)| text).unwrap_or_default();
                self.put(p, (dir, META), merged(&before, patch).as_bytes(), OVERWRITE)
            }
            Edit::Renamed => self.put_and_rename(p, (dir, ".edited.tmp"), META, patch.as_bytes()),
        }
    }

    fn restore(&self, p: u32, blob: &[u8], name: &str, renamed: bool) -> Outcome {
        let dir = self.dir(p, Dir::Backups)?;
        if renamed {
            self.put_and_rename(p, (dir, ".new"), name, blob)
        } else {
            self.put(p, (dir, name), blob, OVERWRITE)
        }
    }

    /// As editors save; who cannot takes the temporary file away.
    fn put_and_rename(&self, p: u32, from: (Ino, &str), to: &str, bytes: &[u8]) -> Outcome {
        self.put(p, from, bytes, OVERWRITE)?;
        errno(self.lookup(p, from.0, from.1))?;
        let _ = self.lookup(p, from.0, to);
        let renamed = errno(self.fs.rename(&self.call(p), from, (from.0, to), RenameMode::Replace));
        if renamed.is_err() {
            errno(self.fs.unlink(&self.call(p), from.0, from.1))?;
        }
        renamed
    }
}

/// A document with the members of `patch`; `patch` alone where one of them is none.
fn merged(before: &[u8], patch: &str) -> String {
    let object = |text: &[u8]| serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(text).ok();
    let Some(patched) = object(patch.as_bytes()) else { return patch.to_owned() };
    let mut whole = object(before).unwrap_or_default();
    whole.extend(patched);
    serde_json::Value::Object(whole).to_string()
}
