//! What the collector is told.

use pyo3::ffi;
use pyo3::prelude::*;

/// Takes an object out of the collector's sight, because nothing that it holds can be part of a cycle.
pub fn untrack(object: &Bound<'_, PyAny>) {
    // SAFETY: the object is of a type with GC, and untracking one that isn't tracked does nothing.
    unsafe { ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) }
}

/// Puts it back. Does nothing for an object that is tracked.
pub fn track(object: &Bound<'_, PyAny>) {
    // SAFETY: the object is of a type with GC, whose fields are all valid, and is not tracked.
    unsafe {
        if ffi::PyObject_GC_IsTracked(object.as_ptr()) == 0 {
            ffi::PyObject_GC_Track(object.as_ptr().cast());
        }
    }
}
