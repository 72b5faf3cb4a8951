"""The thread that lets go of what has expired, in every cache whose entries age by the clock.

There is one in a process. It starts with the first entry that will expire, sleeps until something
is due, and ends when the last such cache is gone. Destructors of expired values and ``on_remove``
may run in it. At exit it is stopped before the interpreter goes, and a forked child has its own.
Caches with a ``timer`` are not its business.

>>> from leaksafe import TTLCache, sweeper
>>> cache = TTLCache(100, ttl=0.001)
>>> sweeper.pause()
>>> cache["a"] = 1
>>> sweeper.state().paused
True
>>> sweeper.resume()
"""

from __future__ import annotations

from typing import NamedTuple

from leaksafe import _core

__all__ = ["SweeperState", "pause", "resume", "run_once", "state"]


class SweeperState(NamedTuple):
    """What the sweeper is doing."""

    running: bool
    """Whether there is a thread."""
    paused: bool
    """Whether it is held back."""
    caches: int
    """The caches that it knows."""
    passes: int
    """How often it, or `run_once`, went through them."""


def pause() -> None:
    """Hold the sweeper back: what expires is freed by operations only. For tests."""
    _core._sweeper_pause(True)


def resume() -> None:
    """Let the sweeper go on."""
    _core._sweeper_pause(False)


def run_once() -> int:
    """Free what has expired in every cache that the sweeper knows, in this thread.

    Returns how many entries went.
    """
    return _core._sweeper_run()


def state() -> SweeperState:
    """Return what the sweeper is doing."""
    return SweeperState(*_core._sweeper_state())
