//! HTTPS with the vault's own authority.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use akvfs::clock::SystemClock;
use akvfs::local::{ServeOptions, Server};
use reqwest::Certificate;
use reqwest::blocking::Client;

use crate::support::{http, read};

/// By the machine's clock: clients check the dates of certificates against it.
fn serve(dir: &Path) -> Server {
    let options = ServeOptions { tls: Some(dir.to_owned()), ..Default::default() };
    Server::start(options, SystemClock::shared()).expect("a vault")
}

fn client(dir: &Path, name: &str, address: SocketAddr) -> Client {
    let pem = std::fs::read(dir.join("ca.pem")).expect("ca.pem");
    let authority = Certificate::from_pem(&pem).expect("a certificate");
    let builder = Client::builder().no_proxy().tls_certs_only([authority]);
    builder.resolve(name, address).build().expect("a client")
}

#[test]
fn every_local_name_has_a_certificate_of_the_own_authority() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = serve(dir.path());
    let port = server.addr().port();
    assert_eq!(server.url(), format!("https://localhost:{port}"));
    for name in ["localhost", "akv.localhost", "My-Vault.localhost", "akv.vault.localhost", "127.0.0.1"] {
        let client = client(dir.path(), &name.to_lowercase(), server.addr());
        let answer = read(client.get(format!("https://{name}:{port}/secrets?api-version=7.6")).bearer_auth("any"));
        answer.unwrap_or_else(|error| panic!("{name}: {error:?}")).expect(200);
    }
    let client = client(dir.path(), "akv.localhost", server.addr());
    let answer = read(client.get(format!("https://akv.localhost:{port}/secrets"))).expect("an answer").expect(401);
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.ends_with(&format!("resource=\"https://localhost:{port}\"")), "{challenge}");
    assert!(http().get(server.url()).send().is_err(), "nobody else vouches for it");
}

#[test]
fn the_authority_stays_over_a_restart_and_its_key_is_private() {
    let dir = tempfile::tempdir().expect("a directory");
    let pem = || std::fs::read_to_string(dir.path().join("ca.pem")).expect("ca.pem");
    serve(dir.path()).stop();
    let first = pem();
    let server = serve(dir.path());
    assert_eq!(pem(), first);
    let client = client(dir.path(), "akv.localhost", server.addr());
    let url = format!("https://akv.localhost:{}/secrets", server.addr().port());
    read(client.get(url)).expect("an answer").expect(401);
    let mode = std::fs::metadata(dir.path().join("ca.key")).expect("ca.key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
