//! `akvfs completions` and `akvfs man`: what packagers install, made from the same list as the options themselves.

use std::io::{self, Write};

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::{Cli, Failure, SYSTEM, manual};

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Which page: akvfs(1) or mount.akvfs(8)
    #[arg(default_value = "akvfs")]
    page: Page,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Page {
    #[value(name = "akvfs")]
    Akvfs,
    #[value(name = "mount.akvfs")]
    Helper,
}

/// Prints the completions of a shell.
pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "akvfs", &mut script);
    print(&script)
}

/// Prints a manual page, as man(1) reads it.
pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    let page = match args.page {
        Page::Akvfs => manual::akvfs(Cli::command()),
        Page::Helper => manual::helper(),
    };
    print(page.as_bytes())
}

pub(super) fn print(text: &[u8]) -> Result<(), Failure> {
    match io::stdout().write_all(text) {
        // A reader that went away wants no more of it.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure { code: SYSTEM, line: format!("standard output: {error}") })
        }
        _ => Ok(()),
    }
}
