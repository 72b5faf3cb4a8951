//! What a call does before and after its function.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::{LruFunction, State, empty, results};
use crate::core::NEVER;
use crate::interop::call::{Call, OwnedCall};
use crate::interop::equality::Verdict;
use crate::interop::flight::Flight;
use crate::interop::lookup::{Probe, locate};
use crate::interop::vectorcall::{Aboard, Found, Remembering};
use crate::interop::{class, clock, logging};
use crate::types::aging::Timing;

impl LruFunction {
    /// What is found for a call as far as no Python code has to run, counted. Drops no `Py`.
    pub fn look_for(&self, call: &Call<'_, '_>, hash: u64) -> Found {
        let py = call.py();
        let now = match self.timing {
            Timing::Ageless => 0,
            Timing::Cheap => clock::precise(),
            Timing::Asked => return Found::Unsure(hash),
        };
        let found = self.state.try_with(py, |state| {
            let entries = state.entries.as_mut()?;
            let mut unsure = false;
            let slot = entries.find(hash, |stored| {
                let verdict = call.compare(stored);
                unsure |= verdict == Verdict::Unsure;
                verdict == Verdict::Same
            });
            let Some(slot) = slot else {
                if unsure {
                    return None;
                }
                state.misses += 1;
                return Some(Found::Miss(hash));
            };
            let value = &entries.get(slot)?.value;
            let indirect = state.indirect && !results::is_direct(py, value);
            if indirect || entries.is_due(slot, now) {
                return None;
            }
            let value = value.clone_ref(py);
            entries.touch(slot);
            state.hits += 1;
            Some(Found::Hit(value))
        });
        found.flatten().unwrap_or(Found::Unsure(hash))
    }

    /// The error for an argument that can't be hashed, which says which one that is.
    fn name_unhashable(
        slf: &Bound<'_, Self>,
        call: &Call<'_, '_>,
        error: &PyErr,
    ) -> PyResult<PyErr> {
        let py = slf.py();
        let (args, kwargs) = call.to_owned().arguments()?;
        let explained = py.import("leaksafe._parameters")?.call_method1(
            "unhashable",
            (&slf.get().function, args, kwargs, error.value(py)),
        )?;
        Ok(PyErr::from_value(explained))
    }
}

impl Remembering for LruFunction {
    fn typed(&self) -> bool {
        self.typed
    }

    fn function(&self) -> &Py<PyAny> {
        &self.function
    }

    #[inline]
    fn plain_hit(&self, call: &Call<'_, '_>, hash: u64) -> Option<Py<PyAny>> {
        let py = call.py();
        let timing = self.timing;
        let now = match timing {
            Timing::Ageless => 0,
            Timing::Cheap => clock::cheap(),
            Timing::Asked => return None,
        };
        self.state.hit(py, |state| {
            let entries = state.entries.as_ref()?;
            let slot = entries.find_hash(hash)?;
            if timing == Timing::Cheap && clock::is_past(entries.deadline(slot), now) {
                return None;
            }
            let entry = entries.get(slot)?;
            if call.compare(&entry.key) != Verdict::Same {
                return None;
            }
            let value = &entry.value;
            if state.indirect && !results::is_direct(py, value) {
                return None;
            }
            Some((slot, value.clone_ref(py)))
        })
    }

    fn look(&self, call: &Call<'_, '_>) -> PyResult<Found> {
        let py = call.py();
        if self.maxsize == Some(0) {
            self.state.with(py, |state| state.misses += 1);
            return Ok(Found::Pass);
        }
        Ok(self.look_for(call, call.hash()?))
    }

    fn flies(&self) -> bool {
        self.flights.is_some()
    }

    fn divert(slf: &Bound<'_, Self>, call: &Call<'_, '_>) -> Option<PyResult<Py<PyAny>>> {
        let engine = slf.get().engine.as_ref()?;
        Some(engine.answer(slf, call))
    }

    #[inline]
    fn is_in_order(&self, call: &Call<'_, '_>) -> bool {
        self.signature
            .as_ref()
            .is_none_or(|signature| signature.is_in_order(call))
    }

    fn arrange<'py>(&self, call: &Call<'_, 'py>) -> Option<OwnedCall<'py>> {
        self.signature.as_ref()?.arrange(call)
    }

    fn take_off(slf: &Bound<'_, Self>, call: &Call<'_, '_>, hash: u64) -> PyResult<Found> {
        Self::fly(slf, call, hash)
    }

    fn land(
        slf: &Bound<'_, Self>,
        aboard: &Aboard,
        result: Result<&Bound<'_, PyAny>, &PyErr>,
    ) -> PyResult<()> {
        Self::end_flight(slf, aboard, result)
    }

    fn explain(slf: &Bound<'_, Self>, call: &Call<'_, '_>, error: PyErr) -> PyErr {
        if slf.get().cached && error.is_instance_of::<PyTypeError>(slf.py()) {
            return Self::name_unhashable(slf, call, &error).unwrap_or(error);
        }
        error
    }

    fn look_closely(slf: &Bound<'_, Self>, call: &Call<'_, '_>, hash: u64) -> PyResult<Found> {
        let py = slf.py();
        let now = slf.get().now(py)?;
        let mut expired = None;
        let pair = locate(
            &slf.get().state,
            call,
            hash,
            |state: &State| state.entries.as_ref().unwrap_or(empty()),
            |state, found| {
                let slot = found?;
                if state.is_due(slot, now) {
                    expired = state.remove(py, slot);
                    return None;
                }
                let entries = state.entries.as_mut()?;
                let entry = entries.get(slot)?;
                let pair = (entry.key.clone_ref(py), entry.value.clone_ref(py));
                entries.touch(slot);
                Some(pair)
            },
        )?;
        drop(expired);
        let result = results::result(py, pair, slf.get().first(call))?;
        slf.get().state.with(py, |state| match result {
            Some(_) => state.hits += 1,
            None => state.misses += 1,
        });
        Ok(result.map_or(Found::Miss(hash), Found::Hit))
    }

    fn keep(
        &self,
        call: &Call<'_, '_>,
        hash: u64,
        result: &Bound<'_, PyAny>,
        flight: Option<&Flight>,
    ) -> bool {
        let py = call.py();
        if self.in_bytes {
            return false;
        }
        if self.weak_self
            && self.first(call).is_some_and(|first| {
                class::is_heap_type(&first.get_type()) || first.is_instance_of::<PyType>()
            })
        {
            return false;
        }
        let Ok(key) = call.key(None) else {
            return false;
        };
        let now = match self.timing {
            Timing::Ageless => 0,
            Timing::Cheap => clock::precise(),
            Timing::Asked => return false,
        };
        let logged = logging::enabled(py, log::Level::Debug);
        let evicted = self.state.try_with(py, |state| {
            let deadline = state.deadline(now);
            if deadline < state.swept && deadline != NEVER {
                return None;
            }
            let entries = state.entries.as_mut()?;
            if !state.owners.is_empty()
                || logged
                || flight.is_some_and(|flight| !flight.is_current())
            {
                return None;
            }
            let mut other = false;
            let found = entries.find(hash, |stored| {
                other |= call.compare(stored) != Verdict::Different;
                false
            });
            if other || found.is_some() {
                return None;
            }
            let victim = entries.exchangeable()?;
            if deadline != NEVER && entries.earliest_due() <= now {
                return None;
            }
            let old =
                entries.exchange(victim, hash, key.clone().unbind(), result.clone().unbind())?;
            entries.set_deadline(victim, deadline, 0, now);
            state.stored += 1;
            Some((old.0.into_bound(py), old.1.into_bound(py)))
        });
        evicted.flatten().map(drop).is_some()
    }

    fn keep_closely(
        slf: &Bound<'_, Self>,
        call: &Call<'_, '_>,
        hash: u64,
        result: &Bound<'_, PyAny>,
        flight: Option<&Flight>,
    ) -> PyResult<()> {
        let py = slf.py();
        let result = result.as_unbound().bind(py);
        let place = Self::place(slf, call, result)?;
        Self::put(slf, call, hash, place, false, &|| {
            flight.is_none_or(Flight::is_current)
        })
    }
}
