//! What calls of a function mean the same: `f(5)`, `f(x=5)`, and both without an argument that is left at its default.

use pyo3::PyTraverseError;
use pyo3::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::build;
use super::call::{Call, OwnedCall};
use super::equality::{self, Verdict};
use super::lookup::Probe;

/// Calls with more keywords are left as they are.
const MANY: usize = 64;

/// A function's parameters.
pub struct Signature {
    /// The names of those that can be given by position.
    positional: Vec<Py<PyString>>,
    /// How many of these can't be given by name.
    unnamed: usize,
    /// The defaults of the last of these.
    defaults: Vec<Py<PyAny>>,
    /// The names of those that are given by name only.
    named: Py<PyTuple>,
    /// The defaults of these.
    named_defaults: Py<PyDict>,
    /// Whether there is room for more positional arguments.
    more: bool,
    /// Whether there is room for more keywords.
    more_named: bool,
    /// Whether a call with every positional argument, and no keyword, is as it should be.
    simple: bool,
}

/// As Python describes them: the fields of [`Signature`] in their order, but for the last.
type Described<'py> = (
    Vec<Py<PyString>>,
    usize,
    Vec<Py<PyAny>>,
    Bound<'py, PyTuple>,
    Bound<'py, PyDict>,
    bool,
    bool,
);

impl Signature {
    /// From a description.
    ///
    /// # Errors
    /// `TypeError` where it isn't one.
    pub fn new(described: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (positional, unnamed, defaults, named, named_defaults, more, more_named) =
            described.extract::<Described<'_>>()?;
        Ok(Self {
            simple: named.is_empty(),
            positional,
            unnamed,
            defaults,
            named: named.unbind(),
            named_defaults: named_defaults.unbind(),
            more,
            more_named,
        })
    }

    /// Whether a call surely has its arguments as [`arrange`](Self::arrange) would put them.
    #[inline]
    pub fn is_in_order(&self, call: &Call<'_, '_>) -> bool {
        let (positional, names) = call.parts();
        self.simple && names.is_none() && positional.len() >= self.positional.len()
    }

    /// The call with its arguments in order: each at its position or, where it has none, under its name in the order
    /// of the parameters, and with the defaults of those that were left out. `None` where it is in order already, and
    /// where it is wrong: the function says so itself.
    pub fn arrange<'py>(&self, call: &Call<'_, 'py>) -> Option<OwnedCall<'py>> {
        if self.is_in_order(call) {
            return None;
        }
        let py = call.py();
        let (given, names) = call.parts();
        let wrong = given.len() > self.positional.len() && !self.more;
        let many = names.is_some_and(|names| names.len() > MANY);
        if wrong || many {
            return None;
        }
        let mut keywords = Keywords::new(call, names);
        let mut items = Vec::with_capacity(given.len().max(self.positional.len()));
        items.extend_from_slice(given);
        let first_default = self.positional.len() - self.defaults.len();
        for (at, name) in self.positional.iter().enumerate().skip(given.len()) {
            let by_name = if at < self.unnamed {
                None
            } else {
                keywords.take(name.bind(py))
            };
            let default = || Some(self.defaults.get(at.checked_sub(first_default)?)?.bind(py));
            items.push(by_name.or_else(default)?.clone());
        }
        let order = self.named.bind(py);
        for name in order.as_slice() {
            let value = match keywords.take(name.cast::<PyString>().ok()?) {
                Some(value) => value.clone(),
                None => self.named_defaults.bind(py).get_item(name).ok()??,
            };
            items.push(value);
        }
        let mut rest = keywords.rest().peekable();
        if rest.peek().is_none() {
            let names = (!order.is_empty()).then(|| order.clone());
            return Some(OwnedCall::from_parts(py, items, names));
        }
        if !self.more_named {
            return None;
        }
        let mut names: Vec<_> = order.iter().collect();
        for (name, value) in rest {
            let twice = self.positional[self.unnamed..].iter().any(|other| {
                equality::compare_objects(other.bind(py).as_any(), name) == Verdict::Same
            });
            if twice {
                return None;
            }
            names.push(name.clone());
            items.push(value.clone());
        }
        let names = build::tuple(py, names).ok()?;
        Some(OwnedCall::from_parts(py, items, Some(names)))
    }

    /// Shows the defaults to the collector.
    ///
    /// # Errors
    /// What the visitor answers, to be handed on.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for default in &self.defaults {
            visit.call(default)?;
        }
        visit.call(&self.named_defaults)
    }
}

/// The keywords of a call, each taken once.
struct Keywords<'a, 'py> {
    names: &'a [Bound<'py, PyAny>],
    values: &'a [Bound<'py, PyAny>],
    /// A bit for each.
    taken: u64,
}

impl<'a, 'py> Keywords<'a, 'py> {
    fn new(call: &'a Call<'_, 'py>, names: Option<&'a Bound<'py, PyTuple>>) -> Self {
        let names = names.map_or(&[][..], |names| names.as_slice());
        Self {
            names,
            values: call.keyword_values(),
            taken: 0,
        }
    }

    fn take(&mut self, name: &Bound<'py, PyString>) -> Option<&'a Bound<'py, PyAny>> {
        let at = self
            .names
            .iter()
            .position(|other| equality::compare_objects(other, name.as_any()) == Verdict::Same)?;
        self.taken |= 1 << at;
        Some(&self.values[at])
    }

    fn rest(&self) -> impl Iterator<Item = (&'a Bound<'py, PyAny>, &'a Bound<'py, PyAny>)> {
        let taken = self.taken;
        let all = self.names.iter().zip(self.values).enumerate();
        all.filter_map(move |(at, pair)| (taken & 1 << at == 0).then_some(pair))
    }
}
