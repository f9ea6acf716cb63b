use std::os::unix::fs::PermissionsExt;

use super::super::words::parse_list;
use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn gather(line: &str, variables: &[(&str, &str)]) -> Result<Configured, OptionError> {
    Configured::gather(&parse_list(line).unwrap(), &environment(variables))
}

fn file(text: &str) -> (tempfile::TempDir, String) {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("akvfs.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (temporary, path)
}

fn refused(text: &str) -> String {
    let (_temporary, path) = file(text);
    let said = gather(&format!("config={path}"), &[]).expect_err(text).to_string();
    said.replace(&path, "FILE")
}

fn seconds(configured: &Configured) -> u64 {
    configured.settings.mount.ttl.as_secs()
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let (_temporary, path) = file("ttl = \"1s\"\ntimeout = \"7s\"\n");
    let named = format!("config={path}");
    let of_ttl = |all: &Configured| all.origin(find("ttl").unwrap()).cloned();

    let all = gather(&named, &[]).unwrap();
    assert_eq!((seconds(&all), of_ttl(&all)), (1, Some(Origin::File(path.clone().into()))));
    let all = gather(&named, &[("AKVFS_TTL", "2s")]).unwrap();
    assert_eq!((seconds(&all), of_ttl(&all)), (2, Some(Origin::Environment("AKVFS_TTL".to_owned()))));
    let all = gather(&format!("ttl=3s,{named}"), &[("AKVFS_TTL", "2s")]).unwrap();
    assert_eq!((seconds(&all), of_ttl(&all)), (3, Some(Origin::CommandLine)));
    assert_eq!(all.settings.mount.timeout.as_secs(), 7);
    assert_eq!(all.origin(find("auth").unwrap()), None);
}

#[test]
fn a_flag_of_a_lower_place_can_be_taken_back() {
    let (_temporary, path) = file("ro = true\nallow_purge = true\nfile-mode = \"0440\"\n");
    let named = format!("config={path}");
    assert!(gather(&named, &[]).unwrap().settings.mount.read_only);
    assert!(!gather(&format!("{named},rw"), &[]).unwrap().settings.mount.read_only);
    let all = gather(&named, &[("AKVFS_ALLOW_PURGE", "false"), ("AKVFS_RW", "true")]).unwrap();
    assert!(!all.settings.mount.allow_purge && !all.settings.mount.read_only);
    assert_eq!(all.settings.mount.file_mode, Some(0o440));
}

#[test]
fn the_file_can_be_named_in_the_environment() {
    let (_temporary, path) = file("ttl = \"1s\"\n");
    assert_eq!(seconds(&gather("", &[("AKVFS_CONFIG", &path)]).unwrap()), 1);
    assert_eq!(seconds(&gather(&format!("config={path}"), &[("AKVFS_CONFIG", "/no/such")]).unwrap()), 1);
}

#[test]
fn other_variables_are_nobodys_business() {
    let all = gather("", &[("AKVFS_LOG", "debug"), ("AKVFS_TEST_X", "1"), ("TTL", "1s")]).unwrap();
    assert_eq!(all, Configured::default());
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    assert_eq!(refused("tll = \"1s\"\n"), "FILE: unknown option tll; did you mean ttl?");
    assert!(refused("ttl = 15\n").starts_with("FILE: option ttl=15: a duration needs a unit"));
    assert!(refused("file_mode = 640\n").contains("write it as text, such as \"0640\""));
    assert!(refused("ttl = [1]\n").contains("write a text between double quotes"));
    assert!(refused("config = \"/x\"\n").contains("cannot name another"));
    assert!(refused("ttl = true\n").contains("write a text"));
    let said = gather("", &[("AKVFS_TTL", "15")]).unwrap_err().to_string();
    assert!(said.starts_with("AKVFS_TTL: option ttl=15: "), "{said}");
    assert!(gather("config=/no/such", &[]).unwrap_err().to_string().starts_with("config file /no/such: No such file"));
}

#[test]
fn no_line_of_the_file_is_repeated() {
    let said = refused("ttl = \"1s\"\npassword = canary\n");
    assert!(said.contains("line 2") && !said.contains("canary"), "{said}");
    assert!(!refused("password = \"canary\"\n").contains("canary"));
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let (_temporary, path) = file("ttl = \"1s\"\n");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o660)).unwrap();
    assert!(gather(&format!("config={path}"), &[]).unwrap_err().to_string().ends_with("chmod go-w it"));
    assert!(gather("config=/dev/null", &[]).unwrap_err().to_string().ends_with("it is not a file"));
}

#[test]
fn the_report_is_a_file_that_says_the_same() {
    let all = gather("ro,uid=7,file_mode=0440,cache_size=1MiB,ca_file=/etc/ca.pem", &[("AKVFS_TTL", "2s")]).unwrap();
    let report = all.report();
    for line in [
        "ro = true                        # command line",
        "ttl = \"2s\"                       # environment, AKVFS_TTL",
    ] {
        assert!(report.contains(line), "{report}");
    }
    assert!(report.contains("# gid is not set\n") && report.contains("auth = \"auto\"                    # default\n"));
    let (_temporary, path) = file(&report);
    let mut again = gather(&format!("config={path}"), &[]).unwrap().settings;
    again.config = None;
    assert_eq!(again, all.settings);
}

#[test]
fn aliases_stand_in_a_table_of_their_own() {
    let (_temporary, path) = file("ttl = \"1s\"\n[aliases]\n\"tls.crt\" = \"web-tls\"\n");
    let all = gather(&format!("config={path}"), &[]).unwrap();
    let aliases: Vec<_> =
        all.settings.mount.aliases.iter().map(|(name, secret)| (name.as_str(), secret.as_str())).collect();
    assert_eq!(aliases, [("tls.crt", "web-tls")]);
    assert!(all.report().ends_with("\n[aliases]\n\"tls.crt\" = \"web-tls\"\n"), "{}", all.report());
    for wrong in [
        "aliases = 7",
        "[aliases]\nx = 7",
        "[aliases]\nx = \"a_b\"",
        "[aliases]\n\"a/b\" = \"c\"",
        "[aliases]\n\"..\" = \"c\"",
    ] {
        assert!(refused(&format!("{wrong}\n")).starts_with("config file FILE: [aliases] "), "{wrong}");
    }
}

#[test]
fn rules_stand_in_tables_of_their_own() {
    let text = "ttl = \"1s\"\n[[rules]]\nsecrets = \"web-*\"\nowner = \"root\"\ngroup = 33\nmode = \"0440\"\n\
                [[rules]]\nsecrets = \"*\"\nmode = \"0400\"\n[aliases]\n\"a.b\" = \"c\"\n";
    let (_temporary, path) = file(text);
    let all = gather(&format!("config={path}"), &[]).unwrap();
    let rules = &all.settings.mount.rules;
    assert_eq!((rules.len(), rules[0].owner, rules[0].group, rules[0].mode), (2, Some(0), Some(33), Some(0o440)));
    assert_eq!((rules[1].secrets.as_str(), rules[1].owner, rules[1].mode), ("*", None, Some(0o400)));
    let (_again, report) = file(&all.report());
    assert_eq!(gather(&format!("config={report}"), &[]).unwrap().settings.mount.rules, *rules);
}

#[test]
fn a_rule_that_is_none_is_told_what_to_write() {
    for (rule, part) in [
        ("rules = 1\n", "[[rules]] has lines such as"),
        ("[[rules]]\nowner = 1\n", "secrets = \"web-*\""),
        ("[[rules]]\nsecrets = \"a b\"\n", "letters, digits and dashes"),
        ("[[rules]]\nsecrets = \"a\"\nwner = 1\n", "has no wner"),
        ("[[rules]]\nsecrets = \"a\"\nowner = \"no-such-user\"\n", "write its number"),
        ("[[rules]]\nsecrets = \"a\"\nowner = -1\n", "owner: write the number"),
        ("[[rules]]\nsecrets = \"a\"\nmode = \"0999\"\n", "mode: write permissions"),
        ("[[rules]]\nsecrets = \"a\"\nmode = 440\n", "mode = \"0440\""),
    ] {
        let said = refused(rule);
        assert!(said.contains(part), "{rule}: {said}");
    }
}
