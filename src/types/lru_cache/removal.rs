//! What happens to entries on their way out, and to those that don't get in.

use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyKeyError, PyMemoryError, PyOverflowError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::LruCache;
use super::state::{Change, Pair, Phase, Refusal, State};
use crate::core::{Removed, StoreError};
use crate::interop::{build, logging, trace};
use crate::types::aging::Timing;
use crate::types::arguments;
use crate::types::stats::Cause;
use crate::types::sweeper::{self, SLICE, Swept};

impl LruCache {
    /// Takes the least recently used entry.
    ///
    /// # Errors
    /// `KeyError` where there is none; what the timer raises.
    pub fn pop_first<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        Self::expire_due(slf)?;
        let taken = slf.get().state.with(py, |state| {
            let pair = state.take_slot(state.entries.first(false)?, Cause::Explicit)?;
            Some((pair, state.callback(py)))
        });
        let Some(((key, value), on_remove)) = taken else {
            return Err(PyKeyError::new_err(format!(
                "popitem(): this {} is empty",
                slf.get_type().name()?
            )));
        };
        let result = build::tuple(py, [key.clone_ref(py), value.clone_ref(py)])?;
        Self::dismiss(slf, [(key, value)], on_remove, Cause::Explicit);
        Ok(result)
    }

    /// Ends a change once the lock is free: tells the tools and the callback, and drops what was taken out.
    #[inline]
    pub fn settle(slf: &Bound<'_, Self>, change: Change) {
        if change.on_remove.is_some()
            || change.allocated.is_some()
            || change.sweep.is_some()
            || logging::enabled(slf.py(), log::Level::Debug)
        {
            Self::tell(slf, change);
        }
    }

    #[cold]
    pub fn tell(slf: &Bound<'_, Self>, change: Change) {
        if let Some(due) = change.sweep {
            Self::watch(slf, due);
        }
        if let Some(allocated) = change.allocated {
            trace::report(slf.get().address(), allocated);
        }
        if !change.evicted.is_empty() && logging::enabled(slf.py(), log::Level::Debug) {
            Self::log_eviction(slf, change.evicted.len());
        }
        let Some(on_remove) = change.on_remove else {
            return;
        };
        if let Some(pair) = change.leftover.filter(|_| change.replaced) {
            Self::notify(slf, &on_remove, pair, Cause::Replaced);
        }
        for pair in change.expired {
            Self::notify(slf, &on_remove, pair, Cause::Expired);
        }
        for pair in change.evicted {
            Self::notify(slf, &on_remove, pair, Cause::Size);
        }
    }

    #[cold]
    pub fn log_eviction(slf: &Bound<'_, Self>, count: usize) {
        let (len, currsize, maxsize) = slf.get().read(slf.py(), |entries| {
            (entries.len(), entries.weight(), entries.bound())
        });
        let name = slf.get_type().name().map(|name| name.to_string());
        log::debug!(
            target: logging::TARGET,
            "{} evicted {count} {}: {len} left, currsize {currsize} of {}",
            name.as_deref().unwrap_or("LRUCache"),
            if count == 1 { "entry" } else { "entries" },
            maxsize.map_or("no bound".to_owned(), |maxsize| maxsize.to_string()),
        );
    }

    pub fn notify(slf: &Bound<'_, Self>, on_remove: &Py<PyAny>, (key, value): Pair, cause: Cause) {
        let py = slf.py();
        if let Err(error) = on_remove.bind(py).call1((key, value, cause.name())) {
            error.write_unraisable(py, Some(slf));
        }
    }

    /// Drops what one operation took out for a reason of its own, after telling the callback.
    pub fn dismiss(
        slf: &Bound<'_, Self>,
        pairs: impl IntoIterator<Item = Pair>,
        on_remove: Option<Py<PyAny>>,
        cause: Cause,
    ) {
        let Some(on_remove) = on_remove else {
            return drop(pairs);
        };
        for pair in pairs {
            Self::notify(slf, &on_remove, pair, cause);
        }
    }

    pub fn refused(slf: &Bound<'_, Self>, refusal: Refusal) -> PyErr {
        let name = slf
            .get_type()
            .name()
            .map_or_else(|_| "LRUCache".to_owned(), |name| name.to_string());
        match refusal {
            Refusal::Phase(Phase::Closed) => {
                PyRuntimeError::new_err(format!("this {name} is closed and takes no entries"))
            }
            Refusal::Phase(_) => PyRuntimeError::new_err(format!(
                "LRUCache.__init__() was not called on this {name}: it has no maxsize yet"
            )),
            Refusal::TooHeavy { weight, maxsize } => PyValueError::new_err(format!(
                "value too heavy: it weighs {weight}, more than the whole {name} may, maxsize={maxsize}"
            )),
            Refusal::Store(StoreError::Overflow) => PyOverflowError::new_err(format!(
                "the weights in this {name} would add up to more than 2**64"
            )),
            Refusal::Store(_) => {
                PyMemoryError::new_err(format!("no memory for another entry of this {name}"))
            }
        }
    }

    /// Empties the cache, and closes it where it `close`s.
    pub fn empty(slf: &Bound<'_, Self>, close: bool) {
        let this = slf.get();
        let (entries, on_remove, callables) = this.state.with(slf.py(), |state| {
            let count = state.entries.len();
            state.counters.removed(Cause::Cleared, count);
            let entries = state.entries.take();
            if !close {
                return (entries, state.callback(slf.py()), None);
            }
            if state.phase == Phase::Open {
                state.phase = Phase::Closed;
            }
            this.timing.store(Timing::Ageless as u8, Ordering::Relaxed);
            let callables = (state.weigher.take(), state.aging.take());
            (entries, state.on_remove.take(), Some(callables))
        });
        if close && this.watched.load(Ordering::Relaxed) {
            sweeper::forget(this.address());
        }
        Self::shrunk(slf);
        Self::dismiss(slf, entries, on_remove, Cause::Cleared);
        drop(callables);
    }

    /// Tells the tools where the table has become smaller.
    pub fn shrunk(slf: &Bound<'_, Self>) {
        let this = slf.get();
        if let Some(allocated) = this.state.with(slf.py(), State::reallocated) {
            trace::report(this.address(), allocated);
        }
    }

    /// Takes out what is due, and says how many that were.
    ///
    /// # Errors
    /// What the timer raises, or its answer deserves.
    pub fn expire_due(slf: &Bound<'_, Self>) -> PyResult<usize> {
        Ok(Self::expire_at(slf, Self::now(slf)?))
    }

    /// The same, at a time.
    pub fn expire_at(slf: &Bound<'_, Self>, now: u64) -> usize {
        let mut count = 0;
        while slf.get().timing() != Timing::Ageless {
            let (expired, done) = Self::expire_slice(slf, now);
            count += expired;
            if done {
                break;
            }
        }
        count
    }

    /// Sets the bound, and evicts what is over it.
    pub fn set_maxsize(slf: &Bound<'_, Self>, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let maxsize = arguments::maxsize(maxsize)?;
        Self::expire_due(slf)?;
        let this = slf.get();
        this.state
            .with(py, |state| {
                state.refuse_unless_open()?;
                state.entries.set_bound(maxsize);
                Ok(())
            })
            .map_err(|refusal| Self::refused(slf, refusal))?;
        loop {
            let change = this.state.with(py, |state| {
                let mut evicted = Removed::default();
                while evicted.len() < SLICE as usize {
                    match state.entries.evict() {
                        Some(pair) => evicted.push(pair),
                        None => break,
                    }
                }
                state.counters.removed(Cause::Size, evicted.len());
                if !evicted.is_empty() {
                    state.entries.shrink();
                }
                Change {
                    on_remove: state.callback(py),
                    allocated: state.reallocated(),
                    evicted,
                    ..Change::default()
                }
            });
            let done = change.evicted.is_empty();
            Self::settle(slf, change);
            if done {
                return Ok(());
            }
        }
    }
}

impl Swept for LruCache {
    fn expire_slice(slf: &Bound<'_, Self>, now: u64) -> (usize, bool) {
        let (expired, on_remove, allocated, done) = slf.get().state.with(slf.py(), |state| {
            let mut steps = SLICE;
            let mut expired = Vec::new();
            while expired.len() < SLICE as usize
                && let Some(pair) = state.pop_expired(now, &mut steps)
            {
                expired.push(pair);
            }
            let done = expired.len() < SLICE as usize && steps > 0;
            if state.entries.is_empty() {
                state.entries.release();
            }
            (expired, state.callback(slf.py()), state.reallocated(), done)
        });
        if let Some(allocated) = allocated {
            trace::report(slf.get().address(), allocated);
        }
        let count = expired.len();
        Self::dismiss(slf, expired, on_remove, Cause::Expired);
        (count, done)
    }

    fn next_due(slf: &Bound<'_, Self>) -> u64 {
        slf.get().state.with(slf.py(), |state| {
            state.swept = state.entries.earliest_due();
            state.swept
        })
    }
}

/// Removes the entry whose value is this very object, without asking its key anything, and says whether it was there.
#[pyfunction(name = "_take")]
#[pyo3(signature = (cache, value, hash, /))]
pub fn take(cache: &Bound<'_, LruCache>, value: &Bound<'_, PyAny>, hash: i64) -> bool {
    let py = cache.py();
    let taken = cache.get().state.with(py, |state| {
        let slot = state
            .entries
            .find_value(hash.cast_unsigned(), |stored| stored.is(value))?;
        let pair = state.take_slot(slot, Cause::Explicit)?;
        Some((pair, state.callback(py)))
    });
    let Some((pair, on_remove)) = taken else {
        return false;
    };
    LruCache::dismiss(cache, [pair], on_remove, Cause::Explicit);
    true
}
