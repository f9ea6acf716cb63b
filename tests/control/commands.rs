//! The commands that look after a mount: `status`, `refresh`, `list`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use akvfs::secret::SecretAttributes;
use serde_json::Value;

use crate::CANARY;
use crate::mounts::{Mounted, Served, eventually};
use crate::support::{name, value};
use crate::terminal::Terminal;

pub fn akvfs(words: &[&str], dir: &Path) -> (i32, String) {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "60", env!("CARGO_BIN_EXE_akvfs")]).args(words);
    let output = command.current_dir(dir).stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(!text.contains(CANARY), "{text}");
    (output.status.code().unwrap(), text)
}

pub fn ok(words: &[&str], dir: &Path) -> String {
    let (code, text) = akvfs(words, dir);
    assert_eq!(code, 0, "{words:?}: {text}");
    text
}

pub fn fails(words: &[&str], dir: &Path, part: &str) {
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

/// What a screen shows after all of `text`, which uses no more of ECMA-48 than the program says it does.
fn screen(text: &str, columns: usize, rows: usize) -> Vec<String> {
    let mut shown = vec![String::new(); rows];
    let (mut row, mut rest) = (0, text);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("\x1b[H") {
            (row, rest) = (0, after);
        } else if let Some(after) = rest.strip_prefix("\x1b[J") {
            shown[row..].iter_mut().for_each(String::clear);
            rest = after;
        } else {
            let (line, after) = rest.split_once("\r\n").unwrap();
            let line = line.strip_suffix("\x1b[K").unwrap();
            assert!(!line.contains('\x1b') && line.chars().count() <= columns, "{line:?}");
            assert!(row + 1 < rows, "the screen would move");
            line.clone_into(&mut shown[row]);
            (row, rest) = (row + 1, after);
        }
    }
    shown
}

#[test]
fn on_a_terminal_a_watched_status_is_drawn_in_its_place_until_it_is_interrupted() {
    let Some(mounted) = Mounted::new("local:", "ttl=10m") else { return };
    // Lines that do not fit, and more than fit.
    (0..5).for_each(|_| drop(fs::create_dir(mounted.path(&"elsewhere".repeat(9))).unwrap_err()));
    for (columns, rows) in [(80, 24), (40, 8)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_akvfs"));
        command.args(["status", "--watch", "--interval", "100ms"]).arg(mounted.dir());
        let (mut terminal, mut watch) = Terminal::run(&mut command, columns, rows);
        let drawn = terminal.until(|text| text.matches("\x1b[H").count() > 3 && text.ends_with("\x1b[J"));
        assert!(drawn.starts_with("\x1b[H\x1b[J"), "{drawn:?}");
        let shown = screen(&drawn, columns.into(), rows.into());
        let count = |part: &str| shown.iter().filter(|line| line.starts_with(part)).count();
        assert_eq!((count("mount "), count("vault "), count("now ")), (1, 1, 1), "{shown:#?}");
        terminal.types("\x03");
        terminal.until(|_| false);
        assert_eq!(watch.wait().unwrap().signal(), Some(libc::SIGINT));
    }
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
        assert_eq!((read("a"), read("b")), ("new".into(), "old".into()), "{options}");
        ok(&["refresh", "."], mounted.dir());
        assert_eq!(read("b"), "new", "{options}");
        assert_eq!(akvfs(&["refresh", ".", "no_name"], mounted.dir()).0, 1);
        drop(served);
        fails(&["refresh", "."], mounted.dir(), "check the vault's name");
    }
}
