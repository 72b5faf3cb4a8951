//! What is done in Python for coroutines, in a module that is imported with the first of them.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

const MODULE: &str = "leaksafe._async_flights";

/// The flights of one structure, which are waited for no longer than so many seconds.
///
/// # Errors
/// When `asyncio` can't be imported.
pub fn flights(py: Python<'_>, wait_timeout: Option<f64>) -> PyResult<Py<PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = CLASS
        .import(py, MODULE, "Flights")?
        .call1((wait_timeout,))?;
    Ok(made.unbind())
}

/// The coroutine function that returns its argument.
///
/// # Errors
/// As [`flights`].
pub fn ready(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static READY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    READY.import(py, MODULE, "ready")
}

/// What a look returns that finds nothing.
///
/// # Errors
/// As [`flights`].
pub fn missing(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static MISSING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    MISSING.import(py, MODULE, "MISSING")
}

/// The function of a cache, a key and a factory that returns the coroutine of what that makes.
///
/// # Errors
/// As [`flights`].
pub fn creation(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CREATION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CREATION.import(py, MODULE, "creation")
}
