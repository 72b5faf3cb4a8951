"""LRUCache: the mapping contract, and the order in which it evicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import leaksafe
from leaksafe import CacheStats, LRUCache, Removals
from mapping_contract import MappingContract


class TestMapping(MappingContract):
    cache_class = LRUCache


def filled(maxsize: int | None = 3) -> LRUCache[str, int]:
    cache = LRUCache[str, int](maxsize)
    cache.update(a=1, b=2, c=3)
    return cache


def test_public_names() -> None:
    assert {"LRUCache", "CacheStats", "Removals", "__version__"} <= set(leaksafe.__all__)
    for name in leaksafe.__all__:
        assert hasattr(leaksafe, name)
    assert LRUCache.__name__ == LRUCache.__qualname__ == "LRUCache"
    assert LRUCache.__module__ == "leaksafe"


def test_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert leaksafe.__version__ == version("leaksafe")


def test_order_is_from_least_to_most_recently_used() -> None:
    cache = filled()
    assert list(cache) == ["a", "b", "c"]
    assert list(reversed(cache)) == ["c", "b", "a"]


def getitem(cache: LRUCache[str, int]) -> object:
    return cache["a"]


def setitem(cache: LRUCache[str, int]) -> None:
    cache["a"] = 9


USES: dict[str, Callable[[LRUCache[str, int]], object]] = {
    "getitem": getitem,
    "get": lambda cache: cache.get("a"),
    "get with a default": lambda cache: cache.get("a", 5),
    "setdefault": lambda cache: cache.setdefault("a", 5),
    "get_or_create": lambda cache: cache.get_or_create("a", lambda: 5),
    "setitem": setitem,
    "update": lambda cache: cache.update(a=5),
}

LOOKS: dict[str, Callable[[LRUCache[str, int]], object]] = {
    "in": lambda cache: "a" in cache,
    "peek": lambda cache: cache.peek("a"),
    "iteration": list,
    "reversed": lambda cache: list(reversed(cache)),
    "keys": lambda cache: list(cache.keys()),
    "values": lambda cache: list(cache.values()),
    "items": lambda cache: list(cache.items()),
    "in keys": lambda cache: "a" in cache.keys(),
    "in values": lambda cache: 1 in cache.values(),
    "in items": lambda cache: ("a", 1) in cache.items(),
    "set operation": lambda cache: cache.keys() & {"a"},
    "eq": lambda cache: cache == {"a": 1, "b": 2, "c": 3},
    "repr": repr,
    "copy": lambda cache: cache.copy(),
    "dict": dict,
    "update of another": lambda cache: LRUCache[str, int](5).update(cache),
    "or": lambda cache: cache | {"a": 1},
    "stats": lambda cache: cache.stats(),
    "resize": lambda cache: cache.resize(5),
    "miss": lambda cache: cache.get("nothing"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_a_use_makes_an_entry_the_most_recent(
    use: Callable[[LRUCache[str, int]], object],
) -> None:
    cache = filled()
    use(cache)
    assert list(cache) == ["b", "c", "a"]
    cache["d"] = 4
    assert list(cache) == ["c", "a", "d"]


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_a_look_leaves_the_order_alone(look: Callable[[LRUCache[str, int]], object]) -> None:
    cache = filled()
    look(cache)
    assert list(cache) == ["a", "b", "c"]


def test_the_least_recently_used_goes_first() -> None:
    events: list[tuple[str, int, str]] = []
    cache = LRUCache[str, int](3, on_remove=lambda *event: events.append(event))
    cache.update(a=1, b=2, c=3)
    cache["a"]
    cache["d"] = 4
    cache["e"] = 5
    assert events == [("b", 2, "size"), ("c", 3, "size")]
    assert list(cache) == ["a", "d", "e"]
    cache.resize(1)
    assert events[2:] == [("a", 1, "size"), ("d", 4, "size")]


def test_popitem_takes_the_least_recently_used() -> None:
    cache = filled()
    cache["a"]
    assert [cache.popitem() for _ in range(3)] == [("b", 2), ("c", 3), ("a", 1)]


def test_clear_tells_the_least_recently_used_first() -> None:
    events: list[tuple[str, int, str]] = []
    cache = LRUCache[str, int](3, on_remove=lambda *event: events.append(event))
    cache.update(a=1, b=2, c=3)
    cache["a"]
    cache.clear()
    assert events == [("b", 2, "cleared"), ("c", 3, "cleared"), ("a", 1, "cleared")]


def test_a_heavy_entry_evicts_as_many_as_it_takes() -> None:
    cache = LRUCache[str, str](10, len)
    for key in "abcde":
        cache[key] = "xx"
    cache["a"]
    cache["heavy"] = "x" * 5
    assert list(cache) == ["e", "a", "heavy"]
    assert cache.currsize == 9


def test_a_replaced_entry_is_the_last_to_be_evicted_for_its_own_weight() -> None:
    events: list[tuple[str, str, str]] = []
    cache = LRUCache[str, str](6, len, on_remove=lambda *event: events.append(event))
    for key in "abc":
        cache[key] = "xx"
    cache["a"] = "xxxx"
    assert list(cache.items()) == [("c", "xx"), ("a", "xxxx")]
    assert sorted(events) == [("a", "xx", "replaced"), ("b", "xx", "size")]


def test_one_entry() -> None:
    cache = LRUCache[int, int](1)
    for number in range(10):
        cache[number] = number
        assert list(cache.items()) == [(number, number)]


def test_slots_of_removed_entries_are_used_again() -> None:
    cache = LRUCache[int, int](100)
    cache.update((number, number) for number in range(100))
    for number in range(0, 100, 2):
        del cache[number]
    assert list(cache) == list(range(1, 100, 2))
    cache.update((number, number) for number in range(200, 260))
    assert list(cache) == [*range(21, 100, 2), *range(200, 260)]


def test_or_keeps_the_order() -> None:
    assert list(filled(5) | {"b": 9, "d": 4}) == ["a", "c", "b", "d"]


def test_a_long_mixed_run_keeps_the_last_used() -> None:
    cache = LRUCache[int, int](64)
    recent: dict[int, int] = {}
    state = 12_345
    for _ in range(50_000):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        key = (state >> 8) % 150
        if cache.get(key) is None:
            cache[key] = key
        recent.pop(key, None)
        recent[key] = key
        if len(recent) > 64:
            del recent[next(iter(recent))]
    assert list(cache.items()) == list(recent.items())


def test_eq_to_a_cache_in_another_order() -> None:
    first, second = filled(), filled()
    second["a"]
    assert list(first) != list(second)
    assert first == second


def test_stats_are_named_tuples() -> None:
    stats: Any = filled().stats()
    assert isinstance(stats, CacheStats)
    assert isinstance(stats, tuple)
    assert isinstance(stats.removals, Removals)
    assert stats.removals == (0, 0, 0, 0, 0, 0)
    assert CacheStats(3, 1, 2, Removals(0, 0, 0, 0, 0, 0), 2, None).hit_ratio == 0.75
