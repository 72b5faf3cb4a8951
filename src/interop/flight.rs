//! Single flight: what many threads ask for at once is made by one of them.

use std::collections::HashMap;
use std::ffi::c_ulong;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

type Thread = c_ulong;

/// Which thread waits for which flight, and who leads that. A thread waits for one flight at a time.
#[derive(Default)]
struct Waits {
    process: u32,
    edges: HashMap<Thread, Wait>,
    /// The flights that have a name, in the order in which they departed.
    named: Vec<Named>,
}

struct Named {
    flight: usize,
    leader: Thread,
    name: String,
}

#[derive(Clone, Copy)]
struct Wait {
    flight: usize,
    leader: Thread,
}

impl Waits {
    /// Whether `leader` waits, over however many others, for a flight of `thread`.
    fn reaches(&self, leader: Thread, thread: Thread) -> bool {
        let mut at = leader;
        while at != thread {
            match self.edges.get(&at) {
                Some(wait) => at = wait.leader,
                None => return false,
            }
        }
        true
    }

    /// The names on the way from a flight to what `thread` leads, and back: each is made by making the next.
    fn circle(&self, flight: usize, leader: Thread, thread: Thread) -> Vec<String> {
        let mut names = Vec::new();
        let mut at = Wait { flight, leader };
        loop {
            let led = self.named.iter().filter(|named| named.leader == at.leader);
            names.extend(
                led.skip_while(|named| named.flight != at.flight)
                    .map(|named| named.name.clone()),
            );
            match self.edges.get(&at.leader) {
                Some(wait) if at.leader != thread => at = *wait,
                _ => break,
            }
        }
        names.extend(names.first().cloned());
        names
    }
}

static WAITS: LazyLock<Mutex<Waits>> = LazyLock::new(Mutex::default);

/// The graph of this process: what a fork copied speaks of threads that aren't there.
fn waits() -> MutexGuard<'static, Waits> {
    let mut waits = lock(&WAITS);
    let process = std::process::id();
    if waits.process != process {
        *waits = Waits {
            process,
            ..Waits::default()
        };
    }
    waits
}

/// Locks, whatever a thread that panicked left: the data is valid after each operation.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn this_thread() -> Thread {
    // SAFETY: may be called by any thread.
    unsafe { ffi::PyThread_get_thread_ident() }
}

/// `_thread.allocate_lock`, imported while that is possible: not at the interpreter's end.
///
/// # Errors
/// When it can't be imported.
pub fn prepare(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static ALLOCATE_LOCK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    ALLOCATE_LOCK.import(py, "_thread", "allocate_lock")
}

/// One computation under way.
///
/// The lock that waiters block on is one of Python's, so that signals reach a waiting main thread, and so that it is
/// a cooperative one where a framework has replaced them.
pub struct Flight {
    leader: Thread,
    process: u32,
    landed: Py<PyAny>,
    result: Mutex<Option<Py<PyAny>>>,
}

/// What became of a flight that was waited for.
pub enum Landing {
    /// It made this.
    Made(Py<PyAny>),
    /// It failed: whoever comes next may lead.
    Failed,
    /// Waiting could never end: the caller is to make it by itself.
    Alone,
}

impl Flight {
    /// A flight led by this thread.
    ///
    /// # Errors
    /// What the making of a lock raises.
    pub fn depart(py: Python<'_>) -> PyResult<Arc<Self>> {
        let landed = prepare(py)?.call0()?;
        landed.call_method0("acquire")?;
        Ok(Arc::new(Self {
            leader: this_thread(),
            process: std::process::id(),
            landed: landed.unbind(),
            result: Mutex::new(None),
        }))
    }

    /// Whether it was under way in the parent when this process was forked, and so never lands here.
    pub fn is_lost(&self) -> bool {
        self.process != std::process::id()
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Says what this thread makes, for whoever would close a circle of waiting.
    pub fn announce(&self, name: String) {
        waits().named.push(Named {
            flight: self.address(),
            leader: self.leader,
            name,
        });
    }

    /// The names of all that waits for one another, where waiting for this flight has ended in [`Landing::Alone`]: from
    /// this flight's to this flight's.
    pub fn circle(&self) -> Vec<String> {
        waits().circle(self.address(), self.leader, this_thread())
    }

    /// Ends the flight, and with it the waiting.
    ///
    /// # Errors
    /// What the release of the lock raises.
    pub fn land(&self, py: Python<'_>, result: Option<Py<PyAny>>) -> PyResult<()> {
        *lock(&self.result) = result;
        // Now rather than as each one wakes up: who has nothing to wait for any more closes no circle.
        {
            let mut waits = waits();
            waits.edges.retain(|_, wait| wait.flight != self.address());
            waits.named.retain(|named| named.flight != self.address());
        }
        self.landed.bind(py).call_method0("release")?;
        Ok(())
    }

    /// Waits for the end, detached from the interpreter.
    ///
    /// # Errors
    /// What a signal handler raises meanwhile.
    pub fn wait(&self, py: Python<'_>) -> PyResult<Landing> {
        let me = this_thread();
        let wait = Wait {
            flight: self.address(),
            leader: self.leader,
        };
        let outer = {
            let mut waits = waits();
            if waits.reaches(self.leader, me) {
                return Ok(Landing::Alone);
            }
            waits.edges.insert(me, wait)
        };
        let landed = self.landed.bind(py);
        let waited = landed.call_method0("acquire");
        {
            // A signal handler may have waited inside of a wait.
            let mut waits = waits();
            match outer {
                Some(outer) => waits.edges.insert(me, outer),
                None => waits.edges.remove(&me),
            };
        }
        waited?;
        landed.call_method0("release")?;
        let result = lock(&self.result).as_ref().map(|made| made.clone_ref(py));
        Ok(result.map_or(Landing::Failed, Landing::Made))
    }
}
