//! A line on a terminal while a command waits. Without a terminal it says nothing.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::clock::{Clock, Moment};

/// How often the line is written anew, at most.
const REDRAW: Duration = Duration::from_millis(100);
/// Back to the line's beginning, and clear it (ECMA-48: CR, EL).
const CLEAR: &str = "\r\x1b[K";

/// How far something is. The line goes when this is dropped.
pub(super) struct Progress<'a> {
    clock: &'a dyn Clock,
    what: &'a str,
    shown: bool,
    last: Option<Moment>,
}

impl<'a> Progress<'a> {
    /// Nothing of `what` yet.
    pub fn new(clock: &'a dyn Clock, what: &'a str) -> Self {
        let shown = io::stderr().is_terminal();
        Self { clock, what, shown, last: None }
    }

    /// So much of it, so far.
    pub fn at(&mut self, count: usize) {
        let now = self.clock.moment();
        let due = self.last.is_none_or(|last| now.since(last) >= REDRAW);
        if self.shown && due {
            self.last = Some(now);
            draw(&format!("{CLEAR}{}: {count}", self.what));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.last.is_some() {
            draw(CLEAR);
        }
    }
}

fn draw(text: &str) {
    // A terminal that went away needs no progress.
    let _ = io::stderr().write_all(text.as_bytes());
}
