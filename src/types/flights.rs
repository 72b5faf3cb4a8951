//! `get_or_create`: what many threads ask for at once is made by one of them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Weak};

use pyo3::exceptions::{PyException, PyMemoryError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::core::{Cache, Drain, Recency, Removed};
use crate::interop::equality::hash_of;
use crate::interop::flight::{self, Flight, Landing, Outcome};
use crate::interop::guard::Guarded;
use crate::interop::lookup::{Probe, locate};

type Board = Cache<Py<PyAny>, Arc<Flight>>;

/// What a call finds on the board.
pub enum Boarding {
    /// Nobody: it leads.
    Leads(Arc<Flight>),
    /// A flight that has landed with this.
    Landed(Py<PyAny>),
    /// A flight that has failed with this.
    Raised(PyErr),
    /// A flight that it can't wait for, or not any longer: it makes the result by itself.
    Alone(Arc<Flight>),
}

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
            let name = self.named.then(|| name_of(key)).transpose()?;
            let flight = match self.board(key, probe, hash, None)? {
                Boarding::Leads(flight) => flight,
                Boarding::Landed(result) => return Ok(result.into_bound(py)),
                Boarding::Alone(flight) if self.named && !flight::others_schedule(py)? => {
                    return Err(PyRuntimeError::new_err(format!(
                        "the factory of {} needs what is made by it: {}",
                        name_of(key)?,
                        flight.circle().join(" → ")
                    )));
                }
                Boarding::Alone(_) => return make(),
                Boarding::Raised(_) => continue,
            };
            if let Some(name) = name {
                flight.announce(name);
            }
            // The last flight may have landed between the look and the boarding.
            let result = self.or_land(py, hash, &flight, || {
                look().and_then(|present| present.map_or_else(&make, Ok))
            });
            let outcome = result.as_ref().map_or(Outcome::Nothing, |result| {
                Outcome::Made(result.clone().unbind())
            });
            self.land(py, hash, &flight, outcome)?;
            return result;
        }
    }

    /// Starts a flight for a key, or else waits for the one under way, for `timeout` seconds at most.
    ///
    /// # Errors
    /// What a comparison, or a signal handler raises.
    pub fn board<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        probe: &impl Probe<'py>,
        hash: u64,
        timeout: Option<f64>,
    ) -> PyResult<Boarding> {
        let py = key.py();
        loop {
            let (flight, leads) = self.join(key, probe, hash)?;
            if leads {
                if let Err(error) = flight.lead(py) {
                    self.land(py, hash, &flight, Outcome::Nothing)?;
                    return Err(error);
                }
                return Ok(Boarding::Leads(flight));
            }
            if flight::others_schedule(py)? {
                return Ok(Boarding::Alone(flight));
            }
            match flight.wait(py, timeout)? {
                Landing::Made(result) => return Ok(Boarding::Landed(result)),
                Landing::Raised(error) => return Ok(Boarding::Raised(error)),
                Landing::Alone => return Ok(Boarding::Alone(flight)),
                Landing::Failed => {}
            }
        }
    }

    /// Joins the flight of a key, or starts one and says that this thread leads.
    fn join<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        probe: &impl Probe<'py>,
        hash: u64,
    ) -> PyResult<(Arc<Flight>, bool)> {
        let own = Flight::depart();
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

    /// Runs what a flight that this thread leads is for; where that panics, the flight ends, and whoever waits goes on.
    pub fn or_land<R>(
        &self,
        py: Python<'_>,
        hash: u64,
        flight: &Arc<Flight>,
        work: impl FnOnce() -> R,
    ) -> R {
        or_else_on_panic(work, || self.land(py, hash, flight, Outcome::Nothing))
    }

    /// Ends a flight that this thread leads.
    ///
    /// # Errors
    /// What the release of its lock raises.
    pub fn land(
        &self,
        py: Python<'_>,
        hash: u64,
        flight: &Arc<Flight>,
        outcome: Outcome,
    ) -> PyResult<()> {
        // Before it leaves the board, where whoever forgets its key would look for it.
        flight.forget();
        let ended = self.board.with(py, |board| {
            let slot = board.find_value(hash, |other| Arc::ptr_eq(other, flight))?;
            board.remove(slot)
        });
        drop(ended);
        flight.land(py, outcome)
    }

    /// Takes a key's flight off the board: what it makes is for those who wait, and not to be kept.
    ///
    /// # Errors
    /// What a comparison raises.
    pub fn forget<'py>(&self, probe: &impl Probe<'py>, hash: u64) -> PyResult<()> {
        let gone = locate(
            &self.board,
            probe,
            hash,
            |board: &Board| board,
            |board, found| {
                let slot = found?;
                board.get(slot)?.value.forget();
                board.remove(slot)
            },
        )?;
        drop(gone);
        Ok(())
    }

    /// The same, of every key.
    pub fn forget_all(&self, py: Python<'_>) {
        let gone = self.board.with(py, |board| {
            for flight in board.iter() {
                flight.value.forget();
            }
            board.take()
        });
        drop(gone);
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
///
/// # Errors
/// What its `__str__` raises that is no `Exception`: an interrupt.
fn name_of(key: &Bound<'_, PyAny>) -> PyResult<String> {
    const LIMIT: usize = 80;
    let name = match key.str() {
        Ok(name) => name,
        // An `Exception` is no reason not to make its value.
        Err(error) if error.is_instance_of::<PyException>(key.py()) => {
            return Ok(Probe::described(key));
        }
        Err(error) => return Err(error),
    };
    let name = name.to_string_lossy();
    Ok(match name.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.into_owned(),
    })
}

/// The computations under way of what is written in Python.
#[pyclass(frozen, module = "leaksafe._core", name = "_Flights")]
pub struct FlightsObject {
    flights: Flights,
    wait_timeout: Option<f64>,
}

/// One of them, for the one who computes.
///
/// Not an owner: it is seen in the frames of an error, which the flight may end with and hold.
#[pyclass(frozen, module = "leaksafe._core", name = "_Flight")]
pub struct FlightObject(Weak<Flight>);

#[pymethods]
impl FlightObject {
    /// Whether the result may be kept: nobody has forgotten its key meanwhile.
    #[getter]
    fn current(&self) -> bool {
        self.0.upgrade().is_some_and(|flight| flight.is_current())
    }
}

#[pymethods]
impl FlightsObject {
    #[new]
    #[pyo3(signature = (wait_timeout = None, /))]
    fn new(wait_timeout: Option<f64>) -> Self {
        Self {
            flights: Flights::default(),
            wait_timeout,
        }
    }

    /// Returns what `look()` finds for a key, in a tuple; or else what `make(flight)` returns, called by one thread for
    /// all that ask meanwhile. Those get its `Exception`, too.
    #[pyo3(signature = (key, look, make, /))]
    fn once<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        look: &Bound<'py, PyAny>,
        make: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        let hash = hash_of(key)?;
        let compute = |flight| make.call1((FlightObject(Arc::downgrade(flight)),));
        let flight = match self.flights.board(key, key, hash, self.wait_timeout)? {
            Boarding::Leads(flight) => flight,
            Boarding::Landed(result) => return Ok(result.into_bound(py)),
            Boarding::Raised(error) => return Err(error),
            Boarding::Alone(flight) => return compute(&flight),
        };
        let result = self
            .flights
            .or_land(py, hash, &flight, || match look.call0()?.extract()? {
                Some((result,)) => Ok(result),
                None => compute(&flight),
            });
        let outcome = match &result {
            _ if !flight.is_awaited() => Outcome::Nothing,
            Ok(result) => Outcome::Made(result.clone().unbind()),
            Err(error) => Outcome::of_error(py, error),
        };
        self.flights.land(py, hash, &flight, outcome)?;
        result
    }

    /// Takes a key's flight away: its result is for those who wait, and not to be kept.
    #[pyo3(signature = (key, /))]
    fn forget(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.flights.forget(key, hash_of(key)?)
    }

    /// The same, of every key.
    fn forget_all(&self, py: Python<'_>) {
        self.flights.forget_all(py);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.flights.visit(visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.flights.take(py));
    }
}

/// Runs `work`, and `end` before a panic goes on.
pub fn or_else_on_panic<R>(work: impl FnOnce() -> R, end: impl FnOnce() -> PyResult<()>) -> R {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        // The panic is what is to be told.
        let _ = end();
        resume_unwind(panic)
    })
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
