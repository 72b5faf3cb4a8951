//! `singleton`: what stands in a class's dictionary, and knows its one instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::flights::or_else_on_panic;
use crate::interop::flight::{Flight, Landing, Outcome};
use crate::interop::guard::{Guarded, Noted};
use crate::interop::metaclass::{self, Answering};
use crate::interop::{build, class, weak};

/// All that are built, weakly, by the order in which they were; what Python closes at exit, and resets.
static BUILT: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// Makes that table, and shows it to Python.
///
/// # Errors
/// None but those of an interpreter that is broken.
pub fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let built = BUILT.get_or_init(module.py(), || PyDict::new(module.py()).unbind());
    module.add("_singletons", built)
}

#[derive(Clone, Copy)]
struct Rules {
    /// The instance lives while somebody holds it.
    weak: bool,
    /// Each thread has its own.
    per_thread: bool,
    /// Arguments after the first time are ignored rather than refused.
    ignores: bool,
}

#[derive(Default)]
struct State {
    /// The instance, or a weak reference to it.
    instance: Option<Py<PyAny>>,
    /// What stands in for the instance.
    fake: Option<Py<PyAny>>,
    flight: Option<Arc<Flight>>,
}

impl Noted for State {}

/// What a call finds.
enum Found {
    Fake(Py<PyAny>),
    There(Py<PyAny>),
    UnderWay(Arc<Flight>),
    Nothing,
}

impl State {
    fn look(&self, py: Python<'_>) -> Found {
        if let Some(fake) = &self.fake {
            return Found::Fake(fake.clone_ref(py));
        }
        if let Some(instance) = &self.instance {
            return Found::There(instance.clone_ref(py));
        }
        match &self.flight {
            Some(flight) if !flight.is_lost() => Found::UnderWay(flight.clone()),
            _ => Found::Nothing,
        }
    }
}

/// The one instance of a class, or of a class in a thread.
#[pyclass(frozen, weakref, module = "leaksafe._core", name = "_Single")]
pub struct Single {
    rules: Rules,
    metaclass: Py<PyType>,
    /// Where each thread has a `Single` of its own, and in those, which one that is.
    threads: Option<Py<PyAny>>,
    whole: Option<Py<Single>>,
    state: Guarded<State>,
}

impl Single {
    fn new(rules: Rules, metaclass: Bound<'_, PyType>) -> PyResult<Self> {
        let py = metaclass.py();
        let threads = if rules.per_thread {
            Some(py.import("threading")?.call_method0("local")?.unbind())
        } else {
            None
        };
        Ok(Self {
            rules,
            metaclass: metaclass.unbind(),
            threads,
            whole: None,
            state: Guarded::default(),
        })
    }

    /// What a class has, made with the rules of the nearest base if this is the first time that it is asked for.
    fn of<'py>(class: &Bound<'py, PyType>) -> PyResult<Option<Bound<'py, Self>>> {
        if let Some(own) = metaclass::find(class)? {
            return Ok(Some(own));
        }
        for base in class.mro() {
            if let Some(base) = metaclass::find::<Self>(base.cast::<PyType>()?)? {
                let base = base.get();
                let own = Self::new(base.rules, base.metaclass.bind(class.py()).clone())?;
                return metaclass::put(class, &Bound::new(class.py(), own)?).map(Some);
            }
        }
        Ok(None)
    }

    /// What answers in this thread.
    fn here<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let Some(threads) = &slf.get().threads else {
            return Ok(slf.clone());
        };
        let threads = threads.bind(py);
        match threads.getattr(intern!(py, "single")) {
            Ok(here) => Ok(here.cast_into()?),
            Err(error) if error.is_instance_of::<PyAttributeError>(py) => {
                let here = Bound::new(
                    py,
                    Self {
                        rules: slf.get().rules,
                        metaclass: slf.get().metaclass.clone_ref(py),
                        threads: None,
                        whole: Some(slf.clone().unbind()),
                        state: Guarded::default(),
                    },
                )?;
                threads.setattr(intern!(py, "single"), &here)?;
                Ok(here)
            }
            Err(error) => Err(error),
        }
    }

    /// Hands the instance out, unless it is gone.
    fn strong<'py>(&self, found: Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
        if !self.rules.weak {
            return Some(found);
        }
        let instance = weak::upgrade(&found);
        if instance.is_none() {
            let dead = self.state.with(found.py(), |state| {
                state.instance.take_if(|instance| instance.is(&found))
            });
            drop(dead);
        }
        instance
    }

    /// Notes that it is built, in the order of building, and returns its number.
    fn note(slf: &Bound<'_, Self>) -> PyResult<u64> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let py = slf.py();
        let Some(built) = BUILT.get(py) else {
            return Ok(0);
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Called with the dead reference, which it takes for a default: pop(number, reference).
        let forget = py
            .import("functools")?
            .call_method1("partial", (built.bind(py).getattr("pop")?, number))?;
        built
            .bind(py)
            .set_item(number, PyWeakrefReference::new_with(slf, forget)?)?;
        Ok(number)
    }

    fn unnote(py: Python<'_>, number: u64) -> PyResult<()> {
        if let Some(built) = BUILT.get(py) {
            built.bind(py).call_method1("pop", (number, py.None()))?;
        }
        Ok(())
    }

    /// Makes the instance, and keeps it, unless there was a reset meanwhile: then it is closed, as if that had come
    /// just after it was made.
    fn build<'py>(
        slf: &Bound<'py, Self>,
        class: &Bound<'py, PyType>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        flight: &Arc<Flight>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let this = slf.get();
        let py = slf.py();
        // So that a reset finds it meanwhile; in the order of building it stands where it was done.
        let begun = Self::note(slf)?;
        let made = metaclass::construct(this.metaclass.bind(py), class, args, kwargs);
        let done = Self::note(slf);
        Self::unnote(py, begun)?;
        let instance = made?;
        let kept = if this.rules.weak {
            PyWeakrefReference::new(&instance)?.into_any().unbind()
        } else {
            instance.clone().unbind()
        };
        let done = done?;
        let (old, surplus) = this.state.with(py, |state| {
            if state
                .flight
                .as_ref()
                .is_some_and(|own| Arc::ptr_eq(own, flight))
            {
                (state.instance.replace(kept), None)
            } else {
                (None, Some(kept))
            }
        });
        drop(old);
        if let Some(surplus) = surplus {
            Self::unnote(py, done)?;
            if this.rules.weak {
                return Ok(instance);
            }
            let closing = py.import("leaksafe._singleton")?;
            if let Err(error) = closing.call_method1("_close_one", (surplus,)) {
                error.write_unraisable(py, Some(slf));
            }
        }
        Ok(instance)
    }

    /// Answers a call in this thread; `None` where it has to be asked again.
    fn once<'py>(
        slf: &Bound<'py, Self>,
        class: &Bound<'py, PyType>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let py = slf.py();
        let this = slf.get();
        let found = match this.state.with(py, |state| state.look(py)) {
            Found::Fake(fake) => return Ok(Some(fake)),
            Found::There(found) => this.strong(found.into_bound(py)).map(Bound::unbind),
            Found::UnderWay(flight) => match flight.wait(py, None)? {
                Landing::Made(instance) => Some(instance),
                Landing::Raised(_) | Landing::Failed => None,
                Landing::Alone => {
                    return Err(PyRuntimeError::new_err(format!(
                        "{} asks for its one instance while that is built: {}",
                        class.qualname()?,
                        flight.circle().join(" → ")
                    )));
                }
            },
            Found::Nothing => {
                let flight = Flight::depart();
                let name = class.qualname()?.to_string();
                let (leads, lost) = this.state.with(py, |state| {
                    if matches!(state.look(py), Found::Nothing) {
                        (true, state.flight.replace(flight.clone()))
                    } else {
                        (false, None)
                    }
                });
                drop(lost);
                if !leads {
                    return Ok(None);
                }
                flight.announce(name);
                let land = |outcome| {
                    let ended = this.state.with(py, |state| {
                        state.flight.take_if(|own| Arc::ptr_eq(own, &flight))
                    });
                    drop(ended);
                    flight.land(py, outcome)
                };
                let build = || {
                    flight
                        .lead(py)
                        .and_then(|()| Self::build(slf, class, args, kwargs, &flight))
                };
                let result = or_else_on_panic(build, || land(Outcome::Nothing));
                land(result.as_ref().map_or(Outcome::Nothing, |instance| {
                    Outcome::Made(instance.clone().unbind())
                }))?;
                return result.map(|instance| Some(instance.unbind()));
            }
        };
        let given = !args.is_empty() || kwargs.is_some_and(|kwargs| !kwargs.is_empty());
        if found.is_some() && given && !this.rules.ignores {
            let name = class.qualname()?;
            return Err(PyTypeError::new_err(format!(
                "{name} is built already, and its arguments can't change: call {name}() without any \
                 (or singleton.reset({name}) before)"
            )));
        }
        Ok(found)
    }
}

impl Answering for Single {
    #[inline]
    fn at_once(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        if self.rules.weak || self.rules.per_thread {
            return None;
        }
        self.state.read(py, |state| {
            let found = state.fake.as_ref().or(state.instance.as_ref());
            found.map(|found| found.clone_ref(py))
        })
    }

    fn answer<'py>(
        class: &Bound<'py, PyType>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let py = class.py();
        let Some(whole) = Self::of(class)? else {
            return Err(PyTypeError::new_err(format!(
                "{} has the metaclass of a singleton, and is none: decorate it with @singleton",
                class.qualname()?
            )));
        };
        let fake = whole.get().state.with(py, |state| {
            state.fake.as_ref().map(|fake| fake.clone_ref(py))
        });
        if let Some(fake) = fake {
            return Ok(fake);
        }
        let here = Self::here(&whole)?;
        loop {
            if let Some(instance) = Self::once(&here, class, args, kwargs)? {
                return Ok(instance);
            }
        }
    }
}

#[pymethods]
impl Single {
    /// Whether the instance is kept by this, and so is this one's to close.
    #[getter]
    fn owns(&self) -> bool {
        !self.rules.weak
    }

    /// Whether this is the one, or one thread's part of it.
    fn is_of(slf: &Bound<'_, Self>, whole: &Bound<'_, Self>) -> bool {
        slf.is(whole) || slf.get().whole.as_ref().is_some_and(|own| own.is(whole))
    }

    /// Forgets the instance, and gives it back in a tuple, which is empty if there is none; one that is being made is
    /// not going to be kept.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let (instance, flight) = self
            .state
            .with(py, |state| (state.instance.take(), state.flight.take()));
        drop(flight);
        build::tuple(py, instance)
    }

    /// Has something stand in for the instance, or nothing; gives what did before, in a tuple.
    #[pyo3(signature = (*fake))]
    fn replace_fake<'py>(
        &self,
        py: Python<'py>,
        fake: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let fake = fake.iter().next().map(Bound::unbind);
        let old = self
            .state
            .with(py, |state| std::mem::replace(&mut state.fake, fake));
        build::tuple(py, old)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.metaclass)?;
        visit.call(&self.threads)?;
        visit.call(&self.whole)?;
        self.state.visit(visit, |state, visit| {
            visit.call(&state.instance)?;
            visit.call(&state.fake)
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        let contents = self
            .state
            .with(py, |state| (state.instance.take(), state.fake.take()));
        drop(contents);
    }
}

/// Makes a class have one instance, and gives it back.
///
/// # Errors
/// `TypeError` for what is no class made by a program, for one that is a singleton already, and for one whose instances
/// can't be referred to weakly where they should be.
#[pyfunction(name = "_make_single")]
#[pyo3(signature = (class, weak, per_thread, ignores, reduce, /))]
pub fn make_single<'py>(
    class: &Bound<'py, PyType>,
    weak: bool,
    per_thread: bool,
    ignores: bool,
    reduce: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyType>> {
    let py = class.py();
    let name = class.qualname()?;
    if !class::is_heap_type(class) {
        return Err(PyTypeError::new_err(format!(
            "singleton needs a class that is written in Python, and {name} is built in: decorate a subclass"
        )));
    }
    if metaclass::find::<Single>(class)?.is_some() {
        return Err(PyTypeError::new_err(format!(
            "{name} is a singleton already"
        )));
    }
    if weak && class.getattr("__weakrefoffset__")?.extract::<isize>()? == 0 {
        return Err(PyTypeError::new_err(format!(
            "singleton(weak=True) needs instances that can be weakly referenced: add \"__weakref__\" to the \
             __slots__ of {name}"
        )));
    }
    let rules = Rules {
        weak,
        per_thread,
        ignores,
    };
    let derived = metaclass::derive::<Single>(&class.get_type())?;
    // As `type` sets attributes: a metaclass may refuse them.
    py.get_type::<PyType>()
        .call_method1("__setattr__", (class, intern!(py, "__reduce_ex__"), reduce))?;
    metaclass::put(
        class,
        &Bound::new(py, Single::new(rules, derived.clone())?)?,
    )?;
    metaclass::adopt(class, &derived);
    Ok(class.clone())
}

/// What knows the one instance of a class.
///
/// # Errors
/// `TypeError` if the class is no singleton.
#[pyfunction(name = "_single")]
#[pyo3(signature = (class, /))]
pub fn single_of<'py>(class: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Single>> {
    if let Ok(class) = class.cast::<PyType>()
        && let Some(single) = Single::of(class)?
    {
        return Ok(single);
    }
    Err(PyTypeError::new_err(format!(
        "expected a class that is decorated with @singleton, not {}",
        class.repr()?
    )))
}
