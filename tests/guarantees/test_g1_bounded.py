"""G1: every structure has a bound stated when it is made, and keeps it."""

from __future__ import annotations

import copy
import pickle
import random
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from leaksafe import LRUCache, Registry, lru_cache
from leaksafe import cache as unbounded

Cache = LRUCache[Any, Any]


def test_the_bound_must_be_stated() -> None:
    with pytest.raises(TypeError):
        LRUCache()  # type: ignore[call-overload]
    assert LRUCache[int, int](maxsize=None).maxsize is None


@pytest.mark.parametrize("size", [1.0, 1.5, True, False, "3", float("nan"), float("inf"), [], b"3"])
def test_a_size_of_the_wrong_kind(size: Any) -> None:
    cache: Cache = LRUCache(3)
    for operation in (LRUCache, cache.resize):
        with pytest.raises(TypeError, match="maxsize"):
            operation(size)
    assert cache.maxsize == 3


def test_no_bound_is_no_bound() -> None:
    cache: Cache = LRUCache(None)
    for number in range(10_000):
        cache[number] = number
    assert len(cache) == 10_000
    cache.resize(10)
    assert list(cache) == list(range(9_990, 10_000))


def test_zero_keeps_nothing() -> None:
    causes: list[tuple[Any, Any, str]] = []
    for getsizeof in (None, lambda value: 1, lambda value: 0):
        causes.clear()
        cache: Cache = LRUCache(0, getsizeof, on_remove=lambda *args: causes.append(args))

        class Value:
            pass

        value = Value()
        gone = weakref.ref(value)
        cache["set"] = value
        assert causes == [("set", value, "size")]
        assert cache.setdefault("default", value) is value
        assert cache.get_or_create("create", lambda value=value: value) is value  # type: ignore[misc]
        cache.update(update=value)
        assert len(cache) == cache.currsize == 0 and "set" not in cache
        assert {cause for _, _, cause in causes} == {"size"}
        causes.clear()
        del value
        assert gone() is None


def filled(size: int | None) -> Cache:
    cache: Cache = LRUCache(size)
    cache.update({number: number for number in range(5)})
    return cache


GROWTHS: dict[str, Callable[[Cache], object]] = {
    "set": lambda c: [c.__setitem__(n, n) for n in range(100)],
    "setdefault": lambda c: [c.setdefault(n, n) for n in range(100)],
    "get_or_create": lambda c: [c.get_or_create(n, lambda: 1) for n in range(100)],
    "update mapping": lambda c: c.update({n: n for n in range(100)}),
    "update pairs": lambda c: c.update((n, n) for n in range(100)),
    "update cache": lambda c: c.update(filled(None)),
    "update keywords": lambda c: c.update(**{f"k{n}": n for n in range(100)}),
    "|=": lambda c: c.__ior__({n: n for n in range(100)}),
}


@pytest.mark.parametrize("size", [1, 2, 5, 7])
@pytest.mark.parametrize("growth", GROWTHS)
def test_whatever_puts_entries_in(growth: str, size: int) -> None:
    seen: list[int] = []
    cache: Cache = LRUCache(size, on_remove=lambda *args: seen.append(len(cache)))
    cache.update({number: number for number in range(5)})
    GROWTHS[growth](cache)
    assert len(cache) == cache.currsize == min(size, 100 if growth != "update cache" else 5)
    assert max(seen, default=0) <= size, "a callback saw more than the bound"


@pytest.mark.parametrize("growth", GROWTHS)
def test_weights(growth: str) -> None:
    seen: list[int] = []
    cache: Cache = LRUCache(
        7,
        lambda value: 2 if isinstance(value, int) else 3,
        on_remove=lambda *args: seen.append(cache.currsize),
    )
    cache.update({number: number for number in range(5)})
    assert len(cache) == 3 and cache.currsize == 6
    GROWTHS[growth](cache)
    assert len(cache) == 3 and cache.currsize == 6
    assert max(seen) <= 7
    cache["text"] = "x"
    assert cache.currsize == 7 and len(cache) == 3


def test_an_entry_heavier_than_the_cache() -> None:
    cache: Cache = LRUCache(5, lambda value: int(value))
    cache["a"], cache["b"] = 2, 3
    refusals: list[Callable[[], object]] = [
        lambda: cache.__setitem__("c", 6),
        lambda: cache.__setitem__("a", 6),
        lambda: cache.setdefault("c", 6),
        lambda: cache.update(c=6),
    ]
    for refusal in refusals:
        with pytest.raises(ValueError):
            refusal()
        assert list(cache.items()) == [("a", 2), ("b", 3)] and cache.currsize == 5
    # a function's result is not lost for being too heavy: it is returned, and not kept
    assert cache.get_or_create("c", lambda: 6) == 6
    assert list(cache.items()) == [("a", 2), ("b", 3)]
    # one that fits alone takes all the room
    cache["c"] = 5
    assert list(cache.items()) == [("c", 5)]


def test_resizing() -> None:
    removed: list[tuple[Any, str]] = []
    cache: Cache = LRUCache(10, on_remove=lambda key, value, cause: removed.append((key, cause)))
    for number in range(10):
        cache[number] = number
    cache[0]
    cache.resize(3)
    assert list(cache) == [8, 9, 0] and cache.maxsize == 3
    assert removed == [(number, "size") for number in range(1, 8)]
    cache.resize(4)
    cache["new"] = 1
    assert len(cache) == 4
    cache.resize(None)
    cache.update({n: n for n in range(100)})
    assert len(cache) == 101
    cache.resize(0)
    assert len(cache) == 0


def test_copies_have_the_same_bound() -> None:
    cache = filled(3)
    for other in (
        cache.copy(),
        copy.copy(cache),
        copy.deepcopy(cache),
        pickle.loads(pickle.dumps(cache)),
        cache | {n: n for n in range(50)},
    ):
        assert other.maxsize == 3
        for number in range(100):
            other[number] = number
        assert len(other) == 3
    assert list(cache) == [2, 3, 4]


def test_a_callback_that_inserts_what_was_evicted() -> None:
    seen: list[int] = []

    def on_remove(key: Any, value: Any, cause: str) -> None:
        seen.append(len(cache))
        if value:
            cache[key, "again"] = value - 1

    cache: Cache = LRUCache(4, on_remove=on_remove)
    for number in range(20):
        cache[number] = 3
    assert len(cache) == 4 and max(seen) <= 4


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_operations(seed: int) -> None:
    draw = random.Random(seed)
    cache: Cache = LRUCache(draw.randrange(12), lambda value: int(value) % 5)
    total = 0
    for _ in range(2_000):
        key = draw.randrange(20)
        match draw.randrange(10):
            case 0 | 1 | 2:
                try:
                    cache[key] = draw.randrange(10)
                except ValueError:
                    assert cache.maxsize is not None and cache.maxsize < 4
            case 3:
                cache.pop(key, None)
            case 4:
                cache.get_or_create(key, lambda: draw.randrange(10))
            case 5 if cache:
                cache.popitem()
            case 6 if draw.randrange(20) == 0:
                cache.resize(draw.randrange(12))
            case 7 if draw.randrange(50) == 0:
                cache.clear()
            case 8:
                cache.get(key)
            case _:
                pass
        assert cache.maxsize is not None
        assert cache.currsize <= cache.maxsize
        assert cache.currsize == sum(value % 5 for value in cache.values())
        total = max(total, cache.currsize)
    assert total


def test_from_many_threads() -> None:
    cache: Cache = LRUCache(10)
    most = [0] * 4

    def fill(number: int) -> None:
        for step in range(20_000):
            cache[number, step % 100] = step
            most[number] = max(most[number], len(cache))

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == len(cache) == 10


def test_what_a_cleared_cache_weighs() -> None:
    """The table goes with the entries: a cache that was big once doesn't stay big."""
    cache: Cache = LRUCache(None)
    small = cache.__sizeof__()
    for number in range(100_000):
        cache[number] = number
    assert cache.__sizeof__() > 1_000_000
    cache.clear()
    assert cache.__sizeof__() < small + 10_000


def test_a_decorated_function() -> None:
    """128 if nothing is said; no bound only in so many words; all instances together."""

    class Class:
        def __init__(self, number: int) -> None:
            self.number = number

        @lru_cache(maxsize=7)
        def method(self, x: int = 0, *, y: int = 0) -> list[int]:
            return [self.number, x, y]

    function = lru_cache(lambda *args, **kwargs: [args])
    wide, nothing = lru_cache(maxsize=None)(len), lru_cache(maxsize=0)(len)
    instances = [Class(number) for number in range(20)]
    for number in range(1_000):
        function(number), function(number, 1), function(x=number)
        assert function.cache_info().currsize <= 128
        wide((number,)), unbounded(len)((number,)), nothing((number,))
        instance = instances[number % 20]
        instance.method(number), instance.method(x=number, y=1), Class.method(self=instance)
        assert Class.method.cache_info().currsize <= 7
    assert function.cache_info().currsize == 128 and Class.method.cache_info().currsize == 7
    assert wide.cache_info().currsize == 1_000 and nothing.cache_info().currsize == 0


def test_a_registry_keeps_its_bound_from_many_threads() -> None:
    registry = Registry[int, list[int]](8)
    over: list[int] = []

    def work(seed: int) -> None:
        for turn in range(500):
            key = (seed * 7 + turn) % 40
            with registry.use(key, list):
                if len(registry) > 8:
                    over.append(len(registry))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert over == []
    assert len(registry) == 8
