"""A cache without a bound: a class's dict that nobody empties, and an `LRUCache` in its place."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, MutableMapping
from itertools import islice
from pathlib import Path
from platform import python_version
from typing import ClassVar

from leaksafe import LRUCache
from leaksafe.demo.act import Act, Figure, Job, Options, Progress, Run, Sample
from leaksafe.demo.measure import resident
from leaksafe.demo.source import chunks, read_pairs, write_identifiers

_SAMPLES = 240
_LEAKED = 10_000
_INPUT = "identifiers.txt"
_DICT, _LRU = range(2)
_MEMORY, _ENTRIES, _HITS, _SPEED = range(4)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")


class Calculator:
    """The leak: results are kept in a dict of the class, which lives as long as the program."""

    cache: ClassVar[MutableMapping[str, str]] = {}
    computed: ClassVar[int] = 0

    @classmethod
    def add(cls, a: str, b: str) -> str:
        """Return a description of two names put together."""
        key = f"add {a} {b}"  # with "_" between them, (x_y, z) and (x, y_z) would share a key
        result = cls.cache.get(key)
        if result is None:
            result = cls.cache[key] = describe(a, b)
            cls.computed += 1
        return result


def describe(a: str, b: str) -> str:
    """Say of which words two names are made: some work, and about a hundred characters to keep."""
    words = [word.lower() for word in _WORD.findall(f"{a} {b}")]
    return f"{a} + {b}: {len(words)} words, {len(a) + len(b)} characters: {' '.join(words)}"


class CalculatorAct(Act):
    """Both sides run `Calculator.add` on the same pairs; all that differs is `Calculator.cache`."""

    title = "A cache without a bound"
    unit = "look-ups"
    axis = "resident memory, MiB"
    figures = (
        Figure("resident memory", "{:,.1f} MiB"),
        Figure("entries", "{:,.0f}", " entries"),
        Figure("hit ratio", "{:.1%}", " hits"),
        Figure("average speed", "{:,.0f} look-ups/s"),
    )

    def prepare(self, options: Options, scratch: Path, progress: Progress) -> Job:
        """Find the identifiers."""
        source = write_identifiers(scratch / _INPUT, options.lookups, progress)
        return Job(
            options=options,
            scratch=scratch,
            sides=("dict, never emptied", f"LRUCache({options.maxsize:_})"),
            total=source.pairs,
            note=(
                f"Calculator.add(a, b) for {source.pairs:,} pairs of consecutive identifiers"
                f" in {source.files:,} files of Python {python_version()}'s standard library"
                " (comments and strings included, keywords not)"
            ),
        )

    def measure(self, side: int, job: Job) -> Iterator[Sample]:
        """Look up every pair."""
        if side == _LRU:
            Calculator.cache = LRUCache(job.options.maxsize)  # the one difference
        done = 0
        seconds = 0.0
        yield _sample(done, seconds)
        for pairs in chunks(read_pairs(job.scratch / _INPUT), -(-job.total // _SAMPLES)):
            # Processor time, since other programs may want the same processors.
            start = time.process_time()
            for a, b in pairs:
                Calculator.add(a, b)
            seconds += time.process_time() - start
            done += len(pairs)
            yield _sample(done, seconds)

    def leak(self, job: Job) -> None:
        """Look up some pairs."""
        for a, b in islice(read_pairs(job.scratch / _INPUT), _LEAKED):
            Calculator.add(a, b)

    def meaning(self, run: Run) -> str:
        """Weigh what was saved against what it costs."""
        leak, bound = (run.last(side).values for side in (_DICT, _LRU))
        began = run.samples[_DICT][0].values[_MEMORY]
        at_most = f"{run.job.options.maxsize:,}"
        return (
            f"Each process began at {began:.0f} MiB. The dict keeps every pair it ever met:"
            f" {leak[_MEMORY]:.0f} MiB. The cache keeps at most the {at_most} last used:"
            f" {bound[_MEMORY]:.0f} MiB, and for that computed {leak[_HITS] - bound[_HITS]:.1%} of"
            " the look-ups again. Speed is per second of processor time."
        )


def _sample(done: int, seconds: float) -> Sample:
    return Sample(
        done,
        (
            resident() / 2**20,
            len(Calculator.cache),
            1 - Calculator.computed / done if done else 0.0,
            done / seconds if seconds else 0.0,
        ),
    )
