//! `Cache` against a model that is too simple to be wrong: a vector of entries, least recent first.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::{Cache, Removed, StoreError};

/// Few keys, of which many share a hash: collisions, evictions and hits all happen.
type Key = u8;

fn hash(key: Key) -> u64 {
    u64::from(key % 5) << 32
}

#[derive(Clone, Debug)]
enum Step {
    Set(Key, u32, u64),
    Get(Key),
    Peek(Key),
    Remove(Key),
    PopVictim,
    Bound(Option<u64>),
    Shrink,
    Take,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..24_u8;
    let step = prop_oneof![
        8 => (key.clone(), any::<u32>(), 0..6_u64).prop_map(|(key, value, weight)| Step::Set(key, value, weight)),
        4 => key.clone().prop_map(Step::Get),
        1 => key.clone().prop_map(Step::Peek),
        2 => key.prop_map(Step::Remove),
        1 => Just(Step::PopVictim),
        1 => prop::option::weighted(0.8, 0..20_u64).prop_map(Step::Bound),
        1 => Just(Step::Shrink),
        1 => Just(Step::Take),
    ];
    prop::collection::vec(step, 0..60)
}

struct Model {
    entries: Vec<(Key, u32, u64)>,
    bound: Option<u64>,
    weighed: bool,
}

impl Model {
    fn weight(&self) -> u64 {
        self.entries.iter().map(|entry| entry.2).sum()
    }

    fn take(&mut self, key: Key) -> Option<(Key, u32, u64)> {
        let at = self.entries.iter().position(|entry| entry.0 == key)?;
        Some(self.entries.remove(at))
    }

    fn evict(&mut self) -> Vec<(Key, u32)> {
        let mut evicted = Vec::new();
        while self
            .bound
            .is_some_and(|bound| self.weight() > bound || bound == 0)
            && !self.entries.is_empty()
        {
            let (key, value, _) = self.entries.remove(0);
            evicted.push((key, value));
        }
        evicted
    }

    fn set(&mut self, key: Key, value: u32, weight: u64) -> Result<Vec<(Key, u32)>, StoreError> {
        let weight = if self.weighed { weight } else { 1 };
        if self.bound.is_some_and(|bound| bound > 0 && weight > bound) {
            return Err(StoreError::TooHeavy);
        }
        self.take(key);
        self.entries.push((key, value, weight));
        Ok(self.evict())
    }
}

fn set(
    cache: &mut Cache<Key, u32>,
    key: Key,
    value: u32,
    weight: u64,
) -> Result<Vec<(Key, u32)>, StoreError> {
    let mut evicted = Removed::default();
    match cache.find(hash(key), |other| *other == key) {
        Some(slot) => cache
            .replace(slot, value, weight, &mut evicted)
            .map(drop)
            .map_err(|(error, _)| error)?,
        None => cache
            .insert(hash(key), key, value, weight, &mut evicted)
            .map(drop)
            .map_err(|(error, _, _)| error)?,
    }
    Ok(evicted.into_iter().collect())
}

fn entries(cache: &Cache<Key, u32>) -> Vec<(Key, u32)> {
    cache
        .walk(false)
        .into_iter()
        .map(|slot| cache.get(slot).unwrap())
        .map(|entry| (entry.key, entry.value))
        .collect()
}

fn agree(cache: &Cache<Key, u32>, model: &Model) {
    let expected: Vec<_> = model
        .entries
        .iter()
        .map(|&(key, value, _)| (key, value))
        .collect();
    assert_eq!(entries(cache), expected);
    let mut backwards = cache.walk(true);
    backwards.reverse();
    assert_eq!(backwards, cache.walk(false));
    assert_eq!(cache.len(), expected.len());
    assert_eq!(cache.weight(), model.weight());
    assert_eq!(cache.iter().count(), expected.len());
    for key in 0..24 {
        let found = cache.find(hash(key), |other| *other == key);
        let value = found.map(|slot| cache.get(slot).unwrap().value);
        let known = model.entries.iter().find(|entry| entry.0 == key);
        assert_eq!(value, known.map(|entry| entry.1));
    }
    assert!(model.bound.is_none_or(|bound| cache.weight() <= bound));
}

fn play(weighed: bool, bound: Option<u64>, steps: Vec<Step>) {
    let mut cache = Cache::<Key, u32>::new(bound, weighed);
    let mut model = Model {
        entries: Vec::new(),
        bound,
        weighed,
    };
    for step in steps {
        match step {
            Step::Set(key, value, weight) => {
                assert_eq!(
                    set(&mut cache, key, value, weight),
                    model.set(key, value, weight)
                );
            }
            Step::Get(key) => {
                if let Some(slot) = cache.find(hash(key), |other| *other == key) {
                    cache.touch(slot);
                }
                if let Some(entry) = model.take(key) {
                    model.entries.push(entry);
                }
            }
            Step::Peek(key) => {
                let changes = cache.changes();
                let _ = cache.find(hash(key), |other| *other == key);
                assert_eq!(cache.changes(), changes);
            }
            Step::Remove(key) => {
                let removed = cache
                    .find(hash(key), |other| *other == key)
                    .and_then(|slot| cache.remove(slot));
                assert_eq!(removed, model.take(key).map(|entry| (entry.0, entry.1)));
            }
            Step::PopVictim => {
                let expected = (!model.entries.is_empty()).then(|| model.entries.remove(0));
                assert_eq!(cache.pop_victim(), expected.map(|entry| (entry.0, entry.1)));
            }
            Step::Bound(bound) => {
                cache.set_bound(bound);
                model.bound = bound;
                let evicted: Vec<_> = std::iter::from_fn(|| cache.evict()).collect();
                assert_eq!(evicted, model.evict());
            }
            Step::Shrink => {
                let before = cache.allocated_bytes();
                cache.shrink();
                assert!(cache.allocated_bytes() <= before);
            }
            Step::Take => {
                let taken: Vec<_> = cache.take().collect();
                let expected: Vec<_> = model
                    .entries
                    .drain(..)
                    .map(|entry| (entry.0, entry.1))
                    .collect();
                assert_eq!(taken, expected);
                assert_eq!(cache.allocated_bytes(), 0);
            }
        }
        agree(&cache, &model);
    }
}

proptest! {
    // Miri is a hundred times slower, and looks for something else.
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 20 } else { ProptestConfig::default().cases.max(5_000) },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_counted_cache_is_its_model(bound in prop::option::weighted(0.9, 0..16_u64), steps in steps()) {
        play(false, bound, steps);
    }

    #[test]
    fn a_weighed_cache_is_its_model(bound in prop::option::weighted(0.9, 0..30_u64), steps in steps()) {
        play(true, bound, steps);
    }
}

#[test]
fn an_entry_of_two_pointers_costs_a_dict_and_a_link() {
    let mut cache = Cache::<Box<u8>, Box<u8>>::new(None, false);
    let mut evicted = Removed::default();
    for number in 0..100_000_u64 {
        assert!(
            cache
                .insert(number, Box::new(0), Box::new(0), 1, &mut evicted)
                .is_ok()
        );
    }
    // 24 for the entry and 8 for the links, of which a doubling leaves at most half unused; 5 a bucket of the index.
    assert!(cache.allocated_bytes() <= 131_072 * (24 + 8 + 5) + 64);
}

#[test]
fn a_counted_cache_allocates_no_slots_beyond_its_bound() {
    let mut bounded = Cache::<u64, u64>::new(Some(1_000), false);
    let mut evicted = Removed::default();
    for number in 0..5_000 {
        assert!(
            bounded
                .insert(number, number, number, 1, &mut evicted)
                .is_ok()
        );
    }
    assert_eq!(evicted.len(), 4_000);
    assert!(bounded.allocated_bytes() <= 1_000 * (32 + 8) + 8 + 2_048 * 5 + 16);
}

#[test]
fn weights_that_overflow_are_refused_and_change_nothing() {
    let mut cache = Cache::<u8, u8>::new(None, true);
    let mut evicted = Removed::default();
    assert!(cache.insert(1, 1, 1, u64::MAX - 1, &mut evicted).is_ok());
    let refused = cache.insert(2, 2, 2, 2, &mut evicted);
    assert_eq!(refused, Err((StoreError::Overflow, 2, 2)));
    let slot = cache.find(1, |_| true).unwrap();
    assert!(cache.insert(2, 2, 2, 1, &mut evicted).is_ok());
    let refused = cache.replace(slot, 9, u64::MAX, &mut evicted);
    assert_eq!(refused, Err((StoreError::Overflow, 9)));
    assert_eq!(cache.weight(), u64::MAX);
    assert!(evicted.is_empty());
}

#[test]
fn shrink_gives_memory_back_and_keeps_the_order() {
    let mut cache = Cache::<u64, u64>::new(None, true);
    let mut evicted = Removed::default();
    for number in 0..1_000 {
        assert!(
            cache
                .insert(number, number, number, 2, &mut evicted)
                .is_ok()
        );
    }
    cache.set_bound(Some(20));
    while cache.evict().is_some() {}
    let before = cache.allocated_bytes();
    cache.shrink();
    assert!(cache.allocated_bytes() < before / 8);
    let keys: Vec<_> = cache
        .walk(false)
        .into_iter()
        .map(|slot| cache.get(slot).unwrap().key)
        .collect();
    assert_eq!(keys, (990..1_000).collect::<Vec<_>>());
    assert_eq!((cache.weight(), cache.bound()), (20, Some(20)));
}
