//! The ages of entries, and how a cache knows the time.

use std::sync::atomic::Ordering;

use pyo3::prelude::*;

use super::LruCache;
use super::state::State;
use crate::interop::clock;
use crate::interop::equality::hash_of;
use crate::types::aging::{Aging, Lifetime, Timing};
use crate::types::sweeper;

impl LruCache {
    /// How the age of entries is told.
    #[inline]
    pub fn timing(&self) -> Timing {
        match self.timing.load(Ordering::Relaxed) {
            0 => Timing::Ageless,
            1 => Timing::Cheap,
            _ => Timing::Asked,
        }
    }

    /// The time of an operation, by which entries are due or not, and from which a lifetime is counted.
    ///
    /// # Errors
    /// What the cache's timer raises, or its answer deserves.
    #[inline]
    pub fn now(slf: &Bound<'_, Self>) -> PyResult<u64> {
        match slf.get().timing() {
            Timing::Ageless => Ok(0),
            Timing::Cheap => Ok(clock::precise()),
            Timing::Asked => Self::aging(slf).map_or(Ok(0), |aging| aging.now(slf.py())),
        }
    }

    /// The rules of age; `None` where there are none.
    pub fn aging(slf: &Bound<'_, Self>) -> Option<Aging> {
        let py = slf.py();
        slf.get().state.with(py, |state| {
            state.aging.as_ref().map(|aging| aging.clone_ref(py))
        })
    }

    /// Sets the rules of age of a cache without entries.
    pub fn set_aging(&self, state: &mut State, aging: Option<Aging>) -> Option<Box<Aging>> {
        let timing = Timing::of(aging.as_ref());
        self.timing.store(timing as u8, Ordering::Relaxed);
        if let Some(aging) = &aging {
            let empty = std::mem::replace(&mut state.entries, crate::core::Cache::new(None, false));
            state.entries = empty.with_ages(aging.sliding);
        }
        std::mem::replace(&mut state.aging, aging.map(Box::new))
    }

    /// What an entry is to live for, and the time from which that counts; `None` where there is no age.
    pub fn age(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        given: Option<Lifetime>,
        now: Option<u64>,
    ) -> PyResult<Option<(u64, Lifetime)>> {
        if slf.get().timing() == Timing::Ageless {
            return Ok(None);
        }
        let Some(aging) = Self::aging(slf) else {
            return Ok(None);
        };
        let lifetime = match given {
            Some(lifetime) => lifetime,
            None => Lifetime::new(aging.spread(aging.lifetime(key, value)?)),
        };
        let now = match now {
            Some(now) if aging.timer.is_some() => now,
            _ => aging.now(slf.py())?,
        };
        Ok(Some((now, lifetime)))
    }

    /// The seconds that a key has left.
    ///
    /// # Errors
    /// What the key's `__hash__`, a comparison or the timer raises.
    pub fn remaining(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
        let now = Self::now(slf)?;
        let hash = hash_of(key)?;
        let deadline = Self::locate_read(slf, key, hash, now, |entries, found| {
            found.map(|slot| entries.deadline(slot))
        })?;
        let aging = Self::aging(slf);
        Ok(deadline.and_then(|deadline| Some(aging?.remaining(now, deadline))))
    }

    /// Starts the age of a key again, and says whether it is there.
    ///
    /// # Errors
    /// What the key's `__hash__`, a comparison, the timer or `ttl` raises.
    pub fn rejuvenate(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        lifetime: Option<Lifetime>,
    ) -> PyResult<bool> {
        let now = Self::now(slf)?;
        let hash = hash_of(key)?;
        let Some(value) = Self::peeked_at(slf, key, hash, now)? else {
            return Ok(false);
        };
        let age = Self::age(slf, key, value.bind(slf.py()), lifetime, Some(now))?;
        let mut sweep = None;
        let touched = Self::locate(slf, key, hash, now, |state, found| {
            let (Some(slot), Some((now, lifetime))) = (found, age) else {
                return false;
            };
            state.entries.touch(slot);
            state.set_age(slot, now, lifetime);
            sweep = state.news(slot);
            true
        })?;
        if let Some(due) = sweep {
            Self::watch(slf, due);
        }
        Ok(touched)
    }

    /// Has the sweeper come when something is due.
    pub fn watch(slf: &Bound<'_, Self>, due: u64) {
        slf.get().watched.store(true, Ordering::Relaxed);
        if let Err(error) = sweeper::watch(slf, due) {
            error.write_unraisable(slf.py(), Some(slf));
        }
    }
}
