//! `getsizeof`: what an entry weighs.

use pyo3::intern;
use pyo3::prelude::*;

use super::arguments;

/// A caller's measure of entries.
pub struct Weigher {
    /// The callable as it was given.
    pub function: Py<PyAny>,
    with_key: bool,
}

impl Weigher {
    /// Finds out whether `function` wants the key too: whether it has two positional parameters that it requires.
    ///
    /// # Errors
    /// What looking at the signature raises, save that it can't be known: then it gets the value.
    pub fn new(py: Python<'_>, function: Py<PyAny>) -> PyResult<Self> {
        let with_key = required_positionals(function.bind(py))?.is_some_and(|count| count >= 2);
        Ok(Self { function, with_key })
    }

    /// A second reference to the same.
    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            function: self.function.clone_ref(py),
            with_key: self.with_key,
        }
    }

    /// What the entry weighs.
    ///
    /// # Errors
    /// What the function raises; `TypeError`, `ValueError` or `OverflowError` where its answer is no weight.
    pub fn weigh(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<u64> {
        let function = self.function.bind(key.py());
        let weight = if self.with_key {
            function.call1((key, value))?
        } else {
            function.call1((value,))?
        };
        arguments::count(&weight, "the result of getsizeof", "an int")
    }
}

fn required_positionals(function: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    let py = function.py();
    let inspect = py.import(intern!(py, "inspect"))?;
    let signature = match inspect.call_method1(intern!(py, "signature"), (function,)) {
        Ok(signature) => signature,
        Err(error)
            if error.is_instance_of::<pyo3::exceptions::PyValueError>(py)
                || error.is_instance_of::<pyo3::exceptions::PyTypeError>(py) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let parameter = inspect.getattr(intern!(py, "Parameter"))?;
    let positional = [
        parameter.getattr(intern!(py, "POSITIONAL_ONLY"))?,
        parameter.getattr(intern!(py, "POSITIONAL_OR_KEYWORD"))?,
    ];
    let empty = parameter.getattr(intern!(py, "empty"))?;
    let mut required = 0;
    for parameter in signature
        .getattr(intern!(py, "parameters"))?
        .call_method0(intern!(py, "values"))?
        .try_iter()?
    {
        let parameter = parameter?;
        let kind = parameter.getattr(intern!(py, "kind"))?;
        if positional.iter().any(|other| other.is(&kind))
            && parameter.getattr(intern!(py, "default"))?.is(&empty)
        {
            required += 1;
        }
    }
    Ok(Some(required))
}
