//! Setting up a cache: a new one, a copy, or one from a pickle.

use std::sync::atomic::Ordering;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use pyo3::{IntoPyObjectExt, intern};

use super::LruCache;
use super::state::{Callables, Phase, Refusal};
use crate::core::Cache;
use crate::interop::equality::hash_of;
use crate::interop::{gc, trace};
use crate::types::arguments::Argument;
use crate::types::weigher::Weigher;

impl LruCache {
    /// Sets up a cache that `__new__` made.
    pub fn configure(
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
    pub fn like<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
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
    pub fn setup(slf: &Bound<'_, Self>) -> PyResult<(Option<u64>, Callables)> {
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
    pub fn attributes<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.call_method0(intern!(slf.py(), "__getstate__"))
    }

    /// Gives an empty cache its callables and attributes.
    pub fn restore(
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

    /// An independent cache with the same bound, callables and entries.
    pub fn duplicate<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
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

    /// What a pickle keeps.
    pub fn reduced<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
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

    /// Fills a new cache from what [`reduced`](Self::reduced) gave.
    pub fn refill(slf: &Bound<'_, Self>, state: &Bound<'_, PyTuple>) -> PyResult<()> {
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
