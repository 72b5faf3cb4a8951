"""The cache with weak references: what is better said in Python."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Self, SupportsIndex, TypeVar

from leaksafe._core import (
    _adopt,  # pyright: ignore[reportPrivateUsage]
    _enter,  # pyright: ignore[reportPrivateUsage]
    _WeakCache,  # pyright: ignore[reportPrivateUsage]
)

_K = TypeVar("_K")
_V = TypeVar("_V")


class WeakCache(_WeakCache[_K, _V], MutableMapping[_K, _V]):
    """A cache that never makes a second object of what somebody still uses.

    Args:
        maxsize: how many of the values used last are held strongly; 0 holds none.
        ttl: not supported yet; only `None`.

    Raises:
        TypeError, ValueError, OverflowError: for a `maxsize` that is no int, negative, or above
            `sys.maxsize`.
        NotImplementedError: for a `ttl`.

    Where a `WeakValueDictionary` loses at once what nobody else holds, and refuses what can't be
    weakly referenced, this holds the `maxsize` most recent values, of either kind. A value that
    falls out of these is forgotten if it can't be weakly referenced (an `int`, a `str`, a tuple),
    and else as soon as nobody uses it any more. Until then everybody who asks gets the same object.
    The length may so exceed `maxsize`, by entries whose values others keep alive.

    `[]`, `get`, `setdefault`, `get_or_create` and setting a value make an entry the most recent;
    `in` and iteration don't. Every operation on one key is O(1). An entry costs about 50 bytes
    beside its key and value, and 80 more for CPython's weak reference if there is one.

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

    def __new__(cls, maxsize: SupportsIndex = 128, ttl: None = None) -> Self:
        """Make the cache."""
        if ttl is not None:
            raise NotImplementedError(
                "WeakCache does not support a ttl yet: entries leave by maxsize and by death"
            )
        cache = super().__new__(cls, maxsize)
        _enter(cache)
        return cache

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
        return f"{type(self).__name__}({self._keys()!r}, maxsize={self.maxsize})"


_adopt(WeakCache, "get")
