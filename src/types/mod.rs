//! One file for each type that Python sees.

pub mod aging;
pub mod alarm;
pub mod arguments;
pub mod async_flights;
pub mod computation;
pub mod deep_sizeof;
pub mod flights;
pub mod heap;
pub mod iterator;
pub mod living;
pub mod lru_cache;
pub mod lru_function;
pub mod registry;
pub mod singleton;
pub mod stats;
pub mod sweeper;
pub mod ttl_cache;
pub mod views;
pub mod weak_attribute;
pub mod weak_cache;
pub mod weak_keys;
pub mod weak_members;
pub mod weak_table;
pub mod weak_values;
pub mod weigher;
