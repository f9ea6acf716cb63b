//! The files of `secrets/n/certificate/`, made from a value that is a certificate with its key.
//!
//! Knows the two forms that Key Vault gives such a value: PKCS#12 in base64 without a password, and PEM text. From
//! bytes to bytes only: no vault, no inode, no clock, no randomness. The same value always gives the same bytes.
//!
//! The files are opened here and not by `p12-keystore`, which opens the client's own (`vault/auth`): version 0.4 refuses the
//! absent password that Key Vault uses, two-key 3DES, RC2 of 128 bits, and 3DES in PBES2, all of which
//! `tests.rs` has; it writes with a random salt, so that no file would be the same twice; and it does not wipe keys.
//!
//! Nothing here checks that a certificate is valid or trusted; the service or its writer answers for that.

mod asn1;
mod bundle;
mod chain;
mod pbe;
mod pfx;
#[cfg(test)]
mod tests;
mod text;

use zeroize::Zeroizing;

use crate::secret::MAX_VALUE;

use super::encoding::decode_base64;

/// A file of `secrets/n/certificate/`. The names are certbot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateFile {
    /// The leaf.
    Cert,
    /// All other certificates: up from the leaf's issuer, then any that stand outside this chain. Empty if the leaf is alone.
    Chain,
    /// The leaf, then [`Chain`](Self::Chain).
    FullChain,
    /// The key as PKCS#8 in PEM, unencrypted.
    PrivateKey,
    /// Key and certificates as PKCS#12, bytes, with an empty password.
    Bundle,
}

impl CertificateFile {
    /// All, in the order they are listed.
    pub const ALL: [Self; 5] = [Self::Cert, Self::Chain, Self::FullChain, Self::PrivateKey, Self::Bundle];

    /// The file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cert => "cert.pem",
            Self::Chain => "chain.pem",
            Self::FullChain => "fullchain.pem",
            Self::PrivateKey => "privkey.pem",
            Self::Bundle => "bundle.pfx",
        }
    }

    /// The file of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.name() == name)
    }
}

/// Why a value gives no such file. Says nothing of the value's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The content type is another one.
    #[error("the content type is neither application/x-pkcs12 nor application/x-pem-file")]
    NotACertificate,
    /// Longer than [`MAX_VALUE`].
    #[error("the value is longer than {MAX_VALUE} bytes")]
    TooLarge,
    /// The content type promises PKCS#12.
    #[error("the value is not base64, as the content type application/x-pkcs12 promises")]
    NotBase64,
    /// The structure does not hold.
    #[error("the value is no PKCS#12 file, or a damaged one (only DER is read, not BER)")]
    NotPkcs12,
    /// It needs a password, or its bytes were changed.
    #[error("the PKCS#12 file does not open with an empty password, or is damaged")]
    Password,
    /// Some cipher, hash or kind of protection.
    #[error("the PKCS#12 file is protected in a way that is not supported (PBES2 with PBKDF2, 3DES and RC2 are)")]
    Unsupported,
    /// Opening it would keep a processor busy for long.
    #[error("the PKCS#12 file asks for more than {} rounds of key derivation", pbe::MAX_ROUNDS)]
    TooMuchWork,
    /// A PEM block that does not end, or is not base64.
    #[error("the value is no PEM text, or has a damaged block")]
    NotPem,
    /// Nobody here knows the password.
    #[error("the private key is encrypted with a password")]
    EncryptedKey,
    /// Neither PKCS#8, PKCS#1 nor SEC1 with a named curve.
    #[error("the private key does not parse")]
    UnreadableKey,
    /// X.509 does not parse.
    #[error("a certificate in the value does not parse")]
    UnreadableCertificate,
    /// None in the value.
    #[error("the value has no certificate")]
    NoCertificate,
    /// None in the value.
    #[error("the value has no private key")]
    NoKey,
    /// Only for a key or a certificate that no PKCS#12 file can hold.
    #[error("no PKCS#12 file can be made of the key and the certificates")]
    Unbundled,
}

/// What a value holds.
#[derive(Default)]
struct Contents {
    /// The first private key, as PKCS#8 in DER.
    key: Option<Zeroizing<Vec<u8>>>,
    /// In DER.
    certificates: Vec<Vec<u8>>,
}

impl Contents {
    fn add_key(&mut self, key: Zeroizing<Vec<u8>>) {
        self.key.get_or_insert(key);
    }

    fn key(&self) -> Result<&[u8], CertificateError> {
        self.key.as_ref().map(|key| key.as_slice()).ok_or(CertificateError::NoKey)
    }

    /// The certificates, leaf first.
    fn ordered(&self) -> Result<Vec<&[u8]>, CertificateError> {
        chain::ordered(self.key.as_ref().map(|key| key.as_slice()), &self.certificates)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Pkcs12,
    Pem,
}

impl Form {
    fn of(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/x-pkcs12") {
            Some(Self::Pkcs12)
        } else if essence.eq_ignore_ascii_case("application/x-pem-file") {
            Some(Self::Pem)
        } else {
            None
        }
    }
}

/// Whether a content type says that the value is a certificate with its key: `application/x-pkcs12` or
/// `application/x-pem-file`, in any case and with any parameters.
pub fn is_certificate(content_type: Option<&str>) -> bool {
    content_type.and_then(Form::of).is_some()
}

/// Whether a content type says that the value is a PKCS#12 file in base64.
pub fn is_pkcs12(content_type: Option<&str>) -> bool {
    content_type.and_then(Form::of) == Some(Form::Pkcs12)
}

/// The bytes of one file. A chain of nothing is an empty file; what else is missing is an error.
pub fn extract(content_type: &str, value: &str, file: CertificateFile) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let form = Form::of(content_type).ok_or(CertificateError::NotACertificate)?;
    if value.len() > MAX_VALUE {
        return Err(CertificateError::TooLarge);
    }
    let contents = match (form, file) {
        (Form::Pkcs12, CertificateFile::Bundle) => return as_it_is(value),
        (Form::Pkcs12, _) => pfx::read(&decode_base64(value).ok_or(CertificateError::NotBase64)?)?,
        (Form::Pem, _) => text::read(value)?,
    };
    match file {
        CertificateFile::PrivateKey => Ok(text::write("PRIVATE KEY", &[contents.key()?])),
        CertificateFile::Bundle => bundle::write(contents.key()?, &contents.ordered()?),
        CertificateFile::Cert => Ok(text::write("CERTIFICATE", &contents.ordered()?[..1])),
        CertificateFile::Chain => Ok(text::write("CERTIFICATE", &contents.ordered()?[1..])),
        CertificateFile::FullChain => Ok(text::write("CERTIFICATE", &contents.ordered()?)),
    }
}

/// A PKCS#12 file whoever made it: others may open what is not opened here, with a password or in BER. But it begins as
/// every ASN.1 sequence does.
fn as_it_is(value: &str) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let bytes = decode_base64(value).ok_or(CertificateError::NotBase64)?;
    if bytes.starts_with(&[0x30]) { Ok(bytes) } else { Err(CertificateError::NotPkcs12) }
}
