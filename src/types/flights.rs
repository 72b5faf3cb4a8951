//! `get_or_create`: what many threads ask for at once is made by one of them.

use std::sync::Arc;

use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::core::{Cache, Drain, Recency, Removed};
use crate::interop::flight::{Flight, Landing};
use crate::interop::guard::Guarded;
use crate::interop::lookup::{Probe, locate};

type Board = Cache<Py<PyAny>, Arc<Flight>>;

/// The computations under way in one structure, by their keys.
pub struct Flights {
    board: Guarded<Board>,
    /// Whether a circle of waiting is an error, which names the keys.
    named: bool,
}

impl Default for Flights {
    fn default() -> Self {
        Self {
            board: Guarded::new(Cache::new(None, false)),
            named: false,
        }
    }
}

impl Flights {
    /// Flights that say what they make.
    #[must_use]
    pub fn named() -> Self {
        Self {
            named: true,
            ..Self::default()
        }
    }

    /// What `look` finds for a key, or else what `make` makes and keeps, in one thread for all that ask meanwhile.
    ///
    /// A maker that asks for its own key, and the one that would close a circle of waiting, makes it for itself; where
    /// flights are named, it fails.
    ///
    /// # Errors
    /// What a comparison, the factory, or a signal handler raises; `RuntimeError` for a circle of named flights.
    pub fn once<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        probe: &impl Probe<'py>,
        hash: u64,
        look: impl Fn() -> PyResult<Option<Bound<'py, PyAny>>>,
        make: impl Fn() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        loop {
            let name = self.named.then(|| name_of(key));
            let (flight, leads) = self.board(key, probe, hash)?;
            if !leads {
                match flight.wait(py)? {
                    Landing::Made(result) => return Ok(result.into_bound(py)),
                    Landing::Alone if self.named => {
                        return Err(PyRuntimeError::new_err(format!(
                            "the factory of {} needs what is made by it: {}",
                            name_of(key),
                            flight.circle().join(" → ")
                        )));
                    }
                    Landing::Alone => return make(),
                    Landing::Failed => continue,
                }
            }
            if let Some(name) = name {
                flight.announce(name);
            }
            // The last flight may have landed between the look and the boarding.
            let result = flight
                .lead(py)
                .and_then(|()| look())
                .and_then(|present| present.map_or_else(&make, Ok));
            let outcome = result.as_ref().ok().map(|result| result.clone().unbind());
            self.land(py, hash, &flight, outcome)?;
            return result;
        }
    }

    /// Joins the flight of a key, or starts one and says that this thread leads.
    fn board<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        probe: &impl Probe<'py>,
        hash: u64,
    ) -> PyResult<(Arc<Flight>, bool)> {
        let own = Flight::depart(key.py())?;
        let new_key = key.clone().unbind();
        let mut lost = None;
        let mut unused = Removed::default();
        let boarded = locate(
            &self.board,
            probe,
            hash,
            |board: &Board| board,
            |board, found| {
                if let Some(flight) = found.and_then(|slot| board.get(slot))
                    && !flight.value.is_lost()
                {
                    unused.push(new_key);
                    return Ok((Arc::clone(&flight.value), false));
                }
                lost = found.and_then(|slot| board.remove(slot));
                let mut none = Removed::default();
                board
                    .insert(hash, new_key, Arc::clone(&own), 1, &mut none)
                    .map_err(|(_, key, _)| unused.push(key))?;
                Ok((Arc::clone(&own), true))
            },
        )?;
        drop((lost, unused));
        boarded.map_err(|()| PyMemoryError::new_err("no memory for another key"))
    }

    /// Ends a flight that this thread leads.
    fn land(
        &self,
        py: Python<'_>,
        hash: u64,
        flight: &Arc<Flight>,
        made: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let ended = self.board.with(py, |board| {
            let slot = board.find_value(hash, |other| Arc::ptr_eq(other, flight))?;
            board.remove(slot)
        });
        drop(ended);
        flight.land(py, made)
    }

    /// Takes all of it, to be released.
    pub fn take(&self, py: Python<'_>) -> Drain<Py<PyAny>, Arc<Flight>, Recency> {
        self.board.with(py, Cache::take)
    }

    /// Bytes allocated.
    pub fn allocated(&self, py: Python<'_>) -> usize {
        self.board.with(py, |board| board.allocated_bytes())
    }

    /// Shows the keys to the collector.
    ///
    /// # Errors
    /// What the visitor answers.
    pub fn visit(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.board.visit(visit, |board, visit| {
            board.iter().try_for_each(|flight| visit.call(&flight.key))
        })
    }
}

/// A key as it stands in a message.
fn name_of(key: &Bound<'_, PyAny>) -> String {
    const LIMIT: usize = 80;
    let Ok(name) = key.str() else {
        // What it raises is no reason not to make its value.
        return Probe::described(key);
    };
    let name = name.to_string_lossy();
    match name.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.into_owned(),
    }
}

/// Refuses what can't be called as a factory.
///
/// # Errors
/// `TypeError`.
pub fn check_factory(factory: &Bound<'_, PyAny>) -> PyResult<()> {
    if factory.is_callable() {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!(
        "factory must be callable without arguments, not {}",
        factory.get_type().name()?
    )))
}
