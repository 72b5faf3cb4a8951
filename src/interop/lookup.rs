//! Finding a key by Python's equality, without running Python code under the lock.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::equality::{self, Verdict};
use super::guard::{Guarded, Noted};
use crate::core::{Cache, Order, Slot};

/// Where it is looked for: entries found by their hash and by what a key is compared with.
pub trait Keyed {
    /// The slot of the entry that has this hash and whose key `same` says yes to.
    fn find_key(&self, hash: u64, same: impl FnMut(&Py<PyAny>) -> bool) -> Option<Slot>;

    /// The keys that have this hash.
    fn keys_with(&self, hash: u64) -> impl Iterator<Item = &Py<PyAny>>;
}

impl<V, O: Order> Keyed for Cache<Py<PyAny>, V, O> {
    #[inline]
    fn find_key(&self, hash: u64, same: impl FnMut(&Py<PyAny>) -> bool) -> Option<Slot> {
        self.find(hash, same)
    }

    fn keys_with(&self, hash: u64) -> impl Iterator<Item = &Py<PyAny>> {
        self.candidates(hash)
    }
}

/// What is looked for.
pub trait Probe<'py> {
    /// That the thread is attached.
    fn py(&self) -> Python<'py>;

    /// Compares a stored key with it, without running Python code.
    fn compare(&self, stored: &Py<PyAny>) -> Verdict;

    /// Compares a stored key with it, by Python's equality.
    ///
    /// # Errors
    /// What a comparison raises.
    fn equal(&self, stored: &Bound<'py, PyAny>) -> PyResult<bool>;

    /// What it is, for a message.
    fn described(&self) -> String;
}

impl<'py> Probe<'py> for Bound<'py, PyAny> {
    fn py(&self) -> Python<'py> {
        Bound::py(self)
    }

    #[inline]
    fn compare(&self, stored: &Py<PyAny>) -> Verdict {
        equality::compare(stored, self)
    }

    fn equal(&self, stored: &Bound<'py, PyAny>) -> PyResult<bool> {
        equality::equal(stored, self)
    }

    fn described(&self) -> String {
        self.get_type()
            .name()
            .map_or_else(|_| "key".to_owned(), |name| name.to_string())
    }
}

/// How often the candidates of one lookup may turn out to have changed while they were compared. A thread that
/// inserts keys with the same hash causes one each time it wins the race; only an `__eq__` that changes the structure
/// at every comparison gets this far.
const RESTARTS: u32 = 100;

/// The keys already asked about, kept alive so that none of them can be taken for another at the same address.
#[derive(Default)]
struct Asked {
    different: Vec<Py<PyAny>>,
    same: Option<Py<PyAny>>,
}

impl Asked {
    fn verdict(&self, candidate: &Py<PyAny>) -> Option<Verdict> {
        if self.same.as_ref().is_some_and(|key| key.is(candidate)) {
            Some(Verdict::Same)
        } else if self.different.iter().any(|key| key.is(candidate)) {
            Some(Verdict::Different)
        } else {
            None
        }
    }
}

/// Finds `key` in the `table` of the guarded data and runs `section`, in the same guarded section, with its slot or
/// with `None`.
///
/// Identity and exact builtin types are compared under the lock. Any other comparison is made with the lock
/// released: the candidates are taken, compared, and looked for again; where the structure gained a candidate
/// meanwhile, that one is compared too.
///
/// # Errors
/// What `__eq__` raises; `RuntimeError` when the candidates change at every comparison. `section` has not run then.
#[inline]
pub fn locate<'py, S: Noted, T: Keyed, R>(
    guarded: &Guarded<S>,
    key: &impl Probe<'py>,
    hash: u64,
    table: impl Fn(&S) -> &T,
    section: impl FnOnce(&mut S, Option<Slot>) -> R,
) -> PyResult<R> {
    let attempt = guarded.with(key.py(), |data| {
        let (found, unsure) = search(table(data), key, hash);
        if found.is_some() || !unsure {
            Ok(section(data, found))
        } else {
            Err(section)
        }
    });
    match attempt {
        Ok(result) => Ok(result),
        Err(section) => locate_with_python(guarded, key, hash, table, section),
    }
}

/// As [`locate`], for a section that only looks; where no Python code has to run, it does so beside others.
///
/// # Errors
/// As [`locate`]'s.
#[inline]
pub fn locate_read<'py, S: Noted, T: Keyed, R>(
    guarded: &Guarded<S>,
    key: &impl Probe<'py>,
    hash: u64,
    table: impl Fn(&S) -> &T,
    section: impl Fn(&S, Option<Slot>) -> R,
) -> PyResult<R> {
    let attempt = guarded.read(key.py(), |data| {
        let (found, unsure) = search(table(data), key, hash);
        (found.is_some() || !unsure).then(|| section(data, found))
    });
    match attempt {
        Some(result) => Ok(result),
        None => locate_with_python(guarded, key, hash, table, |data, found| {
            section(data, found)
        }),
    }
}

/// The slot of a key as far as no Python code has to run, and whether that would have to.
#[inline]
fn search<'py>(table: &impl Keyed, key: &impl Probe<'py>, hash: u64) -> (Option<Slot>, bool) {
    let mut unsure = false;
    let found = table.find_key(hash, |candidate| {
        let verdict = key.compare(candidate);
        unsure |= verdict == Verdict::Unsure;
        verdict == Verdict::Same
    });
    (found, unsure)
}

#[cold]
fn locate_with_python<'py, S: Noted, T: Keyed, R>(
    guarded: &Guarded<S>,
    key: &impl Probe<'py>,
    hash: u64,
    table: impl Fn(&S) -> &T,
    section: impl FnOnce(&mut S, Option<Slot>) -> R,
) -> PyResult<R> {
    let py = key.py();
    let mut section = Some(section);
    let mut asked = Asked::default();
    for _ in 0..RESTARTS {
        let mut unknown = Vec::new();
        let result = guarded.with(py, |data| {
            let mut unsure = false;
            let found = table(data).find_key(hash, |candidate| {
                let verdict = asked
                    .verdict(candidate)
                    .unwrap_or_else(|| key.compare(candidate));
                unsure |= verdict == Verdict::Unsure;
                verdict == Verdict::Same
            });
            if found.is_none() && unsure {
                unknown.extend(
                    table(data)
                        .keys_with(hash)
                        .filter(|candidate| {
                            asked.verdict(candidate).is_none()
                                && key.compare(candidate) == Verdict::Unsure
                        })
                        .map(|candidate| candidate.clone_ref(py)),
                );
                return None;
            }
            section.take().map(|section| section(data, found))
        });
        if let Some(result) = result {
            return Ok(result);
        }
        for candidate in unknown {
            if key.equal(candidate.bind(py))? {
                asked.same = Some(candidate);
                break;
            }
            asked.different.push(candidate);
        }
    }
    Err(PyRuntimeError::new_err(format!(
        "the keys with the hash of this {} changed at each of {RESTARTS} comparisons; does its __eq__, or theirs, \
         change the cache?",
        key.described()
    )))
}
