//! Which certificate is the leaf, and what stands above it.

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256K1_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::CertificateError;

/// The curves that Key Vault certificates can have. The hash has no say in whose key it is.
const CURVES: [&EcdsaSigningAlgorithm; 4] = [
    &ECDSA_P256_SHA256_ASN1_SIGNING,
    &ECDSA_P384_SHA384_ASN1_SIGNING,
    &ECDSA_P521_SHA512_ASN1_SIGNING,
    &ECDSA_P256K1_SHA256_ASN1_SIGNING,
];

/// A certificate and where it came from.
struct Candidate<'a> {
    der: &'a [u8],
    parsed: X509Certificate<'a>,
}

impl Candidate<'_> {
    fn is_issuer_of(&self, other: &Self) -> bool {
        self.parsed.subject().as_raw() == other.parsed.issuer().as_raw()
    }

    fn has_public_key(&self, bits: &[u8]) -> bool {
        self.parsed.public_key().subject_public_key.data.as_ref() == bits
    }
}

/// The certificates with the leaf first, each followed by its issuer, those outside that chain last; none twice, and
/// at least one. The leaf is the one with `key`'s public half (`key` is PKCS#8), else the first that issued no other.
pub fn ordered<'a>(key: Option<&[u8]>, certificates: &'a [Vec<u8>]) -> Result<Vec<&'a [u8]>, CertificateError> {
    let mut rest = parse_all(certificates)?;
    if rest.is_empty() {
        return Err(CertificateError::NoCertificate);
    }
    let mut chain = vec![rest.remove(leaf(key.and_then(public_bits).as_deref(), &rest))];
    while let Some(issuer) = next_issuer(&chain, &rest) {
        chain.push(rest.remove(issuer));
    }
    chain.append(&mut rest);
    Ok(chain.into_iter().map(|candidate| candidate.der).collect())
}

fn parse_all(certificates: &[Vec<u8>]) -> Result<Vec<Candidate<'_>>, CertificateError> {
    let mut all: Vec<Candidate<'_>> = Vec::new();
    for der in certificates {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| CertificateError::UnreadableCertificate)?;
        if !all.iter().any(|other| other.der == der) {
            all.push(Candidate { der, parsed });
        }
    }
    Ok(all)
}

fn leaf(public: Option<&[u8]>, all: &[Candidate<'_>]) -> usize {
    let by_key = public.and_then(|bits| all.iter().position(|candidate| candidate.has_public_key(bits)));
    by_key.or_else(|| all.iter().position(|candidate| issued_no_other(candidate, all))).unwrap_or(0)
}

fn issued_no_other(candidate: &Candidate<'_>, all: &[Candidate<'_>]) -> bool {
    !all.iter().any(|other| other.der != candidate.der && candidate.is_issuer_of(other))
}

/// A self-signed certificate ends a chain: another one of its name would be a renewal of it, not its issuer.
fn next_issuer(chain: &[Candidate<'_>], rest: &[Candidate<'_>]) -> Option<usize> {
    let last = chain.last().filter(|last| !last.is_issuer_of(last))?;
    rest.iter().position(|candidate| candidate.is_issuer_of(last))
}

/// What stands in a certificate's `subjectPublicKey` for this private key. `None` where it cannot be told, such as
/// for RSA below 2,048 bits.
fn public_bits(key: &[u8]) -> Option<Vec<u8>> {
    let rsa = || rsa::KeyPair::from_pkcs8(key).ok().map(|pair| pair.public_key().as_ref().to_vec());
    let ec = |curve| EcdsaKeyPair::from_pkcs8(curve, key).ok().map(|pair| pair.public_key().as_ref().to_vec());
    let ed = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(key).ok().map(|pair| pair.public_key().as_ref().to_vec());
    rsa().or_else(|| CURVES.into_iter().find_map(ec)).or_else(ed)
}
