"""Caches within caches, a hundred thousand deep: they are dropped without a deep stack."""

from __future__ import annotations

import functools
import gc
import sys
import threading
from collections.abc import Callable
from typing import Any

from actors import Cache, Value, check, nothing_left

from isolated import each, full_collection, isolated
from leaksafe import LRUCache


class Holder:
    def __init__(self, held: Any) -> None:
        self.held = held


class Attributed(LRUCache[Any, Any]):
    inner: Any


def chain_value(inner: Any) -> Cache:
    cache: Cache = LRUCache(1)
    cache[0] = inner
    return cache


def chain_key(inner: Any) -> Cache:
    cache: Cache = LRUCache(1)
    cache[Holder(inner)] = 0
    return cache


def chain_list(inner: Any) -> Cache:
    cache: Cache = LRUCache(1)
    cache[0] = [inner]
    return cache


def chain_tuple(inner: Any) -> Cache:
    cache: Cache = LRUCache(1)
    cache[0] = (inner,)
    return cache


def chain_on_remove(inner: Any) -> Cache:
    return LRUCache(1, on_remove=functools.partial(print, inner))


def chain_getsizeof(inner: Any) -> Cache:
    return LRUCache(1, functools.partial(max, 1, key=inner))


def chain_iterator(inner: Any) -> Cache:
    cache: Cache = LRUCache(1)
    cache[0] = inner
    outer: Cache = LRUCache(1)
    outer[0] = iter(cache)
    return outer


def chain_view(inner: Any) -> Cache:
    cache: Cache = LRUCache(1)
    cache[0] = inner
    outer: Cache = LRUCache(1)
    outer[0] = cache.items()
    return outer


def chain_attribute(inner: Any) -> Cache:
    cache = Attributed(1)
    cache.inner = inner
    return cache


def chain_subclass(inner: Any) -> Cache:
    cache = Attributed(1)
    cache[0] = inner
    return cache


CHAINS: dict[str, Callable[[Any], Cache]] = {
    function.__name__[6:]: function
    for function in (
        chain_value,
        chain_key,
        chain_list,
        chain_tuple,
        chain_on_remove,
        chain_getsizeof,
        chain_iterator,
        chain_view,
        chain_attribute,
        chain_subclass,
    )
}
# a million of the plainest, fewer of what is slower to make
DEPTH = {"value": 1_000_000, "list": 300_000}
FEWER = 100_000


def build(how: str) -> tuple[Cache, Cache]:
    """The outermost and the innermost of a chain of caches. The collector is off from here on."""
    link = CHAINS[how]
    first: Cache = LRUCache(4)
    first["value"] = Value()
    outer = first
    gc.disable()
    for _ in range(DEPTH.get(how, FEWER)):
        outer = link(outer)
    return outer, first


@each("how", CHAINS)
@isolated(malloc="default")
def test_chain_dropped(how: str) -> None:
    outer, first = build(how)
    del first
    assert Value.living() == 1
    del outer
    assert Value.living() == 0


@each("how", CHAINS)
@isolated(malloc="default")
def test_chain_collected_as_a_cycle(how: str) -> None:
    outer, first = build(how)
    first["outer"] = outer
    del outer, first
    assert Value.living() == 1
    full_collection()
    assert Value.living() == 0


@each("end", ["evict", "replace", "del", "pop", "popitem", "clear", "resize", "close"])
@isolated(malloc="default")
def test_chain_let_go(end: str) -> None:
    link, holder = build("key")[0], LRUCache[Any, Any](1)
    holder["chain"] = link
    del link
    match end:
        case "evict":
            holder["next"] = 1
        case "replace":
            holder["chain"] = 1
        case "del":
            del holder["chain"]
        case "pop":
            holder.pop("chain")
        case "popitem":
            holder.popitem()
        case "clear":
            holder.clear()
        case "resize":
            holder.resize(0)
        case "close":
            holder.close()
    assert Value.living() == 0
    check(holder)


@isolated(malloc="default")
def test_chain_dropped_on_a_small_stack() -> None:
    outer, first = build("subclass")
    box = [outer]
    del first, outer
    threading.stack_size(256 * 1024)
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    assert Value.living() == 0


@isolated(malloc="default")
def test_chain_that_each_on_remove_closes() -> None:
    """Closing one from the callback of another, as deep as Python lets callbacks nest."""
    told: list[Any] = []
    # at the recursion limit, a hook in Python would fail as well
    sys.unraisablehook = told.append

    def on_remove(key: object, value: Any, cause: str) -> None:
        value.close()

    outer: Cache = LRUCache(1)
    for _ in range(20_000):
        inner, outer = outer, LRUCache(1, on_remove=on_remove)
        outer[0] = inner
    del inner
    outer.close()
    assert {args.exc_type for args in told} <= {RecursionError}
    check(outer)
    told.clear()
    sys.unraisablehook = sys.__unraisablehook__


@isolated()
def test_gc_disabled_and_frozen() -> None:
    gc.disable()
    cache: Cache = LRUCache(4)
    for _ in range(1_000):
        cache[object()] = Value()
    assert Value.living() == 4
    gc.freeze()
    cache["list"] = [cache]
    gc.collect()
    assert cache["list"][0] is cache
    check(cache)
    gc.unfreeze()
    gc.enable()
    del cache
    nothing_left()
