//! `akvfs status DIR`: how a mount is, for people; once, or again and again.

mod text;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::mounted::Mounted;
use super::{Failure, pages};
use crate::clock::{Clock, SystemClock};

use text::Frame;

/// What stands on a terminal whose size is not known.
const USUAL: (usize, usize) = (80, 24);

/// ECMA-48: to the upper left corner; what is behind the end of a line or of the text is cleared.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K\n";
const CLEAR_BELOW: &str = "\x1b[J";

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Where the vault is mounted, or any place in it
    dir: PathBuf,
    /// Print .akvfs/status.json as it is
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// Show it again and again, with what happened in between, until it is interrupted
    #[arg(long, short = 'w')]
    watch: bool,
    /// How often
    #[arg(long, value_name = "TIME", default_value = "1s", requires = "watch", value_parser = humantime::parse_duration)]
    interval: Duration,
}

/// Prints it.
pub(super) fn run(args: &StatusArgs) -> Result<(), Failure> {
    let mounted = Mounted::at(&args.dir)?;
    if args.json {
        return pages::print(format!("{:#}\n", mounted.status()?).as_bytes());
    }
    let clock = SystemClock::shared();
    let mut last = look(&mounted, &*clock)?;
    if !args.watch {
        return pages::print(last.text(None).as_bytes());
    }
    let is_terminal = io::stdout().is_terminal();
    let interval = args.interval.max(Duration::from_millis(100));
    let mut before = None;
    while show(&last.text(before.as_ref()), is_terminal, before.is_none()) {
        clock.sleep(interval);
        before = Some(std::mem::replace(&mut last, look(&mounted, &*clock)?));
    }
    Ok(())
}

fn look(mounted: &Mounted, clock: &dyn Clock) -> Result<Frame, Failure> {
    Ok(Frame { status: mounted.status()?, errors: mounted.errors()?, at: clock.moment() })
}

/// Columns and rows of the terminal.
fn window() -> (usize, usize) {
    terminal_size::terminal_size().map_or(USUAL, |(columns, rows)| (columns.0.into(), rows.0.into()))
}

/// As much of it as fits: a line that is broken, or one below the last, would move what stands above it.
fn cut(text: &str, (columns, rows): (usize, usize)) -> String {
    let fits = |line: &str| line.chars().take(columns).collect::<String>() + CLEAR_LINE;
    text.lines().take(rows.saturating_sub(1)).map(fits).collect()
}

/// Whether anybody still looks.
fn show(text: &str, is_terminal: bool, first: bool) -> bool {
    let shown = match is_terminal {
        true => {
            let clear = if first { CLEAR_BELOW } else { "" };
            format!("{HOME}{clear}{}{CLEAR_BELOW}", cut(text, window()))
        }
        false => format!("{text}\n"),
    };
    let mut out = io::stdout();
    out.write_all(shown.as_bytes()).and_then(|()| out.flush()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_broken_and_none_stands_below_the_last() {
        assert_eq!(cut("one\ntwo\nthree\n", (80, 24)), "one\x1b[K\ntwo\x1b[K\nthree\x1b[K\n");
        assert_eq!(cut("one\ntwo\nthr\u{e4}ee\n", (4, 4)), "one\x1b[K\ntwo\x1b[K\nthr\u{e4}\x1b[K\n");
        assert_eq!(cut("one\ntwo\nthree\n", (4, 2)), "one\x1b[K\n");
        assert_eq!(cut("one\n", (0, 0)), "");
    }
}
