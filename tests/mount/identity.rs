//! Who is who: as whom a mount signs in, and somebody else who answers where the vault was.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;

use akvfs::clock::SystemClock;
use akvfs::local::{Fault, FaultKind, ServeOptions, Server};

use super::calls::{errno, write};
use super::harness::{Mount, can_mount};

/// A vault with an authority in `dir`.
fn serve(dir: &Path, options: ServeOptions) -> Server {
    Server::start(ServeOptions { tls: Some(dir.to_owned()), ..options }, SystemClock::shared()).unwrap()
}

fn trusting(dir: &Path) -> String {
    format!("ca_file={},timeout=5s,write_timeout=5s", dir.join("ca.pem").display())
}

fn port(server: &Server) -> u16 {
    server.url().rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap()
}

#[test]
fn a_certificate_that_is_not_trusted_is_eio() {
    if !can_mount() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (ours, theirs) = (place.path().join("ours"), place.path().join("theirs"));
    let vault = serve(&ours, ServeOptions::default());
    let listen = ([127, 0, 0, 1], port(&vault)).into();
    let mount = Mount::new(vault.url(), &format!("auth=local,{}", trusting(&ours)));
    assert_eq!(write(&mount.path("files/a"), b"old").0, 0);
    drop(vault);
    let impostor = serve(&theirs, ServeOptions { listen, ..ServeOptions::default() });
    assert_eq!(errno(fs::read(mount.path("backup/a"))), libc::EIO);
    assert_eq!(write(&mount.path("files/a"), b"new"), (libc::EIO, "close"));
    assert_eq!(fs::read(mount.path("files/a")).unwrap(), b"old");
    let answered = impostor.requests_of("set") + impostor.requests_of("backup");
    assert_eq!(answered, 0, "no request may reach it");
}

const OBJECT: &str = "0f5b7a3e-2c1d-4e6f-8a9b-0c1d2e3f4a5b";

fn token() -> String {
    let claims = format!(r#"{{"oid":"{OBJECT}","appid":"11111111-2222-3333-4444-555555555555"}}"#);
    ["{}", &claims, "signature"].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}

/// A stand-in for the Azure CLI, whose token says who it is for.
fn az(dir: &Path) {
    let program = dir.join("az");
    let answer = format!(r#"{{"accessToken":"{}","expires_on":4102444800,"tokenType":"Bearer"}}"#, token());
    fs::write(&program, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_challenge_for_another_vault_is_eproto_and_leaves_nothing_behind() {
    const FOREIGN: &str = r#"Bearer authorization="https://login.invalid/tenant", resource="https://vault.azure.net""#;
    if !can_mount() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    az(place.path());
    let vault = serve(&place.path().join("ca"), ServeOptions::default());
    let options = format!("auth=azcli,{}", trusting(&place.path().join("ca")));
    let mount = Mount::finding(place.path(), &format!("https://akv.localhost:{}", port(&vault)), &options);
    assert_eq!(write(&mount.path("files/a"), b"old").0, 0);
    let status = fs::read_to_string(mount.path(".akvfs/status.json")).unwrap();
    assert!(status.contains(OBJECT) && !status.contains(&token()), "{status}");
    vault.inject(Fault { operation: None, count: u32::MAX, kind: FaultKind::Challenge(FOREIGN.into()) });
    let back_up = || errno(fs::read(mount.path("backup/a")));
    assert_eq!(back_up(), libc::EPROTO);
    assert_eq!(write(&mount.path("files/a"), b"new"), (libc::EPROTO, "close"));
    vault.clear_faults();
    assert_eq!((back_up(), write(&mount.path("files/a"), b"new").0), (0, 0));
    assert_eq!(fs::read(mount.path("files/a")).unwrap(), b"new");
}
