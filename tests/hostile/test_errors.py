"""Errors from each place where a cache runs foreign code reach the caller, and nobody else."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from actors import Cache, check

from isolated import each, isolated, raises
from leaksafe import LRUCache


class Odd(Exception):
    pass


class Fatal(BaseException):
    pass


KINDS: dict[str, type[BaseException]] = {
    kind.__name__: kind
    for kind in (
        Odd,
        Fatal,
        KeyError,
        RuntimeError,
        AttributeError,
        TypeError,
        MemoryError,
        StopIteration,
        KeyboardInterrupt,
        SystemExit,
    )
}


class Bomb:
    """Raises the error it was given, from wherever it is asked, while it is live."""

    def __init__(self, error: BaseException, *at: str, number: int = 0) -> None:
        self.error = error
        self.at = at
        self.number = number
        self.live = False

    def blow(self, where: str) -> None:
        if self.live and where in self.at:
            raise self.error

    def __hash__(self) -> int:
        self.blow("hash")
        return 7

    def __eq__(self, other: object) -> bool:
        self.blow("eq")
        return self is other

    def __repr__(self) -> str:
        self.blow("repr")
        return "Bomb()"

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        self.blow("reduce")
        return object, ()

    def __deepcopy__(self, memo: object) -> object:
        self.blow("deepcopy")
        return object()

    def __index__(self) -> int:
        self.blow("index")
        return 1

    def __call__(self, *args: object) -> Any:
        self.blow("call")
        return 1

    def keys(self) -> list[int]:
        self.blow("keys")
        return [1, 2]

    def __getitem__(self, key: int) -> Any:
        if key == 2:
            self.blow("getitem")
        return key


def snapshot(cache: Cache) -> object:
    stats = cache.stats()
    return (
        [(id(key), id(value)) for key, value in cache.items()],
        cache.currsize,
        cache.maxsize,
        stats.insertions,
        stats.removals,
    )


def refused(
    cache: Cache,
    bomb: Bomb,
    operation: Callable[[], object],
    *,
    changes: bool = False,
    name: str = "",
) -> None:
    """The operation fails with the very error that was raised, and the cache is as it was."""
    before = snapshot(cache)
    bomb.live = True
    try:
        operation()
    except BaseException as error:
        assert error is bomb.error, f"{name}: {error!r} in place of {bomb.error!r}"
        assert error.__context__ is None and error.__cause__ is None, f"{name}: a context"
    else:
        raise AssertionError(f"{name}: the error was swallowed")
    finally:
        bomb.live = False
    assert changes or snapshot(cache) == before, f"{name}: the cache changed"
    check(cache)


def filled(cache: Cache) -> Cache:
    for number in range(3):
        cache[number] = str(number)
    return cache


def key_operations(cache: Cache, key: Any) -> dict[str, Callable[[], object]]:
    return {
        "[]": lambda: cache[key],
        "get": lambda: cache.get(key),
        "in": lambda: key in cache,
        "peek": lambda: cache.peek(key),
        "set": lambda: cache.__setitem__(key, 1),
        "del": lambda: cache.__delitem__(key),
        "pop": lambda: cache.pop(key),
        "pop default": lambda: cache.pop(key, None),
        "setdefault": lambda: cache.setdefault(key, 1),
        "get_or_create": lambda: cache.get_or_create(key, object),
        "update": lambda: cache.update([(key, 1)]),
        "|=": lambda: cache.__ior__([(key, 1)]),
        "in keys()": lambda: key in cache.keys(),
        "in items()": lambda: (key, 1) in cache.items(),
    }


@each("kind", KINDS)
@isolated()
def test_hash_raises(kind: str) -> None:
    bomb = Bomb(KINDS[kind]("x"), "hash")
    for name in key_operations(LRUCache(3), bomb):
        cache = filled(LRUCache(3))
        refused(cache, bomb, key_operations(cache, bomb)[name], name=name)
        refused(cache, bomb, key_operations(cache, (1, bomb))[name], name=name)


@each("kind", KINDS)
@isolated()
def test_eq_raises(kind: str) -> None:
    """lru-dict and moka-py take this for a miss, and keep the key twice."""
    bomb = Bomb(KINDS[kind]("x"), "eq")
    probe = Bomb(bomb.error)
    for wrap in (lambda key: key, lambda key: ("a", (key,))):
        for name in key_operations(LRUCache(3), probe):
            cache = filled(LRUCache(8))
            cache[wrap(bomb)] = "bomb"
            operation = key_operations(cache, wrap(probe))[name]
            # whether the key asked for or the one that is kept compares first is CPython's affair
            probe.at = ("eq",)
            probe.live = True
            refused(cache, bomb, operation, name=name)
            probe.live = False


@each("kind", KINDS)
@isolated()
def test_getsizeof_raises(kind: str) -> None:
    bomb = Bomb(KINDS[kind]("x"), "call")
    sizers: list[Callable[..., int]] = [
        lambda value: bomb(value),
        lambda key, value: bomb(key, value),
        bomb,
    ]
    for sizer in sizers:
        operations: dict[str, Callable[[Cache], object]] = {
            "set": lambda c: c.__setitem__(9, 1),
            "replace": lambda c: c.__setitem__(1, 1),
            "setdefault": lambda c: c.setdefault(9, 1),
            "get_or_create": lambda c: c.get_or_create(9, object),
            "update": lambda c: c.update({9: 1}),
            "|=": lambda c: c.__ior__({9: 1}),
        }
        for name, operation in operations.items():
            cache = filled(LRUCache(3, sizer))
            refused(cache, bomb, functools.partial(operation, cache), name=name)


@each("result", ["1.0", "True", "None", "'1'", "-1", "2**63", "2**70", "nan", "-2**70", "object()"])
@isolated()
def test_getsizeof_answers_nonsense(result: str) -> None:
    wrong = eval(result, {"nan": float("nan")})
    weights: list[Any] = []
    cache: Cache = LRUCache(3, lambda value: weights[-1])
    weights.append(1)
    filled(cache)
    before = snapshot(cache)
    weights.append(wrong)
    kind = TypeError
    if type(wrong) is int:
        kind = ValueError if wrong < 0 else OverflowError  # type: ignore[assignment]
    operations: list[Callable[[], object]] = [
        lambda: cache.__setitem__(9, 1),
        lambda: cache.__setitem__(1, 1),
        lambda: cache.setdefault(9, 1),
        lambda: cache.get_or_create(9, object),
        lambda: cache.update({9: 1}),
    ]
    for operation in operations:
        try:
            operation()
        except (OverflowError, ValueError, TypeError) as error:
            # of an int below zero that fits nowhere either may be said
            wanted = (kind, OverflowError) if result == "-2**70" else (kind,)
            assert type(error) in wanted, repr(error)
        else:
            raise AssertionError(f"{wrong!r} was taken for a size")
        assert snapshot(cache) == before
    weights.append(1)
    check(cache)


@each("kind", KINDS)
@isolated()
def test_factory_raises(kind: str) -> None:
    """Neither kept nor replayed, and without a spurious KeyError as its context."""
    bomb = Bomb(KINDS[kind]("x"), "call")
    cache = filled(LRUCache(3))
    for _ in range(3):
        refused(cache, bomb, lambda: cache.get_or_create(9, bomb), name="factory")
    assert cache.get_or_create(9, bomb) == 1
    assert cache[9] == 1
    # and through two keys deep
    refused(
        cache,
        bomb,
        lambda: cache.get_or_create(10, lambda: cache.get_or_create(11, bomb)),
        name="nested",
    )


@each("kind", KINDS)
@isolated()
def test_missing_raises(kind: str) -> None:
    bomb = Bomb(KINDS[kind]("x"), "call")

    class Asking(LRUCache[Any, Any]):
        def __missing__(self, key: Any) -> Any:
            return bomb(key)

    cache = filled(Asking(3))
    refused(cache, bomb, lambda: cache[9])
    assert cache[9] == 1 and 9 not in cache


@each("kind", KINDS)
@isolated()
def test_contents_raise(kind: str) -> None:
    """repr, ==, copying: whatever asks the contents hands on what they raise."""
    error = KINDS[kind]("x")
    places: list[tuple[str, list[Callable[[Cache], object]]]] = [
        ("repr", [repr, str, lambda c: repr(c.values()), lambda c: repr(c.items())]),
        ("reduce", [pickle.dumps]),
        ("deepcopy", [copy.deepcopy]),
        (
            "eq",
            [
                lambda c: c == {0: "0", 1: "1", 2: "2", "bomb": object()},
                lambda c: {0: "0", 1: "1", 2: "2", "bomb": object()} == c,
                lambda c: c != {0: "0", 1: "1", 2: "2", "bomb": object()},
                lambda c: object() in c.values(),
                lambda c: ("bomb", object()) in c.items(),
            ],
        ),
    ]
    for at, operations in places:
        bomb = Bomb(error, at)
        cache = filled(LRUCache(8))
        cache["bomb"] = bomb
        for operation in operations:
            if operation is copy.deepcopy and kind == "StopIteration":
                # copy walks with a generator, which turns this one into a RuntimeError
                continue
            refused(cache, bomb, functools.partial(operation, cache), name=at)


@each("kind", KINDS)
@isolated()
def test_arguments_raise(kind: str) -> None:
    error = KINDS[kind]("x")
    cache = filled(LRUCache(3))
    bomb = Bomb(error, "index")
    refused(cache, bomb, lambda: cache.resize(bomb), name="resize")
    refused(cache, bomb, lambda: LRUCache(bomb), name="LRUCache")
    if kind == "AttributeError":
        # this one means "no keys() here", to dict as well
        return
    bomb = Bomb(error, "keys")
    refused(cache, bomb, lambda: cache.update(bomb), name="keys")
    bomb = Bomb(error, "getitem")
    # what came before the error stays, as in dict
    refused(cache, bomb, lambda: cache.update(bomb), changes=True, name="getitem")
    assert cache[1] == 1

    bomb = Bomb(error, "call")

    def pairs() -> Iterator[tuple[int, int]]:
        yield 5, 5
        bomb()

    if kind != "StopIteration":
        refused(cache, bomb, lambda: cache.update(pairs()), changes=True, name="pairs")
        assert cache[5] == 5
        refused(cache, bomb, lambda: cache.__ior__(pairs()), changes=True, name="|=")


@each("kind", KINDS)
@isolated()
def test_on_remove_raises(kind: str) -> None:
    """lru-dict: a SystemError at some later call. Here the operation is done, and the hook told."""
    error = KINDS[kind]("x")
    told: list[Any] = []
    sys.unraisablehook = told.append
    causes: list[str] = []

    def on_remove(key: object, value: object, cause: str) -> None:
        causes.append(cause)
        raise error

    def make() -> Cache:
        return filled(LRUCache(3, on_remove=on_remove))

    operations: dict[str, tuple[Callable[[Cache], object], list[str]]] = {
        "evict": (lambda c: c.__setitem__(9, 1), ["size"]),
        "replace": (lambda c: c.__setitem__(1, 1), ["replaced"]),
        "del": (lambda c: c.__delitem__(1), ["explicit"]),
        "pop": (lambda c: c.pop(1), ["explicit"]),
        "popitem": (lambda c: c.popitem(), ["explicit"]),
        "setdefault": (lambda c: c.setdefault(9, 1), ["size"]),
        "get_or_create": (lambda c: c.get_or_create(9, object), ["size"]),
        "update": (lambda c: c.update({1: 1, 8: 8, 9: 9}), ["replaced", "size", "size"]),
        "resize": (lambda c: c.resize(1), ["size"] * 2),
        "clear": (lambda c: c.clear(), ["cleared"] * 3),
        "close": (lambda c: c.close(), ["cleared"] * 3),
    }
    for name, (operation, wanted) in operations.items():
        cache = make()
        told.clear()
        causes.clear()
        operation(cache)
        assert causes == wanted, f"{name}: {causes}"
        assert len(told) == len(wanted), f"{name}: {len(told)} of {len(wanted)} errors told"
        for args in told:
            assert args.exc_value is error and args.exc_type is type(error)
            assert args.object is cache
        told.clear()
        # nothing is left to surface at some later call
        assert sys.exc_info() == (None, None, None)
        check(cache)
        assert {args.exc_value for args in told} <= {error}
        told.clear()
        gc.collect()
    sys.unraisablehook = sys.__unraisablehook__


@isolated()
def test_on_remove_raises_while_an_error_is_handled() -> None:
    told: list[Any] = []
    sys.unraisablehook = told.append

    def on_remove(key: object, value: object, cause: str) -> None:
        raise Odd(cause)

    cache = filled(LRUCache(3, on_remove=on_remove))
    error = ValueError("outer")
    try:
        try:
            raise error
        finally:
            cache.clear()
    except ValueError as caught:
        assert caught is error and caught.__context__ is None
    assert [str(args.exc_value) for args in told] == ["cleared"] * 3


@isolated()
def test_an_unraisablehook_that_uses_the_cache_and_raises() -> None:
    def on_remove(key: object, value: object, cause: str) -> None:
        raise Odd(cause)

    cache = filled(LRUCache(3, on_remove=on_remove))
    depth = 0

    def hook(args: Any) -> None:
        nonlocal depth
        if depth < 3:
            depth += 1
            cache["from the hook"] = args.exc_type
            args.object.clear()

    sys.unraisablehook = hook
    cache[9] = 1
    assert depth == 3
    check(cache)
    sys.unraisablehook = lambda args: None


@isolated()
def test_del_raises() -> None:
    """An error in a finalizer is CPython's to report; the operation that ran it succeeds."""
    told: list[Any] = []
    sys.unraisablehook = lambda args: told.append(str(args.exc_value))

    class Mine:
        def __del__(self) -> None:
            raise Odd("del")

    operations: list[Callable[[Cache], object]] = [
        lambda c: c.__setitem__(9, 1),
        lambda c: c.__setitem__(0, 1),
        lambda c: c.__delitem__(0),
        lambda c: c.pop(0) and None,
        lambda c: c.popitem() and None,
        lambda c: c.clear(),
        lambda c: c.resize(0),
        lambda c: c.close(),
    ]
    for operation in operations:
        cache: Cache = LRUCache(1)
        cache[0] = Mine()
        operation(cache)
        assert told == ["del"]
        told.clear()
        check(cache)
    cache = LRUCache(1)
    cache[0] = Mine()
    del cache
    assert told == ["del"]
    sys.unraisablehook = sys.__unraisablehook__


@isolated()
def test_every_failure_has_its_own_traceback() -> None:
    """An error that is kept and raised again grows with each caller."""
    cache: Cache = LRUCache(3)

    def factory() -> object:
        raise Odd("mine")

    def length() -> tuple[int, int]:
        try:
            cache.get_or_create(1, factory)
        except Odd as error:
            return id(error), len(traceback.extract_tb(error.__traceback__))
        raise AssertionError

    assert {length()[1] for _ in range(50)} == {2}


@isolated()
def test_a_miss_inside_a_handler_keeps_the_context() -> None:
    """What __context__ says of a miss is what it says of dict's, and of no miss inside."""
    cache: Cache = LRUCache(3)
    with raises(KeyError) as caught:
        cache["a"]
    assert caught.value is not None and caught.value.__context__ is None
    assert caught.value.args == ("a",)
    with raises(KeyError) as caught:
        cache[("a", "b")]
    # a tuple as a key is one argument
    assert caught.value is not None and caught.value.args == (("a", "b"),)
    outer = ValueError("outer")
    try:
        try:
            raise outer
        except ValueError:
            cache["a"]
    except KeyError as error:
        assert error.__context__ is outer


@isolated()
def test_unhashable_keys() -> None:
    cache = filled(LRUCache(3))
    keys: list[Any] = [[], {}, set(), ([],), (1, (2, {}))]
    for key in keys:
        for name, operation in key_operations(cache, key).items():
            try:
                operation()
            except TypeError as error:
                assert "unhashable" in str(error), f"{name}: {error}"
            else:
                raise AssertionError(f"{name} took {key!r}")
    check(cache)
