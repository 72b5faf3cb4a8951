//! Classes whose instances are called by vectorcall, which PyO3 does not offer.
//!
//! These slots don't pass PyO3's trampoline. PyO3 takes the thread for detached in them, so a `Py` dropped there would
//! only be queued: what they release, they release as `Bound`, or after attaching in PyO3's sense. A panic is caught and
//! becomes an exception.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::PyClass;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;

use super::call::{Call, OwnedCall};
use super::flight::Flight;

/// What CPython calls; the first field of an instance.
pub type Entry = ffi::vectorcallfunc;

/// What was found for a call before its function runs.
pub enum Found {
    /// The answer.
    Hit(Py<PyAny>),
    /// The function is to be called, and its result kept under this hash.
    Miss(u64),
    /// The function is to be called, and its result not kept.
    Pass,
    /// Python code has to run to tell.
    Unsure(u64),
    /// As a miss, in a flight.
    Fly(Aboard),
}

/// A call that runs its function for a flight: one that it leads, or one that it can't wait for.
pub struct Aboard {
    pub hash: u64,
    pub flight: Arc<Flight>,
    pub leads: bool,
}

/// A function with remembered results.
pub trait Remembering: PyClass<Frozen = True> + Sync {
    /// Whether keys of different types are told apart.
    fn typed(&self) -> bool;

    /// What is called on a miss.
    fn function(&self) -> &Py<PyAny>;

    /// The result of a call whose hash is known, counted and promoted, if no Python code has to run to find it; else
    /// `None`, and nothing has happened. Drops no `Py`.
    fn plain_hit(&self, call: &Call<'_, '_>, hash: u64) -> Option<Py<PyAny>>;

    /// Whether a miss goes by [`take_off`](Self::take_off).
    fn flies(&self) -> bool;

    /// Answers a call in another way, where the function has one.
    ///
    /// # Errors
    /// What that raises.
    fn divert(slf: &Bound<'_, Self>, call: &Call<'_, '_>) -> Option<PyResult<Py<PyAny>>>;

    /// Whether a call surely has its arguments in the order in which all calls that mean the same have them.
    fn is_in_order(&self, call: &Call<'_, '_>) -> bool;

    /// The call with its arguments in the order in which all calls that mean the same have them, where they are in
    /// another. Drops no `Py`.
    fn arrange<'py>(&self, call: &Call<'_, 'py>) -> Option<OwnedCall<'py>>;

    /// The error of a call whose arguments have no hash, in other words.
    fn explain(slf: &Bound<'_, Self>, call: &Call<'_, '_>, error: PyErr) -> PyErr;

    /// Joins the flight of a call that found no result, or starts one: the answer, or [`Found::Fly`].
    ///
    /// # Errors
    /// What a comparison, the flight, or a signal handler raises.
    fn take_off(slf: &Bound<'_, Self>, call: &Call<'_, '_>, hash: u64) -> PyResult<Found>;

    /// Ends a flight that this call leads.
    ///
    /// # Errors
    /// What the release of its lock raises.
    fn land(
        slf: &Bound<'_, Self>,
        aboard: &Aboard,
        result: Result<&Bound<'_, PyAny>, &PyErr>,
    ) -> PyResult<()>;

    /// Looks a call up as far as no Python code has to run but the arguments' `__hash__`. Drops no `Py`.
    ///
    /// # Errors
    /// What a `__hash__` raises.
    fn look(&self, call: &Call<'_, '_>) -> PyResult<Found>;

    /// Looks a call up by Python's equality.
    ///
    /// # Errors
    /// What a comparison raises.
    fn look_closely(slf: &Bound<'_, Self>, call: &Call<'_, '_>, hash: u64) -> PyResult<Found>;

    /// Keeps a result, if no Python code has to run for that; else `false`, and nothing has happened. Drops no `Py`.
    fn keep(
        &self,
        call: &Call<'_, '_>,
        hash: u64,
        result: &Bound<'_, PyAny>,
        flight: Option<&Flight>,
    ) -> bool;

    /// Keeps a result, unless it is of a flight that was forgotten.
    ///
    /// # Errors
    /// What a comparison or a warning raises.
    fn keep_closely(
        slf: &Bound<'_, Self>,
        call: &Call<'_, '_>,
        hash: u64,
        result: &Bound<'_, PyAny>,
        flight: Option<&Flight>,
    ) -> PyResult<()>;
}

/// A coroutine function with remembered results: a call makes a coroutine, of a result or of its making.
pub trait Awaiting: Remembering {
    /// The coroutine function that returns its argument. Drops no `Py`.
    ///
    /// # Errors
    /// When it can't be imported.
    fn ready(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>>;

    /// The coroutine that makes the result of a call, and keeps it under the key and hash of the call in order.
    ///
    /// # Errors
    /// `MemoryError`.
    fn making<'py>(
        slf: &Bound<'py, Self>,
        call: &Call<'_, 'py>,
        in_order: &Call<'_, 'py>,
        hash: u64,
    ) -> PyResult<Bound<'py, PyAny>>;
}

/// What is to be done with the result of the function, which is yet to run.
enum Miss {
    /// It isn't to run.
    No,
    /// Nothing.
    Pass,
    /// To be kept, under this hash.
    Keep(u64),
    /// To be kept and told to those who wait for it.
    Fly(Aboard),
}

/// Whether the next careful look panics, so that a test sees what becomes of that.
static PANICS: AtomicBool = AtomicBool::new(false);

/// Makes the next call that is no plain hit panic.
pub fn panic_once() {
    PANICS.store(true, Ordering::Relaxed);
}

/// Raises what went wrong, from a slot.
pub(super) fn raise(
    py: Python<'_>,
    error: Result<PyErr, Box<dyn Any + Send>>,
) -> *mut ffi::PyObject {
    let restored = match error {
        // Where it can't make an object, PyO3 panics with the `MemoryError` still set.
        Err(_) if PyErr::occurred(py) => Ok(()),
        error => catch_unwind(AssertUnwindSafe(|| {
            let error = error.unwrap_or_else(|panic| defect(&*panic));
            // SAFETY: the thread is attached, by `py`. PyO3 doesn't count that, and would release late what it drops.
            unsafe { Python::attach_unchecked(|_| error.restore(py)) };
        })),
    };
    if restored.is_err() && !PyErr::occurred(py) {
        // SAFETY: the thread is attached; what is raised was made when the interpreter started.
        unsafe { ffi::PyErr_NoMemory() };
    }
    null_mut()
}

/// A panic as an exception.
fn defect(panic: &(dyn Any + Send)) -> PyErr {
    let message = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    PyRuntimeError::new_err(format!("leaksafe: a defect of the library: {message}"))
}

/// The answer of a plain hit, or null.
///
/// # Safety
/// As [`call`].
#[inline(never)]
unsafe fn hit<T: Remembering>(this: &T, call: &Call<'_, '_>) -> *mut ffi::PyObject {
    let found = catch_unwind(AssertUnwindSafe(|| {
        this.plain_hit(call, call.plain_hash()?)
    }));
    // A panic is met again by the careful look, which makes it an exception.
    found.ok().flatten().map_or(null_mut(), Py::into_ptr)
}

/// Before the function: the answer, or null with the hash of a miss, or null with an exception set.
///
/// Apart from [`call`], so that a recursion through that costs little stack.
///
/// # Safety
/// As [`call`].
#[inline(never)]
unsafe fn before<T: Remembering>(
    callable: *mut ffi::PyObject,
    call: &Call<'_, '_>,
    miss: &mut Miss,
) -> *mut ffi::PyObject {
    // SAFETY: the thread is attached and `callable` an instance of `T`.
    let (py, slf) = unsafe {
        let py = Python::assume_attached();
        (py, Borrowed::from_ptr(py, callable))
    };
    // SAFETY: as above.
    let slf = unsafe { slf.cast_unchecked::<T>() };
    let slf: &Bound<'_, T> = &slf;
    let found = catch_unwind(AssertUnwindSafe(|| {
        assert!(
            !PANICS.load(Ordering::Relaxed) || !PANICS.swap(false, Ordering::Relaxed),
            "as a test asked"
        );
        // SAFETY: attached, as above.
        if let Some(answer) = unsafe { Python::attach_unchecked(|_| T::divert(slf, call)) } {
            return answer.map(Found::Hit);
        }
        let found = match slf.get().look(call) {
            // SAFETY: attached, as above.
            Err(error) => unsafe {
                return Err(Python::attach_unchecked(|_| T::explain(slf, call, error)));
            },
            // SAFETY: attached, as above.
            Ok(Found::Unsure(hash)) => unsafe {
                Python::attach_unchecked(|_| T::look_closely(slf, call, hash))
            },
            other => other,
        };
        match found {
            // SAFETY: attached, as above.
            Ok(Found::Miss(hash)) if slf.get().flies() => unsafe {
                Python::attach_unchecked(|_| T::take_off(slf, call, hash))
            },
            other => other,
        }
    }));
    match found {
        Ok(Ok(Found::Hit(value))) => value.into_ptr(),
        Ok(Ok(Found::Miss(hash) | Found::Unsure(hash))) => {
            *miss = Miss::Keep(hash);
            null_mut()
        }
        Ok(Ok(Found::Fly(aboard))) => {
            *miss = Miss::Fly(aboard);
            null_mut()
        }
        Ok(Ok(Found::Pass)) => {
            *miss = Miss::Pass;
            null_mut()
        }
        Ok(Err(error)) => raise(py, Ok(error)),
        Err(panic) => raise(py, Err(panic)),
    }
}

/// After the function: keeps the result, and gives it back.
///
/// # Safety
/// As [`call`]; `result` is a new reference.
#[inline(never)]
unsafe fn after<T: Remembering>(
    callable: *mut ffi::PyObject,
    call: &Call<'_, '_>,
    hash: u64,
    result: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the thread is attached, `callable` an instance of `T`, and `result` a reference that is ours.
    unsafe {
        let py = Python::assume_attached();
        let slf = Borrowed::from_ptr(py, callable);
        let slf = slf.cast_unchecked::<T>();
        let slf: &Bound<'_, T> = &slf;
        let result = Bound::from_owned_ptr(py, result);
        let kept = catch_unwind(AssertUnwindSafe(|| {
            if slf.get().keep(call, hash, &result, None) {
                return Ok(());
            }
            // `attach` itself would refuse while the interpreter ends.
            Python::attach_unchecked(|_| T::keep_closely(slf, call, hash, &result, None))
        }));
        match kept {
            Ok(Ok(())) => result.into_ptr(),
            Ok(Err(error)) => raise(py, Ok(error)),
            Err(panic) => raise(py, Err(panic)),
        }
    }
}

/// After the function, in a flight: keeps the result, tells those who wait, and gives it back; or tells them the error,
/// and raises it.
///
/// # Safety
/// As [`call`]; `result` is a new reference, or null with an error set.
#[inline(never)]
unsafe fn touch_down<T: Remembering>(
    callable: *mut ffi::PyObject,
    call: &Call<'_, '_>,
    aboard: Aboard,
    result: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the thread is attached, `callable` an instance of `T`, and `result` a reference that is ours, or null.
    unsafe {
        let py = Python::assume_attached();
        let slf = Borrowed::from_ptr(py, callable);
        let slf = slf.cast_unchecked::<T>();
        let slf: &Bound<'_, T> = &slf;
        Python::attach_unchecked(|_| {
            let kept = catch_unwind(AssertUnwindSafe(|| {
                // It panics where the error is a panic that became an exception.
                let result = Bound::from_owned_ptr_or_err(py, result)?;
                let (hash, flight) = (aboard.hash, Some(&*aboard.flight));
                if !slf.get().keep(call, hash, &result, flight) {
                    T::keep_closely(slf, call, hash, &result, flight)?;
                }
                Ok(result)
            }));
            let kept = kept.unwrap_or_else(|panic| Err(defect(&*panic)));
            let landed = if aboard.leads {
                let outcome = kept.as_ref();
                catch_unwind(AssertUnwindSafe(|| T::land(slf, &aboard, outcome)))
                    .unwrap_or_else(|panic| Err(defect(&*panic)))
            } else {
                Ok(())
            };
            drop(aboard);
            match kept.and_then(|result| landed.map(|()| result)) {
                Ok(result) => result.into_ptr(),
                Err(error) => raise(py, Ok(error)),
            }
        })
    }
}

/// The `vectorcallfunc` of a [`Remembering`] class.
///
/// # Safety
/// Called by CPython, with an instance of `T`.
pub unsafe extern "C" fn call<T: Remembering>(
    callable: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as vectorcall has it, the thread is attached and the arguments are live until this returns; `callable` is
    // kept by the caller.
    unsafe {
        let py = Python::assume_attached();
        let slf = Borrowed::from_ptr(py, callable);
        let this = slf.cast_unchecked::<T>().get();
        let positional = ffi::PyVectorcall_NARGS(count).unsigned_abs();
        let call = Call::from_vectorcall(py, arguments, positional, &names, this.typed());
        let in_order = this.is_in_order(&call);
        if in_order {
            // Before there is anything to be dropped, which would cost the hit as much again.
            let answer = hit(this, &call);
            if !answer.is_null() {
                return answer;
            }
        }
        let arranged = if in_order { None } else { this.arrange(&call) };
        let arranged = arranged.as_ref().map(|owned| owned.borrowed(this.typed()));
        let key = arranged.as_ref().unwrap_or(&call);
        if !in_order {
            let answer = hit(this, key);
            if !answer.is_null() {
                return answer;
            }
        }
        // A `__hash__` that is itself remembered recurses here without a frame of Python in between.
        if ffi::Py_EnterRecursiveCall(
            c" while calling a function that remembers its results".as_ptr(),
        ) != 0
        {
            return null_mut();
        }
        let mut miss = Miss::No;
        let mut result = before::<T>(callable, key, &mut miss);
        if !matches!(miss, Miss::No) {
            result = ffi::PyObject_Vectorcall(this.function().as_ptr(), arguments, count, names);
        }
        result = match miss {
            Miss::Keep(hash) if !result.is_null() => after::<T>(callable, key, hash, result),
            Miss::Fly(aboard) => touch_down::<T>(callable, key, aboard, result),
            _ => result,
        };
        ffi::Py_LeaveRecursiveCall();
        result
    }
}

/// Wraps an answer in a coroutine, or makes the one that will have it.
///
/// # Safety
/// As [`call`]; `answer` is a new reference, or null where there is a `hash`.
#[inline(never)]
unsafe fn awaitable<T: Awaiting>(
    callable: *mut ffi::PyObject,
    (call, in_order): (&Call<'_, '_>, &Call<'_, '_>),
    answer: *mut ffi::PyObject,
    hash: Option<u64>,
) -> *mut ffi::PyObject {
    // SAFETY: the thread is attached, `callable` an instance of `T`, and `answer` a reference that is ours.
    unsafe {
        let py = Python::assume_attached();
        let slf = Borrowed::from_ptr(py, callable);
        let slf = slf.cast_unchecked::<T>();
        let slf: &Bound<'_, T> = &slf;
        let answer = Bound::from_owned_ptr_or_opt(py, answer);
        let made = catch_unwind(AssertUnwindSafe(|| match (answer, hash) {
            (Some(answer), _) => T::ready(py)?.call1((answer,)),
            // `attach` itself would refuse while the interpreter ends.
            (None, Some(hash)) => {
                Python::attach_unchecked(|_| T::making(slf, call, in_order, hash))
            }
            (None, None) => Err(PyErr::fetch(py)),
        }));
        match made {
            Ok(Ok(coroutine)) => coroutine.into_ptr(),
            Ok(Err(error)) => raise(py, Ok(error)),
            Err(panic) => raise(py, Err(panic)),
        }
    }
}

/// The `vectorcallfunc` of an [`Awaiting`] class.
///
/// # Safety
/// Called by CPython, with an instance of `T`.
pub unsafe extern "C" fn call_awaiting<T: Awaiting>(
    callable: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `call`.
    unsafe {
        let py = Python::assume_attached();
        let slf = Borrowed::from_ptr(py, callable);
        let this = slf.cast_unchecked::<T>().get();
        let positional = ffi::PyVectorcall_NARGS(count).unsigned_abs();
        let call = Call::from_vectorcall(py, arguments, positional, &names, this.typed());
        let arranged = if this.is_in_order(&call) {
            None
        } else {
            this.arrange(&call)
        };
        let arranged = arranged.as_ref().map(|owned| owned.borrowed(this.typed()));
        let key = arranged.as_ref().unwrap_or(&call);
        let mut answer = hit(this, key);
        let mut hash = None;
        if answer.is_null() {
            if ffi::Py_EnterRecursiveCall(
                c" while calling a function that remembers its results".as_ptr(),
            ) != 0
            {
                return null_mut();
            }
            let mut miss = Miss::No;
            answer = before::<T>(callable, key, &mut miss);
            ffi::Py_LeaveRecursiveCall();
            match miss {
                Miss::No if answer.is_null() => return null_mut(),
                Miss::No => {}
                Miss::Keep(of) => hash = Some(of),
                Miss::Pass | Miss::Fly(_) => {
                    let function = this.function().as_ptr();
                    return ffi::PyObject_Vectorcall(function, arguments, count, names);
                }
            }
        }
        awaitable::<T>(callable, (&call, key), answer, hash)
    }
}

/// A function with its first argument.
pub trait BoundFunction: PyClass<Frozen = True> + Sync {
    /// The function, and the argument.
    fn parts(&self) -> (&Py<PyAny>, &Py<PyAny>);
}

/// The `vectorcallfunc` of a [`BoundFunction`] class.
///
/// # Safety
/// Called by CPython, with an instance of `T`.
pub unsafe extern "C" fn call_bound<T: BoundFunction>(
    callable: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    const SMALL: usize = 8;
    // SAFETY: as vectorcall has it, the thread is attached and the arguments are live until this returns; the copied
    // pointers are borrowed as they were, and one more place stands before them.
    unsafe {
        let py = Python::assume_attached();
        let slf = Borrowed::from_ptr(py, callable);
        let (function, first) = slf.cast_unchecked::<T>().get().parts();
        let positional = ffi::PyVectorcall_NARGS(count).unsigned_abs();
        let total = positional
            + if names.is_null() {
                0
            } else {
                ffi::PyTuple_GET_SIZE(names).unsigned_abs()
            };
        let mut small = [null_mut(); SMALL];
        let mut large = Vec::new();
        let all = if total < SMALL {
            &mut small[..=total]
        } else {
            large.resize(total + 1, null_mut());
            &mut large[..]
        };
        all[0] = first.as_ptr();
        if total > 0 {
            all[1..].copy_from_slice(std::slice::from_raw_parts(arguments, total));
        }
        ffi::PyObject_Vectorcall(function.as_ptr(), all.as_ptr(), positional + 1, names)
    }
}

/// Makes the instances of a class callable through the [`Entry`] that is their first field, and as methods without a
/// bound object in between where it is a `descriptor`. Once, when the module is made and before there are instances.
///
/// # Errors
/// `SystemError` if PyO3's layout isn't as it was.
pub fn install<T: PyClass<Frozen = True> + Sync>(
    py: Python<'_>,
    sample: &Bound<'_, T>,
    descriptor: bool,
) {
    let offset = std::ptr::from_ref(sample.get()) as usize - sample.as_ptr() as usize;
    let flags = ffi::Py_TPFLAGS_HAVE_VECTORCALL
        | if descriptor {
            ffi::Py_TPFLAGS_METHOD_DESCRIPTOR
        } else {
            0
        };
    // SAFETY: the class is a heap type of ours, whose instances begin with an `Entry` at the offset (they are `repr(C)`);
    // nothing has called one yet.
    unsafe {
        let class = py.get_type::<T>().as_type_ptr();
        (*class).tp_vectorcall_offset = offset.cast_signed();
        (*class).tp_call = Some(ffi::PyVectorcall_Call);
        #[cfg(not(Py_GIL_DISABLED))]
        {
            (*class).tp_flags |= flags;
        }
        #[cfg(Py_GIL_DISABLED)]
        {
            (*class)
                .tp_flags
                .fetch_or(flags, std::sync::atomic::Ordering::Relaxed);
        }
        ffi::PyType_Modified(class);
    }
}
