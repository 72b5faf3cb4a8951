"""Views of an LRUCache, and iteration over it."""

from __future__ import annotations

import gc
import operator
import weakref
from collections.abc import Callable, ItemsView, Iterator, KeysView, MappingView, ValuesView
from collections.abc import Set as AbstractSet
from typing import Any

import pytest

from harness import BadEq, Boom, in_threads
from leaksafe import LRUCache


def filled(maxsize: int | None = None) -> LRUCache[str, int]:
    cache = LRUCache[str, int](maxsize)
    cache.update(a=1, b=2, c=3)
    return cache


ITERATIONS: dict[str, Callable[[Any], Any]] = {
    "cache": iter,
    "keys": lambda cache: iter(cache.keys()),
    "values": lambda cache: iter(cache.values()),
    "items": lambda cache: iter(cache.items()),
    "reversed cache": reversed,
    "reversed keys": lambda cache: reversed(cache.keys()),
    "reversed values": lambda cache: reversed(cache.values()),
    "reversed items": lambda cache: reversed(cache.items()),
}
VIEWS: dict[str, Callable[[Any], Any]] = {
    "keys": lambda cache: cache.keys(),
    "values": lambda cache: cache.values(),
    "items": lambda cache: cache.items(),
}

every_iteration = pytest.mark.parametrize("iterate", ITERATIONS.values(), ids=ITERATIONS.keys())
every_view = pytest.mark.parametrize("view_of", VIEWS.values(), ids=VIEWS.keys())

Iterate = Callable[[Any], Iterator[Any]]
ViewOf = Callable[[Any], Any]


# Views


def test_views_are_views() -> None:
    cache = filled()
    assert isinstance(cache.keys(), KeysView)
    assert isinstance(cache.keys(), AbstractSet)
    assert isinstance(cache.values(), ValuesView)
    assert isinstance(cache.items(), ItemsView)
    assert isinstance(cache.items(), AbstractSet)
    for view in (cache.keys(), cache.values(), cache.items()):
        assert isinstance(view, MappingView)


def test_views_hold_what_the_cache_holds() -> None:
    cache = filled()
    assert list(cache.keys()) == ["a", "b", "c"]
    assert list(cache.values()) == [1, 2, 3]
    assert list(cache.items()) == [("a", 1), ("b", 2), ("c", 3)]
    assert list(reversed(cache.keys())) == ["c", "b", "a"]
    assert list(reversed(cache.values())) == [3, 2, 1]
    assert list(reversed(cache.items())) == [("c", 3), ("b", 2), ("a", 1)]
    assert all(type(pair) is tuple for pair in cache.items())


@every_view
def test_views_are_live(view_of: ViewOf) -> None:
    cache = filled()
    view = view_of(cache)
    assert len(view) == 3
    del cache["a"]
    assert len(view) == len(list(view)) == 2
    cache["d"] = 4
    assert list(view) == list(view_of(cache))
    assert len(view) == 3
    cache.clear()
    assert len(view) == 0
    assert list(view) == []
    cache["e"] = 5
    assert len(view) == 1
    cache.close()
    assert list(view) == []


@every_view
def test_views_keep_the_cache(view_of: ViewOf) -> None:
    cache = filled()
    reference = weakref.ref(cache)
    view = view_of(cache)
    del cache
    gc.collect()
    assert reference() is not None
    assert len(view) == 3
    del view
    gc.collect()
    assert reference() is None


@every_view
def test_views_repr(view_of: ViewOf) -> None:
    cache = filled()
    assert repr(list(view_of(cache))) in repr(view_of(cache))
    assert "keys" in repr(cache.keys()).lower()
    assert "values" in repr(cache.values()).lower()
    assert "items" in repr(cache.items()).lower()


def test_repr_of_a_view_of_what_holds_its_view() -> None:
    cache = LRUCache[str, Any](3)
    cache["self"] = cache.items()
    assert "..." in repr(cache.items())
    assert "..." in repr(cache)
    cache["self"] = cache.values()
    assert "..." in repr(cache.values())
    cache.clear()


@every_view
def test_view_mapping_is_the_cache_to_read(view_of: ViewOf) -> None:
    cache = filled()
    mapping = view_of(cache).mapping
    assert mapping == cache
    assert mapping["a"] == 1
    assert list(mapping) == list(cache)
    cache["d"] = 4
    assert mapping["d"] == 4
    with pytest.raises(AttributeError):
        view_of(cache).mapping = {}


def test_membership() -> None:
    cache = LRUCache[Any, Any](None)
    nan = float("nan")
    cache.update({1: "one", "list": [1], "nan": nan})
    assert 1 in cache.keys()
    assert 1.0 in cache.keys()
    assert 2 not in cache.keys()
    assert "one" in cache.values()
    assert [1] in cache.values()
    assert nan in cache.values()
    assert float("nan") not in cache.values()
    assert (1, "one") in cache.items()
    assert (True, "one") in cache.items()
    assert ("list", [1]) in cache.items()
    assert ("nan", nan) in cache.items()
    assert ("nan", float("nan")) not in cache.items()
    assert (1, "two") not in cache.items()
    assert (2, "one") not in cache.items()
    items: Any = cache.items()
    for other in (1, (1,), (1, "one", 2), [1, "one"], None):
        assert other not in items


def test_membership_of_values_that_refuse_to_compare() -> None:
    cache = LRUCache[str, Any](3)
    value = BadEq()
    cache["a"] = value
    assert value in cache.values()
    with pytest.raises(Boom):
        7 in cache.values()
    with pytest.raises(Boom):
        ("a", 7) in cache.items()


def test_keys_are_a_set() -> None:
    keys = filled().keys()
    assert keys == {"a", "b", "c"}
    assert {"a", "b", "c"} == keys
    assert keys == filled().keys()
    assert keys == dict.fromkeys("abc").keys()
    assert keys != {"a", "b"}
    not_a_set: object = ["a", "b", "c"]
    assert keys != not_a_set
    assert keys & {"a", "z"} == {"a"}
    assert {"a", "z"} & keys == {"a"}
    assert keys | {"z"} == {"a", "b", "c", "z"}
    assert {"z"} | keys == {"a", "b", "c", "z"}
    assert keys - {"a"} == {"b", "c"}
    assert {"a", "z"} - keys == {"z"}
    assert keys ^ {"a", "z"} == {"b", "c", "z"}
    assert {"a", "z"} ^ keys == {"b", "c", "z"}
    assert keys <= {"a", "b", "c"}
    assert keys < {"a", "b", "c", "d"}
    assert not keys < {"a", "b", "c"}
    assert keys >= {"a"}
    assert keys > {"a"}
    assert not keys > {"a", "b", "c"}
    assert {"a"} < keys
    assert keys.isdisjoint({"z"})
    assert keys.isdisjoint(["y", "z"])
    assert not keys.isdisjoint(["a"])
    assert type(keys & {"a"}) is type(keys | {"a"}) is set


def test_keys_take_any_iterable_as_those_of_dict_do() -> None:
    keys: Any = filled().keys()
    assert keys & ["a", "z"] == {"a"}
    assert keys | iter("z") == {"a", "b", "c", "z"}
    assert keys - ["a"] == {"b", "c"}
    assert keys ^ ["a"] == {"b", "c"}
    with pytest.raises(TypeError):
        keys & 1
    with pytest.raises(TypeError):
        keys < ["a"]


def test_items_are_a_set() -> None:
    items = filled().items()
    assert items == {("a", 1), ("b", 2), ("c", 3)}
    assert items == filled().items()
    assert items == {"c": 3, "b": 2, "a": 1}.items()
    assert items != {("a", 1)}
    assert items != {("a", 1), ("b", 2), ("c", 4)}
    assert items & {("a", 1), ("a", 2)} == {("a", 1)}
    assert items | {("z", 9)} == {("a", 1), ("b", 2), ("c", 3), ("z", 9)}
    assert items - {("a", 1)} == {("b", 2), ("c", 3)}
    assert {("a", 1), ("a", 2)} - items == {("a", 2)}
    assert items ^ {("a", 1)} == {("b", 2), ("c", 3)}
    assert items > {("a", 1)}
    assert items <= {("a", 1), ("b", 2), ("c", 3)}
    assert items.isdisjoint({("a", 2)})
    assert not items.isdisjoint({("a", 1)})


def test_items_with_unhashable_values() -> None:
    cache = LRUCache[str, list[int]](3)
    cache["a"] = [1]
    assert cache.items() == {"a": [1]}.items()
    assert ("a", [1]) in cache.items()
    with pytest.raises(TypeError, match="unhashable"):
        cache.items() & {("a", 1)} | cache.items()


@every_view
def test_views_cannot_be_hashed_or_made(view_of: ViewOf) -> None:
    view = view_of(filled())
    if "values" not in type(view).__name__.lower():
        with pytest.raises(TypeError):
            hash(view)
    with pytest.raises(TypeError):
        type(view)()


def test_values_are_equal_only_to_themselves() -> None:
    cache = filled()
    values = cache.values()
    assert values == values
    not_a_view: object = [1, 2, 3]
    assert values != not_a_view
    assert cache.values() != filled().values()


# Iteration


@every_iteration
def test_iterators_are_iterators(iterate: Iterate) -> None:
    iterator = iterate(filled())
    assert iter(iterator) is iterator
    assert len(list(iterator)) == 3
    assert list(iterator) == []
    with pytest.raises(StopIteration):
        next(iterator)
    assert list(iterate(LRUCache[str, int](3))) == []


@every_iteration
def test_iterators_tell_what_is_left(iterate: Iterate) -> None:
    iterator = iterate(filled())
    for left in (3, 2, 1):
        assert operator.length_hint(iterator) == left
        next(iterator)
    assert operator.length_hint(iterator) == 0
    assert list(iterator) == []
    assert operator.length_hint(iterator) == 0


@every_iteration
def test_iterators_keep_the_cache_until_they_end(iterate: Iterate) -> None:
    cache = filled()
    reference = weakref.ref(cache)
    iterator = iterate(cache)
    next(iterator)
    del cache
    gc.collect()
    assert reference() is not None
    assert len(list(iterator)) == 2
    gc.collect()
    assert reference() is None


CHANGES: dict[str, Callable[[LRUCache[str, int]], object]] = {
    "insert": lambda cache: cache.__setitem__("new", 1),
    "delete": lambda cache: cache.__delitem__("a"),
    "pop": lambda cache: cache.pop("b"),
    "popitem": lambda cache: cache.popitem(),
    "setdefault": lambda cache: cache.setdefault("new", 1),
    "update": lambda cache: cache.update(new=1),
    "get_or_create": lambda cache: cache.get_or_create("new", lambda: 1),
    "clear": lambda cache: cache.clear(),
    "close": lambda cache: cache.close(),
    "resize": lambda cache: cache.resize(1),
    "one out, one in": lambda cache: (cache.pop("c"), cache.update(d=4)),
    "the same one out and in": lambda cache: (cache.pop("c"), cache.update(c=3)),
}


@every_iteration
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_of_keys_ends_an_iteration(
    iterate: Iterate, change: Callable[[LRUCache[str, int]], object]
) -> None:
    cache = filled()
    iterator = iterate(cache)
    next(iterator)
    change(cache)
    with pytest.raises(RuntimeError, match="LRUCache changed during iteration"):
        next(iterator)
    with pytest.raises((RuntimeError, StopIteration)):
        next(iterator)


@every_iteration
def test_a_change_before_the_first_step_and_after_the_last(iterate: Iterate) -> None:
    cache = filled()
    iterator = iterate(cache)
    cache["d"] = 4
    with pytest.raises(RuntimeError, match="changed during iteration"):
        next(iterator)
    iterator = iterate(cache)
    for _ in range(4):
        next(iterator)
    cache["e"] = 5
    with pytest.raises(RuntimeError, match="changed during iteration"):
        next(iterator)
    iterator = iterate(cache)
    assert len(list(iterator)) == 5
    cache["f"] = 6
    assert list(iterator) == []


@every_iteration
def test_an_eviction_ends_an_iteration(iterate: Iterate) -> None:
    cache = filled(maxsize=3)
    iterator = iterate(cache)
    next(iterator)
    cache["d"] = 4
    with pytest.raises(RuntimeError, match="changed during iteration"):
        list(iterator)


def test_inserting_in_every_step_ends() -> None:
    cache = LRUCache[int, int](None)
    cache[0] = 0
    with pytest.raises(RuntimeError, match="changed during iteration"):
        for key in cache:
            assert key < 5
            cache[key + 1] = 0


HITS: dict[str, Callable[[LRUCache[str, int], str], object]] = {
    "getitem": lambda cache, key: cache[key],
    "get": lambda cache, key: cache.get(key),
    "miss": lambda cache, key: cache.get("nothing"),
    "setdefault": lambda cache, key: cache.setdefault(key, 0),
    "get_or_create": lambda cache, key: cache.get_or_create(key, lambda: 0),
    "replace": lambda cache, key: cache.__setitem__(key, 1),
    "update": lambda cache, key: cache.update({key: 1}),
    "nothing popped": lambda cache, key: cache.pop("nothing", None),
    "resize that evicts nothing": lambda cache, key: cache.resize(7),
}


@pytest.mark.parametrize("hit", HITS.values(), ids=HITS.keys())
@pytest.mark.parametrize("make", [iter, reversed], ids=["forwards", "backwards"])
@pytest.mark.parametrize("which", ["the current", "the first", "the last", "all"])
def test_a_hit_is_no_change(
    make: Callable[[Any], Iterator[str]],
    hit: Callable[[LRUCache[str, int], str], object],
    which: str,
) -> None:
    cache = filled(maxsize=7)
    met: list[str] = []
    for key in make(cache):
        met.append(key)
        assert len(met) <= 3
        keys = {"the current": key, "the first": "a", "the last": "c", "all": "abc"}[which]
        for used in keys:
            hit(cache, used)
    assert sorted(met) == ["a", "b", "c"]


def test_values_and_items_show_what_was_replaced_meanwhile() -> None:
    cache = filled()
    seen = {}
    for key, value in cache.items():
        seen[key] = value
        cache["c"] = 30
    assert seen == {"a": 1, "b": 2, "c": 30}


def test_two_iterations_at_once() -> None:
    cache = filled()
    assert [first + second for first in cache for second in cache] == [
        "aa",
        "ab",
        "ac",
        "ba",
        "bb",
        "bc",
        "ca",
        "cb",
        "cc",
    ]


def test_items_survive_the_cache_they_came_from() -> None:
    cache = filled()
    pairs = []
    for pair in cache.items():
        pairs.append(pair)
    cache.clear()
    assert pairs == [("a", 1), ("b", 2), ("c", 3)]


def test_an_iterator_in_a_cycle_is_collected() -> None:
    class Node:
        iterator: Any
        view: Any

    cache = LRUCache[str, Node](3)
    node = Node()
    cache["node"] = node
    node.iterator = iter(cache.items())
    node.view = cache.values()
    reference = weakref.ref(cache)
    del cache, node
    gc.collect()
    assert reference() is None


def test_iterators_without_init() -> None:
    cache = LRUCache[str, int].__new__(LRUCache)
    for iterate in ITERATIONS.values():
        assert list(iterate(cache)) == []


def test_one_iterator_in_several_threads() -> None:
    cache = LRUCache[int, int](None)
    cache.update((number, number) for number in range(20_000))
    iterator = iter(cache)
    parts = in_threads(*[lambda: list(iterator)] * 4)
    assert sorted(key for part in parts for key in part) == list(range(20_000))


def test_iteration_while_others_change_the_cache() -> None:
    cache = LRUCache[int, int](100)
    cache.update((number, number) for number in range(100))

    def read() -> int:
        rounds = 0
        for _ in range(300):
            try:
                for key, value in cache.items():
                    assert key == value
                rounds += 1
            except RuntimeError as error:
                assert "changed during iteration" in str(error)
        return rounds

    def write() -> int:
        for number in range(20_000):
            cache[number % 250] = number % 250
        return 0

    in_threads(read, read, write)
    assert len(cache) == 100
