"""Results that are computed anew behind their callers: one bounded pool for the process."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from concurrent.futures import ThreadPoolExecutor

_THREADS = 4
_WAITING = 256
"""So many, at most, run or wait; what is above stays old until it is asked for again."""


def logger() -> logging.Logger:
    """Failures behind callers' backs. It speaks up though `leaksafe` is off by default."""
    import logging  # noqa: PLC0415

    found = logging.getLogger("leaksafe.refresh")
    if found.level == logging.NOTSET:
        found.setLevel(logging.WARNING)
    return found


class _Key:
    """A key by the hash that it had: one whose hash changes is found again, and can be let go."""

    __slots__ = ("hash", "key")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.hash = hash(key)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.key == other.key


class _Pool:
    """The threads, made with the first recomputation, and joined when the interpreter exits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        # Asked outside of the lock: comparing keys is code of the caller.
        self._under_way: dict[_Key, _Key] = {}

    def run(self, key_now: Hashable, compute: Callable[[], object]) -> None:
        try:
            threads = self._threads or self._made()
        except RuntimeError:  # the interpreter is about to exit
            return
        key = _Key(key_now)
        if len(self._under_way) >= _WAITING or self._under_way.setdefault(key, key) is not key:
            return
        context = contextvars.copy_context()

        def task() -> None:
            try:
                context.run(compute)
            except BaseException:  # noqa: BLE001  # in a pool's thread: nobody else would hear of it
                logger().exception("a result could not be computed anew")
            finally:
                self._under_way.pop(key, None)

        try:
            threads.submit(task)
        except RuntimeError:  # the interpreter is about to exit
            self._under_way.pop(key, None)

    def _made(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="leaksafe-refresh")
        with self._lock:
            self._threads = self._threads or threads
            return self._threads


_pool = _Pool()


def behind(key: Hashable, compute: Callable[[], object]) -> None:
    """Compute something in the pool, unless what has this key is under way there already."""
    _pool.run(key, compute)


def _forked() -> None:
    """The threads stayed with the parent."""
    global _pool  # noqa: PLW0603
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
