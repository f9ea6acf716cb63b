//! The command line: parse, run, print one line on error, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    akvfs::cli::run(std::env::args_os().collect())
}
