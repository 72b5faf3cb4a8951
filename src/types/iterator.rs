//! Walking through a cache.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::lru_cache::{Entries, LruCache};
use crate::core::Slot;
use crate::interop::build;
use crate::interop::guard::Guarded;

/// What an iteration gives for each entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Keys,
    Values,
    Items,
}

/// An iterator over the keys, values or items of a cache, as `iter(cache)` and the views make it.
///
/// The order is copied at the second step: a look at the first entry alone stays O(1), and the hits of the loop's own
/// body, which move entries, neither repeat one nor leave one out.
#[pyclass(frozen, module = "leaksafe._core", name = "CacheIterator")]
pub struct CacheIterator {
    part: Part,
    backwards: bool,
    changes: u64,
    len: usize,
    steps: AtomicUsize,
    first: OnceLock<Slot>,
    rest: OnceLock<Vec<Slot>>,
    cache: Guarded<Option<Py<LruCache>>>,
}

enum Step {
    Give(Py<PyAny>, Option<Py<PyAny>>),
    End,
    Changed,
}

impl CacheIterator {
    /// A walk that starts now.
    pub fn new(cache: &Bound<'_, LruCache>, part: Part, backwards: bool) -> Self {
        let (changes, len) = cache
            .get()
            .read(cache.py(), |entries| (entries.changes(), entries.len()));
        Self {
            part,
            backwards,
            changes,
            len,
            steps: AtomicUsize::new(0),
            first: OnceLock::new(),
            rest: OnceLock::new(),
            cache: Guarded::new(Some(cache.clone().unbind())),
        }
    }

    /// The slot of a step, counted from 0.
    fn slot(&self, step: usize, entries: &Entries) -> Option<Slot> {
        if step == 0 {
            let first = entries.first(self.backwards)?;
            return Some(*self.first.get_or_init(|| first));
        }
        let rest = self.rest.get_or_init(|| {
            let mut slots = entries.walk(self.backwards);
            slots.retain(|slot| Some(slot) != self.first.get());
            slots
        });
        rest.get(step - 1).copied()
    }

    fn step(&self, py: Python<'_>, cache: &LruCache, now: u64) -> Step {
        cache.read(py, |entries| {
            if entries.changes() != self.changes {
                return Step::Changed;
            }
            let entry = loop {
                let step = self.steps.fetch_add(1, Ordering::Relaxed);
                let Some(slot) = self.slot(step, entries) else {
                    return Step::End;
                };
                // What expired is left out.
                if let Some(entry) = entries.get(slot)
                    && !entries.is_due(slot, now)
                {
                    break entry;
                }
            };
            match self.part {
                Part::Keys => Step::Give(entry.key.clone_ref(py), None),
                Part::Values => Step::Give(entry.value.clone_ref(py), None),
                Part::Items => Step::Give(entry.key.clone_ref(py), Some(entry.value.clone_ref(py))),
            }
        })
    }
}

#[pymethods]
impl CacheIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let cache = self
            .cache
            .with(py, |cache| cache.as_ref().map(|cache| cache.clone_ref(py)));
        let Some(cache) = cache else {
            return Ok(None);
        };
        let now = LruCache::now(cache.bind(py))?;
        match self.step(py, cache.get(), now) {
            Step::Give(one, None) => Ok(Some(one)),
            Step::Give(key, Some(value)) => {
                Ok(Some(build::tuple(py, [key, value])?.into_any().unbind()))
            }
            Step::End => {
                drop(self.cache.with(py, Option::take));
                Ok(None)
            }
            Step::Changed => Err(PyRuntimeError::new_err(format!(
                "{} changed during iteration",
                cache.bind(py).get_type().name()?
            ))),
        }
    }

    fn __length_hint__(&self) -> usize {
        self.len.saturating_sub(self.steps.load(Ordering::Relaxed))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.cache.visit(visit, |cache, visit| visit.call(cache))
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.cache.with(py, Option::take));
    }
}
