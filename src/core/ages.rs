//! Deadlines of slots, and finding those that have passed without a scan.

use std::collections::TryReserveError;

use super::slots::Slot;

/// A deadline that never passes. Times are below it.
pub const NEVER: u64 = u64::MAX;

/// A slot, or one of the heads of the rings, which have the numbers from `HEADS`.
type Node = u32;
const HEADS: Node = Slot::MAX - 1023;
/// Where a node is in no ring.
const NOWHERE: Node = Node::MAX;

/// The ring of deadlines that came in ascending order, as those of one lifetime do.
const IN_ORDER: usize = 0;
/// The ring of deadlines that were before the wheel's time when they came: rare, and looked at one by one.
const BEHIND: usize = 1;
const WHEEL: usize = 2;

const BITS: u32 = 6;
const BUCKETS: usize = 1 << BITS;
const LEVELS: usize = u64::BITS.div_ceil(BITS) as usize;

#[derive(Clone, Copy, Debug)]
struct Links {
    before: Node,
    after: Node,
}

/// How far a search for what is due may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The entry in this slot is due.
    Slot(Slot),
    /// None is.
    Nothing,
    /// Not known yet: the steps allowed were used up.
    Unfinished,
}

/// A deadline for each slot, in a unit of the caller's.
///
/// Deadlines that come in order make a list, of which the first is the earliest: entries of one lifetime need no more.
/// The others go into a hierarchical timing wheel (Varghese & Lauck, "Hashed and Hierarchical Timing Wheels", SOSP
/// 1987), whose levels are the digits of a time in base 64, down to the unit itself, so that it is exact: a bucket of
/// level 0 holds one time. Bits say which buckets hold any, so that empty ones are skipped, however far the time has
/// moved. An entry moves to a lower level at most once for each level: O(1) amortised.
///
/// Costs 16 bytes a slot, 24 with spans, and 6 KB once there is a deadline out of order.
#[derive(Debug)]
pub struct Ages {
    deadlines: Vec<u64>,
    spans: Option<Vec<u64>>,
    nodes: Vec<Links>,
    heads: Vec<Links>,
    occupied: [u64; LEVELS],
    /// The wheel's time: no deadline in it is earlier.
    elapsed: u64,
}

#[allow(clippy::cast_possible_truncation, reason = "heads are few")]
fn head(ring: usize) -> Node {
    HEADS + ring as Node
}

fn ring(node: Node) -> Option<usize> {
    node.checked_sub(HEADS).map(|ring| ring as usize)
}

fn digit(time: u64, level: usize) -> usize {
    #[allow(clippy::cast_possible_truncation, reason = "six bits")]
    let digit = (time >> (level as u32 * BITS)) as usize % BUCKETS;
    digit
}

impl Ages {
    /// No deadlines; where `spans`, each has a second number beside it.
    pub fn new(spans: bool) -> Self {
        Self {
            deadlines: Vec::new(),
            spans: spans.then(Vec::new),
            nodes: Vec::new(),
            heads: Vec::new(),
            occupied: [0; LEVELS],
            elapsed: 0,
        }
    }

    /// The same, empty.
    pub fn emptied(&self) -> Self {
        Self::new(self.spans.is_some())
    }

    /// Makes room for the slots below `slots`.
    ///
    /// # Errors
    /// When the memory can't be had.
    pub fn reserve(&mut self, slots: usize) -> Result<(), TryReserveError> {
        fn up_to<T>(list: &mut Vec<T>, slots: usize) -> Result<(), TryReserveError> {
            if slots > list.capacity() {
                list.try_reserve_exact(slots - list.len())?;
            }
            Ok(())
        }
        up_to(&mut self.heads, WHEEL)?;
        self.add_heads(WHEEL);
        up_to(&mut self.deadlines, slots)?;
        up_to(&mut self.nodes, slots)?;
        self.spans
            .as_mut()
            .map_or(Ok(()), |spans| up_to(spans, slots))
    }

    pub fn allocated_bytes(&self) -> usize {
        let spans = self.spans.as_ref().map_or(0, Vec::capacity);
        (self.deadlines.capacity() + spans) * size_of::<u64>()
            + (self.nodes.capacity() + self.heads.capacity()) * size_of::<Links>()
    }

    /// When the entry in a slot is due.
    #[inline]
    pub fn deadline(&self, slot: Slot) -> u64 {
        self.deadlines.get(slot as usize).copied().unwrap_or(NEVER)
    }

    /// The number beside the deadline.
    pub fn span(&self, slot: Slot) -> u64 {
        let spans = self.spans.as_ref();
        spans
            .and_then(|spans| spans.get(slot as usize).copied())
            .unwrap_or(0)
    }

    /// Sets the deadline of a slot, whose room was reserved. `now` is the time, as far as it is known.
    pub fn set(&mut self, slot: Slot, deadline: u64, span: u64, now: u64) {
        let place = slot as usize;
        while self.deadlines.len() <= place {
            self.deadlines.push(NEVER);
            self.nodes.push(Links {
                before: NOWHERE,
                after: NOWHERE,
            });
        }
        self.unlink(slot);
        self.deadlines[place] = deadline;
        if let Some(spans) = &mut self.spans {
            while spans.len() <= place {
                spans.push(0);
            }
            spans[place] = span;
        }
        if deadline != NEVER {
            let ring = self.ring_for(deadline, now);
            self.link(slot, ring);
        }
    }

    /// Forgets the deadline of a slot.
    pub fn forget(&mut self, slot: Slot) {
        self.unlink(slot);
        if let Some(deadline) = self.deadlines.get_mut(slot as usize) {
            *deadline = NEVER;
        }
    }

    /// Looks for a slot whose deadline is not after `now`, in at most so many steps.
    pub fn due(&mut self, now: u64, steps: &mut u32) -> Due {
        if let Some(slot) = self.first(IN_ORDER)
            && self.deadline(slot) <= now
        {
            return Due::Slot(slot);
        }
        let mut at = self.first(BEHIND);
        while let Some(slot) = at {
            if self.deadline(slot) <= now {
                return Due::Slot(slot);
            }
            at = self.after(slot);
        }
        while let Some((level, bucket, start)) = self.earliest() {
            if start > now {
                break;
            }
            let ring = WHEEL + level * BUCKETS + bucket;
            let Some(slot) = self.first(ring) else {
                self.occupied[level] &= !(1 << bucket);
                continue;
            };
            self.elapsed = start;
            if level == 0 {
                return Due::Slot(slot);
            }
            if *steps == 0 {
                return Due::Unfinished;
            }
            *steps -= 1;
            self.unlink(slot);
            let lower = self.bucket(self.deadline(slot));
            self.link(slot, lower);
        }
        Due::Nothing
    }

    /// A time before which nothing is due: the earliest deadline, or where that is still far off in the wheel, the start
    /// of its bucket. `NEVER` where there is none.
    pub fn earliest_due(&self) -> u64 {
        let mut earliest = self
            .first(IN_ORDER)
            .map_or(NEVER, |slot| self.deadline(slot));
        let mut at = self.first(BEHIND);
        while let Some(slot) = at {
            earliest = earliest.min(self.deadline(slot));
            at = self.after(slot);
        }
        match self.earliest() {
            Some((_, _, start)) => earliest.min(start),
            None => earliest,
        }
    }

    /// The wheel's time.
    pub fn elapsed(&self) -> u64 {
        self.elapsed
    }

    /// The level and the number of the earliest bucket in use, and the first time that falls into it and is not past.
    fn earliest(&self) -> Option<(usize, usize, u64)> {
        for level in (1..LEVELS).rev() {
            // The time is inside this bucket: it was left half emptied.
            let bucket = digit(self.elapsed, level);
            if self.occupied[level] >> bucket & 1 == 1 {
                return Some((level, bucket, self.elapsed));
            }
        }
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        let bucket = self.occupied[level].trailing_zeros();
        #[allow(clippy::cast_possible_truncation, reason = "levels are few")]
        let shift = level as u32 * BITS;
        let above = self.elapsed.checked_shr(shift + BITS).unwrap_or(0);
        let above = above.checked_shl(shift + BITS).unwrap_or(0);
        Some((level, bucket as usize, above | u64::from(bucket) << shift))
    }

    fn ring_for(&mut self, deadline: u64, now: u64) -> usize {
        let last = self.heads.first().and_then(|links| self.slot(links.before));
        if last.is_none_or(|last| self.deadline(last) <= deadline) {
            return IN_ORDER;
        }
        let all = WHEEL + LEVELS * BUCKETS;
        if self.heads.len() < all {
            if self
                .heads
                .try_reserve_exact(all - self.heads.len())
                .is_err()
            {
                return BEHIND;
            }
            self.add_heads(all);
        }
        if self.occupied == [0; LEVELS] {
            self.elapsed = now.min(deadline);
        }
        if deadline < self.elapsed {
            return BEHIND;
        }
        self.bucket(deadline)
    }

    /// The ring of the bucket for a deadline that is not before the wheel's time.
    fn bucket(&self, deadline: u64) -> usize {
        let highest = (deadline ^ self.elapsed).checked_ilog2().unwrap_or(0);
        let level = (highest / BITS) as usize;
        WHEEL + level * BUCKETS + digit(deadline, level)
    }

    fn add_heads(&mut self, count: usize) {
        for ring in self.heads.len()..count {
            let node = head(ring);
            self.heads.push(Links {
                before: node,
                after: node,
            });
        }
    }

    #[allow(clippy::unused_self, reason = "reads as the others do")]
    fn slot(&self, node: Node) -> Option<Slot> {
        (node < HEADS).then_some(node)
    }

    fn first(&self, ring: usize) -> Option<Slot> {
        self.heads
            .get(ring)
            .and_then(|links| self.slot(links.after))
    }

    fn after(&self, slot: Slot) -> Option<Slot> {
        let links = self.nodes.get(slot as usize)?;
        self.slot(links.after)
    }

    fn links(&mut self, node: Node) -> Option<&mut Links> {
        match ring(node) {
            Some(ring) => self.heads.get_mut(ring),
            None => self.nodes.get_mut(node as usize),
        }
    }

    fn link(&mut self, slot: Slot, ring: usize) {
        let head = head(ring);
        let Some(ends) = self.links(head) else {
            return;
        };
        let last = std::mem::replace(&mut ends.before, slot);
        if let Some(links) = self.links(last) {
            links.after = slot;
        }
        if let Some(links) = self.links(slot) {
            *links = Links {
                before: last,
                after: head,
            };
        }
        if let Some(bucket) = ring.checked_sub(WHEEL) {
            self.occupied[bucket / BUCKETS] |= 1 << (bucket % BUCKETS);
        }
    }

    fn unlink(&mut self, slot: Slot) {
        let Some(links) = self.nodes.get_mut(slot as usize) else {
            return;
        };
        let Links { before, after } = std::mem::replace(
            links,
            Links {
                before: NOWHERE,
                after: NOWHERE,
            },
        );
        if before == NOWHERE {
            return;
        }
        if let Some(links) = self.links(before) {
            links.after = after;
        }
        if let Some(links) = self.links(after) {
            links.before = before;
        }
        if before == after
            && let Some(bucket) = ring(before).and_then(|ring| ring.checked_sub(WHEEL))
        {
            self.occupied[bucket / BUCKETS] &= !(1 << (bucket % BUCKETS));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{Ages, Due, NEVER};

    #[derive(Clone, Debug)]
    enum Step {
        Set(u32, u64),
        Forget(u32),
        Forward(u64),
        Back(u64),
        Due(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let span = prop_oneof![0..70_u64, 0..5_000_u64, 0..u64::MAX / 4, Just(NEVER)];
        let step = prop_oneof![
            8 => (0..40_u32, span.clone()).prop_map(|(slot, span)| Step::Set(slot, span)),
            2 => (0..40_u32).prop_map(Step::Forget),
            4 => (0..6_000_u64).prop_map(Step::Forward),
            1 => (0..u64::MAX / 4).prop_map(Step::Forward),
            1 => (0..6_000_u64).prop_map(Step::Back),
            6 => (0..50_u32).prop_map(Step::Due),
        ];
        prop::collection::vec(step, 0..120)
    }

    proptest! {
        #[test]
        fn what_is_due_is_what_a_search_through_all_finds(steps in steps()) {
            let mut ages = Ages::new(false);
            ages.reserve(40)?;
            let mut model = BTreeMap::new();
            let mut now = 1_000_u64;
            for step in steps {
                match step {
                    Step::Set(slot, span) => {
                        let deadline = now.saturating_add(span);
                        ages.set(slot, deadline, 0, now);
                        model.insert(slot, deadline);
                    }
                    Step::Forget(slot) => {
                        ages.forget(slot);
                        model.remove(&slot);
                    }
                    Step::Forward(by) => now = now.saturating_add(by).min(NEVER - 1),
                    Step::Back(by) => now = now.saturating_sub(by),
                    Step::Due(mut budget) => {
                        let earliest = model.values().copied().min().unwrap_or(NEVER);
                        prop_assert!(ages.earliest_due() <= earliest);
                        loop {
                            match ages.due(now, &mut budget) {
                                Due::Slot(slot) => {
                                    prop_assert!(model.remove(&slot).is_some_and(|deadline| deadline <= now));
                                    ages.forget(slot);
                                }
                                Due::Nothing => {
                                    prop_assert!(model.values().all(|&deadline| deadline > now));
                                    break;
                                }
                                Due::Unfinished => budget = 1,
                            }
                        }
                    }
                }
                for slot in 0..40 {
                    prop_assert_eq!(ages.deadline(slot), model.get(&slot).copied().unwrap_or(NEVER));
                }
            }
        }
    }
}
