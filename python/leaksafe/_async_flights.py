"""Single flight for coroutines: what many tasks ask for at once is made by one of them.

    flights = Flights()
    value = await flights.once(key, look, make)                # make() keeps what it makes, or
    value = await flights.once(key, look, make, keep)          # keep(value, flight) does
    flights.forget(key)                                        # or flights.forget_all()

`look()` returns what is kept for the key, or `MISSING`; it is asked before a flight departs.
`make()` returns an awaitable. It runs in a task of its own, in a copy of the first caller's
context, and whoever asks for the key meanwhile in the same event loop waits for it. Cancelling one
who waits harms nobody else; when nobody waits any more, the task is cancelled. An `Exception` goes
to everyone who waited, once (see `_failures.twin`); any other, `CancelledError` among them, goes to
the one who has waited longest, and the next one takes over.

`keep(value, flight)` runs in the flight's task and returns what everyone gets. It isn't called if
the flight was forgotten or left by all; what keeps atomically asks `flight.forgotten` once more.
`forget` takes the flight of a key off the board in all event loops: who asks afterwards starts
another one. Forget first, then remove what is kept.

Who asks for what it is itself made by, over any number of others (threads too), runs its own
`make()`, and what that makes is not passed to `keep`: the flight that is under way keeps its own.

The board holds flights weakly, and loops too: those who wait and the task hold a flight. So an
event loop that is closed with flights under way leaves nothing behind.

A `Flights` may be used from many threads, each with an event loop of its own; there is at most one
flight for a key and loop. An event loop is asyncio's or one with its interface (uvloop). Under trio
`once` raises `RuntimeError`, unless it is called through trio-asyncio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from leaksafe._core import (
    _Computation,  # pyright: ignore[reportPrivateUsage]
    _computing,  # pyright: ignore[reportPrivateUsage]
)
from leaksafe._failures import twin
from leaksafe._weak_mappings import WeakKeyDictionary, WeakValueDictionary

_K = TypeVar("_K")
_V = TypeVar("_V")


class _Missing(Enum):
    MISSING = "MISSING"


MISSING: Final = _Missing.MISSING
Missing: TypeAlias = Literal[_Missing.MISSING]

_computation = _computing()


class _Failure:
    """What those who wait are told in place of a result."""

    __slots__ = ("error", "traceback")

    def __init__(self, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.error = error
        """None where the flight ended for another one's reason: to be asked for again."""
        self.traceback = traceback


_AGAIN = _Failure(None, None)


class Flight(_Computation, Generic[_V]):
    """One computation under way, in one event loop."""

    __slots__ = ("over", "task", "waiting")

    def __init__(self) -> None:
        self.task: asyncio.Future[None] | None = None
        self.waiting: dict[asyncio.Future[_V | _Failure], None] = {}
        """Those who wait, the first caller first."""
        self.over = False
        """Whether it has landed, or nobody waits any more."""

    def land(self) -> list[asyncio.Future[_V | _Failure]]:
        """End it, and return those who wait: they are to be told."""
        self.end()
        self.over = True
        waiting, self.waiting = self.waiting, {}
        return [future for future in waiting if not future.done()]


_Board: TypeAlias = "WeakValueDictionary[_K, Flight[_V]]"


class Flights(Generic[_K, _V]):
    """The computations under way in one structure: at most one for each key and event loop."""

    __slots__ = ("__weakref__", "_boards")

    def __init__(self) -> None:
        self._boards: WeakKeyDictionary[asyncio.AbstractEventLoop, _Board[_K, _V]] = (
            WeakKeyDictionary()
        )

    async def once(
        self,
        key: _K,
        look: Callable[[], _V | Missing],
        make: Callable[[], Awaitable[_V]],
        keep: Callable[[_V, Flight[_V]], _V] | None = None,
    ) -> _V:
        """Return what `look` finds, or else what `make` makes, in one task for all who ask."""
        loop = _running_loop()
        board = self._boards.get(loop)
        if board is None:
            board = self._boards.setdefault(loop, WeakValueDictionary())
        within = _computation.get()
        while True:
            flight = board.get(key)
            leads = flight is None or flight.over
            if flight is None or leads:
                found = look()
                if found is not MISSING:
                    return found
                flight = board[key] = Flight[_V]()
            elif within is not None and not flight.join(within):
                return await make()
            future: asyncio.Future[_V | _Failure] = loop.create_future()
            flight.waiting[future] = None
            try:
                if leads:
                    _depart(flight, _fly(flight, board, key, make, keep), loop)
                outcome = await future
            finally:
                if within is not None and not leads:
                    flight.part(within)
                if not flight.over:  # so this one was cancelled
                    flight.waiting.pop(future, None)
                    if not flight.waiting:
                        _leave(flight, board, key)
            if not isinstance(outcome, _Failure):
                return outcome
            error, traceback = outcome.error, outcome.traceback
            del flight, future, outcome
            if error is not None:
                try:
                    raise error.with_traceback(traceback)
                finally:
                    del error, traceback

    def forget(self, key: _K) -> None:
        """Have nothing kept of what is under way for a key, and nobody wait for it from now on."""
        for board in list(self._boards.values()):
            flight = board.pop(key, None)
            if flight is not None:
                flight.forget()

    def forget_all(self) -> None:
        """Forget every flight."""
        for board in list(self._boards.values()):
            while board:
                try:
                    _, flight = board.popitem()
                except KeyError:
                    break
                flight.forget()

    def __len__(self) -> int:
        """Return how many flights are under way."""
        return sum(len(board) for board in list(self._boards.values()))


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "coroutines are made once in an event loop of asyncio, and none is running here: use "
            "asyncio.run (or uvloop), anyio with its asyncio backend, or trio-asyncio under trio"
        ) from None


def _depart(
    flight: Flight[_V], body: Coroutine[object, object, None], loop: asyncio.AbstractEventLoop
) -> None:
    token = _computation.set(flight.number)
    try:
        # In a copy of this context, whichever task factory the loop has.
        flight.task = loop.create_task(body)
    except BaseException:
        body.close()
        raise
    finally:
        _computation.reset(token)


async def _fly(
    flight: Flight[_V],
    board: _Board[_K, _V],
    key: _K,
    make: Callable[[], Awaitable[_V]],
    keep: Callable[[_V, Flight[_V]], _V] | None,
) -> None:
    """Make it, and tell those who wait."""
    try:
        value = await make()
        if keep is not None and not flight.forgotten:
            value = keep(value, flight)
    except BaseException as error:
        if not _fail(flight.land(), error):
            raise
    else:
        for future in flight.land():
            future.set_result(value)
    finally:
        _take_off(flight, board, key)


def _fail(waiting: list[asyncio.Future[_V | _Failure]], error: BaseException) -> bool:
    """Tell those who wait of an error, and return whether there is one to whom it goes."""
    if not waiting or waiting[0].get_loop().is_closed():
        return False
    traceback = error.__traceback__
    waiting[0].set_result(_Failure(error, traceback))
    shared = isinstance(error, Exception)
    for future in waiting[1:]:
        future.set_result(_Failure(twin(error, traceback), traceback) if shared else _AGAIN)
    return True


def _leave(flight: Flight[_V], board: _Board[_K, _V], key: _K) -> None:
    """End a flight that nobody waits for any more."""
    flight.over = True
    flight.forget()
    _take_off(flight, board, key)
    if flight.task is not None:
        flight.task.cancel()


def _take_off(flight: Flight[_V], board: _Board[_K, _V], key: _K) -> None:
    # What is over is taken for absent, and goes by itself: an error of a key's __eq__ is nobody's.
    with suppress(Exception):
        if board.get(key) is flight:
            del board[key]
