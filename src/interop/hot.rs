//! `cache[key]`, `cache.get(key)` and `cache[key] = value` without PyO3's trampoline, where they need no Python code.
//!
//! The trampoline counts the attachment in thread-local storage and reads the arguments by their description, which
//! together cost half a hit. So a function written by hand stands in front of each of PyO3's: it serves the plain case
//! (a key of an exact builtin type, found by identity or by such a type's equality), and hands everything else on,
//! before anything has changed.
//!
//! Such a function drops no `Py`: PyO3 believes the thread detached and would only queue the decrement. What is to be
//! released here is released through `Bound`.

use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::OnceLock;

use pyo3::PyClass;
use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;

use super::equality;

type Subscript = ffi::binaryfunc;
type Assign = ffi::objobjargproc;
type Method = ffi::PyCFunctionFastWithKeywords;

/// PyO3's functions, to hand on to.
pub struct Originals {
    subscript: Subscript,
    assign: Assign,
    get: Method,
}

/// A mapping with plain hits.
pub trait Mapping: PyClass<Frozen = True> + Sync {
    /// The value of a key whose hash is known, counted and promoted, if finding it needs no Python code; else `None`,
    /// and nothing has happened.
    fn plain_hit(&self, key: &Bound<'_, PyAny>, hash: u64) -> Option<Py<PyAny>>;

    /// Stores a value, if that needs no Python code and there is nobody to tell; else `None`, and nothing has happened.
    /// Returns what it took out, to be released with the lock free: an evicted pair, or an old value and the
    /// new key.
    fn plain_set<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        hash: u64,
        value: &Bound<'py, PyAny>,
    ) -> Option<[Bound<'py, PyAny>; 2]>;

    /// Where PyO3's functions for this class are kept.
    fn originals() -> &'static OnceLock<Originals>;
}

/// Answers a plain hit with a new reference, or null.
///
/// # Safety
/// `slf` is an instance of `T`, `key` is live, and the thread is attached.
#[inline]
unsafe fn hit<T: Mapping>(slf: *mut ffi::PyObject, key: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as the caller's. Neither `Borrowed` owns a reference, and `plain_hit` drops none.
    let found = catch_unwind(AssertUnwindSafe(|| unsafe {
        let py = Python::assume_attached();
        std::hint::assert_unchecked(!slf.is_null() && !key.is_null());
        let key = Borrowed::from_ptr(py, key);
        let hash = equality::plain_hash(&key)?;
        let slf = Borrowed::from_ptr(py, slf);
        slf.cast_unchecked::<T>().get().plain_hit(&key, hash)
    }));
    // A panic is met again by PyO3's function, which makes it an exception.
    found.ok().flatten().map_or(null_mut(), Py::into_ptr)
}

unsafe extern "C" fn assign<T: Mapping>(
    slf: *mut ffi::PyObject,
    key: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: CPython calls this slot with an instance, a live key, a live value or null, and attached; the original
    // is PyO3's function for the same slot. Dropping a `Bound` may run a destructor, as at the end of any slot.
    unsafe {
        if !value.is_null() {
            let stored = catch_unwind(AssertUnwindSafe(|| {
                let py = Python::assume_attached();
                std::hint::assert_unchecked(!slf.is_null() && !key.is_null());
                let key = Borrowed::from_ptr(py, key);
                let hash = equality::plain_hash(&key)?;
                let value = Borrowed::from_ptr(py, value);
                let slf = Borrowed::from_ptr(py, slf);
                slf.cast_unchecked::<T>()
                    .get()
                    .plain_set(&key, hash, &value)
            }));
            if let Ok(Some(removed)) = stored {
                drop(removed);
                return 0;
            }
        }
        match T::originals().get() {
            Some(originals) => (originals.assign)(slf, key, value),
            None => -1,
        }
    }
}

unsafe extern "C" fn subscript<T: Mapping>(
    slf: *mut ffi::PyObject,
    key: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls this slot with an instance, a live key, and attached; the original is PyO3's function for
    // the same slot.
    unsafe {
        let found = hit::<T>(slf, key);
        if !found.is_null() {
            return found;
        }
        match T::originals().get() {
            Some(originals) => (originals.subscript)(slf, key),
            None => null_mut(),
        }
    }
}

unsafe extern "C" fn get<T: Mapping>(
    slf: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython's method descriptor calls this with an instance and `count` live arguments, attached; the
    // original is PyO3's function of the same descriptor.
    unsafe {
        if (count == 1 || count == 2) && names.is_null() {
            let found = hit::<T>(slf, *arguments);
            if !found.is_null() {
                return found;
            }
        }
        match T::originals().get() {
            Some(originals) => (originals.get)(slf, arguments, count, names),
            None => null_mut(),
        }
    }
}

/// Puts the functions of this module in front of PyO3's. Once, when the module is made and before the class can have
/// subclasses.
///
/// # Errors
/// `SystemError` if the class isn't as PyO3 builds it.
pub fn install<T: Mapping>(py: Python<'_>) -> PyResult<()> {
    if T::originals().get().is_some() {
        return Ok(());
    }
    let class = py.get_type::<T>();
    let method = class.getattr("get")?;
    let unexpected = || PySystemError::new_err("leaksafe: the class is not as PyO3 builds it");
    // SAFETY: the types of both descriptors are checked before their fields are used. The slot, and the wrapper that
    // subclasses inherit it from, are given a function of the same type; so is the method, in a copy of its
    // definition that lives as long as the process. Nothing can call them meanwhile: the class isn't published yet.
    unsafe {
        let type_object = class.as_type_ptr();
        let mapping = (*type_object).tp_as_mapping;
        if mapping.is_null() || ffi::Py_TYPE(method.as_ptr()) != &raw mut ffi::PyMethodDescr_Type {
            return Err(unexpected());
        }
        let method = method.as_ptr().cast::<ffi::PyMethodDescrObject>();
        let definition = (*method).d_method;
        let (Some(original_subscript), Some(original_assign), true) = (
            (*mapping).mp_subscript,
            (*mapping).mp_ass_subscript,
            (*definition).ml_flags == ffi::METH_FASTCALL | ffi::METH_KEYWORDS
                && CStr::from_ptr((*definition).ml_name) == c"get",
        ) else {
            return Err(unexpected());
        };
        let originals = Originals {
            subscript: original_subscript,
            assign: original_assign,
            get: (*definition).ml_meth.PyCFunctionFastWithKeywords,
        };
        if T::originals().set(originals).is_err() {
            return Ok(());
        }
        (*mapping).mp_subscript = Some(subscript::<T>);
        (*mapping).mp_ass_subscript = Some(assign::<T>);
        for name in ["__getitem__", "__setitem__", "__delitem__"] {
            let wrapper = class.getattr(name)?;
            if ffi::Py_TYPE(wrapper.as_ptr()) != &raw mut ffi::PyWrapperDescr_Type {
                return Err(unexpected());
            }
            (*wrapper.as_ptr().cast::<ffi::PyWrapperDescrObject>()).d_wrapped =
                if name == "__getitem__" {
                    subscript::<T> as *mut c_void
                } else {
                    assign::<T> as *mut c_void
                };
        }
        (*method).d_method = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: (*definition).ml_name,
            ml_meth: ffi::PyMethodDefPointer {
                PyCFunctionFastWithKeywords: get::<T>,
            },
            ml_flags: (*definition).ml_flags,
            ml_doc: (*definition).ml_doc,
        }));
        ffi::PyType_Modified(type_object);
    }
    Ok(())
}
