//! A program that is run for what it writes, and is not waited for without end.

use std::io::{self, ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::process::{self, Pid};

/// What it wrote to its standard output and its standard error.
type Written = (Vec<u8>, Vec<u8>);

/// The programs under way, each in a group of its own: so all that it has started can be ended with it, and a terminal's
/// signals do not reach it.
#[derive(Debug)]
pub struct Programs {
    /// `None` when no more may be started.
    leaders: Mutex<Option<Vec<Pid>>>,
}

impl Default for Programs {
    fn default() -> Self {
        Self { leaders: Mutex::new(Some(Vec::new())) }
    }
}

impl Programs {
    /// Runs `command` and waits until it has ended and nobody writes for it any more. If that takes longer than `limit`, it is
    /// killed, with all that it has started.
    pub fn output_within(&self, command: &mut Command, limit: Duration) -> io::Result<Output> {
        let (mut child, leader) = self.start(command)?;
        let written = written_within(&mut child, leader, limit);
        if written.is_err() {
            process::kill_group(leader)?;
            process::wait_for_end(leader)?;
        }
        let status = self.take_status(&mut child, leader)?;
        written.map(|(stdout, stderr)| Output { status, stdout, stderr })
    }

    /// Kills all that run; none is started any more.
    pub fn end(&self) {
        let mut leaders = self.leaders();
        for leader in leaders.take().into_iter().flatten() {
            // It may have ended just now.
            let _ = process::kill_group(leader);
        }
    }

    fn start(&self, command: &mut Command) -> io::Result<(Child, Pid)> {
        let mut leaders = self.leaders();
        let leaders = leaders.as_mut().ok_or_else(|| io::Error::other("nothing is started any more"))?;
        let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let leader = Pid(child.id().cast_signed());
        leaders.push(leader);
        Ok((child, leader))
    }

    /// Of a child that has ended. Whoever ends all must not know its number any more when it can be another's.
    fn take_status(&self, child: &mut Child, leader: Pid) -> io::Result<ExitStatus> {
        let mut leaders = self.leaders();
        leaders.iter_mut().for_each(|leaders| leaders.retain(|other| *other != leader));
        child.wait()
    }

    fn leaders(&self) -> MutexGuard<'_, Option<Vec<Pid>>> {
        // Each step is whole.
        self.leaders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it wrote until it ended. Its status is not taken, so that its number stays its own.
fn written_within(child: &mut Child, number: Pid, limit: Duration) -> io::Result<Written> {
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(ErrorKind::BrokenPipe.into());
    };
    let (tell, told) = mpsc::channel();
    let hear = move || {
        // Who waits no longer does not matter.
        let _ = tell.send(read_both(out, err).and_then(|written| process::wait_for_end(number).map(|()| written)));
    };
    thread::Builder::new().name("akvfs-program".to_owned()).spawn(hear)?;
    let too_long = |_| io::Error::new(ErrorKind::TimedOut, format!("it did not end within {limit:?} and was killed"));
    told.recv_timeout(limit).map_err(too_long)?
}

/// At once: who fills one pipe while the other is read would wait for ever.
fn read_both(mut out: impl Read, mut err: impl Read + Send) -> io::Result<Written> {
    thread::scope(|scope| {
        let read_err = move || read_all(&mut err);
        let complaints = thread::Builder::new().spawn_scoped(scope, read_err)?;
        let written = read_all(&mut out)?;
        let complaints = complaints.join().map_err(|_| io::Error::other("nobody reads what it writes"))??;
        Ok((written, complaints))
    })
}

fn read_all(pipe: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    pipe.read_to_end(&mut all)?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::PipeReader;
    use std::sync::Arc;
    use std::sync::mpsc::Receiver;

    const SOON: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(500);

    /// Runs a line beside the test, which does not hang where the line does. Its descriptor 3 is the other end of the pipe,
    /// which is at its end when nobody of it is left.
    fn beside(programs: &Arc<Programs>, line: &str, limit: Duration) -> (Receiver<io::Result<Output>>, PipeReader) {
        let ((left, held), (tell, told)) = (io::pipe().unwrap(), mpsc::channel());
        let (programs, line) = (programs.clone(), format!("exec 3>&0; {line}"));
        thread::spawn(move || {
            // What runs in the background does not get the standard input.
            let ended = programs.output_within(Command::new("/bin/sh").args(["-c", &line]).stdin(held), limit);
            tell.send(ended).unwrap();
        });
        (told, left)
    }

    /// What it writes until nobody is left.
    fn all(mut pipe: PipeReader) -> String {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(read_all(&mut pipe).unwrap()));
        String::from_utf8(told.recv_timeout(SOON).expect("nobody is left")).unwrap()
    }

    #[test]
    fn what_hangs_is_ended_with_all_that_it_has_started() {
        for line in ["sleep 1000 & sleep 1000", "sleep 1000 &", "exec >&- 2>&-; sleep 1000 & sleep 1000"] {
            let (ended, left) = beside(&Arc::default(), line, SHORT);
            let error = ended.recv_timeout(SOON).expect("it is not waited for").unwrap_err();
            assert_eq!(error.to_string(), "it did not end within 500ms and was killed", "{line}");
            assert_eq!(all(left), "");
        }
    }

    #[test]
    fn what_ends_has_its_status_and_all_that_it_wrote_to_both() {
        let line = "yes err | head -c 1000000 >&2; yes out | head -c 1000000; exit 3";
        let (ended, _) = beside(&Arc::default(), line, 3 * SOON);
        let output = ended.recv_timeout(SOON).expect("it ends").unwrap();
        assert_eq!((output.status.code(), output.stdout.len(), output.stderr.len()), (Some(3), 1_000_000, 1_000_000));
        assert!(output.stdout.starts_with(b"out\n") && output.stderr.starts_with(b"err\n"));
    }

    #[test]
    fn none_outlives_who_wanted_it() {
        let programs = Arc::<Programs>::default();
        let (ended, mut left) = beside(&programs, "sleep 1000 & echo begun >&3; sleep 1000", 3 * SOON);
        left.read_exact(&mut [0; 6]).unwrap();
        programs.end();
        assert_eq!(all(left), "");
        assert!(!ended.recv_timeout(SOON).expect("it ends").unwrap().status.success());
        let (refused, _) = beside(&programs, "exit 0", SOON);
        assert!(refused.recv_timeout(SOON).expect("at once").is_err());
    }
}
