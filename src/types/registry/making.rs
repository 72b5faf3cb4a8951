//! Finding the instance of a key, and making it.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

use super::Registry;
use super::state::{Held, Instance, Phase, State};
use crate::interop::clock;
use crate::interop::lookup::locate_read;
use crate::interop::reference::{Reference, is_referable};
use crate::types::flights::check_factory;
use crate::types::weak_table::out_of_memory;

impl Registry {
    /// What stands in for a key's instance.
    pub fn fake<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        hash: u64,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let state = &self.shared.0;
        if state.read(py, |state| state.fakes.is_empty()) {
            return Ok(None);
        }
        locate_read(
            state,
            key,
            hash,
            |state: &State| &state.fakes,
            |state, found| Some(state.fakes.get(found?)?.value.bind(py).clone()),
        )
    }

    /// What a key has.
    pub fn look<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        hash: u64,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some(fake) = slf.get().fake(key, hash)? {
            return Ok(Some(fake));
        }
        let this = slf.get();
        let now = this.now();
        // What is due is absent, and goes at the next change, or by the sweeper.
        locate_read(
            &this.shared.0,
            key,
            hash,
            |state: &State| &state.entries,
            |state, found| {
                let slot = found.filter(|&slot| !state.entries.is_due(slot, now))?;
                state.entries.get(slot)?.value.value(slf.py())
            },
        )
    }

    /// The same, with its number, after noting that it is used. What stands in for it has the number 0.
    pub fn pinned<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        hash: u64,
    ) -> PyResult<Option<(u64, Bound<'py, PyAny>)>> {
        if let Some(fake) = slf.get().fake(key, hash)? {
            return Ok(Some((0, fake)));
        }
        Self::locate(slf, key, hash, |state, found, _| {
            let instance = &state.entries.get(found?)?.value;
            let value = instance.value(slf.py())?;
            let number = instance.number;
            state.pin(number);
            Some((number, value))
        })
    }

    /// What a key has, or what `factory` makes for it.
    pub fn create<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        hash: u64,
        factory: &Bound<'py, PyAny>,
        pinned: &Cell<Option<u64>>,
        pin: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        check_factory(factory)?;
        let phase = slf.get().shared.0.with(slf.py(), |state| state.phase);
        if phase != Phase::Open {
            return Err(Self::refused(slf, phase)?);
        }
        let look = || Self::look(slf, key, hash);
        let make = || {
            let made = factory.call0()?;
            let (number, value) = Self::put(slf, key, hash, &made, None, pin)?;
            pinned.set(Some(number));
            Ok(value)
        };
        slf.get().flights.once(key, key, hash, look, make)
    }

    /// Keeps a new instance, unless the key has one by then; that one is given back, with its number, and the new one
    /// closed.
    pub fn put<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        hash: u64,
        made: &Bound<'py, PyAny>,
        home: Option<Py<PyAny>>,
        pin: bool,
    ) -> PyResult<(u64, Bound<'py, PyAny>)> {
        let py = slf.py();
        let this = slf.get();
        let held = if !this.shared.0.with(py, |state| state.weak) {
            Held::Strong(made.clone().unbind())
        } else if is_referable(made) {
            Held::Weak(Reference::new(made, this.reaper.bind(py).as_any())?)
        } else {
            return Err(PyTypeError::new_err(format!(
                "{} with weak=True needs instances that can be weakly referenced, and the factory returned one that \
                 can't be: {}",
                slf.get_type().name()?,
                made.get_type().name()?
            )));
        };
        let now = if this.ages.load(Ordering::Relaxed) {
            clock::precise()
        } else {
            0
        };
        let mut new = Some(Instance {
            number: 0,
            held,
            home,
        });
        let mut new_key = Some(key.clone().unbind());
        let outcome = Self::locate(slf, key, hash, |state, found, gone| {
            if state.phase != Phase::Open {
                return Err(Some(state.phase));
            }
            if let Some(slot) = found {
                let present = state.entries.get(slot).and_then(|entry| {
                    let value = entry.value.value(py)?;
                    Some((entry.value.number, value))
                });
                if let Some((number, value)) = present {
                    if pin {
                        state.pin(number);
                    }
                    return Ok((number, value));
                }
                state.drop_slot(slot, gone);
            }
            let (Some(key), Some(instance)) = (new_key.take(), new.take()) else {
                return Err(None);
            };
            match state.add(hash, key, instance, now, gone) {
                Ok(number) => {
                    if pin {
                        state.pin(number);
                    }
                    Ok((number, made.clone()))
                }
                Err(instance) => {
                    new = Some(instance);
                    Err(None)
                }
            }
        });
        let is_present = matches!(&outcome, Ok(Ok((_, value))) if value.is(made));
        if let Some(surplus) = new.filter(|_| !is_present) {
            Self::dismiss(slf, surplus);
        }
        match outcome? {
            Ok(kept) => Ok(kept),
            Err(Some(phase)) => Err(Self::refused(slf, phase)?),
            Err(None) => Err(out_of_memory()),
        }
    }

    fn refused(slf: &Bound<'_, Self>, phase: Phase) -> PyResult<PyErr> {
        let name = slf.get_type().name()?;
        Ok(PyRuntimeError::new_err(if phase == Phase::Closed {
            format!("this {name} is closed and makes no instances")
        } else {
            format!("Registry.__init__() was not called on this {name}: it has no maxsize yet")
        }))
    }
}
