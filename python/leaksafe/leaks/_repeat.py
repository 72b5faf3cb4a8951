"""Whether calls leave something behind, proven or excluded."""

from __future__ import annotations

import ctypes
import json
import math
import os
import sys
import threading
import tracemalloc
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from leaksafe import _core
from leaksafe.leaks import _page, _plain
from leaksafe.leaks._check import check, collect
from leaksafe.leaks._report import Report

ERROR = 1e-3
"""What the error probability of a verdict is to stay below."""
_CALLS = 30
_WARM_UP = 150
_LEAST = 12
_ROUNDS = 16
"""More than are ever measured: 1/17! is below `ERROR` for any number of classes."""


@dataclass(frozen=True)
class Growth:
    """Something of which each call leaves more.

    >>> from leaksafe import leaks
    >>> print(leaks.Growth("builtins.object", 2, 1e-9))
    2 builtins.object a call (error probability 1e-09)
    """

    what: str
    """A class by its full name, or memory by its kind, `file descriptors`, `threads`."""
    per_call: float
    error: float
    """The probability to see this where nothing grows."""
    rounds: tuple[int, ...] = ()
    """How much there was after each round of calls that was measured."""

    def __str__(self) -> str:
        if self.what == _NATIVE:
            grows = f"native: {self.per_call:g} bytes a call, not visible to the collector"
        else:
            grows = f"{self.per_call:g} {self.what} a call"
        return f"{grows} (error probability {self.error:.1g})"


@dataclass(frozen=True)
class Verdict:
    """Whether a function leaks.

    Attributes:
        leaks: True where growth is proven, False where it is excluded.
        calls: how many calls that took, those to warm up included.
        error: the probability that the verdict is wrong: of True, where nothing grows; of False,
            where one call in `rate` leaks.
        rate: see there; 0 where `leaks` is True.
        growth: what grows.
        report: what outlives the last calls, and who holds it.

    >>> from leaksafe import leaks
    >>> leaks.repeat(lambda: [object() for _ in range(10)]).leaks
    False
    """

    leaks: bool
    calls: int
    error: float
    rate: int
    growth: tuple[Growth, ...]
    report: Report

    def __str__(self) -> str:
        if not self.leaks:
            return (
                f"no growth in {self.calls:,} calls: a leak in one call of {self.rate:,} or more "
                f"often is excluded (error probability {self.error:.1g})"
            )
        lines = [f"leaks, in {self.calls:,} calls:", *(f"  {one}" for one in self.growth)]
        return "\n".join([*lines, str(self.report)]) if self.report.groups else "\n".join(lines)

    def to_json(self) -> str:
        """Return the fields as JSON, those of the report under `report`.

        >>> from leaksafe import leaks
        >>> '"leaks": false' in leaks.repeat(lambda: None).to_json()
        True

        """
        fields: dict[str, Any] = {
            "leaks": self.leaks,
            "calls": self.calls,
            "error": self.error,
            "rate": self.rate,
            "growth": [asdict(one) for one in self.growth],
            "report": json.loads(self.report.to_json()),
        }
        return json.dumps(fields, ensure_ascii=False)

    def html(self, title: str = "Does every call leave something?") -> str:
        """Return a page for a browser: what grows, its curve over the rounds, and who holds it.

        Args:
            title: its heading.

        Returns:
            The page, like that of `Report.html`: O(n) in the groups and in what grows.

        >>> from leaksafe import leaks
        >>> "no growth in " in leaks.repeat(lambda: None).html()
        True

        """
        return _page.document(title, list(_page.verdict(self)))


def repeat(fn: Callable[[], object], /, max_calls: int | None = None) -> Verdict:
    """Call a function until it is proven that calls leave something behind, or excluded.

    The first third of the calls fills caches, and doesn't count. Then rounds of as many calls each
    are measured, each after a full collection: objects by class, blocks of Python's allocator,
    bytes in use by C's (glibc; resident memory elsewhere), file descriptors and threads.

    If nothing grows, every order of n measurements is as likely as any other, and each is higher
    than the last with probability 1/n! (the extreme case of Mann's test against trend, Econometrica
    13, 1945), times the number of things looked at (Bonferroni). Growth counts as proven where that
    is below 0.001, and as excluded as soon as nothing has grown in each round so far. A leak in a
    share p of the calls then went unseen with probability (1 - p)^calls (the "rule of three";
    Hanley and Lippman-Hand, JAMA 249, 1983).

    Args:
        fn: takes no arguments; what it returns is dropped.
        max_calls: how many calls at most, from 24; 542 if not given. What a cache takes in that is
            still being filled after as many counts as growth.

    Returns:
        The verdict, with the report of what outlives the calls where there is growth.

    Raises:
        ValueError: `max_calls` is less than 24.
        What `fn` raises.

    Costs the calls, and for each of up to 12 rounds a full collection and O(n) in all objects.

    >>> from leaksafe import leaks
    >>> kept = []
    >>> def work():
    ...     kept.append(object())
    >>> verdict = leaks.repeat(work)
    >>> verdict.leaks, verdict.error < 0.001
    (True, True)
    >>> leaks.repeat(lambda: object()).leaks
    False

    """
    if max_calls is None:
        warm_up, calls = _WARM_UP, _CALLS
    elif max_calls < 2 * _LEAST:
        raise ValueError(f"max_calls must be at least {2 * _LEAST}, not {max_calls}")
    else:
        warm_up = max_calls // 3
        calls = (max_calls - warm_up) // _LEAST
    return Trial(fn, warm_up=warm_up, calls=calls).verdict()


class Trial:
    """Rounds of calls, and what has grown in each of them."""

    def __init__(self, fn: Callable[[], object], *, warm_up: int, calls: int) -> None:
        self._fn = fn
        self._warm_up = warm_up
        self._calls = calls
        self._done = 0
        self._looked_at = 1
        self._rounds = 0
        self._classes: dict[str, int] = {}
        """What grew in each round so far."""
        self._start: dict[str, int] = {}
        """How many there were after the first round, from which on rates are taken."""
        # Numbers in fixed places: a new object in each round would be growth itself.
        self._curves: dict[str, array[int]] = {
            name: array("q", [0] * _ROUNDS) for name, _ in _METERS
        }
        self._first = array("q", [0] * len(_METERS))
        self._last = array("q", [0] * len(_METERS))
        self._grows = array("b", [1] * len(_METERS))

    def verdict(self) -> Verdict:
        """Run the rounds."""
        self._call(self._warm_up)
        self._call(2)
        last = classes()
        self._looked_at = len(last) + len(_METERS)
        self._last[:] = _read()
        while self._grows_still() or not self._rounds:
            if self._rounds and self.error() < ERROR:
                return self._leaking(last)
            self._call(self._calls)
            self._compare(last, first=not self._rounds)
            self._rounds += 1
        rate = max(1, int(self._done / math.log(1 / ERROR)))
        return Verdict(False, self._done, ERROR, rate, (), Report([], [], []))

    def _grows_still(self) -> bool:
        return bool(self._classes) or any(self._grows)

    def error(self) -> float:
        """The probability of growth in each round, of anything, where nothing grows."""
        return self._looked_at / math.factorial(self._rounds + 1)

    def _call(self, times: int) -> None:
        fn = self._fn
        for _ in range(times):
            fn()
        self._done += times

    def _compare(self, last: dict[str, int], *, first: bool) -> None:
        readings = _read()
        now = classes()
        if first:
            self._classes = dict.fromkeys(now, 0)
        for name in list(self._classes):
            if now.get(name, 0) <= last.get(name, 0):
                del self._classes[name]
        # The names stay the same objects, so that notes take no more memory than before.
        for name in last.keys() - now.keys():
            del last[name]
        last.update(now)
        if first:
            # Read once more: what is noted here takes memory too.
            self._start = dict(last)
            self._curves |= {name: array("q", [0] * _ROUNDS) for name in self._classes}
            del now
            readings = _read()
            self._first[:] = readings
        for name in self._classes:
            self._curves[name][self._rounds] = last[name]
        for place, (name, unit) in enumerate(_METERS):
            self._curves[name][self._rounds] = readings[place]
            # Half of the calls, each by the least that there is.
            least = max(1, unit * self._calls // 2)
            if readings[place] - self._last[place] < least:
                self._grows[place] = 0
        self._last[:] = readings

    def _leaking(self, last: dict[str, int]) -> Verdict:
        calls = (self._rounds - 1) * self._calls
        error = self.error()
        growth = [
            Growth(name, (last[name] - self._start[name]) / calls, error, self._curve(name))
            for name in self._classes
        ]
        growth.sort(key=lambda one: -one.per_call)
        for place, (name, _) in enumerate(_METERS):
            if self._grows[place] and not (growth and name in _EXPLAINED):
                rate = (self._last[place] - self._first[place]) / calls
                growth.append(Growth(name, rate, error, self._curve(name)))
        with check() as found:
            self._call(self._calls)
        groups = [
            replace(group, growth=group.count / self._calls)
            for group in found.report().groups
            if group.count >= self._calls // 2
        ]
        if not groups and not self._classes:
            growth = [self._in_bytes(one) for one in growth]
        report = Report(groups, [], [])
        return Verdict(True, self._done, error, 0, tuple(growth), report)

    def _in_bytes(self, growth: Growth) -> Growth:
        """Blocks that no object explains, in bytes."""
        if growth.what != _BLOCKS:
            return growth
        was_tracing = tracemalloc.is_tracing()
        if not was_tracing:
            tracemalloc.start()
        collect()
        before = tracemalloc.get_traced_memory()[0]
        self._call(self._calls)
        collect()
        size = (tracemalloc.get_traced_memory()[0] - before) / self._calls
        if not was_tracing:
            tracemalloc.stop()
        # What was measured in each round are blocks.
        return replace(growth, what=_NATIVE, per_call=size, rounds=())

    def _curve(self, name: str) -> tuple[int, ...]:
        return tuple(self._curves[name][: self._rounds])


def classes() -> dict[str, int]:
    """Objects by the full name of their class; no class is held by this."""
    counts: Counter[str] = Counter()
    for kind, count in _core._count_types().items():
        counts[_plain.full_name(kind)] += count
    return dict(counts)


def _descriptors() -> int:
    for directory in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(directory))  # noqa: PTH208  # names alone
        except OSError:
            continue
    return 0


class _MallInfo(ctypes.Structure):
    """What `mallinfo2` tells; the fifth is mapped apart, the eighth in use."""

    _fields_ = (("values", ctypes.c_size_t * 10),)
    values: ctypes.Array[ctypes.c_size_t]


def _mallinfo() -> Callable[[], Any] | None:
    try:
        function = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):
        return None
    function.restype = _MallInfo
    return function


_MALLINFO = _mallinfo()


def _native() -> int:
    """Bytes in use by C's allocator, or resident where it doesn't say."""
    if _MALLINFO is not None:
        info = _MALLINFO()
        return int(info.values[7] + info.values[4])
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096
    except OSError:
        return 0


_BLOCKS = "blocks"
_NATIVE = "native bytes"
_EXPLAINED = {_BLOCKS, _NATIVE}
# What is measured beside objects, and the least that one call could leave.
_METERS: tuple[tuple[str, int], ...] = (
    (_BLOCKS, 1),
    (_NATIVE, 16),
    ("file descriptors", 1),
    ("threads", 1),
)


def _read() -> array[int]:
    collect()
    return array(
        "q", [sys.getallocatedblocks(), _native(), _descriptors(), threading.active_count()]
    )
