//! On disk: nothing acknowledged is ever lost.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use akvfs::clock::SystemClock;
use akvfs::local::{ServeOptions, Server};
use serde_json::json;

use crate::support::{Local, http, read, serve, url_of};

fn on(path: &Path) -> ServeOptions {
    ServeOptions { store: Some(path.to_owned()), ..Default::default() }
}

#[test]
fn a_restart_keeps_everything() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("vault");
    let local = Local::with(on(&path));
    local.call_with(
        "PUT",
        "/secrets/Kept",
        &json!({"value": "1", "tags": {"b": "", "a": "2"}, "attributes": {"exp": -5}}),
    );
    local.set("kept", "2\u{1f511}");
    local.call_with("PATCH", "/secrets/kept", &json!({"contentType": "t"})).expect(200);
    ["deleted", "purged", "recovered"].iter().for_each(|name| drop(local.set(name, "v")));
    ["deleted", "purged", "recovered"].iter().for_each(|name| drop(local.delete(name)));
    local.call("DELETE", "/deletedsecrets/purged").expect(204);
    local.call("POST", "/deletedsecrets/recovered/recover").expect(200);
    let blob = local.call("POST", "/secrets/kept/backup").json();
    let all = |local: &Local| {
        let paths =
            ["/secrets/kept", "/secrets/kept/versions", "/secrets", "/deletedsecrets", "/deletedsecrets/deleted"];
        let bodies = paths.map(|path| local.call("GET", path).expect(200).text);
        bodies.map(|body| body.replace(local.server.url(), "URL"))
    };
    let before = all(&local);
    local.server.stop();
    let local = Local::with(on(&path));
    assert_eq!(all(&local), before);
    local.call("GET", "/deletedsecrets/purged").expect(404);
    local.delete("kept");
    local.call("DELETE", "/deletedsecrets/kept").expect(204);
    local.call_with("POST", "/secrets/restore", &blob).expect(200);
    let mode = std::fs::metadata(&path).expect("the store").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_store_is_served_once_and_only_a_store_is_served() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("vault");
    let _local = Local::with(on(&path));
    let error = Server::start(on(&path), SystemClock::shared()).expect_err("in use").to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
    let other = dir.path().join("text");
    std::fs::write(&other, "no database".repeat(1000)).expect("written");
    assert!(Server::start(on(&other), SystemClock::shared()).is_err());
    assert!(Server::start(on(&dir.path().join("no/such/dir")), SystemClock::shared()).is_err());
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("waited for");
    }
}

fn spawn_server(store: &Path) -> (Killed, String) {
    let store = store.display().to_string();
    let mut command = serve(&["--listen", "127.0.0.1:0", "--store", &store]);
    let mut child = Killed(command.stderr(Stdio::null()).spawn().expect("a child"));
    let url = url_of(&mut child.0);
    (child, url)
}

#[test]
fn kill_9_in_the_middle_of_a_thousand_sets_loses_none_that_was_acknowledged() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("vault");
    let (child, url) = spawn_server(&path);
    let (acknowledge, acknowledged) = mpsc::channel();
    let write = |thread: usize, acknowledge: mpsc::Sender<_>| {
        let http = http();
        for n in 0..250 {
            let (name, value) = (format!("n{}", n % 50), format!("{thread}.{n} {}", "x".repeat(n * 40)));
            let target = format!("{url}/secrets/{name}?api-version=7.6");
            let body = json!({ "value": value }).to_string();
            let Ok(answer) = read(http.put(target).bearer_auth("any").body(body)) else { return };
            acknowledge.send((name, answer.expect(200).version(), value)).expect("heard");
        }
    };
    let acknowledged: Vec<_> = std::thread::scope(|scope| {
        for thread in 0..4 {
            let (write, acknowledge) = (&write, acknowledge.clone());
            scope.spawn(move || write(thread, acknowledge));
        }
        drop(acknowledge);
        let before: Vec<_> = acknowledged.iter().take(400).collect();
        drop(child);
        before.into_iter().chain(acknowledged.iter()).collect()
    });
    assert!((400..1000).contains(&acknowledged.len()), "killed in the middle: {}", acknowledged.len());
    let local = Local::with(on(&path));
    for (name, version, value) in &acknowledged {
        let kept = local.call("GET", &format!("/secrets/{name}/{version}")).expect(200);
        assert_eq!(kept.json()["value"], *value);
    }
}

/// A filesystem in memory that is full soon; it ends with the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, and a loud word, where nothing can be mounted.
    fn new(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(dir.path());
        if mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        skipped!("a tmpfs cannot be mounted; run as root with CAP_SYS_ADMIN");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status().expect("umount runs");
        assert!(unmounted.success());
    }
}

#[test]
fn a_full_disk_refuses_and_loses_nothing_and_with_room_it_goes_on() {
    let Some(disk) = SmallDisk::new("8m") else { return };
    let (path, ballast) = (disk.0.path().join("vault"), disk.0.path().join("ballast"));
    std::fs::write(&ballast, vec![1; 3 << 20]).expect("room for that");
    let local = Local::with(on(&path));
    let put = |local: &Local, n: usize| {
        let value = format!("{n} {}", "x".repeat(20_000));
        local.call_with("PUT", &format!("/secrets/n{n}"), &json!({ "value": value })).status
    };
    let kept = (0..2_000).take_while(|n| put(&local, *n) == 200).count();
    assert!((10..2_000).contains(&kept), "it was never full, or from the beginning: {kept}");
    assert_eq!(put(&local, kept), 500, "and goes on to say so");
    let all_there = |local: &Local| {
        (0..kept).for_each(|n| {
            let found = local.call("GET", &format!("/secrets/n{n}")).expect(200).json()["value"].to_string();
            assert!(found.starts_with(&format!("\"{n} x")), "n{n}");
        });
    };
    // What was not acknowledged is not there, neither now nor later.
    all_there(&local);
    local.call("GET", &format!("/secrets/n{kept}")).expect(404);
    std::fs::remove_file(&ballast).expect("removed");
    local.server.stop();
    let local = Local::with(on(&path));
    all_there(&local);
    local.call("GET", &format!("/secrets/n{kept}")).expect(404);
    assert_eq!(put(&local, kept), 200, "there is room again");
}
