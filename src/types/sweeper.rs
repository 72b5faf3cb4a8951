//! The one thread that lets go of what has expired in caches, and in decorated functions, that nobody touches.
//!
//! It sleeps detached from the interpreter until something is due, and looks at the registry of caches only while it is
//! attached, as everybody does: so no lock is left over by a fork, and nothing is to be waited for in a wrong order.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pyo3::PyClass;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{IntoPyDict, PyWeakrefMethods, PyWeakrefReference};

use crate::core::NEVER;
use crate::interop::clock;
use crate::interop::guard::{Guarded, Noted};

/// The least time between two wake-ups, in nanoseconds.
const PAUSE: u64 = 50_000_000;
/// How long it works before others have their turn, likewise.
const TURN: u64 = 1_000_000;
/// For how long they have it, at least.
const BREATH: Duration = Duration::from_micros(100);
/// Destructors of any depth run on this stack.
const STACK: usize = 16 << 20;

/// So many entries are taken out at once, so that no other thread waits for long and little is held meanwhile.
pub const SLICE: u32 = 1024;

/// What has entries that expire.
pub trait Swept: PyClass<Frozen = True> + Sync {
    /// Takes out some of what is due at a time; says how many, and whether that was all.
    fn expire_slice(slf: &Bound<'_, Self>, now: u64) -> (usize, bool);

    /// When the sweeper, having been here, is to come again.
    fn next_due(slf: &Bound<'_, Self>) -> u64;
}

/// One slice of the work at a cache: how many went, and once that was all, when to come again. `None` for a cache that
/// is gone.
type Sweep = fn(&Bound<'_, PyWeakrefReference>, u64) -> Option<(usize, Option<u64>)>;

fn slice_of<T: Swept>(
    cache: &Bound<'_, PyWeakrefReference>,
    now: u64,
) -> Option<(usize, Option<u64>)> {
    // Held for one slice only: whoever drops the last other reference lets go of the cache.
    let cache = cache.upgrade_as::<T>().ok().flatten()?;
    let (count, done) = T::expire_slice(&cache, now);
    Some((count, done.then(|| T::next_due(&cache))))
}

struct Member {
    cache: Py<PyWeakrefReference>,
    sweep: Sweep,
    /// When something is due in it.
    due: u64,
}

#[derive(Default)]
struct Registry {
    /// The caches whose entries age, by their addresses.
    members: HashMap<usize, Member>,
    worker: Option<JoinHandle<()>>,
    paused: bool,
    stopped: bool,
    passes: u64,
}

impl Noted for Registry {}

static REGISTRY: LazyLock<Guarded<Registry>> = LazyLock::new(Guarded::default);
/// When the thread is to wake up.
static NEXT: AtomicU64 = AtomicU64::new(NEVER);
/// Whether it is to look at once whether it is still wanted.
static LOOK: AtomicBool = AtomicBool::new(false);

impl Registry {
    fn wake(&self) {
        if let Some(worker) = &self.worker {
            worker.thread().unpark();
        }
    }

    fn start(&mut self) {
        if self.worker.is_none() && !self.stopped {
            // Where no thread can be had, what expired goes at the next operation.
            self.worker = thread::Builder::new()
                .name("leaksafe-sweeper".to_owned())
                .stack_size(STACK)
                .spawn(run)
                .ok();
        }
    }

    fn announce(&self, due: u64) {
        if NEXT.fetch_min(due, Ordering::AcqRel) > due {
            self.wake();
        }
    }
}

/// Sees to it that a cache, in which something is due by then, is swept in time.
///
/// # Errors
/// `MemoryError`.
pub fn watch<T: Swept>(cache: &Bound<'_, T>, due: u64) -> PyResult<()> {
    let py = cache.py();
    let address = std::ptr::from_ref(cache.get()) as usize;
    let known = REGISTRY.with(py, |registry| {
        let known = registry.members.get_mut(&address).map(|member| {
            member.due = member.due.min(due);
        });
        if known.is_some() {
            registry.start();
            registry.announce(due);
        }
        known.is_some() || registry.stopped
    });
    if known {
        return Ok(());
    }
    let member = Member {
        cache: PyWeakrefReference::new(cache.as_any())?.unbind(),
        sweep: slice_of::<T>,
        due,
    };
    let old = REGISTRY.with(py, |registry| {
        let old = registry.members.insert(address, member);
        registry.start();
        registry.announce(due);
        old
    });
    drop(old);
    Ok(())
}

/// Forgets a cache that is going away.
pub fn forget(address: usize) {
    // Where the interpreter is gone, so is the thread.
    Python::try_attach(|py| {
        let member = REGISTRY.with(py, |registry| {
            let member = registry.members.remove(&address);
            if registry.members.is_empty() {
                LOOK.store(true, Ordering::Release);
                registry.wake();
            }
            member
        });
        drop(member);
    });
}

/// What the thread does.
fn run() {
    while Python::try_attach(look) == Some(true) {
        sleep(clock::precise().saturating_add(PAUSE));
    }
}

/// Waits until something is due, but not shorter than until `earliest`.
fn sleep(earliest: u64) {
    while !LOOK.load(Ordering::Acquire) {
        let next = NEXT.load(Ordering::Acquire);
        if next == NEVER {
            thread::park();
            continue;
        }
        let left = next.max(earliest).saturating_sub(clock::precise());
        if left == 0 {
            return;
        }
        thread::park_timeout(Duration::from_nanos(left));
    }
}

/// Sweeps once, and says whether the thread is wanted any longer.
fn look(py: Python<'_>) -> bool {
    LOOK.store(false, Ordering::Release);
    let (wanted, paused) = REGISTRY.with(py, |registry| {
        let wanted = !registry.stopped && !registry.members.is_empty();
        if !wanted {
            registry.worker = None;
        }
        (wanted, registry.paused)
    });
    if wanted && paused {
        NEXT.store(NEVER, Ordering::Release);
    } else if wanted {
        sweep(py, true);
    }
    wanted
}

/// Sweeps every cache in which something is due, and returns how many entries went.
fn sweep(py: Python<'_>, in_background: bool) -> usize {
    if in_background {
        NEXT.store(NEVER, Ordering::Release);
    }
    let now = clock::precise();
    let due = REGISTRY.with(py, |registry| {
        registry.passes += 1;
        let due = registry.members.iter_mut();
        due.filter(|(_, member)| member.due <= now)
            .map(|(&address, member)| {
                member.due = NEVER;
                address
            })
            .collect::<Vec<_>>()
    });
    let mut count = 0;
    let mut turn = clock::precise();
    for address in due {
        while let Some((expired, next)) = slice(py, address, now) {
            count += expired;
            if let Some(next) = next {
                REGISTRY.with(py, |registry| {
                    if let Some(member) = registry.members.get_mut(&address) {
                        member.due = member.due.min(next);
                    }
                });
            }
            if in_background && clock::precise() - turn > TURN {
                py.detach(|| thread::sleep(BREATH));
                turn = clock::precise();
                if REGISTRY.with(py, |registry| registry.stopped) {
                    return count;
                }
            }
            if next.is_some() {
                break;
            }
        }
    }
    REGISTRY.with(py, |registry| {
        let members = registry.members.values();
        let next = members.map(|member| member.due).min().unwrap_or(NEVER);
        registry.announce(next);
    });
    count
}

/// One slice of the work at the cache that has this address.
fn slice(py: Python<'_>, address: usize, now: u64) -> Option<(usize, Option<u64>)> {
    let (cache, sweep) = REGISTRY.with(py, |registry| {
        let member = registry.members.get(&address)?;
        Some((member.cache.clone_ref(py), member.sweep))
    })?;
    sweep(cache.bind(py), now)
}

/// Has the thread stopped when the interpreter exits, after the handlers that are registered later, which may still use
/// caches; and a forked child have its own.
///
/// # Errors
/// When `atexit` or `os` refuses.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    py.import("atexit")?
        .call_method1("register", (wrap_pyfunction!(stop, py)?,))?;
    if let Some(register) = py.import("os")?.getattr_opt("register_at_fork")? {
        let handlers = [("after_in_child", wrap_pyfunction!(forked, py)?)].into_py_dict(py)?;
        register.call((), Some(&handlers))?;
    }
    Ok(())
}

/// Stops the thread for good.
#[pyfunction]
fn stop(py: Python<'_>) {
    let worker = REGISTRY.with(py, |registry| {
        registry.stopped = true;
        LOOK.store(true, Ordering::Release);
        registry.wake();
        registry.worker.take()
    });
    if let Some(worker) = worker
        && worker.thread().id() != thread::current().id()
    {
        py.detach(|| {
            // It ends whatever happens in it; there is nobody to tell.
            let _ = worker.join();
        });
    }
}

/// Gives a forked child a thread of its own, where it needs one.
#[pyfunction]
fn forked(py: Python<'_>) {
    REGISTRY.with(py, |registry| {
        // A handle of a thread that isn't there: not to be detached.
        std::mem::forget(registry.worker.take());
        LOOK.store(false, Ordering::Release);
        // What the parent's thread was sweeping is due again.
        for member in registry.members.values_mut() {
            member.due = 0;
        }
        if !registry.members.is_empty() {
            NEXT.store(0, Ordering::Release);
            registry.start();
        }
    });
}

/// Holds the thread back, or lets it go on.
#[pyfunction(name = "_sweeper_pause")]
#[pyo3(signature = (paused, /))]
pub fn pause(py: Python<'_>, paused: bool) {
    REGISTRY.with(py, |registry| {
        registry.paused = paused;
        LOOK.store(true, Ordering::Release);
        registry.wake();
    });
}

/// Sweeps once, in the calling thread.
#[pyfunction(name = "_sweeper_run")]
pub fn run_once(py: Python<'_>) -> usize {
    sweep(py, false)
}

/// Whether the thread is there, whether it is held back, how many caches it knows, how often there was a sweep.
#[pyfunction(name = "_sweeper_state")]
pub fn state(py: Python<'_>) -> (bool, bool, usize, u64) {
    REGISTRY.with(py, |registry| {
        let running = registry.worker.is_some();
        (
            running,
            registry.paused,
            registry.members.len(),
            registry.passes,
        )
    })
}
