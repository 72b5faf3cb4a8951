//! A call's arguments as a key: hashed and compared where they lie, and made an object only to be kept.

use std::ops::Not;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyInt, PyString, PyTuple, PyType};

use super::build;
use super::equality::{self, Verdict};
use super::lookup::Probe;
use super::weak;

/// Stands at the end of the keys of calls with keywords. Nobody else has it, so no positional argument equals it.
static KEYWORDS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Makes what keys are made with.
///
/// # Errors
/// When an `object` can't be made.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    KEYWORDS
        .get_or_try_init(py, || py.get_type::<PyAny>().call0().map(Bound::unbind))
        .map(|_| ())
}

fn is_keywords(object: &Bound<'_, PyAny>) -> bool {
    KEYWORDS
        .get(object.py())
        .is_some_and(|keywords| keywords.is(object))
}

/// The arguments of a call, as vectorcall hands them over: the positional ones, then the values of the keywords.
///
/// The key of a call with one positional argument is that argument, unless it is a tuple. Any other key is a tuple:
/// of the arguments, and of the keywords' names and [`KEYWORDS`] where there are any. In place of an instance
/// that isn't to be held there is a weak reference to it.
pub struct Call<'a, 'py> {
    py: Python<'py>,
    items: &'a [Bound<'py, PyAny>],
    names: Option<&'a Bound<'py, PyTuple>>,
    typed: bool,
}

/// The arguments in a stored key, and the names of the last of them where they are keywords.
type Parts<'k, 'py> = (&'k [Bound<'py, PyAny>], Option<&'k Bound<'py, PyAny>>);

/// An instance that a key isn't to hold, and the weak reference that stands for it there.
pub type WeaklyHeld<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Arguments that came as a tuple and a dictionary.
pub struct OwnedCall<'py> {
    py: Python<'py>,
    items: Vec<Bound<'py, PyAny>>,
    names: Option<Bound<'py, PyTuple>>,
}

impl<'py> OwnedCall<'py> {
    /// Lays the arguments out as vectorcall does.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn new(
        arguments: &Bound<'py, PyTuple>,
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Self> {
        let py = arguments.py();
        let mut items: Vec<_> = arguments.iter().collect();
        let mut names = None;
        if let Some(keywords) = keywords.filter(|keywords| !keywords.is_empty()) {
            let (keys, values): (Vec<_>, Vec<_>) = keywords.iter().unzip();
            names = Some(build::tuple(py, keys)?);
            items.extend(values);
        }
        Ok(Self { py, items, names })
    }

    /// Of arguments that are laid out already.
    pub fn from_parts(
        py: Python<'py>,
        items: Vec<Bound<'py, PyAny>>,
        names: Option<Bound<'py, PyTuple>>,
    ) -> Self {
        Self { py, items, names }
    }

    /// Takes the first argument out: the first positional one, or else the one of that name.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn take_first(&mut self, name: Option<&Bound<'py, PyAny>>) -> PyResult<()> {
        let keywords = self.names.as_ref().map_or(0, PyTupleMethods::len);
        if self.items.len() > keywords {
            self.items.remove(0);
            return Ok(());
        }
        let Some((names, name)) = self.names.as_ref().zip(name) else {
            return Ok(());
        };
        let mut rest: Vec<_> = names.iter().collect();
        if let Some(at) = rest
            .iter()
            .position(|other| equality::compare_objects(other, name) == Verdict::Same)
        {
            rest.remove(at);
            self.items.remove(at);
            self.names = (!rest.is_empty())
                .then(|| build::tuple(self.py, rest))
                .transpose()?;
        }
        Ok(())
    }

    /// The arguments' types.
    pub fn types(&self) -> Vec<Bound<'py, PyType>> {
        self.items.iter().map(Bound::get_type).collect()
    }

    /// The arguments as a tuple and a dictionary.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn arguments(&self) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let keywords = self.names.as_ref().map_or(0, PyTupleMethods::len);
        let (items, values) = self.items.split_at(self.items.len() - keywords);
        let named = build::dict(self.py)?;
        if let Some(names) = &self.names {
            for (name, value) in names.iter().zip(values) {
                named.set_item(name, value)?;
            }
        }
        Ok((build::tuple(self.py, items)?, named))
    }

    /// The same as a borrowed call.
    pub fn borrowed(&self, typed: bool) -> Call<'_, 'py> {
        Call {
            py: self.py,
            items: &self.items,
            names: self.names.as_ref(),
            typed,
        }
    }
}

impl<'a, 'py> Call<'a, 'py> {
    /// The arguments of a vectorcall.
    ///
    /// # Safety
    /// As vectorcall has it: `count` live positional arguments, then one for each of the names, which are a live tuple
    /// or null; all of them live for `'a`.
    #[inline]
    pub unsafe fn from_vectorcall(
        py: Python<'py>,
        arguments: *const *mut ffi::PyObject,
        count: usize,
        names: &'a *mut ffi::PyObject,
        typed: bool,
    ) -> Self {
        // SAFETY: `Bound` is a transparent wrapper of a pointer that isn't null, and a slice of borrowed ones drops
        // none; the caller vouches for the objects.
        unsafe {
            let names: Option<&'a Bound<'py, PyTuple>> = if names.is_null() {
                None
            } else {
                Some(&*std::ptr::from_ref(names).cast())
            };
            let total = count + names.map_or(0, |names| names.as_any().tuple_len());
            let items = if total == 0 {
                &[]
            } else {
                std::slice::from_raw_parts(arguments.cast(), total)
            };
            Self {
                py,
                items,
                names,
                typed,
            }
        }
    }

    /// The positional arguments, and the names of the keywords.
    #[inline]
    pub fn parts(&self) -> (&'a [Bound<'py, PyAny>], Option<&'a Bound<'py, PyTuple>>) {
        let keywords = self.names.map_or(0, PyTupleMethods::len);
        (&self.items[..self.items.len() - keywords], self.names)
    }

    /// The values of the keywords.
    pub fn keyword_values(&self) -> &'a [Bound<'py, PyAny>] {
        let keywords = self.names.map_or(0, PyTupleMethods::len);
        &self.items[self.items.len() - keywords..]
    }

    /// A copy that keeps its arguments.
    pub fn to_owned(&self) -> OwnedCall<'py> {
        OwnedCall::from_parts(self.py, self.items.to_vec(), self.names.cloned())
    }

    /// The first positional argument.
    pub fn first(&self) -> Option<&Bound<'py, PyAny>> {
        let keywords = self.names.map_or(0, PyTupleMethods::len);
        self.items.first().filter(|_| self.items.len() > keywords)
    }

    /// The argument that was given by this name.
    pub fn named(&self, name: &Bound<'py, PyAny>) -> Option<&Bound<'py, PyAny>> {
        let names = self.names?.as_slice();
        let at = names
            .iter()
            .position(|other| equality::compare_objects(other, name) == Verdict::Same)?;
        self.items.get(self.items.len() - names.len() + at)
    }

    /// The argument that is the whole key.
    #[inline]
    fn single(&self) -> Option<&Bound<'py, PyAny>> {
        match (self.items, self.names) {
            ([only], None) if !only.is_exact_instance_of::<PyTuple>() => Some(only),
            _ => None,
        }
    }

    /// The key's hash. Runs the arguments' `__hash__`, each once.
    ///
    /// # Errors
    /// What that raises.
    pub fn hash(&self) -> PyResult<u64> {
        self.hash_by(|item| match equality::plain_hash(item) {
            Some(hash) => Ok(hash),
            // An instance's reference hashes as that does, and stands for it in keys: who passes one isn't to find those.
            None if weak::is_ours(item) => equality::hash_of(item).map(u64::not),
            None => equality::hash_of(item),
        })
    }

    /// The key's hash, where no argument has a `__hash__` in Python; else `None`, and nothing has run.
    #[inline]
    pub fn plain_hash(&self) -> Option<u64> {
        self.hash_by(|item| equality::plain_hash(item).ok_or(()))
            .ok()
    }

    #[inline]
    fn hash_by<E>(
        &self,
        hash_item: impl Fn(&Bound<'py, PyAny>) -> Result<u64, E>,
    ) -> Result<u64, E> {
        if let (Some(only), false) = (self.single(), self.typed) {
            return hash_item(only);
        }
        let mut hash = self.items.len() as u64;
        for item in self.items {
            hash = mix(hash, hash_item(item)?);
            if self.typed {
                hash = mix(hash, item.get_type_ptr() as u64);
            }
        }
        if let Some(names) = self.names {
            for name in names.as_slice() {
                hash = mix(hash, hash_item(name)?);
            }
        }
        Ok(hash)
    }

    /// The key as an object to keep, with the weak reference to an instance in place of each argument that is it.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn key(&self, instance: Option<&WeaklyHeld<'py>>) -> PyResult<Bound<'py, PyAny>> {
        let kept = |item| match instance {
            Some((instance, reference)) if instance.is(item) => reference,
            _ => item,
        };
        if let Some(only) = self.single() {
            return Ok(kept(only).clone());
        }
        let mut items: Vec<&Bound<'py, PyAny>> = self.items.iter().map(kept).collect();
        if let (Some(names), Some(keywords)) = (self.names, KEYWORDS.get(self.py)) {
            items.push(names.as_any());
            items.push(keywords.bind(self.py));
        }
        Ok(build::tuple(self.py, items)?.into_any())
    }

    /// An object that equals that of another call where their keys are the same, whatever it holds.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn equal_key(&self) -> PyResult<Bound<'py, PyAny>> {
        let key = self.key(None)?;
        let kind = if self.typed {
            let types = self.items.iter().map(Bound::get_type);
            build::tuple(self.py, types.collect::<Vec<_>>())?.into_any()
        } else {
            // A single argument is not the same as a tuple, nor an `int` or `str` alone as any other.
            let kind = self.single().map_or(0, |only| 1 + u8::from(is_plain(only)));
            kind.into_pyobject(self.py)?.into_any()
        };
        Ok(build::tuple(self.py, [key, kind])?.into_any())
    }

    #[inline]
    fn compare_item(&self, stored: &Bound<'py, PyAny>, asked: &Bound<'py, PyAny>) -> Verdict {
        if stored.is(asked) {
            return Verdict::Same;
        }
        if let Some(referent) = weak::instance(stored) {
            return if referent == asked.as_ptr() {
                Verdict::Same
            } else if referent.is_null() || equality::by_identity(asked) {
                Verdict::Different
            } else {
                Verdict::Unsure
            };
        }
        if self.typed && stored.get_type_ptr() != asked.get_type_ptr() {
            return Verdict::Different;
        }
        equality::compare_objects(stored, asked)
    }

    /// The arguments in a stored key that has the shape of this call's, and its keywords' names.
    fn parts_of<'k>(&self, stored: &'k Bound<'py, PyTuple>) -> Option<Parts<'k, 'py>> {
        let items = stored.as_slice();
        match self.names {
            None if items.len() == self.items.len() => {
                (!items.last().is_some_and(is_keywords)).then_some((items, None))
            }
            Some(_) if items.len() == self.items.len() + 2 => {
                let (arguments, end) = items.split_at(self.items.len());
                match end {
                    [names, keywords] if is_keywords(keywords) => Some((arguments, Some(names))),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

impl<'py> Probe<'py> for Call<'_, 'py> {
    fn py(&self) -> Python<'py> {
        self.py
    }

    #[inline]
    fn compare(&self, stored: &Py<PyAny>) -> Verdict {
        let stored = stored.bind(self.py);
        let tuple = stored.cast_exact::<PyTuple>().ok();
        if let Some(only) = self.single() {
            // As functools: an `int` or `str` alone is a key of its own, and no other equals it.
            if tuple.is_some() || (!self.typed && is_plain(stored) != is_plain(only)) {
                return Verdict::Different;
            }
            return self.compare_item(stored, only);
        }
        let Some((items, names)) = tuple.and_then(|tuple| self.parts_of(tuple)) else {
            return Verdict::Different;
        };
        let names_are = match (names, self.names) {
            (Some(stored), Some(asked)) => stored.is(asked),
            _ => true,
        };
        if names_are
            && items
                .iter()
                .zip(self.items)
                .all(|(stored, asked)| stored.is(asked))
        {
            return Verdict::Same;
        }
        let mut verdict = Verdict::Same;
        if let (Some(stored), Some(asked)) = (names, self.names) {
            verdict = equality::compare_objects(stored, asked);
        }
        for (stored, asked) in items.iter().zip(self.items) {
            if verdict == Verdict::Different {
                break;
            }
            match self.compare_item(stored, asked) {
                Verdict::Same => {}
                other => verdict = other,
            }
        }
        verdict
    }

    fn equal(&self, stored: &Bound<'py, PyAny>) -> PyResult<bool> {
        let tuple = stored.cast_exact::<PyTuple>().ok();
        let (stored_items, names) = match (self.single(), tuple) {
            (Some(_), _) => (std::slice::from_ref(stored), None),
            (None, Some(tuple)) => match self.parts_of(tuple) {
                Some(parts) => parts,
                None => return Ok(false),
            },
            (None, None) => return Ok(false),
        };
        for (stored, asked) in stored_items.iter().zip(self.items) {
            let same = match self.compare_item(stored, asked) {
                Verdict::Same => true,
                Verdict::Different => false,
                Verdict::Unsure if weak::is_ours(stored) => match weak::upgrade(stored) {
                    Some(instance) => equality::equal(&instance, asked)?,
                    None => false,
                },
                Verdict::Unsure => equality::equal(stored, asked)?,
            };
            if !same {
                return Ok(false);
            }
        }
        match (names, self.names) {
            (Some(stored), Some(asked)) => equality::equal(stored, asked),
            _ => Ok(true),
        }
    }

    fn described(&self) -> String {
        "arguments".to_owned()
    }
}

#[inline]
fn is_plain(object: &Bound<'_, PyAny>) -> bool {
    object.is_exact_instance_of::<PyInt>() || object.is_exact_instance_of::<PyString>()
}

/// One step of `FxHash`, as Firefox and rustc have it.
#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
}

/// The length of what is known to be a tuple.
trait TupleLen {
    /// # Safety
    /// The object is a tuple.
    unsafe fn tuple_len(&self) -> usize;
}

impl TupleLen for Bound<'_, PyAny> {
    unsafe fn tuple_len(&self) -> usize {
        // SAFETY: the caller's; a size is never negative.
        unsafe { ffi::PyTuple_GET_SIZE(self.as_ptr()).unsigned_abs() }
    }
}
