"""Each allocation of an operation fails, one after the other: `MemoryError`, and nothing is broken.

By `_testcapi.set_nomemory`, which stands in front of CPython's allocators. Rust's own memory comes
from the system, and ends the process where there is none.
"""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Callable
from typing import Any

from actors import check

import leaksafe
from isolated import each, isolated, skip_unless

MANY = 400
"""More allocations than any of the operations has."""
IN_A_ROW = 15
"""So many operations that are no longer reached have had all of their allocations."""


class Thing:
    pass


THING = Thing()


def caches(kind: Any = leaksafe.LRUCache, *more: Any) -> Any:
    cache = kind(2, *more)
    cache["a"] = cache["b"] = 1
    return cache


def function(decorate: Any, wrapped: Any = max) -> Any:
    made = decorate(wrapped)
    made("a", "b"), made("c", "d")
    return made


def weak(kind: Any) -> Any:
    made = kind()
    made["a" if kind is not leaksafe.WeakKeyDictionary else THING] = THING
    return made


def timed() -> Any:
    return caches(leaksafe.TTLCache, 100)


def registry() -> Any:
    made = leaksafe.Registry[str, Thing](2)
    made.get_or_create("a", Thing)
    return made


class Remembering:
    near = leaksafe.weakattr[Thing]()

    @leaksafe.lru_cache
    def method(self, number: int) -> int:
        return number

    @leaksafe.cached_property
    def value(self) -> int:
        return 1


class Subclass(leaksafe.LRUCache[Any, Any]):
    pass


def absent(cache: Any) -> None:
    try:
        cache["x"]
    except KeyError as error:
        assert error.args == ("x",)
    else:
        raise AssertionError("it was there")


# What it is made for, and the operation, of which each allocation fails.
OPERATIONS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "set": (caches, lambda cache: cache.__setitem__("c", 3)),
    "set a tuple": (caches, lambda cache: cache.__setitem__((1, "x"), 3)),
    "get": (caches, lambda cache: cache["a"]),
    "pop": (caches, lambda cache: cache.pop("a", None)),
    "popitem": (caches, lambda cache: cache.popitem() if cache else None),
    "iterate": (caches, lambda cache: list(cache.values())),
    "stats": (caches, lambda cache: cache.stats()),
    "resize": (caches, lambda cache: cache.resize(1)),
    "get_or_create": (caches, lambda cache: cache.get_or_create("x", Thing)),
    "set with a ttl": (timed, lambda cache: cache.set("c", 3, 5)),
    "expire": (timed, lambda cache: cache.expire()),
    "call": (lambda: function(leaksafe.lru_cache(2)), lambda call: call("e", "f")),
    "hit": (lambda: function(leaksafe.lru_cache(2)), lambda call: call("c", "d")),
    "cached call": (lambda: function(leaksafe.cached(maxsize=2)), lambda call: call("e", "f")),
    "weak value": (
        lambda: weak(leaksafe.WeakValueDictionary),
        lambda values: values.__setitem__("b", THING),
    ),
    "weak value made": (
        lambda: weak(leaksafe.WeakValueDictionary),
        lambda values: values.get_or_create("b", lambda: THING),
    ),
    "weak key": (
        lambda: weak(leaksafe.WeakKeyDictionary),
        lambda keys: keys.__setitem__(THING, 1),
    ),
    "weak cache": (
        lambda: weak(leaksafe.WeakCache),
        lambda cache: cache.__setitem__("b", THING),
    ),
    "weak set": (lambda: leaksafe.WeakSet([THING]), lambda members: members.add(THING)),
    "items": (caches, lambda cache: list(cache.items())),
    "repr": (caches, repr),
    "repr of a view": (caches, lambda cache: repr(cache.items())),
    "copy": (caches, lambda cache: cache.copy()),
    "update": (caches, lambda cache: cache.update({"x": 1, "y": 2})),
    "sizeof": (caches, lambda cache: cache.__sizeof__()),
    "deep_sizeof": (caches, lambda cache: leaksafe.deep_sizeof([cache, [1], {2: 3}])),
    "a key that isn't there": (caches, lambda cache: absent(cache)),
    "expires_in": (timed, lambda cache: [cache.expires_in(key) for key in cache]),
    "call by keyword": (
        lambda: leaksafe.cached(maxsize=2)(sorted),
        lambda call: call((2, 1), reverse=True),
    ),
    "call of a method": (Remembering, lambda one: one.method(3)),
    "decorate": (lambda: len, leaksafe.lru_cache),
    "make": (lambda: leaksafe.LRUCache, lambda kind: kind(2)),
    "make one of a subclass": (lambda: Subclass, lambda kind: kind(2)),
    "cached_property": (Remembering, lambda one: one.value),
    "weakattr": (Remembering, lambda one: setattr(one, "near", THING)),
    "cache_info": (lambda: function(leaksafe.lru_cache(2)), lambda call: call.cache_info()),
    "cache_parameters": (
        lambda: function(leaksafe.lru_cache(2)),
        lambda call: call.cache_parameters(),
    ),
    "census": (caches, lambda cache: leaksafe.census()),
    "registry": (registry, lambda one: one.get_or_create("b", Thing)),
}


def run_out(operation: str, at_once: int) -> int:
    """Have each allocation of an operation fail, or all from it on; how many failed."""
    import _testcapi  # type: ignore[import-not-found]

    make, operate = OPERATIONS[operation]
    operate(make())  # what is made once for the process
    failed = reached = 0
    for number in range(MANY):
        it = make()
        gc.collect()  # which empties the interpreter's free lists
        try:
            _testcapi.set_nomemory(number, number + at_once if at_once else 0)
            try:
                operate(it)
            finally:
                _testcapi.remove_mem_hooks()
            reached += 1
        except MemoryError:
            failed += 1
            reached = 0
        if isinstance(it, leaksafe.LRUCache):
            check(it)
        operate(it)
        if reached > IN_A_ROW:
            return failed
    raise AssertionError(f"{failed} failures, and no end of them")


@skip_unless(importlib.util.find_spec("_testcapi") is not None, "CPython without its own tests")
@each("at_once", [1, 0])
@isolated(limit=60, malloc="default")
def test_memory_runs_out_at_each_allocation(at_once: int) -> None:
    gc.freeze()
    failed: dict[str, int] = {}
    for operation in OPERATIONS:
        try:
            failed[operation] = run_out(operation, at_once)
        except BaseException as error:
            error.add_note(operation)
            raise
    assert sum(failed.values()) > len(OPERATIONS), failed
    assert failed["get"] == 0
