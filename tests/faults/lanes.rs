//! Many small worlds at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many.
const LANES: usize = 8;

/// Runs `work` on every item, several at a time, each lane with what `make` gives it; the failures.
pub fn in_lanes<T: Sync, L>(
    items: &[T],
    make: impl Fn() -> L + Sync,
    work: impl Fn(&L, usize, &T) -> Result<(), String> + Sync,
) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let lane = || {
        let lane = make();
        let mut failures = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return failures };
            failures.extend(work(&lane, at, item).err());
        }
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    })
}
