//! Finding, reading and storing entries.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;

use super::LruCache;
use super::state::{Change, Entries, Pair, Refusal, State};
use crate::core::Slot;
use crate::interop::equality::{Verdict, compare, hash_of, is_atomic};
use crate::interop::lookup::{locate, locate_read};
use crate::interop::{clock, hot, logging};
use crate::types::aging::{Lifetime, Timing};
use crate::types::stats::Cause;

/// A hash, a key and a value.
type HashedItem<'py> = (u64, Bound<'py, PyAny>, Bound<'py, PyAny>);

impl hot::Mapping for LruCache {
    #[inline]
    fn plain_hit(&self, key: &Bound<'_, PyAny>, hash: u64) -> Option<Py<PyAny>> {
        let py = key.py();
        let timing = self.timing();
        let now = match timing {
            Timing::Ageless => 0,
            Timing::Cheap => clock::cheap(),
            Timing::Asked => return None,
        };
        self.state.hit(py, |state| {
            let slot = state.entries.find_hash(hash)?;
            let entry = state.entries.get(slot)?;
            if timing == Timing::Cheap && clock::is_past(state.entries.deadline(slot), now) {
                return None;
            }
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
        if logging::enabled(py, log::Level::Debug) {
            return None;
        }
        let now = match self.timing() {
            Timing::Ageless => 0,
            Timing::Cheap => clock::precise(),
            Timing::Asked => return None,
        };
        self.state
            .with(py, |state| state.put_plain(key, hash, value, now))
    }

    fn originals() -> &'static OnceLock<hot::Originals> {
        static ORIGINALS: OnceLock<hot::Originals> = OnceLock::new();
        &ORIGINALS
    }
}

/// The keys of a cache as they are at one moment, the least recently used first.
#[pyfunction(name = "_keys")]
#[pyo3(signature = (cache, /))]
pub fn keys<'py>(cache: &Bound<'py, LruCache>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let now = LruCache::now(cache)?;
    let items = LruCache::hashed_snapshot(cache, now).into_iter();
    Ok(items.map(|(_, key, _)| key).collect())
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
        let now = Self::now(slf)?;
        Self::peeked_at(slf, key, hash_of(key)?, now)
    }

    /// The same, at a time.
    ///
    /// # Errors
    /// What a comparison raises.
    pub fn peeked_at(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        now: u64,
    ) -> PyResult<Option<Py<PyAny>>> {
        Self::locate_read(slf, key, hash, now, |entries, found| {
            Some(entries.get(found?)?.value.clone_ref(slf.py()))
        })
    }

    /// Whether there is an entry for a key.
    ///
    /// # Errors
    /// What the key's `__hash__` or a comparison raises.
    pub fn has(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let hash = hash_of(key)?;
        Self::locate_read(slf, key, hash, Self::now(slf)?, |_, found| found.is_some())
    }

    /// All items in order, as they are now.
    pub fn snapshot<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
        let items = Self::hashed_snapshot(slf, Self::now(slf)?).into_iter();
        Ok(items.map(|(_, key, value)| (key, value)).collect())
    }

    /// The same at a time, with the hashes.
    pub fn hashed_snapshot<'py>(slf: &Bound<'py, Self>, now: u64) -> Vec<HashedItem<'py>> {
        let py = slf.py();
        Self::expire_at(slf, now);
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

    /// Runs `section` with the slot of a key, in a section, at a time. An entry that is due is taken out first.
    ///
    /// # Errors
    /// What a comparison raises.
    #[inline]
    pub fn locate<R>(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        now: u64,
        section: impl FnOnce(&mut State, Option<Slot>) -> R,
    ) -> PyResult<R> {
        let mut expired = None;
        let result = locate(
            &slf.get().state,
            key,
            hash,
            |state| &state.entries,
            |state, found| {
                if let Some(slot) = found
                    && state.entries.is_due(slot, now)
                {
                    let callback = state.callback(slf.py());
                    expired = state.expire(slot).map(|pair| (pair, callback));
                    return section(state, None);
                }
                section(state, found)
            },
        )?;
        if let Some((pair, on_remove)) = expired {
            Self::dismiss(slf, [pair], on_remove, Cause::Expired);
        }
        Ok(result)
    }

    pub fn locate_read<R>(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        now: u64,
        section: impl Fn(&Entries, Option<Slot>) -> R,
    ) -> PyResult<R> {
        locate_read(
            &slf.get().state,
            key,
            hash,
            |state: &State| &state.entries,
            |state, found| {
                let entries = &state.entries;
                section(entries, found.filter(|&slot| !entries.is_due(slot, now)))
            },
        )
    }

    /// The value of a key, counted as a hit or as a miss.
    ///
    /// # Errors
    /// What a comparison raises.
    #[inline]
    pub fn lookup(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        now: u64,
    ) -> PyResult<Option<Py<PyAny>>> {
        Self::locate(slf, key, hash, now, |state, found| {
            let value = found.and_then(|slot| state.hit(slf.py(), slot, now));
            state.counters.misses += u64::from(value.is_none());
            value
        })
    }

    pub fn weigh<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
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
        lifetime: Option<Lifetime>,
        now: Option<u64>,
    ) -> PyResult<Result<Option<Py<PyAny>>, Refusal>> {
        let weight = Self::weigh(slf, key, value)?;
        let age = Self::age(slf, key, value, lifetime, now)?;
        let now = age.map_or(0, |(now, _)| now);
        let atomic = is_atomic(key) && is_atomic(value);
        let pair = (key.clone().unbind(), value.clone().unbind());
        let mut change = Change::default();
        let outcome = Self::locate(slf, key, hash, now, |state, found| {
            if let (true, Some(slot)) = (keep, found) {
                // Counted as a miss already: it came between.
                change.leftover = Some(pair);
                return Ok(state.used(slf.py(), slot, now));
            }
            if !atomic {
                state.track(slf);
            }
            state
                .put(slf.py(), hash, pair, (weight, age), found, &mut change)
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
        Self::set_for(slf, key, hash, value, None, None)
    }

    /// The same, with a lifetime of the entry's own, and at the time that a timer has given already.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_for(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        value: &Bound<'_, PyAny>,
        lifetime: Option<Lifetime>,
        now: Option<u64>,
    ) -> PyResult<()> {
        match Self::store(slf, key, hash, value, false, lifetime, now)? {
            Ok(_) => Ok(()),
            Err(refusal) => Err(Self::refused(slf, refusal)),
        }
    }

    /// Sets entries as `dict.update` does, all at one time.
    pub fn update_from(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, now: u64) -> PyResult<()> {
        let py = slf.py();
        let set = |key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>| {
            Self::set_for(slf, key, hash_of(key)?, value, None, Some(now))
        };
        if let Ok(other) = other.cast::<Self>() {
            let theirs = if other.is(slf) {
                now
            } else {
                Self::now(other)?
            };
            Self::set_all(slf, Self::hashed_snapshot(other, theirs), now)?;
        } else if other.hasattr(intern!(py, "keys"))? {
            for key in other.call_method0(intern!(py, "keys"))?.try_iter()? {
                let key = key?;
                set(&key, &other.get_item(&key)?)?;
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
                set(key, value)?;
            }
        }
        Ok(())
    }

    /// Sets the items of another cache, all at one time.
    pub fn set_all(slf: &Bound<'_, Self>, items: Vec<HashedItem<'_>>, now: u64) -> PyResult<()> {
        for (hash, key, value) in items {
            Self::set_for(slf, &key, hash, &value, None, Some(now))?;
        }
        Ok(())
    }

    /// Takes one entry out, without telling anybody but the caller.
    pub fn take(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
    ) -> PyResult<Option<(Pair, Option<Py<PyAny>>)>> {
        let py = slf.py();
        Self::locate(slf, key, hash_of(key)?, Self::now(slf)?, |state, found| {
            let pair = state.take_slot(found?, Cause::Explicit)?;
            Some((pair, state.callback(py)))
        })
    }
}
