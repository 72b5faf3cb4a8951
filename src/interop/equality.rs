//! Hashes, and the equality that can be told without running Python code.

use pyo3::ffi;
use pyo3::prelude::*;

/// What can be said of two objects whose hashes are equal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Same,
    Different,
    /// Python's `==` has to be asked, with no lock held.
    Unsure,
}

/// Tuples nested deeper than this are left to Python.
const DEPTH: u8 = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Str,
    Bytes,
    Float,
    Complex,
    None,
    Tuple,
    Other,
}

/// The hash of a key.
///
/// # Errors
/// What `__hash__` raises; `TypeError` for an unhashable key.
#[inline]
pub fn hash_of(key: &Bound<'_, PyAny>) -> PyResult<u64> {
    // SAFETY: `key` is a live object and the thread is attached.
    let hash = unsafe { ffi::PyObject_Hash(key.as_ptr()) };
    if hash == -1 {
        return Err(PyErr::fetch(key.py()));
    }
    #[allow(clippy::cast_sign_loss, reason = "the bits of a hash")]
    Ok(hash as u64)
}

/// Whether a class has inherited a slot from `object`.
#[inline]
fn has_slot_of_object(own: Option<ffi::hashfunc>, base: Option<ffi::hashfunc>) -> bool {
    own.map(|function| function as usize) == base.map(|function| function as usize)
}

/// The hash of a key of an exact builtin type other than a tuple, or of an object that has its hash by identity, which
/// runs no Python code; `None` for others.
#[inline]
pub fn plain_hash(key: &Bound<'_, PyAny>) -> Option<u64> {
    let object = key.as_ptr();
    // SAFETY: `key` is live and the thread is attached; a `str` begins with the fields of `PyASCIIObject`, and these
    // types' hash functions look at the value, or the address, alone and don't fail.
    let hash = unsafe {
        let kind = ffi::Py_TYPE(object);
        if kind == &raw mut ffi::PyUnicode_Type {
            // Cached in the string from the first time on. Without the GIL, the field is another thread's to write.
            #[cfg(not(Py_GIL_DISABLED))]
            {
                let hash = (*object.cast::<ffi::PyASCIIObject>()).hash;
                if hash != -1 {
                    #[allow(clippy::cast_sign_loss, reason = "the bits of a hash")]
                    return Some(hash as u64);
                }
            }
        } else if kind != &raw mut ffi::PyLong_Type
            && kind != &raw mut ffi::PyBytes_Type
            && kind != &raw mut ffi::PyFloat_Type
            && !has_slot_of_object((*kind).tp_hash, ffi::PyBaseObject_Type.tp_hash)
        {
            return None;
        }
        (*kind).tp_hash?(object)
    };
    #[allow(clippy::cast_sign_loss, reason = "the bits of a hash")]
    Some(hash as u64)
}

/// Python's `a is b or a == b`. Runs Python code.
///
/// # Errors
/// What `__eq__` or the truth of its answer raises.
pub fn equal(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: both are live objects, kept so by the references, and the thread is attached.
    match unsafe { ffi::PyObject_RichCompareBool(a.as_ptr(), b.as_ptr(), ffi::Py_EQ) } {
        -1 => Err(PyErr::fetch(a.py())),
        answer => Ok(answer != 0),
    }
}

/// Compares a stored key with the one that is asked for, without running Python code.
#[inline]
pub fn compare(stored: &Py<PyAny>, asked: &Bound<'_, PyAny>) -> Verdict {
    if stored.is(asked) {
        return Verdict::Same;
    }
    // SAFETY: both are live objects and the thread is attached.
    unsafe { compare_pointers(stored.as_ptr(), asked.as_ptr(), DEPTH) }
}

/// As [`compare`], for two borrowed objects.
#[inline]
pub fn compare_objects(stored: &Bound<'_, PyAny>, asked: &Bound<'_, PyAny>) -> Verdict {
    compare(stored.as_unbound(), asked)
}

/// Whether an object's class leaves equality as it is for any object: nothing equals it but itself, as far as it is
/// asked.
pub fn by_identity(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is live, and so is its type; the base type is static.
    unsafe {
        let own = (*ffi::Py_TYPE(object.as_ptr())).tp_richcompare;
        let base = ffi::PyBaseObject_Type.tp_richcompare;
        own.map(|function| function as usize) == base.map(|function| function as usize)
    }
}

/// Whether an object can't be part of a cycle: it has no part in garbage collection, or is a tuple of such.
#[inline]
pub fn is_atomic(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is live and the thread is attached.
    unsafe { is_atomic_pointer(object.as_ptr(), DEPTH) }
}

/// # Safety
/// `object` is live and the thread attached.
unsafe fn is_atomic_pointer(object: *mut ffi::PyObject, depth: u8) -> bool {
    // SAFETY: as the caller's; a tuple's items are live as long as it is.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        if ffi::PyType_HasFeature(kind, ffi::Py_TPFLAGS_HAVE_GC) == 0 {
            return true;
        }
        kind == &raw mut ffi::PyTuple_Type
            && depth > 0
            && (0..ffi::PyTuple_GET_SIZE(object))
                .all(|at| is_atomic_pointer(ffi::PyTuple_GET_ITEM(object, at), depth - 1))
    }
}

/// # Safety
/// `object` is live and the thread attached.
#[inline]
unsafe fn kind_of(object: *mut ffi::PyObject) -> Kind {
    // SAFETY: as the caller's; the type objects are static.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        if kind == &raw mut ffi::PyUnicode_Type {
            Kind::Str
        } else if kind == &raw mut ffi::PyLong_Type || kind == &raw mut ffi::PyBool_Type {
            Kind::Int
        } else if kind == &raw mut ffi::PyTuple_Type {
            Kind::Tuple
        } else if kind == &raw mut ffi::PyBytes_Type {
            Kind::Bytes
        } else if kind == &raw mut ffi::PyFloat_Type {
            Kind::Float
        } else if kind == &raw mut ffi::PyComplex_Type {
            Kind::Complex
        } else if object == ffi::Py_None() {
            Kind::None
        } else {
            Kind::Other
        }
    }
}

/// # Safety
/// Both are live and the thread is attached.
#[inline(never)]
unsafe fn compare_pointers(
    stored: *mut ffi::PyObject,
    asked: *mut ffi::PyObject,
    depth: u8,
) -> Verdict {
    if stored == asked {
        return Verdict::Same;
    }
    // SAFETY: as the caller's.
    unsafe {
        match (kind_of(stored), kind_of(asked)) {
            (Kind::Other, _) | (_, Kind::Other) => Verdict::Unsure,
            (Kind::Tuple, Kind::Tuple) => compare_tuples(stored, asked, depth),
            (one, other) if one == other => compare_atoms(stored, asked),
            // Python compares across the numeric types, and may allocate where they are large.
            (Kind::Int | Kind::Float | Kind::Complex, Kind::Int | Kind::Float | Kind::Complex) => {
                Verdict::Unsure
            }
            _ => Verdict::Different,
        }
    }
}

/// # Safety
/// Both are live, of one of the exact builtin types with a value of their own, and of the same one (`int` and `bool`
/// count as one).
#[inline]
unsafe fn compare_atoms(stored: *mut ffi::PyObject, asked: *mut ffi::PyObject) -> Verdict {
    // SAFETY: these types' comparisons look at the two values, run no other code and don't fail; the answer is a new
    // reference to True or False, whose release can't run anything.
    unsafe {
        let Some(richcompare) = (*ffi::Py_TYPE(stored)).tp_richcompare else {
            return Verdict::Different;
        };
        let answer = richcompare(stored, asked, ffi::Py_EQ);
        if answer.is_null() {
            ffi::PyErr_Clear();
            return Verdict::Unsure;
        }
        let same = answer == ffi::Py_True();
        ffi::Py_DECREF(answer);
        if same {
            Verdict::Same
        } else {
            Verdict::Different
        }
    }
}

/// # Safety
/// Both are live exact tuples and the thread is attached.
unsafe fn compare_tuples(
    stored: *mut ffi::PyObject,
    asked: *mut ffi::PyObject,
    depth: u8,
) -> Verdict {
    // SAFETY: a tuple's items are live as long as it is, and its size doesn't change.
    unsafe {
        let size = ffi::PyTuple_GET_SIZE(stored);
        if size != ffi::PyTuple_GET_SIZE(asked) {
            return Verdict::Different;
        }
        if depth == 0 {
            return Verdict::Unsure;
        }
        for at in 0..size {
            let verdict = compare_pointers(
                ffi::PyTuple_GET_ITEM(stored, at),
                ffi::PyTuple_GET_ITEM(asked, at),
                depth - 1,
            );
            if verdict != Verdict::Same {
                return verdict;
            }
        }
        Verdict::Same
    }
}
