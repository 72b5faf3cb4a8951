//! How long entries live, and by which clock.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDelta, PyFloat, PyInt};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::arguments;
use crate::core::NEVER;
use crate::interop::build::Seconds;
use crate::interop::clock;

/// What entries live for: seconds, or a function of key and value.
pub enum Ttl {
    Fixed(f64),
    Function(Py<PyAny>),
}

/// The age rules of a cache.
pub struct Aging {
    pub ttl: Ttl,
    pub timer: Option<Py<PyAny>>,
    pub sliding: bool,
    pub jitter: f64,
}

/// How the age of entries is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// They don't age.
    Ageless = 0,
    /// A look needs the cheap clock and changes no age.
    Cheap = 1,
    /// There is a timer to ask, or each use sets an age.
    Asked = 2,
}

impl Timing {
    /// What the rules of age need.
    pub fn of(aging: Option<&Aging>) -> Self {
        match aging {
            None => Self::Ageless,
            Some(aging) if aging.sliding || aging.timer.is_some() => Self::Asked,
            Some(_) => Self::Cheap,
        }
    }
}

/// What one entry lives for, and what is left of that.
#[derive(Clone, Copy)]
pub struct Lifetime {
    pub span: f64,
    pub left: f64,
}

impl Lifetime {
    /// A new entry's.
    pub fn new(span: f64) -> Self {
        Self { span, left: span }
    }
}

impl Aging {
    /// The rules that arguments give.
    ///
    /// # Errors
    /// `TypeError` or `ValueError`, naming the argument.
    pub fn new(
        ttl: &Bound<'_, PyAny>,
        timer: Option<Bound<'_, PyAny>>,
        sliding: bool,
        jitter: f64,
    ) -> PyResult<Self> {
        let ttl = if ttl.is_callable() {
            Ttl::Function(ttl.clone().unbind())
        } else {
            Ttl::Fixed(seconds(ttl, "ttl", "a float, a timedelta, or a function")?)
        };
        if !(0.0..1.0).contains(&jitter) {
            return Err(PyValueError::new_err(format!(
                "jitter must be at least 0 and below 1, a share of ttl, but is {jitter}"
            )));
        }
        Ok(Self {
            ttl,
            timer: arguments::callable(timer, "timer")?,
            sliding,
            jitter,
        })
    }

    /// A second reference to the same.
    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            ttl: match &self.ttl {
                Ttl::Fixed(seconds) => Ttl::Fixed(*seconds),
                Ttl::Function(function) => Ttl::Function(function.clone_ref(py)),
            },
            timer: self.timer.as_ref().map(|timer| timer.clone_ref(py)),
            ..*self
        }
    }

    /// The argument `ttl` as Python has it.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn ttl<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.ttl {
            Ttl::Fixed(seconds) => Ok(Seconds(*seconds).into_pyobject(py)?.into_any()),
            Ttl::Function(function) => Ok(function.bind(py).clone()),
        }
    }

    /// What every entry lives for, where that needs no asking and no chance.
    #[inline]
    pub fn plain_ttl(&self) -> Option<f64> {
        match self.ttl {
            Ttl::Fixed(seconds) if self.jitter == 0.0 => Some(seconds),
            _ => None,
        }
    }

    /// What an entry is to live for, by the cache's rules.
    ///
    /// # Errors
    /// What the function raises; `TypeError` or `ValueError` where its answer is no lifetime.
    pub fn lifetime(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<f64> {
        match &self.ttl {
            Ttl::Fixed(seconds) => Ok(*seconds),
            Ttl::Function(function) => seconds(
                &function.bind(key.py()).call1((key, value))?,
                "the result of ttl",
                "a float or a timedelta",
            ),
        }
    }

    /// A lifetime, spread as `jitter` says.
    pub fn spread(&self, span: f64) -> f64 {
        if self.jitter == 0.0 {
            span
        } else {
            span * (1.0 + self.jitter * (2.0 * random() - 1.0))
        }
    }

    /// The time, as precise as can be.
    ///
    /// # Errors
    /// What the timer raises; `TypeError` or `ValueError` where its answer is no time.
    pub fn now(&self, py: Python<'_>) -> PyResult<u64> {
        let Some(timer) = &self.timer else {
            return Ok(clock::precise());
        };
        let time = timer.bind(py).call0()?;
        let seconds = number(&time, "the result of timer", "a float")?;
        if seconds.is_nan() {
            return Err(PyValueError::new_err(
                "the result of timer must be a time in seconds, but is nan",
            ));
        }
        Ok(ordered(seconds))
    }

    /// When a span that starts at `now` is over.
    pub fn deadline(&self, now: u64, span: f64) -> u64 {
        if self.timer.is_some() {
            let end = seconds_of(now) + span;
            if end.is_finite() { ordered(end) } else { NEVER }
        } else {
            now.saturating_add(nanoseconds(span))
        }
    }

    /// The seconds from `now` to a deadline, at least 0.
    pub fn remaining(&self, now: u64, deadline: u64) -> f64 {
        if deadline == NEVER {
            f64::INFINITY
        } else if self.timer.is_some() {
            (seconds_of(deadline) - seconds_of(now)).max(0.0)
        } else {
            #[allow(clippy::cast_precision_loss, reason = "to 16 digits")]
            let nanoseconds = deadline.saturating_sub(now) as f64;
            nanoseconds / 1e9
        }
    }

    /// Shows what it holds to the collector.
    ///
    /// # Errors
    /// What the visitor answers, to be handed on.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ttl::Function(function) = &self.ttl {
            visit.call(function)?;
        }
        visit.call(&self.timer)
    }
}

/// A span of seconds in nanoseconds, as far as these go.
pub fn nanoseconds(span: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "spans are positive, and a cast from a float saturates"
    )]
    let nanoseconds = (span * 1e9).ceil() as u64;
    nanoseconds
}

/// A lifetime in seconds: a number above 0 or a `timedelta`.
///
/// # Errors
/// `TypeError` or `ValueError`, naming `what` and the value.
pub fn seconds(value: &Bound<'_, PyAny>, what: &str, allowed: &str) -> PyResult<f64> {
    // Asking for the type imports `datetime`.
    let seconds = if !is_number(value) && value.is_instance_of::<PyDelta>() {
        value
            .call_method0(intern!(value.py(), "total_seconds"))?
            .extract()?
    } else {
        number(value, what, allowed)?
    };
    if seconds > 0.0 {
        Ok(seconds)
    } else {
        Err(PyValueError::new_err(format!(
            "{what} must be above 0 seconds, but is {seconds}"
        )))
    }
}

fn is_number(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>()
}

fn number(value: &Bound<'_, PyAny>, what: &str, allowed: &str) -> PyResult<f64> {
    if !is_number(value) || value.is_instance_of::<PyBool>() {
        return Err(PyTypeError::new_err(format!(
            "{what} must be {allowed}, in seconds, not {}",
            value.get_type().name()?
        )));
    }
    value.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyOverflowError>(value.py()) {
            PyOverflowError::new_err(format!(
                "{what} must fit a float, but is an int beyond 1e308"
            ))
        } else {
            error
        }
    })
}

/// The bits of a float, so that they are in the order of the numbers.
fn ordered(seconds: f64) -> u64 {
    // Of the two zeros, one.
    let bits = (seconds + 0.0).to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

fn seconds_of(ordered: u64) -> f64 {
    f64::from_bits(if ordered >> 63 == 1 {
        ordered & !(1 << 63)
    } else {
        !ordered
    })
}

/// A number from 0 to 1, by `SplitMix64` (Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
fn random() -> f64 {
    static STATE: AtomicU64 = AtomicU64::new(0);
    const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
    if STATE.load(Ordering::Relaxed) == 0 {
        STATE.fetch_add(
            clock::precise() ^ u64::from(std::process::id()) << 32,
            Ordering::Relaxed,
        );
    }
    let mut bits = STATE.fetch_add(GAMMA, Ordering::Relaxed);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^= bits >> 31;
    #[allow(clippy::cast_precision_loss, reason = "of 53 bits, none")]
    let fraction = (bits >> 11) as f64;
    fraction * (f64::EPSILON / 2.0)
}
