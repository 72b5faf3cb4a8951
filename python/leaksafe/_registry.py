"""`Registry`: one instance of each key, and what becomes of it. The table is in Rust."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, NoReturn, Self, SupportsIndex, TypeVar, cast
from weakref import ref

from leaksafe._closing import aclose, close, fail_together
from leaksafe._core import (
    _adopt,  # pyright: ignore[reportPrivateUsage]
    _Registry,  # pyright: ignore[reportPrivateUsage]
)
from leaksafe._kinds import is_awaitable

if TYPE_CHECKING:
    import asyncio
    from datetime import timedelta

    from leaksafe._async_flights import Flights

_K = TypeVar("_K")
_V = TypeVar("_V")


class _Making:
    """What a coroutine makes for a key: for another one, perhaps, and by means of others."""

    __slots__ = ("key", "needs", "within")

    def __init__(self, key: object, within: _Making | None) -> None:
        self.key, self.within = key, within
        self.needs: list[tuple[dict[Any, _Making], object]] = []

    def outwards(self) -> Iterator[_Making]:
        at: _Making | None = self
        while at is not None:
            yield at
            at = at.within


_making: ContextVar[_Making | None] = ContextVar("leaksafe registry", default=None)


def _circle(key: object, making: _Making | None, within: _Making | None) -> str:
    """Say how what is made for a key is needed by what `within` makes, for which it is."""
    chain = [] if within is None else [*within.outwards()]
    ahead = [] if making is None else [[making]]
    while ahead:
        way = ahead.pop()
        if way[-1] in chain:
            way += reversed(chain[: chain.index(way[-1])])
            return " → ".join(str(one) for one in (*(step.key for step in way), key))
        found = (makings.get(other) for makings, other in way[-1].needs)
        ahead += [[*way, one] for one in found if one is not None and one not in way]
    # Over a thread, of whose needs nothing is known here.
    return f"{key} → … → {key}"


class Registry(_Registry[_K, _V]):
    """One instance of each key, made when first asked for, and closed by this.

    Args:
        maxsize: how many instances there may be, from 1; `None` for no bound. The oldest has to go
            first, but those that somebody is using after the others.
        weak: hold instances weakly: each lives while somebody else holds it, and is not closed.
        ttl: seconds, or a `timedelta`, after which an instance has to go, counted from its making;
            even if nobody asks for it again.

    Raises:
        TypeError, ValueError, OverflowError: for a `maxsize` that is no int, less than 1, or above
            `sys.maxsize`; for a `ttl` that is no number, or not above 0.

    >>> from leaksafe import Registry
    >>> class Connection:
    ...     def __init__(self, url):
    ...         self.url = url
    ...     def close(self):
    ...         print("closed", self.url)
    >>> with Registry(maxsize=2) as connections:
    ...     for url in "db:a", "db:b", "db:a", "db:c":
    ...         connection = connections.get_or_create(url, lambda: Connection(url))
    ...     print(list(connections))
    closed db:a
    ['db:b', 'db:c']
    closed db:c
    closed db:b

    It owns what it holds. An instance that has to go, by `maxsize` or `ttl`, is closed, and what
    that raises goes to `sys.unraisablehook`. `clear` and `close` close all, the youngest first,
    each even if others fail. While somebody is inside `with registry.use(key)`, that instance stays
    open, and is closed when the last of them leaves. `pop` gives an instance away.

    Closed is by `close()`, else by `aclose()`, else by `__exit__` or `__aexit__`. What has none of
    them is let go of; so are locks, classes and modules. What has to be awaited runs in the loop
    that the instance was made in by `aget_or_create`, or else in that of whoever calls; where it
    doesn't run, that is a `RuntimeError`. `aclose` awaits it.

    A registry that is dropped without `close` lets go of its instances and closes none. It may be
    used from any thread, and by factories and `close` methods themselves. Every operation on one
    key is O(1). An entry costs 70 to 80 bytes beside its key and instance, 20 more with a `ttl`.
    """

    __module__ = "leaksafe"

    def __init__(
        self,
        maxsize: SupportsIndex | None,
        *,
        weak: bool = False,
        ttl: float | timedelta | None = None,
    ) -> None:
        """Make an empty registry."""
        if not isinstance(weak, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"weak must be a bool, not {type(weak).__name__}")
        self._open(maxsize, weak, ttl)
        self._makings: dict[_K, _Making] = {}

    async def aget_or_create(self, key: _K, factory: Callable[[], Awaitable[_V]]) -> _V:
        """Return the instance of `key`, which a coroutine makes where there is none.

        >>> import asyncio
        >>> from leaksafe import Registry
        >>> async def connect():
        ...     return "connection"
        >>> async def main():
        ...     registry = Registry(10)
        ...     return await registry.aget_or_create("a", connect)
        >>> asyncio.run(main())
        'connection'

        `factory` is called without arguments, and what it returns is awaited in a task of its own,
        once for all who ask in the same event loop. Who is cancelled harms nobody else; when nobody
        waits any more, the task is cancelled. Where other loops, or threads by `get_or_create`,
        make one for the same key at the same time, the first is kept, everybody gets that one, and
        the others are closed.

        Raises:
            RuntimeError: for coroutines that need each other, with the keys on the way; and if the
                registry is closed.
        """
        import asyncio  # noqa: PLC0415  # slow to import, and there already wherever this runs

        from leaksafe._async_flights import MISSING, Flights, Missing  # noqa: PLC0415

        for found in self._look(key):
            return found
        if not callable(factory):
            raise TypeError(
                f"factory must be callable without arguments, not {type(factory).__name__}"
            )
        if self.closed:
            raise RuntimeError(f"this {type(self).__name__} is closed and makes no instances")
        # Its number: an error that ends the task has this frame.
        caller = id(asyncio.current_task())
        home = ref(asyncio.get_running_loop())
        within = _making.get()

        def look() -> _V | Missing:
            for found in self._look(key):
                return found
            return MISSING

        async def make() -> _V:
            if id(asyncio.current_task()) == caller:
                # Not in a flight: waiting for that would never end.
                way = _circle(key, self._makings.get(key), within)
                raise RuntimeError(f"the factory of {key} needs what is made by it: {way}")
            own = self._makings[key] = _Making(key, within)
            _making.set(own)
            try:
                coming = factory()
                if not is_awaitable(coming):
                    raise TypeError(
                        "factory must return what can be awaited, such as a coroutine, not "
                        f"{type(coming).__name__}: get_or_create takes what returns the instance"
                    )
                return self._put(key, await coming, home)
            finally:
                if self._makings.get(key) is own:
                    del self._makings[key]
                # Tasks that it has started carry it on.
                own.key = own.within = None

        flights: Flights[_K, _V] = vars(self).setdefault("_flights", Flights[_K, _V]())
        if within is None:
            return await flights.once(key, look, make)
        need = cast("dict[Any, _Making]", self._makings), key
        within.needs.append(need)
        try:
            return await flights.once(key, look, make)
        finally:
            within.needs.remove(need)

    @contextmanager
    def use(self, key: _K, factory: Callable[[], _V] | None = None) -> Generator[_V]:
        """Have the instance of `key` stay open within a `with`, whatever happens meanwhile.

        >>> from leaksafe import Registry
        >>> files = Registry(maxsize=1)
        >>> with files.use("/dev/null", lambda: open("/dev/null")) as file:
        ...     other = files.get_or_create("/dev/zero", lambda: open("/dev/zero"))
        ...     "/dev/null" in files, file.closed
        (False, False)
        >>> file.closed
        True
        >>> files.close()

        Raises:
            KeyError: if the key is not there and no factory is given.
        """
        number, instance = self._pin(key, factory)
        try:
            yield instance
        finally:
            self._unpin(number)

    @contextmanager
    def override(self, key: _K, value: _V) -> Generator[None]:
        """Have `key` give something else within a `with`, for a test.

        >>> from leaksafe import Registry
        >>> paths = Registry(10)
        >>> with paths.override("settings", "/dev/null"):
        ...     paths.get_or_create("settings", lambda: "app.toml")
        '/dev/null'
        >>> "settings" in paths
        False

        It holds for all threads, and for `registry[key]`, `in`, `use` and both `get_or_create`s.
        The value is not closed. Iteration, `len`, `pop`, `clear` and `close` are about what the
        registry owns, as before.
        """
        before = self._replace_fake(key, value)
        try:
            yield
        finally:
            self._replace_fake(key, *before)

    def clear(self) -> None:
        """Close all instances, the youngest first. O(n).

        Raises:
            ExceptionGroup: of what that raised, after all were closed.

        >>> from leaksafe import Registry
        >>> registry = Registry(10)
        >>> file = registry.get_or_create("null", lambda: open("/dev/null"))
        >>> registry.clear()
        >>> file.closed, len(registry)
        (True, 0)
        """
        self._end(close=False)

    def close(self) -> None:
        """Close all instances, the youngest first; no more are made. A second call does nothing.

        Raises:
            ExceptionGroup: of what that raised, after all were closed.

        >>> from leaksafe import Registry
        >>> with Registry(10) as registry:
        ...     file = registry.get_or_create("null", lambda: open("/dev/null"))
        >>> file.closed, registry.closed
        (True, True)
        """
        self._end(close=True)

    async def aclose(self) -> None:
        """Do as `close` does, and await what is to be awaited, one after the other. O(n).

        Raises:
            ExceptionGroup: of what closing instances raised, once all are closed.

        >>> import asyncio
        >>> from leaksafe import Registry
        >>> class Client:
        ...     async def aclose(self):
        ...         print("closed")
        >>> async def main():
        ...     async with Registry(10) as clients:
        ...         clients.get_or_create("api", Client)
        >>> asyncio.run(main())
        closed
        """
        errors: list[BaseException] = []
        for instance, _ in self._take_all(True):
            try:
                await aclose(instance)
            except BaseException as error:  # noqa: BLE001  # raised once all are closed
                errors.append(error)
        fail_together(errors, f"closing a {type(self).__name__}")

    def _end(self, *, close: bool) -> None:
        errors: list[BaseException] = []
        for instance, home in self._take_all(close):
            try:
                self._dismiss(instance, home)
            except BaseException as error:  # noqa: BLE001  # raised once all are closed
                errors.append(error)
        fail_together(errors, f"closing a {type(self).__name__}")

    @staticmethod
    def _dismiss(instance: object, home: ref[asyncio.AbstractEventLoop] | None, /) -> None:
        close(instance, home)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return _shown(self)

    def __reduce_ex__(self, _protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} can't be copied or pickled: what it owns would be closed twice"
        )


def _show(registry: Registry[Any, Any]) -> str:
    return f"{type(registry).__name__}({list(registry)!r}, maxsize={registry.maxsize})"


_shown: Callable[[Registry[Any, Any]], str] = recursive_repr("Registry(...)")(_show)


_adopt(Registry, "get_or_create")
