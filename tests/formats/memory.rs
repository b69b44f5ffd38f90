//! Counts what a call allocates, so that "no large allocation" is measured and not believed.

#![expect(
    unsafe_code,
    reason = "a global allocator is an unsafe trait; it only counts and passes on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Runs `call` and says by how many bytes this thread's allocations rose above where they stood.
pub(crate) fn peak_bytes<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = call();
    (result, usize::try_from(PEAK.get() - before).unwrap_or(0))
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// Per thread, so that tests may run beside each other. Constant and without a destructor: the allocator may use them.
thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    LIVE.set(LIVE.get() + bytes);
    PEAK.set(PEAK.get().max(LIVE.get()));
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may live beside each other while the bytes move.
        count(size as isize);
        count(-(layout.size() as isize));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[test]
fn the_counter_sees_what_is_allocated_and_given_back() {
    let (_, peak) = peak_bytes(|| drop(std::hint::black_box(vec![0u8; 1 << 20])));
    assert!((1 << 20..1 << 21).contains(&peak), "{peak}");
    let (_, peak) = peak_bytes(|| ());
    assert_eq!(peak, 0);
}
