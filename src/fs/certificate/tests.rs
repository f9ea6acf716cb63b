//! What we give, against what `openssl` and Java say of it; and what we refuse.

mod hostile;
#[macro_use]
#[path = "../../../tests/support/skipped.rs"]
mod skipped;

mod lab;

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{CertificateError, CertificateFile, bundle, chain, extract, is_certificate, pbe, text};
use lab::Lab;

const PFX: &str = "application/x-pkcs12";
const PEM: &str = "application/x-pem-file";

fn file(content_type: &str, value: &str, file: CertificateFile) -> Vec<u8> {
    extract(content_type, value, file).unwrap_or_else(|error| panic!("{}: {error}", file.name())).to_vec()
}

/// Checks every file of `value` against the certificates and the key of `lab`.
fn check(lab: &Lab, what: &str, content_type: &str, value: &str, chain: &str) {
    let leaf = lab.text("leaf.pem");
    let text = |which| String::from_utf8(file(content_type, value, which)).expect("text");
    assert_eq!(text(CertificateFile::Cert), leaf, "{what}");
    assert_eq!(text(CertificateFile::Chain), chain, "{what}");
    assert_eq!(text(CertificateFile::FullChain), format!("{leaf}{chain}"), "{what}");
    let key = text(CertificateFile::PrivateKey);
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{what}");
    assert_eq!(lab.key(key.as_bytes()), lab.key(&lab.get("leaf.key")), "{what}");
    check_bundle(lab, what, &file(content_type, value, CertificateFile::Bundle), chain);
}

fn check_bundle(lab: &Lab, what: &str, bundle: &[u8], chain: &str) {
    lab.put("ours.pfx", bundle);
    let read = |options: &str| {
        let line = format!("pkcs12 -in ours.pfx -passin pass: -nodes {options}");
        // Where the file has the old ciphers, openssl 3 wants to be asked for them.
        lab.try_run(&line)
            .or_else(|_| lab.try_run(&format!("{line} -legacy")))
            .unwrap_or_else(|error| panic!("{what}: {error}"))
    };
    assert_eq!(blocks(&read("-nokeys -clcerts")), blocks(&lab.get("leaf.pem")), "{what}");
    assert_eq!(blocks(&read("-nokeys -cacerts")), blocks(chain.as_bytes()), "{what}");
    assert_eq!(lab.key(&read("-nocerts")), lab.key(&lab.get("leaf.key")), "{what}");
}

/// The certificates in a PEM text, without what openssl writes between them, in a stable order.
fn blocks(pem: &[u8]) -> Vec<Vec<u8>> {
    let text = std::str::from_utf8(pem).expect("text");
    let mut blocks = text::read(text).map(|contents| contents.certificates).unwrap_or_default();
    blocks.sort();
    blocks
}

#[test]
fn names_and_content_types() {
    for file in CertificateFile::ALL {
        assert_eq!(CertificateFile::parse(file.name()), Some(file));
    }
    assert_eq!(CertificateFile::parse("Cert.pem"), None);
    for yes in [PFX, PEM, "Application/X-PKCS12", "application/x-pem-file; charset=utf-8", " application/x-pkcs12 ;a=b"]
    {
        assert!(is_certificate(Some(yes)), "{yes}");
    }
    for no in ["", "text/plain", "application/x-pkcs12x", "application/pkcs12", ";application/x-pkcs12"] {
        assert!(!is_certificate(Some(no)), "{no}");
    }
    assert!(!is_certificate(None));
}

#[test]
fn pkcs12_of_every_protection_with_and_without_a_chain() {
    for kind in ["rsa", "P-256"] {
        let Some(lab) = Lab::new(kind) else { return };
        for protection in [
            "",
            "-legacy",
            "-legacy -nomac",
            "-keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1",
            "-keypbe PBE-SHA1-2DES -certpbe PBE-SHA1-RC2-128 -legacy",
            "-keypbe AES-128-CBC -certpbe DES-EDE3-CBC -macalg sha512",
            "-keypbe NONE -certpbe NONE -macalg sha384",
            "-nomac -noiter -macalg sha224",
        ] {
            let what = format!("{kind} {protection}");
            check(&lab, &what, PFX, &lab.pfx(protection), "");
            let value = lab.pfx(&format!("{protection} -certfile above.pem"));
            check(&lab, &what, PFX, &value, &lab.text("above.pem"));
        }
    }
}

#[test]
fn keys_of_every_kind() {
    for kind in ["P-384", "P-521", "secp256k1"] {
        let Some(lab) = Lab::new(kind) else { return };
        let value = lab.pfx("-certfile above.pem");
        check(&lab, kind, PFX, &value, &lab.text("above.pem"));
        let mixed = ["root.pem", "leaf.key", "mid.pem", "leaf.pem"].map(|name| lab.text(name)).concat();
        check(&lab, kind, PEM, &mixed, &lab.text("above.pem"));
        // Only the key tells the leaf from a stranger that stands before it.
        let strange = ["root.pem", "leaf.pem", "leaf.key"].map(|name| lab.text(name)).concat();
        check(&lab, kind, PEM, &strange, &lab.text("root.pem"));
    }
}

#[test]
fn pkcs12_under_the_absent_password_of_dotnet() {
    let Some(lab) = Lab::new("P-256") else { return };
    let contents = text::read(&[lab.text("leaf.key"), lab.text("leaf.pem")].concat()).expect("reads");
    let (key, certificates) = (contents.key().expect("a key"), contents.ordered().expect("certificates"));
    let pfx = bundle::encode(key, &certificates, pbe::Password::Absent).expect("encodes");
    assert_ne!(*pfx, *bundle::write(key, &certificates).expect("encodes"));
    check(&lab, "absent", PFX, &STANDARD.encode(&pfx), "");
}

#[test]
fn base64_with_line_ends_and_without_padding() {
    let Some(lab) = Lab::new("P-256") else { return };
    let value = lab.pfx("");
    let lines: Vec<_> = value.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).expect("text")).collect();
    check(&lab, "lines", PFX, &(lines.join("\r\n") + "\n"), "");
    check(&lab, "no padding", PFX, value.trim_end_matches('='), "");
    assert_eq!(file(PFX, &value, CertificateFile::Bundle), lab.get("out.pfx"), "the bytes as they are");
}

#[test]
fn pem_in_every_order_and_form() {
    for kind in ["rsa", "P-256"] {
        let Some(lab) = Lab::new(kind) else { return };
        lab.run("pkey -in leaf.key -traditional -out old.key");
        lab.run("x509 -in leaf.pem -text -out wordy.pem");
        let (key, old) = (lab.text("leaf.key"), lab.text("old.key"));
        assert!(old.contains("RSA PRIVATE") || old.contains("EC PRIVATE"));
        let (leaf, mid, root) = (lab.text("leaf.pem"), lab.text("mid.pem"), lab.text("root.pem"));
        let chain = format!("{mid}{root}");
        for (what, value, chain) in [
            ("key first", format!("{key}{leaf}{mid}{root}"), &chain),
            ("key last", format!("{root}{leaf}{mid}{key}"), &chain),
            ("key between", format!("{mid}{key}{root}{leaf}"), &chain),
            ("old key", format!("{root}{mid}{leaf}{old}"), &chain),
            ("twice", format!("{key}{leaf}{leaf}{mid}{root}{mid}"), &chain),
            ("alone", format!("{leaf}{key}"), &String::new()),
            ("not all", format!("{root}{leaf}{key}"), &root),
            (
                "words between",
                format!("Bag Attributes\n  friendlyName: x\n{}\n{key}", lab.text("wordy.pem")),
                &String::new(),
            ),
            ("CRLF", format!("{key}{leaf}{mid}").replace('\n', "\r\n"), &mid),
        ] {
            check(&lab, &format!("{kind} {what}"), PEM, &value, chain);
        }
    }
}

#[test]
fn a_key_says_which_leaf_and_strangers_come_last() {
    let Some(lab) = Lab::new("P-256") else { return };
    let Some(other) = Lab::new("P-256") else { return };
    let (leaf, mid, stranger) = (lab.text("leaf.pem"), lab.text("mid.pem"), other.text("leaf.pem"));
    let value = format!("{stranger}{mid}{leaf}{}", lab.text("leaf.key"));
    check(&lab, "stranger", PEM, &value, &format!("{mid}{stranger}"));
    // Here the key is the authority's.
    let value = format!("{leaf}{mid}{}", lab.text("mid.key"));
    assert_eq!(file(PEM, &value, CertificateFile::FullChain), format!("{mid}{leaf}").as_bytes());
}

#[test]
fn without_a_key_the_leaf_is_what_issued_no_other() {
    let Some(lab) = Lab::new("P-256") else { return };
    let (leaf, mid, root) = (lab.text("leaf.pem"), lab.text("mid.pem"), lab.text("root.pem"));
    let value = format!("{root}{mid}{leaf}");
    assert_eq!(file(PEM, &value, CertificateFile::FullChain), format!("{leaf}{mid}{root}").as_bytes());
    for missing in [CertificateFile::PrivateKey, CertificateFile::Bundle] {
        assert_eq!(extract(PEM, &value, missing).err(), Some(CertificateError::NoKey));
    }
    let key = lab.text("leaf.key");
    assert_eq!(lab.key(&file(PEM, &key, CertificateFile::PrivateKey)), lab.key(key.as_bytes()));
    assert_eq!(extract(PEM, &key, CertificateFile::Cert).err(), Some(CertificateError::NoCertificate));
}

#[test]
fn the_chain_we_give_verifies() {
    let Some(lab) = Lab::new("rsa") else { return };
    let value = lab.pfx("-certfile above.pem");
    lab.put("cert.pem", &file(PFX, &value, CertificateFile::Cert));
    lab.put("chain.pem", &file(PFX, &value, CertificateFile::Chain));
    lab.run("verify -CAfile root.pem -untrusted chain.pem cert.pem");
}

#[test]
fn a_bundle_is_the_same_each_time_and_java_reads_it() {
    let Some(lab) = Lab::new("rsa") else { return };
    let value = ["leaf.key", "leaf.pem", "above.pem"].map(|name| lab.text(name)).concat();
    let bundle = file(PEM, &value, CertificateFile::Bundle);
    assert_eq!(bundle, file(PEM, &value, CertificateFile::Bundle));
    lab.put("java.pfx", &bundle);
    let mut keytool = Command::new("keytool");
    keytool.args([
        "-J-Duser.language=en",
        "-list",
        "-v",
        "-storetype",
        "PKCS12",
        "-keystore",
        "java.pfx",
        "-storepass",
        "",
    ]);
    let Ok(output) = keytool.current_dir(lab.path()).output() else {
        return skipped!("keytool is missing, install it: apt-get install default-jre-headless");
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("PrivateKeyEntry"), "{said}");
    assert!(said.contains("Certificate chain length: 3"), "{said}");
}

#[test]
fn a_cycle_of_issuers_ends() {
    let certificate = |subject: &str, issuer: &str| {
        let named = |name: &str| {
            let mut parameters = rcgen::CertificateParams::default();
            parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
            parameters
        };
        let key = rcgen::KeyPair::generate().expect("a key");
        let issuer = rcgen::Issuer::new(named(issuer), rcgen::KeyPair::generate().expect("a key"));
        named(subject).signed_by(&key, &issuer).expect("signed").der().to_vec()
    };
    let certificates = vec![certificate("a", "b"), certificate("b", "a")];
    assert_eq!(chain::ordered(None, &certificates).expect("ordered"), [&certificates[0][..], &certificates[1][..]]);
}
