//! `.akvfs/status.json` and `.akvfs/metrics`: what the mount is, and what it counted. Asks memory only.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clock::Moment;
use crate::metrics::{Page, Requests, operation_word};
use crate::secret::{SecretName, Timestamp};

use super::SecretFs;
use super::draft::{Draft, Target};

/// How long a temporary file whose name is no temporary one may stand closed before it is told of: a rename, if one
/// was meant, comes at once.
const LEFT_AFTER: Duration = Duration::from_secs(60);

/// How many of the secrets that are read most are told.
const MOST_READ: usize = 5;

/// What a mount is: facts that only its maker knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The SOURCE it was given.
    pub source: String,
    /// The vault's address.
    pub vault: String,
    /// Where it is mounted.
    pub directory: String,
    /// How it signs in: the word of `-o auth`.
    pub auth: String,
    /// What it was told apart from defaults, as a list for `-o`.
    pub options: String,
    /// The program's version.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// How long a listing is believed.
    pub ttl: Duration,
}

fn date(seconds: Option<i64>) -> Option<String> {
    seconds.map(|seconds| Timestamp(seconds).to_string())
}

fn requests(requests: &Requests) -> Value {
    json!({
        "requests": requests.asked.get(),
        "failures": requests.failures.all(),
        "last_success": date(requests.last_success.get()),
        "seconds": requests.seconds(),
    })
}

impl SecretFs {
    pub(super) fn status(&self) -> String {
        let about = &self.options.about;
        let metrics = &self.metrics;
        let errors = metrics.errors.all();
        let (inodes, _, handles) = self.held();
        let status = json!({
            "akvfs": about.version,
            "source": about.source,
            "vault": about.vault,
            "directory": about.directory,
            "pid": about.pid,
            "since": Timestamp(self.mounted).to_string(),
            "auth": about.auth,
            "identity": self.identity.as_ref().and_then(|identity| identity()),
            "read_only": self.options.read_only,
            "options": about.options,
            "operations": self.asked_operations(),
            "listing": self.listing_status(),
            "silent_since": date(metrics.silent_since.get()),
            "stale_answers": metrics.stale.all().map(|(_, counter)| counter.get()).sum::<u64>(),
            "refreshes": metrics.refreshes.get(),
            "cache": {
                "hits": metrics.hits.all().map(|(_, counter)| counter.get()).sum::<u64>(),
                "misses": metrics.misses.all().map(|(_, counter)| counter.get()).sum::<u64>(),
                "values": metrics.values.get(),
                "bytes": metrics.bytes.get(),
                "evictions": metrics.evictions.get(),
            },
            "files": {
                "opens": metrics.opens.get(),
                "most_read": self.most_read(),
                "audited": metrics.audited.get(),
                "audit_lost": metrics.audit_lost.get(),
                "saves": metrics.saves.get(),
                "versions": metrics.versions.get(),
                "kernel_requests": metrics.requests.total(),
                "inodes": inodes,
                "handles": handles,
            },
            "pending": self.pending(),
            "errors": {
                "count": errors.values().sum::<u64>(),
                "by_errno": errors,
                "panics": metrics.panics.get(),
            },
        });
        // Strings and numbers always serialise.
        let mut text = serde_json::to_string_pretty(&status).unwrap_or_default();
        text.push('\n');
        text
    }

    fn most_read(&self) -> Map<String, Value> {
        self.metrics.reads.most(MOST_READ).into_iter().map(|(name, count)| (name.to_string(), count.into())).collect()
    }

    /// The operations that were asked for at least once.
    fn asked_operations(&self) -> Map<String, Value> {
        let asked = self.metrics.vault.all().filter(|(_, of)| of.asked.get() > 0);
        asked.map(|(operation, of)| (operation_word(operation).to_owned(), requests(of))).collect()
    }

    /// How old the listing is that names are answered from; `null` without one.
    fn listing_status(&self) -> Value {
        let Some(at) = self.metrics.listing.get() else { return Value::Null };
        let age = u64::try_from(self.seconds().saturating_sub(at)).unwrap_or(0);
        json!({ "as_of": date(Some(at)), "age_seconds": age, "stale": age >= self.options.about.ttl.as_secs() })
    }

    /// What is not at the vault: removals that wait, directories without a value, temporary files left lying.
    fn pending(&self) -> Value {
        let (removals, newborn) = {
            let state = self.state();
            let names = |names: Vec<&SecretName>| names.into_iter().map(ToString::to_string).collect::<Vec<_>>();
            (names(state.removals.keys().collect()), names(state.newborn.keys().collect()))
        };
        json!({ "removals": removals, "directories_without_value": newborn, "temporary_files": self.left_behind() })
    }

    /// Temporary files that somebody closed over a minute ago and did not rename, and whose name does not say that
    /// they are temporary: perhaps they were meant to be saved. Paths, in order.
    fn left_behind(&self) -> Vec<String> {
        let now = self.now();
        self.paths_of(|draft| is_left(draft, now))
    }

    /// As in `pending.temporary_files`, however lately they were closed: an end of the mount loses them.
    pub fn not_renamed(&self) -> Vec<String> {
        self.paths_of(|draft| draft.closed.is_some())
    }

    fn paths_of(&self, which: impl Fn(&Draft) -> bool) -> Vec<String> {
        let is_it = |draft: &&Draft| is_legal(&draft.target) && which(draft);
        let targets: Vec<_> = self.state().drafts.values().filter(is_it).map(|draft| draft.target.clone()).collect();
        let mut paths: Vec<_> = targets.iter().map(|target| self.target_path(target)).collect();
        paths.sort();
        paths
    }

    /// Logs each temporary file that was left behind, once.
    pub fn tell_of_left_files(&self) {
        let now = self.now();
        let is_news = |draft: &&mut Draft| !draft.told && is_legal(&draft.target) && is_left(draft, now);
        let mut targets = Vec::new();
        for draft in self.state().drafts.values_mut().filter(is_news) {
            draft.told = true;
            targets.push(draft.target.clone());
        }
        for path in targets.iter().map(|target| self.target_path(target)) {
            tracing::warn!(
                "{path} was written a minute ago and is not at the vault: rename it to what it is meant to be"
            );
        }
    }

    pub(super) fn metrics_page(&self) -> String {
        let about = &self.options.about;
        let mut page = Page::default();
        page.family("akvfs_mount_info", "gauge", "What the mount is.");
        let labels = [("version", &*about.version), ("source", &about.source), ("directory", &about.directory)];
        page.sample("akvfs_mount_info", &labels, 1);
        page.number("akvfs_start_time_seconds", "gauge", "When it was mounted.", self.mounted);
        let removals = self.state().removals.len();
        page.number("akvfs_pending_removals", "gauge", "Removals that wait to be sent.", removals);
        self.metrics.write(&mut page);
        page.into_text()
    }
}

/// Whether it was closed so long ago that it will hardly be renamed.
fn is_left(draft: &Draft, now: Moment) -> bool {
    draft.closed.is_some_and(|closed| now.since(closed) >= LEFT_AFTER)
}

fn is_legal(target: &Target) -> bool {
    matches!(target, Target::Scratch(_, name) if SecretName::parse(name).is_ok())
}
