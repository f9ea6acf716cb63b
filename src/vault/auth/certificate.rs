//! An application's certificate with its private key, from PEM or PKCS#12. Knows how to sign and nothing of tokens.

use std::path::Path;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use p12_keystore::Pkcs12Archive;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::private::{self, Rule};

/// A certificate and its key. It does not print.
pub(super) struct Certificate {
    key: KeyPair,
    thumbprint: Vec<u8>,
}

impl Certificate {
    /// From a file, PEM or PKCS#12. Others may read it, as where Kubernetes mounts it, but not write it.
    ///
    /// # Errors
    /// Why it cannot be used; nothing of what is in it.
    pub(super) fn read(path: &Path, password: Option<&str>) -> Result<Self, String> {
        let bytes = private::read(path, Rule::Readable)?;
        if bytes.windows(11).any(|bytes| bytes == b"-----BEGIN ") {
            from_pem(&bytes)
        } else {
            from_pkcs12(&bytes, password)
        }
    }

    /// The SHA-1 of the certificate, by which the identity service knows it.
    pub(super) fn thumbprint(&self) -> &[u8] {
        &self.thumbprint
    }

    /// The signature of `message`: RSA, PKCS#1, SHA-256.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
        Some(signature)
    }

    /// Of several certificates that of the key: the others are its issuers. Its public key is in it byte by byte.
    fn of<'a>(key: KeyPair, mut certificates: impl Iterator<Item = &'a [u8]>) -> Result<Self, String> {
        let public = key.public_key().as_ref();
        let own = certificates.find(|bytes| bytes.windows(public.len()).any(|part| part == public));
        let own = own.ok_or("it holds no certificate of its private key")?;
        let thumbprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, own).as_ref().to_vec();
        Ok(Self { key, thumbprint })
    }
}

fn from_pem(bytes: &[u8]) -> Result<Certificate, String> {
    if bytes.windows(9).any(|bytes| bytes == b"ENCRYPTED") {
        return Err("its private key is encrypted, which works in PKCS#12 only".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(bytes).map_err(|_| "it holds no private key")?;
    let key = match &key {
        PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
        _ => return Err(NO_RSA.to_owned()),
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(bytes).filter_map(Result::ok).collect();
    Certificate::of(key.map_err(|_| NO_RSA)?, certificates.iter().map(|bytes| bytes.as_ref()))
}

fn from_pkcs12(bytes: &[u8], password: Option<&str>) -> Result<Certificate, String> {
    let archive = Pkcs12Archive::from_pkcs12(bytes, password.unwrap_or_default());
    let archive =
        archive.map_err(|_| "it is neither PEM nor PKCS#12, or AZURE_CLIENT_CERTIFICATE_PASSWORD is wrong")?;
    let key = archive.keys.first().ok_or("it holds no private key")?;
    let key = KeyPair::from_pkcs8(key.key.as_der()).map_err(|_| NO_RSA)?;
    Certificate::of(key, archive.certs.iter().map(|bag| bag.cert.as_der()))
}

/// The identity service takes no other key, and none below 2,048 bits is safe.
const NO_RSA: &str = "its private key is no RSA key of 2048 to 8192 bits";
