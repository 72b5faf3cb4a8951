//! Looking entries up, and putting them in.

use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use super::WeakCache;
use super::state::{Gone, State, Stored};
use crate::core::{NEVER, Removed, Slot, StoreError};
use crate::interop::equality::hash_of;
use crate::interop::lookup::locate;
use crate::interop::reference::{Reference, is_referable};
use crate::interop::{clock, release};
use crate::types::weak_table::out_of_memory;
use crate::types::{sweeper, weigher};

/// Why a value was not taken.
enum Refusal {
    Store(StoreError),
    Closed,
    TooHeavy(u64),
}

impl WeakCache {
    /// The nanoseconds for which a value is held, where that ever ends.
    #[inline]
    pub fn span(&self) -> Option<u64> {
        self.ttl?.1
    }

    /// The time, where entries age.
    pub fn now(&self) -> u64 {
        self.span().map_or(0, |_| clock::precise())
    }

    /// Finds a key and runs `section`, at last without an entry that is too old to be held.
    pub fn locate<R>(
        &self,
        key: &Bound<'_, PyAny>,
        hash: u64,
        mut section: impl FnMut(&mut State, Option<Slot>) -> R,
    ) -> PyResult<R> {
        let now = self.now();
        loop {
            let mut gone = Gone::default();
            let result = locate(
                &self.shared.0,
                key,
                hash,
                |state: &State| &state.entries,
                |state, found| match found {
                    // Whether somebody else holds its value is known once it is let go.
                    Some(slot) if state.entries.is_due(slot, now) => {
                        state.expire(slot, &mut gone);
                        None
                    }
                    found => Some(section(state, found)),
                },
            )?;
            if let Some(result) = result {
                return Ok(result);
            }
        }
    }

    /// Lets go of all that is too old to be held.
    pub fn expire(&self, py: Python<'_>) {
        if self.span().is_some() {
            let now = clock::precise();
            while !self.shared.expire_slice(py, now).1 {}
        }
    }

    pub fn look<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        hash: u64,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut gone = Gone::default();
        self.locate(key, hash, |state, found| {
            found.and_then(|slot| state.used(key.py(), slot, &mut gone))
        })
    }

    /// What an entry weighs.
    pub fn weigh(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<u64> {
        if slf.get().in_bytes {
            weigher::bytes_of(key, value, &[slf.as_any()])
        } else {
            Ok(1)
        }
    }

    /// Sets the value of a key; where `keep` says so, a living one that is there is kept and given back.
    pub fn put<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        hash: u64,
        value: &Bound<'py, PyAny>,
        keep: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let weight = Self::weigh(slf, key, value)?;
        Self::put_weighed(slf, key, hash, value, (weight, keep))
    }

    pub fn put_weighed<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        hash: u64,
        value: &Bound<'py, PyAny>,
        (weight, keep): (u64, bool),
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let this = slf.get();
        let reference = if is_referable(value) {
            Some(Reference::new(value, this.reaper.bind(py).as_any())?)
        } else {
            None
        };
        let mut new = Some((
            key.clone().unbind(),
            Stored {
                reference,
                strong: None,
            },
        ));
        let now = this.now();
        let deadline = this.span().map_or(NEVER, |span| now.saturating_add(span));
        let mut sweep = None;
        let mut gone = Gone::default();
        let mut unplaced = Removed::default();
        let outcome = this.locate(key, hash, |state, found| {
            if state.closed {
                return Err(Refusal::Closed);
            }
            if this.in_bytes && weight > state.maxsize {
                return Err(Refusal::TooHeavy(state.maxsize));
            }
            if let Some(slot) = found.filter(|_| keep)
                && let Some(present) = state.used(py, slot, &mut gone)
            {
                return Ok(Some(present));
            }
            let Some((key, stored)) = new.take() else {
                return Ok(None);
            };
            let placed = if let Some(slot) = found {
                state.let_go(slot);
                match state.entries.replace(slot, stored, weight, &mut unplaced) {
                    Ok(old) => {
                        new = old.map(|old| (key, old));
                        Some(slot)
                    }
                    Err((error, stored)) => {
                        state.regain(slot);
                        new = Some((key, stored));
                        return Err(Refusal::Store(error));
                    }
                }
            } else {
                let entries = &mut state.entries;
                match entries.insert(hash, key, stored, weight, &mut unplaced) {
                    Ok(slot) => slot,
                    Err((error, key, stored)) => {
                        new = Some((key, stored));
                        return Err(Refusal::Store(error));
                    }
                }
            };
            let Some(slot) = placed else {
                return Ok(None);
            };
            if let Some(reference) = state
                .entries
                .get(slot)
                .and_then(|entry| entry.value.reference.as_ref())
            {
                reference.set_place(slot);
            }
            state.entries.set_deadline(slot, deadline, 0, now);
            sweep = state.news(slot);
            state.hold(slot, value.clone().unbind(), &mut gone);
            Ok(None)
        })?;
        drop((new, gone, unplaced));
        this.shared.settle(py);
        if let Some(due) = sweep {
            this.watched.store(true, Ordering::Relaxed);
            if let Err(error) = sweeper::watch(slf, due) {
                error.write_unraisable(py, Some(slf));
            }
        }
        outcome.map_err(|refusal| match refusal {
            Refusal::Store(StoreError::Overflow) => PyOverflowError::new_err(
                "the weights in this WeakCache would add up to more than 2**64",
            ),
            Refusal::Store(_) => out_of_memory(),
            Refusal::Closed => {
                PyRuntimeError::new_err("this WeakCache is closed and takes no entries")
            }
            Refusal::TooHeavy(maxsize) => PyValueError::new_err(format!(
                "value too heavy: it weighs {weight}, more than the whole WeakCache may, maxsize={maxsize}"
            )),
        })
    }

    pub fn take<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let removed = self.locate(key, hash_of(key)?, |state, found| {
            found.and_then(|slot| state.remove(slot))
        })?;
        Ok(removed.and_then(|(_, stored)| stored.value(key.py())))
    }

    pub fn dissolve(&self, py: Python<'_>) {
        let entries = self.shared.0.with(py, |state| {
            state.allocated = 0;
            state.take()
        });
        release::release((entries, self.flights.take(py)));
    }
}
