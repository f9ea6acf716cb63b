//! The units in `dist/`. No systemd runs here: they are verified, and what they run is run as they would run it.

use super::support::run;

/// What gives a service a mount namespace of its own (systemd.exec(5)), in which its mount would be hidden.
const HIDING: &[&str] = &[
    "ProtectSystem",
    "ProtectHome",
    "PrivateTmp",
    "PrivateDevices",
    "PrivateMounts",
    "PrivateUsers",
    "PrivateIPC",
    "ProtectKernelTunables",
    "ProtectKernelModules",
    "ProtectKernelLogs",
    "ProtectControlGroups",
    "ProtectProc",
    "ProcSubset",
    "ProtectHostname",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "InaccessiblePaths",
    "NoExecPaths",
    "ExecPaths",
    "BindPaths",
    "BindReadOnlyPaths",
    "TemporaryFileSystem",
    "MountFlags",
    "RootDirectory",
    "RootImage",
    "MountImages",
    "ExtensionImages",
    "DynamicUser",
    "LogNamespace",
    "MountAPIVFS",
];

fn service() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/dist/systemd/akvfs@.service")).unwrap()
}

fn settings(unit: &str) -> Vec<(&str, &str)> {
    unit.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect()
}

#[test]
fn the_service_hides_its_mount_from_nobody() {
    let unit = service();
    for (name, _) in settings(&unit) {
        assert!(!HIDING.contains(&name), "{name}= gives the service a mount namespace of its own");
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let script = r#"
command -v systemd-analyze >/dev/null || { echo SKIPPED; exit; }
install_akvfs
cp "$HERE"/dist/systemd/* "$HERE"/dist/examples/*mount .
cp akvfs@.service akvfs@contoso.service
systemd-analyze verify --man=no ./akvfs@contoso.service ./mnt-vault.mount ./mnt-vault.automount 2>&1
systemd-analyze security --offline=true --threshold=50 --no-pager ./akvfs@contoso.service >security 2>&1 || cat security
"#;
    let Some(wrote) = run(script) else { return };
    if wrote == "SKIPPED\n" {
        return skipped!("systemd-analyze is missing (apt-get install systemd)");
    }
    assert_eq!(wrote, "", "an exposure of at most 5.0, and nothing to verify");
}

#[test]
fn what_the_service_may_do_is_enough() {
    let unit = service();
    let (_, kept) = settings(&unit).into_iter().find(|(name, _)| *name == "CapabilityBoundingSet").unwrap();
    let kept: String =
        kept.split(' ').map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase())).collect();
    let script = r#"
install_akvfs
export AKVFS_SOURCE=local: AKVFS_DIR="$1/home/vault"
mkdir -p home/vault
chown -R 1234 home
chmod 700 home
export AKVFS_ALLOW_OTHER=true AKVFS_UMASK=022
setpriv --bounding-set=-all,KEPT --no-new-privs akvfs mount --foreground "$AKVFS_SOURCE" "$AKVFS_DIR" 2>log &
service=$!
eventually test -d home/vault/secrets
mkdir home/vault/secrets/a
printf %s value | tee home/vault/secrets/a/value
as_user 1234 cat home/vault/secrets/a/value
kill -HUP $service
eventually grep 'looking again' log
kill $service
wait $service
fails 1 findmnt home/vault
"#;
    let Some(wrote) = run(&script.replace(",KEPT", &kept)) else { return };
    assert_eq!(wrote, "valuevalue");
}
