"""Whether an operation leaves references, blocks or memory behind, if it is done often enough."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import repeat

from isolated import FREE_THREADED, full_collection, resident

# The same code in both builds: a quarter without the GIL, where a round takes longer.
MILLION = 250_000 if FREE_THREADED else 1_000_000
FEWER = 25_000 if FREE_THREADED else 100_000
MEMORY = 2 * 2**20


def leaves_nothing(
    operation: Callable[[], object], rounds: int, watched: Sequence[object], blocks: int, runs: int
) -> None:
    """Fail if each of so many runs of so many rounds leaves something.

    That is a reference to what is watched, more than so many blocks, or than `MEMORY` bytes. Pools
    and caches that aren't full yet are soon; a leak goes on.
    """

    def measure() -> tuple[list[int], int, int]:
        full_collection()
        return [sys.getrefcount(one) for one in watched], sys.getallocatedblocks(), resident()

    def grown(times: int) -> list[str]:
        counts, blocks_before, memory = measure()
        for _ in repeat(None, times):
            operation()
        counts_after, blocks_after, memory_after = measure()
        growth = [
            f"{after - before:+} references to {one!r}"
            for one, before, after in zip(watched, counts, counts_after, strict=True)
            if after != before
        ]
        if abs(blocks_after - blocks_before) > blocks:
            growth.append(f"{blocks_after - blocks_before:+} blocks")
        if memory_after - memory > MEMORY:
            growth.append(f"{memory_after - memory:+} resident bytes")
        return growth

    # twice: measuring for the first time takes memory of its own
    for _ in range(2):
        grown(max(rounds // 20, 50))
    growth = [grown(rounds)]
    while growth[-1] and len(growth) < runs:
        growth.append(grown(rounds))
    assert not growth[-1], f"each of {runs} runs of {rounds} left something: {growth}"
