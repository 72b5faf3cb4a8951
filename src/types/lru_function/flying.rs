//! Single flight: what many threads ask a function for at once is computed by one of them.

use pyo3::prelude::*;

use super::LruFunction;
use crate::interop::call::Call;
use crate::interop::flight::Outcome;
use crate::interop::vectorcall::{Aboard, Found, Remembering};
use crate::types::flights::Boarding;

impl LruFunction {
    /// Joins the flight of a call that found no result, or starts one.
    ///
    /// # Errors
    /// What a comparison, the flight, or a signal handler raises.
    pub fn fly(slf: &Bound<'_, Self>, call: &Call<'_, '_>, hash: u64) -> PyResult<Found> {
        let (py, this) = (slf.py(), slf.get());
        let Some(flights) = &this.flights else {
            return Ok(Found::Miss(hash));
        };
        let key = call.key(None)?;
        let (flight, leads) = match flights.board(&key, call, hash, this.wait_timeout)? {
            Boarding::Leads(flight) => (flight, true),
            Boarding::Alone(flight) => (flight, false),
            Boarding::Raised(error) => return Err(error),
            Boarding::Landed(result) => {
                this.state.with(py, |state| {
                    // The counts may have been cleared while it waited.
                    state.misses = state.misses.saturating_sub(1);
                    state.hits += 1;
                });
                return Ok(Found::Hit(result));
            }
        };
        let aboard = Aboard {
            hash,
            flight,
            leads,
        };
        if !leads {
            return Ok(Found::Fly(aboard));
        }
        // The last flight may have landed between the look and the boarding.
        let look = || match this.look_for(call, hash) {
            Found::Unsure(hash) => Self::look_closely(slf, call, hash),
            found => Ok(found),
        };
        let found = flights.or_land(py, hash, &aboard.flight, look);
        // That was counted a second time.
        this.state
            .with(py, |state| state.misses = state.misses.saturating_sub(1));
        match found {
            Ok(Found::Hit(result)) => {
                Self::end_flight(slf, &aboard, Ok(result.bind(py)))?;
                Ok(Found::Hit(result))
            }
            Ok(_) => Ok(Found::Fly(aboard)),
            Err(error) => {
                Self::end_flight(slf, &aboard, Err(&error))?;
                Err(error)
            }
        }
    }

    /// Ends a flight that this call leads, and tells those who wait for it how.
    ///
    /// # Errors
    /// What the release of its lock raises.
    pub fn end_flight(
        slf: &Bound<'_, Self>,
        aboard: &Aboard,
        result: Result<&Bound<'_, PyAny>, &PyErr>,
    ) -> PyResult<()> {
        let (py, Some(flights)) = (slf.py(), &slf.get().flights) else {
            return Ok(());
        };
        let outcome = match result {
            _ if !aboard.flight.is_awaited() => Outcome::Nothing,
            Ok(result) => Outcome::Made(result.clone().unbind()),
            Err(error) => Outcome::of_error(py, error),
        };
        flights.land(py, aboard.hash, &aboard.flight, outcome)
    }
}
