//! Python's `logging`, through `pyo3-log`, at the cost of one load where it is off.

use log::LevelFilter;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3_log::{Caching, Logger};

/// The name of the logger.
pub const TARGET: &str = "leaksafe";

/// Connects the `log` crate with Python's logging. Nothing is logged until [`set_level`] says so.
///
/// The bridge keeps the logger and asks it about each record that passes, so that `logging.disable`, filters and
/// handlers count as they stand at that moment; what keeps the cost away while logging is off is the level set here.
///
/// # Errors
/// When `logging` can't be imported, or another logger is installed in this library.
pub fn install(py: Python<'_>) -> PyResult<()> {
    static INSTALLED: PyOnceLock<()> = PyOnceLock::new();
    INSTALLED
        .get_or_try_init(py, || {
            Logger::new(py, Caching::Loggers)?
                .filter(LevelFilter::Trace)
                .install()
                .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
            log::set_max_level(LevelFilter::Off);
            Ok(())
        })
        .copied()
}

/// Lets records of this level of Python's `logging`, and the graver ones, pass from now on.
pub fn set_level(level: i64) {
    log::set_max_level(match level {
        ..=5 => LevelFilter::Trace,
        6..=10 => LevelFilter::Debug,
        11..=20 => LevelFilter::Info,
        21..=30 => LevelFilter::Warn,
        31..=50 => LevelFilter::Error,
        _ => LevelFilter::Off,
    });
}

/// Whether a record of this level may pass: one load.
#[inline]
#[must_use]
pub fn enabled(level: log::Level) -> bool {
    level <= log::max_level()
}
