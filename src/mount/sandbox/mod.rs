//! What the daemon gives up once it is mounted, in all its threads and for good: capabilities, new privileges ([`threads`]),
//! files and network ([`places`]), system calls ([`calls`]). What it needs of these later the attendant does.
//!
//! A kernel that lacks one of them is no reason not to mount: the rest holds, and the log says what does not.

mod calls;
mod places;
mod threads;

pub use places::Needs;

/// Gives up everything but `needs`. What could not be given up, and why.
pub fn enter(needs: &Needs) -> Vec<String> {
    let mut lacking = Vec::new();
    let ruleset = places::ruleset(needs).unwrap_or_else(|why| {
        lacking.push(why);
        None
    });
    lacking.extend(threads::give_up(ruleset).err());
    lacking.extend(calls::allow_only_ours().err());
    lacking
}
