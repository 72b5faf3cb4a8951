//! What `WeakValueDictionary` is made of.

#![allow(
    clippy::doc_markdown,
    clippy::doc_link_with_quotes,
    reason = "Python's docstrings"
)]

use std::sync::OnceLock;

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::arguments::Argument;
use super::flights::check_factory;
use super::weak_table::{Entry, Given, Part, State, WeakIterator, WeakTable, out_of_memory};
use crate::core::{Placed, Slot};
use crate::interop::build::Count;
use crate::interop::equality::{Verdict, compare, hash_of};
use crate::interop::reference::Reference;
use crate::interop::sizes;
use crate::interop::{build, hot};

const CURE: &str = ": WeakCache holds any value, what can't be weakly referenced within its bound";

/// A key, and a weak reference to its value under the key's hash.
pub struct ByKey {
    key: Py<PyAny>,
    value: Reference,
}

impl Entry for ByKey {
    const TELLS: bool = true;

    #[inline]
    fn reference(&self) -> &Reference {
        &self.value
    }

    #[inline]
    fn key(&self) -> Option<&Py<PyAny>> {
        Some(&self.key)
    }

    #[inline]
    fn part<'py>(&self, py: Python<'py>, part: Part) -> Option<Given<'py>> {
        let value = self.value.upgrade(py)?;
        Some(match part {
            // The value goes with it: its release may run Python code, and here is a section.
            Part::Keys | Part::Items => (self.key.bind(py).clone(), Some(value)),
            Part::Values | Part::Members => (value, None),
        })
    }

    fn into_parts(self, py: Python<'_>) -> (Bound<'_, PyAny>, Option<Bound<'_, PyAny>>) {
        let reference = self.value.into_object().into_bound(py);
        (reference, Some(self.key.into_bound(py)))
    }

    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.key)?;
        visit.call(self.value.object())
    }
}

/// The operations of `WeakValueDictionary` that are Rust's.
#[pyclass(
    frozen,
    subclass,
    mapping,
    generic,
    module = "leaksafe._core",
    name = "_WeakValues"
)]
pub struct WeakValues(WeakTable<ByKey>);

impl hot::Mapping for WeakValues {
    #[inline]
    fn plain_hit(&self, key: &Bound<'_, PyAny>, hash: u64) -> Option<Py<PyAny>> {
        let py = key.py();
        self.0.try_read(py, |state| {
            let slot = state
                .entries
                .find(hash, |entry| compare(&entry.key, key) == Verdict::Same)?;
            value_in(py, state, slot).map(Bound::unbind)
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

/// The living value in a slot.
#[inline]
fn value_in<'py>(py: Python<'py>, state: &State<ByKey>, slot: Slot) -> Option<Bound<'py, PyAny>> {
    state.entries.get(slot)?.value.upgrade(py)
}

impl WeakValues {
    fn look<'py>(&self, key: &Bound<'py, PyAny>, hash: u64) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.locate_read(key, hash, |state, found| {
            found.and_then(|slot| value_in(key.py(), state, slot))
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
        let mut entry = Some(ByKey {
            value: self.0.refer(value, CURE)?,
            key: key.clone().unbind(),
        });
        let mut grown = false;
        let present = self.0.locate(key, hash, |state, found| {
            if let Some(slot) = found {
                let present = keep.then(|| value_in(py, state, slot)).flatten();
                if present.is_none()
                    && let (Some(new), Some(old)) = (&mut entry, state.entries.get_mut(slot))
                {
                    std::mem::swap(&mut new.value, &mut old.value);
                    old.placed(slot);
                }
                return Ok(present);
            }
            grown = true;
            match entry.take() {
                Some(new) => self.0.push(state, hash, new).map(|()| None).map_err(|new| {
                    entry = Some(new);
                }),
                None => Ok(None),
            }
        })?;
        drop(entry);
        if grown {
            self.0.settle(py);
        }
        present.map_err(|()| out_of_memory())
    }

    /// Takes the entry of a key out, and gives its value where that lives.
    fn take<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let removed = self.0.locate(key, hash_of(key)?, |state, found| {
            found.and_then(|slot| state.entries.remove(slot))
        })?;
        Ok(removed.and_then(|entry| entry.value.upgrade(py)))
    }

    /// Makes the class of the reapers callable.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn prepare(py: Python<'_>) -> PyResult<()> {
        WeakTable::<ByKey>::new(py)?.prepare(py);
        Ok(())
    }
}

#[pymethods]
impl WeakValues {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = None)]
    fn new(
        py: Python<'_>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        Ok(Self(WeakTable::new(py)?))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.0.len(py)
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.look(key, hash_of(key)?)?.is_some())
    }

    fn __getitem__<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match slf.get().look(key, hash_of(key)?)? {
            Some(value) => Ok(value),
            None => Err(build::missing(key)),
        }
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.put(key, hash_of(key)?, value, false).map(drop)
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.take(key)?.map(drop).ok_or_else(|| build::missing(key))
    }

    fn __iter__(slf: &Bound<'_, Self>) -> WeakIterator {
        Self::keys(slf)
    }

    /// Returns the value of `key`, or `default`. O(1).
    ///
    /// >>> from leaksafe import WeakValueDictionary
    /// >>> WeakValueDictionary().get("a", "nothing")
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
            (None, Argument::Absent) => Err(build::missing(key)),
        }
    }

    /// Removes the newest entry and returns its key and value. O(1).
    ///
    /// Raises:
    ///     KeyError: if there is none.
    fn popitem<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let py = slf.py();
        while let Some(entry) = slf.get().0.pop(py) {
            if let Some(value) = entry.value.upgrade(py) {
                return Ok((entry.key.into_bound(py), value));
            }
        }
        Err(PyKeyError::new_err(format!(
            "popitem(): this {} is empty",
            slf.get_type().name()?
        )))
    }

    /// Returns the value of `key`, after setting it to `default` where there is none; of threads that do so at once, all
    /// get the same value. O(1).
    #[pyo3(signature = (key, default = None))]
    fn setdefault<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let hash = hash_of(key)?;
        if let Some(value) = self.look(key, hash)? {
            return Ok(value);
        }
        let default = default.unwrap_or_else(|| key.py().None().into_bound(key.py()));
        Ok(self.put(key, hash, &default, true)?.unwrap_or(default))
    }

    /// Returns the value of `key`, made by `factory` where there is none.
    ///
    /// `factory` takes no arguments and runs once for each key, however many threads ask at once: the others wait and
    /// get the same value. What it raises goes to its caller, and the next of those who waited calls its own factory.
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
        self.0.flights.once(
            key,
            key,
            hash,
            || self.look(key, hash),
            || {
                let made = factory.call0()?;
                Ok(self.put(key, hash, &made, true)?.unwrap_or(made))
            },
        )
    }

    /// Removes every entry. O(n).
    fn clear(&self, py: Python<'_>) {
        self.0.clear(py);
    }

    /// Returns an iterator over the keys, oldest first.
    fn keys(slf: &Bound<'_, Self>) -> WeakIterator {
        slf.get()
            .0
            .walk(slf.py(), slf.clone().into_any().unbind(), Part::Keys)
    }

    /// Returns an iterator over the living values, oldest first.
    fn values(slf: &Bound<'_, Self>) -> WeakIterator {
        slf.get()
            .0
            .walk(slf.py(), slf.clone().into_any().unbind(), Part::Values)
    }

    /// Returns an iterator over keys and living values, oldest first.
    fn items(slf: &Bound<'_, Self>) -> WeakIterator {
        slf.get()
            .0
            .walk(slf.py(), slf.clone().into_any().unbind(), Part::Items)
    }

    /// The callable that is called with the key after an entry left because its value died, or `None`.
    #[getter]
    fn get_on_collect(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.0.on_collect(py)
    }

    #[setter]
    fn set_on_collect(&self, py: Python<'_>, callback: Bound<'_, PyAny>) -> PyResult<()> {
        self.0.set_on_collect(py, callback)
    }

    fn __sizeof__(slf: &Bound<'_, Self>) -> PyResult<Count> {
        let fixed = sizes::basic(&slf.get_type())?;
        Ok(Count::from(fixed + slf.get().0.allocated(slf.py())))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.visit(visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        self.0.dissolve(py);
    }
}
