//! `akvfs doctor` against the local vault on good and bad days: which line fails, with which remedy, and that it always
//! ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

#[path = "support/terminal.rs"]
mod terminal;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use akvfs::clock::SystemClock;
use akvfs::local::{Fault, FaultKind, RecoveryLevel, ServeOptions, Server};
use akvfs::secret::SecretAttributes;
use akvfs::store::SecretStore as _;
use akvfs::vault::{ClientOptions, SecretClient, StaticToken};
use serde_json::Value;
use support::{name, value};
use terminal::Terminal;

/// Far more than any of these may take.
const BOUND: Duration = Duration::from_secs(60);
const CANARY: &str = "canary-7bd1";

struct Said {
    code: i32,
    /// State, message and remedy by check.
    checks: BTreeMap<String, (String, String, String)>,
    all: String,
}

impl Said {
    fn state(&self, check: &str) -> &str {
        self.checks.get(check).map_or("missing", |(state, ..)| state)
    }

    fn message(&self, check: &str) -> &str {
        &self.checks[check].1
    }

    fn remedy(&self, check: &str) -> &str {
        &self.checks[check].2
    }

    /// Expects exactly these to have failed.
    fn fails(&self, expected: &[&str]) -> &Self {
        let failed: Vec<_> =
            self.checks.iter().filter(|(_, (state, ..))| state == "failed").map(|(check, _)| check).collect();
        assert_eq!(failed, expected, "{}", self.all);
        assert_eq!(self.code, if expected.is_empty() { 0 } else { 32 }, "{}", self.all);
        for check in expected {
            assert!(!self.message(check).is_empty(), "{}", self.all);
        }
        self
    }
}

fn doctor(source: &str, words: &[&str]) -> Said {
    let start = Instant::now();
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "90", env!("CARGO_BIN_EXE_akvfs"), "doctor", source, "--json"]).args(words);
    let output = command.env_remove("HTTPS_PROXY").env_remove("https_proxy").output().unwrap();
    assert!(start.elapsed() < BOUND, "{source} {words:?}: {:?}", start.elapsed());
    let all = [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(!all.contains(CANARY) && !all.contains('\x1b'), "{all}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{all}"));
    assert_eq!(document["ok"], output.status.success(), "{all}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let checks = document["checks"].as_array().unwrap().iter();
    let checks =
        checks.map(|one| (text(&one["check"]), (text(&one["state"]), text(&one["message"]), text(&one["remedy"]))));
    Said { code: output.status.code().unwrap(), checks: checks.collect(), all }
}

fn serve(options: ServeOptions) -> Server {
    Server::start(options, SystemClock::shared()).unwrap()
}

fn client(server: &Server) -> SecretClient {
    let options = ClientOptions { verify_challenge_resource: false, ..ClientOptions::default() };
    SecretClient::new(server.url(), Arc::new(StaticToken::new("t".into())), options, SystemClock::shared()).unwrap()
}

/// Nothing is left in the vault, not even among the deleted.
fn is_empty(server: &Server) -> bool {
    let client = client(server);
    client.list_properties_of_secrets().next().is_none() && client.list_deleted_secrets().next().is_none()
}

#[test]
fn all_is_well_and_nobodys_value_was_read() {
    let server = serve(ServeOptions::default());
    client(&server).set_secret(&name("db"), &value(CANARY), &SecretAttributes::default()).unwrap();
    let said = doctor(server.url(), &[]);
    said.fails(&[]);
    for check in
        ["device", "fusermount3", "allow_other", "name", "connection", "challenge", "sign-in", "clock", "list", "get"]
    {
        assert_eq!(said.state(check), "ok", "{check}: {}", said.all);
    }
    assert_eq!((said.state("tls"), said.state("set")), ("skipped", "missing"));
    assert_eq!(said.message("list"), "1 secrets");
    assert!(said.message("name").contains("this machine"), "{}", said.all);
    let seen = ["get", "set", "delete", "backup"].map(|operation| server.requests_of(operation));
    // One get: of a name that nobody has.
    assert_eq!(seen, [1, 1, 0, 0]);
}

#[test]
fn with_write_every_right_is_tried_and_nothing_stays() {
    let server = serve(ServeOptions { soft_delete_delay: Duration::from_millis(300), ..ServeOptions::default() });
    let said = doctor(server.url(), &["--write"]);
    said.fails(&[]);
    for check in ["set", "backup", "delete", "recover", "purge"] {
        assert_eq!(said.state(check), "ok", "{check}: {}", said.all);
    }
    let seen = ["set", "backup", "delete", "recover", "purge"].map(|operation| server.requests_of(operation));
    assert_eq!(seen, [1, 1, 2, 1, 1]);
    std::thread::sleep(Duration::from_millis(400)); // the purge's own delay
    assert!(is_empty(&server));
}

#[test]
fn each_right_that_is_missing_is_named_with_the_role_that_has_it() {
    for (denied, role) in [
        ("get", "Secrets User"),
        ("list", "Secrets User"),
        ("set", "Secrets Officer"),
        ("backup", "Secrets Officer"),
        ("delete", "Secrets Officer"),
        ("recover", "Secrets Officer"),
        ("purge", "Secrets Officer"),
    ] {
        let server = serve(ServeOptions { deny: vec![denied.parse().unwrap()], ..ServeOptions::default() });
        let said = doctor(server.url(), &["--write"]);
        said.fails(&[denied]);
        assert!(said.message(denied).contains("ForbiddenByPolicy"), "{}", said.all);
        let remedy = said.remedy(denied);
        assert!(remedy.contains(role) && remedy.contains(&format!("permission {denied}")), "{remedy}");
        let left = match denied {
            "delete" => 1,
            "purge" => 0,
            _ => {
                assert!(denied == "list" || is_empty(&server), "{denied}");
                continue;
            }
        };
        assert!(remedy.contains("akvfs-doctor-"), "what is left is named: {remedy}");
        assert_eq!(client(&server).list_properties_of_secrets().count(), left, "{denied}");
    }
}

#[test]
fn who_may_set_nothing_is_told_that_the_rest_was_not_tried() {
    let server = serve(ServeOptions { deny: vec!["set".parse().unwrap()], ..ServeOptions::default() });
    let said = doctor(server.url(), &["--write"]);
    for check in ["backup", "delete", "recover", "purge"] {
        assert_eq!(said.state(check), "skipped");
    }
}

#[test]
fn purge_protection_is_no_failure_but_told() {
    let server = serve(ServeOptions { recovery_level: Some(RecoveryLevel::Recoverable), ..ServeOptions::default() });
    let said = doctor(server.url(), &["--write"]);
    said.fails(&[]);
    assert_eq!(said.state("purge"), "warning");
    assert!(said.remedy("purge").contains("stays among the deleted"), "{}", said.all);
}

#[test]
fn a_closed_port_and_an_unknown_name_end_it_early() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let said = doctor(&format!("http://127.0.0.1:{port}"), &[]);
    said.fails(&["connection"]);
    assert!(
        said.message("connection").contains("refused") && said.remedy("connection").contains("443"),
        "{}",
        said.all
    );
    for check in ["tls", "challenge", "sign-in", "clock", "list", "get"] {
        assert_eq!(said.state(check), "skipped");
    }
    let said = doctor("https://no-such-vault.invalid", &["-o", "timeout=10s", "--auth=azcli"]);
    said.fails(&["name"]);
    assert!(said.remedy("name").contains("privatelink"), "{}", said.all);
}

#[test]
fn whoever_never_answers_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let said = doctor(&format!("http://127.0.0.1:{port}"), &["--timeout=1s"]);
    said.fails(&["challenge"]);
    assert!(!said.remedy("challenge").is_empty(), "{}", said.all);
    let said = doctor(&format!("https://127.0.0.1:{port}"), &["--timeout=1s", "--auth=local"]);
    assert_eq!(said.code, 32, "{}", said.all);
    assert_ne!(said.state("list"), "ok");
}

#[test]
fn a_certificate_that_is_not_trusted_and_one_that_is() {
    let place = tempfile::tempdir().unwrap();
    let (ours, other) = (place.path().join("ours"), place.path().join("other"));
    let server = serve(ServeOptions { tls: Some(ours.clone()), ..ServeOptions::default() });
    let _stranger = serve(ServeOptions { tls: Some(other.clone()), ..ServeOptions::default() });
    let ca = |dir: &Path| format!("auth=local,ca_file={}", dir.join("ca.pem").display());
    doctor(server.url(), &["-o", &ca(&ours)]).fails(&[]);
    for options in ["auth=local".to_owned(), ca(&other)] {
        let said = doctor(server.url(), &["-o", &options]);
        said.fails(&["tls"]);
        assert!(said.remedy("tls").contains("ca_file") && said.state("list") == "skipped", "{}", said.all);
    }
    let said = doctor(server.url(), &["-o", &format!("auth=local,ca_file={}/none.pem", place.path().display())]);
    said.fails(&["options"]);
    assert!(said.message("options").contains("none.pem"), "{}", said.all);
    let plain = serve(ServeOptions::default());
    let said = doctor(&plain.url().replace("http:", "https:"), &["--auth=local"]);
    said.fails(&["tls"]);
}

#[test]
fn a_challenge_that_leads_elsewhere_gets_no_token() {
    // Away from auth=local the resource of the challenge must be the vault's.
    let server = serve(ServeOptions::default());
    let said = doctor(server.url(), &["--auth=azcli"]);
    said.fails(&["challenge"]);
    assert!(
        said.message("challenge").contains("not of the domain") && said.state("sign-in") == "skipped",
        "{}",
        said.all
    );
    assert_eq!(server.requests_of("list"), 0);
}

#[test]
fn who_answers_without_a_challenge_is_no_vault() {
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = web.local_addr().unwrap().port();
    std::thread::spawn(move || web.incoming().flatten().for_each(answer_as_a_web_site));
    let said = doctor(&format!("http://127.0.0.1:{port}"), &[]);
    said.fails(&["challenge"]);
    assert!(said.message("challenge").contains("answered 200"), "{}", said.all);
}

fn answer_as_a_web_site(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nHello");
}

#[test]
fn the_identity_is_told_by_the_token_and_the_token_is_not() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("token");
    // {"oid":"00000000-0000-0000-0000-00000000000a","appid":"app-1","tid":"tenant-1"}
    let payload =
        "eyJvaWQiOiIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMGEiLCJhcHBpZCI6ImFwcC0xIiwidGlkIjoidGVuYW50LTEifQ";
    std::fs::write(&file, format!("e30.{payload}.{CANARY}")).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let server = serve(ServeOptions::default());
    let said = doctor(server.url(), &["-o", &format!("auth=local,credentials_file={}", file.display())]);
    said.fails(&[]);
    let expected = "as application app-1, object id 00000000-0000-0000-0000-00000000000a, tenant tenant-1";
    assert_eq!(said.message("sign-in"), expected);
    assert!(!said.all.contains(payload), "{}", said.all);

    let guarded = serve(ServeOptions { token: Some("right".to_owned().into()), ..ServeOptions::default() });
    let said = doctor(guarded.url(), &["-o", &format!("auth=local,credentials_file={}", file.display())]);
    said.fails(&["get", "list"]);
    assert!(said.message("list").contains("401") && said.remedy("list").contains("-o auth"), "{}", said.all);
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let said = doctor(server.url(), &["-o", &format!("auth=local,credentials_file={}", file.display())]);
    said.fails(&["options"]);
}

#[test]
fn a_clock_that_is_hours_off_is_noticed() {
    let vault = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = vault.local_addr().unwrap().port();
    std::thread::spawn(move || vault.incoming().flatten().for_each(answer_with_a_challenge_of_tomorrow));
    let said = doctor(&format!("http://127.0.0.1:{port}"), &["--timeout=1s"]);
    said.fails(&["clock", "get", "list"]);
    assert!(said.message("clock").contains("behind") && said.remedy("clock").contains("timedatectl"), "{}", said.all);
}

fn answer_with_a_challenge_of_tomorrow(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 4096]);
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(86_400));
    let challenge = "Bearer authorization=\"https://localhost/t\", resource=\"https://localhost\"";
    let head = format!("HTTP/1.1 401 No\r\nDate: {date}\r\nWWW-Authenticate: {challenge}\r\n");
    let _ = stream.write_all(format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
}

#[test]
fn every_fault_of_the_vault_ends_in_a_line() {
    for (kind, part) in [
        (FaultKind::status(500), "500"),
        (FaultKind::status(503), "503"),
        (FaultKind::status(429), "429"),
        (FaultKind::html(403), "does not come from a Key Vault"),
        (FaultKind::redirect("https://elsewhere.invalid/"), "redirect"),
        (FaultKind::Stall, "time"),
        (FaultKind::Truncate, ""),
        (FaultKind::LoseReply, ""),
        (FaultKind::CloseBefore, ""),
        (FaultKind::Challenge("Bearer authorization=\"https://l.invalid/t\", resource=\"x\"".to_owned()), "challenge"),
    ] {
        let server = serve(ServeOptions::default());
        server.inject(Fault { operation: None, count: 1_000, kind: kind.clone() });
        let said = doctor(server.url(), &["--timeout=300ms", "--write", "--write-timeout=300ms"]);
        assert_eq!(said.code, 32, "{kind:?}: {}", said.all);
        assert_eq!((said.state("challenge"), said.state("list")), ("ok", "failed"), "{kind:?}: {}", said.all);
        assert!(said.message("list").contains(part), "{kind:?}: {}", said.all);
    }
}

#[test]
fn a_listing_of_many_pages_is_counted_and_its_fault_told() {
    let server = serve(ServeOptions { empty_pages: true, ..ServeOptions::default() });
    let client = client(&server);
    let wait = || akvfs::store::Wait::at_most(&*SystemClock::shared(), BOUND);
    for number in 0..60 {
        client.set(&name(&format!("s{number}")), &value("x"), &SecretAttributes::default(), wait()).unwrap();
    }
    assert_eq!(doctor(server.url(), &[]).message("list"), "60 secrets");
    server.inject(Fault {
        operation: None,
        count: 1,
        kind: FaultKind::ForeignNextLink("https://elsewhere.invalid".into()),
    });
    let said = doctor(server.url(), &[]);
    said.fails(&["list"]);
    assert!(said.message("list").contains("another host"), "{}", said.all);
}

#[test]
fn how_far_a_long_listing_is_stands_on_a_terminal_and_nowhere_else() {
    let server = serve(ServeOptions::default());
    let client = client(&server);
    let wait = || akvfs::store::Wait::at_most(&*SystemClock::shared(), BOUND);
    for number in 0..60 {
        client.set(&name(&format!("s{number}")), &value("x"), &SecretAttributes::default(), wait()).unwrap();
    }
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_akvfs"));
        command.args(["doctor", server.url()]);
        command
    };
    let (mut terminal, end) = Terminal::new(80, 24);
    let told = command().stderr(end).output().unwrap();
    // The first page is shown at once, later ones at most ten times a second, and then the line is gone.
    let shown = terminal.until(|_| false);
    assert!(shown.starts_with("\r\x1b[Ksecrets listed: 25\r\x1b[K") && shown.ends_with("\r\x1b[K"), "{shown:?}");
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(text.contains("60 secrets\n") && !text.contains('\x1b'), "{text}");
    let silent = command().output().unwrap();
    assert!(silent.status.success() && silent.stderr.is_empty());
}

#[test]
fn an_embedded_vault_is_examined_too_and_people_read_lines() {
    let output = Command::new(env!("CARGO_BIN_EXE_akvfs")).args(["doctor", "local:", "--write"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{text}");
    assert!(text.lines().all(|line| line.starts_with("ok  ") || line.starts_with("skipped  ")), "{text}");
    assert!(text.contains("ok       purge        allowed; akvfs-doctor-"), "{text}");
}

#[test]
fn wrong_usage_is_1() {
    for (words, part) in [
        (&["doctor"][..], "<SOURCE>"),
        (&["doctor", "local:", "--tll=3s"], "did you mean ttl?"),
        (&["doctor", "local:", "-o", "ttl=3"], "write 3s"),
        (&["doctor", "http://vault.example"], "for this machine only"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_akvfs")).args(words).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {line}");
        assert!(line.contains(part) && output.stdout.is_empty(), "{words:?}: {line}");
    }
}
