"""Rounds of what makes, ends, tells and weighs caches, and of what fails."""

from __future__ import annotations

import sys
import tracemalloc
import weakref
from typing import Any

from rounds import (
    ABSENT,
    HIT,
    KEYS,
    OTHER,
    VALUE,
    Cache,
    Failure,
    Raising,
    Round,
    Sub,
    alternating,
    fails,
    filled,
    forget,
    make,
    quietly,
    swept,
    weigh,
    weigh_both,
)

from leaksafe import LRUCache, deep_sizeof, lru_cache, ttl_cache
from leaksafe.compat import cachetools
from leaksafe.compat.cachetools import func


def make_and_close() -> Round:
    def run() -> None:
        with LRUCache[Any, Any](4, weigh, on_remove=forget) as cache:
            cache[HIT] = VALUE

    return run


def make_and_drop() -> Round:
    def run() -> None:
        cache = Sub(4, weigh_both, on_remove=forget)
        cache[HIT] = VALUE
        cache.attribute = VALUE  # type: ignore[attr-defined]

    return run


def make_and_collect() -> Round:
    def run() -> None:
        cache: Cache = LRUCache(4, weigh_both, on_remove=forget)
        cache[HIT] = cache
        cache[VALUE[0]] = iter(cache)

    return swept(run)


def make_error() -> Round:
    return alternating(
        quietly(lambda: LRUCache(-1, weigh), ValueError),
        quietly(lambda: LRUCache(1.5, weigh), TypeError),  # type: ignore[call-overload]
        quietly(lambda: LRUCache(1, 5), TypeError),  # type: ignore[call-overload]
        quietly(lambda: LRUCache(1, weigh, on_remove=5), TypeError),  # type: ignore[call-overload]
    )


def without_init() -> Round:
    def run() -> None:
        cache: Cache = LRUCache.__new__(LRUCache)
        cache[HIT] = VALUE

    return quietly(run, RuntimeError)


def closed() -> Round:
    cache: Cache = LRUCache(4)
    cache.close()
    return quietly(lambda: cache.__setitem__(HIT, VALUE), RuntimeError)


def callback() -> Round:
    cache = filled(4, on_remove=forget)

    def run() -> None:
        for key in KEYS:
            cache[key] = VALUE

    return run


def callback_error() -> Round:
    cache = filled(4)
    cache = LRUCache(1, on_remove=fails)
    sys.unraisablehook = lambda args: None

    def run() -> None:
        cache[HIT] = VALUE
        cache[ABSENT] = OTHER

    return run


def weigher() -> Round:
    cache = filled(4, weigh)

    def run() -> None:
        cache[HIT] = VALUE
        cache["new"] = VALUE

    return run


def weigher_of_both() -> Round:
    cache = filled(4, weigh_both)

    def run() -> None:
        cache[HIT] = VALUE
        cache["new"] = VALUE

    return run


def weigher_error() -> Round:
    cache: Cache = LRUCache(4, fails)
    return quietly(lambda: cache.__setitem__(HIT, VALUE), Failure)


def weigher_nonsense() -> Round:
    cache: Cache = LRUCache(4, lambda value: -1)
    other: Cache = LRUCache(4, lambda value: 1.5)  # type: ignore[arg-type]
    third: Cache = LRUCache(4, lambda value: 2**70)
    return alternating(
        quietly(lambda: cache.__setitem__(HIT, VALUE), ValueError),
        quietly(lambda: other.__setitem__(HIT, VALUE), TypeError),
        quietly(lambda: third.__setitem__(HIT, VALUE), OverflowError),
    )


def too_heavy() -> Round:
    cache: Cache = LRUCache(4, lambda value: 5)
    return quietly(lambda: cache.__setitem__(HIT, VALUE), ValueError)


def in_bytes() -> Round:
    cache: Cache = LRUCache(max_bytes="1 kB")

    def run() -> None:
        cache[HIT] = VALUE
        cache["new"] = [VALUE, cache, KEYS]
        cache["another"] = bytes(600)

    return run


def functions_in_bytes() -> Round:
    class Owner:
        @lru_cache(max_bytes="1 kB")
        def method(self, number: int) -> object:
            return [self, VALUE, bytes(number)]

    remember = [decorator(max_bytes="1 kB")(make_weighty) for decorator in (lru_cache, ttl_cache)]

    def run() -> None:
        owner = Owner()
        owner.method(300), owner.method(301), owner.method(302), owner.method(2_000)
        for function in remember:
            function(300), function(301), function(302), function(2_000)
            quietly(lambda: function(-1), Failure)()
            function.cache_clear()
        # Owner and result refer to each other.
        vars(owner).clear()

    return run


def make_weighty(number: int) -> object:
    return [VALUE, bytes(number)] if number > 0 else Raising("size")


def deep_sizes() -> Round:
    cache = filled()
    held = [cache, {"keys": KEYS, **dict.fromkeys(KEYS, OTHER)}, {VALUE[0], 3.5}, Sub(3)]
    return lambda: deep_sizeof(held)


def deep_size_error() -> Round:
    cache = filled(max_bytes=10_000)
    held = [KEYS, cache, Raising("size")]
    return alternating(
        quietly(lambda: deep_sizeof(held), Failure),
        quietly(lambda: cache.__setitem__(HIT, held), Failure),
        quietly(lambda: LRUCache(max_bytes="much"), ValueError),
    )


def stand_ins() -> Round:
    caches: list[Any] = [
        kind(3, **more)
        for kind, more in (
            (cachetools.FIFOCache, {}),
            (cachetools.LRUCache, {"getsizeof": weigh}),
            (cachetools.LFUCache, {}),
            (cachetools.RRCache, {}),
            (cachetools.TTLCache, {"ttl": 0.001}),
            (cachetools.TLRUCache, {"ttu": later}),
        )
    ]

    def run() -> None:
        for cache in caches:
            for key in KEYS[1:6]:
                cache[key] = VALUE
            cache.get(HIT)
            cache.pop(ABSENT, None)
            # what is left depends on chance and on time
            cache.clear()

    return run


def later(key: object, value: object, now: float) -> float:
    return now + 0.001


def stand_in_decorators() -> Round:
    remember = func.lru_cache(2)(make_one)

    class Owner:
        @cachetools.cachedmethod(lambda self: self.cache)
        def method(self, number: Any) -> Any:
            return VALUE

    def run() -> None:
        remember(HIT), remember(3), remember(4)
        owner: Any = Owner()
        owner.cache = cachetools.LRUCache(2)
        owner.method(HIT)

    return run


def make_one(key: object) -> object:
    return VALUE


def kept_nothing() -> Round:
    cache: Cache = LRUCache(0)
    return lambda: cache.__setitem__(HIT, VALUE)


def hash_error() -> Round:
    cache, key = filled(), Raising("hash")
    return alternating(
        quietly(lambda: cache[key], Failure),
        quietly(lambda: cache.__setitem__(key, VALUE), Failure),
    )


def eq_error() -> Round:
    cache, key = filled(9), Raising("eq")
    cache[Raising("eq")] = VALUE
    return alternating(
        quietly(lambda: cache[key], Failure),
        quietly(lambda: cache.__setitem__(key, VALUE), Failure),
        quietly(lambda: cache.get_or_create(key, make), Failure),
        quietly(lambda: cache.pop(key, None), Failure),
    )


def unhashable() -> Round:
    cache = filled()
    return alternating(
        quietly(lambda: cache[[]], TypeError),
        quietly(lambda: cache.__setitem__(({},), VALUE), TypeError),
    )


def wrong_arguments() -> Round:
    cache: Any = filled()
    return alternating(
        quietly(lambda: cache.get(), TypeError),
        quietly(lambda: cache.get(1, 2, 3), TypeError),
        quietly(lambda: cache.update(5), TypeError),
        quietly(lambda: cache | 5, TypeError),
        quietly(lambda: hash(cache), TypeError),
    )


def restarts() -> Round:
    """An __eq__ that changes its slot each time, to the RuntimeError."""
    cache: Cache = LRUCache(1)

    class Restless:
        inside = False

        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            if not Restless.inside:
                Restless.inside = True
                cache.clear()
                cache[Restless()] = VALUE
                Restless.inside = False
            return False

    cache[Restless()] = VALUE
    return quietly(lambda: cache.get(Restless()), RuntimeError)


def inspection() -> Round:
    cache = filled()
    return lambda: (cache.stats(), cache.maxsize, cache.currsize, cache.closed, len(cache))


def weak_references() -> Round:
    cache = filled()

    def run() -> None:
        weakref.ref(cache, lambda _: None)

    return run


def traced() -> Round:
    """Growth told to tracemalloc is taken back."""
    tracemalloc.start()

    def run() -> None:
        cache: Cache = LRUCache(None)
        for number in range(20):
            cache[number] = VALUE

    return run


def big_and_small() -> Round:
    """A table that grows to 10 000 entries and is emptied, a hundred times."""
    cache: Cache = LRUCache(None)

    def run() -> None:
        for number in range(10_000):
            cache[number] = VALUE
        cache.clear()

    return run


def generic_alias() -> Round:
    return lambda: LRUCache[int, str]
