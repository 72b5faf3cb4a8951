//! Setting up a cache: a new one, a copy, or one from a pickle.

use std::sync::atomic::Ordering;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString, PyTuple, PyType};
use pyo3::{IntoPyObjectExt, intern};

use super::LruCache;
use super::state::{Phase, Refusal, Rules};
use crate::core::{Cache, NEVER};
use crate::interop::equality::hash_of;
use crate::interop::{gc, trace};
use crate::types::aging::{Aging, Lifetime};
use crate::types::arguments;
use crate::types::living;
use crate::types::ttl_cache::TtlCache;
use crate::types::weigher::Weigher;

impl LruCache {
    /// A copy with the entries of a mapping too, which come `after` its own and replace them, or before.
    ///
    /// # Errors
    /// What setting an entry raises.
    pub fn merge<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
        after: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if other.cast::<PyMapping>().is_err() {
            return Ok(py.NotImplemented().into_bound(py));
        }
        let now = Self::now(slf)?;
        let merged = if after {
            Self::duplicate(slf, now)?
        } else {
            Self::like(slf)?
        };
        Self::update_from(&merged, other, now)?;
        if !after {
            Self::set_all(&merged, Self::hashed_snapshot(slf, now), now)?;
        }
        Ok(merged.into_any())
    }

    /// Sets up a cache that `__new__` made.
    pub fn configure(
        slf: &Bound<'_, Self>,
        maxsize: Option<u64>,
        weigher: Option<Weigher>,
        on_remove: Option<Py<PyAny>>,
        aging: Option<Aging>,
    ) -> PyResult<()> {
        let this = slf.get();
        let callables = weigher.is_some() || on_remove.is_some();
        let tracked = callables || aging.is_some() || !Self::is_plain(slf);
        let by_weight = weigher.is_some();
        let refused = this.state.with(slf.py(), |state| {
            if state.phase != Phase::Made {
                return Some((weigher, on_remove, aging));
            }
            state.entries = Cache::new(maxsize, by_weight);
            state.weigher = weigher;
            state.on_remove = on_remove;
            this.set_aging(state, aging);
            state.phase = Phase::Open;
            state.tracked = tracked;
            this.weighed.store(by_weight, Ordering::Relaxed);
            if !tracked {
                gc::untrack(slf);
            }
            None
        });
        match refused {
            None => living::enter(slf),
            Some(_) => Err(PyRuntimeError::new_err(
                "LRUCache.__init__() was called twice; resize() changes the bound",
            )),
        }
    }

    /// An empty cache of the same type, bound, rules and attributes.
    pub fn like<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let (maxsize, rules) = Self::setup(slf)?;
        let twin = rebuild(
            &slf.get_type(),
            maxsize.into_bound_py_any(slf.py())?.as_any(),
        )?;
        let twin = twin.cast_into::<Self>()?;
        Self::restore(&twin, rules, &Self::attributes(slf)?)?;
        Ok(twin)
    }

    /// The bound and the rules.
    pub fn setup(slf: &Bound<'_, Self>) -> PyResult<(Option<u64>, Rules)> {
        let py = slf.py();
        let (phase, maxsize, rules) = slf.get().state.with(py, |state| {
            let getsizeof = state
                .weigher
                .as_ref()
                .map(|weigher| weigher.function.clone_ref(py));
            let aging = state.aging.as_ref().map(|aging| aging.clone_ref(py));
            let rules = (getsizeof, state.callback(py), aging);
            (state.phase, state.entries.bound(), rules)
        });
        match phase {
            Phase::Open => Ok((maxsize, rules)),
            phase => Err(Self::refused(slf, Refusal::Phase(phase))),
        }
    }

    /// The attributes of a subclass's instance: `None`, a `dict`, or a pair of that and its slots.
    pub fn attributes<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.call_method0(intern!(slf.py(), "__getstate__"))
    }

    /// Gives an empty cache its rules and attributes.
    pub fn restore(
        slf: &Bound<'_, Self>,
        (getsizeof, on_remove, aging): Rules,
        attributes: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let weigher = getsizeof
            .map(|function| Weigher::new(py, function))
            .transpose()?;
        let this = slf.get();
        let old = this.state.with(py, |state| {
            if weigher.is_some() || on_remove.is_some() || aging.is_some() {
                state.track(slf);
            }
            let maxsize = state.entries.bound();
            this.weighed.store(weigher.is_some(), Ordering::Relaxed);
            let entries = Cache::new(maxsize, weigher.is_some());
            (
                std::mem::replace(&mut state.entries, entries),
                this.set_aging(state, aging),
                std::mem::replace(&mut state.weigher, weigher),
                std::mem::replace(&mut state.on_remove, on_remove),
            )
        });
        drop(old);
        let (dictionary, slots) = match attributes.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()
        {
            Ok((dictionary, slots)) => (dictionary, Some(slots)),
            Err(_) => (attributes.clone(), None),
        };
        if let Ok(dictionary) = dictionary.cast::<PyDict>() {
            slf.getattr(intern!(py, "__dict__"))?
                .call_method1(intern!(py, "update"), (dictionary,))?;
        }
        if let Some(slots) = slots
            && let Ok(slots) = slots.cast::<PyDict>()
        {
            for (name, value) in slots {
                slf.setattr(name.cast::<PyString>()?, value)?;
            }
        }
        Ok(())
    }

    /// An independent cache with the same bound, rules and entries, as they are at a time.
    pub fn duplicate<'py>(slf: &Bound<'py, Self>, now: u64) -> PyResult<Bound<'py, Self>> {
        Self::expire_at(slf, now);
        let twin = Self::like(slf)?;
        let py = slf.py();
        // By the stored hashes and weights: a copy asks neither the keys nor `getsizeof` anything.
        let entries = slf
            .get()
            .read(py, |entries| {
                entries.duplicate(|key, value| (key.clone_ref(py), value.clone_ref(py)))
            })
            .map_err(|error| Self::refused(&twin, Refusal::Store(error)))?;
        let tracked = slf.get().state.with(py, |state| state.tracked);
        let change = twin.get().state.with(py, |state| {
            if tracked {
                state.track(&twin);
            }
            let empty = std::mem::replace(&mut state.entries, entries);
            let watched = state
                .aging
                .as_ref()
                .is_some_and(|aging| aging.timer.is_none());
            state.swept = state.entries.earliest_due();
            (
                empty,
                state.reallocated(),
                (watched && state.swept != NEVER).then_some(state.swept),
            )
        });
        if let Some(due) = change.2 {
            Self::watch(&twin, due);
        }
        if let Some(allocated) = change.1 {
            trace::report(twin.get().address(), allocated);
        }
        Ok(twin)
    }

    /// Whether the class is one of ours, and no subclass.
    pub fn is_plain(slf: &Bound<'_, Self>) -> bool {
        let (class, py) = (slf.get_type(), slf.py());
        class.is(PyType::new::<Self>(py)) || class.is(PyType::new::<TtlCache>(py))
    }

    /// All items in order, and of each where there are `aging` rules, its lifetime and what is left of that.
    fn items_with_ages<'py>(
        slf: &Bound<'py, Self>,
        aging: Option<&Aging>,
    ) -> PyResult<ItemsWithAges<'py>> {
        let Some(aging) = aging else {
            return Ok((Self::snapshot(slf)?, Vec::new()));
        };
        let py = slf.py();
        let now = aging.now(py)?;
        Ok(slf.get().read(py, |entries| {
            entries
                .walk(false)
                .into_iter()
                .filter(|&slot| !entries.is_due(slot, now))
                .filter_map(|slot| Some((slot, entries.get(slot)?)))
                .map(|(slot, entry)| {
                    let left = aging.remaining(now, entries.deadline(slot));
                    let span = f64::from_bits(entries.span(slot)).max(left);
                    let item = (entry.key.bind(py).clone(), entry.value.bind(py).clone());
                    (item, (span, left))
                })
                .unzip()
        }))
    }

    /// What a pickle keeps.
    pub fn reduced<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let (maxsize, (getsizeof, on_remove, aging)) = Self::setup(slf)?;
        let (items, ages) = Self::items_with_ages(slf, aging.as_ref())?;
        let aging = aging
            .map(|aging| Ok::<_, PyErr>((aging.ttl(py)?, aging.timer, aging.sliding, aging.jitter)))
            .transpose()?;
        let rebuild = py.import("leaksafe._core")?.getattr("_rebuild")?;
        // In the state, not in the arguments: any of it may refer back to this cache.
        let state = (
            getsizeof,
            on_remove,
            Self::attributes(slf)?,
            items,
            aging,
            ages,
        );
        (rebuild, (slf.get_type(), maxsize), state).into_pyobject(py)
    }

    /// Fills a new cache from what [`reduced`](Self::reduced) gave.
    pub fn refill(slf: &Bound<'_, Self>, state: &Bound<'_, PyTuple>) -> PyResult<()> {
        type AgingArguments<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyAny>>, bool, f64);
        type Items<'py> = Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>;
        let (getsizeof, on_remove, attributes) = (
            state.get_item(0)?.extract()?,
            state.get_item(1)?.extract()?,
            state.get_item(2)?,
        );
        let items: Items<'_> = state.get_item(3)?.extract()?;
        let aging = state.get_item(4)?.extract::<Option<AgingArguments<'_>>>()?;
        let aging = aging
            .map(|(ttl, timer, sliding, jitter)| Aging::new(&ttl, timer, sliding, jitter))
            .transpose()?;
        let ages: Vec<(f64, f64)> = state.get_item(5)?.extract()?;
        Self::restore(slf, (getsizeof, on_remove, aging), &attributes)?;
        let now = Self::now(slf)?;
        let mut ages = ages.into_iter();
        for (key, value) in items {
            let lifetime = ages.next().map(|(span, left)| Lifetime { span, left });
            Self::set_for(slf, &key, hash_of(&key)?, &value, lifetime, Some(now))?;
        }
        Ok(())
    }
}

type ItemsWithAges<'py> = (Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>, Vec<(f64, f64)>);

/// Makes an empty cache of a class, for `copy` and `pickle`.
///
/// # Errors
/// When the class's `__new__` fails, or gives something else.
#[pyfunction(name = "_rebuild")]
#[pyo3(signature = (cls, maxsize, /))]
pub fn rebuild<'py>(
    cls: &Bound<'py, PyType>,
    maxsize: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let made = cls.call_method1(intern!(cls.py(), "__new__"), (cls,))?;
    LruCache::configure(made.cast()?, arguments::maxsize(maxsize)?, None, None, None)?;
    Ok(made)
}
