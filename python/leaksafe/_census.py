"""What caches a process has, and emptying them all."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, NamedTuple, cast

from leaksafe import _results
from leaksafe._core import (
    LRUCache,
    _living,  # pyright: ignore[reportPrivateUsage]
    _LruFunction,  # pyright: ignore[reportPrivateUsage]
    _record_places,  # pyright: ignore[reportPrivateUsage]
)


class Living(NamedTuple):
    """A living cache or decorated function, as `census` saw it.

    >>> from leaksafe import census, lru_cache
    >>> @lru_cache
    ... def double(number):
    ...     return 2 * number
    >>> double(4)
    8
    >>> [one.entries for one in census() if one.name == "double"]
    [1]
    """

    name: str
    """The function's name, or the cache's type."""
    kind: str
    """`function`, or the type of a cache."""
    entries: int
    """How many entries it holds."""
    weight: int
    """What they weigh together, in the unit of its bound: entries, or what `getsizeof` says."""
    bound: int | None
    """The bound of the weight; `None` for no bound."""
    hit_ratio: float | None
    """Hits by look-ups, from 0.0 to 1.0; `None` where they aren't counted, or there were none."""
    removals: int | None
    """How many entries have left; `None` where they aren't counted."""
    where: str | None
    """The file and line where it was made: of a function always, else if `census` was asked to."""


def census(*, where: bool | None = None) -> list[Living]:
    """List the living caches and decorated functions of the process, in the order of their making.

    >>> from leaksafe import LRUCache, census
    >>> cache = LRUCache(10)
    >>> cache["a"] = 1
    >>> [(one.name, one.entries) for one in census()][-1]
    ('LRUCache', 1)
    >>> del cache

    That is every `LRUCache`, `TTLCache` and `WeakCache`, and every function that `cached`,
    `lru_cache`, `cache` or `ttl_cache` decorates. None is kept alive for that, none is used by
    being looked at. O(n), and about 100 bytes for each that lives.

    Args:
        where: `True`: from now on, note where each cache is made (a few microseconds each);
            `False`: don't any more.
    """
    if where is not None:
        _record_places(bool(where))
    return [_look_at(one, place) for one, place in _living() if one not in _results.made]


def clear_all() -> None:
    """Empty every living cache, and forget every result of every decorated function.

    >>> from leaksafe import LRUCache, clear_all
    >>> cache = LRUCache(10)
    >>> cache["a"] = 1
    >>> clear_all()
    >>> len(cache)
    0

    For tests, each of which is to start from nothing: the pytest fixture `clear_caches` does it
    before and after a test. Caches of modules that are imported later are in it, too. What is
    computed meanwhile is handed out, and not kept. O(n) in what there is.
    """
    for one, _ in _living():
        if isinstance(one, _LruFunction):
            one.cache_clear()
        else:
            one.clear()


def place() -> str | None:
    """Return where the nearest code outside this package is."""
    frame: FrameType | None = sys._getframe()  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if str(frame.f_globals.get("__name__")).split(".")[0] != __package__:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return None


def _look_at(
    one: Any,  # noqa: ANN401
    where: str | None,
) -> Living:
    if isinstance(one, _LruFunction):
        return _look_at_function(cast("_LruFunction[..., Any]", one), where)
    kind = type(one).__qualname__
    entries = len(one)
    if not isinstance(one, LRUCache):
        return Living(kind, kind, entries, entries, one.maxsize, None, None, where)
    stats = one.stats()
    ratio = stats.hit_ratio if stats.hits + stats.misses else None
    removals = sum(stats.removals)
    return Living(kind, kind, entries, stats.currsize, stats.maxsize, ratio, removals, where)


def _look_at_function(one: _LruFunction[..., Any], where: str | None) -> Living:
    info = one.cache_info()
    asked = info.hits + info.misses
    mapping = one.cache
    weight, removals = info.currsize, one._removed()  # pyright: ignore[reportPrivateUsage]
    if isinstance(mapping, LRUCache):
        stats = mapping.stats()
        weight, removals = stats.currsize, sum(stats.removals)
    code = getattr(getattr(one, "__wrapped__", None), "__code__", None)
    if code is not None:
        where = f"{code.co_filename}:{code.co_firstlineno}"
    name = str(getattr(one, "__leaksafe_name__", getattr(one, "__qualname__", one)))
    return Living(
        name,
        "function",
        info.currsize,
        weight,
        info.maxsize,
        info.hits / asked if asked else None,
        removals,
        where,
    )
