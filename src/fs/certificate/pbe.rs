//! What a password does in PKCS#12: opens encrypted parts, and makes the key of the whole file's MAC.
//!
//! New files use PBES2 (RFC 8018), old ones PKCS#12's own key derivation (RFC 7292, appendix B) with 3DES or RC2.
//! Those are broken ciphers; here they only have to be read, and the password is empty anyway.

use aws_lc_rs::digest::{self, digest};
use aws_lc_rs::hmac;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipher, BlockDecryptMut, KeyInit, KeyIvInit};
use der::asn1::ObjectIdentifier;
use pkcs5::AlgorithmIdentifierRef;
use pkcs5::pbes2::{Kdf, PBES2_OID, Parameters};
use zeroize::Zeroizing;

use super::CertificateError;
use super::asn1::{MacData, PbeParameters, SHA256};

/// The most rounds of key derivation for one file, all its parts together: a second or two. OpenSSL writes 2,048 a
/// part, Windows 2,000, Java 10,000; a file of three parts with OWASP's 600,000 still opens in either password form.
pub const MAX_ROUNDS: u32 = if cfg!(fuzzing) { 10_000 } else { 6_000_000 };

/// The two ways of writing an empty password. RFC 7292 B.1 ends each with a zero character, as OpenSSL and Java do;
/// .NET has also a password that is absent, and Key Vault uses it.
#[derive(Clone, Copy)]
pub enum Password {
    Empty,
    Absent,
}

impl Password {
    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Empty => &[0, 0],
            Self::Absent => &[],
        }
    }
}

/// The rounds that a file may still ask for.
pub struct Work(u32);

impl Work {
    /// For a whole file.
    pub fn new() -> Self {
        Self(MAX_ROUNDS)
    }

    fn spend(&mut self, rounds: u32, times: u32) -> Result<(), CertificateError> {
        let cost = rounds.checked_mul(times).ok_or(CertificateError::TooMuchWork)?;
        self.0 = self.0.checked_sub(cost).ok_or(CertificateError::TooMuchWork)?;
        Ok(())
    }
}

/// Opens an encrypted part.
pub fn decrypt(
    algorithm: &AlgorithmIdentifierRef<'_>,
    bytes: &[u8],
    password: Password,
    work: &mut Work,
) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    const THREE_KEY_3DES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.3");
    const TWO_KEY_3DES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.4");
    const RC2_128: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.5");
    const RC2_40: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.6");
    match algorithm.oid {
        PBES2_OID => decrypt_new(algorithm, bytes, work),
        THREE_KEY_3DES => decrypt_old::<des::TdesEde3>(24, algorithm, bytes, password, work),
        TWO_KEY_3DES => decrypt_old::<des::TdesEde2>(16, algorithm, bytes, password, work),
        RC2_128 => decrypt_old::<rc2::Rc2>(16, algorithm, bytes, password, work),
        RC2_40 => decrypt_old::<rc2::Rc2>(5, algorithm, bytes, password, work),
        _ => Err(CertificateError::Unsupported),
    }
}

/// PBES2 takes the password as it is: no bytes, in either form.
fn decrypt_new(
    algorithm: &AlgorithmIdentifierRef<'_>,
    bytes: &[u8],
    work: &mut Work,
) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let parameters = algorithm.parameters.ok_or(CertificateError::NotPkcs12)?;
    let scheme = Parameters::try_from(parameters).map_err(|_| CertificateError::Unsupported)?;
    // scrypt is refused for the memory it may ask for; no tool writes it into PKCS#12.
    let Kdf::Pbkdf2(kdf) = &scheme.kdf else { return Err(CertificateError::Unsupported) };
    // A key of 32 bytes takes two outputs of SHA-1.
    work.spend(kdf.iteration_count, 2)?;
    let mut buffer = Zeroizing::new(bytes.to_vec());
    let length = scheme.decrypt_in_place([], &mut buffer).map_err(|_| CertificateError::Password)?.len();
    buffer.truncate(length);
    Ok(buffer)
}

fn decrypt_old<C: BlockCipher + BlockDecryptMut + KeyInit>(
    key_length: usize,
    algorithm: &AlgorithmIdentifierRef<'_>,
    bytes: &[u8],
    password: Password,
    work: &mut Work,
) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let parameters = algorithm.parameters.ok_or(CertificateError::NotPkcs12)?;
    let PbeParameters { salt, rounds } = parameters.decode_as().map_err(|_| CertificateError::NotPkcs12)?;
    // The key takes up to two outputs of SHA-1, the initial vector one.
    work.spend(rounds, 3)?;
    let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
    let key = derive(hash, Purpose::Key, password, salt.as_bytes(), rounds, key_length);
    let vector = derive(hash, Purpose::Vector, password, salt.as_bytes(), rounds, 8);
    let cipher = cbc::Decryptor::<C>::new_from_slices(&key, &vector).map_err(|_| CertificateError::Unsupported)?;
    let mut buffer = Zeroizing::new(bytes.to_vec());
    let length = cipher.decrypt_padded_mut::<Pkcs7>(&mut buffer).map_err(|_| CertificateError::Password)?.len();
    buffer.truncate(length);
    Ok(buffer)
}

/// Checks the MAC over `content`.
pub fn check_mac(
    mac: &MacData<'_>,
    content: &[u8],
    password: Password,
    work: &mut Work,
) -> Result<(), CertificateError> {
    let algorithm = hmac_of(mac.mac.algorithm.oid).ok_or(CertificateError::Unsupported)?;
    work.spend(mac.rounds, 1)?;
    let key = mac_key(algorithm, password, mac.salt.as_bytes(), mac.rounds);
    hmac::verify(&key, content, mac.mac.digest.as_bytes()).map_err(|_| CertificateError::Password)
}

/// The key of a file's MAC.
pub fn mac_key(algorithm: hmac::Algorithm, password: Password, salt: &[u8], rounds: u32) -> hmac::Key {
    let hash = algorithm.digest_algorithm();
    hmac::Key::new(algorithm, &derive(hash, Purpose::Mac, password, salt, rounds, hash.output_len()))
}

fn hmac_of(hash: ObjectIdentifier) -> Option<hmac::Algorithm> {
    const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
    const SHA224: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.4");
    const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
    const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
    match hash {
        SHA1 => Some(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        SHA224 => Some(hmac::HMAC_SHA224),
        SHA256 => Some(hmac::HMAC_SHA256),
        SHA384 => Some(hmac::HMAC_SHA384),
        SHA512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

/// What derived bytes are for (RFC 7292, B.3).
#[derive(Clone, Copy)]
enum Purpose {
    Key = 1,
    Vector = 2,
    Mac = 3,
}

/// RFC 7292, B.2; the letters are the RFC's.
fn derive(
    hash: &'static digest::Algorithm,
    purpose: Purpose,
    password: Password,
    salt: &[u8],
    rounds: u32,
    length: usize,
) -> Zeroizing<Vec<u8>> {
    let v = hash.block_len();
    let d = vec![purpose as u8; v];
    let mut i = filled(salt, v);
    i.extend(filled(password.bytes(), v));
    let mut out = Zeroizing::new(Vec::with_capacity(length + hash.output_len()));
    while out.len() < length {
        let mut a = digest(hash, &[d.as_slice(), &i].concat());
        for _ in 1..rounds {
            a = digest(hash, a.as_ref());
        }
        out.extend(a.as_ref());
        let b: Vec<u8> = a.as_ref().iter().copied().cycle().take(v).collect();
        i.chunks_mut(v).for_each(|block| add_and_one(block, &b));
    }
    out.truncate(length);
    out
}

/// `bytes` repeated up to the next multiple of `block`.
fn filled(bytes: &[u8], block: usize) -> Vec<u8> {
    bytes.iter().copied().cycle().take(bytes.len().next_multiple_of(block)).collect()
}

/// `number + other + 1`, big-endian, without the last carry.
fn add_and_one(number: &mut [u8], other: &[u8]) {
    let mut carry = 1u16;
    for (digit, more) in number.iter_mut().zip(other).rev() {
        carry += u16::from(*digit) + u16::from(*more);
        *digit = carry as u8;
        carry >>= 8;
    }
}
