//! What the weak containers share: a table of entries, each of which leaves when its referent dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::arguments;
use super::flights::Flights;
use super::weak_members::assemble;
use crate::core::{Ordered, Placed, Slot};
use crate::interop::guard::{Guarded, Noted};
use crate::interop::lookup::{Keyed, Probe, locate, locate_read};
use crate::interop::reference::{self, Reaping, Reference, place_of};
use crate::interop::{release, trace, vectorcall};

/// What an iteration gives for each entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Keys,
    Values,
    Items,
    /// Of a set or list; a bound method is put together.
    Members,
}

/// What is given for one entry: an object, or two for `Part::Items`. Else the second is the referent, where the look at it
/// needed a reference that is to be dropped after the section.
pub type Given<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyAny>>);

/// What a weak container holds for one referent.
pub trait Entry: Send + Sync + 'static {
    /// The reference whose end is the entry's.
    fn reference(&self) -> &Reference;

    /// What a key that is looked for is compared with; `None` for what is never found by a key.
    fn key(&self) -> Option<&Py<PyAny>>;

    /// What an iteration gives; `None` where the referent is dead.
    fn part<'py>(&self, py: Python<'py>, part: Part) -> Option<Given<'py>>;

    /// The reference, and what else is to be released; moved, not dropped.
    fn into_parts(self, py: Python<'_>) -> (Bound<'_, PyAny>, Option<Bound<'_, PyAny>>);

    /// Whether that other thing is what `on_collect` is told of.
    const TELLS: bool;

    /// Shows all that is held to the collector.
    ///
    /// # Errors
    /// What the visitor answers.
    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError>;
}

impl<E: Entry> Placed for E {
    #[inline]
    fn placed(&self, slot: Slot) {
        self.reference().set_place(slot);
    }
}

impl<E: Entry> Keyed for Ordered<E> {
    #[inline]
    fn find_key(&self, hash: u64, mut same: impl FnMut(&Py<PyAny>) -> bool) -> Option<Slot> {
        self.find(hash, |entry| entry.key().is_some_and(&mut same))
    }

    fn keys_with(&self, hash: u64) -> impl Iterator<Item = &Py<PyAny>> {
        self.candidates(hash).filter_map(Entry::key)
    }
}

/// The entries of one container and their callback.
pub struct State<E> {
    pub entries: Ordered<E>,
    on_collect: Option<Py<PyAny>>,
    allocated: usize,
}

/// What a container shares with its reaper and its iterators.
pub struct Shared<E> {
    state: Guarded<State<E>>,
    /// How many iterators are on their way: entries keep their places meanwhile.
    walkers: AtomicUsize,
}

impl<E: Entry> Noted for State<E> {}

impl<E: Entry> State<E> {
    /// Notes what the table weighs, and tells where that is new.
    fn reallocated(&mut self) -> Option<usize> {
        let allocated = self.entries.allocated_bytes();
        (allocated != self.allocated).then(|| {
            self.allocated = allocated;
            allocated
        })
    }
}

impl<E: Entry> Shared<E> {
    fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    fn report(&self, allocated: Option<usize>) {
        if let Some(allocated) = allocated {
            trace::report(self.address(), allocated);
        }
    }
}

/// Takes out what a dead reference stands for.
pub trait Reap: Send + Sync {
    /// As [`Reaping::reap`].
    fn reap(&self, reference: &Bound<'_, PyAny>);
}

impl WeakReaper {
    /// The callback of the references of a table.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn make(py: Python<'_>, table: Arc<dyn Reap>) -> PyResult<Py<Self>> {
        let entry = reference::reap::<Self>;
        Py::new(py, Self { entry, table })
    }
}

impl<E: Entry> Reap for Shared<E> {
    fn reap(&self, reference: &Bound<'_, PyAny>) {
        let py = reference.py();
        let (removed, on_collect, allocated) = self.state.with(py, |state| {
            let is_it = |entry: &E| entry.reference().object().is(reference);
            let removed = place_of(reference)
                .filter(|&slot| state.entries.get(slot).is_some_and(is_it))
                .or_else(|| state.entries.position(is_it))
                .and_then(|slot| state.entries.remove(slot))
                .map(|entry| entry.into_parts(py));
            let on_collect = state.on_collect.as_ref().map(|tell| tell.bind(py).clone());
            // A removal gives memory back where it was the last.
            let emptied = state.entries.is_empty();
            (
                removed,
                on_collect,
                emptied.then(|| state.reallocated()).flatten(),
            )
        });
        self.report(allocated);
        if let (Some((_, other)), Some(on_collect)) = (&removed, on_collect) {
            reference::tell(&on_collect, other.as_ref().filter(|_| E::TELLS));
        }
    }
}

/// The callback of a container's references. It doesn't keep the container.
#[pyclass(frozen, module = "leaksafe._core", name = "_WeakReaper")]
#[repr(C)]
pub struct WeakReaper {
    entry: vectorcall::Entry,
    /// A table's references hold their reaper, and that the table: its container, which empties it when it goes, ends
    /// this.
    table: Arc<dyn Reap>,
}

impl Reaping for WeakReaper {
    fn reap(&self, reference: &Bound<'_, PyAny>) {
        self.table.reap(reference);
    }
}

/// A table, as its container owns it.
pub struct WeakTable<E: Entry> {
    shared: Arc<Shared<E>>,
    reaper: Py<WeakReaper>,
    pub flights: Flights,
}

impl<E: Entry> Drop for WeakTable<E> {
    fn drop(&mut self) {
        // Another thread's reaper may hold the shared part for a moment longer.
        Python::attach(|py| self.dissolve(py));
        trace::report(self.shared.address(), 0);
    }
}

impl<E: Entry> WeakTable<E> {
    /// An empty table.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        let shared = Arc::new(Shared {
            state: Guarded::new(State {
                entries: Ordered::<E>::default(),
                on_collect: None,
                allocated: 0,
            }),
            walkers: AtomicUsize::new(0),
        });
        let table = Arc::<Shared<E>>::clone(&shared);
        Ok(Self {
            shared,
            reaper: WeakReaper::make(py, table)?,
            flights: Flights::default(),
        })
    }

    /// Makes the class of the callbacks callable. Once, when the module is made.
    pub fn prepare(&self, py: Python<'_>) {
        vectorcall::install(py, self.reaper.bind(py), false);
    }

    /// A reference to `referent`, for an entry of this table.
    ///
    /// # Errors
    /// `TypeError` where the referent can't be weakly referenced, with the `cure`.
    pub fn refer(&self, referent: &Bound<'_, PyAny>, cure: &str) -> PyResult<Reference> {
        let py = referent.py();
        Reference::new(referent, self.reaper.bind(py).as_any()).map_err(|error| {
            if error.is_instance_of::<PyTypeError>(py) {
                unreferable(referent, cure)
            } else {
                error
            }
        })
    }

    /// The number of entries.
    pub fn len(&self, py: Python<'_>) -> usize {
        self.read(py, |state| state.entries.len())
    }

    /// Looks at the entries, under the lock.
    #[inline]
    pub fn with<R>(&self, py: Python<'_>, section: impl FnOnce(&mut State<E>) -> R) -> R {
        self.shared.state.with(py, section)
    }

    /// As [`Guarded::read`].
    #[inline]
    pub fn read<R>(&self, py: Python<'_>, section: impl Fn(&State<E>) -> R) -> R {
        self.shared.state.read(py, section)
    }

    /// As [`Guarded::try_read`].
    #[inline]
    pub fn try_read<R>(
        &self,
        py: Python<'_>,
        section: impl Fn(&State<E>) -> Option<R>,
    ) -> Option<R> {
        self.shared.state.try_read(py, section)
    }

    /// Finds a key, as [`locate`] does.
    ///
    /// # Errors
    /// What a comparison raises.
    #[inline]
    pub fn locate<'py, R>(
        &self,
        probe: &impl Probe<'py>,
        hash: u64,
        section: impl FnOnce(&mut State<E>, Option<Slot>) -> R,
    ) -> PyResult<R> {
        locate(
            &self.shared.state,
            probe,
            hash,
            |state: &State<E>| &state.entries,
            section,
        )
    }

    /// Looks a key up, as [`locate_read`] does.
    ///
    /// # Errors
    /// What a comparison raises.
    #[inline]
    pub fn locate_read<'py, R>(
        &self,
        probe: &impl Probe<'py>,
        hash: u64,
        section: impl Fn(&State<E>, Option<Slot>) -> R,
    ) -> PyResult<R> {
        locate_read(
            &self.shared.state,
            probe,
            hash,
            |state: &State<E>| &state.entries,
            section,
        )
    }

    /// Adds an entry in a section of this table's.
    ///
    /// # Errors
    /// The entry, where there is no memory for it.
    pub fn push(&self, state: &mut State<E>, hash: u64, entry: E) -> Result<(), E> {
        let may_move = self.shared.walkers.load(Ordering::Acquire) == 0;
        state.entries.push(hash, entry, may_move).map(drop)
    }

    /// Tells the tools what the table weighs, after entries came or went.
    pub fn settle(&self, py: Python<'_>) {
        let allocated = self.with(py, State::reallocated);
        self.shared.report(allocated);
    }

    /// Takes the newest entry out; `None` where there is none. It may be dead.
    pub fn pop(&self, py: Python<'_>) -> Option<E> {
        self.with(py, |state| {
            let last = state.entries.last()?;
            state.entries.remove(last)
        })
    }

    /// Takes all entries out, and releases them.
    pub fn clear(&self, py: Python<'_>) {
        let entries = self.with(py, |state| state.entries.take());
        self.settle(py);
        release::release(entries);
    }

    /// Lets go of everything.
    pub fn dissolve(&self, py: Python<'_>) {
        let contents = self.with(py, |state| {
            state.allocated = 0;
            (state.entries.take(), state.on_collect.take())
        });
        release::release((contents, self.flights.take(py)));
    }

    /// `on_collect`.
    pub fn on_collect(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.with(py, |state| {
            state
                .on_collect
                .as_ref()
                .map(|callback| callback.clone_ref(py))
        })
    }

    /// Sets `on_collect`.
    ///
    /// # Errors
    /// `TypeError` for what can't be called.
    pub fn set_on_collect(&self, py: Python<'_>, callback: Bound<'_, PyAny>) -> PyResult<()> {
        let callback =
            arguments::callable(Some(callback).filter(|it| !it.is_none()), "on_collect")?;
        let old = self.with(py, |state| {
            std::mem::replace(&mut state.on_collect, callback)
        });
        drop(old);
        Ok(())
    }

    /// Bytes allocated for the table and its references.
    pub fn allocated(&self, py: Python<'_>) -> usize {
        self.read(py, |state| state.entries.allocated_bytes())
            + self.shared.state.lock_bytes()
            + self.flights.allocated(py)
    }

    /// Shows all that is held to the collector.
    ///
    /// # Errors
    /// What the visitor answers.
    pub fn visit(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.reaper)?;
        self.flights.visit(visit)?;
        self.shared.state.visit(visit, |state, visit| {
            for entry in state.entries.iter() {
                entry.visit(&visit)?;
            }
            visit.call(&state.on_collect)
        })
    }

    /// A walk over the entries that are there now.
    pub fn walk(&self, py: Python<'_>, owner: Py<PyAny>, part: Part) -> WeakIterator {
        let walk: Arc<dyn Walk> = Arc::<Shared<E>>::clone(&self.shared);
        WeakIterator {
            end: walk.enter(py),
            next: AtomicUsize::new(0),
            part,
            table: Guarded::new(Some((walk, owner))),
        }
    }
}

/// The error for what can't be weakly referenced.
pub fn unreferable(object: &Bound<'_, PyAny>, cure: &str) -> PyErr {
    let kind = object.get_type();
    let name = kind
        .name()
        .map_or_else(|_| "this".into(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "cannot create weak reference to '{name}' object{cure}"
    ))
}

/// No memory for an entry.
pub fn out_of_memory() -> PyErr {
    PyMemoryError::new_err("no memory for another entry")
}

/// A table as an iterator sees it.
trait Walk: Send + Sync {
    /// Notes that an iterator is on its way; where it ends.
    fn enter(&self, py: Python<'_>) -> usize;

    /// Notes that one is at its end.
    fn leave(&self);

    /// The first living entry from the place `next` on, which is moved beyond it.
    fn step<'py>(
        &self,
        py: Python<'py>,
        next: &AtomicUsize,
        end: usize,
        part: Part,
    ) -> Option<Given<'py>>;
}

impl<E: Entry> Walk for Shared<E> {
    fn enter(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| {
            self.walkers.fetch_add(1, Ordering::AcqRel);
            state.entries.places()
        })
    }

    fn leave(&self) {
        self.walkers.fetch_sub(1, Ordering::AcqRel);
    }

    fn step<'py>(
        &self,
        py: Python<'py>,
        next: &AtomicUsize,
        end: usize,
        part: Part,
    ) -> Option<Given<'py>> {
        self.state.with(py, |state| {
            let end = end.min(state.entries.places());
            let mut at = next.load(Ordering::Relaxed);
            let mut given = None;
            while at < end && given.is_none() {
                let slot = Slot::try_from(at).ok()?;
                given = state
                    .entries
                    .get(slot)
                    .and_then(|entry| entry.part(py, part));
                at += 1;
            }
            next.store(at, Ordering::Relaxed);
            given
        })
    }
}

/// A table and its container, which lives as long as it is walked.
type Walked = (Arc<dyn Walk>, Py<PyAny>);

/// An iterator over a weak container. What dies meanwhile is left out, and so is what comes after the start.
#[pyclass(frozen, module = "leaksafe._core", name = "WeakIterator")]
pub struct WeakIterator {
    part: Part,
    end: usize,
    next: AtomicUsize,
    table: Guarded<Option<Walked>>,
}

impl Drop for WeakIterator {
    fn drop(&mut self) {
        if let Some((table, _)) = self.table.get_mut() {
            table.leave();
        }
    }
}

impl WeakIterator {
    fn end(&self, py: Python<'_>) {
        if let Some((table, owner)) = self.table.with(py, Option::take) {
            table.leave();
            drop(owner);
        }
    }
}

#[pymethods]
impl WeakIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let table = self.table.with(py, |table| {
            table.as_ref().map(|(table, _)| Arc::clone(table))
        });
        let Some(table) = table else {
            return Ok(None);
        };
        while let Some((one, other)) = table.step(py, &self.next, self.end, self.part) {
            match (self.part, other) {
                (Part::Items, Some(other)) => {
                    return Ok(Some((one, other).into_pyobject(py)?.into_any()));
                }
                (Part::Members, other) => {
                    if let Some(member) = assemble((one, other))? {
                        return Ok(Some(member));
                    }
                }
                (_, _) => return Ok(Some(one)),
            }
        }
        self.end(py);
        Ok(None)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.table.visit(visit, |table, visit| {
            visit.call(table.as_ref().map(|(_, owner)| owner))
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        self.end(py);
    }
}
