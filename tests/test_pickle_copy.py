"""Copies and pickles of an LRUCache: equal, in the same order, and sharing nothing."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from harness import Boom
from leaksafe import LRUCache


class Named(LRUCache[Any, Any]):
    """A subclass with an `__init__` and attributes of its own, that listens to itself."""

    def __init__(self, name: str, *, size: int = 3) -> None:
        super().__init__(size, on_remove=self.removed)
        self.name = name
        self.heard: list[tuple[Any, Any, str]] = []

    def removed(self, key: Any, value: Any, cause: str) -> None:
        self.heard.append((key, value, cause))


class Making(LRUCache[Any, Any]):
    def __missing__(self, key: Any) -> Any:
        return f"made {key}"


class Answering(LRUCache[Any, Any]):
    """A subclass that answers for any attribute but those of protocols that it doesn't have."""

    def __getattr__(self, name: str) -> str:
        if name in ("__deepcopy__", "__getnewargs_ex__", "__getnewargs__"):
            raise AttributeError(name)
        return f"the attribute {name}"


class Slotted(LRUCache[Any, Any]):
    __slots__ = ("label",)
    label: str


HEARD: list[tuple[Any, Any, str]] = []


def heard(key: Any, value: Any, cause: str) -> None:
    HEARD.append((key, value, cause))


def weigh(value: str) -> int:
    return len(value)


def weigh_both(key: str, value: str) -> int:
    return len(key) + len(value)


def through_pickle(protocol: int) -> Callable[[Any], Any]:
    return lambda cache: pickle.loads(pickle.dumps(cache, protocol))


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy()": lambda cache: cache.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": through_pickle(protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "pickle in Python": lambda cache: pickle._loads(pickle._dumps(cache)),  # type: ignore[attr-defined]
}
every_copy = pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES.keys())
Duplicate = Callable[[Any], Any]


@every_copy
@pytest.mark.parametrize("maxsize", [None, 0, 3, 100])
def test_content_bound_and_order(duplicate: Duplicate, maxsize: int | None) -> None:
    cache = LRUCache[Any, Any](maxsize)
    cache.update({"a": 1, (2, "b"): None, 3: "three"})
    cache.get("a")
    twin = duplicate(cache)
    assert type(twin) is LRUCache
    assert twin is not cache
    assert twin == cache
    assert list(twin.items()) == list(cache.items())
    assert twin.maxsize == maxsize
    assert twin.currsize == cache.currsize
    for number in range(200):
        twin[number] = number
    assert len(twin) <= 203 if maxsize is None else len(twin) == maxsize


@every_copy
def test_independence(duplicate: Duplicate) -> None:
    cache = LRUCache[str, int](3)
    cache.update(a=1, b=2)
    twin = duplicate(cache)
    twin["a"] = 10
    twin.update(c=3, d=4)
    twin.resize(1)
    assert dict(cache) == {"a": 1, "b": 2}
    assert cache.maxsize == 3
    twin.close()
    assert dict(cache) == {"a": 1, "b": 2}
    twin = duplicate(cache)
    cache.clear()
    assert dict(twin) == {"a": 1, "b": 2}


@every_copy
def test_using_one_leaves_the_order_of_the_other(duplicate: Duplicate) -> None:
    cache = LRUCache[str, int](3)
    cache.update(a=1, b=2)
    twin = duplicate(cache)
    twin["a"]
    assert list(twin) == ["b", "a"]
    assert list(cache) == ["a", "b"]


@pytest.mark.thread_unsafe(reason="what is pickled by name is the module's")
@every_copy
def test_callables(duplicate: Duplicate) -> None:
    cache = LRUCache[str, str](5, weigh, on_remove=heard)
    cache.update(a="xx", b="xxx")
    HEARD.clear()
    twin = duplicate(cache)
    assert HEARD == []
    assert twin.currsize == 5
    twin["c"] = "x"
    assert HEARD == [("a", "xx", "size")]
    with pytest.raises(ValueError):
        twin["d"] = "x" * 6
    assert cache.currsize == 5


@every_copy
def test_getsizeof_of_two(duplicate: Duplicate) -> None:
    cache = LRUCache[str, str](10, weigh_both)
    cache.update(aa="xxx")
    twin = duplicate(cache)
    assert twin.currsize == 5
    twin["bb"] = "x"
    assert twin.currsize == 8


@every_copy
def test_subclass(duplicate: Duplicate) -> None:
    cache = Named("mine", size=2)
    cache.update(a=1, b=2)
    cache["extra"] = 3
    twin = duplicate(cache)
    assert type(twin) is Named
    assert twin.name == "mine"
    assert twin.maxsize == 2
    assert list(twin.items()) == [("b", 2), ("extra", 3)]
    assert twin.heard == [("a", 1, "size")]
    assert twin.__dict__ is not cache.__dict__


@every_copy
def test_subclass_with_missing(duplicate: Duplicate) -> None:
    cache = Making(2)
    cache["a"] = 1
    twin = duplicate(cache)
    assert type(twin) is Making
    assert twin["b"] == "made b"
    assert dict(twin) == {"a": 1}


@every_copy
def test_subclass_that_has_every_attribute(duplicate: Duplicate) -> None:
    original = Answering(3)
    original["a"] = 1
    twin = duplicate(original)
    assert dict(twin) == {"a": 1} and vars(twin) == {}


@every_copy
def test_subclass_with_slots(duplicate: Duplicate) -> None:
    cache = Slotted(2)
    cache["a"] = 1
    cache.label = "on it"
    twin = duplicate(cache)
    assert type(twin) is Slotted
    assert dict(twin) == {"a": 1}
    assert twin.label == "on it"


@pytest.mark.parametrize("name", [name for name in COPIES if name.startswith("copy")])
def test_shallow_or_deep(name: str) -> None:
    value = [1]
    cache = LRUCache[str, list[int]](3)
    cache["a"] = value
    twin = COPIES[name](cache)
    if name == "copy.deepcopy":
        assert twin["a"] is not value
        twin["a"].append(2)
        assert value == [1]
    else:
        assert twin["a"] is value


@pytest.mark.parametrize("name", [name for name in COPIES if name not in ("copy()", "copy.copy")])
def test_a_cache_that_holds_itself(name: str) -> None:
    cache = LRUCache[str, Any](3)
    cache["self"] = cache
    cache["list"] = [cache]
    twin = COPIES[name](cache)
    assert twin is not cache
    assert twin["self"] is twin
    assert twin["list"][0] is twin
    twin.clear()
    cache.clear()


@pytest.mark.parametrize("name", [name for name in COPIES if name not in ("copy()", "copy.copy")])
def test_a_subclass_in_a_cycle_through_its_attributes(name: str) -> None:
    cache = Making(3)
    cache.owner = [cache]  # type: ignore[attr-defined]
    cache["a"] = cache.owner  # type: ignore[attr-defined]
    twin = COPIES[name](cache)
    assert twin.owner[0] is twin
    assert twin["a"] is twin.owner


@every_copy
def test_what_was_copied_keeps_nothing_alive(duplicate: Duplicate) -> None:
    cache = Making(3)
    cache["a"] = 1
    twin = duplicate(cache)
    reference = weakref.ref(cache)
    del cache
    gc.collect()
    assert reference() is None
    reference = weakref.ref(twin)
    del twin
    gc.collect()
    assert reference() is None


def test_what_cannot_be_pickled_says_so() -> None:
    cache = LRUCache[str, Any](3)
    cache["a"] = lambda: None
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(cache)
    assert len(cache) == 1
    with_lambda = LRUCache[str, str](3, lambda value: 1)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(with_lambda)


class Uncopyable:
    def __deepcopy__(self, memo: object) -> Any:
        raise Boom

    def __reduce__(self) -> Any:
        raise Boom


def test_a_copy_that_fails_leaves_the_original() -> None:
    cache = LRUCache[str, Any](3)
    cache.update(a=1, b=Uncopyable())
    with pytest.raises(Boom):
        copy.deepcopy(cache)
    with pytest.raises(Boom):
        pickle.dumps(cache)
    assert list(cache) == ["a", "b"]
    assert list(cache.copy()) == ["a", "b"]


@every_copy
def test_a_closed_cache_has_nothing_left_to_copy(duplicate: Duplicate) -> None:
    cache = LRUCache[str, int](3)
    cache["a"] = 1
    cache.close()
    with pytest.raises(RuntimeError, match="closed"):
        duplicate(cache)


@every_copy
def test_without_init(duplicate: Duplicate) -> None:
    with pytest.raises(RuntimeError, match="__init__"):
        duplicate(LRUCache.__new__(LRUCache))


@every_copy
def test_a_copy_is_not_counted_in(duplicate: Duplicate) -> None:
    cache = LRUCache[str, int](3)
    cache["a"] = 1
    cache.get("a")
    twin = duplicate(cache)
    assert (twin.stats().hits, twin.stats().misses) == (0, 0)
    assert (cache.stats().hits, cache.stats().misses) == (1, 0)
