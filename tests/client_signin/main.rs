//! Signing in with the real code of Microsoft's azure_identity against services of ours on loopback. Each case runs
//! in a process of its own, because the environment is what it is about.

#[macro_use]
#[path = "../support/skipped.rs"]
mod skipped;

mod certificate;
#[path = "../client_support/mod.rs"]
mod client_support;
mod elsewhere;
mod file;
mod order;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use akvfs::clock::unix_seconds;
use akvfs::store::{SecretStore as _, Wait};
use akvfs::vault::{AuthError, AuthKind, AuthOptions, ClientOptions, SecretClient, Token, TokenSource, azure_tokens};
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
    let metadata = std::env::var_os("AKVFS_TEST_METADATA").map(|_| metadata_service());
    let client_id = std::env::var("AKVFS_TEST_CLIENT_ID").ok();
    let credentials_file = std::env::var_os("AKVFS_TEST_FILE").map(Into::into);
    match azure_tokens(AuthOptions { kind, client_id, credentials_file }, None, clock()) {
        Ok(tokens) => ask(tokens),
        Err(error) => println!("OUTCOME {error}"),
    }
    metadata.into_iter().for_each(|server| println!("ASKED {:?}", server.seen()));
}

fn ask(tokens: Arc<dyn TokenSource>) {
    if let Ok(vault) = std::env::var("AKVFS_TEST_VAULT") {
        return list(&vault, tokens);
    }
    let get = || tokens.token(SCOPE, Some("tenant-1"), Wait::at_most(&*clock(), Duration::from_secs(20)));
    let mut last = get();
    tell(&last);
    if std::env::var_os("AKVFS_TEST_EXPIRES").is_some() {
        std::thread::sleep(Duration::from_millis(1_100)); // what the token was good for
        last = get();
        tell(&last);
    }
    // What a file is to be next, before the same is asked again.
    if let (Ok(file), Ok(text)) = (std::env::var("AKVFS_TEST_THEN_FILE"), std::env::var("AKVFS_TEST_THEN_TEXT")) {
        std::fs::write(file, text).expect("written");
        last.iter().for_each(|token| tokens.forget(SCOPE, Some("tenant-1"), token));
        tell(&get());
    } else if let Ok(token) = last {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(get)).collect();
            threads.into_iter().for_each(|thread| assert_eq!(thread.join().expect("no panic"), Ok(token.clone())));
        });
    }
}

fn tell(outcome: &Result<Token, AuthError>) {
    match outcome {
        Ok(token) => println!("OUTCOME token {}", token.expose()),
        Err(error) => println!("OUTCOME {error}"),
    }
}

/// Lists a vault with less time than signing in takes, then with enough.
fn list(vault: &str, tokens: Arc<dyn TokenSource>) {
    let options = ClientOptions { verify_challenge_resource: false, ..ClientOptions::default() };
    let client = SecretClient::new(vault, tokens, options, clock()).expect("loopback");
    for limit in [500, 15_000] {
        let started = Instant::now();
        let outcome = client.list(None, within(limit)).map(drop).map_err(|error| error.kind);
        let in_time = started.elapsed() < Duration::from_millis(limit + 400);
        println!("OUTCOME {limit} {outcome:?} in time: {in_time}");
    }
}

/// What a virtual machine finds at its well-known address.
fn metadata_service() -> Server {
    let expires = unix_seconds(&*clock()) + 3_600;
    Server::at("169.254.169.254:80", vec![identity_token("from-imds", expires)])
}

fn identity_token(token: &str, expires: i64) -> Act {
    reply(200, format!(r#"{{"access_token":"{token}","expires_on":"{expires}","resource":"r","token_type":"Bearer"}}"#))
}

/// This test program as a child with this environment and no other.
fn child_of(program: &mut Command, kind: &str, path: &Path, variables: &[(&str, &str)]) -> String {
    program.args(["--exact", "child", "--nocapture"]).env_clear().stdin(Stdio::null());
    program.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", path.display()));
    program.env("AKVFS_TEST_SIGN_IN", kind).envs(variables.iter().copied());
    let output = program.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// What a child with this environment prints as outcomes, a line each.
fn sign_in(kind: &str, path: &Path, variables: &[(&str, &str)]) -> String {
    let text = child_of(&mut Command::new(std::env::current_exe().expect("running")), kind, path, variables);
    let outcomes: Vec<_> = text.lines().filter_map(|line| line.split_once("OUTCOME ")).map(|(_, what)| what).collect();
    assert!(!outcomes.is_empty() && !text.contains("panicked"), "{text}");
    outcomes.join("\n")
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
    issued_for(token, 3_599)
}

fn issued_for(token: &str, seconds: u64) -> Act {
    let token =
        format!(r#"{{"token_type":"Bearer","expires_in":{seconds},"ext_expires_in":3599,"access_token":"{token}"}}"#);
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

/// An App Service with one identity, and the variables that lead to it.
fn app_service() -> (Server, [(&'static str, String); 2]) {
    let expires = unix_seconds(&*clock()) + 3_600;
    let server = Server::play(vec![identity_token("from-mi", expires)]);
    let endpoint = format!("{}/token", server.url());
    (server, [("IDENTITY_ENDPOINT", endpoint), ("IDENTITY_HEADER", "h".to_owned())])
}

#[test]
fn a_managed_identity_of_app_service_can_be_picked() {
    let (server, variables) = app_service();
    let mut variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.push(("AKVFS_TEST_CLIENT_ID", "id-7"));
    assert_eq!(sign_in("managed", Path::new("/bin"), &variables), "token from-mi");
    let seen = &server.seen()[0];
    assert!(
        seen.line.contains("client_id=id-7") && seen.line.contains("resource=https%3A%2F%2Fvault.azure.net&"),
        "{seen:?}"
    );
    assert_eq!(seen.header("x-identity-header"), Some("h"));
    assert_eq!(server.seen().len(), 1, "once for all threads");
}

/// The address is fixed in azure_identity, so the child gets a network of its own in which it is the child's.
#[test]
fn a_managed_identity_of_a_virtual_machine_can_be_picked() {
    let mut program = Command::new("unshare");
    let script = "ip link set lo up && ip addr add 169.254.169.254/32 dev lo && exec \"$0\" \"$@\"";
    program.args(["--map-root-user", "--net", "sh", "-c", script]).arg(std::env::current_exe().expect("running"));
    let possible = Command::new("unshare").args(["--map-root-user", "--net", "ip", "link", "set", "lo", "up"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        skipped!("no network of its own for a child (unshare --map-root-user --net ip)");
        return;
    }
    let variables = [("AKVFS_TEST_METADATA", "1"), ("AKVFS_TEST_CLIENT_ID", "id-7")];
    let text = child_of(&mut program, "auto", Path::new("/nowhere"), &variables);
    assert!(text.contains("OUTCOME token from-imds"), "{text}");
    let asked = text.lines().find(|line| line.contains("ASKED ")).expect("told");
    for part in ["GET /metadata/identity/oauth2/token?", "client_id=id-7", r#"("metadata", "true")"#] {
        assert!(asked.to_ascii_lowercase().contains(&part.to_ascii_lowercase()), "{part}: {asked}");
    }
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
fn a_workload_identity_shows_its_file_as_it_is_then() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "assertion-1").expect("written");
    let path = file.path().display().to_string();
    let variables = [
        ("AZURE_FEDERATED_TOKEN_FILE", path.as_str()),
        ("AKVFS_TEST_THEN_FILE", &path),
        ("AKVFS_TEST_THEN_TEXT", "assertion-2"),
    ];
    let authority = Authority::new(vec![issued("one"), issued("two")]);
    let outcome = authority.sign_in("auto", Path::new("/bin"), &variables);
    assert_eq!(outcome, "token one\ntoken two");
    let seen = authority.server.seen();
    assert!(seen[0].body.contains("client_assertion=assertion-1"), "{}", seen[0].body);
    assert!(seen[1].body.contains("client_assertion=assertion-2"), "{}", seen[1].body);

    std::fs::write(file.path(), "expired").expect("written");
    let authority = Authority::new(vec![refused(), issued("two")]);
    let outcome = authority.sign_in("workload", Path::new("/bin"), &variables);
    let (first, second) = outcome.split_once('\n').expect("two");
    assert!(first.contains("workload identity: ") && first.contains("AADSTS7000215"), "{first}");
    assert_eq!(second, "token two", "what was refused is read again");
}

/// An authority's no.
fn refused() -> Act {
    reply(
        401,
        r#"{"error":"invalid_client","error_description":"AADSTS7000215: wrong secret","error_codes":[7000215]}"#,
    )
}

#[test]
fn what_was_set_up_on_purpose_is_not_passed_over_when_it_fails() {
    let authority = Authority::new(vec![refused()]);
    let az = az();
    let outcome = authority.sign_in("auto", az.path(), &[("AZURE_CLIENT_SECRET", "s3cret")]);
    assert!(outcome.starts_with("cannot sign in: environment: "), "{outcome}");
    assert!(outcome.contains("AADSTS7000215") && !outcome.contains("s3cret"), "{outcome}");
    assert_eq!(asked(&az), "", "no other identity in its place");
}

#[test]
fn a_listing_ends_in_its_time_however_long_signing_in_takes() {
    let expires = unix_seconds(&*clock()) + 3_600;
    let token = format!(r#"{{"accessToken":"from-az","expires_on":{expires},"tokenType":"Bearer"}}"#);
    let slow = program("az", &format!("echo x >> \"$(dirname \"$0\")/asked\"\nsleep 2\necho '{token}'"));
    let vault = Server::vault(vec![reply(200, r#"{"value":[],"nextLink":null}"#)]);
    let outcome = sign_in("az", slow.path(), &[("AKVFS_TEST_VAULT", &vault.url())]);
    assert_eq!(outcome, "500 Err(TimedOut) in time: true\n15000 Ok(()) in time: true");
    assert_eq!(asked(&slow), "x\n", "the second call waits for what the first one began");
    assert_eq!(vault.seen()[1].header("authorization"), Some("Bearer from-az"));
}
