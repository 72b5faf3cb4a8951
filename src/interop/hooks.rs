//! Errors that have no caller to go to.

use pyo3::prelude::*;

/// Hands what a callback raised to `sys.unraisablehook`, with the structure that called it.
pub fn unraisable(py: Python<'_>, error: PyErr, callback: &str, owner: &Bound<'_, PyAny>) {
    let report = || -> PyResult<()> {
        let sys = py.import("sys")?;
        let message = format!("Exception ignored in {callback} of");
        let arguments = sys.getattr("UnraisableHookArgs")?.call1(((
            error.get_type(py),
            error.value(py),
            error.traceback(py),
            message,
            owner,
        ),))?;
        sys.getattr("unraisablehook")?.call1((arguments,))?;
        Ok(())
    };
    if report().is_err() {
        // The hook itself failed or is gone (at exit): the interpreter's own way prints what it can.
        error.write_unraisable(py, Some(owner));
    }
}
