"""G9 for `Registry`: every operation leaves references and blocks as they were."""

from __future__ import annotations

import asyncio
import atexit
import gc
import sys
from collections.abc import Callable
from typing import Any

from isolated import FREE_THREADED, each, full_collection, isolated
from leaksafe import Registry

ROUNDS = 100_000
RARE = {"hit": 1_000_000, "coroutines": 2_000, "coroutines that fail": 2_000}
BLOCKS = 400


class Key:
    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key)


class Thing:
    def close(self) -> None:
        pass


class Failing:
    def close(self) -> None:
        raise ValueError


THING = Thing()
FAILING = Failing()
KEY = Key()
ABSENT = "absent"
WATCHED: list[Any] = [THING, FAILING, KEY, ABSENT]


def make() -> Any:
    return THING


def fail() -> Any:
    raise ValueError


def circle() -> Any:
    return registry.get_or_create(ABSENT, circle)


async def amake() -> Any:
    await asyncio.sleep(0)
    return THING


async def afail() -> Any:
    await asyncio.sleep(0)
    raise ValueError


def opened(**options: Any) -> Registry[Any, Any]:
    registry = Registry[Any, Any](4, **options)
    registry.get_or_create(KEY, make)
    return registry


registry = opened()
full = opened()
weak = opened(weak=True)
aging = opened(ttl=1000)
failing = Registry[Any, Any](None)


def quietly(operation: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        try:
            operation()
        except (ValueError, KeyError, RuntimeError, ExceptionGroup):
            return
        raise AssertionError("it didn't fail")

    return run


def using() -> None:
    with registry.use(KEY, make), full.use(ABSENT, make):
        for number in range(5):
            full.get_or_create(number, make)


def overriding() -> None:
    with registry.override(ABSENT, THING), registry.override(ABSENT, KEY):
        registry.get_or_create(ABSENT, fail)


def passing() -> None:
    for number in range(5):
        full.get_or_create(number, make)


def failing_close() -> None:
    failing.get_or_create(KEY, lambda: FAILING)
    failing.clear()


def in_a_cycle() -> None:
    inner = Registry[Any, Any](None)
    inner.get_or_create(KEY, lambda: [inner, THING])


async def awaiting() -> None:
    await registry.aget_or_create(ABSENT, amake)
    registry.pop(ABSENT)


async def awaiting_in_vain() -> None:
    try:
        await registry.aget_or_create(ABSENT, afail)
    except ValueError:
        return


loop = asyncio.new_event_loop()
atexit.register(loop.close)

OPERATIONS: dict[str, Callable[[], object]] = {
    "hit": lambda: registry.get_or_create(KEY, fail),
    "look": lambda: (registry[KEY], KEY in registry, ABSENT in registry, len(registry)),
    "iterate": lambda: (list(registry), repr(full)),
    "make and pop": lambda: (registry.get_or_create(ABSENT, make), registry.pop(ABSENT)),
    "make and evict": passing,
    "fail": quietly(lambda: registry.get_or_create(ABSENT, fail)),
    "circle": quietly(lambda: registry.get_or_create(ABSENT, circle)),
    "missing": quietly(lambda: (registry.pop(ABSENT, None), registry[ABSENT])),
    "use": using,
    "use of nothing": quietly(lambda: registry.use(ABSENT).__enter__()),
    "override": overriding,
    "clear": lambda: (full.get_or_create(KEY, make), full.clear()),
    "close": lambda: opened().close(),
    "drop": opened,
    "close that fails": quietly(failing_close),
    "weak": lambda: (weak.get_or_create(KEY, fail), weak.get_or_create(ABSENT, Thing)),
    "aging": lambda: (aging.get_or_create(ABSENT, make), aging.pop(ABSENT)),
    "in a cycle": in_a_cycle,
    "coroutines": lambda: loop.run_until_complete(awaiting()),
    "coroutines that fail": lambda: loop.run_until_complete(awaiting_in_vain()),
}


@each("name", OPERATIONS)
@isolated(limit=60, malloc="pymalloc" if not FREE_THREADED else "mimalloc")
def test_nothing_is_left_of(name: str) -> None:
    operation = OPERATIONS[name]
    gc.disable()

    def measure() -> tuple[int, ...]:
        full_collection()
        return (*map(sys.getrefcount, WATCHED), sys.getallocatedblocks())

    for _ in range(200):
        operation()
    seen = []
    for _ in range(4):
        *before, blocks = measure()
        for number in range(RARE.get(name, ROUNDS)):
            operation()
            if number % 500 == 0 and name in ("in a cycle", "circle"):
                gc.collect()
        *after, now = measure()
        seen.append((now - blocks, before == after))
        if seen[-1][0] < BLOCKS and seen[-1][1]:
            break
    else:
        raise AssertionError(f"{name}: {seen}")
