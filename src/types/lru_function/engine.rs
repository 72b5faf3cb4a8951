//! Functions whose results are kept by Python code: the rarer options of `cached`.

use pyo3::prelude::*;
use pyo3::types::{PyType, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit};

use super::LruFunction;
use crate::interop::call::{Call, OwnedCall};
use crate::interop::{build, class};

/// What keeps the results of a function in its place, and how it is told which call is meant.
pub struct Engine {
    /// An object of `leaksafe._results`.
    pub keeper: Py<PyAny>,
    /// What makes a key of the arguments without the instance.
    key: Option<Py<PyAny>>,
}

/// Which call is meant: the instance or class that it has, whether that is to be held weakly, and the key of the rest.
pub type Meant<'py> = (Option<Bound<'py, PyAny>>, bool, Bound<'py, PyAny>);

impl Engine {
    pub fn new(keeper: Py<PyAny>, key: Option<Py<PyAny>>) -> Self {
        Self { keeper, key }
    }

    /// Shows what it holds to the collector.
    ///
    /// # Errors
    /// What the visitor answers, to be handed on.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.keeper)?;
        visit.call(&self.key)
    }

    /// Says which call this is.
    ///
    /// # Errors
    /// What the key's function, or a warning, raises.
    pub fn meant<'py>(
        &self,
        function: &Bound<'py, LruFunction>,
        call: &Call<'_, 'py>,
    ) -> PyResult<Meant<'py>> {
        let py = function.py();
        let receiver = LruFunction::receiver(function, call)?;
        let mut rest = call.to_owned();
        if receiver.is_some() {
            let name = function.get().first_parameter.as_ref();
            rest.take_first(name.map(|name| name.bind(py)))?;
        }
        let key = if let Some(key) = &self.key {
            let (args, kwargs) = rest.arguments()?;
            key.bind(py).call(args, Some(&kwargs))?
        } else {
            let typed = function.get().typed;
            let key = rest.borrowed(typed).key(None)?;
            if typed {
                (key, build::tuple(py, rest.types())?)
                    .into_pyobject(py)?
                    .into_any()
            } else {
                key
            }
        };
        let (receiver, weakly) =
            receiver.map_or((None, false), |(receiver, weakly)| (Some(receiver), weakly));
        Ok((receiver, weakly, key))
    }

    /// The answer of a call, counted.
    ///
    /// # Errors
    /// What the function raises, and all that is asked on the way.
    pub fn answer<'py>(
        &self,
        function: &Bound<'py, LruFunction>,
        call: &Call<'_, 'py>,
    ) -> PyResult<Py<PyAny>> {
        let py = function.py();
        let (receiver, weakly, key) = self.meant(function, call)?;
        let (args, kwargs) = call.to_owned().arguments()?;
        let asked = (receiver, weakly, key, args, kwargs);
        let answer = self.keeper.bind(py).call_method1("call", asked);
        let answer = answer.and_then(|answer| answer.extract::<(Py<PyAny>, bool)>());
        function.get().state.with(py, |state| match &answer {
            Ok((_, true)) => state.hits += 1,
            _ => state.misses += 1,
        });
        Ok(answer?.0)
    }
}

impl LruFunction {
    /// The instance or class that a call of a method has, and whether it is to be held weakly.
    fn receiver<'py>(
        slf: &Bound<'py, Self>,
        call: &Call<'_, 'py>,
    ) -> PyResult<Option<(Bound<'py, PyAny>, bool)>> {
        let Some(first) = slf.get().first(call) else {
            return Ok(None);
        };
        if let Ok(class) = first.cast::<PyType>() {
            Self::note_receiver(slf, class)?;
            let known = slf.get().receivers.get(class).is_some();
            return Ok(known.then(|| (first.clone(), false)));
        }
        let class = first.get_type();
        if !class::is_heap_type(&class) || !Self::is_method(slf, &class)? {
            return Ok(None);
        }
        let weakly = PyWeakrefReference::new(first).is_ok();
        if !weakly {
            Self::warn(slf, &class)?;
        }
        Ok(Some((first.clone(), weakly)))
    }

    /// Asks the engine about the calls that are meant: one, but for a class method.
    ///
    /// # Errors
    /// What the engine raises.
    pub fn ask<'py>(
        slf: &Bound<'py, Self>,
        engine: &Engine,
        calls: &[OwnedCall<'py>],
        what: &str,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let keeper = engine.keeper.bind(slf.py());
        let ask = |call: &OwnedCall<'py>| {
            let call = Self::in_order(slf, call);
            let meant = engine.meant(slf, &call.borrowed(slf.get().typed))?;
            keeper.call_method1(what, meant)
        };
        calls.iter().map(ask).collect()
    }

    /// A call with its arguments in order, where that is asked for.
    pub fn in_order<'py>(slf: &Bound<'py, Self>, call: &OwnedCall<'py>) -> OwnedCall<'py> {
        let borrowed = call.borrowed(slf.get().typed);
        let signature = slf.get().signature.as_ref();
        signature
            .and_then(|signature| signature.arrange(&borrowed))
            .unwrap_or_else(|| borrowed.to_owned())
    }
}
