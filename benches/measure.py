"""Timing: loops of several contestants, interleaved, and what becomes of their times."""

import gc
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from types import FunctionType
from typing import Any, cast

# `loop(subject, keys, passes)` goes `passes` times through `keys` and returns the nanoseconds that
# it took.
Loop = Callable[[Any, Sequence[Any], int], int]


@dataclass(frozen=True, slots=True)
class Settings:
    rounds: int = 21
    # For peers that no target is measured against: some are a hundred times slower.
    rounds_beside: int = 5
    loop_ms: float = 6.0
    processes: int = 3
    sizes: tuple[int, ...] = (1_000, 100_000)
    entries: int = 1_000_000

    @classmethod
    def quick(cls) -> "Settings":
        return cls(
            rounds=7, rounds_beside=3, loop_ms=2.0, processes=1, sizes=(1_000,), entries=100_000
        )

    def __str__(self) -> str:
        return (
            f"{self.rounds} interleaved ({self.rounds_beside} for peers without a target), "
            f"loops of {self.loop_ms:g} ms or more of CPU time, gc disabled"
        )


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and the quartiles around it."""

    low: float
    mid: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, _, high = quantiles(values, n=4, method="inclusive")
        return cls(low, median(values), high)


@dataclass(frozen=True, slots=True)
class Contestant:
    name: str
    loop: Loop
    subject: Any
    beside: bool


# What this process might use before it pinned itself to one; `None` where that can't be said.
ALLOWED_CPUS = os.sched_getaffinity(0) if sys.platform == "linux" else None


def pin() -> int | None:
    """Stays on one CPU, so that no ratio is of two of them."""
    if sys.platform != "linux":
        return None
    cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    return cpu


def own_code(loop: Loop) -> Loop:
    """The same loop with bytecode of its own.

    The interpreter specialises each instruction for the types that it meets there. Contestants that
    shared one loop would undo one another's specialisation; a program that looks up one cache in
    one place has no such trouble.
    """
    function = cast("FunctionType", loop)
    return FunctionType(function.__code__.replace(), function.__globals__, function.__name__)


def race(
    contestants: Sequence[Contestant], keys: Sequence[Any], settings: Settings
) -> dict[str, dict[int, float]]:
    """The nanoseconds that an operation took, for each contestant, by the number of the round."""
    times: dict[str, dict[int, float]] = {contestant.name: {} for contestant in contestants}
    every = math.ceil(settings.rounds / settings.rounds_beside)
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        runners = [(c, own_code(c.loop)) for c in contestants]
        passes = [_passes(loop, c.subject, keys, settings) for c, loop in runners]
        for round_ in range(settings.rounds):
            turns = [
                (c, loop, n)
                for (c, loop), n in zip(runners, passes, strict=True)
                if not c.beside or round_ % every == 0
            ]
            # Every other round runs backwards, so that nobody always follows the same neighbour.
            for c, loop, n in turns[:: -1 if round_ % 2 else 1]:
                loop(c.subject, keys[:WARM], 1)
                times[c.name][round_] = loop(c.subject, keys, n) / (n * len(keys))
    finally:
        if was_enabled:
            gc.enable()
    return times


# How many keys each goes through before it is timed, to bring its data back into the processor's
# caches: as many as those can hold. What is larger starts cold each time anyway.
WARM = 10_000


def _passes(loop: Loop, subject: Any, keys: Sequence[Any], settings: Settings) -> int:
    wanted = settings.loop_ms * 1e6
    passes = 1
    loop(subject, keys[:WARM], 1)
    while (taken := loop(subject, keys, passes)) < wanted / 4:
        passes *= 2
    return math.ceil(passes * max(1, wanted * 1.1 / taken))


def ratios(times: dict[str, dict[int, float]], base: str) -> dict[str, Spread]:
    """Each contestant's times over the base's of the same round."""
    return {
        name: Spread.of([time / times[base][round_] for round_, time in own.items()])
        for name, own in times.items()
    }
