use super::words::{SECRETS, SWALLOWED};
use super::*;

fn parse(list: &str) -> Result<Settings, OptionError> {
    let mut all = Settings::default();
    all.apply_list(list).map(|()| all)
}

fn message(list: &str) -> String {
    parse(list).expect_err(list).to_string()
}

#[test]
fn every_option_is_read() {
    let all = parse(
        "ro,allow_purge,purge_after=2h,delete_delay=3s,ttl=1min,timeout=5s,write_timeout=6s,max_requests=10/s,\
         max_writes=2/s,auth=azcli,ca_file=/etc/ca.pem,foreground",
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
        ca_file: Some("/etc/ca.pem".into()),
    };
    assert_eq!(all, Settings { mount: expected, foreground: true });
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
    assert_eq!(message("allow_other"), "unknown option allow_other; akvfs mount --help lists the options");
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
    assert_eq!(message("ro=yes"), "option ro takes no value");
    assert!(message("auth=kerberos").contains("azcli"));
    assert_eq!(parse("ttl=0s").unwrap().mount.ttl, Duration::ZERO);
}

#[test]
fn a_relative_file_becomes_absolute() {
    let expected = std::env::current_dir().unwrap().join("ca.pem");
    assert_eq!(parse("ca_file=ca.pem").unwrap().mount.ca_file, Some(expected));
}

#[test]
fn in_short_is_what_differs_and_can_be_read_back() {
    assert_eq!(Settings::default().in_short(), "");
    let mut all = Settings::default();
    all.apply_list("rw,ttl=10min,ro,allow_purge,max_writes=7/s,auth=azcli,ca_file=/a/ca.pem,timeout=15s").unwrap();
    assert_eq!(all.in_short(), "ro,ttl=10m,max_writes=7/s,allow_purge,auth=azcli,ca_file=/a/ca.pem");
    let mut again = Settings::default();
    again.apply_list(&all.in_short()).unwrap();
    assert_eq!(again, all);
}
