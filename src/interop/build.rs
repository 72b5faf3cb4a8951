//! Python objects made so that a failed allocation is a `MemoryError`: `PyO3`'s own constructors panic there.

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyKeyError, PySystemError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// Takes an object that CPython has made, or the error that it raised.
///
/// # Safety
/// The thread is attached, and the object a new reference to an instance of `T`, or null with an exception set.
unsafe fn made<T>(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<Bound<'_, T>> {
    // SAFETY: the caller's.
    unsafe { Ok(Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked()) }
}

/// A string.
pub struct Text(pub String);

impl<'py> IntoPyObject<'py> for Text {
    type Target = PyString;
    type Output = Bound<'py, PyString>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        PyString::from_bytes(py, self.0.as_bytes())
    }
}

/// A number of bytes, entries, or what else is counted.
pub struct Count(pub u64);

impl<'py> IntoPyObject<'py> for Count {
    type Target = PyInt;
    type Output = Bound<'py, PyInt>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        // SAFETY: the thread is attached, and the function returns what its name says, or null with an exception set.
        unsafe { made(py, ffi::PyLong_FromUnsignedLongLong(self.0)) }
    }
}

impl From<usize> for Count {
    fn from(count: usize) -> Self {
        Self(count as u64)
    }
}

/// A number of seconds.
pub struct Seconds(pub f64);

impl<'py> IntoPyObject<'py> for Seconds {
    type Target = PyFloat;
    type Output = Bound<'py, PyFloat>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        // SAFETY: as for `Count`.
        unsafe { made(py, ffi::PyFloat_FromDouble(self.0)) }
    }
}

/// An empty dictionary.
///
/// # Errors
/// `MemoryError`.
pub fn dict(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    // SAFETY: as for `Count`.
    unsafe { made(py, ffi::PyDict_New()) }
}

/// An empty list.
///
/// # Errors
/// `MemoryError`.
pub fn list(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    // SAFETY: as for `Count`.
    unsafe { made(py, ffi::PyList_New(0)) }
}

/// A tuple of some objects.
///
/// # Errors
/// `MemoryError`.
pub fn tuple<'py, T, I>(py: Python<'py>, items: I) -> PyResult<Bound<'py, PyTuple>>
where
    I: IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    T: IntoPyObject<'py, Error: Into<PyErr>>,
{
    let mut items = items.into_iter();
    let count = ffi::Py_ssize_t::try_from(items.len())?;
    // SAFETY: as for `Count`.
    let tuple: Bound<'py, PyTuple> = unsafe { made(py, ffi::PyTuple_New(count))? };
    for index in 0..count {
        let Some(item) = items.next() else {
            return Err(PySystemError::new_err("an iterator ends before its length"));
        };
        let item = item.into_bound_py_any(py)?;
        // SAFETY: nobody else uses the tuple, and it has this place; each is null until it takes its item, once, which it
        // then owns. The collector and `tp_dealloc` pass over places that are null, and none is when it is given out.
        unsafe { ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index, item.into_ptr()) };
    }
    Ok(tuple)
}

/// The `KeyError` of a key that isn't there, with what is being handled as its context; the `MemoryError`, where there is
/// none for it.
pub fn missing(key: &Bound<'_, PyAny>) -> PyErr {
    let class = key.py().get_type::<PyKeyError>();
    // In a tuple: the arguments of an exception made from a tuple would be its items.
    match class.call1((key,)) {
        Ok(error) => {
            // SAFETY: the thread is attached; both are live, the one an instance of the other.
            unsafe { ffi::PyErr_SetObject(class.as_ptr(), error.as_ptr()) };
            PyErr::fetch(key.py())
        }
        Err(error) => error,
    }
}
