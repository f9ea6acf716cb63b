//! The command that runs when another party has replaced a value (`on_change`). It gets a path and a version, never a value,
//! and nothing of the daemon's environment that might hold a credential.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What of the daemon's environment the command gets.
const KEPT: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "XDG_RUNTIME_DIR"];

/// Runs the command for a secret and its version, and waits for its end.
pub type Run = dyn Fn(&str, &str) -> io::Result<ExitStatus> + Send + Sync;

/// How many commands run at once at most: a vault may replace thousands of values in one go.
const AT_ONCE: usize = 8;

/// See the module. Clones are the same hook.
#[derive(Clone)]
pub struct Hook {
    run: Arc<Run>,
    work: Arc<Mutex<Work>>,
}

#[derive(Default)]
struct Work {
    /// The secrets whose command runs or is to run, and the version that it has not run for.
    versions: HashMap<String, Option<String>>,
    /// Those whose command does not run yet, the longest waiting first.
    waiting: VecDeque<String>,
    threads: usize,
}

impl Work {
    fn add(&mut self, name: &str, version: &str) {
        let before = self.versions.insert(name.to_owned(), Some(version.to_owned()));
        if before.is_none() {
            self.waiting.push_back(name.to_owned());
        }
    }

    /// Whether there is something to do for one thread more, which is counted from now on.
    fn takes_a_thread(&mut self) -> bool {
        let takes = self.threads < AT_ONCE && !self.waiting.is_empty();
        self.threads += usize::from(takes);
        takes
    }

    /// What to run next; without anything the thread that asks ends.
    fn next(&mut self) -> Option<(String, String)> {
        let name = self.waiting.pop_front();
        let version = name.as_ref().and_then(|name| self.versions.get_mut(name)?.take());
        let next = name.zip(version);
        self.threads -= usize::from(next.is_none());
        next
    }

    /// The command has run for a secret. If another version came meanwhile, it waits again, behind the others.
    fn has_run(&mut self, name: String) {
        match self.versions.get(&name) {
            Some(Some(_)) => self.waiting.push_back(name),
            _ => drop(self.versions.remove(&name)),
        }
    }
}

impl Hook {
    /// A hook that runs this.
    pub fn new(run: Arc<Run>) -> Self {
        Self { run, work: Arc::default() }
    }

    /// Runs the command for the secret `name`, not here; if it runs already, once more when it has ended, with the last version.
    pub fn run(&self, name: &str, version: &str) {
        self.work().add(name, version);
        if !self.work().takes_a_thread() {
            return;
        }
        let hook = self.clone();
        let work = move || {
            while let Some((name, version)) = hook.next() {
                hook.run_here(&name, &version);
                hook.work().has_run(name);
            }
        };
        if let Err(error) = thread::Builder::new().name("akvfs-hook".into()).spawn(work) {
            tracing::warn!("on_change waits for another change before it runs for {name}: {error}");
            self.work().threads -= 1;
        }
    }

    /// A function of its own, so that the lock is not held while the command runs.
    fn next(&self) -> Option<(String, String)> {
        self.work().next()
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        // Each step is whole.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_here(&self, name: &str, version: &str) {
        match (self.run)(name, version) {
            Ok(status) if status.success() => tracing::debug!("on_change has run for {name}"),
            Ok(status) => tracing::warn!("on_change for {name} ended with {status}"),
            Err(error) => tracing::warn!("on_change does not run for {name}: {error}"),
        }
    }
}

/// Runs `command` by the shell, for the file at `path` and its version.
pub fn run_command(command: &str, path: &str, version: &str) -> io::Result<ExitStatus> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).env_clear();
    shell.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    shell.envs([("AKVFS_PATH", path), ("AKVFS_VERSION", version)]);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/").status()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    #[test]
    fn one_at_a_time_a_path_and_the_last_version_is_never_left_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let command = format!(
            "echo begin $AKVFS_PATH $AKVFS_VERSION >>{0}; sleep 0.05; echo end $AKVFS_PATH >>{0}; env >>{0}.env",
            log.display()
        );
        let hook = Hook::new(Arc::new(move |path, version| run_command(&command, path, version)));
        for version in 0..50 {
            hook.run("/m/a", &version.to_string());
            thread::sleep(Duration::from_millis(2));
        }
        hook.run("/m/b", "1");
        while !hook.work().versions.is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        let text = fs::read_to_string(&log).expect("it ran");
        let of_a: Vec<_> = text.lines().filter(|line| line.contains("/m/a")).collect();
        assert!(of_a.chunks(2).all(|pair| pair[0].starts_with("begin") && pair[1].starts_with("end")), "{text}");
        assert!(of_a.len() < 100 && of_a[of_a.len() - 2] == "begin /m/a 49", "{text}");
        assert!(text.contains("begin /m/b 1"));
        let environment = fs::read_to_string(log.with_extension("env")).expect("it ran");
        assert!(!environment.contains("CARGO"), "nothing of ours but what is listed: {environment}");
    }

    #[test]
    fn no_more_than_eight_run_at_once_and_each_secret_has_its_last_version() {
        let (now, most) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
        let last = Arc::<Mutex<HashMap<String, String>>>::default();
        let (at_once, highest, ran) = (now.clone(), most.clone(), last.clone());
        let hook = Hook::new(Arc::new(move |name, version| {
            let running = {
                let mut running = at_once.lock().unwrap();
                *running += 1;
                *running
            };
            let mut most = highest.lock().unwrap();
            *most = running.max(*most);
            drop(most);
            thread::sleep(Duration::from_millis(5));
            ran.lock().unwrap().insert(name.to_owned(), version.to_owned());
            *at_once.lock().unwrap() -= 1;
            Ok(ExitStatus::default())
        }));
        for version in ["1", "2", "3"] {
            (0..100).for_each(|secret| hook.run(&secret.to_string(), version));
        }
        while !hook.work().versions.is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        let last = last.lock().unwrap();
        assert!(last.len() == 100 && last.values().all(|version| version == "3"), "{last:?}");
        assert_eq!(*most.lock().unwrap(), 8);
    }
}
