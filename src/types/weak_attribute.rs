//! `weakattr`.

#![allow(
    clippy::doc_markdown,
    clippy::doc_link_with_quotes,
    reason = "Python's docstrings"
)]

use std::sync::OnceLock;

use pyo3::exceptions::{PyAttributeError, PyReferenceError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};
use pyo3::{PyTraverseError, PyVisit};

use super::arguments;
use super::weak_keys::WeakKeys;
use crate::interop::reference;

/// An attribute that holds its object weakly and reads as the object.
///
/// Args:
///     default: what an attribute reads as that was never set, or was deleted or set to `None`.
///     missing: what a read does once the object is gone: "none" gives `None`, "raise" raises a `ReferenceError`.
///     on_collect: called with the instance after the object died, if the instance lives then and its class has
///         weak references.
///
/// Raises:
///     TypeError: when the attribute is set to what can't be weakly referenced (an `int`, a `str`, a tuple), or where
///         an instance has no place for it.
///     ValueError: for another `missing`.
///
/// It takes the cycle out of an owner and what it owns: the owner has an ordinary list, and what is in it refers back
/// by this. Then both are freed at once, without the collector. The reference lies in the instance, as the attribute
/// `_weak_NAME`: in its `__dict__`, in a slot of that name if there is one, or else beside it, where the instance can be
/// weakly referenced. A copied instance refers to the same object; a deep copy to the object's copy, if that is
/// copied before it; a pickled one to the object again, held weakly. `weakattr.list()` is a `WeakList` for each instance.
///
/// >>> from leaksafe import weakattr
/// >>> class Person:
/// ...     def __init__(self, name):
/// ...         self.name, self.cars = name, []
/// ...     def add_car(self, car):
/// ...         self.cars.append(car)
/// ...         car.owner = self
/// >>> class Car:
/// ...     owner = weakattr()
/// >>> person, car = Person("Ada"), Car()
/// >>> person.add_car(car)
/// >>> car.owner.name
/// 'Ada'
/// >>> del person
/// >>> car.owner is None
/// True
#[pyclass(frozen, subclass, generic, module = "leaksafe", name = "weakattr")]
pub struct WeakAttribute {
    names: OnceLock<Names>,
    default: Option<Py<PyAny>>,
    raises: bool,
    on_collect: Option<Py<PyAny>>,
    /// Of instances that have no place of their own.
    beside: Py<WeakKeys>,
}

/// The attribute's name, and the one under which the reference lies.
struct Names {
    public: Py<PyString>,
    private: Py<PyString>,
}

impl WeakAttribute {
    fn names(&self) -> PyResult<&Names> {
        self.names.get().ok_or_else(|| {
            PyTypeError::new_err(
                "this weakattr has no name: it is to be set in the body of a class",
            )
        })
    }

    /// The reference of an instance, if it has one.
    fn reference<'py>(
        &self,
        instance: &Bound<'py, PyAny>,
        names: &Names,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match reference::generic_attribute(instance, names.private.bind(instance.py()))? {
            Some(reference) => Ok(Some(reference)),
            None if self.beside.get().is_empty(instance.py()) => Ok(None),
            None => self.beside.get().value(instance),
        }
    }

    fn absent<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.default.as_ref().map_or_else(
            || py.None().into_bound(py),
            |default| default.bind(py).clone(),
        )
    }

    fn gone(&self, py: Python<'_>, names: &Names) -> PyResult<Py<PyAny>> {
        if !self.raises {
            return Ok(py.None());
        }
        Err(PyReferenceError::new_err(format!(
            "the object of the attribute {} is gone",
            names.public.bind(py).repr()?
        )))
    }
}

#[pymethods]
impl WeakAttribute {
    #[new]
    #[pyo3(signature = (*, default = None, missing = "none", on_collect = None))]
    fn new(
        py: Python<'_>,
        default: Option<Py<PyAny>>,
        missing: &str,
        on_collect: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let raises = match missing {
            "none" => false,
            "raise" => true,
            other => {
                return Err(PyValueError::new_err(format!(
                    "missing must be 'none' or 'raise', but is '{other}'"
                )));
            }
        };
        Ok(Self {
            names: OnceLock::new(),
            default,
            raises,
            on_collect: arguments::callable(on_collect, "on_collect")?,
            beside: Py::new(py, WeakKeys::by_identity(py)?)?,
        })
    }

    /// Returns an attribute that is a `WeakList` of each instance's own, made at the first use: for observers.
    ///
    /// >>> from leaksafe import weakattr
    /// >>> class Subject:
    /// ...     observers = weakattr.list()
    /// >>> class Observer: ...
    /// >>> subject, observer = Subject(), Observer()
    /// >>> subject.observers.append(observer)
    /// >>> len(subject.observers)
    /// 1
    #[staticmethod]
    fn list(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        py.import("leaksafe._owned")?
            .getattr("WeakListAttribute")?
            .call0()
    }

    fn __set_name__(&self, _owner: &Bound<'_, PyType>, name: &Bound<'_, PyString>) -> PyResult<()> {
        let py = name.py();
        let private = PyString::intern(py, &format!("_weak_{}", name.to_str()?));
        let names = self.names.get_or_init(|| Names {
            public: name.clone().unbind(),
            private: private.unbind(),
        });
        if names.public.bind(py).to_str()? != name.to_str()? {
            return Err(PyTypeError::new_err(format!(
                "cannot use the same weakattr as {} and as {}",
                names.public.bind(py).repr()?,
                name.repr()?
            )));
        }
        Ok(())
    }

    fn __get__<'py>(
        slf: &Bound<'py, Self>,
        instance: Option<&Bound<'py, PyAny>>,
        _owner: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(instance) = instance else {
            return Ok(slf.clone().into_any());
        };
        let (py, this) = (slf.py(), slf.get());
        let names = this.names()?;
        match this.reference(instance, names)? {
            None => Ok(this.absent(py)),
            Some(held) => match reference::upgrade_any(&held) {
                Some(referent) => Ok(referent),
                None => this.gone(py, names).map(|gone| gone.into_bound(py)),
            },
        }
    }

    fn __set__(
        slf: &Bound<'_, Self>,
        instance: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        static HOLD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let (py, this) = (slf.py(), slf.get());
        let names = this.names()?;
        // A dataclass sets an attribute that it wasn't given to what the class has.
        if value.is_none() || value.is(slf) {
            return Self::unset(slf, instance).map(drop);
        }
        let held = HOLD.import(py, "leaksafe._owned", "hold")?.call1((
            value,
            instance,
            this.on_collect.as_ref(),
        ))?;
        let private = names.private.bind(py);
        match reference::set_generic_attribute(instance, private, Some(&held)) {
            Err(error) if error.is_instance_of::<PyAttributeError>(py) => {}
            other => return other,
        }
        if !reference::is_referable(instance) {
            let class = instance.get_type();
            return Err(PyTypeError::new_err(format!(
                "{} objects have no place for the reference: add '{private}' or '__weakref__' to __slots__",
                class.name()?
            )));
        }
        this.beside.get().store(instance, &held)
    }

    fn __delete__(slf: &Bound<'_, Self>, instance: &Bound<'_, PyAny>) -> PyResult<()> {
        if Self::unset(slf, instance)? {
            return Ok(());
        }
        let name = slf.get().names()?.public.bind(slf.py());
        Err(PyAttributeError::new_err(name.clone().unbind()))
    }

    /// The name of the attribute, or `None` where it isn't one yet.
    #[getter]
    fn __name__(&self, py: Python<'_>) -> Option<Py<PyString>> {
        self.names.get().map(|names| names.public.clone_ref(py))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.default)?;
        visit.call(&self.on_collect)?;
        visit.call(&self.beside)
    }
}

impl WeakAttribute {
    /// Takes the reference out of an instance, and says whether there was one.
    fn unset(slf: &Bound<'_, Self>, instance: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (py, this) = (slf.py(), slf.get());
        let private = this.names()?.private.bind(py);
        match reference::set_generic_attribute(instance, private, None) {
            Ok(()) => return Ok(true),
            Err(error) if error.is_instance_of::<PyAttributeError>(py) => {}
            Err(error) => return Err(error),
        }
        if !reference::is_referable(instance) {
            return Ok(false);
        }
        let held = this.beside.get().take(instance)?;
        Ok(held.is_some())
    }
}
