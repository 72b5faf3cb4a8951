//! How often this process was forked: what a child finds that was made in its parent may be half done.

use std::sync::atomic::{AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

/// Counts forks from now on.
pub fn prepare() {
    #[cfg(unix)]
    static COUNTED: std::sync::Once = std::sync::Once::new();
    #[cfg(unix)]
    COUNTED.call_once(|| {
        unsafe extern "C" fn forked() {
            FORKS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the handler is there for as long as this module, which is never unloaded, and does nothing that a child
        // of a process with threads may not: it counts.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    });
}

/// The forks of this process and of those that it comes from: a look at that costs less than asking for its number.
#[inline]
pub fn count() -> u32 {
    FORKS.load(Ordering::Relaxed)
}
