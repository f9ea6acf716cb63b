//! What the doctor found: a line for each check, shown when it is known; or all of it as one JSON document.

use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};

use crate::mount::session::remedy_for;
use crate::store::StoreError;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// It works, but somebody should look.
    Warning,
    /// It does not work.
    Failed,
    /// It could not be tried, or need not be.
    Skipped,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// ECMA-48's colours: green, yellow, red, none.
    fn colour(self) -> &'static str {
        match self {
            Self::Ok => "32",
            Self::Warning => "33",
            Self::Failed => "31",
            Self::Skipped => "0",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub check: &'static str,
    pub state: State,
    /// What was found, or why not.
    pub said: String,
    /// What to do.
    pub remedy: Option<String>,
}

impl Line {
    pub fn ok(check: &'static str, said: impl Into<String>) -> Self {
        Self { check, state: State::Ok, said: said.into(), remedy: None }
    }

    pub fn skipped(check: &'static str, said: impl Into<String>) -> Self {
        Self { check, state: State::Skipped, said: said.into(), remedy: None }
    }

    pub fn warning(check: &'static str, said: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, state: State::Warning, said: said.into(), remedy: Some(remedy.into()) }
    }

    pub fn failed(check: &'static str, said: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, state: State::Failed, said: said.into(), remedy: Some(remedy.into()) }
    }

    /// A failure of the vault, with the remedy that a file's error would have.
    pub fn of(check: &'static str, error: &StoreError) -> Self {
        let remedy = Some(remedy_for(error.kind).to_owned()).filter(|remedy| !remedy.is_empty());
        Self { check, state: State::Failed, said: error.to_string(), remedy }
    }

    fn text(&self, coloured: bool) -> String {
        let word = format!("{:<7}", self.state.word());
        let word = if coloured { format!("\x1b[{}m{word}\x1b[0m", self.state.colour()) } else { word };
        let remedy = self.remedy.as_ref().map_or_else(String::new, |remedy| format!("{:>22}-> {remedy}\n", ""));
        format!("{word}  {:<12} {}\n{remedy}", self.check, self.said)
    }

    fn json(&self) -> Value {
        json!({ "check": self.check, "state": self.state.word(), "message": self.said, "remedy": self.remedy })
    }
}

/// All of it.
pub(super) struct Report {
    lines: Vec<Line>,
    json: bool,
    coloured: bool,
}

impl Report {
    pub fn new(json: bool) -> Self {
        Self { lines: Vec::new(), json, coloured: io::stdout().is_terminal() }
    }

    /// Takes a line in; whether what it checked works.
    pub fn add(&mut self, line: Line) -> bool {
        if !self.json {
            say(&line.text(self.coloured));
        }
        let works = line.state != State::Failed;
        self.lines.push(line);
        works
    }

    /// Ends it; how many checks failed.
    pub fn end(self, source: &str) -> usize {
        let failed = self.lines.iter().filter(|line| line.state == State::Failed).count();
        if self.json {
            let checks: Vec<_> = self.lines.iter().map(Line::json).collect();
            let document = json!({ "source": source, "ok": failed == 0, "checks": checks });
            say(&format!("{document:#}\n"));
        }
        failed
    }
}

fn say(text: &str) {
    // A reader that went away wants no more of it.
    let _ = io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_remedy_below_it() {
        let line = Line::failed("name", "no such host", "check the spelling");
        assert_eq!(
            line.text(false),
            "failed   name         no such host\n                      -> check the spelling\n"
        );
        assert_eq!(Line::ok("tls", "fine").text(false), "ok       tls          fine\n");
        assert!(line.text(true).starts_with("\x1b[31mfailed \x1b[0m  name"));
    }

    #[test]
    fn only_failures_fail() {
        let mut report = Report { lines: Vec::new(), json: true, coloured: false };
        assert!(report.add(Line::ok("a", "")) && report.add(Line::skipped("b", "")));
        assert!(report.add(Line::warning("c", "", "")) && !report.add(Line::failed("d", "", "")));
        assert_eq!(report.end("x"), 1);
    }
}
