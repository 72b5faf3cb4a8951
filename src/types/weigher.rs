//! What an entry weighs: by `getsizeof`, or by the memory that it takes.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::arguments;
use super::deep_sizeof::weight_of;

/// What an entry takes in the tables of a cache with weights, about: its slot, its share of the index, its weight.
const SLOT: u64 = 51;

/// [`entry_size`], as Python has it.
static ENTRY_SIZE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Takes [`entry_size`] from the module, where pickles find it.
///
/// # Errors
/// When it isn't there.
pub fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
    ENTRY_SIZE
        .get_or_try_init(module.py(), || {
            module.getattr("_entry_size").map(Bound::unbind)
        })
        .map(|_| ())
}

/// The bytes of an entry: what [`super::deep_sizeof::deep_sizeof`] counts from key and value, and its place in the cache.
#[pyfunction(name = "_entry_size")]
#[pyo3(signature = (key, value, /))]
pub fn entry_size(key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    bytes_of(key, value, &[])
}

/// The same, without what is reached only through one of `except`.
///
/// # Errors
/// What a `__sizeof__` raises; `MemoryError`.
pub fn bytes_of<'py>(
    key: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
    except: &[&Bound<'py, PyAny>],
) -> PyResult<u64> {
    Ok(weight_of(&[key, value], except)?.saturating_add(SLOT))
}

/// A measure of entries.
pub struct Weigher {
    /// The callable as it was given, or [`entry_size`].
    pub function: Py<PyAny>,
    measure: Measure,
}

#[derive(Clone, Copy)]
enum Measure {
    OfValue,
    OfKeyAndValue,
    /// As [`bytes_of`], without what the cache has besides.
    Bytes,
}

impl Weigher {
    /// Finds out whether `function` wants the key too: whether it has two positional parameters that it requires.
    ///
    /// # Errors
    /// What looking at the signature raises, save that it can't be known: then it gets the value.
    pub fn new(py: Python<'_>, function: Py<PyAny>) -> PyResult<Self> {
        let ours = ENTRY_SIZE.get(py).is_some_and(|ours| ours.is(&function));
        let measure = if ours {
            Measure::Bytes
        } else if required_positionals(function.bind(py))?.is_some_and(|count| count >= 2) {
            Measure::OfKeyAndValue
        } else {
            Measure::OfValue
        };
        Ok(Self { function, measure })
    }

    /// The measure of a cache: `getsizeof`, or where its bound is in bytes and there is none, bytes.
    ///
    /// # Errors
    /// As [`new`](Self::new); `TypeError` where `getsizeof` can't be called.
    pub fn of_cache(
        py: Python<'_>,
        getsizeof: Option<Bound<'_, PyAny>>,
        in_bytes: bool,
    ) -> PyResult<Option<Self>> {
        let bytes = || ENTRY_SIZE.get(py).filter(|_| in_bytes);
        arguments::callable(getsizeof, "getsizeof")?
            .or_else(|| bytes().map(|function| function.clone_ref(py)))
            .map(|function| Self::new(py, function))
            .transpose()
    }

    /// A second reference to the same.
    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            function: self.function.clone_ref(py),
            measure: self.measure,
        }
    }

    /// What an entry of `cache` weighs.
    ///
    /// # Errors
    /// What the function, or a `__sizeof__`, raises; `TypeError`, `ValueError` or `OverflowError` where the function's
    /// answer is no weight.
    pub fn weigh<'py>(
        &self,
        cache: &Bound<'py, PyAny>,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<u64> {
        let function = self.function.bind(key.py());
        let weight = match self.measure {
            Measure::Bytes => return bytes_of(key, value, &[cache]),
            Measure::OfKeyAndValue => function.call1((key, value))?,
            Measure::OfValue => function.call1((value,))?,
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
