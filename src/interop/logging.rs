//! Python's `logging`, through `pyo3-log`, at the cost of one load where it is off.

use std::sync::OnceLock;

use log::LevelFilter;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3_log::{Caching, Logger, ResetHandle};

/// The name of the logger.
pub const TARGET: &str = "leaksafe";

static CACHES: OnceLock<ResetHandle> = OnceLock::new();

/// Connects the `log` crate with Python's logging. Nothing is logged until [`set_level`] says so.
///
/// # Errors
/// When `logging` can't be imported, or another logger is installed in this library.
pub fn install(py: Python<'_>) -> PyResult<()> {
    if CACHES.get().is_none() {
        let handle = Logger::new(py, Caching::LoggersAndLevels)?
            .filter(LevelFilter::Trace)
            .install()
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        let _ = CACHES.set(handle);
        log::set_max_level(LevelFilter::Off);
    }
    Ok(())
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
    if let Some(caches) = CACHES.get() {
        caches.reset();
    }
}

/// Whether a record of this level may pass: one load.
#[inline]
#[must_use]
pub fn enabled(level: log::Level) -> bool {
    level <= log::max_level()
}
