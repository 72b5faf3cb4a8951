//! `TTLCache`.

#![allow(
    clippy::doc_markdown,
    clippy::doc_link_with_quotes,
    reason = "Python's docstrings"
)]

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::aging::{self, Aging, Lifetime};
use super::arguments::{self, Argument};
use super::lru_cache::LruCache;
use super::weigher::Weigher;
use crate::interop::build::{self, Seconds};
use crate::interop::equality::hash_of;

/// A mapping of at most `maxsize` entries, each of which is gone once its time is over.
///
/// Args:
///     maxsize, max_bytes: the bound, as for `LRUCache`; 16 bytes of each entry, for its age, are not in what it weighs.
///     ttl: what an entry lives for from when it was set: seconds above 0 (`math.inf`: for ever), a `timedelta`, or a
///         function that gets key and value and returns one of these.
///     timer: a function that returns the time in seconds, such as a test's clock; asked at most once an operation (each
///         step of an iteration is one, and `get_or_create` asks again once its factory has run) and obeyed exactly.
///         `None` is the platform's monotonic clock, read as cheaply as can be: an entry is never gone early, and not
///         late either as long as the system's coarse clock lags by less than 50 ms. On Linux and macOS it stands still
///         while the machine sleeps.
///     getsizeof: as for `LRUCache`.
///     sliding: whether an entry's age starts again at each use.
///     jitter: the share, below 1, by which a lifetime is lengthened or shortened at random, so that what was set
///         together doesn't expire together.
///     on_remove: as for `LRUCache`; the cause "expired" comes in addition.
///
/// Raises:
///     TypeError, ValueError: for a `ttl` that is no number (a bool or a str is none), NaN, zero or negative, a `jitter` out
///         of its range, or a bound as for `LRUCache`.
///
/// It is an `LRUCache` with ages. What has expired is gone for every operation, goes first where room is needed, and is no
/// change to an iterator. Entries of one lifetime cost a link in a list, others a place in a hierarchical timing wheel
/// (Varghese & Lauck, SOSP 1987), O(1) amortised either way, and 16 bytes more than `LRUCache`'s; 24 where `sliding`.
///
/// >>> from leaksafe import TTLCache
/// >>> time = 0.0
/// >>> cache = TTLCache(100, ttl=10, timer=lambda: time)
/// >>> cache["session"] = "Ada"
/// >>> time = 9.9
/// >>> cache["session"]
/// 'Ada'
/// >>> time = 10.0
/// >>> "session" in cache
/// False
#[pyclass(frozen, subclass, extends = LruCache, module = "leaksafe", name = "TTLCache")]
pub struct TtlCache;

#[pymethods]
impl TtlCache {
    #[new]
    #[pyo3(
        signature = (*args, **kwargs),
        text_signature = "(maxsize=..., ttl=..., timer=None, getsizeof=None, *, max_bytes=None, sliding=False, jitter=0.0, on_remove=None)"
    )]
    fn new(
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Self> {
        PyClassInitializer::from(LruCache::new(args, kwargs)).add_subclass(Self)
    }

    #[pyo3(signature = (maxsize = Argument::Absent, ttl = None, timer = None, getsizeof = None, *, max_bytes = None, sliding = false, jitter = 0.0, on_remove = None))]
    #[allow(
        clippy::needless_pass_by_value,
        clippy::too_many_arguments,
        reason = "as PyO3 hands them over"
    )]
    fn __init__(
        slf: &Bound<'_, Self>,
        maxsize: Argument,
        ttl: Option<&Bound<'_, PyAny>>,
        timer: Option<Bound<'_, PyAny>>,
        getsizeof: Option<Bound<'_, PyAny>>,
        max_bytes: Option<Bound<'_, PyAny>>,
        sliding: bool,
        jitter: f64,
        on_remove: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (maxsize, in_bytes) = arguments::bound(slf.py(), &maxsize, max_bytes.as_ref())?;
        let ttl = ttl.ok_or_else(|| {
            PyTypeError::new_err("missing the ttl: seconds, a timedelta, or a function")
        })?;
        let aging = Aging::new(ttl, timer, sliding, jitter)?;
        let weigher = Weigher::of_cache(slf.py(), getsizeof, in_bytes)?;
        let on_remove = arguments::callable(on_remove, "on_remove")?;
        LruCache::configure(slf.as_super(), maxsize, weigher, on_remove, Some(aging))
    }

    /// Sets an entry, as `cache[key] = value` does, that lives for `ttl`. O(1) amortised.
    ///
    /// Args:
    ///     key: hashable.
    ///     value: anything.
    ///     ttl: seconds above 0, or a `timedelta`; `None`: as the cache's.
    ///
    /// Raises:
    ///     TypeError, ValueError: for a `ttl` that is no lifetime; nothing has changed then.
    ///
    /// >>> from leaksafe import TTLCache
    /// >>> cache = TTLCache(100, ttl=600)
    /// >>> cache.set("token", "abc", ttl=30)
    /// >>> 29 < cache.expires_in("token") <= 30
    /// True
    #[pyo3(signature = (key, value, ttl = None))]
    fn set(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        ttl: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let cache = slf.as_super();
        let lifetime = given(cache, ttl)?;
        LruCache::set_for(cache, key, hash_of(key)?, value, lifetime, None)
    }

    /// Removes what has expired, and returns how many entries that were. O(1) amortised for each.
    ///
    /// >>> from leaksafe import TTLCache
    /// >>> time = 0
    /// >>> cache = TTLCache(100, ttl=10, timer=lambda: time)
    /// >>> cache.update(a=1, b=2)
    /// >>> time = 10
    /// >>> cache.expire()
    /// 2
    fn expire(slf: &Bound<'_, Self>) -> PyResult<usize> {
        LruCache::expire_due(slf.as_super())
    }

    /// Returns the seconds that `key` has left: a float, `math.inf` for an entry that doesn't expire. O(1).
    ///
    /// It is no use of the entry.
    ///
    /// Raises:
    ///     KeyError: if the key is not there.
    ///
    /// >>> from leaksafe import TTLCache
    /// >>> time = 0
    /// >>> cache = TTLCache(100, ttl=10, timer=lambda: time)
    /// >>> cache["a"] = 1
    /// >>> time = 4
    /// >>> cache.expires_in("a")
    /// 6.0
    fn expires_in(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<Seconds> {
        let remaining = LruCache::remaining(slf.as_super(), key)?;
        remaining.map(Seconds).ok_or_else(|| build::missing(key))
    }

    /// Starts the age of `key` again, and says whether it is there. It becomes the most recent. O(1) amortised.
    ///
    /// Args:
    ///     key: hashable.
    ///     ttl: what it lives for from now, as for `set`.
    ///
    /// >>> from leaksafe import TTLCache
    /// >>> time = 0
    /// >>> cache = TTLCache(100, ttl=10, timer=lambda: time)
    /// >>> cache["a"] = 1
    /// >>> time = 4
    /// >>> cache.touch("a"), cache.expires_in("a"), cache.touch("b")
    /// (True, 10.0, False)
    #[pyo3(signature = (key, ttl = None))]
    fn touch(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        ttl: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let cache = slf.as_super();
        let lifetime = given(cache, ttl)?;
        LruCache::rejuvenate(cache, key, lifetime)
    }

    /// What entries live for: seconds, or the function that was given; `None` once the cache is closed.
    #[getter]
    fn ttl<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let aging = LruCache::aging(slf.as_super());
        aging.map(|aging| aging.ttl(slf.py())).transpose()
    }

    /// The function that was given to tell the time, or `None`.
    #[getter]
    fn timer(slf: &Bound<'_, Self>) -> Option<Py<PyAny>> {
        LruCache::aging(slf.as_super())?.timer
    }

    /// Whether an entry's age starts again at each use.
    #[getter]
    fn sliding(slf: &Bound<'_, Self>) -> bool {
        LruCache::aging(slf.as_super()).is_some_and(|aging| aging.sliding)
    }

    /// The share by which lifetimes are spread.
    #[getter]
    fn jitter(slf: &Bound<'_, Self>) -> f64 {
        LruCache::aging(slf.as_super()).map_or(0.0, |aging| aging.jitter)
    }
}

/// The lifetime that an argument gives.
fn given(
    cache: &Bound<'_, LruCache>,
    ttl: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<Lifetime>> {
    let Some(ttl) = ttl else {
        return Ok(None);
    };
    let span = aging::seconds(ttl, "ttl", "a float, a timedelta or None")?;
    Ok(LruCache::aging(cache).map(|aging| Lifetime::new(aging.spread(span))))
}
