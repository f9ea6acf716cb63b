//! The local vault's own certificate authority, and a certificate for whatever local name a client asks for.
//!
//! `DIR/ca.pem` is what clients trust; it stays over restarts, its key (`DIR/ca.key`, mode 0600) too. The authority
//! can vouch for nothing but this machine: its certificate is limited to localhost and the loopback addresses.
//! Certificates of the server live in memory and are made anew at each start. Every name under `localhost` gets one
//! of its own, because OpenSSL, Node.js and webpki do not take the wildcard `*.localhost`.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use time::{Duration, OffsetDateTime};

use crate::private::{self, Rule};

/// The longest life that clients accept of a server's certificate.
const LEAF_DAYS: i64 = 397;
const CA_DAYS: i64 = 3650;
/// How many names get a certificate of their own; further ones get the one for all.
const MAX_NAMES: usize = 64;

/// What went wrong; only ever shown.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// TLS for a server whose authority lives in `dir`; `now` dates the certificates.
pub fn configure(dir: &Path, now: OffsetDateTime) -> Result<ServerConfig, Failure> {
    let issuer = load_or_create(dir, now)?;
    let default = issue(&issuer, &["localhost"], now)?;
    let resolver = Certificates { issuer, now, default: Arc::new(default), named: Mutex::default() };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn load_or_create(dir: &Path, now: OffsetDateTime) -> Result<Issuer<'static, KeyPair>, Failure> {
    let (certificate, key) = (dir.join("ca.pem"), dir.join("ca.key"));
    if certificate.exists() && key.exists() {
        let text = private::read(&key, Rule::Private).map_err(|why| format!("{}: {why}", key.display()))?;
        let key = KeyPair::from_pem(std::str::from_utf8(&text)?)?;
        return Ok(Issuer::from_ca_cert_pem(&fs::read_to_string(certificate)?, key)?);
    }
    fs::create_dir_all(dir)?;
    let (params, pair) = (authority(now), KeyPair::generate()?);
    write_new(&key, pair.serialize_pem().as_bytes(), 0o600)?;
    write_new(&certificate, params.self_signed(&pair)?.pem().as_bytes(), 0o644)?;
    Ok(Issuer::new(params, pair))
}

/// Writes a file whole or not at all.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let fresh = path.with_extension("new");
    // What an interrupted start left may be another's, or open to others.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(fs::rename(fresh, path)?)
}

fn authority(now: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("akvfs local vault, made {}", now.date()));
    params.not_before = now - Duration::DAY;
    params.not_after = now + Duration::days(CA_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".into()),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(IpAddr::V6(Ipv6Addr::LOCALHOST), 128)),
        ],
        excluded_subtrees: Vec::new(),
    });
    params
}

fn issue(issuer: &Issuer<'static, KeyPair>, names: &[&str], now: OffsetDateTime) -> Result<CertifiedKey, Failure> {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    params.subject_alt_names.extend(addresses.map(SanType::IpAddress));
    params.distinguished_name.push(DnType::CommonName, "akvfs local vault");
    params.not_before = now - Duration::DAY;
    params.not_after = now + Duration::days(LEAF_DAYS - 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let pair = KeyPair::generate()?;
    let certificate = CertificateDer::from(params.signed_by(&pair, issuer)?);
    let key = PrivateKeyDer::Pkcs8(pair.serialize_der().into());
    Ok(CertifiedKey::new(vec![certificate], aws_lc_rs::sign::any_supported_type(&key)?))
}

/// Finds or makes the certificate for the name a client asks for.
struct Certificates {
    issuer: Issuer<'static, KeyPair>,
    now: OffsetDateTime,
    default: Arc<CertifiedKey>,
    named: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let own = name.filter(|name| name.ends_with(".localhost")).and_then(|name| self.named(name));
        Some(own.unwrap_or_else(|| Arc::clone(&self.default)))
    }
}

impl Certificates {
    fn named(&self, name: String) -> Option<Arc<CertifiedKey>> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = named.get(&name) {
            return Some(Arc::clone(known));
        }
        if named.len() == MAX_NAMES {
            return None;
        }
        let made = Arc::new(issue(&self.issuer, &[&name, "localhost"], self.now).ok()?);
        named.insert(name, Arc::clone(&made));
        Some(made)
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Certificates")
    }
}
