"""What the tools see of a cache: `gc`, `sys.getsizeof`, `tracemalloc`."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from leaksafe import LRUCache, _core

Cache = LRUCache[Any, Any]


class Plain:
    """An object that could be part of a cycle."""


def function(*arguments: Any) -> int:
    return 1


# sys.getsizeof


def test_getsizeof_grows_with_the_table() -> None:
    cache: Cache = LRUCache(None)
    sizes = [sys.getsizeof(cache)]
    for power in (4, 8, 12, 16):
        cache.update(dict.fromkeys(range(2**power)))
        sizes.append(sys.getsizeof(cache))
        assert 2**power * 16 < sizes[-1] < 2**power * 200 + 1_000
    assert sizes == sorted(set(sizes))


def test_getsizeof_is_of_its_own_table_alone() -> None:
    light: Cache = LRUCache(None)
    heavy: Cache = LRUCache(None)
    for number in range(1_000):
        light[number] = None
        heavy[str(number) * 50] = bytes(1_000)
    assert sys.getsizeof(light) == sys.getsizeof(heavy)


def test_getsizeof_follows_use_and_not_the_bound() -> None:
    assert sys.getsizeof(LRUCache(2**40)) == sys.getsizeof(LRUCache(1))
    bounded: Cache = LRUCache(100)
    bounded.update(dict.fromkeys(range(100)))
    full = sys.getsizeof(bounded)
    bounded.update(dict.fromkeys(range(100_000)))
    assert sys.getsizeof(bounded) < 2 * full


def test_getsizeof_of_an_emptied_cache() -> None:
    cache: Cache = LRUCache(None)
    empty = sys.getsizeof(cache)
    cache.update(dict.fromkeys(range(10_000)))
    cache.clear()
    assert sys.getsizeof(cache) == empty
    cache.update(dict.fromkeys(range(10_000)))
    cache.close()
    assert sys.getsizeof(cache) <= empty


def test_getsizeof_agrees_with_the_method() -> None:
    cache: Cache = LRUCache(3)
    cache["a"] = 1
    assert 0 <= sys.getsizeof(cache) - cache.__sizeof__() <= 32
    assert sys.getsizeof(LRUCache.__new__(LRUCache)) > 0


# tracemalloc


@pytest.fixture
def traced() -> Any:
    """Traces during the test; a function that tells how much our domain holds."""
    tracemalloc.start()

    def in_our_domain() -> int:
        snapshot = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.DomainFilter(inclusive=True, domain=_core.TRACEMALLOC_DOMAIN)]
        )
        return sum(trace.size for trace in snapshot.traces)

    yield in_our_domain
    tracemalloc.stop()


def test_tracemalloc_sees_the_table(traced: Callable[[], int]) -> None:
    assert _core.TRACEMALLOC_DOMAIN != 0
    before = traced()
    cache: Cache = LRUCache(None)
    empty = sys.getsizeof(cache)
    for power in (8, 12, 16):
        cache.update(dict.fromkeys(range(2**power)))
        table = sys.getsizeof(cache) - empty
        assert 0.9 * table <= traced() - before <= 1.1 * table + 1_000
    cache.clear()
    assert traced() == before
    cache.update(dict.fromkeys(range(5_000)))
    assert traced() > before
    del cache
    gc.collect()
    assert traced() == before


def test_tracemalloc_names_the_line_that_made_it_grow(traced: Callable[[], int]) -> None:
    cache: Cache = LRUCache(None)
    cache.update(dict.fromkeys(range(50_000)))
    snapshot = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.DomainFilter(inclusive=True, domain=_core.TRACEMALLOC_DOMAIN)]
    )
    (largest, *_) = snapshot.statistics("filename")
    assert largest.traceback[0].filename == __file__


def test_tracemalloc_started_late_or_stopped_early() -> None:
    cache: Cache = LRUCache(None)
    cache.update(dict.fromkeys(range(1_000)))
    tracemalloc.start()
    cache.update(dict.fromkeys(range(100_000)))
    tracemalloc.stop()
    cache.clear()
    cache.update(dict.fromkeys(range(1_000)))
    tracemalloc.start()
    del cache
    gc.collect()
    tracemalloc.stop()


# gc.get_referents


def referents(thing: object) -> set[int]:
    return {id(referent) for referent in gc.get_referents(thing)}


def test_get_referents_lists_all_that_is_held() -> None:
    held: list[Any] = [Plain(), Plain(), "text" * 2, 12_345.5, ("t",), 10**20, b"bytes" * 2, [1]]
    cache: Cache = LRUCache(10, function, on_remove=function)
    for number, thing in enumerate(held):
        cache[number + 10**10] = thing
    cache[held[0]] = None
    seen = referents(cache)
    assert {id(thing) for thing in held} <= seen
    assert {id(key) for key in cache} <= seen
    assert id(function) in seen


def test_get_referents_lists_what_is_atomic_too() -> None:
    cache: Cache = LRUCache(None)
    for number in range(100):
        cache[str(number)] = number + 10**10
    seen = referents(cache)
    assert {id(key) for key in cache} | {id(value) for value in cache.values()} <= seen


def test_get_referents_lists_each_callable() -> None:
    def getsizeof(value: object) -> int:
        return 1

    def on_remove(*event: object) -> None:
        pass

    cache: Cache = LRUCache(10, getsizeof, on_remove=on_remove)
    assert {id(getsizeof), id(on_remove)} <= referents(cache)
    cache.close()
    assert not {id(getsizeof), id(on_remove)} & referents(cache)


def test_get_referents_lists_no_more_than_is_held() -> None:
    cache: Cache = LRUCache(2)
    values = [Plain() for _ in range(5)]
    for number, value in enumerate(values):
        cache[number] = value
    seen = referents(cache)
    assert [id(value) in seen for value in values] == [False, False, False, True, True]
    cache.clear()
    assert not {id(value) for value in values} & referents(cache)


def test_get_referrers_finds_the_cache() -> None:
    cache: Cache = LRUCache(2)
    value = Plain()
    cache["a"] = value
    assert any(referrer is cache for referrer in gc.get_referrers(value))


def test_views_and_iterators_name_the_cache() -> None:
    cache: Cache = LRUCache(2)
    cache["a"] = Plain()
    for holder in (
        cache.keys(),
        cache.values(),
        cache.items(),
        iter(cache),
        iter(cache.items()),
        reversed(cache),
    ):
        assert gc.is_tracked(holder)
        assert id(cache) in referents(holder)


# gc.is_tracked

ATOMIC = [
    1,
    10**30,
    "text",
    b"bytes",
    1.5,
    True,
    None,
    2j,
    (),
    (1, "a"),
    (None, 2.5, b"x"),
    range(3),
    bytearray(b"x"),
    NotImplemented,
    ...,
]
COMPOUND = [
    [],
    {},
    set(),
    frozenset([1]),
    Plain(),
    Plain,
    function,
    [].append,
    ([],),
    (1, (2, [])),
    LRUCache(1),
    types.SimpleNamespace(),
    iter([1]),
]
IDS: Callable[[object], str] = lambda thing: type(thing).__name__  # noqa: E731

INSERTIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "setitem": lambda cache, key, value: cache.__setitem__(key, value),
    "setdefault": lambda cache, key, value: cache.setdefault(key, value),
    "update": lambda cache, key, value: cache.update([(key, value)]),
    "ior": lambda cache, key, value: cache.__ior__([(key, value)]),
    "get_or_create": lambda cache, key, value: cache.get_or_create(key, lambda: value),
}
every_insertion = pytest.mark.parametrize("insert", INSERTIONS.values(), ids=INSERTIONS.keys())
Insert = Callable[[Any, Any, Any], Any]


@pytest.mark.parametrize("thing", ATOMIC, ids=IDS)
@every_insertion
def test_a_cache_of_atomic_objects_is_not_tracked(insert: Insert, thing: object) -> None:
    cache: Cache = LRUCache(3)
    assert not gc.is_tracked(cache)
    insert(cache, "key", thing)
    if thing.__hash__ is not None:
        insert(cache, thing, 1)
    assert not gc.is_tracked(cache)
    gc.collect()
    assert not gc.is_tracked(cache)


@pytest.mark.parametrize("thing", COMPOUND, ids=IDS)
@every_insertion
def test_any_other_value_tracks_it(insert: Insert, thing: object) -> None:
    cache: Cache = LRUCache(3)
    cache["before"] = 1
    insert(cache, "key", thing)
    assert gc.is_tracked(cache)


@every_insertion
def test_any_other_key_tracks_it(insert: Insert) -> None:
    for key in (Plain(), (1, Plain()), frozenset([Plain()]), Plain, function):
        cache: Cache = LRUCache(3)
        insert(cache, key, 1)
        assert gc.is_tracked(cache)


def test_replacing_a_value_tracks_it() -> None:
    cache: Cache = LRUCache(3)
    cache["a"] = 1
    cache["a"] = []
    assert gc.is_tracked(cache)


def test_callables_track_it() -> None:
    assert gc.is_tracked(LRUCache(3, function))
    assert gc.is_tracked(LRUCache(3, on_remove=function))


def test_a_subclass_is_tracked() -> None:
    class Sub(LRUCache[Any, Any]):
        pass

    assert gc.is_tracked(Sub(3))


def test_copies_follow_the_same_rule() -> None:
    cache: Cache = LRUCache(3)
    cache["a"] = 1
    assert not gc.is_tracked(cache.copy())
    assert not gc.is_tracked(cache | {"b": 2})
    assert gc.is_tracked(cache | {"b": []})
    cache["b"] = []
    assert gc.is_tracked(cache.copy())


@every_insertion
def test_a_cycle_is_collected_however_it_came_about(insert: Insert) -> None:
    for as_key in (False, True):
        cache: Cache = LRUCache(3)
        cache["atomic"] = 1
        gc.collect()
        node = Plain()
        node.cache = cache  # type: ignore[attr-defined]
        if as_key:
            insert(cache, node, 1)
        else:
            insert(cache, "node", node)
        reference = weakref.ref(cache)
        del cache, node
        gc.collect()
        assert reference() is None
