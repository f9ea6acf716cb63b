//! Signing in with the real code of Microsoft's azure_identity against services of ours on loopback. Each case runs
//! in a process of its own, because the environment is what it is about.

mod client_support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use akvfs::clock::unix_seconds;
use akvfs::store::Wait;
use akvfs::vault::{AuthKind, azure_tokens};
use client_support::*;

const SCOPE: &str = "https://vault.azure.net/.default";

/// The child: signs in as its environment says and prints the outcome. Without that environment it does nothing.
#[test]
fn child() {
    let Ok(kind) = std::env::var("AKVFS_TEST_SIGN_IN") else { return };
    let kind = match kind.as_str() {
        "environment" => AuthKind::Environment,
        "workload" => AuthKind::Workload,
        "managed" => AuthKind::ManagedIdentity,
        "az" => AuthKind::AzureCli,
        "azd" => AuthKind::AzureDeveloperCli,
        _ => AuthKind::Auto,
    };
    let clock = clock();
    let tokens = azure_tokens(kind, std::env::var("AKVFS_TEST_CLIENT_ID").ok(), clock.clone()).expect("a thread");
    let get = || tokens.token(SCOPE, Some("tenant-1"), Wait::at_most(&*clock, Duration::from_secs(20)));
    match (get(), get()) {
        (Ok(token), again) => {
            assert_eq!(again, Ok(token.clone()), "kept");
            println!("OUTCOME token {}", token.expose());
        }
        (Err(error), _) => println!("OUTCOME {error}"),
    }
}

/// What a child with this environment prints.
fn sign_in(kind: &str, path: &Path, variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(std::env::current_exe().expect("running"));
    child.args(["--exact", "child", "--nocapture"]).env_clear().stdin(Stdio::null());
    child.env("PATH", format!("{}:/usr/bin:/bin", path.display()));
    child.env("AKVFS_TEST_SIGN_IN", kind).envs(variables.iter().copied());
    let output = child.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let outcome = text.lines().find_map(|line| line.split_once("OUTCOME ")).map(|(_, outcome)| outcome.to_owned());
    outcome.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// A directory with a program `name` that runs `script`.
fn program(name: &str, script: &str) -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join(name);
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("allowed");
    place
}

/// An `az` that writes its arguments down.
fn az() -> tempfile::TempDir {
    let expires = unix_seconds(&*clock()) + 3_600;
    let token = format!(r#"{{"accessToken":"from-az","expires_on":{expires},"tokenType":"Bearer"}}"#);
    program("az", &format!("echo \"$@\" >> \"$(dirname \"$0\")/asked\"\necho '{token}'"))
}

fn asked(place: &tempfile::TempDir) -> String {
    std::fs::read_to_string(place.path().join("asked")).unwrap_or_default()
}

/// A token endpoint's answer.
fn issued(token: &str) -> Act {
    let token =
        format!(r#"{{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"{token}"}}"#);
    Act::Reply(200, vec![("Content-Type".into(), "application/json".into())], token)
}

/// An authority over TLS, and the variables that lead to it.
struct Authority {
    server: Server,
    variables: Vec<(&'static str, String)>,
    _certificate: tempfile::NamedTempFile,
}

impl Authority {
    fn new(script: Vec<Act>) -> Self {
        let identity = Identity::new();
        let certificate = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(certificate.path(), identity.pem()).expect("written");
        let server = Server::play_tls(script, &identity);
        let variables = vec![
            ("AZURE_AUTHORITY_HOST", format!("https://localhost:{}", server.port)),
            ("SSL_CERT_FILE", certificate.path().display().to_string()),
            ("AZURE_TENANT_ID", "tenant-0".to_owned()),
            ("AZURE_CLIENT_ID", "app-1".to_owned()),
        ];
        Self { server, variables, _certificate: certificate }
    }

    fn sign_in(&self, kind: &str, path: &Path, more: &[(&str, &str)]) -> String {
        let mut variables: Vec<_> = self.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        variables.extend_from_slice(more);
        sign_in(kind, path, &variables)
    }
}

#[test]
fn the_azure_cli_is_asked_once_and_for_the_vaults_tenant() {
    let az = az();
    assert_eq!(sign_in("az", az.path(), &[]), "token from-az");
    assert_eq!(asked(&az), format!("account get-access-token -o json --scope {SCOPE} --tenant tenant-1\n"));
}

#[test]
fn the_azure_developer_cli_works() {
    let azd = program("azd", r#"echo '{"token":"from-azd","expiresOn":"2099-01-01T00:00:00Z"}'"#);
    assert_eq!(sign_in("azd", azd.path(), &[]), "token from-azd");
}

#[test]
fn a_managed_identity_of_app_service_can_be_picked() {
    let expires = unix_seconds(&*clock()) + 3_600;
    let token =
        format!(r#"{{"access_token":"from-mi","expires_on":"{expires}","resource":"r","token_type":"Bearer"}}"#);
    let server = Server::play(vec![reply(200, token)]);
    let endpoint = format!("{}/token", server.url());
    let variables =
        [("IDENTITY_ENDPOINT", endpoint.as_str()), ("IDENTITY_HEADER", "h"), ("AKVFS_TEST_CLIENT_ID", "id-7")];
    assert_eq!(sign_in("managed", Path::new("/bin"), &variables), "token from-mi");
    let seen = &server.seen()[0];
    assert!(
        seen.line.contains("client_id=id-7") && seen.line.contains("resource=https%3A%2F%2Fvault.azure.net&"),
        "{seen:?}"
    );
    assert_eq!(seen.header("x-identity-header"), Some("h"));
}

#[test]
fn a_client_secret_from_the_environment_goes_to_the_vaults_tenant() {
    let authority = Authority::new(vec![issued("from-secret")]);
    let outcome = authority.sign_in("auto", az().path(), &[("AZURE_CLIENT_SECRET", "s3cret")]);
    assert_eq!(outcome, "token from-secret");
    let seen = &authority.server.seen()[0];
    assert!(seen.line.starts_with("POST /tenant-1/oauth2/v2.0/token "), "{seen:?}");
    for part in ["client_id=app-1", "client_secret=s3cret", "grant_type=client_credentials"] {
        assert!(seen.body.contains(part), "{}", seen.body);
    }
}

#[test]
fn a_workload_identity_shows_its_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "assertion-1").expect("written");
    let authority = Authority::new(vec![issued("from-workload")]);
    let file = file.path().display().to_string();
    let outcome = authority.sign_in("auto", Path::new("/bin"), &[("AZURE_FEDERATED_TOKEN_FILE", &file)]);
    assert_eq!(outcome, "token from-workload");
    assert!(authority.server.seen()[0].body.contains("client_assertion=assertion-1"));
}

#[test]
fn what_was_set_up_on_purpose_is_not_passed_over_when_it_fails() {
    let refusal =
        r#"{"error":"invalid_client","error_description":"AADSTS7000215: wrong secret","error_codes":[7000215]}"#;
    let authority = Authority::new(vec![reply(401, refusal)]);
    let az = az();
    let outcome = authority.sign_in("auto", az.path(), &[("AZURE_CLIENT_SECRET", "s3cret")]);
    assert!(outcome.starts_with("cannot sign in: environment: "), "{outcome}");
    assert!(outcome.contains("AADSTS7000215") && !outcome.contains("s3cret"), "{outcome}");
    assert_eq!(asked(&az), "", "no other identity in its place");
}

#[test]
fn in_the_auto_order_the_first_that_is_set_up_signs_in() {
    let az = az();
    assert_eq!(sign_in("auto", az.path(), &[]), "token from-az");
}

#[test]
fn when_nothing_fits_the_message_says_what_was_tried_and_why_each_failed() {
    let outcome = sign_in("auto", Path::new("/nowhere"), &[]);
    for reason in [
        "environment: AZURE_TENANT_ID is not set",
        "workload identity: AZURE_FEDERATED_TOKEN_FILE is not set",
        "managed identity: ",
        "Azure CLI: ",
        "Azure Developer CLI: ",
    ] {
        assert!(outcome.contains(reason), "{reason}: {outcome}");
    }
    println!("{outcome}");
}
