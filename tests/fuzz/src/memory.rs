//! Counts what a check allocates, so that an input that makes the tracer grow is found by the first byte that stays.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// More than any parser may need at a time, for inputs of a few KiB. The largest is the walk through a geo database.
const MOST: isize = 8 << 20;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came; beside it only plain cells are written, which have no
// destructor and no lazy initialisation and so never allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.get().wrapping_add_unsigned(layout.size());
        NOW.set(now);
        PEAK.set(PEAK.get().max(now));
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        NOW.set(NOW.get().wrapping_sub_unsigned(layout.size()));
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Runs a check; afterwards everything it allocated must be free again.
pub fn bounded(check: impl Fn()) {
    // A table that is made on first use is kept once; what grows is kept again.
    if kept_by(&check) != 0 {
        assert_eq!(kept_by(&check), 0, "bytes were not freed");
    }
}

fn kept_by(check: impl Fn()) -> isize {
    NOW.set(0);
    PEAK.set(0);
    check();
    let most = PEAK.get();
    assert!(most <= MOST, "{most} bytes were allocated at a time");
    NOW.get()
}
