//! Vaults whose name nobody knows, or that hang up in the middle of a TLS handshake: what every call says then.

use std::fs;
use std::time::{Duration, Instant};

use super::calls::{errno, write};
use super::harness::{Mount, can_mount};
use super::proxy::Proxy;

const OPTIONS: &str = "lazy_auth,auth=managed,timeout=2s,write_timeout=2s";
const LIMIT: Duration = Duration::from_millis(2_500 + 2_000);

/// What lists, reads, makes and restores say of this vault, each within its limit.
fn errnos_of(source: &str) -> Vec<i32> {
    let mount = Mount::new(source, OPTIONS);
    let first = |path| fs::read_dir(mount.path(path)).and_then(|mut names| names.next().unwrap());
    let calls: [&dyn Fn() -> i32; 5] = [
        &|| errno(first("secrets")),
        &|| errno(first("deleted")),
        &|| errno(fs::read(mount.path("secrets/a/value"))),
        &|| write(&mount.path("files/a"), b"new").0,
        &|| write(&mount.path("backup/a"), b"blob").0,
    ];
    let timed = |call: &&dyn Fn() -> i32| {
        let start = Instant::now();
        let number = call();
        assert!(start.elapsed() < LIMIT, "errno {number} after {:?}", start.elapsed());
        number
    };
    calls.iter().map(timed).collect()
}

#[test]
fn a_vault_whose_name_nobody_knows_cannot_be_reached() {
    if !can_mount() {
        return;
    }
    assert_eq!(errnos_of("https://nowhere.vault.invalid"), [libc::EHOSTUNREACH; 5]);
}

#[test]
fn a_vault_that_hangs_up_in_the_handshake_cannot_be_reached() {
    if !can_mount() {
        return;
    }
    let nobody = Proxy::to_nobody();
    assert_eq!(errnos_of(&format!("https://localhost:{}", nobody.port())), [libc::EHOSTUNREACH; 5]);
}
