//! A table in the order of insertion, whose entries are told their place.

use hashbrown::HashTable;

use super::slots::Slot;
use super::spread::spread;

/// What is told where it is, so that it can be taken out without being looked for.
pub trait Placed {
    /// From now on it is in `slot`.
    fn placed(&self, slot: Slot);
}

/// An entry, or what is left of one: the hash.
#[derive(Debug)]
struct Place<T> {
    hash: u64,
    entry: Option<T>,
}

/// Entries in the order of their insertion, found by their hash.
///
/// A vector of places, and a `hashbrown::HashTable` of four-byte numbers of places beside it. A removed entry leaves its
/// place empty until the vector is full or ends with it, so that the order needs no links, and a walk by the number of
/// the place is safe whatever leaves meanwhile (the layout of CPython's `dict`). The index is not told of a removal: what
/// it says of an empty place, or of one that is another's by now, is found out by who comes by, and is gone when the index
/// is next made anew. So a removal touches the place alone, and a million at once go through memory in order.
///
/// An entry costs itself, 8 bytes for the hash, and 5 to 10 for the index. Lookup, insertion and removal are O(1)
/// amortised.
#[derive(Debug)]
pub struct Ordered<T> {
    index: HashTable<Slot>,
    places: Vec<Place<T>>,
    len: usize,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self {
            index: HashTable::new(),
            places: Vec::new(),
            len: 0,
        }
    }
}

impl<T: Placed> Ordered<T> {
    /// How many places there can be at most.
    const LIMIT: usize = Slot::MAX as usize;
    /// A table that becomes empty keeps this much room.
    const KEPT: usize = 64;

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of places, the empty ones included: where a walk ends.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// Bytes allocated, what the entries own not counted.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.index.allocation_size() + self.places.capacity() * size_of::<Place<T>>()
    }

    /// The place of the entry that has this hash and that `same` says yes to.
    #[must_use]
    #[inline]
    pub fn find(&self, hash: u64, mut same: impl FnMut(&T) -> bool) -> Option<Slot> {
        self.index
            .find(spread(hash), |&slot| {
                self.at(slot, hash).is_some_and(&mut same)
            })
            .copied()
    }

    /// Every entry that has this hash. One may come twice.
    pub fn candidates(&self, hash: u64) -> impl Iterator<Item = &T> {
        self.index
            .iter_hash(spread(hash))
            .filter_map(move |&slot| self.at(slot, hash))
    }

    #[inline]
    fn at(&self, slot: Slot, hash: u64) -> Option<&T> {
        let place = self.places.get(slot as usize)?;
        if place.hash == hash {
            place.entry.as_ref()
        } else {
            None
        }
    }

    /// The entry in a place.
    #[must_use]
    #[inline]
    pub fn get(&self, slot: Slot) -> Option<&T> {
        self.places.get(slot as usize)?.entry.as_ref()
    }

    /// The entry in a place, to change it.
    #[inline]
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.places.get_mut(slot as usize)?.entry.as_mut()
    }

    /// Every entry, the oldest first.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.places.iter().filter_map(|place| place.entry.as_ref())
    }

    /// The place of the oldest entry that `is_it` says yes to. O(n).
    pub fn position(&self, mut is_it: impl FnMut(&T) -> bool) -> Option<Slot> {
        let place = self
            .places
            .iter()
            .position(|place| place.entry.as_ref().is_some_and(&mut is_it))?;
        Slot::try_from(place).ok()
    }

    /// The place of the newest entry.
    #[must_use]
    pub fn last(&self) -> Option<Slot> {
        // The last place is never empty.
        let last = self.places.len().checked_sub(1)?;
        Slot::try_from(last).ok()
    }

    /// Adds an entry at the end, and tells it where that is. Where places are empty and it `may_move` the entries, their
    /// places are used up before more memory is asked for.
    ///
    /// # Errors
    /// The entry, where there is no memory for it.
    pub fn push(&mut self, hash: u64, entry: T, may_move: bool) -> Result<Slot, T> {
        if self.places.len() >= Self::LIMIT || !self.reserve_one(may_move) {
            return Err(entry);
        }
        let Ok(slot) = Slot::try_from(self.places.len()) else {
            return Err(entry);
        };
        entry.placed(slot);
        self.places.push(Place {
            hash,
            entry: Some(entry),
        });
        self.len += 1;
        self.index.insert_unique(spread(hash), slot, |_| 0);
        Ok(slot)
    }

    /// Takes an entry out.
    #[inline]
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        let entry = self.places.get_mut(slot as usize)?.entry.take()?;
        self.len -= 1;
        if self.len == 0 {
            self.places.clear();
            if self.places.capacity() > Self::KEPT {
                self.places = Vec::new();
                self.index = HashTable::new();
            } else {
                self.index.clear();
            }
        } else {
            while self.places.last().is_some_and(|last| last.entry.is_none()) {
                self.places.pop();
            }
        }
        Some(entry)
    }

    /// Takes all of it.
    #[must_use = "to be dropped where no lock is held"]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Makes room for one more entry, and says whether there is some.
    fn reserve_one(&mut self, may_move: bool) -> bool {
        let (len, places) = (self.len, self.places.len());
        if places == self.places.capacity() {
            if may_move && len < places - places / 4 {
                self.close_up();
            } else if self.places.try_reserve_exact(places.max(4)).is_err() {
                return false;
            }
        }
        // hashbrown is never to grow by itself: it can't tell what is out of date.
        self.index.len() < self.index.capacity() || self.reindex()
    }

    /// Moves the entries together, over the empty places, and gives back what is far too much.
    fn close_up(&mut self) {
        self.places.retain(|place| place.entry.is_some());
        if self.places.len() < self.places.capacity() / 8 {
            self.places.shrink_to(self.places.len() * 2);
            self.index = HashTable::new();
        }
        self.index.clear();
        for (slot, place) in (0..).zip(&self.places) {
            if let Some(entry) = &place.entry {
                entry.placed(slot);
            }
        }
        self.fill();
    }

    /// Makes the index anew, with room for more, and says whether there was memory for it.
    fn reindex(&mut self) -> bool {
        let wanted = self.len + self.len / 2 + 3;
        if self.index.capacity() < wanted {
            let mut index = HashTable::new();
            if index.try_reserve(wanted, |_| 0).is_err() {
                return false;
            }
            self.index = index;
        } else {
            self.index.clear();
        }
        self.fill();
        true
    }

    /// Enters every entry into the index, which is empty.
    fn fill(&mut self) {
        for (slot, place) in (0..).zip(&self.places) {
            if place.entry.is_some() && self.index.len() < self.index.capacity() {
                self.index.insert_unique(spread(place.hash), slot, |_| 0);
            }
        }
    }
}

impl<T> IntoIterator for Ordered<T> {
    type Item = T;
    type IntoIter = Entries<T>;

    fn into_iter(self) -> Self::IntoIter {
        Entries(self.places.into_iter())
    }
}

/// What was in a table, the oldest first.
pub struct Entries<T>(std::vec::IntoIter<Place<T>>);

impl<T> Iterator for Entries<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.by_ref().find_map(|place| place.entry)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use std::cell::Cell;

    use super::{Ordered, Placed, Slot};

    #[derive(Clone, Debug)]
    struct Numbered(u16, u32, Cell<Slot>);

    impl PartialEq for Numbered {
        fn eq(&self, other: &Self) -> bool {
            (self.0, self.1) == (other.0, other.1)
        }
    }

    impl Placed for Numbered {
        fn placed(&self, slot: Slot) {
            self.2.set(slot);
        }
    }

    fn numbered(number: u16, at: u32) -> Numbered {
        Numbered(number, at, Cell::new(Slot::MAX))
    }

    fn hash(number: u16) -> u64 {
        u64::from(number % 7) << 40
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u16),
        Remove(u16),
        RemoveOldest(u16),
        PopLast,
        Take,
    }

    fn steps() -> impl Strategy<Value = Vec<(Step, bool)>> {
        let step = prop_oneof![
            10 => (0..40_u16).prop_map(Step::Push),
            6 => (0..40_u16).prop_map(Step::Remove),
            2 => (0..30_u16).prop_map(Step::RemoveOldest),
            1 => Just(Step::PopLast),
            1 => prop::bool::weighted(0.1).prop_map(|take| if take { Step::Take } else { Step::PopLast }),
        ];
        prop::collection::vec((step, prop::bool::weighted(0.8)), 0..300)
    }

    fn find(table: &Ordered<Numbered>, number: u16) -> Option<u32> {
        table.find(hash(number), |entry| entry.0 == number)
    }

    proptest! {
        #[test]
        fn it_does_what_a_list_does(steps in steps()) {
            let mut table = Ordered::default();
            let mut model: Vec<Numbered> = Vec::new();
            for (at, (step, may_move)) in (0_u32..).zip(steps) {
                match step {
                    Step::Push(number) if find(&table, number).is_none() => {
                        let slot = table.push(hash(number), numbered(number, at), may_move).unwrap();
                        prop_assert_eq!(table.get(slot), Some(&numbered(number, at)));
                        model.push(numbered(number, at));
                    }
                    Step::Push(number) | Step::Remove(number) => {
                        let taken = find(&table, number).and_then(|slot| table.remove(slot));
                        let known = model.iter().position(|entry| entry.0 == number);
                        prop_assert_eq!(taken, known.map(|known| model.remove(known)));
                    }
                    Step::RemoveOldest(count) => {
                        for _ in 0..usize::from(count).min(model.len()) {
                            let oldest = model.remove(0);
                            let slot = find(&table, oldest.0).unwrap();
                            prop_assert_eq!(table.remove(slot), Some(oldest));
                        }
                    }
                    Step::PopLast => {
                        let taken = table.last().and_then(|slot| table.remove(slot));
                        prop_assert_eq!(taken, model.pop());
                    }
                    Step::Take => {
                        let all: Vec<_> = table.take().into_iter().collect();
                        prop_assert_eq!(all, std::mem::take(&mut model));
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert!(table.iter().eq(model.iter()));
                prop_assert!(table.iter().rev().eq(model.iter().rev()));
                for entry in table.iter() {
                    prop_assert_eq!(table.get(entry.2.get()), Some(entry));
                    prop_assert!(table.candidates(hash(entry.0)).any(|other| other == entry));
                    prop_assert_eq!(find(&table, entry.0), Some(entry.2.get()));
                }
            }
        }
    }

    #[test]
    fn what_comes_and_goes_takes_no_more_room() {
        let mut table = Ordered::default();
        for number in 0..1000_u32 {
            table.push(0, numbered(0, number), true).unwrap();
            if number >= 10 {
                let slot = table.find(0, |entry| entry.1 == number - 10).unwrap();
                table.remove(slot).unwrap();
            }
        }
        assert_eq!(table.len(), 10);
        assert!(table.places() < 100, "{}", table.places());
        assert!(
            table.allocated_bytes() < 4000,
            "{}",
            table.allocated_bytes()
        );
    }

    #[test]
    fn an_empty_table_gives_its_memory_back() {
        let mut table = Ordered::default();
        for number in 0..1000 {
            table.push(hash(number), numbered(number, 0), true).unwrap();
        }
        for number in 0..1000 {
            let slot = find(&table, number).unwrap();
            table.remove(slot).unwrap();
        }
        assert_eq!(table.allocated_bytes(), 0);
    }
}
