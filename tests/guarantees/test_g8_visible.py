"""G8: gc, sys.getsizeof, objgraph and their like, and tracemalloc see what we hold and weigh.

objgraph, pympler's muppy and guppy walk what gc.get_referents and gc.get_referrers tell, and add
up sys.getsizeof: these are what is tested.
"""

from __future__ import annotations

import copy
import datetime as dt
import gc
import pickle
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from isolated import FREE_THREADED, isolated, resident
from leaksafe import LRUCache, Registry, _core, lru_cache

Cache = LRUCache[Any, Any]


class Thing:
    pass


def identities(objects: Any) -> set[int]:
    return {id(one) for one in objects}


def test_referents() -> None:
    def getsizeof(value: object) -> int:
        return 1

    def on_remove(key: object, value: object, cause: str) -> None:
        pass

    keys = [Thing(), ("key", 1), "text", 10**20]
    values = [Thing(), [1], "value", 2.5]
    cache: Cache = LRUCache(10, getsizeof, on_remove=on_remove)
    cache.update(zip(keys, values, strict=True))
    referents = identities(gc.get_referents(cache))
    assert identities([*keys, *values, getsizeof, on_remove]) <= referents
    # and once each: a collector counts references
    counted = [id(one) for one in gc.get_referents(cache)]
    for one in (*keys, *values, getsizeof, on_remove):
        assert counted.count(id(one)) == 1
    cache.clear()
    assert not identities([*keys, *values]) & identities(gc.get_referents(cache))
    cache.close()
    assert not identities([getsizeof, on_remove]) & identities(gc.get_referents(cache))


def test_referents_of_an_untracked_cache() -> None:
    """Numbers and text cost a collection nothing, and are shown to who asks."""
    cache: Cache = LRUCache(10)
    key, value = "a key", 10**20
    cache[key] = value
    assert not gc.is_tracked(cache)
    assert identities([key, value]) <= identities(gc.get_referents(cache))


def test_referents_one_held_twice_is_told_twice() -> None:
    thing = Thing()
    cache: Cache = LRUCache(10)
    for number in range(5):
        cache[number] = thing
    assert [one for one in gc.get_referents(cache) if one is thing] == [thing] * 5


def test_referents_of_a_subclass_instance() -> None:
    class Sub(LRUCache[Any, Any]):
        attribute: Thing

    cache = Sub(4)
    cache.attribute = thing = Thing()
    seen = gc.get_referents(cache)
    seen += [inner for one in seen if isinstance(one, dict) for inner in gc.get_referents(one)]
    assert id(thing) in identities(seen)
    assert id(Sub) in identities(seen)


def test_referrers() -> None:
    """The question "who holds this?", as objgraph asks it."""
    thing = Thing()
    cache: Cache = LRUCache(10)
    cache["x"] = thing
    assert any(one is cache for one in gc.get_referrers(thing))
    assert any(one is cache for one in gc.get_objects())
    walk, view = iter(cache), cache.items()
    referrers = gc.get_referrers(cache)
    assert any(one is walk for one in referrers)
    assert any(one is view for one in referrers)
    del cache["x"]
    assert not any(one is cache for one in gc.get_referrers(thing))


ATOMIC: list[Any] = [
    1,
    10**30,
    True,
    None,
    ...,
    1.5,
    2j,
    "text",
    b"bytes",
    (),
    (1, "a"),
    (1, (2.5, (None, b"x"))),
    object(),
    range(5),
    dt.date(2000, 1, 1),
]
OTHERS: list[Any] = [
    [],
    {},
    set(),
    frozenset(),
    Thing(),
    ([],),
    (1, (2, [3])),
    (1, (2, Thing())),
    lambda: None,
    Thing,
    type("Text", (str,), {})("text"),
    type("Items", (tuple,), {})((1, 2)),
    sys,
    iter([]),
]
PLACES: dict[str, Callable[[Cache, Any], object]] = {
    "set": lambda c, v: c.__setitem__("x", v),
    "replace": lambda c, v: c.__setitem__(1, v),
    "setdefault": lambda c, v: c.setdefault("x", v),
    "update": lambda c, v: c.update(x=v),
    "update pairs": lambda c, v: c.update([("x", v)]),
    "|=": lambda c, v: c.__ior__({"x": v}),
    "get_or_create": lambda c, v: c.get_or_create("x", lambda: v),
}


@pytest.mark.parametrize("place", PLACES)
def test_tracked_when_it_must_be(place: str) -> None:
    for value in ATOMIC:
        cache: Cache = LRUCache(10)
        cache[1] = 1
        PLACES[place](cache, value)
        assert value is cache.peek("x") or value is cache.peek(1)
        # what the collector doesn't track itself, or a tuple that it may come to leave alone
        assert not gc.is_tracked(value) or isinstance(value, tuple)
        assert not gc.is_tracked(cache), f"tracked for {value!r}"
        gc.collect()
        assert not gc.is_tracked(cache)
    for value in OTHERS:
        cache = LRUCache(10)
        cache[1] = 1
        assert not gc.is_tracked(cache)
        PLACES[place](cache, value)
        assert gc.is_tracked(cache), f"not tracked for {value!r}"


def test_tracked_for_a_key() -> None:
    for key in ATOMIC:
        cache: Cache = LRUCache(10)
        cache[key] = 1
        assert not gc.is_tracked(cache)
    for key in (Thing(), (1, Thing()), frozenset(), Thing, type("Text", (str,), {})("text")):
        cache = LRUCache(10)
        cache[key] = 1
        assert gc.is_tracked(cache), f"not tracked for {key!r}"


def test_tracked_for_its_callables_its_class_and_its_users() -> None:
    class Sub(LRUCache[Any, Any]):
        pass

    assert not gc.is_tracked(LRUCache(3))
    assert gc.is_tracked(LRUCache(3, lambda value: 1))
    assert gc.is_tracked(LRUCache(3, on_remove=print))
    assert gc.is_tracked(Sub(3))
    cache: Cache = LRUCache(3)
    assert gc.is_tracked(iter(cache)) and gc.is_tracked(cache.keys())


COPIES: list[Callable[[Cache], Cache]] = [
    lambda c: c.copy(),
    copy.copy,
    copy.deepcopy,
    lambda c: pickle.loads(pickle.dumps(c)),
]


def test_tracked_for_a_copy() -> None:
    cache: Cache = LRUCache(3)
    cache[1] = 2
    for make in COPIES:
        assert not gc.is_tracked(make(cache))
    cache[2] = [1]
    for make in COPIES:
        assert gc.is_tracked(make(cache))
    assert gc.is_tracked(LRUCache[Any, Any](3) | {1: []})


# What a structure that was read has for its threads at most.
SEATS = 8_192 if FREE_THREADED else 0


@isolated(malloc="default")
def test_getsizeof_is_the_resident_table() -> None:
    """Within a quarter of what the process really grew by, for a big cache."""
    numbers = list(range(1_000_000))
    LRUCache[Any, Any](None).update(zip(numbers, numbers, strict=True))
    gc.collect()
    before = resident()
    cache: Cache = LRUCache(None)
    empty = sys.getsizeof(cache)
    assert empty < SEATS + 1_000
    for number in numbers:
        cache[number] = number
    grown, told = resident() - before, sys.getsizeof(cache)
    if before:
        # warm memory may have been used again: the growth is a lower bound for what it weighs
        assert told > 0.75 * grown, f"{told} told, {grown} grown"
    assert 16 * len(numbers) < told < 100 * len(numbers)


def test_getsizeof_grows_with_the_table_alone() -> None:
    small: Cache = LRUCache(None)
    heavy: Cache = LRUCache(None)
    for number in range(100):
        small[number] = ""
        heavy[number] = "x" * 10_000
    assert abs(sys.getsizeof(small) - sys.getsizeof(heavy)) <= SEATS
    sizes = []
    cache: Cache = LRUCache(None)
    for number in range(10_000):
        cache[number] = number
        sizes.append(sys.getsizeof(cache))
    assert sizes == sorted(sizes) and sizes[-1] > 10 * (sizes[0] - SEATS)
    assert cache.__sizeof__() <= sys.getsizeof(cache)
    cache.close()
    assert sys.getsizeof(cache) < SEATS + 1_000


def test_a_decorated_function() -> None:
    """The wrapper shows what it wraps and holds; an instance, the results that it owns."""

    class Class:
        @lru_cache(maxsize=None)
        def method(self, x: int) -> Thing:
            return Thing()

        @lru_cache(maxsize=None)
        def number(self, x: int) -> int:
            return x

    argument, result = Thing(), Thing()

    @lru_cache(maxsize=None)
    def function(x: object) -> Thing:
        return result

    function(argument)
    assert identities([argument, result, function.__wrapped__]) <= identities(
        gc.get_referents(function)
    )
    assert any(one is function for one in gc.get_referrers(result))
    instance = Class()
    found = instance.method(1)
    # "who holds this?": what the instance's attributes hold, and not the wrapper
    (owned,) = vars(instance).values()
    assert any(one is owned for one in gc.get_referrers(found))
    assert not any(one is Class.method for one in gc.get_referrers(found))
    assert not any(one is instance for one in gc.get_referents(Class.method))
    before = [sys.getsizeof(one) for one in (function, Class.method, Class.number, owned)]
    assert max(before) < SEATS + 2_000
    for number in range(1_000):
        function(number), instance.method(number), instance.number(number)
    after = [sys.getsizeof(one) for one in (function, Class.method, Class.number, owned)]
    assert all(20_000 < size < 200_000 for size in after), after
    # those of methods know besides which entries go with which instance
    assert min(after[1:3]) > after[0]
    assert len(owned) == 1_000
    del instance, owned
    others = [Class() for _ in range(1_000)]
    few = sys.getsizeof(Class.number)
    for other in others:
        other.number(1)
    assert sys.getsizeof(Class.number) > few + 50_000


def told(domain: int) -> int:
    snapshot = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.DomainFilter(inclusive=True, domain=domain)]
    )
    return sum(trace.size for trace in snapshot.traces)


@isolated(malloc="default")
def test_tracemalloc() -> None:
    domain = _core.TRACEMALLOC_DOMAIN
    assert domain != 0
    early: Cache = LRUCache(None)
    for number in range(1_000):
        early[number] = number
    tracemalloc.start(5)
    assert told(domain) == 0
    cache: Cache = LRUCache(None)
    for number in range(100_000):
        cache[number] = number
    size = told(domain)
    own = sys.getsizeof(cache) - sys.getsizeof(LRUCache(None))
    assert 0.9 * own <= size <= 1.1 * own, f"{size} told to tracemalloc, {own} by getsizeof"
    snapshot = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.DomainFilter(inclusive=True, domain=domain)]
    )
    # it is this line that made it grow
    assert any(frame.filename == __file__ for trace in snapshot.traces for frame in trace.traceback)
    cache.clear()
    assert told(domain) < size / 10
    for number in range(10_000):
        cache[number] = number
    assert told(domain) > 0
    copied = cache.copy()
    assert told(domain) > 1.5 * (sys.getsizeof(cache) - 1_000)
    copied.close()
    del cache
    # what was made before tracing started may grow, shrink and go
    for number in range(50_000):
        early[number] = number
    early.close()
    del early
    assert told(domain) == 0
    tracemalloc.stop()
    last: Cache = LRUCache(None)
    for number in range(1_000):
        last[number] = number
    tracemalloc.start()
    del last
    assert told(domain) == 0


@isolated(malloc="default")
def test_tracemalloc_of_a_decorated_function() -> None:
    domain = _core.TRACEMALLOC_DOMAIN
    tracemalloc.start(5)

    @lru_cache(maxsize=None)
    def function(x: int) -> int:
        return x

    empty = sys.getsizeof(function)
    for number in range(100_000):
        function(number)
    size, own = told(domain), sys.getsizeof(function) - empty
    assert 0.9 * own <= size <= 1.1 * own, f"{size} told to tracemalloc, {own} by getsizeof"
    function.cache_clear()
    assert told(domain) < size / 10
    function(1)
    del function
    gc.collect()
    assert told(domain) == 0


def test_stats_show_what_it_holds() -> None:
    cache: Cache = LRUCache(10, lambda value: int(value))
    cache.update(a=1, b=2, c=8)
    cache.get("b")
    cache.get("x")
    del cache["b"]
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.currsize, stats.maxsize) == (1, 1, 8, 10)
    assert stats.insertions == 3
    assert stats.removals.size == 1 and stats.removals.explicit == 1
    assert stats.hit_ratio == 0.5


def test_referents_and_size_of_a_registry() -> None:
    registry: Registry[Any, Any] = Registry(None)
    empty = sys.getsizeof(registry)
    things = [Thing() for _ in range(6)]
    registry.get_or_create(things[0], lambda: things[1])
    use = registry.use("used", lambda: things[2])
    use.__enter__()
    registry.clear()
    registry.get_or_create(things[0], lambda: things[1])
    override = registry.override(things[3], things[4])
    override.__enter__()
    counted = [id(one) for one in gc.get_referents(registry)]
    assert [counted.count(id(one)) for one in things] == [1, 1, 1, 1, 1, 0]
    assert gc.is_tracked(registry)
    for number in range(1_000):
        registry.get_or_create(number, list)
    assert sys.getsizeof(registry) > empty + 1_000 * 40
    use.__exit__(None, None, None)
    override.__exit__(None, None, None)
    registry.close()
    assert not identities(things) & identities(gc.get_referents(registry))


@isolated(malloc="default")
def test_tracemalloc_knows_a_registrys_table() -> None:
    def traced() -> int:
        snapshot = tracemalloc.take_snapshot()
        domain = tracemalloc.DomainFilter(True, _core.TRACEMALLOC_DOMAIN)
        return sum(trace.size for trace in snapshot.filter_traces([domain]).traces)

    tracemalloc.start()
    registry: Registry[int, int] = Registry(None)
    for number in range(1_000):
        registry.get_or_create(number, int)
    assert traced() > 40_000
    registry.clear()
    assert traced() == 0
    for number in range(1_000):
        registry.get_or_create(number, int)
    del registry
    assert traced() == 0
