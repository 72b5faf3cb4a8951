//! The seats of one lock, and the numbers by which threads find theirs.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::shared_lock::{Place, SEATS, Seat};

/// The numbers that threads have, a bit for each.
static TAKEN: AtomicU32 = AtomicU32::new(0);

const _: () = assert!(SEATS <= u32::BITS as usize);

/// Gives a thread's number back when the thread ends.
struct Return(usize);

impl Drop for Return {
    fn drop(&mut self) {
        PLACE.set(Some(Place::SHARED));
        TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
    }
}

thread_local! {
    static PLACE: Cell<Option<Place>> = const { Cell::new(None) };
    static RETURN: Cell<Option<Return>> = const { Cell::new(None) };
}

/// The place of this thread in every lock: one of its own for the first threads that live at the same time, the
/// shared one for the others.
#[must_use]
#[inline]
pub fn this_place() -> Place {
    PLACE.get().unwrap_or_else(take_place)
}

#[cold]
fn take_place() -> Place {
    let mut place = Place::SHARED;
    let mut taken = TAKEN.load(Ordering::Relaxed);
    loop {
        let free = taken.trailing_ones() as usize;
        if free >= Place::SHARED.number() {
            break;
        }
        match TAKEN.compare_exchange_weak(
            taken,
            taken | (1 << free),
            Ordering::Acquire,
            Ordering::Relaxed,
        ) {
            Ok(_) => {
                // At a thread's end there may be nobody any more who gives the number back.
                if RETURN.try_with(|own| own.set(Some(Return(free)))).is_ok() {
                    place = Place::new(free);
                }
                break;
            }
            Err(now) => taken = now,
        }
    }
    PLACE.set(Some(place));
    place
}

/// Threads with one of the first places, of which most programs have no more, share an allocation of a kilobyte.
const FEW: usize = 4;

/// The seats of one lock, made as threads first come: 1 KiB for the first four places, 7 KiB for all others.
#[derive(Debug, Default)]
pub struct Seats {
    few: OnceLock<Box<[Seat; FEW]>>,
    many: OnceLock<Box<[Seat; SEATS - FEW]>>,
    /// One more than the highest number that has a seat.
    end: AtomicUsize,
}

impl Seats {
    /// The seat at a place, if it was [added](Self::add).
    #[must_use]
    #[inline]
    pub fn get(&self, place: Place) -> Option<&Seat> {
        // A seat that is there, but beyond the end, is not looked at by writers.
        if place.number() >= self.end.load(Ordering::Relaxed) {
            return None;
        }
        match place.number().checked_sub(FEW) {
            None => self.few.get()?.get(place.number()),
            Some(number) => self.many.get()?.get(number),
        }
    }

    /// Makes the seat at a place. For a writer that is in, so that the next one knows of it.
    pub fn add(&self, place: Place) {
        self.end.fetch_max(place.number() + 1, Ordering::Relaxed);
        if place.number() < FEW {
            self.few.get_or_init(Box::default);
        } else {
            self.many
                .get_or_init(|| Box::new(std::array::from_fn(|_| Seat::default())));
        }
    }

    /// Every seat that a thread has.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &Seat> {
        let end = self.end.load(Ordering::Relaxed);
        let few = self
            .few
            .get()
            .map_or(&[][..], |seats| &seats[..end.min(FEW)]);
        let many = match end.checked_sub(FEW) {
            Some(end) => self.many.get().map_or(&[][..], |seats| &seats[..end]),
            None => &[],
        };
        few.iter().chain(many)
    }

    /// Bytes allocated.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.few.get().map_or(0, |seats| size_of_val(&**seats))
            + self.many.get().map_or(0, |seats| size_of_val(&**seats))
    }
}
