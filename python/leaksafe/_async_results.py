"""The results of a coroutine function in a mapping: what `cached` does by its rarer options.

Apart from `_results`, since it imports asyncio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, MutableMapping
from typing import Any

from leaksafe import _refresh
from leaksafe._async_flights import MISSING, Flight, Flights, Missing, apart, ready
from leaksafe._results import Aged, Keeper, Key, Options
from leaksafe._weak_mappings import WeakValueDictionary


class AsyncKeeper(Keeper):
    """Keeps the results of one coroutine function."""

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        cache: MutableMapping[Any, Any],
        own: bool,
        options: Options,
    ) -> None:
        super().__init__(function, name, cache, own, options)
        self._awaited: Flights[Key, Any] = Flights(options.wait_timeout)
        self._refreshing: WeakValueDictionary[Key, asyncio.Task[None]] = WeakValueDictionary()

    def call(
        self,
        receiver: object,
        weakly: bool,
        rest: Hashable,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[Coroutine[Any, Any, Any], bool]:
        """Return the coroutine of a call's answer, and whether that was there."""
        key, found = self.found(receiver, weakly, rest, args, kwargs)
        call = _Call(self, key, receiver if weakly else None, args, kwargs)
        if found is None:
            return self._answer(call), False
        if self.is_old(found[0]):
            self._refresh(call)
        return ready(self._handed_out(found[0])), True

    def discard(self, receiver: object, weakly: bool, rest: Hashable) -> bool:
        """Forget the result of a call, and return whether there was one."""
        self._awaited.forget(self._key(receiver, weakly, rest))
        return super().discard(receiver, weakly, rest)

    def clear(self) -> None:
        """Forget every result. What is computed meanwhile isn't kept."""
        self._awaited.forget_all()
        super().clear()

    async def _answer(self, call: _Call) -> Any:  # noqa: ANN401
        result = await self._awaited.once(call.key, call.look, call.make, call.keep)
        return self._handed_out(result)

    def _refresh(self, call: _Call) -> None:
        """Compute a result anew in a task that nobody waits for."""
        running = self._refreshing.get(call.key)
        if running is not None and not running.done():
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # it is asked for outside of one, to be awaited later
            return
        self._refreshing[call.key] = apart(loop, self._renew(call))

    async def _renew(self, call: _Call) -> None:
        try:
            await self._awaited.once(call.key, call.look_for_new, call.make, call.keep)
        except Exception:  # noqa: BLE001  # nobody waits for it
            _refresh.logger().exception("a result could not be computed anew")


class _Call:
    """A call whose result is to be computed: what a flight is given."""

    __slots__ = ("_args", "_instance", "_keeper", "_kwargs", "key")

    def __init__(
        self,
        keeper: AsyncKeeper,
        key: Key,
        instance: object,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._keeper = keeper
        self.key = key
        self._instance = instance
        self._args = args
        self._kwargs = kwargs

    def look(self) -> object | Missing:
        found = self._keeper.look(self.key)
        return MISSING if found is None else found[0]

    def look_for_new(self) -> object | Missing:
        found = self._keeper.look(self.key)
        return MISSING if found is None or self._keeper.is_old(found[0]) else found[0]

    async def make(self) -> object:
        keeper = self._keeper
        try:
            return await keeper.function(*self._args, **self._kwargs)
        except Exception as error:
            stale = keeper.instead_of(self.key, error)
            if stale is None:
                raise
            return stale[0]

    def keep(self, result: object, flight: Flight[Any]) -> object:
        # What is aged already is the last one, in place of an error.
        if not isinstance(result, Aged):
            self._keeper.keep(self.key, self._instance, result, lambda: not flight.forgotten)
        return result
