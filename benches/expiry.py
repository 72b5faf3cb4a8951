"""TTLCache: what a hit costs beside one without age, and what others feel while much expires."""

import contextlib
import gc
import importlib
import time
import weakref
from itertools import pairwise
from typing import Any

from benches.measure import Contestant, Settings, Spread, race, ratios
from benches.peers import OURS, Peer, assign, subscript
from benches.table import Row, Section, Target
from leaksafe import LRUCache, TTLCache

SIZE = 1_000
LRU, TTL = OURS, "TTLCache"
LOOPS = {"c[k], a hit": subscript, "c[k] = v, an existing key": assign}


class Value:
    """Something that tells when it is freed."""


def hits(settings: Settings) -> list[Row]:
    subjects: dict[str, Any] = {LRU: LRUCache(SIZE), TTL: TTLCache(SIZE, 3600)}
    with contextlib.suppress(ImportError):
        subjects["cachebox"] = importlib.import_module("cachebox").TTLCache(SIZE, 3600)
    keys = list(range(SIZE))
    for subject in subjects.values():
        for key in keys:
            subject[key] = key
    rows = []
    for workload, loop in LOOPS.items():
        contestants = [Contestant(name, loop, subject, False) for name, subject in subjects.items()]
        times = race(contestants, keys, settings)
        for base, limit in ((LRU, 1.5), ("cachebox", 0.65)):
            if base in subjects:
                found = ratios(times, base)
                target = Target(limit) if loop is subscript else None
                rows.append(
                    Row(f"{workload}, over {base}", base, f"{base} = 1", found[TTL], found, target)
                )
    return rows


def freed(count: int) -> float:
    """How long after their deadline the last of many untouched values is gone, in seconds."""
    cache = TTLCache[int, Value](None, 1)
    alive = weakref.WeakSet[Value]()
    for number in range(count):
        value = cache[number] = Value()
        alive.add(value)
    del value
    deadline = time.monotonic() + 1
    while alive:
        time.sleep(0.001)
    return time.monotonic() - deadline


def stalls(count: int) -> list[float]:
    """How long each step of a busy thread took while many entries expired, in seconds, sorted."""
    cache = TTLCache[int, int](None, 1)
    cache.update((number, number) for number in range(count))
    gaps = []
    now = time.perf_counter()
    end = now + 3
    while now < end:
        last, now = now, time.perf_counter()
        gaps.append(now - last)
    return sorted(gaps)


def section(name: str, _peers: dict[str, Peer], settings: Settings) -> Section:
    rows = hits(settings)
    late = Spread.of([freed(100_000) for _ in range(settings.processes)])
    rows.append(Row("100 000 values freed after their deadline", TTL, "s", late, {}, Target(0.2)))
    gc.collect()
    gaps = stalls(settings.entries)
    worst = gaps[int(len(gaps) * 0.999)] * 1e3
    stall = Spread.of([worst])
    rows.append(Row("a busy thread's stall, 99.9 %", TTL, "ms", stall, {}, Target(5)))
    edges = [0, 0.01, 0.1, 1, 5, 10, 50, float("inf")]
    histogram = ", ".join(
        f"{sum(low <= gap * 1e3 < high for gap in gaps)} of {low:g} to {high:g}"
        for low, high in pairwise(edges)
    )
    return Section(
        name, TITLE, HOW, rows, [f"stalls in ms: {histogram}; the longest {gaps[-1] * 1e3:.1f}"]
    )


TITLE = "TTLCache"
HOW = f"{SIZE} entries of one lifetime; then {100_000} values, and many ints, expire at once"
EXPIRY = ("expiry",)
