//! The whole visible tree, compared with the reference as a process that has no part in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use akvfs::fs::tree::ROOT;
use serde_json::Value;

use crate::op::{ALIAS, At, Dir, META, NAMES, SCRATCH, TAGGED, VALUE};
use crate::reference::{Attributes, Face, Reference, Secret, Seen, Version};
use crate::world::{LOOKER as P, World, other_case, path};

/// All names that anything in `files/` can have.
const FILES: [&str; 7] = [NAMES[0], NAMES[1], NAMES[2], ALIAS.0, TAGGED, ".new", "c~"];
const BACKUPS: [&str; 5] = [NAMES[0], NAMES[1], NAMES[2], ".new", "put"];

type Compared = Result<(), String>;

fn same<T: PartialEq + Debug>(what: impl Debug, found: T, expected: T) -> Compared {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what:?}: {}, and should be {}", short(&found), short(&expected)))
}

fn short(thing: &impl Debug) -> String {
    let text = format!("{thing:?}");
    if text.chars().count() > 300 { text.chars().take(300).chain("…".chars()).collect() } else { text }
}

fn failed(errno: i32) -> String {
    format!("errno {errno} to one who looks on")
}

/// What is listed, which no name is twice.
fn listed(world: &World, path: &[&str]) -> Result<BTreeSet<String>, String> {
    once(path, world.names(P, path).map_err(failed)?)
}

fn once(path: &[&str], names: Vec<String>) -> Result<BTreeSet<String>, String> {
    let set: BTreeSet<String> = names.iter().cloned().collect();
    if set.len() == names.len() { Ok(set) } else { Err(format!("{path:?} lists a name twice: {names:?}")) }
}

fn set<'a>(items: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    items.into_iter().map(str::to_owned).collect()
}

pub fn compare(reference: &Reference, world: &World) -> Compared {
    let root = world.names_of(P, ROOT).map_err(failed)?;
    same("/", set(root.iter().map(String::as_str)), set(["secrets", "deleted", "files", "backup", ".akvfs"]))?;
    let there = |n: &usize| reference.live(*n).is_some() || reference.newborn.contains_key(n);
    let names = (0..NAMES.len()).filter(there).map(|n| NAMES[n]);
    same("secrets/", listed(world, &["secrets"])?, set(names))?;
    for (n, name) in NAMES.iter().enumerate() {
        secret(reference, world, n)?;
        same("another spelling", world.walk(P, &["secrets", &other_case(name)]).err(), Some(libc::ENOENT))?;
    }
    flat(reference, world, Dir::Files, &FILES)?;
    flat(reference, world, Dir::Backups, &BACKUPS)?;
    // A look at the deleted ones sends what waits.
    if reference.removals.is_empty() {
        deleted(reference, world)?;
    }
    readers(reference, world)?;
    world.forget();
    Ok(())
}

fn readers(reference: &Reference, world: &World) -> Compared {
    for fd in 0..reference.fds.len() {
        if let Some(expected) = reference.content(fd) {
            let handle = world.files[&reference.fds[fd].file].handle;
            let bytes = world.fs.read(handle, 0, 1 << 20).map(|bytes| bytes.to_vec()).map_err(|error| error.errno());
            same("an open reader", bytes, Ok(expected.to_vec()))?;
        }
    }
    Ok(())
}

/// `files/` or `backup/`.
fn flat(reference: &Reference, world: &World, dir: Dir, all: &[&'static str]) -> Compared {
    let seen: BTreeMap<&'static str, Seen> =
        all.iter().filter_map(|name| Some((*name, reference.look((dir, name), P).ok()?))).collect();
    same(dir, listed(world, &path(dir))?, set(seen.keys().copied()))?;
    for name in all {
        let path = [path(dir)[0], name];
        match seen.get(name) {
            None => same(path, world.walk(P, &path).err(), Some(libc::ENOENT))?,
            Some(Seen::Value(n, face)) => value(world, &path, reference.live(*n).expect("live").current(), *face)?,
            Some(Seen::Backup(_)) => same(path, world.mode(P, &path), Ok((0o600, 0)))?,
            Some(_) => scratch(reference, world, (dir, name))?,
        }
    }
    Ok(())
}

fn scratch(reference: &Reference, world: &World, at: At) -> Compared {
    let (scratch, path) = (reference.scratch(at.0), path(at.0).into_iter().chain([at.1]).collect::<Vec<_>>());
    let read = world.read(P, &path).map(|(bytes, size, _)| (bytes, size));
    let bytes = scratch[at.1];
    same(at, read, Ok((bytes.to_vec(), bytes.len() as u64)))
}

fn secret(reference: &Reference, world: &World, n: usize) -> Compared {
    let dir = ["secrets", NAMES[n]];
    let (live, newborn) = (reference.live(n), reference.newborn.get(&n));
    if live.is_none() && newborn.is_none() {
        return same("a secret that is not there", world.names(P, &dir).err(), Some(libc::ENOENT));
    }
    let parts = live.map(|secret| secret.current().certificate());
    let visible = live.filter(|_| !reference.is_hidden(n, Face::Value));
    let mut expected = set(reference.scratch(Dir::Secret(n)).into_keys());
    expected.extend(visible.map(|_| VALUE.to_owned()));
    expected.extend(live.map(|_| "versions".to_owned()));
    expected.extend((live.is_some() || newborn.is_some_and(Option::is_some)).then(|| META.to_owned()));
    expected.extend(parts.clone().filter(|parts| *parts != Some(BTreeMap::new())).map(|_| "certificate".to_owned()));
    let names = world.names(P, &dir).map_err(failed)?;
    if visible.is_some() {
        same("the first entry", names[0].as_str(), VALUE)?;
    }
    same(NAMES[n], once(&dir, names)?, expected)?;
    for name in SCRATCH.into_iter().filter(|name| reference.scratch(Dir::Secret(n)).contains_key(name)) {
        scratch(reference, world, (Dir::Secret(n), name))?;
    }
    let path = [dir[0], dir[1], VALUE];
    match visible {
        None => same("a value that is not there", world.read(P, &path).err(), Some(libc::ENOENT))?,
        Some(secret) => value(world, &path, secret.current(), Face::Value)?,
    }
    if let (Some(secret), Some(Some(parts))) = (live, parts) {
        certificate(world, &dir, secret.current(), &parts)?;
    }
    let meta = [dir[0], dir[1], META];
    match (live, newborn) {
        (Some(secret), _) => {
            versions(world, n, secret)?;
            document(world, &meta, n, &secret.current().attributes)
        }
        (None, Some(Some(attributes))) => {
            let text = world.read(P, &meta).map_err(failed)?.0;
            members(&serde_json::from_slice(&text).expect("JSON"), attributes)
        }
        _ => same("no .meta.json", world.read(P, &meta).err(), Some(libc::ENOENT)),
    }
}

fn value(world: &World, path: &[&str], version: &Version, face: Face) -> Compared {
    attributes(world, path, version)?;
    if version.is_disabled() {
        same("a disabled value's mode and size", world.mode(P, path), Ok((0, 1)))?;
        return same("a disabled value", world.read(P, path).err(), Some(libc::EACCES));
    }
    let bytes = if face == Face::Value { Some(version.value.clone()) } else { version.file() };
    match bytes {
        Some(bytes) => {
            let size = bytes.len() as u64;
            same(path, world.read(P, path), Ok((bytes, size, 0o600)))
        }
        None => same(path, world.read(P, path).err(), Some(libc::EIO)),
    }
}

/// The extended attributes of a value.
fn attributes(world: &World, path: &[&str], version: &Version) -> Compared {
    let its = &version.attributes;
    let enabled = Some(its.enabled.unwrap_or(true).to_string());
    let expected = [its.content_type.clone(), enabled, its.tag("k").map(str::to_owned)];
    same(path, world.attributes(P, path, ["content_type", "enabled", "tag.k"]), Ok(expected))
}

fn certificate(
    world: &World,
    dir: &[&str],
    version: &Version,
    parts: &BTreeMap<&'static str, Result<Vec<u8>, i32>>,
) -> Compared {
    let dir = [dir[0], dir[1], "certificate"];
    if parts.is_empty() {
        return same("no certificate/", world.walk(P, &dir).err(), Some(libc::ENOENT));
    }
    let all = ["cert.pem", "chain.pem", "fullchain.pem", "privkey.pem", "bundle.pfx"];
    same(dir, listed(world, &dir)?, set(all))?;
    for (name, part) in parts {
        let path = [dir[0], dir[1], dir[2], name];
        let expected = if version.is_disabled() { Err(libc::EACCES) } else { part.clone() };
        let found = world.read(P, &path).map(|(bytes, size, _)| (size == bytes.len() as u64).then_some(bytes));
        same(path, found, expected.map(Some))?;
    }
    Ok(())
}

fn versions(world: &World, n: usize, secret: &Secret) -> Compared {
    let dir = ["secrets", NAMES[n], "versions"];
    let names = world.versions(P, n).map_err(failed)?;
    same("versions", names.len(), secret.versions.len())?;
    let mut all: BTreeSet<String> = set(["current"]);
    for (name, version) in names.iter().zip(&secret.versions) {
        let (name, meta) = (name.to_string(), format!(".{name}{META}"));
        let found = world.read(P, &[dir[0], dir[1], dir[2], &name]).map(|(bytes, size, _)| (bytes, size));
        let shown = (version.value.clone(), version.value.len() as u64);
        same("a version", found, if version.is_disabled() { Err(libc::EACCES) } else { Ok(shown) })?;
        document(world, &[dir[0], dir[1], dir[2], &meta], n, &version.attributes)?;
        all.extend([name, meta]);
    }
    same(dir, listed(world, &dir)?, all)?;
    let current = names.last().map(ToString::to_string).ok_or(libc::ENOENT);
    let link = world.link(P, &[dir[0], dir[1], dir[2], "current"]);
    // Where dates do not tell which of the disabled ones it is, the vault says it with the value alone.
    let untold = secret.current().is_disabled() && link == Err(libc::EACCES);
    if untold { Ok(()) } else { same("current", link, current) }
}

fn document(world: &World, path: &[&str], n: usize, attributes: &Attributes) -> Compared {
    let (text, size, _) = world.read(P, path).map_err(failed)?;
    same("a document's size", size, text.len() as u64)?;
    let document: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    same("name", document["name"].as_str(), Some(NAMES[n]))?;
    members(&document, attributes)
}

fn members(document: &Value, attributes: &Attributes) -> Compared {
    let tags = document.get("tags").and_then(Value::as_object).map(|tags| {
        tags.iter()
            .map(|(key, text)| (key.clone(), text.as_str().unwrap_or_default().to_owned()))
            .collect::<BTreeMap<_, _>>()
    });
    let text = |key: &str| document.get(key).and_then(Value::as_str).map(str::to_owned);
    let found = Attributes {
        enabled: document.get("enabled").and_then(Value::as_bool),
        expires_on: text("expires_on"),
        content_type: text("content_type"),
        tags,
    };
    same("members", &found, attributes)
}

fn deleted(reference: &Reference, world: &World) -> Compared {
    let gone: Vec<_> = (0..NAMES.len()).filter(|n| reference.is_deleted(*n)).collect();
    same("deleted/", listed(world, &["deleted"])?, set(gone.iter().map(|n| NAMES[*n])))?;
    for n in gone {
        same("a grave", listed(world, &["deleted", NAMES[n]])?, set([META]))?;
        document(world, &["deleted", NAMES[n], META], n, &reference.secrets[&n].current().attributes)?;
    }
    Ok(())
}
