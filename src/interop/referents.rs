//! What objects refer to, as they tell the collector.

use std::ffi::{c_int, c_void};

use hashbrown::HashTable;
use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::PyDict;

/// Objects to be looked at, each once. It owns those that wait, so that Python code may run between two of them.
pub struct Worklist<'py> {
    py: Python<'py>,
    seen: HashTable<usize>,
    waiting: Vec<Bound<'py, PyAny>>,
    /// How often the last [`expand`](Self::expand) came upon an object.
    met: usize,
    /// Whether what is expanded shows each reference that it holds once, and nobody else shows it.
    exact: bool,
    /// Those whose referents only a stopped world shows.
    #[cfg(Py_GIL_DISABLED)]
    unexpanded: Vec<Bound<'py, PyAny>>,
}

/// Spreads an address, whose lowest bits are zero, over the table.
#[inline]
pub fn spread(address: usize) -> u64 {
    let product = (address as u64 >> 4).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    product ^ (product >> 32)
}

pub fn no_memory() -> PyErr {
    PyMemoryError::new_err("no memory to note which objects were seen")
}

impl<'py> Worklist<'py> {
    pub fn new(py: Python<'py>) -> Self {
        Self {
            py,
            seen: HashTable::new(),
            waiting: Vec::new(),
            met: 0,
            exact: false,
            #[cfg(Py_GIL_DISABLED)]
            unexpanded: Vec::new(),
        }
    }

    /// Notes an object as seen; whether that is new, or `None` for want of memory.
    fn note(&mut self, address: usize) -> Option<bool> {
        let hash = spread(address);
        if self.seen.find(hash, |&other| other == address).is_some() {
            return Some(false);
        }
        let rehash = |&other: &usize| spread(other);
        self.seen.try_reserve(1, rehash).ok()?;
        self.seen.insert_unique(hash, address, rehash);
        Some(true)
    }

    /// Whether the object can't be met again, and need not be noted: most of the objects of a document.
    #[inline]
    fn is_only_reference(&self, object: Borrowed<'_, 'py, PyAny>) -> bool {
        // SAFETY: the object is live. Where other threads change the count meanwhile, they change what is to be counted.
        self.exact && unsafe { ffi::Py_REFCNT(object.as_ptr()) == 1 }
    }

    /// Has an object wait unless it was seen before; `None` for want of memory.
    fn meet(&mut self, object: Borrowed<'_, 'py, PyAny>) -> Option<()> {
        self.met += 1;
        if self.is_only_reference(object) || self.note(object.as_ptr() as usize)? {
            self.waiting.try_reserve(1).ok()?;
            self.waiting.push(object.to_owned());
        }
        Some(())
    }

    /// Has an object wait unless it was seen before.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn add(&mut self, object: &Bound<'py, PyAny>) -> PyResult<()> {
        self.meet(object.as_borrowed()).ok_or_else(no_memory)
    }

    /// Takes an object for seen.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn leave_out(&mut self, object: &Bound<'py, PyAny>) -> PyResult<()> {
        self.note(object.as_ptr() as usize)
            .map(|_| ())
            .ok_or_else(no_memory)
    }

    /// The next object, the last that was met first.
    ///
    /// # Errors
    /// `MemoryError`.
    #[cfg_attr(
        not(Py_GIL_DISABLED),
        allow(clippy::unnecessary_wraps, reason = "as without the GIL")
    )]
    pub fn next(&mut self) -> PyResult<Option<Bound<'py, PyAny>>> {
        #[cfg(Py_GIL_DISABLED)]
        {
            const BATCH: usize = 1_000;
            while self.unexpanded.len() >= BATCH
                || (self.waiting.is_empty() && !self.unexpanded.is_empty())
            {
                self.expand_stopped()?;
            }
        }
        Ok(self.waiting.pop())
    }

    /// Has all wait that an object refers to, and tells how many references that were, as far as it is known yet.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn expand(&mut self, object: &Bound<'py, PyAny>) -> PyResult<usize> {
        self.met = 0;
        self.exact = false;
        // SAFETY: the object is live, and so is its type.
        let (kind, traverse) = unsafe {
            let kind = ffi::Py_TYPE(object.as_ptr());
            if ffi::PyType_HasFeature(kind, ffi::Py_TPFLAGS_HAVE_GC) == 0 {
                return Ok(0);
            }
            (kind, (*kind).tp_traverse)
        };
        if object.is_instance_of::<PyDict>() {
            self.expand_dict(object).ok_or_else(no_memory)?;
        }
        let Some(traverse) = traverse else {
            return Ok(self.met);
        };
        if kind == &raw mut ffi::PyTuple_Type
            || kind == &raw mut ffi::PyList_Type
            || kind == &raw mut ffi::PySet_Type
            || kind == &raw mut ffi::PyFrozenSet_Type
        {
            self.exact = true;
            with_critical_section(object, || self.traverse(object, traverse))?;
        } else if kind != &raw mut ffi::PyDict_Type {
            self.exact = false;
            self.traverse_unlocked(object, traverse)?;
        }
        Ok(self.met)
    }

    /// The keys and values of a dictionary; the collector is not shown keys of type `str`.
    fn expand_dict(&mut self, dictionary: &Bound<'py, PyAny>) -> Option<()> {
        with_critical_section(dictionary, || {
            let (mut at, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
            // SAFETY: it is a dictionary. Nobody changes it meanwhile: this thread has the GIL, or the dictionary's lock,
            // and runs no Python code here; so the borrowed objects are live until they are owned.
            unsafe {
                self.exact = has_own_values(dictionary.as_ptr());
                while ffi::PyDict_Next(
                    dictionary.as_ptr(),
                    &raw mut at,
                    &raw mut key,
                    &raw mut value,
                ) != 0
                {
                    self.meet(Borrowed::from_ptr(self.py, key))?;
                    self.meet(Borrowed::from_ptr(self.py, value))?;
                }
            }
            Some(())
        })
    }

    #[cfg(not(Py_GIL_DISABLED))]
    fn traverse_unlocked(
        &mut self,
        object: &Bound<'py, PyAny>,
        traverse: ffi::traverseproc,
    ) -> PyResult<()> {
        self.traverse(object, traverse)
    }

    /// Without the GIL, other threads may change an object that can't be locked: `gc.get_referents` stops them, which is
    /// better done for many objects at a time.
    #[cfg(Py_GIL_DISABLED)]
    #[allow(clippy::unnecessary_wraps, reason = "as with the GIL")]
    fn traverse_unlocked(
        &mut self,
        object: &Bound<'py, PyAny>,
        _traverse: ffi::traverseproc,
    ) -> PyResult<()> {
        self.unexpanded.push(object.clone());
        Ok(())
    }

    #[cfg(Py_GIL_DISABLED)]
    fn expand_stopped(&mut self) -> PyResult<()> {
        use pyo3::types::PyList;
        let batch = super::build::tuple(self.py, std::mem::take(&mut self.unexpanded))?;
        let referents = self
            .py
            .import(pyo3::intern!(self.py, "gc"))?
            .call_method1(pyo3::intern!(self.py, "get_referents"), batch)?;
        for referent in referents.cast::<PyList>()? {
            self.add(&referent)?;
        }
        Ok(())
    }

    fn traverse(
        &mut self,
        object: &Bound<'py, PyAny>,
        traverse: ffi::traverseproc,
    ) -> PyResult<()> {
        // SAFETY: the object is live, and `traverse` is its type's; nothing changes the object meanwhile: this thread has
        // the GIL, or the object's lock.
        let all = unsafe {
            visit(object.as_ptr(), traverse, |referent| {
                self.meet(Borrowed::from_ptr(self.py, referent)).is_some()
            })
        };
        if all { Ok(()) } else { Err(no_memory()) }
    }
}

/// Whether a dictionary is exactly that, and has its values to itself rather than to share with an instance.
///
/// # Safety
/// It is a dictionary, and live.
unsafe fn has_own_values(dictionary: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller's.
    unsafe {
        ffi::PyDict_CheckExact(dictionary) != 0
            && (*dictionary.cast::<ffi::PyDictObject>())
                .ma_values
                .is_null()
    }
}

/// Has `each` see the objects that one refers to, which are live for as long, until it answers no; whether it never did.
/// It must not run Python code. What has no reference is left out: up to 3.12, `_asyncio` shows its free list to the
/// collector, and an object of it that was owned and let go of would come into the list twice.
///
/// # Safety
/// The object is live, `traverse` is its type's, the thread is attached, and nothing changes the object meanwhile.
pub unsafe fn visit<F: FnMut(*mut ffi::PyObject) -> bool>(
    object: *mut ffi::PyObject,
    traverse: ffi::traverseproc,
    mut each: F,
) -> bool {
    unsafe extern "C" fn hand_on<F: FnMut(*mut ffi::PyObject) -> bool>(
        referent: *mut ffi::PyObject,
        each: *mut c_void,
    ) -> c_int {
        // SAFETY: `traverse` shows objects that are there.
        if unsafe { ffi::Py_REFCNT(referent) } == 0 {
            return 0;
        }
        // SAFETY: it is the closure that `traverse` was called with, which nothing else uses until that has returned.
        let each = unsafe { &mut *each.cast::<F>() };
        if each(referent) { 0 } else { -1 }
    }
    // SAFETY: the caller's; a `tp_traverse` runs no Python code.
    unsafe { traverse(object, hand_on::<F>, (&raw mut each).cast()) == 0 }
}
