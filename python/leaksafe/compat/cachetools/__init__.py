"""The names of cachetools 8, with leaksafe's guarantees.

>>> from leaksafe.compat import cachetools          # was: import cachetools
>>> cache = cachetools.LRUCache(maxsize=2)
>>> cache["a"], cache["b"] = 1, 2
>>> cache["a"]
1
>>> cache["c"] = 3
>>> sorted(cache)
['a', 'c']
>>> @cachetools.cached(cachetools.LFUCache(maxsize=100), info=True)
... def double(number):
...     return 2 * number
>>> double(1), double(1), double.cache_info().hits
(2, 2, 1)

What differs is listed in the project's `docs/migrating-from-cachetools.md`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Hashable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Self, TypeVar
from weakref import WeakValueDictionary

from leaksafe.compat.cachetools import keys as keys
from leaksafe.compat.cachetools._store import (
    FrequencyStore,
    InsertionStore,
    RandomStore,
    RecencyStore,
    Store,
    TimedStore,
)

__all__ = (
    "Cache",
    "CacheInfo",
    "FIFOCache",
    "LFUCache",
    "LRUCache",
    "RRCache",
    "TLRUCache",
    "TTLCache",
    "cached",
    "cachedmethod",
)

_K = TypeVar("_K")
_V = TypeVar("_V")

_ABSENT: Any = object()


class Cache(MutableMapping[_K, _V]):
    """A mapping of at most `maxsize`, in entries or by `getsizeof`; the one set first goes first.

    A subclass may override `popitem`, which evicts, `__missing__` and `getsizeof`.

    Raises:
        ValueError: for a `maxsize` that is negative or NaN; when a value is set whose size is
            more than `maxsize`, negative or NaN.
    """

    def __init__(self, maxsize: Any, getsizeof: Callable[[_V], Any] | None = None) -> None:
        if maxsize < 0:
            raise ValueError(f"maxsize must be non-negative, but is {maxsize!r}")
        if not maxsize >= 0:
            raise ValueError(f"maxsize must be a number to compare with, but is {maxsize!r}")
        if getsizeof is not None:
            setattr(self, "getsizeof", getsizeof)  # noqa: B010 (a static method to type checkers)
        self.__weighed = self.getsizeof is not Cache.getsizeof
        self.__attach(self._make_store(maxsize))

    def _make_store(self, maxsize: Any) -> Store:
        return Store(maxsize)

    def __attach(self, store: Store) -> None:
        self.__store: Any = store
        self.__read = store.reader()

    @property
    def _store(self) -> Any:
        return self.__store

    def __repr__(self) -> str:
        shown = {entry.key: entry.value for entry in self._living()}
        sizes = f"maxsize={self.maxsize!r}, currsize={self.currsize!r}"
        return f"{type(self).__name__}({shown!r}, {sizes})"

    def _living(self) -> list[Any]:
        return list(self.__store.entries.values())

    def _find(self, key: Any) -> Any:
        return self.__read(key)

    def __getitem__(self, key: _K) -> _V:
        entry = self.__read(key)
        if entry is None:
            return self.__missing__(key)
        value: _V = entry.value
        return value

    def __setitem__(self, key: _K, value: _V) -> None:
        self._put(key, value, None)

    def _put(self, key: _K, value: _V, rank: Any) -> None:
        size = self.getsizeof(value) if self.__weighed else 1
        if size > self.__store.maxsize:
            raise ValueError("value too large")
        if not size >= 0:
            raise ValueError(f"value size must be non-negative, but is {size!r}")
        # A `popitem` of one's own is told of every eviction.
        evict: Any = self.popitem
        if getattr(evict, "__func__", None) in _OURS and not self.__store.calls_out:
            evict = None
        self.__store.put(key, value, size, rank, evict)

    def __delitem__(self, key: _K) -> None:
        self.__store.take(key)

    def __contains__(self, key: object) -> bool:
        return key in self.__store.entries

    def __missing__(self, key: _K) -> _V:
        raise KeyError(key)

    def __iter__(self) -> Iterator[_K]:
        return iter(self.__store.entries)

    def __len__(self) -> int:
        return len(self.__store.entries)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of `key`, or `default`; `__missing__` isn't asked."""
        if key in self:
            try:
                return self[key]
            except KeyError:  # another thread took it
                pass
        return default

    def pop(self, key: Any, default: Any = _ABSENT) -> Any:
        """Remove `key` and return its value, or `default`."""
        if key in self:
            try:
                value = self[key]
                del self[key]
            except KeyError:
                if default is _ABSENT:
                    raise
                return default
            return value
        if default is _ABSENT:
            raise KeyError(key)
        return default

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the value of `key`, after setting it to `default` where there is none."""
        if key in self:
            try:
                return self[key]
            except KeyError:  # another thread took it
                pass
        self[key] = default
        return default

    def popitem(self) -> tuple[_K, _V]:
        """Remove and return the key and value that are to go first."""
        entry = self.__store.take_victim()
        if entry is None:
            raise KeyError(f"{type(self).__name__} is empty") from None
        return entry.key, entry.value

    def clear(self) -> None:
        """Remove all entries."""
        self.__store.clear()

    @property
    def maxsize(self) -> Any:
        """The largest size that the cache may have."""
        return self.__store.maxsize

    @property
    def currsize(self) -> Any:
        """The size that the cache has."""
        return self.__store.total

    @staticmethod
    def getsizeof(value: Any) -> Any:
        """Return the size of a value: 1, unless overridden or given to the constructor."""
        return 1

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_Cache__read"]
        state["_Cache__store"] = self.__store.maxsize, self.__store.saved()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        attributes = dict(state)
        maxsize, items = attributes.pop("_Cache__store")
        self.__dict__.update(attributes)
        self.__attach(self._make_store(maxsize))
        self.__store.restore(items)

    def __copy__(self) -> Self:
        copy = type(self).__new__(type(self))
        copy.__setstate__(self.__getstate__())
        return copy


class FIFOCache(Cache[_K, _V]):
    """A cache whose first entry set goes first; setting it anew counts."""

    def _make_store(self, maxsize: Any) -> Store:
        return InsertionStore(maxsize)


class LRUCache(Cache[_K, _V]):
    """A cache whose entry not used for the longest time goes first."""

    def _make_store(self, maxsize: Any) -> Store:
        return RecencyStore(maxsize)


class LFUCache(Cache[_K, _V]):
    """A cache whose entry used least often goes first; of several, the first to come to that."""

    def _make_store(self, maxsize: Any) -> Store:
        return FrequencyStore(maxsize)

    def _put(self, key: _K, value: _V, rank: Any) -> None:
        super()._put(key, value, self._store.first_rank())


class RRCache(Cache[_K, _V]):
    """A cache of which `choice`, which gets a sequence of the keys, says what goes first."""

    def __init__(
        self,
        maxsize: Any,
        choice: Callable[[Sequence[_K]], _K] = random.choice,
        getsizeof: Callable[[_V], Any] | None = None,
    ) -> None:
        self.__choice = choice
        super().__init__(maxsize, getsizeof)

    def _make_store(self, maxsize: Any) -> Store:
        return RandomStore(maxsize, self.__choice)

    @property
    def choice(self) -> Callable[[Sequence[_K]], _K]:
        """The function that chooses a key."""
        return self.__choice


class _Times(list[Any]):
    """Times at which a timer stands still, the last one first to go."""

    __slots__ = ("__weakref__",)


class _Frozen(threading.local):
    """Those of this thread; `everybody` has those of all, by their addresses."""

    def __init__(self, everybody: WeakValueDictionary[int, _Times]) -> None:
        self.times = _Times()
        everybody[id(self.times)] = self.times


class _Timer:
    """A timer that stands still, for the thread that asks, in a `with` block."""

    def __init__(self, timer: Callable[[], Any]) -> None:
        self.__timer = timer
        self.__everybody = WeakValueDictionary[int, _Times]()
        self.__frozen = _Frozen(self.__everybody)

    def __call__(self) -> Any:
        times = self.__frozen.times
        return times[-1] if times else self.__timer()

    def __enter__(self) -> Any:
        times = self.__frozen.times
        time = times[-1] if times else self.__timer()
        times.append(time)
        return time

    def __exit__(self, *exception: object) -> None:
        times = self.__frozen.times
        if times:  # a generator may be closed by another thread
            times.pop()

    def is_default(self) -> bool:
        return self.__timer is time.monotonic

    def earliest(self) -> Any:
        """The earliest time at which it stands still for anybody, or else the time."""
        now = self.__timer()
        everybody = [reference() for reference in self.__everybody.valuerefs()]
        return min([now, *(time for times in everybody if times for time in times[:1])])

    def __copy__(self) -> _Timer:
        return _Timer(self.__timer)

    def __reduce__(self) -> Any:
        return _Timer, (self.__timer,)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__timer, name)


class _TimedCache(Cache[_K, _V]):
    """A cache whose entries expire; the one not used for the longest time goes first."""

    def __init__(
        self, maxsize: Any, timer: Callable[[], Any], getsizeof: Callable[[_V], Any] | None
    ) -> None:
        self.__timer = _Timer(timer)
        super().__init__(maxsize, getsizeof)

    def _make_store(self, maxsize: Any) -> Store:
        # Only the default is known to go in seconds, as the sweeper's does.
        return TimedStore(maxsize, self.__timer.earliest if self.__timer.is_default() else None)

    @property
    def timer(self) -> Any:
        """The timer; in a `with` block of it, time stands still."""
        return self.__timer

    def _living(self) -> list[Any]:
        time = self.__timer()
        living = [entry for entry in super()._living() if time < entry.rank[0]]
        return sorted(living, key=lambda entry: entry.rank)

    def __getitem__(self, key: _K) -> _V:
        entry = self._find(key)
        if entry is None or not self.__timer() < entry.rank[0]:
            return self.__missing__(key)
        value: _V = entry.value
        return value

    def __contains__(self, key: object) -> bool:
        entry = self._store.entries.peek(key)
        return entry is not None and bool(self.__timer() < entry.rank[0])

    def __iter__(self) -> Iterator[_K]:
        for entry in self._living():
            # Time stands still while the loop's body looks at the entry.
            with self.__timer as time:
                if entry.live and time < entry.rank[0]:
                    yield entry.key

    def __delitem__(self, key: _K) -> None:
        time = self.__timer()
        entry = self._store.entries.peek(key)
        super().__delitem__(key)
        if entry is not None and not time < entry.rank[0]:
            raise KeyError(key)

    def __len__(self) -> int:
        self.expire()
        return super().__len__()

    def __repr__(self) -> str:
        with self.__timer:
            return super().__repr__()

    @property
    def currsize(self) -> Any:
        self.expire()
        return super().currsize

    def get(self, key: Any, default: Any = None) -> Any:
        with self.__timer:
            return super().get(key, default)

    def pop(self, key: Any, default: Any = _ABSENT) -> Any:
        with self.__timer:
            return super().pop(key, default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        with self.__timer:
            return super().setdefault(key, default)

    def popitem(self) -> tuple[_K, _V]:
        with self.__timer as time:
            self.expire(time)
            return super().popitem()

    def expire(self, time: Any = None) -> list[tuple[_K, _V]]:
        """Remove what has expired, now or at `time`, and return the keys and values."""
        if time is None:
            time = self.__timer()
        return [(entry.key, entry.value) for entry in self._store.expired(time)]

    def _rank(self, expires: Any) -> tuple[Any, int]:
        return expires, next(self._store.numbers)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state["_TimedCache__timer"] = self.__timer.__copy__()
        return state


_OURS: tuple[Any, ...] = (vars(Cache)["popitem"], vars(_TimedCache)["popitem"])
"""The `popitem`s that no subclass has overridden."""


class TTLCache(_TimedCache[_K, _V]):
    """A cache whose entries expire `ttl` after they were set, in the unit of `timer`."""

    def __init__(
        self,
        maxsize: Any,
        ttl: Any,
        timer: Callable[[], Any] = time.monotonic,
        getsizeof: Callable[[_V], Any] | None = None,
    ) -> None:
        self.__ttl = ttl
        super().__init__(maxsize, timer, getsizeof)

    @property
    def ttl(self) -> Any:
        """The time that entries have to live."""
        return self.__ttl

    def __setitem__(self, key: _K, value: _V) -> None:
        with self.timer as time:
            expires = time + self.__ttl
            self.expire(time)
            self._put(key, value, self._rank(expires))


class TLRUCache(_TimedCache[_K, _V]):
    """A cache whose entries expire when `ttu(key, value, now)` says, in the unit of `timer`."""

    def __init__(
        self,
        maxsize: Any,
        ttu: Callable[[_K, _V, Any], Any],
        timer: Callable[[], Any] = time.monotonic,
        getsizeof: Callable[[_V], Any] | None = None,
    ) -> None:
        self.__ttu = ttu
        super().__init__(maxsize, timer, getsizeof)

    @property
    def ttu(self) -> Callable[[_K, _V, Any], Any]:
        """The function that says when an entry expires."""
        return self.__ttu

    def __setitem__(self, key: _K, value: _V) -> None:
        with self.timer as time:
            self.expire(time)
            expires = self.__ttu(key, value, time)
            if not time < expires:
                # It is gone before it is there, and so is what it would replace.
                with suppress(KeyError):
                    self._store.take(key)
                return
            self._put(key, value, self._rank(expires))


class CacheInfo(NamedTuple):
    """What a decorated function has counted."""

    hits: int
    misses: int
    maxsize: Any
    currsize: Any


def cached(
    cache: MutableMapping[Any, Any],
    key: Callable[..., Hashable] = keys.hashkey,
    lock: Any = None,
    condition: Any = None,
    info: bool = False,
) -> Callable[[Callable[..., Any]], Any]:
    """Remember what a function returns, in `cache`.

    Args:
        cache: any mutable mapping.
        key: makes a key of the arguments.
        lock: held, as a context manager, while the cache is used, and not while the function runs.
        condition: makes calls with the same key wait for the one that computes, and is the lock
            where there is none. A call that would wait for itself computes.
        info: whether there is a `cache_info()`.
    """
    from leaksafe.compat.cachetools import _decorators  # noqa: PLC0415

    if cache is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise TypeError("cache must be a mutable mapping, not None")
    return lambda function: _decorators.function(function, cache, key, lock, condition, info)


def cachedmethod(
    cache: Callable[[Any], MutableMapping[Any, Any]],
    key: Callable[..., Hashable] = keys.methodkey,
    lock: Callable[[Any], Any] | None = None,
    condition: Callable[[Any], Any] | None = None,
    info: bool = False,
) -> Callable[[Callable[..., Any]], Any]:
    """Remember what a method returns, in `cache(self)`; `lock` and `condition` get `self`, too."""
    from leaksafe.compat.cachetools import _decorators  # noqa: PLC0415

    if not callable(cache):
        raise TypeError("cache must be callable")
    return lambda method: _decorators.Method(method, cache, key, lock, condition, info)
