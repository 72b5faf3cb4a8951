//! The data structures, without Python: no `pyo3` and no `unsafe`.
//!
//! Nothing here hashes or compares a key by itself. A caller brings the hash, computed once, and answers
//! "is this the key?" for the few candidates that share it; what is removed is handed back, to be dropped where
//! the caller holds no lock.

#![forbid(unsafe_code)]

mod addresses;
mod ages;
mod atomic;
mod cache;
mod graph;
mod order;
mod ordered;
mod removed;
mod seats;
mod shared_lock;
mod slots;
mod spread;
#[cfg(test)]
mod tests;

pub use addresses::Addresses;
pub use ages::{Due, NEVER};
pub use cache::{Cache, Drain, Entry, StoreError};
pub use graph::{Graph, Ways};
pub use order::{Order, Recency};
pub use ordered::{Ordered, Placed};
pub use removed::Removed;
pub use seats::{Seats, this_place};
pub use shared_lock::{Place, Reading, Seat, SharedLock};
pub use slots::{Slot, Slots};
pub use spread::spread;
