//! PEM text (RFC 7468): reading it with anything between the blocks, as OpenSSL and Windows write it, and writing it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Tag, Tagged};
use pkcs5::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use super::asn1::{EC, PrivateKey, RSA, Sec1Key};
use super::{CertificateError, Contents, decode_base64};

/// Bytes behind one line of 64 base64 digits (RFC 7468, 2).
const LINE: usize = 48;

/// The key and the certificates of `value`, in any order. Blocks of other kinds are skipped.
pub fn read(value: &str) -> Result<Contents, CertificateError> {
    let mut contents = Contents::default();
    let mut rest = value;
    while let Some((label, body, after)) = next_block(rest)? {
        rest = after;
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => contents.certificates.push(decode(body)?.to_vec()),
            "PRIVATE KEY" => contents.add_key(checked(decode_key(body)?)?),
            "RSA PRIVATE KEY" => contents.add_key(from_pkcs1(&decode_key(body)?)?),
            "EC PRIVATE KEY" => contents.add_key(from_sec1(&decode_key(body)?)?),
            "ENCRYPTED PRIVATE KEY" => return Err(CertificateError::EncryptedKey),
            _ => {}
        }
    }
    if contents.key.is_none() && contents.certificates.is_empty() {
        return Err(CertificateError::NotPem);
    }
    Ok(contents)
}

/// One PEM block of this label for each of `blocks`.
pub fn write(label: &str, blocks: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    // Enough from the start: a buffer that grows leaves its bytes behind.
    let room = |der: &&[u8]| der.len().div_ceil(LINE) * 65 + 2 * label.len() + 40;
    let mut out = Zeroizing::new(Vec::with_capacity(blocks.iter().map(room).sum()));
    for der in blocks {
        out.extend(format!("-----BEGIN {label}-----\n").bytes());
        for line in der.chunks(LINE) {
            out.extend(Zeroizing::new(STANDARD.encode(line)).bytes());
            out.push(b'\n');
        }
        out.extend(format!("-----END {label}-----\n").bytes());
    }
    out
}

/// Label, body and what follows of the next block, if there is one.
fn next_block(text: &str) -> Result<Option<(&str, &str, &str)>, CertificateError> {
    let Some((_, begun)) = text.split_once("-----BEGIN ") else { return Ok(None) };
    let (label, inside) = begun.split_once("-----").ok_or(CertificateError::NotPem)?;
    let end = format!("-----END {label}-----");
    let (body, after) = inside.split_once(&end).ok_or(CertificateError::NotPem)?;
    Ok(Some((label, body, after)))
}

fn decode(body: &str) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    decode_base64(body).ok_or(CertificateError::NotPem)
}

/// Headers stand only before a key in OpenSSL's old encryption (RFC 1421, `Proc-Type: 4,ENCRYPTED`).
fn decode_key(body: &str) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    if body.contains("Proc-Type:") { Err(CertificateError::EncryptedKey) } else { decode(body) }
}

/// PKCS#8 is passed on as it is; that it is a DER sequence is all that is asked of it.
pub fn checked(key: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    match AnyRef::from_der(&key) {
        Ok(any) if any.tag() == Tag::Sequence => Ok(key),
        _ => Err(CertificateError::UnreadableKey),
    }
}

fn from_pkcs1(key: &[u8]) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    wrap(RSA, AnyRef::NULL, key)
}

fn from_sec1(key: &[u8]) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let curve = Sec1Key::from_der(key).ok().and_then(|key| key.curve).ok_or(CertificateError::UnreadableKey)?;
    // The curve may stay in the key too; RFC 5915 wants it there.
    wrap(EC, AnyRef::from(&curve), key)
}

fn wrap(oid: ObjectIdentifier, parameters: AnyRef<'_>, key: &[u8]) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let algorithm = AlgorithmIdentifierRef { oid, parameters: Some(parameters) };
    let key = OctetStringRef::new(key).map_err(|_| CertificateError::UnreadableKey)?;
    let wrapped = PrivateKey { version: 0, algorithm, key }.to_der();
    checked(Zeroizing::new(wrapped.map_err(|_| CertificateError::UnreadableKey)?))
}
