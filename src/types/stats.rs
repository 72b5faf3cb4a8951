//! What a cache counts.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::interop::build::Count;

/// Why an entry left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Size,
    Replaced,
    Explicit,
    Expired,
    Cleared,
}

impl Cause {
    /// The name that `on_remove` gets.
    pub fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Replaced => "replaced",
            Self::Explicit => "explicit",
            Self::Expired => "expired",
            Self::Cleared => "cleared",
        }
    }
}

const MODULE: &str = "leaksafe._stats";
static STATS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static REMOVALS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Imports the classes, while that is possible: not at the interpreter's end, where destructors may ask for them.
///
/// # Errors
/// When they can't be imported.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    STATS.import(py, MODULE, "CacheStats")?;
    REMOVALS.import(py, MODULE, "Removals")?;
    Ok(())
}

/// Counts since the cache was made.
#[derive(Clone, Copy, Default)]
pub struct Counters {
    pub hits: u64,
    pub misses: u64,
    pub insertions: u64,
    pub size: u64,
    pub replaced: u64,
    pub explicit: u64,
    pub expired: u64,
    pub cleared: u64,
}

impl Counters {
    /// Counts what left.
    pub fn removed(&mut self, cause: Cause, count: usize) {
        let counter = match cause {
            Cause::Size => &mut self.size,
            Cause::Replaced => &mut self.replaced,
            Cause::Explicit => &mut self.explicit,
            Cause::Expired => &mut self.expired,
            Cause::Cleared => &mut self.cleared,
        };
        *counter += count as u64;
    }

    /// The named tuple that Python sees.
    ///
    /// # Errors
    /// When the classes can't be imported.
    pub fn to_python(
        self,
        py: Python<'_>,
        currsize: u64,
        maxsize: Option<u64>,
    ) -> PyResult<Bound<'_, PyAny>> {
        let removals = REMOVALS.import(py, MODULE, "Removals")?.call1((
            Count(self.size),
            Count(self.replaced),
            Count(self.explicit),
            Count(self.expired),
            Count(self.cleared),
            0,
        ))?;
        STATS.import(py, MODULE, "CacheStats")?.call1((
            Count(self.hits),
            Count(self.misses),
            Count(self.insertions),
            removals,
            Count(currsize),
            maxsize.map(Count),
        ))
    }
}
