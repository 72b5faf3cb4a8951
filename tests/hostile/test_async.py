"""Tasks, threads, cancellations, clears, failures and expiries at random, and what must hold."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import harness
from harness import in_threads
from isolated import each, full_collection, isolated
from leaksafe import LRUCache, lru_cache, ttl_cache
from leaksafe._async_flights import Flight

SECONDS = float(os.environ.get("LEAKSAFE_STRESS_SECONDS", "3"))
LOOPS = 3
KEYS = 12


class Failed(Exception):
    """What a computation raises here."""


class Clock:
    """The order of things: what is computed after a clear has a greater number than that."""

    def __init__(self) -> None:
        self.ticks = itertools.count(1)
        self.cleared = [0] * KEYS
        self.lock = threading.Lock()

    def now(self) -> int:
        return next(self.ticks)


class Checked:
    """A cached coroutine function, and the checker of what it returns."""

    def __init__(self, decorate: Any) -> None:
        clock = self.clock = Clock()

        @decorate  # type: ignore[untyped-decorator]
        async def function(key: int) -> tuple[int, int]:
            begun = clock.now()
            chance = random.random()
            if chance < 0.1:
                raise Failed(key)
            if chance < 0.15:
                raise asyncio.CancelledError
            if chance < 0.3:
                await function(random.randrange(KEYS))
            elif chance < 0.35:
                await asyncio.gather(*(function(random.randrange(KEYS)) for _ in range(3)))
            elif chance < 0.4:
                await asyncio.to_thread(time.sleep, 0.0005)
            elif chance < 0.9:
                await asyncio.sleep(random.random() * 0.002)
            return key, begun

        self.function = function

    async def ask(self, key: int) -> None:
        cleared = self.clock.cleared[key]
        try:
            asked, begun = await self.function(key)
        except (Failed, asyncio.CancelledError):
            return
        assert asked == key, (asked, key)
        assert begun > cleared, f"computed at {begun}, before the clear at {cleared}"

    def clear(self) -> None:
        """What is asked for from now on is computed from now on."""
        keys = range(KEYS) if random.random() < 0.5 else [random.randrange(KEYS)]
        with self.clock.lock:
            now = self.clock.now()
            if len(keys) > 1:
                self.function.cache_clear()
            else:
                self.function.cache_discard(keys[0])
            for key in keys:
                self.clock.cleared[key] = now


def unasked(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Leave alone what asyncio says of a computation that failed after the last one left."""
    if not isinstance(context.get("exception"), Failed):
        loop.default_exception_handler(context)


async def rush(checked: Checked, end: float) -> None:
    """Ask, cancel, and give up in time, from one event loop."""
    tasks: set[asyncio.Task[None]] = set()
    asyncio.get_running_loop().set_exception_handler(unasked)
    while time.monotonic() < end:
        chance = random.random()
        if chance < 0.05:
            checked.clear()
        elif chance < 0.1:
            await asyncio.to_thread(checked.clear)
        elif chance < 0.2 and tasks:
            random.choice(list(tasks)).cancel()
        elif chance < 0.25:
            try:
                async with asyncio.timeout(0.001):
                    await checked.ask(random.randrange(KEYS))
            except TimeoutError:
                pass
        else:
            for _ in range(random.randrange(10)):
                tasks.add(asyncio.create_task(checked.ask(random.randrange(KEYS))))
            await asyncio.sleep(random.random() * 0.001)
        done = {task for task in tasks if task.done()}
        tasks -= done
        for task in done:
            if not task.cancelled():
                task.result()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


@isolated(limit=SECONDS + 60)
@each("kind", ["lru_cache", "ttl_cache"])
def test_what_is_returned_was_computed_for_that_key_and_not_before_the_last_clear(
    kind: str,
) -> None:
    decorate = lru_cache(8) if kind == "lru_cache" else ttl_cache(8, ttl=0.003)
    checked = Checked(decorate)
    harness.PATIENCE += SECONDS
    end = time.monotonic() + SECONDS
    in_threads(*[lambda: asyncio.run(rush(checked, end))] * LOOPS)
    assert not flights_alive()
    assert checked.function.cache_info().currsize <= 8


def flights_alive() -> list[Any]:
    full_collection()
    return [thing for thing in gc.get_objects() if isinstance(thing, Flight)]


@isolated(limit=SECONDS + 60)
def test_tasks_and_threads_that_need_each_other_at_random_never_hang() -> None:
    """Computations in tasks and in threads ask for one another's keys without any order."""
    plain: LRUCache[int, int] = LRUCache(4)
    over = time.monotonic() + SECONDS

    async def main() -> None:
        loop = asyncio.get_running_loop()

        @lru_cache(4)
        async def front(key: int) -> int:
            if random.random() < 0.5:
                await asyncio.sleep(0)
            chance = random.random()
            if chance < 0.3:
                await front(random.randrange(6))
            elif chance < 0.6:
                other = random.randrange(6)
                await asyncio.to_thread(plain.get_or_create, other, lambda: back(other))
            return key

        def back(key: int) -> int:
            chance = random.random()
            if chance < 0.3:
                other = random.randrange(6)
                plain.get_or_create(other, lambda: back(other))
            elif chance < 0.6:
                asking = front(random.randrange(6))
                asyncio.run_coroutine_threadsafe(asking, loop).result()
            return key

        while time.monotonic() < over:
            keys = [random.randrange(6) for _ in range(6)]
            assert await asyncio.gather(*map(front, keys)) == keys
            if random.random() < 0.3:
                front.cache_clear()
                plain.clear()

    # More threads than wait at once: a pool that is full is no circle that a graph could see.
    def run() -> None:
        async def with_pool() -> None:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(200))
            await main()

        asyncio.run(with_pool())

    run()
    assert not flights_alive()
