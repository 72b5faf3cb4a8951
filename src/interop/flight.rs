//! Single flight: what many threads ask for at once is made by one of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::waits::{self, Blocked, Maker};

/// Locks, whatever a thread that panicked left: the data is valid after each operation.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `_thread.allocate_lock`, imported while that is possible: not at the interpreter's end.
///
/// # Errors
/// When it can't be imported.
pub fn prepare(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static ALLOCATE_LOCK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    ALLOCATE_LOCK.import(py, "_thread", "allocate_lock")
}

/// One computation under way.
///
/// The lock that waiters block on is one of Python's, so that signals reach a waiting main thread, and so that it is
/// a cooperative one where a framework has replaced them.
pub struct Flight {
    maker: Maker,
    process: u32,
    landed: Py<PyAny>,
    result: Mutex<Option<Py<PyAny>>>,
}

/// What became of a flight that was waited for.
pub enum Landing {
    /// It made this.
    Made(Py<PyAny>),
    /// It failed: whoever comes next may lead.
    Failed,
    /// Waiting could never end: the caller is to make it by itself.
    Alone,
}

impl Flight {
    /// A flight led by this thread.
    ///
    /// # Errors
    /// What the making of a lock raises.
    pub fn depart(py: Python<'_>) -> PyResult<Arc<Self>> {
        let landed = prepare(py)?.call0()?;
        landed.call_method0("acquire")?;
        Ok(Arc::new(Self {
            maker: Maker::new(),
            process: std::process::id(),
            landed: landed.unbind(),
            result: Mutex::new(None),
        }))
    }

    /// Whether it was under way in the parent when this process was forked, and so never lands here.
    pub fn is_lost(&self) -> bool {
        self.process != std::process::id()
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Says what this thread makes, for whoever would close a circle of waiting.
    pub fn announce(&self, name: String) {
        waits::announce(self.address(), name);
    }

    /// Says that this thread leads: what its context goes on to is on behalf of this flight.
    ///
    /// # Errors
    /// When the context can't be read or written.
    pub fn lead(&self, py: Python<'_>) -> PyResult<()> {
        self.maker.enter(py)
    }

    /// The names of all that waits for one another, where waiting for this flight has ended in [`Landing::Alone`]: from
    /// this flight's to this flight's.
    pub fn circle(&self) -> Vec<String> {
        waits::circle(self.address(), self.maker)
    }

    /// Ends the flight, and with it the waiting.
    ///
    /// # Errors
    /// What the release of the lock raises.
    pub fn land(&self, py: Python<'_>, result: Option<Py<PyAny>>) -> PyResult<()> {
        *lock(&self.result) = result;
        waits::landed(self.address());
        let left = self.maker.leave(py);
        self.landed.bind(py).call_method0("release")?;
        left
    }

    /// Waits for the end, detached from the interpreter.
    ///
    /// # Errors
    /// What a signal handler raises meanwhile.
    pub fn wait(&self, py: Python<'_>) -> PyResult<Landing> {
        let Some(blocked) = Blocked::on(py, self.address(), self.maker)? else {
            return Ok(Landing::Alone);
        };
        let landed = self.landed.bind(py);
        let waited = landed.call_method0("acquire");
        drop(blocked);
        waited?;
        landed.call_method0("release")?;
        let result = lock(&self.result).as_ref().map(|made| made.clone_ref(py));
        Ok(result.map_or(Landing::Failed, Landing::Made))
    }
}
