//! What a registry holds in its sections, and the changes that need no Python code.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::core::{Cache, Due, NEVER, Removed, Slot};
use crate::interop::guard::Noted;
use crate::interop::reference::Reference;
use crate::types::aging::Aging;

pub type Pair = (Py<PyAny>, Instance);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// `__new__` ran and `__init__` did not.
    Made,
    Open,
    Closed,
}

/// How an instance is held.
pub enum Held {
    Strong(Py<PyAny>),
    /// As long as somebody else holds it.
    Weak(Reference),
}

/// What was made for a key.
pub struct Instance {
    /// Which one this is, of all that the registry has had.
    pub number: u64,
    pub held: Held,
    /// A weak reference to the event loop that it was made in.
    pub home: Option<Py<PyAny>>,
}

impl Instance {
    /// The thing itself, unless it is dead.
    #[inline]
    pub fn value<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        match &self.held {
            Held::Strong(value) => Some(value.bind(py).clone()),
            Held::Weak(reference) => reference.upgrade(py),
        }
    }

    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(match &self.held {
            Held::Strong(value) => value,
            Held::Weak(reference) => reference.object(),
        })?;
        visit.call(&self.home)
    }
}

/// Those who are inside a `use` of an instance.
#[derive(Default)]
pub struct Users {
    pub count: u64,
    /// The instance, where it has left the registry meanwhile: the last user's to close.
    pub left: Option<Instance>,
}

/// What an operation took out, on its way out of the section.
#[derive(Default)]
pub struct Gone {
    pub keys: Removed<Py<PyAny>>,
    /// To be closed.
    pub instances: Removed<Instance>,
    /// When the sweeper is to come, where that is news to it.
    pub sweep: Option<u64>,
}

pub struct State {
    /// The instances, in the order in which they were made.
    pub entries: Cache<Py<PyAny>, Instance>,
    /// What stands in for instances.
    pub fakes: Cache<Py<PyAny>, Py<PyAny>>,
    pub users: HashMap<u64, Users>,
    pub maxsize: Option<u64>,
    pub weak: bool,
    pub aging: Option<Aging>,
    pub phase: Phase,
    /// How many instances there were so far.
    pub made: u64,
    /// When the sweeper comes: nothing before is news to it.
    pub swept: u64,
    pub allocated: usize,
}

impl Noted for State {}

impl Default for State {
    fn default() -> Self {
        Self {
            entries: Cache::new(None, false),
            fakes: Cache::new(None, false),
            users: HashMap::new(),
            maxsize: Some(0),
            weak: false,
            aging: None,
            phase: Phase::Made,
            made: 0,
            swept: NEVER,
            allocated: 0,
        }
    }
}

impl State {
    /// Notes that somebody uses an instance.
    pub fn pin(&mut self, number: u64) {
        self.users.entry(number).or_default().count += 1;
    }

    /// Notes that somebody no longer does; what has left meanwhile is the caller's to close.
    pub fn unpin(&mut self, number: u64) -> Option<Instance> {
        let users = self.users.get_mut(&number)?;
        users.count -= 1;
        if users.count > 0 {
            return None;
        }
        self.users.remove(&number)?.left
    }

    /// Leaves an instance that was taken out to its last user, or gives it back where there is none.
    pub fn leave(&mut self, instance: Instance) -> Option<Instance> {
        match self.users.get_mut(&instance.number) {
            Some(users) => {
                users.left = Some(instance);
                None
            }
            None => Some(instance),
        }
    }

    fn retire(&mut self, (key, instance): Pair, gone: &mut Gone) {
        gone.keys.push(key);
        if let Some(instance) = self.leave(instance) {
            gone.instances.push(instance);
        }
    }

    /// Takes out what is in a slot, to be closed.
    pub fn drop_slot(&mut self, slot: Slot, gone: &mut Gone) {
        if let Some(pair) = self.entries.remove(slot) {
            self.retire(pair, gone);
        }
    }

    /// Takes out an instance that is due at a time, where one is found in at most so many steps, and says whether it did.
    pub fn expire_one(&mut self, now: u64, steps: &mut u32, gone: &mut Gone) -> bool {
        match self.entries.due(now, steps) {
            Due::Slot(slot) => {
                self.drop_slot(slot, gone);
                true
            }
            Due::Nothing | Due::Unfinished => false,
        }
    }

    /// The oldest that nobody uses; where all are used, the oldest.
    fn victim(&self) -> Option<Slot> {
        let oldest = self.entries.first(false)?;
        if self.users.is_empty() {
            return Some(oldest);
        }
        let mut at = Some(oldest);
        while let Some(slot) = at {
            let used = self
                .entries
                .get(slot)
                .is_some_and(|entry| self.users.contains_key(&entry.value.number));
            if !used {
                return Some(slot);
            }
            at = self.entries.next(slot, false);
        }
        Some(oldest)
    }

    /// Adds a new instance, at a time, and returns its number.
    ///
    /// # Errors
    /// The instance, where there is no memory for it.
    pub fn add(
        &mut self,
        hash: u64,
        key: Py<PyAny>,
        mut instance: Instance,
        now: u64,
        gone: &mut Gone,
    ) -> Result<u64, Instance> {
        let mut steps = u32::MAX;
        while self.is_full() && self.expire_one(now, &mut steps, gone) {}
        while self.is_full()
            && let Some(victim) = self.victim()
        {
            self.drop_slot(victim, gone);
        }
        self.made += 1;
        let number = self.made;
        instance.number = number;
        let slot = match self
            .entries
            .insert(hash, key, instance, 1, &mut Removed::default())
        {
            Ok(slot) => slot,
            Err((_, key, instance)) => {
                gone.keys.push(key);
                return Err(instance);
            }
        };
        let Some(slot) = slot else {
            return Ok(number);
        };
        if let Some(entry) = self.entries.get(slot)
            && let Held::Weak(reference) = &entry.value.held
        {
            reference.set_place(slot);
        }
        if let Some(aging) = &self.aging
            && let Some(ttl) = aging.plain_ttl()
        {
            let deadline = aging.deadline(now, ttl);
            self.entries.set_deadline(slot, deadline, 0, now);
            if deadline < self.swept {
                self.swept = deadline;
                gone.sweep = Some(deadline);
            }
        }
        Ok(number)
    }

    fn is_full(&self) -> bool {
        let len = self.entries.len() as u64;
        self.maxsize.is_some_and(|maxsize| len >= maxsize)
    }

    /// Notes what the tables weigh, and tells where that is new; those that are empty weigh nothing.
    pub fn reallocated(&mut self) -> Option<usize> {
        if self.entries.is_empty() {
            self.entries.release();
        }
        let allocated = self.bytes();
        (allocated != self.allocated).then(|| {
            self.allocated = allocated;
            allocated
        })
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.entries.allocated_bytes()
            + self.fakes.allocated_bytes()
            + self.users.capacity() * size_of::<(u64, Users)>()
    }

    /// Shows everything to the collector.
    ///
    /// # Errors
    /// What the visitor answers.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for entry in self.entries.iter() {
            visit.call(&entry.key)?;
            entry.value.visit(visit)?;
        }
        for users in self.users.values() {
            if let Some(instance) = &users.left {
                instance.visit(visit)?;
            }
        }
        for fake in self.fakes.iter() {
            visit.call(&fake.key)?;
            visit.call(&fake.value)?;
        }
        Ok(())
    }
}
