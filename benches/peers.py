"""The contestants: how each is made, filled and asked.

The peers ship no types that could be relied on, so they are `Any` here.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib import import_module
from importlib.metadata import version
from time import (
    thread_time_ns as clock,
)  # this thread's own time: what else the machine does is not in it
from typing import Any

from benches.measure import Loop

OURS = "LRUCache"


# The loops look alike because each must be one plain loop over locals: a call in between would be
# measured too.
def subscript(cache: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            cache[k]
    return clock() - start


def get(cache: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            cache.get(k)
    return clock() - start


def assign(cache: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            cache[k] = k
    return clock() - start


def set_(cache: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            cache.set(k, k)
    return clock() - start


def iterate(cache: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for _k in cache:
            pass
    return clock() - start


def construct(cls: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for _k in keys:
            cls(128)
    return clock() - start


def construct_dict(cls: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for _k in keys:
            cls()
    return clock() - start


def get_with_default(cache: Any, keys: Any, passes: int) -> int:
    default = object
    start = clock()
    for _ in range(passes):
        for k in keys:
            cache.get(k, default)
    return clock() - start


def get_or_create(cache: Any, keys: Any, passes: int) -> int:
    factory = object
    start = clock()
    for _ in range(passes):
        for k in keys:
            cache.get_or_create(k, factory)
    return clock() - start


def setdefault_with(cache: Any, keys: Any, passes: int) -> int:
    factory = object
    start = clock()
    for _ in range(passes):
        for k in keys:
            cache.setdefault_with(k, factory)
    return clock() - start


def get_with(cache: Any, keys: Any, passes: int) -> int:
    factory = object
    start = clock()
    for _ in range(passes):
        for k in keys:
            cache.get_with(k, factory)
    return clock() - start


def fill_by_subscript(cache: Any, items: Iterable[tuple[Any, Any]]) -> None:
    for k, v in items:
        cache[k] = v


def fill_by_set(cache: Any, items: Iterable[tuple[Any, Any]]) -> None:
    for k, v in items:
        cache.set(k, v)


def holds_by_in(cache: Any, key: Any) -> bool:
    return key in cache


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    version: str
    cls: Any
    make: Callable[[int], Any]
    loops: dict[str, Loop]
    fill: Callable[[Any, Iterable[tuple[Any, Any]]], None] = fill_by_subscript
    holds: Callable[[Any, Any], bool] = holds_by_in
    close: Callable[[Any], None] | None = None


# What each operation of `mapping.OPERATIONS` is for something with the interface of a mapping.
MAPPING: dict[str, Loop] = {
    "hit": subscript,
    "get": get,
    "miss": get,
    "replace": assign,
    "evict": assign,
    "iterate": iterate,
    "construct": construct,
}


def _dict() -> Peer:
    loops = {**MAPPING, "construct": construct_dict, "get_or_create": get_with_default}
    del loops["evict"]
    return Peer("dict", "", dict, lambda maxsize: {}, loops)


def _ours() -> Peer:
    leaksafe = import_module("leaksafe")
    cls = leaksafe.LRUCache
    return Peer(OURS, leaksafe.__version__, cls, cls, {**MAPPING, "get_or_create": get_or_create})


def _cachebox() -> Peer:
    cls = import_module("cachebox").LRUCache
    return Peer(
        "cachebox", version("cachebox"), cls, cls, {**MAPPING, "get_or_create": setdefault_with}
    )


def _lru_dict() -> Peer:
    cls = import_module("lru").LRU
    loops = dict(MAPPING)
    del loops["iterate"]  # it has lists of its keys, no iterator
    return Peer("lru-dict", version("lru-dict"), cls, cls, loops)


def _cachetools() -> Peer:
    cls = import_module("cachetools").LRUCache
    return Peer("cachetools", version("cachetools"), cls, cls, MAPPING)


def _moka() -> Peer:
    cls = import_module("moka_py").Moka
    loops: dict[str, Loop] = {
        "hit": get,
        "get": get,
        "miss": get,
        "replace": set_,
        "evict": set_,
        "construct": construct,
        "get_or_create": get_with,
    }
    return Peer(
        "moka-py",
        version("moka-py"),
        cls,
        lambda maxsize: cls(maxsize, policy="lru"),
        loops,
        fill_by_set,
        lambda cache, key: cache.get(key) is not None,
    )


def _theine() -> Peer:
    cls = import_module("theine").Cache
    # Not constructed in a loop: each one starts a task that stays.
    loops: dict[str, Loop] = {"hit": get, "get": get, "miss": get, "replace": set_, "evict": set_}
    return Peer(
        "theine",
        version("theine"),
        cls,
        cls,
        loops,
        fill_by_set,
        lambda cache, key: bool(cache.get(key)[1]),
        cls.close,  # or its task keeps it, and works on through whatever is measured next
    )


class _Remembered:
    """A decorated function, filled like a cache: it returns what it is told to."""

    def __init__(self, decorator: Callable[[int], Any], maxsize: int) -> None:
        self.value: Any = None
        self.ask = decorator(maxsize)(lambda key: self.value)

    def set(self, key: Any, value: Any) -> None:
        self.value = value
        self.ask(key)


def _functools() -> Peer:
    make = partial(_Remembered, lru_cache)
    return Peer("functools", "", _Remembered, make, {}, fill_by_set)


def _our_function() -> Peer:
    leaksafe = import_module("leaksafe")
    make = partial(_Remembered, leaksafe.lru_cache)
    return Peer(OURS, leaksafe.__version__, _Remembered, make, {}, fill_by_set)


def fill_with_lifetimes(cache: Any, items: Iterable[tuple[Any, Any]]) -> None:
    """Each lives for a time of its own, from minutes to days, in no order."""
    for number, (k, v) in enumerate(items):
        cache.set(k, v, 600 + number * 7919 % 259_200)


def _timed(module: str, name: str) -> Peer:
    cls = import_module(module).TTLCache
    return Peer(name, version(module), cls, lambda maxsize: cls(maxsize, 3_600), {})


def _our_mixed() -> Peer:
    return replace(_timed("leaksafe", OURS), fill=fill_with_lifetimes)


# Those whose entries expire, by the same names.
TIMED: dict[str, Callable[[], Peer]] = {
    OURS: partial(_timed, "leaksafe", OURS),
    "cachebox": partial(_timed, "cachebox", "cachebox"),
    "cachetools": partial(_timed, "cachetools", "cachetools"),
}
MIXED: dict[str, Callable[[], Peer]] = {OURS: _our_mixed}

LOADERS: dict[str, Callable[[], Peer]] = {
    OURS: _ours,
    "dict": _dict,
    "cachebox": _cachebox,
    "lru-dict": _lru_dict,
    "cachetools": _cachetools,
    "moka-py": _moka,
    "theine": _theine,
    "functools": _functools,
}

# Those that remember calls, by the same names.
REMEMBERING: dict[str, Callable[[], Peer]] = {OURS: _our_function, "functools": _functools}


def load() -> tuple[dict[str, Peer], list[str]]:
    """Those that import here, and a line on each that doesn't."""
    peers: dict[str, Peer] = {}
    missing: list[str] = []
    for name, loader in LOADERS.items():
        try:
            peers[name] = loader()
        except ImportError as error:
            missing.append(f"{name} ({error})")
    return peers, missing
