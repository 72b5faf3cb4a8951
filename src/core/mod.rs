//! The data structures, without Python: no `pyo3` and no `unsafe`.
//!
//! Nothing here hashes or compares a key by itself. A caller brings the hash, computed once, and answers
//! "is this the key?" for the few candidates that share it; what is removed is handed back, to be dropped where
//! the caller holds no lock.

#![forbid(unsafe_code)]

mod cache;
mod order;
mod removed;
mod slots;
#[cfg(test)]
mod tests;

pub use cache::{Cache, Drain, Entry, StoreError, spread};
pub use order::{Order, Recency};
pub use removed::Removed;
pub use slots::{Slot, Slots};
