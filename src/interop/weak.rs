//! Weak references to instances, as they stand in the keys of cached methods.

use std::ptr::null_mut;
use std::sync::OnceLock;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

/// The class of the callbacks that mark a weak reference as ours, by its address.
static REAPER: OnceLock<usize> = OnceLock::new();

/// Says which class that is; a static type, or one that lives as long as the process.
pub fn set_reaper(class: *mut ffi::PyTypeObject) {
    let _ = REAPER.set(class as usize);
}

/// Whether an object is a weak reference that calls a reaper when its referent dies: one of ours.
#[inline]
pub fn is_ours(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is live and the thread attached; the fields are read of an exact `weakref.ref` only.
    unsafe {
        let reference = object.as_ptr();
        if ffi::Py_TYPE(reference) != &raw mut ffi::_PyWeakref_RefType {
            return false;
        }
        let callback = (*reference.cast::<ffi::PyWeakReference>()).wr_callback;
        !callback.is_null() && REAPER.get() == Some(&(ffi::Py_TYPE(callback) as usize))
    }
}

/// The referent of one of our weak references, null when it is dead; `None` for any other object. A pointer to compare
/// with, not to follow.
#[inline]
pub fn instance(object: &Bound<'_, PyAny>) -> Option<*mut ffi::PyObject> {
    // SAFETY: a weak reference of ours is one, and the field is a pointer, read whole.
    unsafe {
        if ffi::Py_TYPE(object.as_ptr()) != &raw mut ffi::_PyWeakref_RefType || !is_ours(object) {
            return None;
        }
        let reference = object.as_ptr().cast::<ffi::PyWeakReference>();
        let referent = std::ptr::read_volatile(&raw const (*reference).wr_object);
        Some(if referent == ffi::Py_None() {
            null_mut()
        } else {
            referent
        })
    }
}

/// A strong reference to the referent of one of our weak references, `None` when it is dead.
pub fn upgrade<'py>(reference: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    pyo3::types::PyWeakrefMethods::upgrade(reference.cast::<PyWeakrefReference>().ok()?)
}

/// Whether an object is a weak reference to another, which is alive.
pub fn refers_to(reference: &Bound<'_, PyAny>, object: &Bound<'_, PyAny>) -> bool {
    upgrade(reference).is_some_and(|referent| referent.is(object))
}

/// The weak reference in a key that a [`Call`](super::call::Call) made: the first of them, where the instance is
/// an argument several times.
pub fn in_key<'a, 'py>(key: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyAny>> {
    if let Ok(tuple) = key.cast_exact::<pyo3::types::PyTuple>() {
        return tuple.as_slice().iter().find(|item| is_ours(item));
    }
    is_ours(key).then_some(key)
}

/// A weak reference to an instance that calls `reaper` when that dies; `None` where its class allows none.
///
/// # Errors
/// `MemoryError`.
pub fn refer<'py>(
    instance: &Bound<'py, PyAny>,
    reaper: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = instance.py();
    match PyWeakrefReference::new_with(instance, reaper) {
        Ok(reference) => Ok(Some(reference.into_any())),
        Err(error) if error.is_instance_of::<PyTypeError>(py) => Ok(None),
        Err(error) => Err(error),
    }
}
