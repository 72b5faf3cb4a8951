//! `get_or_create`: what many threads ask for at once is made by one of them.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::LruCache;
use super::state::{Refusal, State};
use crate::core::Removed;
use crate::interop::equality::{hash_of, is_atomic};
use crate::interop::flight::{Flight, Landing};
use crate::interop::lookup::locate;

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
        if !factory.is_callable() {
            return Err(PyTypeError::new_err(format!(
                "factory must be callable without arguments, not {}",
                factory.get_type().name()?
            )));
        }
        if let Err(refusal) = slf.get().state.with(py, |state| state.refuse_unless_open()) {
            return Err(Self::refused(slf, refusal));
        }
        loop {
            let (flight, leads) = Self::board(slf, key, hash)?;
            if !leads {
                match flight.wait(py)? {
                    Landing::Made(value) => return Ok(value),
                    Landing::Alone => return Self::make(slf, key, hash, factory),
                    Landing::Failed => continue,
                }
            }
            // The last flight may have landed between the look and the boarding.
            let result = Self::peeked_at(slf, key, hash, now).and_then(|present| match present {
                Some(value) => Ok(value),
                None => Self::make(slf, key, hash, factory),
            });
            let made = result.as_ref().ok().map(|value| value.clone_ref(py));
            Self::land(slf, hash, &flight, made)?;
            return result;
        }
    }

    /// Runs the factory, and stores what it makes unless there is a value by then.
    pub fn make(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        factory: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let made = factory.call0()?;
        match Self::store(slf, key, hash, &made, true, None, None)? {
            Ok(Some(present)) => Ok(present),
            // What doesn't fit, or comes after the close, is the caller's all the same.
            Ok(None) | Err(Refusal::TooHeavy { .. } | Refusal::Phase(_)) => Ok(made.unbind()),
            Err(refusal) => Err(Self::refused(slf, refusal)),
        }
    }

    /// Joins the flight of a key, or starts one and says that this thread leads.
    pub fn board(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
    ) -> PyResult<(Arc<Flight>, bool)> {
        let py = slf.py();
        let own = Flight::depart(py)?;
        let atomic = is_atomic(key);
        let new_key = key.clone().unbind();
        let mut lost = None;
        let mut unused = Removed::default();
        let boarded = locate(
            &slf.get().state,
            key,
            hash,
            |state: &State| &state.flights,
            |state, found| {
                if let Some(flight) = found.and_then(|slot| state.flights.get(slot))
                    && !flight.value.is_lost()
                {
                    unused.push(new_key);
                    return Ok((Arc::clone(&flight.value), false));
                }
                lost = found.and_then(|slot| state.flights.remove(slot));
                if !atomic {
                    state.track(slf);
                }
                let mut none = Removed::default();
                state
                    .flights
                    .insert(hash, new_key, Arc::clone(&own), 1, &mut none)
                    .map_err(|(error, key, _)| {
                        unused.push(key);
                        Refusal::Store(error)
                    })?;
                Ok((Arc::clone(&own), true))
            },
        )?;
        drop((lost, unused));
        boarded.map_err(|refusal| Self::refused(slf, refusal))
    }

    /// Ends a flight that this thread leads.
    pub fn land(
        slf: &Bound<'_, Self>,
        hash: u64,
        flight: &Arc<Flight>,
        result: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let ended = slf.get().state.with(py, |state| {
            let slot = state
                .flights
                .find_value(hash, |other| Arc::ptr_eq(other, flight))?;
            state.flights.remove(slot)
        });
        drop(ended);
        flight.land(py, result)
    }
}
