//! Writing PKCS#12 with an empty password, in the shape that OpenSSL 3 writes and that it, Java, Go and Windows read:
//! PBES2 with PBKDF2, HMAC-SHA-256 and AES-256-CBC, and a MAC of HMAC-SHA-256.
//!
//! Salts and initial vectors are hashes of what is protected instead of random: the same value has to give the same
//! file each time it is read, and behind an empty password they protect nothing.

use aws_lc_rs::{digest, hmac};
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef, SetOfVec};
use der::{Decode, Encode};
use pkcs5::AlgorithmIdentifierRef;
use pkcs5::EncryptionScheme;
use pkcs5::pbes2::Parameters;
use zeroize::Zeroizing;

use super::CertificateError;
use super::asn1::{
    Attribute, CERTIFICATE_BAG, CertificateBag, ContentInfo, DATA, DigestInfo, ENCRYPTED_DATA, EncryptedContent,
    EncryptedData, EncryptedKey, LOCAL_KEY_ID, MacData, Pfx, SHA256, SHROUDED_KEY_BAG, SafeBag, X509_CERTIFICATE,
};
use super::pbe::{Password, mac_key};

/// OpenSSL's default. More would slow every reader down and protect nothing.
const ROUNDS: u32 = 2048;

/// By this the key and its certificate find each other.
const KEY_ID: &[u8] = &[1];

/// The file with `key` (PKCS#8 in DER) and `certificates`, the key's own one first.
pub fn write(key: &[u8], certificates: &[&[u8]]) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    encode(key, certificates, Password::Empty).map_err(|_| CertificateError::Unbundled)
}

/// The same under either form of the empty password.
pub(super) fn encode(key: &[u8], certificates: &[&[u8]], password: Password) -> der::Result<Zeroizing<Vec<u8>>> {
    let attributes = key_id_attributes()?;
    let parts = [certificates_part(certificates, &attributes)?, key_part(key, &attributes)?];
    let parts = parts.iter().map(|part| ContentInfo::from_der(part)).collect::<der::Result<Vec<_>>>()?;
    let parts = parts.to_der()?;
    let content = OctetStringRef::new(&parts)?;
    let salt = fingerprint("mac", &parts);
    let code = hmac::sign(&mac_key(hmac::HMAC_SHA256, password, &salt[..16], ROUNDS), &parts);
    let algorithm = AlgorithmIdentifierRef { oid: SHA256, parameters: Some(AnyRef::NULL) };
    let mac = MacData {
        mac: DigestInfo { algorithm, digest: OctetStringRef::new(code.as_ref())? },
        salt: OctetStringRef::new(&salt[..16])?,
        rounds: ROUNDS,
    };
    let content = ContentInfo { content_type: DATA, content: content.into() };
    Pfx { version: 3, content, mac: Some(mac) }.to_der().map(Zeroizing::new)
}

fn certificates_part(certificates: &[&[u8]], attributes: &[u8]) -> der::Result<Vec<u8>> {
    let values = certificates.iter().map(|der| certificate_bag(der)).collect::<der::Result<Vec<_>>>()?;
    let mut bags = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let attributes = if number == 0 { Some(AnyRef::from_der(attributes)?) } else { None };
        bags.push(SafeBag { kind: CERTIFICATE_BAG, value: AnyRef::from_der(value)?, attributes });
    }
    let Encrypted { algorithm, bytes } = encrypt(&bags.to_der()?)?;
    let content = EncryptedContent {
        content_type: DATA,
        algorithm: AlgorithmIdentifierRef::from_der(&algorithm)?,
        bytes: Some(OctetStringRef::new(&bytes)?),
    };
    part(ENCRYPTED_DATA, &EncryptedData { version: 0, content }.to_der()?)
}

fn certificate_bag(der: &[u8]) -> der::Result<Vec<u8>> {
    let value = OctetStringRef::new(der)?;
    CertificateBag { kind: X509_CERTIFICATE, value: value.into() }.to_der()
}

fn key_part(key: &[u8], attributes: &[u8]) -> der::Result<Vec<u8>> {
    let Encrypted { algorithm, bytes } = encrypt(key)?;
    let algorithm = AlgorithmIdentifierRef::from_der(&algorithm)?;
    let shrouded = EncryptedKey { algorithm, bytes: OctetStringRef::new(&bytes)? }.to_der()?;
    let value = AnyRef::from_der(&shrouded)?;
    let bag = SafeBag { kind: SHROUDED_KEY_BAG, value, attributes: Some(AnyRef::from_der(attributes)?) };
    part(DATA, &OctetStringRef::new(&vec![bag].to_der()?)?.to_der()?)
}

fn part(content_type: ObjectIdentifier, content: &[u8]) -> der::Result<Vec<u8>> {
    ContentInfo { content_type, content: AnyRef::from_der(content)? }.to_der()
}

fn key_id_attributes() -> der::Result<Vec<u8>> {
    let values = SetOfVec::try_from(vec![OctetStringRef::new(KEY_ID)?])?.to_der()?;
    let attribute = Attribute { kind: LOCAL_KEY_ID, values: AnyRef::from_der(&values)? };
    SetOfVec::try_from(vec![attribute])?.to_der()
}

struct Encrypted {
    /// An `AlgorithmIdentifier` in DER.
    algorithm: Vec<u8>,
    bytes: Vec<u8>,
}

fn encrypt(plain: &[u8]) -> der::Result<Encrypted> {
    let (salt, vector) = (fingerprint("salt", plain), fingerprint("vector", plain));
    let mut iv = [0; 16];
    iv.copy_from_slice(&vector[..16]);
    let failed = |_| der::Error::from(der::ErrorKind::Failed);
    let scheme = Parameters::pbkdf2_sha256_aes256cbc(ROUNDS, &salt[..16], &iv).map_err(failed)?;
    let bytes = scheme.encrypt([], plain).map_err(failed)?;
    Ok(Encrypted { algorithm: EncryptionScheme::from(scheme).to_der()?, bytes })
}

/// 32 bytes.
fn fingerprint(what: &str, bytes: &[u8]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(what.as_bytes());
    context.update(bytes);
    context.finish().as_ref().to_vec()
}
