"""Cached functions whose arguments, results and bodies use their cache."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from actors import Value, nothing_left
from decorated import (
    ACTIONS,
    OURS,
    SIZE,
    THEIRS,
    USES,
    Boom,
    Holder,
    Key,
    Result,
    Trigger,
    check_function,
    play,
)

from isolated import each, isolated
from leaksafe import lru_cache


@each("action", ACTIONS)
@each("where", ["hash", "eq"])
@isolated()
def test_reentry_from_arguments(where: str, action: str) -> None:
    play(where, action, USES)


@each("action", ACTIONS)
@isolated()
def test_reentry_from_the_function(action: str) -> None:
    play("body", action, {"miss": USES["miss"]})


@each("action", ACTIONS)
@each("where", ["result", "del"])
@isolated()
def test_reentry_from_finalizers(where: str, action: str) -> None:
    def evict(function: Any, key: Callable[[int], Key]) -> None:
        # with keys that fire nothing: of a miss, the key is kept
        assert function(Key(9)).number == 9

    def clear(function: Any, key: Callable[[int], Key]) -> None:
        function.cache_clear()

    def discard(function: Any, key: Callable[[int], Key]) -> None:
        assert function.cache_discard(Key(1)) is True

    play(where, action, {"evict": evict, "clear": clear, "discard": discard})


@each("action", ACTIONS)
@isolated()
def test_reentry_with_several_arguments(action: str) -> None:
    """Compared one by one, from the arguments as they came."""
    trigger = Trigger(ACTIONS[action])

    def function(*args: Any, **kwargs: Any) -> Result:
        key = [*args, *kwargs.values()][0]
        if key.number == -1:
            raise Boom
        return Result(key.number)

    for typed in (False, True):
        cached = OURS(SIZE, typed)(function)

        def key(number: int) -> Key:
            return Key(number, trigger, "eq")

        calls: list[Callable[[], Any]] = [
            lambda: cached(key(1), key(2)),
            lambda: cached(key(1), key(2), key(3), key(4)),
            lambda: cached(key(1), x=key(2)),
            lambda: cached(x=key(1), y=key(2)),
        ]
        for call in calls * 2:
            call()
            trigger.arm(cached)
            assert call().number == 1
            assert trigger.fired, "the foreign code never ran"
            trigger.left = trigger.fired = 0
        check_function(cached)
    del cached, calls, call
    nothing_left()


class Restless:
    """An __eq__ that changes the place it is compared at, at every comparison."""

    count = 0
    inside = False

    def __init__(self, function: Any) -> None:
        self.function = function

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        if Restless.inside:
            return self is other
        Restless.count += 1
        assert Restless.count < 100_000, "restarts without a bound"
        Restless.inside = True
        self.function.cache_clear()
        self.function(Restless(self.function))
        Restless.inside = False
        return False


@isolated()
def test_an_eq_that_changes_the_cache_at_every_comparison() -> None:
    for size in (1, 2, None):
        function = OURS(size)(lambda *args, **kwargs: Value())
        for use in (
            function,
            function.cache_discard,
            function.cache_contains,
            lambda key, function=function: function(1, key),
            lambda key, function=function: function(x=key),
        ):
            function.cache_clear()
            function(Restless(function)), function(1, Restless(function))
            function(x=Restless(function))
            Restless.count = 0
            try:
                use(Restless(function))
            except RuntimeError as error:
                assert "chang" in str(error), repr(error)
        function.cache_clear()
        assert function(5) is function(5)
        del function, use
        nothing_left()


@isolated()
def test_the_function_calls_itself_with_the_same_arguments() -> None:
    for size in (None, 0, 1, 4):
        infos, results = [], []
        for decorate in (OURS, THEIRS):
            depth = 0

            def body(x: int, **kwargs: Any) -> int:
                nonlocal depth
                depth += 1
                if depth < 5:
                    function(x, **kwargs)  # type: ignore[arg-type]
                return x

            function = decorate(maxsize=size)(body)
            for kwargs in ({}, {"y": 1}):
                depth = 0
                results.append([function(7, **kwargs), function(7, **kwargs)])
            infos.append(function.cache_info())
        assert infos[0] == infos[1], f"{infos} at {size}"
        assert results == [[7, 7]] * 4


@isolated()
def test_the_function_clears_its_cache() -> None:
    for size in (None, 0, 1, 4):
        infos = []
        for decorate in (OURS, THEIRS):

            def body(x: int) -> int:
                function.cache_clear()  # type: ignore[attr-defined]
                return x

            function = decorate(maxsize=size)(body)
            assert [function(x) for x in (1, 2, 2, 3, 1)] == [1, 2, 2, 3, 1]
            infos.append(function.cache_info())
        assert infos[0] == infos[1], f"{infos} at {size}"


@isolated()
def test_the_function_discards_its_own_call() -> None:
    found: list[bool] = []

    @lru_cache(maxsize=2)
    def function(x: int) -> int:
        found.append(function.cache_contains(x))
        found.append(function.cache_discard(x))
        return x

    assert [function(x) for x in (1, 1, 2, 3)] == [1, 1, 2, 3]
    assert found == [False] * 6 and function.cache_info() == (1, 3, 2, 2)

    class Class(Value):
        @lru_cache
        def method(self) -> Value:
            found.append(self.method.cache_discard())
            return Holder(self)

    instance = Class()
    assert instance.method() is instance.method()
    del instance
    assert found == [False] * 7
    nothing_left()


@isolated()
def test_the_function_drops_its_own_wrapper() -> None:
    """While it runs, nothing else holds it."""
    box: list[Any] = []

    def body(x: int) -> Value:
        if x == 1:
            box.clear()
            gc.collect()
        return Value()

    box.append(OURS(body))
    box[0](2)
    assert type(box[0](1)) is Value
    box.append(OURS(body))
    assert type(box[0](x=1)) is Value

    class Class:
        method = lru_cache(lambda self: [delattr(Class, "method"), gc.collect(), Value()])

    assert type(Class().method()[2]) is Value
    nothing_left()
