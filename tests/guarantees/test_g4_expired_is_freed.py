"""G4: what has expired is released even if nobody touches the cache again."""

from __future__ import annotations

import copy
import gc
import math
import os
import sys
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from isolated import isolated
from leaksafe import Registry, TTLCache, sweeper, ttl_cache
from leaksafe.compat import cachetools
from leaksafe.compat.cachetools import func as cachetools_func


class Value:
    """Something that can be watched."""


# Forking beside a thread is what these cases are about.
warnings.simplefilter("ignore", DeprecationWarning)


def soon(condition: Callable[[], bool]) -> bool:
    """Waits, within the time limit of the case, until something is so."""
    while not condition():
        time.sleep(0.005)
    return True


@isolated()
def test_untouched_values_are_freed() -> None:
    cache = TTLCache[int, Value](None, 0.1)
    alive = weakref.WeakSet[Value]()
    for number in range(10_000):
        value = cache[number] = Value()
        alive.add(value)
    del value
    assert soon(lambda: not alive)
    assert sys.getsizeof(cache) < 10_000, "the table is given back too"


@isolated()
def test_untouched_results_of_a_function_are_freed() -> None:
    alive = weakref.WeakSet[Value]()

    @ttl_cache(maxsize=None, ttl=0.1)
    def make(number: int) -> Value:
        value = Value()
        alive.add(value)
        return value

    class Shop:
        @ttl_cache(ttl=0.1)
        def make(self, number: int) -> Value:
            return make(-number)

    shop = Shop()
    for number in range(1, 5_000):
        make(number)
        shop.make(number)
    assert soon(lambda: not alive)
    assert sys.getsizeof(make) < 10_000, "the table is given back too"
    assert Shop.make.cache_info().currsize == 0
    before = make.cache_info().misses
    make(1)
    assert make.cache_info().misses == before + 1


@isolated()
def test_a_full_function_is_swept_too() -> None:
    alive = weakref.WeakSet[Value]()

    @ttl_cache(maxsize=10, ttl=0.1)
    def make(number: int) -> Value:
        value = Value()
        alive.add(value)
        return value

    for _ in range(3):
        for number in range(1_000):
            make(number)
            assert len(alive) <= 11
        assert soon(lambda: not alive)


@isolated()
def test_a_function_dropped_while_it_is_swept() -> None:
    for _ in range(30):
        function = ttl_cache(maxsize=None, ttl=0.01)(lambda number: Value())
        for number in range(3_000):
            function(number)
        reference = weakref.ref(function)
        time.sleep(0.01)
        del function
        assert soon(lambda: reference() is None)
    gc.collect()
    assert not [value for value in gc.get_objects() if type(value) is Value]
    assert soon(lambda: not sweeper.state().running)


def _in_a_moment(key: object, value: object, now: float) -> float:
    return now + 0.1


STAND_INS: dict[str, Callable[[], Any]] = {
    "TTLCache": lambda: cachetools.TTLCache(math.inf, 0.1),
    "TLRUCache": lambda: cachetools.TLRUCache(math.inf, _in_a_moment),
}


@pytest.mark.parametrize("kind", STAND_INS)
@isolated()
def test_the_stand_ins_for_cachetools_are_swept_too(kind: str) -> None:
    cache = STAND_INS[kind]()
    copies = [copy.copy(cache), cache]
    alive = weakref.WeakSet[Value]()
    for round_ in range(2):
        for one in copies:
            for number in range(2_000):
                value = one[round_, number] = Value()
                alive.add(value)
        del value
        assert soon(lambda: not alive)
    copies.clear()
    reference = weakref.ref(cache)
    del cache, one
    assert reference() is None
    assert soon(lambda: not sweeper.state().running)


@isolated()
def test_an_untouched_function_of_the_stand_in_is_swept_too() -> None:
    alive = weakref.WeakSet[Value]()

    def make(number: int) -> Value:
        value = Value()
        alive.add(value)
        return value

    remembered = cachetools_func.ttl_cache(maxsize=None, ttl=0.1)(make)
    for number in range(2_000):
        remembered(number)
    assert soon(lambda: not alive)


@isolated()
def test_the_stand_in_keeps_what_an_iteration_is_at() -> None:
    cache = cachetools.TTLCache[int, Value](10, 0.05)
    for number in range(3):
        cache[number] = Value()
    alive = weakref.WeakSet(cache.values())
    for number in cache:
        time.sleep(0.2)
        assert cache[number] in alive
    assert soon(lambda: not alive)


@isolated()
def test_a_child_finds_a_stand_in_whole_that_was_being_swept() -> None:
    for _ in range(20):
        cache = cachetools.TTLCache[int, Value](math.inf, 0.005)
        for number in range(1_000):
            cache[number] = Value()
        time.sleep(0.004)
        child = os.fork()
        if not child:
            value = cache[1] = Value()
            reference = weakref.ref(value)
            del value
            assert soon(lambda: reference() is None)
            os._exit(0 if len(cache) == cache.currsize == 0 else 1)
        assert os.waitpid(child, 0)[1] == 0


@isolated()
def test_each_in_its_time() -> None:
    gone: list[str] = []
    cache = TTLCache[str, int](
        10, 60, on_remove=lambda key, value, cause: gone.append(f"{key} {cause}")
    )
    cache.set("first", 1, ttl=0.1)
    cache.set("third", 3, ttl=0.4)  # whatever it takes to get here, later than the first
    cache.set("second", 2, ttl=0.2)
    cache.set("never", 4, ttl=math.inf)
    assert soon(lambda: len(gone) == 3)
    assert gone == ["first expired", "second expired", "third expired"]
    assert list(cache) == ["never"]


@isolated()
def test_a_shorter_life_than_the_others_is_seen() -> None:
    cache = TTLCache[str, Value](10, 3600)
    cache["long"] = Value()
    soon(lambda: sweeper.state().passes > 0)
    value = cache["touched"] = Value()
    reference = weakref.ref(value)
    del value
    assert cache.touch("touched", 0.05)
    assert soon(lambda: reference() is None)
    assert "long" in cache


@isolated()
def test_copies_are_swept_too() -> None:
    cache = TTLCache[str, Value](10, 0.1)
    value = Value()
    reference = weakref.ref(value)
    cache["a"] = value
    del value
    twin = cache.copy()
    assert soon(lambda: reference() is None)
    assert not twin


@isolated()
def test_on_remove_and_destructors_in_the_sweeper_may_use_the_cache() -> None:
    log: list[object] = []

    class Restless:
        def __del__(self) -> None:
            cache[f"again {len(cache)}"] = 1
            log.append(cache.expire())

    cache: TTLCache[str, object] = TTLCache(
        10, 0.05, on_remove=lambda key, value, cause: log.append(len(cache))
    )
    for number in range(5):
        cache[str(number)] = Restless()
    assert soon(lambda: len(log) >= 15)
    assert soon(lambda: not cache)


@isolated()
def test_a_cache_dropped_while_it_is_swept() -> None:
    for _ in range(30):
        cache = TTLCache[int, Value](None, 0.01)
        cache.update((number, Value()) for number in range(3_000))
        reference = weakref.ref(cache)
        time.sleep(0.01)
        del cache
        assert soon(lambda: reference() is None)
    gc.collect()
    assert not [value for value in gc.get_objects() if type(value) is Value]


@isolated()
def test_a_callback_that_raises_stops_nothing() -> None:
    seen: list[object] = []
    sys.unraisablehook = lambda unraisable: seen.append(unraisable.exc_value)

    def fail(*_: object) -> None:
        raise RuntimeError("no")

    cache = TTLCache[int, int](None, 0.05, on_remove=fail)
    cache.update((number, number) for number in range(5))
    assert soon(lambda: len(seen) == 5)
    assert not cache


@isolated()
def test_a_paused_sweeper_frees_nothing_until_it_is_asked() -> None:
    sweeper.pause()
    cache = TTLCache[str, Value](10, 0.05)
    value = cache["a"] = Value()
    reference = weakref.ref(value)
    del value
    time.sleep(0.2)
    assert reference() is not None
    assert sweeper.run_once() == 1
    assert reference() is None
    value = cache["b"] = Value()
    reference = weakref.ref(value)
    del value
    sweeper.resume()
    assert soon(lambda: reference() is None)


@isolated()
def test_a_cache_with_a_timer_is_swept_by_operations_only() -> None:
    asked: list[int] = []

    def timer() -> float:
        asked.append(1)
        return time.monotonic()

    cache = TTLCache[str, int](10, 0.02, timer)
    cache["a"] = 1
    assert sweeper.state() == (False, False, 0, 0)
    time.sleep(0.1)
    assert len(asked) == 1
    assert cache.expire() == 1


@isolated()
def test_a_forked_child_frees_what_expires() -> None:
    cache = TTLCache[str, Value](10, 0.2)
    value = cache["a"] = Value()
    reference = weakref.ref(value)
    del value
    child = os.fork()
    if child == 0:
        soon(lambda: reference() is None)
        os._exit(0 if sweeper.state().running else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert soon(lambda: reference() is None)


@isolated()
def test_fork_while_it_sweeps() -> None:
    cache = TTLCache[int, list[int]](None, 0.01)
    for _ in range(20):
        cache.update((number, [number]) for number in range(5_000))
        child = os.fork()
        if child == 0:
            soon(lambda: not cache)
            cache[1] = [1]
            soon(lambda: sys.getsizeof(cache) < 5_000)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


@isolated()
def test_untouched_instances_are_closed_and_freed() -> None:
    closed: list[int] = []

    class Closable(Value):
        def close(self) -> None:
            closed.append(1)

    registry = Registry[int, Value](None, ttl=0.1)
    alive = weakref.WeakSet[Value]()
    for number in range(10_000):
        alive.add(registry.get_or_create(number, Closable))
    assert soon(lambda: not alive)
    assert len(closed) == 10_000
    assert sys.getsizeof(registry) < 10_000, "the table is given back too"


@isolated()
def test_a_registry_that_goes_takes_the_sweeper_along() -> None:
    registry = Registry[int, Value](None, ttl=60)
    registry.get_or_create(1, Value)
    assert sweeper.state().caches == 1
    del registry
    assert soon(lambda: sweeper.state()[:3] == (False, False, 0))
