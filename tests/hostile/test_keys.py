"""Keys that lie, change, collide, nest without end, or are not quite what their base is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors import Cache, Value, check, nothing_left

from isolated import each, isolated, raises
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
