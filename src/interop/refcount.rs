//! Reference counts that threads don't share.

use pyo3::ffi;
use pyo3::prelude::*;

/// Lets the interpreter leave references on its stacks uncounted, as it does for functions and classes of its own: so
/// that threads that call one object don't all write to its count. What is dropped afterwards goes at a collection, not
/// at once. Does nothing where there is a GIL, and for objects that another thread may have already.
pub fn defer(object: &Bound<'_, PyAny>) {
    #[cfg(all(Py_GIL_DISABLED, Py_3_14))]
    {
        unsafe extern "C" {
            fn PyUnstable_Object_EnableDeferredRefcount(
                object: *mut ffi::PyObject,
            ) -> std::ffi::c_int;
        }
        // SAFETY: the object is live and the thread attached; CPython checks the rest (it must be tracked by the
        // collector, and be this thread's own) and answers 0 where it can't be.
        unsafe {
            PyUnstable_Object_EnableDeferredRefcount(object.as_ptr());
        }
    }
    #[cfg(not(all(Py_GIL_DISABLED, Py_3_14)))]
    let _ = object;
}

/// The references to an object, as far as its own count has them: without the GIL, those of frames, and those of threads
/// to a class, may be left out.
pub fn of(object: &Bound<'_, PyAny>) -> isize {
    /// CPython marks a deferred count by adding this, `_Py_REF_DEFERRED`.
    const DEFERRED: isize = isize::MAX / 8;
    // SAFETY: the object is live.
    let count = unsafe { ffi::Py_REFCNT(object.as_ptr()) };
    if cfg!(Py_GIL_DISABLED) && count > DEFERRED / 2 {
        count - DEFERRED
    } else {
        count
    }
}
