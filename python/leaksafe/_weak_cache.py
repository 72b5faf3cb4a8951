"""The cache with weak references: what is better said in Python."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, ItemsView, Iterator, MutableMapping, ValuesView
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, TypeAlias, TypeVar, overload

from leaksafe._core import (
    _adopt,  # pyright: ignore[reportPrivateUsage]
    _enter,  # pyright: ignore[reportPrivateUsage]
    _WeakCache,  # pyright: ignore[reportPrivateUsage]
)

if TYPE_CHECKING:
    from datetime import timedelta

    _Lifetime: TypeAlias = float | timedelta

_K = TypeVar("_K")
_V = TypeVar("_V")


_ABSENT: Any = object()


def _living(cache: WeakCache[_K, _V]) -> Iterator[tuple[_K, _V]]:
    for key in cache:
        value: Any = cache.peek(key, _ABSENT)
        if value is not _ABSENT:
            yield key, value


class _Values(ValuesView[_V]):
    """The living values; looking at them is no use."""

    _mapping: WeakCache[Any, _V]

    def __iter__(self) -> Iterator[_V]:
        return (value for _, value in _living(self._mapping))

    def __contains__(self, value: object) -> bool:
        return any(one is value or one == value for one in self)


class _Items(ItemsView[_K, _V]):
    """The keys with living values, and these; looking at them is no use."""

    _mapping: WeakCache[_K, _V]

    def __iter__(self) -> Iterator[tuple[_K, _V]]:
        return _living(self._mapping)

    def __contains__(self, item: Any) -> bool:  # noqa: ANN401  # as the base class has it
        key, value = item
        found = self._mapping.peek(key, _ABSENT)
        return found is value or (found is not _ABSENT and bool(found == value))


class WeakCache(_WeakCache[_K, _V], MutableMapping[_K, _V]):
    """A cache that never makes a second object of what somebody still uses.

    Args:
        maxsize: how many of the values used last are held strongly; 0 holds none.
        ttl: for how long a value is held after it was set, in seconds (a float or a `timedelta`);
            `None` for as long as it is recent.
        max_bytes: in place of `maxsize`, the bytes that those that are held, and their keys, may
            take, as `deep_sizeof` measures them when they are set: an int, or a str such as
            "64 MiB".

    Raises:
        TypeError, ValueError, OverflowError: for a `maxsize` that is no int, negative, or above
            `sys.maxsize`; for both bounds; for a `ttl` that is no number of seconds above 0.

    Where a `WeakValueDictionary` loses at once what nobody else holds, and refuses what can't be
    weakly referenced, this holds the `maxsize` most recent values, of either kind. A value that
    falls out of these is forgotten if it can't be weakly referenced (an `int`, a `str`, a tuple),
    and else as soon as nobody uses it any more. Until then everybody who asks gets the same object.
    The length may so exceed `maxsize`, by entries whose values others keep alive.

    What is older than `ttl` is not held any more, and freed without anybody touching the cache: as
    if it had fallen out of the most recent. It is held again once it is set again.

    `[]`, `get`, `setdefault`, `get_or_create` and setting a value make an entry the most recent;
    `in`, `peek` and iteration don't. Every operation on one key is O(1). An entry costs about
    50 bytes beside its key and value, 80 more for CPython's weak reference if there is one, 16 more
    with a `ttl`, and 8 more with `max_bytes`.

    >>> from leaksafe import WeakCache
    >>> class Image: ...
    >>> cache = WeakCache(maxsize=1)
    >>> image = cache["cat"] = Image()
    >>> cache["sum"] = 1 + 2  # pushes the image out of those that are held
    >>> cache["cat"] is image
    True
    >>> "sum" in cache
    False
    """

    __module__ = "leaksafe"

    @overload
    def __new__(cls, maxsize: SupportsIndex = 128, ttl: _Lifetime | None = None) -> Self: ...
    @overload
    def __new__(cls, *, ttl: _Lifetime | None = None, max_bytes: int | str) -> Self: ...
    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the cache, and note that it lives."""
        cache = super().__new__(cls, *args, **kwargs)
        _enter(cache)
        return cache

    def values(self) -> ValuesView[_V]:
        """Return a view of the living values, from the least to the most recent. O(1).

        >>> from leaksafe import WeakCache
        >>> cache = WeakCache(2)
        >>> cache.update(a=1, b=2, c=3)
        >>> list(cache.values())
        [2, 3]
        """
        return _Values(self)

    def items(self) -> ItemsView[_K, _V]:
        """Return a view of keys and living values, from the least to the most recent. O(1).

        >>> from leaksafe import WeakCache
        >>> cache = WeakCache(2)
        >>> cache.update(a=1, b=2, c=3)
        >>> list(cache.items())
        [('b', 2), ('c', 3)]
        """
        return _Items(self)

    async def aget_or_create(self, key: _K, factory: Callable[[], Awaitable[_V]]) -> _V:
        """Return the value of `key`, made by the coroutine function `factory` where there is none.

        `factory` takes no arguments and runs once for each key and event loop, in a task of its
        own with the first caller's context. See `LRUCache.aget_or_create`.

        >>> import asyncio
        >>> from leaksafe import WeakCache
        >>> class Picture: ...
        >>> async def load():
        ...     return Picture()
        >>> pictures = WeakCache(9)
        >>> picture = asyncio.run(pictures.aget_or_create("cat", load))
        >>> pictures["cat"] is picture
        True
        """
        from leaksafe._async_flights import weak_creation  # noqa: PLC0415  # it imports asyncio

        return await weak_creation(self, key, factory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        ttl = "" if self.ttl is None else f", ttl={self.ttl}"
        return f"{type(self).__name__}({self._keys()!r}, maxsize={self.maxsize}{ttl})"


_adopt(WeakCache, "get")
