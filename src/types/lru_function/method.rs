//! A cached function with the instance, or the class, that it was asked of.

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::LruFunction;
use crate::interop::build::{self, Text};
use crate::interop::release::{Nesting, Original};
use crate::interop::vectorcall::{self, BoundFunction};

/// A method of an instance, or of a class, whose results are remembered.
#[pyclass(frozen, weakref, module = "leaksafe._core", name = "_LruMethod")]
#[repr(C)]
pub struct LruMethod {
    entry: vectorcall::Entry,
    function: Py<PyAny>,
    instance: Py<PyAny>,
}

impl BoundFunction for LruMethod {
    fn parts(&self) -> (&Py<PyAny>, &Py<PyAny>) {
        (&self.function, &self.instance)
    }
}

impl Nesting for LruMethod {
    fn original() -> &'static Original {
        static ORIGINAL: Original = Original::new();
        &ORIGINAL
    }
}

impl LruMethod {
    fn forward<'py>(
        &self,
        name: &str,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = args.py();
        let all = std::iter::once(self.instance.bind(py).clone()).chain(args.iter());
        let all = build::tuple(py, all.collect::<Vec<_>>())?;
        self.function.bind(py).getattr(name)?.call(all, kwargs)
    }
}

#[pymethods]
impl LruMethod {
    #[new]
    #[pyo3(signature = (function, instance, /))]
    pub(super) fn new(function: &Bound<'_, LruFunction>, instance: Py<PyAny>) -> Self {
        Self {
            entry: vectorcall::call_bound::<Self>,
            function: function.clone().into_any().unbind(),
            instance,
        }
    }

    /// For `method.__call__` as an attribute: calls go through the vectorcall of the class.
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.call(args, kwargs)
    }

    /// As the function's: of all instances together.
    fn cache_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.function
            .bind(py)
            .call_method0(intern!(py, "cache_info"))
    }

    /// As the function's: of all instances together.
    fn cache_clear<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.function
            .bind(py)
            .call_method0(intern!(py, "cache_clear"))
    }

    /// Forgets the result of one call on this instance, and returns whether there was one.
    #[pyo3(signature = (*args, **kwargs))]
    fn cache_discard<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.forward("cache_discard", args, kwargs)
    }

    /// Returns whether the result of one call on this instance is remembered.
    #[pyo3(signature = (*args, **kwargs))]
    fn cache_contains<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.forward("cache_contains", args, kwargs)
    }

    /// Returns the remembered result of one call on this instance, without counting or promoting it.
    #[pyo3(signature = (*args, **kwargs))]
    fn cache_peek<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.forward("cache_peek", args, kwargs)
    }

    /// Sets the result of one call on this instance: the value first, then the call's arguments.
    #[pyo3(signature = (value, /, *args, **kwargs))]
    fn cache_put<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = args.py();
        let first = [value.clone(), self.instance.bind(py).clone()];
        let all = build::tuple(py, first.into_iter().chain(args.iter()).collect::<Vec<_>>())?;
        self.function
            .bind(py)
            .getattr("cache_put")?
            .call(all, kwargs)
    }

    /// Returns the key under which the result of one call on this instance is kept.
    #[pyo3(signature = (*args, **kwargs))]
    fn cache_key<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.forward("cache_key", args, kwargs)
    }

    #[getter(__self__)]
    fn instance(&self, py: Python<'_>) -> Py<PyAny> {
        self.instance.clone_ref(py)
    }

    #[getter(__func__)]
    fn function(&self, py: Python<'_>) -> Py<PyAny> {
        self.function.clone_ref(py)
    }

    #[getter(_doc)]
    fn doc<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.function.bind(py).getattr(intern!(py, "__doc__"))
    }

    #[getter(__signature__)]
    fn signature<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let method = py
            .import("types")?
            .call_method1("MethodType", (&self.function, &self.instance))?;
        py.import("inspect")?.call_method1("signature", (method,))
    }

    fn __getattr__<'py>(&self, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        // Of the special names, those that describe the function; what they do is asked of this object itself.
        const SPECIAL: [&str; 11] = [
            "__annotate__",
            "__annotations__",
            "__code__",
            "__defaults__",
            "__isabstractmethod__",
            "__kwdefaults__",
            "__module__",
            "__name__",
            "__qualname__",
            "__type_params__",
            "__wrapped__",
        ];
        let text = name.to_cow()?;
        if text.starts_with("__") && text.ends_with("__") && !SPECIAL.contains(&text.as_ref()) {
            return Err(PyAttributeError::new_err(format!(
                "a cached method has no attribute '{text}'"
            )));
        }
        self.function.bind(name.py()).getattr(name)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        let py = other.py();
        other.cast::<Self>().is_ok_and(|other| {
            let other = other.get();
            self.function.is(other.function.bind(py)) && self.instance.is(other.instance.bind(py))
        })
    }

    fn __hash__(&self) -> usize {
        (self.instance.as_ptr() as usize >> 4) ^ (self.function.as_ptr() as usize).rotate_left(7)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<Text> {
        let name = self
            .function
            .bind(py)
            .getattr(intern!(py, "__qualname__"))?;
        let instance = self.instance.bind(py).repr()?;
        let instance = instance.to_string_lossy();
        Ok(Text(format!("<bound method {name} of {instance}>")))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let getattr = py.import("builtins")?.getattr("getattr")?;
        let name = self.function.bind(py).getattr(intern!(py, "__name__"))?;
        (getattr, (&self.instance, name)).into_pyobject(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)?;
        visit.call(&self.instance)
    }
}
