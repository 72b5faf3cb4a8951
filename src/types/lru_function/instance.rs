//! Which instance, or which class, a call of a cached method has.

use std::ffi::CString;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFunction, PyTuple, PyType};

use super::LruFunction;
use super::owners::Reaper;
use crate::interop::call::{Call, OwnedCall, WeaklyHeld};
use crate::interop::lookup::Probe;
use crate::interop::{build, class, weak};

impl LruFunction {
    /// Whether `class` has this function as a method under its own name.
    pub(super) fn is_method(slf: &Bound<'_, Self>, class: &Bound<'_, PyType>) -> PyResult<bool> {
        let methods = &slf.get().methods;
        if let Some(answer) = methods.get(class) {
            return Ok(answer);
        }
        let answer = Self::is_found_in(slf, class)?;
        methods.insert(class, answer)?;
        Ok(answer)
    }

    /// Looks through the classes that an instance's class inherits from: under the function's own name, mangled where
    /// it is private, and whether it stands there under another one. A class that overrides the method may still call
    /// it through `super`, so the first that has the name isn't the last one asked.
    fn is_found_in(slf: &Bound<'_, Self>, class: &Bound<'_, PyType>) -> PyResult<bool> {
        let py = slf.py();
        let name = slf.get().function.bind(py).getattr(intern!(py, "__name__"));
        let name = name.ok().and_then(|name| name.extract::<String>().ok());
        for base in class.mro().iter() {
            let base = base.cast::<PyType>()?;
            let namespace = class::namespace(base)?;
            if let Some(name) = &name {
                let class_name = base.name()?;
                let mangled = format!("_{}{name}", class_name.to_cow()?.trim_start_matches('_'));
                for name in [name, &mangled] {
                    if let Some(attribute) = namespace.get_item(name)?
                        && Self::leads_here(slf, attribute)
                    {
                        return Ok(true);
                    }
                }
            }
            if namespace.values().iter().any(|value| value.is(slf)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether an attribute of a class, unwrapped, is this function, and gets the instance as its first argument.
    fn leads_here(slf: &Bound<'_, Self>, attribute: Bound<'_, PyAny>) -> bool {
        // Longer chains of decorators are circles.
        const LIMIT: u8 = 64;
        let mut at = attribute;
        for _ in 0..LIMIT {
            if at.is(slf) {
                return true;
            }
            if class::passes_no_instance(&at) {
                return false;
            }
            let inner = ["__wrapped__", "__func__", "fget"]
                .iter()
                .find_map(|name| at.getattr(*name).ok());
            match inner {
                Some(inner) if !inner.is_none() => at = inner,
                _ => return false,
            }
        }
        false
    }

    /// The name of a function's first parameter, where that can be given by its name.
    pub(super) fn first_parameter(function: &Bound<'_, PyAny>) -> Option<Py<PyAny>> {
        let code = function
            .cast_exact::<PyFunction>()
            .ok()?
            .getattr("__code__");
        let code = code.ok()?;
        let number = |name| code.getattr(name).ok()?.extract::<usize>().ok();
        if number("co_argcount")? == 0 || number("co_posonlyargcount")? > 0 {
            return None;
        }
        let names = code.getattr("co_varnames").ok()?;
        names.get_item(0).ok().map(Bound::unbind)
    }

    /// The argument that is the instance, if this is a method: the first one, also where it is given by name.
    pub(super) fn first<'a, 'py>(&self, call: &'a Call<'_, 'py>) -> Option<&'a Bound<'py, PyAny>> {
        call.first().or_else(|| {
            let name = self.first_parameter.as_ref()?;
            call.named(name.bind(call.py()))
        })
    }

    /// The instance that a call must not hold, with the weak reference to put in its place.
    pub(super) fn instance<'py>(
        slf: &Bound<'py, Self>,
        call: &Call<'_, 'py>,
    ) -> PyResult<Option<WeaklyHeld<'py>>> {
        let py = slf.py();
        let this = slf.get();
        let Some(first) = this.first(call).filter(|_| this.weak_self) else {
            return Ok(None);
        };
        if let Ok(receiver) = first.cast::<PyType>() {
            Self::note_receiver(slf, receiver)?;
        }
        let class = first.get_type();
        if !class::is_heap_type(&class) || !Self::is_method(slf, &class)? {
            return Ok(None);
        }
        let known = this.state.with(py, |state| {
            state
                .owners
                .reference(first)
                .filter(|reference| weak::instance(reference.bind(py)) == Some(first.as_ptr()))
                .map(|reference| reference.clone_ref(py))
        });
        if let Some(reference) = known {
            return Ok(Some((first.clone(), reference.into_bound(py))));
        }
        let reaper = Reaper::of(slf)?;
        if let Some(reference) = weak::refer(first, &reaper)? {
            return Ok(Some((first.clone(), reference)));
        }
        Self::warn(slf, &class)?;
        Ok(None)
    }

    /// Notes a class that has this function as a class method.
    pub(super) fn note_receiver(slf: &Bound<'_, Self>, class: &Bound<'_, PyType>) -> PyResult<()> {
        let py = slf.py();
        if slf.get().receivers.get(class).is_some() {
            return Ok(());
        }
        let Ok(name) = slf.get().function.bind(py).getattr(intern!(py, "__name__")) else {
            return Ok(());
        };
        for base in class.mro().iter() {
            let namespace = class::namespace(base.cast::<PyType>()?)?;
            let Some(attribute) = namespace.get_item(&name)? else {
                continue;
            };
            if class::passes_class(&attribute)
                && Self::leads_here(slf, attribute.getattr(intern!(py, "__func__"))?)
            {
                slf.get().receivers.insert(class, ())?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// The classes to ask for, where a class method's attribute was called without its class.
    ///
    /// Since 3.13, `Cls.method` is a `types.MethodType`, whose attributes are the function's own: nothing tells them
    /// which class they were reached by, so that all that have called it are meant.
    fn receivers<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let living = slf.get().receivers.living(slf.py());
        if let Ok(first) = args.get_item(0)
            && let Ok(first) = first.cast_into::<PyType>()
        {
            let inherits = |class: &Bound<'_, PyType>, from: &Bound<'_, PyType>| {
                class.mro().iter().any(|base| base.is(from))
            };
            for class in &living {
                let class = class.cast::<PyType>()?;
                if inherits(&first, class) || inherits(class, &first) {
                    return Ok(Vec::new());
                }
            }
        }
        Ok(living)
    }

    /// Says once for each class that its instances are held.
    pub(super) fn warn(slf: &Bound<'_, Self>, class: &Bound<'_, PyType>) -> PyResult<()> {
        let py = slf.py();
        if slf.get().warned.insert(class, ())?.is_some() {
            return Ok(());
        }
        let category = py.import("leaksafe._functions")?.getattr("LeakWarning")?;
        let class_name = class.qualname()?;
        let name = slf
            .get()
            .function
            .bind(py)
            .getattr(intern!(py, "__qualname__"))
            .map_or_else(|_| "a method".to_owned(), |name| name.to_string());
        let bound = slf.get().maxsize.map_or("for ever".to_owned(), |maxsize| {
            format!("until {maxsize} newer calls push them out")
        });
        // Instances of varying size (of int, tuple, bytes) have no place for weak references.
        let cure = if class::varies_in_size(class) {
            "hold the value in an attribute in place of inheriting from its type"
        } else {
            "add '__weakref__' to its __slots__"
        };
        let message = format!(
            "the cache of {name} holds instances of {class_name} {bound}, because they can't be weakly referenced: \
             {cure}, cache a function that doesn't take the instance, or say weak_self=False if it is meant"
        );
        let message = CString::new(message)?;
        PyErr::warn(py, &category, &message, 1)
    }

    /// The calls that the arguments of `cache_discard` or `cache_contains` mean: one, but for a class method.
    pub(super) fn calls<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Vec<OwnedCall<'py>>> {
        let receivers = Self::receivers(slf, args)?;
        if receivers.is_empty() {
            return Ok(vec![OwnedCall::new(args, kwargs)?]);
        }
        let with_class = |class| {
            let all = std::iter::once(class).chain(args.iter());
            let all = build::tuple(slf.py(), all.collect::<Vec<_>>())?;
            OwnedCall::new(&all, kwargs)
        };
        receivers.into_iter().map(with_class).collect()
    }
}
