//! What coroutines make, as the wait-for graph sees it.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

use crate::interop::waits::{self, Maker};

/// One computation under way in a task; `leaksafe._async_flights` derives its flights from it.
#[pyclass(
    frozen,
    subclass,
    weakref,
    module = "leaksafe._core",
    name = "_Computation"
)]
pub struct Computation {
    maker: Maker,
    forgotten: AtomicBool,
}

impl Computation {
    /// Whether its result isn't to be kept. Who forgets says so before looking for what is kept already.
    pub fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::SeqCst)
    }
}

impl Drop for Computation {
    fn drop(&mut self) {
        self.maker.end();
    }
}

#[pymethods]
impl Computation {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let maker = Maker::new();
        maker.begin(py)?;
        Ok(Self {
            maker,
            forgotten: AtomicBool::new(false),
        })
    }

    /// What a context carries that works for it.
    #[getter]
    fn number(&self) -> u64 {
        self.maker.number()
    }

    #[getter]
    fn forgotten(&self) -> bool {
        self.is_forgotten()
    }

    fn forget(&self) {
        self.forgotten.store(true, Ordering::SeqCst);
    }

    /// Notes that what has the number `waiter` waits for this; `False` if that would close a circle.
    #[pyo3(signature = (waiter, /))]
    fn join(&self, waiter: u64) -> bool {
        self.maker.join(waiter)
    }

    /// Ends what `join` noted.
    #[pyo3(signature = (waiter, /))]
    fn part(&self, waiter: u64) {
        self.maker.part(waiter);
    }

    /// Ends it in the graph.
    fn end(&self) {
        self.maker.end();
    }
}

/// The `ContextVar` of the number of what a context makes.
///
/// # Errors
/// When it can't be made.
#[pyfunction(name = "_computing")]
pub fn computing(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    waits::computing(py)
}
