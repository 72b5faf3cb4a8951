"""What the rounds of `test_g9_clean` are made of."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from isolated import FREE_THREADED
from leaksafe import LRUCache

Cache = LRUCache[Any, Any]
Round = Callable[[], object]

BLOCKS = 500
RUNS = 4


class Key:
    """A key whose hash and comparison are Python code."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.number == other.number


class Sub(LRUCache[Any, Any]):
    def __missing__(self, key: Any) -> Any:
        return VALUE


class Failure(Exception):
    pass


class Raising:
    def __init__(self, at: str) -> None:
        self.at = at

    def __hash__(self) -> int:
        if self.at == "hash":
            raise Failure
        return 7

    def __eq__(self, other: object) -> bool:
        if self.at == "eq":
            raise Failure
        return self is other

    def __repr__(self) -> str:
        raise Failure

    def __sizeof__(self) -> int:
        raise Failure


def fails(*args: object) -> Any:
    raise Failure


def weigh(value: object) -> int:
    return 1


def weigh_both(key: object, value: object) -> int:
    return 1


def forget(key: object, value: object, cause: str) -> None:
    pass


def make() -> object:
    return VALUE


VALUE = [1]
OTHER = [2]
KEYS: list[Any] = [Key(0), ("key", 1), "key-2", 10**20, 3.5, Key(5), (Key(6), 1), object()]
HIT = KEYS[1]
ABSENT: Any = Key(100)
CALLABLES = [weigh, weigh_both, forget, fails, make]
WATCHED: list[Any] = [*KEYS, ABSENT, VALUE, OTHER, *CALLABLES]
if not FREE_THREADED:
    # there, each thread counts the references to a type by itself
    WATCHED += [LRUCache, Sub, Failure]


def filled(size: int | None = 8, *args: Any, kind: type[Cache] = LRUCache, **more: Any) -> Cache:
    cache = kind(**more) if "max_bytes" in more else kind(size, *args, **more)
    for key in KEYS:
        cache[key] = VALUE
    return cache


def quietly(operation: Round, *kinds: type[BaseException]) -> Round:
    """The operation, which must fail with one of these."""

    def run() -> None:
        try:
            operation()
        except kinds:
            return
        raise AssertionError("it didn't fail")

    return run


def alternating(*operations: Round) -> Round:
    def run() -> None:
        for operation in operations:
            operation()

    return run


def swept(operation: Round) -> Round:
    """The operation, whose cycles are collected before they pile up to peaks of their own."""
    count = 0

    def run() -> None:
        nonlocal count
        operation()
        count += 1
        if count % 500 == 0:
            gc.collect()

    return run
