"""Keys of builtin types and their subclasses, equal or of equal hash, and tuples of any depth."""

from __future__ import annotations

import decimal
import fractions
import sys
import threading
from collections.abc import Callable
from typing import Any

from actors import Cache, check

from isolated import each, isolated, outcome, raises
from leaksafe import LRUCache


class S(str):
    """A str by another standard."""

    def __hash__(self) -> int:
        return str.__hash__(self.lower())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()


class I(int):  # noqa: E742 - as short as int
    def __hash__(self) -> int:
        return int.__hash__(self % 10)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and int(self) % 10 == int(other) % 10


class Plain(str):
    pass


class T(tuple[Any, ...]):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple) and len(self) == len(other)

    def __hash__(self) -> int:
        return 7


class Refusing(int):
    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = int.__hash__


TRICKY: list[Any] = [
    0,
    -0.0,
    False,
    0j,
    1,
    1.0,
    True,
    1 + 0j,
    decimal.Decimal(1),
    fractions.Fraction(1),
    2**53,
    float(2**53),
    2**53 + 1,
    2**64,
    float(2**64),
    -(2**63),
    2**63,
    10**30,
    1e30,
    int(1e30),
    float("nan"),
    float("inf"),
    0.5,
    fractions.Fraction(1, 2),
    None,
    ...,
    "",
    b"",
    (),
    "a",
    b"a",
    bytearray,
    "A",
    S("a"),
    S("A"),
    Plain("a"),
    "é",
    "e\u0301",
    "\ud800",
    "a\0b",
    "a\0c",
    "漢字",
    "x" * 1000,
    Plain("x" * 1000),
    I(3),
    I(13),
    3,
    13,
    (1,),
    (1.0,),
    (True,),
    [1].__class__,
    (1, 2),
    (1, (2, (3,))),
    (1.0, (2.0, (3.0,))),
    ("a", S("A")),
    ("a", "A"),
    ("a", "a"),
    (Plain("a"), "a"),
    (I(3), 1),
    (13, 1),
    T((1, 2)),
    T((8, 9)),
    (float("nan"),),
    frozenset(),
    frozenset((1,)),
    (frozenset((1,)),),
    range(3),
    int,
]


@isolated()
def test_equal_as_in_a_dict() -> None:
    """Whatever shortcut compares two keys, it answers as dict does."""
    for kept in TRICKY:
        for asked in TRICKY:
            model = {kept: "kept"}
            cache: Cache = LRUCache(4)
            cache[kept] = "kept"
            assert (asked in cache) is (asked in model), f"{asked!r} in {{{kept!r}}}"
            cache[asked] = model[asked] = "new"
            assert [repr(key) for key in cache] == [repr(key) for key in model]
            assert list(cache.values()) == list(model.values())
            assert cache.pop(asked) == "new" and len(cache) == len(model) - 1


@isolated()
def test_equal_and_apart() -> None:
    """Two objects of equal text or number are one key, however they were made."""
    text = "".join(["key", "-", str(1)])
    cache: Cache = LRUCache(None)
    for make in (
        lambda: text[:3] + text[3:],
        lambda: (text + "é")[:-1],
        lambda: bytes([1, 2, 3]),
        lambda: int("123456789012345678901234567890"),
        lambda: float("1.5"),
        lambda: complex(1, 2),
        lambda: tuple([1, "a" + text, (2.5, None, b"x" + bytes(2))]),
    ):
        key: Any = make()
        again: Any = make()
        assert key is not again
        cache[key] = key
        assert cache[again] is key and again in cache
        assert cache.setdefault(again, None) is key


@isolated()
def test_subclass_that_refuses_to_be_compared() -> None:
    cache: Cache = LRUCache(4)
    cache[5] = "plain"
    for key in (Refusing(5), (1, Refusing(5))):
        cache[(1, 5)] = "tuple"
        with raises(ZeroDivisionError):
            cache[key]
        with raises(ZeroDivisionError):
            cache[key] = 1
    assert cache[5] == "plain" and cache[(1, 5)] == "tuple"


@isolated(flags=["-bb"])
def test_bytes_and_text_of_one_hash() -> None:
    """bytes == str is an error under -bb, for dict too: it must come out, or be avoided."""
    cache: Cache = LRUCache(4)
    cache["a"] = 1
    wanted = outcome(lambda: {"a": 1}[b"a"])  # type: ignore[index]
    assert outcome(lambda: cache[b"a"]) in (wanted, KeyError)
    assert list(cache) == ["a"]


def nested(depth: int) -> Any:
    key: Any = ()
    for _ in range(depth):
        key = (key,)
    return key


@each("depth", [100, 900, 3_000, 100_000])
@isolated()
def test_tuple_nested_deep(depth: int) -> None:
    """Compared, hashed and looked through without the stack's end: dict gives a RecursionError."""
    key, same, other = nested(depth), nested(depth), nested(depth + 1)
    cache: Cache = LRUCache(8)
    cache[key] = "value"
    assert cache[key] == "value"
    for asked, right in ((same, "value"), (other, KeyError)):
        got = outcome(lambda asked=asked: cache[asked])
        assert got in (right, RecursionError), f"{got!r}"
        if depth == 100:
            assert got == right
    got = outcome(cache.__setitem__, same, "new")
    assert got in (None, RecursionError)
    assert len(cache) == 1
    cache.clear()
    # with something at the bottom that the collector must know of
    deep: Any = [cache]
    for _ in range(depth):
        deep = (1, deep)
    cache["deep"] = deep
    repr_or_error = outcome(repr, cache)
    assert repr_or_error is RecursionError or isinstance(repr_or_error, str)
    del deep
    check(cache)


@isolated()
def test_tuple_of_tuples_that_share() -> None:
    """2**60 leaves, 60 objects: to look through it for atomic parts mustn't follow each path."""
    key: Any = ("a", 1)
    for _ in range(60):
        key = (key, key)
    cache: Cache = LRUCache(8)
    cache["value"] = key
    assert cache["value"] is key
    cache.setdefault("other", key)
    assert cache.get_or_create("third", lambda: key) is key


@each("deep", [1, 2, 3, 5, 10, 30])
@isolated()
def test_at_the_recursion_limit(deep: int) -> None:
    """Every operation in the last few frames works or says RecursionError, and breaks nothing."""

    class Key:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Key) and self.number == other.number

    cache: Cache = LRUCache(4, lambda value: 1, on_remove=lambda *args: None)
    hits = 0
    failures = 0

    def work(number: int) -> None:
        nonlocal hits, failures
        for operation in (
            lambda: cache.__setitem__(Key(number % 6), number),
            lambda: cache.get(Key(number % 6)),
            lambda: cache.get_or_create(Key(number % 5), lambda: number),
            lambda: Key(number) in cache,
            lambda: cache.pop(Key(number % 3), None),
            lambda: repr(cache),
            lambda: cache == {Key(1): 1},
            lambda: cache.update({Key(number % 4): 1}),
            lambda: cache[nested(40)],
            lambda: list(cache.items()),
        ):
            try:
                operation()
                hits += 1
            except (RecursionError, KeyError):
                failures += 1

    def descend(number: int) -> None:
        try:
            descend(number + 1)
        except RecursionError:
            if number % deep:
                raise
        try:
            work(number)
        except RecursionError:
            pass

    sys.unraisablehook = lambda args: None
    descend(0)
    sys.unraisablehook = sys.__unraisablehook__
    assert hits and failures
    check(cache)


def deepest(count: Callable[[int], int], most: int) -> int:
    """How deep this recursion gets, up to ``most``."""

    def reached(depth: int) -> bool:
        try:
            assert count(depth) == depth
        except RecursionError:
            return False
        return True

    if reached(most):
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if reached(middle):
            low = middle
        else:
            high = middle
    return low


@isolated()
def test_recursion_8000_deep() -> None:
    """get_or_create within get_or_create: cachebox takes quadratic time.

    3.12 and 3.13 have a limit of their own for calls that pass through C. What is written in C
    itself tells where it is.
    """
    most = 8_000
    cache: Cache = LRUCache(None)

    def ours(number: int) -> int:
        if number == 0:
            return 0
        inner: int = cache.get_or_create(number - 1, lambda: ours(number - 1))
        return inner + 1

    def from_empty(number: int) -> int:
        cache.clear()
        return ours(number)

    def peer(number: int) -> int:
        if number == 0:
            return 0
        inner: list[int] = []
        sorted([number - 1], key=lambda number: inner.append(peer(number)) or 0)
        return inner[0] + 1

    depths: list[int] = []

    def run() -> None:
        sys.setrecursionlimit(10 * most)
        depths.extend(deepest(count, most) for count in (from_empty, peer))

    threading.stack_size(512 * 1024 * 1024)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    depth, theirs = depths
    assert theirs > 100 and depth >= theirs, depths
    if not (3, 12) <= sys.version_info < (3, 14):
        assert depth == most
    assert from_empty(50) == 50 and len(cache) == 50
    check(cache)


@isolated()
def test_recursion_without_end() -> None:
    cache: Cache = LRUCache(8)
    numbers = iter(range(10**9))

    def forever() -> object:
        return cache.get_or_create(next(numbers), forever)

    def own_key() -> object:
        return cache.get_or_create("own", own_key)

    for _ in range(3):
        with raises(RecursionError):
            forever()
        with raises(RecursionError):
            own_key()
    assert len(cache) == 0
    assert cache.get_or_create("own", lambda: 5) == 5
    check(cache)

    class Asking(LRUCache[Any, Any]):
        def __missing__(self, key: Any) -> Any:
            return self[key]

    with raises(RecursionError):
        Asking(3)[1]


@isolated()
def test_million_keys_of_one_hash_would_be_slow_not_wrong() -> None:
    class Key:
        def __hash__(self) -> int:
            return 7

    keys = [Key() for _ in range(2_000)]
    cache: Cache = LRUCache(1_000)
    for key in keys:
        cache[key] = key
    assert list(cache) == keys[1_000:]
    for key in keys[1_000::2]:
        del cache[key]
    assert list(cache) == keys[1_001::2]
    check(cache)
