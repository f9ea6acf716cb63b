//! The log of a mount: its first line, what an error line says, JSON, and levels that change while it runs.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::CANARY;
use crate::commands::{akvfs, fails, ok};
use crate::mounts::{Mounted, Served, eventually};
use crate::support::name;

#[test]
fn the_first_line_says_version_vault_identity_and_options() {
    let served = Served::new();
    let place = tempfile::tempdir().unwrap();
    let token = place.path().join("token");
    // {"oid":"object-1","appid":"app-1"}
    fs::write(&token, format!("e30.eyJvaWQiOiJvYmplY3QtMSIsImFwcGlkIjoiYXBwLTEifQ.{CANARY}")).unwrap();
    fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let options = format!("ro,ttl=10m,credentials_file={}", token.display());
    let Some(mounted) = Mounted::logging(&served.url, &options, "info") else { return };
    let dir = mounted.dir().display();
    let expected = format!(
        " INFO akvfs::mount::session: akvfs {} has mounted {url} at {dir}: {url}, signed in by local as application app-1, \
         object id object-1, options {options}",
        env!("CARGO_PKG_VERSION"),
        url = served.url,
    );
    eventually(|| !mounted.log().is_empty());
    let log = mounted.log();
    assert!(log.lines().next().unwrap().ends_with(&expected), "{log}\n{expected}");
    assert!(!log.contains(CANARY) && !log.contains("eyJ"), "{log}");
}

#[test]
fn an_error_line_says_all_and_in_json_each_apart() {
    for format in ["text", "json"] {
        let served = Served::new();
        let options = format!("ttl=10m,log_format={format}");
        let Some(mounted) = Mounted::logging(&served.url, &options, "info") else { return };
        let value = mounted.path("secrets/n/value");
        fs::create_dir(mounted.path("secrets/n")).unwrap();
        fs::write(&value, "x").unwrap();
        served.client().begin_delete_secret(&name("n")).unwrap();
        fs::write(mounted.path("secrets/n/.new"), CANARY).unwrap();
        fs::rename(mounted.path("secrets/n/.new"), &value).unwrap_err();
        eventually(|| mounted.log().lines().any(|line| line.contains("WARN")));
        let log = mounted.log();
        assert!(!log.contains(CANARY));
        let line = log.lines().find(|line| line.contains("WARN")).unwrap();
        let sentence = "rename secrets/n/value: cannot set n: 409 Conflict/ObjectIsDeletedButRecoverable: ";
        if format == "text" {
            assert!(line.contains(&format!(" WARN akvfs::fs::journal: {sentence}")), "{log}");
            assert!(
                line.ends_with("; recover it first: mv deleted/NAME secrets/ (EEXIST)") && line.contains("(request "),
                "{line}"
            );
            continue;
        }
        let all: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(all[0]["message"].as_str().unwrap().contains(" has mounted "), "{log}");
        let line: Value = serde_json::from_str(line).unwrap();
        for (key, expected) in [
            ("level", "WARN"),
            ("error.operation", "rename"),
            ("error.path", "secrets/n/value"),
            ("error.errno", "EEXIST"),
            ("error.code", "Conflict/ObjectIsDeletedButRecoverable"),
            ("error.remedy", "recover it first: mv deleted/NAME secrets/"),
        ] {
            assert_eq!(line[key], expected, "{line}");
        }
        assert!(line["error.status"] == 409 && line["error.request_id"].is_string(), "{line}");
        assert!(line["message"].as_str().unwrap().starts_with(sentence), "{line}");
    }
}

#[test]
fn sigusr1_goes_through_the_levels_and_back() {
    let Some(mounted) = Mounted::logging("local:", "ttl=10m", "akvfs=warn") else { return };
    let says = |part: &str| mounted.log().contains(part);
    let look = || fs::metadata(mounted.path("secrets/none")).unwrap_err();
    look();
    assert_eq!(mounted.log(), "");
    mounted.signal(libc::SIGUSR1);
    eventually(|| says("the log is at akvfs=debug from now on"));
    fs::write(mounted.path(".akvfs/refresh"), "none").unwrap();
    eventually(|| says(" DEBUG akvfs::vault::link: answered operation="));
    mounted.signal(libc::SIGUSR1);
    eventually(|| says("the log is at akvfs=trace from now on"));
    mounted.signal(libc::SIGUSR1);
    // At warn again; that line itself is not said.
    let quiet = || {
        let before = mounted.log().len();
        fs::write(mounted.path(".akvfs/refresh"), "none").unwrap();
        mounted.log().len() == before
    };
    eventually(quiet);
}

const ANSWERED: &str = " DEBUG akvfs::vault::link: answered operation=";

#[test]
fn the_levels_of_single_parts_change_while_it_runs() {
    let Some(mounted) = Mounted::logging("local:", "ttl=10m", "akvfs=warn") else { return };
    let (path, says) = (mounted.path(".akvfs/log"), |part: &str| mounted.log().contains(part));
    assert_eq!(mounted.read(".akvfs/log"), "akvfs=warn\n");
    fs::write(mounted.path(".akvfs/refresh"), "none").unwrap();
    assert_eq!(mounted.log(), "");
    // As a shell's >> does it.
    fs::File::options().append(true).open(&path).unwrap().write_all(b"akvfs::vault=debug\n").unwrap();
    assert_eq!(mounted.read(".akvfs/log"), "akvfs=warn,akvfs::vault=debug\n");
    fs::write(mounted.path(".akvfs/refresh"), "none").unwrap();
    eventually(|| says(ANSWERED));
    assert!(mounted.log().lines().all(|line| line.contains(" DEBUG akvfs::vault::")), "{}", mounted.log());
    fs::write(&path, "akvfs=loud").unwrap();
    let refused = mounted.read(".akvfs/errors");
    assert!(refused.contains("\"errno\":\"EINVAL\"") && refused.contains("write for example debug, or"), "{refused}");
    assert_eq!(mounted.read(".akvfs/log"), "akvfs=warn,akvfs::vault=debug\n", "nothing has changed");
    fs::write(&path, "\n").unwrap();
    assert_eq!(mounted.read(".akvfs/log"), "akvfs=warn\n", "as it began");
}

#[test]
fn the_log_of_a_read_only_mount_is_changed_by_a_command() {
    for options in ["ro,ttl=10m", "ttl=10m"] {
        let Some(mounted) = Mounted::logging("local:", options, "akvfs=warn") else { return };
        let dir = mounted.dir().to_str().unwrap();
        let root = Path::new("/");
        assert_eq!(ok(&["log", dir], root), "akvfs=warn\n");
        assert_eq!(ok(&["log", dir, "error,akvfs::vault=debug"], root), "");
        assert_eq!(ok(&["log", "."], &mounted.path("secrets")), "error,akvfs::vault=debug\n");
        ok(&["refresh", dir], root);
        eventually(|| mounted.log().contains(ANSWERED));
        fails(&["log", dir, "vault=debug"], root, "write for example akvfs::vault=debug");
        fails(&["log", dir, &"akvfs=debug,".repeat(20)], root, "");
        assert_eq!(ok(&["log", dir], root), "error,akvfs::vault=debug\n");
        ok(&["log", dir, ""], root);
        assert_eq!(ok(&["log", dir], root), "akvfs=warn\n");
        assert_eq!(akvfs(&["log"], root).0, 1);
    }
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let (mut unread, full) = std::io::pipe().unwrap();
    // The least that a pipe can hold: the mount alone fills it.
    // SAFETY: numbers; the descriptor is open.
    unsafe { libc::fcntl(full.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    let Some(mut mounted) = Mounted::logging_into("local:", "ttl=10m", "akvfs=trace", Some(full.into())) else {
        return;
    };
    fs::create_dir(mounted.path("secrets/n")).unwrap();
    for number in 0..200 {
        fs::write(mounted.path("secrets/n/value"), number.to_string()).unwrap();
        fs::metadata(mounted.path(&format!("secrets/none{number}"))).unwrap_err();
    }
    assert_eq!(mounted.read("secrets/n/value"), "199");
    mounted.signal(libc::SIGTERM);
    assert!(mounted.ends_within(Duration::from_secs(5 + 2)), "it waits for its log");
    let mut text = String::new();
    unread.read_to_string(&mut text).unwrap();
    assert!(text.contains("akvfs::") && text.len() <= 4096, "{text}");
}
