//! What the two files of a value hold: the string itself, or what it was made of.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::secret::{KeyVaultSecret, SecretValue};

use super::encoding::Encoding;
use super::errno::{FsError, FsResult};
use super::tree::{Bound, Face};

/// A file's bytes. They never change; clones are cheap.
#[derive(Clone)]
pub enum Content {
    /// The value's own.
    Value(SecretValue),
    /// Made for this file.
    Made(Arc<Zeroizing<Vec<u8>>>),
}

impl Content {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Value(value) => value.expose().as_bytes(),
            Self::Made(bytes) => bytes,
        }
    }

    /// Bytes made for a file.
    pub fn made(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self::Made(Arc::new(bytes))
    }

    /// What `face` of a secret holds.
    pub fn of(secret: &KeyVaultSecret, face: Face) -> FsResult<Self> {
        match Encoding::of_face(secret, face) {
            Encoding::Utf8 => Ok(Self::Value(secret.value.clone())),
            encoding => encoding.decode(secret.value.expose()).map(Self::made).ok_or_else(|| {
                FsError::refused(libc::EIO, "the value is not what its tag file-encoding says: read secrets/NAME/value")
            }),
        }
    }
}

impl Encoding {
    /// How `face` of a secret is made of its value.
    pub fn of_face(secret: &KeyVaultSecret, face: Face) -> Self {
        match face {
            Face::Value => Self::Utf8,
            Face::File => Self::of(&secret.properties),
        }
    }
}

/// What is fixed about the version that `face` shows; `None` for an answer of the vault that names no version.
pub fn bound(secret: &KeyVaultSecret, face: Face, content: &Content) -> Option<Bound> {
    Some(Bound {
        version: secret.properties.version.clone()?,
        encoding: Encoding::of_face(secret, face),
        size: content.bytes().len() as u64,
        updated_on: secret.properties.updated_on,
    })
}
