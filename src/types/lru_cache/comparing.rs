//! `==` and `repr`.

use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyString};
use pyo3::{IntoPyObjectExt, intern};

use super::LruCache;
use crate::interop::build::Text;
use crate::interop::{build, repr};

impl LruCache {
    /// Whether a mapping has the same keys and values.
    pub fn equals<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if slf.is(other) {
            return true.into_bound_py_any(py);
        }
        let theirs = build::dict(py)?;
        if let Ok(other) = other.cast::<Self>() {
            for (key, value) in Self::snapshot(other)? {
                theirs.set_item(key, value)?;
            }
        } else if let Ok(other) = other.cast::<PyMapping>() {
            for pair in other.call_method0(intern!(py, "items"))?.try_iter()? {
                let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair?.extract()?;
                theirs.set_item(key, value)?;
            }
        } else {
            return Ok(py.NotImplemented().into_bound(py));
        }
        let ours = build::dict(py)?;
        for (key, value) in Self::snapshot(slf)? {
            ours.set_item(key, value)?;
        }
        ours.rich_compare(theirs, pyo3::basic::CompareOp::Eq)
    }

    /// The text of `repr`.
    pub fn shown(slf: &Bound<'_, Self>) -> PyResult<Text> {
        // A log line is no place for a million entries.
        const SHOWN: usize = 100;
        let name = slf.get_type().name()?.to_string();
        let Some(_guard) = repr::enter(slf)? else {
            return Ok(Text(format!("{name}(...)")));
        };
        let py = slf.py();
        Self::expire_due(slf)?;
        let (pairs, len, currsize, maxsize) = slf.get().read(py, |entries| {
            let mut pairs = Vec::new();
            let mut at = entries.first(false);
            while let Some(slot) = at.filter(|_| pairs.len() < SHOWN) {
                if let Some(entry) = entries.get(slot) {
                    pairs.push((entry.key.clone_ref(py), entry.value.clone_ref(py)));
                }
                at = entries.next(slot, false);
            }
            (pairs, entries.len(), entries.weight(), entries.bound())
        });
        let mut shown = Vec::with_capacity(pairs.len() + 1);
        for (key, value) in &pairs {
            shown.push(format!(
                "{}: {}",
                text(&key.bind(py).repr()?),
                text(&value.bind(py).repr()?)
            ));
        }
        if len > pairs.len() {
            shown.push(format!("... {} more", len - pairs.len()));
        }
        let maxsize = maxsize.map_or("None".to_owned(), |maxsize| maxsize.to_string());
        let shown = shown.join(", ");
        Ok(Text(format!(
            "{name}({{{shown}}}, maxsize={maxsize}, currsize={currsize})"
        )))
    }
}

/// A `repr` as text; one that isn't valid Unicode is escaped.
fn text(repr: &Bound<'_, PyString>) -> String {
    repr.to_string_lossy().into_owned()
}
