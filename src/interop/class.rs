//! What classes and instances have, read without running code of theirs.

use std::ptr::null_mut;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

/// Whether a class is made by a program rather than built into the interpreter.
#[inline]
pub fn is_heap_type(class: &Bound<'_, PyType>) -> bool {
    // SAFETY: the class is live.
    unsafe { ffi::PyType_HasFeature(class.as_type_ptr(), ffi::Py_TPFLAGS_HEAPTYPE) != 0 }
}

/// Whether the instances of a class differ in size, as those of `int` and `tuple` do.
pub fn varies_in_size(class: &Bound<'_, PyType>) -> bool {
    // SAFETY: the class is live, and the field is set when it is made.
    unsafe { (*class.as_type_ptr()).tp_itemsize != 0 }
}

/// The attributes that a class itself has, read without its metaclass's `__getattribute__`. Not to be changed.
///
/// # Errors
/// None but those of an interpreter that is broken.
pub fn namespace<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyDict>> {
    // SAFETY: the class is live and ready. From 3.12 on, what is built in keeps its dictionary elsewhere, and the
    // function gives a new reference; before, the field is a borrowed one.
    let namespace = unsafe {
        #[cfg(Py_3_12)]
        {
            let namespace = ffi::PyType_GetDict(class.as_type_ptr());
            Bound::from_owned_ptr_or_err(class.py(), namespace)
        }
        #[cfg(not(Py_3_12))]
        {
            let namespace = (*class.as_type_ptr()).tp_dict;
            Bound::from_borrowed_ptr_or_err(class.py(), namespace)
        }
    };
    Ok(namespace?.cast_into()?)
}

/// The `__dict__` of an instance, read without its class's `__getattribute__`; `None` where there is none.
pub fn attributes<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    // SAFETY: the object is live and the thread attached; the result is a new reference, or null with an error set.
    let dictionary = unsafe {
        let dictionary = ffi::PyObject_GenericGetDict(object.as_ptr(), null_mut());
        Bound::from_owned_ptr_or_err(object.py(), dictionary)
    };
    dictionary.ok()?.cast_into().ok()
}

/// Whether an attribute of a class is a `staticmethod` or a `classmethod`, which don't pass the instance on.
pub fn passes_no_instance(attribute: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is live, and so is its class; the two types are static.
    unsafe {
        let class = ffi::Py_TYPE(attribute.as_ptr());
        ffi::PyType_IsSubtype(class, &raw mut ffi::PyStaticMethod_Type) != 0
            || ffi::PyType_IsSubtype(class, &raw mut ffi::PyClassMethod_Type) != 0
    }
}

/// Whether an attribute of a class is a `classmethod`.
pub fn passes_class(attribute: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is live, and so is its class; the type is static.
    unsafe {
        let class = ffi::Py_TYPE(attribute.as_ptr());
        ffi::PyType_IsSubtype(class, &raw mut ffi::PyClassMethod_Type) != 0
    }
}
