//! Live views of a cache's keys, values and items.

use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::types::{PyFrozenSet, PySet, PyTuple};
use pyo3::{IntoPyObjectExt, PyTraverseError, PyVisit, intern};

use super::iterator::{CacheIterator, Part};
use super::lru_cache::LruCache;
use crate::interop::build::{self, Text};
use crate::interop::equality;
use crate::interop::guard::Guarded;
use crate::interop::repr;

/// What the three views share: the cache, until the collector takes it away.
struct View {
    part: Part,
    cache: Guarded<Option<Py<LruCache>>>,
}

impl View {
    fn new(cache: Py<LruCache>, part: Part) -> Self {
        Self {
            part,
            cache: Guarded::new(Some(cache)),
        }
    }

    fn cache<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, LruCache>> {
        self.cache
            .with(py, |cache| cache.as_ref().map(|cache| cache.clone_ref(py)))
            .map(|cache| cache.into_bound(py))
            .ok_or_else(|| {
                pyo3::exceptions::PyReferenceError::new_err("the cache of this view is gone")
            })
    }

    fn len(&self, py: Python<'_>) -> PyResult<usize> {
        LruCache::__len__(&self.cache(py)?)
    }

    fn walk(&self, py: Python<'_>, backwards: bool) -> PyResult<CacheIterator> {
        Ok(CacheIterator::new(&self.cache(py)?, self.part, backwards))
    }

    fn mapping<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("types")?
            .call_method1("MappingProxyType", (self.cache(py)?,))
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.cache.visit(visit, |cache, visit| visit.call(cache))
    }

    fn clear(&self, py: Python<'_>) {
        drop(self.cache.with(py, Option::take));
    }
}

/// `name([element, …])`.
fn show(view: &Bound<'_, PyAny>) -> PyResult<Text> {
    let name = view.get_type().name()?.to_string();
    let Some(_guard) = repr::enter(view)? else {
        return Ok(Text(format!("{name}(...)")));
    };
    let list = build::list(view.py())?;
    for item in view.try_iter()? {
        list.append(item?)?;
    }
    Ok(Text(format!("{name}({})", list.repr()?.to_string_lossy())))
}

/// `set(left) OPERATION right`, as `dict`'s views answer it.
fn combine<'py>(
    left: &Bound<'py, PyAny>,
    operation: &str,
    right: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let left = PySet::new(left.py(), left.try_iter()?.collect::<PyResult<Vec<_>>>()?)?;
    left.call_method1(operation, (right,))
}

fn is_disjoint(view: &Bound<'_, PyAny>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
    for element in other.try_iter()? {
        if view.contains(element?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn within(some: &Bound<'_, PyAny>, all: &Bound<'_, PyAny>) -> PyResult<bool> {
    for element in some.try_iter()? {
        if !all.contains(element?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Compares a view with a set or another set-like view, by inclusion.
fn compare<'py>(
    view: &Bound<'py, PyAny>,
    other: &Bound<'py, PyAny>,
    operator: CompareOp,
) -> PyResult<Bound<'py, PyAny>> {
    let py = view.py();
    let set_like = other.is_instance_of::<PySet>()
        || other.is_instance_of::<PyFrozenSet>()
        || other.is_instance(&py.import("collections.abc")?.getattr(intern!(py, "Set"))?)?;
    if !set_like {
        return Ok(py.NotImplemented().into_bound(py));
    }
    let (ours, theirs) = (view.len()?, other.len()?);
    let answer = match operator {
        CompareOp::Eq => ours == theirs && within(view, other)?,
        CompareOp::Ne => !(ours == theirs && within(view, other)?),
        CompareOp::Lt => ours < theirs && within(view, other)?,
        CompareOp::Le => ours <= theirs && within(view, other)?,
        CompareOp::Gt => ours > theirs && within(other, view)?,
        CompareOp::Ge => ours >= theirs && within(other, view)?,
    };
    answer.into_bound_py_any(py)
}

/// A live view of the keys, with set operations.
#[pyclass(frozen, module = "leaksafe._core", name = "CacheKeysView")]
pub struct KeysView(View);

/// A live view of the values.
#[pyclass(frozen, module = "leaksafe._core", name = "CacheValuesView")]
pub struct ValuesView(View);

/// A live view of the items, with set operations.
#[pyclass(frozen, module = "leaksafe._core", name = "CacheItemsView")]
pub struct ItemsView(View);

impl KeysView {
    /// The keys of a cache.
    pub fn new(cache: Py<LruCache>) -> Self {
        Self(View::new(cache, Part::Keys))
    }
}

impl ValuesView {
    /// The values of a cache.
    pub fn new(cache: Py<LruCache>) -> Self {
        Self(View::new(cache, Part::Values))
    }
}

impl ItemsView {
    /// The items of a cache.
    pub fn new(cache: Py<LruCache>) -> Self {
        Self(View::new(cache, Part::Items))
    }
}

#[pymethods]
impl KeysView {
    fn __contains__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        LruCache::has(&self.0.cache(py)?, key)
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.0.len(py)
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<CacheIterator> {
        self.0.walk(py, false)
    }

    fn __reversed__(&self, py: Python<'_>) -> PyResult<CacheIterator> {
        self.0.walk(py, true)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<Text> {
        show(slf)
    }

    fn __richcmp__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
        operator: CompareOp,
    ) -> PyResult<Bound<'py, PyAny>> {
        compare(slf, other, operator)
    }

    fn __and__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(slf, "intersection", other)
    }

    fn __rand__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(other, "intersection", slf)
    }

    fn __or__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(slf, "union", other)
    }

    fn __ror__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(other, "union", slf)
    }

    fn __sub__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(slf, "difference", other)
    }

    fn __rsub__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(other, "difference", slf)
    }

    fn __xor__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(slf, "symmetric_difference", other)
    }

    fn __rxor__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(other, "symmetric_difference", slf)
    }

    /// Returns whether the view and an iterable have nothing in common. O(length of the other).
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> LRUCache(2).keys().isdisjoint([1])
    /// True
    fn isdisjoint(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        is_disjoint(slf, other)
    }

    /// The cache that the view shows, read-only.
    #[getter]
    fn mapping<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.mapping(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.traverse(visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        self.0.clear(py);
    }
}

#[pymethods]
impl ValuesView {
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.0.len(py)
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<CacheIterator> {
        self.0.walk(py, false)
    }

    fn __reversed__(&self, py: Python<'_>) -> PyResult<CacheIterator> {
        self.0.walk(py, true)
    }

    fn __contains__(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        for (_, present) in LruCache::snapshot(&self.0.cache(py)?)? {
            if equality::equal(&present, value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<Text> {
        show(slf)
    }

    /// The cache that the view shows, read-only.
    #[getter]
    fn mapping<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.mapping(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.traverse(visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        self.0.clear(py);
    }
}

#[pymethods]
impl ItemsView {
    fn __contains__(&self, py: Python<'_>, item: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(item) = item.cast::<PyTuple>() else {
            return Ok(false);
        };
        if item.len() != 2 {
            return Ok(false);
        }
        match LruCache::peeked(&self.0.cache(py)?, &item.get_item(0)?)? {
            Some(value) => equality::equal(value.bind(py), &item.get_item(1)?),
            None => Ok(false),
        }
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.0.len(py)
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<CacheIterator> {
        self.0.walk(py, false)
    }

    fn __reversed__(&self, py: Python<'_>) -> PyResult<CacheIterator> {
        self.0.walk(py, true)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<Text> {
        show(slf)
    }

    fn __richcmp__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
        operator: CompareOp,
    ) -> PyResult<Bound<'py, PyAny>> {
        compare(slf, other, operator)
    }

    fn __and__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(slf, "intersection", other)
    }

    fn __rand__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(other, "intersection", slf)
    }

    fn __or__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(slf, "union", other)
    }

    fn __ror__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(other, "union", slf)
    }

    fn __sub__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(slf, "difference", other)
    }

    fn __rsub__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(other, "difference", slf)
    }

    fn __xor__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(slf, "symmetric_difference", other)
    }

    fn __rxor__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        combine(other, "symmetric_difference", slf)
    }

    /// Returns whether the view and an iterable have nothing in common. O(length of the other).
    ///
    /// >>> from leaksafe import LRUCache
    /// >>> LRUCache(2).items().isdisjoint([(1, 1)])
    /// True
    fn isdisjoint(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        is_disjoint(slf, other)
    }

    /// The cache that the view shows, read-only.
    #[getter]
    fn mapping<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.mapping(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.traverse(visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        self.0.clear(py);
    }
}
