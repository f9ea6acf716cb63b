//! `.akvfs/` of a real mount, read and written by the ordinary calls.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use akvfs::secret::SecretAttributes;
use serde_json::Value;

use crate::mounts::{Mounted, Served};
use crate::support::{name, value};
use crate::{CANARY, samples};

fn save_new(mounted: &Mounted, secret: &str, bytes: &[u8]) {
    fs::create_dir(mounted.path(&format!("secrets/{secret}"))).unwrap();
    // The close's verdict is not heard here, as with a shell.
    fs::write(mounted.path(&format!("secrets/{secret}/value")), bytes).unwrap();
}

fn errors(mounted: &Mounted) -> Vec<Value> {
    mounted.read(".akvfs/errors").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_file_reads_as_long_as_it_says() {
    let Some(mounted) = Mounted::new("local:", "ttl=10m") else { return };
    save_new(&mounted, "n", CANARY.as_bytes());
    assert_eq!(mounted.read("secrets/n/value"), CANARY);
    for (file, mode) in
        [("status.json", 0o400), ("errors", 0o400), ("metrics", 0o400), ("refresh", 0o600), ("log", 0o600)]
    {
        let mut open = fs::File::open(mounted.path(&format!(".akvfs/{file}"))).unwrap();
        let metadata = open.metadata().unwrap();
        let mut text = String::new();
        open.read_to_string(&mut text).unwrap();
        assert_eq!((text.len() as u64, metadata.permissions().mode() & 0o7777), (metadata.len(), mode), "{file}");
        assert!(!text.contains(CANARY), "{file}");
    }
    let dir = fs::metadata(mounted.path(".akvfs")).unwrap();
    assert_eq!((dir.mode() & 0o7777, dir.nlink()), (0o700, 2));
}

#[test]
fn the_status_is_of_this_mount() {
    let Some(mounted) = Mounted::new("local:", "ttl=10m,allow_purge") else { return };
    save_new(&mounted, "n", b"x");
    let status: Value = serde_json::from_str(&mounted.read(".akvfs/status.json")).unwrap();
    let told = ["source", "directory", "pid", "auth", "read_only", "options", "akvfs"].map(|key| status[key].clone());
    let dir = mounted.dir().to_str().unwrap();
    let expected = serde_json::json!([
        "local:",
        dir,
        mounted.pid(),
        "local",
        false,
        "ttl=10m,allow_purge",
        env!("CARGO_PKG_VERSION")
    ]);
    assert_eq!(Value::from(told.to_vec()), expected);
    assert!(status["vault"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{status}");
    assert_eq!(status["operations"]["set"]["requests"], 1);
    assert!(status["operations"]["list"]["last_success"].is_string(), "{status}");
    assert!(status["files"]["kernel_requests"].as_u64() > Some(3), "{status}");
    assert_eq!(status["errors"]["panics"], 0);
}

#[test]
fn the_metrics_are_prometheus_text() {
    let Some(mounted) = Mounted::new("local:", "ttl=10m") else { return };
    save_new(&mounted, "n", b"x");
    mounted.read("secrets/n/value");
    let before = samples(&mounted.read(".akvfs/metrics"));
    mounted.read("secrets/n/value");
    let after = samples(&mounted.read(".akvfs/metrics"));
    let opens = "akvfs_value_opens_total";
    assert_eq!(after[opens], before[opens] + 1.0);
    let lookups = "akvfs_kernel_requests_total{call=\"lookup\"}";
    assert!(after[lookups] > before[lookups]);
    let set = "akvfs_vault_operations_total{operation=\"set\"}";
    assert_eq!((after[set], after["akvfs_versions_made_total"]), (1.0, 1.0));
}

#[test]
fn an_error_that_nobody_heard_is_in_errors() {
    let Some(mounted) = Mounted::new("local:", "ttl=10m") else { return };
    assert!(!mounted.path("secrets/none").exists() && errors(&mounted).is_empty(), "no such name is routine");
    save_new(&mounted, "n", &[CANARY.as_bytes(), b"\xff"].concat());
    let found = errors(&mounted);
    let error = &found[0];
    assert_eq!((&error["path"], &error["errno"]), (&"secrets/n/value".into(), &"EILSEQ".into()), "{found:?}");
    assert!(error["message"].as_str().unwrap().contains("not UTF-8"), "{error}");
    fs::create_dir(mounted.path("elsewhere")).unwrap_err();
    assert_eq!(errors(&mounted).last().unwrap()["operation"], "mkdir");
    assert!(!mounted.read(".akvfs/errors").contains(CANARY) && !mounted.log().contains(CANARY));
}

#[test]
fn what_the_vault_said_is_in_errors() {
    let served = Served::new();
    let Some(mounted) = Mounted::new(&served.url, "ttl=10m") else { return };
    save_new(&mounted, "n", b"x");
    served.client().begin_delete_secret(&name("n")).unwrap();
    fs::write(mounted.path("secrets/n/.new"), CANARY).unwrap();
    let refused = fs::rename(mounted.path("secrets/n/.new"), mounted.path("secrets/n/value")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EEXIST));
    let error = errors(&mounted).pop().unwrap();
    assert_eq!((&error["path"], &error["operation"]), (&"secrets/n/value".into(), &"rename".into()));
    assert_eq!((&error["status"], &error["code"]), (&409.into(), &"Conflict/ObjectIsDeletedButRecoverable".into()));
    assert!(error["request_id"].is_string() && error["remedy"].as_str().unwrap().contains("mv deleted/"), "{error}");
    assert!(!error.to_string().contains(CANARY) && !mounted.log().contains(CANARY));
}

#[test]
fn refresh_shows_another_partys_change_at_once() {
    let served = Served::new();
    let client = served.client();
    let set = |text: &str| client.set_secret(&name("n"), &value(text), &SecretAttributes::default()).unwrap();
    set("old");
    let Some(mounted) = Mounted::new(&served.url, "ttl=10m") else { return };
    assert_eq!(mounted.read("secrets/n/value"), "old");
    set("new");
    assert_eq!(mounted.read("secrets/n/value"), "old", "believed for ttl");
    fs::write(mounted.path(".akvfs/refresh"), "n\n").unwrap();
    assert_eq!(mounted.read("secrets/n/value"), "new");

    let names = || fs::read_dir(mounted.path("secrets")).unwrap().count();
    assert_eq!(names(), 1);
    client.set_secret(&name("m"), &value("x"), &SecretAttributes::default()).unwrap();
    client.begin_delete_secret(&name("n")).unwrap();
    assert!(mounted.path("secrets/n/value").exists());
    fs::File::create(mounted.path(".akvfs/refresh")).unwrap();
    assert!(!mounted.path("secrets/n").exists(), "{}", mounted.read(".akvfs/status.json"));
    assert_eq!(mounted.read("secrets/m/value"), "x");
}

#[test]
fn a_refresh_of_no_name_is_told_at_close() {
    let Some(mounted) = Mounted::new("local:", "ttl=10m") else { return };
    let mut file = fs::File::options().write(true).open(mounted.path(".akvfs/refresh")).unwrap();
    file.write_all(b"no name").unwrap();
    let closed = file.sync_all().unwrap_err();
    assert_eq!(closed.raw_os_error(), Some(libc::EINVAL));
    drop(file);
    assert_eq!(errors(&mounted)[0]["path"], ".akvfs/refresh");
}

#[test]
fn a_read_only_mount_tells_and_takes_nothing() {
    let Some(mounted) = Mounted::new("local:", "ro") else { return };
    // Before it says so, it is not yet shown as read-only.
    crate::mounts::eventually(|| mounted.log().contains(" has mounted "));
    let status: Value = serde_json::from_str(&mounted.read(".akvfs/status.json")).unwrap();
    assert_eq!((&status["read_only"], &status["options"]), (&true.into(), &"ro".into()));
    let refused = fs::write(mounted.path(".akvfs/refresh"), "").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
}

#[test]
fn a_shell_in_a_directory_that_is_refreshed_stays_there() {
    let Some(mounted) = Mounted::new("local:", "ttl=10m") else { return };
    save_new(&mounted, "n", b"x");
    let script = "cd secrets/n && cat value >/dev/null && echo > ../../.akvfs/refresh; readlink /proc/self/cwd; cat value; ls ..";
    let shell = std::process::Command::new("timeout")
        .args(["20", "sh", "-ec", script])
        .current_dir(mounted.dir())
        .output()
        .unwrap();
    assert!(shell.status.success(), "{shell:?}");
    let dir = mounted.path("secrets/n");
    assert_eq!(String::from_utf8_lossy(&shell.stdout), format!("{}\nxn\n", dir.display()));
}

#[test]
fn every_open_of_a_value_is_audited_and_nothing_else_is() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("audit");
    let options = format!("ttl=10m,audit_file={}", file.display());
    let served = Served::new();
    let client = served.client();
    let version = client.set_secret(&name("n"), &value(CANARY), &SecretAttributes::default()).unwrap();
    let version = version.properties.version.unwrap().to_string();
    let disabled = SecretAttributes { enabled: Some(false), ..SecretAttributes::default() };
    client.set_secret(&name("off"), &value("x"), &disabled).unwrap();
    let Some(mounted) = Mounted::new(&served.url, &options) else { return };
    for _ in 0..2 {
        assert_eq!(mounted.read("secrets/n/value"), CANARY);
    }
    mounted.read("files/n");
    mounted.read(&format!("secrets/n/versions/{version}"));
    mounted.read("secrets/n/.meta.json");
    fs::metadata(mounted.path("secrets/n/value")).unwrap();
    assert_eq!(fs::read_dir(mounted.path("secrets")).unwrap().count(), 2);
    fs::read(mounted.path("secrets/off/value")).unwrap_err();
    fs::write(mounted.path("secrets/n/value"), "new").unwrap();
    fs::read(mounted.path("backup/n")).unwrap();
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(CANARY));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let told = [
        ("secrets/n/value", "read", Value::from(version.clone()), Value::Null),
        ("secrets/n/value", "read", version.clone().into(), Value::Null),
        ("files/n", "read", version.clone().into(), Value::Null),
        (&format!("secrets/n/versions/{version}"), "read", version.clone().into(), Value::Null),
        ("secrets/off/value", "read", Value::Null, "EACCES".into()),
        ("secrets/n/value", "write", Value::Null, Value::Null),
        ("backup/n", "read", Value::Null, Value::Null),
    ];
    crate::mounts::eventually(|| lines().len() == told.len());
    let us = std::env::current_exe().unwrap();
    for (line, (path, purpose, version, errno)) in lines().iter().zip(&told) {
        assert_eq!((&line["path"], &line["for"]), (&Value::from(*path), &Value::from(*purpose)), "{line}");
        assert_eq!((&line["version"], &line["errno"]), (version, errno), "{line}");
        // SAFETY: no arguments, cannot fail.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        assert_eq!((&line["uid"], &line["gid"]), (&uid.into(), &gid.into()));
        assert_eq!((&line["pid"], &line["program"]), (&std::process::id().into(), &us.to_str().unwrap().into()));
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    let status: Value = serde_json::from_str(&mounted.read(".akvfs/status.json")).unwrap();
    assert_eq!((&status["files"]["audited"], &status["files"]["audit_lost"]), (&told.len().into(), &0.into()));

    fs::rename(&file, place.path().join("audit.1")).unwrap();
    mounted.signal(libc::SIGHUP);
    crate::mounts::eventually(|| {
        mounted.read("secrets/n/value");
        file.exists() && !lines().is_empty()
    });
}
