//! Finding, reading and storing entries.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;

use super::LruCache;
use super::state::{Change, Entries, Pair, Refusal, State};
use crate::core::Slot;
use crate::interop::equality::{Verdict, compare, hash_of, is_atomic};
use crate::interop::lookup::{locate, locate_read};
use crate::interop::{hot, logging};
use crate::types::stats::Cause;

impl hot::Mapping for LruCache {
    #[inline]
    fn plain_hit(&self, key: &Bound<'_, PyAny>, hash: u64) -> Option<Py<PyAny>> {
        let py = key.py();
        self.state.hit(py, |state| {
            let slot = state.entries.find_hash(hash)?;
            let entry = state.entries.get(slot)?;
            (compare(&entry.key, key) == Verdict::Same).then(|| (slot, entry.value.clone_ref(py)))
        })
    }

    #[inline]
    fn plain_set<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        hash: u64,
        value: &Bound<'py, PyAny>,
    ) -> Option<[Bound<'py, PyAny>; 2]> {
        let py = key.py();
        if logging::enabled(log::Level::Debug) {
            return None;
        }
        self.state
            .with(py, |state| state.put_plain(key, hash, value))
    }

    fn originals() -> &'static OnceLock<hot::Originals> {
        static ORIGINALS: OnceLock<hot::Originals> = OnceLock::new();
        &ORIGINALS
    }
}

impl LruCache {
    pub fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Looks at the entries, but not at their order, beside other threads.
    pub fn look<R>(&self, py: Python<'_>, section: impl Fn(&Entries) -> R) -> R {
        self.state.read(py, |state| section(&state.entries))
    }

    /// Looks at the entries and their order.
    pub fn read<R>(&self, py: Python<'_>, section: impl FnOnce(&Entries) -> R) -> R {
        self.state.with(py, |state| section(&state.entries))
    }

    /// The value of a key, its place in the order unchanged.
    ///
    /// # Errors
    /// What the key's `__hash__` or a comparison raises.
    pub fn peeked(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        Self::locate_read(slf, key, |entries, found| {
            Some(entries.get(found?)?.value.clone_ref(slf.py()))
        })
    }

    /// Whether there is an entry for a key.
    ///
    /// # Errors
    /// What the key's `__hash__` or a comparison raises.
    pub fn has(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Self::locate_read(slf, key, |_, found| found.is_some())
    }

    /// All items in order, as they are now.
    pub fn snapshot<'py>(slf: &Bound<'py, Self>) -> Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        Self::hashed_snapshot(slf)
            .into_iter()
            .map(|(_, key, value)| (key, value))
            .collect()
    }

    pub fn hashed_snapshot<'py>(
        slf: &Bound<'py, Self>,
    ) -> Vec<(u64, Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let py = slf.py();
        slf.get().read(py, |entries| {
            entries
                .walk(false)
                .into_iter()
                .filter_map(|slot| entries.get(slot))
                .map(|entry| {
                    (
                        entry.hash,
                        entry.key.bind(py).clone(),
                        entry.value.bind(py).clone(),
                    )
                })
                .collect()
        })
    }

    #[inline]
    pub fn locate<R>(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        section: impl FnOnce(&mut State, Option<Slot>) -> R,
    ) -> PyResult<R> {
        locate(&slf.get().state, key, hash, |state| &state.entries, section)
    }

    pub fn locate_read<R>(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        section: impl Fn(&Entries, Option<Slot>) -> R,
    ) -> PyResult<R> {
        locate_read(
            &slf.get().state,
            key,
            hash_of(key)?,
            |state: &State| &state.entries,
            |state, found| section(&state.entries, found),
        )
    }

    /// The value of a key, counted as a hit or, unless `quiet`, as a miss.
    #[inline]
    pub fn lookup(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
    ) -> PyResult<Option<Py<PyAny>>> {
        Self::locate(slf, key, hash, |state, found| {
            let value = found.and_then(|slot| state.hit(slf.py(), slot));
            state.counters.misses += u64::from(value.is_none());
            value
        })
    }

    pub fn weigh(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<u64> {
        let this = slf.get();
        if !this.weighed.load(Ordering::Relaxed) {
            return Ok(1);
        }
        let py = slf.py();
        let weigher = this.state.with(py, |state| {
            state.weigher.as_ref().map(|weigher| weigher.clone_ref(py))
        });
        weigher.map_or(Ok(1), |weigher| weigher.weigh(slf, key, value))
    }

    /// Stores an entry; where `keep` says so, a value that is there already is kept and given back.
    #[inline]
    pub fn store(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        value: &Bound<'_, PyAny>,
        keep: bool,
    ) -> PyResult<Result<Option<Py<PyAny>>, Refusal>> {
        let weight = Self::weigh(slf, key, value)?;
        let atomic = is_atomic(key) && is_atomic(value);
        let pair = (key.clone().unbind(), value.clone().unbind());
        let mut change = Change::default();
        let outcome = Self::locate(slf, key, hash, |state, found| {
            if let (true, Some(slot)) = (keep, found) {
                // Counted as a miss already: it came between.
                change.leftover = Some(pair);
                return Ok(state.used(slf.py(), slot));
            }
            if !atomic {
                state.track(slf);
            }
            state
                .put(slf.py(), hash, pair, weight, found, &mut change)
                .map(|()| None)
        })?;
        Self::settle(slf, change);
        Ok(outcome)
    }

    pub fn set(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        match Self::store(slf, key, hash, value, false)? {
            Ok(_) => Ok(()),
            Err(refusal) => Err(Self::refused(slf, refusal)),
        }
    }

    pub fn update_from(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        if let Ok(other) = other.cast::<Self>() {
            for (hash, key, value) in Self::hashed_snapshot(other) {
                Self::set(slf, &key, hash, &value)?;
            }
        } else if other.hasattr(intern!(py, "keys"))? {
            for key in other.call_method0(intern!(py, "keys"))?.try_iter()? {
                let key = key?;
                Self::set(slf, &key, hash_of(&key)?, &other.get_item(&key)?)?;
            }
        } else {
            for (at, pair) in other.try_iter()?.enumerate() {
                let pair: Vec<Bound<'_, PyAny>> = pair?.try_iter()?.collect::<PyResult<_>>()?;
                let [key, value] = pair.as_slice() else {
                    return Err(PyValueError::new_err(format!(
                        "element {at} of the update has length {}; 2 is required",
                        pair.len()
                    )));
                };
                Self::set(slf, key, hash_of(key)?, value)?;
            }
        }
        Ok(())
    }

    /// Takes one entry out, without telling anybody but the caller.
    pub fn take(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
    ) -> PyResult<Option<(Pair, Option<Py<PyAny>>)>> {
        let py = slf.py();
        Self::locate(slf, key, hash_of(key)?, |state, found| {
            let pair = state.take_slot(found?, Cause::Explicit)?;
            Some((pair, state.callback(py)))
        })
    }

    pub fn missing(key: &Bound<'_, PyAny>) -> PyErr {
        // In a tuple: the arguments of an exception made from a tuple would be its items.
        PyKeyError::new_err((key.clone().unbind(),))
    }
}
