"""What the tests of decorated functions and methods are done with."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable
from itertools import count
from typing import Any

from actors import Value, nothing_left

from leaksafe import lru_cache

# As their users write them: over whatever there is, with whatever arguments.
OURS: Any = lru_cache
THEIRS: Any = functools.lru_cache
SIZE = 4

fresh = count(1_000_000)


class Boom(Exception):
    pass


class Holder(Value):
    def __init__(self, held: object = None) -> None:
        super().__init__()
        self.held = held


class Trigger:
    """Runs an action on a function at the first few calls of ``fire`` after it was armed."""

    def __init__(self, action: Callable[[Any], object]) -> None:
        self.action = action
        self.left = self.fired = 0
        self.inside = False
        self.target: weakref.ref[Any] | None = None

    def arm(self, function: Any) -> None:
        self.target = weakref.ref(function)
        self.left = 3

    def fire(self) -> None:
        function = self.target() if self.target is not None else None
        if self.left == 0 or self.inside or function is None:
            return
        self.left -= 1
        self.fired += 1
        self.inside = True
        try:
            self.action(function)
        finally:
            self.inside = False


class Key:
    """Equal to those of the same number, and of the same hash as every other."""

    def __init__(self, number: int, trigger: Trigger | None = None, at: str = "") -> None:
        self.number = number
        self.trigger = trigger
        self.at = at

    def fire(self, at: str) -> None:
        if self.trigger is not None and self.at == at:
            self.trigger.fire()

    def __hash__(self) -> int:
        self.fire("hash")
        return 7

    def __eq__(self, other: object) -> bool:
        self.fire("eq")
        return isinstance(other, Key) and self.number == other.number

    def __del__(self) -> None:
        self.fire("del")

    def __repr__(self) -> str:
        return f"Key({self.number})"


class Result(Value):
    def __init__(self, number: int, trigger: Trigger | None = None) -> None:
        super().__init__()
        self.number = number
        self.trigger = trigger

    def __del__(self) -> None:
        super().__del__()
        if self.trigger is not None:
            self.trigger.fire()


def _same(function: Any) -> None:
    for number in (0, 1, 9):
        assert function(Key(number)).number == number


def _others(function: Any) -> None:
    for _ in range(6):
        function(Key(next(fresh)))


def _clear(function: Any) -> None:
    function.cache_clear()


def _discard(function: Any) -> None:
    for number in (0, 1, 2, 3, 9):
        function.cache_discard(Key(number))


def _put_back(function: Any) -> None:
    function.cache_clear()
    for number in range(SIZE):
        function(Key(number))


def _look(function: Any) -> None:
    function.cache_contains(Key(1))
    function.cache_info(), function.cache_parameters(), repr(function)


def _fail(function: Any) -> None:
    try:
        function(Key(-1))
    except Boom:
        return
    raise AssertionError("it didn't fail")


def _collect(function: Any) -> None:
    gc.collect()


ACTIONS = {
    action.__name__[1:]: action
    for action in (_same, _others, _clear, _discard, _put_back, _look, _fail, _collect)
}


def check_function(function: Any) -> None:
    """What must hold of a cache of at most SIZE results at rest, whatever was done to it."""
    info = function.cache_info()
    assert 0 <= info.currsize <= SIZE, str(info)
    for number in (0, 1, 2, 3, 9, next(fresh)):
        there = function.cache_contains(Key(number))
        before = function.cache_info()
        result = function(Key(number))
        after = function.cache_info()
        assert result.number == number and not result.dead
        assert (after.hits - before.hits, after.misses - before.misses) == (there, not there)
        assert function(Key(number)) is result
        assert function.cache_contains(Key(number)) is True
        assert after.currsize <= SIZE
    assert function.cache_discard(Key(9)) is True
    assert function.cache_discard(Key(9)) is False
    assert function.cache_info().currsize == SIZE - 1
    function.cache_clear()
    assert function.cache_info() == (0, 0, SIZE, 0)


def answers(number: int) -> Callable[[Any], object]:
    """Call with a key of this number, and look at the result."""

    def call(function: Any, key: Callable[[int], Key]) -> None:
        assert function(key(number)).number == number

    return call  # type: ignore[return-value]


USES: dict[str, Callable[[Any, Callable[[int], Key]], object]] = {
    "hit": answers(1),  # type: ignore[dict-item]
    "miss": answers(9),  # type: ignore[dict-item]
    "discard": lambda function, key: function.cache_discard(key(1)),
    "discard nothing": lambda function, key: function.cache_discard(key(9)),
    "contains": lambda function, key: function.cache_contains(key(1)),
}


def play(
    where: str, action: str, uses: dict[str, Callable[[Any, Callable[[int], Key]], object]]
) -> None:
    """Each use of a full cache, with code of this kind in the way that does this to the cache."""
    for name, use in uses.items():
        trigger = Trigger(ACTIONS[action])

        def key(number: int, trigger: Any = trigger) -> Key:
            return Key(number, trigger, where)

        def body(key: Key, trigger: Any = trigger) -> Result:
            if where == "body":
                trigger.fire()
            if key.number == -1:
                raise Boom
            return Result(key.number, trigger if where == "result" else None)

        function = OURS(SIZE)(body)
        for number in range(SIZE):
            function(key(number))
        trigger.arm(function)
        try:
            use(function, key)
            assert trigger.fired, "the foreign code never ran"
            trigger.left = 0
            check_function(function)
        except BaseException as error:
            error.add_note(f"in {name}")
            raise
        del function
        nothing_left()


class Failing:
    """Hashes and compares itself, and fails where it is told to."""

    failing = ""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        if self.failing == "hash":
            raise Boom("hash")
        return 7

    def __eq__(self, other: object) -> bool:
        if Failing.failing == "eq":
            raise Boom("eq")
        return isinstance(other, Failing) and self.number == other.number
