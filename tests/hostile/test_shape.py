"""Half-made, absurdly sized, nested and self-referring caches."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from actors import Cache, Value, check, nothing_left

from isolated import FREE_THREADED, each, full_collection, isolated, outcome, raises, resident
from leaksafe import LRUCache


def bare() -> Cache:
    return LRUCache.__new__(LRUCache)


READS: dict[str, Callable[[Cache], object]] = {
    "len": len,
    "bool": bool,
    "list": list,
    "reversed": lambda c: list(reversed(c)),
    "keys": lambda c: list(c.keys()),
    "values": lambda c: list(c.values()),
    "items": lambda c: list(c.items()),
    "keys set": lambda c: c.keys() | {1},
    "items set": lambda c: c.items() & {(1, 1)},
    "repr": repr,
    "repr views": lambda c: (repr(c.keys()), repr(c.values()), repr(c.items())),
    "==": lambda c: c == {},
    "!=": lambda c: c != {},
    "== itself": lambda c: c == c,
    "in": lambda c: 1 in c,
    "get": lambda c: c.get(1),
    "peek": lambda c: c.peek(1),
    "pop": lambda c: c.pop(1, None),
    "stats": lambda c: c.stats(),
    "maxsize": lambda c: c.maxsize,
    "currsize": lambda c: c.currsize,
    "closed": lambda c: c.closed,
    "clear": lambda c: c.clear(),
    "update nothing": lambda c: c.update(),
    "sizeof": sys.getsizeof,
    "referents": gc.get_referents,
    "weakref": lambda c: weakref.ref(c)(),
    "dir": dir,
    "vars": lambda c: getattr(c, "__dict__", None),
    "close": lambda c: c.close(),
    "exit": lambda c: c.__exit__(None, None, None),
}
MAY_REFUSE: dict[str, Callable[[Cache], object]] = {
    "[]": lambda c: c[1],
    "del": lambda c: c.__delitem__(1),
    "pop miss": lambda c: c.pop(1),
    "popitem": lambda c: c.popitem(),
    "resize": lambda c: c.resize(3),
    "enter": lambda c: c.__enter__(),
    "copy": lambda c: c.copy(),
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "or": lambda c: c | {},
    "ror": lambda c: {} | c,
    "hash": hash,
    "missing": lambda c: c.__missing__(1),
    "repr of iterator": lambda c: repr(iter(c)),
    "setstate": lambda c: getattr(c, "__setstate__", list)(),
}
INSERTS: dict[str, Callable[[Cache], object]] = {
    "set": lambda c: c.__setitem__(1, 2),
    "setdefault": lambda c: c.setdefault(1, 2),
    "update": lambda c: c.update({1: 2}),
    "update keywords": lambda c: c.update(a=2),
    "|=": lambda c: c.__ior__({1: 2}),
    "get_or_create": lambda c: c.get_or_create(1, object),
}


@isolated()
def test_new_without_init() -> None:
    """lru-dict: SIGSEGV."""
    for name, operation in READS.items():
        cache = bare()
        try:
            operation(cache)
        except Exception as error:
            raise AssertionError(f"{name} on what was never made: {error!r}") from error
        assert len(cache) == 0
    for name, operation in MAY_REFUSE.items():
        cache = bare()
        outcome(operation, cache)
        assert len(cache) == 0, name
    for name, operation in INSERTS.items():
        cache = bare()
        with raises(RuntimeError, "__init__") as caught:
            operation(cache)
        assert len(cache) == 0, name
        del caught
        # and it can still be made
        cache.__init__(3)  # type: ignore[misc]
        operation(cache)
        assert len(cache) == 1
        check(cache)
    # one thing after the other, on one
    cache = bare()
    for operation in (*READS.values(), *MAY_REFUSE.values(), *INSERTS.values()):
        outcome(operation, cache)


@isolated()
def test_new_of_a_subclass_without_super_init() -> None:
    class Forgetful(LRUCache[Any, Any]):
        def __init__(self) -> None:
            self.attribute = self

    for _ in range(3):
        cache = Forgetful()
        with raises(RuntimeError, "__init__"):
            cache[1] = 2
        assert repr(cache) and len(cache) == 0 and 1 not in cache
    gone = weakref.ref(cache)
    del cache
    full_collection()
    assert gone() is None


@isolated()
def test_new_with_any_arguments() -> None:
    """As object subclasses do, __new__ leaves the arguments to __init__."""

    class Named(LRUCache[Any, Any]):
        def __init__(self, name: str, *, size: int) -> None:
            super().__init__(size)
            self.name = name

    cache = Named("a", size=3)
    cache[1] = 2
    assert cache.maxsize == 3 and cache.name == "a"
    check(cache)


@isolated()
def test_init_twice() -> None:
    cache: Cache = LRUCache(3)
    cache[1] = 2
    with raises(RuntimeError):
        cache.__init__(5)  # type: ignore[misc]
    assert cache.maxsize == 3 and cache[1] == 2
    check(cache)


@isolated()
def test_init_that_failed() -> None:
    """A refused __init__ leaves what __new__ made, and no callable held."""
    cache = bare()

    class Sizer:
        def __call__(self, value: object) -> int:
            return 1

    sizer = Sizer()
    gone = weakref.ref(sizer)
    with raises(ValueError):
        cache.__init__(-1, sizer)  # type: ignore[misc]
    with raises(TypeError):
        cache.__init__(1, sizer, on_remove=5)  # type: ignore[misc]
    del sizer
    assert gone() is None
    with raises(RuntimeError, "__init__"):
        cache[1] = 2
    cache.__init__(3)  # type: ignore[misc]
    check(cache)


SIZES: dict[str, Any] = {
    "-1": ValueError,
    "-2**63": ValueError,
    "-2**70": (ValueError, OverflowError),
    "1.5": TypeError,
    "3.0": TypeError,
    "nan": TypeError,
    "inf": TypeError,
    "True": TypeError,
    "False": TypeError,
    "'3'": TypeError,
    "b'3'": TypeError,
    "[]": TypeError,
    "object()": TypeError,
    "2**63": OverflowError,
    "2**64": OverflowError,
    "2**70": OverflowError,
    "2**31": None,
    "2**31 - 1": None,
    "2**32 - 1": None,
    "2**32": None,
    "2**32 + 1": None,
    "2**62": None,
    "2**63 - 1": None,
    "0": None,
    "1": None,
    "None": None,
}


@each("size", SIZES)
@isolated()
def test_sizes(size: str) -> None:
    """cachebox and theine abort the process, or take 0 and NaN for no bound."""
    given = eval(size, {"nan": float("nan"), "inf": float("inf")})
    wanted = SIZES[size]
    existing: Cache = LRUCache(3)
    existing[1] = 2
    before = resident()
    if wanted is not None:
        kinds = wanted if isinstance(wanted, tuple) else (wanted,)
        for operation in (LRUCache, existing.resize):
            try:
                operation(given)
            except kinds as error:
                assert type(error) in kinds
                assert "maxsize" in str(error), f"{error!r} doesn't name the argument"
            else:
                raise AssertionError(f"{given!r} was taken for a size")
        assert existing.maxsize == 3 and existing[1] == 2
        return
    cache: Cache = LRUCache(given)
    assert cache.maxsize == given
    existing.resize(given)
    assert existing.maxsize == given
    for number in range(1_000):
        cache[number] = existing[number] = number
    kept = 1_000 if given is None else min(given, 1_000)
    assert len(cache) == len(existing) == kept
    copied = pickle.loads(pickle.dumps(cache.copy()))
    assert copied.maxsize == given and len(copied) == kept
    assert resident() - before < 64 * 2**20, "memory was reserved by the bound alone"
    check(cache)


@each("size", ["2**31", "2**32 + 1", "2**63 - 1"])
@isolated()
def test_weights(size: str) -> None:
    """Weights up to the bound, sums beyond 2**63."""
    given = eval(size)
    cache: Cache = LRUCache(given, lambda value: int(value))
    cache[1] = given
    assert cache.currsize == given
    cache[2] = given
    assert list(cache) == [2] and cache.currsize == given
    cache[3] = 0
    assert list(cache) == [2, 3]
    cache[4] = given - 1
    assert list(cache) == [3, 4] and cache.currsize == given - 1
    cache[3] = 1
    assert cache.currsize == given
    with raises(ValueError if given < sys.maxsize else OverflowError):
        cache[4] = given + 1
    assert cache.currsize == given and cache[4] == given - 1
    check_weight(cache)
    unbounded: Cache = LRUCache(None, lambda value: int(value))
    unbounded[1] = sys.maxsize
    got = outcome(unbounded.__setitem__, 2, sys.maxsize)
    # a sum that fits nowhere is refused, or told as the number it is: never wrapped around
    if got is None:
        assert unbounded.currsize == 2 * sys.maxsize
    else:
        assert got in (OverflowError, ValueError)
        assert unbounded.currsize == sys.maxsize and list(unbounded) == [1]


def check_weight(cache: Cache) -> None:
    assert cache.currsize == sum(cache.values()) <= (cache.maxsize or 0)


@isolated()
def test_holds_itself() -> None:
    cache: Cache = LRUCache(8)
    cache["me"] = cache
    cache["list"] = [cache, {"deeper": cache}]
    assert repr(cache).count("LRUCache(...)") == 3
    cache["view"] = cache.values()
    cache["items"] = cache.items()
    assert isinstance(repr(cache), str)
    assert isinstance(repr(cache.values()), str)
    assert cache == cache
    copied = copy.copy(cache)
    assert copied["me"] is cache
    del cache["view"], cache["items"], copied
    deep = copy.deepcopy(cache)
    assert deep is not cache and deep["me"] is deep and deep["list"][0] is deep
    loaded = pickle.loads(pickle.dumps(cache))
    assert loaded["me"] is loaded and loaded["list"][1]["deeper"] is loaded
    for each_one in (cache, deep, loaded):
        each_one.clear()
        check(each_one)


@isolated()
def test_eq_of_caches_that_hold_each_other() -> None:
    """dict recurses to a RecursionError: so may we, and nothing worse."""
    one: Cache = LRUCache(3)
    two: Cache = LRUCache(3)
    one[1], two[1] = two, one
    assert outcome(lambda: one == two) in (True, RecursionError)
    one[1], two[1] = one, two
    assert outcome(lambda: one == two) in (True, False, RecursionError)
    check(one)


@isolated()
def test_eq_with_python_code_that_uses_both() -> None:
    """cachebox: deadlock at cache == cache with a Python __eq__."""
    one: Cache = LRUCache(4)
    two: Cache = LRUCache(4)

    class Meddler:
        def __eq__(self, other: object) -> bool:
            assert len(one) == len(two) == 3
            assert one.get(1) is not None and two.peek(1) is not None
            one[2] = one[2]
            list(two.items())
            return True

        __hash__ = None  # type: ignore[assignment]

    for number in range(3):
        one[number], two[number] = Meddler(), Meddler()
    assert one == two and two == one
    assert not one != two
    assert one == dict(two.items()) and dict(one.items()) == two
    assert one.items() == two.items()
    assert one == one
    check(one)


@isolated()
def test_eq_with_odd_mappings() -> None:
    class Liar(Mapping[Any, Any]):
        """Says that it has as many entries, and has none."""

        def __getitem__(self, key: Any) -> Any:
            raise KeyError(key)

        def __iter__(self) -> Any:
            return iter(())

        def __len__(self) -> int:
            return 2

    class Broken(Liar):
        def __len__(self) -> int:
            raise ZeroDivisionError

        def __iter__(self) -> Any:
            raise ZeroDivisionError

        def __getitem__(self, key: Any) -> Any:
            raise ZeroDivisionError

    cache: Cache = LRUCache(4)
    cache[1], cache[2] = "one", "two"
    assert (cache == Liar()) is False and (cache != Liar()) is True
    with raises(ZeroDivisionError):
        _ = cache == Broken()
    assert (cache == 5) is False and (cache == None) is False  # noqa: E711
    assert (cache == [(1, "one"), (2, "two")]) is False


@isolated()
def test_reading_while_walking() -> None:
    """A hit moves its entry to the end: a walk that reads must end, and see each key once."""
    cache: Cache = LRUCache(50)
    for number in range(50):
        cache[number] = number
    for view in (cache.keys, cache.values, cache.items, lambda: cache):
        for reverse in (False, True):
            seen: list[int] = []
            walk: Any = reversed(view()) if reverse else view()
            for item in walk:
                number = item[0] if isinstance(item, tuple) else item
                seen.append(number)
                assert len(seen) <= 50, "a walk that reads never ends"
                assert cache[number] == number
            assert sorted(seen) == list(range(50)), f"{len(seen)} seen"
    # and so must one that replaces values
    seen = []
    for number in cache:
        seen.append(number)
        assert len(seen) <= 50, "a walk that replaces never ends"
        cache[number] = number
    assert sorted(seen) == list(range(50))
    check(cache)


@isolated()
def test_inserting_while_walking() -> None:
    """cachetools' iteration never ends when it inserts."""
    for view in ("keys", "values", "items", "__iter__", "__reversed__"):
        cache: Cache = LRUCache(10)
        for number in range(10):
            cache[number] = number
        steps = 0
        with raises(RuntimeError, "changed during iteration"):
            for _ in getattr(cache, view)():
                steps += 1
                cache[1000 + steps] = 1
        assert steps == 1
        check(cache)


@isolated()
def test_iterator_outlives_the_cache() -> None:
    """cachebox: an iterator's use after free."""
    for view in ("keys", "values", "items", "__iter__", "__reversed__"):
        cache: Cache = LRUCache(10)
        for number in range(10):
            cache[number] = Value()
        walk = iter(getattr(cache, view)())
        next(walk)
        gone = weakref.ref(cache)
        del cache
        gc.collect()
        assert len(list(walk)) == 9
        assert next(walk, "end") == "end"
        # at its end it lets go, as dict's does
        assert gone() is None
        del walk
    nothing_left()


@isolated()
def test_types_are_let_go() -> None:
    """PyO3 before 0.29.2 leaked an instance's type, its __dict__, and class attributes."""

    class Token:
        pass

    references: list[weakref.ref[Any]] = []
    for number in range(20):
        token, attribute = Token(), Token()
        kind: Any = type(f"Kind{number}", (LRUCache,), {"token": token})
        for _ in range(5):
            cache = kind(3)
            cache.attribute = attribute
            cache.me = cache
            cache[1] = 2
        references += [weakref.ref(one) for one in (token, attribute, kind, cache)]
    before = sys.getrefcount(LRUCache)
    for _ in range(1000):
        LRUCache(3).copy()
    # without the GIL, each thread counts the references to a type by itself
    assert FREE_THREADED or abs(sys.getrefcount(LRUCache) - before) < 10
    del token, attribute, kind, cache
    full_collection()
    assert [one for one in references if one() is not None] == []


@isolated()
def test_gc_debug_flags_and_callbacks() -> None:
    """A collection's own callbacks may use the cache that is being collected."""
    cache: Cache = LRUCache(4)
    cache["list"] = [cache]
    gone = weakref.ref(cache)
    calls: list[str] = []

    def callback(phase: str, info: object) -> None:
        alive = gone()
        if alive is not None:
            alive[phase] = Value()
            calls.append(phase)

    gc.callbacks.append(callback)
    gc.collect()
    assert calls == ["start", "stop"]
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.callbacks.clear()
    del cache
    gc.collect()
    (saved,) = [one for one in gc.garbage if isinstance(one, LRUCache)]
    assert saved["list"][0] is saved
    # the values that the finalizers have seen may be in it still
    saved.clear()
    check(saved)
    gc.set_debug(0)
    gc.garbage.clear()
    del saved
    nothing_left()


@isolated()
def test_odd_types_in_arguments() -> None:
    """Wrong arguments are refused with TypeError, by each method, and change nothing."""
    cache: Cache = LRUCache(4)
    cache[1] = "one"
    new: Any = LRUCache
    attempts: list[Callable[[Any], object]] = [
        lambda c: new(),
        lambda c: new(1, 2),
        lambda c: new(1, None, None),
        lambda c: new(1, on_remove=3),
        lambda c: new(1, size=3),
        lambda c: new(1, maxsize=3),
        lambda c: c.get(),
        lambda c: c.get(1, 2, 3),
        lambda c: c.get(1, nothing=3),
        lambda c: c.pop(),
        lambda c: c.pop(1, 2, 3),
        lambda c: c.popitem(1),
        lambda c: c.setdefault(),
        lambda c: c.setdefault(1, 2, 3),
        lambda c: c.peek(),
        lambda c: c.get_or_create(1),
        lambda c: c.get_or_create(9, 5),
        lambda c: c.get_or_create(9, lambda needs: needs),
        lambda c: c.update(5),
        lambda c: c.update([1]),
        lambda c: c.update(1, 2),
        lambda c: c.resize(),
        lambda c: c.clear(1),
        lambda c: c.close(1),
        lambda c: c | 5,
        lambda c: 5 | c,
        lambda c: hash(c),
        lambda c: c < {},
        lambda c: c + {},
        lambda c: new.__setitem__({}, 1, 2),
        lambda c: new.get({}, 1),
        lambda c: new.__new__(dict),
        lambda c: new.__init__({}, 1),
    ]
    for number, attempt in enumerate(attempts):
        try:
            attempt(cache)
        except TypeError:
            pass
        except Exception as error:
            raise AssertionError(f"attempt {number}: {error!r}") from error
        else:
            raise AssertionError(f"attempt {number} was taken")
    assert list(cache.items()) == [(1, "one")]
    check(cache)


@isolated()
def test_pickles_that_lie() -> None:
    """State of the wrong kind is refused, never believed."""
    cache: Cache = LRUCache(4)
    cache[1] = 2
    reduced: Any = cache.__reduce_ex__(4)
    for state in (None, 5, (), ((), ()), {"maxsize": -1}, [1, 2, 3], "x", (1, 2, 3, 4)):
        blank = bare()
        setstate = getattr(blank, "__setstate__", None)
        if setstate is not None:
            outcome(setstate, state)
            outcome(blank.__setitem__, 1, 2)
            assert len(blank) <= 1
    assert reduced
    data = pickle.dumps(cache)
    for cut in range(len(data)):
        outcome(pickle.loads, data[:cut])
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        got = outcome(pickle.loads, bytes(changed))
        if type(got) is LRUCache:
            assert got.maxsize is None or len(got) <= got.maxsize
            check(got)
