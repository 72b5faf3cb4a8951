//! Keeping results, and forgetting them.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::{Entries, LruFunction, State, empty, results};
use crate::core::{Removed, Slot};
use crate::interop::call::{Call, OwnedCall, WeaklyHeld};
use crate::interop::lookup::locate;
use crate::interop::{logging, trace};
use crate::types::stats::Cause;
use crate::types::weigher::bytes_of;

/// Where a result is to be kept, and what with.
pub struct Place<'py> {
    key: Bound<'py, PyAny>,
    value: Bound<'py, PyAny>,
    weight: u64,
    instance: Option<WeaklyHeld<'py>>,
}

impl LruFunction {
    /// Decides where a result is kept.
    pub fn place<'py>(
        slf: &Bound<'py, Self>,
        call: &Call<'_, 'py>,
        result: &Bound<'py, PyAny>,
    ) -> PyResult<Place<'py>> {
        let instance = Self::instance(slf, call)?;
        let key = call.key(instance.as_ref())?;
        let weight = Self::weigh(slf, &key, result, instance.as_ref())?;
        let value = match &instance {
            Some((owner, _)) => results::stand_in(owner, result)?,
            None => result.clone(),
        };
        Ok(Place {
            key,
            value,
            weight,
            instance,
        })
    }

    /// What an entry weighs: without the instance, which the cache doesn't hold, and without this function.
    fn weigh<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        result: &Bound<'py, PyAny>,
        instance: Option<&WeaklyHeld<'py>>,
    ) -> PyResult<u64> {
        if !slf.get().in_bytes {
            return Ok(1);
        }
        match instance {
            Some((owner, reference)) => bytes_of(key, result, &[slf.as_any(), owner, reference]),
            None => bytes_of(key, result, &[slf.as_any()]),
        }
    }

    /// Puts an entry in, unless its key is there by now (`anew`: in its place), or the flight that made it was forgotten.
    pub fn put<'py>(
        slf: &Bound<'py, Self>,
        call: &Call<'_, 'py>,
        hash: u64,
        place: Place<'py>,
        anew: bool,
        is_current: &dyn Fn() -> bool,
    ) -> PyResult<()> {
        let py = slf.py();
        let now = slf.get().now(py)?;
        let Place {
            key,
            value,
            weight,
            instance,
        } = place;
        let new = (key.clone().unbind(), value.unbind());
        let mut expired = Vec::new();
        let mut evicted = Removed::default();
        let mut unused = None;
        let mut references = Vec::new();
        let mut sweep = None;
        let indirect = instance.is_some();
        let allocated = locate(
            &slf.get().state,
            call,
            hash,
            // Always there: only the collector takes it, from what nobody can call.
            |state: &State| state.entries.as_ref().unwrap_or(empty()),
            |state, mut found| {
                if !is_current() {
                    unused = Some(new);
                    return None;
                }
                if let Some(slot) = found
                    && state.is_due(slot, now)
                {
                    expired.extend(state.remove(py, slot));
                    found = None;
                }
                if found.is_none() {
                    state.make_room(py, weight, now, &mut expired);
                }
                let Some(entries) = state.entries.as_mut() else {
                    unused = Some(new);
                    return None;
                };
                if let Some(slot) = found {
                    // Another call was faster, or this one called itself: that entry stays, unless its result is gone.
                    let stale = entries
                        .get(slot)
                        .is_some_and(|entry| results::is_stale(py, &entry.value));
                    if stale || anew {
                        state.indirect |= indirect;
                        match entries.replace(slot, new.1, weight, &mut evicted) {
                            Ok(old) => {
                                unused = Some((new.0, old.unwrap_or_else(|| py.None())));
                                sweep = state.set_age(slot, now);
                            }
                            Err((_, value)) => unused = Some((new.0, value)),
                        }
                    } else {
                        unused = Some(new);
                    }
                    return None;
                }
                let placed = match entries.insert(hash, new.0, new.1, weight, &mut evicted) {
                    Ok(placed) => placed,
                    Err((_, key, value)) => {
                        // Too heavy, or no memory to remember it: the result stands all the same.
                        unused = Some((key, value));
                        return None;
                    }
                };
                if let Some((owner, reference)) = &instance {
                    state.indirect = true;
                    state.owners.add(owner, reference, &key, hash);
                }
                state.stored += u64::from(placed.is_some());
                sweep = placed.and_then(|slot| state.set_age(slot, now));
                state.reallocated()
            },
        )?;
        let evicted: Vec<_> = evicted.into_iter().collect();
        if instance.is_some() || !evicted.is_empty() {
            slf.get().state.with(py, |state| {
                references.extend(
                    evicted
                        .iter()
                        .filter_map(|(key, _)| state.owners.forget(py, key)),
                );
            });
        }
        if let Some(allocated) = allocated {
            trace::report(slf.get().address(), allocated);
        }
        if let Some(due) = sweep {
            Self::watch(slf, due);
        }
        if !evicted.is_empty() && logging::enabled(py, log::Level::Debug) {
            log::debug!(target: logging::TARGET, "{} evicted {} by {}", slf.get().kind(), evicted.len(), Cause::Size.name());
        }
        drop((expired, evicted, unused, references, key));
        Ok(())
    }

    pub fn discard(slf: &Bound<'_, Self>, call: &OwnedCall<'_>) -> PyResult<bool> {
        let py = slf.py();
        let call = Self::in_order(slf, call);
        let call = &call.borrowed(slf.get().typed);
        if let Some(flights) = &slf.get().flights {
            flights.forget(call, call.hash()?)?;
        }
        slf.get().forget_one_awaited(call)?;
        let now = slf.get().now(py)?;
        let gone = Self::find_slot(slf, call, |state, found| {
            let slot = found?;
            let due = state.is_due(slot, now);
            Some((state.remove(py, slot)?, due))
        })?;
        Ok(gone.is_some_and(|(((_, value), _), due)| !due && !results::is_stale(py, &value)))
    }

    /// The result that is remembered of a call, neither counted nor promoted.
    ///
    /// # Errors
    /// What a `__hash__` or a comparison raises.
    pub fn peek(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let calls = Self::calls(slf, args, kwargs)?;
        if let Some(engine) = &slf.get().engine {
            for answer in Self::ask(slf, engine, &calls, "peek")? {
                // Nothing, or the result in a tuple.
                if let Some((result,)) = answer.extract::<Option<(Py<PyAny>,)>>()? {
                    return Ok(Some(result));
                }
            }
            return Ok(None);
        }
        for call in &calls {
            let call = Self::in_order(slf, call);
            let found = Self::peek_call(slf, &call.borrowed(slf.get().typed))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The same of a call in order.
    ///
    /// # Errors
    /// As [`peek`](Self::peek).
    pub fn peek_call(slf: &Bound<'_, Self>, call: &Call<'_, '_>) -> PyResult<Option<Py<PyAny>>> {
        let py = slf.py();
        let now = slf.get().now(py)?;
        let pair = Self::find_slot(slf, call, |state, found| {
            let slot = found.filter(|&slot| !state.is_due(slot, now))?;
            let entry = state.entries.as_ref()?.get(slot)?;
            Some((entry.key.clone_ref(py), entry.value.clone_ref(py)))
        })?;
        results::result(py, pair, None)
    }

    /// Sets the result of a call.
    ///
    /// # Errors
    /// What a `__hash__`, a comparison or a warning raises.
    pub fn set<'py>(
        slf: &Bound<'py, Self>,
        value: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<()> {
        for call in Self::calls(slf, args, kwargs)? {
            let call = Self::in_order(slf, &call);
            let call = call.borrowed(slf.get().typed);
            if let Some(engine) = &slf.get().engine {
                let (receiver, weakly, key) = engine.meant(slf, &call)?;
                let put = (receiver, weakly, key, value);
                engine.keeper.bind(slf.py()).call_method1("put", put)?;
            } else if slf.get().maxsize != Some(0) {
                let place = Self::place(slf, &call, value)?;
                Self::put(slf, &call, call.hash()?, place, true, &|| true)?;
            }
        }
        Ok(())
    }

    /// The key under which a call's result is kept.
    ///
    /// # Errors
    /// What an engine's key raises, or a warning.
    pub fn key_of<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let call = Self::in_order(slf, &OwnedCall::new(args, kwargs)?);
        let call = call.borrowed(slf.get().typed);
        if let Some(engine) = &slf.get().engine {
            let meant = engine.meant(slf, &call)?;
            return engine.keeper.bind(slf.py()).call_method1("key", meant);
        }
        call.key(Self::instance(slf, &call)?.as_ref())
    }

    /// All keys and results, the least recently used first.
    ///
    /// # Errors
    /// What the timer raises.
    pub fn snapshot<'py>(slf: &Bound<'py, Self>) -> PyResult<Vec<(Bound<'py, PyAny>, Py<PyAny>)>> {
        let py = slf.py();
        Self::expire_due(slf)?;
        let pairs: Vec<_> = slf.get().state.with(py, |state| {
            let Some(entries) = &state.entries else {
                return Vec::new();
            };
            let slots = entries.walk(false).into_iter();
            slots
                .filter_map(|slot| entries.get(slot))
                .map(|entry| (entry.key.clone_ref(py), entry.value.clone_ref(py)))
                .collect()
        });
        let mut items = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let shown = key.bind(py).clone();
            if let Some(result) = results::result(py, Some((key, value)), None)? {
                items.push((shown, result));
            }
        }
        Ok(items)
    }

    fn find_slot<R>(
        slf: &Bound<'_, Self>,
        call: &Call<'_, '_>,
        section: impl FnOnce(&mut State, Option<Slot>) -> R,
    ) -> PyResult<R> {
        let hash = call.hash()?;
        locate(
            &slf.get().state,
            call,
            hash,
            |state: &State| -> &Entries { state.entries.as_ref().unwrap_or(empty()) },
            section,
        )
    }
}
