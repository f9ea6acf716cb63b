//! Values that lie: nothing panics, nothing takes long, and no message repeats the value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode};
use pkcs5::pbes2::Parameters;
use pkcs5::{AlgorithmIdentifierRef, EncryptionScheme};
use proptest::prelude::*;

use super::super::asn1::{
    CERTIFICATE_BAG, CertificateBag, ContentInfo, DATA, DigestInfo, ENCRYPTED_DATA, EncryptedContent, EncryptedData,
    KEY_BAG, MacData, PbeParameters, Pfx, SHA256, SafeBag, X509_CERTIFICATE,
};
use super::*;

fn failure(content_type: &str, value: &str, file: CertificateFile) -> CertificateError {
    extract(content_type, value, file).map(|_| ()).expect_err("refused")
}

/// A whole PKCS#12 file of these parts, without a MAC.
fn pfx(parts: &[Vec<u8>], mac: Option<MacData<'_>>) -> Vec<u8> {
    let parts: Vec<_> = parts.iter().map(|part| ContentInfo::from_der(part).expect("a part")).collect();
    let parts = parts.to_der().expect("encodes");
    let content = OctetStringRef::new(&parts).expect("octets");
    let content = ContentInfo { content_type: DATA, content: content.into() };
    Pfx { version: 3, content, mac }.to_der().expect("encodes")
}

/// A part that says it is encrypted.
fn locked(algorithm: &[u8]) -> Vec<u8> {
    locked_bytes(algorithm, &[0; 16])
}

fn locked_bytes(algorithm: &[u8], bytes: &[u8]) -> Vec<u8> {
    let algorithm = AlgorithmIdentifierRef::from_der(algorithm).expect("an algorithm");
    let bytes = Some(OctetStringRef::new(bytes).expect("octets"));
    let content = EncryptedContent { content_type: DATA, algorithm, bytes };
    let data = EncryptedData { version: 0, content }.to_der().expect("encodes");
    let content = AnyRef::from_der(&data).expect("any");
    ContentInfo { content_type: ENCRYPTED_DATA, content }.to_der().expect("encodes")
}

fn new_algorithm(rounds: u32) -> Vec<u8> {
    let scheme = Parameters::pbkdf2_sha256_aes256cbc(rounds, b"salt", &[0; 16]).expect("parameters");
    EncryptionScheme::from(scheme).to_der().expect("encodes")
}

fn old_algorithm(oid: &str, rounds: u32) -> Vec<u8> {
    let salt = OctetStringRef::new(b"salt").expect("octets");
    let parameters = PbeParameters { salt, rounds }.to_der().expect("encodes");
    let parameters = Some(AnyRef::from_der(&parameters).expect("any"));
    AlgorithmIdentifierRef { oid: ObjectIdentifier::new_unwrap(oid), parameters }.to_der().expect("encodes")
}

/// Key and certificate in the open, so that a changed byte reaches every parser.
fn open_pfx() -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["web.example".into()]).expect("a certificate");
    let key = made.signing_key.serialize_der();
    let octets = OctetStringRef::new(made.cert.der()).expect("octets");
    let certificate = CertificateBag { kind: X509_CERTIFICATE, value: octets.into() }.to_der().expect("encodes");
    let bags = [(KEY_BAG, &key), (CERTIFICATE_BAG, &certificate)].map(|(kind, value)| SafeBag {
        kind,
        value: AnyRef::from_der(value).expect("any"),
        attributes: None,
    });
    let bags = Vec::from(bags).to_der().expect("encodes");
    let content = OctetStringRef::new(&bags).expect("octets").into();
    pfx(&[ContentInfo { content_type: DATA, content }.to_der().expect("encodes")], None)
}

fn pem() -> String {
    let made = rcgen::generate_simple_self_signed(["web.example".into()]).expect("a certificate");
    made.signing_key.serialize_pem() + &made.cert.pem()
}

#[test]
fn each_refusal_has_its_reason() {
    let Some(lab) = Lab::new("P-256") else { return };
    lab.run("pkcs12 -export -inkey leaf.key -in leaf.pem -out out.pfx -passout pass:hunter2");
    let foreign = STANDARD.encode(lab.get("out.pfx"));
    let leaf = lab.text("leaf.pem");
    lab.run("pkey -in leaf.key -aes256 -passout pass:hunter2 -out new.key");
    lab.run("ec -in leaf.key -aes256 -passout pass:hunter2 -out old.key");
    let whole = lab.pfx("");
    for (content_type, value, expected) in [
        ("text/plain", "x".into(), CertificateError::NotACertificate),
        (PEM, "x".repeat(25_601), CertificateError::TooLarge),
        (PFX, String::new(), CertificateError::NotPkcs12),
        (PFX, "hunter2!".into(), CertificateError::NotBase64),
        (PFX, "aHVudGVyMg==".into(), CertificateError::NotPkcs12),
        (PFX, whole[..whole.len() / 8 * 4].into(), CertificateError::NotPkcs12),
        (PFX, foreign, CertificateError::Password),
        (PEM, String::new(), CertificateError::NotPem),
        (PEM, "hunter2".into(), CertificateError::NotPem),
        (PEM, leaf[..leaf.len() - 10].into(), CertificateError::NotPem),
        (PEM, leaf.replacen("MII", "M!I", 1), CertificateError::NotPem),
        (PEM, leaf.replacen("MII", "AII", 1), CertificateError::UnreadableCertificate),
        (PEM, leaf.replace("CERTIFICATE", "PRIVATE KEY").replacen("MII", "AII", 1), CertificateError::UnreadableKey),
        (PEM, leaf.replace("CERTIFICATE", "EC PRIVATE KEY"), CertificateError::UnreadableKey),
        (PEM, lab.text("new.key") + &leaf, CertificateError::EncryptedKey),
        (PEM, lab.text("old.key") + &leaf, CertificateError::EncryptedKey),
    ] {
        let error = failure(content_type, &value, CertificateFile::FullChain);
        assert_eq!(error, expected);
        assert!(!error.to_string().contains("hunter2") && !error.to_string().is_empty());
    }
}

#[test]
fn key_derivation_without_end_is_refused_at_once() {
    let algorithm = AlgorithmIdentifierRef { oid: SHA256, parameters: Some(AnyRef::NULL) };
    let octets = OctetStringRef::new(&[0; 32]).expect("octets");
    let mac = MacData { mac: DigestInfo { algorithm, digest: octets }, salt: octets, rounds: u32::MAX };
    let mut bombs = vec![pfx(&[], Some(mac)), pfx(&[locked(&new_algorithm(99_999_999))], None)];
    for oid in ["1.2.840.113549.1.12.1.3", "1.2.840.113549.1.12.1.6"] {
        bombs.push(pfx(&[locked(&old_algorithm(oid, u32::MAX))], None));
        bombs.push(pfx(&[locked(&old_algorithm(oid, pbe::MAX_ROUNDS))], None));
    }
    // Neither part asks for too much alone. The first holds an empty list of bags.
    let scheme = Parameters::pbkdf2_sha256_aes256cbc(2, b"salt", &[0; 16]).expect("parameters");
    let first = locked_bytes(&new_algorithm(2), &scheme.encrypt([], &[0x30, 0]).expect("encrypts"));
    bombs.push(pfx(&[first, locked(&new_algorithm(pbe::MAX_ROUNDS / 2))], None));
    for bomb in bombs {
        let error = failure(PFX, &STANDARD.encode(bomb), CertificateFile::Cert);
        assert_eq!(error, CertificateError::TooMuchWork);
    }
}

#[test]
fn scrypt_and_unknown_ciphers_are_not_supported() {
    let scrypt = pkcs5::scrypt::Params::new(20, 8, 1, 32).expect("parameters");
    let scrypt = Parameters::scrypt_aes256cbc(scrypt, b"salt", &[0; 16]).expect("parameters");
    let scrypt = EncryptionScheme::from(scrypt).to_der().expect("encodes");
    for algorithm in [scrypt, old_algorithm("1.2.840.113549.1.12.1.1", 1), old_algorithm("1.2.3.4.5", 1)] {
        let value = STANDARD.encode(pfx(&[locked(&algorithm)], None));
        assert_eq!(failure(PFX, &value, CertificateFile::Cert), CertificateError::Unsupported);
    }
}

#[test]
fn no_rounds_and_no_salt_do_no_harm() {
    let algorithms = [new_algorithm(0), old_algorithm("1.2.840.113549.1.12.1.3", 0)];
    for algorithm in algorithms {
        let value = STANDARD.encode(pfx(&[locked(&algorithm)], None));
        assert!(extract(PFX, &value, CertificateFile::Cert).is_err());
    }
}

fn try_all(content_type: &str, value: &str) {
    for file in CertificateFile::ALL {
        let _ = extract(content_type, value, file);
    }
}

/// Up to eight bytes of `original` changed, then perhaps cut short.
fn mutated(original: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = original.len();
    let changes = prop::collection::vec((0..length, any::<u8>()), 1..8);
    (changes, prop_oneof![Just(length), 0..length]).prop_map(move |(changes, cut)| {
        let mut bytes = original.clone();
        changes.into_iter().for_each(|(place, byte)| bytes[place] = byte);
        bytes.truncate(cut);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_text_never_panics(text in any::<String>(), blocks in "(-----BEGIN [A-Z ]{0,12}-----[A-Za-z0-9+/=\n:]{0,80}-----END [A-Z ]{0,12}-----\n?){0,4}") {
        for value in [&text, &blocks] {
            try_all(PFX, value);
            try_all(PEM, value);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        try_all(PFX, &STANDARD.encode(&bytes));
        for algorithm in [new_algorithm(2), old_algorithm("1.2.840.113549.1.12.1.3", 2), old_algorithm("1.2.840.113549.1.12.1.6", 2)] {
            try_all(PFX, &STANDARD.encode(pfx(&[locked_bytes(&algorithm, &bytes)], None)));
        }
        for label in ["CERTIFICATE", "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
            let pem = text::write(label, &[&bytes]);
            try_all(PEM, std::str::from_utf8(&pem).expect("text"));
        }
    }

    #[test]
    fn a_changed_pkcs12_file_never_panics(bytes in mutated(open_pfx())) {
        try_all(PFX, &STANDARD.encode(&bytes));
    }

    #[test]
    fn a_changed_pem_text_never_panics(bytes in mutated(pem().into_bytes())) {
        try_all(PEM, &String::from_utf8_lossy(&bytes));
    }
}
