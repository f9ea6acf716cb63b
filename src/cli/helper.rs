//! `mount.akvfs`: what mount(8) calls.

use std::ffi::OsString;

use super::{Failure, SYSTEM, USAGE, mount};
use crate::mount::helper::{self, Call};
use crate::mount::options::words::{Word, is_known, parse_list};
use crate::mount::process;
use crate::mount::source::Source;

/// What a program finds other programs by when nobody has said: mount(8) drops PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the command line of a helper, without its name.
pub(super) fn run(words: &[OsString]) -> Result<(), Failure> {
    if words.iter().any(|word| word == "-h" || word == "--help") {
        println!("usage: {}\nmount.akvfs(8) says more; akvfs mount --help lists the options", helper::USAGE);
        return Ok(());
    }
    if words.iter().any(|word| word == "-V" || word == "--version") {
        println!("mount.akvfs {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    set_path();
    let usage = |line: String| Failure { code: USAGE, line };
    let call = Call::parse(words).map_err(|error| usage(error.to_string()))?;
    let words = words_of(&call).map_err(|error| usage(error.to_string()))?;
    if let Some(namespace) = &call.namespace {
        process::enter_mount_namespace(namespace).map_err(|error| Failure {
            code: SYSTEM,
            line: format!("cannot enter the mount namespace {}: {error}", namespace.display()),
        })?;
    }
    let configured = mount::configured(&words)?;
    if call.fake {
        Source::parse(&call.source).map_err(|error| usage(error.to_string()))?;
    } else {
        mount::mount(&call.source, &call.dir, &configured.settings)?;
    }
    if call.verbose {
        let done = if call.fake { "would be mounted" } else { "mounted" };
        println!("mount.akvfs: {} {done} on {}", call.source, call.dir.display());
    }
    Ok(())
}

fn words_of(call: &Call) -> Result<Vec<Word>, crate::mount::options::OptionError> {
    let mut words = Vec::new();
    for list in &call.lists {
        words.extend(parse_list(list)?);
    }
    if call.sloppy {
        words.retain(|word| is_known(&word.name));
    }
    Ok(words)
}

fn set_path() {
    if std::env::var_os("PATH").is_none() {
        // SAFETY: the command line has just been read; there is one thread.
        unsafe { std::env::set_var("PATH", PATH) };
    }
}
