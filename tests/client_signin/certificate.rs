//! A client certificate: the assertion that is shown instead of a secret is checked as the identity service would.

use akvfs::clock::unix_seconds;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData as _};
use serde_json::Value;

use super::*;

/// An application's key and certificate.
struct Application {
    key: KeyPair,
    certificate: rcgen::Certificate,
    place: tempfile::TempDir,
}

impl Application {
    fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
        let certificate = CertificateParams::new(Vec::new()).expect("none").self_signed(&key).expect("a certificate");
        Self { key, certificate, place: tempfile::tempdir().expect("a directory") }
    }

    /// A file with `bytes`; its path.
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.place.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("allowed");
        path.display().to_string()
    }

    /// The key, and the certificate behind one of somebody else.
    fn pem(&self) -> String {
        Identity::new().pem() + &self.certificate.pem() + &self.key.serialize_pem()
    }

    /// The same as PKCS#12, by OpenSSL.
    fn pkcs12(&self, password: &str, how: &[&str]) -> Option<String> {
        let (from, to) = (self.file("all.pem", self.certificate.pem() + &self.key.serialize_pem()), "all.p12");
        let mut program = Command::new("openssl");
        program.args(["pkcs12", "-export", "-in", &from, "-out", to, "-passout", &format!("pass:{password}")]);
        let made = program.args(how).current_dir(self.place.path()).stderr(Stdio::null()).status();
        made.is_ok_and(|status| status.success()).then(|| self.place.path().join(to).display().to_string())
    }

    /// What the identity service would check.
    fn check(&self, authority: &Authority, seen: &Seen) -> Value {
        assert!(seen.line.starts_with("POST /tenant-1/oauth2/v2.0/token "), "{seen:?}");
        let form: Vec<_> = url::form_urlencoded::parse(seen.body.as_bytes()).into_owned().collect();
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        assert_eq!(field("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        assert_eq!((field("client_id"), field("scope"), field("client_secret")), ("app-1", SCOPE, ""));
        let (message, signature) = field("client_assertion").rsplit_once('.').expect("a JWT");
        let decoded = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64url");
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.der_bytes());
        key.verify(message.as_bytes(), &decoded(signature)).expect("signed by the application");
        let (head, claims) = message.split_once('.').expect("a JWT");
        let [head, claims]: [Value; 2] =
            [head, claims].map(|part| serde_json::from_slice(&decoded(part)).expect("JSON"));
        let thumbprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, self.certificate.der());
        let x5t = BASE64_URL_SAFE_NO_PAD.encode(thumbprint);
        assert_eq!(head, serde_json::json!({"alg": "RS256", "typ": "JWT", "x5t": x5t}));
        let host = &authority.variables[0].1;
        assert_eq!(claims["aud"], format!("{host}/tenant-1/oauth2/v2.0/token"));
        assert_eq!((&claims["iss"], &claims["sub"]), (&"app-1".into(), &"app-1".into()));
        let at = |name: &str| claims[name].as_i64().expect("a date") - unix_seconds(&*clock());
        assert!((-120..=0).contains(&at("nbf")) && (300..=600).contains(&at("exp")), "{claims}");
        claims["jti"].clone()
    }
}

#[test]
fn a_certificate_in_pem_signs_an_assertion_for_each_request() {
    let application = Application::new();
    let file = application.file("app.pem", application.pem());
    let authority = Authority::new(vec![issued("one"), issued("two")]);
    let variables = [
        ("AZURE_CLIENT_CERTIFICATE_PATH", file.as_str()),
        ("AKVFS_TEST_THEN_FILE", &application.file("other", "")),
        ("AKVFS_TEST_THEN_TEXT", ""),
    ];
    assert_eq!(authority.sign_in("auto", Path::new("/nowhere"), &variables), "token one\ntoken two");
    let numbers: Vec<_> = authority.server.seen().iter().map(|seen| application.check(&authority, seen)).collect();
    assert_eq!(numbers.len(), 2);
    assert_ne!(numbers[0], numbers[1], "none is used twice");
}

#[test]
fn a_certificate_in_pkcs12_works_with_its_password() {
    let application = Application::new();
    for how in [&[][..], &["-legacy"]] {
        let Some(file) = application.pkcs12("pass word", how) else {
            skipped!("PKCS#12 {how:?} (no openssl that makes one)");
            continue;
        };
        let authority = Authority::new(vec![issued("from-certificate")]);
        let certificate = ("AZURE_CLIENT_CERTIFICATE_PATH", file.as_str());
        let good = [certificate, ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "pass word")];
        assert_eq!(authority.sign_in("environment", Path::new("/nowhere"), &good), "token from-certificate", "{how:?}");
        application.check(&authority, &authority.server.seen()[0]);
        for bad in [&[certificate][..], &[certificate, ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "canary")]] {
            let outcome = authority.sign_in("environment", Path::new("/nowhere"), bad);
            assert!(outcome.contains("AZURE_CLIENT_CERTIFICATE_PASSWORD is wrong"), "{outcome}");
            assert!(!outcome.contains("canary"), "{outcome}");
        }
        assert_eq!(authority.server.seen().len(), 1);
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_with_the_reason() {
    let application = Application::new();
    let elliptic = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key").serialize_pem();
    let (own, key) = (application.certificate.pem(), application.key.serialize_pem());
    let authority = Authority::new(vec![]);
    for (text, why) in [
        (own.clone(), "it holds no private key"),
        (Identity::new().pem() + &key, "it holds no certificate of its private key"),
        (own.clone() + &elliptic, "its private key is no RSA key"),
        (own + &key.replace(" PRIVATE", " ENCRYPTED PRIVATE"), "its private key is encrypted"),
        ("canary".to_owned(), "it is neither PEM nor PKCS#12"),
    ] {
        let file = application.file("app.pem", text);
        let outcome = authority.sign_in("auto", az().path(), &[("AZURE_CLIENT_CERTIFICATE_PATH", &file)]);
        let expected = format!("cannot sign in: environment: the certificate {file}: {why}");
        assert!(outcome.starts_with(&expected), "{outcome}");
        assert!(!outcome.contains("canary") && !outcome.contains(';'), "{outcome}");
    }
    let file = application.file("app.pem", application.pem());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).expect("allowed");
    let outcome = authority.sign_in("auto", az().path(), &[("AZURE_CLIENT_CERTIFICATE_PATH", &file)]);
    assert!(outcome.contains("its mode is 0666, so that others may change it"), "{outcome}");
    assert!(authority.server.seen().is_empty());
}
