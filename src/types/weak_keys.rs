//! What `WeakKeyDictionary` and `WeakIdDictionary` are made of.

#![allow(
    clippy::doc_markdown,
    clippy::doc_link_with_quotes,
    reason = "Python's docstrings"
)]

use std::sync::OnceLock;

use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::arguments::Argument;
use super::flights::check_factory;
use super::weak_table::{
    Entry, Given, Part, State, WeakIterator, WeakTable, out_of_memory, unreferable,
};
use crate::core::Slot;
use crate::interop::build::Count;
use crate::interop::equality::{self, Verdict, hash_of};
use crate::interop::lookup::Probe;
use crate::interop::reference::{self, Reference, is_referable, refers_to};
use crate::interop::sizes;
use crate::interop::{build, hot};

const CURE: &str =
    ", which this dictionary needs of its keys: dict and LRUCache hold any hashable key";

/// A weak reference to a key under its hash, and the key's value.
pub struct OfKey {
    key: Reference,
    value: Py<PyAny>,
}

impl Entry for OfKey {
    const TELLS: bool = true;

    #[inline]
    fn reference(&self) -> &Reference {
        &self.key
    }

    #[inline]
    fn key(&self) -> Option<&Py<PyAny>> {
        Some(self.key.object())
    }

    #[inline]
    fn part<'py>(&self, py: Python<'py>, part: Part) -> Option<Given<'py>> {
        let key = self.key.upgrade(py)?;
        Some(match part {
            Part::Keys | Part::Members => (key, None),
            Part::Values => (self.value.bind(py).clone(), Some(key)),
            Part::Items => (key, Some(self.value.bind(py).clone())),
        })
    }

    fn into_parts(self, py: Python<'_>) -> (Bound<'_, PyAny>, Option<Bound<'_, PyAny>>) {
        let reference = self.key.into_object().into_bound(py);
        (reference, Some(self.value.into_bound(py)))
    }

    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(self.key.object())?;
        visit.call(&self.value)
    }
}

/// An object that is looked for among the referents of weak references.
pub struct Referent<'a, 'py> {
    pub object: &'a Bound<'py, PyAny>,
    /// Whether it is equal to itself alone, whatever its class says.
    pub by_identity: bool,
}

impl<'py> Probe<'py> for Referent<'_, 'py> {
    fn py(&self) -> Python<'py> {
        self.object.py()
    }

    #[inline]
    fn compare(&self, stored: &Py<PyAny>) -> Verdict {
        match (refers_to(stored, self.object), self.by_identity) {
            (same, true) => {
                if same {
                    Verdict::Same
                } else {
                    Verdict::Different
                }
            }
            // As weakref has it: an object that says so is not equal to itself.
            (true, false) if equality::by_identity(self.object) => Verdict::Same,
            (_, false) => Verdict::Unsure,
        }
    }

    fn equal(&self, stored: &Bound<'py, PyAny>) -> PyResult<bool> {
        match reference::upgrade(stored) {
            Some(referent) => referent.eq(self.object),
            None => Ok(false),
        }
    }

    fn described(&self) -> String {
        self.object.described()
    }
}

/// A strong key that is equal to itself alone.
struct Itself<'a, 'py>(&'a Bound<'py, PyAny>);

impl<'py> Probe<'py> for Itself<'_, 'py> {
    fn py(&self) -> Python<'py> {
        self.0.py()
    }

    fn compare(&self, stored: &Py<PyAny>) -> Verdict {
        if stored.is(self.0) {
            Verdict::Same
        } else {
            Verdict::Different
        }
    }

    fn equal(&self, stored: &Bound<'py, PyAny>) -> PyResult<bool> {
        Ok(stored.is(self.0))
    }

    fn described(&self) -> String {
        self.0.described()
    }
}

/// The operations of `WeakKeyDictionary` that are Rust's; `by_identity`, those of `WeakIdDictionary`.
#[pyclass(
    frozen,
    subclass,
    mapping,
    generic,
    module = "leaksafe._core",
    name = "_WeakKeys"
)]
pub struct WeakKeys {
    table: WeakTable<OfKey>,
    by_identity: bool,
}

impl hot::Mapping for WeakKeys {
    #[inline]
    fn plain_hit(&self, key: &Bound<'_, PyAny>, hash: u64) -> Option<Py<PyAny>> {
        let hash = if self.by_identity {
            id(key)
        } else if equality::by_identity(key) {
            hash
        } else {
            return None;
        };
        self.table.try_read(key.py(), |state| {
            let slot = state
                .entries
                .find(hash, |entry| refers_to(entry.key.object(), key))?;
            value_in(key.py(), state, slot).map(Bound::unbind)
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

/// A hash that says who it is.
#[inline]
fn id(key: &Bound<'_, PyAny>) -> u64 {
    // The low bits of an address are zero.
    (key.as_ptr() as u64) >> 4
}

#[inline]
fn value_in<'py>(py: Python<'py>, state: &State<OfKey>, slot: Slot) -> Option<Bound<'py, PyAny>> {
    Some(state.entries.get(slot)?.value.bind(py).clone())
}

impl WeakKeys {
    fn hash(&self, key: &Bound<'_, PyAny>) -> PyResult<u64> {
        if !is_referable(key) {
            return Err(unreferable(key, CURE));
        }
        if self.by_identity {
            return Ok(id(key));
        }
        hash_of(key).map_err(|error| {
            let py = key.py();
            let unhashable = key
                .getattr(intern!(py, "__hash__"))
                .is_ok_and(|hash| hash.is_none());
            if !(unhashable && error.is_instance_of::<PyTypeError>(py)) {
                return error;
            }
            PyTypeError::new_err(format!(
                "{}: WeakIdDictionary takes keys by identity, hashable or not",
                error.value(py)
            ))
        })
    }

    fn probe<'a, 'py>(&self, key: &'a Bound<'py, PyAny>) -> Referent<'a, 'py> {
        Referent {
            object: key,
            by_identity: self.by_identity,
        }
    }

    fn look<'py>(&self, key: &Bound<'py, PyAny>, hash: u64) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.table
            .locate_read(&self.probe(key), hash, |state, found| {
                found.and_then(|slot| value_in(key.py(), state, slot))
            })
    }

    /// Sets the value of a key; where `keep` says so, one that is there is kept and given back.
    fn put<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        hash: u64,
        value: &Bound<'py, PyAny>,
        keep: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let mut entry = Some(OfKey {
            key: self.table.refer(key, CURE)?,
            value: value.clone().unbind(),
        });
        let present = self.table.locate(&self.probe(key), hash, |state, found| {
            if let Some(slot) = found {
                if keep {
                    return Ok(value_in(py, state, slot));
                }
                if let (Some(new), Some(old)) = (&mut entry, state.entries.get_mut(slot)) {
                    std::mem::swap(&mut new.value, &mut old.value);
                }
                return Ok(None);
            }
            match entry.take() {
                Some(new) => self
                    .table
                    .push(state, hash, new)
                    .map(|()| None)
                    .map_err(|new| {
                        entry = Some(new);
                    }),
                None => Ok(None),
            }
        })?;
        if entry.is_none() {
            self.table.settle(py);
        }
        drop(entry);
        present.map_err(|()| out_of_memory())
    }

    /// A table of keys by identity.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn by_identity(py: Python<'_>) -> PyResult<Self> {
        Ok(Self {
            table: WeakTable::new(py)?,
            by_identity: true,
        })
    }

    /// Whether there is no entry.
    pub fn is_empty(&self, py: Python<'_>) -> bool {
        self.table.len(py) == 0
    }

    /// The value of a key; `None` also for what is no key.
    ///
    /// # Errors
    /// What a comparison raises.
    pub fn value<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if !is_referable(key) {
            return Ok(None);
        }
        self.look(key, self.hash(key)?)
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// `TypeError` for what is no key; what a comparison raises.
    pub fn store(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.put(key, self.hash(key)?, value, false).map(drop)
    }

    /// Takes the entry of a key out, and gives its value.
    ///
    /// # Errors
    /// `TypeError` for what is no key; what a comparison raises.
    pub fn take<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let hash = self.hash(key)?;
        let removed = self.table.locate(&self.probe(key), hash, |state, found| {
            found.and_then(|slot| state.entries.remove(slot))
        })?;
        Ok(removed.map(|entry| entry.value.into_bound(key.py())))
    }
}

#[pymethods]
impl WeakKeys {
    /// Whether a class's instances compare keys by identity.
    #[classattr]
    fn _by_identity() -> bool {
        false
    }

    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        cls: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        Ok(Self {
            table: WeakTable::new(cls.py())?,
            by_identity: cls.getattr(intern!(cls.py(), "_by_identity"))?.extract()?,
        })
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.table.len(py)
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        if !is_referable(key) {
            return Ok(false);
        }
        let hash = self.hash(key)?;
        self.table
            .locate_read(&self.probe(key), hash, |_, found| found.is_some())
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.look(key, self.hash(key)?)?
            .ok_or_else(|| build::missing(key))
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.put(key, self.hash(key)?, value, false).map(drop)
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.take(key)?.map(drop).ok_or_else(|| build::missing(key))
    }

    fn __iter__(slf: &Bound<'_, Self>) -> WeakIterator {
        Self::keys(slf)
    }

    /// Returns the value of `key`, or `default`. O(1).
    ///
    /// >>> from leaksafe import WeakKeyDictionary
    /// >>> class Page: ...
    /// >>> page = Page()
    /// >>> WeakKeyDictionary({page: 1}).get(page)
    /// 1
    #[pyo3(signature = (key, default = None))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.look(key, self.hash(key)?)?.or(default))
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
        while let Some(entry) = slf.get().table.pop(py) {
            if let Some(key) = entry.key.upgrade(py) {
                return Ok((key, entry.value.into_bound(py)));
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
        let hash = self.hash(key)?;
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
        let hash = self.hash(key)?;
        if let Some(value) = self.look(key, hash)? {
            return Ok(value);
        }
        check_factory(factory)?;
        let look = || self.look(key, hash);
        let make = || {
            let made = factory.call0()?;
            Ok(self.put(key, hash, &made, true)?.unwrap_or(made))
        };
        if self.by_identity {
            return self.table.flights.once(key, &Itself(key), hash, look, make);
        }
        self.table.flights.once(key, key, hash, look, make)
    }

    /// Removes every entry. O(n).
    fn clear(&self, py: Python<'_>) {
        self.table.clear(py);
    }

    /// Returns an iterator over the living keys, oldest first.
    fn keys(slf: &Bound<'_, Self>) -> WeakIterator {
        let owner = slf.clone().into_any().unbind();
        slf.get().table.walk(slf.py(), owner, Part::Keys)
    }

    /// Returns an iterator over the values of living keys, oldest first.
    fn values(slf: &Bound<'_, Self>) -> WeakIterator {
        let owner = slf.clone().into_any().unbind();
        slf.get().table.walk(slf.py(), owner, Part::Values)
    }

    /// Returns an iterator over living keys and their values, oldest first.
    fn items(slf: &Bound<'_, Self>) -> WeakIterator {
        let owner = slf.clone().into_any().unbind();
        slf.get().table.walk(slf.py(), owner, Part::Items)
    }

    /// The callable that is called with the value after an entry left because its key died, or `None`.
    #[getter]
    fn get_on_collect(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.table.on_collect(py)
    }

    #[setter]
    fn set_on_collect(&self, py: Python<'_>, callback: Bound<'_, PyAny>) -> PyResult<()> {
        self.table.set_on_collect(py, callback)
    }

    fn __sizeof__(slf: &Bound<'_, Self>) -> PyResult<Count> {
        let fixed = sizes::basic(&slf.get_type())?;
        Ok(Count::from(fixed + slf.get().table.allocated(slf.py())))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.table.visit(visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        self.table.dissolve(py);
    }
}
