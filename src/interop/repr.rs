//! `repr` of what may hold itself.

use pyo3::ffi;
use pyo3::prelude::*;

/// Marks that the `repr` of an object is being made by this thread, until it is dropped.
pub struct InRepr<'a, 'py>(&'a Bound<'py, PyAny>);

impl Drop for InRepr<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: pairs with the Py_ReprEnter in `enter`, for the same live object.
        unsafe { ffi::Py_ReprLeave(self.0.as_ptr()) }
    }
}

/// Enters the `repr` of an object; `None` where this thread is in it already.
///
/// # Errors
/// `MemoryError`.
pub fn enter<'a, 'py>(object: &'a Bound<'py, PyAny>) -> PyResult<Option<InRepr<'a, 'py>>> {
    // SAFETY: the object is live and the thread attached.
    match unsafe { ffi::Py_ReprEnter(object.as_ptr()) } {
        0 => Ok(Some(InRepr(object))),
        1 => Ok(None),
        _ => Err(PyErr::fetch(object.py())),
    }
}
