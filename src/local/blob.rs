//! Backup blobs: a whole secret, encrypted and authenticated with the vault's own key, as base64url text.
//!
//! ```text
//! 1 byte length L · L bytes name of the format · 8 bytes key id · 12 bytes nonce · AES-256-GCM ciphertext with tag
//! ```
//!
//! The first two fields have the shape of the service's blobs, so that both vaults refuse each other's blobs with
//! the same words. All that precedes the ciphertext is authenticated with it. Knows no vault and no disk.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::errors::Refusal;
use super::model::Secret;
use super::stored;

/// As many versions as the service backs up (Key Vault's backup page: "up to 500").
pub const MAX_VERSIONS: usize = 500;
const FORMAT: &[u8] = b"AkvfsLocalSecretBackupV1";
const KEY_ID_LEN: usize = 8;
const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 12;
const HEADER_LEN: usize = 1 + FORMAT.len() + KEY_ID_LEN + NONCE_LEN;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The vault's own key: a public id and 32 secret bytes.
#[derive(Clone)]
pub struct BackupKey(Zeroizing<[u8; KEY_ID_LEN + KEY_LEN]>);

impl BackupKey {
    /// A new random key.
    pub fn generate() -> Result<Self, std::io::Error> {
        let mut bytes = Zeroizing::new([0; KEY_ID_LEN + KEY_LEN]);
        getrandom::fill(&mut *bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self(bytes))
    }

    /// Reads what [`bytes`](Self::bytes) gave.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// For the store only.
    pub fn bytes(&self) -> &[u8] {
        &*self.0
    }

    fn id(&self) -> &[u8] {
        &self.0[..KEY_ID_LEN]
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(&self.0[KEY_ID_LEN..]))
    }

    /// The blob of `secret`.
    pub fn seal(&self, secret: &Secret) -> Result<String, Refusal> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| Refusal::Storage)?;
        let mut blob = self.header(&nonce);
        let plain = stored::secret_bytes(secret).map_err(|_| Refusal::Storage)?;
        let payload = Payload { msg: &plain, aad: &blob };
        let sealed = self.cipher().encrypt(Nonce::from_slice(&nonce), payload).map_err(|_| Refusal::Storage)?;
        blob.extend(sealed);
        Ok(BASE64.encode(blob))
    }

    fn header(&self, nonce: &[u8]) -> Vec<u8> {
        let length = [FORMAT.len() as u8];
        [&length, FORMAT, self.id(), nonce].concat()
    }

    /// Opens a blob that this key sealed.
    pub fn open(&self, text: &str) -> Result<Secret, Refusal> {
        let blob = BASE64.decode(text).map_err(|_| Refusal::BlobCorrupt)?;
        check_format(&blob)?;
        let (header, sealed) = blob.split_at_checked(HEADER_LEN).ok_or(Refusal::BlobCorrupt)?;
        let (before_nonce, nonce) = header.split_at(HEADER_LEN - NONCE_LEN);
        if !before_nonce.ends_with(self.id()) {
            return Err(Refusal::BlobForeign);
        }
        let payload = Payload { msg: sealed, aad: header };
        let plain = self.cipher().decrypt(Nonce::from_slice(nonce), payload).map_err(|_| Refusal::BlobCorrupt)?;
        stored::parse_secret(&Zeroizing::new(plain)).ok_or(Refusal::BlobCorrupt)
    }
}

/// The service reads a length and a name of the format first; a blob too short for them is corrupt, another name is
/// another version (both recorded).
fn check_format(blob: &[u8]) -> Result<(), Refusal> {
    let (length, rest) = blob.split_first().ok_or(Refusal::BlobCorrupt)?;
    match rest.get(..usize::from(*length)) {
        None => Err(Refusal::BlobCorrupt),
        Some(FORMAT) => Ok(()),
        Some(_) => Err(Refusal::BlobVersion),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::local::model::{Attributes, Head, Now, Revision, State};
    use crate::secret::{SecretName, SecretValue, Version};

    fn secret() -> Secret {
        let version = Version::parse(&"a".repeat(32)).expect("legal");
        let attributes = Attributes { enabled: Some(true), tags: Some(vec![]), ..Attributes::default() };
        let value = SecretValue::new("hunter2 \u{e4}\u{1f511}".into());
        let revision = Revision { value, attributes, created: 1, updated: 2 };
        let name = SecretName::parse("n").expect("legal");
        let head = Head { name, current: version.clone(), state: State::Live { ready: Now(0) }, managed: false };
        Secret { head, revisions: BTreeMap::from([(version, revision)]) }
    }

    #[test]
    fn a_blob_opens_with_its_key_only() {
        let (ours, theirs) = (BackupKey::generate().expect("key"), BackupKey::generate().expect("key"));
        let blob = ours.seal(&secret()).expect("sealed");
        assert_eq!(ours.open(&blob), Ok(secret()));
        assert_eq!(theirs.open(&blob), Err(Refusal::BlobForeign));
        assert_ne!(ours.seal(&secret()).expect("sealed"), blob, "nonces are never used twice");
        assert!(!blob.contains("hunter2") && !blob.contains('='));
    }

    #[test]
    fn every_altered_character_is_noticed() {
        let key = BackupKey::generate().expect("key");
        let blob = key.seal(&secret()).expect("sealed");
        for at in 0..blob.len() {
            let mut altered = blob.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).expect("ascii");
            assert!(key.open(&altered).is_err(), "character {at}");
            assert!(key.open(&blob[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn other_blobs_are_refused_as_recorded() {
        let key = BackupKey::generate().expect("key");
        assert_eq!(key.open(&"A".repeat(400)), Err(Refusal::BlobVersion));
        assert_eq!(key.open("bm9uLWV4aXN0aW5n"), Err(Refusal::BlobCorrupt));
        assert_eq!(key.open("KUF6dXJlS2V5VmF1bHRTZWNyZXRCYWNrdXBWMS5taWNyb3NvZnQuY29tZXlK"), Err(Refusal::BlobVersion));
        assert_eq!(key.open("not base64!"), Err(Refusal::BlobCorrupt));
        assert_eq!(key.open(""), Err(Refusal::BlobCorrupt));
    }
}
