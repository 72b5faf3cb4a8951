//! Python's `logging`, through `pyo3-log`, at the cost of one load where it is off.

use std::sync::atomic::{AtomicUsize, Ordering};

use log::LevelFilter;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use pyo3_log::{Caching, Logger};

/// The name of the logger.
pub const TARGET: &str = "leaksafe";

static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
static CONNECTED: PyOnceLock<()> = PyOnceLock::new();

/// Gets ready to connect with Python's `logging`, which is slow to import: so it is left to the program whether it is.
///
/// # Errors
/// When `sys.modules` is no dictionary.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    MODULES.get_or_try_init(py, || {
        let modules = py.import("sys")?.getattr("modules")?;
        modules.cast_into().map(Bound::unbind).map_err(PyErr::from)
    })?;
    // Whatever passes has a look whether `logging` is there by now.
    log::set_max_level(LevelFilter::Trace);
    is_connected(py);
    Ok(())
}

/// Whether a record of this level may pass: one load, once `logging` is imported. May run Python code.
#[inline]
pub fn enabled(py: Python<'_>, level: log::Level) -> bool {
    level <= log::max_level() && is_connected(py) && level <= log::max_level()
}

#[inline]
fn is_connected(py: Python<'_>) -> bool {
    CONNECTED.get(py).is_some() || connects(py)
}

/// Connects where `logging` has been imported since the last look.
#[inline(never)]
fn connects(py: Python<'_>) -> bool {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let Some(modules) = MODULES.get(py) else {
        return false;
    };
    let modules = modules.bind(py);
    let count = modules.len();
    if SEEN.load(Ordering::Relaxed) == count {
        return false;
    }
    SEEN.store(count, Ordering::Relaxed);
    let Ok(Some(logging)) = modules.get_item(intern!(py, "logging")) else {
        return false;
    };
    if !logging.hasattr(intern!(py, "getLogger")).unwrap_or(false) {
        // In the middle of its import.
        SEEN.store(0, Ordering::Relaxed);
        return false;
    }
    CONNECTED.get_or_init(py, || {
        if let Err(error) = connect(py) {
            log::set_max_level(LevelFilter::Off);
            error.write_unraisable(py, None);
        }
    });
    true
}

/// The bridge keeps the logger and asks it about each record that passes, so that `logging.disable`, filters and
/// handlers count as they stand at that moment; what keeps the cost away while logging is off is the level.
fn connect(py: Python<'_>) -> PyResult<()> {
    let bridge = Logger::new(py, Caching::Loggers)?.filter(LevelFilter::Trace);
    // Where there is one already, another thread was here at the same time.
    let _ = bridge.install();
    let tell = wrap_pyfunction!(set_level, py)?;
    py.import("leaksafe._logging")?
        .call_method1("connect", (tell,))?;
    Ok(())
}

/// Lets records of this level of Python's `logging`, and the graver ones, pass from now on.
#[pyfunction]
#[pyo3(signature = (level, /))]
fn set_level(level: i64) {
    log::set_max_level(match level {
        ..=5 => LevelFilter::Trace,
        6..=10 => LevelFilter::Debug,
        11..=20 => LevelFilter::Info,
        21..=30 => LevelFilter::Warn,
        31..=50 => LevelFilter::Error,
        _ => LevelFilter::Off,
    });
}
