//! The process in the background: what its parent hears of it, and how it ends.
//!
//! A process that forks is not one to run tests in, so every test runs this very program again with a job to do
//! (`AKVFS_TEST_JOB`) and a directory in which the job leaves what happened.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use akvfs::mount::daemon::{Abandon, Attend, DaemonError, Job, Serve, Start, in_background, in_foreground};
use akvfs::mount::stop::{Event, Reason, Stop};

const JOB: &str = "AKVFS_TEST_JOB";
const PLACE: &str = "AKVFS_TEST_PLACE";
/// For what must happen at all.
const SOON: Duration = Duration::from_secs(20);

/// A run of a job, as its caller sees it.
struct Ran {
    place: tempfile::TempDir,
    output: Output,
}

impl Ran {
    fn new(job: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let output = again(job, place.path()).output().unwrap();
        Self { place, output }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    fn note(&self, name: &str) -> String {
        note(self.place.path(), name)
    }

    fn has(&self, name: &str) -> bool {
        self.place.path().join(name).exists()
    }
}

impl Drop for Ran {
    fn drop(&mut self) {
        // A test that failed has not ended it.
        if std::thread::panicking() && self.has("pid") {
            signal(&self.note("pid"), libc::SIGKILL);
        }
    }
}

fn again(job: &str, place: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_job", "--ignored", "--nocapture"]).env(JOB, job).env(PLACE, place);
    command
}

/// What the job has written under `name`, once it has.
fn note(place: &Path, name: &str) -> String {
    eventually(name, || std::fs::read_to_string(place.join(name)).ok().filter(|text| text.ends_with('\n')))
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(pid: &str, signal: libc::c_int) {
    // SAFETY: numbers; the process is one that the test has started.
    assert_eq!(unsafe { libc::kill(pid.trim().parse().unwrap(), signal) }, 0);
}

fn is_gone(pid: &str) -> Option<()> {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    status.map_or(true, |text| text.contains(") Z ")).then_some(())
}

// The jobs.

#[test]
#[ignore = "the other tests run it in a process of its own"]
fn the_job() {
    let (Ok(job), Ok(place)) = (std::env::var(JOB), std::env::var(PLACE)) else { return };
    let place = PathBuf::from(place);
    let limit = if job.starts_with("slow") { Duration::from_millis(200) } else { SOON };
    let ended = match job.as_str() {
        "foreground" | "slow in the foreground" | "hangs in the foreground" => in_foreground(work(&job, &place), limit),
        _ => in_background(work(&job, &place), limit),
    };
    let code = match ended {
        Ok(()) => 0,
        Err(DaemonError::NotStarted(line)) => {
            eprintln!("not started: {line}");
            32
        }
        Err(DaemonError::Broken(line)) => {
            eprintln!("broken: {line}");
            1
        }
    };
    std::process::exit(code);
}

fn work(job: &str, place: &Path) -> Job<()> {
    let abandoned = place.join("abandoned");
    let abandon: Abandon = Arc::new(move || std::fs::write(&abandoned, "yes\n").unwrap());
    Job {
        attend: attend(place.to_owned()),
        start: start(job.to_owned(), place.to_owned()),
        serve: serve(job.to_owned(), place.to_owned()),
        abandon,
    }
}

/// Waits for the end of who is attended.
fn attend(place: PathBuf) -> Attend {
    Box::new(move |mut socket| {
        std::fs::write(place.join("attendant"), format!("{}\n", std::process::id())).unwrap();
        let read = std::io::Read::read(&mut socket, &mut [0]);
        std::fs::write(place.join("attended"), format!("{read:?}\n")).unwrap();
    })
}

fn start(job: String, place: PathBuf) -> Start<()> {
    Box::new(move |attendant| {
        // As long as the process lives.
        std::mem::forget(attendant);
        std::fs::write(place.join("pid"), format!("{}\n", std::process::id())).unwrap();
        match job.as_str() {
            "refused" => Err("the vault said no; ask its owner".to_owned()),
            "dies" => std::process::exit(7),
            "slow" | "slow in the foreground" | "hangs" | "hangs in the foreground" => forever(),
            "asleep" => {
                std::thread::park();
                Ok(())
            }
            _ => Ok(()),
        }
    })
}

fn serve(job: String, place: PathBuf) -> Serve<()> {
    Box::new(move |(), stop: &Stop| {
        let mut refreshed = 0;
        while stop.next() == Event::Refresh {
            refreshed += 1;
            std::fs::write(place.join("refreshed"), format!("{refreshed}\n")).unwrap();
        }
        assert_eq!(stop.next(), Event::End(Reason::Asked));
        std::fs::write(place.join("stopping"), "Asked\n").unwrap();
        if job == "stubborn" {
            forever();
        }
        if job == "foreground" { Err("it ended badly".to_owned()) } else { Ok(()) }
    })
}

fn forever() -> ! {
    loop {
        std::thread::park();
    }
}

// The tests.

#[test]
fn the_parent_returns_when_the_child_is_ready_and_the_child_ends_when_asked() {
    let ran = Ran::new("ready");
    assert_eq!(ran.output.status.code(), Some(0), "{}", ran.said());
    let pid = ran.note("pid");
    assert!(!ran.has("stopping"));
    signal(&pid, libc::SIGTERM);
    assert_eq!(ran.note("stopping"), "Asked\n");
    eventually("the end", || is_gone(&pid));
    assert!(!ran.has("abandoned"));
}

#[test]
fn the_child_keeps_nothing_of_its_caller() {
    let ran = Ran::new("ready");
    let pid = ran.note("pid");
    let of = |name: &str| format!("/proc/{}/{name}", pid.trim());
    // Its user may not look: that is what undumpable means. Root may.
    let may_look = unsafe { libc::geteuid() } == 0;
    for (link, target) in [("fd/0", "/dev/null"), ("fd/1", "/dev/null"), ("fd/2", "/dev/null"), ("cwd", "/")] {
        assert_eq!(std::fs::read_link(of(link)).ok().as_deref(), may_look.then_some(Path::new(target)), "{link}");
    }
    let stat = std::fs::read_to_string(of("stat")).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
    assert_eq!(session, pid.trim());
    let status = std::fs::read_to_string(of("status")).unwrap();
    assert!(status.contains("Umask:\t0077"), "{status}");
    let limits = std::fs::read_to_string(of("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    signal(&pid, libc::SIGINT);
    eventually("the end", || is_gone(&pid));
}

#[test]
fn the_attendant_keeps_nothing_of_the_caller_either_and_hears_when_the_daemon_is_gone() {
    for ending in [libc::SIGTERM, libc::SIGKILL] {
        let ran = Ran::new("ready");
        let (pid, attendant) = (ran.note("pid"), ran.note("attendant"));
        assert_ne!(pid, attendant);
        if unsafe { libc::geteuid() } == 0 {
            let of = |number: &str| std::fs::read_link(format!("/proc/{}/fd/{number}", attendant.trim())).unwrap();
            assert!(["0", "1", "2"].iter().all(|number| of(number) == Path::new("/dev/null")));
            let open = std::fs::read_dir(format!("/proc/{}/fd", attendant.trim())).unwrap();
            let targets: Vec<_> = open.map(|entry| of(entry.unwrap().file_name().to_str().unwrap())).collect();
            let sockets = targets.iter().filter(|target| target.to_string_lossy().starts_with("socket:"));
            assert_eq!(sockets.count(), 1, "one to the daemon, and none that the parent waits for: {targets:?}");
        }
        assert!(!ran.has("attended"));
        signal(&pid, ending);
        assert_eq!(ran.note("attended"), "Ok(0)\n");
        eventually("the end", || is_gone(&attendant));
    }
}

#[test]
fn a_refusal_reaches_the_caller_as_it_was_said() {
    let ran = Ran::new("refused");
    assert_eq!(ran.output.status.code(), Some(32));
    assert!(ran.said().contains("not started: the vault said no; ask its owner\n"), "{}", ran.said());
}

#[test]
fn who_sleeps_although_there_is_nothing_to_wait_for_is_woken() {
    let ran = Ran::new("asleep");
    assert_eq!(ran.output.status.code(), Some(0), "{}", ran.said());
    let pid = ran.note("pid");
    signal(&pid, libc::SIGTERM);
    eventually("the end", || is_gone(&pid));
}

#[test]
fn a_child_that_dies_is_noticed_and_what_it_left_is_taken_away() {
    let ran = Ran::new("dies");
    assert_eq!(ran.output.status.code(), Some(32));
    assert!(ran.said().contains("ended before the mount was usable (exit status: 7)"), "{}", ran.said());
    assert!(ran.has("abandoned"));
}

#[test]
fn a_child_that_takes_too_long_is_ended() {
    let ran = Ran::new("slow");
    assert_eq!(ran.output.status.code(), Some(32));
    assert!(ran.said().contains("not usable within 0.2 s"), "{}", ran.said());
    assert!(ran.has("abandoned"));
    eventually("the end", || is_gone(&ran.note("pid")));
}

#[test]
fn what_takes_too_long_in_the_foreground_is_given_up_as_well() {
    let ran = Ran::new("slow in the foreground");
    assert_eq!(ran.output.status.code(), Some(32));
    assert!(ran.said().contains("not started: the mount was not usable within 0.2 s"), "{}", ran.said());
    assert!(ran.has("abandoned"));
    eventually("the end", || is_gone(&ran.note("pid")));
}

#[test]
fn who_is_asked_to_end_before_it_is_usable_ends() {
    for job in ["hangs", "hangs in the foreground"] {
        let place = tempfile::tempdir().unwrap();
        let child = again(job, place.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = note(place.path(), "pid");
        let asked = Instant::now();
        signal(&pid, libc::SIGTERM);
        let output = child.wait_with_output().unwrap();
        let took = asked.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("not started: it was asked to end before the mount was usable\n"), "{said}");
        assert_eq!(output.status.code(), Some(32));
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(note(place.path(), "abandoned"), "yes\n");
        eventually("the end", || is_gone(&pid));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let ran = Ran::new("stubborn");
    let pid = ran.note("pid");
    signal(&pid, libc::SIGTERM);
    assert_eq!(ran.note("stopping"), "Asked\n");
    assert!(!ran.has("abandoned"));
    signal(&pid, libc::SIGTERM);
    assert_eq!(ran.note("abandoned"), "yes\n");
    eventually("the end", || is_gone(&pid));
}

#[test]
fn sighup_asks_it_to_look_again() {
    let ran = Ran::new("ready");
    let pid = ran.note("pid");
    for count in ["1\n", "2\n"] {
        signal(&pid, libc::SIGHUP);
        eventually("the refresh", || (ran.note("refreshed") == count).then_some(()));
    }
    assert!(!ran.has("stopping"));
    signal(&pid, libc::SIGTERM);
    assert_eq!(ran.note("stopping"), "Asked\n");
    eventually("the end", || is_gone(&pid));
}

#[test]
fn the_foreground_says_how_it_ended() {
    let place = tempfile::tempdir().unwrap();
    let child = again("foreground", place.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = note(place.path(), "pid");
    signal(&pid, libc::SIGTERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("broken: it ended badly"));
}
