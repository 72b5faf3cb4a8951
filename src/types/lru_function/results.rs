//! The results that instances own, and what stands for them in a cache.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType, PyWeakrefReference};
use pyo3::{PyTraverseError, PyTypeInfo, PyVisit};

use super::Pair;
use super::owners::table_bytes;
use crate::interop::build::Count;
use crate::interop::equality::is_atomic;
use crate::interop::guard::Guarded;
use crate::interop::release::{Nesting, Original, release};
use crate::interop::{class, sizes, weak};

/// The one name that results take in the `__dict__` of an instance.
const RESULTS: &str = "__leaksafe_results__";

/// Stands for a result that is the instance itself.
static MYSELF: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The results that live with an instance, by a number that is used once.
#[derive(Default)]
struct Shelf {
    results: Guarded<HashMap<u64, Py<PyAny>>>,
}

/// The results of an instance's methods that may refer to it, owned by its `__dict__`; a copy starts empty.
#[pyclass(frozen, module = "leaksafe._core", name = "_Results")]
pub struct Results {
    owner: Guarded<Option<Py<PyAny>>>,
    shelf: Arc<Shelf>,
}

#[pymethods]
impl Results {
    #[new]
    fn new() -> Self {
        Self {
            owner: Guarded::new(None),
            shelf: Arc::default(),
        }
    }

    fn __copy__(&self) -> Self {
        Self::new()
    }

    #[pyo3(signature = (_memo, /))]
    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> Self {
        Self::new()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, Bound<'py, PyTuple>) {
        (slf.get_type(), PyTuple::empty(slf.py()))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.shelf.results.with(py, |results| results.len())
    }

    fn __sizeof__(slf: &Bound<'_, Self>) -> PyResult<Count> {
        let fixed = sizes::basic(&slf.get_type())?;
        let results = &slf.get().shelf.results;
        Ok(Count::from(
            fixed + results.with(slf.py(), |results| table_bytes(results)),
        ))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        // Instances compare by their attributes, and what is cached of them is none.
        other.is_instance_of::<Self>()
    }

    fn __hash__(&self) -> usize {
        0
    }

    fn __repr__(&self) -> &'static str {
        "<cached results>"
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.owner.visit(visit, |owner, visit| visit.call(owner))?;
        self.shelf.results.visit(visit, |results, visit| {
            results.values().try_for_each(|result| visit.call(result))
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        release(self.shelf.results.with(py, std::mem::take));
        drop(self.owner.with(py, Option::take));
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        // What a cache may still know of by a weak reference is taken away here, and released here.
        Python::attach(|py| drop(self.shelf.results.with(py, std::mem::take)));
    }
}

impl Results {
    /// Whether they are an instance's own: a copy of it has the same object in its `__dict__` at first.
    fn belongs_to(&self, instance: &Bound<'_, PyAny>) -> bool {
        let py = instance.py();
        let owner = self
            .owner
            .with(py, |owner| owner.as_ref().map(|owner| owner.clone_ref(py)));
        owner.is_some_and(|owner| weak::refers_to(owner.bind(py), instance))
    }

    /// Puts new ones into the attributes of an instance.
    fn put<'py>(
        owner: &Bound<'py, PyAny>,
        attributes: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, Self>> {
        let reference = PyWeakrefReference::new(owner)?.into_any().unbind();
        let results = Self {
            owner: Guarded::new(Some(reference)),
            shelf: Arc::default(),
        };
        let results = Bound::new(owner.py(), results)?;
        attributes.set_item(PyString::intern(owner.py(), RESULTS), &results)?;
        Ok(results)
    }
}

impl Nesting for Results {
    fn original() -> &'static Original {
        static ORIGINAL: Original = Original::new();
        &ORIGINAL
    }
}

/// In the cache in place of a result that lives with its instance.
#[pyclass(frozen, module = "leaksafe._core", name = "_Elsewhere")]
pub struct Elsewhere {
    shelf: Weak<Shelf>,
    number: u64,
}

impl Elsewhere {
    fn get(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.shelf.upgrade()?.results.with(py, |results| {
            results.get(&self.number).map(|result| result.clone_ref(py))
        })
    }
}

impl Nesting for Elsewhere {
    fn original() -> &'static Original {
        static ORIGINAL: Original = Original::new();
        &ORIGINAL
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if let Some(shelf) = self.shelf.upgrade() {
            Python::attach(|py| {
                drop(
                    shelf
                        .results
                        .with(py, |results| results.remove(&self.number)),
                );
            });
        }
    }
}

/// What a cache keeps for a result of a method of `owner`: the result itself only where that can't refer to the owner, or
/// the owner has no place for it.
///
/// # Errors
/// `MemoryError`.
pub fn stand_in<'py>(
    owner: &Bound<'py, PyAny>,
    result: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = owner.py();
    if result.is(owner) {
        return Ok(MYSELF
            .get_or_try_init(py, || py.get_type::<PyAny>().call0().map(Bound::unbind))?
            .bind(py)
            .clone());
    }
    put_away(owner, result)
}

/// Puts a result of a method of `owner` where it lives and dies with that, and returns what stands for it; the result
/// itself where it can't refer to the owner, or the owner has no place for it.
///
/// # Errors
/// `MemoryError`.
#[pyfunction(name = "_put_away")]
#[pyo3(signature = (owner, result, /))]
pub fn put_away<'py>(
    owner: &Bound<'py, PyAny>,
    result: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = owner.py();
    if is_atomic(result) {
        return Ok(result.clone());
    }
    let Some(shelf) = shelf(owner)? else {
        return Ok(result.clone());
    };
    let number = next_number();
    let old = shelf.results.with(py, |results| {
        results.insert(number, result.clone().unbind())
    });
    drop(old);
    let shelf = Arc::downgrade(&shelf);
    Ok(Bound::new(py, Elsewhere { shelf, number })?.into_any())
}

/// The results in the `__dict__` of an instance; `None` where there is no `__dict__`.
fn shelf(owner: &Bound<'_, PyAny>) -> PyResult<Option<Arc<Shelf>>> {
    let Some(attributes) = class::attributes(owner) else {
        return Ok(None);
    };
    if let Some(results) = found(&attributes)?
        && results.get().belongs_to(owner)
    {
        return Ok(Some(Arc::clone(&results.get().shelf)));
    }
    let results = Results::put(owner, &attributes)?;
    Ok(Some(Arc::clone(&results.get().shelf)))
}

fn found<'py>(attributes: &Bound<'py, PyDict>) -> PyResult<Option<Bound<'py, Results>>> {
    let results = attributes.get_item(PyString::intern(attributes.py(), RESULTS))?;
    Ok(results.and_then(|results| results.cast_into_exact().ok()))
}

/// Gives an instance results of its own, where it has those of another, of which it is a copy.
fn part(copy: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Some(attributes) = class::attributes(copy)
        && let Some(results) = found(&attributes)?
        && !results.get().belongs_to(copy)
    {
        Results::put(copy, &attributes)?;
    }
    Ok(())
}

/// The result that an entry stands for, for the instance that asks; `None` where that went with its instance or the instance's attributes.
///
/// # Errors
/// `MemoryError`.
pub fn result(
    py: Python<'_>,
    entry: Option<Pair>,
    asking: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<Py<PyAny>>> {
    let Some((key, value)) = entry else {
        return Ok(None);
    };
    let (key, value) = (key.into_bound(py), value.into_bound(py));
    let instance = weak::in_key(&key);
    if MYSELF.get(py).is_some_and(|myself| myself.is(&value)) {
        return Ok(instance.and_then(weak::upgrade).map(Bound::unbind));
    }
    let Ok(elsewhere) = value.cast::<Elsewhere>() else {
        return Ok(Some(value.unbind()));
    };
    if let (Some(instance), Some(asking)) = (instance, asking)
        && !weak::refers_to(instance, asking)
    {
        part(asking)?;
    }
    Ok(elsewhere.get().get(py))
}

/// The result that something stands for, in a tuple; `None` where that went with its owner or the owner's attributes.
#[pyfunction(name = "_bring_back")]
#[pyo3(signature = (stand_in, /))]
pub fn bring_back(stand_in: Bound<'_, PyAny>) -> Option<(Py<PyAny>,)> {
    match stand_in.cast::<Elsewhere>() {
        Ok(elsewhere) => Some((elsewhere.get().get(stand_in.py())?,)),
        Err(_) => Some((stand_in.unbind(),)),
    }
}

/// Whether an entry's value is the result itself.
#[inline]
pub fn is_direct(py: Python<'_>, value: &Py<PyAny>) -> bool {
    let value = value.bind(py);
    value.get_type_ptr() != Elsewhere::type_object_raw(py)
        && !MYSELF.get(py).is_some_and(|myself| myself.is(value))
}

pub fn is_stale(py: Python<'_>, value: &Py<PyAny>) -> bool {
    value
        .bind(py)
        .cast::<Elsewhere>()
        .is_ok_and(|elsewhere| elsewhere.get().shelf.strong_count() == 0)
}

/// A number that no other result has.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
