//! What `WeakSet` and `WeakList` are made of.

#![allow(clippy::doc_markdown, reason = "Python's docstrings")]

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::weak_keys::Referent;
use super::weak_table::{
    Entry, Given, Part, State, WeakIterator, WeakTable, out_of_memory, unreferable,
};
use crate::core::Slot;
use crate::interop::build::Count;
use crate::interop::equality::hash_of;
use crate::interop::reference::{self, Reference, is_referable, refers_to};
use crate::interop::sizes;

const CURE: &str = ", which this container needs of what it holds";

/// A weak reference under the hash of the member that it is, or that it is the instance of.
pub struct Member {
    object: Reference,
    /// Of a bound method, a weak reference to the function; `object` is the instance then.
    function: Option<Py<PyAny>>,
}

impl Entry for Member {
    const TELLS: bool = false;

    #[inline]
    fn reference(&self) -> &Reference {
        &self.object
    }

    #[inline]
    fn key(&self) -> Option<&Py<PyAny>> {
        // A bound method is found by the identity of its parts instead.
        self.function.is_none().then(|| self.object.object())
    }

    #[inline]
    fn part<'py>(&self, py: Python<'py>, _: Part) -> Option<Given<'py>> {
        let object = self.object.upgrade(py)?;
        match &self.function {
            None => Some((object, None)),
            Some(function) => Some((object, Some(function.bind(py).clone()))),
        }
    }

    fn into_parts(self, py: Python<'_>) -> (Bound<'_, PyAny>, Option<Bound<'_, PyAny>>) {
        let reference = self.object.into_object().into_bound(py);
        let function = self.function.map(|function| function.into_bound(py));
        (reference, function)
    }

    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(self.object.object())?;
        visit.call(&self.function)
    }
}

/// A member as it comes in: an object, or the instance and the function of a bound method.
struct Incoming<'py> {
    object: Bound<'py, PyAny>,
    function: Option<Bound<'py, PyAny>>,
    hash: u64,
}

impl<'py> Incoming<'py> {
    fn probe(&self) -> Referent<'_, 'py> {
        Referent {
            object: &self.object,
            by_identity: false,
        }
    }

    /// The slot of the method that it is, of this function.
    fn find_method(&self, state: &State<Member>, function: &Bound<'py, PyAny>) -> Option<Slot> {
        state.entries.find(self.hash, |entry| {
            refers_to(entry.object.object(), &self.object)
                && entry
                    .function
                    .as_ref()
                    .is_some_and(|held| refers_to(held, function))
        })
    }
}

fn method_type(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static METHOD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    METHOD.import(py, "types", "MethodType")
}

/// What an entry gave, put together: `None` where the function of a bound method is dead.
pub fn assemble((object, function): Given<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let Some(function) = function else {
        return Ok(Some(object));
    };
    match reference::upgrade(&function) {
        Some(function) => method_type(object.py())?
            .call1((function, object))
            .map(Some),
        None => Ok(None),
    }
}

/// The operations of `WeakSet` and `WeakList` that are Rust's.
#[pyclass(
    frozen,
    subclass,
    generic,
    module = "leaksafe._core",
    name = "_WeakMembers"
)]
pub struct WeakMembers(WeakTable<Member>);

impl WeakMembers {
    /// What an object is as a member; `None` where it can't be weakly referenced.
    fn incoming<'py>(
        object: &Bound<'py, PyAny>,
        by_identity: bool,
    ) -> PyResult<Option<Incoming<'py>>> {
        let py = object.py();
        if !is_referable(object) {
            return Ok(None);
        }
        let hash = if by_identity { 0 } else { hash_of(object)? };
        if !object.get_type().is(method_type(py)?) {
            return Ok(Some(Incoming {
                object: object.clone(),
                function: None,
                hash,
            }));
        }
        Ok(Some(Incoming {
            object: object.getattr(intern!(py, "__self__"))?,
            function: Some(object.getattr(intern!(py, "__func__"))?),
            hash,
        }))
    }

    /// Looks a member up and runs `section` with what was found.
    fn locate<R>(
        &self,
        member: &Incoming<'_>,
        section: impl FnOnce(&mut State<Member>, Option<Slot>) -> R,
    ) -> PyResult<R> {
        let Some(function) = &member.function else {
            return self.0.locate(&member.probe(), member.hash, section);
        };
        let py = member.object.py();
        Ok(self.0.with(py, |state| {
            let found = member.find_method(state, function);
            section(state, found)
        }))
    }

    /// Whether a member is there.
    fn has(&self, member: &Incoming<'_>) -> PyResult<bool> {
        match &member.function {
            None => self
                .0
                .locate_read(&member.probe(), member.hash, |_, found| found.is_some()),
            Some(function) => Ok(self.0.read(member.object.py(), |state| {
                member.find_method(state, function).is_some()
            })),
        }
    }

    fn make(&self, object: &Bound<'_, PyAny>, member: Option<Incoming<'_>>) -> PyResult<Member> {
        let Some(member) = member else {
            return Err(unreferable(object, CURE));
        };
        let function = match &member.function {
            None => None,
            Some(function) => Some(
                pyo3::types::PyWeakrefReference::new(function)?
                    .into_any()
                    .unbind(),
            ),
        };
        Ok(Member {
            object: self.0.refer(&member.object, CURE)?,
            function,
        })
    }
}

#[pymethods]
impl WeakMembers {
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

    fn __contains__(&self, item: &Bound<'_, PyAny>) -> PyResult<bool> {
        match Self::incoming(item, false)? {
            Some(member) => self.has(&member),
            None => Ok(false),
        }
    }

    /// Adds an object, unless an equal one is there. O(1).
    ///
    /// Raises:
    ///     TypeError: for what is unhashable or can't be weakly referenced.
    fn _add(&self, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = item.py();
        let Some(member) = Self::incoming(item, false)? else {
            return Err(unreferable(item, CURE));
        };
        if self.locate(&member, |_, found| found.is_some())? {
            return Ok(());
        }
        let again = Incoming {
            object: member.object.clone(),
            function: member.function.clone(),
            hash: member.hash,
        };
        let mut entry = Some(self.make(item, Some(member))?);
        let added = self.locate(&again, |state, found| match entry.take() {
            Some(new) if found.is_none() => self.0.push(state, again.hash, new).map_err(|new| {
                entry = Some(new);
            }),
            unused => {
                entry = unused;
                Ok(())
            }
        })?;
        drop(entry);
        self.0.settle(py);
        added.map_err(|()| out_of_memory())
    }

    /// Adds an object at the end, whether or not it is there. O(1).
    ///
    /// Raises:
    ///     TypeError: for what can't be weakly referenced.
    fn _append(&self, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = item.py();
        let member = Self::incoming(item, true)?;
        let hash = (item.as_ptr() as u64) >> 4;
        let entry = self.make(item, member)?;
        let left = self.0.with(py, |state| self.0.push(state, hash, entry));
        self.0.settle(py);
        left.map_err(|_| out_of_memory())
    }

    /// Removes an object where it is there, and says whether it was. O(1).
    ///
    /// Raises:
    ///     TypeError: for what is unhashable or can't be weakly referenced.
    fn _remove(&self, item: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Some(member) = Self::incoming(item, false)? else {
            return Err(unreferable(item, CURE));
        };
        let removed = self.locate(&member, |state, found| {
            found.and_then(|slot| state.entries.remove(slot))
        })?;
        Ok(removed.is_some())
    }

    /// The living members with the numbers of their places. O(n).
    fn _places<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Slot, Bound<'py, PyAny>)>> {
        let given: Vec<(Slot, Given<'py>)> = self.0.with(py, |state| {
            (0..)
                .take(state.entries.places())
                .filter_map(|slot| {
                    let entry = state.entries.get(slot)?;
                    Some((slot, entry.part(py, Part::Members)?))
                })
                .collect()
        });
        let mut living = Vec::with_capacity(given.len());
        for (slot, given) in given {
            if let Some(member) = assemble(given)? {
                living.push((slot, member));
            }
        }
        Ok(living)
    }

    /// Removes what is in a place, where that is still this member, and says whether it was. O(1).
    fn _remove_at(&self, place: Slot, item: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Some(member) = Self::incoming(item, true)? else {
            return Ok(false);
        };
        let removed = self.0.with(item.py(), |state| {
            let entry = state.entries.get(place)?;
            let same = refers_to(entry.object.object(), &member.object)
                && match (&entry.function, &member.function) {
                    (Some(held), Some(function)) => refers_to(held, function),
                    (None, None) => true,
                    _ => false,
                };
            same.then(|| state.entries.remove(place))?
        });
        Ok(removed.is_some())
    }

    /// Removes the newest living member and returns it; `None` where there is none. O(1).
    fn _pop<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        while let Some(entry) = self.0.pop(py) {
            if let Some(given) = entry.part(py, Part::Keys)
                && let Some(object) = assemble(given)?
            {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    /// Removes every member. O(n).
    fn clear(&self, py: Python<'_>) {
        self.0.clear(py);
    }

    fn __iter__(slf: &Bound<'_, Self>) -> WeakIterator {
        let owner = slf.clone().into_any().unbind();
        slf.get().0.walk(slf.py(), owner, Part::Members)
    }

    /// The callable that is called, without arguments, after a member left because it died, or `None`.
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
