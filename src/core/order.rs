//! Which entry goes first: the one interface that every eviction policy has, and the first policy, recency.

use std::collections::TryReserveError;

use super::slots::Slot;

/// An eviction order over slots, apart from what the slots hold and from the index that finds them.
///
/// Every method but the walk is O(1).
pub trait Order: Default {
    /// Makes room for the slots below `slots`.
    ///
    /// # Errors
    /// When the memory can't be had; nothing has changed then.
    fn reserve(&mut self, slots: usize) -> Result<(), TryReserveError>;

    /// `slot`, which the order did not hold, was filled. Its room was reserved.
    fn inserted(&mut self, slot: Slot);

    /// The entry in `slot` was asked for.
    fn used(&mut self, slot: Slot);

    /// The entry in `slot` is gone.
    fn removed(&mut self, slot: Slot);

    /// The slot to evict next.
    fn victim(&self) -> Option<Slot>;

    /// The slot that would be evicted last.
    fn last(&self) -> Option<Slot>;

    /// The slot after `slot`, from the next victim to the last.
    fn after(&self, slot: Slot) -> Option<Slot>;

    /// The slot before `slot`, from the next victim to the last.
    fn before(&self, slot: Slot) -> Option<Slot>;

    /// Bytes allocated.
    fn allocated_bytes(&self) -> usize;
}

#[derive(Clone, Copy, Debug)]
struct Links {
    before: u32,
    after: u32,
}

/// Least recently used first: a doubly linked list whose links are eight bytes a slot.
///
/// Node 0 is the ring's head and belongs to no slot, so that no operation has an end to treat apart; the node of a
/// slot is its number plus one.
#[derive(Debug, Default)]
pub struct Recency {
    nodes: Vec<Links>,
}

const HEAD: u32 = 0;

impl Recency {
    fn node(slot: Slot) -> u32 {
        slot + 1
    }

    fn slot(node: u32) -> Option<Slot> {
        node.checked_sub(1)
    }

    #[inline]
    fn set_after(&mut self, node: u32, after: u32) {
        if let Some(links) = self.nodes.get_mut(node as usize) {
            links.after = after;
        }
    }

    #[inline]
    fn set_before(&mut self, node: u32, before: u32) {
        if let Some(links) = self.nodes.get_mut(node as usize) {
            links.before = before;
        }
    }

    #[inline]
    fn unlink(&mut self, Links { before, after }: Links) {
        self.set_after(before, after);
        self.set_before(after, before);
    }

    #[inline]
    fn link_last(&mut self, node: u32) {
        let Some(head) = self.nodes.first_mut() else {
            return;
        };
        let last = std::mem::replace(&mut head.before, node);
        self.set_after(last, node);
        if let Some(links) = self.nodes.get_mut(node as usize) {
            *links = Links {
                before: last,
                after: HEAD,
            };
        }
    }

    fn neighbour(&self, node: u32, step: impl Fn(&Links) -> u32) -> Option<Slot> {
        self.nodes
            .get(node as usize)
            .and_then(|links| Self::slot(step(links)))
    }
}

impl Order for Recency {
    fn reserve(&mut self, slots: usize) -> Result<(), TryReserveError> {
        let wanted = slots + 1;
        if wanted > self.nodes.capacity() {
            self.nodes.try_reserve_exact(wanted - self.nodes.len())?;
        }
        Ok(())
    }

    fn inserted(&mut self, slot: Slot) {
        let node = Self::node(slot);
        let wanted = node as usize + 1;
        while self.nodes.len() < wanted {
            self.nodes.push(Links {
                before: HEAD,
                after: HEAD,
            });
        }
        self.link_last(node);
    }

    #[inline]
    fn used(&mut self, slot: Slot) {
        let node = Self::node(slot);
        if let Some(&links) = self.nodes.get(node as usize)
            && links.after != HEAD
        {
            self.unlink(links);
            self.link_last(node);
        }
    }

    fn removed(&mut self, slot: Slot) {
        if let Some(&links) = self.nodes.get(Self::node(slot) as usize) {
            self.unlink(links);
        }
    }

    fn victim(&self) -> Option<Slot> {
        self.neighbour(HEAD, |links| links.after)
    }

    fn last(&self) -> Option<Slot> {
        self.neighbour(HEAD, |links| links.before)
    }

    fn after(&self, slot: Slot) -> Option<Slot> {
        self.neighbour(Self::node(slot), |links| links.after)
    }

    fn before(&self, slot: Slot) -> Option<Slot> {
        self.neighbour(Self::node(slot), |links| links.before)
    }

    fn allocated_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Links>()
    }
}
