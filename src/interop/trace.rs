//! Memory that CPython's allocators don't know of, told to `tracemalloc`.

use std::ffi::{c_int, c_uint};

/// The domain of leaksafe's tables in a `tracemalloc` snapshot: "leak" in ASCII.
pub const DOMAIN: c_uint = 0x6c65_616b;

unsafe extern "C" {
    fn PyTraceMalloc_Track(domain: c_uint, address: usize, size: usize) -> c_int;
    fn PyTraceMalloc_Untrack(domain: c_uint, address: usize) -> c_int;
}

/// Says that the structure at `address` now has `bytes` allocated. Costs next to nothing when tracing is off.
pub fn report(address: usize, bytes: usize) {
    // SAFETY: both only note numbers in a table of their own (the address is a name, never followed), and may be
    // called by any thread. They fail where tracing is off, or memory is short: then nothing is noted.
    unsafe {
        if bytes == 0 {
            PyTraceMalloc_Untrack(DOMAIN, address);
        } else {
            PyTraceMalloc_Track(DOMAIN, address, bytes);
        }
    }
}
