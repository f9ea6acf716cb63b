//! A vault that hangs at each call: who is killed is gone, nobody else notices, and the daemon ends when it is told to. And
//! signals that do not kill, which interrupt nothing.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use akvfs::local::ServeOptions;

use super::api::{CALLS, Call, Lane};
use super::harness::{Mount, Vault, World, can_mount, eventually, has};
use super::lanes::in_lanes;
use super::proxy::{Break, Fault, Proxy, Strike};
use super::soak;

/// Nobody here waits for these.
const OPTIONS: &str = "timeout=5min,write_timeout=5min,ttl=1h,allow_purge,purge_after=0s";
/// A second by the promise, and what a busy machine takes to notice.
const AT_ONCE: Duration = Duration::from_secs(1 + 2);
const SIGNALS: [i32; 4] = [libc::SIGTERM, libc::SIGKILL, libc::SIGINT, libc::SIGHUP];

/// What is asked beside a call that hangs.
const BESIDE: &str = r#"ls "$M" && df "$M" && stat "$M/secrets" && ls "$M/.akvfs" && cat "$V""#;

/// A program that no signal of these tests spares: below nohup(1) it would be born deaf to SIGHUP.
fn mortal(program: &mut Command) -> &mut Command {
    let hear_all = || {
        for signal in SIGNALS {
            // SAFETY: numbers.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: it only makes system calls.
    unsafe { program.pre_exec(hear_all) }
}

/// Kills a program whose call hangs; another one that hangs is let go when the mount ends, which is not delayed.
fn kill_one(lane: &Lane, secret: &str, call: Call, signal: i32) -> Result<(), String> {
    let (vault, known) = (&lane.vault, format!("{secret}-known"));
    let (on, proxy) = (lane.prepare(call, secret), Proxy::to(vault.server.addr()));
    vault.set(&known, "known");
    let mut mount = Mount::new(&proxy.url(), OPTIONS);
    mount.bash(&known, r#"cat "$V""#).ok();
    let (method, path) = call.request(&on);
    proxy.arm(Fault { method, path, strike: Strike::Before(Break::Stall), count: u32::MAX });
    let start = || mortal(&mut call.program(&mount, &on)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut victim = start();
    eventually("the request", || proxy.struck() > 0);
    let mut other = start();
    let beside = mount.bash(&known, BESIDE);
    let killed = Instant::now();
    // SAFETY: numbers; our own child, not waited for yet.
    unsafe { libc::kill(victim.id().cast_signed(), signal) };
    let status = victim.wait().unwrap();
    let took = killed.elapsed();
    let ended = Instant::now();
    mount.signal(libc::SIGTERM);
    let ends = mount.ends_within(Duration::from_secs(5));
    let end = ended.elapsed();
    other.wait().unwrap();
    let wrong = [
        (beside.code != 0 || beside.time > AT_ONCE, format!("beside it: {beside:?}")),
        (status.signal() != Some(signal), format!("it ended by itself: {status}")),
        (took > AT_ONCE, format!("the killed one stayed {took:?}")),
        (!ends, format!("the daemon stayed {end:?}")),
    ];
    let wrong: Vec<_> = wrong.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("{call:?}, signal {signal}: {}", wrong.join("; "))) }
}

#[test]
fn whatever_call_hangs_who_is_killed_is_gone_and_nobody_else_notices() {
    if !can_mount() {
        return;
    }
    let all: Vec<_> = CALLS.iter().flat_map(|call| SIGNALS.map(|signal| (*call, signal))).collect();
    let failures =
        in_lanes(&all, Lane::new, |lane, at, (call, signal)| kill_one(lane, &format!("h{at}"), *call, *signal));
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), all.len(), failures.join("\n"));
}

/// Counts the signals that have arrived.
static STORM: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_signal: i32) {
    STORM.fetch_add(1, Ordering::Relaxed);
}

/// SIGURG and SIGCHLD are heard from now on, and interrupt system calls: there is no `SA_RESTART`.
fn listen() {
    for signal in [libc::SIGURG, libc::SIGPROF] {
        // SAFETY: an all-zero sigaction is legal, and the handler only adds to a number.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = count as *const () as usize;
            assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
        }
    }
}

/// Reads as one system call each, so that no library repeats what was interrupted.
fn read_once(path: &std::path::Path) -> std::io::Result<usize> {
    let mut room = [0; 64];
    File::open(path)?.read(&mut room)
}

#[test]
fn a_storm_of_signals_that_do_not_kill_interrupts_no_read() {
    let slow = ServeOptions { latency: Duration::from_millis(120), ..ServeOptions::default() };
    let Some(vault) = Vault::with(slow, &[("a", "value")]) else { return };
    let world = World::of(vault, "ttl=0s,kernel_ttl=0s").unwrap();
    let path = world.path("secrets/a/value");
    listen();
    let (over, end) = (AtomicBool::new(false), Instant::now() + Duration::from_secs(soak::sized(4, 60) as u64));
    let (reads, signals) = std::thread::scope(|scope| {
        // SAFETY: no arguments.
        let reader = unsafe { libc::pthread_self() } as usize;
        let over = &over;
        let storm = scope.spawn(move || {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                for signal in [libc::SIGURG, libc::SIGPROF] {
                    // SAFETY: the reader's thread waits for this one.
                    unsafe { libc::pthread_kill(reader as libc::pthread_t, signal) };
                    sent += 1;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            sent
        });
        let mut reads = 0;
        let mut failed = None;
        while Instant::now() < end && failed.is_none() {
            failed = read_once(&path).map(|bytes| assert_eq!(bytes, 5)).err();
            reads += 1;
        }
        over.store(true, Ordering::Relaxed);
        let sent: usize = storm.join().unwrap();
        assert!(failed.is_none(), "{failed:?} after {reads} reads");
        (reads, sent)
    });
    // Each waited for the vault while signals came.
    assert!(reads >= 3 && signals > 20 * reads, "{reads} reads, {signals} signals");
    assert!(STORM.load(Ordering::Relaxed) >= reads, "they were heard");
    assert!(world.vault.requests("get") as usize >= reads);
}

/// Reads by bare system calls, while goroutines that never rest have to be preempted, by SIGURG.
const GO: &str = r#"
package main

import (
	"os"
	"runtime"
	"syscall"
)

func check(err error) {
	if err != nil {
		println(err.Error())
		os.Exit(1)
	}
}

func main() {
	for i := 0; i < runtime.NumCPU(); i++ {
		go func() {
			for {
			}
		}()
	}
	room := make([]byte, 64)
	for reads := 0; reads < 10; reads++ {
		runtime.GC()
		file, err := syscall.Open(os.Args[1], syscall.O_RDONLY, 0)
		check(err)
		_, err = syscall.Read(file, room)
		check(err)
		syscall.Close(file)
	}
}
"#;

#[test]
fn a_go_program_preempts_itself_and_interrupts_no_read() {
    if !has("go") {
        skipped!("go is missing (apt-get install golang-go)");
        return;
    }
    let slow = ServeOptions { latency: Duration::from_millis(50), ..ServeOptions::default() };
    let Some(vault) = Vault::with(slow, &[("a", "value")]) else { return };
    let world = World::of(vault, "ttl=0s,kernel_ttl=0s").unwrap();
    std::fs::write(world.mount.aside("w.go"), GO).unwrap();
    let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/go");
    let build = format!("export GOCACHE={cache} GO111MODULE=off GOTOOLCHAIN=local; go build -o \"$T/w\" \"$T/w.go\"");
    world.bash("a", &build).ok();
    let ran = world.bash("a", r#""$T/w" "$V""#);
    assert!(ran.code == 0 && world.vault.requests("get") >= 10, "{ran:?}");
}
