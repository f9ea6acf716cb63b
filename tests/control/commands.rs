//! The commands that look after a mount: `status`, `refresh`, `list`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use akvfs::secret::SecretAttributes;
use serde_json::Value;

use crate::CANARY;
use crate::mounts::{Mounted, Served, eventually};
use crate::support::{name, value};

fn akvfs(words: &[&str], dir: &Path) -> (i32, String) {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "60", env!("CARGO_BIN_EXE_akvfs")]).args(words);
    let output = command.current_dir(dir).stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(!text.contains(CANARY), "{text}");
    (output.status.code().unwrap(), text)
}

fn ok(words: &[&str], dir: &Path) -> String {
    let (code, text) = akvfs(words, dir);
    assert_eq!(code, 0, "{words:?}: {text}");
    text
}

fn fails(words: &[&str], dir: &Path, part: &str) {
    let (code, text) = akvfs(words, dir);
    assert!(code == 32 && text.contains(part), "{words:?}: {code} {text}");
}

#[test]
fn the_status_of_a_mount_is_shown_from_anywhere_in_it() {
    let served = Served::new();
    served.client().set_secret(&name("db"), &value(CANARY), &SecretAttributes::default()).unwrap();
    let Some(mounted) = Mounted::new(&served.url, "ttl=10m") else { return };
    for _ in 0..3 {
        mounted.read("secrets/db/value");
    }
    fs::create_dir(mounted.path("elsewhere")).unwrap_err();
    let root = Path::new("/");
    let dir = mounted.dir().to_str().unwrap();
    let text = ok(&["status", dir], root);
    for part in
        [&format!("mount      {} at {dir}, writable\n", served.url), "options    ttl=10m\n", "most read  db 3\n"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("errors     1: EPERM 1\n") && text.contains(" mkdir elsewhere: EPERM "), "{text}");
    assert!(text.contains("requests   get 1, ") && !text.contains('\x1b'), "{text}");
    assert_eq!(ok(&["status", "."], &mounted.path("secrets/db")).lines().next(), text.lines().next());
    let json: Value = serde_json::from_str(&ok(&["status", dir, "--json"], root)).unwrap();
    assert_eq!((&json["pid"], &json["files"]["most_read"]["db"]), (&mounted.pid().into(), &3.into()));
    fails(&["status", "/proc"], root, "no akvfs is mounted there");
    assert_eq!(akvfs(&["status", dir, "--json", "--watch"], root).0, 1);
}

#[test]
fn a_status_that_is_watched_tells_what_happens_meanwhile() {
    let Some(mounted) = Mounted::new("local:", "ttl=10m") else { return };
    let mut command = Command::new(env!("CARGO_BIN_EXE_akvfs"));
    command.args(["status", "--watch", "--interval", "100ms"]).arg(mounted.dir()).stdout(Stdio::piped());
    let mut watch = command.spawn().unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut busy = lines.filter(|line| line.starts_with("now "));
    // A look of its own is a dozen requests.
    assert!(busy.any(|line| !line.starts_with("now        0 ")), "it shows that somebody looks");
    drop(busy);
    // Nobody reads any more: it ends by itself.
    eventually(|| watch_has_ended(watch.id()));
    watch.wait().unwrap();
}

fn watch_has_ended(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}

#[test]
fn a_mount_that_hangs_or_is_dead_holds_nobody_up() {
    let Some(mut mounted) = Mounted::new("local:", "") else { return };
    let dir = mounted.dir().to_owned();
    let dir = dir.to_str().unwrap();
    let root = Path::new("/");
    let line = |state: &str| format!("local:  {dir}  rw  {state}\n");
    assert!(ok(&["list"], root).contains(&line("answers")));
    mounted.signal(libc::SIGSTOP);
    fails(&["status", dir], root, "does not answer within 5s");
    assert!(ok(&["list"], root).contains(&line("does not answer")));
    mounted.signal(libc::SIGCONT);
    ok(&["status", dir], root);
    mounted.kill();
    fails(&["status", dir], root, "the daemon of this mount is gone");
    let all: Vec<Value> = serde_json::from_str(&ok(&["list", "--json"], root)).unwrap();
    let ours = all.iter().find(|mount| mount["directory"] == dir).unwrap();
    assert_eq!(
        (&ours["source"], &ours["state"], &ours["read_only"]),
        (&"local:".into(), &"dead".into(), &false.into())
    );
    ok(&["unmount", dir], root);
    assert!(!ok(&["list"], root).contains(dir));
}

#[test]
fn a_refresh_shows_what_others_changed_also_where_nothing_can_be_written() {
    for options in ["ttl=10m", "ttl=10m,ro"] {
        let served = Served::new();
        let client = served.client();
        let set = |secret: &str, text: &str| {
            client.set_secret(&name(secret), &value(text), &SecretAttributes::default()).unwrap();
        };
        set("a", "old");
        set("b", "old");
        let Some(mounted) = Mounted::new(&served.url, options) else { return };
        let read = |secret: &str| mounted.read(&format!("secrets/{secret}/value"));
        assert_eq!((read("a"), read("b")), ("old".into(), "old".into()));
        set("a", "new");
        set("b", "new");
        assert_eq!(read("a"), "old", "believed for ttl");
        assert_eq!(ok(&["refresh", ".", "a"], mounted.dir()), "");
        assert_eq!(read("a"), "new", "{options}");
        ok(&["refresh", "."], mounted.dir());
        assert_eq!(read("b"), "new", "{options}");
        assert_eq!(akvfs(&["refresh", ".", "no_name"], mounted.dir()).0, 1);
        drop(served);
        fails(&["refresh", "."], mounted.dir(), "");
        let (_, said) = akvfs(&["refresh", "."], mounted.dir());
        let part = if options.contains("ro") { "the vault did not give its list" } else { "check the vault's name" };
        assert!(said.contains(part), "{options}: {said}");
    }
}
