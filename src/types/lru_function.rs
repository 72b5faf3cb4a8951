//! `lru_cache`: a function that remembers its results, without holding the instances of its class.

#![allow(clippy::unused_self, reason = "methods, for Python")]

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::aging::{Aging, Timing, seconds};
use super::arguments::Argument;
use super::sweeper;
use crate::core::{Cache, NEVER, Slot};
use crate::interop::call::Call;
use crate::interop::equality::Verdict;
use crate::interop::guard::{Guarded, Noted};
use crate::interop::lookup::{Probe, locate};
use crate::interop::release::{self, Nesting, Original, release};
use crate::interop::vectorcall::{self, Found, Remembering};
use crate::interop::{class, clock, logging, trace, weak};

mod ages;
mod classes;
mod instance;
mod method;
mod owners;
mod results;
mod storing;

use classes::Classes;
pub use method::LruMethod;
use owners::Owners;
pub use owners::Reaper;
pub use results::{Elsewhere, Results};

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

impl Remembering for LruFunction {
    fn typed(&self) -> bool {
        self.typed
    }

    fn function(&self) -> &Py<PyAny> {
        &self.function
    }

    #[inline]
    fn plain_hit(&self, call: &Call<'_, '_>, hash: u64) -> Option<Py<PyAny>> {
        let py = call.py();
        let timing = self.timing;
        let now = match timing {
            Timing::Ageless => 0,
            Timing::Cheap => clock::cheap(),
            Timing::Asked => return None,
        };
        self.state.hit(py, |state| {
            let entries = state.entries.as_ref()?;
            let slot = entries.find_hash(hash)?;
            if timing == Timing::Cheap && clock::is_past(entries.deadline(slot), now) {
                return None;
            }
            let entry = entries.get(slot)?;
            if call.compare(&entry.key) != Verdict::Same {
                return None;
            }
            let value = &entry.value;
            if state.indirect && !results::is_direct(py, value) {
                return None;
            }
            Some((slot, value.clone_ref(py)))
        })
    }

    fn look(&self, call: &Call<'_, '_>) -> PyResult<Found> {
        let py = call.py();
        if self.maxsize == Some(0) {
            self.state.with(py, |state| state.misses += 1);
            return Ok(Found::Pass);
        }
        let hash = call.hash()?;
        let now = match self.timing {
            Timing::Ageless => 0,
            Timing::Cheap => clock::precise(),
            Timing::Asked => return Ok(Found::Unsure(hash)),
        };
        let found = self.state.try_with(py, |state| {
            let entries = state.entries.as_mut()?;
            let mut unsure = false;
            let slot = entries.find(hash, |stored| {
                let verdict = call.compare(stored);
                unsure |= verdict == Verdict::Unsure;
                verdict == Verdict::Same
            });
            let Some(slot) = slot else {
                if unsure {
                    return None;
                }
                state.misses += 1;
                return Some(Found::Miss(hash));
            };
            let value = &entries.get(slot)?.value;
            let indirect = state.indirect && !results::is_direct(py, value);
            if indirect || entries.is_due(slot, now) {
                return None;
            }
            let value = value.clone_ref(py);
            entries.touch(slot);
            state.hits += 1;
            Some(Found::Hit(value))
        });
        Ok(found.flatten().unwrap_or(Found::Unsure(hash)))
    }

    fn look_closely(slf: &Bound<'_, Self>, call: &Call<'_, '_>, hash: u64) -> PyResult<Found> {
        let py = slf.py();
        let now = slf.get().now(py)?;
        let mut expired = None;
        let pair = locate(
            &slf.get().state,
            call,
            hash,
            |state: &State| state.entries.as_ref().unwrap_or(empty()),
            |state, found| {
                let slot = found?;
                if state.is_due(slot, now) {
                    expired = state.remove(py, slot);
                    return None;
                }
                let entries = state.entries.as_mut()?;
                let entry = entries.get(slot)?;
                let pair = (entry.key.clone_ref(py), entry.value.clone_ref(py));
                entries.touch(slot);
                Some(pair)
            },
        )?;
        drop(expired);
        let result = results::result(py, pair, slf.get().first(call))?;
        slf.get().state.with(py, |state| match result {
            Some(_) => state.hits += 1,
            None => state.misses += 1,
        });
        Ok(result.map_or(Found::Miss(hash), Found::Hit))
    }

    fn keep(&self, call: &Call<'_, '_>, hash: u64, result: &Bound<'_, PyAny>) -> bool {
        let py = call.py();
        if self.in_bytes {
            return false;
        }
        if self.weak_self
            && self.first(call).is_some_and(|first| {
                class::is_heap_type(&first.get_type()) || first.is_instance_of::<PyType>()
            })
        {
            return false;
        }
        let Ok(key) = call.key(None) else {
            return false;
        };
        let now = match self.timing {
            Timing::Ageless => 0,
            Timing::Cheap => clock::precise(),
            Timing::Asked => return false,
        };
        let evicted = self.state.try_with(py, |state| {
            let deadline = state.deadline(now);
            if deadline < state.swept && deadline != NEVER {
                return None;
            }
            let entries = state.entries.as_mut()?;
            if !state.owners.is_empty() || logging::enabled(log::Level::Debug) {
                return None;
            }
            let mut other = false;
            let found = entries.find(hash, |stored| {
                other |= call.compare(stored) != Verdict::Different;
                false
            });
            if other || found.is_some() {
                return None;
            }
            let victim = entries.exchangeable()?;
            if deadline != NEVER && entries.earliest_due() <= now {
                return None;
            }
            let old =
                entries.exchange(victim, hash, key.clone().unbind(), result.clone().unbind())?;
            entries.set_deadline(victim, deadline, 0, now);
            Some((old.0.into_bound(py), old.1.into_bound(py)))
        });
        evicted.flatten().map(drop).is_some()
    }

    fn keep_closely(
        slf: &Bound<'_, Self>,
        call: &Call<'_, '_>,
        hash: u64,
        result: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let result = result.as_unbound().bind(py);
        let place = Self::place(slf, call, result)?;
        Self::put(slf, call, hash, place)
    }
}

#[pymethods]
impl LruFunction {
    #[new]
    #[pyo3(signature = (function, maxsize, typed, weak_self, ttl = Argument::Absent, timer = None, /, *, in_bytes = false), text_signature = "(function, maxsize, typed, weak_self, ttl=..., timer=None, /, *, in_bytes=False)")]
    fn new(
        function: &Bound<'_, PyAny>,
        maxsize: Option<i64>,
        typed: bool,
        weak_self: bool,
        ttl: Argument,
        timer: Option<Bound<'_, PyAny>>,
        in_bytes: bool,
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
            entry: Some(vectorcall::call::<Self>),
            function: function.clone().unbind(),
            first_parameter: Self::first_parameter(function),
            maxsize,
            in_bytes,
            typed,
            weak_self,
            timing: Timing::of(aging.as_ref()),
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
        let currsize = this.entries(py, Cache::weight).unwrap_or(0);
        INFO.import(py, "functools", "_CacheInfo")?
            .call1((hits, misses, this.maxsize, currsize))
    }

    /// Forgets every result, and starts counting anew.
    fn cache_clear(&self, py: Python<'_>) {
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
    }

    /// Forgets the result of one call, and returns whether there was one.
    #[pyo3(signature = (*args, **kwargs))]
    fn cache_discard(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<bool> {
        let mut there = false;
        for call in Self::calls(slf, args, kwargs)? {
            there |= Self::discard(slf, &call.borrowed(slf.get().typed))?;
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
        for call in Self::calls(slf, args, kwargs)? {
            if Self::contains(slf, &call.borrowed(slf.get().typed))? {
                return Ok(true);
            }
        }
        Ok(false)
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

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let function = slf.get().function.bind(slf.py()).repr()?;
        let kind = slf.get().kind();
        Ok(format!("<{kind} of {}>", function.to_string_lossy()))
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

    fn __sizeof__(slf: &Bound<'_, Self>) -> PyResult<usize> {
        let fixed: usize = slf
            .get_type()
            .getattr(intern!(slf.py(), "__basicsize__"))?
            .extract()?;
        let tables = slf.get().state.with(slf.py(), |state| {
            let entries = state.entries.as_ref().map_or(0, Cache::allocated_bytes);
            entries + state.owners.allocated_bytes()
        });
        Ok(fixed + tables + slf.get().state.lock_bytes())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // CPython 3.11 makes the `__dict__` of a new object at once, and may collect then: before PyO3 has filled it.
        if self.entry.is_none() {
            return Ok(());
        }
        visit.call(&self.function)?;
        visit.call(&self.first_parameter)?;
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
        release(old);
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
    let sample = Bound::new(
        py,
        LruFunction::new(
            &function,
            Some(0),
            false,
            false,
            Argument::Absent,
            None,
            false,
        )?,
    )?;
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
