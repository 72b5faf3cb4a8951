"""What type checkers make of LRUCache. Not run: mypy and pyright read it."""

from __future__ import annotations

import copy
from collections.abc import (
    ItemsView,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from typing import Any, Generic, TypeVar, assert_type

from leaksafe import CacheStats, LRUCache, Removals, __version__, deep_sizeof

K = TypeVar("K")
V = TypeVar("V")


# Making one


def weigh(value: bytes) -> int:
    return len(value)


def weigh_both(key: str, value: bytes) -> int:
    return len(key) + len(value)


def removed(key: str, value: bytes, cause: str) -> None:
    pass


def removed_and_counted(key: object, value: object, cause: object) -> int:
    return 1


declared: LRUCache[str, bytes] = LRUCache(3)
assert_type(declared, LRUCache[str, bytes])
unbounded: LRUCache[str, bytes] = LRUCache(None)
given = LRUCache[str, bytes](maxsize=3)
assert_type(given, LRUCache[str, bytes])
weighed = LRUCache[str, bytes](3, weigh)
assert_type(weighed, LRUCache[str, bytes])
assert_type(LRUCache[str, bytes](3, len), LRUCache[str, bytes])
assert_type(LRUCache[str, bytes](3, getsizeof=lambda value: len(value)), LRUCache[str, bytes])
assert_type(LRUCache[str, bytes](3, lambda key, value: len(key + "x")), LRUCache[str, bytes])
assert_type(LRUCache(3, weigh_both), LRUCache[str, bytes])
assert_type(LRUCache(3, on_remove=removed), LRUCache[str, bytes])
assert_type(LRUCache(3, weigh, on_remove=removed), LRUCache[str, bytes])
assert_type(LRUCache[str, bytes](3, on_remove=removed_and_counted), LRUCache[str, bytes])
assert_type(LRUCache[str, bytes](3, None, on_remove=None), LRUCache[str, bytes])
in_bytes: LRUCache[str, bytes] = LRUCache(max_bytes="64 MiB")
assert_type(LRUCache[str, bytes](max_bytes=1_000), LRUCache[str, bytes])
assert_type(LRUCache(getsizeof=weigh_both, max_bytes="1 kB"), LRUCache[str, bytes])
assert_type(deep_sizeof(in_bytes), int)


class Index:
    def __index__(self) -> int:
        return 3


assert_type(LRUCache[str, int](Index()), LRUCache[str, int])


# As a mapping


def mapping(cache: LRUCache[str, bytes]) -> None:
    assert_type(cache["a"], bytes)
    cache["a"] = b"1"
    del cache["a"]
    assert_type("a" in cache, bool)
    assert_type(len(cache), int)
    assert_type(cache.get("a"), bytes | None)
    assert_type(cache.get("a", b""), bytes)
    assert_type(cache.get("a", 1), bytes | int)
    assert_type(cache.get("a", default=1), bytes | int)
    assert_type(cache.pop("a"), bytes)
    assert_type(cache.pop("a", b""), bytes)
    assert_type(cache.pop("a", 1), bytes | int)
    assert_type(cache.popitem(), tuple[str, bytes])
    assert_type(cache.setdefault("a", b""), bytes)
    assert_type(cache.peek("a"), bytes | None)
    assert_type(cache.peek("a", b""), bytes)
    assert_type(cache.peek("a", 1), bytes | int)
    cache.update({"a": b""})
    cache.update([("a", b"")])
    cache.update({"a": b""}, b=b"")
    cache.update(b=b"")
    cache.update(cache)
    cache.clear()


def views(cache: LRUCache[str, bytes]) -> None:
    assert_type(iter(cache), Iterator[str])
    assert_type(reversed(cache), Iterator[str])
    assert_type(list(cache), list[str])
    keys: KeysView[str] = cache.keys()
    values: ValuesView[bytes] = cache.values()
    items: ItemsView[str, bytes] = cache.items()
    assert_type(list(keys), list[str])
    assert_type(list(values), list[bytes])
    assert_type(list(items), list[tuple[str, bytes]])
    for key, value in cache.items():
        assert_type(key, str)
        assert_type(value, bytes)
    for key in cache:
        assert_type(key, str)
    assert_type(list(reversed(cache.keys())), list[str])
    assert_type(list(reversed(cache.values())), list[bytes])
    assert_type(list(reversed(cache.items())), list[tuple[str, bytes]])
    assert_type(cache.keys() & {"a"}, set[str])
    assert_type(cache.keys() | {1}, set[str | int])
    assert_type(cache.keys() - {"a"}, set[str])
    assert_type(cache.items().mapping["a"], bytes)
    assert_type(list(cache.keys().mapping), list[str])
    assert_type(list(cache.values().mapping.values()), list[bytes])


def operators(cache: LRUCache[str, bytes]) -> None:
    assert_type(cache | {"a": b""}, LRUCache[str, bytes])
    assert_type({"a": b""} | cache, LRUCache[str, bytes])
    assert_type(cache | cache, LRUCache[str, bytes])
    assert_type(cache | {1: 2}, LRUCache[str | int, bytes | int])
    cache |= {"a": b""}
    cache |= [("a", b"")]
    assert_type(cache, LRUCache[str, bytes])
    assert_type(cache == {"a": b""}, bool)
    assert_type(cache.copy(), LRUCache[str, bytes])
    assert_type(copy.copy(cache), LRUCache[str, bytes])
    assert_type(copy.deepcopy(cache), LRUCache[str, bytes])
    assert_type(repr(cache), str)


def takes_mapping(mapping: Mapping[str, bytes]) -> None:
    pass


def takes_mutable_mapping(mapping: MutableMapping[str, bytes]) -> None:
    pass


def compatible(cache: LRUCache[str, bytes]) -> None:
    takes_mapping(cache)
    takes_mutable_mapping(cache)
    assert_type(dict(cache), dict[str, bytes])
    as_mutable: MutableMapping[str, bytes] = cache
    assert_type(as_mutable.get("a"), bytes | None)


# As a cache


def cache_only(cache: LRUCache[str, bytes]) -> None:
    assert_type(cache.get_or_create("a", lambda: b""), bytes)
    assert_type(cache.get_or_create("a", bytes), bytes)
    assert_type(cache.maxsize, int | None)
    assert_type(cache.currsize, int)
    assert_type(cache.closed, bool)
    assert_type(cache.resize(3), None)
    cache.resize(None)
    cache.resize(Index())
    assert_type(cache.close(), None)
    with cache as same:
        assert_type(same, LRUCache[str, bytes])
    stats = cache.stats()
    assert_type(stats, CacheStats)
    assert_type(stats.hits, int)
    assert_type(stats.misses, int)
    assert_type(stats.insertions, int)
    assert_type(stats.removals, Removals)
    assert_type(stats.removals.size, int)
    assert_type(stats.removals.collected, int)
    assert_type(stats.currsize, int)
    assert_type(stats.maxsize, int | None)
    assert_type(stats.hit_ratio, float)
    assert_type(__version__, str)


def matched(cache: LRUCache[str, bytes]) -> None:
    match cache:
        case {"a": value}:
            assert_type(value, bytes)
        case _:
            pass


# Subclasses


class Named(LRUCache[K, V], Generic[K, V]):
    def __init__(self, name: str, maxsize: int = 10) -> None:
        super().__init__(maxsize, on_remove=self.removed)
        self.name = name

    def removed(self, key: K, value: V, cause: str) -> None:
        pass


class Squares(LRUCache[int, int]):
    def __missing__(self, key: int) -> int:
        self[key] = key * key
        return self[key]


def subclasses(named: Named[str, bytes]) -> None:
    assert_type(named["a"], bytes)
    assert_type(named.name, str)
    assert_type(named.copy(), Named[str, bytes])
    with named as same:
        assert_type(same, Named[str, bytes])
    assert_type(Squares(3)[4], int)
    assert_type(Named[int, str]("name"), Named[int, str])
    anything: LRUCache[Any, Any] = named
    takes_mapping(named)
    assert_type(anything.maxsize, int | None)


# What must be refused: an ignore that ignores nothing is an error


def errors(cache: LRUCache[str, bytes]) -> None:
    LRUCache()  # type: ignore[call-overload]
    LRUCache[str, bytes]("3")  # type: ignore[call-overload]
    LRUCache[str, bytes](1.5)  # type: ignore[call-overload]
    LRUCache[str, bytes](3, 4)  # type: ignore[call-overload]
    LRUCache[str, bytes](3, None, removed)  # type: ignore[call-overload]
    LRUCache[str, bytes](3, on_remove=lambda key: None)  # type: ignore[misc, arg-type]
    LRUCache[str, bytes](3, max_bytes=3)  # type: ignore[call-overload]
    LRUCache[str, bytes](max_bytes=1.5)  # type: ignore[call-overload]
    LRUCache[str, bytes](max_bytes="1 MiB", getsizeof=4)  # type: ignore[call-overload]
    cache[1]  # type: ignore[index]
    cache[1] = b""  # type: ignore[index]
    cache["a"] = 1  # type: ignore[assignment]
    del cache[1]  # type: ignore[arg-type]
    cache.get(1)  # type: ignore[call-overload]
    cache.get_or_create("a", lambda: 1)  # type: ignore[arg-type, return-value]
    cache.get_or_create("a", lambda key: b"")  # type: ignore[arg-type, misc]
    cache.get_or_create(1, lambda: b"")  # type: ignore[arg-type]
    cache.update({1: b""})  # type: ignore[dict-item]
    cache.resize("3")  # type: ignore[arg-type]
    cache.maxsize = 3  # type: ignore[misc]
    cache.currsize = 3  # type: ignore[misc]
    cache < cache  # type: ignore[operator]
    wrong: LRUCache[str, str] = cache  # type: ignore[assignment]
    takes_mapping(wrong)  # type: ignore[arg-type]
