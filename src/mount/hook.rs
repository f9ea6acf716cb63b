//! The command that runs when another party has replaced a value (`on_change`). It gets a path and a version, never a value,
//! and nothing of the daemon's environment that might hold a credential.

use std::collections::HashMap;
use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What of the daemon's environment the command gets.
const KEPT: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "XDG_RUNTIME_DIR"];

/// Runs the command for a secret and its version, and waits for its end.
pub type Run = dyn Fn(&str, &str) -> io::Result<ExitStatus> + Send + Sync;

/// See the module. Clones are the same hook.
#[derive(Clone)]
pub struct Hook {
    run: Arc<Run>,
    /// The secrets whose command runs, and the version that came meanwhile.
    running: Arc<Mutex<HashMap<String, Option<String>>>>,
}

impl Hook {
    /// A hook that runs this.
    pub fn new(run: Arc<Run>) -> Self {
        Self { run, running: Arc::default() }
    }

    /// Runs the command for the secret `name`, not here; if it runs already, once more when it has ended, with the last version.
    pub fn run(&self, name: &str, version: &str) {
        if let Some(next) = self.running().get_mut(name) {
            *next = Some(version.to_owned());
            return;
        }
        self.running().insert(name.to_owned(), None);
        let (hook, at, version) = (self.clone(), name.to_owned(), version.to_owned());
        let work = move || {
            let mut version = Some(version);
            while let Some(current) = version {
                hook.run_here(&at, &current);
                version = hook.next(&at);
            }
        };
        if let Err(error) = thread::Builder::new().name("akvfs-hook".into()).spawn(work) {
            tracing::warn!("on_change does not run for {name}: {error}");
            self.running().remove(name);
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Option<String>>> {
        // Each step is whole.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that came while the command ran; without one it is over.
    fn next(&self, name: &str) -> Option<String> {
        let mut running = self.running();
        let next = running.get_mut(name).and_then(Option::take);
        if next.is_none() {
            running.remove(name);
        }
        next
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
        while !hook.running().is_empty() {
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
}
