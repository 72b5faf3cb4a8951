"""A cached method: with functools, the cache keeps every instance that was ever asked."""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from platform import python_version
from typing import Any
from weakref import WeakSet

import leaksafe
from leaksafe.demo.act import Act, Figure, Job, Options, Progress, Run, Sample
from leaksafe.demo.measure import resident
from leaksafe.demo.source import read_pages, write_identifiers

_SAMPLES = 240
_LEAKED = 20
_INPUT = "identifiers.txt"
_FUNCTOOLS, _LEAKSAFE = range(2)
_ALIVE, _MEMORY, _ENTRIES, _HITS = range(4)


class Page:
    """Some words in a row."""

    def __init__(self, words: list[str]) -> None:
        """Take the words in."""
        self.words = sorted(words)

    def count(self, word: str) -> int:
        """Return how many times a word is there."""
        return bisect_right(self.words, word) - bisect_left(self.words, word)


def remembering(cache: Callable[[Callable[..., int]], Any]) -> type[Page]:
    """Return a class of pages that remember their counts.

    With `functools.cache` it is the leak: each entry has the page in its key, and so the cache,
    which belongs to the class, keeps the page.
    """

    class _Remembering(Page):
        @cache
        def count(self, word: str) -> int:
            return super().count(word)

    return _Remembering


_LIVING: WeakSet[Page] = WeakSet()
"""Whom the figures count; the classes know nothing of it."""

CachedPage = remembering(functools.cache)


class PageAct(Act):
    """Both sides make the same pages, ask each for the count of all its words, and drop it."""

    title = "A cached method that keeps its instances"
    unit = "look-ups"
    axis = "live instances"
    figures = (
        Figure("live instances", "{:,.0f}", " alive"),
        Figure("resident memory", "{:,.1f} MiB"),
        Figure("entries", "{:,.0f}", " entries"),
        Figure("hit ratio", "{:.1%}", " hits"),
    )

    def prepare(self, options: Options, scratch: Path, progress: Progress) -> Job:
        """Find the identifiers."""
        source = write_identifiers(scratch / _INPUT, options.lookups, progress)
        return Job(
            options=options,
            scratch=scratch,
            sides=("functools.cache", "leaksafe.cache"),
            total=source.pairs,
            note=(
                f"page.count(word) for {source.pairs:,} identifiers of Python {python_version()}'s"
                " standard library, on pages of up to 1,000; no page is used after the next begins"
            ),
        )

    def measure(self, side: int, job: Job) -> Iterator[Sample]:
        """Read page by page."""
        cache = leaksafe.cache if side == _LEAKSAFE else functools.cache  # the one difference
        page_class = remembering(cache)
        step = -(-job.total // _SAMPLES)
        done = 0
        yield _sample(done, page_class)
        for words in read_pages(job.scratch / _INPUT):
            page = page_class(words)
            _LIVING.add(page)
            for word in words:
                page.count(word)
                done += 1
                if done % step == 0 and done < job.total:
                    yield _sample(done, page_class)
            del page
        yield _sample(done, page_class)

    def leak(self, job: Job) -> None:
        """Read some pages."""
        for words in islice(read_pages(job.scratch / _INPUT), _LEAKED):
            page = CachedPage(words)
            for word in words:
                page.count(word)

    def meaning(self, run: Run) -> str:
        """Say who keeps the pages, and that forgetting them cost no hits."""
        kept, gone = (run.last(side).values for side in (_FUNCTOOLS, _LEAKSAFE))
        return (
            "Every page was dropped, and neither cache has a bound."
            f" functools.cache still holds {kept[_ALIVE]:,.0f} pages with {kept[_ENTRIES]:,.0f}"
            f" results, which nobody can ask for again: {kept[_MEMORY]:.0f} MiB."
            f" leaksafe.cache holds {gone[_ALIVE]:,.0f} pages, its entries went with them:"
            f" {gone[_MEMORY]:.0f} MiB. Hits: {kept[_HITS]:.1%} and {gone[_HITS]:.1%}."
        )


def _sample(done: int, page_class: Any) -> Sample:  # noqa: ANN401  # its `count` has more
    info = page_class.count.cache_info()
    return Sample(
        done,
        (
            len(_LIVING),
            resident() / 2**20,
            info.currsize,
            info.hits / done if done else 0.0,
        ),
    )
