"""Hits from two threads at once, against one, where there is no GIL."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import Barrier, Thread
from time import perf_counter_ns
from typing import Any

import leaksafe
from benches.functions import one_argument
from benches.measure import ALLOWED_CPUS, Loop, Settings, Spread, own_code
from benches.peers import OURS, Peer, subscript
from benches.table import Row, Section, Target

SIZE = 1_000
# How often a run is tried again that other programs had a part in.
ATTEMPTS = 200


class Counted:
    """A value with a reference count, which `None` doesn't have."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a thread does: the loop, the subject, and the keys, which it made itself."""

    loop: Loop
    subject: Any
    keys: list[str]


def keys(low: int = 0, high: int = SIZE) -> list[str]:
    return ["".join(("key ", str(number))) for number in range(low, high)]


def values(value: Callable[[], object]) -> dict[str, object]:
    return {key: value() for key in keys()}


def ours(value: Callable[[], object]) -> Any:
    cache: leaksafe.LRUCache[str, object] = leaksafe.LRUCache(2 * SIZE)
    cache.update(values(value))
    return cache


def ours_with_ages(value: Callable[[], object]) -> Any:
    cache: leaksafe.TTLCache[str, object] = leaksafe.TTLCache(2 * SIZE, 3_600)
    cache.update(values(value))
    return cache


def decorated(decorator: Callable[..., Any]) -> Callable[[Callable[[], object]], Any]:
    def make(value: Callable[[], object]) -> Any:
        known = values(value)
        function = decorator(maxsize=2 * SIZE)(known.__getitem__)
        for key in known:
            function(key)
        return function

    return make


SUBJECTS: dict[str, tuple[Loop, Callable[[Callable[[], object]], Any]]] = {
    "dict": (subscript, values),
    "functools": (one_argument, decorated(lru_cache)),
    OURS: (subscript, ours),
    "TTLCache": (subscript, ours_with_ages),
    "lru_cache": (one_argument, decorated(leaksafe.lru_cache)),
    "ttl_cache": (one_argument, decorated(leaksafe.ttl_cache)),
}


@dataclass(frozen=True, slots=True)
class Sharing:
    title: str
    limit: float
    value: Callable[[], object]
    shared: bool = True
    halves: bool = False


SHARINGS = [
    Sharing("a cache for each thread", 1.8, Counted, shared=False),
    Sharing("one cache, each thread half of the keys", 1.5, Counted, halves=True),
    Sharing("one cache, same keys, None", 1.4, lambda: None),
    Sharing("one cache, same keys, counted values", 0.9, Counted),
]


@contextmanager
def all_cpus() -> Iterator[None]:
    """Lets the threads that are started here run on any CPU."""
    if ALLOWED_CPUS is None:
        yield
        return
    pinned = os.sched_getaffinity(0)
    os.sched_setaffinity(0, ALLOWED_CPUS)
    try:
        yield
    finally:
        os.sched_setaffinity(0, pinned)


def run(works: list[Callable[[], Work]], passes: int) -> int | None:
    """Nanoseconds from the first start to the last end; `None` where a thread had to wait."""
    barrier = Barrier(len(works))
    times = [(0, 0, 0)] * len(works)

    def job(number: int) -> None:
        work = works[number]()
        work.loop(work.subject, work.keys, 2)
        barrier.wait()
        start = perf_counter_ns()
        running = work.loop(work.subject, work.keys, passes)
        times[number] = start, perf_counter_ns(), running

    threads = [Thread(target=job, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    starts, ends, running = zip(*times, strict=True)
    taken = max(ends) - min(starts)
    return taken if taken < 1.05 * max(running) else None


def undisturbed(works: list[Callable[[], Work]], passes: int) -> int:
    """As `run`, until nothing else took a CPU meanwhile."""
    for _ in range(ATTEMPTS):
        taken = run(works, passes)
        if taken is not None:
            return taken
    raise RuntimeError(
        f"other programs took a CPU from each of {ATTEMPTS} runs: measure when the machine is quiet"
    )


def scaling(name: str, sharing: Sharing, settings: Settings) -> Spread:
    loop, make = SUBJECTS[name]
    loops = own_code(loop), own_code(loop)
    one = make(sharing.value)

    def work(number: int) -> Work:
        subject = one if sharing.shared else make(sharing.value)
        half = SIZE // 2
        asked = keys(number * half, (number + 1) * half) * 2 if sharing.halves else keys()
        return Work(loops[number], subject, asked)

    works = [lambda: work(0), lambda: work(1)]
    passes = max(20, int(settings.loop_ms * 2e6 / (40 * SIZE)))
    found = []
    for _ in range(settings.rounds):
        alone = undisturbed(works[:1], passes)
        found.append(2 * alone / undisturbed(works, passes))
    return Spread.of(found)


def section(name: str, _peers: dict[str, Peer], settings: Settings) -> Section:
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        note = "not measured: this Python has a GIL, and one thread runs at a time"
        return Section(name, TITLE, HOW, [], [note])
    rows: list[Row] = []
    with all_cpus():
        for sharing in SHARINGS:
            spreads = {name: scaling(name, sharing, settings) for name in SUBJECTS}
            peers = {name: spreads[name] for name in ("dict", "functools")}
            target = Target(sharing.limit, at_least=True)
            rows += [
                Row(f"{which}, {sharing.title}", which, "one thread", spreads[which], peers, target)
                for which in SUBJECTS
                if which not in peers
            ]
    return Section(name, TITLE, HOW, rows, [])


TITLE = "hits of two threads over those of one"
HOW = f"throughput of two threads in a loop of hits, {SIZE} entries, keys made by each thread"

SCALING = ("threads",)
