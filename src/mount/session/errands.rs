//! What the attendant does: each errand, made of what it was told when it began, and of as little as possible of what the
//! daemon says.

use std::io;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use crate::clock::SystemClock;
use crate::fs::processes::{ProcFs, Processes};
use crate::fs::wake::{EARLIER, MAX_EARLIER, NEW};
use crate::mount::attendant::{Answer, Errand, attend};
use crate::mount::hook;
use crate::mount::options::MountOptions;
use crate::mount::point::Place;
use crate::mount::program::Programs;
use crate::mount::source::Vault;
use crate::mount::wake::{File, Touched};
use crate::mount::{process, unmount};
use crate::secret::{SecretName, Version};

use super::attended::SIGN_IN_LIMIT;
use super::signing::Signing;

/// How often it is looked whether a mount is dead whose daemon is, and after what pause.
const LOOKS: (usize, Duration) = (50, Duration::from_millis(20));
/// How long `az` or `azd` may run. A little less than it is waited for, so that who waits hears that it hangs.
const SIGN_IN_ENDS: Duration = Duration::from_secs(SIGN_IN_LIMIT.as_secs() - 5);

/// What the attendant is told when it begins.
#[derive(Clone, Debug)]
pub struct Charge {
    place: Place,
    read_only: bool,
    on_change: Option<String>,
    signing: Signing,
    /// `az` and `azd` that run.
    programs: Arc<Programs>,
}

impl Charge {
    /// For a mount of this vault with these options.
    pub fn new(vault: &Vault, place: &Place, options: &MountOptions) -> Self {
        let (place, on_change) = (place.clone(), options.on_change.clone());
        let signing = Signing::new(vault, options.auth);
        Self { place, read_only: options.read_only, on_change, signing, programs: Arc::default() }
    }

    /// Its whole life, until the daemon is gone. A mount that is left dead is taken away.
    pub fn attend(self, socket: UnixStream) {
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGUSR1] {
            // They are for the daemon. Caught, not ignored: programs that run from here inherit what is ignored.
            // SAFETY: the handler does nothing.
            let _ = unsafe { signal_hook::low_level::register(signal, || ()) };
        }
        if let Place::Descriptor(number) = self.place {
            // SAFETY: it was left open for the daemon, which has its own; nothing here uses it.
            drop(unsafe { process::take_descriptor(number) });
        }
        let charge = Arc::new(self);
        let (own, waking) = (charge.clone(), Waking::start(&charge));
        let ended = attend(socket, move |errand| own.answer(errand, waking.as_ref().ok()));
        if let Err(error) = ended {
            tracing::error!("the attendant ends: {error}");
        }
        // Nobody waits for a token any more.
        charge.programs.end();
        charge.clear_away();
    }

    fn answer(&self, errand: Errand, waking: Option<&Waking>) -> Answer {
        match errand {
            Errand::Unmount { device } => done(self.unmount(&device)),
            Errand::MayWrite { processes, inodes } => {
                Answer::Holds(ProcFs.may_write(&processes.into_iter().collect(), &inodes))
            }
            Errand::Program { process } => Answer::Program(ProcFs.program(process)),
            Errand::Changed { name, version } => self.changed(&name, &version),
            Errand::SignIn { line } => Answer::of_program(self.sign_in(&line)),
            Errand::WakingThread => waking.map_or_else(no_waking, |waking| Answer::Thread(waking.thread)),
            Errand::Wake { path, earlier } => {
                waking.map_or_else(no_waking, |waking| done(waking.wake(Woken { path, earlier })))
            }
        }
    }

    fn unmount(&self, device: &str) -> io::Result<()> {
        match &self.place {
            Place::Directory(dir) => unmount::detach(dir, device).map_err(io::Error::other),
            // Who mounted it unmounts it; the kernel ends the connection with the daemon.
            Place::Descriptor(_) => Ok(()),
        }
    }

    fn changed(&self, name: &str, version: &str) -> Answer {
        let (Ok(name), Some(version), Some(command)) =
            (SecretName::parse(name), Version::parse(version), &self.on_change)
        else {
            return Answer::Failed("there is no such command".to_owned());
        };
        let ended = hook::run_command(command, &format!("{}/secrets/{name}/value", self.place), version.as_str());
        Answer::of_program(ended.map(|status| Output { status, stdout: Vec::new(), stderr: Vec::new() }))
    }

    /// Runs `az` or `azd` as azure_identity does. No other line is run.
    fn sign_in(&self, line: &str) -> io::Result<Output> {
        if !self.signing.is_sign_in(line) {
            return Err(io::Error::other("this is no way to sign in"));
        }
        self.programs.output_within(Command::new("/bin/sh").args(["-c", line]).stdin(Stdio::null()), SIGN_IN_ENDS)
    }

    /// Takes away the mount that a daemon has left when it died, and no other: it is not there, or it does not answer.
    fn clear_away(&self) {
        let Place::Directory(dir) = &self.place else { return };
        let (clock, (looks, pause)) = (SystemClock::shared(), LOOKS);
        for _ in 0..looks {
            match unmount::detach_dead(dir) {
                // Not dead yet, or another's.
                Ok(true) => clock.sleep(pause),
                Ok(false) | Err(_) => return,
            }
        }
    }
}

fn done(result: io::Result<()>) -> Answer {
    result.map_or_else(|error| Answer::Failed(error.to_string()), |()| Answer::Done)
}

fn no_waking() -> Answer {
    Answer::Failed("nobody is woken on this mount".to_owned())
}

/// The thread that wakes watchers: one, so that the files' other side knows it by its number.
struct Waking {
    thread: u32,
    jobs: Mutex<Sender<(Woken, Sender<io::Result<()>>)>>,
}

/// Of [`File`], with what it borrows.
struct Woken {
    path: String,
    earlier: usize,
}

impl Waking {
    fn start(charge: &Charge) -> io::Result<Self> {
        let Place::Directory(directory) = &charge.place else { return Err(io::ErrorKind::Unsupported.into()) };
        let (directory, read_only) = (directory.clone(), charge.read_only);
        let touched = Touched { directory, read_only, new: NEW, earlier: EARLIER };
        let (jobs, todo) = mpsc::channel::<(Woken, Sender<io::Result<()>>)>();
        let (tell, told) = mpsc::channel();
        let work = move || {
            // SAFETY: no arguments, cannot fail.
            let _ = tell.send(unsafe { libc::gettid() }.cast_unsigned());
            for (woken, answer) in todo {
                let file = File { path: &woken.path, earlier: woken.earlier };
                // Who waits no longer does not matter.
                let _ = answer.send(touched.wake(&file));
            }
        };
        thread::Builder::new().name("akvfs-waking".to_owned()).spawn(work)?;
        Ok(Self { thread: told.recv().map_err(io::Error::other)?, jobs: Mutex::new(jobs) })
    }

    fn wake(&self, woken: Woken) -> io::Result<()> {
        if !is_watched(&woken.path) || woken.earlier > MAX_EARLIER {
            return Err(io::Error::other("this is no file that can be watched"));
        }
        let (answer, answered) = mpsc::channel();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        jobs.send((woken, answer)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        answered.recv().map_err(io::Error::other)?
    }
}

/// Whether a path is that of a value, below the mount.
fn is_watched(path: &str) -> bool {
    let parts: Vec<_> = path.split('/').collect();
    let is_value = matches!(parts[..], ["secrets", _, "value"] | ["secrets", _, "certificate", _] | ["files", _]);
    is_value && parts.iter().all(|part| !matches!(*part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(on_change: Option<&str>) -> Charge {
        let place = Place::Descriptor(99_999);
        let options = MountOptions { on_change: on_change.map(str::to_owned), ..MountOptions::default() };
        Charge::new(&Vault::Azure { url: "https://contoso.vault.azure.net".to_owned() }, &place, &options)
    }

    fn why(answer: Answer) -> String {
        answer.into_output().expect_err("it must refuse").to_string()
    }

    #[test]
    fn only_a_sign_in_is_run() {
        let (signing, scope) = (charge(None).signing, "--scope https://vault.azure.net/.default");
        for line in [
            format!(
                "cd /bin && az account get-access-token -o json {scope} --tenant 72f988bf-86f1-41af-91ab-2d7cd011db47"
            ),
            format!("cd /bin && azd auth token -o json --no-prompt {scope}"),
        ] {
            assert!(signing.is_sign_in(&line), "{line}");
            for more in [
                ";id", "$(id)", "`id`", "&id", "|id", "\nid", ">x", "<x", "\"x\"", "'x'", "*", "\\x", "~", "#", "!x",
                "\0",
            ] {
                assert!(!signing.is_sign_in(&format!("{line} {more}")), "{more}");
                assert!(!signing.is_sign_in(&format!("{line}{more}")), "{more}");
            }
        }
        let other = "cd /bin && az account get-access-token -o json --scope https://management.azure.com/.default";
        for line in
            [other, "", "id", "cd /bin && az account clear", "cd /bin && az account get-access-token -o json;id", "az"]
        {
            assert_eq!(
                why(charge(None).answer(Errand::SignIn { line: line.to_owned() }, None)),
                "this is no way to sign in"
            );
        }
    }

    #[test]
    fn only_the_command_that_the_user_gave_is_run_and_for_secrets_only() {
        let version = "0123456789abcdef0123456789abcdef".to_owned();
        let changed =
            |name: &str, version: &str| Errand::Changed { name: name.to_owned(), version: version.to_owned() };
        let ended = charge(Some("exit 3")).answer(changed("a", &version), None).into_output().unwrap();
        assert_eq!(ended.status.code(), Some(3));
        for (name, version) in [("../a", version.as_str()), ("a b", &version), ("", &version), ("a", "x"), ("a", "")] {
            let refused = charge(Some("exit 3")).answer(changed(name, version), None);
            assert_eq!(why(refused), "there is no such command");
        }
        assert_eq!(why(charge(None).answer(changed("a", &version), None)), "there is no such command");
    }

    #[test]
    fn nothing_outside_the_mount_is_touched() {
        let place = tempfile::tempdir().unwrap();
        let (inside, outside) = (place.path().join("inside"), place.path().join("outside"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(&outside, "x").unwrap();
        let charge = Charge { place: Place::Directory(inside.clone()), ..charge(None) };
        let waking = Waking::start(&charge).unwrap();
        let outside = outside.to_str().unwrap().to_owned();
        for path in [
            "../outside",
            outside.as_str(),
            "files/../../outside",
            "files/..",
            "files/.",
            "files/",
            "files",
            "/files/a",
            "secrets/../value",
            "secrets//value",
            "secrets/a/tags",
            ".akvfs/status.json",
            "",
        ] {
            let errand = Errand::Wake { path: path.into(), earlier: 0 };
            assert_eq!(why(charge.answer(errand, Some(&waking))), "this is no file that can be watched", "{path}");
        }
        let many = Errand::Wake { path: "files/a".into(), earlier: MAX_EARLIER + 1 };
        assert_eq!(why(charge.answer(many, Some(&waking))), "this is no file that can be watched");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_not_a_mount_of_ours_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let charge = Charge { place: Place::Directory(place.path().to_owned()), ..charge(None) };
        assert!(charge.answer(Errand::Unmount { device: "0:1".to_owned() }, None).into_done().is_ok());
        charge.clear_away();
        assert!(place.path().is_dir());
    }
}
