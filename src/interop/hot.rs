//! `cache[key]`, `cache.get(key)`, `cache[key] = value` and `registry.get_or_create(key, factory)` without PyO3's
//! trampoline, where they need no Python code.
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
/// A method's function, as PyO3 writes it.
pub type Method = ffi::PyCFunctionFastWithKeywords;

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

/// What has a method `get_or_create` with plain hits.
pub trait Creating: PyClass<Frozen = True> + Sync {
    /// As [`Mapping::plain_hit`].
    fn plain_hit(&self, key: &Bound<'_, PyAny>, hash: u64) -> Option<Py<PyAny>>;

    /// Where PyO3's function for this class is kept.
    fn original() -> &'static OnceLock<Method>;
}

/// Answers a plain hit with a new reference, or null.
///
/// # Safety
/// `slf` is an instance of `T`, `key` is live, and the thread is attached.
#[inline]
unsafe fn hit<T: PyClass<Frozen = True> + Sync>(
    slf: *mut ffi::PyObject,
    key: *mut ffi::PyObject,
    plain_hit: impl Fn(&T, &Bound<'_, PyAny>, u64) -> Option<Py<PyAny>>,
) -> *mut ffi::PyObject {
    // SAFETY: as the caller's. Neither `Borrowed` owns a reference, and `plain_hit` drops none.
    let found = catch_unwind(AssertUnwindSafe(|| unsafe {
        let py = Python::assume_attached();
        std::hint::assert_unchecked(!slf.is_null() && !key.is_null());
        let key = Borrowed::from_ptr(py, key);
        let hash = equality::plain_hash(&key)?;
        let slf = Borrowed::from_ptr(py, slf);
        plain_hit(slf.cast_unchecked::<T>().get(), &key, hash)
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
        let found = hit::<T>(slf, key, T::plain_hit);
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
            let found = hit::<T>(slf, *arguments, T::plain_hit);
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

unsafe extern "C" fn get_or_create<T: Creating>(
    slf: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as for `get`.
    unsafe {
        if count == 2 && names.is_null() {
            let found = hit::<T>(slf, *arguments, T::plain_hit);
            if !found.is_null() {
                return found;
            }
        }
        match T::original().get() {
            Some(original) => original(slf, arguments, count, names),
            None => null_mut(),
        }
    }
}

fn unexpected() -> PyErr {
    PySystemError::new_err("leaksafe: the class is not as PyO3 builds it")
}

/// The definition of a method of PyO3's, to be replaced by [`replace`].
fn definition(method: &Bound<'_, PyAny>, name: &CStr) -> PyResult<*mut ffi::PyMethodDef> {
    // SAFETY: the descriptor's type is checked before its fields are used; they live as long as the class.
    unsafe {
        if ffi::Py_TYPE(method.as_ptr()) != &raw mut ffi::PyMethodDescr_Type {
            return Err(unexpected());
        }
        let definition = (*method.as_ptr().cast::<ffi::PyMethodDescrObject>()).d_method;
        if (*definition).ml_flags != ffi::METH_FASTCALL | ffi::METH_KEYWORDS
            || CStr::from_ptr((*definition).ml_name) != name
        {
            return Err(unexpected());
        }
        Ok(definition)
    }
}

/// Gives a method another function, in a copy of its definition that lives as long as the process.
///
/// # Safety
/// `definition` is that of `method`, as [`definition`] found it; nobody can call the method meanwhile; and `function`
/// takes what the method's function takes.
unsafe fn replace(method: &Bound<'_, PyAny>, definition: *mut ffi::PyMethodDef, function: Method) {
    // SAFETY: as the caller's.
    unsafe {
        (*method.as_ptr().cast::<ffi::PyMethodDescrObject>()).d_method =
            Box::leak(Box::new(ffi::PyMethodDef {
                ml_meth: ffi::PyMethodDefPointer {
                    PyCFunctionFastWithKeywords: function,
                },
                ..*definition
            }));
    }
}

/// Puts a plain hit in front of a class's `get_or_create`. Once, when the module is made and before the class can have
/// subclasses.
///
/// # Errors
/// `SystemError` if the class isn't as PyO3 builds it.
pub fn install_creating<T: Creating>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<T>();
    let method = class.getattr("get_or_create")?;
    let definition = definition(&method, c"get_or_create")?;
    // SAFETY: the flags that were checked say which function it is. The class isn't published yet.
    unsafe {
        let original = (*definition).ml_meth.PyCFunctionFastWithKeywords;
        if T::original().set(original).is_ok() {
            replace(&method, definition, get_or_create::<T>);
            ffi::PyType_Modified(class.as_type_ptr());
        }
    }
    Ok(())
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
    let definition = definition(&method, c"get")?;
    // SAFETY: the types of the descriptors are checked before their fields are used. The slot, and the wrapper that
    // subclasses inherit it from, are given a function of the same type; so is the method. Nothing can call them
    // meanwhile: the class isn't published yet.
    unsafe {
        let type_object = class.as_type_ptr();
        let mapping = (*type_object).tp_as_mapping;
        if mapping.is_null() {
            return Err(unexpected());
        }
        let (Some(original_subscript), Some(original_assign)) =
            ((*mapping).mp_subscript, (*mapping).mp_ass_subscript)
        else {
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
        replace(&method, definition, get::<T>);
        ffi::PyType_Modified(type_object);
    }
    Ok(())
}
