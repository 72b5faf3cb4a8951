//! One thread at a time in the data, and never a thread that is not attached to the interpreter.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

/// Data that attached threads use one after the other.
///
/// With the GIL, attachment alone excludes others, so the flag is a plain byte that costs no atomic
/// instruction; without it, the flag is a spin lock whose sections are nanoseconds long. Either way only an attached
/// thread holds it, it doesn't detach meanwhile, and no Python code runs in a section: so a collection, which needs
/// the GIL or stops every attached thread, never finds the data half changed and needs no lock to see all of it.
pub struct Guarded<T> {
    held: AtomicBool,
    data: UnsafeCell<T>,
}

// SAFETY: `with` gives the data to one thread at a time: `held` is taken by an atomic exchange without the GIL, and
// with it by an attached thread, of which there is one. `T: Send` lets the data pass between threads.
unsafe impl<T: Send> Sync for Guarded<T> {}

struct Release<'a>(&'a AtomicBool);

impl Drop for Release<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<T: Default> Default for Guarded<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Guarded<T> {
    pub fn new(data: T) -> Self {
        Self {
            held: AtomicBool::new(false),
            data: UnsafeCell::new(data),
        }
    }

    /// Runs `section` with the data, alone. It must not run Python code, drop a Python object or allocate one.
    ///
    /// # Panics
    /// When a section is entered from within itself, which would be a defect of ours: it must not become aliasing.
    #[inline]
    pub fn with<R>(&self, py: Python<'_>, section: impl FnOnce(&mut T) -> R) -> R {
        self.acquire(py);
        let _release = Release(&self.held);
        // SAFETY: `held` was clear and is ours until `_release` is dropped, so no other reference to the data exists;
        // the collector's, in `visit`, needs this thread to reach a safe point, which a section never does.
        section(unsafe { &mut *self.data.get() })
    }

    /// As [`with`](Self::with), or `None` where that would have to wait or to panic.
    #[inline]
    pub fn try_with<R>(&self, _py: Python<'_>, section: impl FnOnce(&mut T) -> R) -> Option<R> {
        #[cfg(not(Py_GIL_DISABLED))]
        {
            if self.held.load(Ordering::Relaxed) {
                return None;
            }
            self.held.store(true, Ordering::Relaxed);
        }
        #[cfg(Py_GIL_DISABLED)]
        self.held
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        let _release = Release(&self.held);
        // SAFETY: as in `with`.
        Some(section(unsafe { &mut *self.data.get() }))
    }

    #[cfg(not(Py_GIL_DISABLED))]
    #[inline]
    fn acquire(&self, _py: Python<'_>) {
        // The GIL orders these two for every attached thread.
        assert!(
            !self.held.load(Ordering::Relaxed),
            "leaksafe: a guarded section was entered twice"
        );
        self.held.store(true, Ordering::Relaxed);
    }

    #[cfg(Py_GIL_DISABLED)]
    #[inline]
    fn acquire(&self, py: Python<'_>) {
        if self
            .held
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.acquire_contended(py);
        }
    }

    /// Spins for as long as a section lasts, then waits detached, so that a collection that has stopped the
    /// holder isn't kept waiting for this thread, and tries again once attached.
    #[cfg(Py_GIL_DISABLED)]
    #[cold]
    fn acquire_contended(&self, py: Python<'_>) {
        const SPINS: u32 = 100;
        let mut rounds = 0_u32;
        loop {
            for _ in 0..SPINS {
                if !self.held.load(Ordering::Relaxed)
                    && self
                        .held
                        .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
                        .is_ok()
                {
                    return;
                }
                std::hint::spin_loop();
            }
            rounds += 1;
            py.detach(|| {
                if rounds < 50 {
                    std::thread::yield_now();
                } else {
                    std::thread::sleep(std::time::Duration::from_micros(50));
                }
            });
        }
    }

    /// Shows the data to the collector. That a visitor exists proves that `tp_traverse` is running.
    ///
    /// # Errors
    /// What the visitor answers, to be handed on.
    pub fn visit(
        &self,
        visit: PyVisit<'_>,
        each: impl FnOnce(&T, PyVisit<'_>) -> Result<(), PyTraverseError>,
    ) -> Result<(), PyTraverseError> {
        // SAFETY: with the GIL, this thread holds it, and a section neither gives it up nor calls the collector.
        // Without, a collection has stopped every other attached thread at a safe point, and a section has none;
        // `gc.get_referents` stops the world likewise.
        each(unsafe { &*self.data.get() }, visit)
    }

    /// The data of an object that nobody else can reach any more.
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }
}
