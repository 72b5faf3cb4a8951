//! What is asked of the interpreter itself.

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Refuses to be imported anywhere but in the main interpreter: what the library keeps for the whole process (the
/// logger, the graph of waits, types) holds objects of one interpreter.
///
/// # Errors
/// `ImportError`.
pub fn refuse_subinterpreters(_py: Python<'_>) -> PyResult<()> {
    // SAFETY: the thread is attached, so that there is a current interpreter.
    let current = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    if current == 0 {
        Ok(())
    } else {
        Err(PyImportError::new_err(
            "leaksafe can only be used in the main interpreter, not in a subinterpreter",
        ))
    }
}

/// `operator.index(object)`, without an import, which fails at the interpreter's end.
///
/// # Errors
/// `TypeError` where the object is no integer; what its `__index__` raises.
pub fn index<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the object is live and the thread attached; the result is a new reference or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(object.py(), ffi::PyNumber_Index(object.as_ptr())) }
}

/// Whether an object has an `__index__`.
pub fn has_index(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is live and the thread attached.
    unsafe { ffi::PyIndex_Check(object.as_ptr()) != 0 }
}
