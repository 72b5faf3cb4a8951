//! `get_or_create`: what many threads ask for at once is made by one of them.

use pyo3::prelude::*;

use super::LruCache;
use super::state::Refusal;
use crate::interop::equality::{hash_of, is_atomic};
use crate::types::async_flights;
use crate::types::flights::check_factory;

impl LruCache {
    /// The value of a key, made by `factory` where it is not there, once however many ask.
    pub fn get_or_make(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        factory: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let hash = hash_of(key)?;
        let now = Self::now(slf)?;
        if let Some(value) = Self::lookup(slf, key, hash, now)? {
            return Ok(value);
        }
        check_factory(factory)?;
        let open = slf.get().state.with(py, |state| {
            state.refuse_unless_open()?;
            // A key in flight is held, too.
            if !is_atomic(key) {
                state.track(slf);
            }
            Ok(())
        });
        if let Err(refusal) = open {
            return Err(Self::refused(slf, refusal));
        }
        let look = || {
            let present = Self::peeked_at(slf, key, hash, now)?;
            Ok(present.map(|value| value.into_bound(py)))
        };
        let make = || Ok(Self::make(slf, key, hash, factory)?.into_bound(py));
        let flights = &slf.get().flights;
        Ok(flights.once(key, key, hash, look, make)?.unbind())
    }

    /// A coroutine of the value of a key, made by the coroutine function `factory` where it is not there.
    pub fn get_or_await<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        factory: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if let Some(value) = Self::lookup(slf, key, hash_of(key)?, Self::now(slf)?)? {
            return async_flights::ready(py)?.call1((value,));
        }
        check_factory(factory)?;
        let open = slf.get().state.with(py, |state| state.refuse_unless_open());
        if let Err(refusal) = open {
            return Err(Self::refused(slf, refusal));
        }
        async_flights::creation(py)?.call1((slf, key, factory))
    }

    /// Runs the factory, and stores what it makes unless there is a value by then.
    fn make(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        factory: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        Self::keep_made(slf, key, hash, factory.call0()?)
    }

    /// Stores what was made unless there is a value by then, and gives back the one that holds.
    fn keep_made(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        made: Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        match Self::store(slf, key, hash, &made, true, None, None)? {
            Ok(Some(present)) => Ok(present),
            // What doesn't fit, or comes after the close, is the caller's all the same.
            Ok(None) | Err(Refusal::TooHeavy { .. } | Refusal::Phase(_)) => Ok(made.unbind()),
            Err(refusal) => Err(Self::refused(slf, refusal)),
        }
    }
}

/// Stores what a coroutine made unless there is a value by then, and returns the one that holds.
///
/// # Errors
/// What setting an entry raises, but for one that is too heavy or comes after the close.
#[pyfunction(name = "_keep")]
#[pyo3(signature = (cache, key, made, /))]
pub fn keep(
    cache: &Bound<'_, LruCache>,
    key: &Bound<'_, PyAny>,
    made: Bound<'_, PyAny>,
) -> PyResult<Py<PyAny>> {
    LruCache::keep_made(cache, key, hash_of(key)?, made)
}
