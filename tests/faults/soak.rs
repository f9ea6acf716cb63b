//! How much of each test: enough for every run, or what `scripts/soak` asks for: `AKVFS_SOAK` is how many seconds what runs by
//! the clock shall run.

use std::time::Duration;

fn asked() -> Option<u64> {
    let text = std::env::var("AKVFS_SOAK").ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("AKVFS_SOAK={text} is no number of seconds")))
}

/// `every_run`, or `soak` if this is a soak.
pub fn sized(every_run: usize, soak: usize) -> usize {
    if asked().is_some() { soak } else { every_run }
}

/// How long to go on.
pub fn lasting(every_run: Duration) -> Duration {
    asked().map_or(every_run, Duration::from_secs)
}
