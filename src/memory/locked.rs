//! Bytes that must not be found anywhere else.

use std::fmt;
use std::ptr::NonNull;

use super::arena;

/// Bytes that never change: in pages that are locked as far as the limit allows, left out of core files, and not there in
/// a child process. Wiped when dropped. They do not print.
pub struct Locked {
    place: NonNull<u8>,
    length: usize,
}

// SAFETY: nobody else has the place, and nobody writes to it until it is dropped.
unsafe impl Send for Locked {}
// SAFETY: as above.
unsafe impl Sync for Locked {}

impl Locked {
    /// A copy of `bytes`; whose they were wipes them.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let place = arena::take(bytes.len());
        // SAFETY: the place has room for them, and nobody else has it.
        unsafe { place.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        Self { place, length: bytes.len() }
    }

    /// The bytes. Whoever calls this answers for where they go.
    pub fn expose(&self) -> &[u8] {
        // SAFETY: `copy_of` wrote that many, and nobody writes to them while `self` is there.
        unsafe { std::slice::from_raw_parts(self.place.as_ptr(), self.length) }
    }

    /// The memory that they take, in bytes: at most a quarter more than they are.
    pub fn room(&self) -> usize {
        arena::size_for(self.length)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: `self` had the place and uses it no more. `explicit_bzero` is not left out by a compiler that knows that.
        unsafe {
            libc::explicit_bzero(self.place.as_ptr().cast(), self.length);
            arena::give_back(self.place, self.length);
        }
    }
}

impl PartialEq for Locked {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Locked {}

impl fmt::Debug for Locked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("REDACTED")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_size_keep_to_themselves() {
        let sizes = [0, 1, 63, 64, 65, 1_000, 25_600, 32_768, 32_769, 65_536, 3_000_000];
        for _ in 0..3 {
            let held: Vec<_> =
                (0..200_u8).flat_map(|byte| sizes[..8].iter().map(move |size| vec![byte; *size])).collect();
            let large: Vec<_> = sizes.iter().map(|size| vec![7; *size]).collect();
            let all: Vec<_> = held.into_iter().chain(large).map(|bytes| (Locked::copy_of(&bytes), bytes)).collect();
            assert!(all.iter().all(|(locked, bytes)| locked.expose() == bytes));
        }
    }

    #[test]
    fn a_place_is_used_again() {
        let before = arena::pages();
        for round in 0..10_000_usize {
            drop(Locked::copy_of(&round.to_le_bytes().repeat(100)));
        }
        // Other tests run beside this one.
        assert!(arena::pages() - before < 100 * arena::CHUNK, "{before} {}", arena::pages());
    }

    #[test]
    fn it_does_not_print() {
        assert_eq!(format!("{:?}", Locked::copy_of(b"hunter2")), "REDACTED");
    }
}
