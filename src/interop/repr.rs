//! `repr` of what may hold itself, or be nested deeply.

use std::cell::Cell;

use pyo3::exceptions::PyRecursionError;
use pyo3::ffi;
use pyo3::prelude::*;

/// CPython counts levels of C code for frames smaller than ours (10 000 on 3.13, on a stack of 8 MiB).
const DEPTH: u32 = 1_000;

thread_local! {
    static LEVEL: Cell<u32> = const { Cell::new(0) };
}

/// Marks that the `repr` of an object is being made by this thread, until it is dropped.
pub struct InRepr<'a, 'py>(&'a Bound<'py, PyAny>);

impl Drop for InRepr<'_, '_> {
    fn drop(&mut self) {
        LEVEL.set(LEVEL.get() - 1);
        // SAFETY: pairs with the Py_ReprEnter in `enter`, for the same live object.
        unsafe { ffi::Py_ReprLeave(self.0.as_ptr()) }
    }
}

/// Enters the `repr` of an object; `None` where this thread is in it already.
///
/// # Errors
/// `RecursionError` where a thousand others contain it, `MemoryError`.
pub fn enter<'a, 'py>(object: &'a Bound<'py, PyAny>) -> PyResult<Option<InRepr<'a, 'py>>> {
    let level = LEVEL.get();
    if level >= DEPTH {
        return Err(PyRecursionError::new_err(
            "maximum recursion depth exceeded while getting the repr of a cache",
        ));
    }
    // SAFETY: the object is live and the thread attached.
    match unsafe { ffi::Py_ReprEnter(object.as_ptr()) } {
        0 => {
            LEVEL.set(level + 1);
            Ok(Some(InRepr(object)))
        }
        1 => Ok(None),
        _ => Err(PyErr::fetch(object.py())),
    }
}
