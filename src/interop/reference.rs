//! The weak references that weak containers are made of.
//!
//! Each is a plain `weakref.ref` of its own with the container's reaper as its callback: CPython shares a reference only
//! where there is no callback. A callback is given nothing but the reference; so that it finds the entry without a second
//! index, the reference keeps the entry's place in its `hash` field, where `hash(ref)` would keep the referent's hash.
//! (Who takes such a reference out of `weakref.getweakrefs` and hashes it, gets that number. The references that the
//! containers' own methods give are others.)

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicIsize, AtomicPtr, Ordering};

use pyo3::PyClass;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::PyString;

use crate::core::Slot;

/// A weak reference that is an entry's.
pub struct Reference(Py<PyAny>);

impl Reference {
    /// A reference to `referent` that calls `reaper` when that dies.
    ///
    /// # Errors
    /// `TypeError` where the referent's class allows no weak references; `MemoryError`.
    pub fn new(referent: &Bound<'_, PyAny>, reaper: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = referent.py();
        // SAFETY: both are live objects and the thread is attached; the answer is a new reference or null with an error
        // set.
        let reference = unsafe {
            let reference = ffi::PyWeakref_NewRef(referent.as_ptr(), reaper.as_ptr());
            Bound::from_owned_ptr_or_err(py, reference)?
        };
        Ok(Self(reference.unbind()))
    }

    /// Notes the place of its entry.
    #[inline]
    pub fn set_place(&self, slot: Slot) {
        let place = isize::try_from(slot).unwrap_or(-1);
        // SAFETY: it is an exact `weakref.ref`, and live; the field is an integer of which any value is valid.
        unsafe { place_field(self.0.as_ptr()) }.store(place, Ordering::Relaxed);
    }

    /// The `weakref.ref` itself.
    #[inline]
    pub fn object(&self) -> &Py<PyAny> {
        &self.0
    }

    /// The `weakref.ref` itself.
    pub fn into_object(self) -> Py<PyAny> {
        self.0
    }

    /// The referent, unless it is dead. Runs no Python code; but the release of what it returns may.
    #[inline]
    pub fn upgrade<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        upgrade(self.0.bind(py))
    }
}

/// Where a reference keeps the place of its entry.
///
/// # Safety
/// `reference` is a live exact `weakref.ref`, and the result is not used when it no longer is.
#[inline]
unsafe fn place_field<'a>(reference: *mut ffi::PyObject) -> &'a AtomicIsize {
    // SAFETY: as the caller's. CPython writes the field only where it is -1, which is no place.
    unsafe { AtomicIsize::from_ptr(&raw mut (*reference.cast::<ffi::PyWeakReference>()).hash) }
}

/// The place that is noted in a reference. A wrong one, where another thread hashed the reference while it was made.
#[inline]
pub fn place_of(reference: &Bound<'_, PyAny>) -> Option<Slot> {
    // SAFETY: the object is live, and an exact `weakref.ref` by the check.
    let place = unsafe {
        if ffi::PyWeakref_CheckRefExact(reference.as_ptr()) == 0 {
            return None;
        }
        place_field(reference.as_ptr()).load(Ordering::Relaxed)
    };
    Slot::try_from(place).ok()
}

/// Whether a live object is what one of our references refers to.
#[inline]
pub fn refers_to(reference: &Py<PyAny>, object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a reference of ours is an exact `weakref.ref`, and live. Its pointer is compared and not followed: where it
    // is that of a live object, it is not one left from a dead object, since those are unset before their memory is
    // free.
    unsafe {
        let field = &raw mut (*reference.as_ptr().cast::<ffi::PyWeakReference>()).wr_object;
        AtomicPtr::from_ptr(field).load(Ordering::Relaxed) == object.as_ptr()
    }
}

/// The referent of one of our references, or of another `weakref.ref`, unless it is dead. Runs no Python code.
#[inline]
pub fn upgrade<'py>(reference: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let py = reference.py();
    #[cfg(not(Py_GIL_DISABLED))]
    // SAFETY: the reference is live and an exact `weakref.ref`; what it points to is an object or None. With the GIL,
    // nobody can free it meanwhile. An object whose count is zero waits to be freed, and is dead.
    unsafe {
        let referent = (*reference.as_ptr().cast::<ffi::PyWeakReference>()).wr_object;
        if referent == ffi::Py_None() || ffi::Py_REFCNT(referent) <= 0 {
            return None;
        }
        Some(Bound::from_borrowed_ptr(py, referent))
    }
    #[cfg(Py_GIL_DISABLED)]
    // SAFETY: the reference is live and a `weakref.ref`. The call takes the lock of the referent's references in the way
    // that doesn't detach the thread, and calls nothing under it.
    unsafe {
        let mut referent = null_mut();
        if ffi::PyWeakref_GetRef(reference.as_ptr(), &raw mut referent) != 1 {
            return None;
        }
        Some(Bound::from_owned_ptr(py, referent))
    }
}

/// As [`upgrade`], for what may be anything: `None` where it is no weak reference.
#[inline]
pub fn upgrade_any<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    // SAFETY: the object is live. A subclass of `weakref.ref` begins with the same fields.
    let is_reference = unsafe { ffi::PyWeakref_CheckRef(object.as_ptr()) != 0 };
    is_reference.then(|| upgrade(object)).flatten()
}

/// An attribute found as `object.__getattribute__` finds it, whatever the class has made of that; `None` where there is
/// none.
///
/// # Errors
/// What a descriptor raises, other than `AttributeError`.
#[inline]
pub fn generic_attribute<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    // SAFETY: both are live and the thread is attached; the answer is a new reference, or null with an error set.
    unsafe {
        let found = ffi::PyObject_GenericGetAttr(object.as_ptr(), name.as_ptr());
        if found.is_null() {
            if ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) == 0 {
                return Err(PyErr::fetch(object.py()));
            }
            ffi::PyErr_Clear();
            return Ok(None);
        }
        Ok(Some(Bound::from_owned_ptr(object.py(), found)))
    }
}

/// Sets an attribute, or deletes it, as `object.__setattr__` and `object.__delattr__` do, whatever the class has made of
/// those: a frozen dataclass too.
///
/// # Errors
/// `AttributeError` where there is no place for it, or nothing to delete.
pub fn set_generic_attribute(
    object: &Bound<'_, PyAny>,
    name: &Bound<'_, PyString>,
    value: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let value = value.map_or(null_mut(), Bound::as_ptr);
    // SAFETY: all are live and the thread is attached; null deletes.
    if unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value) } == 0 {
        Ok(())
    } else {
        Err(PyErr::fetch(object.py()))
    }
}

/// Whether the instances of an object's class can be weakly referenced.
pub fn is_referable(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is live, and so is its class.
    unsafe { (*ffi::Py_TYPE(object.as_ptr())).tp_weaklistoffset != 0 }
}

/// Calls `callback`, with an argument or without, and hands what it raises to `sys.unraisablehook`. May be used where
/// PyO3 takes the thread for detached.
pub fn tell(callback: &Bound<'_, PyAny>, argument: Option<&Bound<'_, PyAny>>) {
    // SAFETY: all are live and the thread is attached; the answer is a new reference or null with an error set.
    unsafe {
        let answer = match argument {
            Some(argument) => ffi::PyObject_CallOneArg(callback.as_ptr(), argument.as_ptr()),
            None => ffi::PyObject_CallNoArgs(callback.as_ptr()),
        };
        if answer.is_null() {
            ffi::PyErr_WriteUnraisable(callback.as_ptr());
        } else {
            ffi::Py_DECREF(answer);
        }
    }
}

/// A callback that takes out of its container what has died.
pub trait Reaping: PyClass<Frozen = True> + Sync {
    /// Takes out the entry of a reference, an exact `weakref.ref`. Drops no `Py`: PyO3 takes the thread for detached.
    fn reap(&self, reference: &Bound<'_, PyAny>);
}

/// The `vectorcallfunc` of a [`Reaping`] class.
///
/// # Safety
/// Called by CPython, with an instance of `T`.
pub unsafe extern "C" fn reap<T: Reaping>(
    callable: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as vectorcall has it, the thread is attached and the arguments are live until this returns; `callable` is
    // kept by the caller. That the argument is an exact `weakref.ref` is checked.
    unsafe {
        let py = Python::assume_attached();
        let one = ffi::PyVectorcall_NARGS(count) == 1 && names.is_null();
        if one && ffi::PyWeakref_CheckRefExact(*arguments) != 0 {
            let slf = Borrowed::from_ptr(py, callable);
            let reference = Borrowed::from_ptr(py, *arguments);
            let done = catch_unwind(AssertUnwindSafe(|| {
                slf.cast_unchecked::<T>().get().reap(&reference);
            }));
            if done.is_ok() {
                return ffi::Py_NewRef(ffi::Py_None());
            }
            PyRuntimeError::new_err("leaksafe: a defect of the library").restore(py);
        } else {
            ffi::PyErr_SetString(
                ffi::PyExc_TypeError,
                c"this is the callback of weak references, and takes one".as_ptr(),
            );
        }
        null_mut()
    }
}
