//! A bounded map: dense slots, an index over them, and an eviction order beside.

mod deadlines;
mod drain;

use hashbrown::HashTable;

use super::ages::Ages;
use super::order::{Order, Recency};
use super::removed::Removed;
use super::slots::{Slot, Slots};
use super::spread::spread;

pub use drain::Drain;

/// A key and its value, with the hash that the key had on its way in.
#[derive(Debug)]
pub struct Entry<K, V> {
    /// The hash.
    pub hash: u64,
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
}

/// Why an entry was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// It weighs more than the whole cache may; nothing has changed.
    TooHeavy,
    /// With it, the weights' sum would not fit 64 bits; nothing has changed.
    Overflow,
    /// Memory, or the range of slot numbers, is exhausted. What was evicted to make room stays evicted.
    OutOfMemory,
}

/// A map that never weighs more than its bound.
///
/// The index is a `hashbrown::HashTable` of four-byte slot numbers, as in `indexmap`; the slots keep the hash, so that
/// neither growth nor eviction ever asks a key for anything. Lookup, insertion, eviction and removal are O(1)
/// amortised. An entry costs its key and value, 8 bytes for the hash, 8 for the order's links, and 6 to 12 for the
/// index; weights cost 8 more and deadlines 16, and only where entries have any.
#[derive(Debug)]
pub struct Cache<K, V, O = Recency> {
    index: HashTable<Slot>,
    slots: Slots<Entry<K, V>>,
    order: O,
    weights: Option<Vec<u64>>,
    ages: Option<Box<Ages>>,
    weight: u64,
    bound: Option<u64>,
    changes: u64,
}

impl<K, V, O: Order> Cache<K, V, O> {
    /// An empty cache. `bound` is in entries, or in the unit of the weights where entries are `weighed`; `None` is no
    /// bound. Nothing is allocated before the first entry.
    #[must_use]
    pub fn new(bound: Option<u64>, weighed: bool) -> Self {
        Self {
            index: HashTable::new(),
            slots: Slots::default(),
            order: O::default(),
            weights: weighed.then(Vec::new),
            ages: None,
            weight: 0,
            bound,
            changes: 0,
        }
    }

    /// The same with deadlines for its entries, and beside each, where `spans`, the span that it came from.
    #[must_use]
    pub fn with_ages(mut self, spans: bool) -> Self {
        self.ages = Some(Box::new(Ages::new(spans)));
        self
    }

    /// The number of entries.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What the entries weigh together; their number, where they aren't weighed.
    #[must_use]
    pub fn weight(&self) -> u64 {
        if self.weights.is_some() {
            self.weight
        } else {
            self.len() as u64
        }
    }

    /// The bound that [`weight`](Self::weight) keeps.
    #[must_use]
    pub fn bound(&self) -> Option<u64> {
        self.bound
    }

    /// Sets the bound. It holds again once [`evict`](Self::evict) has nothing left to give.
    pub fn set_bound(&mut self, bound: Option<u64>) {
        self.bound = bound;
    }

    /// A number that grows with each change of the set of keys, so that an iterator can tell.
    #[must_use]
    #[inline]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Bytes allocated by the cache itself, keys and values not counted.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.index.allocation_size()
            + self.slots.allocated_bytes()
            + self.order.allocated_bytes()
            + self
                .weights
                .as_ref()
                .map_or(0, |weights| weights.capacity() * size_of::<u64>())
            + self.ages.as_ref().map_or(0, |ages| ages.allocated_bytes())
    }

    /// The slot of the key that has this hash and that `same` says yes to.
    #[must_use]
    #[inline]
    pub fn find(&self, hash: u64, mut same: impl FnMut(&K) -> bool) -> Option<Slot> {
        self.index
            .find(spread(hash), |&slot| {
                self.slots
                    .get(slot)
                    .is_some_and(|entry| entry.hash == hash && same(&entry.key))
            })
            .copied()
    }

    /// The slot of the first key found that has this hash, which nearly always is the one that is looked for: a search
    /// that asks nothing on its way.
    #[must_use]
    #[inline]
    pub fn find_hash(&self, hash: u64) -> Option<Slot> {
        self.find(hash, |_| true)
    }

    /// The slot of the entry that has this hash and whose value `same` says yes to.
    #[must_use]
    pub fn find_value(&self, hash: u64, mut same: impl FnMut(&V) -> bool) -> Option<Slot> {
        self.index
            .find(spread(hash), |&slot| {
                self.slots
                    .get(slot)
                    .is_some_and(|entry| entry.hash == hash && same(&entry.value))
            })
            .copied()
    }

    /// Every key that has this hash.
    pub fn candidates(&self, hash: u64) -> impl Iterator<Item = &K> {
        self.index
            .iter_hash(spread(hash))
            .filter_map(move |&slot| self.slots.get(slot))
            .filter(move |entry| entry.hash == hash)
            .map(|entry| &entry.key)
    }

    /// The entry in a slot.
    #[must_use]
    #[inline]
    pub fn get(&self, slot: Slot) -> Option<&Entry<K, V>> {
        self.slots.get(slot)
    }

    /// The value in a slot, to change it where it is: neither its weight nor the order hears of that.
    #[inline]
    pub fn value_mut(&mut self, slot: Slot) -> Option<&mut V> {
        self.slots.get_mut(slot).map(|entry| &mut entry.value)
    }

    /// Tells the order that the entry in `slot`, which must be filled, was asked for.
    #[inline]
    pub fn touch(&mut self, slot: Slot) {
        self.order.used(slot);
    }

    /// Adds an entry whose key is not in the cache, making room first; what that evicts goes to `evicted`. Returns its
    /// slot.
    ///
    /// With a bound of zero the entry itself goes to `evicted`. `weight` counts only where entries are weighed.
    ///
    /// # Errors
    /// [`StoreError`]; the key and the value are dropped by the caller, who gets them back.
    pub fn insert(
        &mut self,
        hash: u64,
        key: K,
        value: V,
        weight: u64,
        evicted: &mut Removed<(K, V)>,
    ) -> Result<Option<Slot>, (StoreError, K, V)> {
        let weight = self.in_unit(weight);
        if self.bound == Some(0) {
            evicted.push((key, value));
            return Ok(None);
        }
        if let Some(victim) = self.exchangeable() {
            if let Some(old) = self.exchange(victim, hash, key, value) {
                evicted.push(old);
            }
            return Ok(Some(victim));
        }
        if let Err(error) = self
            .make_room(weight, None, evicted)
            .and_then(|()| self.reserve_one())
        {
            return Err((error, key, value));
        }
        let slot = self.slots.insert(Entry { hash, key, value });
        self.order.inserted(slot);
        if let Some(weights) = &mut self.weights {
            let place = slot as usize;
            if place < weights.len() {
                weights[place] = weight;
            } else {
                weights.push(weight);
            }
            self.weight += weight;
        }
        self.enter(hash, slot);
        Ok(Some(slot))
    }

    /// The slot that [`exchange`](Self::exchange) may use: the victim's, where the cache is counted, full, and has
    /// room left in the index.
    #[must_use]
    #[inline]
    pub fn exchangeable(&self) -> Option<Slot> {
        let full = self.bound == Some(self.len() as u64);
        if full && self.weights.is_none() && self.index.capacity() > self.index.len() {
            self.order.victim()
        } else {
            None
        }
    }

    /// Puts an entry whose key is not in the cache into the [`exchangeable`](Self::exchangeable) slot, and returns what
    /// was there: what a full cache does at each insertion. Allocates nothing.
    #[inline]
    pub fn exchange(&mut self, victim: Slot, hash: u64, key: K, value: V) -> Option<(K, V)> {
        let old = std::mem::replace(self.slots.get_mut(victim)?, Entry { hash, key, value });
        if let Ok(found) = self
            .index
            .find_entry(spread(old.hash), |&slot| slot == victim)
        {
            found.remove();
        }
        if let Some(ages) = &mut self.ages {
            ages.forget(victim);
        }
        self.order.used(victim);
        self.enter(hash, victim);
        Some((old.key, old.value))
    }

    /// Enters a slot into the index, which has room for it.
    #[inline]
    fn enter(&mut self, hash: u64, slot: Slot) {
        let slots = &self.slots;
        self.index.insert_unique(spread(hash), slot, |&slot| {
            slots.get(slot).map_or(0, |entry| spread(entry.hash))
        });
        self.changes += 1;
    }

    /// Gives the entry in `slot`, which must be filled, a new value of the same weight and the place of the most
    /// recent, and returns the old value.
    #[inline]
    pub fn set_value(&mut self, slot: Slot, value: V) -> Option<V> {
        self.order.used(slot);
        let entry = self.slots.get_mut(slot)?;
        Some(std::mem::replace(&mut entry.value, value))
    }

    /// Gives the entry in `slot`, which must be filled, a new value and the place of the most recent, and returns the
    /// old value; what a higher weight evicts goes to `evicted`. The key stays.
    ///
    /// # Errors
    /// [`StoreError`] with the new value; nothing has changed.
    pub fn replace(
        &mut self,
        slot: Slot,
        value: V,
        weight: u64,
        evicted: &mut Removed<(K, V)>,
    ) -> Result<Option<V>, (StoreError, V)> {
        if self.weights.is_some() {
            if self.bound.is_some_and(|bound| weight > bound) {
                return Err((StoreError::TooHeavy, value));
            }
            let before = self.weight_of(slot);
            if (self.weight - before).checked_add(weight).is_none() {
                return Err((StoreError::Overflow, value));
            }
            self.order.used(slot);
            self.set_weight(slot, 0);
            // Weighing nothing meanwhile, it is the last to be taken, and then the others leave room enough.
            if let Err(error) = self.make_room(weight, Some(slot), evicted) {
                self.set_weight(slot, before);
                return Err((error, value));
            }
            self.set_weight(slot, weight);
        }
        Ok(self.set_value(slot, value))
    }

    /// Takes the entry out of a slot.
    pub fn remove(&mut self, slot: Slot) -> Option<(K, V)> {
        let pair = self.expire(slot)?;
        self.changes += 1;
        Some(pair)
    }

    /// Takes out an entry that is due, which by the count of [`changes`](Self::changes) was gone already.
    pub fn expire(&mut self, slot: Slot) -> Option<(K, V)> {
        let hash = self.slots.get(slot)?.hash;
        if let Ok(found) = self.index.find_entry(spread(hash), |&other| other == slot) {
            found.remove();
        }
        self.order.removed(slot);
        self.set_weight(slot, 0);
        if let Some(ages) = &mut self.ages {
            ages.forget(slot);
        }
        self.slots
            .remove(slot)
            .map(|Entry { key, value, .. }| (key, value))
    }

    /// Takes out the entry that the order gives up first.
    pub fn pop_victim(&mut self) -> Option<(K, V)> {
        let victim = self.order.victim()?;
        self.remove(victim)
    }

    /// Takes out a victim while the cache is over its bound; at a bound of zero, while there is one.
    pub fn evict(&mut self) -> Option<(K, V)> {
        if self
            .bound
            .is_some_and(|bound| bound == 0 || self.weight() > bound)
        {
            self.pop_victim()
        } else {
            None
        }
    }

    /// Takes everything out, in O(1); the allocations go with it.
    pub fn take(&mut self) -> Drain<K, V, O> {
        self.changes += 1;
        self.index = HashTable::new();
        self.weight = 0;
        if let Some(weights) = &mut self.weights {
            *weights = Vec::new();
        }
        if let Some(ages) = &mut self.ages {
            **ages = ages.emptied();
        }
        Drain {
            slots: std::mem::take(&mut self.slots),
            order: std::mem::take(&mut self.order),
        }
    }

    /// Gives back memory where less than a quarter of the slots is in use, in O(n). Slots are numbered anew.
    pub fn shrink(&mut self) {
        if self.len() >= self.slots.capacity() / 4 {
            return;
        }
        let mut smaller = self.empty();
        let mut unplaced = Removed::default();
        while let Some(slot) = self.order.victim() {
            let (weight, age) = (self.weight_of(slot), self.age(slot));
            let Some(hash) = self.slots.get(slot).map(|entry| entry.hash) else {
                break;
            };
            if smaller.reserve_one().is_err() {
                break;
            }
            if let Some((key, value)) = self.remove(slot) {
                // Room was reserved and there is no bound: nothing is refused and nothing evicted.
                if let Ok(Some(slot)) = smaller.insert(hash, key, value, weight, &mut unplaced) {
                    smaller.set_age(slot, age);
                }
            }
        }
        if self.is_empty() {
            smaller.bound = self.bound;
            smaller.changes = self.changes + 1;
            *self = smaller;
        }
    }

    /// A second cache with the same bound, order and weights, and keys and values that `copy` makes. O(n).
    ///
    /// # Errors
    /// [`StoreError::OutOfMemory`].
    pub fn duplicate(&self, copy: impl Fn(&K, &V) -> (K, V)) -> Result<Self, StoreError> {
        let mut twin = self.empty();
        let mut evicted = Removed::default();
        let mut at = self.order.victim();
        while let Some(slot) = at {
            if let Some(entry) = self.slots.get(slot) {
                let (key, value) = copy(&entry.key, &entry.value);
                let weight = self.weight_of(slot);
                let placed = twin
                    .insert(entry.hash, key, value, weight, &mut evicted)
                    .map_err(|(error, _, _)| error)?;
                if let Some(place) = placed {
                    twin.set_age(place, self.age(slot));
                }
            }
            at = self.order.after(slot);
        }
        twin.bound = self.bound;
        Ok(twin)
    }

    /// Every entry, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Entry<K, V>> {
        self.slots.iter()
    }

    /// The slot at the start of a walk: the next victim, or the last one where the walk goes backwards.
    #[must_use]
    pub fn first(&self, backwards: bool) -> Option<Slot> {
        if backwards {
            self.order.last()
        } else {
            self.order.victim()
        }
    }

    /// The slot after `slot` in a walk.
    #[must_use]
    pub fn next(&self, slot: Slot, backwards: bool) -> Option<Slot> {
        if backwards {
            self.order.before(slot)
        } else {
            self.order.after(slot)
        }
    }

    /// The slots in order, as they are now. O(n).
    #[must_use]
    pub fn walk(&self, backwards: bool) -> Vec<Slot> {
        let mut slots = Vec::with_capacity(self.len());
        let mut at = self.first(backwards);
        while let Some(slot) = at {
            slots.push(slot);
            at = self.next(slot, backwards);
        }
        slots
    }

    /// Whether an entry of this weight needs another to go.
    #[must_use]
    pub fn lacks_room(&self, weight: u64) -> bool {
        let weight = self.in_unit(weight);
        self.bound
            .is_some_and(|bound| self.weight().saturating_add(weight) > bound)
    }

    /// Gives back the memory of a cache without entries.
    pub fn release(&mut self) {
        if self.is_empty() && self.slots.capacity() > 0 {
            *self = Self {
                bound: self.bound,
                changes: self.changes,
                ..self.empty()
            };
        }
    }

    /// A cache of the same kind without entries and without a bound.
    fn empty(&self) -> Self {
        let empty = Self::new(None, self.weights.is_some());
        match &self.ages {
            Some(ages) => Self {
                ages: Some(Box::new(ages.emptied())),
                ..empty
            },
            None => empty,
        }
    }

    fn in_unit(&self, weight: u64) -> u64 {
        if self.weights.is_some() { weight } else { 1 }
    }

    /// What the entry in `slot` weighs; 1 where they aren't weighed.
    #[must_use]
    pub fn weight_of(&self, slot: Slot) -> u64 {
        match &self.weights {
            Some(weights) => weights.get(slot as usize).copied().unwrap_or(0),
            None => 1,
        }
    }

    fn set_weight(&mut self, slot: Slot, weight: u64) {
        if let Some(weights) = &mut self.weights
            && let Some(place) = weights.get_mut(slot as usize)
        {
            self.weight = self.weight - *place + weight;
            *place = weight;
        }
    }

    /// Evicts until an entry of this weight fits, sparing one slot.
    fn make_room(
        &mut self,
        weight: u64,
        spare: Option<Slot>,
        evicted: &mut Removed<(K, V)>,
    ) -> Result<(), StoreError> {
        let Some(bound) = self.bound else {
            return if self.weight().checked_add(weight).is_none() {
                Err(StoreError::Overflow)
            } else {
                Ok(())
            };
        };
        let room = bound.checked_sub(weight).ok_or(StoreError::TooHeavy)?;
        while self.weight() > room {
            let Some(victim) = self.order.victim().filter(|victim| Some(*victim) != spare) else {
                break;
            };
            if let Some(entry) = self.remove(victim) {
                evicted.push(entry);
            }
        }
        Ok(())
    }

    /// Makes room in every part for one more entry.
    fn reserve_one(&mut self) -> Result<(), StoreError> {
        if self.slots.is_dense() && self.len() == Slots::<Entry<K, V>>::LIMIT {
            return Err(StoreError::OutOfMemory);
        }
        // A counted cache never needs more slots than its bound; a weighed one may.
        let limit = match self.bound {
            Some(bound) if self.weights.is_none() => usize::try_from(bound).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let slots = &mut self.slots;
        slots
            .reserve_one(limit)
            .map_err(|_| StoreError::OutOfMemory)?;
        self.order
            .reserve(slots.capacity())
            .map_err(|_| StoreError::OutOfMemory)?;
        if let Some(weights) = &mut self.weights
            && slots.capacity() > weights.capacity()
        {
            weights
                .try_reserve_exact(slots.capacity() - weights.len())
                .map_err(|_| StoreError::OutOfMemory)?;
        }
        if let Some(ages) = &mut self.ages {
            ages.reserve(slots.capacity())
                .map_err(|_| StoreError::OutOfMemory)?;
        }
        self.reserve_index()
    }

    #[inline]
    fn reserve_index(&mut self) -> Result<(), StoreError> {
        let slots = &self.slots;
        self.index
            .try_reserve(1, |&slot| {
                slots.get(slot).map_or(0, |entry| spread(entry.hash))
            })
            .map_err(|_| StoreError::OutOfMemory)
    }
}
