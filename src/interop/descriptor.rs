//! Methods of a base class as a subclass's own.

use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Gives `class` a method descriptor of its own for a method that it inherits from a class of this extension.
///
/// The interpreter calls a method directly where the descriptor is of the instance's very class; inherited, it goes the
/// long way, which takes a third of a look-up's time.
///
/// # Errors
/// `AttributeError` where there is no such method; `SystemError` where it isn't one of an extension's.
pub fn adopt(class: &Bound<'_, PyType>, name: &str) -> PyResult<()> {
    let py = class.py();
    let method = class.getattr(name)?;
    // SAFETY: the descriptor's type is checked before its fields are used. Its definition is static, or lives as long as
    // the process, as PyO3's do, and its function takes instances of a base of `class`. The answer is a new reference, or
    // null with an error set.
    let own = unsafe {
        if ffi::Py_TYPE(method.as_ptr()) != &raw mut ffi::PyMethodDescr_Type {
            return Err(PySystemError::new_err(
                "leaksafe: the method is not an extension's",
            ));
        }
        let definition = (*method.as_ptr().cast::<ffi::PyMethodDescrObject>()).d_method;
        Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(class.as_type_ptr(), definition))?
    };
    class.setattr(name, own)
}
