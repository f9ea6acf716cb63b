//! The commands, one file each. Here: which one is meant, what it prints when it fails, and its exit code.

mod doctor;
mod helper;
mod levels;
mod list;
mod log;
mod manual;
mod mount;
mod mounted;
mod pages;
mod progress;
mod refresh;
mod serve;
mod status;
mod unmount;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use crate::mount::helper::is_called_so;
use crate::mount::options;

/// Wrong usage; as mount(8) has it.
const USAGE: u8 = 1;
/// The machine said no (a port in use, a file that cannot be read); as mount(8) has it.
const SYSTEM: u8 = 2;
/// A mount or an unmount failed; as mount(8) has it.
const FAILED: u8 = 32;

/// Mounts the secrets of an Azure Key Vault as a directory tree.
#[derive(Debug, Parser)]
#[command(name = "akvfs", version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Mount a vault; returns when the tree is usable ("akvfs SOURCE DIR" is the same)
    Mount(mount::MountArgs),
    /// Unmount
    #[command(visible_alias = "umount")]
    Unmount(unmount::UnmountArgs),
    /// Say how a mount is
    Status(status::StatusArgs),
    /// Ask the vault anew, for secrets that others have changed
    Refresh(refresh::RefreshArgs),
    /// Show or change what a mount logs
    Log(levels::LogArgs),
    /// List the mounts of this machine
    List(list::ListArgs),
    /// Say what works and what does not, with the remedy, before anything is mounted
    Doctor(doctor::DoctorArgs),
    /// Run a local vault that speaks Key Vault's secrets API, for development and tests
    Serve(serve::ServeArgs),
    /// Print a shell's completions
    Completions(pages::CompletionsArgs),
    /// Print a manual page
    Man(pages::ManArgs),
}

/// Why a command failed: what to print and the exit code.
#[derive(Debug)]
struct Failure {
    code: u8,
    line: String,
}

/// Runs the command line `words`, the first of which is the program. Prints one line on failure.
pub fn run(words: Vec<OsString>) -> ExitCode {
    let as_helper = words.first().is_some_and(|program| is_called_so(program));
    let (name, done) =
        if as_helper { ("mount.akvfs", helper::run(&words[1..])) } else { ("akvfs", run_command(with_command(words))) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{name}: {}", in_one_line(&failure.line));
            ExitCode::from(failure.code)
        }
    }
}

fn run_command(words: Vec<OsString>) -> Result<(), Failure> {
    match Cli::try_parse_from(&words) {
        Ok(cli) => cli.command.run(),
        Err(error) => not_parsed(&words, &error),
    }
}

impl Command {
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Mount(args) => mount::run(args),
            Self::Status(args) => status::run(&args),
            Self::Refresh(args) => refresh::run(&args),
            Self::Log(args) => levels::run(&args),
            Self::List(args) => list::run(&args),
            Self::Doctor(args) => doctor::run(&args),
            Self::Unmount(args) => unmount::run(&args),
            Self::Completions(args) => pages::completions(&args),
            Self::Man(args) => pages::man(&args),
            Self::Serve(args) => serve::run(args).map_err(|error| Failure { code: SYSTEM, line: error.to_string() }),
        }
    }
}

/// `akvfs SOURCE DIR …` means mount: libfuse's mount.fuse calls it so.
fn with_command(mut words: Vec<OsString>) -> Vec<OsString> {
    let means_mount = words.get(1).is_some_and(|first| !is_command(first));
    if means_mount {
        words.insert(1, "mount".into());
    }
    words
}

fn is_command(word: &OsStr) -> bool {
    let about_us = ["-h", "--help", "-V", "--version"].iter().any(|flag| *flag == word);
    about_us
        || Cli::command()
            .get_subcommands()
            .any(|command| command.get_name_and_visible_aliases().iter().any(|name| *name == word))
}

/// What clap makes of words that are no command: the help or the version, asked for, is none of our failures.
fn not_parsed(words: &[OsString], error: &clap::Error) -> Result<(), Failure> {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(Failure { code: USAGE, line: "no command; see akvfs --help".to_owned() });
    }
    if error.use_stderr() {
        return Err(Failure { code: USAGE, line: usage_line(words, error) });
    }
    // A reader of the help that went away wants no more of it.
    let _ = error.print();
    Ok(())
}

/// What clap found wrong, in one line. An unknown flag of a mount gets the answer that it would get as a word of
/// `-o`, without its value, which may be a secret.
fn usage_line(words: &[OsString], error: &clap::Error) -> String {
    let of_mount = words.get(1).is_some_and(|command| command == "mount" || command == "doctor");
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) if of_mount && flag.starts_with("--") => {
            options::refusal(flag.trim_start_matches('-')).to_string()
        }
        (ErrorKind::ValueValidation, _) => said_by_clap(error),
        _ => format!("{}; see akvfs --help", said_by_clap(error)),
    }
}

/// Its message without the usage and the hint that follow.
fn said_by_clap(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let ends = |line: &&str| line.starts_with("Usage:") || line.starts_with("For more information");
    let said: Vec<&str> = text.trim_start_matches("error: ").lines().take_while(|line| !ends(line)).collect();
    in_one_line(&said.join(" "))
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_commands_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_source_in_the_place_of_a_command_means_mount() {
        assert_eq!(with_command(words("akvfs local: /mnt -o ro")), words("akvfs mount local: /mnt -o ro"));
        assert_eq!(with_command(words("akvfs -f local: /mnt")), words("akvfs mount -f local: /mnt"));
        for line in ["akvfs", "akvfs --help", "akvfs -V", "akvfs mount x /mnt", "akvfs umount /mnt", "akvfs serve"] {
            assert_eq!(with_command(words(line)), words(line));
        }
    }
}
