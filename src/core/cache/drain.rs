//! The contents of a cache on their way out.

use super::{Entry, Order, Recency, Slots};

/// All that was in a cache, in its order: an iterator that owns what it has not yet given.
#[derive(Debug)]
pub struct Drain<K, V, O = Recency> {
    pub(super) slots: Slots<Entry<K, V>>,
    pub(super) order: O,
}

impl<K, V, O: Order> Iterator for Drain<K, V, O> {
    type Item = (K, V);

    fn next(&mut self) -> Option<Self::Item> {
        let slot = self.order.victim()?;
        self.order.removed(slot);
        self.slots
            .remove(slot)
            .map(|Entry { key, value, .. }| (key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.slots.len(), Some(self.slots.len()))
    }
}
