//! `akvfs mount SOURCE DIR`: flags and `-o` become one [`Settings`], then a daemon carries the mount.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::log::{self, Levels};
use super::{FAILED, Failure, USAGE};
use crate::mount::daemon::{self, DaemonError, Job};
use crate::mount::inherited;
use crate::mount::options::layers::Configured;
use crate::mount::options::words::{Word, parse_list};
use crate::mount::options::{Entry, OPTIONS, OptionError, Settings};
use crate::mount::point::{self, Place};
use crate::mount::session::{self, Charge, Log, Session};
use crate::mount::source::Source;
use crate::mount::unmount::Own;

/// The flag, and its name among the arguments.
const PRINT_CONFIG: &str = "print-config";
/// The arguments. The flags are not derived: they come from the one list.
#[derive(Debug)]
pub(super) struct MountArgs {
    source: Option<String>,
    dir: Option<PathBuf>,
    words: Vec<Word>,
    print_config: bool,
}

/// Mounts, or says what would be in force.
pub(super) fn run(args: MountArgs) -> Result<(), Failure> {
    let configured = configured(&args.words)?;
    match (args.source, args.dir) {
        _ if args.print_config => {
            print!("{}", configured.report());
            Ok(())
        }
        (Some(source), Some(dir)) => mount(&source, &dir, &configured.settings),
        _ => Err(Failure { code: USAGE, line: "SOURCE and DIR are needed; see akvfs mount --help".to_owned() }),
    }
}

/// What the words of a command line, the environment and the config file say together.
pub(super) fn configured(words: &[Word]) -> Result<Configured, Failure> {
    let environment = std::env::vars_os().collect();
    Configured::gather(words, &environment).map_err(|error| Failure { code: USAGE, line: error.to_string() })
}

/// Mounts `source` at `dir`; returns when the tree is usable, in the foreground when it is gone.
pub(super) fn mount(source: &str, dir: &Path, settings: &Settings) -> Result<(), Failure> {
    let source = Source::parse(source).map_err(|error| Failure { code: USAGE, line: error.to_string() })?;
    let failed = |reason: String| Failure {
        code: FAILED,
        line: format!("cannot mount {source} at {}: {reason}", dir.display()),
    };
    if !settings.foreground {
        inherited::close();
    }
    let levels = Arc::new(log::start(settings)?);
    let place = point::prepare(dir).map_err(failed)?;
    point::check_others(&settings.mount, &place).map_err(failed)?;
    let job = job(source.clone(), &place, settings, levels.clone());
    let ended = match settings.foreground {
        true => daemon::in_foreground(job, settings.mount_timeout),
        false => daemon::in_background(job, settings.mount_timeout),
    };
    levels.flush();
    ended.map_err(|error| match error {
        DaemonError::NotStarted(reason) => failed(reason),
        DaemonError::Broken(reason) => {
            Failure { code: FAILED, line: format!("{source} at {}: {reason}", dir.display()) }
        }
    })
}

fn job(source: Source, place: &Place, settings: &Settings, levels: Arc<Levels>) -> Job<Session> {
    let (settings, start_at, abandoned) = (settings.clone(), place.clone(), place.clone());
    let charge = Charge::new(&source.vault, place, &settings.mount);
    let attended = levels.clone();
    let own = Own::default();
    let started = own.clone();
    Job {
        attend: Box::new(move |socket| {
            // Without that thread its lines are lost, and nothing else.
            let _ = attended.start_writing();
            charge.attend(socket);
            attended.flush();
        }),
        start: Box::new(move |attendant| {
            levels.start_writing().map_err(|error| format!("the log has no thread: {error}"))?;
            levels.clone().cycle_on_signal().map_err(|error| format!("signals cannot be caught: {error}"))?;
            session::start(&source, &start_at, &settings, levels, attendant, &started)
                .map_err(|error| error.to_string())
        }),
        serve: Box::new(|session, stop| {
            let ended = session.wait(stop).map_err(|error| error.to_string());
            ended.inspect_err(|reason| tracing::error!("the mount ended badly: {reason}"))
        }),
        abandon: Arc::new(move || {
            if let Place::Directory(dir) = &abandoned {
                own.abandon(dir);
            }
        }),
    }
}

impl Args for MountArgs {
    fn augment_args(command: Command) -> Command {
        let command =
            command
                .arg(Arg::new("source").value_name("SOURCE").required_unless_present(PRINT_CONFIG).help(
                    "https://NAME.vault.azure.net, NAME, https://HOST:PORT, or an embedded vault: local: (in memory), \
                 local:FILE",
                ))
                .arg(
                    Arg::new("dir")
                        .value_name("DIR")
                        .required_unless_present(PRINT_CONFIG)
                        .value_parser(value_parser!(PathBuf))
                        .help("Where"),
                )
                .arg(Arg::new(PRINT_CONFIG).long(PRINT_CONFIG).action(ArgAction::SetTrue).help(
                    "Mount nothing; print the options in force as a config file that says where each comes from",
                ));
        with_options(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The options of a mount, as `-o` and as flags.
pub(super) fn with_options(command: Command) -> Command {
    let command =
        command.arg(Arg::new("o").short('o').value_name("OPT,…").action(ArgAction::Append).help(
            "Options, apart by commas; each of the flags below is one (ttl=5s). Of two that differ the last wins",
        ));
    OPTIONS.iter().fold(command, |command, entry| command.arg(flag_of(entry)))
}

fn flag_of(entry: &Entry) -> Arg {
    let default = entry.default_text().map_or_else(String::new, |text| format!(" [default: {text}]"));
    let flag = Arg::new(entry.name).long(entry.flag()).help(format!("{}{default}", entry.help));
    let flag = if entry.flag() == entry.name { flag } else { flag.alias(entry.name) };
    let flag = if entry.name == "foreground" { flag.short('f') } else { flag };
    match entry.placeholder() {
        Some(value) => flag.value_name(value).action(ArgAction::Append),
        None => flag
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .hide_possible_values(true)
            .action(ArgAction::Append),
    }
}

impl FromArgMatches for MountArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self {
            source: matches.get_one::<String>("source").cloned(),
            dir: matches.get_one::<PathBuf>("dir").cloned(),
            words: words_of(matches)?,
            print_config: matches.get_flag(PRINT_CONFIG),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The words of lists and flags in the order in which they were written, so that the last wins.
pub(super) fn words_of(matches: &ArgMatches) -> Result<Vec<Word>, clap::Error> {
    in_order(matches).map_err(|error| clap::Error::raw(clap::error::ErrorKind::ValueValidation, error))
}

fn in_order(matches: &ArgMatches) -> Result<Vec<Word>, OptionError> {
    let mut given: Vec<(usize, Vec<Word>)> = Vec::new();
    for (at, list) in values(matches, "o") {
        given.push((at, parse_list(list)?));
    }
    for entry in OPTIONS {
        let word = |value: &str| Word { name: entry.name.to_owned(), value: Some(value.to_owned()) };
        given.extend(values(matches, entry.name).map(|(at, value)| (at, vec![word(value)])));
    }
    given.sort_by_key(|(at, _)| *at);
    Ok(given.into_iter().flat_map(|(_, words)| words).collect())
}

fn values<'a>(matches: &'a ArgMatches, name: &str) -> impl Iterator<Item = (usize, &'a str)> {
    let places = matches.indices_of(name).into_iter().flatten();
    let texts = matches.get_many::<String>(name).into_iter().flatten();
    places.zip(texts.map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::options::Auth;
    use crate::mount::options::layers::Environment;
    use std::time::Duration;

    fn settings(line: &str) -> Settings {
        let command = MountArgs::augment_args(Command::new("mount"));
        let matches = command.try_get_matches_from(format!("mount local: /mnt {line}").split_whitespace()).unwrap();
        let words = MountArgs::from_arg_matches(&matches).unwrap().words;
        Configured::gather(&words, &Environment::new()).unwrap().settings
    }

    #[test]
    fn a_flag_and_its_word_are_the_same() {
        assert_eq!(settings("--ro --auth local --max-requests 9/s"), settings("-o ro,auth=local -o max_requests=9/s"));
        assert_eq!(settings("--purge_after 2h --allow_purge"), settings("--purge-after=2h --allow-purge"));
        assert_eq!(settings("-f"), settings("-o foreground"));
        assert_eq!(settings("--auth azd").mount.auth, Auth::Azd);
        assert_eq!(settings(""), Settings::default());
    }

    #[test]
    fn the_last_wins_between_lists_and_flags() {
        let ttl = |line| settings(line).mount.ttl.as_secs();
        assert_eq!(ttl("--ttl 1s -o ttl=2s"), 2);
        assert_eq!(ttl("-o ttl=2s --ttl 1s"), 1);
        assert_eq!(ttl("-o ttl=2s --ttl 1s -o ttl=3s,ro"), 3);
        assert_eq!(ttl("--ttl 1s --ttl 4s"), 4);
        assert!(!settings("--ro --rw").mount.read_only);
        assert!(settings("--rw --ro").mount.read_only);
        assert!(settings("--ro -o rw --ro").mount.read_only);
        assert!(!settings("--ro -o rw").mount.read_only);
        assert!(!settings("--ro --ro=false").mount.read_only);
        assert!(settings("--ro=false --ro").mount.read_only);
    }

    #[test]
    fn every_default_is_told() {
        let help = MountArgs::augment_args(Command::new("mount")).render_help().to_string();
        for entry in OPTIONS {
            assert!(help.contains(&format!("--{}", entry.flag())), "{}", entry.name);
        }
        assert!(help.contains("[default: 400/s]") && help.contains("[default: 1h]"));
        assert_eq!(settings("").mount.purge_after, Duration::from_secs(3600));
    }
}
