//! Reading arguments, with errors that name them.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat};

use crate::interop::interpreter;

/// An integer of 0 to `sys.maxsize`, from an `int` or what has an `__index__`, but not from a `bool`.
///
/// # Errors
/// `TypeError`, `ValueError` or `OverflowError`, naming `what` and the value.
pub fn count(value: &Bound<'_, PyAny>, what: &str, allowed: &str) -> PyResult<u64> {
    let wrong_type = || {
        let kind = value.get_type();
        let name = kind
            .name()
            .map_or_else(|_| "that".into(), |name| name.to_string());
        PyTypeError::new_err(format!(
            "{what} must be {allowed}, not {name}: {}",
            shown(value)
        ))
    };
    if value.is_instance_of::<PyBool>() || value.is_instance_of::<PyFloat>() {
        return Err(wrong_type());
    }
    if !interpreter::has_index(value) {
        return Err(wrong_type());
    }
    let index = interpreter::index(value)?;
    if index.lt(0)? {
        return Err(PyValueError::new_err(format!(
            "{what} must not be negative, but is {}",
            shown(&index)
        )));
    }
    index
        .extract::<i64>()
        .ok()
        .and_then(|number| u64::try_from(number).ok())
        .ok_or_else(|| {
            PyOverflowError::new_err(format!(
                "{what} must be at most sys.maxsize, but is {}",
                shown(&index)
            ))
        })
}

/// An argument that may be left out where `None` means something.
pub enum Argument {
    Absent,
    Given(Py<PyAny>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Argument {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self::Given(object.to_owned().unbind()))
    }
}

/// The argument `maxsize`.
///
/// # Errors
/// As [`count`].
pub fn maxsize(value: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
    if value.is_none() {
        return Ok(None);
    }
    count(value, "maxsize", "an int, or None for no bound").map(Some)
}

/// A callable, or `None` for none.
///
/// # Errors
/// `TypeError`, naming `what` and the value.
pub fn callable(value: Option<Bound<'_, PyAny>>, what: &str) -> PyResult<Option<Py<PyAny>>> {
    match value {
        None => Ok(None),
        Some(value) if value.is_callable() => Ok(Some(value.unbind())),
        Some(value) => Err(PyTypeError::new_err(format!(
            "{what} must be callable or None, not {}: {}",
            value.get_type().name()?,
            shown(&value)
        ))),
    }
}

/// A value for a message: its `repr`, shortened, or nothing of it if that fails.
fn shown(value: &Bound<'_, PyAny>) -> String {
    const LIMIT: usize = 80;
    let Ok(text) = value.repr() else {
        return "…".to_owned();
    };
    let text = text.to_string();
    if text.chars().count() <= LIMIT {
        text
    } else {
        text.chars().take(LIMIT).chain("…".chars()).collect()
    }
}
