//! The command line from outside: exit codes, the one line that says what is wrong, and `docs/options.md`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
#[path = "support/skipped.rs"]
mod skipped;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use akvfs::mount::options::{Auth, OPTIONS};

fn akvfs(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_akvfs")).args(words).output().unwrap()
}

/// Runs it, expects `code` and one line, and gives that line.
fn refused(code: i32, words: &[&str]) -> String {
    let output = akvfs(words);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {line}");
    assert!(output.stdout.is_empty(), "{words:?}");
    assert!(line.starts_with("akvfs: ") && line.matches('\n').count() == 1 && line.ends_with('\n'), "{line:?}");
    line
}

fn told(words: &[&str]) -> String {
    let output = akvfs(words);
    assert_eq!(output.status.code(), Some(0), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_and_version_are_no_failure() {
    let help = told(&["--help"]);
    for command in ["mount", "unmount", "status", "refresh", "log", "list", "doctor", "serve", "completions", "man"] {
        assert!(help.contains(command), "{help}");
    }
    assert!(told(&["mount", "--help"]).contains("--write-timeout <DURATION>"));
    assert!(told(&["--version"]).starts_with("akvfs "));
}

#[test]
fn wrong_usage_is_1() {
    for (words, part) in [
        (&[][..], "no command; see akvfs --help"),
        (&["mount"], "<SOURCE> <DIR>"),
        (&["mount", "local:"], "<DIR>"),
        (&["local:"], "<DIR>"),
        (&["mount", "local:", "/tmp", "more"], "'more'"),
        (&["unmount"], "<DIR>"),
        (&["unmount", "--force", "/tmp"], "'--force'"),
    ] {
        let line = refused(1, words);
        assert!(line.contains(part), "{words:?}: {line}");
    }
}

#[test]
fn a_bad_option_is_1_and_told_what_to_write() {
    for (words, part) in [
        (&["-o", "tll=3s"][..], "unknown option tll; did you mean ttl?"),
        (&["--tll", "3s"], "unknown option tll; did you mean ttl?"),
        (&["-o", "kerberos"], "unknown option kerberos; akvfs mount --help lists the options"),
        (&["-o", "ro,ttl=15"], "write 15s for seconds"),
        (&["--ttl", "15"], "write 15s for seconds"),
        (&["--max-writes=30"], "write 30/s"),
        (&["--auth", "kerberos"], "write one of auto, environment"),
        (&["-o", "ro=1"], "write true or false"),
    ] {
        let line = refused(1, &[&["mount", "local:", "/tmp"], words].concat());
        assert!(line.contains(part), "{words:?}: {line}");
    }
}

#[test]
fn what_is_in_force_is_printed_with_its_origin() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("akvfs.toml");
    std::fs::write(&file, "ttl = \"10s\"\ntimeout = \"7s\"\n").unwrap();
    let printed = Command::new(env!("CARGO_BIN_EXE_akvfs"))
        .args(["mount", "--print-config", "-o", "ro", "--config"])
        .arg(&file)
        .env("AKVFS_TIMEOUT", "8s")
        .output()
        .unwrap();
    let said = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(printed.status.code(), Some(0));
    for (option, origin) in [
        ("ro = true", "# command line".to_owned()),
        ("ttl = \"10s\"", format!("# {}", file.display())),
        ("timeout = \"8s\"", "# environment, AKVFS_TIMEOUT".to_owned()),
        ("write_timeout = \"30s\"", "# default".to_owned()),
    ] {
        let line = said.lines().find(|line| line.starts_with(option)).unwrap();
        assert!(line.ends_with(&origin), "{line}");
    }
    std::fs::write(&file, "tll = \"10s\"\n").unwrap();
    let line = refused(1, &["mount", "--print-config", "--config", file.to_str().unwrap()]);
    assert!(line.ends_with(": unknown option tll; did you mean ttl?\n"), "{line}");
}

#[test]
fn a_secret_in_an_option_is_refused_and_not_repeated() {
    for word in ["--token=canary", "--client-secret=canary", "-otoken=canary", "-opassword=canary", "-obogus=canary"] {
        let line = refused(1, &["mount", "local:", "/tmp", word]);
        assert!(!line.contains("canary"), "{line}");
    }
    assert!(refused(1, &["mount", "local:", "/tmp", "--password", "canary"]).contains("AZURE_CLIENT_SECRET"));
    assert!(!refused(1, &["mount", "https://joe:canary@contoso.vault.azure.net", "/tmp"]).contains("canary"));
}

#[test]
fn a_bad_source_is_1() {
    assert!(refused(1, &["mount", "has_underscore", "/tmp"]).contains("https://NAME.vault.azure.net"));
    assert!(refused(1, &["mount", "http://vault.example", "/tmp"]).contains("for this machine only"));
}

#[test]
fn a_mount_that_fails_is_32_and_names_source_directory_reason_and_remedy() {
    if !Path::new("/dev/fuse").exists() {
        skipped!("/dev/fuse is missing");
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let missing = temporary.path().join("missing");
    let missing = missing.to_str().unwrap();
    for words in [&["mount", "local:", missing][..], &["local:", missing], &["-f", "local:", missing]] {
        let line = refused(32, words);
        assert!(line.starts_with(&format!("akvfs: cannot mount local: at {missing}: ")), "{line}");
    }
    if point_can_be_tried() {
        assert!(refused(32, &["mount", "local:", missing]).ends_with(&format!("make it: mkdir -p {missing}\n")));
        let file = temporary.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(refused(32, &["mount", "local:", file.to_str().unwrap()]).contains("is not a directory"));
    }
}

/// Without the device the line is about the device.
fn point_can_be_tried() -> bool {
    akvfs::mount::point::check_device().is_ok()
}

#[test]
fn unmounting_what_is_no_mount_is_32() {
    let temporary = tempfile::tempdir().unwrap();
    let plain = temporary.path().to_str().unwrap();
    assert!(refused(32, &["unmount", plain]).contains("is not mounted"));
    assert!(refused(32, &["umount", plain]).contains("is not mounted"));
    assert!(refused(32, &["unmount", "--lazy", "/proc"]).contains("is a mount of proc, not of akvfs"));
    assert!(refused(32, &["unmount", "/no/such/place"]).contains("No such file or directory"));
}

#[test]
fn a_bad_log_filter_is_1() {
    let output = Command::new(env!("CARGO_BIN_EXE_akvfs"))
        .args(["-f", "local:", "/no/such/place"])
        .env("AKVFS_LOG", "akvfs=loud")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("AKVFS_LOG=akvfs=loud"));
}

#[test]
fn the_manual_pages_name_every_option_and_man_reads_them() {
    for (page, title) in [("akvfs", ".TH akvfs 1"), ("mount.akvfs", ".TH mount.akvfs 8")] {
        let text = told(&["man", page]);
        assert!(text.contains(title), "{page}");
        for entry in OPTIONS {
            let word = if page == "akvfs" { entry.flag() } else { entry.name.to_owned() };
            assert!(text.replace("\\-", "-").contains(&word), "{page}: {word}");
        }
        check_with("man", &["--warnings", "-l", "-"], &text);
    }
    assert_eq!(told(&["man"]), told(&["man", "akvfs"]));
    assert!(refused(1, &["man", "mount"]).contains("akvfs, mount.akvfs"));
}

#[test]
fn completions_complete() {
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        check_with(shell, &[check, "/dev/stdin"], &told(&["completions", shell]));
    }
    let ask = "COMP_WORDS=(akvfs mount --write); COMP_CWORD=2; _akvfs akvfs --write mount; echo \"${COMPREPLY[*]}\"";
    let found = check_with("bash", &["/dev/stdin"], &format!("{}\n{ask}\n", told(&["completions", "bash"])));
    assert_eq!(found.as_deref().map(str::trim), Some("--write-timeout"));
    assert!(refused(1, &["completions", "sh"]).contains("bash"));
}

/// Gives `text` to a program, which must have nothing to say against it; what it wrote. `None`, and a loud word, where the
/// program is missing.
fn check_with(program: &str, words: &[&str], text: &str) -> Option<String> {
    let mut input = tempfile::NamedTempFile::new().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    let ran = Command::new(program).args(words).stdin(input.reopen().unwrap()).output();
    let Ok(output) = ran else {
        skipped!("{program} is missing (apt-get install {program})");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{program}: {said}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// `docs/options.md` is written from the list: `AKVFS_WRITE_DOCS=1 cargo test --test cli options` does it.
#[test]
fn the_options_page_says_what_the_list_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/options.md");
    if std::env::var_os("AKVFS_WRITE_DOCS").is_some() {
        std::fs::write(&path, options_page()).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page == options_page(), "docs/options.md is old; AKVFS_WRITE_DOCS=1 cargo test --test cli writes it anew");
}

fn options_page() -> String {
    let rows: String = OPTIONS
        .iter()
        .map(|entry| {
            let value = entry.placeholder().map_or_else(String::new, |value| format!("={value}"));
            let default = entry.default_text().map_or_else(String::new, |text| format!("`{text}`"));
            format!("| `{}{value}` | `--{}` | {default} | {} |\n", entry.name, entry.flag(), entry.help)
        })
        .collect();
    let choices: Vec<_> = OPTIONS.iter().filter_map(|entry| Some((entry.name, entry.words()?))).collect();
    let choices = choices.iter().map(|(name, [first, second])| format!("`{name}` is `{first}` or `{second}`"));
    let choices = choices.collect::<Vec<_>>().join(", ");
    let ways = Auth::WORDS.map(|(word, _)| format!("`{word}`")).join(", ");
    format!(
        "# Options of a mount\n\n\
         Every option is a word of `-o`, a long flag of `akvfs mount`, a variable and a key of the config file. In names `_` \
         and `-` are the\nsame, but variables have `_` and capitals: `AKVFS_WRITE_TIMEOUT`.\n\n\
         | `-o` | flag | default | |\n|---|---|---|---|\n{rows}\n\
         - DURATION has a unit: `500ms`, `15s`, `5min`, `1h 30min`, `2days`. A bare number is refused.\n\
         - RATE is a number a second: `400/s`.\n\
         - COUNT is a whole number from 2 to 64, or `off`: `16`.\n\
         - SIZE has a unit: `B`, `kB`, `KiB`, `MiB`, `GiB`.\n\
         - NUMBER is a user's or a group's; mount(8) turns a name into it, akvfs alone does not.\n\
         - OCTAL is permissions as chmod(1) has them: `0640`.\n\
         - FILE is a path. One with a comma stands between double quotes in `-o`: `ca_file=\"/etc/a,b.pem\"`.\n\
         - WORD is one of two: {choices}.\n\
         - WAY is one of {ways}.\n\
         - COMMAND is a line for the shell: `on_change='systemctl reload nginx'`.\n\
         - An option that shows no `=` here is on when it is named; `=false` switches it off.\n\n\
         ## Which one wins\n\n\
         The command line wins over the environment, the environment over the config file, the file over the default. On \
         the command line lists\nand flags count in the order in which they stand; of two that differ the last wins.\n\n    \
         akvfs mount --print-config contoso /mnt -o ro,config=/etc/akvfs.toml\n\n\
         mounts nothing and prints what would be in force and where each comes from. What it prints is a config file itself:\n\n    \
         ro = true                        # command line\n    \
         ttl = \"10s\"                      # /etc/akvfs.toml\n    \
         write_timeout = \"30s\"            # default\n\n\
         The config file is TOML, one option a line. Permissions are text (`file_mode = \"0640\"`), numbers of users are \
         numbers. It must\nbelong to root or to who mounts, and nobody else may be able to write to it: it decides who can \
         read secrets.\n\n\
         Its table `[aliases]` gives secrets the names that programs insist on, in `files/`:\n\n    \
         [aliases]\n    \"tls.crt\" = \"web-tls\"\n\n\
         ## Who can read\n\n\
         Without `allow_other` only the user who mounts gets in, root not excepted. With it, others get as far as `uid`, `gid`, \
         `umask`,\n`file_mode` and `dir_mode` let them; the kernel checks that (`default_permissions` always holds). `umask` \
         counts from 0666 for files\nand 0777 for directories. A user other than root may say `allow_other` only where \
         `/etc/fuse.conf` says `user_allow_other`.\n\n\
         Rules in the config file give single secrets' files to others; of several that fit the first counts. `owner` and `group` are\n\
         names of `/etc/passwd` and `/etc/group`, or numbers:\n\n    \
         [[rules]]\n    secrets = \"web-*\"          # * is any letters, ? is one\n    owner = \"www-data\"\n    group = \"ssl-cert\"\n    \
         mode = \"0440\"\n\n\
         They hold for a secret's directory (which who may read may search), its values, versions, certificate and properties, and \
         for its\nfile in `files/`; not for `backup/`. With `owner_tags` the tags `akvfs-owner`, `akvfs-group` and `akvfs-mode` of a \
         secret say the same\nwhere no rule fits: whoever may write to the vault then decides who reads on this machine. A tag that makes \
         no sense says nothing.\nUsers of such secrets need a way in: `allow_other,dir_mode=0711`.\n\n\
         ## Other words\n\n\
         Words of fstab that mean nothing here (`defaults`, `noauto`, `nofail`, `_netdev`, `user`, `x-…` and their like) are \
         accepted and\nchange nothing; `nodev`, `nosuid` and `noexec` always hold. `remount` is refused: options hold until the \
         vault is unmounted. Any other\nword is an error that names the nearest option, but for `mount -s`, which lets it \
         through.\n\n\
         Secrets are never accepted as options, since every user of a machine can see a command line: `token=`, `password=`,\n\
         `client_secret=` and their like are refused by name.\n"
    )
}
