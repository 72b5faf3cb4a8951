//! Numbers for addresses.

use hashbrown::HashTable;

use super::spread;

/// What is numbered begins this far apart at least: two words, as objects of Python do.
const GRAIN: usize = 2 * size_of::<usize>();

/// The grains of a page.
const PLACES: usize = 256;

/// Stands for no number.
const NONE: u32 = u32::MAX;

/// Numbers addresses from 0 in the order in which they come. They must be two words apart, or more.
///
/// It is a page table: numbers of neighbours in memory are neighbours here. Objects mostly refer to what was made at the
/// same time, which is near, so that few look-ups miss the processor's caches, where a hash table misses them with each.
/// A page that has an object takes a quarter of its own size.
#[derive(Default)]
pub struct Addresses {
    /// The pages, each with its place in `numbers`.
    pages: HashTable<(usize, u32)>,
    numbers: Vec<[u32; PLACES]>,
    count: u32,
}

impl Addresses {
    /// The page of an address, and the place in it.
    fn split(address: usize) -> (usize, usize) {
        let grain = address / GRAIN;
        (grain / PLACES, grain % PLACES)
    }

    /// The number of an address, if it has one.
    #[must_use]
    #[inline]
    pub fn find(&self, address: usize) -> Option<u32> {
        let (page, place) = Self::split(address);
        let &(_, at) = self
            .pages
            .find(spread(page as u64), |&(other, _)| other == page)?;
        let number = self.numbers[at as usize][place];
        (number != NONE).then_some(number)
    }

    /// The number of an address, and whether it is new; `None` for want of memory, or numbers.
    #[inline]
    pub fn number(&mut self, address: usize) -> Option<(u32, bool)> {
        let (page, place) = Self::split(address);
        let found = self
            .pages
            .find(spread(page as u64), |&(other, _)| other == page);
        let at = match found {
            Some(&(_, at)) => at,
            None => self.add_page(page)?,
        };
        let number = &mut self.numbers[at as usize][place];
        if *number != NONE {
            return Some((*number, false));
        }
        if self.count == NONE {
            return None;
        }
        *number = self.count;
        self.count += 1;
        Some((*number, true))
    }

    #[cold]
    fn add_page(&mut self, page: usize) -> Option<u32> {
        let rehash = |&(page, _): &(usize, u32)| spread(page as u64);
        let at = u32::try_from(self.numbers.len()).ok()?;
        self.numbers.try_reserve(1).ok()?;
        self.pages.try_reserve(1, rehash).ok()?;
        self.numbers.push([NONE; PLACES]);
        self.pages
            .insert_unique(spread(page as u64), (page, at), rehash);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a hash map, with addresses that are near one another and far apart.
        #[test]
        fn each_address_keeps_its_number(
            grains in prop::collection::vec(prop_oneof![0..600_usize, 0..usize::MAX / GRAIN], 0..200),
            odd in 0..GRAIN,
        ) {
            let mut addresses = Addresses::default();
            let mut model = HashMap::new();
            let mut next = 0;
            for grain in grains {
                let address = grain * GRAIN + odd;
                prop_assert_eq!(addresses.find(address), model.get(&address).copied());
                let is_new = !model.contains_key(&address);
                let number = *model.entry(address).or_insert(next);
                next += u32::from(is_new);
                prop_assert_eq!(addresses.number(address), Some((number, is_new)));
                prop_assert_eq!(addresses.find(address), Some(number));
            }
        }
    }
}
