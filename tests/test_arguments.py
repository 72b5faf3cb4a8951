"""What LRUCache says to arguments without sense: at once, by name, and with nothing changed."""

from __future__ import annotations

import decimal
import enum
import fractions
import functools
import operator
import sys
from collections.abc import Callable
from typing import Any

import pytest

from harness import Boom
from leaksafe import LRUCache

# What is tested are calls that a type checker would refuse.
Cache: Any = LRUCache


class Index:
    """Not an int, but usable as one."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


class FailingIndex:
    def __index__(self) -> int:
        raise Boom("index")


class LyingIndex:
    def __index__(self) -> Any:
        return 1.5


class OnlyInt:
    def __int__(self) -> int:
        return 3

    def __float__(self) -> float:
        return 3.0


class Level(enum.IntEnum):
    THREE = 3


class MyInt(int):
    pass


GOOD_SIZES = [
    (0, 0),
    (1, 1),
    (3, 3),
    (2**31, 2**31),
    (2**32, 2**32),
    (2**40, 2**40),
    (2**62, 2**62),
    (sys.maxsize, sys.maxsize),
    (None, None),
    (Index(3), 3),
    (Index(0), 0),
    (Index(2**31), 2**31),
    (Level.THREE, 3),
    (MyInt(5), 5),
]
BAD_SIZES: list[tuple[Any, type[Exception]]] = [
    (-1, ValueError),
    (-(2**31), ValueError),
    (-(2**63), ValueError),
    (-(2**70), ValueError),
    (Index(-1), ValueError),
    (sys.maxsize + 1, OverflowError),
    (2**64, OverflowError),
    (2**70, OverflowError),
    (10**400, OverflowError),
    (Index(2**63), OverflowError),
    (True, TypeError),
    (False, TypeError),
    (1.5, TypeError),
    (3.0, TypeError),
    (float("nan"), TypeError),
    (float("inf"), TypeError),
    (3 + 0j, TypeError),
    ("3", TypeError),
    (b"3", TypeError),
    ([], TypeError),
    ((3,), TypeError),
    (decimal.Decimal(3), TypeError),
    (fractions.Fraction(3), TypeError),
    (OnlyInt(), TypeError),
    (object(), TypeError),
    (int, TypeError),
    (len, TypeError),
]


def told(error: BaseException, name: str, given: object) -> bool:
    """Whether the message names the argument, and says what was given, or of what kind it was."""
    shown = repr(given.value if isinstance(given, Index) else given)
    message = str(error)
    # A very long one may be cut short.
    return name in message and (shown[:60] in message or type(given).__name__ in message)


good_sizes = pytest.mark.parametrize(("given", "size"), GOOD_SIZES, ids=repr)
bad_sizes = pytest.mark.parametrize(
    ("given", "error"),
    BAD_SIZES,
    ids=lambda given: given.__name__ if isinstance(given, type) else repr(given)[:24],
)


# maxsize


@good_sizes
def test_good_maxsize(given: Any, size: int | None) -> None:
    for cache in (Cache(given), Cache(maxsize=given)):
        assert cache.maxsize == size
        assert type(cache.maxsize) in (int, type(None))
        cache["a"] = 1
        assert len(cache) == (size != 0)
        assert sys.getsizeof(cache) < 10_000


@bad_sizes
def test_bad_maxsize(given: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        Cache(given)
    assert type(caught.value) is error
    assert told(caught.value, "maxsize", given)


@good_sizes
def test_good_resize(given: Any, size: int | None) -> None:
    cache = Cache(10)
    cache["a"] = 1
    cache.resize(given)
    assert cache.maxsize == size
    assert len(cache) == (size != 0)


@bad_sizes
def test_bad_resize(given: Any, error: type[Exception]) -> None:
    cache = Cache(10)
    cache["a"] = 1
    with pytest.raises(error) as caught:
        cache.resize(given)
    assert told(caught.value, "maxsize", given)
    assert cache.maxsize == 10
    assert dict(cache) == {"a": 1}


def test_maxsize_is_required() -> None:
    with pytest.raises(TypeError, match="maxsize"):
        Cache()
    with pytest.raises(TypeError, match="maxsize"):
        Cache(getsizeof=len)


def test_index_that_fails() -> None:
    with pytest.raises(Boom, match="index"):
        Cache(FailingIndex())
    with pytest.raises(TypeError):
        Cache(LyingIndex())
    cache = Cache(3)
    with pytest.raises(Boom, match="index"):
        cache.resize(FailingIndex())
    assert cache.maxsize == 3


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        ((3, None, None), {}),
        ((3, None, None, None), {}),
        ((3,), {"maxsize": 3}),
        ((3,), {"ttl": 3}),
        ((3,), {"size": 3}),
        ((), {"maxsize": 3, "unknown": None}),
    ],
)
def test_arguments_it_doesnt_know(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Cache(*arguments, **keywords)


@pytest.mark.parametrize("name", ["getsizeof", "on_remove"])
@pytest.mark.parametrize("given", [1, "len", object(), [len], True], ids=repr)
def test_what_is_not_callable(name: str, given: object) -> None:
    with pytest.raises(TypeError) as caught:
        Cache(3, **{name: given})
    assert told(caught.value, name, given)


def test_none_stands_for_no_callable() -> None:
    cache = Cache(3, None, on_remove=None)
    cache["a"] = "xxxx"
    assert cache.currsize == 1


def test_factory_that_is_not_callable() -> None:
    cache = Cache(3)
    with pytest.raises(TypeError):
        cache.get_or_create("a", 5)
    assert len(cache) == 0


# What getsizeof returns

GOOD_WEIGHTS = [0, 1, 5, 10, MyInt(3), Level.THREE]
BAD_WEIGHTS = [
    pair
    for pair in BAD_SIZES
    if not isinstance(pair[0], Index) and pair[0] is not int and pair[0] is not len
] + [(None, TypeError)]

STORES: dict[str, Callable[[Any], object]] = {
    "setitem of a new key": lambda cache: cache.__setitem__("new", "value"),
    "setitem of an old key": lambda cache: cache.__setitem__("a", "value"),
    "setdefault": lambda cache: cache.setdefault("new", "value"),
    "update": lambda cache: cache.update(a="value"),
    "ior": lambda cache: cache.__ior__({"new": "value"}),
    "get_or_create": lambda cache: cache.get_or_create("new", lambda: "value"),
}
every_store = pytest.mark.parametrize("store", STORES.values(), ids=STORES.keys())


@pytest.mark.parametrize("weight", GOOD_WEIGHTS, ids=repr)
def test_good_weight(weight: int) -> None:
    cache = Cache(10, lambda value: weight)
    cache["a"] = 1
    assert cache.currsize == int(weight)


@every_store
@pytest.mark.parametrize(
    ("given", "error"),
    BAD_WEIGHTS,
    ids=lambda given: given.__name__ if isinstance(given, type) else repr(given)[:24],
)
def test_bad_weight(store: Callable[[Any], object], given: Any, error: type[Exception]) -> None:
    weight: Any = 4
    cache = Cache(10, lambda value: weight)
    cache.update(a=1, b=2)
    weight = given
    with pytest.raises(error) as caught:
        store(cache)
    assert type(caught.value) is error
    assert told(caught.value, "getsizeof", given)
    assert list(cache.items()) == [("a", 1), ("b", 2)]
    assert cache.currsize == 8
    assert sum(cache.stats().removals) == 0


@every_store
def test_getsizeof_that_raises(store: Callable[[Any], object]) -> None:
    def getsizeof(value: object) -> int:
        if failing:
            raise Boom
        return 1

    failing = False
    cache = Cache(2, getsizeof)
    cache.update(a=1, b=2)
    failing = True
    with pytest.raises(Boom) as caught:
        store(cache)
    assert caught.value.__context__ is None
    assert list(cache.items()) == [("a", 1), ("b", 2)]
    assert cache.currsize == 2


def test_sum_of_great_weights() -> None:
    """No sum wraps around, aborts, or passes the bound."""
    cache = Cache(sys.maxsize, lambda value: value)
    cache["a"] = sys.maxsize
    cache["b"] = 1
    assert list(cache) == ["b"]
    cache["c"] = sys.maxsize - 1
    assert list(cache) == ["b", "c"]
    assert cache.currsize == sys.maxsize
    cache["b"] = sys.maxsize
    assert list(cache) == ["b"]
    with pytest.raises(OverflowError):
        cache["d"] = sys.maxsize + 1
    assert cache.currsize == sys.maxsize


def test_sum_of_great_weights_without_a_bound() -> None:
    cache = Cache(None, lambda value: value)
    kept = 0
    for key in range(5):
        try:
            cache[key] = sys.maxsize
            kept += 1
        except OverflowError:
            assert key not in cache
    assert kept >= 1
    assert len(cache) == kept
    assert cache.currsize == cache.stats().currsize == kept * sys.maxsize
    while cache:
        cache.popitem()
    assert cache.currsize == 0


# How getsizeof is called


class Weigher:
    def of_value(self, value: object) -> int:
        return 2

    def of_both(self, key: object, value: object) -> int:
        return 3

    def __call__(self, key: object, value: object) -> int:
        return 4

    @staticmethod
    def static(value: object) -> int:
        return 5

    @classmethod
    def of_class(cls, key: object, value: object) -> int:
        return 6


def by_keyword(value: object, *, scale: int = 2) -> int:
    return scale


def three(key: object, value: object, scale: int) -> int:
    return scale


@pytest.mark.parametrize(
    ("getsizeof", "weight"),
    [
        (lambda value: len(value), 3),
        (lambda key, value: len(key) + len(value), 5),
        (lambda value, extra=None: 1 if extra is None else 9, 1),
        (lambda *arguments: len(arguments), 1),
        (lambda value, *rest: len(rest), 0),
        (lambda key, value, extra=7: extra, 7),
        (by_keyword, 2),
        (functools.partial(three, scale=8), 8),
        (functools.partial(three, "given", scale=9), 9),
        (len, 3),
        (sys.getsizeof, sys.getsizeof("val")),
        (operator.length_hint, 3),
        (str.__len__, 3),
        (Weigher().of_value, 2),
        (Weigher().of_both, 3),
        (Weigher(), 4),
        (Weigher.static, 5),
        (Weigher.of_class, 6),
    ],
)
def test_getsizeof_gets_the_key_where_it_requires_two(
    getsizeof: Callable[..., int], weight: int
) -> None:
    cache = Cache(1_000, getsizeof)
    cache["ke"] = "val"
    assert cache.currsize == weight


def test_getsizeof_by_name() -> None:
    cache = Cache(maxsize=5, getsizeof=len)
    cache["a"] = "xxx"
    assert cache.currsize == 3


def test_weights_are_asked_for_once_for_each_store() -> None:
    asked: list[object] = []

    def getsizeof(value: object) -> int:
        asked.append(value)
        return 1

    cache = Cache(2, getsizeof)
    cache["a"] = 1
    cache["a"] = 2
    cache.update(b=3, c=4)
    cache["b"]
    cache.resize(1)
    cache.clear()
    assert asked == [1, 2, 3, 4]


def test_weights_are_kept_as_they_were() -> None:
    """A value that has grown since weighs what it weighed when it came."""
    cache = Cache(10, len)
    value = ["x"]
    cache["a"] = value
    value.extend("xxxx")
    assert cache.currsize == 1
    cache["b"] = "xx"
    assert cache.currsize == 3
    del cache["a"]
    assert cache.currsize == 2
    cache.clear()
    assert cache.currsize == 0
