"""leaksafe.compat.cachetools beside cachetools itself, and what it promises beyond that."""

from __future__ import annotations

import copy
import functools
import gc
import math
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import cachetools as original
import cachetools.func as original_func
import cachetools.keys as original_keys
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Boom, filling, outcomes
from isolated import full_collection, isolated, outcome
from leaksafe import deep_sizeof
from leaksafe.compat import cachetools as ours
from leaksafe.compat.cachetools import func

KINDS = ["Cache", "FIFOCache", "LFUCache", "LRUCache", "RRCache", "TTLCache", "TLRUCache"]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make(module: Any, kind: str, maxsize: Any, clock: Any = None, **options: Any) -> Any:
    cls = getattr(module, kind)
    if kind == "RRCache":
        return cls(maxsize, choice=min, **options)
    if kind == "TTLCache":
        return cls(maxsize, 5, timer=clock or Clock(), **options)
    if kind == "TLRUCache":
        return cls(maxsize, lambda key, value, now: now + value, timer=clock or Clock(), **options)
    return cls(maxsize, **options)


# The same operations on both

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            "set get item del pop popitem setdefault in tick copy expire clear update".split()
        ),
        st.integers(0, 7),
        st.integers(1, 4),
    ),
    max_size=60,
)


def step(cache: Any, clock: Clock, name: str, key: int, value: int) -> tuple[Any, Any]:
    """What one operation answers, and the cache to go on with."""
    done: dict[str, Callable[[], Any]] = {
        "set": lambda: cache.__setitem__(key, value),
        "get": lambda: cache.get(key, "nothing"),
        "item": lambda: cache[key],
        "del": lambda: cache.__delitem__(key),
        "pop": lambda: cache.pop(key, "nothing"),
        "popitem": lambda: cache.popitem(),
        "setdefault": lambda: cache.setdefault(key, value),
        "in": lambda: key in cache,
        "tick": lambda: setattr(clock, "now", clock.now + value),
        "expire": lambda: cache.expire() if hasattr(cache, "expire") else None,
        "clear": lambda: cache.clear() if value == 4 else None,
        "update": lambda: cache.update({key: value, key + 1: value}),
    }
    if name == "copy":
        return None, copy.copy(cache)
    return outcome(done[name]), cache


@pytest.mark.parametrize("weighed", [False, True], ids=["counted", "weighed"])
@pytest.mark.parametrize("kind", KINDS)
@given(steps=STEPS)
@settings(max_examples=60, deadline=None)
def test_it_does_what_cachetools_does(kind: str, weighed: bool, steps: Any) -> None:
    pairs = []
    for module in (ours, original):
        clock = Clock()
        options: dict[str, Any] = {"getsizeof": lambda value: value / 2} if weighed else {}
        pairs.append((make(module, kind, 4, clock, **options), clock))
    (a, clock_a), (b, clock_b) = pairs
    for name, key, value in steps:
        answer_a, a = step(a, clock_a, name, key, value)
        answer_b, b = step(b, clock_b, name, key, value)
        if name == "expire" and answer_a is not None:
            answer_a, answer_b = sorted(answer_a), sorted(answer_b)
        assert answer_a == answer_b, (name, key, value)
        # The keys alone: to read the values is to use them, in the order of the iteration.
        assert set(a) == set(b) and len(a) == len(b)
        assert a.currsize == b.currsize and a.maxsize == b.maxsize
    if kind == "TTLCache":
        assert list(a) == list(b)
    while len(b) and kind != "TLRUCache":
        assert a.popitem() == b.popitem()


@pytest.mark.parametrize("kind", KINDS)
def test_pickles_go_on_where_the_cache_was(kind: str) -> None:
    if kind == "TLRUCache":
        cache: Any = ours.TLRUCache(3, ttu=_later, timer=time.monotonic)
    elif kind == "TTLCache":
        cache = ours.TTLCache(3, ttl=1_000)
    elif kind == "RRCache":
        cache = ours.RRCache(3, choice=max)
    else:
        cache = make(ours, kind, 3)
    cache.update({1: 1, 2: 2, 3: 3})
    cache[1]
    for again in (pickle.loads(pickle.dumps(cache)), copy.copy(cache), copy.deepcopy(cache)):
        assert again == cache and type(again) is type(cache)
        assert again.popitem() == copy.copy(cache).popitem()
        again[4] = 4
        again[5] = 5
        assert len(again) == 3 and len(cache) == 3


def _later(key: Any, value: Any, now: float) -> float:
    return now + 1_000


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40))
def test_decorated_functions_count_as_cachetools_does(calls: list[tuple[int, bool]]) -> None:
    infos = []
    for module in (func, original_func):
        for name in ("fifo_cache", "lfu_cache", "lru_cache", "ttl_cache"):
            function: Any = getattr(module, name)(maxsize=3, typed=True)(lambda a: a * 2)
            for number, as_float in calls:
                assert function(float(number) if as_float else number) == number * 2
            infos.append((name, tuple(function.cache_info()), function.cache_parameters()))
    assert infos[:4] == infos[4:]


# The guarantees


@pytest.mark.thread_unsafe(reason="switches the collector off")
@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_with_its_last_reference(kind: str) -> None:
    class Value:
        pass

    gc.disable()
    try:
        cache = make(ours, kind, 10, getsizeof=lambda value: 1)
        if kind == "TLRUCache":
            cache = ours.TLRUCache(10, ttu=_later)
        cache["a"] = value = Value()
        cache["a"], "a" in cache, list(cache), cache.get("a")
        gone = weakref.ref(cache), weakref.ref(value)
        del cache, value
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", KINDS)
def test_a_cycle_through_it_is_collected(kind: str) -> None:
    class Value:
        def __init__(self, cache: Any) -> None:
            self.cache = cache

    cache = ours.TLRUCache(10, ttu=_later) if kind == "TLRUCache" else make(ours, kind, 10)
    cache["a"] = value = Value(cache)
    gone = weakref.ref(cache), weakref.ref(value)
    del cache, value
    full_collection()
    assert [reference() for reference in gone] == [None, None]


def test_what_was_removed_is_not_held_by_the_order() -> None:
    class Value:
        pass

    for cache in (ours.LFUCache[Any, Any](10), ours.TTLCache[Any, Any](10, ttl=1_000)):
        cache["kept"] = None
        for remove in (lambda: cache.pop("a"), lambda: cache.__setitem__("a", None), cache.clear):
            cache["a"] = value = Value()
            gone = weakref.ref(value)
            del value
            remove()
            assert gone() is None


def test_order_notes_do_not_pile_up() -> None:
    timed = ours.TTLCache[Any, Any](10, ttl=1_000)
    for number in range(10_000):
        timed[number % 3] = number
    counted = ours.LFUCache[Any, Any](10)
    for number in range(10_000):
        counted[number] = number
        del counted[number]
    assert deep_sizeof(timed) < 20_000 and deep_sizeof(counted) < 20_000


@pytest.mark.parametrize("kind", ["LRUCache", "FIFOCache", "Cache", "LFUCache", "RRCache"])
def test_the_bound_holds_when_an_eq_fills_the_cache(kind: str) -> None:
    cache: Any = getattr(ours, kind)(3)
    key = filling(cache)
    for number in range(12):
        cache[key()] = number
        assert len(cache) <= 3 and cache.currsize == len(cache)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_changes_its_hash_harms_nobody(kind: str) -> None:
    class Key:
        value = 1

        def __hash__(self) -> int:
            return self.value

        def __lt__(self, other: object) -> bool:
            return True

    class Last(Key):
        def __lt__(self, other: object) -> bool:
            return False

    clock = Clock()
    cache = ours.RRCache(2) if kind == "RRCache" else make(ours, kind, 2, clock)
    key = Key()
    cache[key] = 1
    key.value = 2
    for number in range(10):
        cache[f"key {number}"] = 5
        assert len(cache) <= 2
    clock.now = 100
    assert len(cache) == (0 if kind in ("TTLCache", "TLRUCache") else 2)
    assert cache.currsize == len(cache)


@pytest.mark.parametrize("kind", KINDS)
def test_a_destructor_may_use_the_cache(kind: str) -> None:
    class Value:
        def __del__(self) -> None:
            cache["from a destructor"] = None
            cache.get("a")

        def __radd__(self, now: float) -> float:
            return now + 10

        def __add__(self, now: float) -> float:
            return now + 10

    cache = make(ours, kind, 2)
    if kind == "TLRUCache":
        cache = ours.TLRUCache(2, ttu=_later)
    if kind == "RRCache":
        cache = ours.RRCache(2)
    for number in range(20):
        cache[f"{number}"] = Value()
        assert len(cache) <= 2 and cache.currsize == len(cache)
    cache.clear()
    del cache["from a destructor"]
    assert len(cache) == cache.currsize == 0


def test_an_entry_that_came_after_a_victim_is_not_taken_for_it() -> None:
    cache = ours.LFUCache[int, int](10)
    cache[1] = 1
    victim = cache._store.entries.pop(1)  # by another thread, which is yet to say so
    cache[1] = 2
    assert not cache._store.take_entry(victim)
    assert dict(cache) == {1: 2}
    assert cache.currsize == 1


@isolated(limit=60)
def test_many_threads_leave_it_whole() -> None:
    import random

    for kind in KINDS:
        cache: Any = {
            "RRCache": lambda: ours.RRCache(20, getsizeof=lambda value: 0.5),
            "TTLCache": lambda: ours.TTLCache(10, ttl=0.001),
            "TLRUCache": lambda: ours.TLRUCache(10, ttu=lambda key, value, now: now + 0.001),
        }.get(kind, lambda kind=kind: getattr(ours, kind)(10))()

        def use(seed: int, cache: Any = cache) -> None:
            chance = random.Random(seed)
            for _ in range(2_000):
                key = chance.randrange(30)
                way = chance.randrange(5)
                if way < 2:
                    cache[key] = key
                elif way == 2:
                    cache.get(key)
                elif way == 3:
                    cache.pop(key, None)
                else:
                    assert cache.setdefault(key, key) == key

        for result in outcomes(*(lambda seed=seed: use(seed) for seed in range(4))):
            assert result is None, f"{kind}: {result!r}"
        entries = list(cache._store.entries.values())
        assert sum(entry.size for entry in entries) == cache._store.total, kind
        assert cache._store.total <= cache.maxsize, kind
        cache.clear()
        assert cache._store.total == 0, kind


@pytest.mark.parametrize("size", [-1, math.nan, -math.inf, Fraction(-1, 2)], ids=str)
def test_senseless_sizes_are_refused(size: Any) -> None:
    for kind in KINDS:
        with pytest.raises(ValueError, match="maxsize"):
            make(ours, kind, size)
        cache = make(ours, kind, 10, getsizeof=lambda value: size)
        with pytest.raises(ValueError, match="non-negative"):
            cache["a"] = 1
        assert len(cache) == cache.currsize == 0


def test_sizes_may_be_any_numbers() -> None:
    sizes: list[tuple[Any, Any]] = [(0.5, 2.25), (Fraction(1, 3), Fraction(4, 3)), (1, math.inf)]
    for size, maxsize in sizes:
        cache: Any = ours.LRUCache(maxsize, getsizeof=functools.partial(lambda size, _: size, size))
        for number in range(20):
            cache[number] = number
        assert len(cache) == (20 if maxsize == math.inf else 4)
        assert cache.currsize == len(cache) * size and cache.maxsize == maxsize


def test_a_getsizeof_that_raises_changes_nothing() -> None:
    def getsizeof(value: Any) -> int:
        if value == "bad":
            raise Boom("size")
        return 1

    for kind in KINDS[:5]:
        cache = make(ours, kind, 2, getsizeof=getsizeof)
        cache[1] = cache[2] = "good"
        for key in (1, 3):
            with pytest.raises(Boom):
                cache[key] = "bad"
        assert dict(cache) == {1: "good", 2: "good"} and cache.currsize == 2


def test_an_iteration_that_inserts_ends() -> None:
    cache = ours.TTLCache[int, int](100, ttl=10)
    cache[0] = 0
    for key in cache:
        cache[key + 1] = 0
    assert sorted(cache) == [0, 1]
    plain = ours.LRUCache[int, int](100)
    plain[0] = 0
    with pytest.raises(RuntimeError):
        for key in plain:
            plain[key + 1] = 0


def test_evictions_go_through_popitem() -> None:
    for kind in KINDS[:5]:
        gone: list[Any] = []

        class Telling(getattr(ours, kind)):  # type: ignore[misc]
            def popitem(self, gone: list[Any] = gone) -> Any:
                item = super().popitem()
                gone.append(item)
                return item

        cache = Telling(2)
        for number in range(5):
            cache[number] = str(number)
        assert len(gone) == 3 and {*gone, *cache.items()} == {(n, str(n)) for n in range(5)}


# Decorators


@pytest.mark.thread_unsafe(reason="switches the collector off")
def test_a_cached_method_lets_its_instance_go() -> None:
    class Report:
        def __init__(self) -> None:
            self.cache = ours.LRUCache[Any, Any](10)

        @ours.cachedmethod(lambda self: self.cache, info=True)
        def double(self, number: int) -> int:
            return 2 * number

    gc.disable()
    try:
        report = Report()
        assert [report.double(2), report.double(2)] == [4, 4]
        assert report.double.cache_info().hits == 1
        gone = weakref.ref(report)
        bound = report.double
        del report
        assert bound(2) == 4  # which the method keeps as any bound method does
        del bound
        assert gone() is None
    finally:
        gc.enable()


def test_nothing_of_a_failure_is_kept() -> None:
    class Local:
        pass

    held: list[Any] = []

    def fail(number: int) -> None:
        local = Local()
        held.append(weakref.ref(local))
        raise Boom("always")

    for decorate in (
        ours.cached(ours.LRUCache(10)),
        ours.cached(ours.LRUCache(10), lock=threading.Lock()),
        ours.cached(ours.LRUCache(10), condition=threading.Condition()),
        func.lru_cache,
        func.ttl_cache,
    ):
        function: Any = decorate(fail)
        for _ in range(2):
            with pytest.raises(Boom) as caught:
                function(1)
            assert caught.value.__context__ is None
            del caught
        full_collection()
        assert [reference() for reference in held] == [None, None]
        held.clear()


@isolated()
def test_a_function_may_ask_for_the_key_that_it_computes() -> None:
    @ours.cached(ours.LRUCache(10), condition=threading.Condition())
    def deep(number: int, level: list[int]) -> int:
        level.append(1)
        return deep(number, level) if len(level) < 5 else number

    deep.cache_key = lambda number, level: (number,)
    assert deep(7, []) == 7

    @func.lru_cache
    def factorial(number: int) -> int:
        return int(number * factorial(number - 1)) if number else 1

    assert factorial(50) == math.factorial(50)


@isolated()
def test_functions_that_wait_for_each_other_come_to_an_end() -> None:
    barrier = threading.Barrier(2)

    @func.lru_cache
    def one(first: bool) -> int:
        if first:
            barrier.wait()
        return int(other(False)) + 1 if first else 1

    @func.lru_cache
    def other(first: bool) -> int:
        if first:
            barrier.wait()
        return int(one(True)) + 1 if first else 1

    # Each thread computes what the other asks for.
    @func.lru_cache
    def cross(number: int) -> int:
        if number in (1, 2) and threading.current_thread().name == f"asks {number}":
            barrier.wait()
            return int(cross(3 - number)) + 1
        return 10

    results: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(cross(n)), name=f"asks {n}")
        for n in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(results) == 2, "they still wait"


def test_a_result_too_large_is_returned() -> None:
    function: Any = ours.cached(ours.LRUCache(3, getsizeof=len))(lambda size: "x" * size)
    assert function(5) == "xxxxx" and function(2) == "xx"
    assert list(function.cache.values()) == ["xx"]


def test_two_functions_of_one_decorator_have_caches_of_their_own() -> None:
    decorator = func.lru_cache(10)
    one, other = decorator(lambda number: "one"), decorator(lambda number: "other")
    assert (one(1), other(1)) == ("one", "other")


def test_the_package_does_not_import_it() -> None:
    script = "import sys, leaksafe; print([m for m in sys.modules if 'compat' in m])"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert answer.stdout.strip() == b"[]"


def test_it_has_all_names() -> None:
    assert set(original.__all__) == set(ours.__all__)
    assert set(original_func.__all__) == set(func.__all__)
    assert set(original_keys.__all__) == set(ours.keys.__all__)
