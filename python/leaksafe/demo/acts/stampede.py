"""A slow answer that many ask for while it isn't there: functools' `lru_cache`, and `cached`."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from leaksafe import cached
from leaksafe.demo.act import Act, Figure, Job, Options, Progress, Run, Sample

_ROUNDS = 30
_READERS = 200
_SECONDS = 0.02
_FUNCTOOLS, _CACHED = range(2)
_RUNS, _SLOWEST = range(2)


class StampedeAct(Act):
    """In each round, two hundred readers at once ask for one key that isn't there, and is slow."""

    title = "A slow answer that everybody computes"
    unit = "rounds"
    axis = "computations"
    leaves = False
    figures = (
        Figure("computations", "{:,.0f}", " computations"),
        Figure("slowest reader", "{:,.0f} ms", " for the slowest reader"),
    )

    def prepare(self, options: Options, scratch: Path, progress: Progress) -> Job:
        """Choose how many rounds; there is nothing to read."""
        total = min(options.lookups or _ROUNDS, _ROUNDS)
        progress(total, total)
        return Job(
            options=options,
            scratch=scratch,
            sides=("functools", "cached"),
            total=total,
            note=f"{_READERS} readers ask for one key at once, {total:,} times",
        )

    def measure(self, side: int, job: Job) -> Iterator[Sample]:
        """Let the readers ask, round by round."""
        runs = 0
        counting = threading.Lock()

        def answer(key: int) -> int:
            nonlocal runs
            with counting:
                runs += 1
            time.sleep(_SECONDS)  # a database, or another host
            return key * key

        ask: Callable[[int], int]
        ask = cached(answer) if side == _CACHED else functools.lru_cache(answer)  # the difference
        together = threading.Barrier(_READERS + 1)
        took = [0.0] * _READERS

        def read(number: int) -> None:
            for key in range(job.total):
                together.wait()
                began = time.perf_counter()
                ask(key)
                took[number] = time.perf_counter() - began
                together.wait()

        for number in range(_READERS):
            threading.Thread(target=read, args=(number,), daemon=True).start()
        slowest = 0.0
        yield Sample(0, (0, 0))
        for done in range(1, job.total + 1):
            together.wait()
            together.wait()
            slowest = max(slowest, *took)
            yield Sample(done, (runs, slowest * 1000))

    def meaning(self, run: Run) -> str:
        """Count the computations."""
        theirs, ours = (run.last(side).values for side in (_FUNCTOOLS, _CACHED))
        rounds = run.last(_CACHED).done
        return (
            f"{rounds:,} keys are {rounds:,} computations, if each is made once. functools made"
            f" {theirs[_RUNS]:,.0f}, since it lets everybody compute what isn't there yet;"
            f" cached made {ours[_RUNS]:,.0f}: one computes, the others wait for that."
        )
