//! The command line: parse, run, print one line on error, exit.

use std::process::ExitCode;

use akvfs::memory::Wiping;

#[global_allocator]
static MEMORY: Wiping = Wiping;

fn main() -> ExitCode {
    akvfs::cli::run(std::env::args_os().collect())
}
