"""`make soak`: mixed work from threads and tasks for an hour, and what is left when it rests.

Every ten seconds all work pauses, everything is emptied, and three things are measured: resident
memory, the interpreter's allocated blocks, and references to the classes of what was stored.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import threading
import time
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import leaksafe
from isolated import resident
from leaksafe.compat import cachetools

WARM = 1 / 12
"""The part of the time that memory may grow in: of an hour, five minutes."""
MAY_GROW = 0.01
MIB = 1 << 20


class Thing:
    """What is stored: some bytes, and sometimes a cycle."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.data = bytes(number % 200)
        self.me = self if number % 50 == 0 else None

    def close(self) -> None:
        self.me = None

    @leaksafe.cached_property
    def double(self) -> int:
        return 2 * self.number

    @leaksafe.lru_cache(maxsize=100)
    def times(self, number: int) -> Thing:
        return Thing(self.number * number)

    @leaksafe.cached(maxsize=100, ttl=5)
    def plus(self, number: int) -> Thing:
        return Thing(self.number + number)


class Failed(Exception):
    pass


def compute(number: int) -> Thing:
    if number % 97 == 0:
        raise Failed(number)
    return Thing(number)


class Structures:
    """One of each, all with bounds that are reached."""

    def __init__(self) -> None:
        self.mappings: list[Any] = [
            leaksafe.LRUCache(5_000),
            leaksafe.LRUCache(1_000, on_remove=lambda *_: None),
            leaksafe.LRUCache(max_bytes="1 MiB"),
            leaksafe.TTLCache(5_000, ttl=0.5),
            leaksafe.TTLCache(None, ttl=0.05, jitter=0.2),
            leaksafe.WeakCache(1_000),
            leaksafe.WeakValueDictionary(),
            cachetools.LFUCache(500),
            cachetools.TTLCache(500, 0.5),
        ]
        self.keyed: list[Any] = [leaksafe.WeakKeyDictionary(), leaksafe.WeakIdDictionary()]
        self.functions: list[Any] = [
            leaksafe.lru_cache(maxsize=1_000)(compute),
            leaksafe.ttl_cache(maxsize=1_000, ttl=0.2)(compute),
            leaksafe.cached(maxsize=1_000)(compute),
            leaksafe.cached(max_bytes="1 MiB")(compute),
            leaksafe.cached(maxsize=500, ttl=0.5, refresh_after=0.1)(compute),
        ]
        self.members: list[Any] = [leaksafe.WeakSet(), leaksafe.WeakList()]
        self.registry = leaksafe.Registry[int, Thing](50, ttl=0.5)
        self.lazy = leaksafe.LazyObjects(Thing, 10_000, keep=100)
        self.attached = leaksafe.per_instance(lambda: Thing(7))

        @leaksafe.cached(maxsize=1_000)
        async def fetch(number: int) -> Thing:
            await asyncio.sleep(0)
            return compute(number)

        self.fetch = fetch

    def empty(self) -> None:
        for structure in (*self.mappings, *self.keyed, *self.members):
            structure.clear()
        for function in (*self.functions, self.fetch, Thing.times, Thing.plus):
            function.cache_clear()
        self.registry.clear()
        # What is kept is let go of by looking at others that are nothing much.
        self.lazy = leaksafe.LazyObjects(Thing, 10_000, keep=100)


def work(it: Structures, rng: random.Random) -> None:
    """Some hundred operations."""
    held: list[Thing] = []
    for _ in range(100):
        number = int(rng.expovariate(0.0005))
        held.append(thing := Thing(number))
        for mapping in it.mappings:
            mapping[f"key {number}"] = thing
            mapping.get(number % 1_000)
            mapping.setdefault(number, thing)
            mapping.pop(number + 1, None)
        for mapping in (it.mappings[0], it.mappings[3], it.mappings[5]):
            mapping.get_or_create(number, lambda number=number: Thing(number))
        for mapping in it.keyed:
            mapping[thing] = number
            mapping.get(held[0])
        for members in it.members:
            members.add(thing) if isinstance(members, leaksafe.WeakSet) else members.append(thing)
        for function in it.functions:
            try:
                function(number)
            except Failed:
                pass
        thing.times(number % 10), thing.plus(number % 10), thing.double
        with it.registry.use(number % 100, partial(Thing, number)):
            it.attached(thing)
        it.lazy[number % 10_000]
    list(it.members[1]), list(it.mappings[1].items())


async def tasks(it: Structures, rng: random.Random) -> None:
    """Ask for the same from several tasks, and cancel some."""

    async def make(number: int) -> Thing:
        await asyncio.sleep(0)
        return compute(number)

    for _ in range(20):
        number = int(rng.expovariate(0.001))
        several = [asyncio.ensure_future(it.fetch(number)) for _ in range(3)]
        several += [
            asyncio.ensure_future(it.mappings[0].aget_or_create(number, partial(make, number))),
            asyncio.ensure_future(it.registry.aget_or_create(number % 90, lambda: make(5))),
        ]
        if number % 7 == 0:
            await asyncio.sleep(0)
            several[0].cancel()
        await asyncio.gather(*several, return_exceptions=True)


class Sample(NamedTuple):
    seconds: float
    working: float
    resident: float
    blocks: float
    references: float


class Soak:
    """The threads, and the times at which they rest."""

    def __init__(self, threads: int, seed: int) -> None:
        self.it = Structures()
        self.going = threading.Event()
        self.over = False
        self.errors: list[BaseException] = []
        self.rounds = 0
        self.barrier = threading.Barrier(threads + 2)
        jobs = [self.in_thread] * threads + [self.in_loop]
        self.threads = [
            threading.Thread(target=self.run, args=(job, random.Random(seed + number)), daemon=True)
            for number, job in enumerate(jobs)
        ]

    def run(self, job: Callable[[random.Random], None], rng: random.Random) -> None:
        try:
            while True:
                self.barrier.wait()
                if self.over:
                    return
                job(rng)
                self.barrier.wait()
        except BaseException as error:
            self.errors.append(error)
            self.barrier.abort()

    def in_thread(self, rng: random.Random) -> None:
        while self.going.is_set():
            work(self.it, rng)
            self.rounds += 1

    def in_loop(self, rng: random.Random) -> None:
        async def loop() -> None:
            while self.going.is_set():
                await tasks(self.it, rng)

        asyncio.run(loop())

    def sample(self, started: float, seconds: float) -> Sample:
        """Let them work for some seconds, and measure what is left."""
        self.going.set()
        self.barrier.wait()
        time.sleep(seconds)
        working = resident()
        self.going.clear()
        self.barrier.wait()
        self.it.empty()
        for _ in range(3):
            gc.collect()
        blocks, references = sys.getallocatedblocks(), sys.getrefcount(Thing)
        return Sample(time.monotonic() - started, working, resident(), blocks, references)

    def end(self) -> None:
        self.over = True
        self.barrier.wait()
        for thread in self.threads:
            thread.join()


def growth(samples: list[Sample], warm: float) -> dict[str, float]:
    """Compare the first and the last third of what follows the warming up."""
    after = [sample for sample in samples if sample.seconds > warm]
    third = max(1, len(after) // 3)
    first, last = after[:third], after[-third:]

    def least(part: list[Sample], field: str) -> float:
        return min(float(getattr(sample, field)) for sample in part)

    return {
        "resident": least(last, "resident") / least(first, "resident") - 1,
        "working": least(last, "working") / least(first, "working") - 1,
        "blocks": least(last, "blocks") / least(first, "blocks") - 1,
        "references": least(last, "references") - least(first, "references"),
    }


def draw(samples: list[Sample], warm: float, title: str) -> str:
    """Draw memory over time, as SVG."""
    width, height, left, top, bottom = 720, 300, 60, 40, 40
    most = max(sample.working for sample in samples) * 1.15
    end = samples[-1].seconds

    def x(seconds: float) -> float:
        return left + seconds / end * (width - left - 20)

    def y(size: float) -> float:
        return height - bottom - size / most * (height - top - bottom)

    def line(field: str, color: str) -> str:
        points = " ".join(f"{x(s.seconds):.1f},{y(getattr(s, field)):.1f}" for s in samples)
        return f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>'

    def text(at: tuple[float, float], words: str, **more: str) -> str:
        attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
        return f'<text x="{at[0]:.0f}" y="{at[1]:.0f}"{attributes}>{words}</text>'

    step = max(1, round(most / MIB / 4 / 10) * 10) * MIB
    sizes = [step * number for number in range(int(most // step) + 1)]
    grid = [
        f'<line x1="{left}" x2="{width - 20}" y1="{y(size):.1f}" y2="{y(size):.1f}" stroke="#ddd"/>'
        + text((left - 8, y(size) + 4), f"{size // MIB} MiB", text_anchor="end")
        for size in sizes
    ]
    minutes = [
        text((x(part * end / 6), height - 18), f"{part * end / 360:.0f} min", text_anchor="middle")
        for part in range(7)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
            "<style>text { font: 11px sans-serif }</style>",
            f'<rect width="{width}" height="{height}" fill="white"/>',
            text((left, 20), title),
            *grid,
            *minutes,
            f'<path d="M{left} {top}H{x(warm):.1f}V{height - bottom}H{left}z" fill="#8883"/>',
            line("working", "#c60"),
            line("resident", "#06c"),
            text(
                (width - 20, y(samples[-1].working) - 8), "at work", text_anchor="end", fill="#c60"
            ),
            text(
                (width - 20, y(samples[-1].resident) + 16),
                "emptied",
                text_anchor="end",
                fill="#06c",
            ),
            "</svg>\n",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3_600)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--svg", type=Path, help="where the curve goes")
    options = parser.parse_args()
    seed = random.randrange(1 << 32)
    print(f"soak: seed {seed}", flush=True)
    soak = Soak(options.threads, seed)
    # Numbers that are kept would be blocks, too.
    kept = array("d")
    for thread in soak.threads:
        thread.start()
    started = time.monotonic()
    every = min(10.0, options.seconds / 30)
    try:
        while time.monotonic() - started < options.seconds:
            sample = soak.sample(started, every)
            kept.extend(sample)
            print(
                f"soak: {sample.seconds:6.0f} s, {soak.rounds} rounds, at work "
                f"{sample.working / MIB:.1f} MiB, emptied {sample.resident / MIB:.1f} MiB, "
                f"{sample.blocks:.0f} blocks, {sample.references:.0f} references",
                flush=True,
            )
        soak.end()
    except threading.BrokenBarrierError:
        for error in soak.errors:
            raise error from None
        raise
    fields = len(Sample._fields)
    samples = [Sample(*kept[at : at + fields]) for at in range(0, len(kept), fields)]
    warm = options.seconds * WARM
    grown = growth(samples, warm)
    title = (
        f"Resident memory in {options.seconds / 60:.0f} minutes of mixed work, "
        f"{options.threads} threads and an event loop, CPython {sys.version.split()[0]}"
    )
    if options.svg is not None:
        options.svg.write_text(draw(samples, warm, title))
    print(
        f"soak: after {warm:.0f} s: resident {grown['resident']:+.2%} emptied and "
        f"{grown['working']:+.2%} at work, blocks {grown['blocks']:+.2%}, "
        f"references {grown['references']:+.0f}"
    )
    # Event loops and threads that come and go leave a few blocks of the interpreter's own.
    flat = all(grown[what] <= MAY_GROW for what in ("resident", "working", "blocks"))
    return 0 if flat and grown["references"] <= 0 else 1


if __name__ == "__main__":
    sys.exit(main())
