//! What `WeakCache` is made of.

#![allow(clippy::doc_markdown, reason = "Python's docstrings")]

use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyKeyError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::arguments;
use super::arguments::Argument;
use super::flights::{Flights, check_factory};
use super::weak_table::{Reap, WeakReaper, out_of_memory};
use crate::core::{Cache, Drain, Recency, Removed, Slot};
use crate::interop::equality::{Verdict, compare, hash_of};
use crate::interop::guard::{Guarded, Noted};
use crate::interop::lookup::locate;
use crate::interop::reference::{Reference, is_referable, place_of};
use crate::interop::{hot, release, trace};

/// A value: weakly referenced where that is possible, and held as long as it is among the most recent.
struct Stored {
    reference: Option<Reference>,
    strong: Option<Py<PyAny>>,
}

impl Stored {
    /// The value, unless it is dead.
    #[inline]
    fn value<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        match &self.strong {
            Some(value) => Some(value.bind(py).clone()),
            None => self.reference.as_ref()?.upgrade(py),
        }
    }
}

type Entries = Cache<Py<PyAny>, Stored>;
type Pair = (Py<PyAny>, Stored);

/// The entries in the order of use. The `held` most recent, from `oldest` on, are held strongly.
struct State {
    entries: Entries,
    maxsize: u64,
    held: u64,
    oldest: Option<Slot>,
    closed: bool,
    allocated: usize,
}

/// What is to be released after a section.
#[derive(Default)]
struct Gone {
    values: Removed<Py<PyAny>>,
    pairs: Removed<Pair>,
}

impl Noted for State {
    #[inline]
    fn used(&mut self, slot: Slot) {
        if self.oldest == Some(slot) {
            self.oldest = self.entries.next(slot, false).or(Some(slot));
        }
        self.entries.touch(slot);
    }
}

impl State {
    /// Takes an entry out of those that are held, if it is one; the caller takes care of its value.
    fn let_go(&mut self, slot: Slot) {
        let held = self
            .entries
            .get(slot)
            .is_some_and(|entry| entry.value.strong.is_some());
        if held {
            self.held -= 1;
            if self.oldest == Some(slot) {
                self.oldest = self.entries.next(slot, false);
            }
        }
    }

    fn remove(&mut self, slot: Slot) -> Option<Pair> {
        self.let_go(slot);
        self.entries.remove(slot)
    }

    /// Makes an entry, which is not dead, the most recent and holds it, and no more than `maxsize`.
    fn hold(&mut self, slot: Slot, value: Py<PyAny>, gone: &mut Gone) {
        self.let_go(slot);
        self.entries.touch(slot);
        if let Some(stored) = self.entries.value_mut(slot)
            && let Some(old) = stored.strong.replace(value)
        {
            gone.values.push(old);
        }
        self.held += 1;
        self.oldest = self.oldest.or(Some(slot));
        while self.held > self.maxsize
            && let Some(victim) = self.oldest
        {
            let weak = self
                .entries
                .get(victim)
                .is_some_and(|entry| entry.value.reference.is_some());
            if weak {
                self.let_go(victim);
                let value = self.entries.value_mut(victim);
                if let Some(value) = value.and_then(|stored| stored.strong.take()) {
                    gone.values.push(value);
                }
            } else if let Some(pair) = self.remove(victim) {
                gone.pairs.push(pair);
            }
        }
    }

    /// The value in a slot, which becomes the most recent.
    fn used<'py>(
        &mut self,
        py: Python<'py>,
        slot: Slot,
        gone: &mut Gone,
    ) -> Option<Bound<'py, PyAny>> {
        let value = self.entries.get(slot)?.value.value(py)?;
        self.hold(slot, value.clone().unbind(), gone);
        Some(value)
    }

    fn reallocated(&mut self) -> Option<usize> {
        let allocated = self.entries.allocated_bytes();
        (allocated != self.allocated).then(|| {
            self.allocated = allocated;
            allocated
        })
    }

    fn take(&mut self) -> Drain<Py<PyAny>, Stored, Recency> {
        self.held = 0;
        self.oldest = None;
        self.entries.take()
    }
}

struct Shared(Guarded<State>);

impl Shared {
    fn settle(&self, py: Python<'_>) {
        if let Some(allocated) = self.0.with(py, State::reallocated) {
            trace::report(std::ptr::from_ref(self) as usize, allocated);
        }
    }
}

impl Reap for Shared {
    fn reap(&self, reference: &Bound<'_, PyAny>) {
        let py = reference.py();
        let removed = self.0.with(py, |state| {
            let is_it = |slot: Slot| {
                state
                    .entries
                    .get(slot)
                    .and_then(|entry| entry.value.reference.as_ref())
                    .is_some_and(|held| held.object().is(reference))
            };
            let slot = match place_of(reference).filter(|&slot| is_it(slot)) {
                Some(slot) => slot,
                None => state
                    .entries
                    .walk(false)
                    .into_iter()
                    .find(|&slot| is_it(slot))?,
            };
            let (key, stored) = state.remove(slot)?;
            let reference = stored
                .reference
                .map(|held| held.into_object().into_bound(py));
            // A dead value isn't held.
            let strong = stored.strong.map(|value| value.into_bound(py));
            Some((key.into_bound(py), reference, strong))
        });
        drop(removed);
        self.settle(py);
    }
}

/// The operations of `WeakCache` that are Rust's.
#[pyclass(
    frozen,
    subclass,
    mapping,
    generic,
    module = "leaksafe._core",
    name = "_WeakCache"
)]
pub struct WeakCache {
    shared: Arc<Shared>,
    reaper: Py<WeakReaper>,
    flights: Flights,
}

impl Drop for WeakCache {
    fn drop(&mut self) {
        Python::attach(|py| self.dissolve(py));
        trace::report(Arc::as_ptr(&self.shared) as usize, 0);
    }
}

impl hot::Mapping for WeakCache {
    #[inline]
    fn plain_hit(&self, key: &Bound<'_, PyAny>, hash: u64) -> Option<Py<PyAny>> {
        let py = key.py();
        self.shared.0.hit(py, |state| {
            let slot = state.entries.find_hash(hash)?;
            let entry = state.entries.get(slot)?;
            if compare(&entry.key, key) != Verdict::Same {
                return None;
            }
            // Only what is held already: then nothing else has to go.
            Some((slot, entry.value.strong.as_ref()?.clone_ref(py)))
        })
    }

    #[inline]
    fn plain_set<'py>(
        &self,
        _key: &Bound<'py, PyAny>,
        _hash: u64,
        _value: &Bound<'py, PyAny>,
    ) -> Option<[Bound<'py, PyAny>; 2]> {
        None
    }

    fn originals() -> &'static OnceLock<hot::Originals> {
        static ORIGINALS: OnceLock<hot::Originals> = OnceLock::new();
        &ORIGINALS
    }
}

impl WeakCache {
    fn locate<R>(
        &self,
        key: &Bound<'_, PyAny>,
        hash: u64,
        section: impl FnOnce(&mut State, Option<Slot>) -> R,
    ) -> PyResult<R> {
        locate(
            &self.shared.0,
            key,
            hash,
            |state: &State| &state.entries,
            section,
        )
    }

    fn look<'py>(&self, key: &Bound<'py, PyAny>, hash: u64) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut gone = Gone::default();
        self.locate(key, hash, |state, found| {
            found.and_then(|slot| state.used(key.py(), slot, &mut gone))
        })
    }

    /// Sets the value of a key; where `keep` says so, a living one that is there is kept and given back.
    fn put<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        hash: u64,
        value: &Bound<'py, PyAny>,
        keep: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let reference = if is_referable(value) {
            Some(Reference::new(value, self.reaper.bind(py).as_any())?)
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
        let mut gone = Gone::default();
        let outcome = self.locate(key, hash, |state, found| {
            if state.closed {
                return Err(false);
            }
            if let Some(slot) = found.filter(|_| keep)
                && let Some(present) = state.used(py, slot, &mut gone)
            {
                return Ok(Some(present));
            }
            let Some((key, stored)) = new.take() else {
                return Ok(None);
            };
            let slot = if let Some(slot) = found {
                state.let_go(slot);
                let old = state.entries.set_value(slot, stored);
                new = old.map(|old| (key, old));
                slot
            } else {
                let mut none = Removed::default();
                if let Err((_, key, stored)) = state.entries.insert(hash, key, stored, 1, &mut none)
                {
                    new = Some((key, stored));
                    return Err(true);
                }
                match state.entries.first(true) {
                    Some(slot) => slot,
                    None => return Ok(None),
                }
            };
            if let Some(reference) = state
                .entries
                .get(slot)
                .and_then(|entry| entry.value.reference.as_ref())
            {
                reference.set_place(slot);
            }
            state.hold(slot, value.clone().unbind(), &mut gone);
            Ok(None)
        })?;
        drop((new, gone));
        self.shared.settle(py);
        outcome.map_err(|memory| {
            if memory {
                out_of_memory()
            } else {
                PyRuntimeError::new_err("this WeakCache is closed and takes no entries")
            }
        })
    }

    fn take<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let removed = self.locate(key, hash_of(key)?, |state, found| {
            found.and_then(|slot| state.remove(slot))
        })?;
        Ok(removed.and_then(|(_, stored)| stored.value(key.py())))
    }

    fn dissolve(&self, py: Python<'_>) {
        let entries = self.shared.0.with(py, |state| {
            state.allocated = 0;
            state.take()
        });
        release::release((entries, self.flights.take(py)));
    }

    fn missing(key: &Bound<'_, PyAny>) -> PyErr {
        PyKeyError::new_err((key.clone().unbind(),))
    }
}

#[pymethods]
impl WeakCache {
    #[new]
    #[pyo3(signature = (maxsize, *_args, **_kwargs), text_signature = None)]
    fn new(
        py: Python<'_>,
        maxsize: &Bound<'_, PyAny>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let shared = Arc::new(Shared(Guarded::new(State {
            entries: Cache::new(None, false),
            maxsize: arguments::count(maxsize, "maxsize", "an int")?,
            held: 0,
            oldest: None,
            closed: false,
            allocated: 0,
        })));
        let table = Arc::<Shared>::clone(&shared);
        Ok(Self {
            shared,
            reaper: WeakReaper::make(py, table)?,
            flights: Flights::default(),
        })
    }

    /// How many of the most recent values are held strongly.
    #[getter]
    fn maxsize(&self, py: Python<'_>) -> u64 {
        self.shared.0.with(py, |state| state.maxsize)
    }

    /// Whether the cache was closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.shared.0.with(py, |state| state.closed)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.shared.0.with(py, |state| state.entries.len())
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let found = self.locate(key, hash_of(key)?, |state, found| {
            state.entries.get(found?)?.value.value(key.py())
        })?;
        Ok(found.is_some())
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.look(key, hash_of(key)?)?
            .ok_or_else(|| Self::missing(key))
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.put(key, hash_of(key)?, value, false).map(drop)
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.take(key)?.map(drop).ok_or_else(|| Self::missing(key))
    }

    /// Returns the value of `key`, which becomes the most recent, or `default`. O(1).
    ///
    /// >>> from leaksafe import WeakCache
    /// >>> WeakCache(2).get("a", "nothing")
    /// 'nothing'
    #[pyo3(signature = (key, default = None))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.look(key, hash_of(key)?)?.or(default))
    }

    /// Removes `key` and returns its value, or `default` where it is not there and one is given. O(1).
    ///
    /// Raises:
    ///     KeyError: if the key is not there and no default is given.
    #[pyo3(signature = (key, default = Argument::Absent), text_signature = "($self, key, default=...)")]
    fn pop<'py>(&self, key: &Bound<'py, PyAny>, default: Argument) -> PyResult<Bound<'py, PyAny>> {
        match (self.take(key)?, default) {
            (Some(value), _) => Ok(value),
            (None, Argument::Given(default)) => Ok(default.into_bound(key.py())),
            (None, Argument::Absent) => Err(Self::missing(key)),
        }
    }

    /// Removes the least recently used entry whose value lives, and returns its key and value. O(1).
    ///
    /// Raises:
    ///     KeyError: if there is none.
    fn popitem<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        while let Some((key, stored)) = self.shared.0.with(py, |state| {
            let first = state.entries.first(false)?;
            state.remove(first)
        }) {
            if let Some(value) = stored.value(py) {
                return Ok((key.into_bound(py), value));
            }
        }
        Err(PyKeyError::new_err("popitem(): this WeakCache is empty"))
    }

    /// Returns the value of `key`, after setting it to `default` where there is none; of threads that do so at once, all
    /// get the same value. O(1).
    #[pyo3(signature = (key, default = None))]
    fn setdefault<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let default = default.unwrap_or_else(|| key.py().None().into_bound(key.py()));
        Ok(self
            .put(key, hash_of(key)?, &default, true)?
            .unwrap_or(default))
    }

    /// Returns the value of `key`, made by `factory`, without arguments, where there is none: once for all threads that
    /// ask at the same time.
    fn get_or_create<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        factory: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let hash = hash_of(key)?;
        if let Some(value) = self.look(key, hash)? {
            return Ok(value);
        }
        check_factory(factory)?;
        let look = || self.look(key, hash);
        let make = || {
            let made = factory.call0()?;
            Ok(self.put(key, hash, &made, true)?.unwrap_or(made))
        };
        self.flights.once(key, key, hash, look, make)
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.keys_now(py))?.try_iter()
    }

    /// The keys of the living values, from the least to the most recent. O(n).
    #[pyo3(name = "_keys")]
    fn keys_now<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyAny>> {
        let (keys, values): (Vec<_>, Vec<_>) = self.shared.0.with(py, |state| {
            let slots = state.entries.walk(false);
            slots
                .into_iter()
                .filter_map(|slot| {
                    let entry = state.entries.get(slot)?;
                    Some((entry.key.bind(py).clone(), entry.value.value(py)?))
                })
                .unzip()
        });
        drop(values);
        keys
    }

    /// Removes every entry. O(n).
    fn clear(&self, py: Python<'_>) {
        let entries = self.shared.0.with(py, State::take);
        release::release(entries);
        self.shared.settle(py);
    }

    /// Empties the cache; it takes no entries any more. A second call does nothing.
    fn close(&self, py: Python<'_>) {
        self.shared.0.with(py, |state| state.closed = true);
        self.clear(py);
    }

    fn __sizeof__(slf: &Bound<'_, Self>) -> PyResult<usize> {
        let py = slf.py();
        let fixed: usize = slf
            .get_type()
            .getattr(intern!(py, "__basicsize__"))?
            .extract()?;
        let this = slf.get();
        let entries = this
            .shared
            .0
            .with(py, |state| state.entries.allocated_bytes());
        let lock = this.shared.0.lock_bytes();
        Ok(fixed + entries + lock + this.flights.allocated(py))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.reaper)?;
        self.flights.visit(visit)?;
        self.shared.0.visit(visit, |state, visit| {
            for entry in state.entries.iter() {
                visit.call(&entry.key)?;
                visit.call(&entry.value.strong)?;
                visit.call(entry.value.reference.as_ref().map(Reference::object))?;
            }
            Ok(())
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        self.dissolve(py);
    }
}
