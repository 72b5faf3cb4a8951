//! What a `WeakCache` holds under its lock.

use pyo3::prelude::*;

use crate::core::{Cache, Drain, Due, NEVER, Recency, Removed, Slot};
use crate::interop::guard::Noted;
use crate::interop::reference::Reference;

/// A value: weakly referenced where that is possible, and held as long as it is among the most recent and not too old.
pub struct Stored {
    pub reference: Option<Reference>,
    pub strong: Option<Py<PyAny>>,
}

impl Stored {
    /// The value, unless it is dead.
    #[inline]
    pub fn value<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        match &self.strong {
            Some(value) => Some(value.bind(py).clone()),
            None => self.reference.as_ref()?.upgrade(py),
        }
    }
}

pub type Entries = Cache<Py<PyAny>, Stored>;
pub type Pair = (Py<PyAny>, Stored);

/// The entries in the order of use, of which the most recent are held strongly.
pub struct State {
    /// The deadline of an entry is when it is too old to be held; [`NEVER`] once it was.
    pub entries: Entries,
    /// What those that are held may weigh together: their number, or bytes.
    pub maxsize: u64,
    held: u64,
    /// The least recent of those that are held.
    oldest: Option<Slot>,
    /// Whether entries age.
    pub aging: bool,
    /// When the sweeper comes: nothing before is news to it.
    pub swept: u64,
    pub closed: bool,
    pub allocated: usize,
}

/// What is to be released after a section.
#[derive(Default)]
pub struct Gone {
    values: Removed<Py<PyAny>>,
    pairs: Removed<Pair>,
}

impl Noted for State {
    #[inline]
    fn used(&mut self, slot: Slot) {
        if self.oldest == Some(slot) {
            self.oldest = self.held_after(slot).or(Some(slot));
        }
        self.entries.touch(slot);
    }
}

impl State {
    pub fn new(entries: Entries, maxsize: u64, aging: bool) -> Self {
        Self {
            entries,
            maxsize,
            held: 0,
            oldest: None,
            aging,
            swept: NEVER,
            closed: false,
            allocated: 0,
        }
    }

    fn is_held(&self, slot: Slot) -> bool {
        self.entries
            .get(slot)
            .is_some_and(|entry| entry.value.strong.is_some())
    }

    /// The next more recent entry that is held. Those that are not, and were passed once, are not passed again before
    /// they are used.
    fn held_after(&self, slot: Slot) -> Option<Slot> {
        let mut at = self.entries.next(slot, false);
        while let Some(slot) = at
            && !self.is_held(slot)
        {
            at = self.entries.next(slot, false);
        }
        at
    }

    /// Takes an entry out of those that are held, if it is one; the caller takes care of its value.
    pub fn let_go(&mut self, slot: Slot) {
        if self.is_held(slot) {
            self.held -= self.entries.weight_of(slot);
            if self.oldest == Some(slot) {
                self.oldest = self.held_after(slot);
            }
        }
    }

    /// Takes back that an entry was let go. O(n).
    pub fn regain(&mut self, slot: Slot) {
        if self.is_held(slot) {
            self.held += self.entries.weight_of(slot);
            let first = self.entries.first(false);
            self.oldest = match first {
                Some(first) if !self.is_held(first) => self.held_after(first),
                first => first,
            };
        }
    }

    pub fn remove(&mut self, slot: Slot) -> Option<Pair> {
        self.let_go(slot);
        self.entries.remove(slot)
    }

    /// Holds an entry weakly from now on, or where that can't be, no longer.
    fn weaken(&mut self, slot: Slot, gone: &mut Gone) {
        let weak = self
            .entries
            .get(slot)
            .is_some_and(|entry| entry.value.reference.is_some());
        self.let_go(slot);
        if weak {
            let value = self.entries.value_mut(slot);
            if let Some(value) = value.and_then(|stored| stored.strong.take()) {
                gone.values.push(value);
            }
        } else if let Some(pair) = self.entries.remove(slot) {
            gone.pairs.push(pair);
        }
    }

    /// Makes an entry, which is not dead, the most recent and holds it, and no more than `maxsize`.
    pub fn hold(&mut self, slot: Slot, value: Py<PyAny>, gone: &mut Gone) {
        self.let_go(slot);
        self.entries.touch(slot);
        if let Some(stored) = self.entries.value_mut(slot)
            && let Some(old) = stored.strong.replace(value)
        {
            gone.values.push(old);
        }
        self.held += self.entries.weight_of(slot);
        self.oldest = self.oldest.or(Some(slot));
        while self.held > self.maxsize
            && let Some(victim) = self.oldest
        {
            self.weaken(victim, gone);
        }
    }

    /// The value in a slot, which becomes the most recent.
    pub fn used<'py>(
        &mut self,
        py: Python<'py>,
        slot: Slot,
        gone: &mut Gone,
    ) -> Option<Bound<'py, PyAny>> {
        let value = self.entries.get(slot)?.value.value(py)?;
        if self.aging && self.entries.deadline(slot) == NEVER {
            self.entries.touch(slot);
        } else {
            self.hold(slot, value.clone().unbind(), gone);
        }
        Some(value)
    }

    /// Lets go of an entry that is too old.
    pub fn expire(&mut self, slot: Slot, gone: &mut Gone) {
        self.entries.set_deadline(slot, NEVER, 0, 0);
        self.weaken(slot, gone);
    }

    /// Lets go of some of those that are too old at a time; says of how many, and whether that was all.
    pub fn expire_slice(&mut self, now: u64, most: u32, gone: &mut Gone) -> (usize, bool) {
        let mut steps = most;
        for count in 0..most as usize {
            match self.entries.due(now, &mut steps) {
                Due::Slot(slot) => self.expire(slot, gone),
                Due::Nothing => return (count, true),
                Due::Unfinished => return (count, false),
            }
        }
        (most as usize, false)
    }

    /// When the sweeper is to come for the entry in a slot, where that is news to it.
    pub fn news(&mut self, slot: Slot) -> Option<u64> {
        let deadline = self.entries.deadline(slot);
        (deadline < self.swept).then(|| {
            self.swept = deadline;
            deadline
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

    pub fn take(&mut self) -> Drain<Py<PyAny>, Stored, Recency> {
        self.held = 0;
        self.oldest = None;
        self.entries.take()
    }
}
