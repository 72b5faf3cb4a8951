//! The atomics that the lock is made of, in one place, so that a model checker can put its own there.

pub use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How often a writer looks at a seat before it gives up: for longer than a reader that is running stays.
pub const PATIENCE: u32 = 500;

/// Waits for a moment.
#[inline]
pub fn spin() {
    std::hint::spin_loop();
}
