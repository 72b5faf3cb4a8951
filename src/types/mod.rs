//! One file for each type that Python sees.

pub mod aging;
pub mod arguments;
pub mod iterator;
pub mod lru_cache;
pub mod lru_function;
pub mod stats;
pub mod sweeper;
pub mod ttl_cache;
pub mod views;
pub mod weigher;
