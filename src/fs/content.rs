//! What the files that show a value hold: the string itself, what it was made of, or a part of it.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::memory::Locked;
use crate::secret::{KeyVaultSecret, SecretValue};

use super::certificate::{self, is_pkcs12};
use super::encoding::Encoding;
use super::errno::{FsError, FsResult};
use super::tree::{Bound, Face};

/// A file's bytes. They never change; clones are cheap.
#[derive(Clone)]
pub enum Content {
    /// The value's own.
    Value(SecretValue),
    /// Made for this file.
    Made(Arc<Locked>),
}

impl Content {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Value(value) => value.expose().as_bytes(),
            Self::Made(bytes) => bytes.expose(),
        }
    }

    /// Bytes made for a file.
    pub fn made(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self::Made(Arc::new(Locked::copy_of(&bytes)))
    }

    /// What `face` of a secret holds. A part of a certificate may take a second to find.
    pub fn of(secret: &KeyVaultSecret, face: Face) -> FsResult<Self> {
        if let Face::Certificate(file) = face {
            let content_type = secret.properties.content_type.as_deref().unwrap_or_default();
            let part = certificate::extract(content_type, secret.value.expose(), file);
            return part.map(Self::made).map_err(|error| FsError::refused(libc::EIO, error.to_string()));
        }
        Self::decoded(secret, Encoding::of_face(secret, face))
    }

    /// What the value was made of.
    pub fn decoded(secret: &KeyVaultSecret, encoding: Encoding) -> FsResult<Self> {
        match encoding {
            Encoding::Text => Ok(Self::Value(secret.value.clone())),
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
            Face::Value => Self::Text,
            Face::File => Self::of(&secret.properties),
            Face::Certificate(_) if is_pkcs12(secret.properties.content_type.as_deref()) => Self::Base64,
            Face::Certificate(_) => Self::Text,
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
