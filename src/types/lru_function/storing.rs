//! Keeping results, and forgetting them.

use pyo3::prelude::*;

use super::{Entries, LruFunction, State, empty, results};
use crate::core::{Removed, Slot};
use crate::interop::call::{Call, WeaklyHeld};
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

    /// Puts an entry in, unless its key is there by now.
    pub fn put<'py>(
        slf: &Bound<'py, Self>,
        call: &Call<'_, 'py>,
        hash: u64,
        place: Place<'py>,
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
        let allocated = locate(
            &slf.get().state,
            call,
            hash,
            // Always there: only the collector takes it, from what nobody can call.
            |state: &State| state.entries.as_ref().unwrap_or(empty()),
            |state, mut found| {
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
                    if stale {
                        state.indirect = true;
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
        if logging::enabled(log::Level::Debug) && !evicted.is_empty() {
            log::debug!(target: logging::TARGET, "{} evicted {} by {}", slf.get().kind(), evicted.len(), Cause::Size.name());
        }
        drop((expired, evicted, unused, references, key));
        Ok(())
    }

    pub fn discard(slf: &Bound<'_, Self>, call: &Call<'_, '_>) -> PyResult<bool> {
        let py = slf.py();
        let now = slf.get().now(py)?;
        let gone = Self::find_slot(slf, call, |state, found| {
            let slot = found?;
            let due = state.is_due(slot, now);
            Some((state.remove(py, slot)?, due))
        })?;
        Ok(gone.is_some_and(|(((_, value), _), due)| !due && !results::is_stale(py, &value)))
    }

    pub fn contains(slf: &Bound<'_, Self>, call: &Call<'_, '_>) -> PyResult<bool> {
        let py = slf.py();
        let now = slf.get().now(py)?;
        let pair = Self::find_slot(slf, call, |state, found| {
            let slot = found.filter(|&slot| !state.is_due(slot, now))?;
            let entry = state.entries.as_ref()?.get(slot)?;
            Some((entry.key.clone_ref(py), entry.value.clone_ref(py)))
        })?;
        Ok(results::result(py, pair, None)?.is_some())
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
