//! `LRUCache`.

#![allow(
    clippy::doc_markdown,
    clippy::doc_link_with_quotes,
    reason = "Python's docstrings"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{
    PyKeyError, PyMemoryError, PyOverflowError, PyRuntimeError, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString, PyTuple, PyType};
use pyo3::{IntoPyObjectExt, PyTraverseError, PyVisit, intern};

use super::arguments::{self, Argument};
use super::iterator::{CacheIterator, Part};
use super::stats::{Cause, Counters};
use super::views::{ItemsView, KeysView, ValuesView};
use super::weigher::Weigher;
use crate::core::{Cache, Removed, Slot, StoreError};
use crate::interop::equality::{Verdict, compare, hash_of, is_atomic};
use crate::interop::flight::{Flight, Landing};
use crate::interop::guard::{Guarded, Noted};
use crate::interop::lookup::{locate, locate_read};
use crate::interop::{gc, hot, logging, release, repr, trace};

/// What a cache holds.
pub type Entries = Cache<Py<PyAny>, Py<PyAny>>;
type Pair = (Py<PyAny>, Py<PyAny>);
/// `getsizeof` and `on_remove`.
type Callables = (Option<Py<PyAny>>, Option<Py<PyAny>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// `__new__` ran and `__init__` did not.
    Made,
    Open,
    Closed,
}

struct State {
    entries: Entries,
    flights: Cache<Py<PyAny>, Arc<Flight>>,
    weigher: Option<Weigher>,
    on_remove: Option<Py<PyAny>>,
    counters: Counters,
    phase: Phase,
    tracked: bool,
    allocated: usize,
}

/// Why nothing was stored.
#[derive(Clone, Copy)]
enum Refusal {
    Phase(Phase),
    TooHeavy { weight: u64, maxsize: u64 },
    Store(StoreError),
}

/// What an operation took out, on its way out of the lock.
#[derive(Default)]
struct Change {
    /// The key and value that were not stored, or the key and the old value of an entry that was `replaced`.
    leftover: Option<Pair>,
    replaced: bool,
    evicted: Removed<Pair>,
    /// The callback, where there is something to tell it.
    on_remove: Option<Py<PyAny>>,
    /// The bytes that the table now has, where that changed.
    allocated: Option<usize>,
}

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
    /// Whether there is a `weigher`, to be known without the lock.
    weighed: AtomicBool,
}

impl Drop for LruCache {
    fn drop(&mut self) {
        let address = self.address();
        let state = self.state.get_mut();
        if state.allocated > 0 {
            trace::report(address, 0);
        }
        let contents = (
            state.entries.take(),
            state.flights.take(),
            state.weigher.take().map(|weigher| weigher.function),
            state.on_remove.take(),
        );
        release::release(contents);
    }
}

impl Noted for State {
    #[inline]
    fn used(&mut self, slot: Slot) {
        self.entries.touch(slot);
    }

    #[inline]
    fn counted(&mut self, uses: u64) {
        self.counters.hits += uses;
    }
}

impl State {
    fn refuse_unless_open(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Open => Ok(()),
            phase => Err(Refusal::Phase(phase)),
        }
    }

    /// From now on the cache may be part of a cycle.
    fn track(&mut self, cache: &Bound<'_, LruCache>) {
        if !self.tracked {
            gc::track(cache);
            self.tracked = true;
        }
    }

    fn callback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.on_remove
            .as_ref()
            .map(|callback| callback.clone_ref(py))
    }

    /// Puts an entry where that takes no Python code, no memory and no callback, and returns what is to be released;
    /// else `None`, and nothing has happened.
    #[inline]
    fn put_plain<'py>(
        &mut self,
        key: &Bound<'py, PyAny>,
        hash: u64,
        value: &Bound<'py, PyAny>,
    ) -> Option<[Bound<'py, PyAny>; 2]> {
        let py = key.py();
        if self.phase != Phase::Open || self.weigher.is_some() || self.on_remove.is_some() {
            return None;
        }
        if !self.tracked && !is_atomic(value) {
            return None;
        }
        if let Some(slot) = self.entries.find_hash(hash) {
            if compare(&self.entries.get(slot)?.key, key) != Verdict::Same {
                return None;
            }
            let old = self.entries.set_value(slot, value.clone().unbind())?;
            self.counters.replaced += 1;
            return Some([key.clone(), old.into_bound(py)]);
        }
        let victim = self.entries.exchangeable()?;
        let (new_key, new_value) = (key.clone().unbind(), value.clone().unbind());
        let (old_key, old_value) = self.entries.exchange(victim, hash, new_key, new_value)?;
        self.counters.insertions += 1;
        self.counters.size += 1;
        Some([old_key.into_bound(py), old_value.into_bound(py)])
    }

    /// Puts an entry in its slot, or in a new one. What doesn't stay goes into `change`.
    #[inline]
    fn put(
        &mut self,
        py: Python<'_>,
        hash: u64,
        (key, value): Pair,
        weight: u64,
        found: Option<Slot>,
        change: &mut Change,
    ) -> Result<(), Refusal> {
        if let Err(refusal) = self.refuse_unless_open() {
            change.leftover = Some((key, value));
            return Err(refusal);
        }
        let len = self.entries.len();
        let stored = match found {
            Some(slot) => {
                match self
                    .entries
                    .replace(slot, value, weight, &mut change.evicted)
                {
                    Ok(old) => {
                        self.counters.replaced += 1;
                        change.replaced = true;
                        change.leftover = old.map(|old| (key, old));
                        Ok(())
                    }
                    Err((error, value)) => Err((error, key, value)),
                }
            }
            None => self
                .entries
                .insert(hash, key, value, weight, &mut change.evicted)
                .map(|()| self.counters.insertions += 1),
        };
        self.counters.size += change.evicted.len() as u64;
        if change.replaced || !change.evicted.is_empty() {
            change.on_remove = self.callback(py);
        }
        if self.entries.len() != len {
            change.allocated = self.reallocated();
        }
        stored.map_err(|(error, key, value)| {
            change.leftover = Some((key, value));
            match error {
                StoreError::TooHeavy => Refusal::TooHeavy {
                    weight,
                    maxsize: self.entries.bound().unwrap_or(u64::MAX),
                },
                other => Refusal::Store(other),
            }
        })
    }

    /// Notes what the table weighs, and tells where that is new.
    fn reallocated(&mut self) -> Option<usize> {
        let allocated = self.entries.allocated_bytes();
        (allocated != self.allocated).then(|| {
            self.allocated = allocated;
            allocated
        })
    }

    fn take_slot(&mut self, slot: Slot, cause: Cause) -> Option<Pair> {
        let pair = self.entries.remove(slot)?;
        self.counters.removed(cause, 1);
        Some(pair)
    }

    /// The value in a slot, which becomes the most recent.
    #[inline]
    fn used(&mut self, py: Python<'_>, slot: Slot) -> Option<Py<PyAny>> {
        let value = self.entries.get(slot)?.value.clone_ref(py);
        self.entries.touch(slot);
        Some(value)
    }

    /// The same, counted.
    #[inline]
    fn hit(&mut self, py: Python<'_>, slot: Slot) -> Option<Py<PyAny>> {
        let value = self.used(py, slot)?;
        self.counters.hits += 1;
        Some(value)
    }
}

impl hot::Mapping for LruCache {
    #[inline]
    fn plain_hit(&self, key: &Bound<'_, PyAny>, hash: u64) -> Option<Py<PyAny>> {
        let py = key.py();
        self.state.hit(py, |state| {
            let slot = state.entries.find_hash(hash)?;
            let entry = state.entries.get(slot)?;
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
        if logging::enabled(log::Level::Debug) {
            return None;
        }
        self.state
            .with(py, |state| state.put_plain(key, hash, value))
    }

    fn originals() -> &'static OnceLock<hot::Originals> {
        static ORIGINALS: OnceLock<hot::Originals> = OnceLock::new();
        &ORIGINALS
    }
}

impl LruCache {
    fn address(&self) -> usize {
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
        Self::locate_read(slf, key, |entries, found| {
            Some(entries.get(found?)?.value.clone_ref(slf.py()))
        })
    }

    /// Whether there is an entry for a key.
    ///
    /// # Errors
    /// What the key's `__hash__` or a comparison raises.
    pub fn has(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Self::locate_read(slf, key, |_, found| found.is_some())
    }

    /// All items in order, as they are now.
    pub fn snapshot<'py>(slf: &Bound<'py, Self>) -> Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        Self::hashed_snapshot(slf)
            .into_iter()
            .map(|(_, key, value)| (key, value))
            .collect()
    }

    fn hashed_snapshot<'py>(
        slf: &Bound<'py, Self>,
    ) -> Vec<(u64, Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let py = slf.py();
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

    #[inline]
    fn locate<R>(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        section: impl FnOnce(&mut State, Option<Slot>) -> R,
    ) -> PyResult<R> {
        locate(&slf.get().state, key, hash, |state| &state.entries, section)
    }

    fn locate_read<R>(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        section: impl Fn(&Entries, Option<Slot>) -> R,
    ) -> PyResult<R> {
        locate_read(
            &slf.get().state,
            key,
            hash_of(key)?,
            |state: &State| &state.entries,
            |state, found| section(&state.entries, found),
        )
    }

    /// The value of a key, counted as a hit or, unless `quiet`, as a miss.
    #[inline]
    fn lookup(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
    ) -> PyResult<Option<Py<PyAny>>> {
        Self::locate(slf, key, hash, |state, found| {
            let value = found.and_then(|slot| state.hit(slf.py(), slot));
            state.counters.misses += u64::from(value.is_none());
            value
        })
    }

    fn weigh(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
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
    fn store(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        value: &Bound<'_, PyAny>,
        keep: bool,
    ) -> PyResult<Result<Option<Py<PyAny>>, Refusal>> {
        let weight = Self::weigh(slf, key, value)?;
        let atomic = is_atomic(key) && is_atomic(value);
        let pair = (key.clone().unbind(), value.clone().unbind());
        let mut change = Change::default();
        let outcome = Self::locate(slf, key, hash, |state, found| {
            if let (true, Some(slot)) = (keep, found) {
                // Counted as a miss already: it came between.
                change.leftover = Some(pair);
                return Ok(state.used(slf.py(), slot));
            }
            if !atomic {
                state.track(slf);
            }
            state
                .put(slf.py(), hash, pair, weight, found, &mut change)
                .map(|()| None)
        })?;
        Self::settle(slf, change);
        Ok(outcome)
    }

    /// Ends a change once the lock is free: tells the tools and the callback, and drops what was taken out.
    #[inline]
    fn settle(slf: &Bound<'_, Self>, change: Change) {
        if change.on_remove.is_some()
            || change.allocated.is_some()
            || logging::enabled(log::Level::Debug)
        {
            Self::tell(slf, change);
        }
    }

    #[cold]
    fn tell(slf: &Bound<'_, Self>, change: Change) {
        if let Some(allocated) = change.allocated {
            trace::report(slf.get().address(), allocated);
        }
        if logging::enabled(log::Level::Debug) && !change.evicted.is_empty() {
            Self::log_eviction(slf, change.evicted.len());
        }
        let Some(on_remove) = change.on_remove else {
            return;
        };
        if let Some(pair) = change.leftover.filter(|_| change.replaced) {
            Self::notify(slf, &on_remove, pair, Cause::Replaced);
        }
        for pair in change.evicted {
            Self::notify(slf, &on_remove, pair, Cause::Size);
        }
    }

    #[cold]
    fn log_eviction(slf: &Bound<'_, Self>, count: usize) {
        let (len, currsize, maxsize) = slf.get().read(slf.py(), |entries| {
            (entries.len(), entries.weight(), entries.bound())
        });
        let name = slf.get_type().name().map(|name| name.to_string());
        log::debug!(
            target: logging::TARGET,
            "{} evicted {count} {}: {len} left, currsize {currsize} of {}",
            name.as_deref().unwrap_or("LRUCache"),
            if count == 1 { "entry" } else { "entries" },
            maxsize.map_or("no bound".to_owned(), |maxsize| maxsize.to_string()),
        );
    }

    fn notify(slf: &Bound<'_, Self>, on_remove: &Py<PyAny>, (key, value): Pair, cause: Cause) {
        let py = slf.py();
        if let Err(error) = on_remove.bind(py).call1((key, value, cause.name())) {
            error.write_unraisable(py, Some(slf));
        }
    }

    /// Drops what one operation took out for a reason of its own, after telling the callback.
    fn dismiss(
        slf: &Bound<'_, Self>,
        pairs: impl IntoIterator<Item = Pair>,
        on_remove: Option<Py<PyAny>>,
        cause: Cause,
    ) {
        let Some(on_remove) = on_remove else {
            return drop(pairs);
        };
        for pair in pairs {
            Self::notify(slf, &on_remove, pair, cause);
        }
    }

    fn refused(slf: &Bound<'_, Self>, refusal: Refusal) -> PyErr {
        let name = slf
            .get_type()
            .name()
            .map_or_else(|_| "LRUCache".to_owned(), |name| name.to_string());
        match refusal {
            Refusal::Phase(Phase::Closed) => {
                PyRuntimeError::new_err(format!("this {name} is closed and takes no entries"))
            }
            Refusal::Phase(_) => PyRuntimeError::new_err(format!(
                "LRUCache.__init__() was not called on this {name}: it has no maxsize yet"
            )),
            Refusal::TooHeavy { weight, maxsize } => PyValueError::new_err(format!(
                "value too heavy: it weighs {weight}, more than the whole {name} may, maxsize={maxsize}"
            )),
            Refusal::Store(StoreError::Overflow) => PyOverflowError::new_err(format!(
                "the weights in this {name} would add up to more than 2**64"
            )),
            Refusal::Store(_) => {
                PyMemoryError::new_err(format!("no memory for another entry of this {name}"))
            }
        }
    }

    fn missing(key: &Bound<'_, PyAny>) -> PyErr {
        // In a tuple: the arguments of an exception made from a tuple would be its items.
        PyKeyError::new_err((key.clone().unbind(),))
    }

    /// Takes one entry out, without telling anybody but the caller.
    fn take(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
    ) -> PyResult<Option<(Pair, Option<Py<PyAny>>)>> {
        let py = slf.py();
        Self::locate(slf, key, hash_of(key)?, |state, found| {
            let pair = state.take_slot(found?, Cause::Explicit)?;
            Some((pair, state.callback(py)))
        })
    }

    /// Empties the cache, and closes it where it `close`s.
    fn empty(slf: &Bound<'_, Self>, close: bool) {
        let this = slf.get();
        let (entries, on_remove, weigher) = this.state.with(slf.py(), |state| {
            let count = state.entries.len();
            state.counters.removed(Cause::Cleared, count);
            let entries = state.entries.take();
            if !close {
                return (entries, state.callback(slf.py()), None);
            }
            if state.phase == Phase::Open {
                state.phase = Phase::Closed;
            }
            (entries, state.on_remove.take(), state.weigher.take())
        });
        Self::shrunk(slf);
        Self::dismiss(slf, entries, on_remove, Cause::Cleared);
        drop(weigher);
    }

    /// Tells the tools where the table has become smaller.
    fn shrunk(slf: &Bound<'_, Self>) {
        let this = slf.get();
        if let Some(allocated) = this.state.with(slf.py(), State::reallocated) {
            trace::report(this.address(), allocated);
        }
    }

    /// Sets up a cache that `__new__` made.
    fn configure(
        slf: &Bound<'_, Self>,
        maxsize: Option<u64>,
        weigher: Option<Weigher>,
        on_remove: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let this = slf.get();
        let exact = slf.get_type().is(PyType::new::<Self>(slf.py()));
        let tracked = !exact || weigher.is_some() || on_remove.is_some();
        let by_weight = weigher.is_some();
        let refused = this.state.with(slf.py(), |state| {
            if state.phase != Phase::Made {
                return Some((weigher, on_remove));
            }
            state.entries = Cache::new(maxsize, by_weight);
            state.weigher = weigher;
            state.on_remove = on_remove;
            state.phase = Phase::Open;
            state.tracked = tracked;
            this.weighed.store(by_weight, Ordering::Relaxed);
            if !tracked {
                gc::untrack(slf);
            }
            None
        });
        match refused {
            None => Ok(()),
            Some(_) => Err(PyRuntimeError::new_err(
                "LRUCache.__init__() was called twice; resize() changes the bound",
            )),
        }
    }

    /// An empty cache of the same type, bound, callables and attributes.
    fn like<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let (maxsize, callables) = Self::setup(slf)?;
        let twin = rebuild(
            &slf.get_type(),
            maxsize.into_bound_py_any(slf.py())?.as_any(),
        )?;
        let twin = twin.cast_into::<Self>()?;
        Self::restore(&twin, callables, &Self::attributes(slf)?)?;
        Ok(twin)
    }

    /// The bound, and the two callables.
    fn setup(slf: &Bound<'_, Self>) -> PyResult<(Option<u64>, Callables)> {
        let py = slf.py();
        let (phase, maxsize, callables) = slf.get().state.with(py, |state| {
            let getsizeof = state
                .weigher
                .as_ref()
                .map(|weigher| weigher.function.clone_ref(py));
            let callables = (getsizeof, state.callback(py));
            (state.phase, state.entries.bound(), callables)
        });
        match phase {
            Phase::Open => Ok((maxsize, callables)),
            phase => Err(Self::refused(slf, Refusal::Phase(phase))),
        }
    }

    /// The attributes of a subclass's instance: `None`, a `dict`, or a pair of that and its slots.
    fn attributes<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.call_method0(intern!(slf.py(), "__getstate__"))
    }

    /// Gives an empty cache its callables and attributes.
    fn restore(
        slf: &Bound<'_, Self>,
        (getsizeof, on_remove): Callables,
        attributes: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let weigher = getsizeof
            .map(|function| Weigher::new(py, function))
            .transpose()?;
        let this = slf.get();
        let old = this.state.with(py, |state| {
            if weigher.is_some() || on_remove.is_some() {
                state.track(slf);
            }
            let maxsize = state.entries.bound();
            this.weighed.store(weigher.is_some(), Ordering::Relaxed);
            let entries = Cache::new(maxsize, weigher.is_some());
            (
                std::mem::replace(&mut state.entries, entries),
                std::mem::replace(&mut state.weigher, weigher),
                std::mem::replace(&mut state.on_remove, on_remove),
            )
        });
        drop(old);
        let (dictionary, slots) = match attributes.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()
        {
            Ok((dictionary, slots)) => (dictionary, Some(slots)),
            Err(_) => (attributes.clone(), None),
        };
        if let Ok(dictionary) = dictionary.cast::<PyDict>() {
            slf.getattr(intern!(py, "__dict__"))?
                .call_method1(intern!(py, "update"), (dictionary,))?;
        }
        if let Some(slots) = slots
            && let Ok(slots) = slots.cast::<PyDict>()
        {
            for (name, value) in slots {
                slf.setattr(name.cast::<PyString>()?, value)?;
            }
        }
        Ok(())
    }

    fn update_from(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        if let Ok(other) = other.cast::<Self>() {
            for (hash, key, value) in Self::hashed_snapshot(other) {
                Self::set(slf, &key, hash, &value)?;
            }
        } else if other.hasattr(intern!(py, "keys"))? {
            for key in other.call_method0(intern!(py, "keys"))?.try_iter()? {
                let key = key?;
                Self::set(slf, &key, hash_of(&key)?, &other.get_item(&key)?)?;
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
                Self::set(slf, key, hash_of(key)?, value)?;
            }
        }
        Ok(())
    }

    fn set(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        match Self::store(slf, key, hash, value, false)? {
            Ok(_) => Ok(()),
            Err(refusal) => Err(Self::refused(slf, refusal)),
        }
    }

    /// Runs the factory, and stores what it makes unless there is a value by then.
    fn make(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        factory: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let made = factory.call0()?;
        match Self::store(slf, key, hash, &made, true)? {
            Ok(Some(present)) => Ok(present),
            // What doesn't fit, or comes after the close, is the caller's all the same.
            Ok(None) | Err(Refusal::TooHeavy { .. } | Refusal::Phase(_)) => Ok(made.unbind()),
            Err(refusal) => Err(Self::refused(slf, refusal)),
        }
    }

    /// Joins the flight of a key, or starts one and says that this thread leads.
    fn board(
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
    fn land(
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

#[pymethods]
impl LruCache {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=..., getsizeof=None, *, max_bytes=None, on_remove=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            state: Guarded::new(State {
                entries: Cache::new(Some(0), false),
                flights: Cache::new(None, false),
                weigher: None,
                on_remove: None,
                counters: Counters::default(),
                phase: Phase::Made,
                tracked: true,
                allocated: 0,
            }),
            weighed: AtomicBool::new(false),
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
        Self::configure(slf, maxsize, weigher, on_remove)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.look(py, Cache::len)
    }

    fn __contains__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Self::has(slf, key)
    }

    fn __getitem__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        if let Some(value) = Self::lookup(slf, key, hash_of(key)?)? {
            return Ok(value);
        }
        if slf.get_type().is(PyType::new::<Self>(slf.py())) {
            return Err(Self::missing(key));
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
        let (pair, on_remove) = Self::take(slf, key)?.ok_or_else(|| Self::missing(key))?;
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
        Err(Self::missing(key))
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
        Ok(Self::lookup(slf, key, hash_of(key)?)?
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
            (None, Argument::Absent) => Err(Self::missing(key)),
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
        let py = slf.py();
        let taken = slf.get().state.with(py, |state| {
            let pair = state.take_slot(state.entries.first(false)?, Cause::Explicit)?;
            Some((pair, state.callback(py)))
        });
        let Some(((key, value), on_remove)) = taken else {
            return Err(PyKeyError::new_err(format!(
                "popitem(): this {} is empty",
                slf.get_type().name()?
            )));
        };
        let result = PyTuple::new(py, [key.clone_ref(py), value.clone_ref(py)])?;
        Self::dismiss(slf, [(key, value)], on_remove, Cause::Explicit);
        Ok(result)
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
        if let Some(value) = Self::lookup(slf, key, hash)? {
            return Ok(value);
        }
        let default = default.unwrap_or_else(|| slf.py().None().into_bound(slf.py()));
        match Self::store(slf, key, hash, &default, true)? {
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
        let py = slf.py();
        let hash = hash_of(key)?;
        if let Some(value) = Self::lookup(slf, key, hash)? {
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
            let result = Self::peeked(slf, key).and_then(|present| match present {
                Some(value) => Ok(value),
                None => Self::make(slf, key, hash, factory),
            });
            let made = result.as_ref().ok().map(|value| value.clone_ref(py));
            Self::land(slf, hash, &flight, made)?;
            return result;
        }
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
        if let Argument::Given(other) = other {
            Self::update_from(slf, other.bind(slf.py()))?;
        }
        if let Some(entries) = entries {
            Self::update_from(slf, entries)?;
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
        // Taken out in slices, so that no other thread waits for long and little is held at once.
        const SLICE: usize = 1024;
        let py = slf.py();
        let maxsize = arguments::maxsize(maxsize)?;
        let this = slf.get();
        this.state
            .with(py, |state| {
                state.refuse_unless_open()?;
                state.entries.set_bound(maxsize);
                Ok(())
            })
            .map_err(|refusal| Self::refused(slf, refusal))?;
        loop {
            let change = this.state.with(py, |state| {
                let mut evicted = Removed::default();
                while evicted.len() < SLICE {
                    match state.entries.evict() {
                        Some(pair) => evicted.push(pair),
                        None => break,
                    }
                }
                state.counters.removed(Cause::Size, evicted.len());
                if !evicted.is_empty() {
                    state.entries.shrink();
                }
                Change {
                    on_remove: state.callback(py),
                    allocated: state.reallocated(),
                    evicted,
                    ..Change::default()
                }
            });
            let done = change.evicted.is_empty();
            Self::settle(slf, change);
            if done {
                return Ok(());
            }
        }
    }

    /// The bound, in entries or in the unit of `getsizeof`; `None` for no bound.
    #[getter]
    fn maxsize(&self, py: Python<'_>) -> Option<u64> {
        self.look(py, Cache::bound)
    }

    /// The number of entries, or what they weigh together by `getsizeof`.
    #[getter]
    fn currsize(&self, py: Python<'_>) -> u64 {
        self.look(py, Cache::weight)
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
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (counters, currsize, maxsize) = self.state.with(py, |state| {
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
        let twin = Self::like(slf)?;
        let py = slf.py();
        // By the stored hashes and weights: a copy asks neither the keys nor `getsizeof` anything.
        let entries = slf
            .get()
            .read(py, |entries| {
                entries.duplicate(|key, value| (key.clone_ref(py), value.clone_ref(py)))
            })
            .map_err(|error| Self::refused(&twin, Refusal::Store(error)))?;
        let tracked = slf.get().state.with(py, |state| state.tracked);
        let change = twin.get().state.with(py, |state| {
            if tracked {
                state.track(&twin);
            }
            let empty = std::mem::replace(&mut state.entries, entries);
            (empty, state.reallocated())
        });
        if let Some(allocated) = change.1 {
            trace::report(twin.get().address(), allocated);
        }
        Ok(twin)
    }

    fn __copy__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        Self::copy(slf)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let (maxsize, (getsizeof, on_remove)) = Self::setup(slf)?;
        let rebuild = py.import("leaksafe._core")?.getattr("_rebuild")?;
        // In the state, not in the arguments: any of it may refer back to this cache.
        let state = (
            getsizeof,
            on_remove,
            Self::attributes(slf)?,
            Self::snapshot(slf),
        );
        (rebuild, (slf.get_type(), maxsize), state).into_pyobject(py)
    }

    /// Fills a new cache, for `copy` and `pickle`, from what `__reduce__` gave.
    fn __setstate__(slf: &Bound<'_, Self>, state: &Bound<'_, PyTuple>) -> PyResult<()> {
        type Items<'py> = Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>;
        let (getsizeof, on_remove, attributes) = (
            state.get_item(0)?.extract()?,
            state.get_item(1)?.extract()?,
            state.get_item(2)?,
        );
        let items: Items<'_> = state.get_item(3)?.extract()?;
        Self::restore(slf, (getsizeof, on_remove), &attributes)?;
        for (key, value) in items {
            Self::set(slf, &key, hash_of(&key)?, &value)?;
        }
        Ok(())
    }

    fn __or__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if other.cast::<PyMapping>().is_err() {
            return Ok(py.NotImplemented().into_bound(py));
        }
        let merged = Self::copy(slf)?;
        Self::update_from(&merged, other)?;
        Ok(merged.into_any())
    }

    fn __ror__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if other.cast::<PyMapping>().is_err() {
            return Ok(py.NotImplemented().into_bound(py));
        }
        let merged = Self::like(slf)?;
        Self::update_from(&merged, other)?;
        Self::update_from(&merged, slf)?;
        Ok(merged.into_any())
    }

    fn __ior__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::update_from(slf, other)
    }

    fn __eq__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if slf.is(other) {
            return true.into_bound_py_any(py);
        }
        let theirs = PyDict::new(py);
        if let Ok(other) = other.cast::<Self>() {
            for (key, value) in Self::snapshot(other) {
                theirs.set_item(key, value)?;
            }
        } else if let Ok(other) = other.cast::<PyMapping>() {
            for pair in other.call_method0(intern!(py, "items"))?.try_iter()? {
                let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair?.extract()?;
                theirs.set_item(key, value)?;
            }
        } else {
            return Ok(py.NotImplemented().into_bound(py));
        }
        let ours = PyDict::new(py);
        for (key, value) in Self::snapshot(slf) {
            ours.set_item(key, value)?;
        }
        ours.rich_compare(theirs, pyo3::basic::CompareOp::Eq)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        // A log line is no place for a million entries.
        const SHOWN: usize = 100;
        let name = slf.get_type().name()?.to_string();
        let Some(_guard) = repr::enter(slf)? else {
            return Ok(format!("{name}(...)"));
        };
        let py = slf.py();
        let (pairs, len, currsize, maxsize) = slf.get().read(py, |entries| {
            let mut pairs = Vec::new();
            let mut at = entries.first(false);
            while let Some(slot) = at.filter(|_| pairs.len() < SHOWN) {
                if let Some(entry) = entries.get(slot) {
                    pairs.push((entry.key.clone_ref(py), entry.value.clone_ref(py)));
                }
                at = entries.next(slot, false);
            }
            (pairs, entries.len(), entries.weight(), entries.bound())
        });
        let mut shown = Vec::with_capacity(pairs.len() + 1);
        for (key, value) in &pairs {
            shown.push(format!(
                "{}: {}",
                text(&key.bind(py).repr()?),
                text(&value.bind(py).repr()?)
            ));
        }
        if len > pairs.len() {
            shown.push(format!("... {} more", len - pairs.len()));
        }
        let maxsize = maxsize.map_or("None".to_owned(), |maxsize| maxsize.to_string());
        Ok(format!(
            "{name}({{{}}}, maxsize={maxsize}, currsize={currsize})",
            shown.join(", ")
        ))
    }

    fn __sizeof__(slf: &Bound<'_, Self>) -> PyResult<usize> {
        let fixed: usize = slf
            .get_type()
            .getattr(intern!(slf.py(), "__basicsize__"))?
            .extract()?;
        Ok(fixed
            + slf.get().state.with(slf.py(), |state| {
                state.entries.allocated_bytes() + state.flights.allocated_bytes()
            })
            + slf.get().state.lock_bytes())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.state.visit(visit, |state, visit| {
            for entry in state.entries.iter() {
                visit.call(&entry.key)?;
                visit.call(&entry.value)?;
            }
            for flight in state.flights.iter() {
                visit.call(&flight.key)?;
            }
            if let Some(weigher) = &state.weigher {
                visit.call(&weigher.function)?;
            }
            visit.call(&state.on_remove)
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        let contents = self.state.with(py, |state| {
            (
                state.entries.take(),
                state.flights.take(),
                state.weigher.take().map(|weigher| weigher.function),
                state.on_remove.take(),
            )
        });
        release::release(contents);
    }
}

/// Removes the entry whose key is this very object, without asking it anything, and returns its value, or `None`.
#[pyfunction(name = "_take")]
#[pyo3(signature = (cache, key, hash, /))]
pub fn take(cache: &Bound<'_, LruCache>, key: &Bound<'_, PyAny>, hash: i64) -> Option<Py<PyAny>> {
    let py = cache.py();
    let (pair, on_remove) = cache.get().state.with(py, |state| {
        let slot = state
            .entries
            .find(hash.cast_unsigned(), |stored| stored.is(key))?;
        let pair = state.take_slot(slot, Cause::Explicit)?;
        Some((pair, state.callback(py)))
    })?;
    let value = pair.1.clone_ref(py);
    LruCache::dismiss(cache, [pair], on_remove, Cause::Explicit);
    Some(value)
}

/// A `repr` as text; one that isn't valid Unicode is escaped.
fn text(repr: &Bound<'_, PyString>) -> String {
    repr.to_string_lossy().into_owned()
}

/// Makes an empty cache of a class, for `copy` and `pickle`.
///
/// # Errors
/// When the class's `__new__` fails, or gives something else.
#[pyfunction(name = "_rebuild")]
#[pyo3(signature = (cls, maxsize, /))]
pub fn rebuild<'py>(
    cls: &Bound<'py, PyType>,
    maxsize: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let made = cls.call_method1(intern!(cls.py(), "__new__"), (cls,))?;
    let maxsize = Argument::Given(maxsize.clone().unbind());
    LruCache::__init__(made.cast::<LruCache>()?, maxsize, None, None, None)?;
    Ok(made)
}
