//! Letting go of many objects without using the stack for each level of nesting.

use std::any::Any;
use std::cell::{Cell, RefCell};

/// A structure inside a structure inside a structure is released by recursion down to this level; what is deeper
/// waits in a list. CPython's containers do the same (the "trashcan"), but offer it to C macros only.
const DEPTH: u32 = 30;

thread_local! {
    static LEVEL: Cell<u32> = const { Cell::new(0) };
    static WAITING: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Drops the contents of a structure that is going away. May run any Python code.
pub fn release<T: 'static>(contents: T) {
    let level = LEVEL.get();
    if level >= DEPTH {
        WAITING.with_borrow_mut(|waiting| waiting.push(Box::new(contents)));
        return;
    }
    LEVEL.set(level + 1);
    drop(contents);
    if level == 0 {
        while let Some(next) = WAITING.with_borrow_mut(Vec::pop) {
            drop(next);
        }
    }
    LEVEL.set(level);
}
