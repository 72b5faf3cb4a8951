//! Data that threads share, and never a thread in it that is not attached to the interpreter.
//!
//! With the GIL, attachment alone excludes others, so a section is marked by a plain byte that costs no atomic
//! instruction. Without it, `core`'s reader-writer lock lets those that only look in beside each other. Either way only
//! an attached thread is in a section, it doesn't detach meanwhile, and no Python code runs there: so a collection,
//! which needs the GIL or stops every attached thread, never finds the data half changed and needs no lock to see all
//! of it.

use std::cell::UnsafeCell;
use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::core::{Cache, Order, Slot};

/// What sections are told apart from each other by.
#[cfg(Py_GIL_DISABLED)]
use free_threaded::Lock;
#[cfg(not(Py_GIL_DISABLED))]
use with_gil::Lock;

/// What data does with the hits that were noted while it could not be changed.
pub trait Noted {
    /// The entry in this slot was used.
    fn used(&mut self, _slot: Slot) {}

    /// So many uses were counted.
    fn counted(&mut self, _uses: u64) {}
}

/// Data that attached threads use: one at a time where they change it, any number where they look.
pub struct Guarded<T> {
    lock: Lock,
    data: UnsafeCell<T>,
}

// SAFETY: the lock lets one thread change the data, or many look at it, as a `RwLock` does.
unsafe impl<T: Send + Sync> Sync for Guarded<T> {}

impl<T> Noted for Option<T> {}
impl<K, V> Noted for HashMap<K, V> {}

impl<K, V, O: Order> Noted for Cache<K, V, O> {
    fn used(&mut self, slot: Slot) {
        self.touch(slot);
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
            lock: Lock::default(),
            data: UnsafeCell::new(data),
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

    /// Bytes that the lock has allocated.
    pub fn lock_bytes(&self) -> usize {
        self.lock.allocated_bytes()
    }
}

impl<T: Noted> Guarded<T> {
    /// Runs `section` with the data, alone. It must not run Python code, drop a Python object or allocate one.
    ///
    /// # Panics
    /// With the GIL, when a section is entered from within another, which would be a defect of ours: it must not
    /// become aliasing.
    #[inline]
    pub fn with<R>(&self, py: Python<'_>, section: impl FnOnce(&mut T) -> R) -> R {
        let _alone = self.lock.alone(py);
        // SAFETY: the lock lets nobody else in until `_alone` is dropped, so no other reference to the data exists; the
        // collector's, in `visit`, needs this thread to reach a safe point, which a section never does.
        let data = unsafe { &mut *self.data.get() };
        self.lock.drain(data);
        section(data)
    }

    /// As [`with`](Self::with), or `None` where that would have to wait or to panic.
    #[inline]
    pub fn try_with<R>(&self, py: Python<'_>, section: impl FnOnce(&mut T) -> R) -> Option<R> {
        let _alone = self.lock.try_alone(py)?;
        // SAFETY: as in `with`.
        let data = unsafe { &mut *self.data.get() };
        self.lock.drain(data);
        Some(section(data))
    }

    /// Runs `section` with the data, beside others that only look. Under the rules of [`with`](Self::with); it may clone
    /// a reference to a Python object.
    #[inline]
    pub fn read<R>(&self, py: Python<'_>, section: impl Fn(&T) -> R) -> R {
        match self.look(py, |data| Some((None, section(data)))) {
            Some(found) => found,
            None => self.with(py, |data| section(data)),
        }
    }

    /// As [`read`](Self::read), for what finds something or not. `None` is also that there is no way in without waiting
    /// for long.
    #[inline]
    pub fn try_read<R>(&self, py: Python<'_>, section: impl Fn(&T) -> Option<R>) -> Option<R> {
        self.look(py, |data| section(data).map(|found| (None, found)))
    }

    /// As [`read`](Self::read); where `section` finds something, the data is told, now or before the next change,
    /// that the slot that it names was used. `None` is its answer, or that there is no way in without waiting for long.
    #[inline]
    pub fn hit<R>(&self, py: Python<'_>, section: impl Fn(&T) -> Option<(Slot, R)>) -> Option<R> {
        self.look(py, |data| {
            section(data).map(|(slot, found)| (Some(slot), found))
        })
    }
}

#[cfg(not(Py_GIL_DISABLED))]
mod with_gil {
    use std::sync::atomic::{AtomicBool, Ordering};

    use pyo3::prelude::*;

    use super::{Guarded, Noted, Slot};

    /// Set while a section runs; the GIL orders its uses.
    #[derive(Default)]
    pub struct Lock(AtomicBool);

    pub struct Alone<'a>(&'a AtomicBool);

    impl Drop for Alone<'_> {
        #[inline]
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }

    impl Lock {
        #[inline]
        pub fn alone(&self, py: Python<'_>) -> Alone<'_> {
            match self.try_alone(py) {
                Some(alone) => alone,
                None => panic!("leaksafe: a guarded section was entered twice"),
            }
        }

        #[inline]
        pub fn try_alone(&self, _py: Python<'_>) -> Option<Alone<'_>> {
            if self.0.load(Ordering::Relaxed) {
                return None;
            }
            self.0.store(true, Ordering::Relaxed);
            Some(Alone(&self.0))
        }

        #[allow(clippy::unused_self, reason = "as without the GIL")]
        pub fn drain<T>(&self, _data: &mut T) {}

        #[allow(clippy::unused_self, reason = "as without the GIL")]
        pub fn allocated_bytes(&self) -> usize {
            0
        }
    }

    impl<T: Noted> Guarded<T> {
        /// Looks, and tells the data at once.
        #[inline]
        pub(super) fn look<R>(
            &self,
            py: Python<'_>,
            section: impl Fn(&T) -> Option<(Option<Slot>, R)>,
        ) -> Option<R> {
            self.try_with(py, |data| {
                let (slot, found) = section(data)?;
                if let Some(slot) = slot {
                    data.used(slot);
                    data.counted(1);
                }
                Some(found)
            })?
        }
    }
}

#[cfg(Py_GIL_DISABLED)]
mod free_threaded {
    use std::time::Duration;

    use pyo3::prelude::*;

    use super::{Guarded, Noted, Slot};
    use crate::core::{Place, Reading, Seats, SharedLock, this_place};

    #[derive(Default)]
    pub struct Lock {
        word: SharedLock,
        seats: Seats,
    }

    pub struct Alone<'a>(&'a SharedLock);

    impl Drop for Alone<'_> {
        #[inline]
        fn drop(&mut self) {
            self.0.end_write();
        }
    }

    /// How often a thread looks whether a section has ended before it waits detached.
    const SPINS: u32 = 100;

    impl Lock {
        #[inline]
        pub fn alone(&self, py: Python<'_>) -> Alone<'_> {
            match self.try_alone(py) {
                Some(alone) => alone,
                None => self.alone_at_last(py),
            }
        }

        #[inline]
        pub fn try_alone(&self, _py: Python<'_>) -> Option<Alone<'_>> {
            self.word
                .try_write(|| self.seats.iter())
                .then(|| Alone(&self.word))
        }

        /// Spins for as long as a section lasts, then waits detached, so that a collection that has stopped those
        /// inside isn't kept waiting for this thread, and tries again once attached.
        #[cold]
        fn alone_at_last(&self, py: Python<'_>) -> Alone<'_> {
            let mut rounds = 0_u32;
            loop {
                for _ in 0..SPINS {
                    if !self.word.is_held()
                        && let Some(alone) = self.try_alone(py)
                    {
                        return alone;
                    }
                    std::hint::spin_loop();
                }
                rounds += 1;
                py.detach(|| {
                    if rounds < 50 {
                        std::thread::yield_now();
                    } else {
                        std::thread::sleep(Duration::from_micros(50));
                    }
                });
            }
        }

        /// Tells the data what was noted while others looked. For a thread that is alone.
        #[inline]
        pub fn drain<T: Noted>(&self, data: &mut T) {
            for seat in self.seats.iter() {
                let uses = seat.drain(|slot| data.used(slot));
                if uses > 0 {
                    data.counted(uses.into());
                }
            }
        }

        pub fn allocated_bytes(&self) -> usize {
            self.seats.allocated_bytes()
        }
    }

    impl<T: Noted> Guarded<T> {
        /// Looks from this thread's own seat.
        #[inline]
        pub(super) fn look<R>(
            &self,
            py: Python<'_>,
            section: impl Fn(&T) -> Option<(Option<Slot>, R)>,
        ) -> Option<R> {
            let place = this_place();
            let reading = match self.lock.seats.get(place) {
                Some(seat) => self.lock.word.try_read(seat, place),
                None => None,
            };
            let reading = match reading {
                Some(reading) => reading,
                None => self.enter_at_last(py, place)?,
            };
            // SAFETY: no thread is alone with the data before `reading` is dropped, so that there are shared references
            // only.
            let (slot, found) = section(unsafe { &*self.data.get() })?;
            if let Some(slot) = slot
                && reading.used(slot)
            {
                self.try_with(py, |_| ());
            }
            Some(found)
        }

        /// Gets the thread a seat, or waits for as long as a section lasts.
        #[cold]
        #[inline(never)]
        fn enter_at_last(&self, py: Python<'_>, place: Place) -> Option<Reading<'_>> {
            if self.lock.seats.get(place).is_none() {
                self.with(py, |_| self.lock.seats.add(place));
            }
            let seat = self.lock.seats.get(place)?;
            for _ in 0..SPINS {
                if let Some(reading) = self.lock.word.try_read(seat, place) {
                    return Some(reading);
                }
                for _ in 0..SPINS {
                    if !self.lock.word.is_held() {
                        break;
                    }
                    std::hint::spin_loop();
                }
            }
            None
        }
    }
}
