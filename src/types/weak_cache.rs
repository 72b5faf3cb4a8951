//! What `WeakCache` is made of.

#![allow(clippy::doc_markdown, reason = "Python's docstrings")]

mod access;
mod state;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList};
use pyo3::{PyTraverseError, PyVisit};

use self::state::{Gone, State};
use super::aging;
use super::arguments::{self, Argument};
use super::flights::{Flights, check_factory};
use super::sweeper::{self, SLICE, Swept};
use super::weak_table::{Reap, WeakReaper};
use crate::core::{Cache, NEVER, Slot};
use crate::interop::build::{self, Count};
use crate::interop::equality::{Verdict, compare, hash_of};
use crate::interop::guard::Guarded;
use crate::interop::reference::{Reference, place_of};
use crate::interop::{clock, hot, release, sizes, trace};

/// How many values are held where nobody says.
const DEFAULT: u64 = 128;

struct Shared(Guarded<State>);

impl Shared {
    /// Lets go of some values that are too old at a time; says of how many, and whether that was all.
    fn expire_slice(&self, py: Python<'_>, now: u64) -> (usize, bool) {
        let mut gone = Gone::default();
        let slice = self
            .0
            .with(py, |state| state.expire_slice(now, SLICE, &mut gone));
        drop(gone);
        self.settle(py);
        slice
    }

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
    /// For how long a value is held, in seconds as it was given, and in nanoseconds where that ever ends.
    ttl: Option<(f64, Option<u64>)>,
    in_bytes: bool,
    /// Whether the sweeper knows it.
    watched: AtomicBool,
}

impl Drop for WeakCache {
    fn drop(&mut self) {
        if *self.watched.get_mut() {
            sweeper::forget(std::ptr::from_ref(self) as usize);
        }
        Python::attach(|py| self.dissolve(py));
        trace::report(Arc::as_ptr(&self.shared) as usize, 0);
    }
}

impl hot::Mapping for WeakCache {
    #[inline]
    fn plain_hit(&self, key: &Bound<'_, PyAny>, hash: u64) -> Option<Py<PyAny>> {
        let py = key.py();
        let now = self.span().map_or(0, |_| clock::cheap());
        self.shared.0.hit(py, |state| {
            let slot = state.entries.find_hash(hash)?;
            let entry = state.entries.get(slot)?;
            if state.entries.is_due(slot, now) || compare(&entry.key, key) != Verdict::Same {
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

impl Swept for WeakCache {
    fn expire_slice(slf: &Bound<'_, Self>, now: u64) -> (usize, bool) {
        slf.get().shared.expire_slice(slf.py(), now)
    }

    fn next_due(slf: &Bound<'_, Self>) -> u64 {
        slf.get().shared.0.with(slf.py(), |state| {
            state.swept = state.entries.earliest_due();
            state.swept
        })
    }
}

#[pymethods]
impl WeakCache {
    #[new]
    #[pyo3(signature = (maxsize = Argument::Absent, ttl = None, *, max_bytes = None), text_signature = None)]
    #[allow(clippy::needless_pass_by_value, reason = "as PyO3 hands them over")]
    fn new(
        py: Python<'_>,
        maxsize: Argument,
        ttl: Option<&Bound<'_, PyAny>>,
        max_bytes: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let (maxsize, in_bytes) = match (&maxsize, max_bytes) {
            (Argument::Given(maxsize), None) => {
                let maxsize = maxsize.bind(py);
                (arguments::count(maxsize, "maxsize", "an int")?, false)
            }
            (Argument::Absent, None) => (DEFAULT, false),
            _ => {
                let (bytes, _) = arguments::bound(py, &maxsize, max_bytes)?;
                (bytes.unwrap_or(DEFAULT), true)
            }
        };
        let ttl = match ttl {
            None => None,
            Some(ttl) => {
                let seconds = aging::seconds(ttl, "ttl", "a float, a timedelta or None")?;
                // What lasts for centuries has no end.
                let span = Some(aging::nanoseconds(seconds)).filter(|&span| span < NEVER / 2);
                Some((seconds, span))
            }
        };
        let aging = ttl.is_some_and(|(_, span)| span.is_some());
        let mut entries = Cache::new(None, in_bytes);
        if aging {
            entries = entries.with_ages(false);
        }
        let shared = Arc::new(Shared(Guarded::new(State::new(entries, maxsize, aging))));
        let table = Arc::<Shared>::clone(&shared);
        Ok(Self {
            shared,
            reaper: WeakReaper::make(py, table)?,
            flights: Flights::default(),
            ttl,
            in_bytes,
            watched: AtomicBool::new(false),
        })
    }

    /// How many of the most recent values are held strongly, or how many bytes of them where `max_bytes` was given.
    #[getter]
    fn maxsize(&self, py: Python<'_>) -> u64 {
        self.shared.0.with(py, |state| state.maxsize)
    }

    /// For how many seconds a value is held; `None` for as long as it is recent.
    #[getter]
    fn ttl(&self) -> Option<f64> {
        Some(self.ttl?.0)
    }

    /// Whether the cache was closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.shared.0.with(py, |state| state.closed)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.expire(py);
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
            .ok_or_else(|| build::missing(key))
    }

    fn __setitem__<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        Self::put(slf, key, hash_of(key)?, value, false).map(drop)
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.take(key)?.map(drop).ok_or_else(|| build::missing(key))
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

    /// Returns the value of `key`, or `default`, as `get` does, but is no use of it. O(1).
    #[pyo3(signature = (key, default = None))]
    fn peek<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let found = self.locate(key, hash_of(key)?, |state, found| {
            state.entries.get(found?)?.value.value(key.py())
        })?;
        Ok(found.or(default))
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
            (None, Argument::Absent) => Err(build::missing(key)),
        }
    }

    /// Removes the least recently used entry whose value lives, and returns its key and value. O(1).
    ///
    /// Raises:
    ///     KeyError: if there is none.
    fn popitem<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        self.expire(py);
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
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let default = default.unwrap_or_else(|| key.py().None().into_bound(key.py()));
        let hash = hash_of(key)?;
        if let Some(value) = slf.get().look(key, hash)? {
            return Ok(value);
        }
        Ok(Self::put(slf, key, hash, &default, true)?.unwrap_or(default))
    }

    /// Returns the value of `key`, made by `factory`, without arguments, where there is none: once for all threads that
    /// ask at the same time.
    /// A value too heavy for `max_bytes` is returned and not kept.
    fn get_or_create<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        factory: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let this = slf.get();
        let hash = hash_of(key)?;
        if let Some(value) = this.look(key, hash)? {
            return Ok(value);
        }
        check_factory(factory)?;
        let look = || this.look(key, hash);
        let make = || {
            let made = factory.call0()?;
            let weight = Self::weigh(slf, key, &made)?;
            if this.in_bytes && weight > this.maxsize(slf.py()) {
                return Ok(made);
            }
            Ok(Self::put_weighed(slf, key, hash, &made, (weight, true))?.unwrap_or(made))
        };
        this.flights.once(key, key, hash, look, make)
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.keys_now(py))?.try_iter()
    }

    /// The keys of the living values, from the least to the most recent. O(n).
    #[pyo3(name = "_keys")]
    fn keys_now<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyAny>> {
        self.expire(py);
        let (keys, values): (Vec<_>, Vec<_>) = self.shared.0.with(py, |state| {
            let slots = state.entries.walk(false);
            slots
                .into_iter()
                .filter_map(|slot| {
                    let entry = state.entries.get(slot)?;
                    let value = entry.value.value(py)?;
                    Some((entry.key.bind(py).clone(), value))
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
        if self.watched.load(Ordering::Relaxed) {
            sweeper::forget(std::ptr::from_ref(self) as usize);
        }
        self.clear(py);
    }

    fn __sizeof__(slf: &Bound<'_, Self>) -> PyResult<Count> {
        let py = slf.py();
        let fixed = sizes::basic(&slf.get_type())?;
        let this = slf.get();
        let entries = this
            .shared
            .0
            .with(py, |state| state.entries.allocated_bytes());
        let lock = this.shared.0.lock_bytes();
        Ok(Count::from(
            fixed + entries + lock + this.flights.allocated(py),
        ))
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
