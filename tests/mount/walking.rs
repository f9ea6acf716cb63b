//! Programs that read everything, in the order in which they find it: each value is asked for once, and the next ones before
//! the program comes to them. That it is faster is for `scripts/bench`; here it is counted.

use std::time::Duration;

use akvfs::local::ServeOptions;

use super::harness::{Vault, World, has};

const SECRETS: usize = 60;

fn world(options: &str) -> Option<World> {
    let names: Vec<_> = (0..SECRETS).map(|number| format!("name-{number:03}")).collect();
    let secrets: Vec<_> = names.iter().map(|name| (name.as_str(), "needle")).collect();
    // So long that requests which need not wait for each other overlap.
    let slow = ServeOptions { latency: Duration::from_millis(2), ..ServeOptions::default() };
    World::of(Vault::with(slow, &secrets)?, options)
}

#[test]
fn who_reads_everything_asks_once_for_each_value() {
    for (needs, script, lines) in [
        ("cat", r#"cat "$M"/secrets/*/value | grep -o needle | wc -l"#, SECRETS),
        ("grep", r#"grep -rho needle "$M/files" | wc -l"#, SECRETS),
        ("ls", r#"ls -l "$M/files" | grep -c ' 6 '"#, SECRETS),
        ("tar", r#"tar c -C "$M" files | tar t | grep -c name"#, SECRETS),
        ("cp", r#"cp -r "$M/files" "$T/copy" && cat "$T"/copy/* | grep -o needle | wc -l"#, SECRETS),
        ("bash", r#"for f in "$M"/files/*; do cat "$f"; echo; done | grep -c needle"#, SECRETS),
    ] {
        for options in ["ro", "rw"] {
            if !has(needs) {
                skipped!("{needs} is not installed: {script}");
                continue;
            }
            let Some(world) = world(options) else { return };
            assert_eq!(world.bash("", script).ok().trim(), lines.to_string(), "{options}: {script}");
            assert_eq!(world.vault.requests("get"), SECRETS as u64, "{options}: {script}");
        }
    }
}

#[test]
fn who_reads_one_value_asks_for_one() {
    for options in ["ro", "rw"] {
        let Some(world) = world(options) else { return };
        world.bash("name-007", r#"ls "$M/secrets" > "$T/names"; cat "$V" "$M/files/$N"; stat "$V""#).ok();
        world.bash("name-042", r#"cat "$V""#).ok();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(world.vault.requests("get"), 2, "{options}");
    }
}

#[test]
fn one_cold_value_is_one_request() {
    for options in ["ro", "rw"] {
        let Some(world) = world(options) else { return };
        let mounted = world.vault.server.request_count();
        assert_eq!(world.bash("name-007", r#"cat "$V""#).ok(), "needle");
        assert_eq!(world.vault.server.request_count(), mounted + 1, "{options}");
    }
}
