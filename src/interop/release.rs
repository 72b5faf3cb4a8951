//! Letting go of many objects without using the stack for each level of nesting.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::OnceLock;

use pyo3::PyClass;
use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;

/// A structure inside a structure inside a structure is released by recursion down to this level; what is deeper
/// waits in a list. CPython's containers do the same (the "trashcan"), but offer it to C macros only.
const DEPTH: u32 = 30;

thread_local! {
    static LEVEL: Cell<u32> = const { Cell::new(0) };
    static WAITING: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Drops the contents of a structure that is going away. May run any Python code.
pub fn release<T: 'static>(contents: T) {
    let level = LEVEL.get();
    if level >= DEPTH {
        WAITING.with_borrow_mut(|waiting| waiting.push(Box::new(contents)));
        return;
    }
    LEVEL.set(level + 1);
    drop(contents);
    if level == 0 {
        while let Some(next) = WAITING.with_borrow_mut(Vec::pop) {
            // SAFETY: whoever lets go of Python objects is attached. PyO3 may not know of it here, and would only queue
            // what is dropped.
            unsafe { Python::attach_unchecked(|_| drop(next)) };
        }
    }
    LEVEL.set(level);
}

/// PyO3's own `tp_dealloc` of a class.
pub type Original = OnceLock<ffi::destructor>;

/// A class whose instances can hold one another, each the next.
pub trait Nesting: PyClass {
    /// Where that is kept for this class.
    fn original() -> &'static Original;
}

/// An object without references.
struct Dying {
    object: *mut ffi::PyObject,
    dealloc: ffi::destructor,
}

impl Drop for Dying {
    fn drop(&mut self) {
        // SAFETY: the object is untracked and waits for its `tp_dealloc`, which is called once, here, by the thread that
        // was to call it; that is attached for as long as it releases something.
        unsafe { (self.dealloc)(self.object) }
    }
}

/// The `tp_dealloc` of a [`Nesting`] class: PyO3's, within [`release`], so that all that an instance holds, its
/// `__dict__` included, is let go of on that level.
///
/// # Safety
/// Called by CPython, with an instance of `T`.
unsafe extern "C" fn dealloc<T: Nesting>(object: *mut ffi::PyObject) {
    // SAFETY: all classes of PyO3's take part in garbage collection; untracking twice is harmless.
    unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
    #[cfg(not(Py_3_13))]
    // SAFETY: it is an instance of `T`, which nobody else has.
    unsafe {
        if !is_filled::<T>(object) {
            let class = ffi::Py_TYPE(object);
            if let Some(free) = (*class).tp_free {
                free(object.cast());
            }
            ffi::Py_DECREF(class.cast());
            return;
        }
    }
    if let Some(&dealloc) = T::original().get() {
        release(Dying { object, dealloc });
    }
}

/// Whether an instance has its contents. Up to 3.12, one whose `__dict__` can't be allocated is deallocated before PyO3
/// has put them in: it is zero then, as it was allocated, which no `T` is, for each has a pointer that is never null.
///
/// # Safety
/// It is an instance of `T`.
#[cfg(not(Py_3_13))]
unsafe fn is_filled<T: Nesting>(object: *mut ffi::PyObject) -> bool {
    const { assert!(size_of::<T>() >= size_of::<usize>()) };
    // SAFETY: after the head, an instance has at least the size of its contents; all of it was set to zero at first.
    unsafe {
        let contents = object.add(1).cast::<usize>();
        (0..size_of::<T>() / size_of::<usize>()).any(|word| contents.add(word).read_volatile() != 0)
    }
}

/// Puts [`release`] in front of the `tp_dealloc` of a class. Once, when the module is made and before there are
/// instances or subclasses.
///
/// # Errors
/// `SystemError` if the class has no `tp_dealloc`.
pub fn install<T: Nesting>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<T>().as_type_ptr();
    // SAFETY: the class is a heap type of ours, which nobody else has seen yet.
    unsafe {
        let original = (*class)
            .tp_dealloc
            .ok_or_else(|| PySystemError::new_err("a class without tp_dealloc"))?;
        T::original().get_or_init(|| original);
        (*class).tp_dealloc = Some(dealloc::<T>);
    }
    Ok(())
}
