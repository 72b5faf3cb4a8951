//! The living caches and decorated functions of the process, none of which is held for that.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyList, PyWeakrefReference};

use crate::interop::build;
use crate::interop::guard::{Guarded, Noted};
use crate::interop::weak;

/// So many are noted, at least, before those that have gone are looked for.
const FEW: usize = 64;

/// A weak reference to one, and where it was made.
type Note = (Py<PyAny>, Option<Py<PyAny>>);

struct Notes {
    /// In the order in which they were made.
    notes: Vec<Note>,
    /// With so many, those that have gone are taken out.
    many: usize,
}

impl Noted for Notes {}

static NOTES: LazyLock<Guarded<Notes>> = LazyLock::new(|| {
    Guarded::new(Notes {
        notes: Vec::new(),
        many: FEW,
    })
});

/// Whether it is to be noted where each is made.
static PLACES: AtomicBool = AtomicBool::new(false);

/// Notes that something lives. O(1) amortised.
///
/// # Errors
/// `MemoryError`; `TypeError` for what can't be weakly referenced.
#[pyfunction(name = "_enter")]
#[pyo3(signature = (object, /))]
pub fn enter(object: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = object.py();
    let reference = PyWeakrefReference::new(object)?.into_any().unbind();
    let place = if PLACES.load(Ordering::Relaxed) {
        let census = py.import("leaksafe._census")?;
        Some(census.call_method0("place")?.unbind())
    } else {
        None
    };
    let gone = NOTES.with(py, |notes| {
        notes.notes.push((reference, place));
        (notes.notes.len() >= notes.many).then(|| notes.tidy(py))
    });
    drop(gone);
    Ok(())
}

impl Notes {
    /// Takes out those that have gone, and gives them back; they are next looked for at twice the number of the living.
    /// What lives is given back, too: it may be the last reference by now, and nothing is to be dropped here.
    fn tidy(&mut self, py: Python<'_>) -> (Vec<Note>, Vec<Py<PyAny>>) {
        let mut held = Vec::new();
        let (living, gone) =
            std::mem::take(&mut self.notes)
                .into_iter()
                .partition(|(reference, _)| {
                    let object = weak::upgrade(reference.bind(py));
                    let lives = object.is_some();
                    held.extend(object.map(Bound::unbind));
                    lives
                });
        self.notes = living;
        self.many = FEW.max(2 * self.notes.len());
        (gone, held)
    }
}

/// Those that live, in the order in which they were made, each with the place if that was noted.
#[pyfunction(name = "_living")]
pub fn living(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let notes: Vec<Note> = NOTES.with(py, |notes| {
        let notes = notes.notes.iter();
        notes
            .map(|(reference, place)| {
                let place = place.as_ref().map(|place| place.clone_ref(py));
                (reference.clone_ref(py), place)
            })
            .collect()
    });
    let living = build::list(py)?;
    for (reference, place) in notes {
        if let Some(object) = weak::upgrade(reference.bind(py)) {
            let place = place.unwrap_or_else(|| py.None());
            living.append(build::tuple(py, [object, place.into_bound(py)])?)?;
        }
    }
    Ok(living)
}

/// Has it noted from now on where each is made, or not any more.
#[pyfunction(name = "_record_places")]
#[pyo3(signature = (on, /))]
pub fn record_places(on: bool) {
    PLACES.store(on, Ordering::Relaxed);
}
