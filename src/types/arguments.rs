//! Reading arguments, with errors that name them.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyString};

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

/// The bound of a cache, from the one of `maxsize` and `max_bytes` that is given, and whether it is in bytes.
///
/// # Errors
/// `TypeError` where both are given, or none; what [`maxsize`] and [`bytes`] raise.
pub fn bound(
    py: Python<'_>,
    size: &Argument,
    max_bytes: Option<&Bound<'_, PyAny>>,
) -> PyResult<(Option<u64>, bool)> {
    match (size, max_bytes) {
        (Argument::Given(size), None) => Ok((maxsize(size.bind(py))?, false)),
        (Argument::Absent, Some(value)) => Ok((Some(bytes(value, "max_bytes")?), true)),
        (Argument::Given(_), Some(_)) => Err(PyTypeError::new_err(
            "maxsize and max_bytes are two bounds, of which one is to be given, not both",
        )),
        (Argument::Absent, None) => Err(PyTypeError::new_err(
            "missing the bound: maxsize (an int, or None for no bound) or max_bytes (such as \"64 MiB\")",
        )),
    }
}

/// A number of bytes: an integer as for [`count`], or a `str` of a decimal number and a unit.
///
/// # Errors
/// `TypeError`, `ValueError` or `OverflowError`, naming `what` and the value.
pub fn bytes(value: &Bound<'_, PyAny>, what: &str) -> PyResult<u64> {
    let Ok(text) = value.cast::<PyString>() else {
        return count(value, what, "an int or a str such as \"64 MiB\"");
    };
    match parsed_bytes(&text.to_string_lossy()).map(u64::try_from) {
        None => Err(PyValueError::new_err(format!(
            "{what} must be a number with a unit (B, kB, MB, GB, KiB, MiB or GiB), such as \"64 MiB\", but is {}",
            shown(value)
        ))),
        Some(Ok(bytes)) if i64::try_from(bytes).is_ok() => Ok(bytes),
        Some(_) => Err(PyOverflowError::new_err(format!(
            "{what} must be at most sys.maxsize bytes, but is {}",
            shown(value)
        ))),
    }
}

/// The bytes that a text such as "1.5 GiB" says, rounded down (and at most `u128::MAX`), or `None` for another text.
fn parsed_bytes(text: &str) -> Option<u128> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|letter: char| letter.is_ascii_alphabetic())?);
    let unit: u128 = match unit {
        "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let number = number.trim_end();
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (number, ""),
    };
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    // What is after the ninth digit is less than two bytes of the largest unit.
    let fraction = &fraction[..fraction.len().min(9)];
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = fraction.parse::<u128>().unwrap_or(0) * unit / scale;
    // Of digits alone, only too many don't parse.
    let whole = whole.parse().unwrap_or(u128::MAX);
    Some(whole.saturating_mul(unit).saturating_add(part))
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
