//! A reader-writer lock whose readers write to no memory that another reader writes to.
//!
//! The lock has a seat for each thread that reads: a cache line of its own, where the thread says that it is in, and
//! notes which slots it used. A reader announces itself in its seat and then looks whether a writer is there; a writer
//! says that it is there and then looks at the seats; sequential consistency makes one of them see the other, as in
//! Dekker's algorithm. Readers so pay one exchange on a line that stays in their own processor's cache, writers pay a
//! look at each seat. This is the "big reader" lock of Linux (`brlock`), one lock word a reader; Hsieh and Weihl,
//! "Scalable Reader-Writer Locks for Parallel Systems" (IPPS 1992), describe the same. That hits are noted in
//! lossy buffers, which a writer drains into the order, is from Ding, Jiang and Zhang, "BP-Wrapper" (ICDE 2009), and
//! from Caffeine.
//!
//! The lock guards nothing by itself, so that it needs no `unsafe`; its owner keeps the data beside it.

use super::atomic::{AtomicBool, AtomicU32, Ordering, PATIENCE, spin};

/// How many uses a reader notes before they are to be drained: as many as make a seat of 256 bytes.
pub const NOTES: u32 = 62;

/// After how many uses more a drain is due again, if nobody could do the last one.
const PERIOD: u32 = 64;

/// Seats of one lock. The last is for every thread that found none of its own.
pub const SEATS: u8 = 32;

/// Where a thread sits, in every lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u8);

impl Place {
    /// The place that threads without one of their own share.
    pub const SHARED: Self = Self(SEATS - 1);

    /// A place by its number.
    #[must_use]
    pub fn new(number: u8) -> Self {
        Self(number.min(Self::SHARED.0))
    }

    /// Its number, below [`SEATS`].
    #[must_use]
    #[inline]
    pub fn number(self) -> usize {
        usize::from(self.0)
    }

    #[inline]
    fn is_shared(self) -> bool {
        self == Self::SHARED
    }
}

/// What one thread writes when it reads.
#[derive(Debug)]
#[repr(align(128))]
pub struct Seat {
    /// How many readers are in: more than one only at the place that is shared.
    readers: AtomicU32,
    /// Uses since the last drain.
    uses: AtomicU32,
    /// The slots of the first of them.
    notes: [AtomicU32; NOTES as usize],
}

impl Default for Seat {
    fn default() -> Self {
        Self {
            readers: AtomicU32::new(0),
            uses: AtomicU32::new(0),
            notes: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }
}

/// The word that writers hold.
#[derive(Debug)]
pub struct SharedLock {
    held: AtomicBool,
}

impl Default for SharedLock {
    fn default() -> Self {
        Self {
            held: AtomicBool::new(false),
        }
    }
}

/// A reader that is in. Leaves when it is dropped.
#[derive(Debug)]
pub struct Reading<'a> {
    seat: &'a Seat,
    place: Place,
}

impl SharedLock {
    /// Lets a reader in, unless a writer is. `seat` is this lock's at the thread's `place`, and known to its writers.
    #[must_use]
    #[inline]
    pub fn try_read<'a>(&self, seat: &'a Seat, place: Place) -> Option<Reading<'a>> {
        if place.is_shared() {
            seat.readers.fetch_add(1, Ordering::SeqCst);
        } else {
            seat.readers.swap(1, Ordering::SeqCst);
        }
        let reading = Reading { seat, place };
        (!self.held.load(Ordering::SeqCst)).then_some(reading)
    }

    /// Lets a writer in, unless another is, or a reader stays for longer than one does that isn't interrupted.
    /// [`end_write`](Self::end_write) lets it out.
    #[must_use]
    #[inline]
    pub fn try_write<'a, I>(&self, seats: impl FnOnce() -> I) -> bool
    where
        I: IntoIterator<Item = &'a Seat>,
    {
        if self
            .held
            .compare_exchange(false, true, Ordering::SeqCst, Ordering::Relaxed)
            .is_err()
        {
            return false;
        }
        // Asked for now: the writer before may have added one.
        for seat in seats() {
            let mut looks = 0;
            while seat.is_taken() {
                looks += 1;
                if looks == PATIENCE {
                    self.end_write();
                    return false;
                }
                spin();
            }
        }
        true
    }

    /// Lets the writer out.
    #[inline]
    pub fn end_write(&self) {
        self.held.store(false, Ordering::Release);
    }

    /// Whether a writer is in, or is looking whether it can be.
    #[must_use]
    #[inline]
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }
}

impl Seat {
    fn is_taken(&self) -> bool {
        self.readers.load(Ordering::SeqCst) != 0
    }

    /// Takes out what was noted: gives each slot that was used, in the order of the uses, and returns how many uses
    /// there were. For a writer that is in.
    #[inline]
    pub fn drain(&self, mut used: impl FnMut(u32)) -> u32 {
        let count = self.uses.load(Ordering::Relaxed);
        if count > 0 {
            for note in self.notes.iter().take(count as usize) {
                used(note.load(Ordering::Relaxed));
            }
            self.uses.store(0, Ordering::Relaxed);
        }
        count
    }
}

impl Reading<'_> {
    /// Notes that the entry in `slot` was used, and leaves. Returns whether it is time to drain; what comes later is
    /// counted, but not noted.
    #[inline]
    #[must_use]
    pub fn used(self, slot: u32) -> bool {
        let uses = &self.seat.uses;
        let before = if self.place.is_shared() {
            uses.fetch_add(1, Ordering::Relaxed)
        } else {
            let before = uses.load(Ordering::Relaxed);
            uses.store(before.wrapping_add(1), Ordering::Relaxed);
            before
        };
        if let Some(note) = self.seat.notes.get(before as usize) {
            note.store(slot, Ordering::Relaxed);
        }
        before % PERIOD == NOTES - 1
    }
}

impl Drop for Reading<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.place.is_shared() {
            self.seat.readers.fetch_sub(1, Ordering::Release);
        } else {
            self.seat.readers.store(0, Ordering::Release);
        }
    }
}
