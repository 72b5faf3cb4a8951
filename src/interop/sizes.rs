//! What an object weighs by itself, as its `__sizeof__` tells.

use std::ffi::{c_int, c_long};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU8, Ordering};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyCode, PyFunction, PyInt, PyModule, PyString, PyTuple, PyType};

use super::referents::spread;

/// The integers that CPython has one object of each for.
const SMALL_INTS: RangeInclusive<c_long> = -5..=256;

/// The bytes of an object.
#[derive(Clone, Copy)]
pub struct Size {
    pub bytes: usize,
    /// What comes to that for each reference that the object holds.
    pub each_reference: usize,
}

/// The bytes of an instance of a class without what it has allocated.
///
/// # Errors
/// When the class has another `__basicsize__`, which it can't by itself.
pub fn basic(class: &Bound<'_, PyType>) -> PyResult<usize> {
    class
        .getattr(intern!(class.py(), "__basicsize__"))?
        .extract()
}

/// How the instances of a class are weighed.
#[derive(Clone, Copy)]
enum Measure {
    /// Not at all: they are the interpreter's, or the program's code.
    Nothing,
    /// All weigh the same.
    Fixed(usize),
    /// By a builtin type's method, and what CPython puts in front of each.
    Builtin(ffi::PyCFunction, usize),
    /// By `sys.getsizeof`, which may run Python code.
    Asked,
}

struct Known<'py> {
    measure: Measure,
    each_reference: usize,
    /// Owned, so that no other class comes to have its address.
    class: Bound<'py, PyType>,
}

/// Weighs objects, and remembers how for each class.
pub struct Scales<'py> {
    classes: HashTable<Known<'py>>,
    getsizeof: Bound<'py, PyAny>,
    /// Whether a `__sizeof__` that may be Python code counts.
    asks: bool,
}

impl<'py> Scales<'py> {
    /// # Errors
    /// When there is no module `sys` any more.
    pub fn new(py: Python<'py>) -> PyResult<Self> {
        let sys = py.import(intern!(py, "sys"))?;
        Ok(Self {
            classes: HashTable::new(),
            getsizeof: sys.getattr(intern!(py, "getsizeof"))?,
            asks: true,
        })
    }

    /// Those that take `object.__sizeof__` for one that is written in Python.
    ///
    /// # Errors
    /// When there is no module `sys` any more.
    pub fn without_python_code(py: Python<'py>) -> PyResult<Self> {
        Ok(Self {
            asks: false,
            ..Self::new(py)?
        })
    }

    /// Weighs an object by itself; `None` for what doesn't count, nor what it refers to.
    ///
    /// # Errors
    /// What the object's `__sizeof__` raises.
    pub fn weigh(&mut self, object: &Bound<'py, PyAny>) -> PyResult<Option<Size>> {
        if is_shared(object) {
            return Ok(None);
        }
        let kind = object.get_type_ptr();
        let found = self.classes.entry(
            spread(kind as usize),
            |known| known.class.as_type_ptr() == kind,
            |known| spread(known.class.as_type_ptr() as usize),
        );
        let known = match found {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place
                .insert(Known::of(object, &self.getsizeof, self.asks)?)
                .into_mut(),
        };
        let bytes = match known.measure {
            Measure::Nothing => return Ok(None),
            Measure::Fixed(bytes) => bytes,
            Measure::Builtin(method, before) => before + own_size(object, method)?,
            Measure::Asked => self.getsizeof.call1((object,))?.extract()?,
        };
        Ok(Some(Size {
            bytes,
            each_reference: known.each_reference,
        }))
    }
}

impl<'py> Known<'py> {
    fn of(object: &Bound<'py, PyAny>, getsizeof: &Bound<'py, PyAny>, asks: bool) -> PyResult<Self> {
        let class = object.get_type();
        let measure = if is_left_out(&class)? {
            Measure::Nothing
        } else {
            measure(object, &class, getsizeof, asks)?
        };
        Ok(Self {
            measure,
            each_reference: match measure {
                Measure::Asked => 0,
                _ => bytes_each_reference(&class),
            },
            class,
        })
    }
}

/// Whether the instances of a class are the interpreter's, or the program's code.
fn is_left_out(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let py = class.py();
    // SAFETY: these types are static and live as long as the interpreter; the class is live.
    let one_of_these = unsafe {
        [
            ffi::Py_TYPE(ffi::Py_None()),
            ffi::Py_TYPE(ffi::Py_NotImplemented()),
            ffi::Py_TYPE(ffi::Py_Ellipsis()),
            &raw mut ffi::PyBool_Type,
            &raw mut ffi::PyMethodDescr_Type,
            &raw mut ffi::PyClassMethodDescr_Type,
            &raw mut ffi::PyWrapperDescr_Type,
        ]
        .contains(&class.as_type_ptr())
    };
    Ok(one_of_these
        || class.is(py.get_type::<PyFunction>())
        || class.is(py.get_type::<PyCode>())
        || class.is_subclass_of::<PyType>()?
        || class.is_subclass_of::<PyModule>()?)
}

/// Finds out how the instances of a class are weighed, `object` being one.
fn measure(
    object: &Bound<'_, PyAny>,
    class: &Bound<'_, PyType>,
    getsizeof: &Bound<'_, PyAny>,
    asks: bool,
) -> PyResult<Measure> {
    let py = object.py();
    // As `sys.getsizeof` does, without a `__getattribute__` of the class or its metaclass.
    let method = py.get_type::<PyType>().call_method1(
        intern!(py, "__getattribute__"),
        (class, intern!(py, "__sizeof__")),
    )?;
    let Some((function, of_object)) = builtin_method(&method) else {
        // SAFETY: the type is static, and the method live.
        let is_python =
            unsafe { ffi::Py_TYPE(method.as_ptr()) != &raw mut ffi::PyMethodDescr_Type };
        if is_python && !asks {
            // SAFETY: the class is live.
            let basic = unsafe { (*class.as_type_ptr()).tp_basicsize };
            return Ok(Measure::Fixed(usize::try_from(basic).unwrap_or_default()));
        }
        return Ok(Measure::Asked);
    };
    let whole: usize = getsizeof.call1((object,))?.extract()?;
    // SAFETY: the class is live.
    if of_object && unsafe { (*class.as_type_ptr()).tp_itemsize } == 0 {
        return Ok(Measure::Fixed(whole));
    }
    let before = whole.saturating_sub(own_size(object, function)?);
    Ok(Measure::Builtin(function, before))
}

/// The function of a method without arguments that a static type defines in C, and whether that type is `object`.
fn builtin_method(method: &Bound<'_, PyAny>) -> Option<(ffi::PyCFunction, bool)> {
    // SAFETY: the fields are read of an exact method descriptor, which has them filled; its type and definition are
    // static, and a function with this flag alone is a `PyCFunction`.
    unsafe {
        let descriptor = method.as_ptr();
        if ffi::Py_TYPE(descriptor) != &raw mut ffi::PyMethodDescr_Type {
            return None;
        }
        let descriptor = descriptor.cast::<ffi::PyMethodDescrObject>();
        let owner = (*descriptor).d_common.d_type;
        let definition = (*descriptor).d_method;
        if ffi::PyType_HasFeature(owner, ffi::Py_TPFLAGS_HEAPTYPE) != 0
            || (*definition).ml_flags != ffi::METH_NOARGS
        {
            return None;
        }
        Some((
            (*definition).ml_meth.PyCFunction,
            owner == &raw mut ffi::PyBaseObject_Type,
        ))
    }
}

/// What `__sizeof__` answers.
fn own_size(object: &Bound<'_, PyAny>, method: ffi::PyCFunction) -> PyResult<usize> {
    // SAFETY: `method` is a method of the object's class or a base of it, which takes no arguments, and gives a new
    // reference or null with an error set.
    let answer = unsafe {
        Bound::from_owned_ptr_or_err(object.py(), method(object.as_ptr(), std::ptr::null_mut()))
    };
    answer?.extract()
}

/// Until 3.12, the attributes of an instance that has no `__dict__` yet lie in a block that nobody tells of: a pointer
/// each, and about one for the head.
fn bytes_each_reference(class: &Bound<'_, PyType>) -> usize {
    // SAFETY: the class is live.
    let managed =
        unsafe { ffi::PyType_HasFeature(class.as_type_ptr(), ffi::Py_TPFLAGS_MANAGED_DICT) != 0 };
    if cfg!(not(Py_3_13)) && managed {
        size_of::<usize>()
    } else {
        0
    }
}

/// Whether an object is one that the whole program shares: a small or empty one of a builtin type, an interned string, a
/// builtin function that is bound to nothing.
fn is_shared(object: &Bound<'_, PyAny>) -> bool {
    if object.is_exact_instance_of::<PyString>() {
        is_interned(object)
    } else if object.is_exact_instance_of::<PyInt>() {
        is_small(object)
    } else if object.is_exact_instance_of::<PyTuple>() {
        // SAFETY: it is a tuple.
        unsafe { ffi::PyTuple_GET_SIZE(object.as_ptr()) == 0 }
    } else if object.is_exact_instance_of::<PyCFunction>() {
        // SAFETY: it is a builtin function, whose `self` is live or null.
        unsafe {
            let bound_to = ffi::PyCFunction_GetSelf(object.as_ptr());
            bound_to.is_null() || ffi::PyModule_Check(bound_to) != 0
        }
    } else {
        false
    }
}

/// Whether a `str` is interned: one that code names or contains, most often.
fn is_interned(string: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a `str` begins with these fields. The bits asked for are in the first byte of the state, in which nothing
    // else is written once a string is there, and without the GIL that byte is written atomically.
    let state = unsafe {
        let state = &raw mut (*string.as_ptr().cast::<ffi::PyASCIIObject>()).state;
        AtomicU8::from_ptr(state.cast()).load(Ordering::Relaxed)
    };
    let interned = if cfg!(all(target_endian = "big", not(Py_GIL_DISABLED))) {
        state >> 6
    } else {
        state & 3
    };
    interned != 0
}

fn is_small(int: &Bound<'_, PyAny>) -> bool {
    let mut overflow: c_int = 0;
    // SAFETY: it is an `int`, of which this reads the value.
    let value = unsafe { ffi::PyLong_AsLongAndOverflow(int.as_ptr(), &raw mut overflow) };
    overflow == 0 && SMALL_INTS.contains(&value)
}
