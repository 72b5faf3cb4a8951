//! The instances that the keys of a cache refer to weakly, and what takes their entries out when they die.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;
use pyo3::{PyTraverseError, PyVisit};

use super::LruFunction;
use crate::interop::release::release;
use crate::interop::weak;

/// An instance whose calls are remembered, known by the address that it has while it lives.
struct Owner {
    reference: Py<PyAny>,
    /// The entries that go with it: the addresses of their keys, and the hashes.
    keys: HashMap<usize, u64>,
}

/// The instances that the keys refer to weakly.
#[derive(Default)]
pub struct Owners {
    by_instance: HashMap<usize, Owner>,
    by_reference: HashMap<usize, usize>,
}

impl Owners {
    pub fn is_empty(&self) -> bool {
        self.by_instance.is_empty()
    }

    pub fn reference(&self, instance: &Bound<'_, PyAny>) -> Option<&Py<PyAny>> {
        self.by_instance
            .get(&(instance.as_ptr() as usize))
            .map(|owner| &owner.reference)
    }

    /// Notes an entry of an instance; the reference is dropped by the caller if there is one already.
    pub fn add(
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
    pub fn forget(&mut self, py: Python<'_>, key: &Py<PyAny>) -> Option<Py<PyAny>> {
        if self.is_empty() {
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

    /// Shows the references to the collector.
    ///
    /// # Errors
    /// What the visitor answers, to be handed on.
    pub fn visit(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let mut owners = self.by_instance.values();
        owners.try_for_each(|owner| visit.call(&owner.reference))
    }
}

/// The callback of the weak references in a cache's keys.
#[pyclass(frozen, module = "leaksafe._core", name = "_Reaper")]
pub struct Reaper {
    function: Py<PyWeakrefReference>,
}

impl Reaper {
    /// The one of a function.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn of<'py>(slf: &Bound<'py, LruFunction>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let known = slf.get().state.with(py, |state| {
            state.reaper.as_ref().map(|reaper| reaper.clone_ref(py))
        });
        if let Some(reaper) = known {
            return Ok(reaper.into_bound(py));
        }
        let function = PyWeakrefReference::new(slf)?.unbind();
        let reaper = Bound::new(py, Self { function })?.into_any();
        let old = slf
            .get()
            .state
            .with(py, |state| state.reaper.replace(reaper.clone().unbind()));
        drop(old);
        Ok(reaper)
    }
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
        release(gone);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)
    }
}
