"""lru_cache and ttl_cache over coroutine functions, and aget_or_create."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import inspect
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest

from harness import PATIENCE
from leaksafe import (
    LRUCache,
    TTLCache,
    WeakCache,
    WeakValueDictionary,
    cache,
    lru_cache,
    ttl_cache,
)

T = TypeVar("T")

DECORATORS: list[Any] = [lru_cache, lru_cache(), lru_cache(3), cache, ttl_cache, ttl_cache(ttl=60)]
CACHES: list[Callable[[], Any]] = [
    lambda: LRUCache(9),
    lambda: TTLCache(9, 60),
    lambda: WeakCache(9),
    WeakValueDictionary,
]


class Value:
    """Something that can be weakly referenced."""


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def patient() -> T:
        async with asyncio.timeout(PATIENCE):
            return await main()

    return asyncio.run(patient())


class Gate:
    """A coroutine function that waits until it is opened, and counts."""

    def __init__(self, make: Callable[[], Any] = Value) -> None:
        self.open = asyncio.Event()
        self.begun = 0
        self.cancelled = 0
        self.make = make

    async def __call__(self, *_arguments: object) -> Any:
        self.begun += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.make()


def gated(make: Callable[[], Any] = Value) -> tuple[Gate, Any]:
    gate = Gate(make)

    @lru_cache
    async def function(*arguments: Any) -> Any:
        return await gate(*arguments)

    return gate, function


async def settled(rounds: int = 5) -> None:
    """Let everything that can go on do so."""
    for _ in range(rounds):
        await asyncio.sleep(0)


@pytest.mark.parametrize("decorate", DECORATORS)
def test_the_result_is_remembered_and_no_coroutine(decorate: Any) -> None:
    calls = []

    @decorate  # type: ignore[untyped-decorator]
    async def double(number: int) -> list[int]:
        calls.append(number)
        await asyncio.sleep(0)
        return [2 * number]

    async def main() -> None:
        first = await double(4)
        assert first == [8] and await double(4) is first
        assert await double(number=4) == [8]
        assert calls == [4, 4]
        assert double.cache_contains(4) and double.cache_info()[:2] == (1, 2)
        assert double.cache_discard(4) and await double(4) == [8] and calls == [4, 4, 4]

    run(main)
    # another event loop finds what the first one left
    assert run(lambda: double(4)) == [8] and len(calls) == 3


class Shape:
    """Async methods of each kind."""

    def __init__(self) -> None:
        self.calls = 0

    @lru_cache
    async def method(self, number: int) -> tuple[Shape, int]:
        self.calls += 1
        await asyncio.sleep(0)
        return self, number

    @classmethod
    @lru_cache
    async def of_class(cls, number: int) -> tuple[type[Shape], int]:
        return cls, number

    @staticmethod
    @ttl_cache
    async def static(number: int) -> int:
        return number


def test_every_kind_is_a_coroutine_function() -> None:
    @lru_cache(maxsize=None)
    async def function() -> None: ...

    async def plain(number: int) -> None: ...

    partial = lru_cache(functools.partial(plain, 1))
    kinds = (function, partial, Shape().method, Shape.method, Shape.of_class, Shape.static)
    for kind in kinds:
        assert inspect.iscoroutinefunction(kind), kind
        if sys.version_info < (3, 14):  # deprecated there
            assert asyncio.iscoroutinefunction(kind), kind
    assert not inspect.iscoroutinefunction(lru_cache(len))
    assert str(inspect.signature(Shape().method)) == "(number: 'int') -> 'tuple[Shape, int]'"


def test_a_method_does_not_hold_its_instance() -> None:
    async def main() -> None:
        shape = Shape()
        assert await shape.method(1) == (shape, 1)
        assert await shape.method(1) is await shape.method(1) and shape.calls == 1
        assert await Shape().method(1) != (shape, 1)
        assert await Shape.of_class(1) == (Shape, 1) and await Shape.static(2) == 2
        gone = weakref.ref(shape)
        del shape
        gc.collect()
        assert gone() is None

    run(main)


def test_equal_arguments_of_different_kinds_are_told_apart_while_they_are_made() -> None:
    async def kind(value: object) -> str:
        await asyncio.sleep(0)
        return repr(value)

    async def main() -> None:
        loose, strict = lru_cache(kind), lru_cache(typed=True)(kind)
        assert await asyncio.gather(*map(loose, (1, 1.0, (1,)))) == ["1", "1.0", "(1,)"]
        assert await asyncio.gather(*map(strict, (1, 1.0, True))) == ["1", "1.0", "True"]

    run(main)


def test_maxsize_0_remembers_nothing() -> None:
    calls = []

    @lru_cache(0)
    async def function() -> int:
        calls.append(1)
        return len(calls)

    async def main() -> None:
        assert [await function(), await function()] == [1, 2]

    run(main)


def test_what_a_call_gets_wrong_is_said() -> None:
    @lru_cache
    async def function(number: int) -> int:
        return number

    async def main() -> None:
        with pytest.raises(TypeError, match="unhashable"):
            await function([])  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="missing 1 required"):
            await function()  # type: ignore[call-arg]
        for make in CACHES:
            with pytest.raises(TypeError, match="factory must be callable"):
                await make().aget_or_create(1, 2)

    run(main)


def test_one_computation_for_all_who_ask() -> None:
    async def main() -> None:
        gate, function = gated()
        tasks = [asyncio.create_task(function("key")) for _ in range(1000)]
        await settled()
        assert gate.begun == 1
        gate.open.set()
        assert len(set(await asyncio.gather(*tasks))) == 1 and gate.begun == 1

    run(main)


@pytest.mark.parametrize("make", CACHES)
def test_aget_or_create_makes_once(make: Any) -> None:
    async def main() -> None:
        made, gate = make(), Gate()
        tasks = [asyncio.create_task(made.aget_or_create("key", gate)) for _ in range(50)]
        await settled()
        gate.open.set()
        results = await asyncio.gather(*tasks)
        assert len(set(results)) == 1 and gate.begun == 1
        assert made["key"] is results[0]
        assert await made.aget_or_create("key", gate) is results[0] and gate.begun == 1

    run(main)


@pytest.mark.parametrize("make", CACHES)
def test_aget_or_create_keeps_nothing_of_a_failure(make: Any) -> None:
    async def main() -> None:
        made = make()

        async def fail() -> Any:
            raise ValueError("no")

        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                await made.aget_or_create("key", fail)
        assert "key" not in made and len(made) == 0
        gate = Gate()
        gate.open.set()
        value = await made.aget_or_create("key", gate)
        assert made["key"] is value

    run(main)


def test_aget_or_create_returns_what_does_not_fit() -> None:
    async def main() -> None:
        async def make() -> str:
            return "x" * 100

        small: LRUCache[int, str] = LRUCache(10, getsizeof=len)
        assert len(await small.aget_or_create(1, make)) == 100 and not small

        closing: LRUCache[int, Any] = LRUCache(10)
        gate = Gate()
        task = asyncio.create_task(closing.aget_or_create(1, gate))
        await settled()
        closing.close()
        gate.open.set()
        assert isinstance(await task, Value)
        with pytest.raises(RuntimeError, match="closed"):
            await closing.aget_or_create(1, gate)

    run(main)


def test_cancelling_one_harms_no_other() -> None:
    async def main() -> None:
        for victim in range(3):
            gate, function = gated()
            tasks = [asyncio.create_task(function()) for _ in range(3)]
            await settled()
            tasks[victim].cancel()
            await settled()
            gate.open.set()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(results.pop(victim), asyncio.CancelledError)
            assert results[0] is results[1] and gate.begun == 1 and not gate.cancelled

    run(main)


def test_it_is_cancelled_when_nobody_waits_any_more() -> None:
    async def main() -> None:
        gate, function = gated()
        tasks = [asyncio.create_task(function()) for _ in range(3)]
        await settled()
        for number, task in enumerate(tasks):
            assert gate.cancelled == 0, number
            task.cancel()
            await settled()
        assert gate.cancelled == 1 and not function.cache_contains()
        gate.open.set()
        assert isinstance(await function(), Value) and gate.begun == 2

    run(main)


def test_what_comes_while_a_cancelled_one_ends_starts_another() -> None:
    async def main() -> None:
        begun = []

        @lru_cache
        async def function() -> int:
            begun.append(1)
            number = len(begun)
            try:
                await asyncio.sleep(PATIENCE if number == 1 else 0)
            except asyncio.CancelledError:
                await asyncio.sleep(0.01)
            return number

        task = asyncio.create_task(function())
        await settled()
        task.cancel()
        await settled()
        assert await function() == 2
        await asyncio.sleep(0.02)
        # the first one ended with a result after all: nobody asked for that any more
        assert await function() == 2

    run(main)


def test_timeouts_and_task_groups() -> None:
    async def main() -> None:
        gate, function = gated()
        patient = asyncio.create_task(function())
        await settled()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await function()
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(function())

                async def fail() -> None:
                    raise ValueError

                group.create_task(fail())
        gate.open.set()
        assert isinstance(await patient, Value) and gate.begun == 1

    run(main)


def test_it_runs_in_the_context_of_the_first_caller() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    async def main() -> None:
        gate = asyncio.Event()

        @lru_cache
        async def function() -> str:
            await gate.wait()
            seen = variable.get()
            variable.set("written")
            return seen

        async def ask(name: str) -> tuple[str, str]:
            variable.set(name)
            return await function(), variable.get()

        tasks = [asyncio.create_task(ask(name)) for name in ("first", "second")]
        await settled()
        gate.set()
        assert await asyncio.gather(*tasks) == [("first", "first"), ("first", "second")]

    run(main)


@pytest.mark.parametrize("forget", ["cache_clear", "cache_discard"])
def test_what_is_forgotten_in_flight_is_not_stored(forget: str) -> None:
    async def main() -> None:
        gate, function = gated()
        before = asyncio.create_task(function())
        other = asyncio.create_task(function("other"))
        await settled()
        getattr(function, forget)()
        after = asyncio.create_task(function())
        await settled()
        assert gate.begun == 3
        gate.open.set()
        old, new = await asyncio.gather(before, after)
        assert old is not new and await function() is new
        await other
        assert function.cache_contains("other") is (forget == "cache_discard")

    run(main)


def test_a_result_that_was_forgotten_is_not_stored_though_nobody_asks_again() -> None:
    async def main() -> None:
        gate, function = gated()
        task = asyncio.create_task(function())
        await settled()
        function.cache_clear()
        gate.open.set()
        assert isinstance(await task, Value)
        assert not function.cache_contains() and function.cache_info().currsize == 0

    run(main)


def test_ages_count_from_the_end_of_the_computation() -> None:
    time = 0.0

    @ttl_cache(ttl=10, timer=lambda: time)
    async def function() -> float:
        nonlocal time
        time += 100
        return time

    async def main() -> None:
        nonlocal time
        assert await function() == 100
        time = 109
        assert await function() == 100
        time = 110
        assert await function() == 210

    run(main)


@pytest.mark.parametrize("eager", [False, True])
def test_eager_tasks(eager: bool) -> None:
    if eager and sys.version_info < (3, 12):
        return  # there are none

    async def main() -> None:
        if eager:
            asyncio.get_running_loop().set_task_factory(
                asyncio.eager_task_factory  # type: ignore[attr-defined]
            )

        @lru_cache
        async def at_once(number: int) -> int:
            return await at_once(number - 1) + 1 if number else 0

        assert await at_once(50) == 50
        assert await asyncio.gather(*(at_once(60) for _ in range(10))) == [60] * 10
        gate, function = gated()
        tasks = [asyncio.create_task(function()) for _ in range(10)]
        gate.open.set()
        assert len(set(await asyncio.gather(*tasks))) == 1 and gate.begun == 1

    run(main)


def test_a_task_factory_without_context() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, body, **_: asyncio.Task(body, loop=loop))
        gate, function = gated()
        tasks = [asyncio.create_task(function()) for _ in range(3)]
        gate.open.set()
        assert len(set(await asyncio.gather(*tasks))) == 1 and gate.begun == 1

    run(main)


def test_without_an_event_loop_it_is_said() -> None:
    @lru_cache
    async def function() -> int:
        return 1

    with pytest.raises(RuntimeError, match=r"event loop of asyncio.*trio"):
        function().send(None)


def test_only_an_async_function_is_awaited() -> None:
    # what only hands out an awaitable is the caller's affair
    @lru_cache
    def later() -> Awaitable[int]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        loop.call_soon(future.set_result, 7)
        return future

    async def main() -> None:
        assert [await later(), await later()] == [7, 7]

    run(main)
