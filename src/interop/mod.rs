//! How Rust talks to CPython. All of the crate's `unsafe` is here, each block with the reason why it is sound.

pub mod call;
pub mod class;
pub mod clock;
pub mod descriptor;
pub mod equality;
pub mod flight;
pub mod gc;
pub mod guard;
pub mod hot;
pub mod interpreter;
pub mod logging;
pub mod lookup;
pub mod metaclass;
pub mod refcount;
pub mod reference;
pub mod referents;
pub mod release;
pub mod repr;
pub mod sizes;
pub mod trace;
pub mod vectorcall;
pub mod waits;
pub mod weak;
