//! `_Alarm`: has the sweeper come for what Python code keeps.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::sweeper::{self, Swept};
use crate::core::NEVER;
use crate::interop::clock;

/// Has the sweeper call a function once something is due.
///
/// The function removes some of that, and returns how many went and after how many seconds to come again: 0 for at once,
/// `None` for never. It must not hold whoever owns the alarm.
#[pyclass(frozen, weakref, module = "leaksafe._core", name = "_Alarm")]
pub struct Alarm {
    sweep: Py<PyAny>,
    next: AtomicU64,
    watched: AtomicBool,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if *self.watched.get_mut() {
            sweeper::forget(std::ptr::from_ref(self) as usize);
        }
    }
}

#[pymethods]
impl Alarm {
    #[new]
    #[pyo3(signature = (sweep, /))]
    fn new(sweep: Py<PyAny>) -> Self {
        Self {
            sweep,
            next: AtomicU64::new(NEVER),
            watched: AtomicBool::new(false),
        }
    }

    /// Has the sweeper come after so many seconds, if not before.
    #[pyo3(signature = (seconds, /))]
    fn set(slf: &Bound<'_, Self>, seconds: f64) -> PyResult<()> {
        slf.get().watched.store(true, Ordering::Relaxed);
        sweeper::watch(slf, after(seconds))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.sweep)
    }
}

impl Swept for Alarm {
    fn expire_slice(slf: &Bound<'_, Self>, _now: u64) -> (usize, bool) {
        let answer = slf.get().sweep.bind(slf.py()).call0();
        let answer = answer.and_then(|answer| answer.extract::<(usize, Option<f64>)>());
        let (count, seconds) = answer.unwrap_or_else(|error| {
            error.write_unraisable(slf.py(), Some(slf));
            (0, None)
        });
        let next = seconds.map_or(NEVER, after);
        slf.get().next.store(next, Ordering::Relaxed);
        (count, seconds != Some(0.0))
    }

    fn next_due(slf: &Bound<'_, Self>) -> u64 {
        slf.get().next.load(Ordering::Relaxed)
    }
}

/// The time in so many seconds.
fn after(seconds: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a float saturates"
    )]
    let nanoseconds = (seconds * 1e9).ceil() as u64;
    clock::precise().saturating_add(nanoseconds)
}
