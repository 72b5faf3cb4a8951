"""Cached functions whose arguments fail, lie and change, and that fail themselves."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from typing import Any

from actors import Value, nothing_left
from decorated import OURS, THEIRS, Boom, Failing

from isolated import each, isolated, raises
from leaksafe import lru_cache


@each("where", ["hash", "eq"])
@isolated()
def test_an_argument_that_raises(where: str) -> None:
    for typed in (False, True):
        function = OURS(4, typed)(lambda *args, **kwargs: Value())
        calls: list[Callable[[Any], Any]] = [
            lambda use: use(Failing(1)),
            lambda use: use(1, Failing(1)),
            lambda use: use(x=Failing(1)),
            lambda use: use((1, Failing(1))),
        ]
        results = [call(function) for call in calls]
        info = function.cache_info()
        for use in (function, function.cache_discard, function.cache_contains):
            for call in calls:
                Failing.failing = where
                with raises(Boom, where) as caught:
                    call(use)
                assert caught.value is not None and caught.value.__context__ is None
                caught.value = None
                Failing.failing = ""
        after = function.cache_info()
        assert (after.hits, after.misses, after.currsize) == (info.hits, info.misses, 4)
        assert [call(function) is result for call, result in zip(calls, results, strict=True)] == [
            True
        ] * 4
        results.clear()
        del function, use
        nothing_left()


@isolated()
def test_an_argument_that_raises_once_the_function_has_run() -> None:
    """The result is either kept or not, and the error, if any, is the argument's."""

    def body(x: Failing) -> Value:
        if x.number == 9:
            Failing.failing = "eq"
        return Value()

    for size in (4, None):
        function = OURS(size)(body)
        function(Failing(1))
        for _ in range(3):
            try:
                assert type(function(Failing(9))) is Value
            except Boom as error:
                assert error.__context__ is None
            Failing.failing = ""
        for number in (1, 2, 3):
            assert function(Failing(number)) is function(Failing(number))
        assert function.cache_info().currsize in (3, 4)
        del function
        nothing_left()


@isolated()
def test_an_argument_whose_hash_changes() -> None:
    """It can be missed. It can't be in the way of anything, and it leaves in its turn."""
    hashed = 0

    class Changing(Value):
        hash = 1

        def __hash__(self) -> int:
            nonlocal hashed
            hashed += 1
            if self.hash is None:
                raise Boom
            return self.hash

    function = OURS(3)(lambda *args, **kwargs: len(args))
    arguments = [Changing() for _ in range(3)]
    function(arguments[0]), function(1, arguments[1]), function(x=arguments[2])
    for number, argument in enumerate(arguments):
        argument.hash = number + 5 if number < 2 else None  # type: ignore[assignment]
    del argument
    assert function.cache_info().currsize == 3
    hashed = 0
    for number in range(3):
        function(number)
        assert function.cache_info().currsize == 3
    assert hashed == 0, "what leaves was asked for its hash"
    del arguments
    nothing_left()


@isolated()
def test_an_argument_that_equals_everything_or_nothing() -> None:
    class Everything:
        def __hash__(self) -> int:
            return hash(1)

        def __eq__(self, other: object) -> bool:
            return True

    class Nothing:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            return False

    class Odd:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> Any:
            return []

    for decorate in (OURS, THEIRS):
        function = decorate(lambda *args: len(args))
        nothing = Nothing()
        for argument in (1, 1.0, Everything(), nothing, nothing, Nothing(), Odd(), Odd()):
            assert function(argument) == 1 and function(argument, 2) == 2
        if decorate is OURS:
            wanted = function
    assert wanted.cache_info() == function.cache_info()


@isolated()
def test_keys_of_one_hash_and_different_values() -> None:
    function = OURS(lambda *args, **kwargs: (args, kwargs))
    assert hash(-1) == hash(-2) and hash(0) == hash(2**61 - 1)
    for value in (-1, -2, 0, 2**61 - 1, (-1,), (-2,), 0.0, "", b""):
        assert function(value)[0][0] is value or value == 0.0
        assert function(1, value) == ((1, value), {})
        assert function(x=value) == ((), {"x": value})
    assert function(-1)[0] == (-1,) and function(-2)[0] == (-2,)


@isolated()
def test_the_first_call_raises_then_again() -> None:
    """theine hangs for ever at the second call."""
    outcomes: list[Any] = [Boom("first"), Boom("second"), "result", "never"]

    class Pinned(Value):
        pass

    def next_outcome(x: object, **kwargs: object) -> str:
        pinned = Pinned()
        if isinstance(outcomes[0], Exception):
            # a local that refers to the error would be a cycle, for the collector to find
            raise outcomes.pop(0)
        assert pinned  # type: ignore[truthy-bool]
        return str(outcomes.pop(0))

    gc.disable()
    function = OURS(next_outcome)
    for kwargs in ({}, {"y": 1}):
        for said in ("first", "second"):
            try:
                function(1, **kwargs)
            except Boom as error:
                assert str(error) == said
                assert error.__context__ is error.__cause__ is None
                assert not error.__suppress_context__
                frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
                assert frames == ["test_the_first_call_raises_then_again", "next_outcome"]
                assert Value.living() == 1
            assert Value.living() == 0
        assert function(1, **kwargs) == function(1, **kwargs) == "result"
        assert function.cache_info().currsize == 1
        outcomes[:] = [Boom("first"), Boom("second"), "result", "never"]
        function.cache_clear()


@isolated()
def test_the_context_of_an_error_is_the_callers_own() -> None:
    """cachebox: a spurious KeyError as context of every error in a cached function."""

    @lru_cache
    def function(*args: object, **kwargs: object) -> None:
        raise Boom

    class Class:
        @lru_cache
        def method(self, *args: object) -> None:
            raise Boom

    instance = Class()
    calls: list[Callable[[], object]] = [
        function,
        lambda: function(1),
        lambda: function(1, 2),
        lambda: function(x=1),
        instance.method,
        lambda: instance.method(1),
        lambda: Class.method(instance, 2),
    ]
    for call in calls * 2:
        with raises(Boom) as caught:
            call()
        assert caught.value is not None and caught.value.__context__ is None
        outer = KeyError()
        try:
            raise outer
        except KeyError:
            with raises(Boom) as caught:
                call()
            assert caught.value is not None and caught.value.__context__ is outer


@each("kind", ["KeyboardInterrupt", "SystemExit", "GeneratorExit", "StopIteration", "KeyError"])
@isolated()
def test_any_exception_passes(kind: str) -> None:
    error: type[BaseException] = __builtins__[kind]  # type: ignore[index]
    failing = True

    @lru_cache
    def function(x: int, y: int = 0) -> Value:
        if failing:
            raise error
        return Value()

    for _ in range(3):
        with raises(error):
            function(1)
        with raises(error):
            function(1, y=2)
    assert function.cache_info() == (0, 6, 128, 0)
    failing = False
    assert function(1) is function(1) and function(1, y=2) is function(1, y=2)
