//! Credentials from a file: by name, from systemd's directory, and refused when somebody else may get at them.

use akvfs::local::{ServeOptions, Server as LocalVault};
use akvfs::store::ErrorKind;
use akvfs::vault::{StaticToken, local_token};
use zeroize::Zeroizing;

use super::*;

fn put(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("allowed");
}

/// All that signing in needs, the authority included.
fn text(authority: &Authority, secret: &str) -> String {
    let host = &authority.variables[0].1;
    format!(
        "# an application\nAZURE_TENANT_ID=tenant-9\nAZURE_CLIENT_ID=app-9\nAZURE_CLIENT_SECRET=\"{secret}\"\n\
         AZURE_AUTHORITY_HOST={host}\n"
    )
}

#[test]
fn a_credentials_file_goes_before_the_environment() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("credentials");
    let authority = Authority::new(vec![issued("from-file"), issued("from-systemd"), issued("from-name")]);
    put(&file, &text(&authority, "s3cret-9"), 0o600);
    let certificate = authority.variables[1].1.as_str();
    let variables = [("AKVFS_TEST_FILE", file.to_str().expect("text")), ("SSL_CERT_FILE", certificate)];
    assert_eq!(sign_in("auto", Path::new("/nowhere"), &variables), "token from-file");

    std::fs::rename(&file, place.path().join("akvfs")).expect("renamed");
    put(&place.path().join("akvfs"), &text(&authority, "s3cret-9"), 0o440);
    let directory = ("CREDENTIALS_DIRECTORY", place.path().to_str().expect("text"));
    assert_eq!(
        sign_in("auto", Path::new("/nowhere"), &[directory, ("SSL_CERT_FILE", certificate)]),
        "token from-systemd"
    );
    std::fs::rename(place.path().join("akvfs"), place.path().join("vault")).expect("renamed");
    let others = [
        directory,
        ("AKVFS_TEST_FILE", "vault"),
        ("AZURE_CLIENT_ID", "app-of-the-environment"),
        ("AZURE_CLIENT_SECRET", "secret-of-the-environment"),
        ("SSL_CERT_FILE", certificate),
    ];
    assert_eq!(sign_in("environment", Path::new("/nowhere"), &others), "token from-name");
    for seen in authority.server.seen() {
        assert!(seen.line.starts_with("POST /tenant-1/oauth2/v2.0/token "), "{seen:?}");
        assert!(seen.body.contains("client_id=app-9") && seen.body.contains("client_secret=s3cret-9"), "{}", seen.body);
    }
}

#[test]
fn a_secret_that_was_changed_in_the_file_is_taken_up() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let authority = Authority::new(vec![refused(), issued("two")]);
    std::fs::write(file.path(), text(&authority, "old")).expect("written");
    let path = file.path().to_str().expect("text");
    let new = text(&authority, "new");
    let variables = [("AKVFS_TEST_FILE", path), ("AKVFS_TEST_THEN_FILE", path), ("AKVFS_TEST_THEN_TEXT", &new)];
    let outcome = authority.sign_in("auto", Path::new("/nowhere"), &variables);
    assert!(outcome.ends_with("\ntoken two"), "{outcome}");
    assert!(authority.server.seen()[1].body.contains("client_secret=new"));
}

#[test]
fn a_secret_that_stopped_working_is_read_again() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let authority = Authority::new(vec![issued_for("one", 1), refused(), issued("two")]);
    std::fs::write(file.path(), text(&authority, "old")).expect("written");
    let path = file.path().to_str().expect("text");
    let new = text(&authority, "new");
    let variables = [
        ("AKVFS_TEST_FILE", path),
        ("AKVFS_TEST_EXPIRES", "1"),
        ("AKVFS_TEST_THEN_FILE", path),
        ("AKVFS_TEST_THEN_TEXT", &new),
    ];
    let outcome = authority.sign_in("auto", Path::new("/nowhere"), &variables);
    assert!(outcome.starts_with("token one\ncannot sign in: ") && outcome.ends_with("\ntoken two"), "{outcome}");
    let secrets = authority.server.seen().into_iter().map(|seen| seen.body.contains("client_secret=new"));
    assert_eq!(secrets.collect::<Vec<_>>(), [false, false, true]);
}

#[test]
fn a_certificate_in_the_file_does_not_give_way_to_a_secret_in_the_environment() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let authority = Authority::new(vec![]);
    std::fs::write(file.path(), "AZURE_CLIENT_CERTIFICATE_PATH=/nowhere.pem\n").expect("written");
    let path = file.path().to_str().expect("text");
    let variables = [("AKVFS_TEST_FILE", path), ("AZURE_CLIENT_SECRET", "secret-of-the-environment")];
    let outcome = authority.sign_in("environment", Path::new("/nowhere"), &variables);
    assert!(outcome.starts_with("cannot sign in: environment: the certificate /nowhere.pem: "), "{outcome}");
    assert!(authority.server.seen().is_empty());
}

#[test]
fn a_file_that_others_may_get_at_is_refused_and_nobody_is_asked() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("credentials");
    let authority = Authority::new(vec![]);
    let attempt = |path: &Path| {
        let outcome = authority.sign_in("auto", az().path(), &[("AKVFS_TEST_FILE", path.to_str().expect("text"))]);
        assert!(
            outcome.starts_with(&format!("cannot sign in: the credentials file {}: ", path.display())),
            "{outcome}"
        );
        assert!(!outcome.contains("canary"), "{outcome}");
        outcome
    };
    put(&file, &text(&authority, "canary"), 0o644);
    assert!(attempt(&file).ends_with("its mode is 0644, so that others may get at it; chmod 0600 it"));
    put(&file, &text(&authority, "canary"), 0o640);
    assert!(attempt(&file).contains("0640"), "systemd's ways are for systemd's directory");
    put(&file, "AZURE_CLIENT_SECRET=canary\ncanary\n", 0o600);
    assert!(attempt(&file).ends_with("line 2 is not NAME=VALUE"));
    std::os::unix::fs::symlink(&file, place.path().join("link")).expect("linked");
    assert!(attempt(&place.path().join("link")).contains("symbolic link"));
    attempt(&place.path().join("none"));
    // Only root can give a file away.
    put(&file, &text(&authority, "canary"), 0o600);
    match std::os::unix::fs::chown(&file, Some(12_345), None) {
        Ok(()) => assert!(attempt(&file).contains("it belongs to user 12345, not to 0 or root")),
        Err(_) => skipped!("a file of somebody else (only root can make one)"),
    }
    assert!(authority.server.seen().is_empty());
}

#[test]
fn the_token_file_of_a_local_vault_lets_its_client_in() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    put(file.path(), "canary-token\n", 0o600);
    let options = ServeOptions { token: Some(Zeroizing::new("canary-token".to_owned())), ..ServeOptions::default() };
    let vault = LocalVault::start(options, clock()).expect("serves");
    let list = |tokens: StaticToken| {
        let options = ClientOptions { verify_challenge_resource: false, ..ClientOptions::default() };
        let client = SecretClient::new(vault.url(), Arc::new(tokens), options, clock()).expect("loopback");
        client.list(None, within(5_000)).map(drop).map_err(|error| error.kind)
    };
    assert_eq!(list(local_token(Some(file.path())).expect("read")), Ok(()));
    assert_eq!(list(StaticToken::new("another".to_owned())), Err(ErrorKind::Authentication));
    put(file.path(), "canary-token\n", 0o604);
    let why = local_token(Some(file.path())).err().expect("refused").to_string();
    assert!(why.contains("its mode is 0604") && !why.contains("canary"), "{why}");
}
