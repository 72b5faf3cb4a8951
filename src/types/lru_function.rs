//! `lru_cache`: a function that remembers its results, without holding the instances of its class.

#![allow(clippy::unused_self, reason = "methods, for Python")]

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::aging::{Aging, Timing, seconds};
use super::arguments::Argument;
use super::async_flights;
use super::flights::Flights;
use super::sweeper;
use crate::core::{Cache, Slot};
use crate::interop::build::{Count, Text};
use crate::interop::guard::{Guarded, Noted};
use crate::interop::release::{self, Nesting, Original, release};
use crate::interop::signature::Signature;
use crate::interop::vectorcall;
use crate::interop::{sizes, trace, weak};

mod ages;
mod calling;
mod classes;
mod coroutine;
mod engine;
mod flying;
mod instance;
mod method;
mod owners;
mod results;
mod storing;

use classes::Classes;
pub use coroutine::LruCall;
use engine::Engine;
pub use method::LruMethod;
use owners::Owners;
pub use owners::Reaper;
pub use results::{Elsewhere, Results, bring_back, put_away};

type Entries = Cache<Py<PyAny>, Py<PyAny>>;
type Pair = (Py<PyAny>, Py<PyAny>);
/// An entry that was taken out, and the reference to its instance where that has no other.
type Departed = (Pair, Option<Py<PyAny>>);

#[derive(Default)]
struct State {
    entries: Option<Entries>,
    owners: Owners,
    reaper: Option<Py<PyAny>>,
    /// Whether any value has ever stood for a result that is elsewhere.
    indirect: bool,
    aging: Option<Box<Aging>>,
    /// When the sweeper comes: nothing before is news to it.
    swept: u64,
    hits: u64,
    misses: u64,
    stored: u64,
    allocated: usize,
}

impl Noted for State {
    #[inline]
    fn used(&mut self, slot: Slot) {
        if let Some(entries) = &mut self.entries {
            entries.touch(slot);
        }
    }

    #[inline]
    fn counted(&mut self, uses: u64) {
        self.hits += uses;
    }
}

impl State {
    /// Takes an entry out, and gives back all that is to be released with it.
    fn remove(&mut self, py: Python<'_>, slot: Slot) -> Option<Departed> {
        let pair = self.entries.as_mut()?.remove(slot)?;
        let reference = self.owners.forget(py, &pair.0);
        Some((pair, reference))
    }

    fn reallocated(&mut self) -> Option<usize> {
        let allocated = self.entries.as_ref().map_or(0, Cache::allocated_bytes);
        (allocated != self.allocated).then(|| {
            self.allocated = allocated;
            allocated
        })
    }
}

/// What `lru_cache` makes of a function. See `leaksafe.lru_cache`.
#[pyclass(
    frozen,
    dict,
    weakref,
    module = "leaksafe._core",
    name = "_LruFunction"
)]
#[repr(C)]
pub struct LruFunction {
    /// `None` only in an object that is yet to be filled.
    entry: Option<vectorcall::Entry>,
    function: Py<PyAny>,
    /// The name by which an instance can be given, too.
    first_parameter: Option<Py<PyAny>>,
    /// The bound, in results or in bytes.
    maxsize: Option<u64>,
    in_bytes: bool,
    typed: bool,
    weak_self: bool,
    timing: Timing,
    /// Whether it was made by `cached`.
    cached: bool,
    /// The computations under way, where each is to be made once.
    flights: Option<Box<Flights>>,
    /// The same, where the function makes coroutines.
    awaited: Option<Py<PyAny>>,
    wait_timeout: Option<f64>,
    /// Where calls that mean the same are to be one.
    signature: Option<Box<Signature>>,
    engine: Option<Engine>,
    state: Guarded<State>,
    /// Whether the sweeper knows it.
    watched: AtomicBool,
    /// Whether the instances of a class have this function as a method.
    methods: Classes<bool>,
    /// The classes that have this function as a class method, and have called it.
    receivers: Classes<()>,
    /// The classes that a warning has been given for.
    warned: Classes<()>,
}

impl Drop for LruFunction {
    fn drop(&mut self) {
        if *self.watched.get_mut() {
            sweeper::forget(self.address());
        }
        if self.state.get_mut().allocated > 0 {
            trace::report(self.address(), 0);
        }
    }
}

impl Nesting for LruFunction {
    fn original() -> &'static Original {
        static ORIGINAL: Original = Original::new();
        &ORIGINAL
    }
}

impl LruFunction {
    fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    fn entries<R>(&self, py: Python<'_>, section: impl FnOnce(&Entries) -> R) -> Option<R> {
        self.state
            .with(py, |state| state.entries.as_ref().map(section))
    }
}

fn empty() -> &'static Entries {
    static EMPTY: OnceLock<Entries> = OnceLock::new();
    EMPTY.get_or_init(|| Cache::new(Some(0), false))
}

#[pymethods]
impl LruFunction {
    #[new]
    #[pyo3(signature = (function, maxsize, typed, weak_self, ttl = Argument::Absent, timer = None, /, *, in_bytes = false, cached = false, single_flight = false, wait_timeout = None, signature = None, keeper = None, key = None, coroutine = false), text_signature = "(function, maxsize, typed, weak_self, ttl=..., timer=None, /, *, in_bytes=False, cached=False, single_flight=False, wait_timeout=None, signature=None, keeper=None, key=None, coroutine=False)")]
    #[allow(
        clippy::too_many_arguments,
        clippy::fn_params_excessive_bools,
        reason = "as the decorators hand them over"
    )]
    fn new(
        function: &Bound<'_, PyAny>,
        maxsize: Option<i64>,
        typed: bool,
        weak_self: bool,
        ttl: Argument,
        timer: Option<Bound<'_, PyAny>>,
        in_bytes: bool,
        cached: bool,
        single_flight: bool,
        wait_timeout: Option<f64>,
        signature: Option<&Bound<'_, PyAny>>,
        keeper: Option<Py<PyAny>>,
        key: Option<Py<PyAny>>,
        coroutine: bool,
    ) -> PyResult<Self> {
        if !function.is_callable() {
            return Err(PyTypeError::new_err("the first argument must be callable"));
        }
        let aging = match ttl {
            Argument::Absent => None,
            Argument::Given(ttl) => {
                let ttl = ttl.bind(function.py());
                // Not a function of key and value: the key is none that a user knows.
                seconds(ttl, "ttl", "a float or a timedelta")?;
                Some(Aging::new(ttl, timer, false, 0.0)?)
            }
        };
        // As functools: a negative size is 0.
        let maxsize = maxsize.map(|maxsize| u64::try_from(maxsize).unwrap_or(0));
        Ok(Self {
            entry: Some(if coroutine {
                vectorcall::call_awaiting::<Self>
            } else {
                vectorcall::call::<Self>
            }),
            function: function.clone().unbind(),
            first_parameter: Self::first_parameter(function),
            maxsize,
            in_bytes,
            typed,
            weak_self,
            timing: Timing::of(aging.as_ref()),
            cached,
            flights: (single_flight && !coroutine).then(Box::default),
            awaited: coroutine
                .then(|| async_flights::flights(function.py(), wait_timeout))
                .transpose()?,
            wait_timeout,
            signature: signature.map(Signature::new).transpose()?.map(Box::new),
            engine: keeper.map(|keeper| Engine::new(keeper, key)),
            state: Guarded::new(State::new(maxsize, in_bytes, aging)),
            watched: AtomicBool::new(false),
            methods: Classes::default(),
            receivers: Classes::default(),
            warned: Classes::default(),
        })
    }

    /// For `wrapper.__call__` as an attribute: calls go through the vectorcall of the class.
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.call(args, kwargs)
    }

    /// Returns hits, misses, maxsize and currsize, as `functools` has it.
    fn cache_info<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static INFO: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let (py, this) = (slf.py(), slf.get());
        Self::expire_due(slf)?;
        let (hits, misses) = this.state.with(py, |state| (state.hits, state.misses));
        let info = INFO.import(py, "functools", "_CacheInfo")?;
        if let Some(engine) = &this.engine {
            let size = engine.keeper.bind(py).call_method0("size")?;
            let (maxsize, currsize): (Bound<'_, PyAny>, usize) = size.extract()?;
            return info.call1((Count(hits), Count(misses), maxsize, Count::from(currsize)));
        }
        let currsize = this.entries(py, Cache::weight).unwrap_or(0);
        info.call1((
            Count(hits),
            Count(misses),
            this.maxsize.map(Count),
            Count(currsize),
        ))
    }

    /// How many results have left.
    fn _removed(slf: &Bound<'_, Self>) -> PyResult<u64> {
        Self::expire_due(slf)?;
        Ok(slf.get().state.with(slf.py(), |state| {
            let held = state.entries.as_ref().map_or(0, Cache::len) as u64;
            state.stored.saturating_sub(held)
        }))
    }

    /// Forgets every result, and starts counting anew.
    fn cache_clear(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(flights) = &self.flights {
            flights.forget_all(py);
        }
        self.forget_awaited(py)?;
        if let Some(engine) = &self.engine {
            engine.keeper.bind(py).call_method0("clear")?;
        }
        let old = self.state.with(py, |state| {
            state.hits = 0;
            state.misses = 0;
            let entries = state.entries.as_mut().map(Cache::take);
            (
                entries,
                std::mem::take(&mut state.owners),
                state.reallocated(),
            )
        });
        if let Some(allocated) = old.2 {
            trace::report(self.address(), allocated);
        }
        release(old);
        Ok(())
    }

    /// Forgets the result of one call, and returns whether there was one.
    #[pyo3(signature = (*args, **kwargs))]
    fn cache_discard(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<bool> {
        let calls = Self::calls(slf, args, kwargs)?;
        if let Some(engine) = &slf.get().engine {
            let answers = Self::ask(slf, engine, &calls, "discard")?;
            return answers
                .iter()
                .try_fold(false, |there, answer| Ok(there | answer.is_truthy()?));
        }
        let mut there = false;
        for call in calls {
            there |= Self::discard(slf, &call)?;
        }
        Ok(there)
    }

    /// Returns whether the result of one call is remembered, without counting or promoting it.
    #[pyo3(signature = (*args, **kwargs))]
    fn cache_contains(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<bool> {
        Ok(Self::peek(slf, args, kwargs)?.is_some())
    }

    /// Returns the remembered result of one call, without counting or promoting it; `None` where there is none.
    #[pyo3(signature = (*args, **kwargs))]
    fn cache_peek(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        Self::peek(slf, args, kwargs)
    }

    /// Sets the result of one call: the value first, then the call's arguments.
    #[pyo3(signature = (value, /, *args, **kwargs))]
    fn cache_put(
        slf: &Bound<'_, Self>,
        value: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        Self::set(slf, value, args, kwargs)
    }

    /// Returns the key under which the result of one call is kept.
    #[pyo3(signature = (*args, **kwargs))]
    fn cache_key<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::key_of(slf, args, kwargs)
    }

    /// The mapping that holds the results: the one given, or made; a view of the function's own where there is none.
    #[getter]
    fn cache<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static VIEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = slf.py();
        match &slf.get().engine {
            Some(engine) => engine.keeper.bind(py).getattr(intern!(py, "cache")),
            None => VIEW
                .import(py, "leaksafe._cached", "ResultsView")?
                .call1((slf,)),
        }
    }

    /// The keys and results, the least recently used first.
    fn _items<'py>(slf: &Bound<'py, Self>) -> PyResult<Vec<(Bound<'py, PyAny>, Py<PyAny>)>> {
        Self::snapshot(slf)
    }

    fn __get__<'py>(
        slf: &Bound<'py, Self>,
        instance: Option<Bound<'py, PyAny>>,
        _owner: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(instance) = instance else {
            return Ok(slf.clone().into_any());
        };
        let bound = LruMethod::new(slf, instance.unbind());
        Ok(Bound::new(slf.py(), bound)?.into_any())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<Text> {
        let function = slf.get().function.bind(slf.py()).repr()?;
        let kind = slf.get().kind();
        Ok(Text(format!("<{kind} of {}>", function.to_string_lossy())))
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (_memo, /))]
    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr(intern!(slf.py(), "__qualname__"))
    }

    fn __sizeof__(slf: &Bound<'_, Self>) -> PyResult<Count> {
        let fixed = sizes::basic(&slf.get_type())?;
        let tables = slf.get().state.with(slf.py(), |state| {
            let entries = state.entries.as_ref().map_or(0, Cache::allocated_bytes);
            entries + state.owners.allocated_bytes()
        });
        Ok(Count::from(fixed + tables + slf.get().state.lock_bytes()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // CPython 3.11 makes the `__dict__` of a new object at once, and may collect then: before PyO3 has filled it.
        if self.entry.is_none() {
            return Ok(());
        }
        visit.call(&self.function)?;
        visit.call(&self.first_parameter)?;
        visit.call(&self.awaited)?;
        if let Some(flights) = &self.flights {
            flights.visit(visit)?;
        }
        if let Some(signature) = &self.signature {
            signature.visit(&visit)?;
        }
        if let Some(engine) = &self.engine {
            engine.visit(&visit)?;
        }
        self.state.visit(visit, |state, visit| {
            for entry in state.entries.iter().flat_map(Cache::iter) {
                visit.call(&entry.key)?;
                visit.call(&entry.value)?;
            }
            state.owners.visit(visit)?;
            if let Some(aging) = &state.aging {
                aging.visit(&visit)?;
            }
            visit.call(&state.reaper)
        })?;
        self.methods.visit(visit)?;
        self.receivers.visit(visit)?;
        self.warned.visit(visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        let old = self.state.with(py, |state| {
            std::mem::replace(state, State::new(self.maxsize, self.in_bytes, None))
        });
        self.methods.clear(py);
        self.receivers.clear(py);
        self.warned.clear(py);
        let flights = self.flights.as_ref().map(|flights| flights.take(py));
        release((old, flights));
    }
}

/// Makes both classes callable.
///
/// # Errors
/// When a sample of each can't be made.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    weak::set_reaper(py.get_type::<Reaper>().as_type_ptr());
    release::install::<LruFunction>(py)?;
    release::install::<LruMethod>(py)?;
    release::install::<Results>(py)?;
    release::install::<Elsewhere>(py)?;
    let function = py.get_type::<PyAny>().into_any();
    let class = py.get_type::<LruFunction>();
    let sample = class
        .call1((&function, 0, false, false))?
        .cast_into::<LruFunction>()?;
    vectorcall::install(py, &sample, true);
    let bound = LruFunction::__get__(&sample, Some(function), None)?;
    vectorcall::install(py, bound.cast::<LruMethod>()?, false);
    // A class's own `__doc__` is set in any case; the one of a method is its function's.
    let class = py.get_type::<LruMethod>();
    if let Ok(doc) = class.getattr("_doc") {
        class.setattr("__doc__", doc)?;
        class.delattr("_doc")?;
    }
    Ok(())
}
