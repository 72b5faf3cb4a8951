//! `core::Cache`, an index of slot numbers beside the slots, against the same links over an `IndexMap` and against the
//! crates `lru`, `quick_cache` and `moka`: nanoseconds an operation and bytes an entry.
//!
//! Keys and values are as wide as Python's references and have their niche; all hash alike. `quick_cache` is its variant
//! for one thread, and approximates recency (S3-FIFO); `moka` is for many threads, evicts by recency as it is told, and
//! does so behind a queue of what was read and written. `cargo bench` measures; run in any other way
//! (`cargo test --benches`), it only goes once through everything.
#![allow(
    clippy::cast_precision_loss,
    reason = "counts and times here are far below 2^52"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use leaksafe::core::{Cache, Removed, spread};
use lru::LruCache;
use moka::policy::EvictionPolicy;
use quick_cache::UnitWeighter;
use quick_cache::unsync::DefaultLifecycle;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with a count of the bytes that are out.
struct Counting;

// SAFETY: every request goes to `System` as it came, so its guarantees are kept; counting touches none of that memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps `dealloc`'s contract, and `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.fetch_add(size, Ordering::Relaxed);
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps `realloc`'s contract, and `pointer` came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Word = NonZeroU64;

trait Contender: 'static {
    const NAME: &'static str;

    fn with_bound(bound: usize) -> Self;
    /// Looks a key up and makes it the most recent.
    fn get(&mut self, key: Word) -> Option<Word>;
    /// Adds a key that is not there, in the place of the least recent one when full.
    fn insert(&mut self, key: Word, value: Word);
}

impl Contender for Cache<Word, Word> {
    const NAME: &'static str = "slots + HashTable";

    fn with_bound(bound: usize) -> Self {
        Cache::new(Some(bound as u64), false)
    }

    #[inline]
    fn get(&mut self, key: Word) -> Option<Word> {
        let slot = self.find(key.get(), |other| *other == key)?;
        self.touch(slot);
        Cache::get(self, slot).map(|entry| entry.value)
    }

    #[inline]
    fn insert(&mut self, key: Word, value: Word) {
        let mut evicted = Removed::default();
        let stored = Cache::insert(self, key.get(), key, value, 1, &mut evicted);
        drop(black_box((stored, evicted)));
    }
}

/// Hashes a word as `core` spreads the hashes that it is given.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are single words")
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = spread(word);
    }
}

type BuildSpread = BuildHasherDefault<Spread>;

#[derive(Clone, Copy)]
struct Links {
    before: u32,
    after: u32,
}

const HEAD: u32 = 0;

/// Recency over the positions of an `IndexMap`, whose removal moves the last entry into the gap.
struct Indexed {
    map: IndexMap<Word, Word, BuildSpread>,
    nodes: Vec<Links>,
    bound: usize,
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "this bench stays far below 2^32 entries"
)]
impl Indexed {
    fn link(&mut self, node: u32) {
        let last = self.nodes[HEAD as usize].before;
        self.nodes[node as usize] = Links {
            before: last,
            after: HEAD,
        };
        self.nodes[last as usize].after = node;
        self.nodes[HEAD as usize].before = node;
    }

    fn unlink(&mut self, node: u32) {
        let Links { before, after } = self.nodes[node as usize];
        self.nodes[before as usize].after = after;
        self.nodes[after as usize].before = before;
    }

    fn evict(&mut self) {
        let victim = self.nodes[HEAD as usize].after;
        self.unlink(victim);
        let moved = self.map.len() as u32;
        black_box(self.map.swap_remove_index(victim as usize - 1));
        if moved != victim {
            let links = self.nodes[moved as usize];
            self.nodes[victim as usize] = links;
            self.nodes[links.before as usize].after = victim;
            self.nodes[links.after as usize].before = victim;
        }
        self.nodes.pop();
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "this bench stays far below 2^32 entries"
)]
impl Contender for Indexed {
    const NAME: &'static str = "IndexMap";

    fn with_bound(bound: usize) -> Self {
        Self {
            map: IndexMap::default(),
            nodes: vec![Links {
                before: HEAD,
                after: HEAD,
            }],
            bound,
        }
    }

    #[inline]
    fn get(&mut self, key: Word) -> Option<Word> {
        let (index, _, value) = self.map.get_full(&key)?;
        let (node, value) = (index as u32 + 1, *value);
        if self.nodes[node as usize].after != HEAD {
            self.unlink(node);
            self.link(node);
        }
        Some(value)
    }

    #[inline]
    fn insert(&mut self, key: Word, value: Word) {
        if self.map.len() == self.bound {
            self.evict();
        }
        // As exact as core's growth, so that the bytes compare the structures and not the rounding.
        if self.map.len() == self.map.capacity() {
            let more = self.map.len().max(4).min(self.bound - self.map.len());
            self.map.reserve_exact(more);
            self.nodes.reserve_exact(more);
        }
        let (index, _) = self.map.insert_full(key, value);
        self.nodes.push(Links {
            before: HEAD,
            after: HEAD,
        });
        self.link(index as u32 + 1);
    }
}

impl Contender for LruCache<Word, Word, BuildSpread> {
    const NAME: &'static str = "lru";

    fn with_bound(bound: usize) -> Self {
        LruCache::with_hasher(
            NonZeroUsize::new(bound).unwrap_or(NonZeroUsize::MIN),
            BuildSpread::default(),
        )
    }

    #[inline]
    fn get(&mut self, key: Word) -> Option<Word> {
        LruCache::get(self, &key).copied()
    }

    #[inline]
    fn insert(&mut self, key: Word, value: Word) {
        black_box(self.push(key, value));
    }
}

type Quick =
    quick_cache::unsync::Cache<Word, Word, UnitWeighter, BuildSpread, DefaultLifecycle<Word, Word>>;

impl Contender for Quick {
    const NAME: &'static str = "quick_cache";

    fn with_bound(bound: usize) -> Self {
        Self::with(
            bound,
            bound as u64,
            UnitWeighter,
            BuildSpread::default(),
            DefaultLifecycle::default(),
        )
    }

    #[inline]
    fn get(&mut self, key: Word) -> Option<Word> {
        Self::get(self, &key).copied()
    }

    #[inline]
    fn insert(&mut self, key: Word, value: Word) {
        Self::insert(self, key, value);
    }
}

type Moka = moka::sync::Cache<Word, Word, BuildSpread>;

impl Contender for Moka {
    const NAME: &'static str = "moka";

    fn with_bound(bound: usize) -> Self {
        moka::sync::Cache::builder()
            .max_capacity(bound as u64)
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(BuildSpread::default())
    }

    #[inline]
    fn get(&mut self, key: Word) -> Option<Word> {
        Self::get(self, &key)
    }

    #[inline]
    fn insert(&mut self, key: Word, value: Word) {
        Self::insert(self, key, value);
    }
}

/// Distinct words without a pattern: the finalizer of `SplitMix64`, which permutes the 64-bit numbers.
fn words(first: usize, count: usize) -> Vec<Word> {
    let mixed = |n: usize| {
        let mut z = (n as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    (first..first + count)
        .filter_map(|n| Word::new(mixed(n)))
        .collect()
}

fn filled<C: Contender>(stored: &[Word]) -> C {
    let mut cache = C::with_bound(stored.len());
    for &word in stored {
        cache.insert(word, word);
    }
    cache
}

/// Goes so many times through its keys, and says how long that took.
type Loop = Box<dyn FnMut(usize) -> Duration>;

/// Makes the loop of one contender, from what is stored and what is then asked for or added.
type Make = fn(&[Word], &[Word]) -> Loop;

fn looking_up<C: Contender>(stored: &[Word], asked: &[Word]) -> Loop {
    let mut cache = filled::<C>(stored);
    // Half a page in: large allocations all start at one offset in a page, and where keys and links, both eight bytes
    // wide, are walked in step, the processor would take the loads of keys for loads of the links just stored.
    let padding = &asked[..(2048 / size_of::<Word>()).min(asked.len())];
    let padded = [padding, asked].concat();
    let start_at = padding.len();
    Box::new(move |passes| {
        let asked = &padded[start_at..];
        let start = Instant::now();
        for _ in 0..passes {
            for &word in asked {
                black_box(cache.get(black_box(word)));
            }
        }
        start.elapsed()
    })
}

fn evicting<C: Contender>(stored: &[Word], new: &[Word]) -> Loop {
    let mut cache = filled::<C>(stored);
    let new = new.to_vec();
    Box::new(move |passes| {
        let start = Instant::now();
        for _ in 0..passes {
            for &word in &new {
                cache.insert(black_box(word), word);
            }
        }
        start.elapsed()
    })
}

struct Effort {
    rounds: usize,
    at_least: Duration,
    sizes: &'static [usize],
    entries: usize,
}

type Ours = Cache<Word, Word>;
type Lru = LruCache<Word, Word, BuildSpread>;

const CONTENDERS: usize = 5;
const NAMES: [&str; CONTENDERS] = [
    <Ours as Contender>::NAME,
    Indexed::NAME,
    <Lru as Contender>::NAME,
    <Quick as Contender>::NAME,
    <Moka as Contender>::NAME,
];
const LOOKING_UP: [Make; CONTENDERS] = [
    looking_up::<Ours>,
    looking_up::<Indexed>,
    looking_up::<Lru>,
    looking_up::<Quick>,
    looking_up::<Moka>,
];
const EVICTING: [Make; CONTENDERS] = [
    evicting::<Ours>,
    evicting::<Indexed>,
    evicting::<Lru>,
    evicting::<Quick>,
    evicting::<Moka>,
];

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Times the loops in turns and prints a line: medians, and in brackets the median ratio to the first in each round.
fn race(label: &str, operations: usize, mut loops: [Loop; CONTENDERS], effort: &Effort) {
    let passes = loops.each_mut().map(|run| {
        let mut passes = 1;
        while run(passes) < effort.at_least {
            passes *= 2;
        }
        passes
    });
    let mut times: [Vec<f64>; CONTENDERS] = Default::default();
    for round in 0..effort.rounds {
        for turn in 0..CONTENDERS {
            // Every other round runs backwards, so that nobody always follows the same neighbour.
            let who = if round % 2 == 0 {
                turn
            } else {
                CONTENDERS - 1 - turn
            };
            loops[who](1); // brings its own data back into the processor's caches
            let taken = loops[who](passes[who]).as_secs_f64() * 1e9;
            times[who].push(taken / (passes[who] * operations) as f64);
        }
    }
    let cells = times.each_ref().map(|own| {
        let ratios = own.iter().zip(&times[0]).map(|(a, b)| a / b).collect();
        format!("{:6.1} ({:4.2})", median(own.clone()), median(ratios))
    });
    print_line(label, &cells);
}

fn print_line(label: &str, cells: &[String; CONTENDERS]) {
    let cells = cells.each_ref().map(|cell| format!(" {cell:>18}")).concat();
    println!("{label:36}{cells}");
}

fn bytes_an_entry<C: Contender>(entries: usize) -> f64 {
    let stored = words(0, entries);
    let before = ALLOCATED.load(Ordering::Relaxed);
    let cache = black_box(filled::<C>(&stored));
    let bytes = ALLOCATED.load(Ordering::Relaxed) - before;
    drop(cache);
    bytes as f64 / entries as f64
}

fn all(of: [Make; CONTENDERS], label: &str, stored: &[Word], used: &[Word], effort: &Effort) {
    let loops = of.map(|make| make(stored, used));
    race(
        &format!("{label}, {} entries", stored.len()),
        used.len(),
        loops,
        effort,
    );
}

fn main() {
    let effort = if std::env::args().any(|argument| argument == "--bench") {
        Effort {
            rounds: 21,
            at_least: Duration::from_millis(5),
            sizes: &[1_000, 100_000],
            entries: 1_000_000,
        }
    } else {
        Effort {
            rounds: 1,
            at_least: Duration::ZERO,
            sizes: &[100],
            entries: 1_000,
        }
    };

    println!(
        "ns an operation: median of {} interleaved rounds (ratio to the first)",
        effort.rounds
    );
    print_line("", &NAMES.map(String::from));
    for &size in effort.sizes {
        let stored = words(0, size);
        let mut shuffled = stored.clone();
        shuffled.sort_unstable(); // an order that has nothing to do with that of insertion
        all(LOOKING_UP, "hit, as inserted", &stored, &stored, &effort);
        all(LOOKING_UP, "hit, other order", &stored, &shuffled, &effort);
        all(LOOKING_UP, "miss", &stored, &words(size, size), &effort);
        all(
            EVICTING,
            "insert with eviction",
            &stored,
            &words(size, 4 * size),
            &effort,
        );
    }

    println!("\nbytes an entry, allocated, keys and values (16) included");
    let bytes = [
        bytes_an_entry::<Ours>(effort.entries),
        bytes_an_entry::<Indexed>(effort.entries),
        bytes_an_entry::<Lru>(effort.entries),
        bytes_an_entry::<Quick>(effort.entries),
        bytes_an_entry::<Moka>(effort.entries),
    ];
    let cells = bytes.map(|own| format!("{own:6.1} ({:4.2})", own / bytes[0]));
    print_line(&format!("{} entries", effort.entries), &cells);
}
