//! What `Registry` is made of.

#![allow(clippy::doc_markdown, reason = "Python's docstrings")]

mod making;
mod state;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use self::state::{Gone, Held, Instance, Phase, State};
use super::aging::{self, Aging, Ttl};
use super::arguments::{self, Argument};
use super::flights::Flights;
use super::sweeper::{self, SLICE, Swept};
use super::weak_table::{Reap, WeakReaper, out_of_memory};
use crate::core::{Cache, Removed, Slot};
use crate::interop::build::Count;
use crate::interop::equality::{Verdict, compare, hash_of};
use crate::interop::guard::Guarded;
use crate::interop::lookup::locate;
use crate::interop::reference::place_of;
use crate::interop::{build, clock, hot, release, sizes, trace};

/// The tables, which the callback of weak references has to find.
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
                    .is_some_and(|entry| match &entry.value.held {
                        Held::Weak(held) => held.object().is(reference),
                        Held::Strong(_) => false,
                    })
            };
            let slot = match place_of(reference).filter(|&slot| is_it(slot)) {
                Some(slot) => slot,
                None => state
                    .entries
                    .walk(false)
                    .into_iter()
                    .find(|&slot| is_it(slot))?,
            };
            let (key, instance) = state.entries.remove(slot)?;
            let held = match instance.held {
                Held::Weak(held) => held.into_object(),
                Held::Strong(value) => value,
            };
            let home = instance.home.map(|home| home.into_bound(py));
            Some((key.into_bound(py), held.into_bound(py), home))
        });
        drop(removed);
        self.settle(py);
    }
}

/// The operations of `Registry` that are Rust's.
#[pyclass(
    frozen,
    subclass,
    mapping,
    generic,
    module = "leaksafe._core",
    name = "_Registry"
)]
pub struct Registry {
    shared: Arc<Shared>,
    reaper: Py<WeakReaper>,
    flights: Flights,
    /// Whether instances age, to be known without the lock.
    ages: AtomicBool,
    /// Whether the sweeper knows it.
    watched: AtomicBool,
}

impl Drop for Registry {
    fn drop(&mut self) {
        if *self.watched.get_mut() {
            sweeper::forget(std::ptr::from_ref(self) as usize);
        }
        Python::attach(|py| self.dissolve(py));
        trace::report(Arc::as_ptr(&self.shared) as usize, 0);
    }
}

impl hot::Creating for Registry {
    #[inline]
    fn plain_hit(&self, key: &Bound<'_, PyAny>, hash: u64) -> Option<Py<PyAny>> {
        let py = key.py();
        let now = self.now();
        self.shared.0.try_read(py, |state| {
            if !state.fakes.is_empty() {
                return None;
            }
            let slot = state.entries.find_hash(hash)?;
            let entry = state.entries.get(slot)?;
            if state.entries.is_due(slot, now) || compare(&entry.key, key) != Verdict::Same {
                return None;
            }
            entry.value.value(py).map(Bound::unbind)
        })
    }

    fn original() -> &'static OnceLock<hot::Method> {
        static ORIGINAL: OnceLock<hot::Method> = OnceLock::new();
        &ORIGINAL
    }
}

impl Swept for Registry {
    fn expire_slice(slf: &Bound<'_, Self>, now: u64) -> (usize, bool) {
        let mut gone = Gone::default();
        let done = slf.get().shared.0.with(slf.py(), |state| {
            let mut steps = SLICE;
            let most = SLICE as usize;
            while gone.keys.len() < most && state.expire_one(now, &mut steps, &mut gone) {}
            gone.keys.len() < most && steps > 0
        });
        let count = gone.keys.len();
        Self::settle(slf, gone);
        (count, done)
    }

    fn next_due(slf: &Bound<'_, Self>) -> u64 {
        slf.get().shared.0.with(slf.py(), |state| {
            state.swept = state.entries.earliest_due();
            state.swept
        })
    }
}

impl Registry {
    #[inline]
    fn now(&self) -> u64 {
        if self.ages.load(Ordering::Relaxed) {
            clock::cheap()
        } else {
            0
        }
    }

    /// Runs `section` with the slot of a key; what is due is taken out first.
    fn locate<R>(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        hash: u64,
        section: impl FnOnce(&mut State, Option<Slot>, &mut Gone) -> R,
    ) -> PyResult<R> {
        let now = slf.get().now();
        let mut gone = Gone::default();
        let result = locate(
            &slf.get().shared.0,
            key,
            hash,
            |state: &State| &state.entries,
            |state, mut found| {
                if let Some(slot) = found
                    && state.entries.is_due(slot, now)
                {
                    state.drop_slot(slot, &mut gone);
                    found = None;
                }
                section(state, found, &mut gone)
            },
        )?;
        Self::settle(slf, gone);
        Ok(result)
    }

    /// Ends a change once the lock is free: closes and drops what was taken out.
    fn settle(slf: &Bound<'_, Self>, gone: Gone) {
        let this = slf.get();
        if let Some(due) = gone.sweep {
            this.watched.store(true, Ordering::Relaxed);
            if let Err(error) = sweeper::watch(slf, due) {
                error.write_unraisable(slf.py(), Some(slf));
            }
        }
        this.shared.settle(slf.py());
        for instance in gone.instances {
            Self::dismiss(slf, instance);
        }
    }

    /// Closes an instance for which nobody waits; what it raises goes to `sys.unraisablehook`.
    fn dismiss(slf: &Bound<'_, Self>, instance: Instance) {
        let Held::Strong(value) = instance.held else {
            return;
        };
        let name = intern!(slf.py(), "_dismiss");
        if let Err(error) = slf.call_method1(name, (value, instance.home)) {
            error.write_unraisable(slf.py(), Some(slf));
        }
    }

    fn dissolve(&self, py: Python<'_>) {
        let contents = self.shared.0.with(py, |state| {
            let closed = State {
                phase: Phase::Closed,
                ..State::default()
            };
            std::mem::replace(state, closed)
        });
        release::release((contents, self.flights.take(py)));
    }

    fn expire_due(slf: &Bound<'_, Self>) {
        if slf.get().ages.load(Ordering::Relaxed) {
            while !Self::expire_slice(slf, clock::cheap()).1 {}
        }
    }
}

#[pymethods]
impl Registry {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = None)]
    fn new(
        py: Python<'_>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let shared = Arc::new(Shared(Guarded::default()));
        let table = Arc::<Shared>::clone(&shared);
        Ok(Self {
            shared,
            reaper: WeakReaper::make(py, table)?,
            flights: Flights::named(),
            ages: AtomicBool::new(false),
            watched: AtomicBool::new(false),
        })
    }

    /// Takes the arguments of `__init__`, once.
    #[pyo3(name = "_open")]
    fn open(
        slf: &Bound<'_, Self>,
        maxsize: &Bound<'_, PyAny>,
        weak: bool,
        ttl: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let maxsize = arguments::maxsize(maxsize)?;
        if maxsize == Some(0) {
            return Err(PyValueError::new_err(
                "maxsize must be at least 1, or None for no bound, but is 0: each instance would be closed before \
                 anybody has it",
            ));
        }
        let seconds = ttl
            .map(|ttl| aging::seconds(&ttl, "ttl", "a float or a timedelta"))
            .transpose()?;
        let aging = seconds.map(|seconds| Aging {
            ttl: Ttl::Fixed(seconds),
            timer: None,
            sliding: false,
            jitter: 0.0,
        });
        let this = slf.get();
        let ages = aging.is_some();
        let opened = this.shared.0.with(slf.py(), |state| {
            if state.phase != Phase::Made {
                return false;
            }
            if ages {
                state.entries = Cache::new(None, false).with_ages(false);
            }
            state.phase = Phase::Open;
            (state.maxsize, state.weak, state.aging) = (maxsize, weak, aging);
            true
        });
        if !opened {
            return Err(PyRuntimeError::new_err(
                "a Registry is initialised once: make another",
            ));
        }
        this.ages.store(ages, Ordering::Relaxed);
        Ok(())
    }

    /// How many instances there may be; `None` for no bound.
    #[getter]
    fn maxsize(&self, py: Python<'_>) -> Option<u64> {
        self.shared.0.with(py, |state| state.maxsize)
    }

    /// Whether the registry was closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.shared.0.with(py, |state| state.phase == Phase::Closed)
    }

    fn __len__(slf: &Bound<'_, Self>) -> usize {
        Self::expire_due(slf);
        slf.get()
            .shared
            .0
            .read(slf.py(), |state| state.entries.len())
    }

    fn __contains__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(Self::look(slf, key, hash_of(key)?)?.is_some())
    }

    fn __getitem__<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::look(slf, key, hash_of(key)?)?.ok_or_else(|| build::missing(key))
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyIterator>> {
        let py = slf.py();
        Self::expire_due(slf);
        let keys = slf.get().shared.0.with(py, |state| {
            let slots = state.entries.walk(false).into_iter();
            slots
                .filter_map(|slot| Some(state.entries.get(slot)?.key.bind(py).clone()))
                .collect::<Vec<_>>()
        });
        PyList::new(py, keys)?.try_iter()
    }

    /// Returns the instance of `key`, made by `factory` where there is none. O(1).
    ///
    /// `factory` takes no arguments and runs once for each key, however many threads ask at once: the others wait and
    /// get the same instance. What it raises goes to its caller, nothing of it is kept, and the next of those who waited
    /// calls its own factory.
    ///
    /// Raises:
    ///     RuntimeError: for factories that need each other, in one thread or in several, with the keys on the way; and
    ///         if the registry is closed.
    ///
    /// >>> from leaksafe import Registry
    /// >>> registry = Registry(10)
    /// >>> registry.get_or_create("a", list) is registry.get_or_create("a", list)
    /// True
    fn get_or_create<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        factory: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let hash = hash_of(key)?;
        match Self::look(slf, key, hash)? {
            Some(present) => Ok(present),
            None => Self::create(slf, key, hash, factory, &Cell::new(None), false),
        }
    }

    /// Takes `key` out and returns its instance, not closed: that is now yours to do. O(1).
    ///
    /// Raises:
    ///     KeyError: if the key is not there and no default is given.
    ///
    /// >>> from leaksafe import Registry
    /// >>> registry = Registry(10)
    /// >>> registry.get_or_create("a", list)
    /// []
    /// >>> registry.pop("a"), registry.pop("a", None)
    /// ([], None)
    #[pyo3(signature = (key, default = Argument::Absent), text_signature = "($self, key, default=...)")]
    fn pop<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        default: Argument,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let taken = Self::locate(slf, key, hash_of(key)?, |state, found, _| {
            state.entries.remove(found?)
        })?;
        slf.get().shared.settle(py);
        match (taken.and_then(|(_, instance)| instance.value(py)), default) {
            (Some(value), _) => Ok(value),
            (None, Argument::Given(default)) => Ok(default.into_bound(py)),
            (None, Argument::Absent) => Err(build::missing(key)),
        }
    }

    /// What a key has, in a tuple, which is empty if that is nothing.
    #[pyo3(name = "_look")]
    fn look_up<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        build::tuple(slf.py(), Self::look(slf, key, hash_of(key)?)?)
    }

    /// Keeps what was made for a key in an event loop, of which `home` is a weak reference, unless there is one by then;
    /// returns the one that is kept.
    #[pyo3(name = "_put")]
    fn put_made<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        made: &Bound<'py, PyAny>,
        home: Py<PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (_, value) = Self::put(slf, key, hash_of(key)?, made, Some(home), false)?;
        Ok(value)
    }

    /// The number and the instance of a key, made where there is none and there is a factory, after noting that it is
    /// used.
    #[pyo3(name = "_pin", signature = (key, factory))]
    fn pin<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        factory: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(u64, Bound<'py, PyAny>)> {
        let hash = hash_of(key)?;
        loop {
            if let Some(pinned) = Self::pinned(slf, key, hash)? {
                return Ok(pinned);
            }
            let Some(factory) = factory else {
                return Err(build::missing(key));
            };
            let number = Cell::new(None);
            let value = Self::create(slf, key, hash, factory, &number, true)?;
            // Else another thread made it, and it may have left since.
            if let Some(number) = number.get() {
                return Ok((number, value));
            }
        }
    }

    /// Notes that a use has ended, and closes what waited for that.
    #[pyo3(name = "_unpin")]
    fn unpin(slf: &Bound<'_, Self>, number: u64) {
        let shared = &slf.get().shared;
        if let Some(left) = shared.0.with(slf.py(), |state| state.unpin(number)) {
            Self::dismiss(slf, left);
        }
    }

    /// Has something stand in for a key's instance, or nothing; gives what did before, in a tuple.
    #[pyo3(name = "_replace_fake", signature = (key, *fake))]
    fn replace_fake<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        fake: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let hash = hash_of(key)?;
        let shared = &slf.get().shared;
        let mut new_key = Some(key.clone().unbind());
        let mut fake = fake.iter().next().map(Bound::unbind);
        let mut failed = false;
        let (old_key, old) = locate(
            &shared.0,
            key,
            hash,
            |state: &State| &state.fakes,
            |state, found| {
                if let Some(slot) = found {
                    return match fake.take() {
                        Some(new) => (None, state.fakes.set_value(slot, new)),
                        None => state.fakes.remove(slot).unzip(),
                    };
                }
                let Some(new) = fake.take() else {
                    return (None, None);
                };
                let Some(key) = new_key.take() else {
                    return (None, Some(new));
                };
                let mut none = Removed::default();
                match state.fakes.insert(hash, key, new, 1, &mut none) {
                    Ok(_) => (None, None),
                    Err((_, key, new)) => {
                        failed = true;
                        (Some(key), Some(new))
                    }
                }
            },
        )?;
        drop(old_key);
        shared.settle(py);
        if failed {
            return Err(out_of_memory());
        }
        build::tuple(py, old)
    }

    /// Takes everything out, and gives the instances that are to be closed, with their loops, the youngest first.
    #[pyo3(name = "_take_all")]
    fn take_all<'py>(slf: &Bound<'py, Self>, close: bool) -> PyResult<Bound<'py, PyList>> {
        let py = slf.py();
        let shared = &slf.get().shared;
        let entries = shared.0.with(py, |state| {
            if close {
                state.phase = Phase::Closed;
            }
            state.entries.take()
        });
        let (keys, mut instances): (Vec<_>, Vec<_>) = entries.unzip();
        instances.reverse();
        // Those that somebody uses stay until that ends.
        let instances: Vec<_> = shared.0.with(py, |state| {
            let unused = instances.into_iter();
            unused
                .filter_map(|instance| state.leave(instance))
                .collect()
        });
        shared.settle(py);
        drop(keys);
        let list = PyList::empty(py);
        for instance in instances {
            if let Held::Strong(value) = instance.held {
                list.append((value, instance.home))?;
            }
        }
        Ok(list)
    }

    fn __sizeof__(slf: &Bound<'_, Self>) -> PyResult<Count> {
        let py = slf.py();
        let fixed = sizes::basic(&slf.get_type())?;
        let this = slf.get();
        let tables = this.shared.0.with(py, |state| state.bytes());
        let lock = this.shared.0.lock_bytes();
        Ok(Count::from(
            fixed + tables + lock + this.flights.allocated(py),
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.reaper)?;
        self.flights.visit(visit)?;
        self.shared
            .0
            .visit(visit, |state, visit| state.visit(&visit))
    }

    fn __clear__(&self, py: Python<'_>) {
        self.dissolve(py);
    }
}
