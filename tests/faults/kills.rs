//! The daemon killed with -9 at its N-th system call of each way of writing, then mounted again on the dead mount point: what
//! stood there stands there or what was written, never a mixture; who was told "done" finds it done.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use akvfs::clock::SystemClock;
use akvfs::local::ServeOptions;
use akvfs::secret::{SecretAttributes, SecretValue};
use akvfs::store::{ErrorKind, StoreError};
use akvfs::vault::{ClientOptions, SecretClient, StaticToken};

use super::harness::{Mount, Vault, all_traced_or_gone, can_mount, eventually, has, is_alive, name};
use super::lanes::in_lanes;
use super::soak;

/// A way of writing. Scripts are bash's, see [`World::bash_at`](super::harness::World::bash_at); `$T/new` holds `new`.
struct Idiom {
    script: &'static str,
    /// What the vault holds afterwards.
    after: State,
    /// Whether the script's own verdict is the mount's: a shell does not ask close what it says.
    is_told: bool,
    /// Whether the secret is deleted before.
    begins_deleted: bool,
}

/// What the vault holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live(&'static str),
    Deleted,
    Gone,
}

const OLD: State = State::Live("old\n");
const NEW: State = State::Live("new\n");

const fn saves(script: &'static str) -> Idiom {
    Idiom { script, after: NEW, is_told: true, begins_deleted: false }
}

const fn unheard(script: &'static str) -> Idiom {
    Idiom { is_told: false, ..saves(script) }
}

const fn removes(script: &'static str) -> Idiom {
    Idiom { after: State::Deleted, ..saves(script) }
}

const OPTIONS: &str = "timeout=5s,write_timeout=5s,delete_delay=0s,allow_purge,purge_after=0s";

const IDIOMS: &[Idiom] = &[
    unheard(r#"echo new > "$V""#),
    unheard(r#"{ printf n; printf 'ew\n'; } > "$V""#),
    Idiom { after: State::Live("old\nnew\n"), ..unheard(r#"echo new >> "$V""#) },
    saves(r#"cp "$T/new" "$V""#),
    saves(r#"tee "$V" < "$T/new""#),
    saves(r#"dd if="$T/new" of="$V" conv=fsync status=none"#),
    saves(r#"dd if="$T/new" of="$V" conv=notrunc,fsync bs=1 status=none"#),
    saves(r#"sed -i s/old/new/ "$V""#),
    saves(r#"cp "$T/new" "$D/.v.tmp" && mv "$D/.v.tmp" "$V""#),
    saves(
        r#"python3 -c 'import os; v=os.environ["V"]; t=v+".tmp"; f=open(t,"w"); f.write("new\n"); f.flush(); os.fsync(f.fileno()); f.close(); os.replace(t, v)'"#,
    ),
    removes(r#"rmdir "$D""#),
    removes(r#"mv "$D" "$M/deleted/""#),
    Idiom { after: OLD, begins_deleted: true, ..saves(r#"mv "$M/deleted/$N" "$M/secrets/""#) },
    Idiom { after: State::Gone, begins_deleted: true, ..saves(r#"rmdir "$M/deleted/$N""#) },
];

/// From one system call at which a daemon is killed to the next, until it survives; then each of those in between the last
/// two, when the vault has the value and nobody knows. A soak kills at every one.
const STRIDE: usize = 14;

/// Kills the daemon when one of its threads makes its `point`-th system call from now on.
fn trace(pid: u32, point: usize) -> Child {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject=all:signal=KILL:when={point}")]);
    strace.args(["-p", &pid.to_string()]);
    let strace = strace.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the tracer", || all_traced_or_gone(pid));
    strace
}

fn state(vault: &Vault, secret: &str) -> State {
    match vault.get(secret) {
        Ok(text) => {
            let known = ["old\n", "new\n", "old\nnew\n"].into_iter().find(|known| *known == text);
            State::Live(known.unwrap_or_else(|| panic!("torn: {text:?}")))
        }
        Err(ErrorKind::NotFound) => match vault.client.get_deleted_secret(&name(secret)) {
            Ok(_) => State::Deleted,
            Err(error) if error.kind == ErrorKind::NotFound => State::Gone,
            Err(error) => panic!("{error}"),
        },
        Err(kind) => panic!("{kind:?}"),
    }
}

/// How a kill came out.
struct End {
    /// In the middle, not afterwards.
    was_killed: bool,
    /// It could not see who else might write.
    was_blind: bool,
    /// What the script was about is done.
    is_done: bool,
}

fn die(vault: &Vault, secret: &str, idiom: &Idiom, point: usize) -> Result<End, String> {
    vault.set(secret, "old\n");
    if idiom.begins_deleted {
        vault.client.begin_delete_secret(&name(secret)).unwrap();
    }
    let before = state(vault, secret);
    let mut mount = Mount::new(vault.url(), OPTIONS);
    std::fs::write(mount.aside("new"), "new\n").unwrap();
    let mut strace = trace(mount.pid(), point);
    let ran = mount.bash(secret, idiom.script);
    let was_alive = is_alive(mount.pid());
    mount.again(vault.url(), OPTIONS);
    strace.wait().unwrap();
    let now = state(vault, secret);
    let failed = |what: &str| Err(format!("{} killed at {point}: {what}: {now:?}, {ran:?}", idiom.script));
    if now != before && now != idiom.after {
        return failed("neither old nor new");
    }
    // Traced, the daemon may be too slow to see who else could write; then it says so, and saves after the last close.
    let was_blind = mount.log().contains("was not to be seen");
    if ran.code == 0 && idiom.is_told && now != idiom.after && !was_blind {
        return failed("told that it was done");
    }
    if let State::Live(text) = now {
        if vault.versions(secret).len() > 1 + usize::from(now != OLD) {
            return failed("too many versions");
        }
        let seen = mount.bash(secret, r#"cat "$V""#).ok();
        if seen != text {
            return failed(&format!("the new mount shows {seen:?}"));
        }
    }
    Ok(End { was_killed: !was_alive, was_blind, is_done: now != before })
}

/// A local vault that keeps what it is told in a file, as a process of its own.
struct Served {
    process: Child,
    client: SecretClient,
}

impl Served {
    fn on(store: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_akvfs"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--store"]).arg(store);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}"));
        let options = ClientOptions { verify_challenge_resource: false, max_tries: 1, ..ClientOptions::default() };
        let tokens = Arc::new(StaticToken::new("local".to_owned()));
        let client = SecretClient::new(url, tokens, options, SystemClock::shared()).unwrap();
        // The first request of all asks for a token.
        assert!(client.get_secret(&name("none"), None).is_err());
        Self { process, client }
    }

    fn set(&self, value: &str) -> Result<(), StoreError> {
        let value = SecretValue::new(value.to_owned());
        self.client.set_secret(&name("a"), &value, &SecretAttributes::default()).map(drop)
    }

    /// What it holds: versions and the value of `a`, or where else that is.
    fn holds(&self) -> String {
        match self.client.get_secret(&name("a"), None) {
            Ok(found) => {
                let versions = self.client.list_properties_of_secret_versions(&name("a")).count();
                format!("{versions} {}", found.value.expose())
            }
            Err(_) if self.client.get_deleted_secret(&name("a")).is_ok() => "deleted".to_owned(),
            Err(error) => format!("{:?}", error.kind),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// What is asked of the vault, and what it holds afterwards.
type Step = (fn(&Served) -> Result<(), StoreError>, &'static str);

const STEPS: &[Step] = &[
    (|vault| vault.set("one"), "1 one"),
    (|vault| vault.set("two"), "2 two"),
    (|vault| vault.client.begin_delete_secret(&name("a")).map(drop), "deleted"),
    (|vault| vault.client.begin_recover_deleted_secret(&name("a")).map(drop), "2 two"),
    (|vault| vault.client.begin_delete_secret(&name("a")).map(drop), "deleted"),
    (|vault| vault.client.purge_deleted_secret(&name("a")), "NotFound"),
    (|vault| vault.set("three"), "1 three"),
];

/// Whether it was killed in the middle; what is wrong.
fn die_on_disk(point: usize) -> Result<bool, String> {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("vault");
    let vault = Served::on(&store);
    let mut strace = trace(vault.process.id(), point);
    let done = STEPS.iter().take_while(|(step, _)| step(&vault).is_ok()).count();
    drop(vault);
    strace.wait().unwrap();
    let now = Served::on(&store).holds();
    let after = |steps: usize| steps.checked_sub(1).map_or("NotFound", |last| STEPS[last].1);
    if now == after(done) || (done < STEPS.len() && now == after(done + 1)) {
        return Ok(done < STEPS.len());
    }
    Err(format!("killed at {point} after {done} steps it holds {now:?}"))
}

#[test]
fn a_local_vault_killed_at_any_system_call_keeps_what_it_acknowledged() {
    if !has("strace") {
        skipped!("strace is missing (apt-get install strace)");
        return;
    }
    let starts: Vec<usize> = (1..=8).collect();
    let kills = AtomicUsize::new(0);
    let sweep = |(): &(), _, start: &usize| {
        for point in (*start..).step_by(starts.len()) {
            if !die_on_disk(point)? {
                break;
            }
            kills.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let failures = in_lanes(&starts, || (), sweep);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let kills = kills.into_inner();
    eprintln!("{kills} kills of a local vault");
    assert!(kills > STEPS.len(), "{kills}");
}

#[test]
fn killed_at_any_system_call_of_a_save_the_old_or_the_new_is_there_and_mounting_again_heals() {
    if !can_mount() {
        return;
    }
    if !has("strace") {
        skipped!("strace is missing (apt-get install strace)");
        return;
    }
    let ends = Mutex::new(Vec::new());
    let make = || Vault::with(ServeOptions::default(), &[]).unwrap();
    let failures = in_lanes(IDIOMS, make, |vault, at, idiom| {
        let kill_at = |point| {
            let end = die(vault, &format!("s{at}-{point}"), idiom, point)?;
            let was_killed = end.was_killed;
            was_killed.then(|| ends.lock().unwrap().push(end));
            Ok::<_, String>(was_killed)
        };
        let stride = soak::sized(STRIDE, 1);
        let mut point = stride;
        while kill_at(point)? {
            point += stride;
        }
        (point - stride + 1..point).try_for_each(|point| kill_at(point).map(drop))
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let ends = ends.into_inner().unwrap();
    let kept = ends.iter().filter(|end| end.is_done).count();
    let blind = ends.iter().filter(|end| end.was_blind).count();
    eprintln!("of {} kills {} left what was there before and {kept} what was written", ends.len(), ends.len() - kept);
    assert!(blind * 10 < ends.len(), "{blind} of {} could not see who else might write", ends.len());
    // Else they all came too early or too late.
    assert!(kept > 0 && ends.len() - kept > IDIOMS.len(), "{kept} of {}", ends.len());
}
