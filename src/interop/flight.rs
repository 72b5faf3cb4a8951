//! Single flight: what many threads ask for at once is made by one of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyCFunction;

use super::fork;
use super::waits::{self, Blocked, Maker};

/// Locks, whatever a thread that panicked left: the data is valid after each operation.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Imports `_thread.allocate_lock` while that is possible: not at the interpreter's end.
///
/// # Errors
/// When it can't be imported.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    fork::prepare();
    allocate_lock(py).map(|_| ())
}

fn allocate_lock(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static ALLOCATE_LOCK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    ALLOCATE_LOCK.import(py, "_thread", "allocate_lock")
}

/// Whether a framework has put its own scheduler in the place of threads, as gevent and eventlet do: what looks like a
/// thread there may be one of many, and none may block all of them.
///
/// # Errors
/// When `_thread` can't be imported.
pub fn others_schedule(py: Python<'_>) -> PyResult<bool> {
    let get_ident = py.import("_thread")?.getattr("get_ident")?;
    Ok(!get_ident.is_instance_of::<PyCFunction>())
}

/// One computation under way.
///
/// The lock that waiters block on is one of Python's, so that signals reach a waiting main thread. The first waiter
/// makes it: most flights have none.
pub struct Flight {
    maker: Maker,
    forks: u32,
    /// Whether what is made may still be kept: its key is on the board, and nobody has forgotten it meanwhile.
    current: AtomicBool,
    announced: AtomicBool,
    end: Mutex<End>,
}

#[derive(Default)]
struct End {
    outcome: Option<Outcome>,
    lock: Option<Py<PyAny>>,
}

/// How a flight ended.
pub enum Outcome {
    /// It made this.
    Made(Py<PyAny>),
    /// It raised this: the error, and the traceback that it had then.
    Raised(Py<PyAny>, Py<PyAny>),
    /// Neither: whoever comes next may lead.
    Nothing,
}

impl Outcome {
    /// Of an error: those that are no `Exception` are for the thread that they hit.
    #[must_use]
    pub fn of_error(py: Python<'_>, error: &PyErr) -> Self {
        if !error.is_instance_of::<PyException>(py) {
            return Self::Nothing;
        }
        let traceback = error
            .traceback(py)
            .map_or_else(|| py.None(), |traceback| traceback.into_any().unbind());
        Self::Raised(error.value(py).clone().into_any().unbind(), traceback)
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Made(result) => Self::Made(result.clone_ref(py)),
            Self::Raised(error, traceback) => {
                Self::Raised(error.clone_ref(py), traceback.clone_ref(py))
            }
            Self::Nothing => Self::Nothing,
        }
    }
}

/// What became of a flight that was waited for.
pub enum Landing {
    /// It made this.
    Made(Py<PyAny>),
    /// It raised this, which is the waiter's own.
    Raised(PyErr),
    /// It failed: whoever comes next may lead.
    Failed,
    /// Waiting could never end, or has lasted too long: the caller is to make it by itself.
    Alone,
}

impl Flight {
    /// A flight led by this thread.
    #[must_use]
    pub fn depart() -> Arc<Self> {
        Arc::new(Self {
            maker: Maker::new(),
            forks: fork::count(),
            current: AtomicBool::new(true),
            announced: AtomicBool::new(false),
            end: Mutex::default(),
        })
    }

    /// Whether it was under way in the parent when this process was forked, and so never lands here.
    pub fn is_lost(&self) -> bool {
        self.forks != fork::count()
    }

    /// Whether what is computed for its key may be kept.
    pub fn is_current(&self) -> bool {
        self.current.load(Ordering::Acquire)
    }

    /// What is computed for its key isn't to be kept any more.
    pub fn forget(&self) {
        self.current.store(false, Ordering::Release);
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Says what this thread makes, for whoever would close a circle of waiting.
    pub fn announce(&self, name: String) {
        self.announced.store(true, Ordering::Relaxed);
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

    /// Whether anybody waits for it.
    pub fn is_awaited(&self) -> bool {
        lock(&self.end).lock.is_some()
    }

    /// Ends the flight, and with it the waiting.
    ///
    /// # Errors
    /// What the release of the lock raises.
    pub fn land(&self, py: Python<'_>, outcome: Outcome) -> PyResult<()> {
        self.forget();
        let landed = {
            let mut end = lock(&self.end);
            end.outcome = Some(outcome);
            end.lock.as_ref().map(|landed| landed.clone_ref(py))
        };
        // Now rather than as each one wakes up: who has nothing to wait for any more closes no circle.
        if landed.is_some() || self.announced.load(Ordering::Relaxed) {
            waits::landed(self.address());
        }
        let left = self.maker.leave(py);
        if let Some(landed) = landed {
            landed.bind(py).call_method0("release")?;
        }
        left
    }

    /// The lock that is free once the flight has landed; `None` if it has.
    fn lock<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let known = |end: &End| end.lock.as_ref().map(|landed| landed.bind(py).clone());
        {
            let end = lock(&self.end);
            if end.outcome.is_some() || end.lock.is_some() {
                return Ok(known(&end).filter(|_| end.outcome.is_none()));
            }
        }
        let landed = allocate_lock(py)?.call0()?;
        landed.call_method0("acquire")?;
        let mut end = lock(&self.end);
        if end.outcome.is_some() {
            return Ok(None);
        }
        if end.lock.is_none() {
            end.lock = Some(landed.clone().unbind());
        }
        Ok(known(&end))
    }

    /// Waits for the end, detached from the interpreter, and for no more than so many seconds.
    ///
    /// # Errors
    /// What a signal handler raises meanwhile.
    pub fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Landing> {
        if self.maker.is_here() {
            return Ok(Landing::Alone);
        }
        let Some(landed) = self.lock(py)? else {
            return self.landing(py);
        };
        let Some(blocked) = Blocked::on(py, self.address(), self.maker)? else {
            return Ok(Landing::Alone);
        };
        let waited = match timeout {
            None => landed.call_method0("acquire"),
            Some(seconds) => landed.call_method1("acquire", (true, seconds)),
        };
        drop(blocked);
        if !waited?.is_truthy()? {
            return Ok(Landing::Alone);
        }
        landed.call_method0("release")?;
        self.landing(py)
    }

    /// What a waiter gets of the end.
    fn landing(&self, py: Python<'_>) -> PyResult<Landing> {
        let outcome = lock(&self.end)
            .outcome
            .as_ref()
            .map(|outcome| outcome.clone_ref(py));
        Ok(match outcome {
            Some(Outcome::Made(result)) => Landing::Made(result),
            Some(Outcome::Raised(error, traceback)) => {
                let own = py
                    .import("leaksafe._failures")?
                    .call_method1("own_copy", (error, traceback))?;
                Landing::Raised(PyErr::from_value(own))
            }
            Some(Outcome::Nothing) | None => Landing::Failed,
        })
    }
}
