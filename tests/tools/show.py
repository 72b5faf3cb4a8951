"""Prints what one of the tools says of our structures: the outputs in docs/tools.md."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from structures import STRONG, WEAK, Thing, mapping

from leaksafe import LRUCache


def show_gc() -> None:
    things = [Thing(0)]
    for name, make in {**STRONG, **WEAK}.items():
        held = make(things)
        holders = [
            type(one).__name__
            for one in gc.get_referrers(things[0])
            if one is not things and type(one).__module__.startswith("leaksafe")
        ]
        print(f"{name:22} {', '.join(holders) or 'holds nothing'}")
        del held


def show_objgraph() -> None:
    import objgraph

    for name, make in STRONG.items():
        thing = Thing(0)
        globals()["holder"] = make([thing])
        chain = objgraph.find_backref_chain(thing, objgraph.is_proper_module)
        print(f"{name:22} {' <- '.join(type(one).__name__ for one in reversed(chain))}")
        del globals()["holder"]


def show_pympler() -> None:
    from pympler import asizeof

    things = [Thing(number) for number in range(1_000)]
    for name, make in {**STRONG, **WEAK}.items():
        held = make(things)
        weigh: Any = asizeof.asizeof
        own = weigh(things, held) - weigh(things)
        print(f"{name:22} {own / 1_000:6.1f} bytes an entry")
        del held


def show_muppy() -> None:
    from pympler import muppy

    for name, make in STRONG.items():
        things = [Thing(number) for number in range(1_000)]
        held = make(things)
        things.clear()  # which the structure alone holds now
        print(f"{name:22} {sum(type(one) is Thing for one in muppy.get_objects()):6}")
        del held


def show_heapy() -> None:
    from guppy import hpy

    heapy = hpy()
    for name, make in STRONG.items():
        heapy.setrelheap()
        things = [Thing(number) for number in range(1_000)]
        held = make(things)
        things.clear()  # which the structure alone holds now
        found = heapy.heap() & Thing
        print(f"{name:22} {found.count} held by {found.byrcs.kind}")
        del held, found
    heapy.setrelheap()
    cache = mapping(LRUCache(None), [Thing(number) for number in range(1_000)])
    print("LRUCache, bytes:", (heapy.heap() & LRUCache).size, "of", sys.getsizeof(cache))


def show_memory_profiler() -> None:
    from io import StringIO

    from memory_profiler import profile

    def mended() -> None:
        results = LRUCache[str, int](1_000)
        for number in range(1_000):
            results[f"add_{number}"] = number
        for number in range(20_000):
            results[f"add_{number}"] = number

    profile(mended, stream=StringIO())()
    stream = StringIO()
    profile(mended, stream=stream)()
    for line in stream.getvalue().splitlines():
        if "MiB" in line:
            print(line.rstrip())


def show_tracemalloc() -> None:
    import tracemalloc

    from leaksafe import _core

    only = tracemalloc.DomainFilter(inclusive=True, domain=_core.TRACEMALLOC_DOMAIN)
    things = [Thing(number) for number in range(1_000)]
    tracemalloc.start()
    for name, make in {**STRONG, **WEAK}.items():
        before = sum(one.size for one in tracemalloc.take_snapshot().filter_traces([only]).traces)
        held = make(things)
        after = sum(one.size for one in tracemalloc.take_snapshot().filter_traces([only]).traces)
        print(f"{name:22} {(after - before) / 1_000:6.1f} bytes an entry")
        del held


if __name__ == "__main__":
    globals()[f"show_{sys.argv[1]}"]()
