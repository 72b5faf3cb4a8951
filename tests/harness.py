"""What the tests share: threads, keys and errors made for trouble.

Where threads hang, the test fails and goes on.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds after which whatever a test waits for counts as never coming."""


def outcomes(*functions: Callable[[], T]) -> list[T | BaseException]:
    """Run each function in a thread of its own: what each returned or raised, in their order."""
    results: dict[int, T | BaseException] = {}

    def run(number: int, function: Callable[[], T]) -> None:
        try:
            results[number] = function()
        except BaseException as error:
            results[number] = error

    threads = [
        threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(functions)
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    hanging = [thread for thread in threads if thread.is_alive()]
    if hanging:
        frames = sys._current_frames()
        stacks = [
            "".join(traceback.format_stack(frames[thread.ident]))
            for thread in hanging
            if thread.ident in frames
        ]
        pytest.fail(f"{len(hanging)} of {len(threads)} threads hang:\n" + "\n".join(stacks))
    return [results[number] for number in range(len(functions))]


def in_threads(*functions: Callable[[], T]) -> list[T]:
    """Run each function in a thread of its own; their results, or the first one's exception."""
    results: list[T] = []
    for outcome in outcomes(*functions):
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)
    return results


def wait(event: threading.Event) -> None:
    """Wait for what is certain to come, and fail where it doesn't."""
    assert event.wait(PATIENCE), "what was waited for never came"


@dataclass
class Unraisable:
    """One call of `sys.unraisablehook`."""

    exception: BaseException | None
    source: object
    message: str | None


class Boom(Exception):
    """Raised on purpose by what a test hands to a cache."""


class Colliding:
    """Keys that all have the same hash and are told apart by a Python-level `__eq__`."""

    def __init__(self, name: object) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colliding) and self.name == other.name

    def __repr__(self) -> str:
        return f"Colliding({self.name!r})"


class BadHash:
    """A key whose `__hash__` raises while `failing` is set."""

    failing = True

    def __hash__(self) -> int:
        if self.failing:
            raise Boom("hash")
        return 7


def filling(cache: Any) -> type:
    """Make a class of keys whose `__eq__` puts more into the cache, two deep at the most."""
    depth = 0

    class Key:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            nonlocal depth
            if depth < 2:
                depth += 1
                cache[f"filler {depth}"] = None
                depth -= 1
            return self is other

    return Key


class BadEq:
    """A key whose `__eq__` raises, with a hash to collide with that of 7."""

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        raise Boom("eq")
