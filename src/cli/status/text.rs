//! A look at a mount in lines that people read. Shows what the mount tells, and nothing where it tells nothing.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Moment;

/// How many of the last failures are shown.
const ERRORS: usize = 5;

/// What a mount told of itself, and when.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub status: Value,
    pub errors: Vec<Value>,
    pub at: Moment,
}

/// Lines of a name and what there is to say of it.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, said: impl AsRef<str>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{name:<10} {}", printable(said.as_ref()));
    }
}

impl Frame {
    /// In lines; with `before`, what happened since then too.
    pub fn text(&self, before: Option<&Frame>) -> String {
        let mut lines = Lines::default();
        self.what_it_is(&mut lines);
        if let Some(before) = before {
            self.since(before, &mut lines);
        }
        self.freshness(&mut lines);
        self.cache(&mut lines);
        self.requests(&mut lines);
        self.files(&mut lines);
        self.pending(&mut lines);
        self.failures(&mut lines);
        lines.0
    }

    fn number(&self, path: &str) -> u64 {
        self.status.pointer(path).and_then(Value::as_u64).unwrap_or(0)
    }

    fn word(&self, path: &str) -> &str {
        self.status.pointer(path).and_then(Value::as_str).unwrap_or("?")
    }

    fn what_it_is(&self, lines: &mut Lines) {
        let mode = if self.status["read_only"] == true { "read-only" } else { "writable" };
        lines.add("mount", format!("{} at {}, {mode}", self.word("/source"), self.word("/directory")));
        lines.add("vault", format!("{}, signed in by {}", self.word("/vault"), self.word("/auth")));
        let version = format!("akvfs {}, process {}", self.word("/akvfs"), self.number("/pid"));
        lines.add("daemon", format!("{version}, since {}", self.word("/since")));
        match self.word("/options") {
            "" | "?" => {}
            options => lines.add("options", options),
        }
    }

    fn since(&self, before: &Frame, lines: &mut Lines) {
        let seconds = self.at.since(before.at).max(Duration::from_millis(1)).as_secs_f64();
        let grown = |path: &str| self.number(path).saturating_sub(before.number(path));
        let kernel = per_second(grown("/files/kernel_requests"), seconds);
        let opens = per_second(grown("/files/opens"), seconds);
        let (hits, misses) = (grown("/cache/hits"), grown("/cache/misses"));
        let sum = |frame: &Frame, member: &str| {
            frame.operations().map(|(_, of)| of[member].as_f64().unwrap_or(0.0)).sum::<f64>()
        };
        let asked = sum(self, "requests") - sum(before, "requests");
        let took = sum(self, "seconds") - sum(before, "seconds");
        let delay = if asked > 0.5 { format!(", {} each", milliseconds(took / asked)) } else { String::new() };
        lines.add("now", format!("{kernel} file operations, {opens} opens of values a second"));
        lines.add(
            "",
            format!(
                "{} from memory; {:.1} requests to the vault a second{delay}",
                share(hits, misses),
                asked / seconds
            ),
        );
    }

    fn freshness(&self, lines: &mut Lines) {
        let age = self.number("/listing/age_seconds");
        match self.status.pointer("/listing/stale") {
            Some(Value::Bool(true)) => lines.add("listing", format!("{age} s old, which is older than ttl")),
            Some(_) => lines.add("listing", format!("{age} s old")),
            None => lines.add("listing", "none yet"),
        }
    }

    fn cache(&self, lines: &mut Lines) {
        let (hits, misses) = (self.number("/cache/hits"), self.number("/cache/misses"));
        let held = format!("{} values, {} KiB", self.number("/cache/values"), self.number("/cache/bytes") / 1024);
        lines.add("cache", format!("{} of {} questions from memory; {held}", share(hits, misses), hits + misses));
    }

    fn operations(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.status.get("operations").and_then(Value::as_object).into_iter().flat_map(Map::iter)
    }

    fn requests(&self, lines: &mut Lines) {
        for (at, (operation, of)) in self.operations().enumerate() {
            let asked = of["requests"].as_u64().unwrap_or(0);
            #[allow(clippy::cast_precision_loss, reason = "an average for people")]
            let each = of["seconds"].as_f64().unwrap_or(0.0) / asked.max(1) as f64;
            let failed = counts(&of["failures"]).map_or_else(String::new, |counts| format!("; failed: {counts}"));
            let last = of["last_success"]
                .as_str()
                .map_or_else(|| "never answered".to_owned(), |at| format!("last answer {at}"));
            let said = format!("{operation} {asked}, {} each, {last}{failed}", milliseconds(each));
            lines.add(if at == 0 { "requests" } else { "" }, said);
        }
    }

    fn files(&self, lines: &mut Lines) {
        let saves = format!("{} saves, {} versions made", self.number("/files/saves"), self.number("/files/versions"));
        lines.add("files", format!("{} opens of values, {saves}", self.number("/files/opens")));
        let most = self.status.pointer("/files/most_read").and_then(Value::as_object);
        let most: Vec<_> = most.into_iter().flatten().map(|(name, count)| format!("{name} {count}")).collect();
        if !most.is_empty() {
            lines.add("most read", most.join(", "));
        }
        match self.number("/files/audit_lost") {
            0 => {}
            lost => lines.add("audit", format!("{lost} of {} lines lost", self.number("/files/audited"))),
        }
    }

    /// Whatever is not at the vault.
    fn pending(&self, lines: &mut Lines) {
        let lists = self.status.get("pending").and_then(Value::as_object).into_iter().flatten();
        for (what, names) in lists {
            let names: Vec<_> = names.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if !names.is_empty() {
                lines.add("pending", format!("{}: {}", what.replace('_', " "), names.join(", ")));
            }
        }
    }

    fn failures(&self, lines: &mut Lines) {
        let count = self.number("/errors/count");
        let counts =
            counts(&self.status["errors"]["by_errno"]).map_or_else(String::new, |counts| format!(": {counts}"));
        lines.add("errors", format!("{count}{counts}"));
        match self.number("/errors/panics") {
            0 => {}
            panics => lines.add("", format!("{panics} inside akvfs: please report them, with the log")),
        }
        for error in self.errors.iter().rev().take(ERRORS) {
            let word = |key: &str| error[key].as_str().unwrap_or_default();
            let remedy = if word("remedy").is_empty() { String::new() } else { format!("; {}", word("remedy")) };
            let what = format!("{} {} {}", word("time"), word("operation"), word("path"));
            lines.add("", format!("{what}: {} {}{remedy}", word("errno"), word("message")));
        }
    }
}

fn counts(of: &Value) -> Option<String> {
    let counts: Vec<_> = of.as_object()?.iter().map(|(word, count)| format!("{word} {count}")).collect();
    (!counts.is_empty()).then(|| counts.join(", "))
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: u64, seconds: f64) -> String {
    format!("{:.0}", count as f64 / seconds)
}

#[allow(clippy::cast_precision_loss, reason = "a share for people")]
fn share(hits: u64, misses: u64) -> String {
    match hits + misses {
        0 => "nothing".to_owned(),
        all => format!("{:.0} %", 100.0 * hits as f64 / all as f64),
    }
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.0} ms", seconds * 1000.0)
}

/// A message of the service, a path: nothing of it may move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn frame(seconds: u64, kernel: u64, hits: u64, asked: u64, took: f64) -> Frame {
        let status = json!({
            "akvfs": "1.2.3", "source": "contoso", "vault": "https://contoso.vault.azure.net", "directory": "/mnt",
            "pid": 7, "since": "2026-11-24T05:00:00Z", "auth": "managed", "read_only": true, "options": "ro",
            "operations": { "get": { "requests": asked, "failures": { "throttled": 2 }, "last_success": null, "seconds": took } },
            "listing": { "as_of": "…", "age_seconds": 40, "stale": true },
            "cache": { "hits": hits, "misses": 10, "values": 3, "bytes": 4096, "evictions": 0 },
            "files": { "opens": 5, "saves": 1, "versions": 1, "kernel_requests": kernel, "audit_lost": 2, "audited": 9,
                       "most_read": { "db": 4, "tls": 1 } },
            "pending": { "removals": ["old"], "temporary_files": [] },
            "errors": { "count": 2, "by_errno": { "EACCES": 2 }, "panics": 0 }
        });
        let error = json!({ "time": "T", "operation": "open", "path": "files/x", "errno": "EACCES",
                            "message": "no\u{1b}[2J", "remedy": "ask" });
        Frame { status, errors: vec![error], at: Moment::from_start(Duration::from_secs(seconds)) }
    }

    #[test]
    fn a_look_shows_what_the_mount_tells() {
        let text = frame(0, 0, 90, 4, 0.1).text(None);
        for line in [
            "mount      contoso at /mnt, read-only",
            "vault      https://contoso.vault.azure.net, signed in by managed",
            "daemon     akvfs 1.2.3, process 7, since 2026-11-24T05:00:00Z",
            "listing    40 s old, which is older than ttl",
            "cache      90 % of 100 questions from memory; 3 values, 4 KiB",
            "requests   get 4, 25 ms each, never answered; failed: throttled 2",
            "most read  db 4, tls 1",
            "audit      2 of 9 lines lost",
            "pending    removals: old",
            "errors     2: EACCES 2",
            "           T open files/x: EACCES no [2J; ask",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        assert!(!text.contains("now "), "{text}");
    }

    #[test]
    fn two_looks_show_what_happened_between_them() {
        let text = frame(2, 300, 190, 8, 0.2).text(Some(&frame(0, 100, 90, 4, 0.1)));
        assert!(text.contains("now        100 file operations, 0 opens of values a second\n"), "{text}");
        assert!(
            text.contains("           100 % from memory; 2.0 requests to the vault a second, 25 ms each\n"),
            "{text}"
        );
    }

    #[test]
    fn a_mount_that_tells_little_is_no_trouble() {
        let bare = Frame { status: json!({}), errors: Vec::new(), at: Moment::default() };
        let text = bare.text(Some(&bare));
        assert!(text.contains("listing    none yet") && text.contains("errors     0"), "{text}");
    }
}
