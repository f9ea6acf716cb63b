//! The structures of PKCS#12 (RFC 7292), and those of PKCS#7, #8 and SEC1 that it needs: only what is read or written here.
//!
//! They borrow all bytes, so that no copy of a key is left behind. They have no `Debug`, for they hold keys.

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef};
use der::{Sequence, ValueOrd};
use pkcs5::AlgorithmIdentifierRef;

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

pub const DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.1");
pub const ENCRYPTED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.6");
pub const KEY_BAG: ObjectIdentifier = oid("1.2.840.113549.1.12.10.1.1");
pub const SHROUDED_KEY_BAG: ObjectIdentifier = oid("1.2.840.113549.1.12.10.1.2");
pub const CERTIFICATE_BAG: ObjectIdentifier = oid("1.2.840.113549.1.12.10.1.3");
pub const X509_CERTIFICATE: ObjectIdentifier = oid("1.2.840.113549.1.9.22.1");
pub const LOCAL_KEY_ID: ObjectIdentifier = oid("1.2.840.113549.1.9.21");
pub const RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
pub const EC: ObjectIdentifier = oid("1.2.840.10045.2.1");
pub const SHA256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.1");

/// The whole file.
#[derive(Sequence)]
pub struct Pfx<'a> {
    pub version: u8,
    pub content: ContentInfo<'a>,
    pub mac: Option<MacData<'a>>,
}

/// `ContentInfo` of PKCS#7.
#[derive(Sequence)]
pub struct ContentInfo<'a> {
    pub content_type: ObjectIdentifier,
    #[asn1(context_specific = "0")]
    pub content: AnyRef<'a>,
}

#[derive(Sequence)]
pub struct MacData<'a> {
    pub mac: DigestInfo<'a>,
    pub salt: OctetStringRef<'a>,
    #[asn1(default = "one")]
    pub rounds: u32,
}

fn one() -> u32 {
    1
}

#[derive(Sequence)]
pub struct DigestInfo<'a> {
    pub algorithm: AlgorithmIdentifierRef<'a>,
    pub digest: OctetStringRef<'a>,
}

#[derive(Sequence)]
pub struct EncryptedData<'a> {
    pub version: u8,
    pub content: EncryptedContent<'a>,
}

#[derive(Sequence)]
pub struct EncryptedContent<'a> {
    pub content_type: ObjectIdentifier,
    pub algorithm: AlgorithmIdentifierRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    pub bytes: Option<OctetStringRef<'a>>,
}

/// One key, certificate or other thing.
#[derive(Sequence)]
pub struct SafeBag<'a> {
    pub kind: ObjectIdentifier,
    #[asn1(context_specific = "0")]
    pub value: AnyRef<'a>,
    /// A set of [`Attribute`]s; not read, for what it says of a key's certificate is less sure than the key itself.
    pub attributes: Option<AnyRef<'a>>,
}

#[derive(Sequence, ValueOrd)]
pub struct Attribute<'a> {
    pub kind: ObjectIdentifier,
    pub values: AnyRef<'a>,
}

#[derive(Sequence)]
pub struct CertificateBag<'a> {
    pub kind: ObjectIdentifier,
    #[asn1(context_specific = "0")]
    pub value: AnyRef<'a>,
}

/// `EncryptedPrivateKeyInfo` of PKCS#8.
#[derive(Sequence)]
pub struct EncryptedKey<'a> {
    pub algorithm: AlgorithmIdentifierRef<'a>,
    pub bytes: OctetStringRef<'a>,
}

/// The parameters of PKCS#12's own encryption.
#[derive(Sequence)]
pub struct PbeParameters<'a> {
    pub salt: OctetStringRef<'a>,
    pub rounds: u32,
}

/// `PrivateKeyInfo` of PKCS#8, as it is written here.
#[derive(Sequence)]
pub struct PrivateKey<'a> {
    pub version: u8,
    pub algorithm: AlgorithmIdentifierRef<'a>,
    pub key: OctetStringRef<'a>,
}

/// `ECPrivateKey` of SEC1 (RFC 5915).
#[derive(Sequence)]
pub struct Sec1Key<'a> {
    pub version: u8,
    pub key: OctetStringRef<'a>,
    #[asn1(context_specific = "0", optional = "true")]
    pub curve: Option<ObjectIdentifier>,
    #[asn1(context_specific = "1", optional = "true")]
    pub public: Option<BitStringRef<'a>>,
}
