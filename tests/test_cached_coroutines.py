"""cached over coroutine functions."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from harness import PATIENCE
from leaksafe import LRUCache, TTLCache, cached

T = TypeVar("T")

OPTIONS: list[dict[str, Any]] = [
    {},
    {"maxsize": 10},
    {"ttl": 60},
    {"max_bytes": "1 MiB"},
    {"key": lambda *arguments, **_: arguments},
    {"cache": {}},
    {"copy": True},
    {"ttl": 60, "refresh_after": 30},
    {"wait_timeout": 60},
]


def named(options: dict[str, Any]) -> str:
    return "+".join(options) or "plain"


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def patient() -> T:
        async with asyncio.timeout(PATIENCE):
            return await main()

    return asyncio.run(patient())


async def settled() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


def fresh(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "cache": {}} if "cache" in options else options


@pytest.mark.parametrize("options", OPTIONS, ids=named)
def test_the_result_is_kept_and_computed_once(options: dict[str, Any]) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        calls = []

        @cached(**fresh(options))
        async def function(x: int, y: int = 0) -> list[int]:
            calls.append(x)
            await gate.wait()
            return [x, y]

        assert inspect.iscoroutinefunction(function)
        tasks = [asyncio.create_task(function(1)) for _ in range(20)]
        await settled()
        tasks[0].cancel()
        await settled()
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results.pop(0), asyncio.CancelledError)
        assert results == [[1, 0]] * 19 and calls == [1]
        assert len(set(map(id, results))) == (19 if "copy" in options else 1)
        assert await function(1) == [1, 0] and calls == [1]
        assert function.cache_peek(1) == [1, 0] and function.cache_contains(1)
        assert function.cache_discard(1) and not function.cache_contains(1)
        assert await function(1) == [1, 0] and calls == [1, 1]
        function.cache_clear()
        assert function.cache_info()[0] == function.cache_info().currsize == 0

    run(main)


@pytest.mark.parametrize("options", OPTIONS, ids=named)
@pytest.mark.parametrize("forget", ["cache_clear", "cache_discard"])
def test_what_is_forgotten_in_flight_is_not_kept(options: dict[str, Any], forget: str) -> None:
    async def main() -> None:
        gate = asyncio.Event()

        @cached(**fresh(options))
        async def function(x: int = 1) -> list[int]:
            await gate.wait()
            return [x]

        task = asyncio.create_task(function())
        await settled()
        getattr(function, forget)()
        gate.set()
        assert await task == [1]
        assert not function.cache_contains()

    run(main)


@pytest.mark.parametrize("options", OPTIONS, ids=named)
def test_a_method_does_not_hold_its_instance(options: dict[str, Any]) -> None:
    class Shape:
        @cached(**fresh(options))
        async def area(self, x: int) -> list[object]:
            await asyncio.sleep(0)
            return [x]

    async def main() -> None:
        shape = Shape()
        assert inspect.iscoroutinefunction(shape.area)
        assert await shape.area(2) == [2] == await shape.area(2)
        if "key" not in options:
            assert Shape.area.cache_info()[:2] == (1, 1)
        gone = weakref.ref(shape)
        del shape
        gc.collect()
        assert gone() is None
        assert Shape.area.cache_info().currsize == 0

    run(main)


def test_normalized_calls_are_one() -> None:
    async def main() -> None:
        calls = []

        @cached
        async def function(x: int, y: int = 7) -> int:
            calls.append((x, y))
            await asyncio.sleep(0)
            return x + y

        asked = [function(1), function(x=1), function(1, 7), function(y=7, x=1)]
        assert await asyncio.gather(*asked) == [8] * 4 and calls == [(1, 7)]
        # one computed, and three had it computed
        assert function.cache_info()[:2] == (3, 1)

    run(main)


def test_functions_that_share_a_cache_do_not_share_results() -> None:
    async def main() -> None:
        shared: LRUCache[Any, Any] = LRUCache(10)

        @cached(shared)
        async def one(x: int) -> str:
            return "one"

        @cached(shared)
        async def two(x: int) -> str:
            return "two"

        assert [await one(1), await two(1), await one(1)] == ["one", "two", "one"]
        assert len(shared) == 2

    run(main)


def test_cache_if() -> None:
    async def main() -> None:
        @cached(cache_if=lambda result: result > 1)
        async def function(x: int) -> int:
            return x

        assert [await function(1), await function(2)] == [1, 2]
        assert (function.cache_contains(1), function.cache_contains(2)) == (False, True)

    run(main)


def test_stale_if_error_answers_with_the_last_result(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        calls = 0

        @cached(ttl=0.01, stale_if_error=60)
        async def function() -> int:
            nonlocal calls
            calls += 1
            if calls > 1:
                raise OSError("down")
            return calls

        assert await function() == 1
        await asyncio.sleep(0.02)
        assert await function() == 1 and calls == 2
        # what stood in for the error isn't kept as if it were new
        assert await function() == 1 and calls == 3
        function.cache_clear()
        with pytest.raises(OSError, match="down"):
            await function()

    with caplog.at_level(logging.WARNING, "leaksafe.refresh"):
        run(main)
    assert "its last result is answered" in caplog.text


def test_refresh_after_answers_at_once_and_computes_behind() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        calls = 0

        @cached(refresh_after=0.01)
        async def function() -> int:
            nonlocal calls
            calls += 1
            if calls > 1:
                await gate.wait()
            return calls

        assert await function() == 1
        await asyncio.sleep(0.02)
        assert [await function() for _ in range(20)] == [1] * 20
        await settled()
        assert calls == 2
        gate.set()
        await settled()
        assert await function() == 2 and calls == 2

    run(main)


def test_a_failed_refresh_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        calls = 0

        @cached(refresh_after=0.01)
        async def function() -> int:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise OSError("down")
            return calls

        assert await function() == 1
        await asyncio.sleep(0.02)
        assert await function() == 1
        await settled()
        assert calls == 2 and await function() == 1
        await settled()
        assert await function() == 3

    with caplog.at_level(logging.WARNING, "leaksafe.refresh"):
        run(main)
    assert "could not be computed anew" in caplog.text and "down" in caplog.text


@pytest.mark.parametrize("options", [{}, {"cache": TTLCache(10, 60)}], ids=named)
def test_who_has_waited_for_too_long_computes_by_itself(options: dict[str, Any]) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        calls = 0

        @cached(wait_timeout=0.01, **options)
        async def function() -> int:
            nonlocal calls
            calls += 1
            if calls == 1:
                await gate.wait()
                return 1
            return calls

        first = asyncio.create_task(function())
        await settled()
        assert await function() == 2
        assert await function() == 2  # it was kept
        gate.set()
        assert await first == 1

    run(main)


def test_an_unhashable_argument_is_named() -> None:
    async def main() -> None:
        for options in ({}, {"cache_if": bool}):

            @cached(**options)  # type: ignore[call-overload, untyped-decorator, unused-ignore]
            async def function(things: list[int]) -> int:
                return 1

            with pytest.raises(TypeError, match="things"):
                await function([])

    run(main)


def test_what_has_no_meaning_is_refused() -> None:
    async def function() -> None: ...

    with pytest.raises(TypeError, match=r"function is an async def.*single_flight=False"):
        cached(single_flight=False)(function)
