//! What is known of classes, none of which is held for that.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyType, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit};

use crate::interop::guard::Guarded;
use crate::interop::weak;

/// Classes that were made and dropped leave a few bytes each, until there are as many as this.
const MANY: usize = 256;

/// By a class's address: a weak reference to it, and what is known of it.
pub struct Classes<T>(Guarded<HashMap<usize, (Py<PyAny>, T)>>);

impl<T> Default for Classes<T> {
    fn default() -> Self {
        Self(Guarded::default())
    }
}

impl<T: Copy + Send> Classes<T> {
    pub fn get(&self, class: &Bound<'_, PyType>) -> Option<T> {
        let py = class.py();
        let (reference, known) = self.0.with(py, |classes| {
            let (reference, known) = classes.get(&(class.as_ptr() as usize))?;
            Some((reference.clone_ref(py), *known))
        })?;
        weak::refers_to(reference.bind(py), class).then_some(known)
    }

    /// Notes what is now known of a class, and returns what was before.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn insert(&self, class: &Bound<'_, PyType>, known: T) -> PyResult<Option<T>> {
        let py = class.py();
        let reference = PyWeakrefReference::new(class)?.into_any().unbind();
        let (old, many) = self.0.with(py, |classes| {
            let old = classes.insert(class.as_ptr() as usize, (reference, known));
            let many = (classes.len() > MANY).then(|| std::mem::take(classes));
            (old, many)
        });
        let old = old.filter(|(reference, _)| weak::refers_to(reference.bind(py), class));
        drop(many);
        Ok(old.map(|(_, known)| known))
    }

    /// The classes that are still there.
    pub fn living<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyAny>> {
        let references: Vec<_> = self.0.with(py, |classes| {
            let references = classes.values();
            references
                .map(|(reference, _)| reference.clone_ref(py))
                .collect()
        });
        let living = references.iter();
        living
            .filter_map(|reference| weak::upgrade(reference.bind(py)))
            .collect()
    }

    pub fn clear(&self, py: Python<'_>) {
        drop(self.0.with(py, std::mem::take));
    }

    /// Shows the references to the collector.
    ///
    /// # Errors
    /// What the visitor answers, to be handed on.
    pub fn visit(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.visit(visit, |classes, visit| {
            let mut references = classes.values();
            references.try_for_each(|(reference, _)| visit.call(reference))
        })
    }
}
