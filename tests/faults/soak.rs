//! How much of each test: enough for every run, or what `scripts/soak` asks for.

/// `every_run`, or `soak` if this is a soak.
pub fn sized(every_run: usize, soak: usize) -> usize {
    if is_on() { soak } else { every_run }
}

pub fn is_on() -> bool {
    std::env::var_os("AKVFS_SOAK").is_some()
}
