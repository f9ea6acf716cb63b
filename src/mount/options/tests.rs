use super::words::{SECRETS, SWALLOWED, Word, parse_list};
use super::*;

fn parse(list: &str) -> Result<Settings, OptionError> {
    let mut all = Settings::default();
    parse_list(list)?.iter().try_for_each(|word| all.apply(&word.name, word.value.as_deref())).map(|()| all)
}

fn message(list: &str) -> String {
    parse(list).expect_err(list).to_string()
}

#[test]
fn the_audit_goes_where_the_options_say() {
    use crate::mount::audit::Target;
    let target = |words: &str| {
        let mut settings = Settings::default();
        words.split(',').filter(|word| !word.is_empty()).for_each(|word| {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            settings.apply(name, value).expect("an option");
        });
        settings.audit_target()
    };
    let file = || Some(Target::File("/var/log/a".into()));
    for (words, expected) in [
        ("", None),
        ("audit", Some(Target::Syslog)),
        ("audit,foreground", Some(Target::Stderr)),
        ("audit_file=/var/log/a", file()),
        ("audit_file=/var/log/a,foreground", file()),
    ] {
        assert!(target(words) == expected, "{words}");
    }
}

#[test]
fn every_option_is_read() {
    let all = parse(
        "ro,allow_purge,purge_after=2h,delete_delay=3s,ttl=1min,timeout=5s,write_timeout=6s,max_requests=10/s,\
         max_writes=2/s,auth=azcli,ca_file=/etc/ca.pem,foreground,client_id=abc,lazy_auth,cache_size=1MiB,prefetch=4,\
         kernel_ttl=7s,idle_ttl=20min,kernel_cache=off,max_stale=0s,on_change=true,negative_ttl=8s,uid=1,gid=2,umask=027,file_mode=640,dir_mode=0750,allow_other,\
         default_permissions,final_newline=as_before,credentials_file=/etc/akvfs/login,always_set,expires_in=90days,\
         owner_tags,log_format=json,audit,audit_file=/var/log/akvfs.audit,mount_timeout=9s,config=/etc/akvfs.toml",
    )
    .unwrap();
    let expected = MountOptions {
        read_only: true,
        allow_purge: true,
        purge_after: Duration::from_secs(7200),
        delete_delay: Duration::from_secs(3),
        ttl: Duration::from_secs(60),
        timeout: Duration::from_secs(5),
        write_timeout: Duration::from_secs(6),
        max_requests: 10,
        max_writes: 2,
        auth: Auth::AzCli,
        final_newline_as_before: true,
        credentials_file: Some("/etc/akvfs/login".into()),
        aliases: BTreeMap::new(),
        always_set: true,
        expires_in: Some(Duration::from_secs(90 * 86_400)),
        client_id: Some("abc".to_owned()),
        ca_file: Some("/etc/ca.pem".into()),
        lazy_auth: true,
        cache_size: 1 << 20,
        prefetch: 4,
        no_kernel_cache: true,
        kernel_ttl: Duration::from_secs(7),
        idle_ttl: Duration::from_secs(1200),
        max_stale: Duration::ZERO,
        on_change: Some("true".to_owned()),
        negative_ttl: Duration::from_secs(8),
        uid: Some(1),
        gid: Some(2),
        umask: Some(0o27),
        file_mode: Some(0o640),
        dir_mode: Some(0o750),
        allow_other: true,
        default_permissions: true,
        rules: Vec::new(),
        owner_tags: true,
        audit: true,
        audit_file: Some("/var/log/akvfs.audit".into()),
    };
    let config = Some("/etc/akvfs.toml".into());
    let mount_timeout = Duration::from_secs(9);
    assert_eq!(all, Settings { mount: expected, foreground: true, mount_timeout, log_json: true, config });
}

#[test]
fn defaults_read_back_as_themselves() {
    for entry in OPTIONS {
        if let Some(text) = entry.default_text() {
            assert_eq!(parse(&format!("{}={text}", entry.name)), Ok(Settings::default()), "{}", entry.name);
        }
    }
}

#[test]
fn names_are_one_each_and_plain() {
    for (at, entry) in OPTIONS.iter().enumerate() {
        assert!(entry.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", entry.name);
        assert!(OPTIONS[..at].iter().all(|other| other.name != entry.name), "{} twice", entry.name);
        assert!(!SWALLOWED.contains(&entry.name) && !SECRETS.contains(&entry.name), "{}", entry.name);
    }
}

#[test]
fn dashes_and_underscores_are_alike() {
    assert_eq!(parse("purge-after=2h,allow-purge"), parse("purge_after=2h,allow_purge"));
}

#[test]
fn the_last_word_wins() {
    assert!(!parse("ro,rw").unwrap().mount.read_only);
    assert!(parse("rw,ro").unwrap().mount.read_only);
    assert_eq!(parse("ttl=1s,ttl=2s").unwrap().mount.ttl, Duration::from_secs(2));
}

#[test]
fn words_of_fstab_change_nothing() {
    let words = "defaults,noauto,nofail,_netdev,x-systemd.automount,x-systemd.idle-timeout=60,dev,suid,user=joe";
    assert_eq!(parse(words), Ok(Settings::default()));
    assert_eq!(parse(",, ,"), Ok(Settings::default()));
}

#[test]
fn an_unknown_word_is_told_the_nearest() {
    assert_eq!(message("tll=3s"), "unknown option tll; did you mean ttl?");
    assert_eq!(message("write-timout=3s"), "unknown option write-timout; did you mean write_timeout?");
    assert_eq!(message("kerberos"), "unknown option kerberos; akvfs mount --help lists the options");
}

#[test]
fn a_secret_is_refused_without_being_repeated() {
    for name in ["token", "password", "client_secret", "client-secret", "Password"] {
        let said = message(&format!("{name}=canary"));
        assert!(said.contains("AZURE_CLIENT_SECRET") && !said.contains("canary"), "{said}");
    }
    assert!(!message("passwort=canary").contains("canary"));
}

#[test]
fn values_are_checked() {
    assert_eq!(message("ttl=15"), "option ttl=15: a duration needs a unit: write 15s for seconds");
    assert_eq!(message("timeout=0s"), "option timeout=0s: it must be longer than nothing");
    assert_eq!(message("max_writes=30"), "option max_writes=30: a rate needs a unit: write 30/s");
    assert_eq!(message("ttl"), "option ttl needs a value: write ttl=30s");
    assert_eq!(message("ca_file="), "option ca_file needs a value: write ca_file=FILE");
    assert_eq!(message("ro=yes"), "option ro=yes: write true or false, or the word alone");
    assert_eq!(message("final_newline=never"), "option final_newline=never: write keep or as_before");
    assert_eq!(message("uid"), "option uid needs a value: write uid=NUMBER");
    for wrong in ["1", "65", "many", "16/s"] {
        let expected = format!("option prefetch={wrong}: write a number from 2 to 64, or off");
        assert_eq!(message(&format!("prefetch={wrong}")), expected);
    }
    assert_eq!(parse("prefetch=off").unwrap().mount.prefetch, 0);
    assert_eq!(message("cache_size=64"), "option cache_size=64: a size needs a unit (KiB, MiB, GiB): write 64MiB");
    assert!(message("auth=kerberos").contains("azcli"));
    assert_eq!(parse("ttl=0s").unwrap().mount.ttl, Duration::ZERO);
}

#[test]
fn a_relative_file_becomes_absolute() {
    let expected = std::env::current_dir().unwrap().join("ca.pem");
    assert_eq!(parse("ca_file=ca.pem").unwrap().mount.ca_file, Some(expected));
}

#[test]
fn a_flag_can_be_taken_back() {
    assert!(!parse("ro,ro=false").unwrap().mount.read_only);
    assert!(parse("rw=false").unwrap().mount.read_only);
    assert!(!parse("allow_other=true,allow_other=false").unwrap().mount.allow_other);
}

#[test]
fn commas_between_quotes_part_nothing() {
    let word = |name: &str, value: Option<&str>| Word { name: name.to_owned(), value: value.map(str::to_owned) };
    let words = parse_list("ro,ca_file=\"/a,b\",, x=y=z").unwrap();
    assert_eq!(words, [word("ro", None), word("ca_file", Some("/a,b")), word("x", Some("y=z"))]);
    assert_eq!(parse_list("ca_file=\"/a,b"), Err(OptionError::Quote));
}

#[test]
fn a_mount_cannot_be_changed() {
    assert!(message("remount,ro").contains("cannot be remounted"));
}

#[test]
fn permissions_come_from_the_nearest_word() {
    let modes = |list| {
        let mount = parse(list).unwrap().mount;
        (mount.mode_of_files(), mount.mode_of_directories())
    };
    assert_eq!(modes(""), (0o600, 0o700));
    assert_eq!(modes("ro"), (0o400, 0o500));
    assert_eq!(modes("umask=027"), (0o640, 0o750));
    assert_eq!(modes("umask=027,ro"), (0o440, 0o550));
    assert_eq!(modes("umask=027,file_mode=0400"), (0o400, 0o750));
    assert_eq!(modes("ro,dir_mode=0711"), (0o400, 0o711));
}

#[test]
fn in_short_is_what_differs_and_can_be_read_back() {
    assert_eq!(Settings::default().in_short(), "");
    let all = parse("rw,ttl=10min,ro,allow_purge,max_writes=7/s,auth=azcli,ca_file=/a/ca.pem,timeout=15s").unwrap();
    assert_eq!(all.in_short(), "ro,ttl=10m,max_writes=7/s,allow_purge,auth=azcli,ca_file=/a/ca.pem");
    assert_eq!(parse(&all.in_short()), Ok(all));
    let odd = parse("ca_file=\"/a,b\",uid=7,umask=027").unwrap();
    assert_eq!(odd.in_short(), "ca_file=\"/a,b\",uid=7,umask=0027");
    assert_eq!(parse(&odd.in_short()), Ok(odd));
}
