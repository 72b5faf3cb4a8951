"""Decorated functions: errors, recursion, tasks and event loops."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from safety.case import FailsError, must
from safety.contestants import Contestant, gathered


def a_call_that_asks_itself(peer: Contestant) -> None:
    """a decorated function that asks for the key it computes"""

    def compute(number: int) -> int:
        if len(seen) < 3:
            seen.append(number)
            try:
                function(number)
            except RecursionError:
                raise
            except Exception:
                return -1
        return number

    seen: list[int] = []
    function = peer.decorated(compute)
    try:
        function(1)
    except RuntimeError:
        # said, not hung
        pass


def deep_recursion(peer: Contestant) -> None:
    """recursion 8 000 deep through the decorated function"""
    peer.decorated(abs)
    sys.setrecursionlimit(1_000_000)
    threading.stack_size(1 << 30)

    def spent(depth: int) -> float:
        def compute(number: int) -> int:
            return decorated(number - 1) + 1 if number else 0

        decorated = peer.decorated(compute, 10_000)
        start = time.thread_time()
        decorated(depth)
        return time.thread_time() - start

    times: list[float] = []

    def run() -> None:
        spent(100)
        times.extend(min(spent(depth) for _ in range(3)) for depth in (1_000, 8_000))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    must(times, "doesn't get there")
    must(times[1] < 24 * times[0], f"{times[1] / times[0]:.0f} times what 1 000 cost")


def an_error_then_again(peer: Contestant) -> None:
    """the first call raises, the second would succeed"""
    calls = []

    def compute(number: int) -> int:
        calls.append(number)
        if len(calls) == 1:
            raise ZeroDivisionError
        return number

    function = peer.decorated(compute)
    for _ in range(2):
        try:
            found = function(1)
        except ZeroDivisionError:
            found = None
    must(found == 1, "the old error again")


def an_async_error_then_again(peer: Contestant) -> None:
    """the same for a coroutine function"""
    calls = []

    async def compute(number: int) -> int:
        calls.append(number)
        await asyncio.sleep(0)
        if len(calls) == 1:
            raise ZeroDivisionError
        return number

    function = peer.coroutine(compute)

    async def main() -> Any:
        found = None
        for _ in range(2):
            try:
                found = await function(1)
            except ZeroDivisionError:
                found = None
        return found

    must(asyncio.run(main()) == 1, "the old error again")


def a_shared_error(peer: Contestant) -> None:
    """16 tasks wait for a call that raises: the traceback grows with each"""

    async def compute(number: int) -> int:
        await asyncio.sleep(0.05)
        raise ZeroDivisionError

    function = peer.coroutine(compute)
    errors = gathered(*(lambda: function(1) for _ in range(16)))
    must(all(isinstance(one, ZeroDivisionError) for one in errors), "another error")

    def depth(error: BaseException) -> int:
        level, traceback = 0, error.__traceback__
        while traceback is not None:
            level, traceback = level + 1, traceback.tb_next
        return level

    depths = [depth(one) for one in errors]
    must(max(depths) - min(depths) < 8 and max(depths) < 16, f"{max(depths)} frames")


def a_cancelled_first(peer: Contestant) -> None:
    """16 tasks wait for one call, the first is cancelled"""

    async def compute(number: int) -> int:
        await asyncio.sleep(0.1)
        return number

    function = peer.coroutine(compute)

    async def main() -> int:
        tasks = [asyncio.ensure_future(_call(function, 1)) for _ in range(16)]
        await asyncio.sleep(0.02)
        tasks[0].cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        return sum(isinstance(one, BaseException) for one in ended)

    lost = asyncio.run(main())
    must(lost == 1, f"{lost} of 16 cancelled")


async def _call(function: Callable[..., Any], *args: Any) -> Any:
    return await function(*args)


def four_loops(peer: Contestant) -> None:
    """four event loops in four threads ask for one key"""

    async def compute(number: int) -> int:
        await asyncio.sleep(0.05)
        return number

    function = peer.coroutine(compute)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(_call(function, 1))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    must(not errors, f"{type(errors[0]).__name__} in {len(errors)} of 4" if errors else "")


def a_heavy_result(peer: Contestant) -> None:
    """a decorated function's result heavier than the cache"""
    function = peer.bounded(lambda number: b"x" * number, 10)
    try:
        found = function(100)
    except Exception as error:
        raise FailsError(f"{type(error).__name__}: the result is lost") from None
    must(found == b"x" * 100, "another result")


def context_of_errors(peer: Contestant) -> None:
    """the `__context__` of an error in a decorated function"""

    def compute(number: int) -> int:
        raise ZeroDivisionError

    function = peer.decorated(compute)
    try:
        function(1)
    except ZeroDivisionError as error:
        context = error.__context__
        must(context is None, f"a spurious {type(context).__name__}")


CASES = (
    a_call_that_asks_itself,
    deep_recursion,
    an_error_then_again,
    an_async_error_then_again,
    a_shared_error,
    a_cancelled_first,
    four_loops,
    a_heavy_result,
    context_of_errors,
)
