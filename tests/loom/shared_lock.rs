//! The reader-writer lock under every interleaving of a few threads, by the model checker loom.

#![allow(clippy::expect_used, reason = "a test")]

/// What the lock is made of, in loom's words.
mod atomic {
    use loom::sync::atomic::{self, fence};
    pub use std::sync::atomic::Ordering;

    /// One look decides: loom tries every moment for it.
    pub const PATIENCE: u32 = 1;

    pub fn spin() {
        loom::thread::yield_now();
    }

    /// loom takes a sequentially consistent access for one that acquires and releases, but knows the fences. What the
    /// lock needs of it is that a write comes before the reads after it, which a fence between them says.
    fn fenced<R>(ordering: Ordering, write: impl FnOnce() -> R) -> R {
        let result = write();
        if ordering == Ordering::SeqCst {
            fence(Ordering::SeqCst);
        }
        result
    }

    #[derive(Debug)]
    pub struct AtomicU32(atomic::AtomicU32);

    impl AtomicU32 {
        pub fn new(value: u32) -> Self {
            Self(atomic::AtomicU32::new(value))
        }

        pub fn load(&self, ordering: Ordering) -> u32 {
            self.0.load(ordering)
        }

        pub fn store(&self, value: u32, ordering: Ordering) {
            fenced(ordering, || self.0.store(value, ordering));
        }

        pub fn swap(&self, value: u32, ordering: Ordering) -> u32 {
            fenced(ordering, || self.0.swap(value, ordering))
        }

        pub fn fetch_add(&self, value: u32, ordering: Ordering) -> u32 {
            fenced(ordering, || self.0.fetch_add(value, ordering))
        }

        pub fn fetch_sub(&self, value: u32, ordering: Ordering) -> u32 {
            fenced(ordering, || self.0.fetch_sub(value, ordering))
        }
    }

    #[derive(Debug)]
    pub struct AtomicBool(atomic::AtomicBool);

    impl AtomicBool {
        pub fn new(value: bool) -> Self {
            Self(atomic::AtomicBool::new(value))
        }

        pub fn load(&self, ordering: Ordering) -> bool {
            self.0.load(ordering)
        }

        pub fn store(&self, value: bool, ordering: Ordering) {
            fenced(ordering, || self.0.store(value, ordering));
        }

        pub fn compare_exchange(
            &self,
            current: bool,
            new: bool,
            success: Ordering,
            failure: Ordering,
        ) -> Result<bool, bool> {
            fenced(success, || {
                self.0.compare_exchange(current, new, success, failure)
            })
        }
    }
}

#[allow(dead_code, reason = "what only the library uses")]
#[path = "../../src/core/shared_lock.rs"]
mod shared_lock;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use shared_lock::{Place, Seat, SharedLock};

/// Data under the lock, as `interop::guard` has it. loom fails where a reader and a writer are in it at once.
struct Guarded {
    lock: SharedLock,
    seats: Vec<Seat>,
    data: UnsafeCell<Data>,
}

#[derive(Default)]
struct Data {
    /// Two numbers that are the same between changes.
    pair: (u32, u32),
    used: Vec<u32>,
    uses: u32,
}

// SAFETY: the lock is there for this; loom watches the cell.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            lock: SharedLock::default(),
            seats: vec![Seat::default(), Seat::default()],
            data: UnsafeCell::new(Data::default()),
        })
    }

    /// Whether the reader got in.
    fn hit(&self, seat: usize, place: Place, slot: u32) -> bool {
        let Some(reading) = self.lock.try_read(&self.seats[seat], place) else {
            return false;
        };
        self.data.with(|data| {
            // SAFETY: loom watches it.
            let (one, other) = unsafe { (*data).pair };
            assert_eq!(one, other, "half a change was seen");
        });
        let _ = reading.used(slot);
        true
    }

    fn change(&self, section: impl FnOnce(&mut Data)) -> bool {
        if !self.lock.try_write(|| &self.seats) {
            return false;
        }
        self.data.with_mut(|data| {
            // SAFETY: loom watches it.
            let data = unsafe { &mut *data };
            for seat in &self.seats {
                data.uses += seat.drain(|slot| data.used.push(slot));
            }
            section(data);
        });
        self.lock.end_write();
        true
    }
}

fn increment(data: &mut Data) {
    data.pair.0 += 1;
    data.pair.1 += 1;
}

#[test]
fn a_reader_and_a_writer_are_never_in_at_once() {
    loom::model(|| {
        let guarded = Guarded::new();
        let reader = thread::spawn({
            let guarded = Arc::clone(&guarded);
            move || {
                u32::from(guarded.hit(0, Place::new(0), 7))
                    + u32::from(guarded.hit(0, Place::new(0), 8))
            }
        });
        guarded.change(increment);
        let hits = reader.join().expect("no panic");
        assert!(guarded.change(|data| {
            assert_eq!(data.uses, hits);
            assert_eq!(data.used.len(), hits as usize);
        }));
    });
}

#[test]
fn two_readers_and_a_writer() {
    // Three threads have too many interleavings to try all; few bugs need more preemptions than this.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let guarded = Guarded::new();
        let readers = [0, 1].map(|at| {
            let guarded = Arc::clone(&guarded);
            thread::spawn(move || u32::from(guarded.hit(at.into(), Place::new(at), 7)))
        });
        guarded.change(increment);
        let hits: u32 = readers
            .map(|reader| reader.join().expect("no panic"))
            .iter()
            .sum();
        assert!(guarded.change(|data| assert_eq!(data.uses, hits)));
    });
}

#[test]
fn two_writers() {
    loom::model(|| {
        let guarded = Guarded::new();
        let other = thread::spawn({
            let guarded = Arc::clone(&guarded);
            move || guarded.change(increment)
        });
        let mine = guarded.change(increment);
        let theirs = other.join().expect("no panic");
        assert!(mine || theirs, "each gave way to the other");
        assert!(guarded.change(|data| {
            assert_eq!(data.pair.0, u32::from(mine) + u32::from(theirs));
        }));
    });
}

#[test]
fn two_readers_that_share_a_seat_lose_no_use() {
    loom::model(|| {
        let guarded = Guarded::new();
        let other = thread::spawn({
            let guarded = Arc::clone(&guarded);
            move || guarded.hit(0, Place::SHARED, 5)
        });
        assert!(guarded.hit(0, Place::SHARED, 6));
        assert!(other.join().expect("no panic"));
        assert!(guarded.change(|data| {
            data.used.sort_unstable();
            assert_eq!(data.used, [5, 6]);
            assert_eq!(data.uses, 2);
        }));
    });
}

#[test]
fn a_writer_waits_for_all_who_share_a_seat() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let guarded = Guarded::new();
        let readers = [0, 1].map(|_| {
            let guarded = Arc::clone(&guarded);
            thread::spawn(move || guarded.hit(0, Place::SHARED, 7))
        });
        guarded.change(increment);
        for reader in readers {
            reader.join().expect("no panic");
        }
    });
}

#[test]
fn a_reader_that_comes_while_a_writer_is_in_stays_out() {
    loom::model(|| {
        let guarded = Guarded::new();
        assert!(guarded.lock.try_write(|| &guarded.seats));
        assert!(!guarded.hit(0, Place::new(0), 1));
        guarded.lock.end_write();
        assert!(guarded.hit(0, Place::new(0), 1));
    });
}
