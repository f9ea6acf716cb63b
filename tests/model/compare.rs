//! The whole visible tree, compared with the reference as a process that has no part in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::op::{NAMES, SCRATCH};
use crate::reference::{Attributes, Reference, Secret, Version};
use crate::world::{World, other_case};

/// The looker-on.
const P: u32 = 99;

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, and should be {expected:?}")) }
}

fn failed(errno: i32) -> String {
    format!("errno {errno} to one who looks on")
}

fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    items.into_iter().collect()
}

pub fn compare(reference: &Reference, world: &World) -> Result<(), String> {
    let there = (0..NAMES.len()).filter(|n| reference.live(*n).is_some() || reference.newborn.contains_key(n));
    let names = there.map(|n| NAMES[n].to_owned());
    same("secrets/", world.names(P, &["secrets"]).map(set), Ok(set(names)))?;
    for (n, name) in NAMES.iter().enumerate() {
        directory(reference, world, n)?;
        same("another spelling", world.walk(P, &["secrets", &other_case(name)]).err(), Some(libc::ENOENT))?;
    }
    // A look at the deleted ones sends what waits.
    if reference.removals.is_empty() {
        deleted(reference, world)?;
    }
    for fd in 0..reference.fds.len() {
        if let Some(expected) = reference.content(fd) {
            let handle = world.files[&reference.fds[fd].file].handle;
            let bytes = world.fs.read(handle, 0, 1 << 20).map(|bytes| bytes.to_vec()).map_err(|error| error.errno());
            same("an open reader", bytes, Ok(expected.to_vec()))?;
        }
    }
    world.forget();
    Ok(())
}

fn directory(reference: &Reference, world: &World, n: usize) -> Result<(), String> {
    let dir = ["secrets", NAMES[n]];
    let (live, newborn) = (reference.live(n), reference.newborn.get(&n));
    if live.is_none() && newborn.is_none() {
        return same("a secret that is not there", world.names(P, &dir).err(), Some(libc::ENOENT));
    }
    let visible = live.filter(|_| !reference.is_hidden(n));
    let mut expected: BTreeSet<String> = reference.scratch(n).keys().map(|s| SCRATCH[*s].to_owned()).collect();
    expected.extend(visible.map(|_| "value".to_owned()));
    expected.extend(live.map(|_| "versions".to_owned()));
    expected.extend((live.is_some() || newborn.is_some_and(Option::is_some)).then(|| ".meta.json".to_owned()));
    let listed = world.names(P, &dir).map_err(failed)?;
    if visible.is_some() {
        same("the first entry", listed[0].as_str(), "value")?;
    }
    same(NAMES[n], set(listed), expected)?;
    for (s, bytes) in reference.scratch(n) {
        let read = world.read(P, &[dir[0], dir[1], SCRATCH[s]]).map(|(bytes, size, _)| (bytes, size));
        same(SCRATCH[s], read, Ok((bytes.to_vec(), bytes.len() as u64)))?;
    }
    let path = [dir[0], dir[1], "value"];
    match visible.and_then(|secret| secret.versions.last()) {
        None => same("a value that is not there", world.read(P, &path).err(), Some(libc::ENOENT))?,
        Some(current) => value(world, &path, current)?,
    }
    let meta = [dir[0], dir[1], ".meta.json"];
    match (live, newborn) {
        (Some(secret), _) => {
            versions(world, &dir, secret)?;
            let current = secret.versions.last().expect("one at least");
            document(world, &meta, n, &current.attributes)
        }
        (None, Some(Some(attributes))) => {
            let text = world.read(P, &meta).map_err(failed)?.0;
            members(&serde_json::from_slice(&text).expect("JSON"), attributes)
        }
        _ => same("no .meta.json", world.read(P, &meta).err(), Some(libc::ENOENT)),
    }
}

fn value(world: &World, path: &[&str], version: &Version) -> Result<(), String> {
    if version.attributes.enabled == Some(false) {
        same("a disabled value's mode and size", world.mode(P, path), Ok((0, 1)))?;
        return same("a disabled value", world.read(P, path).err(), Some(libc::EACCES));
    }
    let expected = (version.value.clone(), version.value.len() as u64, 0o600);
    same("value", world.read(P, path), Ok(expected))
}

fn versions(world: &World, dir: &[&str], secret: &Secret) -> Result<(), String> {
    let mut expected: Vec<_> = secret
        .versions
        .iter()
        .map(|version| match version.attributes.enabled {
            Some(false) => Err(libc::EACCES),
            _ => Ok((version.value.clone(), version.value.len() as u64)),
        })
        .collect();
    let mut names = world.names(P, &[dir[0], dir[1], "versions"]).map_err(failed)?;
    // Beside each version stand its properties, and one link to the current one.
    names.retain(|name| name.len() == 32);
    let mut found: Vec<_> = names
        .iter()
        .map(|name| world.read(P, &[dir[0], dir[1], "versions", name]).map(|(bytes, size, _)| (bytes, size)))
        .collect();
    expected.sort();
    found.sort();
    same("versions", found, expected)
}

fn document(world: &World, path: &[&str], n: usize, attributes: &Attributes) -> Result<(), String> {
    let (text, size, _) = world.read(P, path).map_err(failed)?;
    same("a document's size", size, text.len() as u64)?;
    let document: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    same("name", document["name"].as_str(), Some(NAMES[n]))?;
    members(&document, attributes)
}

fn members(document: &Value, attributes: &Attributes) -> Result<(), String> {
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

fn deleted(reference: &Reference, world: &World) -> Result<(), String> {
    let gone: Vec<_> = (0..NAMES.len()).filter(|n| reference.is_deleted(*n)).collect();
    same("deleted/", world.names(P, &["deleted"]).map(set), Ok(set(gone.iter().map(|n| NAMES[*n].to_owned()))))?;
    for n in gone {
        let current = reference.secrets[&n].versions.last().expect("one at least");
        document(world, &["deleted", NAMES[n], ".meta.json"], n, &current.attributes)?;
    }
    Ok(())
}
