//! One file for each type that Python sees.

pub mod arguments;
pub mod deep_sizeof;
pub mod iterator;
pub mod lru_cache;
pub mod lru_function;
pub mod singleton;
pub mod stats;
pub mod views;
pub mod weigher;
