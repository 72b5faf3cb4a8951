"""What is made once, or when it is looked at: singleton, Registry, LazyObjects."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from time import thread_time_ns as clock
from typing import Any

from benches.measure import Contestant, Loop, Settings, Spread, race, ratios
from benches.peers import OURS, Peer, subscript
from benches.table import Row, Section, Target
from leaksafe import LazyObjects, LRUCache, Registry, singleton

SIZE = 1_000


@singleton
class One:
    pass


@functools.cache
def one() -> object:
    return object()


class Thing:
    __slots__ = ("__weakref__", "number")

    def __init__(self, number: int) -> None:
        self.number = number


def call(subject: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for _k in keys:
            subject()
    return clock() - start


def call_with(subject: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            subject(k)
    return clock() - start


def get_or_create(subject: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            subject.get_or_create(k, list)
    return clock() - start


def walk(subject: Any, _keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for _thing in subject():
            pass
    return clock() - start


def filled(kind: Callable[[int], Any]) -> Any:
    held = kind(2 * SIZE)
    for key in range(SIZE):
        held.get_or_create(key, list)
    return held


@dataclass(frozen=True, slots=True)
class Operation:
    workload: str
    base: str
    target: Target | None
    ours: tuple[Loop, Callable[[], Any]]
    theirs: tuple[Loop, Callable[[], Any]]


LAZY: Callable[[], Any] = functools.partial(LazyObjects, Thing, SIZE)
MAKING = {
    "singleton": Operation(
        "Settings(), when it is there",
        "functools.cache",
        Target(1.30),
        (call, lambda: One),
        (call, lambda: one),
    ),
    "registry": Operation(
        "registry.get_or_create(k, f), a hit",
        "LRUCache, c[k]",
        Target(1.50),
        (get_or_create, lambda: filled(Registry)),
        (subscript, lambda: filled(LRUCache)),
    ),
    "registry-create": Operation(
        "registry.get_or_create(k, f), a hit",
        "LRUCache.get_or_create",
        Target(1.50),
        (get_or_create, lambda: filled(Registry)),
        (get_or_create, lambda: filled(LRUCache)),
    ),
    "lazy-walk": Operation(
        f"a loop over {SIZE} objects",
        "map",
        Target(1.05),
        (walk, lambda: LAZY().__iter__),
        (walk, lambda: lambda: map(Thing, range(SIZE))),
    ),
    "lazy-index": Operation(
        "objs[i]",
        "Thing(i)",
        Target(2.00),
        (subscript, LAZY),
        (call_with, lambda: Thing),
    ),
}


def section(name: str, _peers: dict[str, Peer], settings: Settings) -> Section:
    operation = MAKING[name]
    sides = {OURS: operation.ours, operation.base: operation.theirs}
    contestants = [Contestant(side, loop, make(), False) for side, (loop, make) in sides.items()]
    times = race(contestants, range(SIZE), settings)
    found = ratios(times, operation.base)
    nanoseconds = Spread.of(list(times[operation.base].values())).mid
    unit = f"{operation.base} {nanoseconds:.1f} ns"
    row = Row(operation.workload, operation.base, unit, found.pop(OURS), found, operation.target)
    return Section(name, operation.workload, f"over {operation.base}", [row], [])
