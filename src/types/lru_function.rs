//! `lru_cache`: a function that remembers its results, without holding the instances of its class.

#![allow(clippy::unused_self, reason = "methods, for Python")]

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, OnceLock, Weak};

use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyDict, PyMappingProxy, PyString, PyTuple, PyType, PyWeakrefMethods, PyWeakrefReference,
};
use pyo3::{PyTraverseError, PyTypeInfo, PyVisit, intern};

use super::stats::Cause;
use crate::core::{Cache, Removed, Slot};
use crate::interop::call::{Call, OwnedCall};
use crate::interop::equality::{Verdict, is_atomic};
use crate::interop::guard::Guarded;
use crate::interop::lookup::{Probe, locate};
use crate::interop::vectorcall::{self, BoundFunction, Found, Remembering};
use crate::interop::{logging, release, trace, weak};

type Entries = Cache<Py<PyAny>, Py<PyAny>>;
type Pair = (Py<PyAny>, Py<PyAny>);

/// The one name that results take in the `__dict__` of an instance.
const RESULTS: &str = "__leaksafe_results__";

/// An instance whose calls are remembered, known by the address that it has while it lives.
struct Owner {
    reference: Py<PyAny>,
    /// The entries that go with it: the addresses of their keys, and the hashes.
    keys: HashMap<usize, u64>,
}

/// The instances that the keys refer to weakly.
#[derive(Default)]
struct Owners {
    by_instance: HashMap<usize, Owner>,
    by_reference: HashMap<usize, usize>,
}

impl Owners {
    fn reference(&self, instance: &Bound<'_, PyAny>) -> Option<&Py<PyAny>> {
        self.by_instance
            .get(&(instance.as_ptr() as usize))
            .map(|owner| &owner.reference)
    }

    /// Notes an entry of an instance; the reference is dropped by the caller if there is one already.
    fn add(
        &mut self,
        instance: &Bound<'_, PyAny>,
        reference: &Bound<'_, PyAny>,
        key: &Bound<'_, PyAny>,
        hash: u64,
    ) {
        let address = instance.as_ptr() as usize;
        self.by_reference
            .insert(reference.as_ptr() as usize, address);
        self.by_instance
            .entry(address)
            .or_insert_with(|| Owner {
                reference: reference.clone().unbind(),
                keys: HashMap::new(),
            })
            .keys
            .insert(key.as_ptr() as usize, hash);
    }

    /// Notes that an entry is gone; gives back the reference to an instance that has no other.
    fn forget(&mut self, py: Python<'_>, key: &Py<PyAny>) -> Option<Py<PyAny>> {
        if self.by_instance.is_empty() {
            return None;
        }
        let reference = weak::in_key(key.bind(py))?.as_ptr() as usize;
        let address = *self.by_reference.get(&reference)?;
        let owner = self.by_instance.get_mut(&address)?;
        owner.keys.remove(&(key.as_ptr() as usize));
        if !owner.keys.is_empty() {
            return None;
        }
        self.by_reference.remove(&reference);
        self.by_instance
            .remove(&address)
            .map(|owner| owner.reference)
    }
}

#[derive(Default)]
struct State {
    entries: Option<Entries>,
    owners: Owners,
    /// By a class's address: a weak reference to it, and whether its instances have this function as a method.
    classes: HashMap<usize, (Py<PyAny>, bool)>,
    warned: HashMap<usize, Py<PyAny>>,
    /// Weak references to the classes that have called this function as a class method, by their addresses.
    receivers: HashMap<usize, Py<PyAny>>,
    reaper: Option<Py<PyAny>>,
    /// Whether any value has ever stood for a result that is elsewhere.
    indirect: bool,
    hits: u64,
    misses: u64,
    allocated: usize,
}

impl State {
    /// Takes an entry out, and gives back all that is to be released with it.
    fn remove(&mut self, py: Python<'_>, slot: Slot) -> Option<(Pair, Option<Py<PyAny>>)> {
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
    maxsize: Option<u64>,
    typed: bool,
    weak_self: bool,
    state: Guarded<State>,
}

impl Drop for LruFunction {
    fn drop(&mut self) {
        let address = self.address();
        let state = std::mem::take(self.state.get_mut());
        if state.allocated > 0 {
            trace::report(address, 0);
        }
        release::release((
            state.entries,
            state
                .owners
                .by_instance
                .into_values()
                .map(|owner| owner.reference)
                .collect::<Vec<_>>(),
            state.classes,
            state.warned,
            state.receivers,
            state.reaper,
        ));
    }
}

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
        release::release(self.shelf.results.with(py, std::mem::take));
        drop(self.owner.with(py, Option::take));
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        // What a cache may still know of by a weak reference is taken away here, and released here.
        Python::attach(|py| release::release(self.shelf.results.with(py, std::mem::take)));
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

/// The callback of the weak references in a cache's keys.
#[pyclass(frozen, module = "leaksafe._core", name = "_Reaper")]
pub struct Reaper {
    function: Py<PyWeakrefReference>,
}

#[pymethods]
impl Reaper {
    /// Takes out the entries of an instance that has died.
    fn __call__(&self, reference: &Bound<'_, PyAny>) {
        let py = reference.py();
        let Some(function) = self.function.bind(py).upgrade() else {
            return;
        };
        let Ok(function) = function.cast_into::<LruFunction>() else {
            return;
        };
        let gone = function.get().state.with(py, |state| {
            let address = state
                .owners
                .by_reference
                .remove(&(reference.as_ptr() as usize))?;
            let owner = state.owners.by_instance.remove(&address)?;
            let entries = state.entries.as_mut()?;
            let mut pairs = Vec::with_capacity(owner.keys.len());
            for (key, hash) in owner.keys {
                let found = entries.find(hash, |other| other.as_ptr() as usize == key);
                pairs.extend(found.and_then(|slot| entries.remove(slot)));
            }
            Some((pairs, owner.reference))
        });
        drop(gone);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)
    }
}

/// Where a result is to be kept, and what with.
struct Place<'py> {
    key: Bound<'py, PyAny>,
    value: Bound<'py, PyAny>,
    instance: Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>,
}

impl LruFunction {
    fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    fn entries<R>(&self, py: Python<'_>, section: impl FnOnce(&Entries) -> R) -> Option<R> {
        self.state
            .with(py, |state| state.entries.as_ref().map(section))
    }

    /// The result that an entry stands for; `None` where that went with its instance or the instance's attributes.
    fn result(py: Python<'_>, (key, value): Pair) -> Option<Py<PyAny>> {
        let (key, value) = (key.into_bound(py), value.into_bound(py));
        if MYSELF.get(py).is_some_and(|myself| myself.is(&value)) {
            return weak::in_key(&key)
                .and_then(weak::upgrade)
                .map(Bound::unbind);
        }
        match value.cast::<Elsewhere>() {
            Ok(elsewhere) => elsewhere.get().get(py),
            Err(_) => Some(value.unbind()),
        }
    }

    /// Whether `class` has this function as a method under its own name.
    fn is_method(slf: &Bound<'_, Self>, class: &Bound<'_, PyType>) -> PyResult<bool> {
        let py = slf.py();
        let address = class.as_ptr() as usize;
        let known = slf.get().state.with(py, |state| {
            let (reference, answer) = state.classes.get(&address)?;
            Some((reference.clone_ref(py), *answer))
        });
        if let Some((reference, answer)) = known
            && let Ok(reference) = reference.bind(py).cast::<PyWeakrefReference>()
            && reference.upgrade().is_some_and(|known| known.is(class))
        {
            return Ok(answer);
        }
        let answer = Self::is_found_in(slf, class)?;
        let reference = PyWeakrefReference::new(class)?.into_any().unbind();
        let old = slf.get().state.with(py, |state| {
            // Classes that were made and dropped leave a few bytes each, until there are many.
            let many = (state.classes.len() >= 256).then(|| std::mem::take(&mut state.classes));
            (many, state.classes.insert(address, (reference, answer)))
        });
        drop(old);
        Ok(answer)
    }

    /// Looks through the classes that an instance's class inherits from: under the function's own name, mangled where
    /// it is private, and whether it stands there under another one. A class that overrides the method may still call
    /// it through `super`, so the first that has the name isn't the last one asked.
    fn is_found_in(slf: &Bound<'_, Self>, class: &Bound<'_, PyType>) -> PyResult<bool> {
        let py = slf.py();
        let name = slf.get().function.bind(py).getattr(intern!(py, "__name__"));
        let name = name.ok().and_then(|name| name.extract::<String>().ok());
        for base in class.mro().iter() {
            let namespace = base.getattr(intern!(py, "__dict__"))?;
            let namespace = namespace.cast::<PyMappingProxy>()?;
            if let Some(name) = &name {
                let mangled = format!(
                    "_{}{name}",
                    base.cast::<PyType>()?
                        .name()?
                        .to_cow()?
                        .trim_start_matches('_')
                );
                for name in [name, &mangled] {
                    if namespace.contains(name)? && Self::leads_here(slf, namespace.get_item(name)?)
                    {
                        return Ok(true);
                    }
                }
            }
            if namespace.values()?.iter().any(|value| value.is(slf)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether an attribute of a class, unwrapped, is this function, and gets the instance as its first argument.
    fn leads_here(slf: &Bound<'_, Self>, attribute: Bound<'_, PyAny>) -> bool {
        // Longer chains of decorators are circles.
        const LIMIT: u8 = 64;
        let mut at = attribute;
        for _ in 0..LIMIT {
            if at.is(slf) {
                return true;
            }
            if weak::passes_no_instance(&at) {
                return false;
            }
            let inner = ["__wrapped__", "__func__", "fget"]
                .iter()
                .find_map(|name| at.getattr(*name).ok());
            match inner {
                Some(inner) if !inner.is_none() => at = inner,
                _ => return false,
            }
        }
        false
    }

    /// The instance that a call must not hold, with the weak reference to put in its place.
    fn instance<'py>(
        slf: &Bound<'py, Self>,
        call: &Call<'_, 'py>,
    ) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
        let py = slf.py();
        let this = slf.get();
        let Some(first) = call.first().filter(|_| this.weak_self) else {
            return Ok(None);
        };
        if let Ok(receiver) = first.cast::<PyType>() {
            Self::note_receiver(slf, receiver)?;
        }
        let class = first.get_type();
        if !weak::is_heap_type(&class) || !Self::is_method(slf, &class)? {
            return Ok(None);
        }
        let known = this.state.with(py, |state| {
            state
                .owners
                .reference(first)
                .filter(|reference| weak::instance(reference.bind(py)) == Some(first.as_ptr()))
                .map(|reference| reference.clone_ref(py))
        });
        if let Some(reference) = known {
            return Ok(Some((first.clone(), reference.into_bound(py))));
        }
        let reaper = Self::reaper(slf)?;
        if let Some(reference) = weak::refer(first, &reaper)? {
            return Ok(Some((first.clone(), reference)));
        }
        Self::warn(slf, &class)?;
        Ok(None)
    }

    /// Notes a class that has this function as a class method.
    fn note_receiver(slf: &Bound<'_, Self>, class: &Bound<'_, PyType>) -> PyResult<()> {
        let py = slf.py();
        let address = class.as_ptr() as usize;
        let known = slf.get().state.with(py, |state| {
            let known = state.receivers.get(&address);
            known.map(|known| known.clone_ref(py))
        });
        if known
            .is_some_and(|known| weak::upgrade(known.bind(py)).is_some_and(|known| known.is(class)))
        {
            return Ok(());
        }
        let Ok(name) = slf.get().function.bind(py).getattr(intern!(py, "__name__")) else {
            return Ok(());
        };
        for base in class.mro().iter() {
            let namespace = base.getattr(intern!(py, "__dict__"))?;
            let namespace = namespace.cast::<PyMappingProxy>()?;
            if !namespace.contains(&name)? {
                continue;
            }
            let attribute = namespace.get_item(&name)?;
            if weak::passes_class(&attribute)
                && Self::leads_here(slf, attribute.getattr(intern!(py, "__func__"))?)
            {
                let reference = PyWeakrefReference::new(class)?.into_any().unbind();
                let old = slf.get().state.with(py, |state| {
                    let many = (state.receivers.len() >= 256)
                        .then(|| std::mem::take(&mut state.receivers));
                    (many, state.receivers.insert(address, reference))
                });
                drop(old);
                return Ok(());
            }
        }
        Ok(())
    }

    /// The classes to ask for, where a class method's attribute was called without its class.
    ///
    /// Since 3.13, `Cls.method` is a `types.MethodType`, whose attributes are the function's own: nothing tells them
    /// which class they were reached by, so that all that have called it are meant.
    fn receivers<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = slf.py();
        let references: Vec<_> = slf.get().state.with(py, |state| {
            let references = state.receivers.values();
            references.map(|known| known.clone_ref(py)).collect()
        });
        let living: Vec<_> = references
            .iter()
            .filter_map(|known| weak::upgrade(known.bind(py)))
            .collect();
        if let Ok(first) = args.get_item(0)
            && let Ok(first) = first.cast_into::<PyType>()
        {
            for class in &living {
                if first.is_subclass(class)? || class.cast::<PyType>()?.is_subclass(&first)? {
                    return Ok(Vec::new());
                }
            }
        }
        Ok(living)
    }

    fn reaper<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let known = slf.get().state.with(py, |state| {
            state.reaper.as_ref().map(|reaper| reaper.clone_ref(py))
        });
        if let Some(reaper) = known {
            return Ok(reaper.into_bound(py));
        }
        let function = PyWeakrefReference::new(slf)?.unbind();
        let reaper = Bound::new(py, Reaper { function })?.into_any();
        let old = slf
            .get()
            .state
            .with(py, |state| state.reaper.replace(reaper.clone().unbind()));
        drop(old);
        Ok(reaper)
    }

    /// Says once for each class that its instances are held.
    fn warn(slf: &Bound<'_, Self>, class: &Bound<'_, PyType>) -> PyResult<()> {
        let py = slf.py();
        let reference = PyWeakrefReference::new(class)?.into_any().unbind();
        let address = class.as_ptr() as usize;
        let old = slf
            .get()
            .state
            .with(py, |state| state.warned.insert(address, reference));
        if old.is_some_and(|old| {
            old.bind(py)
                .cast::<PyWeakrefReference>()
                .is_ok_and(|old| old.upgrade().is_some_and(|old| old.is(class)))
        }) {
            return Ok(());
        }
        let category = py.import("leaksafe._functions")?.getattr("LeakWarning")?;
        let class_name = class.qualname()?;
        let name = slf
            .get()
            .function
            .bind(py)
            .getattr(intern!(py, "__qualname__"))
            .map_or_else(|_| "a method".to_owned(), |name| name.to_string());
        let bound = slf.get().maxsize.map_or("for ever".to_owned(), |maxsize| {
            format!("until {maxsize} newer calls push them out")
        });
        // Instances of varying size (of int, tuple, bytes) have no place for weak references.
        let cure = if class
            .getattr(intern!(py, "__itemsize__"))?
            .extract::<isize>()?
            == 0
        {
            "add '__weakref__' to its __slots__"
        } else {
            "hold the value in an attribute in place of inheriting from its type"
        };
        let message = format!(
            "the cache of {name} holds instances of {class_name} {bound}, because they can't be weakly referenced: \
             {cure}, cache a function that doesn't take the instance, or say weak_self=False if it is meant"
        );
        let message = CString::new(message)?;
        PyErr::warn(py, &category, &message, 1)
    }

    /// Decides where a result is kept.
    fn place<'py>(
        slf: &Bound<'py, Self>,
        call: &Call<'_, 'py>,
        result: &Bound<'py, PyAny>,
    ) -> PyResult<Place<'py>> {
        let py = slf.py();
        let instance = Self::instance(slf, call)?;
        let key = call.key(instance.as_ref().map(|(_, reference)| reference))?;
        let mut value = result.clone();
        if let Some((owner, _)) = &instance {
            if result.is(owner) {
                value = MYSELF
                    .get_or_try_init(py, || py.get_type::<PyAny>().call0().map(Bound::unbind))?
                    .bind(py)
                    .clone();
            } else if !is_atomic(result)
                && let Some(shelf) = Self::shelf(owner)?
            {
                let number = next_number();
                let old = shelf.results.with(py, |results| {
                    results.insert(number, result.clone().unbind())
                });
                drop(old);
                let shelf = Arc::downgrade(&shelf);
                value = Bound::new(py, Elsewhere { shelf, number })?.into_any();
            }
        }
        Ok(Place {
            key,
            value,
            instance,
        })
    }

    /// The results in the `__dict__` of an instance; `None` where there is no `__dict__`.
    fn shelf(owner: &Bound<'_, PyAny>) -> PyResult<Option<Arc<Shelf>>> {
        let py = owner.py();
        let Some(attributes) = weak::attributes(owner) else {
            return Ok(None);
        };
        let name = PyString::intern(py, RESULTS);
        if let Some(found) = attributes.get_item(&name)?
            && let Ok(results) = found.cast_exact::<Results>()
        {
            // A copy of the instance shares the object until it caches something by itself.
            let marked = results
                .get()
                .owner
                .with(py, |known| known.as_ref().map(|known| known.clone_ref(py)));
            let mine = marked.is_some_and(|known| {
                known
                    .bind(py)
                    .cast::<PyWeakrefReference>()
                    .is_ok_and(|known| known.upgrade().is_some_and(|known| known.is(owner)))
            });
            if mine {
                return Ok(Some(Arc::clone(&results.get().shelf)));
            }
        }
        let results = Bound::new(py, Results::new())?;
        let reference = PyWeakrefReference::new(owner)?.into_any().unbind();
        let old = results
            .get()
            .owner
            .with(py, |known| known.replace(reference));
        drop(old);
        attributes.set_item(&name, &results)?;
        Ok(Some(Arc::clone(&results.get().shelf)))
    }

    /// Puts an entry in, unless its key is there by now.
    fn put<'py>(
        slf: &Bound<'py, Self>,
        call: &Call<'_, 'py>,
        hash: u64,
        place: Place<'py>,
    ) -> PyResult<()> {
        let py = slf.py();
        let Place {
            key,
            value,
            instance,
        } = place;
        let new = (key.clone().unbind(), value.unbind());
        let mut evicted = Removed::default();
        let mut unused = None;
        let mut references = Vec::new();
        let allocated = locate(
            &slf.get().state,
            call,
            hash,
            // Always there: only the collector takes it, from what nobody can call.
            |state: &State| state.entries.as_ref().unwrap_or(empty()),
            |state, found| {
                let Some(entries) = state.entries.as_mut() else {
                    unused = Some(new);
                    return None;
                };
                if let Some(slot) = found {
                    // Another call was faster, or this one called itself: that entry stays, unless its result is gone.
                    let stale = entries
                        .get(slot)
                        .is_some_and(|entry| is_stale(py, &entry.value));
                    if stale {
                        state.indirect = true;
                        let old = entries.set_value(slot, new.1);
                        unused = Some((new.0, old.unwrap_or_else(|| py.None())));
                    } else {
                        unused = Some(new);
                    }
                    return None;
                }
                if let Err((_, key, value)) = entries.insert(hash, new.0, new.1, 1, &mut evicted) {
                    // No memory to remember it: the result stands all the same.
                    unused = Some((key, value));
                    return None;
                }
                if let Some((owner, reference)) = &instance {
                    state.indirect = true;
                    state.owners.add(owner, reference, &key, hash);
                }
                state.reallocated()
            },
        )?;
        let evicted: Vec<_> = evicted.into_iter().collect();
        if instance.is_some() || !evicted.is_empty() {
            slf.get().state.with(py, |state| {
                references.extend(
                    evicted
                        .iter()
                        .filter_map(|(key, _)| state.owners.forget(py, key)),
                );
            });
        }
        if let Some(allocated) = allocated {
            trace::report(slf.get().address(), allocated);
        }
        if logging::enabled(log::Level::Debug) && !evicted.is_empty() {
            log::debug!(target: logging::TARGET, "lru_cache evicted {} by {}", evicted.len(), Cause::Size.name());
        }
        drop((evicted, unused, references, key));
        Ok(())
    }

    /// The calls that the arguments of `cache_discard` or `cache_contains` mean: one, but for a class method.
    fn calls<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Vec<OwnedCall<'py>>> {
        let receivers = Self::receivers(slf, args)?;
        if receivers.is_empty() {
            return Ok(vec![OwnedCall::new(args, kwargs)?]);
        }
        let with_class = |class| {
            let all = std::iter::once(class).chain(args.iter());
            let all = PyTuple::new(slf.py(), all.collect::<Vec<_>>())?;
            OwnedCall::new(&all, kwargs)
        };
        receivers.into_iter().map(with_class).collect()
    }

    fn discard(slf: &Bound<'_, Self>, call: &Call<'_, '_>) -> PyResult<bool> {
        let py = slf.py();
        let gone = Self::find_slot(slf, call, |state, found| state.remove(py, found?))?;
        Ok(gone.is_some_and(|((_, value), _)| !is_stale(py, &value)))
    }

    fn contains(slf: &Bound<'_, Self>, call: &Call<'_, '_>) -> PyResult<bool> {
        let py = slf.py();
        let pair = Self::find_slot(slf, call, |state, found| {
            let entry = state.entries.as_ref()?.get(found?)?;
            Some((entry.key.clone_ref(py), entry.value.clone_ref(py)))
        })?;
        Ok(pair.is_some_and(|pair| Self::result(py, pair).is_some()))
    }

    fn find_slot<R>(
        slf: &Bound<'_, Self>,
        call: &Call<'_, '_>,
        section: impl FnOnce(&mut State, Option<Slot>) -> R,
    ) -> PyResult<R> {
        let hash = call.hash()?;
        locate(
            &slf.get().state,
            call,
            hash,
            |state: &State| state.entries.as_ref().unwrap_or(empty()),
            section,
        )
    }
}

/// A number that no other result has.
fn next_number() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

fn empty() -> &'static Entries {
    static EMPTY: OnceLock<Entries> = OnceLock::new();
    EMPTY.get_or_init(|| Cache::new(Some(0), false))
}

fn is_stale(py: Python<'_>, value: &Py<PyAny>) -> bool {
    value
        .bind(py)
        .cast::<Elsewhere>()
        .is_ok_and(|elsewhere| elsewhere.get().shelf.strong_count() == 0)
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
        self.state.try_with(py, |state| {
            let entries = state.entries.as_mut()?;
            let slot = entries.find_hash(hash)?;
            let entry = entries.get(slot)?;
            if call.compare(&entry.key) != Verdict::Same {
                return None;
            }
            let value = &entry.value;
            if state.indirect && !is_direct(py, value) {
                return None;
            }
            let value = value.clone_ref(py);
            entries.touch(slot);
            state.hits += 1;
            Some(value)
        })?
    }

    fn look(&self, call: &Call<'_, '_>) -> PyResult<Found> {
        let py = call.py();
        if self.maxsize == Some(0) {
            self.state.with(py, |state| state.misses += 1);
            return Ok(Found::Pass);
        }
        let hash = call.hash()?;
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
            if state.indirect && !is_direct(py, value) {
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
        let pair = locate(
            &slf.get().state,
            call,
            hash,
            |state: &State| state.entries.as_ref().unwrap_or(empty()),
            |state, found| {
                let entries = state.entries.as_mut()?;
                let entry = entries.get(found?)?;
                let pair = (entry.key.clone_ref(py), entry.value.clone_ref(py));
                entries.touch(found?);
                Some(pair)
            },
        )?;
        let result = pair.and_then(|pair| Self::result(py, pair));
        slf.get().state.with(py, |state| match result {
            Some(_) => state.hits += 1,
            None => state.misses += 1,
        });
        Ok(result.map_or(Found::Miss(hash), Found::Hit))
    }

    fn keep(&self, call: &Call<'_, '_>, hash: u64, result: &Bound<'_, PyAny>) -> bool {
        let py = call.py();
        if self.weak_self
            && call.first().is_some_and(|first| {
                weak::is_heap_type(&first.get_type()) || first.is_instance_of::<PyType>()
            })
        {
            return false;
        }
        let Ok(key) = call.key(None) else {
            return false;
        };
        let evicted = self.state.try_with(py, |state| {
            let entries = state.entries.as_mut()?;
            if !state.owners.by_instance.is_empty() || logging::enabled(log::Level::Debug) {
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
            let old =
                entries.exchange(victim, hash, key.clone().unbind(), result.clone().unbind())?;
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

/// Whether an entry's value is the result itself.
#[inline]
fn is_direct(py: Python<'_>, value: &Py<PyAny>) -> bool {
    let value = value.bind(py);
    value.get_type_ptr() != Elsewhere::type_object_raw(py)
        && !MYSELF.get(py).is_some_and(|myself| myself.is(value))
}

#[pymethods]
impl LruFunction {
    #[new]
    #[pyo3(signature = (function, maxsize, typed, weak_self, /))]
    fn new(
        function: &Bound<'_, PyAny>,
        maxsize: Option<i64>,
        typed: bool,
        weak_self: bool,
    ) -> PyResult<Self> {
        if !function.is_callable() {
            return Err(PyTypeError::new_err("the first argument must be callable"));
        }
        // As functools: a negative size is 0.
        let maxsize = maxsize.map(|maxsize| u64::try_from(maxsize).unwrap_or(0));
        Ok(Self {
            entry: Some(vectorcall::call::<Self>),
            function: function.clone().unbind(),
            maxsize,
            typed,
            weak_self,
            state: Guarded::new(State {
                entries: Some(Cache::new(maxsize, false)),
                ..State::default()
            }),
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
    fn cache_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static INFO: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let (hits, misses) = self.state.with(py, |state| (state.hits, state.misses));
        let currsize = self.entries(py, Cache::len).unwrap_or(0);
        INFO.import(py, "functools", "_CacheInfo")?
            .call1((hits, misses, self.maxsize, currsize))
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
        drop(old);
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
        Ok(format!("<lru_cache of {}>", function.to_string_lossy()))
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
        let table = slf.get().entries(slf.py(), Cache::allocated_bytes);
        Ok(fixed + table.unwrap_or(0))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // CPython 3.11 makes the `__dict__` of a new object at once, and may collect then: before PyO3 has filled it.
        if self.entry.is_none() {
            return Ok(());
        }
        visit.call(&self.function)?;
        self.state.visit(visit, |state, visit| {
            for entry in state.entries.iter().flat_map(Cache::iter) {
                visit.call(&entry.key)?;
                visit.call(&entry.value)?;
            }
            for owner in state.owners.by_instance.values() {
                visit.call(&owner.reference)?;
            }
            for (reference, _) in state.classes.values() {
                visit.call(reference)?;
            }
            for reference in state.warned.values().chain(state.receivers.values()) {
                visit.call(reference)?;
            }
            visit.call(&state.reaper)
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        let old = self.state.with(py, |state| {
            let fresh = State {
                entries: Some(Cache::new(self.maxsize, false)),
                ..State::default()
            };
            std::mem::replace(state, fresh)
        });
        drop(old);
    }
}

/// A method of an instance, or of a class, whose results are remembered.
#[pyclass(frozen, weakref, module = "leaksafe._core", name = "_LruMethod")]
#[repr(C)]
pub struct LruMethod {
    entry: vectorcall::Entry,
    function: Py<PyAny>,
    instance: Py<PyAny>,
}

impl BoundFunction for LruMethod {
    fn parts(&self) -> (&Py<PyAny>, &Py<PyAny>) {
        (&self.function, &self.instance)
    }
}

impl LruMethod {
    fn forward<'py>(
        &self,
        name: &str,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = args.py();
        let all = std::iter::once(self.instance.bind(py).clone()).chain(args.iter());
        let all = PyTuple::new(py, all.collect::<Vec<_>>())?;
        self.function.bind(py).getattr(name)?.call(all, kwargs)
    }
}

#[pymethods]
impl LruMethod {
    #[new]
    #[pyo3(signature = (function, instance, /))]
    fn new(function: &Bound<'_, LruFunction>, instance: Py<PyAny>) -> Self {
        Self {
            entry: vectorcall::call_bound::<Self>,
            function: function.clone().into_any().unbind(),
            instance,
        }
    }

    /// For `method.__call__` as an attribute: calls go through the vectorcall of the class.
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.call(args, kwargs)
    }

    /// As the function's: of all instances together.
    fn cache_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.function
            .bind(py)
            .call_method0(intern!(py, "cache_info"))
    }

    /// As the function's: of all instances together.
    fn cache_clear<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.function
            .bind(py)
            .call_method0(intern!(py, "cache_clear"))
    }

    /// Forgets the result of one call on this instance, and returns whether there was one.
    #[pyo3(signature = (*args, **kwargs))]
    fn cache_discard<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.forward("cache_discard", args, kwargs)
    }

    /// Returns whether the result of one call on this instance is remembered.
    #[pyo3(signature = (*args, **kwargs))]
    fn cache_contains<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.forward("cache_contains", args, kwargs)
    }

    #[getter(__self__)]
    fn instance(&self, py: Python<'_>) -> Py<PyAny> {
        self.instance.clone_ref(py)
    }

    #[getter(__func__)]
    fn function(&self, py: Python<'_>) -> Py<PyAny> {
        self.function.clone_ref(py)
    }

    #[getter(_doc)]
    fn doc<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.function.bind(py).getattr(intern!(py, "__doc__"))
    }

    #[getter(__signature__)]
    fn signature<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let method = py
            .import("types")?
            .call_method1("MethodType", (&self.function, &self.instance))?;
        py.import("inspect")?.call_method1("signature", (method,))
    }

    fn __getattr__<'py>(&self, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        // Of the special names, those that describe the function; what they do is asked of this object itself.
        const SPECIAL: [&str; 11] = [
            "__annotate__",
            "__annotations__",
            "__code__",
            "__defaults__",
            "__isabstractmethod__",
            "__kwdefaults__",
            "__module__",
            "__name__",
            "__qualname__",
            "__type_params__",
            "__wrapped__",
        ];
        let text = name.to_cow()?;
        if text.starts_with("__") && text.ends_with("__") && !SPECIAL.contains(&text.as_ref()) {
            return Err(PyAttributeError::new_err(format!(
                "a cached method has no attribute '{text}'"
            )));
        }
        self.function.bind(name.py()).getattr(name)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        let py = other.py();
        other.cast::<Self>().is_ok_and(|other| {
            let other = other.get();
            self.function.is(other.function.bind(py)) && self.instance.is(other.instance.bind(py))
        })
    }

    fn __hash__(&self) -> usize {
        (self.instance.as_ptr() as usize >> 4) ^ (self.function.as_ptr() as usize).rotate_left(7)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let name = self
            .function
            .bind(py)
            .getattr(intern!(py, "__qualname__"))?;
        let instance = self.instance.bind(py).repr()?;
        Ok(format!(
            "<bound method {name} of {}>",
            instance.to_string_lossy()
        ))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let getattr = py.import("builtins")?.getattr("getattr")?;
        let name = self.function.bind(py).getattr(intern!(py, "__name__"))?;
        (getattr, (&self.instance, name)).into_pyobject(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)?;
        visit.call(&self.instance)
    }
}

/// Makes both classes callable.
///
/// # Errors
/// When a sample of each can't be made.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    weak::set_reaper(py.get_type::<Reaper>().as_type_ptr());
    let function = py.get_type::<PyAny>().into_any();
    let sample = Bound::new(py, LruFunction::new(&function, Some(0), false, false)?)?;
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
