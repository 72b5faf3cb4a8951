"""Decorators with the signature of `functools.lru_cache`, one for each kind of cache.

>>> @lfu_cache(maxsize=2)
... def double(number):
...     return 2 * number
>>> double(1), double(1), double.cache_info()
(2, 2, CacheInfo(hits=1, misses=1, maxsize=2, currsize=1))
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, MutableMapping
from threading import Condition
from typing import Any

from leaksafe.compat.cachetools import (
    FIFOCache,
    LFUCache,
    LRUCache,
    RRCache,
    TTLCache,
    cached,
    keys,
)

__all__ = ("fifo_cache", "lfu_cache", "lru_cache", "rr_cache", "ttl_cache")


class _UnboundedTTLCache(TTLCache[Any, Any]):
    """One without a bound, which says so as functools does."""

    @property
    def maxsize(self) -> Any:
        return None


def _decorator(
    maxsize: Any,
    typed: bool,
    make: Callable[[Any], MutableMapping[Any, Any]],
    unbounded: Callable[[], MutableMapping[Any, Any]] = dict,
) -> Any:
    def decorate(function: Callable[..., Any], size: Any) -> Any:
        cache = unbounded() if size is None else make(size)
        key = keys.typedkey if typed else keys.hashkey
        wrapper = cached(cache, key=key, condition=Condition(), info=True)(function)
        wrapper.cache_parameters = lambda: {"maxsize": size, "typed": typed}
        return wrapper

    if callable(maxsize):
        return decorate(maxsize, 128)
    if maxsize is not None:
        make(maxsize)  # what it has against that size is said at once

    def decorator(function: Callable[..., Any]) -> Any:
        return decorate(function, maxsize)

    return decorator


def fifo_cache(maxsize: Any = 128, typed: bool = False) -> Any:
    """Remember up to `maxsize` results; the one kept first goes first."""
    return _decorator(maxsize, typed, FIFOCache)


def lfu_cache(maxsize: Any = 128, typed: bool = False) -> Any:
    """Remember up to `maxsize` results; the one asked for least often goes first."""
    return _decorator(maxsize, typed, LFUCache)


def lru_cache(maxsize: Any = 128, typed: bool = False) -> Any:
    """Remember up to `maxsize` results; the one not asked for the longest goes first."""
    return _decorator(maxsize, typed, LRUCache)


def rr_cache(
    maxsize: Any = 128, choice: Callable[[Any], Any] = random.choice, typed: bool = False
) -> Any:
    """Remember up to `maxsize` results; one that `choice` picks goes first."""
    return _decorator(maxsize, typed, lambda size: RRCache(size, choice))


def ttl_cache(
    maxsize: Any = 128,
    ttl: Any = 600,
    timer: Callable[[], Any] = time.monotonic,
    typed: bool = False,
) -> Any:
    """Remember up to `maxsize` results, each for at most `ttl` of the units of `timer`."""
    return _decorator(
        maxsize,
        typed,
        lambda size: TTLCache(size, ttl, timer),
        lambda: _UnboundedTTLCache(math.inf, ttl, timer),
    )
