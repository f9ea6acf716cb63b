//! The command that runs when another party has replaced a value (`on_change`). It gets a path and a version, never a value,
//! and nothing of the daemon's environment that might hold a credential.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What of the daemon's environment the command gets.
const KEPT: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "XDG_RUNTIME_DIR"];

/// See the module. Clones are the same hook.
#[derive(Clone)]
pub struct Hook {
    command: Arc<str>,
    /// The paths whose command runs, and the version that came meanwhile.
    running: Arc<Mutex<HashMap<String, Option<String>>>>,
}

impl Hook {
    /// A hook that runs `command` by the shell.
    pub fn new(command: &str) -> Self {
        Self { command: command.into(), running: Arc::default() }
    }

    /// Runs the command for `path`, not here; if it runs already, once more when it has ended, with the last version.
    pub fn run(&self, path: &str, version: &str) {
        if let Some(next) = self.running().get_mut(path) {
            *next = Some(version.to_owned());
            return;
        }
        self.running().insert(path.to_owned(), None);
        let (hook, at, version) = (self.clone(), path.to_owned(), version.to_owned());
        let work = move || {
            let mut version = Some(version);
            while let Some(current) = version {
                hook.run_here(&at, &current);
                version = hook.next(&at);
            }
        };
        if let Err(error) = thread::Builder::new().name("akvfs-hook".into()).spawn(work) {
            tracing::warn!("on_change does not run for {path}: {error}");
            self.running().remove(path);
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Option<String>>> {
        // Each step is whole.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that came while the command ran; without one it is over.
    fn next(&self, path: &str) -> Option<String> {
        let mut running = self.running();
        let next = running.get_mut(path).and_then(Option::take);
        if next.is_none() {
            running.remove(path);
        }
        next
    }

    fn run_here(&self, path: &str, version: &str) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &self.command]).env_clear();
        command.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs([("AKVFS_PATH", path), ("AKVFS_VERSION", version)]);
        let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/").status();
        match ended {
            Ok(status) if status.success() => tracing::debug!("on_change has run for {path}"),
            Ok(status) => tracing::warn!("on_change for {path} ended with {status}"),
            Err(error) => tracing::warn!("on_change does not run for {path}: {error}"),
        }
    }
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
        let hook = Hook::new(&command);
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
