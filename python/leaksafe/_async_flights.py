"""Single flight for coroutines: what many tasks ask for at once is made by one of them.

    flights = Flights()
    value = await flights.once(key, look, make)                # make() keeps what it makes, or
    value = await flights.once(key, look, make, keep)          # keep(value, flight) does, and
    value = await flights.once(key, look, make, keep, shared)  # shared() is for who only waited
    flights.forget(key)                                        # or flights.forget_all()

`look()` returns what is kept for the key, or `MISSING`; it is asked before a flight departs.
`make()` returns an awaitable. It runs in a task of its own, in a copy of the first caller's
context, and whoever asks for the key meanwhile in the same event loop waits for it. Cancelling one
who waits harms nobody else; when nobody waits any more, the task is cancelled. An `Exception` goes
to everyone who waited, once (see `_failures.own_copy`); any other error, `CancelledError` among
them, goes to the one who has waited longest, and the next one takes over.

`keep(value, flight)` runs in the flight's task and returns what everyone gets. It isn't called if
the flight was forgotten or left by all; what keeps atomically asks `flight.forgotten` once more.
`forget` takes the flight of a key off the board in all event loops: who asks afterwards starts
another one. Forget first, then remove what is kept.

`shared()` is called for each who gets a result that another one's `make` made.

Who asks for what it is itself made by, over any number of others (threads too), runs its own
`make()`, and so does who has waited for `wait_timeout` seconds. What that makes is kept if the
flight hasn't landed or been forgotten by then.

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
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
)

from leaksafe._core import (
    LRUCache,
    _Computation,  # pyright: ignore[reportPrivateUsage]
    _computing,  # pyright: ignore[reportPrivateUsage]
    _keep,  # pyright: ignore[reportPrivateUsage]
)
from leaksafe._failures import own_copy
from leaksafe._weak_mappings import WeakIdDictionary, WeakKeyDictionary, WeakValueDictionary

if TYPE_CHECKING:
    from leaksafe._weak_cache import WeakCache

_K = TypeVar("_K")
_V = TypeVar("_V")
_K_co = TypeVar("_K_co", covariant=True)


class Missing(Enum):
    """What a look returns that finds nothing: `MISSING`."""

    MISSING = "MISSING"


MISSING: Final = Missing.MISSING

_computation = _computing()


class _Failure:
    """An error in place of a result."""

    __slots__ = ("error", "traceback")

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.traceback = error.__traceback__


class Flight(_Computation, Generic[_V]):
    """One computation under way, in one event loop."""

    __slots__ = ("outcome", "over", "task", "waiting")

    outcome: _V | _Failure

    def __init__(self) -> None:
        self.task: asyncio.Future[None] | None = None
        self.waiting: dict[asyncio.Future[bool | None], None] = {}
        """Those who wait, the first caller first. Each is told whether it is now the first.

        The outcome isn't told: the event loop holds a future until its waiter waits again.
        """
        self.over = False
        """Whether it has landed, or nobody waits any more."""

    def land(self, outcome: _V | _Failure) -> bool:
        """End it, tell those who wait, and return whether there is any."""
        self.end()
        self.forget()
        self.over = True
        waiting, self.waiting = self.waiting, {}
        first = True
        for future in waiting:
            if not future.done():
                if first:
                    if future.get_loop().is_closed():
                        break
                    self.outcome = outcome
                future.set_result(first)
                first = False
        return not first


class Asked(Protocol[_K_co, _V]):
    """What is asked for: what `once` is given, as one object."""

    @property
    def key(self) -> _K_co: ...
    @property
    def look(self) -> Callable[[], _V | Missing]: ...
    @property
    def make(self) -> Callable[[], Awaitable[_V]]: ...
    @property
    def keep(self) -> Callable[[_V, Flight[_V]], _V]: ...
    @property
    def shared(self) -> Callable[[], object]: ...


class _Asked(Generic[_K, _V]):
    __slots__ = ("_keep", "key", "look", "make", "shared")

    def __init__(
        self,
        key: _K,
        look: Callable[[], _V | Missing],
        make: Callable[[], Awaitable[_V]],
        keep: Callable[[_V, Flight[_V]], _V] | None,
        shared: Callable[[], object],
    ) -> None:
        self.key = key
        self.look = look
        self.make = make
        self._keep = keep
        self.shared = shared

    def keep(self, made: _V, flight: Flight[_V]) -> _V:
        return made if self._keep is None else self._keep(made, flight)


def _nothing() -> None:
    pass


_Board: TypeAlias = WeakValueDictionary[_K, Flight[_V]]


class Flights(Generic[_K, _V]):
    """The computations under way in one structure: at most one for each key and event loop."""

    __slots__ = ("__weakref__", "_boards", "_wait_timeout")

    def __init__(self, wait_timeout: float | None = None) -> None:
        self._wait_timeout = wait_timeout
        self._boards: WeakKeyDictionary[asyncio.AbstractEventLoop, _Board[_K, _V]] = (
            WeakKeyDictionary()
        )

    def once(
        self,
        key: _K,
        look: Callable[[], _V | Missing],
        make: Callable[[], Awaitable[_V]],
        keep: Callable[[_V, Flight[_V]], _V] | None = None,
        shared: Callable[[], object] | None = None,
    ) -> Coroutine[Any, Any, _V]:
        """Return a coroutine of what `look` finds, or else what `make` makes for all who ask."""
        asked = _Asked(key, look, make, keep, shared or _nothing)
        return self.once_for(cast("Asked[_K, _V]", asked))  # pyright takes attributes for methods

    async def once_for(self, asked: Asked[_K, _V]) -> _V:
        """Return what is looked for, or else made, in one task for all who ask."""
        key = asked.key
        loop = _running_loop()
        board = self._boards.get(loop)
        if board is None:
            board = self._boards.setdefault(loop, WeakValueDictionary())
        within = _computation.get()
        while True:
            flight = board.get(key)
            leads = flight is None or flight.over
            if flight is None or leads:
                found = asked.look()
                if found is not MISSING:
                    return found
                flight = board[key] = Flight[_V]()
            elif within is not None and not flight.join(within):
                return await _alone(flight, asked)
            future: asyncio.Future[bool | None] = loop.create_future()
            timer = None
            flight.waiting[future] = None
            try:
                if leads:
                    _depart(flight, _fly(flight, board, asked), loop)
                elif self._wait_timeout is not None:
                    timer = loop.call_later(self._wait_timeout, _too_long, future)
                first = await future
            finally:
                if timer is not None:
                    timer.cancel()
                if within is not None and not leads:
                    flight.part(within)
                if not flight.over:  # so this one was cancelled, or has waited for too long
                    flight.waiting.pop(future, None)
                    if not flight.waiting:
                        _leave(flight, board, key)
            if first is None:
                return await _alone(flight, asked)
            outcome = flight.outcome
            if not isinstance(outcome, _Failure):
                if not leads:
                    asked.shared()
                return outcome
            error, traceback = outcome.error, outcome.traceback
            for_all = isinstance(error, Exception)
            del flight, future, outcome
            try:
                if first:
                    raise error.with_traceback(traceback)
                if for_all:
                    raise own_copy(error, traceback)
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


async def _alone(flight: Flight[_V], asked: Asked[_K, _V]) -> _V:
    """Make it beside a flight that can't be waited for."""
    value = await asked.make()
    return value if flight.forgotten else asked.keep(value, flight)


def _too_long(future: asyncio.Future[bool | None]) -> None:
    if not future.done():
        future.set_result(None)


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


def apart(
    loop: asyncio.AbstractEventLoop, body: Coroutine[object, object, None]
) -> asyncio.Task[None]:
    """Run a coroutine in a task that is no part of what this context makes."""
    token = _computation.set(None)
    try:
        return loop.create_task(body)
    finally:
        _computation.reset(token)


async def _fly(flight: Flight[_V], board: _Board[_K, _V], asked: Asked[_K, _V]) -> None:
    """Make it, and tell those who wait."""
    try:
        value = await asked.make()
        if not flight.forgotten:
            value = asked.keep(value, flight)
    except BaseException as error:
        if not flight.land(_Failure(error)):
            raise
    else:
        flight.land(value)
    finally:
        _take_off(flight, board, asked.key)
        del flight  # which has the error, whose traceback has this frame


def _leave(flight: Flight[_V], board: _Board[_K, _V], key: _K) -> None:
    """End a flight that nobody waits for any more."""
    flight.over = True
    flight.forget()
    _take_off(flight, board, key)
    if flight.task is not None and not flight.task.get_loop().is_closed():
        flight.task.cancel()


def _take_off(flight: Flight[_V], board: _Board[_K, _V], key: _K) -> None:
    # What is over is taken for absent, and goes by itself: an error of a key's __eq__ is nobody's.
    with suppress(Exception):
        if board.get(key) is flight:
            del board[key]


_flights: WeakIdDictionary[object, Flights[Any, Any]] = WeakIdDictionary()


def _flights_of(cache: object) -> Flights[Any, Any]:
    flights = _flights.get(cache)
    return _flights.setdefault(cache, Flights()) if flights is None else flights


def creation(
    cache: LRUCache[_K, _V], key: _K, factory: Callable[[], Awaitable[_V]]
) -> Coroutine[Any, Any, _V]:
    """Return the coroutine of `LRUCache.aget_or_create` where the key isn't there."""
    return _flights_of(cache).once(
        key,
        lambda: cache.peek(key, MISSING),
        factory,
        lambda made, _: _keep(cache, key, made),
    )


async def weak_creation(
    cache: WeakCache[_K, _V] | WeakValueDictionary[_K, _V],
    key: _K,
    factory: Callable[[], Awaitable[_V]],
) -> _V:
    """Return what a weak container has for a key, or else what the factory makes."""

    def look() -> _V | Missing:
        return cache.get(key, MISSING)

    found = look()
    if found is not MISSING:
        return found
    if not callable(factory):
        raise TypeError(f"factory must be callable without arguments, not {type(factory).__name__}")
    made: _V = await _flights_of(cache).once(
        key, look, factory, lambda made, _: cache.setdefault(key, made)
    )
    return made


async def ready(result: _V) -> _V:
    """Return what there is already."""
    return result
