//! `akvfs doctor SOURCE`: what works and what does not, with the remedy, before anybody mounts. Each check needs those
//! before it; what cannot be tried any more is said to be skipped. Nothing here waits without an end.
//!
//! - [`machine`]: the device and its helper.
//! - [`network`]: name and connection.
//! - [`rights`]: what the identity may do.
//! - [`report`]: how it is told.

mod machine;
mod network;
mod report;
mod rights;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use url::Url;

use super::{FAILED, Failure, USAGE, mount};
use crate::clock::{Clock, SystemClock};
use crate::mount::options::MountOptions;
use crate::mount::options::words::Word;
use crate::mount::session;
use crate::mount::source::Source;
use crate::store::{ErrorKind, Wait};
use crate::vault::SecretClient;

use report::{Line, Report};
use rights::Rights;

/// A clock that is off by more refuses tokens: Entra ID and its clients allow five minutes.
const MOST_AHEAD: i64 = 300;
/// More than this is no delay of an answer.
const NOTABLY_AHEAD: i64 = 30;

/// The arguments: those of a mount without DIR, and how much is tried.
#[derive(Debug)]
pub(super) struct DoctorArgs {
    source: String,
    words: Vec<Word>,
    json: bool,
    write: bool,
}

/// Examines, and fails if something does not work.
pub(super) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let options = mount::configured(&args.words)?.settings.mount;
    let source = Source::parse(&args.source).map_err(|error| Failure { code: USAGE, line: error.to_string() })?;
    let mut report = Report::new(args.json);
    machine::check(&mut report, &options);
    check_vault(&mut report, &source, &options, args.write);
    match report.end(&source.text) {
        0 => Ok(()),
        1 => Err(Failure { code: FAILED, line: "one check failed".to_owned() }),
        failed => Err(Failure { code: FAILED, line: format!("{failed} checks failed") }),
    }
}

fn check_vault(report: &mut Report, source: &Source, options: &MountOptions, write: bool) {
    let clock = SystemClock::shared();
    let (client, _server) = match session::connect(&source.vault, options, None, &clock) {
        Ok(connected) => connected,
        Err(error) => {
            report.add(Line::failed("options", error.to_string(), "see docs/sign-in.md and akvfs mount --help"));
            return;
        }
    };
    let Ok(address) = Url::parse(client.vault_url()) else { return };
    if !network::check(report, &address, options.timeout) {
        skip(report, &["tls", "challenge", "sign-in", "clock", "list", "get"], "there is no connection");
        return;
    }
    if !check_door(report, &client, &address, options, &*clock) {
        return;
    }
    let rights = Rights { client: &client, clock: &*clock, limit: options.timeout };
    rights.check_reading(report);
    if write {
        Rights { limit: options.write_timeout, ..rights }.check_changing(report);
    }
}

/// TLS, challenge, sign-in and clock.
fn check_door(
    report: &mut Report,
    client: &SecretClient,
    address: &Url,
    options: &MountOptions,
    clock: &dyn Clock,
) -> bool {
    let wait = || Wait::at_most(clock, options.timeout);
    let challenge = client.challenge(wait());
    let failed = challenge.as_ref().err().map(|error| error.kind);
    if !report.add(tls(address, options, failed, challenge.as_ref().err().map(ToString::to_string))) {
        skip(report, &["challenge", "sign-in", "clock", "list", "get"], "TLS is refused");
        return false;
    }
    let challenge = match challenge {
        Ok(challenge) => challenge,
        Err(error) => {
            report.add(Line::of("challenge", &error));
            skip(report, &["sign-in", "clock", "list", "get"], "the vault does not say what it wants");
            return false;
        }
    };
    let tenant = challenge.tenant.as_deref().unwrap_or("none named");
    report.add(Line::ok("challenge", format!("wants a token for {} of tenant {tenant}", challenge.scope)));
    report.add(clock_line(client.clock_ahead()));
    match client.sign_in(wait()) {
        Ok(claims) => report.add(Line::ok("sign-in", claims.map_or_else(nobody, |claims| format!("as {claims}")))),
        Err(error) => {
            report.add(Line::of("sign-in", &error));
            skip(report, &["list", "get"], "nobody is signed in");
            false
        }
    }
}

fn skip(report: &mut Report, checks: &[&'static str], why: &str) {
    checks.iter().for_each(|check| {
        report.add(Line::skipped(check, why));
    });
}

/// A connection was made before: what fails now before an answer is TLS.
fn tls(address: &Url, options: &MountOptions, failed: Option<ErrorKind>, said: Option<String>) -> Line {
    const CHECK: &str = "tls";
    match failed {
        _ if address.scheme() == "http" => Line::skipped(CHECK, "plain http:// to this machine"),
        Some(ErrorKind::Tls | ErrorKind::Unreachable) => {
            let remedy = "name the authority with -o ca_file; if none is expected, somebody stands between (a proxy that opens \
                          TLS); a certificate of the future or the past means that this machine's clock is wrong";
            Line::failed(CHECK, said.unwrap_or_default(), remedy)
        }
        Some(ErrorKind::TimedOut) => Line::skipped(CHECK, "no answer in time"),
        _ => match &options.ca_file {
            Some(file) => Line::ok(CHECK, format!("the certificate is accepted, with {}", file.display())),
            None => Line::ok(CHECK, "the certificate is accepted"),
        },
    }
}

fn clock_line(ahead: Option<i64>) -> Line {
    const CHECK: &str = "clock";
    const REMEDY: &str = "set this machine's clock (timedatectl set-ntp true)";
    let Some(ahead) = ahead else { return Line::skipped(CHECK, "the vault did not say what time it is") };
    let said = match ahead {
        -1..=1 => "agrees with the vault's".to_owned(),
        _ if ahead > 0 => format!("is {ahead} s behind the vault's"),
        _ => format!("is {} s ahead of the vault's", -ahead),
    };
    match ahead.abs() {
        off if off > MOST_AHEAD => Line::failed(CHECK, said, REMEDY),
        off if off > NOTABLY_AHEAD => Line::warning(CHECK, said, REMEDY),
        _ => Line::ok(CHECK, said),
    }
}

fn nobody() -> String {
    "with a token that names nobody (a local vault takes any)".to_owned()
}

impl Args for DoctorArgs {
    fn augment_args(command: Command) -> Command {
        let flag =
            |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
        let command = command
            .arg(Arg::new("source").value_name("SOURCE").required(true).help("What would be mounted"))
            .arg(flag("json", "Print one JSON document"))
            .arg(flag(
                "write",
                "Try set, backup, delete, recover and purge too, on a secret akvfs-doctor-… of its own that it removes",
            ));
        mount::with_options(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for DoctorArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self {
            source: matches.get_one::<String>("source").cloned().unwrap_or_default(),
            words: mount::words_of(matches)?,
            json: matches.get_flag("json"),
            write: matches.get_flag("write"),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::report::State;
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told_which_way() {
        for (ahead, state, part) in [
            (Some(0), State::Ok, "agrees"),
            (Some(-1), State::Ok, "agrees"),
            (Some(20), State::Ok, "20 s behind"),
            (Some(31), State::Warning, "31 s behind"),
            (Some(-90), State::Warning, "90 s ahead"),
            (Some(301), State::Failed, "301 s behind"),
            (None, State::Skipped, "did not say"),
        ] {
            let line = clock_line(ahead);
            assert_eq!(line.state, state, "{ahead:?}");
            assert!(line.said.contains(part), "{line:?}");
        }
    }
}
