"""Keys that lie, change, collide, nest without end, or are not quite what their base is."""

from __future__ import annotations

import decimal
import fractions
import sys
import threading
from collections.abc import Callable
from typing import Any

from actors import Cache, Value, check, nothing_left

from isolated import each, isolated, outcome, raises
from leaksafe import LRUCache


class Restless:
    """An __eq__ that changes the slot it is compared in, at every comparison."""

    cache: Cache
    how: str
    count = 0
    inside = False
    calm = False

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        # inserting from here compares again: one depth of that will do
        if Restless.inside or Restless.calm:
            return self is other
        Restless.count += 1
        assert Restless.count < 100_000, "restarts without a bound"
        Restless.inside = True
        match Restless.how:
            case "clear":
                Restless.cache.clear()
            case "popitem":
                Restless.cache.popitem()
            case "resize":
                Restless.cache.resize(0)
                Restless.cache.resize(1)
            case "evict":
                pass
        Restless.cache[Restless()] = Value()
        Restless.inside = False
        return False


OPERATIONS: dict[str, Callable[[Cache, object], object]] = {
    "[]": lambda cache, key: cache[key],
    "get": lambda cache, key: cache.get(key),
    "set": lambda cache, key: cache.__setitem__(key, Value()),
    "in": lambda cache, key: key in cache,
    "del": lambda cache, key: cache.__delitem__(key),
    "pop": lambda cache, key: cache.pop(key, None),
    "setdefault": lambda cache, key: cache.setdefault(key, Value()),
    "get_or_create": lambda cache, key: cache.get_or_create(key, Value),
    "peek": lambda cache, key: cache.peek(key),
    "update": lambda cache, key: cache.update({key: Value()}),
}


@each("operation", OPERATIONS)
@each("how", ["clear", "popitem", "evict", "resize"])
@isolated()
def test_eq_changes_its_slot_every_time(how: str, operation: str) -> None:
    """A bounded number of restarts, then RuntimeError: no answer of a slot that is gone."""
    cache: Cache = LRUCache(1)
    Restless.cache, Restless.how = cache, how
    cache[Restless()] = Value()
    with raises(RuntimeError) as caught:
        OPERATIONS[operation](cache, Restless())
    assert caught.value is not None and caught.value.__context__ is None
    assert 1 < Restless.count < 10_000, f"{Restless.count} comparisons"
    Restless.calm = True
    check(cache)
    del cache
    del Restless.cache
    nothing_left()


@isolated()
def test_eq_that_settles_down() -> None:
    """Restarted a few times, the look-up then gives the right answer."""
    cache: Cache = LRUCache(2)
    wanted = object()

    class Key:
        left = 5

        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            if Key.left:
                Key.left -= 1
                left, Key.left = Key.left, 0
                cache.clear()
                cache[Key()] = wanted
                Key.left = left
                return False
            return True

    cache[Key()] = object()
    assert cache[Key()] is wanted
    assert Key.left == 0
    check(cache)


@isolated()
def test_eq_that_removes_what_it_says_is_equal() -> None:
    """dict starts again, and finds nothing."""
    cache: Cache = LRUCache(4)

    class Key:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            cache.clear()
            return True

    cache[Key()] = 1
    assert cache.get(Key(), "default") == "default"
    cache[Key()] = 1
    assert Key() not in cache
    cache[Key()] = 1
    with raises(KeyError):
        del cache[Key()]
    cache[Key()] = 1
    cache[Key()] = 2
    assert list(cache.values()) == [2]
    assert cache.stats().removals.replaced == 0
    check(cache)


@isolated()
def test_eq_that_replaces_the_value_it_guards() -> None:
    cache: Cache = LRUCache(4)
    new = Value()

    class Key:
        armed = False

        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            if Key.armed:
                Key.armed = False
                cache[first] = new
            return True

    first = Key()
    cache[first] = Value()
    Key.armed = True
    # the old value is gone: only the new one can be the answer
    assert cache[Key()] is new
    Key.armed = True
    old = cache.pop(Key())
    assert old is new and len(cache) == 0
    check(cache)


@isolated()
def test_eq_answers_that_are_not_bool() -> None:
    cache: Cache = LRUCache(4)

    class Truth:
        def __bool__(self) -> bool:
            raise ZeroDivisionError

    class Key:
        answer: Any = None

        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> Any:
            return Key.answer

    cache[Key()] = "value"
    for answer, found in (
        ([1], True),
        ([], False),
        (None, False),
        (NotImplemented, False),
        (2, True),
        ("", False),
    ):
        Key.answer = answer
        assert (Key() in cache) is found, answer
    Key.answer = Truth()
    with raises(ZeroDivisionError):
        cache.get(Key())
    with raises(ZeroDivisionError):
        cache[Key()] = 1
    assert len(cache) == 1


@isolated()
def test_identity_comes_before_eq() -> None:
    class Never:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            raise AssertionError("the same object was compared")

    key, nan = Never(), float("nan")
    cache: Cache = LRUCache(4)
    cache[key] = cache[nan] = cache[(nan, 1)] = 1
    assert cache[key] == cache[nan] == cache[(nan, 1)] == 1
    assert float("nan") not in cache and (float("nan"), 1) not in cache
    cache[float("nan")] = 2
    assert len(cache) == 4


@isolated()
def test_hash_that_changes() -> None:
    """cachetools: a foreign KeyError at every later set; lru-dict: SIGSEGV; theine: over bound."""

    class Key:
        def __init__(self, number: int) -> None:
            self.number = number
            self.shift = 0

        def __hash__(self) -> int:
            return self.number + self.shift

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Key) and self.number == other.number

    removed: list[Any] = []
    cache: Cache = LRUCache(8, on_remove=lambda key, value, cause: removed.append(key))
    keys = [Key(number) for number in range(8)]
    for key in keys:
        cache[key] = Value()
    for key in keys:
        key.shift = 1000
    assert len(cache) == 8 and list(cache) == keys
    assert keys[0] not in cache and cache.get(keys[1]) is None
    with raises(KeyError):
        del cache[keys[2]]
    copied = cache.copy()
    assert list(copied) == keys
    repr(cache)
    # missed, it is kept a second time: within the bound
    cache[keys[3]] = Value()
    assert len(cache) == 8 and removed == keys[:1]
    for number in range(100):
        cache[number] = Value()
        assert len(cache) == 8
    assert removed[:8] == keys
    for how in ("popitem", "resize", "clear", "close"):
        again = copied.copy()
        removed.clear()
        if how == "popitem":
            while again:
                again.popitem()
        elif how == "resize":
            again.resize(0)
        elif how == "clear":
            again.clear()
        else:
            again.close()
        assert removed == keys, how
    check(cache)


@isolated()
def test_hash_that_raises_later() -> None:
    class Key:
        broken = False

        def __hash__(self) -> int:
            if Key.broken:
                raise ZeroDivisionError
            return 7

        def __eq__(self, other: object) -> bool:
            if Key.broken:
                raise ZeroDivisionError
            return self is other

    def make() -> Cache:
        Key.broken = False
        cache: Cache = LRUCache(8)
        for _ in range(8):
            cache[Key()] = Value()
        Key.broken = True
        return cache

    cache = make()
    for number in range(100):
        cache[number + 100] = Value()
        assert len(cache) == 8
    check(cache)
    for how in ("popitem", "resize", "clear", "close", "iterate", "copy"):
        cache = make()
        if how == "popitem":
            for left in range(7, -1, -1):
                cache.popitem()
                assert len(cache) == left
        elif how == "resize":
            cache.resize(3)
            assert len(cache) == 3
        elif how == "clear":
            cache.clear()
        elif how == "close":
            cache.close()
        elif how == "copy":
            assert len(cache.copy()) == 8
        else:
            assert len(list(cache)) == len(list(cache.items())) == 8
    del cache
    Key.broken = False
    nothing_left()


@isolated()
def test_hash_that_changes_while_the_table_grows() -> None:
    """Growing must not ask the keys again."""

    class Key:
        asked = 0

        def __hash__(self) -> int:
            Key.asked += 1
            return Key.asked * 2654435761

    cache: Cache = LRUCache(None)
    for number in range(10_000):
        cache[Key()] = number
        assert Key.asked == number + 1
    assert list(cache.values()) == list(range(10_000))
    cache.resize(100)
    while cache:
        cache.popitem()
    assert Key.asked == 10_000


@isolated()
def test_colliding_numbers() -> None:
    """theine takes keys of one hash for one key."""
    cache: Cache = LRUCache(100)
    groups = [
        (-1, -2, -2.0, -1.0),
        (0, 2**61 - 1, 0.0, -0.0, False, 2 * (2**61 - 1), -(2**61 - 1)),
        (1, 2**61, True, 1.0, 1 + 0j),
        ("a", b"a"),
        ((-1,), (-2,)),
        ((0, -1), (0, -2), (False, -2.0)),
        (float("inf"), 314159),
        (float("-inf"), -314159),
        (None, hash(None)),
    ]
    model: dict[Any, Any] = {}
    for group in groups:
        for key in group:
            cache[key] = model[key] = repr(key)
    assert list(model.items()) == sorted(cache.items(), key=lambda item: list(model).index(item[0]))
    assert len(cache) == len(model)
    for group in groups:
        for key in group:
            assert cache[key] == model[key]
    for key in list(model):
        del cache[key], model[key]
        assert len(cache) == len(model) and key not in cache
        for other in model:
            assert other in cache


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
