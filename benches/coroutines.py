"""Awaited calls of decorated coroutine functions, against those of async-lru and cachebox."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from importlib import import_module
from time import thread_time_ns as clock
from typing import Any

from benches.measure import Contestant, Settings, Spread, own_code, race, ratios
from benches.peers import OURS, Peer
from benches.table import Row, Section, Target

TASKS = 10_000
NOTHING = "no cache"

Function = Callable[[Any], Awaitable[Any]]
Drive = Callable[[Function, Sequence[Any], int], Coroutine[Any, Any, int]]


@dataclass(frozen=True, slots=True)
class Subject:
    """What one contestant's loop is given: its function, and bytecode of its own to await it."""

    loop: asyncio.AbstractEventLoop
    drive: Drive
    function: Function


def run(subject: Subject, keys: Sequence[Any], passes: int) -> int:
    return subject.loop.run_until_complete(subject.drive(subject.function, keys, passes))


async def hits(function: Function, keys: Sequence[Any], passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            await function(k)
    return clock() - start


async def stampede(function: Function, keys: Sequence[Any], passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for _k in keys:
            cold = object()
            await asyncio.gather(*[function(cold) for _ in range(TASKS)])
    return clock() - start


@dataclass(frozen=True, slots=True)
class Case:
    title: str
    how: str
    drive: Drive
    keys: Sequence[Any]
    workload: str
    targets: dict[str, Target]


CASES: dict[str, Case] = {
    "async-hit": Case(
        "await f(k), a hit",
        "for k in keys: await f(k); no cache is an async def that returns its argument",
        hits,
        range(1_000),
        "int, 1000 entries",
        {"async-lru": Target(0.50), "cachebox": Target(0.35)},
    ),
    "async-stampede": Case(
        f"{TASKS} tasks ask for one cold key",
        f"await gather({TASKS} × f(key)), f awaits once; no cache runs {TASKS} times",
        stampede,
        range(1),
        f"{TASKS} tasks",
        {"async-lru": Target(0.25)},
    ),
}


def _ours(function: Function) -> Function:
    return import_module("leaksafe").lru_cache(2_000)(function)  # type: ignore[no-any-return]


def _async_lru(function: Function) -> Function:
    return import_module("async_lru").alru_cache(2_000)(function)  # type: ignore[no-any-return]


def _cachebox(function: Function) -> Function:
    cachebox = import_module("cachebox")
    return cachebox.cached(cachebox.LRUCache(2_000))(function)  # type: ignore[no-any-return]


DECORATORS: dict[str, Callable[[Function], Function]] = {
    OURS: _ours,
    "async-lru": _async_lru,
    "cachebox": _cachebox,
    NOTHING: lambda function: function,
}


def beyond_tasks(times: dict[str, dict[int, float]], case: Case) -> Row:
    """What is left when the time that the same tasks take without any cache is taken off."""
    alone = times[NOTHING]
    beyond = {
        peer: {round_: time - alone[round_] for round_, time in times[peer].items()}
        for peer in (OURS, "async-lru")
    }
    spread = ratios(beyond, "async-lru")[OURS]
    unit = f"async-lru {Spread.of(list(beyond['async-lru'].values())).mid:.0f} ns"
    target = case.targets["async-lru"]
    return Row(f"{case.workload}, less no cache", "async-lru", unit, spread, {}, target)


def section(name: str, _peers: dict[str, Peer], settings: Settings) -> Section:
    case = CASES[name]
    loop = asyncio.new_event_loop()
    contestants: list[Contestant] = []
    notes: list[str] = []
    for peer, decorate in DECORATORS.items():

        async def at_once(key: Any) -> Any:
            return key

        async def slowly(key: Any) -> Any:
            await asyncio.sleep(0)
            return key

        try:
            function = decorate(at_once if case.drive is hits else slowly)
        except ImportError as error:
            notes.append(f"{peer} is missing: {error}")
            continue
        subject = Subject(loop, own_code(case.drive), function)  # type: ignore[arg-type]
        run(subject, case.keys, 1)
        beside = peer == "cachebox" and peer not in case.targets
        contestants.append(Contestant(peer, run, subject, beside))
    times = race(contestants, case.keys, settings)
    loop.close()
    rows: list[Row] = []
    for against, target in case.targets.items():
        if against not in times:
            continue
        spreads = ratios(times, against)
        unit = f"{against} {Spread.of(list(times[against].values())).mid:.0f} ns"
        rows.append(Row(case.workload, against, unit, spreads.pop(OURS, None), spreads, target))
    if case.drive is stampede and {OURS, "async-lru"} <= times.keys():
        rows.append(beyond_tasks(times, case))
    return Section(name, case.title, case.how, rows, notes)
