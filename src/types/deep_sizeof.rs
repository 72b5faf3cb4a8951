//! `deep_sizeof`: the weight of an object with all that it holds.

#![allow(clippy::doc_markdown, reason = "Python's docstrings")]

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;

use crate::interop::build::Count;
use crate::interop::referents::Worklist;
use crate::interop::sizes::Scales;

/// Returns the bytes of everything that can be reached from `obj`, each object once.
///
/// What counts is what `sys.getsizeof` says of each object that `obj` refers to, as `gc` sees it, and of what that
/// refers to, and so on, with the keys of dictionaries. Not counted, nor followed, is what the rest of the program
/// shares: modules, classes, functions and code; `None`, `True`, `False`, `...`, `NotImplemented`, the ints from -5 to
/// 256, the empty tuple, and interned strings (names, and most string constants of a program). What is referred to
/// weakly isn't counted either.
///
/// Args:
///     obj: any object.
///
/// Returns:
///     Bytes, as an int from 0; without what the allocator adds to round them up.
///
/// Raises:
///     What a `__sizeof__` raises; no other code of the objects runs.
///
/// O(n) in the objects, of which each costs some tens of nanoseconds and 8 to 18 bytes while it runs, in a table of
/// those that were seen; no recursion, whatever the depth. Other threads may change the objects meanwhile; then what is
/// seen of them is counted.
///
/// >>> from leaksafe import deep_sizeof
/// >>> import sys
/// >>> numbers = [1_000_000, 2_000_000]
/// >>> deep_sizeof(numbers) == sum(map(sys.getsizeof, [numbers, *numbers]))
/// True
/// >>> deep_sizeof([numbers, numbers]) - deep_sizeof([numbers]) == 8   # one pointer more
/// True
/// >>> deep_sizeof(None), deep_sizeof(str), deep_sizeof("name")
/// (0, 0, 0)
#[pyfunction]
#[pyo3(signature = (obj, /))]
pub fn deep_sizeof(obj: &Bound<'_, PyAny>) -> PyResult<Count> {
    weight_of(&[obj], &[]).map(Count)
}

/// The bytes of everything that can be reached from `roots` without going through any of `except`.
///
/// # Errors
/// What a `__sizeof__` or a signal handler raises; `MemoryError`.
pub fn weight_of<'py>(
    roots: &[&Bound<'py, PyAny>],
    except: &[&Bound<'py, PyAny>],
) -> PyResult<u64> {
    /// So many are weighed before other threads, and signals, have their turn.
    const SLICE: u32 = 1 << 15;
    let Some(first) = roots.first() else {
        return Ok(0);
    };
    let py = first.py();
    let mut objects = Worklist::new(py);
    let mut scales = Scales::new(py)?;
    for object in except {
        objects.leave_out(object)?;
    }
    for root in roots {
        objects.add(root)?;
    }
    let mut total: u64 = 0;
    let mut weighed: u32 = 0;
    while let Some(object) = objects.next()? {
        let Some(size) = scales.weigh(&object)? else {
            continue;
        };
        let references = objects.expand(&object)?;
        let bytes = size.bytes.saturating_add(size.each_reference * references);
        total = total
            .checked_add(bytes as u64)
            .ok_or_else(|| PyOverflowError::new_err("the sizes add up to more than 2**64"))?;
        weighed = weighed.wrapping_add(1);
        if weighed.is_multiple_of(SLICE) {
            py.check_signals()?;
            py.detach(|| ());
        }
    }
    Ok(total)
}
