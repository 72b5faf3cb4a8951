//! What a cache holds under its lock, and the changes that need no Python code.

use pyo3::prelude::*;

use super::LruCache;
use crate::core::{Cache, Due, NEVER, Removed, Slot, StoreError};
use crate::interop::equality::{Verdict, compare, is_atomic};
use crate::interop::gc;
use crate::interop::guard::Noted;
use crate::types::aging::{Aging, Lifetime};
use crate::types::stats::{Cause, Counters};
use crate::types::weigher::Weigher;

/// What a cache holds.
pub type Entries = Cache<Py<PyAny>, Py<PyAny>>;
pub type Pair = (Py<PyAny>, Py<PyAny>);
/// `getsizeof`, `on_remove` and the rules of age.
pub type Rules = (Option<Py<PyAny>>, Option<Py<PyAny>>, Option<Aging>);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// `__new__` ran and `__init__` did not.
    Made,
    Open,
    Closed,
}

pub struct State {
    pub entries: Entries,
    pub weigher: Option<Weigher>,
    pub aging: Option<Box<Aging>>,
    /// When the sweeper comes: nothing before is news to it.
    pub swept: u64,
    pub on_remove: Option<Py<PyAny>>,
    pub counters: Counters,
    pub phase: Phase,
    pub tracked: bool,
    pub allocated: usize,
}

/// Why nothing was stored.
#[derive(Clone, Copy)]
pub enum Refusal {
    Phase(Phase),
    TooHeavy { weight: u64, maxsize: u64 },
    Store(StoreError),
}

/// What an operation took out, on its way out of the lock.
#[derive(Default)]
pub struct Change {
    /// The key and value that were not stored, or the key and the old value of an entry that was `replaced`.
    pub leftover: Option<Pair>,
    pub replaced: bool,
    pub evicted: Removed<Pair>,
    pub expired: Removed<Pair>,
    /// When the sweeper is to come, where that is news to it.
    pub sweep: Option<u64>,
    /// The callback, where there is something to tell it.
    pub on_remove: Option<Py<PyAny>>,
    /// The bytes that the table now has, where that changed.
    pub allocated: Option<usize>,
}

impl Noted for State {
    #[inline]
    fn used(&mut self, slot: Slot) {
        self.entries.touch(slot);
    }

    #[inline]
    fn counted(&mut self, uses: u64) {
        self.counters.hits += uses;
    }
}

impl State {
    pub fn refuse_unless_open(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Open => Ok(()),
            phase => Err(Refusal::Phase(phase)),
        }
    }

    /// From now on the cache may be part of a cycle.
    pub fn track(&mut self, cache: &Bound<'_, LruCache>) {
        if !self.tracked {
            gc::track(cache);
            self.tracked = true;
        }
    }

    pub fn callback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.on_remove
            .as_ref()
            .map(|callback| callback.clone_ref(py))
    }

    /// Puts an entry where that takes no Python code, no memory and no callback, and returns what is to be released;
    /// else `None`, and nothing has happened.
    #[inline]
    pub fn put_plain<'py>(
        &mut self,
        key: &Bound<'py, PyAny>,
        hash: u64,
        value: &Bound<'py, PyAny>,
        now: u64,
    ) -> Option<[Bound<'py, PyAny>; 2]> {
        let py = key.py();
        let plain = self.weigher.is_none() && self.on_remove.is_none();
        if self.phase != Phase::Open || !plain {
            return None;
        }
        if !self.tracked && !is_atomic(value) {
            return None;
        }
        let deadline = match &self.aging {
            None => NEVER,
            Some(aging) => {
                let deadline = aging.deadline(now, aging.plain_ttl()?);
                if deadline < self.swept {
                    return None;
                }
                deadline
            }
        };
        if let Some(slot) = self.entries.find_hash(hash) {
            if self.entries.is_due(slot, now) {
                return None;
            }
            if compare(&self.entries.get(slot)?.key, key) != Verdict::Same {
                return None;
            }
            let old = self.entries.set_value(slot, value.clone().unbind())?;
            self.counters.replaced += 1;
            self.entries.set_deadline(slot, deadline, 0, now);
            return Some([key.clone(), old.into_bound(py)]);
        }
        let victim = self.entries.exchangeable()?;
        if deadline != NEVER && self.entries.earliest_due() <= now {
            return None;
        }
        let (new_key, new_value) = (key.clone().unbind(), value.clone().unbind());
        let (old_key, old_value) = self.entries.exchange(victim, hash, new_key, new_value)?;
        self.entries.set_deadline(victim, deadline, 0, now);
        self.counters.insertions += 1;
        self.counters.size += 1;
        Some([old_key.into_bound(py), old_value.into_bound(py)])
    }

    /// Puts an entry in its slot, or in a new one. What doesn't stay goes into `change`.
    #[inline]
    pub fn put(
        &mut self,
        py: Python<'_>,
        hash: u64,
        (key, value): Pair,
        (weight, age): (u64, Option<(u64, Lifetime)>),
        found: Option<Slot>,
        change: &mut Change,
    ) -> Result<(), Refusal> {
        if let Err(refusal) = self.refuse_unless_open() {
            change.leftover = Some((key, value));
            return Err(refusal);
        }
        let len = self.entries.len();
        if let Some((now, _)) = age {
            if found.is_none() {
                // Not when the rest expired: iterators may be under way, for which that is no change.
                self.entries.shrink();
            }
            let mut steps = u32::MAX;
            while self.entries.lacks_room(weight)
                && let Some(pair) = self.pop_expired(now, &mut steps)
            {
                change.expired.push(pair);
            }
        }
        let mut placed = found;
        let stored = match found {
            Some(slot) => {
                match self
                    .entries
                    .replace(slot, value, weight, &mut change.evicted)
                {
                    Ok(old) => {
                        self.counters.replaced += 1;
                        change.replaced = true;
                        change.leftover = old.map(|old| (key, old));
                        Ok(())
                    }
                    Err((error, value)) => Err((error, key, value)),
                }
            }
            None => self
                .entries
                .insert(hash, key, value, weight, &mut change.evicted)
                .map(|slot| {
                    placed = slot;
                    self.counters.insertions += 1;
                }),
        };
        if let (Ok(()), Some(slot), Some((now, lifetime))) = (&stored, placed, age) {
            self.set_age(slot, now, lifetime);
            change.sweep = self.news(slot);
        }
        self.counters.size += change.evicted.len() as u64;
        if change.replaced || !change.evicted.is_empty() || !change.expired.is_empty() {
            change.on_remove = self.callback(py);
        }
        if self.entries.len() != len {
            change.allocated = self.reallocated();
        }
        stored.map_err(|(error, key, value)| {
            change.leftover = Some((key, value));
            match error {
                StoreError::TooHeavy => Refusal::TooHeavy {
                    weight,
                    maxsize: self.entries.bound().unwrap_or(u64::MAX),
                },
                other => Refusal::Store(other),
            }
        })
    }

    /// Notes what the table weighs, and tells where that is new.
    pub fn reallocated(&mut self) -> Option<usize> {
        let allocated = self.entries.allocated_bytes();
        (allocated != self.allocated).then(|| {
            self.allocated = allocated;
            allocated
        })
    }

    pub fn take_slot(&mut self, slot: Slot, cause: Cause) -> Option<Pair> {
        let pair = self.entries.remove(slot)?;
        self.counters.removed(cause, 1);
        Some(pair)
    }

    /// Sets the age of an entry, at a time.
    pub fn set_age(&mut self, slot: Slot, now: u64, lifetime: Lifetime) {
        if let Some(aging) = &self.aging {
            let deadline = aging.deadline(now, lifetime.left);
            self.entries
                .set_deadline(slot, deadline, lifetime.span.to_bits(), now);
        }
    }

    /// When the sweeper is to come for the entry in a slot, where that is news to it.
    pub fn news(&mut self, slot: Slot) -> Option<u64> {
        let deadline = self.entries.deadline(slot);
        let watched = self
            .aging
            .as_ref()
            .is_some_and(|aging| aging.timer.is_none());
        (watched && deadline < self.swept).then(|| {
            self.swept = deadline;
            deadline
        })
    }

    /// Takes out an entry that is due at a time, where one is found in at most so many steps.
    pub fn pop_expired(&mut self, now: u64, steps: &mut u32) -> Option<Pair> {
        match self.entries.due(now, steps) {
            Due::Slot(slot) => self.expire(slot),
            Due::Nothing | Due::Unfinished => None,
        }
    }

    /// Takes out an entry that is due.
    pub fn expire(&mut self, slot: Slot) -> Option<Pair> {
        let pair = self.entries.expire(slot)?;
        self.counters.removed(Cause::Expired, 1);
        Some(pair)
    }

    /// The value in a slot, which becomes the most recent, at a time.
    #[inline]
    pub fn used(&mut self, py: Python<'_>, slot: Slot, now: u64) -> Option<Py<PyAny>> {
        let value = self.entries.get(slot)?.value.clone_ref(py);
        self.entries.touch(slot);
        if self.aging.as_ref().is_some_and(|aging| aging.sliding) {
            let span = f64::from_bits(self.entries.span(slot));
            self.set_age(slot, now, Lifetime::new(span));
        }
        Some(value)
    }

    /// The same, counted.
    #[inline]
    pub fn hit(&mut self, py: Python<'_>, slot: Slot, now: u64) -> Option<Py<PyAny>> {
        let value = self.used(py, slot, now)?;
        self.counters.hits += 1;
        Some(value)
    }
}
