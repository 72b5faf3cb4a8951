//! The ages of results: `ttl_cache`.

use std::sync::atomic::Ordering;

use pyo3::prelude::*;

use super::{Departed, LruFunction, State};
use crate::core::{Cache, Due, NEVER, Slot};
use crate::interop::{clock, trace};
use crate::types::aging::{Aging, Timing};
use crate::types::sweeper::{self, SLICE, Swept};

/// So many, at least, go for each that comes: what nobody sweeps doesn't pile up.
const AT_ONCE: usize = 2;

impl State {
    /// An empty cache whose entries age by these rules, or don't.
    pub fn new(maxsize: Option<u64>, weighed: bool, aging: Option<Aging>) -> Self {
        let entries = Cache::new(maxsize, weighed);
        Self {
            entries: Some(match &aging {
                Some(_) => entries.with_ages(false),
                None => entries,
            }),
            aging: aging.map(Box::new),
            swept: NEVER,
            ..Self::default()
        }
    }

    #[inline]
    pub fn is_due(&self, slot: Slot, now: u64) -> bool {
        let entries = self.entries.as_ref();
        entries.is_some_and(|entries| entries.is_due(slot, now))
    }

    /// When an entry of now is due.
    pub fn deadline(&self, now: u64) -> u64 {
        let aging = self.aging.as_ref();
        aging
            .and_then(|aging| Some(aging.deadline(now, aging.plain_ttl()?)))
            .unwrap_or(NEVER)
    }

    /// Sets the age of an entry; tells when the sweeper is to come for it, where that is news to it.
    pub fn set_age(&mut self, slot: Slot, now: u64) -> Option<u64> {
        let deadline = self.deadline(now);
        self.entries.as_mut()?.set_deadline(slot, deadline, 0, now);
        let swept = self.aging.as_ref()?.timer.is_none();
        (swept && deadline < self.swept).then(|| {
            self.swept = deadline;
            deadline
        })
    }

    fn lacks_room(&self, weight: u64) -> bool {
        let entries = self.entries.as_ref();
        entries.is_some_and(|entries| entries.lacks_room(weight))
    }

    /// Takes out an entry that is due, where one is found in at most so many steps.
    fn pop_expired(&mut self, py: Python<'_>, now: u64, steps: &mut u32) -> Option<Departed> {
        match self.entries.as_mut()?.due(now, steps) {
            Due::Slot(slot) => self.remove(py, slot),
            Due::Nothing | Due::Unfinished => None,
        }
    }

    /// Takes out what is due before an entry comes: what has its room, and a little more.
    pub fn make_room(
        &mut self,
        py: Python<'_>,
        weight: u64,
        now: u64,
        expired: &mut Vec<Departed>,
    ) {
        let Some(entries) = self.entries.as_mut().filter(|_| self.aging.is_some()) else {
            return;
        };
        entries.shrink();
        let mut steps = SLICE;
        while expired.len() < AT_ONCE || self.lacks_room(weight) {
            match self.pop_expired(py, now, &mut steps) {
                Some(departed) => expired.push(departed),
                None => return,
            }
        }
    }
}

impl LruFunction {
    /// The name of the decorator.
    pub fn kind(&self) -> &'static str {
        match self.timing {
            _ if self.cached => "cached",
            Timing::Ageless => "lru_cache",
            Timing::Cheap | Timing::Asked => "ttl_cache",
        }
    }

    /// The time by which results are due or not, and from which a lifetime is counted.
    ///
    /// # Errors
    /// What the timer raises, or its answer deserves.
    pub fn now(&self, py: Python<'_>) -> PyResult<u64> {
        match self.timing {
            Timing::Ageless => Ok(0),
            Timing::Cheap => Ok(clock::precise()),
            Timing::Asked => {
                let aging = self.state.with(py, |state| {
                    state.aging.as_ref().map(|aging| aging.clone_ref(py))
                });
                aging.map_or(Ok(0), |aging| aging.now(py))
            }
        }
    }

    /// Has the sweeper come when something is due.
    pub fn watch(slf: &Bound<'_, Self>, due: u64) {
        slf.get().watched.store(true, Ordering::Relaxed);
        if let Err(error) = sweeper::watch(slf, due) {
            error.write_unraisable(slf.py(), Some(slf));
        }
    }

    /// Takes out all that is due.
    ///
    /// # Errors
    /// As [`now`](Self::now).
    pub fn expire_due(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().timing != Timing::Ageless {
            let now = slf.get().now(slf.py())?;
            while !Self::expire_slice(slf, now).1 {}
        }
        Ok(())
    }
}

impl Swept for LruFunction {
    fn expire_slice(slf: &Bound<'_, Self>, now: u64) -> (usize, bool) {
        let py = slf.py();
        let (expired, allocated, done) = slf.get().state.with(py, |state| {
            let mut steps = SLICE;
            let mut expired = Vec::new();
            while expired.len() < SLICE as usize
                && let Some(departed) = state.pop_expired(py, now, &mut steps)
            {
                expired.push(departed);
            }
            let done = expired.len() < SLICE as usize && steps > 0;
            if let Some(entries) = state.entries.as_mut().filter(|entries| entries.is_empty()) {
                entries.release();
            }
            (expired, state.reallocated(), done)
        });
        if let Some(allocated) = allocated {
            trace::report(slf.get().address(), allocated);
        }
        let count = expired.len();
        drop(expired);
        (count, done)
    }

    fn next_due(slf: &Bound<'_, Self>) -> u64 {
        slf.get().state.with(slf.py(), |state| {
            state.swept = state.entries.as_ref().map_or(NEVER, Cache::earliest_due);
            state.swept
        })
    }
}
