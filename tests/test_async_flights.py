"""Single flight for coroutines: circles of waiting, many loops, and what is left afterwards."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness import in_threads
from isolated import each, full_collection, isolated
from leaksafe import LRUCache, lru_cache
from leaksafe._async_flights import MISSING, Flight, Flights

LIMIT = 15.0
"""Seconds after which an isolated case counts as hanging."""


def flights_alive() -> list[Flight[Any]]:
    full_collection()
    return [thing for thing in gc.get_objects() if isinstance(thing, Flight)]


def absent() -> Any:
    return MISSING


@isolated(limit=LIMIT)
def test_importing_leaksafe_imports_no_asyncio() -> None:
    # this module's own imports aside: in a process of its own
    import subprocess

    code = "import sys, leaksafe; assert 'asyncio' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@isolated(limit=LIMIT)
def test_a_function_that_asks_for_its_own_key_just_runs() -> None:
    depth = 0

    @lru_cache
    async def function(key: str) -> int:
        nonlocal depth
        depth += 1
        return depth if depth == 3 else await function(key)

    assert asyncio.run(function("key")) == 3


@isolated(limit=LIMIT)
@each("size", [2, 3, 7])
@each("start", ["one", "all", "gathered"])
def test_a_ring_of_tasks(size: int, start: str) -> None:
    runs: Counter[int] = Counter()

    @lru_cache
    async def link(number: int) -> int:
        runs[number] += 1
        await asyncio.sleep(0)
        if sum(runs.values()) > 3 * size:
            return number
        following = link((number + 1) % size)
        if start == "gathered":  # by a task that the computation starts
            return (await asyncio.gather(following))[0]
        return await following

    async def main() -> None:
        numbers = range(1 if start == "one" else size)
        await asyncio.gather(*(link(number) for number in numbers))

    asyncio.run(main())
    assert not flights_alive()


@isolated(limit=LIMIT)
def test_a_ring_through_aget_or_create_of_two_caches() -> None:
    one: LRUCache[str, int] = LRUCache(9)
    two: LRUCache[str, int] = LRUCache(9)
    runs = []

    async def first() -> int:
        runs.append(1)
        await asyncio.sleep(0)
        return 7 if len(runs) > 3 else await two.aget_or_create("key", second)

    async def second() -> int:
        await asyncio.sleep(0)
        return await one.aget_or_create("key", first)

    async def main() -> None:
        both = [one.aget_or_create("key", first), two.aget_or_create("key", second)]
        assert await asyncio.gather(*both) == [7, 7]

    asyncio.run(main())


@isolated(limit=LIMIT)
@each("through", ["to_thread", "executor", "direct"])
def test_a_ring_of_a_task_and_a_thread_of_its_own(through: str) -> None:
    """A coroutine computes in a thread what asks for the coroutine's result."""
    slow: LRUCache[str, int] = LRUCache(9)
    runs = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        @lru_cache
        async def front() -> int:
            runs.append("front")
            if len(runs) > 4:
                return 7
            if through == "to_thread":
                return await asyncio.to_thread(slow.get_or_create, "key", back)
            if through == "executor":
                import contextvars

                context = contextvars.copy_context()
                job = lambda: context.run(slow.get_or_create, "key", back)  # noqa: E731
                return await loop.run_in_executor(None, job)
            return await asyncio.to_thread(back)

        def back() -> int:
            return asyncio.run_coroutine_threadsafe(front(), loop).result()

        assert await front() == 7

    asyncio.run(main())


@isolated(limit=LIMIT)
def test_a_ring_of_two_keys_through_a_task_and_a_thread() -> None:
    """A thread makes `slow` and waits for `front`; a task makes `front` and waits for `slow`."""
    slow: LRUCache[str, int] = LRUCache(9)
    both = threading.Barrier(2)
    fronts: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        @lru_cache
        async def front() -> int:
            fronts.append(1)
            if len(fronts) > 1:
                return 7
            await asyncio.to_thread(both.wait)
            return await asyncio.to_thread(slow.get_or_create, "key", back)

        def back() -> int:
            if len(fronts) < 2:
                try:
                    both.wait(1)
                except threading.BrokenBarrierError:
                    pass
            return asyncio.run_coroutine_threadsafe(front(), loop).result()

        ahead = asyncio.to_thread(slow.get_or_create, "key", back)
        assert tuple(await asyncio.gather(front(), ahead)) == (7, 7)

    asyncio.run(main())


@isolated(limit=LIMIT)
def test_a_blocked_loop_closes_no_circle() -> None:
    """A task blocks its loop's thread for a key whose thread waits for a task of that loop."""
    slow: LRUCache[str, int] = LRUCache(9)
    waiting = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        gate = asyncio.Event()

        @lru_cache
        async def front() -> int:
            await gate.wait()
            return 7

        async def ask() -> int:
            waiting.set()
            return await front()

        def back() -> int:
            return asyncio.run_coroutine_threadsafe(ask(), loop).result()

        flying = asyncio.create_task(front())
        thread = asyncio.create_task(asyncio.to_thread(slow.get_or_create, "key", back))
        while not waiting.is_set():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        assert slow.get_or_create("key", lambda: 8) == 8
        gate.set()
        assert await flying == 7
        await thread

    asyncio.run(main())


@isolated(limit=LIMIT)
def test_waiting_in_a_row_is_no_ring() -> None:
    """Only what would never end is computed twice."""
    runs: Counter[int] = Counter()

    @lru_cache(None)
    async def fib(number: int) -> int:
        runs[number] += 1
        await asyncio.sleep(0)
        return number if number < 2 else sum(await asyncio.gather(fib(number - 1), fib(number - 2)))

    assert asyncio.run(fib(80)) == 23416728348467685
    assert set(runs.values()) == {1}


@isolated(limit=60)
def test_recursion_is_not_limited_by_the_stack() -> None:
    @lru_cache(None)
    async def count(number: int) -> int:
        return await count(number - 1) + 1 if number else 0

    assert asyncio.run(count(5_000)) == 5_000
    assert not flights_alive()


@isolated(limit=LIMIT)
def test_a_task_that_outlives_its_computation_may_wait_for_the_next() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        runs = []

        @lru_cache
        async def function() -> asyncio.Task[object]:
            runs.append(1)
            await gate.wait()
            return asyncio.create_task(function())  # it is returned

        first = asyncio.create_task(function())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        function.cache_clear()  # so what it starts finds nothing
        gate.set()
        inner = await first
        second = await inner
        assert isinstance(second, asyncio.Task) and len(runs) == 2
        second.cancel()

    asyncio.run(main())


@isolated(limit=LIMIT)
def test_many_loops_in_many_threads() -> None:
    """Each loop computes at most once, and all find what one has stored."""
    runs: Counter[int] = Counter()

    @lru_cache(None)
    async def function(key: int) -> tuple[str, int]:
        runs[key] += 1
        await asyncio.sleep(0.001)
        return "made", key

    async def main() -> None:
        for key in range(30):
            results = await asyncio.gather(*(function(key) for _ in range(20)))
            assert results == [("made", key)] * 20
            assert await function(key) is await function(key)

    in_threads(*[lambda: asyncio.run(main())] * 4)
    assert all(1 <= count <= 4 for count in runs.values()) and len(runs) == 30
    assert not flights_alive()


@isolated(limit=LIMIT)
@each("how", ["stopped", "never started", "cancelled"])
def test_a_loop_closed_in_mid_flight_leaves_nothing(how: str) -> None:
    flights: Flights[str, int] = Flights()
    local: Any = None

    async def make() -> int:
        nonlocal local
        request = threading.Event()
        local = weakref.ref(request)
        await asyncio.sleep(1000)
        return len(str(request))

    def close_in_flight() -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending"
        tasks = [loop.create_task(flights.once("key", absent, make)) for _ in range(3)]
        rounds = {"stopped": 5, "never started": 1, "cancelled": 5}[how]
        for _ in range(rounds):
            loop.run_until_complete(asyncio.sleep(0))
        assert len(flights) == 1
        if how == "cancelled":
            for task in tasks:
                task.cancel()
        loop.close()

    if how == "never started":
        # its coroutine has not begun, and Python says so
        import warnings

        warnings.simplefilter("ignore", RuntimeWarning)
    close_in_flight()
    assert not flights_alive() and len(flights) == 0
    assert local is None or local() is None

    async def again() -> int:
        async def quick() -> int:
            return 7

        return await flights.once("key", absent, quick)

    assert asyncio.run(again()) == 7


@isolated(limit=LIMIT)
def test_after_the_last_flight_nothing_is_left() -> None:
    flights: Flights[int, object] = Flights()
    left: list[weakref.ref[Any]] = []

    class Made:
        pass

    async def make() -> object:
        left.append(weakref.ref(asyncio.current_task()))
        await asyncio.sleep(0)
        made = Made()
        left.append(weakref.ref(made))
        return made

    async def fail() -> object:
        left.append(weakref.ref(asyncio.current_task()))
        await asyncio.sleep(0)
        raise ValueError

    async def main() -> None:
        for round_ in range(20):
            for factory in (make, fail):
                asking = [
                    asyncio.create_task(flights.once(round_, absent, factory)) for _ in range(5)
                ]
                await asyncio.sleep(0)
                asking[round_ % 5].cancel()
                await asyncio.gather(*asking, return_exceptions=True)
        threads = threading.active_count()
        assert len(flights) == 0 and threads == 1
        # without a collection: nothing of it is in a cycle
        del asking
        await asyncio.sleep(0)

    gc.disable()
    asyncio.run(main())
    assert [reference() for reference in left if reference() is not None] == []
    assert not flights_alive()


@isolated(limit=LIMIT)
def test_a_key_whose_equality_fails_harms_only_its_own_caller() -> None:
    class Key:
        broken = False

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            if Key.broken:
                raise ValueError("eq")
            return self is other

    flights: Flights[Key, str] = Flights()

    async def main() -> None:
        gate = asyncio.Event()

        async def make() -> str:
            await gate.wait()
            return "made"

        asking = [asyncio.create_task(flights.once(Key(), absent, make)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        Key.broken = True
        try:
            await flights.once(Key(), absent, make)
        except ValueError:
            pass
        else:
            raise AssertionError
        gate.set()
        assert await asyncio.gather(*asking) == ["made"] * 3

    asyncio.run(main())
    assert len(flights) == 0


@isolated(limit=LIMIT)
def test_a_forked_child_goes_on() -> None:
    import os

    if sys.version_info >= (3, 12):
        import warnings

        warnings.simplefilter("ignore", DeprecationWarning)

    @lru_cache
    async def function(key: int) -> int:
        await asyncio.sleep(0)
        return key

    asyncio.run(function(1))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if asyncio.run(function(2)) == 2 and asyncio.run(function(1)) == 1 else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_other_loops() -> None:
    """uvloop's, of which there is none for the newest interpreters."""
    uvloop: Any = pytest.importorskip("uvloop")
    check_loop(uvloop.new_event_loop)


def check_loop(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    runs: Counter[object] = Counter()

    @lru_cache
    async def function(key: object) -> object:
        runs[key] += 1
        await asyncio.sleep(0.001)
        return key

    async def main() -> None:
        assert await asyncio.gather(*(function(1) for _ in range(100))) == [1] * 100
        task = asyncio.create_task(function(2))
        await asyncio.sleep(0)
        task.cancel()
        assert await asyncio.wait_for(function(2), 10) == 2

    loop = make_loop()
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(loop.run_until_complete, main()).result(30)
    finally:
        loop.close()
    assert runs[1] == 1


@isolated(limit=LIMIT)
def test_a_cycle_through_a_cached_coroutine_function_is_collected() -> None:
    """By its results, and by the function itself."""

    class Value:
        pass

    def made() -> weakref.ref[Any]:
        @lru_cache
        async def function(key: int) -> Any:
            await asyncio.sleep(0)
            value: Any = Value()
            value.function = function
            return value

        value = asyncio.run(function(1))
        assert asyncio.run(function(1)) is value
        return weakref.ref(value)

    gone = made()
    full_collection()
    assert gone() is None


@isolated(limit=60)
def test_no_operation_leaves_memory_behind() -> None:
    """Hits, misses, failures and cancellations leave as many blocks of memory as there were."""

    @lru_cache(16)
    async def function(key: int) -> list[int]:
        await asyncio.sleep(0)
        if key % 5 == 4:
            raise ValueError(key)
        return [key]

    cache: LRUCache[int, list[int]] = LRUCache(16)

    async def rounds(count: int) -> None:
        for number in range(count):
            asked = [asyncio.create_task(function(number % 40)) for _ in range(3)]
            asked += [
                asyncio.create_task(cache.aget_or_create(number % 40, lambda: function(number)))
            ]
            await asyncio.sleep(0)
            asked[number % 3].cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    def blocks() -> int:
        full_collection()
        return sys.getallocatedblocks()

    asyncio.run(rounds(300))
    before = blocks()
    asyncio.run(rounds(2_000))
    grown = blocks() - before
    assert grown < 400, grown
