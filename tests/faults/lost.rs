//! Replies that are lost after the vault has carried out what was asked.

use std::time::Duration;

use akvfs::local::{Fault, FaultKind, Operation, ServeOptions};

use super::harness::{Vault, World};
use super::soak;

/// Writers at a time, each on a secret of its own.
const WRITERS: usize = 4;
/// Saves of one script, which has a limit.
const AT_ONCE: usize = 5;
/// For all of a soak.
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn every_save_whose_reply_is_lost_is_one_version_and_one_request() {
    let secrets = ["a", "b", "c", "d"].map(|name| (name, "before"));
    let Some(vault) = Vault::with(ServeOptions::default(), &secrets) else { return };
    let world = World::lasting(vault, "max_writes=10000/s,max_requests=10000/s", LONG);
    let saves = soak::sized(500, 10_000) / WRITERS;
    let before = world.vault.requests("set");
    world.vault.server.inject(Fault { operation: Some(Operation::Set), count: u32::MAX, kind: FaultKind::LoseReply });
    let script = |from: usize, to: usize| {
        format!(
            r#"for i in $(seq {from} {to}); do
                 printf "$N $i" > "$T/$N" && cp "$T/$N" "$V" && [ "$(cat "$V")" = "$N $i" ] || exit 1
               done"#
        )
    };
    std::thread::scope(|scope| {
        for (name, _) in secrets {
            let (world, script) = (&world, &script);
            scope.spawn(move || {
                for from in (1..=saves).step_by(AT_ONCE) {
                    world.bash(name, &script(from, from + AT_ONCE - 1)).ok();
                }
            });
        }
    });
    let sent = world.vault.requests("set") - before;
    world.vault.server.clear_faults();
    assert_eq!(sent, (saves * WRITERS) as u64, "requests");
    for (name, _) in secrets {
        assert_eq!(world.vault.get(name), Ok(format!("{name} {saves}")));
        assert_eq!(world.vault.versions(name).len(), 1 + saves, "{name}");
    }
}
