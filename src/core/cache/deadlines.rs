//! The deadlines of a cache's entries.

use super::Cache;
use crate::core::ages::{Due, NEVER};
use crate::core::order::Order;
use crate::core::slots::Slot;

impl<K, V, O: Order> Cache<K, V, O> {
    /// Whether the entry in a slot is due at a time.
    #[must_use]
    #[inline]
    pub fn is_due(&self, slot: Slot, now: u64) -> bool {
        self.deadline(slot) <= now
    }

    /// When the entry in a slot is due; [`NEVER`] where it isn't.
    #[must_use]
    #[inline]
    pub fn deadline(&self, slot: Slot) -> u64 {
        self.ages.as_ref().map_or(NEVER, |ages| ages.deadline(slot))
    }

    /// The span that the deadline of a slot came from, where those are kept.
    #[must_use]
    pub fn span(&self, slot: Slot) -> u64 {
        self.ages.as_ref().map_or(0, |ages| ages.span(slot))
    }

    /// Gives the entry in `slot`, which must be filled, a deadline, at a time `now`. Only where there are ages.
    pub fn set_deadline(&mut self, slot: Slot, deadline: u64, span: u64, now: u64) {
        if let Some(ages) = &mut self.ages {
            ages.set(slot, deadline, span, now);
        }
    }

    /// A slot whose entry is due at `now`, found in at most so many steps.
    pub fn due(&mut self, now: u64, steps: &mut u32) -> Due {
        self.ages
            .as_mut()
            .map_or(Due::Nothing, |ages| ages.due(now, steps))
    }

    /// A time before which nothing is due.
    #[must_use]
    pub fn earliest_due(&self) -> u64 {
        self.ages.as_ref().map_or(NEVER, |ages| ages.earliest_due())
    }

    /// The deadline, the span and the time of the wheel.
    pub(super) fn age(&self, slot: Slot) -> Option<(u64, u64, u64)> {
        self.ages
            .as_ref()
            .map(|ages| (ages.deadline(slot), ages.span(slot), ages.elapsed()))
    }

    pub(super) fn set_age(&mut self, slot: Slot, age: Option<(u64, u64, u64)>) {
        if let Some((deadline, span, now)) = age {
            self.set_deadline(slot, deadline, span, now);
        }
    }
}
