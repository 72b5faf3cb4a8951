//! Who waits for whom: the wait-for graph, by which no circle of waiting is ever closed.
//!
//! What is waited for is made by a [`Maker`]: in a thread and, where the program has coroutines, under a number that
//! the maker's context carries on to the tasks that it starts and to the threads that it hands work to. So a waiter is a
//! thread, which can do nothing else meanwhile, or a task, which waits on behalf of what its context is making.

use std::collections::{HashMap, HashSet};
use std::ffi::c_ulong;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::build::{self, Count};
use super::fork;

type Thread = c_ulong;

/// Makes something that others may wait for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Maker {
    thread: Thread,
    /// Never used twice, so that what a context carries on for too long means nobody else; 0 where there is none.
    number: u64,
}

/// What a blocked thread waits for.
#[derive(Clone, Copy)]
pub struct Wait {
    flight: usize,
    maker: Maker,
}

/// What a maker that has begun needs.
struct Making {
    thread: Thread,
    /// On whose behalf.
    within: Option<u64>,
    /// The numbers of the makers that it needs, each as often as it waits for it.
    needs: HashMap<u64, usize>,
}

struct Named {
    flight: usize,
    thread: Thread,
    name: String,
}

#[derive(Default)]
struct Waits {
    forks: u32,
    /// A thread waits for one flight at a time.
    blocked: HashMap<Thread, Wait>,
    making: HashMap<u64, Making>,
    /// The flights that have a name, in the order in which they departed.
    named: Vec<Named>,
}

impl Waits {
    /// Whether `maker` can't end before one that `is_mine` has.
    fn needs(&self, maker: Maker, is_mine: impl Fn(Maker) -> bool) -> bool {
        let mut seen = HashSet::new();
        let mut ahead = vec![maker];
        while let Some(at) = ahead.pop() {
            if is_mine(at) {
                return true;
            }
            if !seen.insert(at) {
                continue;
            }
            ahead.extend(self.blocked.get(&at.thread).map(|wait| wait.maker));
            if let Some(making) = self.making.get(&at.number) {
                ahead.extend(making.needs.keys().filter_map(|&number| {
                    let thread = self.making.get(&number)?.thread;
                    Some(Maker { thread, number })
                }));
            }
        }
        false
    }

    /// What is made on the way to what `number` makes, that first.
    fn chain(&self, number: Option<u64>) -> HashSet<u64> {
        let mut chain = HashSet::new();
        let mut at = number;
        while let Some(number) = at
            && let Some(making) = self.making.get(&number)
        {
            chain.insert(number);
            at = making.within;
        }
        chain
    }

    fn add_need(&mut self, waiter: Option<u64>, number: u64) {
        if let Some(making) = waiter.and_then(|waiter| self.making.get_mut(&waiter)) {
            *making.needs.entry(number).or_default() += 1;
        }
    }

    fn drop_need(&mut self, waiter: Option<u64>, number: u64) {
        let making = waiter.and_then(|waiter| self.making.get_mut(&waiter));
        if let Some(making) = making
            && let Some(count) = making.needs.get_mut(&number)
        {
            *count -= 1;
            if *count == 0 {
                making.needs.remove(&number);
            }
        }
    }

    fn begin(&mut self, maker: Maker, within: Option<u64>) {
        self.add_need(within, maker.number);
        let making = Making {
            thread: maker.thread,
            within,
            needs: HashMap::new(),
        };
        self.making.insert(maker.number, making);
    }

    fn end(&mut self, number: u64) {
        if let Some(making) = self.making.remove(&number) {
            self.drop_need(making.within, number);
        }
    }
}

static WAITS: LazyLock<Mutex<Waits>> = LazyLock::new(Mutex::default);

/// Whether the program has coroutines that make something: until then, only threads wait.
static HAS_TASKS: AtomicBool = AtomicBool::new(false);

/// The graph of this process: what a fork copied speaks of threads that aren't there.
fn waits() -> MutexGuard<'static, Waits> {
    // Valid after each operation, whatever a thread that panicked left.
    let mut waits = WAITS.lock().unwrap_or_else(PoisonError::into_inner);
    let forks = fork::count();
    if waits.forks != forks {
        *waits = Waits {
            forks,
            ..Waits::default()
        };
    }
    waits
}

fn this_thread() -> Thread {
    // SAFETY: may be called by any thread.
    unsafe { ffi::PyThread_get_thread_ident() }
}

fn variable(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static VARIABLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = VARIABLE.get_or_try_init(py, || {
        let class = py.import("contextvars")?.getattr("ContextVar")?;
        let options = build::dict(py)?;
        options.set_item("default", py.None())?;
        class
            .call(("leaksafe computation",), Some(&options))
            .map(Bound::unbind)
    })?;
    Ok(made.bind(py))
}

/// The `ContextVar` of the number of what a context makes, for a program with coroutines.
///
/// # Errors
/// When it can't be made.
pub fn computing(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    let variable = variable(py)?;
    HAS_TASKS.store(true, Ordering::Relaxed);
    Ok(variable)
}

/// The number of what this context makes, where the program has coroutines.
fn current(py: Python<'_>) -> PyResult<Option<u64>> {
    if !HAS_TASKS.load(Ordering::Relaxed) {
        return Ok(None);
    }
    get(variable(py)?)?.extract()
}

/// What this context has in a variable that has a default.
fn get<'py>(variable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let mut value = std::ptr::null_mut();
    // SAFETY: it is a `ContextVar`, made by `variable`; the answer is a new reference, since there is a default, or null
    // with an exception set.
    unsafe {
        ffi::PyContextVar_Get(variable.as_ptr(), std::ptr::null_mut(), &raw mut value);
        Bound::from_owned_ptr_or_err(variable.py(), value)
    }
}

/// Has this context carry the number of what it makes, or none.
fn carry(py: Python<'_>, number: Option<u64>) -> PyResult<()> {
    let number = number.map(Count).into_pyobject(py)?;
    // SAFETY: as for `get`; the variable keeps the number. The token, by which the old value could be had back, is let go.
    let token = unsafe {
        let token = ffi::PyContextVar_Set(variable(py)?.as_ptr(), number.as_ptr());
        Bound::from_owned_ptr_or_err(py, token)
    };
    token.map(drop)
}

impl Maker {
    /// What this thread is about to make.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = if HAS_TASKS.load(Ordering::Relaxed) {
            NEXT.fetch_add(1, Ordering::Relaxed)
        } else {
            0
        };
        Self {
            thread: this_thread(),
            number,
        }
    }

    /// Whether it is this thread that makes it.
    pub fn is_here(self) -> bool {
        self.thread == this_thread()
    }

    pub fn number(self) -> u64 {
        self.number
    }

    /// Begins, on behalf of what this context makes.
    ///
    /// # Errors
    /// When the context can't be read.
    pub fn begin(self, py: Python<'_>) -> PyResult<()> {
        let within = current(py)?;
        waits().begin(self, within);
        Ok(())
    }

    pub fn end(self) {
        waits().end(self.number);
    }

    /// Begins, and has this context carry the number until [`leave`](Self::leave); nothing where the program has no
    /// coroutines.
    ///
    /// # Errors
    /// When the context can't be read or written.
    pub fn enter(self, py: Python<'_>) -> PyResult<()> {
        if self.number != 0 {
            self.begin(py)?;
            carry(py, Some(self.number))?;
        }
        Ok(())
    }

    /// Ends.
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub fn leave(self, py: Python<'_>) -> PyResult<()> {
        if self.number == 0 {
            return Ok(());
        }
        let ended = {
            let mut waits = waits();
            let within = waits.making.get(&self.number).map(|making| making.within);
            waits.end(self.number);
            within
        };
        if let Some(within) = ended {
            carry(py, within)?;
        }
        Ok(())
    }

    /// Notes that a task waits for this on behalf of what `waiter` makes, unless that would close a circle: `false`.
    pub fn join(self, waiter: u64) -> bool {
        let mut waits = waits();
        let mine = waits.chain(Some(waiter));
        if waits.needs(self, |at| mine.contains(&at.number)) {
            return false;
        }
        waits.add_need(Some(waiter), self.number);
        true
    }

    /// Ends what [`join`](Self::join) noted.
    pub fn part(self, waiter: u64) {
        waits().drop_need(Some(waiter), self.number);
    }
}

/// A thread's wait, from when it is noted until it is dropped.
pub struct Blocked {
    thread: Thread,
    wait: Wait,
    /// A signal handler may wait inside of a wait.
    outer: Option<Wait>,
    within: Option<u64>,
}

impl Blocked {
    /// Notes that this thread waits for a flight, unless that would close a circle.
    ///
    /// # Errors
    /// When the context can't be read.
    pub fn on(py: Python<'_>, flight: usize, maker: Maker) -> PyResult<Option<Self>> {
        let thread = this_thread();
        let within = current(py)?;
        let mut waits = waits();
        let mine = waits.chain(within);
        if waits.needs(maker, |at| at.thread == thread || mine.contains(&at.number)) {
            return Ok(None);
        }
        let wait = Wait { flight, maker };
        waits.add_need(within, maker.number);
        let outer = waits.blocked.insert(thread, wait);
        Ok(Some(Self {
            thread,
            wait,
            outer,
            within,
        }))
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let mut waits = waits();
        waits.drop_need(self.within, self.wait.maker.number);
        match self.outer {
            Some(outer) => waits.blocked.insert(self.thread, outer),
            None => waits.blocked.remove(&self.thread),
        };
    }
}

/// Says what this thread makes, for whoever would close a circle of waiting.
pub fn announce(flight: usize, name: String) {
    let thread = this_thread();
    waits().named.push(Named {
        flight,
        thread,
        name,
    });
}

/// Forgets who waits for a flight: now rather than as each one wakes up, since who has nothing to wait for any more
/// closes no circle.
pub fn landed(flight: usize) {
    let mut waits = waits();
    waits.blocked.retain(|_, wait| wait.flight != flight);
    waits.named.retain(|named| named.flight != flight);
}

/// The names on the way from a flight to what this thread leads, and back: each is made by making the next.
pub fn circle(flight: usize, maker: Maker) -> Vec<String> {
    let me = this_thread();
    let waits = waits();
    let mut names = Vec::new();
    let mut at = Wait { flight, maker };
    loop {
        let led = waits
            .named
            .iter()
            .filter(|named| named.thread == at.maker.thread);
        names.extend(
            led.skip_while(|named| named.flight != at.flight)
                .map(|named| named.name.clone()),
        );
        match waits.blocked.get(&at.maker.thread) {
            Some(wait) if at.maker.thread != me => at = *wait,
            _ => break,
        }
    }
    names.extend(names.first().cloned());
    names
}
