//! The seats of one lock, and the numbers by which threads find theirs.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::shared_lock::{Place, SEATS, Seat};

/// The numbers that threads have, a bit for each.
static TAKEN: AtomicU32 = AtomicU32::new(0);

const _: () = assert!(SEATS as u32 <= u32::BITS);

/// Gives a thread's number back when the thread ends.
struct Return(u8);

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
    // The last bit is the shared place's.
    while let Some(free) = (0..SEATS - 1).find(|number| taken & (1 << number) == 0) {
        let with_it = taken | (1 << free);
        match TAKEN.compare_exchange_weak(taken, with_it, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => {
                let own = Return(free);
                // At a thread's end there may be nobody any more who gives the number back later.
                if RETURN.try_with(|kept| kept.set(Some(own))).is_ok() {
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
    many: OnceLock<Box<[Seat; SEATS as usize - FEW]>>,
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::AtomicU64;
    use std::sync::{Arc, Barrier, Mutex, PoisonError};
    use std::thread;

    use super::*;
    use crate::core::shared_lock::SharedLock;

    #[derive(Default)]
    struct Shared {
        lock: SharedLock,
        seats: Seats,
        /// The same number twice, but for the time of a change.
        pair: [AtomicU64; 2],
        uses: AtomicU64,
    }

    impl Shared {
        fn change(&self, section: impl FnOnce()) {
            while !self.lock.try_write(|| self.seats.iter()) {
                thread::yield_now();
            }
            for seat in self.seats.iter() {
                self.uses
                    .fetch_add(seat.drain(|_| ()).into(), Ordering::Relaxed);
            }
            section();
            self.lock.end_write();
        }

        fn hit(&self) {
            let place = this_place();
            if self.seats.get(place).is_none() {
                self.change(|| self.seats.add(place));
            }
            loop {
                if let Some(seat) = self.seats.get(place)
                    && let Some(reading) = self.lock.try_read(seat, place)
                {
                    let [one, other] = self
                        .pair
                        .each_ref()
                        .map(|half| half.load(Ordering::Relaxed));
                    assert_eq!(one, other, "half a change was seen");
                    let _ = reading.used(0);
                    return;
                }
                thread::yield_now();
            }
        }
    }

    /// The places are the whole process's.
    static ALONE: Mutex<()> = Mutex::new(());

    fn together(threads: usize, job: impl Fn(usize) + Send + Sync + 'static) {
        let job = Arc::new(job);
        let running: Vec<_> = (0..threads)
            .map(|number| {
                let job = Arc::clone(&job);
                thread::spawn(move || job(number))
            })
            .collect();
        for thread in running {
            assert!(thread.join().is_ok());
        }
    }

    /// More threads than there are seats, each new to the lock while others are in.
    #[test]
    fn every_use_of_many_threads_is_counted_and_none_sees_half_a_change() {
        const THREADS: usize = SEATS as usize + 8;
        const USES: u64 = 200;
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = Arc::new(Shared::default());
        let all = Arc::clone(&shared);
        together(THREADS, move |number| {
            for turn in 0..USES {
                shared.hit();
                if turn % 50 == number as u64 % 50 {
                    shared.change(|| {
                        for half in &shared.pair {
                            half.fetch_add(1, Ordering::Relaxed);
                            thread::yield_now();
                        }
                    });
                }
            }
        });
        all.change(|| ());
        assert_eq!(all.uses.load(Ordering::Relaxed), THREADS as u64 * USES);
    }

    #[test]
    fn threads_that_live_at_once_have_different_places_and_leave_them() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let barrier = Arc::new(Barrier::new(8));
        let seen = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..10 {
            let (barrier, seen) = (Arc::clone(&barrier), Arc::clone(&seen));
            together(8, move |_| {
                let place = this_place();
                if let Ok(mut seen) = seen.lock() {
                    seen.push(place.number());
                }
                barrier.wait();
                assert_eq!(this_place(), place);
            });
        }
        let places = seen.lock().map(|seen| seen.clone()).unwrap_or_default();
        assert_eq!(places.len(), 80);
        for round in places.chunks(8) {
            let distinct: HashSet<_> = round.iter().collect();
            assert_eq!(distinct.len(), round.len());
        }
        // There are fewer places than there were threads.
        assert!(!places.contains(&Place::SHARED.number()));
    }
}
