"""A bound in bytes: how it is written, what counts, and what stays as it was when that fails."""

from __future__ import annotations

import copy
import gc
import pickle
import random
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Boom
from isolated import isolated, resident
from leaksafe import LRUCache, TTLCache, deep_sizeof

Cache: Any = LRUCache

SLOT = 51
"""Bytes of an entry's place in the cache, as documented."""


def fresh(text: str) -> str:
    """The same text, not interned."""
    return "".join([text[:1], text[1:]])


def of_entry(key: object, value: object) -> int:
    """What an entry is documented to weigh, where key and value share nothing."""
    return deep_sizeof(key) + deep_sizeof(value) + SLOT


@pytest.mark.parametrize(
    ("written", "bytes_"),
    [
        (0, 0),
        (4_096, 4_096),
        (sys.maxsize, sys.maxsize),
        ("0 B", 0),
        ("17B", 17),
        ("3 kB", 3_000),
        ("3 MB", 3_000_000),
        ("3 GB", 3_000_000_000),
        ("3 KiB", 3 * 1024),
        ("64 MiB", 64 * 1024**2),
        ("2GiB", 2 * 1024**3),
        ("1.5 KiB", 1_536),
        ("0.1 kB", 100),
        ("0.0009 kB", 0),
        ("1.23456789123456789 GB", 1_234_567_891),
        ("  8   MiB ", 8 * 1024**2),
        ("007 B", 7),
    ],
)
def test_how_it_is_written(written: object, bytes_: int) -> None:
    assert Cache(max_bytes=written).maxsize == bytes_


@given(st.integers(0, 10**6), st.sampled_from(["kB", "MB", "KiB", "MiB"]))
def test_any_number_of_units(number: int, unit: str) -> None:
    base, power = (1024, "KM".index(unit[0])) if "i" in unit else (1000, "kM".index(unit[0]))
    assert Cache(max_bytes=f"{number} {unit}").maxsize == number * base ** (power + 1)


@pytest.mark.parametrize(
    ("written", "error"),
    [
        (1.5, TypeError),
        (True, TypeError),
        (b"1 MiB", TypeError),
        ([], TypeError),
        (-1, ValueError),
        (2**63, OverflowError),
        ("", ValueError),
        ("64", ValueError),
        ("MiB", ValueError),
        ("64 mib", ValueError),
        ("64 KB", ValueError),
        ("64 M", ValueError),
        ("64 MiB 3", ValueError),
        ("-1 MiB", ValueError),
        ("+1 MiB", ValueError),
        ("1e3 MiB", ValueError),
        ("1. MiB", ValueError),
        (".5 MiB", ValueError),
        ("1.2.3 MiB", ValueError),
        ("1_000 B", ValueError),
        ("inf B", ValueError),
        ("nan B", ValueError),
        ("\u0663 MiB", ValueError),
        ("1 MiB\0", ValueError),
        ("\ud800 MiB", ValueError),
        ("9223372036854775808 B", OverflowError),
        ("9999999999 GiB", OverflowError),
        ("9" * 1_000 + " B", OverflowError),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(written: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_bytes"):
        Cache(max_bytes=written)


@pytest.mark.parametrize("maxsize", [10, None])
def test_there_is_one_bound(maxsize: int | None) -> None:
    with pytest.raises(TypeError, match="maxsize and max_bytes"):
        Cache(maxsize, max_bytes=10)
    with pytest.raises(TypeError, match="maxsize"):
        Cache()
    with pytest.raises(TypeError, match="max_bytes"):
        Cache(getsizeof=len)


def test_an_entry_weighs_key_value_and_its_place() -> None:
    cache: LRUCache[str, Any] = LRUCache(max_bytes="1 MiB")
    key, value = fresh("the key"), [10_000, fresh("some value")]
    cache[key] = value
    assert cache.currsize == of_entry(key, value)
    cache[key] = None
    assert cache.currsize == of_entry(key, None)
    cache["interned"] = None
    assert cache.currsize == of_entry(key, None) + SLOT
    del cache[key], cache["interned"]
    assert cache.currsize == 0


def test_key_and_value_count_once_together() -> None:
    cache: LRUCache[Any, Any] = LRUCache(max_bytes="1 MiB")
    key = fresh("a key that is its own value")
    cache[key] = [key]
    assert cache.currsize == deep_sizeof([key]) + SLOT


def test_the_least_recent_go() -> None:
    cache: LRUCache[int, bytes] = LRUCache(max_bytes=10_000)
    for number in range(100):
        cache[number] = bytes(1_000)
        assert cache.currsize <= 10_000
    assert list(cache) == list(range(91, 100))


def test_what_is_too_heavy_is_refused_and_changes_nothing() -> None:
    cache: LRUCache[str, Any] = LRUCache(max_bytes="1 kB")
    cache["a"] = bytes(100)
    weight = cache.currsize
    with pytest.raises(ValueError, match="too heavy"):
        cache["b"] = bytes(1_000)
    with pytest.raises(ValueError, match="too heavy"):
        cache["a"] = [bytes(500), bytes(500)]
    assert dict(cache) == {"a": bytes(100)} and cache.currsize == weight
    assert cache.get_or_create("c", lambda: bytes(1_000)) == bytes(1_000)
    assert list(cache) == ["a"]


def test_a_sizeof_that_raises_changes_nothing() -> None:
    class Broken:
        def __sizeof__(self) -> int:
            raise Boom("size")

    cache: LRUCache[str, Any] = LRUCache(max_bytes="1 kB")
    cache["a"] = 1
    weight = cache.currsize
    for key in ("a", "b"):
        with pytest.raises(Boom):
            cache[key] = [Broken()]
    assert dict(cache) == {"a": 1} and cache.currsize == weight


def test_a_value_that_refers_to_the_cache_is_not_charged_for_it() -> None:
    class Session:
        def __init__(self, cache: Any) -> None:
            self.cache = cache

    cache: LRUCache[str, Any] = LRUCache(max_bytes="1 MiB")
    cache["heavy"] = bytes(100_000)
    cache["session"] = Session(cache)
    cache["itself"] = cache
    assert cache.currsize < 102_000
    del cache["heavy"], cache["session"]
    assert cache.currsize == SLOT


def test_getsizeof_measures_instead() -> None:
    cache: LRUCache[str, str] = LRUCache(max_bytes="1 kB", getsizeof=len)
    cache["a"] = "x" * 600
    assert cache.currsize == 600
    cache["b"] = "x" * 600
    assert list(cache) == ["b"]


def test_deep_sizeof_as_getsizeof_measures_values() -> None:
    cache: LRUCache[str, list[int]] = LRUCache(10_000, getsizeof=deep_sizeof)
    cache["a"] = value = [1_000]
    assert cache.currsize == deep_sizeof(value)


def test_resize_is_in_bytes_too() -> None:
    cache: LRUCache[int, bytes] = LRUCache(max_bytes="1 MiB")
    for number in range(10):
        cache[number] = bytes(1_000)
    cache.resize(5_000)
    assert len(cache) == 4 and cache.maxsize == 5_000 and cache.stats().maxsize == 5_000


@pytest.mark.parametrize(
    "again",
    [
        copy.copy,
        copy.deepcopy,
        lambda cache: cache.copy(),
        lambda cache: cache | {},
        lambda cache: {} | cache,
        lambda cache: pickle.loads(pickle.dumps(cache)),
    ],
    ids=["copy", "deepcopy", "method", "or", "ror", "pickle"],
)
def test_copies_weigh_as_the_original_does(again: Any) -> None:
    cache: LRUCache[int, list[int]] = LRUCache(max_bytes=10_000)
    for number in range(1_000, 1_010):
        cache[number] = [number] * 10
    twin = again(cache)
    assert (twin.maxsize, len(twin)) == (10_000, 10)
    before = twin.currsize
    twin[1] = value = bytes(900)
    assert twin.currsize == before + of_entry(1, value)
    for number in range(2_000, 2_100):
        twin[number] = bytes(900)
        assert twin.currsize <= 10_000


def test_subclasses_pass_it_on() -> None:
    class Named(LRUCache[str, Any]):
        def __init__(self, name: str) -> None:
            super().__init__(max_bytes="2 kB")
            self.name = name

    cache = Named("pages")
    cache["a"] = bytes(1_500)
    cache["b"] = bytes(1_500)
    assert list(cache) == ["b"] and cache.maxsize == 2_000


def test_a_ttl_cache_has_it_too() -> None:
    now = 0.0
    cache: TTLCache[str, Any] = TTLCache(ttl=10, timer=lambda: now, max_bytes="2 kB")
    assert cache.maxsize == 2_000
    key = fresh("the key")
    cache[key] = [10_000]
    assert cache.currsize == of_entry(key, [10_000])
    cache["old"] = bytes(1_000)
    now = 5.0
    cache["new"] = bytes(100)
    now = 10.0
    cache["newer"] = bytes(1_000)
    assert list(cache) == ["new", "newer"]
    cache["newest"] = bytes(1_000)
    assert list(cache) == ["newest"]
    twin = cache.copy()
    assert twin.maxsize == 2_000 and twin.currsize == cache.currsize
    now = 20.0
    assert cache.currsize == 0


def test_a_ttl_cache_has_one_bound_and_a_ttl() -> None:
    ttl_cache: Any = TTLCache
    with pytest.raises(TypeError, match="maxsize and max_bytes"):
        ttl_cache(10, 10, max_bytes=10)
    with pytest.raises(TypeError, match="missing the bound"):
        ttl_cache(ttl=10)
    for bound in ({"maxsize": 10}, {"max_bytes": 10}):
        with pytest.raises(TypeError, match="missing the ttl"):
            ttl_cache(**bound)
    assert TTLCache(max_bytes="1 kB", ttl=1, getsizeof=len).currsize == 0


@isolated(limit=60, malloc="default")
def test_the_bound_is_what_the_process_grows_by() -> None:
    bound = 32 * 1024**2
    cache: LRUCache[int, Any] = LRUCache(max_bytes="32 MiB")
    chance = random.Random(1)
    before = resident()
    for number in range(200_000):
        cache[1_000 + number] = {
            "name": f"user {number}",
            "scores": [chance.random() for _ in range(5)],
        }
    gc.collect()
    grown = resident() - before
    # The allocator rounds up, and the tables grow by doubling.
    assert bound * 0.7 < grown < bound * 1.6, f"{grown / 2**20:.1f} MiB for 32 MiB"
    assert cache.currsize <= bound
