//! TLS: whom the client trusts, and that what it does not trust gets nothing.

mod client_support;

use std::io::Write;

use akvfs::store::{ErrorKind, SecretStore};
use akvfs::vault::{ClientError, ClientOptions};
use client_support::*;

fn options(file: &tempfile::NamedTempFile) -> ClientOptions {
    let ca_file = Some(file.path().to_owned());
    ClientOptions { ca_file, verify_challenge_resource: false, ..ClientOptions::default() }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

#[test]
fn a_certificate_is_trusted_by_its_authority_only_and_a_refusal_is_not_retried() {
    let identity = Identity::new();
    let server = Server::play_tls(vec![challenge(), bundle(VERSION, "x", 0)], &identity);
    let url = format!("https://localhost:{}", server.port);
    let stranger = file(&Identity::new().pem());
    for untrusting in [options(&stranger), ClientOptions { ca_file: None, ..options(&stranger) }] {
        let refused = client(&url, untrusting).expect("a client").get(&db(), None, within(5_000));
        assert_eq!(kind(refused), ErrorKind::Tls);
    }
    assert!(server.seen().is_empty());
    let trusted = file(&identity.pem());
    let secret = client(&url, options(&trusted)).expect("a client").get(&db(), None, within(5_000));
    assert_eq!(secret.expect("trusted").value.expose(), "x");
}

#[test]
fn a_server_without_tls_is_no_trusted_one() {
    let server = Server::play(vec![]);
    let identity = file(&Identity::new().pem());
    let client = client(&format!("https://127.0.0.1:{}", server.port), options(&identity)).expect("a client");
    assert!(matches!(kind(client.get(&db(), None, within(2_000))), ErrorKind::Tls | ErrorKind::Unreachable));
}

#[test]
fn a_file_of_authorities_must_hold_one() {
    for text in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let file = file(text);
        assert!(matches!(client("contoso", options_public(&file)), Err(ClientError::Setup(_))), "{text:?}");
    }
    let missing = ClientOptions { ca_file: Some("/nowhere/ca.pem".into()), ..ClientOptions::default() };
    let Err(error) = client("contoso", missing) else { panic!("there is no such file") };
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}

#[test]
fn authorities_that_others_can_change_are_nobodys() {
    use std::os::unix::fs::PermissionsExt as _;
    let file = file(&Identity::new().pem());
    let set =
        |mode: u32| std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("allowed");
    for mode in [0o620, 0o602, 0o666] {
        set(mode);
        let Err(error) = client("contoso", options_public(&file)) else { panic!("{mode:o} is taken") };
        let (place, why) =
            (file.path().display(), format!("its mode is {mode:04o}, so that others may change it; chmod go-w it"));
        assert_eq!(error.to_string(), format!("cannot use the authorities in {place}: {why}"));
    }
    set(0o444);
    assert!(client("contoso", options_public(&file)).is_ok());
}

fn options_public(file: &tempfile::NamedTempFile) -> ClientOptions {
    ClientOptions { verify_challenge_resource: true, ..options(file) }
}
