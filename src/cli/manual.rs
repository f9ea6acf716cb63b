//! The manual pages. What they say of options comes from the one list and from the commands themselves.

use clap::{Arg, Command};
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::mount::options::{Auth, Entry, OPTIONS};

const SOURCES: &[(&str, &str)] = &[
    ("NAME", "a vault of the public cloud: https://NAME.vault.azure.net"),
    ("https://HOST", "a vault of any cloud, or one behind a name of your own"),
    ("http://127.0.0.1:PORT", "a vault that akvfs serve runs on this machine"),
    ("local:", "an embedded vault in memory, for trials and tests"),
    ("local:FILE", "an embedded vault that is kept in a file"),
];

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Done."),
    ("1", "Wrong usage."),
    ("2", "The machine said no."),
    ("32", "The mount or the unmount failed, or the doctor found what does not work."),
];

/// akvfs(1).
pub(super) fn akvfs(mut root: Command) -> String {
    root.build();
    let mut page = Roff::new();
    title(&mut page, "akvfs", "1", root.get_about().map(ToString::to_string).unwrap_or_default().trim_end_matches('.'));
    section(&mut page, "SYNOPSIS");
    for command in commands(&root) {
        page.text([bold(command.get_bin_name().unwrap_or_default()), roman(synopsis(command))]);
        page.control("br", []);
    }
    section(&mut page, "DESCRIPTION");
    page.text([roman(
        "akvfs shows the secrets of a vault as files: secrets/NAME/value is the current value of a secret, and what is \
         written there becomes a new version. It brings a vault of its own that speaks the same protocol.",
    )]);
    for command in commands(&root) {
        command_section(&mut page, command);
    }
    sources(&mut page);
    list_section(&mut page, "EXIT STATUS", EXIT_STATUS);
    environment(&mut page);
    see_also(&mut page, "mount.akvfs(8), mount(8), umount(8), fstab(5)");
    page.to_roff()
}

/// mount.akvfs(8).
pub(super) fn helper() -> String {
    let mut page = Roff::new();
    title(&mut page, "mount.akvfs", "8", "mount a vault, for mount(8)");
    section(&mut page, "SYNOPSIS");
    page.text([bold("mount -t akvfs"), roman(" [-o options] source directory")]);
    page.control("br", []);
    page.text([bold("mount.akvfs"), roman(" source directory [-sfnv] [-N namespace] [-o options] [-t type]")]);
    section(&mut page, "DESCRIPTION");
    page.text([roman(
        "mount(8) calls this helper for file systems of type akvfs. It returns when the tree can be used, or says in one \
         line why it cannot. The mount table shows the source as it was given, so mount -a mounts it once.",
    )]);
    sources(&mut page);
    list_section(&mut page, "FLAGS", FLAGS);
    section(&mut page, "OPTIONS");
    for entry in OPTIONS {
        let value = entry.placeholder().map_or_else(String::new, |value| format!("={value}"));
        let default = entry.default_text().map_or_else(String::new, |text| format!(". Default: {text}"));
        item(&mut page, [bold(entry.name), roman(value)], &format!("{}{default}.", entry.help));
    }
    page.control("PP", []);
    page.text([roman(format!(
        "A DURATION has a unit (500ms, 15s, 5min, 1h), a RATE is a number a second (400/s), a COUNT a whole number from 2 to 64 or off, a SIZE has a unit (64MiB), OCTAL \
         is permissions (0640), {}, a WAY is one of {}. Words of fstab(5) that mean nothing here are accepted and change \
         nothing; nosuid, nodev and noexec always hold; remount is refused. Secrets are never accepted as options.",
        choices(),
        Auth::WORDS.map(|(word, _)| word).join(", ")
    ))]);
    list_section(&mut page, "EXIT STATUS", EXIT_STATUS);
    environment(&mut page);
    section(&mut page, "EXAMPLE");
    page.text([roman("A line of fstab(5):")]);
    page.control("PP", []);
    page.text([bold("contoso /mnt/vault akvfs ro,ttl=10s,nofail,_netdev 0 0")]);
    see_also(&mut page, "akvfs(1), mount(8), fstab(5), systemd.mount(5)");
    page.to_roff()
}

/// Which words an option takes that takes one of two.
fn choices() -> String {
    let one = |entry: &Entry| entry.words().map(|[first, second]| format!("{} is {first} or {second}", entry.name));
    OPTIONS.iter().filter_map(one).collect::<Vec<_>>().join(", ")
}

const FLAGS: &[(&str, &str)] = &[
    ("-s", "Let options through that are not known here."),
    ("-f", "Check everything, mount nothing."),
    ("-n", "Nothing: there is no /etc/mtab."),
    ("-v", "Say what was done."),
    ("-N namespace", "Mount in another mount namespace, /proc/PID/ns/mnt."),
    ("-t type", "akvfs or fuse.akvfs."),
];

fn commands(root: &Command) -> impl Iterator<Item = &Command> {
    root.get_subcommands().filter(|command| !command.is_hide_set())
}

/// What stands behind the command's name.
fn synopsis(command: &Command) -> String {
    let options = if flags(command).next().is_some() { " [OPTIONS]" } else { "" };
    let places =
        command.get_positionals().map(|place| match place.is_required_set() || place.get_default_values().is_empty() {
            true => format!(" {}", value_of(place)),
            false => format!(" [{}]", value_of(place)),
        });
    format!("{options}{}", places.collect::<String>())
}

fn command_section(page: &mut Roff, command: &Command) {
    let heading = command.get_bin_name().unwrap_or_default().to_uppercase();
    section(page, &heading);
    page.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default() + ".")]);
    for place in command.get_positionals() {
        item(page, [italic(value_of(place)), roman("")], &help_of(place));
    }
    for flag in flags(command) {
        item(page, [bold(names_of(flag)), roman(behind(flag))], &help_of(flag));
    }
}

fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set() && arg.get_id() != "help")
}

fn names_of(flag: &Arg) -> String {
    let short = flag.get_short().map(|letter| format!("-{letter}"));
    let long = flag.get_long().map(|word| format!("--{word}"));
    short.into_iter().chain(long).collect::<Vec<_>>().join(", ")
}

fn behind(flag: &Arg) -> String {
    let takes = flag.get_action().takes_values();
    let optional = flag.get_num_args().is_some_and(|count| count.min_values() == 0);
    match (takes, optional) {
        (false, _) => String::new(),
        (true, true) => format!("[={}]", value_of(flag)),
        (true, false) => format!(" {}", value_of(flag)),
    }
}

fn value_of(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn help_of(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|_| !arg.is_hide_possible_values_set())
        .map(|value| value.get_name().to_owned())
        .collect();
    let defaults = if arg.get_action().takes_values() { arg.get_default_values() } else { &[] };
    let default = defaults.first().map(|value| format!(" [default: {}]", value.display()));
    let choice = if values.is_empty() { String::new() } else { format!(": {}", values.join(", ")) };
    format!("{help}{choice}{}.", default.unwrap_or_default())
}

fn title(page: &mut Roff, name: &str, number: &str, what: &str) {
    let version = format!("akvfs {}", env!("CARGO_PKG_VERSION"));
    page.control("TH", [name, number, "", version.as_str(), "akvfs"]);
    section(page, "NAME");
    page.text([roman(format!("{name} - {what}"))]);
}

fn section(page: &mut Roff, name: &str) {
    page.control("SH", [name]);
}

fn item(page: &mut Roff, head: [Inline; 2], text: &str) {
    page.control("TP", []);
    page.text(head);
    page.text([roman(text)]);
}

fn list_section(page: &mut Roff, name: &str, items: &[(&str, &str)]) {
    section(page, name);
    items.iter().for_each(|(head, text)| item(page, [bold(*head), roman("")], text));
}

fn sources(page: &mut Roff) {
    list_section(page, "SOURCE", SOURCES);
}

fn environment(page: &mut Roff) {
    section(page, "ENVIRONMENT");
    item(
        page,
        [bold("AKVFS_"), italic("OPTION")],
        "Each option of a mount, in capitals: AKVFS_TTL=10s, AKVFS_RO=true. The command line wins over it, and it wins over \
         the config file.",
    );
    item(
        page,
        [bold("AKVFS_LOG"), roman("")],
        "What is logged, to the standard error in the foreground, to journald or syslog in the background: error, warn, info, debug, trace. akvfs::vault=debug is of one part. While it runs, akvfs log changes it, and SIGUSR1 goes on to debug, trace, and back.",
    );
    item(
        page,
        [bold("AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET"), roman("")],
        "Who signs in, under auth=environment and auth=auto.",
    );
    item(page, [bold("HTTPS_PROXY, NO_PROXY"), roman("")], "The way to the vault.");
}

fn see_also(page: &mut Roff, pages: &str) {
    section(page, "SEE ALSO");
    page.text([roman(pages)]);
}
