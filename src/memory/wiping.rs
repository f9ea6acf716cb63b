//! An allocator that wipes what it is given back: buffers of libraries, which nobody else would wipe, hold values too.
//! Written as the program's global allocator, in `main.rs`.

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, but for the wiping.
#[derive(Debug)]
pub struct Wiping;

fn wipe(place: *mut u8, layout: Layout) {
    // SAFETY: the caller was given that many bytes there, and gives them back. Not `write_bytes`: the compiler knows that
    // nobody may read them any more, and would leave it out.
    unsafe { libc::explicit_bzero(place.cast(), layout.size()) }
}

// SAFETY: all memory is the system allocator's, and what is said of it is passed on as it was said.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        wipe(place, layout);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }

    /// Never where it stands: the system might move it and leave the old bytes behind.
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size is not 0 and does not overflow with this alignment; both places have as
        // many bytes as are copied, and a new one is no part of the old one.
        unsafe {
            let larger = System.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !larger.is_null() {
                larger.copy_from_nonoverlapping(place, layout.size().min(size));
                self.dealloc(place, layout);
            }
            larger
        }
    }
}
