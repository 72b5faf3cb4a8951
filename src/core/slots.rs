//! Dense numbered places for values, with the freed ones used again first.

use std::collections::TryReserveError;

/// The number of a place in [`Slots`]. Four bytes, so that an index and the links of an order stay small.
pub type Slot = u32;

/// Marks the end of the free list, and so is never the number of a slot.
const NONE: Slot = Slot::MAX;

#[derive(Debug)]
enum Place<T> {
    Full(T),
    Free { next: Slot },
}

/// A vector whose values keep their number until they are removed. Every operation is O(1).
///
/// A place costs what the value costs when the value has a niche (a pointer that is never null).
#[derive(Debug)]
pub struct Slots<T> {
    places: Vec<Place<T>>,
    free: Slot,
    len: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: NONE,
            len: 0,
        }
    }
}

impl<T> Slots<T> {
    /// How many slots there can be at most. The numbers above are left to the heads of lists.
    pub const LIMIT: usize = NONE as usize - 1024;

    /// The number of values held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no value is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of places that need no new memory.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.places.capacity()
    }

    /// Bytes allocated.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.places.capacity() * size_of::<Place<T>>()
    }

    /// Whether the next [`insert`](Self::insert) needs a place that was never used.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.free == NONE
    }

    /// Makes room for one more value, doubling up to `limit` places where that is more than now.
    ///
    /// # Errors
    /// When the memory can't be had; nothing has changed then.
    pub fn reserve_one(&mut self, limit: usize) -> Result<(), TryReserveError> {
        if self.is_dense() && self.places.len() == self.places.capacity() {
            let now = self.places.len();
            let goal = now.saturating_mul(2).max(4).min(limit.max(now + 1));
            self.places.try_reserve_exact(goal - now)?;
        }
        Ok(())
    }

    /// Puts a value into a free place, a new one if need be.
    ///
    /// [`reserve_one`](Self::reserve_one) first makes this infallible; at most [`LIMIT`](Self::LIMIT) values fit.
    pub fn insert(&mut self, value: T) -> Slot {
        self.len += 1;
        let slot = self.free;
        if let Some(place) = self.places.get_mut(slot as usize)
            && let Place::Free { next } = *place
        {
            self.free = next;
            *place = Place::Full(value);
            return slot;
        }
        #[allow(clippy::cast_possible_truncation, reason = "callers stay below LIMIT")]
        let slot = self.places.len() as Slot;
        self.places.push(Place::Full(value));
        slot
    }

    /// The value in a slot, if there is one.
    #[must_use]
    #[inline]
    pub fn get(&self, slot: Slot) -> Option<&T> {
        match self.places.get(slot as usize) {
            Some(Place::Full(value)) => Some(value),
            _ => None,
        }
    }

    /// The value in a slot, to change it.
    #[inline]
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        match self.places.get_mut(slot as usize) {
            Some(Place::Full(value)) => Some(value),
            _ => None,
        }
    }

    /// Takes the value out of a slot; the slot is the next one to be used again.
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        let place = self.places.get_mut(slot as usize)?;
        if let Place::Free { .. } = place {
            return None;
        }
        let taken = std::mem::replace(place, Place::Free { next: self.free });
        self.free = slot;
        self.len -= 1;
        match taken {
            Place::Full(value) => Some(value),
            Place::Free { .. } => None,
        }
    }

    /// Every value, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| match place {
            Place::Full(value) => Some(value),
            Place::Free { .. } => None,
        })
    }
}
