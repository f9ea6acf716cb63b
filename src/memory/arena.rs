//! The pages in which [`Locked`](super::Locked) stands: anonymous memory, locked, left out of core files, wiped in a child.
//!
//! A chunk is cut into places of one size. A place that is given back is kept for the next of its size, so chunks stay; a
//! process needs as many as it once had values. What is larger than half a chunk gets pages of its own, which go back.

use std::collections::HashMap;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::whole::limit;

/// What is asked of the kernel at a time, in bytes, or a little less where places of one size do not fill it: small, for each of some 36 sizes may have one that is nearly empty, and
/// a user may lock 8 MiB altogether.
pub(super) const CHUNK: usize = 64 * 1024;
/// The smallest place.
const SMALLEST: usize = 64;
/// The smallest page that a machine has; where they are larger, the kernel rounds up.
const PAGE: usize = 4096;

/// Places that nobody has, by size. All zeroes.
type Free = HashMap<usize, Vec<Place>>;

struct Place(NonNull<u8>);

// SAFETY: a place that nobody has belongs to whoever takes it.
unsafe impl Send for Place {}

static FREE: LazyLock<Mutex<Free>> = LazyLock::new(Mutex::default);
/// Bytes asked of the kernel for chunks.
static PAGES: AtomicUsize = AtomicUsize::new(0);

/// Room for `length` bytes, all zeroes. It is its caller's alone.
pub(super) fn take(length: usize) -> NonNull<u8> {
    let size = size_for(length);
    if size > CHUNK / 2 {
        return map(size);
    }
    let mut free = free();
    let places = free.entry(size).or_default();
    if places.is_empty() {
        places.extend(cut(size));
    }
    places.pop().map_or_else(|| map(CHUNK), |place| place.0)
}

/// Takes back what [`take`] gave for `length` bytes.
///
/// # Safety
/// It is wiped, and nobody uses it any more.
pub(super) unsafe fn give_back(place: NonNull<u8>, length: usize) {
    let size = size_for(length);
    if size > CHUNK / 2 {
        // SAFETY: `map` gave these pages, as many as these; as the caller promises, nobody uses them.
        unsafe { libc::munmap(place.as_ptr().cast(), size) };
        return;
    }
    free().entry(size).or_default().push(Place(place));
}

/// Between a power of two and the next four steps: no more than a quarter is lost.
pub(super) fn size_for(length: usize) -> usize {
    let step = (length.next_power_of_two() / 8).max(SMALLEST);
    length.max(1).next_multiple_of(step)
}

fn cut(size: usize) -> impl Iterator<Item = Place> {
    let count = CHUNK / size;
    let room = (count * size).next_multiple_of(PAGE);
    let chunk = map(room);
    PAGES.fetch_add(room, Ordering::Relaxed);
    // SAFETY: every place lies in the chunk.
    (0..count).map(move |number| Place(unsafe { chunk.add(number * size) }))
}

/// Pages from the kernel.
fn map(size: usize) -> NonNull<u8> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping where the kernel likes; the advice and the lock are for its pages only.
    let place = unsafe {
        let place = libc::mmap(std::ptr::null_mut(), size, access, kind, -1, 0);
        if place == libc::MAP_FAILED {
            std::alloc::handle_alloc_error(std::alloc::Layout::from_size_align_unchecked(size, SMALLEST));
        }
        libc::madvise(place, size, libc::MADV_DONTDUMP);
        libc::madvise(place, size, libc::MADV_WIPEONFORK);
        if libc::mlock(place, size) != 0 {
            say_once(&io::Error::last_os_error());
        }
        place
    };
    NonNull::new(place.cast()).expect("a mapping is not at address 0")
}

/// That values may be swapped is worth one line, and no more.
fn say_once(why: &io::Error) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        let limit = limit().unwrap_or(0) / 1024;
        tracing::warn!(
            "not all values can be locked in memory, so some may be swapped ({why}); the limit is {limit} KiB: raise it \
             (ulimit -l, LimitMEMLOCK= of a service)"
        );
    }
}

fn free() -> MutexGuard<'static, Free> {
    // Each step leaves it whole.
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) fn pages() -> usize {
    PAGES.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_quarter_is_lost() {
        for length in 512..70_000 {
            let size = size_for(length);
            assert!(size >= length && size - length <= length / 4, "{length}: {size}");
        }
        assert_eq!([0, 1, 64, 65, 25_600].map(size_for), [64, 64, 64, 128, 28_672]);
    }

    #[test]
    fn pages_are_locked_left_out_of_core_files_and_wiped_in_children() {
        let place = take(100);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let address = place.as_ptr() as usize;
        let holds = |line: &str| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let number = |text| usize::from_str_radix(text, 16).ok();
            range.is_some_and(|(from, to)| {
                number(from).zip(number(to)).is_some_and(|(from, to)| (from..to).contains(&address))
            })
        };
        let flags =
            maps.lines().skip_while(|line| !holds(line)).find_map(|line| line.strip_prefix("VmFlags: ")).unwrap();
        // proc(5): dd do not include in core dump, wf wipe on fork, lo locked.
        assert!(["dd", "wf", "lo"].iter().all(|flag| flags.split(' ').any(|word| word == *flag)), "{flags}");
        // SAFETY: nothing was written there.
        unsafe { give_back(place, 100) };
    }
}
