//! All objects that the collector knows of, and which of them refers to which.

#[cfg(Py_3_13)]
use std::ffi::c_ulong;

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::refcount;
use super::referents::{no_memory, visit};
use crate::core::{Addresses, Graph};

/// A node of the graph.
pub type Node = u32;

/// The objects that the collector knows of, at one moment, and whatever containers can be reached from them.
///
/// It owns what it shows, so that it stays true for as long as no Python code runs.
pub struct Heap<'py> {
    py: Python<'py>,
    tracked: Bound<'py, PyList>,
    /// What the collector tracks, then what is in `others`.
    objects: Vec<*mut ffi::PyObject>,
    others: Vec<Bound<'py, PyAny>>,
    /// The nodes of all objects; without edges, of `others`.
    numbers: Addresses,
    /// How many references to anything each object holds, as far as it tells the collector.
    held: Vec<u32>,
    /// The references between the objects, where these are asked for.
    graph: Option<Graph>,
    /// Whether there are nodes that the collector has nothing to do with.
    has_plain: bool,
}

/// Runs `section` while no other thread is attached to the interpreter. It must not run Python code, and neither create
/// nor drop a Python object.
#[cfg_attr(
    not(Py_GIL_DISABLED),
    allow(clippy::unnecessary_wraps, reason = "as without the GIL")
)]
fn alone<R>(section: impl FnOnce() -> R) -> Option<R> {
    #[cfg(not(Py_GIL_DISABLED))]
    return Some(section());
    #[cfg(Py_GIL_DISABLED)]
    return stopped::alone(section);
}

#[cfg(Py_GIL_DISABLED)]
mod stopped {
    use std::ffi::{c_int, c_void};

    use pyo3::ffi;

    type Visitor = unsafe extern "C" fn(*mut ffi::PyObject, *mut c_void) -> c_int;

    unsafe extern "C" {
        /// Stops every other thread while it shows all objects, until the visitor answers 0.
        fn PyUnstable_GC_VisitObjects(visitor: Visitor, argument: *mut c_void);
    }

    /// A section and what it returned.
    struct Section<F, R>(Option<F>, Option<R>);

    /// Runs the section when the first object is shown: all that is wanted is that the world stands still.
    unsafe extern "C" fn run_once<F: FnOnce() -> R, R>(
        _object: *mut ffi::PyObject,
        section: *mut c_void,
    ) -> c_int {
        // SAFETY: it is what `alone` handed over, and has to itself again only when this has returned.
        let section = unsafe { &mut *section.cast::<Section<F, R>>() };
        if let Some(run) = section.0.take() {
            section.1 = Some(run());
        }
        0
    }

    pub fn alone<F: FnOnce() -> R, R>(section: F) -> Option<R> {
        let mut section = Section(Some(section), None);
        // SAFETY: the thread is attached, and `section` outlives the call.
        unsafe { PyUnstable_GC_VisitObjects(run_once::<F, R>, (&raw mut section).cast()) };
        section.1
    }
}

impl<'py> Heap<'py> {
    /// Looks at all objects.
    ///
    /// # Errors
    /// `MemoryError`; when there is no module `gc` any more.
    pub fn objects_only(py: Python<'py>) -> PyResult<Self> {
        Self::read(py, None, &[])
    }

    /// Looks at all objects and the references between them. `plain` are some that are to be nodes even where the
    /// collector doesn't know them.
    ///
    /// # Errors
    /// `MemoryError`; when there is no module `gc` any more.
    pub fn with_references(py: Python<'py>, plain: &[Bound<'py, PyAny>]) -> PyResult<Self> {
        Self::read(py, Some(Graph::default()), plain)
    }

    fn read(py: Python<'py>, graph: Option<Graph>, plain: &[Bound<'py, PyAny>]) -> PyResult<Self> {
        let mut heap = Self {
            py,
            tracked: tracked(py)?,
            objects: Vec::new(),
            others: Vec::new(),
            numbers: Addresses::default(),
            held: Vec::new(),
            graph,
            has_plain: false,
        };
        alone(|| heap.fill(plain)).flatten().ok_or_else(no_memory)?;
        Ok(heap)
    }

    fn fill(&mut self, plain: &[Bound<'py, PyAny>]) -> Option<()> {
        let count = self.tracked.len();
        self.objects.try_reserve(count).ok()?;
        self.held.try_reserve(count).ok()?;
        for at in 0..count {
            // SAFETY: the list is nobody else's and has so many.
            let object = unsafe { ffi::PyList_GET_ITEM(self.tracked.as_ptr(), at.cast_signed()) };
            if self.graph.is_some() {
                self.number(object)?;
            } else {
                self.objects.push(object);
            }
        }
        for object in plain {
            self.has_plain |= !is_container(object.as_ptr());
            self.meet(object.as_ptr())?;
        }
        let mut at = 0;
        // Grows meanwhile by the containers that the collector has no list of.
        while let Some(&object) = self.objects.get(at) {
            at += 1;
            let held = self.look_into(object)?;
            self.held.try_reserve(1).ok()?;
            self.held.push(held);
            if self.graph.is_some()
                && let Some(dict) = self.shared_dict(object)
            {
                self.note(dict)?;
            }
            if let Some(graph) = &mut self.graph {
                graph.end_node()?;
            }
        }
        Some(())
    }

    /// Meets all that an object refers to, and counts it; `None` for want of memory.
    fn look_into(&mut self, object: *mut ffi::PyObject) -> Option<u32> {
        let mut held = 0_u32;
        // SAFETY: the object is live, as the heap owns it, and so is its type.
        let traverse = unsafe { (*ffi::Py_TYPE(object)).tp_traverse };
        if let Some(traverse) = traverse
            && is_container(object)
        {
            // SAFETY: no other thread runs, and this one frees nothing.
            let all = unsafe {
                visit(object, traverse, |referent| {
                    held = held.saturating_add(1);
                    self.note(referent).is_some()
                })
            };
            all.then_some(held)
        } else {
            Some(0)
        }
    }

    /// The `__dict__` of an instance that shares its values with it: from 3.13 on, `tp_traverse` shows these and not it.
    #[cfg(Py_3_13)]
    fn shared_dict(&self, object: *mut ffi::PyObject) -> Option<*mut ffi::PyObject> {
        // What CPython calls `Py_TPFLAGS_INLINE_VALUES` and `Py_TPFLAGS_MANAGED_DICT`, and the place of the latter, in
        // words in front of the instance. None is public: so the answer is only what proves to be such a dictionary.
        const FLAGS: c_ulong = 1 << 2 | 1 << 4;
        const IN_FRONT: usize = if cfg!(Py_GIL_DISABLED) { 1 } else { 3 };
        // SAFETY: the object is live, and so is its type; with these flags there are so many words in front of it. What
        // has a node is an object that the heap owns.
        unsafe {
            let class = ffi::Py_TYPE(object);
            if ffi::PyType_GetFlags(class) & FLAGS != FLAGS {
                return None;
            }
            let dict = object.cast::<*mut ffi::PyObject>().sub(IN_FRONT).read();
            self.node(dict)?;
            let values = object.byte_offset((*class).tp_basicsize).cast();
            (ffi::PyDict_CheckExact(dict) != 0
                && (*dict.cast::<ffi::PyDictObject>()).ma_values == values)
                .then_some(dict)
        }
    }

    #[cfg(not(Py_3_13))]
    #[allow(clippy::unused_self, reason = "as from 3.13 on")]
    fn shared_dict(&self, _object: *mut ffi::PyObject) -> Option<*mut ffi::PyObject> {
        None
    }

    /// Meets an object, and adds an edge to it from the one that is looked into; `None` for want of memory.
    #[inline]
    fn note(&mut self, referent: *mut ffi::PyObject) -> Option<()> {
        let is_container = is_container(referent);
        if self.graph.is_none() {
            // SAFETY: the object is live, and of those with a head for the collector.
            if is_container && unsafe { ffi::PyObject_GC_IsTracked(referent) } == 0 {
                self.meet(referent)?;
            }
            return Some(());
        }
        let to = if is_container {
            self.meet(referent)?
        } else if self.has_plain
            && let Some(to) = self.node(referent)
        {
            to
        } else {
            return Some(());
        };
        self.graph.as_mut()?.add(to)
    }

    /// The node of an object, which is one from now on, and owned; `None` for want of memory, or numbers.
    fn meet(&mut self, object: *mut ffi::PyObject) -> Option<Node> {
        let (node, is_new) = self.number(object)?;
        if is_new {
            self.others.try_reserve(1).ok()?;
            // SAFETY: the object is live, and this only counts one reference more.
            self.others
                .push(unsafe { Bound::from_borrowed_ptr(self.py, object) });
        }
        Some(node)
    }

    /// The node of an object, and whether that is new; `None` for want of memory, or numbers.
    fn number(&mut self, object: *mut ffi::PyObject) -> Option<(Node, bool)> {
        let (number, is_new) = self.numbers.number(object as usize)?;
        if is_new {
            self.objects.try_reserve(1).ok()?;
            self.objects.push(object);
        }
        Some((number, is_new))
    }

    /// The node that an object is, where references were asked for.
    pub fn node(&self, object: *mut ffi::PyObject) -> Option<Node> {
        self.numbers.find(object as usize)
    }

    /// The references, if they were asked for.
    pub fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn object(&self, node: Node) -> Bound<'py, PyAny> {
        // SAFETY: the heap owns its objects.
        unsafe { Bound::from_borrowed_ptr(self.py, self.objects[node as usize]) }
    }

    /// Each object, with the number of references that it holds.
    pub fn objects(&self) -> impl Iterator<Item = (Borrowed<'_, 'py, PyAny>, u32)> {
        self.objects.iter().zip(&self.held).map(|(&object, &held)| {
            // SAFETY: the heap owns its objects.
            (unsafe { Borrowed::from_ptr(self.py, object) }, held)
        })
    }

    /// For each node the references to it that no object shows: of running code, and of C.
    pub fn unseen(&self) -> Vec<u32> {
        let seen = self.graph.iter().flat_map(Graph::counts);
        self.objects()
            .zip(seen)
            .map(|((object, _), seen)| {
                // One is the heap's.
                let unseen = refcount::of(&object)
                    .saturating_sub_unsigned(seen as usize + 1)
                    .max(0);
                u32::try_from(unseen).unwrap_or(u32::MAX)
            })
            .collect()
    }
}

/// The list of what the collector tracks, in which it isn't itself.
///
/// # Errors
/// `MemoryError`; when there is no module `gc` any more.
pub fn tracked(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let objects = py
        .import(intern!(py, "gc"))?
        .call_method0(intern!(py, "get_objects"))?;
    Ok(objects.cast_into()?)
}

/// Whether an object may hold others: of the static classes, which refer to static things only, the answer is no.
#[inline]
pub fn is_container(object: *mut ffi::PyObject) -> bool {
    // SAFETY: the object is live, and so is its type.
    unsafe {
        let class = ffi::Py_TYPE(object);
        ffi::PyType_HasFeature(class, ffi::Py_TPFLAGS_HAVE_GC) != 0
            && ((*class).tp_is_gc.is_none() || ffi::PyObject_IS_GC(object) != 0)
    }
}
