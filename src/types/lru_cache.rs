//! `LRUCache`.

#![allow(
    clippy::doc_markdown,
    clippy::doc_link_with_quotes,
    reason = "Python's docstrings"
)]

mod access;
mod ages;
mod comparing;
mod copying;
mod making;
mod removal;
mod state;

use std::sync::atomic::{AtomicBool, AtomicU8};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use self::state::{Phase, State};
use super::aging::Timing;
use super::arguments::{self, Argument};
use super::flights::Flights;
use super::iterator::{CacheIterator, Part};
use super::stats::{Cause, Counters};
use super::sweeper;
use super::views::{ItemsView, KeysView, ValuesView};
use super::weigher::Weigher;
use crate::core::{Cache, NEVER};
use crate::interop::build::{self, Count, Text};
use crate::interop::equality::hash_of;
use crate::interop::guard::Guarded;
use crate::interop::{release, sizes, trace};

pub use self::access::keys;
pub use self::copying::rebuild;
pub use self::making::keep;
pub use self::removal::take;
pub use self::state::Entries;

/// A mapping of at most `maxsize` entries that forgets the least recently used first.
///
/// Args:
///     maxsize: the bound, in entries, or in the unit of `getsizeof`; `None` for no bound; 0 keeps nothing.
///     max_bytes: the bound in bytes, in place of `maxsize`: an int, or a str with a unit, B, kB, MB, GB, KiB, MiB or
///         GiB, such as "64 MiB". Without a `getsizeof`, an entry then weighs what `deep_sizeof` counts from its key and
///         value, once each and without this cache, and 51 bytes for its place here.
///     getsizeof: what an entry weighs, an `int` from 0: a callable that gets the value, or the key and the value
///         if it has two positional parameters that it requires.
///     on_remove: called with key, value and cause after an entry left: "size" (evicted), "replaced" (the value is
///         the old one), "explicit" (`del`, `pop`, `popitem`) or "cleared". What it raises goes to
///         `sys.unraisablehook`.
///
/// Raises:
///     TypeError, ValueError, OverflowError: for a `maxsize` that is no int, negative, or above `sys.maxsize`, the same
///         for `max_bytes`; TypeError where both are given, or none.
///
/// It behaves as a `dict` does, and may be used from any thread, and from any code that it calls. `[]`, `get`,
/// `setdefault`, `get_or_create` and setting a value make an entry the most recent; `in`, `peek` and iteration, which
/// goes from the least to the most recent, don't. Every operation on one key is O(1) amortised. An entry costs about
/// 43 bytes beside its key and value (a `dict`'s: 42), and 8 more where there is a `getsizeof`.
///
/// The order is a doubly linked list over slots (the classic LRU: Denning, "The Working Set Model for Program
/// Behavior", CACM 11(5), 1968); the index is a SwissTable (`hashbrown`).
///
/// >>> from leaksafe import LRUCache
/// >>> cache = LRUCache(2)
/// >>> cache["a"], cache["b"] = 1, 2
/// >>> cache["a"]
/// 1
/// >>> cache["c"] = 3
/// >>> cache
/// LRUCache({'a': 1, 'c': 3}, maxsize=2, currsize=2)
#[pyclass(
    frozen,
    subclass,
    weakref,
    mapping,
    generic,
    module = "leaksafe",
    name = "LRUCache"
)]
pub struct LruCache {
    state: Guarded<State>,
    flights: Flights,
    /// Whether there is a `weigher`, to be known without the lock.
    weighed: AtomicBool,
    /// The [`Timing`], likewise.
    timing: AtomicU8,
    /// Whether the sweeper knows it.
    watched: AtomicBool,
}

impl Drop for LruCache {
    fn drop(&mut self) {
        let address = self.address();
        if *self.watched.get_mut() {
            sweeper::forget(address);
        }
        let state = self.state.get_mut();
        if state.allocated > 0 {
            trace::report(address, 0);
        }
        let contents = (
            state.entries.take(),
            state.weigher.take().map(|weigher| weigher.function),
            state.aging.take(),
            state.on_remove.take(),
        );
        release::release(contents);
    }
}

#[pymethods]
impl LruCache {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=..., getsizeof=None, *, max_bytes=None, on_remove=None)")]
    pub fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            state: Guarded::new(State {
                entries: Cache::new(Some(0), false),
                weigher: None,
                aging: None,
                swept: NEVER,
                on_remove: None,
                counters: Counters::default(),
                phase: Phase::Made,
                tracked: true,
                allocated: 0,
            }),
            flights: Flights::default(),
            weighed: AtomicBool::new(false),
            timing: AtomicU8::new(Timing::Ageless as u8),
            watched: AtomicBool::new(false),
        }
    }

    #[pyo3(signature = (maxsize = Argument::Absent, getsizeof = None, *, max_bytes = None, on_remove = None))]
    #[allow(clippy::needless_pass_by_value, reason = "as PyO3 hands them over")]
    fn __init__(
        slf: &Bound<'_, Self>,
        maxsize: Argument,
        getsizeof: Option<Bound<'_, PyAny>>,
        max_bytes: Option<Bound<'_, PyAny>>,
        on_remove: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (maxsize, in_bytes) = arguments::bound(slf.py(), &maxsize, max_bytes.as_ref())?;
        let weigher = Weigher::of_cache(slf.py(), getsizeof, in_bytes)?;
        let on_remove = arguments::callable(on_remove, "on_remove")?;
        Self::configure(slf, maxsize, weigher, on_remove, None)
    }

    pub fn __len__(slf: &Bound<'_, Self>) -> PyResult<usize> {
        Self::expire_due(slf)?;
        Ok(slf.get().look(slf.py(), Cache::len))
    }

    fn __contains__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Self::has(slf, key)
    }

    fn __getitem__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        if let Some(value) = Self::lookup(slf, key, hash_of(key)?, Self::now(slf)?)? {
            return Ok(value);
        }
        if Self::is_plain(slf) {
            return Err(build::missing(key));
        }
        Ok(slf
            .call_method1(intern!(slf.py(), "__missing__"), (key,))?
            .unbind())
    }

    fn __setitem__(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        Self::set(slf, key, hash_of(key)?, value)
    }

    fn __delitem__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let (pair, on_remove) = Self::take(slf, key)?.ok_or_else(|| build::missing(key))?;
        Self::dismiss(slf, [pair], on_remove, Cause::Explicit);
        Ok(())
    }

    fn __iter__(slf: &Bound<'_, Self>) -> CacheIterator {
        CacheIterator::new(slf, Part::Keys, false)
    }

    fn __reversed__(slf: &Bound<'_, Self>) -> CacheIterator {
        CacheIterator::new(slf, Part::Keys, true)
    }

    /// Called by `cache[key]` of a subclass for a key that is not there; a subclass may compute the value here.
    ///
    /// Raises:
    ///     KeyError: always, unless overridden.
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> class Squares(LRUCache):
    /// ...     def __missing__(self, key):
    /// ...         self[key] = key * key
    /// ...         return self[key]
    /// >>> Squares(10)[7]
    /// 49
    #[allow(clippy::unused_self, reason = "a method, for Python")]
    fn __missing__(&self, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Err(build::missing(key))
    }

    /// Returns the value of `key`, which becomes the most recent, or `default`. O(1).
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> LRUCache(2).get("a", "nothing")
    /// 'nothing'
    #[pyo3(signature = (key, default = None))]
    fn get(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        default: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Ok(Self::lookup(slf, key, hash_of(key)?, Self::now(slf)?)?
            .or(default)
            .unwrap_or_else(|| slf.py().None()))
    }

    /// Returns the value of `key` without making it the most recent and without counting a hit, or `default`. O(1).
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> cache = LRUCache(2)
    /// >>> cache.update(a=1, b=2)
    /// >>> cache.peek("a"), list(cache)
    /// (1, ['a', 'b'])
    #[pyo3(signature = (key, default = None))]
    fn peek(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        default: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Ok(Self::peeked(slf, key)?
            .or(default)
            .unwrap_or_else(|| slf.py().None()))
    }

    /// Removes `key` and returns its value, or `default` where it is not there and one is given. O(1).
    ///
    /// Raises:
    ///     KeyError: if the key is not there and no default is given.
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> cache = LRUCache(2)
    /// >>> cache["a"] = 1
    /// >>> cache.pop("a"), cache.pop("a", None)
    /// (1, None)
    #[pyo3(signature = (key, default = Argument::Absent), text_signature = "($self, key, default=...)")]
    fn pop(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        default: Argument,
    ) -> PyResult<Py<PyAny>> {
        match (Self::take(slf, key)?, default) {
            (Some(((key, value), on_remove)), _) => {
                let result = value.clone_ref(slf.py());
                Self::dismiss(slf, [(key, value)], on_remove, Cause::Explicit);
                Ok(result)
            }
            (None, Argument::Given(default)) => Ok(default),
            (None, Argument::Absent) => Err(build::missing(key)),
        }
    }

    /// Removes the least recently used entry and returns its key and value. O(1).
    ///
    /// Raises:
    ///     KeyError: if the cache is empty.
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> cache = LRUCache(2)
    /// >>> cache.update(a=1, b=2)
    /// >>> cache.popitem()
    /// ('a', 1)
    fn popitem<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        Self::pop_first(slf)
    }

    /// Returns the value of `key`, after setting it to `default` where it was not there. O(1).
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> LRUCache(2).setdefault("a", 1)
    /// 1
    #[pyo3(signature = (key, default = None))]
    fn setdefault(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        default: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let hash = hash_of(key)?;
        let now = Self::now(slf)?;
        if let Some(value) = Self::lookup(slf, key, hash, now)? {
            return Ok(value);
        }
        let default = default.unwrap_or_else(|| slf.py().None().into_bound(slf.py()));
        match Self::store(slf, key, hash, &default, true, None, Some(now))? {
            Ok(present) => Ok(present.unwrap_or_else(|| default.unbind())),
            Err(refusal) => Err(Self::refused(slf, refusal)),
        }
    }

    /// Returns the value of `key`, made by `factory` where it is not there.
    ///
    /// `factory` takes no arguments and runs once for each key, however many threads ask at once: the others wait,
    /// without the interpreter. What it raises goes to its caller, nothing of it is kept, and the next of those who
    /// waited calls its own factory. A factory that asks for its own key, and the one that would close a circle of
    /// factories that wait for each other, is run in place. A result too heavy for the cache is returned and not kept.
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> cache = LRUCache(2)
    /// >>> cache.get_or_create("a", lambda: 1), cache.get_or_create("a", lambda: 2)
    /// (1, 1)
    fn get_or_create(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        factory: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        Self::get_or_make(slf, key, factory)
    }

    /// Returns an awaitable of the value of `key`, made by the coroutine function `factory` where it is not there.
    ///
    /// `get_or_create` for asyncio. `factory` takes no arguments, and runs once for each key and event loop, in a task
    /// of its own with the first caller's context; it is cancelled when nobody waits for it any more. What it raises goes
    /// to everyone who waited, and nothing of it is kept. One that would close a circle of waiting is run in place.
    ///
    /// >>> import asyncio
    /// >>> from leaksafe import LRUCache
    /// >>> cache = LRUCache(2)
    /// >>> async def load():
    /// ...     print("loading")
    /// ...     return 1
    /// >>> async def main():
    /// ...     return await asyncio.gather(cache.aget_or_create("a", load), cache.aget_or_create("a", load))
    /// >>> asyncio.run(main())
    /// loading
    /// [1, 1]
    fn aget_or_create<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        factory: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::get_or_await(slf, key, factory)
    }

    /// Sets entries from a mapping, from pairs, and from keyword arguments, as `dict.update` does. O(n).
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> cache = LRUCache(3)
    /// >>> cache.update({"a": 1}, b=2)
    /// >>> list(cache.items())
    /// [('a', 1), ('b', 2)]
    #[pyo3(signature = (other = Argument::Absent, /, **entries), text_signature = "($self, other=(), /, **entries)")]
    fn update(
        slf: &Bound<'_, Self>,
        other: Argument,
        entries: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let now = Self::now(slf)?;
        if let Argument::Given(other) = other {
            Self::update_from(slf, other.bind(slf.py()), now)?;
        }
        if let Some(entries) = entries {
            Self::update_from(slf, entries, now)?;
        }
        Ok(())
    }

    /// Removes every entry, with the cause "cleared", and gives the table's memory back. O(n).
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> cache = LRUCache(2)
    /// >>> cache["a"] = 1
    /// >>> cache.clear()
    /// >>> len(cache)
    /// 0
    fn clear(slf: &Bound<'_, Self>) {
        Self::empty(slf, false);
    }

    /// Empties the cache and lets go of its callables; it takes no entries any more. A second call does nothing.
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> with LRUCache(2) as cache:
    /// ...     cache["a"] = 1
    /// >>> cache.closed
    /// True
    fn close(slf: &Bound<'_, Self>) {
        Self::empty(slf, true);
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(slf: &Bound<'_, Self>, _exception: &Bound<'_, PyTuple>) {
        Self::close(slf);
    }

    /// Sets the bound, evicting the least recently used entries that are over it, with the cause "size".
    ///
    /// Args:
    ///     maxsize: as for the constructor.
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> cache = LRUCache(3)
    /// >>> cache.update(a=1, b=2, c=3)
    /// >>> cache.resize(1)
    /// >>> cache
    /// LRUCache({'c': 3}, maxsize=1, currsize=1)
    fn resize(slf: &Bound<'_, Self>, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::set_maxsize(slf, maxsize)
    }

    /// The bound, in entries or in the unit of `getsizeof`; `None` for no bound.
    #[getter]
    fn maxsize(&self, py: Python<'_>) -> Option<Count> {
        self.look(py, Cache::bound).map(Count)
    }

    /// The number of entries, or what they weigh together by `getsizeof`.
    #[getter]
    fn currsize(slf: &Bound<'_, Self>) -> PyResult<Count> {
        Self::expire_due(slf)?;
        Ok(Count(slf.get().look(slf.py(), Cache::weight)))
    }

    /// Whether the cache was closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.phase == Phase::Closed)
    }

    /// Returns what was counted since the cache was made: a `CacheStats`. O(1).
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> cache = LRUCache(2)
    /// >>> cache["a"] = 1
    /// >>> cache["a"], cache.get("b")
    /// (1, None)
    /// >>> stats = cache.stats()
    /// >>> stats.hits, stats.misses, stats.hit_ratio
    /// (1, 1, 0.5)
    fn stats<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        Self::expire_due(slf)?;
        let (counters, currsize, maxsize) = slf.get().state.with(py, |state| {
            (
                state.counters,
                state.entries.weight(),
                state.entries.bound(),
            )
        });
        counters.to_python(py, currsize, maxsize)
    }

    /// Returns a live view of the keys, from the least to the most recent.
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> cache = LRUCache(2)
    /// >>> cache.update(a=1, b=2)
    /// >>> sorted(cache.keys() & {"b", "c"})
    /// ['b']
    fn keys(slf: Py<Self>) -> KeysView {
        KeysView::new(slf)
    }

    /// Returns a live view of the values, from the least to the most recent.
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> cache = LRUCache(2)
    /// >>> cache.update(a=1, b=2)
    /// >>> sum(cache.values())
    /// 3
    fn values(slf: Py<Self>) -> ValuesView {
        ValuesView::new(slf)
    }

    /// Returns a live view of the items, from the least to the most recent.
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> cache = LRUCache(2)
    /// >>> cache.update(a=1, b=2)
    /// >>> dict(cache.items())
    /// {'a': 1, 'b': 2}
    fn items(slf: Py<Self>) -> ItemsView {
        ItemsView::new(slf)
    }

    /// Returns an independent cache with the same bound, callables and entries, in the same order. O(n).
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> cache = LRUCache(2)
    /// >>> cache["a"] = 1
    /// >>> twin = cache.copy()
    /// >>> twin["b"] = 2
    /// >>> len(cache), len(twin)
    /// (1, 2)
    fn copy<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        Self::duplicate(slf, Self::now(slf)?)
    }

    fn __copy__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        Self::copy(slf)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        Self::reduced(slf)
    }

    /// Fills a new cache, for `copy` and `pickle`, from what `__reduce__` gave.
    fn __setstate__(slf: &Bound<'_, Self>, state: &Bound<'_, PyTuple>) -> PyResult<()> {
        Self::refill(slf, state)
    }

    fn __or__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::merge(slf, other, true)
    }

    fn __ror__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::merge(slf, other, false)
    }

    fn __ior__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::update_from(slf, other, Self::now(slf)?)
    }

    fn __eq__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::equals(slf, other)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<Text> {
        Self::shown(slf)
    }

    fn __sizeof__(slf: &Bound<'_, Self>) -> PyResult<Count> {
        let fixed = sizes::basic(&slf.get_type())?;
        Ok(Count::from(
            fixed
                + slf.get().look(slf.py(), Cache::allocated_bytes)
                + slf.get().flights.allocated(slf.py())
                + slf.get().state.lock_bytes(),
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.flights.visit(visit)?;
        self.state.visit(visit, |state, visit| {
            for entry in state.entries.iter() {
                visit.call(&entry.key)?;
                visit.call(&entry.value)?;
            }
            if let Some(weigher) = &state.weigher {
                visit.call(&weigher.function)?;
            }
            if let Some(aging) = &state.aging {
                aging.visit(&visit)?;
            }
            visit.call(&state.on_remove)
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.flights.take(py));
        let contents = self.state.with(py, |state| {
            (
                state.entries.take(),
                state.weigher.take().map(|weigher| weigher.function),
                state.aging.take(),
                state.on_remove.take(),
            )
        });
        release::release(contents);
    }
}
