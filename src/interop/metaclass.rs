//! Classes whose calls are answered before CPython makes an instance.
//!
//! What `Class()` does is decided by the class of the class. Its `tp_call` serves whoever calls through that; calls by
//! vectorcall, nearly all of them, go to the `tp_vectorcall` of the class itself, if its metaclass says by a flag that
//! there is one. The interpreter specialises past that slot where a call site is hot, but only for classes whose
//! metaclass is `type` itself, and so never for these.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::PyClass;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyDict, PySuper, PyTuple, PyType};

use super::build;
use super::class::{is_heap_type, namespace};
use super::vectorcall::raise;

/// What answers for a class, in whose dictionary it stands.
pub trait Answering: PyClass<Frozen = True> + Sync {
    /// The answer to a call without arguments, if no Python code has to run to find it. Drops no `Py`.
    fn at_once(&self, py: Python<'_>) -> Option<Py<PyAny>>;

    /// The answer to any call.
    ///
    /// # Errors
    /// Whatever the making of an instance raises.
    fn answer<'py>(
        class: &Bound<'py, PyType>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>>;
}

const MODULE: &str = "leaksafe._core";
const NAME: &str = "_SingletonType";

/// What answers for a class itself, not for its bases.
///
/// # Errors
/// None but those of an interpreter that is broken.
#[inline]
pub fn find<'py, T: Answering>(class: &Bound<'py, PyType>) -> PyResult<Option<Bound<'py, T>>> {
    let found = namespace(class)?.get_item(intern!(class.py(), "__singleton__"))?;
    Ok(found.and_then(|found| found.cast_into_exact().ok()))
}

/// Puts in what is to answer for a class, unless another thread was faster, and gives what now does.
///
/// # Errors
/// `MemoryError`.
pub fn put<'py, T: Answering>(
    class: &Bound<'py, PyType>,
    answering: &Bound<'py, T>,
) -> PyResult<Bound<'py, T>> {
    let name = intern!(class.py(), "__singleton__");
    let there = namespace(class)?.call_method1("setdefault", (name, answering))?;
    let entry = vectorcall::<T> as *mut ();
    // SAFETY: the class is live and a heap type, and the slot a word that each thread that comes here writes the same to.
    // Nobody has looked the name up in the class, but what the interpreter remembers of it is thrown away all the same.
    unsafe {
        let slot = &raw mut (*class.as_type_ptr()).tp_vectorcall;
        AtomicPtr::from_ptr(slot.cast::<*mut ()>()).store(entry, Ordering::Release);
        ffi::PyType_Modified(class.as_type_ptr());
    }
    Ok(there.cast_into_exact()?)
}

/// Makes an instance as the class would by itself; `metaclass` is the one that [`derive`] gave.
///
/// # Errors
/// What that raises.
pub fn construct<'py>(
    metaclass: &Bound<'py, PyType>,
    class: &Bound<'py, PyType>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    PySuper::new(metaclass, class)?
        .getattr(intern!(class.py(), "__call__"))?
        .call(args, kwargs)
}

fn is_ours(class: &Bound<'_, PyType>) -> PyResult<bool> {
    Ok(class.name()? == NAME && class.module()? == MODULE)
}

/// The metaclass whose classes ask a `T`, derived from another: there is one of them for each, found among its
/// subclasses, so that two such classes have a common subclass.
///
/// # Errors
/// What making a class raises.
pub fn derive<'py, T: Answering>(metaclass: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyType>> {
    let py = metaclass.py();
    for class in metaclass.mro() {
        if let Ok(class) = class.cast_into::<PyType>()
            && is_ours(&class)?
        {
            return Ok(class);
        }
    }
    let subclasses = py
        .get_type::<PyType>()
        .call_method1("__subclasses__", (metaclass,))?;
    for subclass in subclasses.try_iter()? {
        let subclass = subclass?.cast_into::<PyType>()?;
        if is_ours(&subclass)? {
            return Ok(subclass);
        }
    }
    let mut slots = [
        ffi::PyType_Slot {
            slot: ffi::Py_tp_call,
            pfunc: call::<T> as *mut _,
        },
        ffi::PyType_Slot {
            slot: 0,
            pfunc: std::ptr::null_mut(),
        },
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"leaksafe._core._SingletonType".as_ptr(),
        basicsize: 0,
        itemsize: 0,
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the flags of a spec are 32 bits"
        )]
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE) as _,
        slots: slots.as_mut_ptr(),
    };
    let bases = build::tuple(py, [metaclass])?;
    // SAFETY: the description is complete and outlives the call, which copies it; the class inherits size, layout and
    // collection from its base. Nobody has seen it when the flag is set; it inherits the offset of the slot, which `type`
    // has.
    unsafe {
        let class = ffi::PyType_FromSpecWithBases(&raw mut spec, bases.as_ptr());
        let class = Bound::from_owned_ptr_or_err(py, class)?.cast_into::<PyType>()?;
        let flags = &raw mut (*class.as_type_ptr()).tp_flags;
        #[cfg(not(Py_GIL_DISABLED))]
        {
            *flags |= ffi::Py_TPFLAGS_HAVE_VECTORCALL;
        }
        #[cfg(Py_GIL_DISABLED)]
        (*flags).fetch_or(ffi::Py_TPFLAGS_HAVE_VECTORCALL, Ordering::Relaxed);
        ffi::PyType_Modified(class.as_type_ptr());
        Ok(class)
    }
}

/// Gives a class, which is a heap type, a metaclass that [`derive`] made from its own. Python refuses
/// `cls.__class__ = metaclass` where the old one is `type`, so it is done as Python does it elsewhere.
pub fn adopt(class: &Bound<'_, PyType>, metaclass: &Bound<'_, PyType>) {
    let old = class.get_type();
    if old.is(metaclass) {
        return;
    }
    // SAFETY: the new metaclass is a subclass of the old one that adds no field and no `__slots__`, so that the class has
    // the layout that it describes. A heap type is owned by its instances: the new one is taken, the old one let go of.
    // What the interpreter remembers of the class is thrown away.
    unsafe {
        let object = class.as_ptr();
        let kind = &raw mut (*object).ob_type;
        AtomicPtr::from_ptr(kind).store(
            metaclass.clone().into_ptr().cast::<ffi::PyTypeObject>(),
            Ordering::Release,
        );
        if is_heap_type(&old) {
            ffi::Py_DECREF(old.as_ptr());
        }
        ffi::PyType_Modified(class.as_type_ptr());
    }
}

/// The answer to any call, from a slot.
///
/// # Safety
/// Called with the thread attached.
unsafe fn answer<'py, T: Answering>(
    py: Python<'py>,
    class: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> *mut ffi::PyObject {
    let answer = catch_unwind(AssertUnwindSafe(|| {
        Python::attach(|_| T::answer(class.cast::<PyType>()?, args, kwargs))
    }));
    match answer {
        Ok(Ok(instance)) => instance.into_ptr(),
        Ok(Err(error)) => raise(py, Ok(error)),
        Err(panic) => raise(py, Err(panic)),
    }
}

/// The `tp_call` of a derived metaclass.
///
/// # Safety
/// Called by CPython, with a class of that metaclass, a tuple, and a dictionary or null.
unsafe extern "C" fn call<T: Answering>(
    class: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the thread is attached, and the caller keeps all three.
    unsafe {
        let py = Python::assume_attached();
        let class = Bound::from_borrowed_ptr(py, class);
        let args = Bound::from_borrowed_ptr(py, args).cast_into_unchecked();
        let kwargs =
            Bound::from_borrowed_ptr_or_opt(py, kwargs).map(|kwargs| kwargs.cast_into_unchecked());
        answer::<T>(py, &class, &args, kwargs.as_ref())
    }
}

/// The `tp_vectorcall` of a class with a derived metaclass.
///
/// # Safety
/// Called by CPython, with that class.
unsafe extern "C" fn vectorcall<T: Answering>(
    class: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as vectorcall has it, the thread is attached, and the class and the arguments are kept by the caller; the
    // values of keywords stand after the positional ones.
    unsafe {
        let py = Python::assume_attached();
        let class = Borrowed::from_ptr(py, class);
        let class: &Bound<'_, PyAny> = &class;
        let positional = ffi::PyVectorcall_NARGS(count).unsigned_abs();
        if positional == 0 && names.is_null() {
            let found = catch_unwind(AssertUnwindSafe(|| {
                let answering = find::<T>(class.cast_unchecked()).ok()??;
                answering.get().at_once(py)
            }));
            // A panic is met again below, which makes it an exception.
            if let Ok(Some(instance)) = found {
                return instance.into_ptr();
            }
        }
        let read = |index: usize| Bound::from_borrowed_ptr(py, *arguments.add(index));
        let packed = (|| {
            let args = build::tuple(py, (0..positional).map(read).collect::<Vec<_>>())?;
            let kwargs = build::dict(py)?;
            if let Some(names) = Bound::from_borrowed_ptr_or_opt(py, names) {
                for (index, name) in names.cast_into_unchecked::<PyTuple>().iter().enumerate() {
                    kwargs.set_item(name, read(positional + index))?;
                }
            }
            Ok((args, kwargs))
        })();
        match packed {
            Ok((args, kwargs)) => answer::<T>(py, class, &args, Some(&kwargs)),
            Err(error) => raise(py, Ok(error)),
        }
    }
}
