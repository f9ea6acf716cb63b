//! The real mount(8), an fstab of our own, and findmnt.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::support::{run, run_with};

#[test]
fn mount_finds_the_helper_and_shows_the_source_as_it_was_given() {
    let script = r#"
install_akvfs
mount -t akvfs local: mnt -o ro,ttl=5s
findmnt --noheadings --output SOURCE,FSTYPE mnt
findmnt --noheadings --output OPTIONS mnt
ls mnt | grep -x secrets
umount mnt
fails 1 findmnt mnt
mount -t akvfs "local:$1/a vault.redb" mnt -v
findmnt --noheadings --output SOURCE mnt | sed "s:$1::"
"#;
    let Some(wrote) = run(script) else { return };
    let lines: Vec<&str> = wrote.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["local:", "fuse.akvfs"]);
    for word in ["ro", "nosuid", "nodev", "noexec", "noatime", "default_permissions"] {
        assert!(lines[1].split(',').any(|option| option == word), "{word}: {}", lines[1]);
    }
    assert!(!lines[1].contains("allow_other"));
    assert_eq!(lines[2], "secrets");
    assert!(lines[3].starts_with("mount.akvfs: local:") && lines[3].contains(" mounted on "), "{wrote}");
    assert_eq!(*lines.last().unwrap(), "local:/a vault.redb");
}

#[test]
fn fstab_is_mounted_once() {
    let script = r#"
install_akvfs
cat >fstab <<END
local: $1/mnt akvfs defaults,noauto,nofail,_netdev,user,x-systemd.automount,comment=vault,ttl=5s,umask=027 0 0
END
mount -T fstab mnt
mount -T fstab -a
mount -T fstab -a
grep -c "$1/mnt .* fuse.akvfs" /proc/self/mountinfo
stat -c %a mnt
umount mnt
sed -i s/noauto,// fstab
mount -T fstab -a
mount -T fstab -a
grep -c "$1/mnt .* fuse.akvfs" /proc/self/mountinfo
mkdir mnt/secrets/a
printf %s value | tee mnt/secrets/a/value
"#;
    let Some(wrote) = run(script) else { return };
    assert_eq!(wrote, "1\n750\n1\nvalue");
}

#[test]
fn a_failure_is_never_0() {
    let script = r#"
install_akvfs
fails 1 mount.akvfs
fails 1 mount.akvfs local: mnt -o tll=5s
fails 1 mount -t akvfs local: mnt -o tll=5s
fails 1 mount.akvfs local: mnt -t ext4
fails 1 mount -t akvfs has_underscore mnt
fails 2 mount.akvfs local: mnt -N /proc/self/ns/none
fails 32 mount.akvfs local: none
fails 32 mount -t akvfs http://127.0.0.1:1 mnt
mount -t akvfs local: mnt
fails 32 mount.akvfs local: mnt
"#;
    let Some(wrote) = run(script) else { return };
    let lines: Vec<&str> = wrote.lines().collect();
    let parts = [
        "SPEC is missing",
        "did you mean ttl?",
        "did you mean ttl?",
        "-t ext4 is not for this helper",
        "https://NAME.vault.azure.net",
        "cannot enter the mount namespace /proc/self/ns/none",
        "mkdir -p none",
        "http://127.0.0.1:1",
        "is mounted there already",
    ];
    assert_eq!(lines.len(), parts.len(), "{wrote}");
    for (line, part) in lines.iter().zip(parts) {
        assert!(line.starts_with("mount.akvfs: ") && line.contains(part), "{part}: {line}");
    }
}

#[test]
fn sloppy_and_fake_are_what_they_are_elsewhere() {
    let script = r#"
install_akvfs
mount.akvfs local: mnt -f -o ttl=5s
mount -f -v -t akvfs local: mnt
fails 1 findmnt mnt
fails 1 mount.akvfs local: mnt -sf -o token=canary
fails 1 mount.akvfs local: mnt -sf -o ttl=5
mount -s -t akvfs local: mnt -o of_another_world=5,ro
findmnt --noheadings --output FSTYPE mnt
"#;
    let Some(wrote) = run(script) else { return };
    assert!(wrote.contains("would be mounted on") && wrote.ends_with("fuse.akvfs\n"), "{wrote}");
    assert!(!wrote.contains("canary") && wrote.contains("write 5s for seconds"), "{wrote}");
}

#[test]
fn a_save_can_always_be_a_version_and_have_a_date() {
    let script = r#"
install_akvfs
save() { printf %s same | tee mnt/secrets/a/value >/dev/null; }
count() { ls mnt/secrets/a/versions | grep -cx '[0-9a-f]*'; }
mount -t akvfs local: mnt
mkdir mnt/secrets/a
save
save
count
grep -c expires_on mnt/secrets/a/.meta.json || true
umount mnt
mount -t akvfs local: mnt -o always_set,expires_in=2days
mkdir mnt/secrets/a
save
save
count
expires=$(sed -n 's/.*"expires_on": "\(.*\)".*/\1/p' mnt/secrets/a/.meta.json)
echo $((($(date -d "$expires" +%s) - $(date +%s) + 3600) / 86400))
"#;
    let Some(wrote) = run(script) else { return };
    assert_eq!(wrote, "1\n0\n2\n2\n");
}

#[test]
fn a_vault_that_wants_a_token_gets_that_of_the_credentials_file() {
    let script = r#"
install_akvfs
umask 077
echo canary-token >token
akvfs serve --listen 127.0.0.1:0 --token token >address 2>/dev/null &
eventually grep listening address
url=$(sed 's/listening on //' address)
fails 32 mount -t akvfs "$url" mnt
mount -t akvfs "$url" mnt -o credentials_file=token,final_newline=as_before
mkdir mnt/secrets/a
printf %s value | tee mnt/secrets/a/value >/dev/null
echo other | tee mnt/secrets/a/value >/dev/null
cat mnt/secrets/a/value
umount mnt
chmod 644 token
fails 32 mount -t akvfs "$url" mnt -o credentials_file=token
"#;
    let Some(wrote) = run(script) else { return };
    let lines: Vec<&str> = wrote.lines().collect();
    assert!(lines[0].starts_with("mount.akvfs: cannot mount http://127.0.0.1:"), "{wrote}");
    assert!(lines[1].starts_with("othermount.akvfs: cannot mount") && lines[1].contains("token"), "{wrote}");
    assert!(!wrote.contains("canary"), "{wrote}");
}

#[test]
fn a_config_file_gives_aliases() {
    let script = r#"
install_akvfs
printf '[aliases]\n"tls.crt" = "web-tls"\n' >akvfs.toml
mount -t akvfs local: mnt -o config=akvfs.toml
mkdir mnt/secrets/web-tls
printf %s value | tee mnt/secrets/web-tls/value >/dev/null
cat mnt/files/tls.crt
"#;
    let Some(wrote) = run(script) else { return };
    assert_eq!(wrote, "value");
}

#[test]
fn a_remount_is_refused_with_a_reason() {
    let script = r#"
install_akvfs
ln -s ../bin/akvfs /usr/sbin/mount.fuse.akvfs
mount -t akvfs local: mnt
fails 1 mount -o remount,ro mnt
fails 1 mount -t akvfs -o remount,ro local: mnt
findmnt --noheadings --output VFS-OPTIONS mnt
"#;
    let Some(wrote) = run(script) else { return };
    assert_eq!(wrote.matches("cannot be remounted").count(), 2, "{wrote}");
    assert!(wrote.lines().last().unwrap().starts_with("rw,"), "{wrote}");
}

#[test]
fn another_mount_namespace_can_be_named() {
    let script = r#"
install_akvfs
unshare --mount sleep 60 &
other=$!
eventually sh -c "[ \$(readlink /proc/$other/ns/mnt) != \$(readlink /proc/self/ns/mnt) ]"
mount -N $other -t akvfs local: "$1/mnt"
fails 1 findmnt mnt
nsenter --mount=/proc/$other/ns/mnt findmnt --noheadings --output FSTYPE "$1/mnt"
"#;
    let Some(wrote) = run(script) else { return };
    assert_eq!(wrote, "fuse.akvfs\n");
}

#[test]
fn mount_fuse_finds_it_too() {
    let script = r#"
[ -x /usr/sbin/mount.fuse ] || { echo SKIPPED; exit; }
install_akvfs
mount -t fuse.akvfs local: mnt -o ttl=5s
findmnt --noheadings --output SOURCE,FSTYPE mnt
fails 1 mount -t fuse.akvfs local: "$1" -o tll=5s
"#;
    let Some(wrote) = run(script) else { return };
    if wrote == "SKIPPED\n" {
        return skipped!("mount.fuse is missing (apt-get install fuse3)");
    }
    let lines: Vec<&str> = wrote.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["local:", "fuse.akvfs"]);
    assert!(lines[1].contains("did you mean ttl?"), "{wrote}");
}

#[test]
fn a_mount_made_by_somebody_else_is_served() {
    let script = r#"
[ -x /usr/sbin/mount.fuse ] || { echo SKIPPED; exit; }
install_akvfs
mount -t fuse.akvfs local: mnt -o drop_privileges
findmnt --noheadings --output FSTYPE mnt
daemon=$(daemon)
grep CapEff "/proc/$daemon/status"
mkdir mnt/secrets/a
printf %s value | tee mnt/secrets/a/value
cat mnt/secrets/a/value
umount mnt
eventually sh -c "! kill -0 $daemon"
fails 32 mount -t fuse.akvfs local: mnt -o drop_privileges,allow_other
umount mnt # who mounts unmounts, and mount.fuse does not
mount -t fuse.akvfs local: mnt -o drop_privileges,allow_other,default_permissions
as_user 1234 stat -c %u mnt
fails 2 as_user 1234 ls mnt
kill $(daemons)
eventually gone
"#;
    let Some(wrote) = run(script) else { return };
    if wrote == "SKIPPED\n" {
        return skipped!("mount.fuse is missing (apt-get install fuse3)");
    }
    assert!(wrote.contains("fuse.akvfs\nCapEff:\t0000000000000000\nvaluevalue"), "{wrote}");
    assert!(wrote.contains("-o allow_other,default_permissions") && wrote.contains("Permission denied"), "{wrote}");
}

#[test]
fn the_end_of_a_terminal_is_the_end_of_what_runs_in_its_foreground() {
    let script = r#"
install_akvfs
command -v script >/dev/null || { echo SKIPPED; exit; }
script --quiet --command "akvfs mount -f local: $1/mnt" /dev/null >/dev/null 2>&1 &
terminal=$!
eventually findmnt mnt
kill -9 $terminal
eventually sh -c "! findmnt mnt"
eventually gone
"#;
    if run(script).is_some_and(|wrote| wrote == "SKIPPED\n") {
        skipped!("script is missing (apt-get install bsdutils)");
    }
}

#[test]
fn a_daemon_logs_to_syslog_and_never_a_value() {
    let script = r#"
install_akvfs
mount -t tmpfs none /dev
mknod /dev/null c 1 3
mknod /dev/fuse c 10 229
ln -s "$SYSLOG" /dev/log
mount -t akvfs local: mnt
mkdir mnt/secrets/a
printf %s canary | tee mnt/secrets/a/value >/dev/null
umount mnt
eventually gone
"#;
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("log");
    let syslog = UnixDatagram::bind(&path).unwrap();
    syslog.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    if run_with(script, &[("SYSLOG", &path)]).is_none() {
        return;
    }
    let mut line = [0; 4096];
    let mut lines = Vec::new();
    while let Ok(length) = syslog.recv(&mut line) {
        lines.push(String::from_utf8_lossy(&line[..length]).into_owned());
    }
    assert!(lines[0].starts_with("<30>akvfs[") && lines[0].contains(" has mounted local: at "), "{lines:?}");
    assert!(lines.last().unwrap().ends_with("the mount ends: it was unmounted"), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains('\n') && !line.contains("canary")), "{lines:?}");
}

#[test]
fn a_daemon_logs_to_journald_with_fields() {
    let script = r#"
install_akvfs
mkdir -p /run/systemd/journal
mount -t tmpfs none /run/systemd/journal
ln -s "$JOURNAL" /run/systemd/journal/socket
mount -t akvfs local: mnt
mkdir mnt/elsewhere || true
umount mnt
eventually gone
"#;
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("journal");
    let journal = UnixDatagram::bind(&path).unwrap();
    journal.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    if run_with(script, &[("JOURNAL", &path)]).is_none() {
        return;
    }
    let mut datagram = [0; 4096];
    let mut all = Vec::new();
    while let Ok(length) = journal.recv(&mut datagram) {
        all.push(String::from_utf8_lossy(&datagram[..length]).into_owned());
    }
    assert!(all[0].contains("MESSAGE=akvfs ") && all[0].contains(" has mounted local: at "), "{all:?}");
    let error = all.iter().find(|event| event.contains("AKVFS_ERROR_PATH=elsewhere\n")).unwrap();
    for line in ["PRIORITY=4", "SYSLOG_IDENTIFIER=akvfs", "AKVFS_ERROR_OPERATION=mkdir", "AKVFS_ERROR_ERRNO=EPERM"] {
        assert!(error.lines().any(|have| have == line), "{line}: {error}");
    }
}
