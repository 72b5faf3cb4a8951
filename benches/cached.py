"""cached: what single flight costs a hit (nothing) and a miss, and a hit of cached_property."""

import asyncio
import functools
from time import thread_time_ns as clock
from typing import Any

from benches.functions import BASE, a_keyword, one_argument
from benches.measure import Contestant, Settings, Spread, race, ratios
from benches.peers import OURS, Peer
from benches.table import Row, Section, Target
from leaksafe import cached, cached_property, lru_cache

SIZE = 1_000
LRU = "lru_cache"


def attribute(instance: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for _k in keys:
            instance.value  # noqa: B018
    return clock() - start


def given(a: Any = None) -> Any:
    return a


class Theirs:
    @functools.cached_property
    def value(self) -> int:
        return 1


class Ours:
    @cached_property
    def value(self) -> int:
        return 1


def hits(settings: Settings) -> list[Row]:
    rows = []
    keys = list(range(SIZE))
    # A keyword is put in its place, so that f(k) and f(a=k) are one: that isn't free.
    for title, loop, limit, beside in (
        ("f(k)", one_argument, 0.65, 1.05),
        ("f(a=k)", a_keyword, 0.40, 1.35),
    ):
        makers: dict[str, Any] = {
            OURS: cached(maxsize=2 * SIZE),
            BASE: functools.lru_cache(2 * SIZE),
            LRU: lru_cache(2 * SIZE),
        }
        contestants = []
        for name, make in makers.items():
            subject = make(given)
            loop(subject, keys, 1)
            contestants.append(Contestant(name, loop, subject, False))
        times = race(contestants, keys, settings)
        for base, target in ((BASE, Target(limit)), (LRU, Target(beside))):
            unit = f"{base} {Spread.of(list(times[base].values())).mid:.1f} ns"
            rows.append(Row(f"{title}, a hit", base, unit, ratios(times, base)[OURS], {}, target))
    return rows


def misses(settings: Settings) -> list[Row]:
    before = miss(settings, "f(k), a miss without contention", Target(300))

    # From now on each context carries what it makes, so that no task waits for itself.
    @cached
    async def awaited() -> None:
        pass

    asyncio.run(awaited())
    return [before, miss(settings, "the same in a program with cached coroutines", None)]


def miss(settings: Settings, title: str, target: Target | None) -> Row:
    keys = list(range(4 * SIZE))
    makers: dict[str, Any] = {OURS: cached(maxsize=SIZE), LRU: lru_cache(SIZE)}
    contestants = [
        Contestant(name, one_argument, make(given), False) for name, make in makers.items()
    ]
    times = race(contestants, keys, settings)
    more = [time - times[LRU][round_] for round_, time in times[OURS].items()]
    base = Spread.of(list(times[LRU].values())).mid
    return Row(title, LRU, f"ns over {LRU}'s {base:.0f}", Spread.of(more), {}, target)


def properties(settings: Settings) -> Row:
    contestants = [
        Contestant(name, attribute, subject, False)
        for name, subject in ((OURS, Ours()), (BASE, Theirs()))
    ]
    times = race(contestants, list(range(SIZE)), settings)
    unit = f"{BASE} {Spread.of(list(times[BASE].values())).mid:.1f} ns"
    return Row("cached_property, a hit", BASE, unit, ratios(times, BASE)[OURS], {}, Target(1.05))


def section(name: str, _peers: dict[str, Peer], settings: Settings) -> Section:
    rows = [*hits(settings), *misses(settings), properties(settings)]
    return Section(name, "cached", f"for k in keys: f(k), {SIZE} entries", rows, [])


CACHED = ("cached",)
