//! Coroutine functions: results are remembered, and no coroutines.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::LruFunction;
use crate::interop::build;
use crate::interop::call::{Call, OwnedCall};
use crate::interop::lookup::Probe;
use crate::interop::vectorcall::Awaiting;
use crate::types::async_flights;
use crate::types::computation::Computation;

type Arguments = (Py<PyTuple>, Option<Py<PyDict>>);

/// A call whose result is to be made: what a flight is given.
#[pyclass(frozen, module = "leaksafe._core", name = "_LruCall")]
pub struct LruCall {
    function: Py<LruFunction>,
    key: Py<PyAny>,
    asked: Arguments,
    /// The same in the order of the key, where that is another.
    in_order: Option<Arguments>,
    hash: u64,
}

fn arguments(call: &Call<'_, '_>) -> PyResult<Arguments> {
    let (args, names) = call.parts();
    if names.is_none() {
        return Ok((build::tuple(call.py(), args)?.unbind(), None));
    }
    let (args, kwargs) = call.to_owned().arguments()?;
    Ok((args.unbind(), Some(kwargs.unbind())))
}

impl LruCall {
    fn in_order<'py>(&self, py: Python<'py>) -> PyResult<OwnedCall<'py>> {
        let (args, kwargs) = self.in_order.as_ref().unwrap_or(&self.asked);
        OwnedCall::new(args.bind(py), kwargs.as_ref().map(|kwargs| kwargs.bind(py)))
    }

    /// It was counted as a miss, but others had the result made.
    fn recount(&self, py: Python<'_>) {
        self.function.get().state.with(py, |state| {
            state.misses = state.misses.saturating_sub(1);
            state.hits += 1;
        });
    }
}

#[pymethods]
impl LruCall {
    /// What equals that of another call where the calls mean the same.
    #[getter]
    fn key(&self, py: Python<'_>) -> Py<PyAny> {
        self.key.clone_ref(py)
    }

    /// What is remembered, or `MISSING`.
    fn look<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let function = self.function.bind(py);
        let owned = self.in_order(py)?;
        match LruFunction::peek_call(function, &owned.borrowed(function.get().typed))? {
            Some(result) => {
                self.recount(py);
                Ok(result.into_bound(py))
            }
            None => async_flights::missing(py).cloned(),
        }
    }

    /// The coroutine of the function itself.
    fn make<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (args, kwargs) = &self.asked;
        let function = self.function.get().function.bind(py);
        function.call(args.bind(py), kwargs.as_ref().map(|kwargs| kwargs.bind(py)))
    }

    /// Remembers the result, unless the flight was forgotten, and returns it.
    fn keep<'py>(
        &self,
        result: Bound<'py, PyAny>,
        flight: &Bound<'py, Computation>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = result.py();
        let function = self.function.bind(py);
        let owned = self.in_order(py)?;
        let call = owned.borrowed(function.get().typed);
        let place = LruFunction::place(function, &call, &result)?;
        let is_current = || !flight.get().is_forgotten();
        LruFunction::put(function, &call, self.hash, place, false, &is_current)?;
        Ok(result)
    }

    /// Counts that another call's result was waited for.
    fn shared(&self, py: Python<'_>) {
        self.recount(py);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)?;
        visit.call(&self.key)?;
        for (args, kwargs) in std::iter::once(&self.asked).chain(&self.in_order) {
            visit.call(args)?;
            visit.call(kwargs)?;
        }
        Ok(())
    }
}

impl LruFunction {
    /// Has nothing remembered of what coroutines are making.
    pub(super) fn forget_awaited(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(awaited) = &self.awaited {
            awaited.bind(py).call_method0(intern!(py, "forget_all"))?;
        }
        Ok(())
    }

    /// The same, for one call.
    pub(super) fn forget_one_awaited(&self, call: &Call<'_, '_>) -> PyResult<()> {
        if let Some(awaited) = &self.awaited {
            let py = call.py();
            let key = (call.equal_key()?,);
            awaited.bind(py).call_method1(intern!(py, "forget"), key)?;
        }
        Ok(())
    }
}

impl Awaiting for LruFunction {
    fn ready(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
        async_flights::ready(py)
    }

    fn making<'py>(
        slf: &Bound<'py, Self>,
        call: &Call<'_, 'py>,
        in_order: &Call<'_, 'py>,
        hash: u64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let awaited =
            slf.get().awaited.as_ref().ok_or_else(|| {
                PyTypeError::new_err("what is decorated isn't a coroutine function")
            })?;
        let pending = LruCall {
            function: slf.clone().unbind(),
            key: in_order.equal_key()?.unbind(),
            asked: arguments(call)?,
            in_order: (!std::ptr::eq(call, in_order))
                .then(|| arguments(in_order))
                .transpose()?,
            hash,
        };
        let pending = (Bound::new(py, pending)?,);
        awaited
            .bind(py)
            .call_method1(intern!(py, "once_for"), pending)
    }
}
