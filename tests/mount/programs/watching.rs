//! Programs that watch a file or its directory: each hears of a rotation by another party and reads the new value then.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::harness::{World, eventually, has};
use super::Group;

const MOUNTS: [&str; 2] = ["ttl=300ms", "ro,ttl=300ms"];
/// The interpreter that Debian's packages are for.
const PYTHON: &str = "/usr/bin/python3";
const FSNOTIFY: &str = "/usr/share/gocode/src/github.com/fsnotify/fsnotify";

/// How a program watches.
struct Watcher {
    name: &'static str,
    needs: &'static str,
    /// Runs `$SAY` at each event of the file `$V`, of its directory `$D`, or of the flat file `$F`. `$SAY` reads the file.
    script: &'static str,
    /// Goes on watching while it reads. Who begins anew misses what comes in between.
    is_lasting: bool,
}

const fn lasting(name: &'static str, needs: &'static str, script: &'static str) -> Watcher {
    Watcher { name, needs, script, is_lasting: true }
}

const fn anew(name: &'static str, script: &'static str) -> Watcher {
    Watcher { name, needs: "inotifywait", script, is_lasting: false }
}

const WATCHERS: &[Watcher] = &[
    lasting(
        "inotifywait of a file",
        "inotifywait",
        r#"inotifywait -qm -e modify,close_write,move_self,attrib,delete_self "$V" | while read -r _; do $SAY; done"#,
    ),
    lasting(
        "inotifywait of a file's attributes",
        "inotifywait",
        r#"inotifywait -qm -e attrib,delete_self,move_self "$V" | while read -r _; do $SAY; done"#,
    ),
    lasting(
        "inotifywait of a flat file",
        "inotifywait",
        r#"inotifywait -qm -e close_write "$F" | while read -r _; do $SAY; done"#,
    ),
    lasting(
        "inotifywait of a directory",
        "inotifywait",
        r#"inotifywait -qm -e modify,attrib,close_write,move,create,delete "$D" | while read -r _; do $SAY; done"#,
    ),
    lasting(
        "inotifywait of what is put into a directory",
        "inotifywait",
        r#"inotifywait -qm -e moved_to,create "$D" | while read -r _; do $SAY; done"#,
    ),
    lasting(
        "inotifywait of changes in a directory",
        "inotifywait",
        r#"inotifywait -qm -e modify "$D" | while read -r _; do $SAY; done"#,
    ),
    lasting("watchdog of a directory", "watchdog", r#"exec "$PYTHON" "$T/watch.py" "$D" "$SAY""#),
    lasting("watchdog of a file", "watchdog", r#"exec "$PYTHON" "$T/watch.py" "$V" "$SAY""#),
    lasting("node's fs.watch of a directory", "node", r#"exec node "$T/watch.js" watch "$D" "$SAY""#),
    lasting("node's fs.watch of a file", "node", r#"exec node "$T/watch.js" watch "$V" "$SAY""#),
    lasting("node's fs.watchFile", "node", r#"exec node "$T/watch.js" watchFile "$V" "$SAY""#),
    lasting("entr", "entr", r#"echo "$V" | entr -n $SAY"#),
    lasting("fsnotify of a directory", "fsnotify", r#"exec "$T/watch" "$D" "$SAY""#),
    anew(
        "a loop around inotifywait",
        r#"while inotifywait -qq -e modify,close_write,delete_self,move_self "$V"; do $SAY; done"#,
    ),
    anew("a loop that waits for a close", r#"while inotifywait -qq -e close_write "$V"; do $SAY; done"#),
    // The masks of systemd.path(5), set anew after each event as systemd does.
    anew(
        "PathChanged",
        r#"while inotifywait -qq -e delete_self,move_self,attrib,close_write,create,delete,moved_from,moved_to "$V"
        do $SAY; done"#,
    ),
    anew(
        "PathModified",
        r#"while inotifywait -qq -e modify,delete_self,move_self,attrib,close_write,create,delete,moved_from,moved_to "$V"
        do $SAY; done"#,
    ),
];

const PY: &str = r#"
import subprocess, sys, time
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer

class Handler(FileSystemEventHandler):
    def on_any_event(self, event):
        if event.event_type in ("created", "modified", "moved", "closed"):
            subprocess.run(sys.argv[2], check=True)

observer = Observer()
observer.schedule(Handler(), sys.argv[1])
observer.start()
observer.join()
"#;

const JS: &str = r#"
const [how, path, say] = process.argv.slice(2);
const fs = require("fs"), { spawnSync } = require("child_process");
const act = () => spawnSync(say);
how === "watch" ? fs.watch(path, act) : fs.watchFile(path, { interval: 100 }, act);
"#;

const GO: &str = r#"
package main

import ("os"; "os/exec"; "github.com/fsnotify/fsnotify")

func main() {
	watcher, err := fsnotify.NewWatcher()
	if err != nil { panic(err) }
	if err := watcher.Add(os.Args[1]); err != nil { panic(err) }
	for event := range watcher.Events {
		if event.Op&(fsnotify.Write|fsnotify.Create) != 0 { exec.Command(os.Args[2]).Run() }
	}
}
"#;

/// Whether `what` can be had; says so loudly if not.
fn is_here(world: &World, what: &str) -> bool {
    let (found, remedy) = match what {
        "watchdog" => {
            fs::write(world.mount.aside("watch.py"), PY).unwrap();
            let asked = Command::new(PYTHON).args(["-c", "import watchdog"]).stderr(Stdio::null()).status();
            (asked.is_ok_and(|status| status.success()), "python3-watchdog")
        }
        "fsnotify" => {
            fs::write(world.mount.aside("watch.go"), GO).unwrap();
            let build =
                r#"GOPATH=/usr/share/gocode GOCACHE="$T/go" GO111MODULE=off go build -o "$T/watch" "$T/watch.go""#;
            let found = has("go") && PathBuf::from(FSNOTIFY).exists();
            if found {
                world.bash("a", build).ok();
            }
            (found, "golang-go golang-github-fsnotify-fsnotify-dev")
        }
        program => {
            fs::write(world.mount.aside("watch.js"), JS).unwrap();
            (has(program), if program == "inotifywait" { "inotify-tools" } else { program })
        }
    };
    if !found {
        skipped!("{what} is missing (apt-get install {remedy})");
    }
    found
}

/// A watcher at work.
struct Watching {
    what: &'static Watcher,
    log: PathBuf,
    _group: Group,
}

impl Watching {
    fn start(world: &World, at: usize, what: &'static Watcher) -> Self {
        let [value, flat] = ["secrets/a/value", "files/a"].map(|path| world.path(path));
        let [log, say] = ["log", "say"].map(|file| world.mount.aside(&format!("{file}{at}")));
        let read = if what.script.contains("$F") { &flat } else { &value };
        fs::write(&say, format!("#!/bin/sh\necho \"$(cat {})\" >>{}\n", read.display(), log.display())).unwrap();
        fs::set_permissions(&say, fs::Permissions::from_mode(0o755)).unwrap();
        let paths =
            [("V", value), ("D", world.path("secrets/a")), ("F", flat), ("SAY", say), ("PYTHON", PYTHON.into())];
        Self { what, log, _group: Group::start(world, what.script, &paths) }
    }

    /// What it read, event by event.
    fn said(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn has_heard(&self, value: &str) -> bool {
        self.said().last().is_some_and(|last| last == value)
    }
}

/// Rotates until `is_done` of every watcher; what was set last.
fn rotate_until(world: &World, round: &mut usize, watching: &[Watching], is_done: impl Fn(&Watching) -> bool) {
    for watching in watching {
        eventually(watching.what.name, || {
            if is_done(watching) {
                return true;
            }
            *round += 1;
            let value = format!("rotation {round}");
            world.vault.set("a", &value);
            // The next one would hide whether this one was heard of.
            let end = Instant::now() + Duration::from_secs(2);
            while !watching.has_heard(&value) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
            false
        });
    }
}

#[test]
fn programs_that_watch_read_the_new_value_after_each_of_three_rotations() {
    for options in MOUNTS {
        let Some(world) = World::new(&[("a", "before")], options) else { return };
        let needed: BTreeSet<_> = WATCHERS.iter().map(|watcher| watcher.needs).collect();
        let here: Vec<_> = needed.into_iter().filter(|needs| is_here(&world, needs)).collect();
        let wanted = WATCHERS.iter().filter(|watcher| here.contains(&watcher.needs));
        let watching: Vec<_> = wanted.enumerate().map(|(at, what)| Watching::start(&world, at, what)).collect();
        let mut round = 0;
        // They are watching when they hear; what came before that they could not.
        rotate_until(&world, &mut round, &watching, |watching| {
            watching.said().iter().any(|line| line.starts_with("rotation"))
        });
        for _ in 0..3 {
            round += 1;
            let value = format!("rotation {round}");
            world.vault.set("a", &value);
            for watching in watching.iter().filter(|watching| watching.what.is_lasting) {
                eventually(watching.what.name, || watching.has_heard(&value));
            }
        }
        let of_three = |watching: &Watching| {
            let values: BTreeSet<_> = watching.said().into_iter().collect();
            watching.what.is_lasting || values.len() > 3
        };
        rotate_until(&world, &mut round, &watching, of_three);
    }
}
